//! The one definition of each op: its name in the text form, attributes, regions.
//!
//! An op added here is then asked for, by exhaustive matches, in `rules` (types and constraints), the interpreter, the
//! passes and the targets. Printer and parser need nothing more: they work on the parts declared here.

use super::parts::{OpParts, PartsError, RegionField, ResultField};
use super::{Binary, CompareType, ComparisonDirection, Symbol, Unary};
use crate::attribute::{Attribute, AttributeField};
use crate::{Region, TensorType, Type};
use tessera_numerics::{ElementType, Rounding, ScaleRule, ScaledType, Tensor};

/// Declares the ops that have parts of their own. Of each: the spelling, the attributes as they are printed
/// (`attributes`), what the printed result types say already (`result`), and the graphs it holds (`regions`).
macro_rules! operations {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $name:literal {
            $(attributes { $($attribute:ident: $attribute_type:ty),* $(,)? })?
            $(result { $($result:ident: $result_type:ty),* $(,)? })?
            $(regions { $($region:ident: $region_type:ty),* $(,)? })?
        }
    )*) => {
        /// What an op computes, with everything about it but its operands.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OpKind {
            /// A function of one tensor, element by element.
            Unary(Unary),
            /// A function of two tensors of one type, element by element.
            Binary(Binary),
            $(
                $(#[$doc])*
                $variant {
                    $($(#[doc = concat!("The attribute `", stringify!($attribute), "`.")] $attribute: $attribute_type,)*)?
                    $($(#[doc = concat!("The result's ", stringify!($result), ".")] $result: $result_type,)*)?
                    $($(#[doc = concat!("The region `", stringify!($region), "`.")] $region: $region_type,)*)?
                },
            )*
        }

        impl OpKind {
            /// The name in the text form, without the dialect: `add`, `dot_general`.
            pub const fn name(&self) -> &'static str {
                match self {
                    Self::Unary(function) => function.name(),
                    Self::Binary(function) => function.name(),
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// The names of all ops, in the order of their definition.
            pub fn names() -> impl Iterator<Item = &'static str> {
                Unary::ALL
                    .iter()
                    .map(|function| function.name())
                    .chain(Binary::ALL.iter().map(|function| function.name()))
                    .chain([$($name),*])
            }

            /// The attributes to print, in the order of their definition.
            pub fn attributes(&self) -> Vec<(&'static str, Attribute)> {
                match self {
                    Self::Unary(_) | Self::Binary(_) => Vec::new(),
                    $(Self::$variant { $($($attribute,)*)? .. } => {
                        vec![$($((stringify!($attribute), $attribute.to_attribute())),*)?]
                    })*
                }
            }

            /// The graphs the op holds, in the order of their definition.
            pub fn regions(&self) -> Vec<&Region> {
                match self {
                    Self::Unary(_) | Self::Binary(_) => Vec::new(),
                    $(Self::$variant { $($($region,)*)? .. } => {
                        #[allow(unused_mut, reason = "most ops hold no graph")]
                        let mut regions: Vec<&Region> = Vec::new();
                        $($($region.list(&mut regions);)*)?
                        regions
                    })*
                }
            }

            /// The names of [`regions`](Self::regions) in the op's definition; those of one list have one name.
            pub fn region_names(&self) -> Vec<&'static str> {
                match self {
                    Self::Unary(_) | Self::Binary(_) => Vec::new(),
                    $(Self::$variant { $($($region,)*)? .. } => {
                        #[allow(unused_mut, reason = "most ops hold no graph")]
                        let mut names: Vec<&'static str> = Vec::new();
                        $($({
                            let mut regions = Vec::new();
                            $region.list(&mut regions);
                            names.extend(regions.iter().map(|_| stringify!($region)));
                        })*)?
                        names
                    })*
                }
            }

            /// The same op with each graph it holds replaced by what `replace` makes of it.
            ///
            /// # Errors
            /// The first error `replace` returns.
            pub fn try_map_regions<E>(
                &self,
                mut replace: impl FnMut(&Region) -> Result<Region, E>,
            ) -> Result<Self, E> {
                let _ = &mut replace;
                Ok(match self {
                    Self::Unary(function) => Self::Unary(*function),
                    Self::Binary(function) => Self::Binary(*function),
                    $(Self::$variant {
                        $($($attribute,)*)? $($($result,)*)? $($($region,)*)?
                    } => Self::$variant {
                        $($($attribute: $attribute.clone(),)*)?
                        $($($result: $result.clone(),)*)?
                        $($($region: $region.try_map(&mut replace)?,)*)?
                    },)*
                })
            }

            /// The op of the given name made of parts that were read from text.
            ///
            /// # Errors
            /// There is no such op, or a part is missing, superfluous or of the wrong kind.
            pub fn from_parts(name: &str, mut parts: OpParts<'_>) -> Result<Self, PartsError> {
                let kind = match name {
                    $($name => Self::$variant {
                        $($($attribute: parts.attribute(stringify!($attribute))?,)*)?
                        $($($result: <$result_type>::from_result(parts.result_types)?,)*)?
                        $($($region: parts.region(stringify!($region))?,)*)?
                    },)*
                    _ => Unary::from_name(name)
                        .map(Self::Unary)
                        .or_else(|| Binary::from_name(name).map(Self::Binary))
                        .ok_or_else(|| PartsError::unknown_op(name))?,
                };
                parts.expect_empty()?;
                Ok(kind)
            }
        }
    };
}

operations! {
    /// Tests a relation between two tensors of one type; a tensor of booleans.
    Compare = "compare" {
        attributes { direction: ComparisonDirection, compare_type: CompareType }
    }

    /// `select(predicate, on_true, on_false)`, element by element; the predicate may be a scalar.
    Select = "select" {}

    /// `clamp(min, operand, max)`: the operand held between the bounds; a bound may be a scalar.
    Clamp = "clamp" {}

    /// The same numbers in another element type. Floats become integers by truncation toward zero.
    Convert = "convert" {
        result { element: ElementType }
    }

    /// The same bits in another element type. Where the widths differ, a fastest dimension of their ratio comes or goes.
    BitcastConvert = "bitcast_convert" {
        result { element: ElementType }
    }

    /// A tensor known when the graph is made.
    Constant = "constant" {
        attributes { value: Tensor }
    }

    /// Counts 0, 1, 2, … along one dimension.
    Iota = "iota" {
        attributes { dimension: usize }
        result { tensor_type: TensorType }
    }

    /// Operand dimension `i` becomes result dimension `broadcast_dimensions[i]`; a dimension of 1, and each dimension
    /// that is not named, is repeated.
    BroadcastInDim = "broadcast_in_dim" {
        attributes { broadcast_dimensions: Vec<usize> }
        result { shape: Vec<usize> }
    }

    /// The same elements in the same row-major order under another shape.
    Reshape = "reshape" {
        result { shape: Vec<usize> }
    }

    /// Result dimension `i` is operand dimension `permutation[i]`.
    Transpose = "transpose" {
        attributes { permutation: Vec<usize> }
    }

    /// The elements from `start_indices` up to `limit_indices`, every `strides`-th.
    Slice = "slice" {
        attributes { start_indices: Vec<usize>, limit_indices: Vec<usize>, strides: Vec<usize> }
    }

    /// `dynamic_slice(operand, start…)`: a slice that starts at scalar operands, clamped so that it lies inside.
    DynamicSlice = "dynamic_slice" {
        attributes { slice_sizes: Vec<usize> }
    }

    /// `dynamic_update_slice(operand, update, start…)`: the operand with a slice replaced; starts are clamped.
    DynamicUpdateSlice = "dynamic_update_slice" {}

    /// `pad(operand, padding_value)`: padding at the edges (negative: cut away) and between elements.
    Pad = "pad" {
        attributes { edge_padding_low: Vec<i64>, edge_padding_high: Vec<i64>, interior_padding: Vec<usize> }
    }

    /// The operands one after another along a dimension.
    Concatenate = "concatenate" {
        attributes { dimension: usize }
    }

    /// The elements in opposite order along the dimensions.
    Reverse = "reverse" {
        attributes { dimensions: Vec<usize> }
    }

    /// `reduce(input…, init…)`: inputs combined along `dimensions` by `body`, a graph of scalars
    /// `(accumulator…, element…) -> (accumulator…)` that is associative, with the inits as neutral elements.
    Reduce = "reduce" {
        attributes { dimensions: Vec<usize> }
        regions { body: Region }
    }

    /// `reduce_window(input…, init…)`: `body` applied over a sliding window.
    ReduceWindow = "reduce_window" {
        attributes {
            window_dimensions: Vec<usize>,
            window_strides: Vec<usize>,
            base_dilations: Vec<usize>,
            window_dilations: Vec<usize>,
            padding_low: Vec<i64>,
            padding_high: Vec<i64>,
        }
        regions { body: Region }
    }

    /// Sums of products: batching dimensions go together, contracting dimensions are summed over. The result's
    /// dimensions are batching, then the rest of lhs, then the rest of rhs. Products and sums are made in
    /// `accumulator` precision or better, then rounded to the result's element type.
    DotGeneral = "dot_general" {
        attributes {
            lhs_batching_dimensions: Vec<usize>,
            rhs_batching_dimensions: Vec<usize>,
            lhs_contracting_dimensions: Vec<usize>,
            rhs_contracting_dimensions: Vec<usize>,
            accumulator: ElementType,
        }
        result { element: ElementType }
    }

    /// `grouped_dot(lhs, rhs, group_sizes)`: matrix products of groups that lie one after another along dimension m, each
    /// as long as its entry of `group_sizes` (`tensor<Gxi32>`) says.
    ///
    /// Where rhs has three dimensions, the first is the groups': `(m, k) × (G, k, n) -> (m, n)`, the rows of group g
    /// multiplied by matrix g of rhs; rows behind the last group become zero. Where rhs is a matrix, m is summed over:
    /// `(m, k) × (m, n) -> (G, k, n)`, and result g is the sum over the rows of group g. `lhs_contracting_dimension` and
    /// `rhs_contracting_dimension` say which dimensions are summed over; the others stand in their order. Sizes are not
    /// negative and their sum is at most m; that is checked when the op is computed. Sums as in
    /// [`DotGeneral`](Self::DotGeneral).
    GroupedDot = "grouped_dot" {
        attributes {
            lhs_contracting_dimension: usize,
            rhs_contracting_dimension: usize,
            accumulator: ElementType,
        }
        result { element: ElementType }
    }

    /// `quantize(x)`, `quantize(x, amax)`, with a last operand `step` where the rounding is random: a scaled tensor of the
    /// same shape, by [`tessera_numerics::quantize`].
    ///
    /// `amax` is the largest magnitude of x, where the format has a tensor scale. Random bits are those of the
    /// [`RandomStream`](tessera_numerics::RandomStream) of `seed`, `step` and `site`.
    Quantize = "quantize" {
        attributes { rule: ScaleRule, rounding: Rounding, seed: usize, site: usize }
        result { scaled_type: ScaledType }
    }

    /// The numbers of a scaled tensor: code times block scale, then times tensor scale, in f32, rounded to the element.
    Dequantize = "dequantize" {
        result { element: ElementType }
    }

    /// A scaled tensor with its bytes in another order, that of the result's type: block scales in another layout, or codes
    /// along the other of the last two dimensions where blocks are square. The numbers are the same, nothing is rounded:
    /// [`tessera_numerics::relayout`].
    Relayout = "relayout" {
        result { scaled_type: ScaledType }
    }

    /// The matrix product of two scaled tensors along their axes, in the terms of [`DotGeneral`](Self::DotGeneral):
    /// batching dimensions go together, the axis of each is summed over, sums are made in f32 or better and rounded to
    /// the result's element type.
    ScaledDot = "scaled_dot" {
        attributes { lhs_batching_dimensions: Vec<usize>, rhs_batching_dimensions: Vec<usize> }
        result { element: ElementType }
    }

    /// The [`GroupedDot`](Self::GroupedDot) of scaled tensors, with the axis of each as what is summed over. Where m is
    /// that axis, groups cut through blocks: a block is scaled as it was quantised, and each of its rows counts in its own
    /// group alone. Sums are made in f32 or better and rounded to the result's element type.
    GroupedScaledDot = "grouped_scaled_dot" {
        result { element: ElementType }
    }

    /// The mean along dimensions, summed in f32 or better and rounded to the operand's element type: Averis' μ, where
    /// the dimensions are the tokens'.
    ColumnMean = "column_mean" {
        attributes { dimensions: Vec<usize> }
    }

    /// The Hadamard transform of blocks of `signs.len()` elements along an axis, by [`tessera_numerics::hadamard`];
    /// signs are 1 and −1.
    Hadamard = "hadamard" {
        attributes { axis: usize, signs: Vec<i64> }
    }

    /// The orthonormal factor Q of the decomposition A = Q R of matrices, R with a diagonal that is not negative.
    /// A column that depends on those before it becomes zero.
    Orthonormalize = "orthonormalize" {}

    /// `subspace_iterate(m, v)`: power iteration for the leading right singular directions of m (l × n), warm-started
    /// from v (n × k), `iterations` times: U = orthonormalize(m v), W = mᵀ U, s the norms of W's columns, v = W / s.
    /// The results are v and s. Where a norm is 0, the column of v stays.
    SubspaceIterate = "subspace_iterate" {
        attributes { iterations: usize }
    }

    /// `gather(operand, start_indices)`: slices of the operand at positions that are data.
    Gather = "gather" {
        attributes {
            offset_dims: Vec<usize>,
            collapsed_slice_dims: Vec<usize>,
            operand_batching_dims: Vec<usize>,
            start_indices_batching_dims: Vec<usize>,
            start_index_map: Vec<usize>,
            index_vector_dim: usize,
            slice_sizes: Vec<usize>,
            indices_are_sorted: bool,
        }
    }

    /// `scatter(input…, scatter_indices, update…)`: inputs with slices combined with updates by `update_computation`,
    /// a graph of scalars `(input…, update…) -> (input…)`. A slice of updates that lies partly outside is left out, whole,
    /// as XLA does; several updates to one place are applied in row-major order of the updates.
    Scatter = "scatter" {
        attributes {
            update_window_dims: Vec<usize>,
            inserted_window_dims: Vec<usize>,
            input_batching_dims: Vec<usize>,
            scatter_indices_batching_dims: Vec<usize>,
            scatter_dims_to_operand_dims: Vec<usize>,
            index_vector_dim: usize,
            indices_are_sorted: bool,
            unique_indices: bool,
        }
        regions { update_computation: Region }
    }

    /// Sorts the operands together along a dimension by `comparator`, a graph of scalars
    /// `(a₀, b₀, a₁, b₁, …) -> i1` that says whether a stands before b.
    Sort = "sort" {
        attributes { dimension: usize, is_stable: bool }
        regions { comparator: Region }
    }

    /// The `k` largest along the fastest dimension, largest first, and their indices (i32), by IEEE 754's totalOrder,
    /// as XLA does: NaN is largest, −NaN smallest, −0 below +0. Of equal ones the lower index comes first.
    TopK = "top_k" {
        attributes { k: usize }
    }

    /// `while(carried…, captured…)`: `body` is applied while `condition` holds. Both take carried and captured values;
    /// the body gives the next carried values, which are the op's results in the end.
    While = "while" {
        regions { condition: Region, body: Region }
    }

    /// `case(index, captured…)`: the branch of that number applied to the captured values; the last one where the
    /// index is out of bounds.
    Case = "case" {
        regions { branches: Vec<Region> }
    }

    /// Another graph of the module applied to the operands.
    Call = "call" {
        attributes { callee: Symbol }
        result { result_types: Vec<Type> }
    }

    /// The operands themselves; keeps ops from being moved or merged across it.
    OptimizationBarrier = "optimization_barrier" {}
}

impl OpKind {
    /// Whether each result element depends only on the operands' elements at the same index.
    pub const fn is_elementwise(&self) -> bool {
        matches!(
            self,
            Self::Unary(_)
                | Self::Binary(_)
                | Self::Compare { .. }
                | Self::Select {}
                | Self::Clamp {}
                | Self::Convert { .. }
        )
    }

    /// Whether it multiplies matrices, or many of them.
    pub const fn is_product(&self) -> bool {
        matches!(
            self,
            Self::DotGeneral { .. }
                | Self::ScaledDot { .. }
                | Self::GroupedDot { .. }
                | Self::GroupedScaledDot { .. }
        )
    }
}
