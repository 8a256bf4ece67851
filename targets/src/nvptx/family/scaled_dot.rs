//! Products of scaled tensors: sums of codes times block scales in f32, then multiplied by the tensor scales.
//!
//! A code times its block scale is exact in f32, and so is the product of two such numbers of 4 bits.

use super::dot::Factors;
use super::edges::{Condition, clamped};
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
    operands: [Codes<'g>; 2],
}

/// An operand that is a scaled tensor: its rows of storage lie along what is summed over.
pub struct Codes<'g> {
    /// What it is.
    pub scaled_type: &'g ScaledType,
    batching: &'g [usize],
    free: Vec<usize>,
}

impl<'g> Codes<'g> {
    /// One whose dimensions `batching` are those of a batch.
    pub fn new(scaled_type: &'g ScaledType, batching: &'g [usize]) -> Self {
        let free = (0..scaled_type.shape().len())
            .filter(|d| *d != scaled_type.axis() && !batching.contains(d))
            .collect();
        Self {
            scaled_type,
            batching,
            free,
        }
    }

    /// The rows or columns that it has in a product of the batch.
    pub fn rows(&self) -> i64 {
        extent(&self.shape(&self.free))
    }

    /// The row of storage that has the numbers at a place in the batch and among the rows or columns.
    pub fn stored_row(&self, batch: &Expression, free: &Expression) -> Expression {
        let indices = self.indices([batch, free, &Expression::constant(0)]);
        stored_place(self.scaled_type, &indices).0
    }

    /// The same of the last row or column where a place is beyond it, and whether it is there.
    pub fn held_row<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        batch: &Expression,
        free: &Expression,
    ) -> (Expression, Condition<'c>) {
        let (free, is_there) = clamped(emission, free, self.rows() - 1);
        (self.stored_row(batch, &free), is_there)
    }

    /// The products of the batch, one where it has no dimension of it.
    pub fn batches(&self) -> i64 {
        extent(&self.shape(self.batching))
    }

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
            Some(Codes::new(scaled_type, batching))
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
    /// The operands' formats.
    pub fn formats(&self) -> [Format; 2] {
        self.types().map(ScaledType::format)
    }

    /// The operands.
    pub fn codes(&self) -> &[Codes<'g>; 2] {
        &self.operands
    }

    /// The types of the operands.
    pub fn types(&self) -> [&'g ScaledType; 2] {
        self.operands.each_ref().map(|own| own.scaled_type)
    }
}

impl Codes<'_> {
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
