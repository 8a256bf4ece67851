//! Products of scaled tensors: sums of codes times block scales in f32, then multiplied by the tensor scales.
//!
//! A code times its block scale is exact in f32, and so is the product of two such numbers of 4 bits.

use super::dot::Factors;
use crate::blocks::epilogue;
use crate::blocks::extent;
use crate::mlir::elemental::{Unsupported, stored_place};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value, scalar};
use tessera_ir::{ElementType, Graph, OpKind, Operation, ScaledType};
use tessera_numerics::Format;

/// A scaled_dot in flat dimensions.
pub struct ScaledProduct<'g> {
    operation: &'g Operation,
    element: ElementType,
    operands: [Operand<'g>; 2],
}

struct Operand<'g> {
    scaled_type: &'g ScaledType,
    batching: &'g [usize],
    free: Vec<usize>,
}

impl<'g> Operand<'g> {
    fn shape(&self, dimensions: &[usize]) -> Vec<usize> {
        dimensions
            .iter()
            .map(|&d| self.scaled_type.shape()[d])
            .collect()
    }
}

impl<'g> ScaledProduct<'g> {
    /// Of a dot kernel's body.
    pub fn of(graph: &'g Graph) -> Option<Self> {
        let operation = epilogue::product(graph)?;
        let OpKind::ScaledDot {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            element,
        } = &operation.op.kind
        else {
            return None;
        };
        let operand = |number: usize, batching: &'g [usize]| {
            let scaled_type = graph
                .value_type(operation.op.operands[number])
                .as_scaled()?;
            let free = (0..scaled_type.shape().len())
                .filter(|d| *d != scaled_type.axis() && !batching.contains(d))
                .collect();
            Some(Operand {
                scaled_type,
                batching,
                free,
            })
        };
        Some(Self {
            operation,
            element: *element,
            operands: [
                operand(0, lhs_batching_dimensions)?,
                operand(1, rhs_batching_dimensions)?,
            ],
        })
    }
}

impl<'g> ScaledProduct<'g> {
    /// The scaled_dot.
    pub fn operation(&self) -> &'g Operation {
        self.operation
    }

    /// The operands' formats.
    pub fn formats(&self) -> [Format; 2] {
        self.types().map(ScaledType::format)
    }

    /// The rows of lhs or the columns of rhs in a product of the batch.
    pub fn rows(&self, operand: usize) -> i64 {
        let own = &self.operands[operand];
        extent(&own.shape(&own.free))
    }

    /// The types of the operands.
    pub fn types(&self) -> [&'g ScaledType; 2] {
        [0, 1].map(|operand| self.operands[operand].scaled_type)
    }

    /// The row of an operand's storage that has its numbers at a place in the batch and among its rows or columns.
    pub fn stored_row(&self, operand: usize, batch: &Expression, free: &Expression) -> Expression {
        let indices = self.operands[operand].indices([batch, free, &Expression::constant(0)]);
        stored_place(self.operands[operand].scaled_type, &indices).0
    }
}

impl Operand<'_> {
    /// The indices of the element at places in the batch, among the rows or columns, and along the axis.
    fn indices(&self, [batch, free, contracted]: [&Expression; 3]) -> Vec<Expression> {
        let mut indices = vec![contracted.clone(); self.scaled_type.shape().len()];
        let groups = [(self.batching, batch), (&self.free[..], free)];
        for (dimensions, place) in groups {
            let places = index::delinearize(place, &self.shape(dimensions));
            for (&d, index) in dimensions.iter().zip(places) {
                indices[d] = index;
            }
        }
        indices
    }
}

impl Factors for ScaledProduct<'_> {
    fn operation(&self) -> &Operation {
        self.operation
    }

    fn extents(&self) -> [i64; 4] {
        let [lhs, rhs] = &self.operands;
        [
            extent(&lhs.shape(lhs.batching)),
            extent(&lhs.shape(&lhs.free)),
            extent(&rhs.shape(&rhs.free)),
            lhs.scaled_type.columns() as i64,
        ]
    }

    fn accumulator(&self) -> ElementType {
        ElementType::F32
    }

    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        places: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported> {
        let own = &self.operands[operand];
        let (row, column) = stored_place(own.scaled_type, &own.indices(places));
        let value = self.operation.op.operands[operand];
        (emission.elemental).unscaled(self.operation, value, &row, &column)
    }

    fn scaled<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sums: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        times_tensor_scales(emission, self.operation, sums)
    }

    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        [batch, row, column]: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let rounded = scalar::convert(&b, ElementType::F32, self.element, sum);
        let [lhs, rhs] = &self.operands;
        let mut indices = index::delinearize(batch, &lhs.shape(lhs.batching));
        indices.extend(index::delinearize(row, &lhs.shape(&lhs.free)));
        indices.extend(index::delinearize(column, &rhs.shape(&rhs.free)));
        epilogue::write(emission, self.operation, &indices, rounded)
    }
}

/// Sums times the tensor scales of the operands of `operation` that are scaled tensors, one after the other.
///
/// # Errors
/// One is none of the kernel's inputs.
pub fn times_tensor_scales<'c>(
    emission: &mut Emission<'c, '_>,
    operation: &Operation,
    sums: &[Value<'c>],
) -> Result<Vec<Value<'c>>, Unsupported> {
    let body = &emission.kernel.body;
    let mut sums = sums.to_vec();
    for &operand in &operation.op.operands {
        if body.value_type(operand).as_scaled().is_none() {
            continue;
        }
        if let Some(scale) = emission.elemental.tensor_scale(operation, operand)? {
            let b = emission.elemental.builder();
            for sum in &mut sums {
                *sum = b.binary("arith.mulf", *sum, scale);
            }
        }
    }
    Ok(sums)
}
