//! Which kernels the runtime computes itself, and what it is told of them.

mod gemm;
mod scaled;

use crate::units::Builtin;
use tessera_ir::plan::{Family, Kernel};
use tessera_runtime::bundle::Code;

/// The kernel as one that the runtime computes itself, calling the function of that name where it calls one; `None` where
/// it becomes a function.
pub fn builtin(kernel: &Kernel, symbol: &str) -> Option<Builtin> {
    match kernel.family {
        Family::Dot => match gemm::gemm(kernel) {
            Some((gemm, operands)) => Some(Builtin {
                code: Code::Gemm(gemm),
                operands: operands.into(),
            }),
            None => scaled::builtin(kernel, symbol),
        },
        Family::Quantize | Family::Solve => scaled::builtin(kernel, symbol),
        Family::Loop
        | Family::Row
        | Family::Column
        | Family::Attention
        | Family::Index
        | Family::Sort => None,
    }
}
