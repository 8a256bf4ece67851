//! Which dimensions of its operands an op puts together: the attributes of the ops that have many, by name.

/// The attributes of `dot_general` that number dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DotDimensionNumbers<'a> {
    /// Dimensions of lhs that go together with `rhs_batching` and stay.
    pub lhs_batching: &'a [usize],
    /// Dimensions of rhs that go together with `lhs_batching` and stay.
    pub rhs_batching: &'a [usize],
    /// Dimensions of lhs that go together with `rhs_contracting` and are summed over.
    pub lhs_contracting: &'a [usize],
    /// Dimensions of rhs that go together with `lhs_contracting` and are summed over.
    pub rhs_contracting: &'a [usize],
}

/// The attributes of `gather` that number dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherDimensionNumbers<'a> {
    /// Dimensions of the result along which a slice lies.
    pub offset_dims: &'a [usize],
    /// Dimensions of the operand, of size 1 in a slice, that the result lacks.
    pub collapsed_slice_dims: &'a [usize],
    /// Dimensions of the operand that go together with `start_indices_batching_dims`.
    pub operand_batching_dims: &'a [usize],
    /// Dimensions of the start indices that go together with `operand_batching_dims`.
    pub start_indices_batching_dims: &'a [usize],
    /// The operand dimension that each component of an index vector counts in.
    pub start_index_map: &'a [usize],
    /// The dimension of the start indices along which an index vector lies; their rank where each is a single number.
    pub index_vector_dim: usize,
}

/// The attributes of `scatter` that number dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScatterDimensionNumbers<'a> {
    /// Dimensions of the updates along which a slice lies.
    pub update_window_dims: &'a [usize],
    /// Dimensions of the inputs, of size 1 in a slice, that the updates lack.
    pub inserted_window_dims: &'a [usize],
    /// Dimensions of the inputs that go together with `scatter_indices_batching_dims`.
    pub input_batching_dims: &'a [usize],
    /// Dimensions of the scatter indices that go together with `input_batching_dims`.
    pub scatter_indices_batching_dims: &'a [usize],
    /// The input dimension that each component of an index vector counts in.
    pub scatter_dims_to_operand_dims: &'a [usize],
    /// The dimension of the scatter indices along which an index vector lies; their rank where each is a single number.
    pub index_vector_dim: usize,
}

/// The attributes of `reduce_window` that say where windows lie; of each, an entry for every dimension of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowAttributes<'a> {
    /// The elements of a window.
    pub window_dimensions: &'a [usize],
    /// From one window to the next.
    pub window_strides: &'a [usize],
    /// From one input element to the next; the places between hold the inits.
    pub base_dilations: &'a [usize],
    /// From one element of a window to the next.
    pub window_dilations: &'a [usize],
    /// Places before the first input element, which hold the inits; negative: elements cut away.
    pub padding_low: &'a [i64],
    /// Places after the last input element, likewise.
    pub padding_high: &'a [i64],
}
