//! Rough estimates of how long things take, to divide work by and to choose between ways.

use tessera_ir::{Binary, Graph, OpKind, Unary};

/// Nanoseconds that one element of a graph's results takes, all its ops computed for it, in vector code.
pub fn nanoseconds_per_element(graph: &Graph) -> f64 {
    /// An arithmetic instruction, on one element of a vector.
    const INSTRUCTION: f64 = 0.05;
    /// A value read or written.
    const MEMORY: f64 = 0.4;
    let ops: f64 = (graph.operations().iter())
        .map(|operation| instructions(&operation.op.kind))
        .sum();
    INSTRUCTION * ops + MEMORY * (graph.inputs().len() + graph.results().len()) as f64
}

/// Vector instructions that an op takes for each element, those that take long counted more than once.
pub fn instructions(kind: &OpKind) -> f64 {
    match kind {
        OpKind::Unary(function) => match function {
            Unary::Abs
            | Unary::Ceil
            | Unary::Floor
            | Unary::IsFinite
            | Unary::Negate
            | Unary::Not
            | Unary::RoundNearestEven => 1.0,
            Unary::CountLeadingZeros | Unary::Popcnt | Unary::RoundNearestAfz | Unary::Sign => 4.0,
            Unary::Rsqrt | Unary::Sqrt => 8.0,
            Unary::Cbrt
            | Unary::Cosine
            | Unary::Erf
            | Unary::Erfc
            | Unary::ErfInv
            | Unary::Exponential
            | Unary::ExponentialMinusOne
            | Unary::Log
            | Unary::LogPlusOne
            | Unary::Logistic
            | Unary::Sine
            | Unary::Tan
            | Unary::Tanh => 16.0,
        },
        OpKind::Binary(function) => match function {
            Binary::Add
            | Binary::And
            | Binary::Maximum
            | Binary::Minimum
            | Binary::Multiply
            | Binary::Or
            | Binary::ShiftLeft
            | Binary::ShiftRightArithmetic
            | Binary::ShiftRightLogical
            | Binary::Subtract
            | Binary::Xor => 1.0,
            Binary::Divide => 4.0,
            Binary::Atan2 | Binary::Power | Binary::Remainder => 32.0,
        },
        OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. }
        | OpKind::BitcastConvert { .. }
        | OpKind::Iota { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. } => 1.0,
        OpKind::Constant { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::Reverse { .. }
        | OpKind::OptimizationBarrier {} => 0.0,
        OpKind::Gather { .. } => 4.0,
        OpKind::DynamicUpdateSlice {}
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. } => 1.0,
    }
}
