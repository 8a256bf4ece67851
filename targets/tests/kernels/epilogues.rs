//! What kernels compute of their products before they write them: the same bits as of the written product.

use crate::emulated::run_on;
use crate::harness::{Case, Random, interpret, run};
use crate::scaled::quantized;
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor, Type};
use tessera_numerics::largest_magnitude;

/// A bias row, a residual in another shape, a select, and a result of another type in the residual's shape.
const EPILOGUE: &str = "
    %rows = tsr.broadcast_in_dim %bias {broadcast_dimensions = [1]} : (tensor<70xf32>) -> tensor<36x70xf32>
    %biased = tsr.add %p, %rows : tensor<36x70xf32>
    %shaped = tsr.reshape %biased : (tensor<36x70xf32>) -> tensor<3x12x70xf32>
    %sum = tsr.add %shaped, %residual : tensor<3x12x70xf32>
    %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
    %zeros = tsr.broadcast_in_dim %zero {broadcast_dimensions = []} : (tensor<f32>) -> tensor<3x12x70xf32>
    %positive = tsr.compare %sum, %zeros {direction = GT, compare_type = FLOAT} : (tensor<3x12x70xf32>, tensor<3x12x70xf32>) -> tensor<3x12x70xi1>
    %kept = tsr.select %positive, %sum, %zeros : (tensor<3x12x70xi1>, tensor<3x12x70xf32>, tensor<3x12x70xf32>) -> tensor<3x12x70xf32>
    %half = tsr.convert %kept : (tensor<3x12x70xf32>) -> tensor<3x12x70xbf16>
    return %p, %half, %sum : tensor<36x70xf32>, tensor<3x12x70xbf16>, tensor<3x12x70xf32>
  }";

const RESULTS: &str = "(tensor<36x70xf32>, tensor<3x12x70xbf16>, tensor<3x12x70xf32>)";

/// A product by the name of its case, its operands' types and its line.
struct Product {
    name: &'static str,
    operands: &'static [&'static str],
    line: &'static str,
}

const PRODUCTS: [Product; 9] = [
    Product {
        name: "dot_f32",
        operands: &["tensor<36x48xf32>", "tensor<48x70xf32>"],
        line: "dot_general %0, %1 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}",
    },
    Product {
        name: "dot_bf16",
        operands: &["tensor<36x48xbf16>", "tensor<70x48xbf16>"],
        line: "dot_general %0, %1 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32}",
    },
    Product {
        name: "scaled_nvfp4",
        operands: &[
            "!tsr.scaled<36x80, nvfp4, axis = 1>",
            "!tsr.scaled<70x80, nvfp4, axis = 1>",
        ],
        line: "scaled_dot %0, %1 {lhs_batching_dimensions = [], rhs_batching_dimensions = []}",
    },
    Product {
        name: "scaled_mxfp8",
        operands: &[
            "!tsr.scaled<36x64, mxfp8_e4m3, axis = 1>",
            "!tsr.scaled<64x70, mxfp8_e4m3, axis = 0>",
        ],
        line: "scaled_dot %0, %1 {lhs_batching_dimensions = [], rhs_batching_dimensions = []}",
    },
    Product {
        name: "grouped_f32",
        operands: &["tensor<36x48xf32>", "tensor<3x48x70xf32>", "tensor<3xi32>"],
        line: "grouped_dot %0, %1, %2 {lhs_contracting_dimension = 1, rhs_contracting_dimension = 1, accumulator = f32}",
    },
    Product {
        name: "grouped_nvfp4",
        operands: &[
            "!tsr.scaled<36x48, nvfp4, axis = 1>",
            "!tsr.scaled<3x48x70, nvfp4, axis = 1>",
            "tensor<3xi32>",
        ],
        line: "grouped_scaled_dot %0, %1, %2",
    },
    Product {
        name: "grouped_bf16",
        operands: &[
            "tensor<36x48xbf16>",
            "tensor<3x70x48xbf16>",
            "tensor<3xi32>",
        ],
        line: "grouped_dot %0, %1, %2 {lhs_contracting_dimension = 1, rhs_contracting_dimension = 2, accumulator = f32}",
    },
    // Multiplied in batches or groups, whose results lie one after another.
    Product {
        name: "grouped_depth_bf16",
        operands: &["tensor<40x12xbf16>", "tensor<40x70xbf16>", "tensor<3xi32>"],
        line: "grouped_dot %0, %1, %2 {lhs_contracting_dimension = 0, rhs_contracting_dimension = 0, accumulator = f32}",
    },
    Product {
        name: "batched_nvfp4",
        operands: &[
            "!tsr.scaled<3x12x80, nvfp4, axis = 2>",
            "!tsr.scaled<3x70x80, nvfp4, axis = 2>",
        ],
        line: "scaled_dot %0, %1 {lhs_batching_dimensions = [0], rhs_batching_dimensions = [0]}",
    },
];

/// A line of the text form, the types of its operands taken from those of the function.
fn product_line(product: &Product) -> String {
    let operands = product.operands.join(", ");
    let (name, shape) = match product.name {
        "batched_nvfp4" | "grouped_depth_bf16" => ("batched", "tensor<3x12x70xf32>"),
        _ => ("p", "tensor<36x70xf32>"),
    };
    let line = format!("%{name} = tsr.{} : ({operands}) -> {shape}", product.line);
    match name {
        "p" => line,
        _ => format!("{line}\n    %p = tsr.reshape %batched : ({shape}) -> tensor<36x70xf32>"),
    }
}

/// The kernel that writes a product less what a number a column is, and the largest magnitudes of that and of the product,
/// in place of -∞.
fn largest(product: &Product, random: &mut Random) -> Case {
    let operands = (product.operands.iter().enumerate())
        .map(|(number, operand)| format!("%{number}: {operand}, "))
        .collect::<String>();
    let of = |x: &str, init: &str| {
        format!(
            "%magnitudes_{x} = tsr.abs %{x} : tensor<36x70xf32>
           %largest_{x} = tsr.reduce %magnitudes_{x}, %{init} {{dimensions = [0, 1]}} : (tensor<36x70xf32>, tensor<f32>) -> tensor<f32> {{
           ^body(%a: tensor<f32>, %b: tensor<f32>):
             %t = tsr.maximum %a, %b : tensor<f32>
             tsr.return %t : tensor<f32>
           }}"
        )
    };
    let body = format!(
        "func.func @largest_{}({operands}%bias: tensor<70xf32>, %least: tensor<f32>, %other: tensor<f32>) -> (tensor<36x70xf32>, tensor<f32>, tensor<f32>) {{
           {}
           %rows = tsr.broadcast_in_dim %bias {{broadcast_dimensions = [1]}} : (tensor<70xf32>) -> tensor<36x70xf32>
           %y = tsr.subtract %p, %rows : tensor<36x70xf32>
           {}
           {}
           return %y, %largest_y, %largest_p : tensor<36x70xf32>, tensor<f32>, tensor<f32>
         }}",
        product.name,
        product_line(product),
        of("y", "least"),
        of("p", "other")
    );
    let mut case = Case::new(Family::Dot, &body, Vec::new());
    case.inputs = inputs(&case, random);
    let last = case.inputs.len() - 1;
    for init in [last - 1, last] {
        case.inputs[init] = Tensor::scalar(f32::NEG_INFINITY);
    }
    case.in_place(1, last - 1).in_place(2, last)
}

/// Inputs for a kernel, of which the first are the product's.
fn inputs(case: &Case, random: &mut Random) -> Vec<Tensor> {
    let inputs = case.kernel.body.inputs().iter();
    inputs
        .map(|input| match &input.value_type {
            Type::Scaled(scaled) => {
                let x = random.tensor(ElementType::F32, scaled.shape());
                quantized(scaled, &x)
            }
            Type::Tensor(tensor) if tensor.element == ElementType::I32 => {
                Tensor::from_values([3], &[20, 0, 11]).unwrap()
            }
            Type::Tensor(tensor) => random.tensor(tensor.element, &tensor.shape),
        })
        .collect()
}

/// The kernel, of which result 2 lies in the residual's memory, and the epilogue by itself.
fn cases(product: &Product, random: &mut Random) -> [Case; 2] {
    let parameters = |first: &str| {
        format!("({first}%bias: tensor<70xf32>, %residual: tensor<3x12x70xf32>) -> {RESULTS}")
    };
    let operands = (product.operands.iter().enumerate())
        .map(|(number, operand)| format!("%{number}: {operand}, "))
        .collect::<String>();
    let whole = format!(
        "func.func @{}{} {{\n    {}{EPILOGUE}",
        product.name,
        parameters(&operands),
        product_line(product)
    );
    let alone = format!(
        "func.func @alone{} {{{EPILOGUE}",
        parameters("%p: tensor<36x70xf32>, ")
    );
    let [mut whole, mut alone] =
        [whole, alone].map(|body| Case::new(Family::Dot, &body, Vec::new()));
    whole.inputs = inputs(&whole, random);
    alone.inputs = whole.inputs[whole.inputs.len() - 2..].to_vec();
    let residual = whole.inputs.len() - 1;
    [whole.in_place(2, residual), alone]
}

/// The kernels alone, for whom it is enough to compile them.
pub fn kernels() -> Vec<Case> {
    let mut random = Random(30);
    let kernels = PRODUCTS.iter().flat_map(|product| {
        let [whole, _] = cases(product, &mut random);
        [whole, largest(product, &mut random)]
    });
    kernels.collect()
}

/// The kernels whose products pairs of CTAs make too: of codes and of 16-bit numbers, not of groups.
pub fn kernels_of_pairs() -> Vec<Case> {
    let mut random = Random(35);
    let is_one =
        |product: &&Product| !product.name.ends_with("f32") && !product.name.contains("group");
    let kernels = PRODUCTS.iter().filter(is_one).flat_map(|product| {
        let [whole, _] = cases(product, &mut random);
        [whole, largest(product, &mut random)]
    });
    kernels.collect()
}

/// Checks what a machine finds: of each kernel, the product, and what the epilogue's ops are of it.
fn check(cases: &[[Case; 2]], machine: &str, found: &[Tensor]) {
    for ([whole, alone], found) in cases.iter().zip(found.chunks(3)) {
        let name = format!("{} on {machine}", whole.kernel.name);
        let [bias, residual] = &alone.inputs[..] else {
            unreachable!("a bias and a residual")
        };
        let inputs = [found[0].clone(), bias.clone(), residual.clone()];
        assert_eq!(found, interpret(&alone.kernel.body, &inputs), "{name}");
        let zeros = found[0].bytes().iter().filter(|&&byte| byte == 0).count();
        let is_empty = zeros >= found[0].bytes().len() / 2;
        assert!(!is_empty, "{name}: a product of zeros");
    }
}

#[test]
fn an_epilogue_is_what_its_ops_are_of_the_product() {
    let mut random = Random(31);
    let cases: Vec<[Case; 2]> = PRODUCTS.iter().map(|p| cases(p, &mut random)).collect();
    let kernels: Vec<Case> = cases.iter().map(|[whole, _]| whole.clone()).collect();
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        check(&cases, target, &run_on(&kernels, target));
    }
}

/// Of what the kernel itself has written, by every unit; a NaN is the largest.
#[test]
fn the_largest_magnitude_of_what_is_made_of_a_product_is_found_where_it_is_made() {
    let mut random = Random(34);
    let mut kernels: Vec<Case> = PRODUCTS.iter().map(|p| largest(p, &mut random)).collect();
    let mut with_nan = kernels[0].clone();
    with_nan.inputs[2] = Tensor::from_values([70], &[f32::NAN; 70]).unwrap();
    kernels.push(with_nan);
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        let results = run_on(&kernels, target);
        for (case, found) in kernels.iter().zip(results.chunks(3)) {
            let numbers = |number: usize| found[number].values::<f32>().unwrap();
            let inputs = &case.inputs;
            let bias = inputs[inputs.len() - 3].values::<f32>().unwrap();
            let made = numbers(0);
            let name = format!("{} on {target}", case.kernel.name);
            let [largest, of_product] = [1, 2].map(|number| numbers(number)[0]);
            let expected = largest_magnitude(&made);
            let are_nan = largest.is_nan() && expected.is_nan();
            assert!(
                are_nan || largest == expected,
                "{name}: {largest} for {expected}"
            );
            // What the product was is not written: it is the sum of what was and the bias, but for its rounding.
            let products = made
                .iter()
                .enumerate()
                .map(|(i, y)| (y + bias[i % 70]).abs());
            let about = products.fold(0.0, f32::max);
            let is_near = (of_product - about).abs() <= about * 2f32.powi(-20);
            assert!(are_nan || is_near, "{name}: {of_product} for {about}");
        }
    }
}

#[test]
fn a_cpus_epilogue_is_what_its_ops_are_of_the_product() {
    let mut random = Random(33);
    let of_the_cpu = |product: &&Product| matches!(product.name, "scaled_nvfp4" | "batched_nvfp4");
    let products = PRODUCTS.iter().filter(of_the_cpu);
    let cases: Vec<[Case; 2]> = products.map(|p| cases(p, &mut random)).collect();
    let kernels: Vec<Case> = cases.iter().map(|[whole, _]| whole.clone()).collect();
    check(&cases, "the CPU", &run(&kernels));
}

/// Three hundred tiles, of which a CTA of a persistent kernel has two or three.
#[test]
fn a_residual_is_added_once_where_it_lies_whatever_tiles_a_cta_has() {
    let operands =
        "%0: !tsr.scaled<300x1x16, nvfp4, axis = 2>, %1: !tsr.scaled<300x1x16, nvfp4, axis = 2>";
    let product = "%p = tsr.scaled_dot %0, %1 {lhs_batching_dimensions = [0], rhs_batching_dimensions = [0]} : (!tsr.scaled<300x1x16, nvfp4, axis = 2>, !tsr.scaled<300x1x16, nvfp4, axis = 2>) -> tensor<300x1x1xf32>";
    let with = format!(
        "func.func @residual({operands}, %residual: tensor<300x1x1xf32>) -> tensor<300x1x1xf32> {{
           {product}
           %sum = tsr.add %p, %residual : tensor<300x1x1xf32>
           return %sum : tensor<300x1x1xf32>
         }}"
    );
    let without = format!(
        "func.func @product({operands}) -> tensor<300x1x1xf32> {{
           {product}
           return %p : tensor<300x1x1xf32>
         }}"
    );
    let mut random = Random(32);
    let [mut with, mut without] =
        [with, without].map(|body| Case::new(Family::Dot, &body, Vec::new()));
    let scaled = with.kernel.body.inputs()[..2].iter();
    let mut inputs: Vec<Tensor> = scaled
        .map(|input| {
            let scaled = input.value_type.as_scaled().unwrap();
            quantized(scaled, &random.tensor(ElementType::F32, scaled.shape()))
        })
        .collect();
    without.inputs = inputs.clone();
    let residual = random.tensor(ElementType::F32, &[300, 1, 1]);
    inputs.push(residual.clone());
    with.inputs = inputs;
    let cases = [with.in_place(0, 2), without];
    for target in ["sm_90a", "sm_100a", "sm_120a"] {
        let [found, product] = &run_on(&cases, target)[..] else {
            unreachable!("two kernels of one result");
        };
        let [found, product, residual] =
            [found, product, &residual].map(|tensor| tensor.values::<f32>().unwrap());
        let pairs = product.iter().zip(&residual);
        let expected: Vec<f32> = pairs.map(|(x, y)| x + y).collect();
        assert_eq!(found, expected, "{target}");
    }
}
