//! `fold-unit-dimensions`: dimensions of 1 leave elementwise ops, reductions, products and what moves elements.
//!
//! Front ends keep reduced dimensions as dimensions of 1, so that `x / sum(x)` divides by a `4x128x1` tensor. Without
//! them that is the reduction's own `4x128` result, broadcast, which is what fusion looks for. Reshapes stay around the
//! ops that are rewritten; `canonicalise` merges them, and they cost nothing in the plan.

use crate::manager::{Pass, PassFailure, Report};
use crate::rebuild::{map_regions, push_like};
use tessera_ir::{Graph, Location, Module, OpError, OpKind, TensorType, ValueId};

/// The pass `fold-unit-dimensions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldUnitDimensions;

impl Pass for FoldUnitDimensions {
    fn name(&self) -> &'static str {
        "fold-unit-dimensions"
    }

    fn summary(&self) -> &'static str {
        "removes dimensions of 1 from computation, with reshapes around it"
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut folded = 0;
        let mut result = Module::new(module.name.clone());
        for graph in module.graphs() {
            result.insert(fold_graph(graph, &mut folded)?);
        }
        report.count("ops folded", folded);
        Ok(result)
    }
}

fn fold_graph(graph: &Graph, folded: &mut usize) -> Result<Graph, OpError> {
    graph.rebuild(|new, operation, operands| {
        let kind = map_regions(&operation.op.kind, |region| fold_graph(region, folded))?;
        let types: Option<Vec<TensorType>> = operands
            .iter()
            .map(|&operand| new.value_type(operand).as_tensor().cloned())
            .collect();
        let result =
            (operation.results().next()).and_then(|result| graph.value_type(result).as_tensor());
        // Scaled tensors keep their dimensions.
        let Some(smaller) =
            (types.zip(result)).and_then(|(types, result)| smaller(&kind, &types, result))
        else {
            return push_like(new, operation, kind, operands);
        };
        *folded += 1;
        let location = &operation.location;
        let mut reshaped = Vec::with_capacity(smaller.operands.len());
        for (number, shape) in smaller.operands {
            reshaped.push(reshape(new, operands[number], &shape, location)?);
        }
        let results = push_like(new, operation, smaller.kind, reshaped)?;
        let restored = operation.results().zip(results).map(|(old, value)| {
            let shape = &graph.tensor_type(old).shape;
            reshape(new, value, shape, location)
        });
        restored.collect()
    })
}

/// The value under another shape.
fn reshape(
    graph: &mut Graph,
    value: ValueId,
    shape: &[usize],
    location: &Location,
) -> Result<ValueId, OpError> {
    if graph.tensor_type(value).shape == shape {
        return Ok(value);
    }
    let shape = shape.to_vec();
    graph.push_value(OpKind::Reshape { shape }, [value], location.clone())
}

/// An op without dimensions of 1.
struct Smaller {
    kind: OpKind,
    /// Which of the old operands it has, and under which shape.
    operands: Vec<(usize, Vec<usize>)>,
}

/// The op without dimensions of 1; `None` where it has none that can go.
fn smaller(kind: &OpKind, operands: &[TensorType], result: &TensorType) -> Option<Smaller> {
    match kind {
        OpKind::Unary(_)
        | OpKind::Binary(_)
        | OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::Convert { .. } => {
            let kept = Kept::not_one(&result.shape)?;
            let operands = operands.iter().enumerate().map(|(number, operand)| {
                let is_scalar = operand.shape.is_empty();
                let shape = if is_scalar {
                    Vec::new()
                } else {
                    kept.of(&operand.shape)
                };
                (number, shape)
            });
            Some(Smaller {
                kind: kind.clone(),
                operands: operands.collect(),
            })
        }
        OpKind::Iota {
            dimension,
            tensor_type,
        } => {
            let kept = Kept::not_one(&result.shape)?;
            Some(Smaller {
                kind: OpKind::Iota {
                    dimension: kept.position(*dimension)?,
                    tensor_type: tensor_type.with_shape(kept.of(&tensor_type.shape)),
                },
                operands: Vec::new(),
            })
        }
        OpKind::BroadcastInDim {
            broadcast_dimensions,
            shape,
        } => {
            let kept = Kept::not_one(shape);
            let kept_operand = Kept::not_one(&operands[0].shape);
            if kept.is_none() && kept_operand.is_none() {
                return None;
            }
            let kept = kept.unwrap_or_else(|| Kept::all(shape.len()));
            let kept_operand = kept_operand.unwrap_or_else(|| Kept::all(operands[0].rank()));
            let dimensions = kept_operand.of(broadcast_dimensions);
            let dimensions: Option<Vec<usize>> =
                dimensions.into_iter().map(|d| kept.position(d)).collect();
            Some(Smaller {
                kind: OpKind::BroadcastInDim {
                    broadcast_dimensions: dimensions?,
                    shape: kept.of(shape),
                },
                operands: vec![(0, kept_operand.of(&operands[0].shape))],
            })
        }
        OpKind::Transpose { permutation } => {
            let kept = Kept::not_one(&operands[0].shape)?;
            let moved = permutation.iter().filter_map(|&d| kept.position(d));
            Some(Smaller {
                kind: OpKind::Transpose {
                    permutation: moved.collect(),
                },
                operands: vec![(0, kept.of(&operands[0].shape))],
            })
        }
        OpKind::Slice {
            start_indices,
            limit_indices,
            strides,
        } => {
            let kept = Kept::not_one_in_both(&operands[0].shape, &result.shape)?;
            Some(Smaller {
                kind: OpKind::Slice {
                    start_indices: kept.of(start_indices),
                    limit_indices: kept.of(limit_indices),
                    strides: kept.of(strides),
                },
                operands: vec![(0, kept.of(&operands[0].shape))],
            })
        }
        OpKind::DynamicSlice { slice_sizes } => {
            let kept = Kept::not_one_in_both(&operands[0].shape, slice_sizes)?;
            let mut new = vec![(0, kept.of(&operands[0].shape))];
            new.extend(kept.0.iter().map(|&d| (1 + d, Vec::new())));
            Some(Smaller {
                kind: OpKind::DynamicSlice {
                    slice_sizes: kept.of(slice_sizes),
                },
                operands: new,
            })
        }
        OpKind::DynamicUpdateSlice {} => {
            let kept = Kept::not_one_in_both(&operands[0].shape, &operands[1].shape)?;
            let mut new = vec![
                (0, kept.of(&operands[0].shape)),
                (1, kept.of(&operands[1].shape)),
            ];
            new.extend(kept.0.iter().map(|&d| (2 + d, Vec::new())));
            Some(Smaller {
                kind: OpKind::DynamicUpdateSlice {},
                operands: new,
            })
        }
        OpKind::Pad {
            edge_padding_low,
            edge_padding_high,
            interior_padding,
        } => {
            let shape = &operands[0].shape;
            let is_padded = |d: usize| edge_padding_low[d] != 0 || edge_padding_high[d] != 0;
            let kept = Kept::where_(shape.len(), |d| shape[d] != 1 || is_padded(d))?;
            Some(Smaller {
                kind: OpKind::Pad {
                    edge_padding_low: kept.of(edge_padding_low),
                    edge_padding_high: kept.of(edge_padding_high),
                    interior_padding: kept.of(interior_padding),
                },
                operands: vec![(0, kept.of(shape)), (1, Vec::new())],
            })
        }
        OpKind::Concatenate { dimension } => {
            let kept = Kept::where_(result.rank(), |d| result.shape[d] != 1 || d == *dimension)?;
            let shapes = operands.iter().map(|operand| kept.of(&operand.shape));
            Some(Smaller {
                kind: OpKind::Concatenate {
                    dimension: kept.position(*dimension)?,
                },
                operands: shapes.enumerate().collect(),
            })
        }
        OpKind::Reverse { dimensions } => {
            let kept = Kept::not_one(&result.shape)?;
            let reversed = dimensions.iter().filter_map(|&d| kept.position(d));
            Some(Smaller {
                kind: OpKind::Reverse {
                    dimensions: reversed.collect(),
                },
                operands: vec![(0, kept.of(&operands[0].shape))],
            })
        }
        OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            accumulator,
            element,
        } => {
            let of = |number: usize, batching, contracting| {
                Kept::of_factor(&operands[number].shape, batching, contracting)
            };
            let kept_lhs = of(0, lhs_batching_dimensions, lhs_contracting_dimensions);
            let kept_rhs = of(1, rhs_batching_dimensions, rhs_contracting_dimensions);
            if kept_lhs.0.len() + kept_rhs.0.len() == operands[0].rank() + operands[1].rank() {
                return None;
            }
            let positions = |kept: &Kept, dimensions: &[usize]| -> Vec<usize> {
                dimensions
                    .iter()
                    .filter_map(|&d| kept.position(d))
                    .collect()
            };
            Some(Smaller {
                kind: OpKind::DotGeneral {
                    lhs_batching_dimensions: positions(&kept_lhs, lhs_batching_dimensions),
                    rhs_batching_dimensions: positions(&kept_rhs, rhs_batching_dimensions),
                    lhs_contracting_dimensions: positions(&kept_lhs, lhs_contracting_dimensions),
                    rhs_contracting_dimensions: positions(&kept_rhs, rhs_contracting_dimensions),
                    accumulator: *accumulator,
                    element: *element,
                },
                operands: vec![
                    (0, kept_lhs.of(&operands[0].shape)),
                    (1, kept_rhs.of(&operands[1].shape)),
                ],
            })
        }
        OpKind::Reduce { dimensions, body } => {
            let inputs = operands.len() / 2;
            let shape = &operands[0].shape;
            let kept = Kept::not_one(shape)?;
            let reduced: Vec<usize> = dimensions
                .iter()
                .filter_map(|&d| kept.position(d))
                .collect();
            // Where nothing is left to reduce, the body is still applied to the init: canonicalisation does that.
            if reduced.is_empty() {
                return None;
            }
            let operands = operands.iter().enumerate().map(|(number, _)| {
                let is_input = number < inputs;
                (number, if is_input { kept.of(shape) } else { Vec::new() })
            });
            Some(Smaller {
                kind: OpKind::Reduce {
                    dimensions: reduced,
                    body: body.clone(),
                },
                operands: operands.collect(),
            })
        }
        OpKind::BitcastConvert { .. }
        | OpKind::Constant { .. }
        | OpKind::Reshape { .. }
        | OpKind::ReduceWindow { .. }
        | OpKind::Gather { .. }
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
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. }
        | OpKind::OptimizationBarrier {} => None,
    }
}

/// The dimensions that stay.
struct Kept(Vec<usize>);

impl Kept {
    /// All of a rank.
    fn all(rank: usize) -> Self {
        Self((0..rank).collect())
    }

    /// Those for which something holds; `None` where that is all.
    fn where_(rank: usize, stays: impl Fn(usize) -> bool) -> Option<Self> {
        let kept: Vec<usize> = (0..rank).filter(|&d| stays(d)).collect();
        (kept.len() < rank).then_some(Self(kept))
    }

    /// Those that are not 1; `None` where that is all.
    fn not_one(shape: &[usize]) -> Option<Self> {
        Self::where_(shape.len(), |d| shape[d] != 1)
    }

    /// Those that are not 1 in either of two shapes; `None` where that is all.
    fn not_one_in_both(a: &[usize], b: &[usize]) -> Option<Self> {
        Self::where_(a.len(), |d| a[d] != 1 || b[d] != 1)
    }

    /// Those of a factor of a product that are not 1, and the first of those that are contracted, or of those that are
    /// neither contracted nor batched, where all are 1.
    fn of_factor(shape: &[usize], batching: &[usize], contracting: &[usize]) -> Self {
        let is_free = |d: &usize| !batching.contains(d) && !contracting.contains(d);
        let free: Vec<usize> = (0..shape.len()).filter(is_free).collect();
        let is_kept_for = |dimensions: &[usize], d: usize| {
            dimensions.first() == Some(&d) && dimensions.iter().all(|&d| shape[d] == 1)
        };
        let stays =
            |&d: &usize| shape[d] != 1 || is_kept_for(contracting, d) || is_kept_for(&free, d);
        Self((0..shape.len()).filter(stays).collect())
    }

    /// The entries of those dimensions.
    fn of<T: Copy>(&self, entries: &[T]) -> Vec<T> {
        self.0.iter().map(|&d| entries[d]).collect()
    }

    /// The number a dimension has among those that stay.
    fn position(&self, dimension: usize) -> Option<usize> {
        self.0.iter().position(|&d| d == dimension)
    }
}
