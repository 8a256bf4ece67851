//! What a program costs on a target: bytes, operations, launches.
//!
//! The numbers order programs that compute the same; nothing depends on their being exact.

use crate::decompose::is_integer_product;
use crate::fuse::cost::{LAUNCH, weight};
use std::fmt;
use std::ops::AddAssign;
use tessera_ir::{Graph, OpKind, Type};

/// What ops need of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that kernels read and write.
    pub bytes: u64,
    /// Elementwise operations, in units of an addition.
    pub vector_operations: u64,
    /// Multiply-adds of dense products.
    pub matrix_operations: u64,
    /// Multiply-adds of products of scaled tensors.
    pub scaled_operations: u64,
    /// Kernels started.
    pub launches: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.vector_operations += other.vector_operations;
        self.matrix_operations += other.matrix_operations;
        self.scaled_operations += other.scaled_operations;
        self.launches += other.launches;
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} launches, {} bytes, {} vector, {} dense and {} scaled multiply-adds",
            self.launches,
            self.bytes,
            self.vector_operations,
            self.matrix_operations,
            self.scaled_operations
        )
    }
}

/// How a target does.
pub trait CostModel {
    /// What one op costs.
    fn cost(&self, kind: &OpKind, operands: &[&Type], results: &[Type]) -> Cost;

    /// The time that takes, in picoseconds.
    fn time(&self, cost: &Cost) -> u64;

    /// What the ops of a graph cost together, those of its regions once.
    fn graph(&self, graph: &Graph) -> Cost {
        let mut sum = Cost::default();
        for operation in graph.operations() {
            let operands = operation.op.operands.iter();
            let operands: Vec<&Type> = operands.map(|&value| graph.value_type(value)).collect();
            let results = operation.results();
            let results: Vec<Type> = results
                .map(|value| graph.value_type(value).clone())
                .collect();
            sum += self.cost(&operation.op.kind, &operands, &results);
            if let OpKind::While { .. } | OpKind::Case { .. } = operation.op.kind {
                for region in operation.op.kind.regions() {
                    sum += self.graph(region);
                }
            }
        }
        sum
    }
}

/// One core of a current CPU with AVX-512, kernels fused by [`fuse`](mod@crate::fuse).
///
/// Elementwise ops cost their operations and no memory: they are fused into what reads them or what they read. Kernels
/// that are their own, products, reductions and what makes scaled tensors, read their operands and write their results.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuCosts;

impl CpuCosts {
    /// An addition to one element of a vector, and a byte of memory: the unit of `fuse`'s costs, 0.1 ns.
    const UNIT: u64 = 100;
    /// A dense multiply-add in f32: two 16-lane units at 2.5 GHz do 80 in a nanosecond.
    const MULTIPLY_ADD: u64 = 13;
    /// A multiply-add of 4-bit codes as integer dot products: 2.1 times as fast as the dense one, as measured on one
    /// core with AVX-512 VNNI.
    const SCALED_MULTIPLY_ADD: u64 = 6;
    /// Finding the scale and the code of an element: an absolute value, a maximum, a product, three comparisons to find
    /// the code, packing and storing.
    const QUANTISE: u64 = 8;
    /// Turning an element's code, more than quantising once more: that joins the kernel which reads the tensor anyway.
    /// Measured on 2048 × 2048 elements, one core: 0.25 ns an element to quantise along one axis, 0.5 ns along both in one
    /// kernel, 0.6 ns to turn codes and scales.
    const RELAYOUT: u64 = 2 * Self::QUANTISE;
}

/// The sizes of a type as numbers of a cost.
fn size(value_type: &Type) -> (u64, u64) {
    (value_type.len() as u64, value_type.byte_size() as u64)
}

impl CostModel for CpuCosts {
    fn cost(&self, kind: &OpKind, operands: &[&Type], results: &[Type]) -> Cost {
        let input: u64 = operands.iter().map(|operand| size(operand).1).sum();
        let output: u64 = results.iter().map(|result| size(result).1).sum();
        let read = operands.first().map_or(0, |operand| size(operand).0);
        let columns = results.first().and_then(|result| result.shape().last());
        let columns = columns.map_or(1, |&columns| columns as u64);
        let made = results.first().map_or(0, |result| size(result).0);
        let kernel = Cost {
            bytes: input + output,
            launches: 1,
            ..Cost::default()
        };
        let fused = |vector_operations| Cost {
            vector_operations,
            ..Cost::default()
        };
        let moved = Cost {
            bytes: input + output,
            vector_operations: made,
            ..Cost::default()
        };
        match kind {
            OpKind::Unary(_)
            | OpKind::Binary(_)
            | OpKind::Compare { .. }
            | OpKind::Select {}
            | OpKind::Clamp {}
            | OpKind::Convert { .. }
            | OpKind::BitcastConvert { .. }
            | OpKind::Constant { .. }
            | OpKind::Iota { .. }
            | OpKind::BroadcastInDim { .. }
            | OpKind::Reshape { .. }
            | OpKind::Slice { .. }
            | OpKind::DynamicSlice { .. }
            | OpKind::Pad { .. }
            | OpKind::Concatenate { .. }
            | OpKind::Reverse { .. } => fused(weight(kind) * made),
            OpKind::Transpose { .. } | OpKind::Gather { .. } => moved,
            OpKind::DynamicUpdateSlice {} => Cost {
                // The operand's memory is taken over; the update is read and written.
                bytes: 2 * operands.get(1).map_or(0, |update| size(update).1),
                launches: 1,
                ..Cost::default()
            },
            // Codes and scales are read in order and decoded where they are used.
            OpKind::Dequantize { .. } => Cost {
                bytes: input,
                vector_operations: 2 * made,
                ..Cost::default()
            },
            OpKind::Relayout { .. } => Cost {
                vector_operations: Self::RELAYOUT * made,
                ..kernel
            },
            OpKind::Reduce { .. } | OpKind::ColumnMean { .. } => Cost {
                vector_operations: read,
                ..kernel
            },
            OpKind::Quantize { .. } => Cost {
                vector_operations: Self::QUANTISE * made,
                ..kernel
            },
            OpKind::Hadamard { signs, .. } => Cost {
                vector_operations: made * u64::from(signs.len().max(1).ilog2() + 1),
                ..kernel
            },
            OpKind::DotGeneral {
                lhs_contracting_dimensions,
                ..
            } => {
                let sizes = operands.first().map_or(&[][..], |lhs| lhs.shape());
                let depth = lhs_contracting_dimensions.iter();
                let depth: usize = depth.filter_map(|&d| sizes.get(d)).product();
                Cost {
                    matrix_operations: made * depth as u64,
                    ..kernel
                }
            }
            OpKind::ScaledDot { .. } => {
                let [Some(lhs), Some(rhs)] = [0, 1].map(|number| operands[number].as_scaled())
                else {
                    return kernel;
                };
                let multiply_adds = made * lhs.columns() as u64;
                if is_integer_product(lhs, rhs) {
                    return Cost {
                        scaled_operations: multiply_adds,
                        ..kernel
                    };
                }
                // The product of what they stand for, written and read.
                let numbers = (4 * (operands[0].len() + operands[1].len())) as u64;
                Cost {
                    bytes: input + 2 * numbers + output,
                    matrix_operations: multiply_adds,
                    launches: 3,
                    ..Cost::default()
                }
            }
            // As many as there are where the groups take all rows: each element of lhs meets every column of the result.
            OpKind::GroupedDot { .. } => Cost {
                matrix_operations: read * columns,
                ..kernel
            },
            OpKind::GroupedScaledDot { .. } => Cost {
                scaled_operations: read * columns,
                ..kernel
            },
            OpKind::Orthonormalize {} => Cost {
                matrix_operations: read * operands[0].shape().last().map_or(1, |&k| k as u64),
                ..kernel
            },
            OpKind::SubspaceIterate { iterations } => Cost {
                // m v, mᵀ U, and orthonormalize.
                matrix_operations: 3
                    * read
                    * (*iterations as u64)
                    * results[0].shape().last().map_or(1, |&k| k as u64),
                ..kernel
            },
            // They are never chosen among others.
            OpKind::ReduceWindow { .. }
            | OpKind::Scatter { .. }
            | OpKind::Sort { .. }
            | OpKind::TopK { .. }
            | OpKind::Call { .. } => kernel,
            OpKind::While { .. } | OpKind::Case { .. } | OpKind::OptimizationBarrier {} => {
                Cost::default()
            }
        }
    }

    fn time(&self, cost: &Cost) -> u64 {
        Self::UNIT * (cost.bytes + cost.vector_operations + cost.launches * LAUNCH)
            + Self::MULTIPLY_ADD * cost.matrix_operations
            + Self::SCALED_MULTIPLY_ADD * cost.scaled_operations
    }
}
