//! The rules answer whatever they are asked.

use super::infer;
use crate::{
    Binary, CompareType, ComparisonDirection, ElementType, Graph, Input, OpKind, Region, Symbol,
    Tensor, TensorType, Type, Unary,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tessera_numerics::{BlockShape, Format, Rounding, ScaleLayout, ScaleRule, ScaledType};

/// Dimensions and dimension numbers: mostly small, so that some fit, and some absurd.
fn number() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![
        12 => 0usize..4,
        1 => select(vec![1 << 31, 1 << 61, isize::MAX as usize, usize::MAX - 1, usize::MAX]),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<usize>> + Clone {
    vec(number(), 0..4)
}

fn padding() -> impl Strategy<Value = Vec<i64>> + Clone {
    let one = prop_oneof![12 => -3i64..4, 1 => select(vec![i64::MIN, i64::MAX])];
    vec(one, 0..4)
}

fn element() -> impl Strategy<Value = ElementType> + Clone {
    let common = vec![ElementType::F32, ElementType::I32, ElementType::I1];
    prop_oneof![3 => select(common), 1 => select(ElementType::ALL.to_vec())]
}

fn tensor_type() -> impl Strategy<Value = TensorType> + Clone {
    (element(), numbers()).prop_map(|(element, shape)| TensorType::new(element, shape))
}

/// Scaled types that exist, of all formats.
fn scaled_type() -> impl Strategy<Value = ScaledType> + Clone {
    let parts = (
        vec(0usize..40, 1..4),
        0usize..3,
        select(Format::ALL.to_vec()),
    );
    parts.prop_filter_map("an axis of the shape", |(shape, axis, format)| {
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
        ScaledType::new(shape, format, axis, blocks, layout).ok()
    })
}

/// Regions of scalars, and some of other tensors, that give back some of their inputs.
fn region() -> impl Strategy<Value = Region> + Clone {
    let scalar = element().prop_map(TensorType::scalar);
    let inputs = vec(prop_oneof![4 => scalar, 1 => tensor_type()], 0..5);
    (inputs, vec(0usize..5, 0..3)).prop_map(|(inputs, results)| {
        let mut graph = Graph::new("", inputs.into_iter().map(Input::new).collect());
        let results: Vec<_> = results
            .into_iter()
            .filter_map(|result| graph.input_value(result))
            .collect();
        graph.set_result_values(results);
        Region::new(graph)
    })
}

/// Ops with attributes of all kinds. A kind that is missing here fails `every_op_is_tried`.
fn kinds() -> Vec<BoxedStrategy<OpKind>> {
    vec![
        select(Unary::ALL).prop_map(OpKind::Unary).boxed(),
        select(Binary::ALL).prop_map(OpKind::Binary).boxed(),
        (select(ComparisonDirection::ALL), select(CompareType::ALL))
            .prop_map(|(direction, compare_type)| OpKind::Compare {
                direction,
                compare_type,
            })
            .boxed(),
        Just(OpKind::Select {}).boxed(),
        Just(OpKind::Clamp {}).boxed(),
        element()
            .prop_map(|element| OpKind::Convert { element })
            .boxed(),
        element()
            .prop_map(|element| OpKind::BitcastConvert { element })
            .boxed(),
        Just(OpKind::Constant {
            value: Tensor::scalar(1.0f32),
        })
        .boxed(),
        (number(), tensor_type())
            .prop_map(|(dimension, tensor_type)| OpKind::Iota {
                dimension,
                tensor_type,
            })
            .boxed(),
        (numbers(), numbers())
            .prop_map(|(broadcast_dimensions, shape)| OpKind::BroadcastInDim {
                broadcast_dimensions,
                shape,
            })
            .boxed(),
        numbers()
            .prop_map(|shape| OpKind::Reshape { shape })
            .boxed(),
        numbers()
            .prop_map(|permutation| OpKind::Transpose { permutation })
            .boxed(),
        (numbers(), numbers(), numbers())
            .prop_map(|(start_indices, limit_indices, strides)| OpKind::Slice {
                start_indices,
                limit_indices,
                strides,
            })
            .boxed(),
        numbers()
            .prop_map(|slice_sizes| OpKind::DynamicSlice { slice_sizes })
            .boxed(),
        Just(OpKind::DynamicUpdateSlice {}).boxed(),
        (padding(), padding(), numbers())
            .prop_map(
                |(edge_padding_low, edge_padding_high, interior_padding)| OpKind::Pad {
                    edge_padding_low,
                    edge_padding_high,
                    interior_padding,
                },
            )
            .boxed(),
        number()
            .prop_map(|dimension| OpKind::Concatenate { dimension })
            .boxed(),
        numbers()
            .prop_map(|dimensions| OpKind::Reverse { dimensions })
            .boxed(),
        (numbers(), region())
            .prop_map(|(dimensions, body)| OpKind::Reduce { dimensions, body })
            .boxed(),
        (
            (numbers(), numbers(), numbers(), numbers()),
            padding(),
            padding(),
            region(),
        )
            .prop_map(
                |(window, padding_low, padding_high, body)| OpKind::ReduceWindow {
                    window_dimensions: window.0,
                    window_strides: window.1,
                    base_dilations: window.2,
                    window_dilations: window.3,
                    padding_low,
                    padding_high,
                    body,
                },
            )
            .boxed(),
        (
            (numbers(), numbers(), numbers(), numbers()),
            element(),
            element(),
        )
            .prop_map(|(dimensions, accumulator, element)| OpKind::DotGeneral {
                lhs_batching_dimensions: dimensions.0,
                rhs_batching_dimensions: dimensions.1,
                lhs_contracting_dimensions: dimensions.2,
                rhs_contracting_dimensions: dimensions.3,
                accumulator,
                element,
            })
            .boxed(),
        (number(), number(), element(), element())
            .prop_map(|(lhs, rhs, accumulator, element)| OpKind::GroupedDot {
                lhs_contracting_dimension: lhs,
                rhs_contracting_dimension: rhs,
                accumulator,
                element,
            })
            .boxed(),
        (
            scaled_type(),
            select(ScaleRule::ALL.to_vec()),
            select(Rounding::ALL.to_vec()),
            number(),
        )
            .prop_map(|(scaled_type, rule, rounding, site)| OpKind::Quantize {
                rule,
                rounding,
                seed: 0,
                site,
                scaled_type,
            })
            .boxed(),
        element()
            .prop_map(|element| OpKind::Dequantize { element })
            .boxed(),
        scaled_type()
            .prop_map(|scaled_type| OpKind::Relayout { scaled_type })
            .boxed(),
        (numbers(), numbers(), element())
            .prop_map(|(lhs, rhs, element)| OpKind::ScaledDot {
                lhs_batching_dimensions: lhs,
                rhs_batching_dimensions: rhs,
                element,
            })
            .boxed(),
        element()
            .prop_map(|element| OpKind::GroupedScaledDot { element })
            .boxed(),
        numbers()
            .prop_map(|dimensions| OpKind::ColumnMean { dimensions })
            .boxed(),
        (number(), select(vec![0, 16, 100]))
            .prop_map(|(axis, signs)| OpKind::Hadamard {
                axis,
                signs: vec![1; signs],
            })
            .boxed(),
        Just(OpKind::Orthonormalize {}).boxed(),
        number()
            .prop_map(|iterations| OpKind::SubspaceIterate { iterations })
            .boxed(),
        (
            (numbers(), numbers(), numbers(), numbers()),
            numbers(),
            number(),
            numbers(),
        )
            .prop_map(
                |(dims, start_index_map, index_vector_dim, slice_sizes)| OpKind::Gather {
                    offset_dims: dims.0,
                    collapsed_slice_dims: dims.1,
                    operand_batching_dims: dims.2,
                    start_indices_batching_dims: dims.3,
                    start_index_map,
                    index_vector_dim,
                    slice_sizes,
                    indices_are_sorted: false,
                },
            )
            .boxed(),
        (
            (numbers(), numbers(), numbers(), numbers()),
            numbers(),
            number(),
            region(),
        )
            .prop_map(
                |(dims, scattered, index_vector_dim, region)| OpKind::Scatter {
                    update_window_dims: dims.0,
                    inserted_window_dims: dims.1,
                    input_batching_dims: dims.2,
                    scatter_indices_batching_dims: dims.3,
                    scatter_dims_to_operand_dims: scattered,
                    index_vector_dim,
                    indices_are_sorted: false,
                    unique_indices: false,
                    update_computation: region,
                },
            )
            .boxed(),
        (number(), region())
            .prop_map(|(dimension, comparator)| OpKind::Sort {
                dimension,
                is_stable: true,
                comparator,
            })
            .boxed(),
        number().prop_map(|k| OpKind::TopK { k }).boxed(),
        (region(), region())
            .prop_map(|(condition, body)| OpKind::While { condition, body })
            .boxed(),
        vec(region(), 0..3)
            .prop_map(|branches| OpKind::Case { branches })
            .boxed(),
        vec(tensor_type().prop_map(Type::Tensor), 0..3)
            .prop_map(|result_types| OpKind::Call {
                callee: Symbol("callee".to_owned()),
                result_types,
            })
            .boxed(),
        Just(OpKind::OptimizationBarrier {}).boxed(),
    ]
}

/// Operands of one type, as many ops want them, or of any types.
fn operands() -> impl Strategy<Value = Vec<Type>> {
    let same = (tensor_type(), 0usize..4).prop_map(|(one, count)| vec![one; count]);
    let scalar = element().prop_map(TensorType::scalar);
    let tensor_and_scalars =
        (tensor_type(), vec(scalar, 0..3)).prop_map(|(first, rest)| [vec![first], rest].concat());
    let tensors = prop_oneof![same, tensor_and_scalars, vec(tensor_type(), 0..5)];
    let tensors = tensors.prop_map(|types| types.into_iter().map(Type::Tensor).collect());
    prop_oneof![6 => tensors, 1 => vec(scaled_type().prop_map(Type::Scaled), 0..3)]
}

#[test]
fn every_op_is_tried() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let tried: Vec<_> = kinds()
        .iter()
        .skip(2)
        .map(|kind| kind.new_tree(&mut runner).unwrap().current().name())
        .collect();
    let functions = Unary::ALL.len() + Binary::ALL.len();
    let expected: Vec<_> = OpKind::names().skip(functions).collect();
    assert_eq!(tried, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever the attributes and operands: an answer, and no type that memory cannot hold.
    #[test]
    fn infer_is_total(
        kind in proptest::strategy::Union::new(kinds()),
        operands in operands(),
    ) {
        let operands: Vec<_> = operands.iter().collect();
        if let Ok(results) = infer(&kind, &operands) {
            for result in results {
                prop_assert!(result.byte_size_checked().is_some(), "{result}");
            }
        }
    }
}
