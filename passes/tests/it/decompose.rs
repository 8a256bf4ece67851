//! `decompose`: what becomes of ops that no kernel computes.

use crate::common::{body, interpret, program, run};
use tessera_ir::{ElementType, Module, Tensor};
use tessera_numerics::Initialiser;

/// The names of the ops of `@main` after the pass, constants and broadcasts left out. Done again, the pass changes
/// nothing.
#[track_caller]
fn decomposed(source: &str) -> (Module, Vec<String>) {
    let once = run("decompose", &program(source));
    assert_eq!(body(&run("decompose", &once)), body(&once));
    let operations = once.entry().unwrap().operations();
    let names = operations.iter().map(|operation| operation.op.kind.name());
    let names = names.filter(|name| !matches!(*name, "constant" | "broadcast_in_dim"));
    let names = names.map(str::to_owned).collect();
    (once, names)
}

fn normal(element: ElementType, shape: &[usize], stream: u64) -> Tensor {
    let initialiser: Initialiser = "normal(0.0, 1.0)".parse().unwrap();
    initialiser.tensor(element, shape, stream).unwrap()
}

/// How far the results of a program after the pass are from those before, each as a share of its largest.
fn distance(source: &str, inputs: &[Tensor]) -> f64 {
    let before = interpret(&program(source), inputs);
    let after = interpret(&run("decompose", &program(source)), inputs);
    let distances = before.iter().zip(&after).map(|(before, after)| {
        let [x, y] = [before, after].map(|tensor| tensor.values::<f32>().unwrap());
        let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let differences = x.iter().zip(&y).map(|(x, y)| (x - y).abs());
        f64::from(differences.fold(0f32, f32::max) / largest)
    });
    distances.fold(0.0, f64::max)
}

#[test]
fn a_mean_is_a_sum_times_a_factor() {
    let source = "(%arg0: t<6x4xf32>) -> t<4xf32> {
       %0 = tsr.column_mean %arg0 {dimensions = [0]} : (t<6x4xf32>) -> t<4xf32>
       return %0 : t<4xf32>
     }";
    let (_, names) = decomposed(source);
    assert_eq!(names, ["reduce", "multiply"]);
    // The sum, the factor and the product are rounded, of numbers that may be several times the mean.
    assert!(distance(source, &[normal(ElementType::F32, &[6, 4], 0)]) < 16.0 * 2f64.powi(-24));
}

#[test]
fn a_mean_of_halves_is_made_in_f32() {
    let (_, names) = decomposed(
        "(%arg0: t<6x4xbf16>) -> t<4xbf16> {
           %0 = tsr.column_mean %arg0 {dimensions = [0]} : (t<6x4xbf16>) -> t<4xbf16>
           return %0 : t<4xbf16>
         }",
    );
    assert_eq!(names, ["convert", "reduce", "multiply", "convert"]);
}

#[test]
fn iterations_are_unrolled() {
    let source = "(%arg0: t<9x6xf32>, %arg1: t<6x2xf32>) -> (t<6x2xf32>, t<2xf32>) {
       %0:2 = tsr.subspace_iterate %arg0, %arg1 {iterations = 2} : (t<9x6xf32>, t<6x2xf32>) -> (t<6x2xf32>, t<2xf32>)
       return %0#0, %0#1 : t<6x2xf32>, t<2xf32>
     }";
    let (_, names) = decomposed(source);
    let one = [
        "dot_general",
        "orthonormalize",
        "dot_general",
        "convert",
        "multiply",
        "reduce",
        "sqrt",
        "convert",
        "compare",
        "divide",
        "select",
    ];
    assert_eq!(names, [one, one].concat());
    let inputs = [
        normal(ElementType::F32, &[9, 6], 0),
        normal(ElementType::F32, &[6, 2], 1),
    ];
    // Each iteration rounds products of 6 and of 9 terms and their factor to f32; the condition of a random 9 × 2 matrix
    // is below 16.
    assert!(distance(source, &inputs) < 2.0 * 16.0 * 15.0 * 2f64.powi(-24));
}

#[test]
fn a_direction_that_vanishes_stays() {
    let source = "(%arg0: t<3x2xf32>, %arg1: t<2x1xf32>) -> (t<2x1xf32>, t<1xf32>) {
       %0:2 = tsr.subspace_iterate %arg0, %arg1 {iterations = 1} : (t<3x2xf32>, t<2x1xf32>) -> (t<2x1xf32>, t<1xf32>)
       return %0#0, %0#1 : t<2x1xf32>, t<1xf32>
     }";
    let inputs = [
        Tensor::from_values([3, 2], &[0f32; 6]).unwrap(),
        Tensor::from_values([2, 1], &[0.6f32, 0.8]).unwrap(),
    ];
    let found = interpret(&run("decompose", &program(source)), &inputs);
    assert_eq!(found[0].values::<f32>().unwrap(), [0.6, 0.8]);
    assert_eq!(found[1].values::<f32>().unwrap(), [0.0]);
}

/// A product of an x of this format and itself.
fn product(format: &str, element: &str) -> String {
    let scaled = format!("!tsr.scaled<4x32, {format}, axis = 1>");
    let result = format!("t<4x4x{element}>");
    format!(
        "(%arg0: t<4x32xf32>) -> {result} {{
           %0 = tsr.quantize %arg0 {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (t<4x32xf32>) -> {scaled}
           %1 = tsr.scaled_dot %0, %0 {{lhs_batching_dimensions = [], rhs_batching_dimensions = []}} : ({scaled}, {scaled}) -> {result}
           return %1 : {result}
         }}"
    )
}

#[test]
fn products_of_4_bits_stay_and_others_are_of_their_numbers() {
    let names = |format, element| decomposed(&product(format, element)).1;
    assert_eq!(names("mxfp4", "f32"), ["quantize", "scaled_dot"]);
    assert_eq!(
        names("mxfp4", "bf16"),
        ["quantize", "scaled_dot", "convert"]
    );
    let others = ["quantize", "dequantize", "dequantize", "dot_general"];
    assert_eq!(names("mxfp8_e4m3", "f32"), others);
    // The numbers are exact in f32; sums of 32 products are rounded once by either.
    let x = normal(ElementType::F32, &[4, 32], 3);
    assert!(distance(&product("mxfp8_e4m3", "f32"), &[x]) <= 2f64.powi(-23));
}

#[test]
fn products_of_halves_that_give_f32_are_of_f32() {
    let source = |element| {
        format!(
            "(%arg0: t<4x8xbf16>, %arg1: t<8x5xbf16>) -> t<4x5x{element}> {{
               %0 = tsr.dot_general %arg0, %arg1 {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (t<4x8xbf16>, t<8x5xbf16>) -> t<4x5x{element}>
               return %0 : t<4x5x{element}>
             }}"
        )
    };
    let (module, names) = decomposed(&source("f32"));
    assert_eq!(names, ["convert", "convert", "dot_general"]);
    let inputs = [
        normal(ElementType::Bf16, &[4, 8], 0),
        normal(ElementType::Bf16, &[8, 5], 1),
    ];
    let expected = interpret(&program(&source("f32")), &inputs);
    assert!(interpret(&module, &inputs) == expected);
    assert_eq!(decomposed(&source("bf16")).1, ["dot_general"]);
    // Where kernels multiply halves, they stay.
    let whole = program(&source("f32"));
    assert_eq!(
        body(&run("decompose{half-dots=keep}", &whole)),
        body(&whole)
    );
}

#[test]
fn grouped_products_of_halves_are_of_f32() {
    let source = |accumulator, element| {
        format!(
            "(%arg0: t<4x8xbf16>, %arg1: t<2x8x5xbf16>, %arg2: t<2xi32>) -> t<4x5x{element}> {{
               %0 = tsr.grouped_dot %arg0, %arg1, %arg2 {{lhs_contracting_dimension = 1, rhs_contracting_dimension = 1, accumulator = {accumulator}}} : (t<4x8xbf16>, t<2x8x5xbf16>, t<2xi32>) -> t<4x5x{element}>
               return %0 : t<4x5x{element}>
             }}"
        )
    };
    let names = |accumulator, element| decomposed(&source(accumulator, element)).1;
    let wide = ["convert", "convert", "grouped_dot"];
    assert_eq!(names("f32", "f32"), wide);
    assert_eq!(names("f32", "bf16"), [&wide[..], &["convert"]].concat());
    // Where kernels multiply halves, those that are summed in f32 stay.
    for element in ["f32", "bf16"] {
        let whole = program(&source("f32", element));
        assert_eq!(
            body(&run("decompose{half-dots=keep}", &whole)),
            body(&whole)
        );
    }
    let narrow = program(&source("bf16", "bf16"));
    assert_ne!(
        body(&run("decompose{half-dots=keep}", &narrow)),
        body(&narrow)
    );
}

#[test]
fn halves_are_quantized_and_transformed_as_f32() {
    let signs = "1, ".repeat(15) + "-1";
    let scaled = "!tsr.scaled<2x32, mxfp4, axis = 1>";
    let source = format!(
        "(%arg0: t<2x32xbf16>) -> t<2x32xbf16> {{
           %0 = tsr.hadamard %arg0 {{axis = 1, signs = [{signs}]}} : t<2x32xbf16>
           %1 = tsr.quantize %0 {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (t<2x32xbf16>) -> {scaled}
           %2 = tsr.dequantize %1 : ({scaled}) -> t<2x32xbf16>
           return %2 : t<2x32xbf16>
         }}"
    );
    let (module, names) = decomposed(&source);
    assert_eq!(
        names,
        [
            "convert",
            "hadamard",
            "convert",
            "convert",
            "quantize",
            "dequantize",
            "convert"
        ]
    );
    let inputs = [normal(ElementType::Bf16, &[2, 32], 0)];
    let expected = interpret(&program(&source), &inputs);
    assert!(interpret(&module, &inputs) == expected);
}
