//! The loop family: index ops, alone and fused, on odd shapes, in several blocks, in place.

use crate::harness::{Case, Random, check};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor};

/// A body with these inputs, of these ops; `%0` is its first result, further ones are named.
fn body(inputs: &str, ops: &str, results: &str, types: &str) -> String {
    format!("func.func @loop({inputs}) -> ({types}) {{\n{ops}\n  return {results} : {types}\n}}")
}

fn case(inputs: &str, ops: &str, result: &str, tensors: Vec<Tensor>) -> Case {
    Case::new(Family::Loop, &body(inputs, ops, "%0", result), tensors)
}

#[test]
fn index_ops_read_where_the_interpreter_reads() {
    let mut random = Random(1);
    let mut x = |shape: &[usize]| random.tensor(ElementType::F32, shape);
    let start = |i: i32| Tensor::scalar(i);
    let mut cases = vec![
        case(
            "%a: tensor<7xf32>",
            "%0 = tsr.broadcast_in_dim %a {broadcast_dimensions = [1]} : (tensor<7xf32>) -> tensor<5x7x3xf32>",
            "tensor<5x7x3xf32>",
            vec![x(&[7])],
        ),
        case(
            "%a: tensor<1x7xf32>",
            "%0 = tsr.broadcast_in_dim %a {broadcast_dimensions = [2, 0]} : (tensor<1x7xf32>) -> tensor<7x5x3xf32>",
            "tensor<7x5x3xf32>",
            vec![x(&[1, 7])],
        ),
        case(
            "%a: tensor<6x35xf32>",
            "%0 = tsr.reshape %a : (tensor<6x35xf32>) -> tensor<2x7x15xf32>",
            "tensor<2x7x15xf32>",
            vec![x(&[6, 35])],
        ),
        case(
            "%a: tensor<5x7x3xf32>",
            "%0 = tsr.transpose %a {permutation = [2, 0, 1]} : (tensor<5x7x3xf32>) -> tensor<3x5x7xf32>",
            "tensor<3x5x7xf32>",
            vec![x(&[5, 7, 3])],
        ),
        case(
            "%a: tensor<11x13xf32>",
            "%0 = tsr.slice %a {start_indices = [1, 2], limit_indices = [10, 13], strides = [2, 3]} : (tensor<11x13xf32>) -> tensor<5x4xf32>",
            "tensor<5x4xf32>",
            vec![x(&[11, 13])],
        ),
        case(
            "%a: tensor<4x9xf32>",
            "%0 = tsr.reverse %a {dimensions = [1]} : tensor<4x9xf32>",
            "tensor<4x9xf32>",
            vec![x(&[4, 9])],
        ),
        case(
            "%a: tensor<4x3xf32>, %b: tensor<4x5xf32>, %c: tensor<4x1xf32>",
            "%0 = tsr.concatenate %a, %b, %c {dimension = 1} : (tensor<4x3xf32>, tensor<4x5xf32>, tensor<4x1xf32>) -> tensor<4x9xf32>",
            "tensor<4x9xf32>",
            vec![x(&[4, 3]), x(&[4, 5]), x(&[4, 1])],
        ),
        case(
            "%a: tensor<2x9xf32>, %b: tensor<3x9xf32>",
            "%0 = tsr.concatenate %a, %b {dimension = 0} : (tensor<2x9xf32>, tensor<3x9xf32>) -> tensor<5x9xf32>",
            "tensor<5x9xf32>",
            vec![x(&[2, 9]), x(&[3, 9])],
        ),
        case(
            "%a: tensor<4x3xf32>, %p: tensor<f32>",
            "%0 = tsr.pad %a, %p {edge_padding_low = [1, -1], edge_padding_high = [2, 3], interior_padding = [0, 2]} : (tensor<4x3xf32>, tensor<f32>) -> tensor<7x9xf32>",
            "tensor<7x9xf32>",
            vec![x(&[4, 3]), x(&[])],
        ),
        case(
            "%a: tensor<0x3xf32>, %p: tensor<f32>",
            "%0 = tsr.pad %a, %p {edge_padding_low = [1, 0], edge_padding_high = [1, 0], interior_padding = [0, 0]} : (tensor<0x3xf32>, tensor<f32>) -> tensor<2x3xf32>",
            "tensor<2x3xf32>",
            vec![x(&[0, 3]), x(&[])],
        ),
    ];
    // In range, and clamped on either side.
    for (i, j) in [(0, 0), (2, 3), (-5, 100)] {
        cases.push(case(
            "%a: tensor<5x9xf32>, %i: tensor<i32>, %j: tensor<i32>",
            "%0 = tsr.dynamic_slice %a, %i, %j {slice_sizes = [2, 4]} : (tensor<5x9xf32>, tensor<i32>, tensor<i32>) -> tensor<2x4xf32>",
            "tensor<2x4xf32>",
            vec![x(&[5, 9]), start(i), start(j)],
        ));
    }
    check(cases);
}

/// Read along columns, written along rows, in tiles that the shape does not fill.
#[test]
fn large_transposes_go_tile_by_tile() {
    let mut random = Random(7);
    let ops = "%1 = tsr.transpose %a {permutation = [1, 2, 0]} : (tensor<45x3x70xf32>) -> tensor<3x70x45xf32>
      %2 = tsr.exponential %b : tensor<3x70x45xf32>
      %0 = tsr.maximum %1, %b : tensor<3x70x45xf32>";
    check(vec![case(
        "%a: tensor<45x3x70xf32>, %b: tensor<3x70x45xf32>",
        ops,
        "tensor<3x70x45xf32>",
        vec![
            random.tensor(ElementType::F32, &[45, 3, 70]),
            random.tensor(ElementType::F32, &[3, 70, 45]),
        ],
    )]);
}

#[test]
fn gathers_clamp_their_starts() {
    let mut random = Random(2);
    let table = random.tensor(ElementType::F32, &[6, 10]);
    let rows = Tensor::from_values([5, 1], &[0i32, 5, -3, 9, 2]).unwrap();
    let starts = Tensor::from_values([2, 3], &[0i64, 4, 9, -1, 7, 3]).unwrap();
    let unsigned = Tensor::from_values([2, 2], &[0u8, 200, 3, 9]).unwrap();
    let columns = Tensor::from_values([6, 2], &[0i32, 9, 3, 3, 1, 2, 8, 7, 6, 5, 4, 100]).unwrap();
    check(vec![
        case(
            "%t: tensor<6x10xf32>, %i: tensor<5x1xi32>",
            "%0 = tsr.gather %t, %i {offset_dims = [1], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 10], indices_are_sorted = false} : (tensor<6x10xf32>, tensor<5x1xi32>) -> tensor<5x10xf32>",
            "tensor<5x10xf32>",
            vec![table.clone(), rows],
        ),
        case(
            "%t: tensor<6x10xf32>, %i: tensor<2x3xi64>",
            "%0 = tsr.gather %t, %i {offset_dims = [0, 2], collapsed_slice_dims = [], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [1, 0], index_vector_dim = 0, slice_sizes = [2, 4], indices_are_sorted = false} : (tensor<6x10xf32>, tensor<2x3xi64>) -> tensor<2x3x4xf32>",
            "tensor<2x3x4xf32>",
            vec![table.clone(), starts],
        ),
        case(
            "%t: tensor<6x10xf32>, %i: tensor<2x2xui8>",
            "%0 = tsr.gather %t, %i {offset_dims = [], collapsed_slice_dims = [0, 1], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0, 1], index_vector_dim = 1, slice_sizes = [1, 1], indices_are_sorted = false} : (tensor<6x10xf32>, tensor<2x2xui8>) -> tensor<2xf32>",
            "tensor<2xf32>",
            vec![table.clone(), unsigned],
        ),
        // One column of each row: batching dimensions; each index vector is a single number.
        case(
            "%t: tensor<6x10xf32>, %i: tensor<6x2xi32>",
            "%0 = tsr.gather %t, %i {offset_dims = [], collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1], index_vector_dim = 2, slice_sizes = [1, 1], indices_are_sorted = false} : (tensor<6x10xf32>, tensor<6x2xi32>) -> tensor<6x2xf32>",
            "tensor<6x2xf32>",
            vec![table, columns],
        ),
    ]);
}

#[test]
fn constants_and_counts_of_every_type() {
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        if element != ElementType::I1 {
            cases.push(case(
                "",
                &format!("%0 = tsr.iota {{dimension = 1}} : tensor<3x300x2x{element}>"),
                &format!("tensor<3x300x2x{element}>"),
                vec![],
            ));
        }
        let value = match element {
            ElementType::I1 => "[true, false, true]",
            e if e.is_float() => "[1.5, -0.0, 3.0e4]",
            e if e.is_signed_integer() => "[-1, 5, 100]",
            _ => "[1, 5, 200]",
        };
        cases.push(case(
            "",
            &format!("%1 = tsr.constant {{value = dense<{value}>}} : tensor<3x{element}>\n%0 = tsr.broadcast_in_dim %1 {{broadcast_dimensions = [1]}} : (tensor<3x{element}>) -> tensor<4x3x{element}>"),
            &format!("tensor<4x3x{element}>"),
            vec![],
        ));
    }
    check(cases);
}

#[test]
fn bits_become_elements_of_any_width() {
    let mut random = Random(3);
    let mut cases = Vec::new();
    for (from, to) in [
        (ElementType::F32, ElementType::Ui32),
        (ElementType::Bf16, ElementType::I16),
        (ElementType::I16, ElementType::F16),
        (ElementType::F64, ElementType::Ui16),
        (ElementType::Ui8, ElementType::Ui32),
        (ElementType::Ui16, ElementType::F64),
        (ElementType::I32, ElementType::Bf16),
    ] {
        let (narrow, wide) = (from.size().min(to.size()), from.size().max(to.size()));
        let parts = if narrow == wide {
            String::new()
        } else {
            format!("{}x", wide / narrow)
        };
        let (a, b) = if from.size() < to.size() {
            (parts, String::new())
        } else {
            (String::new(), parts)
        };
        let shape: Vec<usize> = if a.is_empty() {
            vec![9]
        } else {
            vec![9, wide / narrow]
        };
        let x = random
            .bits(from, shape.iter().product())
            .reshaped(shape)
            .unwrap();
        // NaN may change its bits on the way through a narrow float, so floats are made of small numbers.
        let x = if from.is_float() {
            random.tensor(from, x.shape())
        } else {
            x
        };
        let x = if to.is_float() { without_nan(&x) } else { x };
        cases.push(case(
            &format!("%a: tensor<9x{a}{from}>"),
            &format!("%0 = tsr.bitcast_convert %a : (tensor<9x{a}{from}>) -> tensor<9x{b}{to}>"),
            &format!("tensor<9x{b}{to}>"),
            vec![x],
        ));
    }
    check(cases);
}

/// The same with upper bits of every byte cleared, of the exponents among them.
fn without_nan(x: &Tensor) -> Tensor {
    let bytes: Vec<u8> = x.bytes().iter().map(|byte| byte & 0x3f).collect();
    Tensor::new(x.element(), x.shape(), bytes).unwrap()
}

/// Rotary embedding as JAX writes it: halves of the last dimension turned against each other.
#[test]
fn a_chain_of_index_and_elementwise_ops_is_one_kernel() {
    let mut random = Random(4);
    let x = random.tensor(ElementType::F32, &[3, 17, 2, 16]);
    let angle = random.tensor(ElementType::F32, &[17, 8]);
    let ops = "
      %1 = tsr.slice %x {start_indices = [0, 0, 0, 0], limit_indices = [3, 17, 2, 8], strides = [1, 1, 1, 1]} : (tensor<3x17x2x16xf32>) -> tensor<3x17x2x8xf32>
      %2 = tsr.slice %x {start_indices = [0, 0, 0, 8], limit_indices = [3, 17, 2, 16], strides = [1, 1, 1, 1]} : (tensor<3x17x2x16xf32>) -> tensor<3x17x2x8xf32>
      %3 = tsr.broadcast_in_dim %a {broadcast_dimensions = [1, 3]} : (tensor<17x8xf32>) -> tensor<3x17x2x8xf32>
      %4 = tsr.multiply %1, %3 : tensor<3x17x2x8xf32>
      %5 = tsr.multiply %2, %3 : tensor<3x17x2x8xf32>
      %6 = tsr.subtract %4, %5 : tensor<3x17x2x8xf32>
      %7 = tsr.add %4, %2 : tensor<3x17x2x8xf32>
      %8 = tsr.concatenate %6, %7 {dimension = 3} : (tensor<3x17x2x8xf32>, tensor<3x17x2x8xf32>) -> tensor<3x17x2x16xf32>
      %9 = tsr.reshape %8 : (tensor<3x17x2x16xf32>) -> tensor<51x32xf32>
      %0 = tsr.transpose %9 {permutation = [1, 0]} : (tensor<51x32xf32>) -> tensor<32x51xf32>";
    check(vec![
        case(
            "%x: tensor<3x17x2x16xf32>, %a: tensor<17x8xf32>",
            ops,
            "tensor<32x51xf32>",
            vec![x.clone(), angle.clone()],
        ),
        Case::new(
            Family::Loop,
            &body(
                "%x: tensor<3x17x2x16xf32>, %a: tensor<17x8xf32>",
                ops,
                "%8",
                "tensor<3x17x2x16xf32>",
            ),
            vec![x, angle],
        ),
    ]);
}

#[test]
fn sizes_of_none_one_and_several_blocks() {
    let mut random = Random(5);
    let mut cases = Vec::new();
    for shape in [
        vec![],
        vec![0],
        vec![1],
        vec![3, 0, 2],
        vec![4096],
        vec![8191],
        vec![8192],
        vec![20011],
        vec![3, 9001],
        vec![130, 97],
        vec![5000, 3],
        vec![7, 11, 13, 17],
    ] {
        let dims: String = shape.iter().map(|d| format!("{d}x")).collect();
        let t = format!("tensor<{dims}f32>");
        let row = shape.last().map(|d| format!("{d}x")).unwrap_or_default();
        let dimension = if shape.is_empty() {
            String::new()
        } else {
            (shape.len() - 1).to_string()
        };
        let last: Vec<usize> = shape.last().copied().into_iter().collect();
        cases.push(case(
            &format!("%a: {t}, %r: tensor<{row}f32>"),
            &format!("%1 = tsr.broadcast_in_dim %r {{broadcast_dimensions = [{dimension}]}} : (tensor<{row}f32>) -> {t}\n%2 = tsr.multiply %a, %1 : {t}\n%0 = tsr.add %2, %a : {t}"),
            &t,
            vec![random.tensor(ElementType::F32, &shape), random.tensor(ElementType::F32, &last)],
        ));
    }
    check(cases);
}

#[test]
fn a_result_may_take_over_an_operand() {
    let mut random = Random(6);
    let mut x = || random.tensor(ElementType::F32, &[10007]);
    let t = "tensor<10007xf32>";
    // Both results need both operands: everything is read before anything is written.
    let ops = format!("%0 = tsr.add %a, %b : {t}\n%1 = tsr.subtract %a, %b : {t}");
    let text = body(
        &format!("%a: {t}, %b: {t}"),
        &ops,
        "%0, %1",
        &format!("{t}, {t}"),
    );
    check(vec![
        Case::new(Family::Loop, &text, vec![x(), x()])
            .in_place(0, 0)
            .in_place(1, 1),
        Case::new(Family::Loop, &text, vec![x(), x()]).in_place(0, 1),
        Case::new(Family::Loop, &text, vec![x(), x()]),
    ]);
}
