//! The ops that make, rearrange, take apart and index tensors, and the matrix product.

use super::Builder;
use crate::rules::OpError;
use crate::{
    DotDimensionNumbers, ElementType, GatherDimensionNumbers, OpKind, TensorType, ValueId,
};

/// Shapes, slices, indices and products.
impl Builder {
    /// 0, 1, 2, … along one dimension of a tensor of that type.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn iota(&mut self, dimension: usize, tensor_type: TensorType) -> Result<ValueId, OpError> {
        let kind = OpKind::Iota {
            dimension,
            tensor_type,
        };
        self.push_value(kind, [])
    }

    /// The operand repeated to a shape; its dimension `i` becomes dimension `broadcast_dimensions[i]`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn broadcast_in_dim(
        &mut self,
        operand: ValueId,
        broadcast_dimensions: &[usize],
        shape: &[usize],
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::BroadcastInDim {
            broadcast_dimensions: broadcast_dimensions.to_vec(),
            shape: shape.to_vec(),
        };
        self.push_value(kind, [operand])
    }

    /// The same elements in the same row-major order under another shape.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reshape(&mut self, operand: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let shape = shape.to_vec();
        self.push_value(OpKind::Reshape { shape }, [operand])
    }

    /// Result dimension `i` is operand dimension `permutation[i]`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn transpose(
        &mut self,
        operand: ValueId,
        permutation: &[usize],
    ) -> Result<ValueId, OpError> {
        let permutation = permutation.to_vec();
        self.push_value(OpKind::Transpose { permutation }, [operand])
    }

    /// The elements from `start_indices` up to `limit_indices`, every `strides`-th.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn slice(
        &mut self,
        operand: ValueId,
        start_indices: &[usize],
        limit_indices: &[usize],
        strides: &[usize],
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::Slice {
            start_indices: start_indices.to_vec(),
            limit_indices: limit_indices.to_vec(),
            strides: strides.to_vec(),
        };
        self.push_value(kind, [operand])
    }

    /// A slice that starts at scalar operands, clamped so that it lies inside.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn dynamic_slice(
        &mut self,
        operand: ValueId,
        start_indices: &[ValueId],
        slice_sizes: &[usize],
    ) -> Result<ValueId, OpError> {
        let slice_sizes = slice_sizes.to_vec();
        let operands = [&[operand], start_indices].concat();
        self.push_value(OpKind::DynamicSlice { slice_sizes }, operands)
    }

    /// The operand with a slice replaced by the update; starts are clamped.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn dynamic_update_slice(
        &mut self,
        operand: ValueId,
        update: ValueId,
        start_indices: &[ValueId],
    ) -> Result<ValueId, OpError> {
        let operands = [&[operand, update], start_indices].concat();
        self.push_value(OpKind::DynamicUpdateSlice {}, operands)
    }

    /// Padding at the edges (negative: cut away) and between elements.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn pad(
        &mut self,
        operand: ValueId,
        padding_value: ValueId,
        edge_padding_low: &[i64],
        edge_padding_high: &[i64],
        interior_padding: &[usize],
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::Pad {
            edge_padding_low: edge_padding_low.to_vec(),
            edge_padding_high: edge_padding_high.to_vec(),
            interior_padding: interior_padding.to_vec(),
        };
        self.push_value(kind, [operand, padding_value])
    }

    /// The operands one after another along a dimension.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn concatenate(
        &mut self,
        operands: &[ValueId],
        dimension: usize,
    ) -> Result<ValueId, OpError> {
        self.push_value(OpKind::Concatenate { dimension }, operands)
    }

    /// The elements in opposite order along the dimensions.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reverse(&mut self, operand: ValueId, dimensions: &[usize]) -> Result<ValueId, OpError> {
        let dimensions = dimensions.to_vec();
        self.push_value(OpKind::Reverse { dimensions }, [operand])
    }

    /// Slices of the operand at positions that are data, in no promised order.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn gather(
        &mut self,
        operand: ValueId,
        start_indices: ValueId,
        numbers: &GatherDimensionNumbers<'_>,
        slice_sizes: &[usize],
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::Gather {
            offset_dims: numbers.offset_dims.to_vec(),
            collapsed_slice_dims: numbers.collapsed_slice_dims.to_vec(),
            operand_batching_dims: numbers.operand_batching_dims.to_vec(),
            start_indices_batching_dims: numbers.start_indices_batching_dims.to_vec(),
            start_index_map: numbers.start_index_map.to_vec(),
            index_vector_dim: numbers.index_vector_dim,
            slice_sizes: slice_sizes.to_vec(),
            indices_are_sorted: false,
        };
        self.push_value(kind, [operand, start_indices])
    }

    /// Sums of products made in `accumulator` precision, then rounded to `element`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn dot_general(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        numbers: &DotDimensionNumbers<'_>,
        accumulator: ElementType,
        element: ElementType,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::DotGeneral {
            lhs_batching_dimensions: numbers.lhs_batching.to_vec(),
            rhs_batching_dimensions: numbers.rhs_batching.to_vec(),
            lhs_contracting_dimensions: numbers.lhs_contracting.to_vec(),
            rhs_contracting_dimensions: numbers.rhs_contracting.to_vec(),
            accumulator,
            element,
        };
        self.push_value(kind, [lhs, rhs])
    }

    /// Products of groups of rows, summed over dimension `contracting[0]` of lhs and `contracting[1]` of rhs in f32
    /// precision, then rounded to `element`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn grouped_dot(
        &mut self,
        lhs: ValueId,
        rhs: ValueId,
        group_sizes: ValueId,
        contracting: [usize; 2],
        element: ElementType,
    ) -> Result<ValueId, OpError> {
        let kind = OpKind::GroupedDot {
            lhs_contracting_dimension: contracting[0],
            rhs_contracting_dimension: contracting[1],
            accumulator: ElementType::F32,
            element,
        };
        self.push_value(kind, [lhs, rhs, group_sizes])
    }

    /// The `k` largest along the fastest dimension, largest first, and their indices.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn top_k(&mut self, operand: ValueId, k: usize) -> Result<(ValueId, ValueId), OpError> {
        let id = self
            .graph
            .push(OpKind::TopK { k }, [operand], self.location.clone())?;
        let mut results = self.graph.operation(id).results();
        let mut next = || results.next().expect("top_k has two results");
        Ok((next(), next()))
    }

    /// The operands themselves; keeps ops from being moved or merged across it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn optimization_barrier(&mut self, operands: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
        self.push(OpKind::OptimizationBarrier {}, operands)
    }
}
