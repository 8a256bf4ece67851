//! Index ops: where in its operands an op's element is.

use super::{Elemental, Unsupported};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Value, scalar};
use tessera_ir::{ElementType, GatherDimensionNumbers, OpKind, Operation, ValueId};

impl<'c> Elemental<'c, '_> {
    pub(super) fn index_op(
        &mut self,
        operation: &Operation,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let operands = &operation.op.operands;
        let graph = self.graph;
        let shape = |i: usize| &graph.tensor_type(operands[i]).shape[..];
        let result = graph.tensor_type(operation.result());
        match &operation.op.kind {
            OpKind::BroadcastInDim {
                broadcast_dimensions,
                ..
            } => {
                let source: Vec<Expression> = (shape(0).iter().zip(broadcast_dimensions))
                    .map(|(&extent, &to)| match extent {
                        1 => Expression::constant(0),
                        _ => indices[to].clone(),
                    })
                    .collect();
                self.element(operands[0], &source)
            }
            OpKind::Reshape { .. } => {
                let position = index::linearize(indices, &result.shape);
                self.element(operands[0], &index::delinearize(&position, shape(0)))
            }
            OpKind::Transpose { permutation } => {
                let mut source = vec![Expression::constant(0); indices.len()];
                for (index, &from) in indices.iter().zip(permutation) {
                    source[from] = index.clone();
                }
                self.element(operands[0], &source)
            }
            OpKind::Slice {
                start_indices,
                strides,
                ..
            } => {
                let source: Vec<Expression> = (indices.iter())
                    .zip(start_indices.iter().zip(strides))
                    .map(|(index, (&start, &stride))| {
                        index.times(stride as i64).plus_constant(start as i64)
                    })
                    .collect();
                self.element(operands[0], &source)
            }
            OpKind::Reverse { dimensions } => {
                let source: Vec<Expression> = (indices.iter().enumerate())
                    .map(|(d, index)| {
                        if dimensions.contains(&d) {
                            index.times(-1).plus_constant(shape(0)[d] as i64 - 1)
                        } else {
                            index.clone()
                        }
                    })
                    .collect();
                self.element(operands[0], &source)
            }
            OpKind::DynamicSlice { slice_sizes } => {
                let mut source = Vec::with_capacity(indices.len());
                for (d, index) in indices.iter().enumerate() {
                    let last = (shape(0)[d] - slice_sizes[d]) as i64;
                    source.push(self.start(operands[1 + d], &[], last)?.plus(index));
                }
                self.element(operands[0], &source)
            }
            OpKind::Concatenate { dimension } => self.concatenated(operands, *dimension, indices),
            OpKind::Pad {
                edge_padding_low,
                interior_padding,
                ..
            } => self.padded(operands, edge_padding_low, interior_padding, indices),
            OpKind::Iota { dimension, .. } => Ok(self.count(&indices[*dimension], result.element)),
            OpKind::BitcastConvert { .. } => {
                self.bits_of_other_width(operands[0], result.element, indices)
            }
            kind @ OpKind::Gather { slice_sizes, .. } => {
                let dimensions = gather_dimensions(kind).expect("the op is a gather");
                self.gathered(operands, &dimensions, slice_sizes, indices)
            }
            _ => Err(Unsupported::new(operation, "is not an index op")),
        }
    }

    fn concatenated(
        &mut self,
        operands: &[ValueId],
        dimension: usize,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let (&first, rest) = operands
            .split_first()
            .expect("there is at least one operand");
        let extent = self.graph.tensor_type(first).shape[dimension] as i64;
        let mut shifted = indices.to_vec();
        shifted[dimension] = indices[dimension].plus_constant(-extent);
        if rest.is_empty() {
            return self.element(first, indices);
        }
        let beyond = self.reaches(&indices[dimension], extent);
        let result = scalar::register_type(&self.builder(), self.graph.tensor_type(first).element);
        self.choose(
            vec![beyond],
            result,
            |this| this.concatenated(rest, dimension, &shifted),
            |this| this.element(first, indices),
        )
    }

    fn padded(
        &mut self,
        operands: &[ValueId],
        low: &[i64],
        interior: &[usize],
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let offsets: Vec<Expression> = (indices.iter().zip(low))
            .map(|(index, &low)| index.plus_constant(-low))
            .collect();
        let steps: Vec<i64> = interior.iter().map(|&gap| gap as i64 + 1).collect();
        self.element_or_padding(operands[0], &offsets, &steps, operands[1])
    }

    /// The element of `value` that stands at `offsets` once its elements are `steps` apart in each dimension; between
    /// them and beyond them, the scalar `padding`.
    ///
    /// # Errors
    /// As [`element`](Self::element).
    pub fn element_or_padding(
        &mut self,
        value: ValueId,
        offsets: &[Expression],
        steps: &[i64],
        padding: ValueId,
    ) -> Result<Value<'c>, Unsupported> {
        let operand = self.graph.tensor_type(value);
        let result = scalar::register_type(&self.builder(), operand.element);
        if operand.is_empty() {
            return self.element(padding, &[]);
        }
        let mut conditions = Vec::new();
        let mut source = Vec::with_capacity(offsets.len());
        for ((offset, &step), &extent) in offsets.iter().zip(steps).zip(&operand.shape) {
            let last = (extent as i64 - 1) * step;
            conditions.push(self.reaches(offset, 0));
            // last ≥ offset
            conditions.push(self.reaches(&offset.times(-1), -last));
            if step > 1 {
                // −(offset mod step) ≥ 0
                conditions.push(self.reaches(&offset.remainder(step).times(-1), 0));
            }
            source.push(offset.quotient(step));
        }
        self.choose(
            conditions,
            result,
            |this| this.element(value, &source),
            |this| this.element(padding, &[]),
        )
    }

    /// An index as an element: what iota counts. The narrowest integer that holds it converts fastest.
    fn count(&mut self, index: &Expression, element: ElementType) -> Value<'c> {
        let (_, upper) = index.range();
        let from = if upper <= i64::from(i16::MAX) {
            ElementType::I16
        } else if upper <= i64::from(i32::MAX) {
            ElementType::I32
        } else {
            ElementType::I64
        };
        let number = self.number(index);
        let b = self.builder();
        let narrow = scalar::convert(&b, ElementType::I64, from, number);
        scalar::convert(&b, from, element, narrow)
    }

    /// The same bits in elements of another width. The fastest dimension of the wider type's elements counts the
    /// narrower parts, the low bits first.
    fn bits_of_other_width(
        &mut self,
        operand: ValueId,
        to: ElementType,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let from = self.graph.tensor_type(operand).element;
        let (from_bits, to_bits) = (8 * from.size() as i64, 8 * to.size() as i64);
        if from_bits >= to_bits {
            let (source, part) = match indices.split_last() {
                Some((part, source)) if from_bits > to_bits => (source, Some(part)),
                _ => (indices, None),
            };
            let x = self.element(operand, source)?;
            let part = part.map(|part| self.number(part));
            let b = self.builder();
            let mut bits = scalar::to_bits(&b, from, x);
            if let Some(part) = part {
                let t = b.integer(from_bits as u32);
                let part = scalar::convert(&b, ElementType::I64, unsigned(from), part);
                let amount = b.binary("arith.muli", part, b.constant_integer(t, to_bits));
                let low = b.binary("arith.shrui", bits, amount);
                bits = b.cast("arith.trunci", low, b.integer(to_bits as u32));
            }
            return Ok(scalar::from_bits(&b, to, bits));
        }
        let t = self.builder().integer(to_bits as u32);
        let mut bits = self.builder().constant_integer(t, 0);
        for part in 0..to_bits / from_bits {
            let mut source = indices.to_vec();
            source.push(Expression::constant(part));
            let x = self.element(operand, &source)?;
            let b = self.builder();
            let wide = b.cast("arith.extui", scalar::to_bits(&b, from, x), t);
            let amount = b.constant_integer(t, part * from_bits);
            bits = b.binary("arith.ori", bits, b.binary("arith.shli", wide, amount));
        }
        Ok(scalar::from_bits(&self.builder(), to, bits))
    }

    fn gathered(
        &mut self,
        operands: &[ValueId],
        dimensions: &GatherDimensionNumbers<'_>,
        slice_sizes: &[usize],
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let operand_shape = &self.graph.tensor_type(operands[0]).shape;
        let batch: Vec<&Expression> = (indices.iter().enumerate())
            .filter(|(d, _)| !dimensions.offset_dims.contains(d))
            .map(|(_, index)| index)
            .collect();
        let mut source = vec![Expression::constant(0); slice_sizes.len()];
        for (component, &d) in dimensions.start_index_map.iter().enumerate() {
            let last = (operand_shape[d] - slice_sizes[d]) as i64;
            let rank = self.graph.tensor_type(operands[1]).rank();
            let at = index_vector(&batch, dimensions.index_vector_dim, rank, component);
            source[d] = self.start(operands[1], &at, last)?;
        }
        for (&d, &from) in
            (dimensions.operand_batching_dims.iter()).zip(dimensions.start_indices_batching_dims)
        {
            // The batch indices are those of the start indices without the index vector's dimension.
            let position = from - usize::from(from > dimensions.index_vector_dim);
            source[d] = batch[position].clone();
        }
        let kept = (0..slice_sizes.len()).filter(|d| {
            !dimensions.collapsed_slice_dims.contains(d)
                && !dimensions.operand_batching_dims.contains(d)
        });
        for (d, &offset) in kept.zip(dimensions.offset_dims) {
            source[d] = source[d].plus(&indices[offset]);
        }
        self.element(operands[0], &source)
    }
}

/// The indices of one component of an index vector: `batch`, with the component at `index_vector_dim`. Where that is
/// the rank of the indices tensor, an index vector is a single number.
pub fn index_vector(
    batch: &[&Expression],
    index_vector_dim: usize,
    rank: usize,
    component: usize,
) -> Vec<Expression> {
    let mut at: Vec<Expression> = batch.iter().copied().cloned().collect();
    if index_vector_dim < rank {
        at.insert(index_vector_dim, Expression::constant(component as i64));
    }
    at
}

/// The dimension numbers of a gather.
fn gather_dimensions(kind: &OpKind) -> Option<GatherDimensionNumbers<'_>> {
    match kind {
        OpKind::Gather {
            offset_dims,
            collapsed_slice_dims,
            operand_batching_dims,
            start_indices_batching_dims,
            start_index_map,
            index_vector_dim,
            ..
        } => Some(GatherDimensionNumbers {
            offset_dims,
            collapsed_slice_dims,
            operand_batching_dims,
            start_indices_batching_dims,
            start_index_map,
            index_vector_dim: *index_vector_dim,
        }),
        _ => None,
    }
}

/// The unsigned integer type of an element's width.
fn unsigned(element: ElementType) -> ElementType {
    match element.size() {
        1 => ElementType::Ui8,
        2 => ElementType::Ui16,
        4 => ElementType::Ui32,
        _ => ElementType::Ui64,
    }
}
