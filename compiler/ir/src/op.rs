//! An op: what is computed, and from what.

mod elementwise;
mod kind;
mod parts;

pub use elementwise::{Binary, CompareType, ComparisonDirection, Unary};
pub use kind::OpKind;
pub use parts::{OpParts, PartsError};

use std::fmt;

/// One node: a kind with its attributes, applied to operands.
///
/// The graph uses it with [`ValueId`](crate::ValueId)s for operands; an e-graph uses it with its own ids, so an op is
/// defined once for both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op<V> {
    /// What is computed.
    pub kind: OpKind,
    /// From what, in the order the kind defines.
    pub operands: Vec<V>,
}

/// The name of a graph in its module, printed `@name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub String);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}
