//! What can go wrong when a graph is evaluated.

use tessera_ir::{ElementType, Location, OpError, ScaledType, Symbol, Type};
use tessera_numerics::{
    GroupSizesError, HadamardError, QuantizationError, QuantizeError, RelayoutError, TensorError,
};

/// Why a graph was not evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// There are more or fewer inputs than the graph has.
    #[error("@{graph}: expected {expected} inputs, found {found}")]
    InputCount {
        /// The graph's name.
        graph: String,
        /// The number of the graph's inputs.
        expected: usize,
        /// The number of inputs given.
        found: usize,
    },
    /// An input has another type than the graph's.
    #[error("@{graph}, input {input}{}: expected {expected}, found {found}", .name.as_deref().map(|n| format!(" ('{n}')")).unwrap_or_default())]
    InputType {
        /// The graph's name.
        graph: String,
        /// The input's number.
        input: usize,
        /// The name the user knows the input by.
        name: Option<String>,
        /// The type of the graph's input.
        expected: Box<Type>,
        /// The type of the input given.
        found: Box<Type>,
    },
    /// A graph that gives tensors to its caller gives a scaled tensor.
    #[error("@{graph}, result {result}: expected a tensor, found {found}")]
    ScaledResult {
        /// The graph's name.
        graph: String,
        /// The result's number.
        result: usize,
        /// The type of the result.
        found: ScaledType,
    },
    /// An op could not be evaluated.
    #[error("'tsr.{op}': {failure}")]
    Op {
        /// The op's name without the dialect.
        op: &'static str,
        /// Where the op comes from.
        location: Location,
        /// What went wrong.
        failure: OpFailure,
    },
}

/// Why an op could not be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpFailure {
    /// The op breaks one of its constraints on these operands.
    #[error(transparent)]
    Constraint(#[from] OpError),
    /// The op means nothing for that element type.
    #[error("not defined for {element}")]
    Undefined {
        /// The operands' element type.
        element: ElementType,
    },
    /// The result does not fit into memory.
    #[error("out of memory: a result is {value_type}")]
    OutOfMemory {
        /// The result's type.
        value_type: Type,
    },
    /// Numbers do not make the tensor that they should.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Rule, rounding and format do not go together.
    #[error(transparent)]
    Quantization(#[from] QuantizationError),
    /// Numbers could not be quantised.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// A scaled tensor's bytes have no such order.
    #[error(transparent)]
    Relayout(#[from] RelayoutError),
    /// Numbers could not be transformed.
    #[error(transparent)]
    Hadamard(#[from] HadamardError),
    /// Sizes are not those of groups of the rows there are.
    #[error(transparent)]
    GroupSizes(#[from] GroupSizesError),
    /// The module has no graph of that name.
    #[error("the module has no graph {callee}")]
    UnknownCallee {
        /// The name called.
        callee: Symbol,
    },
    /// A graph calls itself, directly or through others.
    #[error("{callee} calls itself: recursion does not end")]
    Recursion {
        /// The name called.
        callee: Symbol,
    },
    /// An op of a region or of a called graph could not be evaluated.
    #[error(transparent)]
    Inner(Box<EvaluateError>),
}

impl From<EvaluateError> for OpFailure {
    fn from(error: EvaluateError) -> Self {
        Self::Inner(Box::new(error))
    }
}
