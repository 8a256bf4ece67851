//! The Hadamard transform of both operands of a product.
//!
//! **Signs.** `fixed` are TransformerEngine's; `random` are [`random_signs`] of the recipe's seed and the product's number.
//! `random_per_step` are drawn in the graph, in ui32 arithmetic: with mix(x) Wellons' lowbias32,
//! `x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16`, sign i of product p is the highest bit of
//! `mix(mix(counter + mix(seed + 2654435761 · p)) + i)`, 1 for −1; the seed is folded to 32 bits by xor of its halves, the
//! counter is that of random roundings. The transform itself then has no signs of its own.

use super::emitter::Emitter;
use crate::recipes::{Hadamard, Signs};
use tessera_ir::{Builder, ElementType, OpError, Tensor, TensorType, ValueId};
use tessera_numerics::{random_signs, transformer_engine_signs};

/// A transform in blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rotation {
    size: usize,
    /// True is −1.
    signs: Vec<bool>,
    /// Further signs, 1 and −1, as many.
    drawn: Option<ValueId>,
}

impl Rotation {
    /// The transform of the product of that number.
    pub fn new(
        e: &mut Emitter,
        recipe: &Hadamard,
        seed: u64,
        product: usize,
    ) -> Result<Self, OpError> {
        let size = recipe.size();
        let none = vec![false; size];
        let (signs, drawn) = match recipe.signs() {
            Signs::Fixed => (transformer_engine_signs().to_vec(), None),
            Signs::Random => {
                let signs = random_signs(size, seed, product as u32);
                (signs.unwrap_or(none), None)
            }
            Signs::RandomPerStep => {
                let counter = e.scope.counter();
                let key = mixed(
                    (seed as u32 ^ (seed >> 32) as u32)
                        .wrapping_add((product as u32).wrapping_mul(2_654_435_761)),
                );
                (none, Some(draw(&mut e.b, size, counter, key)?))
            }
        };
        Ok(Self { size, signs, drawn })
    }
}

impl Emitter {
    /// The tensor transformed along a dimension, which is first padded with zeros to whole blocks.
    pub fn rotated(
        &mut self,
        x: ValueId,
        axis: usize,
        rotation: &Rotation,
    ) -> Result<ValueId, OpError> {
        let key = (x, rotation.clone(), axis);
        if let Some(&made) = self.made.rotated.get(&key) {
            return Ok(made);
        }
        let wide = self.f32(x)?;
        let mut padded = self.padded(wide, axis, rotation.size)?;
        if let Some(drawn) = rotation.drawn {
            let shape = self.shape(padded);
            let blocks = shape[axis] / rotation.size;
            let tiled = self
                .b
                .broadcast_in_dim(drawn, &[1], &[blocks, rotation.size])?;
            let signs = self.b.reshape(tiled, &[shape[axis]])?;
            let signs = self.b.broadcast_in_dim(signs, &[axis], &shape)?;
            padded = self.b.multiply(padded, signs)?;
        }
        let made = self.b.hadamard(padded, axis, &rotation.signs)?;
        self.made.rotated.insert(key, made);
        Ok(made)
    }

    fn padded(&mut self, x: ValueId, axis: usize, size: usize) -> Result<ValueId, OpError> {
        let shape = self.shape(x);
        let missing = shape[axis].next_multiple_of(size) - shape[axis];
        if missing == 0 {
            return Ok(x);
        }
        let none = vec![0; shape.len()];
        let mut high = none.clone();
        // Less than a block of 128.
        high[axis] = missing as i64;
        let zero = self.splat(0.0, &[])?;
        self.b.pad(x, zero, &none, &high, &vec![0; shape.len()])
    }
}

/// Wellons' lowbias32.
const fn mixed(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The same in the graph.
fn mix(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let kind = b.graph().tensor_type(x).clone();
    let number = |b: &mut Builder, value: u32| -> Result<ValueId, OpError> {
        let scalar = b.constant(Tensor::scalar(value))?;
        b.broadcast_scalar(scalar, &kind.shape)
    };
    let fold = |b: &mut Builder, x: ValueId, bits: u32| -> Result<ValueId, OpError> {
        let bits = number(b, bits)?;
        let high = b.shift_right_logical(x, bits)?;
        b.xor(x, high)
    };
    let x = fold(b, x, 16)?;
    let factor = number(b, 0x7feb_352d)?;
    let x = b.multiply(x, factor)?;
    let x = fold(b, x, 15)?;
    let factor = number(b, 0x846c_a68b)?;
    let x = b.multiply(x, factor)?;
    fold(b, x, 16)
}

/// Signs, 1 and −1 in f32.
fn draw(b: &mut Builder, size: usize, counter: ValueId, key: u32) -> Result<ValueId, OpError> {
    let key = b.constant(Tensor::scalar(key))?;
    let keyed = b.add(counter, key)?;
    let keyed = mix(b, keyed)?;
    let vector = TensorType::new(ElementType::Ui32, [size]);
    let keyed = b.broadcast_scalar(keyed, &[size])?;
    let places = b.iota(0, vector.clone())?;
    let words = b.add(keyed, places)?;
    let words = mix(b, words)?;
    let half = b.constant(Tensor::scalar(1u32 << 31))?;
    let half = b.broadcast_scalar(half, &[size])?;
    let is_negative = b.compare(words, half, tessera_ir::ComparisonDirection::Ge)?;
    let floats = vector.with_element(ElementType::F32);
    let (minus, plus) = (b.splat(-1.0, &floats)?, b.splat(1.0, &floats)?);
    b.select(is_negative, minus, plus)
}
