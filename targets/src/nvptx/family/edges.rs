//! What lies beyond an operand's edges: places are held within them, and what is read there becomes zero.

use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};

/// What is asked for lies in the operand, if that is not always so.
pub type Condition<'c> = Option<Value<'c>>;

/// A place, or the last one that there is, and whether it is there.
pub fn clamped<'c>(
    emission: &mut Emission<'c, '_>,
    place: &Expression,
    last: i64,
) -> (Expression, Condition<'c>) {
    if place.range().1 <= last {
        return (place.clone(), None);
    }
    let value = emission.elemental.number(place);
    let b = emission.elemental.builder();
    let bound = b.constant_i64(last);
    let is_there = b.compare_integers(IntegerPredicate::Sle, value, bound);
    let held = b.binary("arith.minsi", value, bound);
    let variable = emission.elemental.variable(held, 0, last);
    (Expression::variable(variable), Some(is_there))
}

/// Both conditions.
pub fn both<'c>(b: &Builder<'c>, x: Condition<'c>, y: Condition<'c>) -> Condition<'c> {
    match (x, y) {
        (Some(x), Some(y)) => Some(b.binary("arith.andi", x, y)),
        (one, None) | (None, one) => one,
    }
}

/// The value where it is there, and else zero.
pub fn kept<'c>(b: &Builder<'c>, x: Value<'c>, is_there: Condition<'c>) -> Value<'c> {
    let zero = b.constant_integer(b.integer(32), 0);
    is_there.map_or(x, |is_there| b.select(is_there, x, zero))
}
