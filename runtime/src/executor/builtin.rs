//! Kernels that the runtime computes itself, without a function of `kernels.so`.

use super::axis_sums::AxisSumsKernel;
use super::dequantize::DequantizeKernel;
use super::gemm::{GemmBuffers, GemmKernel};
use super::grouped::{GroupedBuffers, GroupedKernel};
use super::hadamard::HadamardKernel;
use super::hadamard_magnitudes::HadamardMagnitudesKernel;
use super::library::KernelFunction;
use super::orthonormalize::OrthonormalizeKernel;
use super::quantize::QuantizeKernel;
use super::relayout::RelayoutKernel;
use super::row_function::RowFunction;
use super::scaled_dot::{
    GroupedScaledDot, GroupedScaledDotBuffers, ScaledDot, ScaledDotBuffers, ScaledProduct,
};
use super::team::Member;
use crate::bundle::{self, Code, Kernel, TensorType, ValueType};
use tessera_numerics::{GroupSizesError, ScaledType};

/// A kernel that the runtime computes itself, prepared for its shapes.
pub(super) enum Builtin {
    Gemm(GemmKernel),
    Grouped(GroupedKernel),
    ScaledDot(Box<ScaledDot>),
    GroupedScaledDot(Box<GroupedScaledDot>),
    Quantize(QuantizeKernel),
    Dequantize(DequantizeKernel),
    Relayout(RelayoutKernel),
    AxisSums(AxisSumsKernel),
    Hadamard(Box<HadamardKernel>),
    HadamardMagnitudes(Box<HadamardMagnitudesKernel>),
    Orthonormalize(OrthonormalizeKernel),
}

impl Builtin {
    /// Prepares a kernel of a validated manifest, with the function that it calls, if it calls one; `None` where it is a
    /// function.
    ///
    /// # Errors
    /// What the kernel needs beside its buffers is larger than memory.
    pub(super) fn new(
        kernel: &Kernel,
        function: Option<KernelFunction>,
    ) -> Result<Option<Self>, String> {
        Ok(Some(match &kernel.code {
            Code::Function(_) | Code::Ptx(_) => return Ok(None),
            Code::Gemm(gemm) => Self::Gemm(GemmKernel::new(gemm)),
            Code::GroupedGemm(grouped) => {
                let [lhs, rhs, sizes] = [0, 1, 2].map(|number| tensor(&kernel.operands[number]));
                Self::Grouped(GroupedKernel::new(grouped, lhs, rhs, sizes))
            }
            Code::ScaledDot(product) => {
                let [lhs, rhs] = [0, 1].map(|operand| scaled(&kernel.operands[operand]).clone());
                let product = ScaledDot::new(scaled_product(product, lhs, rhs));
                let product = product.map_err(|error| error.to_string())?;
                let epilogue = function.map(|function| RowFunction {
                    function,
                    row: shape(&kernel.results[0]).last().copied().unwrap_or(1),
                });
                Self::ScaledDot(Box::new(product.with_epilogue(epilogue)))
            }
            Code::GroupedScaledDot => {
                let [lhs, rhs] = [0, 1].map(|operand| scaled(&kernel.operands[operand]).clone());
                let product = GroupedScaledDot::new(lhs, rhs, shape(&kernel.operands[2])[0]);
                Self::GroupedScaledDot(Box::new(product.map_err(|error| error.to_string())?))
            }
            Code::Quantize(quantize) => {
                let results = kernel.results.iter().map(scaled);
                let kernel = QuantizeKernel::new(quantize, results, function);
                Self::Quantize(kernel.map_err(|error| error.to_string())?)
            }
            Code::Dequantize => {
                Self::Dequantize(DequantizeKernel::new(scaled(&kernel.operands[0])))
            }
            Code::Relayout => {
                let (from, to) = (scaled(&kernel.operands[0]), scaled(&kernel.results[0]));
                Self::Relayout(RelayoutKernel::new(from, to))
            }
            Code::AxisSums => {
                let weights = kernel.operands.get(1).map(|weights| {
                    let elements = tensor(weights).elements();
                    elements.expect("validation found vectors there")
                });
                Self::AxisSums(AxisSumsKernel::new(scaled(&kernel.operands[0]), weights))
            }
            Code::Hadamard(hadamard) => {
                let kernel = HadamardKernel::new(hadamard, shape(&kernel.results[0]));
                Self::Hadamard(Box::new(kernel))
            }
            Code::HadamardMagnitudes(magnitudes) => {
                let is_of_all = shape(&kernel.results[0]).is_empty();
                let shape = shape(&kernel.operands[0]);
                let kernel = HadamardMagnitudesKernel::new(magnitudes, shape, is_of_all);
                Self::HadamardMagnitudes(Box::new(kernel))
            }
            Code::Orthonormalize => {
                Self::Orthonormalize(OrthonormalizeKernel::new(shape(&kernel.results[0])))
            }
        }))
    }

    /// The bytes of memory, beside its buffers, that a launch on that many threads needs.
    pub(super) fn workspace_bytes(&self, threads: usize) -> usize {
        match self {
            Self::Gemm(kernel) => kernel.workspace_bytes(threads),
            Self::ScaledDot(product) => product.workspace_bytes(threads),
            Self::GroupedScaledDot(product) => product.workspace_bytes(threads),
            Self::Orthonormalize(kernel) => kernel.workspace_bytes(threads),
            Self::Grouped(_)
            | Self::Quantize(_)
            | Self::Dequantize(_)
            | Self::Relayout(_)
            | Self::AxisSums(_)
            | Self::Hadamard(_)
            | Self::HadamardMagnitudes(_) => 0,
        }
    }

    /// Computes the results. `buffers` are the addresses of the operands, then of the results.
    ///
    /// # Errors
    /// The operands' numbers are none that the kernel is defined for.
    ///
    /// # Safety
    /// The buffers are those of a launch that validation has accepted, aligned for their elements and initialised, and the
    /// function is the kernel's;
    /// the workspace has [`workspace_bytes`](Self::workspace_bytes) of the team's threads, initialised, from a multiple
    /// of [`ALIGNMENT`](bundle::ALIGNMENT) on. Nobody else writes any of them, or reads workspace and results,
    /// meanwhile.
    pub(super) unsafe fn run(
        &self,
        member: Member,
        buffers: &[*mut u8],
        workspace: *mut u8,
    ) -> Result<(), GroupSizesError> {
        // SAFETY: the caller's promises; validation found operands and results to be of the kernel's types, and results
        // apart from all else.
        unsafe {
            match self {
                Self::Gemm(kernel) => kernel.run(
                    member,
                    GemmBuffers {
                        lhs: buffers[0],
                        rhs: buffers[1],
                        result: buffers[2],
                        workspace,
                    },
                ),
                Self::Grouped(kernel) => {
                    let buffers = GroupedBuffers {
                        lhs: buffers[0],
                        rhs: buffers[1],
                        group_sizes: buffers[2].cast(),
                        result: buffers[3],
                    };
                    return kernel.run(member, buffers);
                }
                Self::ScaledDot(product) => product.run(
                    member,
                    ScaledDotBuffers {
                        lhs: buffers[0],
                        rhs: buffers[1],
                        result: buffers[2].cast(),
                        workspace,
                        epilogue: buffers,
                    },
                ),
                Self::GroupedScaledDot(product) => {
                    let buffers = GroupedScaledDotBuffers {
                        lhs: buffers[0],
                        rhs: buffers[1],
                        group_sizes: buffers[2].cast(),
                        result: buffers[3].cast(),
                        workspace,
                    };
                    return product.run(member, buffers);
                }
                Self::Quantize(kernel) => kernel.run(member, buffers),
                Self::Dequantize(kernel) => kernel.run(member, buffers[0], buffers[1].cast()),
                Self::Relayout(kernel) => kernel.run(member, buffers[0], buffers[1]),
                Self::AxisSums(kernel) => kernel.run(member, buffers),
                Self::Hadamard(kernel) => {
                    kernel.run(member, buffers[0].cast(), buffers[1].cast());
                }
                Self::HadamardMagnitudes(kernel) => kernel.run(member, buffers),
                Self::Orthonormalize(kernel) => {
                    let (x, result) = (buffers[0].cast(), buffers[1].cast());
                    kernel.run(member, x, result, workspace.cast());
                }
            }
        }
        Ok(())
    }
}

fn scaled_product(product: &bundle::ScaledDot, lhs: ScaledType, rhs: ScaledType) -> ScaledProduct {
    ScaledProduct {
        lhs,
        rhs,
        m: product.m,
        n: product.n,
        batch: product.batch.clone(),
        lhs_stride: product.lhs_stride,
        rhs_stride: product.rhs_stride,
        result: product.result,
    }
}

fn scaled(value_type: &ValueType) -> &ScaledType {
    value_type
        .as_scaled()
        .expect("validation found a scaled tensor there")
}

fn shape(value_type: &ValueType) -> &[usize] {
    &tensor(value_type).shape
}

fn tensor(value_type: &ValueType) -> &TensorType {
    let tensor = value_type.as_tensor();
    tensor.expect("validation found a tensor there")
}
