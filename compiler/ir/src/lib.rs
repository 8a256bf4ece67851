//! Tessera's graph IR: what a training step is between its import and its plan.
//!
//! A [`Module`] holds [`Graph`]s. A graph is a function in SSA form without cycles: typed [`Input`]s, operations in an
//! order in which every operand stands before its use, and results. An operation is an [`Op`], a [`OpKind`] with its
//! attributes applied to operands, with one or more results. Loops, branches and reducers are ops that hold graphs
//! ([`Region`]s). Regions are closed: a value from outside enters as an operand.
//!
//! A graph grows by [`Graph::push`], which infers the result types and refuses an op that breaks a constraint, so an
//! ill-typed graph does not come to be. [`verify`] checks what one graph cannot see alone: calls and donation.
//!
//! The [`text`] form is MLIR's in the dialect `tsr` and reads back exactly.

pub mod attribute;
mod builder;
pub mod diagnostic;
mod dimension_numbers;
mod graph;
pub mod location;
mod op;
pub mod plan;
mod rules;
pub mod text;
mod types;
mod verify;

pub use builder::{Builder, QuantizeOperands};
pub use dimension_numbers::{
    DotDimensionNumbers, GatherDimensionNumbers, ScatterDimensionNumbers, WindowAttributes,
};
pub use graph::{
    Definition, Graph, GraphResult, Input, Module, OpId, Operation, Region, ValueId, Visibility,
};
pub use location::Location;
pub use op::{
    Binary, CompareType, ComparisonDirection, Op, OpKind, OpParts, PartsError, Symbol, Unary,
};
pub use rules::{Constraint, OpError, infer};
pub use tessera_numerics::{Element, ElementType, ScaledTensor, ScaledType, Tensor};
pub use types::{TensorType, Type};
pub use verify::{DonationProblem, OpSite, VerifyError, verify};
