//! Rough estimates of how long things take, to divide work by.

use tessera_ir::{Graph, OpKind, Unary};

/// Nanoseconds that one element of a graph's results takes, all its ops computed for it, in vector code.
pub fn nanoseconds_per_element(graph: &Graph) -> f64 {
    /// An arithmetic instruction, on one element of a vector.
    const ARITHMETIC: f64 = 0.05;
    /// A function made of some dozens of them.
    const FUNCTION: f64 = 0.6;
    /// A value read or written.
    const MEMORY: f64 = 0.4;
    let ops: f64 = (graph.operations().iter())
        .map(|operation| match &operation.op.kind {
            OpKind::Unary(
                Unary::Abs | Unary::Negate | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Sign,
            ) => ARITHMETIC,
            OpKind::Unary(_) => FUNCTION,
            OpKind::Binary(
                tessera_ir::Binary::Power
                | tessera_ir::Binary::Atan2
                | tessera_ir::Binary::Remainder,
            ) => FUNCTION,
            _ => ARITHMETIC,
        })
        .sum();
    ops + MEMORY * (graph.inputs().len() + graph.results().len()) as f64
}
