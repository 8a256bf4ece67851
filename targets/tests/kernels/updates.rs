//! The index family: scatter, dynamic_update_slice, reduce_window.

use crate::harness::{Case, Random, Tolerance, check};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor};

/// The dimension numbers of a scatter, as they are printed.
struct Numbers {
    window: &'static str,
    inserted: &'static str,
    batching: &'static str,
    indices_batching: &'static str,
    scattered: &'static str,
    vector: usize,
}

const ROWS: Numbers = Numbers {
    window: "1",
    inserted: "0",
    batching: "",
    indices_batching: "",
    scattered: "0",
    vector: 1,
};

/// A scatter whose update computation is one op, or takes the update.
fn scatter(
    op: &str,
    input: &str,
    indices: &str,
    update: &str,
    element: &str,
    numbers: &Numbers,
) -> String {
    let (input, update) = (
        format!("tensor<{input}x{element}>"),
        format!("tensor<{update}x{element}>"),
    );
    let computation = match op {
        "replace" => format!("tsr.return %b : tensor<{element}>"),
        op => {
            format!("%s = tsr.{op} %a, %b : tensor<{element}>\n tsr.return %s : tensor<{element}>")
        }
    };
    format!(
        "func.func @scatter(%x: {input}, %i: tensor<{indices}>, %u: {update}) -> {input} {{
           %0 = tsr.scatter %x, %i, %u {{update_window_dims = [{}], inserted_window_dims = [{}], input_batching_dims = [{}], scatter_indices_batching_dims = [{}], scatter_dims_to_operand_dims = [{}], index_vector_dim = {}, indices_are_sorted = false, unique_indices = false}} : ({input}, tensor<{indices}>, {update}) -> {input} {{
           ^update_computation(%a: tensor<{element}>, %b: tensor<{element}>):
             {computation}
           }}
           return %0 : {input}
         }}",
        numbers.window, numbers.inserted, numbers.batching, numbers.indices_batching, numbers.scattered, numbers.vector,
    )
}

/// Rows added to rows, several to one, some outside; the same in place; integers, so that the order of sums is no matter.
#[test]
fn scattered_rows_add_up() {
    let mut random = Random(41);
    let indices: Vec<i32> = (0..50).map(|i| (i * 7) % 13 - 2).collect();
    let indices = Tensor::from_values([50, 1], &indices).unwrap();
    let mut cases = Vec::new();
    for (element, columns) in [
        (ElementType::I32, 9usize),
        (ElementType::F32, 300),
        (ElementType::Bf16, 1),
        (ElementType::I1, 70),
    ] {
        let body = scatter(
            "add",
            &format!("10x{columns}"),
            "50x1xi32",
            &format!("50x{columns}"),
            element.name(),
            &ROWS,
        );
        let inputs = vec![
            random.tensor(element, &[10, columns]),
            indices.clone(),
            random.tensor(element, &[50, columns]),
        ];
        cases.push(Case::new(Family::Index, &body, inputs.clone()));
        cases.push(Case::new(Family::Index, &body, inputs).in_place(0, 0));
    }
    check(cases);
}

/// The last update to a place stays.
#[test]
fn updates_come_in_row_major_order() {
    let mut random = Random(42);
    let indices =
        Tensor::from_values([4, 3, 1], &[0i64, 2, 2, 1, 0, 0, 5, 4, 4, -1, 6, 0]).unwrap();
    let windows = Numbers {
        window: "0",
        inserted: "",
        ..ROWS
    };
    // Windows of three overlap; their dimension comes first in the updates, so it counts slowest.
    let overlapping = Tensor::from_values([5, 1], &[0i32, 1, 2, 4, 6]).unwrap();
    check(vec![
        Case::new(
            Family::Index,
            &scatter(
                "replace",
                "6",
                "4x3x1xi64",
                "4x3",
                "f32",
                &Numbers {
                    window: "",
                    vector: 2,
                    ..ROWS
                },
            ),
            vec![
                random.tensor(ElementType::F32, &[6]),
                indices,
                random.tensor(ElementType::F32, &[4, 3]),
            ],
        ),
        Case::new(
            Family::Index,
            &scatter("replace", "8", "5x1xi32", "3x5", "f32", &windows),
            vec![
                random.tensor(ElementType::F32, &[8]),
                overlapping,
                random.tensor(ElementType::F32, &[3, 5]),
            ],
        ),
    ]);
}

#[test]
fn scatters_of_every_shape() {
    let mut random = Random(43);
    let columns =
        Tensor::from_values([3, 4, 1], &[0i32, 4, 2, 9, 1, 1, 1, -1, 6, 5, 3, 0]).unwrap();
    let places = Tensor::from_values([2, 3], &[1i32, 0, 3, 0, 2, 4]).unwrap();
    let batched = Numbers {
        window: "",
        inserted: "1",
        batching: "0",
        indices_batching: "0",
        scattered: "1",
        vector: 2,
    };
    let slices = Numbers {
        window: "0, 2",
        inserted: "",
        scattered: "1, 0",
        vector: 0,
        ..ROWS
    };
    let column = Numbers {
        window: "0, 1",
        inserted: "2",
        scattered: "2",
        vector: 0,
        ..ROWS
    };
    check(vec![
        // One place in each row: batching dimensions.
        Case::new(
            Family::Index,
            &scatter("add", "3x7", "3x4x1xi32", "3x4", "i32", &batched),
            vec![
                random.tensor(ElementType::I32, &[3, 7]),
                columns,
                random.tensor(ElementType::I32, &[3, 4]),
            ],
        ),
        // Slices at two coordinates; those that lie partly outside are left out.
        Case::new(
            Family::Index,
            &scatter("maximum", "5x6", "2x3xi32", "2x3x4", "f32", &slices),
            vec![
                random.tensor(ElementType::F32, &[5, 6]),
                places,
                random.tensor(ElementType::F32, &[2, 3, 4]),
            ],
        ),
        // One column, at a single index.
        Case::new(
            Family::Index,
            &scatter("add", "2x8x3", "1xi32", "2x8", "i32", &column),
            vec![
                random.tensor(ElementType::I32, &[2, 8, 3]),
                Tensor::from_values([1], &[2i32]).unwrap(),
                random.tensor(ElementType::I32, &[2, 8]),
            ],
        ),
        // Nothing is scattered, and nothing is there.
        Case::new(
            Family::Index,
            &scatter("add", "4x3", "0x1xi32", "0x3", "f32", &ROWS),
            vec![
                random.tensor(ElementType::F32, &[4, 3]),
                Tensor::from_values::<i32>([0, 1], &[]).unwrap(),
                random.tensor(ElementType::F32, &[0, 3]),
            ],
        ),
        Case::new(
            Family::Index,
            &scatter("add", "0x3", "2x1xi32", "2x3", "f32", &ROWS),
            vec![
                random.tensor(ElementType::F32, &[0, 3]),
                Tensor::from_values([2, 1], &[0i32, 1]).unwrap(),
                random.tensor(ElementType::F32, &[2, 3]),
            ],
        ),
    ]);
}

/// Gradient of an embedding: into zeros, of updates computed on the way.
#[test]
fn what_is_scattered_may_be_computed_on_the_way() {
    let mut random = Random(44);
    let body = "func.func @embedding(%i: tensor<20xi32>, %g: tensor<20x40xf32>, %s: tensor<20xf32>) -> tensor<8x40xf32> {
      %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
      %x = tsr.broadcast_in_dim %zero {broadcast_dimensions = []} : (tensor<f32>) -> tensor<8x40xf32>
      %sb = tsr.broadcast_in_dim %s {broadcast_dimensions = [0]} : (tensor<20xf32>) -> tensor<20x40xf32>
      %u = tsr.multiply %g, %sb : tensor<20x40xf32>
      %iv = tsr.reshape %i : (tensor<20xi32>) -> tensor<20x1xi32>
      %0 = tsr.scatter %x, %iv, %u {update_window_dims = [1], inserted_window_dims = [0], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1, indices_are_sorted = false, unique_indices = false} : (tensor<8x40xf32>, tensor<20x1xi32>, tensor<20x40xf32>) -> tensor<8x40xf32> {
      ^update_computation(%a: tensor<f32>, %b: tensor<f32>):
        %t = tsr.add %a, %b : tensor<f32>
        tsr.return %t : tensor<f32>
      }
      return %0 : tensor<8x40xf32>
    }";
    let indices: Vec<i32> = (0..20).map(|i| i * 3 % 8).collect();
    check(vec![Case::new(
        Family::Index,
        body,
        vec![
            Tensor::from_values([20], &indices).unwrap(),
            random.tensor(ElementType::F32, &[20, 40]),
            random.tensor(ElementType::F32, &[20]),
        ],
    )]);
}

#[test]
fn two_tensors_are_scattered_into_together() {
    let mut random = Random(45);
    let body = "func.func @pair(%x: tensor<6xf32>, %n: tensor<6xi32>, %i: tensor<9x1xi32>, %u: tensor<9xf32>, %m: tensor<9xi32>) -> (tensor<6xf32>, tensor<6xi32>) {
      %0:2 = tsr.scatter %x, %n, %i, %u, %m {update_window_dims = [], inserted_window_dims = [0], input_batching_dims = [], scatter_indices_batching_dims = [], scatter_dims_to_operand_dims = [0], index_vector_dim = 1, indices_are_sorted = false, unique_indices = false} : (tensor<6xf32>, tensor<6xi32>, tensor<9x1xi32>, tensor<9xf32>, tensor<9xi32>) -> (tensor<6xf32>, tensor<6xi32>) {
      ^update_computation(%a: tensor<f32>, %an: tensor<i32>, %b: tensor<f32>, %bn: tensor<i32>):
        %g = tsr.compare %a, %b {direction = GE, compare_type = FLOAT} : (tensor<f32>, tensor<f32>) -> tensor<i1>
        %v = tsr.select %g, %a, %b : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
        %w = tsr.select %g, %an, %bn : (tensor<i1>, tensor<i32>, tensor<i32>) -> tensor<i32>
        tsr.return %v, %w : tensor<f32>, tensor<i32>
      }
      return %0#0, %0#1 : tensor<6xf32>, tensor<6xi32>
    }";
    let indices: Vec<i32> = (0..9).map(|i| i * 5 % 6).collect();
    let inputs = vec![
        random.tensor(ElementType::F32, &[6]),
        random.tensor(ElementType::I32, &[6]),
        Tensor::from_values([9, 1], &indices).unwrap(),
        random.tensor(ElementType::F32, &[9]),
        random.tensor(ElementType::I32, &[9]),
    ];
    check(vec![
        Case::new(Family::Index, body, inputs.clone()),
        Case::new(Family::Index, body, inputs)
            .in_place(0, 0)
            .in_place(1, 1),
    ]);
}

#[test]
fn slices_are_updated_where_they_fit() {
    let mut random = Random(46);
    let mut cases = Vec::new();
    for (shape, update) in [
        (vec![7, 5, 9], vec![2, 5, 4]),
        (vec![4, 3, 50], vec![1, 3, 50]),
        (vec![30], vec![30]),
        (vec![9, 9], vec![0, 9]),
        (vec![3], vec![1]),
    ] {
        for at in [0, 1, 3, -2, 100] {
            let dims = |shape: &[usize]| shape.iter().map(|d| format!("{d}x")).collect::<String>();
            let (t, u) = (
                format!("tensor<{}f32>", dims(&shape)),
                format!("tensor<{}f32>", dims(&update)),
            );
            let starts: Vec<String> = (0..shape.len()).map(|_| "%s".to_owned()).collect();
            let types: Vec<String> = starts.iter().map(|_| "tensor<i32>".to_owned()).collect();
            let body = format!(
                "func.func @update(%x: {t}, %u: {u}, %s: tensor<i32>) -> {t} {{
                   %0 = tsr.dynamic_update_slice %x, %u, {} : ({t}, {u}, {}) -> {t}
                   return %0 : {t}
                 }}",
                starts.join(", "),
                types.join(", "),
            );
            let inputs = vec![
                random.tensor(ElementType::F32, &shape),
                random.tensor(ElementType::F32, &update),
                Tensor::scalar(at),
            ];
            cases.push(Case::new(Family::Index, &body, inputs.clone()));
            cases.push(Case::new(Family::Index, &body, inputs).in_place(0, 0));
        }
    }
    check(cases);
}

/// Running sums, pooling, dilations, cut edges.
#[test]
fn windows_slide_over_padding_and_dilation() {
    let mut random = Random(47);
    let mut cases = Vec::new();
    for (op, element, shape, window, strides, base, dilations, low, high, result) in [
        ("add", "i32", "37", "37", "1", "1", "1", "36", "0", "37"),
        (
            "add", "f32", "3x20", "1, 20", "1, 1", "1, 1", "1, 1", "0, 19", "0, 0", "3x20",
        ),
        (
            "maximum", "f32", "9x10", "2, 3", "2, 3", "1, 1", "1, 1", "0, 1", "1, 0", "5x3",
        ),
        (
            "add", "i32", "5x6", "2, 2", "1, 2", "2, 3", "3, 1", "-1, 2", "2, -3", "7x7",
        ),
        ("subtract", "i32", "8", "3", "1", "1", "1", "1", "1", "8"),
        ("add", "bf16", "8", "3", "1", "1", "1", "1", "1", "8"),
    ] {
        let (t, r, s) = (
            format!("tensor<{shape}x{element}>"),
            format!("tensor<{result}x{element}>"),
            format!("tensor<{element}>"),
        );
        let body = format!(
            "func.func @window(%x: {t}, %i: {s}) -> {r} {{
               %0 = tsr.reduce_window %x, %i {{window_dimensions = [{window}], window_strides = [{strides}], base_dilations = [{base}], window_dilations = [{dilations}], padding_low = [{low}], padding_high = [{high}]}} : ({t}, {s}) -> {r} {{
               ^body(%a: {s}, %b: {s}):
                 %1 = tsr.{op} %a, %b : {s}
                 tsr.return %1 : {s}
               }}
               return %0 : {r}
             }}"
        );
        let dims: Vec<usize> = shape.split('x').map(|d| d.parse().unwrap()).collect();
        let element: ElementType = element.parse().unwrap();
        let inputs = vec![random.tensor(element, &dims), random.tensor(element, &[])];
        // 40 numbers up to 2 in size; the last rounding of a bf16.
        let tolerance = match element {
            ElementType::F32 => Tolerance::OfLargest(40.0 * 40.0 * 2f64.powi(-24)),
            ElementType::Bf16 => Tolerance::Ulp(0.0),
            _ => Tolerance::Exact,
        };
        cases.push(Case::new(Family::Index, &body, inputs).within(tolerance));
    }
    check(cases);
}
