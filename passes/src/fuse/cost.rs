//! What ops and memory cost, to compare computing again with keeping.
//!
//! The unit is the time of one simple vectorised operation on one element, about 0.1 ns on one core of a current CPU. A
//! byte read or written takes about as long there, so bytes count one each. The numbers order choices; nothing depends
//! on their being exact.

use tessera_ir::{Binary, OpKind, Unary};

/// What it costs to start a kernel on all threads and wait for them: a few microseconds.
pub(crate) const LAUNCH: u64 = 20_000;

/// How many operations of products a GPU does in the time that a byte takes to its memory, on its matrix units or one
/// multiplication a thread: 990 and 67 TFLOP/s beside 3.35 TB/s on an H100.
pub(crate) const fn operations_per_byte(on_matrix_units: bool) -> u64 {
    match on_matrix_units {
        true => 300,
        false => 20,
    }
}

/// What one element of an op's result costs.
pub(crate) fn weight(kind: &OpKind) -> u64 {
    const SIMPLE: u64 = 1;
    const DIVISION: u64 = 8;
    const TRANSCENDENTAL: u64 = 30;
    match kind {
        OpKind::Unary(function) => match function {
            Unary::Abs
            | Unary::Ceil
            | Unary::CountLeadingZeros
            | Unary::Floor
            | Unary::IsFinite
            | Unary::Negate
            | Unary::Not
            | Unary::Popcnt
            | Unary::RoundNearestAfz
            | Unary::RoundNearestEven
            | Unary::Sign => SIMPLE,
            Unary::Rsqrt | Unary::Sqrt => DIVISION,
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
            | Unary::Tanh => TRANSCENDENTAL,
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
            | Binary::Xor => SIMPLE,
            Binary::Divide | Binary::Remainder => DIVISION,
            Binary::Atan2 | Binary::Power => TRANSCENDENTAL,
        },
        OpKind::Compare { .. } | OpKind::Select {} | OpKind::Clamp {} | OpKind::Convert { .. } => {
            SIMPLE
        }
        // These only say where an element lies.
        OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. } => 0,
        OpKind::BitcastConvert { .. } | OpKind::Transpose { .. } | OpKind::Reverse { .. } => SIMPLE,
        OpKind::Pad { .. } | OpKind::Concatenate { .. } => 3 * SIMPLE,
        OpKind::Gather { .. } => 10 * SIMPLE,
        // A sum or a difference for each doubling of a block.
        OpKind::Hadamard { signs, .. } => u64::from(signs.len().ilog2()) * SIMPLE,
        OpKind::DynamicUpdateSlice {}
        | OpKind::Reduce { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::DotGeneral { .. }
        | OpKind::Scatter { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::While { .. }
        | OpKind::Case { .. }
        | OpKind::Call { .. }
        | OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::OptimizationBarrier {} => 100 * TRANSCENDENTAL,
    }
}
