//! The row and the column family: reductions by every function and by any body, what stands around them, odd shapes.

use crate::harness::{Case, Random, Tolerance, check};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor};

/// The unit roundoff of what sums are accumulated in.
fn roundoff(element: ElementType) -> f64 {
    match element {
        ElementType::F64 => 2f64.powi(-53),
        _ => 2f64.powi(-24),
    }
}

fn dims(shape: &[usize]) -> String {
    shape.iter().map(|d| format!("{d}x")).collect()
}

fn list(dimensions: &[usize]) -> String {
    let words: Vec<String> = dimensions.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// `name = reduce(input, init)` by one binary op.
fn reduce(
    name: &str,
    op: &str,
    input: &str,
    init: &str,
    element: ElementType,
    shape: &[usize],
    dimensions: &[usize],
) -> String {
    let kept: Vec<usize> = (0..shape.len())
        .filter(|d| !dimensions.contains(d))
        .map(|d| shape[d])
        .collect();
    format!(
        "{name} = tsr.reduce {input}, {init} {{dimensions = [{}]}} : (tensor<{}{element}>, tensor<{element}>) -> tensor<{}{element}> {{
         ^body(%l: tensor<{element}>, %r: tensor<{element}>):
           %s = tsr.{op} %l, %r : tensor<{element}>
           tsr.return %s : tensor<{element}>
         }}\n",
        list(dimensions), dims(shape), dims(&kept),
    )
}

/// One reduction of the input by an op, alone.
fn single(
    family: Family,
    op: &str,
    element: ElementType,
    shape: &[usize],
    dimensions: &[usize],
    random: &mut Random,
) -> Case {
    let kept: Vec<usize> = (0..shape.len())
        .filter(|d| !dimensions.contains(d))
        .map(|d| shape[d])
        .collect();
    let (t, r) = (dims(shape), dims(&kept));
    let body = format!(
        "func.func @{op}(%x: tensor<{t}{element}>, %i: tensor<{element}>) -> tensor<{r}{element}> {{\n{}return %0 : tensor<{r}{element}>\n}}",
        reduce("%0", op, "%x", "%i", element, shape, dimensions),
    );
    let x = match op {
        // Near 1, so that products stay in range.
        "multiply" => random.tensor_of(element, shape, |random| 1.0 + random.uniform() / 8.0),
        _ => random.tensor(element, shape),
    };
    let init = random.tensor(element, &[]);
    let count: usize = dimensions.iter().map(|&d| shape[d]).product();
    let tolerance = match op {
        // n additions of numbers up to 2 in size: each partial sum is at most 2 n, each rounding at most its roundoff;
        // with the final rounding to a narrow type, half its last place. Compared with 2 n / 20, which the largest of
        // many random sums does not fall below by much.
        "add" if element.is_float() => {
            let narrow = match element {
                ElementType::Bf16 => 2f64.powi(-8),
                ElementType::F16 => 2f64.powi(-11),
                _ => 0.0,
            };
            Tolerance::OfLargest(2.0 * narrow + 20.0 * (count as f64) * roundoff(element))
        }
        // n products, each with a relative rounding error.
        "multiply" if element.is_float() => {
            let step = match element {
                ElementType::Bf16 => 2f64.powi(-8),
                ElementType::F16 => 2f64.powi(-11),
                _ => roundoff(element),
            };
            Tolerance::OfLargest(2.0 * step * (count as f64 + 1.0))
        }
        _ => Tolerance::Exact,
    };
    Case::of(
        family,
        tessera_ir::text::parse_graph(&body, None)
            .unwrap_or_else(|e| panic!("{}", e.render("", &body))),
        vec![x, init],
    )
    .within(tolerance)
}

/// Every function that reductions know, on every element type.
fn functions(family: Family, shape: &[usize], dimensions: &[usize]) -> Vec<Case> {
    let mut random = Random(21);
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        let mut ops = vec!["add", "multiply", "maximum", "minimum"];
        if !element.is_float() {
            ops.extend(["and", "or", "xor"]);
        }
        for op in ops {
            cases.push(single(family, op, element, shape, dimensions, &mut random));
        }
    }
    cases
}

#[test]
fn rows_are_reduced_by_every_function_on_every_type() {
    check(functions(Family::Row, &[5, 83], &[1]));
}

#[test]
fn columns_are_reduced_by_every_function_on_every_type() {
    check(functions(Family::Column, &[83, 5], &[0]));
}

#[test]
fn rows_of_every_length() {
    let mut random = Random(22);
    let mut cases = Vec::new();
    for length in [
        0, 1, 2, 3, 7, 8, 16, 31, 63, 64, 65, 127, 128, 200, 1000, 4097,
    ] {
        for op in ["add", "maximum"] {
            cases.push(single(
                Family::Row,
                op,
                ElementType::F32,
                &[3, length],
                &[1],
                &mut random,
            ));
        }
    }
    // Several dimensions, all of them, none of any extent, many rows.
    cases.push(single(
        Family::Row,
        "add",
        ElementType::F32,
        &[3, 5, 7, 11],
        &[2, 3],
        &mut random,
    ));
    cases.push(single(
        Family::Row,
        "add",
        ElementType::F64,
        &[3, 5, 7],
        &[0, 1, 2],
        &mut random,
    ));
    cases.push(single(
        Family::Row,
        "add",
        ElementType::F32,
        &[],
        &[],
        &mut random,
    ));
    cases.push(single(
        Family::Row,
        "add",
        ElementType::F32,
        &[0, 5],
        &[1],
        &mut random,
    ));
    cases.push(single(
        Family::Row,
        "add",
        ElementType::F32,
        &[3001, 9],
        &[1],
        &mut random,
    ));
    check(cases);
}

#[test]
fn columns_of_every_number_and_length() {
    let mut random = Random(23);
    let mut cases = Vec::new();
    for columns in [0, 1, 3, 16, 63, 64, 65, 200, 1025] {
        cases.push(single(
            Family::Column,
            "add",
            ElementType::F32,
            &[9, columns],
            &[0],
            &mut random,
        ));
    }
    for length in [0, 1, 2, 4, 5, 1001] {
        cases.push(single(
            Family::Column,
            "add",
            ElementType::F32,
            &[length, 6],
            &[0],
            &mut random,
        ));
    }
    cases.push(single(
        Family::Column,
        "add",
        ElementType::F32,
        &[3, 4, 5, 6],
        &[0, 2],
        &mut random,
    ));
    cases.push(single(
        Family::Column,
        "maximum",
        ElementType::F32,
        &[7, 3, 4, 5],
        &[0, 1],
        &mut random,
    ));
    cases.push(single(
        Family::Column,
        "maximum",
        ElementType::I32,
        &[4, 7, 3, 5],
        &[1],
        &mut random,
    ));
    check(cases);
}

/// NaN wins in a maximum, −0 is below +0, wherever they stand.
#[test]
fn extremes_see_nan_and_the_signs_of_zeros() {
    let mut cases = Vec::new();
    for at in [0, 5, 70, 99] {
        for value in [f32::NAN, 0.0] {
            let mut values = vec![-0.0f32; 100];
            values[at] = value;
            for (family, shape, dimensions) in [
                (Family::Row, [1, 100], [1]),
                (Family::Column, [100, 1], [0]),
            ] {
                for op in ["maximum", "minimum"] {
                    let mut case = single(
                        family,
                        op,
                        ElementType::F32,
                        &shape,
                        &dimensions,
                        &mut Random(1),
                    );
                    case.inputs = vec![
                        Tensor::from_values(shape, &values).unwrap(),
                        Tensor::scalar(-0.0f32),
                    ];
                    cases.push(case);
                }
            }
        }
    }
    check(cases);
}

/// Softmax: two reductions, the second of what the first gives, and results of both shapes.
#[test]
fn reductions_may_depend_on_each_other() {
    let mut random = Random(24);
    let mut cases = Vec::new();
    for shape in [vec![4, 3, 100], vec![40, 8], vec![2, 5000]] {
        let (t, r) = (dims(&shape), dims(&shape[..shape.len() - 1]));
        let last = shape.len() - 1;
        let kept: Vec<usize> = (0..last).collect();
        let body = format!(
            "func.func @softmax(%x: tensor<{t}f32>) -> (tensor<{t}f32>, tensor<{r}f32>) {{
               %zero = tsr.constant {{value = dense<0.0>}} : tensor<f32>
               %low = tsr.constant {{value = dense<0xFF800000>}} : tensor<f32>
               {}
               %mb = tsr.broadcast_in_dim %m {{broadcast_dimensions = [{kept}]}} : (tensor<{r}f32>) -> tensor<{t}f32>
               %c = tsr.subtract %x, %mb : tensor<{t}f32>
               %e = tsr.exponential %c : tensor<{t}f32>
               {}
               %sb = tsr.broadcast_in_dim %s {{broadcast_dimensions = [{kept}]}} : (tensor<{r}f32>) -> tensor<{t}f32>
               %y = tsr.divide %e, %sb : tensor<{t}f32>
               %l = tsr.log %s : tensor<{r}f32>
               %lse = tsr.add %l, %m : tensor<{r}f32>
               return %y, %lse : tensor<{t}f32>, tensor<{r}f32>
             }}",
            reduce("%m", "maximum", "%x", "%low", ElementType::F32, &shape, &[last]),
            reduce("%s", "add", "%e", "%zero", ElementType::F32, &shape, &[last]),
            kept = list(&kept),
        );
        let x = random.tensor(ElementType::F32, &shape);
        // exp within an ulp twice, a sum of positive numbers whose relative error is at most n/64 + 6 additions', a
        // division; relative to the largest all the more.
        let tolerance = (8.0 + shape[last] as f64 / 64.0) * 2f64.powi(-23);
        cases.push(
            Case::new(Family::Row, &body, vec![x.clone()]).within(Tolerance::OfLargest(tolerance)),
        );
        // The full result in place of the input.
        cases.push(
            Case::new(Family::Row, &body, vec![x])
                .in_place(0, 0)
                .within(Tolerance::OfLargest(tolerance)),
        );
    }
    check(cases);
}

/// The greatest element and where it first stands: a reducer of two inputs, in row and column.
#[test]
fn any_body_is_applied_in_order() {
    let mut random = Random(25);
    let mut cases = Vec::new();
    for (family, shape, dimension) in [
        (Family::Row, [6, 37], 1),
        (Family::Column, [37, 70], 0),
        (Family::Row, [6, 1], 1),
    ] {
        let (t, r) = (dims(&shape), shape[1 - dimension]);
        let body = format!(
            "func.func @argmax(%x: tensor<{t}f32>) -> (tensor<{r}xf32>, tensor<{r}xi32>) {{
               %low = tsr.constant {{value = dense<0xFF800000>}} : tensor<f32>
               %none = tsr.constant {{value = dense<0>}} : tensor<i32>
               %i = tsr.iota {{dimension = {dimension}}} : tensor<{t}i32>
               %0:2 = tsr.reduce %x, %i, %low, %none {{dimensions = [{dimension}]}} : (tensor<{t}f32>, tensor<{t}i32>, tensor<f32>, tensor<i32>) -> (tensor<{r}xf32>, tensor<{r}xi32>) {{
               ^body(%a: tensor<f32>, %ai: tensor<i32>, %b: tensor<f32>, %bi: tensor<i32>):
                 %g = tsr.compare %a, %b {{direction = GE, compare_type = FLOAT}} : (tensor<f32>, tensor<f32>) -> tensor<i1>
                 %v = tsr.select %g, %a, %b : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
                 %w = tsr.select %g, %ai, %bi : (tensor<i1>, tensor<i32>, tensor<i32>) -> tensor<i32>
                 tsr.return %v, %w : tensor<f32>, tensor<i32>
               }}
               return %0#0, %0#1 : tensor<{r}xf32>, tensor<{r}xi32>
             }}"
        );
        let x = random.tensor(ElementType::Bf16, &shape);
        let values: Vec<f32> = x
            .values::<half::bf16>()
            .unwrap()
            .into_iter()
            .map(f32::from)
            .collect();
        cases.push(Case::new(
            family,
            &body,
            vec![Tensor::from_values(shape, &values).unwrap()],
        ));
    }
    // A difference: neither commutative nor associative.
    for (family, shape, dimension) in [(Family::Row, [3, 70], 1), (Family::Column, [70, 3], 0)] {
        cases.push(single(
            family,
            "subtract",
            ElementType::I32,
            &shape,
            &[dimension],
            &mut random,
        ));
    }
    check(cases);
}

/// The range and the largest of a column, and the greatest by comparison, which lets NaN pass.
#[test]
fn several_reductions_of_columns() {
    let mut random = Random(29);
    let mut cases = Vec::new();
    for shape in [[70, 9], [9, 65], [6, 200], [3, 1025], [0, 5]] {
        let (t, r) = (dims(&shape), dims(&shape[1..]));
        let body = format!(
            "func.func @range(%x: tensor<{t}f32>) -> (tensor<{r}f32>, tensor<{r}f32>, tensor<{r}f32>) {{
               %low = tsr.constant {{value = dense<0xFF800000>}} : tensor<f32>
               %high = tsr.constant {{value = dense<0x7F800000>}} : tensor<f32>
               {}
               {}
               %0 = tsr.reduce %x, %low {{dimensions = [0]}} : (tensor<{t}f32>, tensor<f32>) -> tensor<{r}f32> {{
               ^body(%a: tensor<f32>, %b: tensor<f32>):
                 %g = tsr.compare %b, %a {{direction = GT, compare_type = FLOAT}} : (tensor<f32>, tensor<f32>) -> tensor<i1>
                 %v = tsr.select %g, %b, %a : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
                 tsr.return %v : tensor<f32>
               }}
               %d = tsr.subtract %l, %s : tensor<{r}f32>
               return %d, %l, %0 : tensor<{r}f32>, tensor<{r}f32>, tensor<{r}f32>
             }}",
            reduce("%l", "maximum", "%x", "%low", ElementType::F32, &shape, &[0]),
            reduce("%s", "minimum", "%x", "%high", ElementType::F32, &shape, &[0]),
        );
        let x = random.tensor(ElementType::F32, &shape);
        let mut values = x.values::<f32>().unwrap();
        let places = values.len();
        cases.push(Case::new(Family::Column, &body, vec![x]));
        for place in [places / 3, places / 2].into_iter().filter(|_| places > 0) {
            values[place] = f32::NAN;
        }
        let x = Tensor::from_values(shape, &values).unwrap();
        cases.push(Case::new(Family::Column, &body, vec![x]));
    }
    check(cases);
}

/// A bias gradient with what goes before and after, over broadcast and transposed operands.
#[test]
fn a_column_kernel_computes_before_and_after() {
    let mut random = Random(26);
    let body = format!(
        "func.func @mean(%x: tensor<70x9x33xf32>, %w: tensor<33x9xf32>) -> tensor<9x33xf32> {{
           %zero = tsr.constant {{value = dense<0.0>}} : tensor<f32>
           %wt = tsr.broadcast_in_dim %w {{broadcast_dimensions = [2, 1]}} : (tensor<33x9xf32>) -> tensor<70x9x33xf32>
           %p = tsr.multiply %x, %wt : tensor<70x9x33xf32>
           {}
           %n = tsr.constant {{value = dense<70.0>}} : tensor<9x33xf32>
           %0 = tsr.divide %s, %n : tensor<9x33xf32>
           return %0 : tensor<9x33xf32>
         }}",
        reduce("%s", "add", "%p", "%zero", ElementType::F32, &[70, 9, 33], &[0])
    );
    let inputs = vec![
        random.tensor(ElementType::F32, &[70, 9, 33]),
        random.tensor(ElementType::F32, &[33, 9]),
    ];
    // 70 products up to 4, each sum with a rounding; see above.
    let tolerance = Tolerance::OfLargest(20.0 * 71.0 * 2f64.powi(-24));
    check(vec![
        Case::new(Family::Column, &body, inputs).within(tolerance),
    ]);
}

#[test]
fn the_largest_magnitude_is_a_number_or_nan() {
    let mut random = Random(77);
    let special = [f32::NAN, -f32::NAN, f32::NEG_INFINITY, -0.0, 1e-45];
    let mut cases = Vec::new();
    for init in ["0xFF800000", "0.0", "-1.0", "0xFFC00000", "3.0"] {
        for (index, special) in special.iter().enumerate() {
            for (dimension, family, shape, reduced) in [
                (1, Family::Row, [9, 70], 9),
                (0, Family::Column, [70, 9], 9),
            ] {
                let text = format!(
                    "func.func @magnitude(%x: tensor<{0}x{1}xf32>) -> tensor<{reduced}xf32> {{
                       %a = tsr.abs %x : tensor<{0}x{1}xf32>
                       %i = tsr.constant {{value = dense<{init}>}} : tensor<f32>
                       %m = tsr.reduce %a, %i {{dimensions = [{dimension}]}} : (tensor<{0}x{1}xf32>, tensor<f32>) -> tensor<{reduced}xf32> {{
                       ^body(%p: tensor<f32>, %q: tensor<f32>):
                         %r = tsr.maximum %p, %q : tensor<f32>
                         tsr.return %r : tensor<f32>
                       }}
                       return %m : tensor<{reduced}xf32>
                     }}",
                    shape[0], shape[1]
                );
                let x = random.tensor(ElementType::F32, &shape);
                let mut values = x.values::<f32>().unwrap();
                values[index * 31 + 40] = *special;
                let x = Tensor::from_values(shape, &values).unwrap();
                cases.push(Case::new(family, &text, vec![x]));
            }
        }
    }
    check(cases);
}
