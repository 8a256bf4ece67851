//! What the rules' tests are written with.

use crate::rules::{OpError, list};
use crate::{Builder, Input, TensorType, ValueId};

/// The type spelt `8x256xf32`, `f32`.
pub(super) fn tensor(spelling: &str) -> TensorType {
    let (shape, element) = spelling.rsplit_once('x').unwrap_or(("", spelling));
    let shape: Vec<usize> = shape
        .split('x')
        .filter(|dimension| !dimension.is_empty())
        .map(|dimension| dimension.parse().unwrap())
        .collect();
    TensorType::new(element.parse().unwrap(), shape)
}

/// What becomes of an op on operands of the given types: its result types, or its refusal.
pub(super) fn outcome<const N: usize, T>(
    operands: [&str; N],
    build: impl FnOnce(&mut Builder, [ValueId; N]) -> Result<T, OpError>,
) -> String {
    let inputs = operands.map(|operand| Input::new(tensor(operand)));
    let (mut builder, values) = Builder::new("test", inputs);
    if let Err(refusal) = build(&mut builder, values) {
        return refusal.to_string();
    }
    let graph = builder.graph();
    let operation = graph.operations().last().unwrap();
    let types: Vec<_> = operation.results().map(|r| graph.value_type(r)).collect();
    list(&types)
}
