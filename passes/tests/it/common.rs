//! What several tests need: the fixtures, and what it means that two programs give the same.

use std::fs;
use std::path::{Path, PathBuf};
use tessera_ir::text::parse;
use tessera_ir::{ElementType, Module, Tensor, TensorType};
use tessera_numerics::Initialiser;
use tessera_passes::Pipeline;
use tessera_passes::manager::Silent;

/// The folder of the step of that name.
pub fn step_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/steps")
        .join(name)
}

/// The step as JAX exported it.
pub fn import_step(name: &str) -> Module {
    let source = fs::read_to_string(step_folder(name).join("step.mlir")).unwrap();
    tessera_import::import(&source, "step.mlir")
        .unwrap_or_else(|d| panic!("{}", d.render("step.mlir", &source)))
}

/// The inputs that `inputs.toml` beside the step describes.
pub fn step_inputs(name: &str, module: &Module) -> Vec<Tensor> {
    let text = fs::read_to_string(step_folder(name).join("inputs.toml")).unwrap();
    let initialisers = text
        .lines()
        .filter(|line| line.starts_with("arg"))
        .map(|line| {
            let (_, rest) = line.split_once('"').unwrap();
            let (initialiser, _) = rest.split_once('"').unwrap();
            initialiser.parse::<Initialiser>().unwrap()
        });
    let inputs = module.entry().unwrap().inputs();
    let tensors = initialisers
        .zip(inputs)
        .zip(0..)
        .map(|((initialiser, input), stream)| {
            let tensor_type = input
                .value_type
                .as_tensor()
                .expect("a program takes tensors");
            initialiser
                .tensor(tensor_type.element, &tensor_type.shape, stream)
                .unwrap()
        });
    tensors.collect()
}

/// Fails where two programs' results differ in a bit. NaNs are equal: which one an operation gives is not specified.
#[track_caller]
pub fn assert_same(found: &[Tensor], expected: &[Tensor]) {
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.shape(), expected.shape(), "result {number}");
        assert_eq!(found.element(), expected.element(), "result {number}");
        let size = found.element().size();
        let elements = found
            .bytes()
            .chunks(size)
            .zip(expected.bytes().chunks(size));
        for (index, (a, b)) in elements.enumerate() {
            let same = a == b || is_nan(found.element(), a) && is_nan(found.element(), b);
            assert!(
                same,
                "result {number}, element {index}: {a:02x?}, expected {b:02x?}"
            );
        }
    }
}

fn is_nan(element: ElementType, bytes: &[u8]) -> bool {
    let scalar = Tensor::new(element, [], bytes).unwrap();
    match element {
        ElementType::F32 => scalar.values::<f32>().unwrap()[0].is_nan(),
        ElementType::F64 => scalar.values::<f64>().unwrap()[0].is_nan(),
        ElementType::Bf16 => scalar.values::<half::bf16>().unwrap()[0].is_nan(),
        ElementType::F16 => scalar.values::<half::f16>().unwrap()[0].is_nan(),
        _ => false,
    }
}

/// A module with the graph `@main`, given by what follows its name. `t<…>` is short for `tensor<…>`.
#[track_caller]
pub fn program(source: &str) -> Module {
    module(&format!("func.func public @main{source}"))
}

/// A module of the graphs given. `t<…>` is short for `tensor<…>`.
#[track_caller]
pub fn module(graphs: &str) -> Module {
    let source = format!("module {{\n{}\n}}", graphs.replace("t<", "tensor<"));
    let module = parse(&source, None).unwrap_or_else(|d| panic!("{}", d.render("test", &source)));
    if let Err(errors) = tessera_ir::verify(&module) {
        panic!("{errors:?}");
    }
    module
}

/// The module after a pipeline.
#[track_caller]
pub fn run(pipeline: &str, module: &Module) -> Module {
    let parsed = pipeline.parse::<Pipeline>();
    let pipeline = parsed.unwrap_or_else(|d| panic!("{}", d.render("pipeline", pipeline)));
    let result = pipeline.run(module, &mut Silent);
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The lines between the braces of `@main`, with `t<…>` for `tensor<…>`.
pub fn body(module: &Module) -> Vec<String> {
    let text = module.entry().unwrap().to_string().replace("tensor<", "t<");
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines[1..lines.len() - 1].to_vec()
}

/// Inputs with all the numbers that rules could stumble over, in another order for each input.
pub fn special_inputs(module: &Module) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().enumerate();
    inputs
        .map(|(number, input)| {
            special_tensor(
                input
                    .value_type
                    .as_tensor()
                    .expect("a program takes tensors"),
                number,
            )
        })
        .collect()
}

fn special_tensor(tensor_type: &TensorType, number: usize) -> Tensor {
    let (count, shape) = (tensor_type.len(), tensor_type.shape.as_slice());
    match tensor_type.element {
        ElementType::F32 => {
            let special = [
                1.5,
                -0.0,
                f32::NAN,
                0.0,
                -2.25,
                f32::INFINITY,
                1.0e-40,
                -1.0,
                f32::NEG_INFINITY,
                3.0e38,
                7.0,
            ];
            Tensor::from_values(shape, &cycled(&special, count, number))
        }
        ElementType::Bf16 => {
            let special =
                [1.5, -0.0, f32::NAN, 0.0, -2.25, f32::INFINITY, 300.0].map(half::bf16::from_f32);
            Tensor::from_values(shape, &cycled(&special, count, number))
        }
        ElementType::I32 => {
            let special = [0, 1, -1, i32::MAX, i32::MIN, 7, -3, 2];
            Tensor::from_values(shape, &cycled(&special, count, number))
        }
        ElementType::Ui8 => {
            Tensor::from_values(shape, &cycled(&[0u8, 255, 1, 7, 128], count, number))
        }
        ElementType::I1 => {
            Tensor::from_values(shape, &cycled(&[true, false, false], count, number))
        }
        other => panic!("no special numbers of type {other}"),
    }
    .unwrap()
}

fn cycled<T: Copy>(values: &[T], count: usize, number: usize) -> Vec<T> {
    // Steps of different lengths pair each value of one input with many of another.
    let step = 1 + number % (values.len() - 1);
    (0..count)
        .map(|i| values[(i * step + number) % values.len()])
        .collect()
}

/// What the interpreter makes of a module.
pub fn interpret(module: &Module, inputs: &[Tensor]) -> Vec<Tensor> {
    tessera_interpreter::evaluate(module, module.entry().unwrap(), inputs).unwrap()
}

/// Checks that a pipeline leaves those lines of a program, and that both compute the same.
#[track_caller]
pub fn check(pipeline: &str, source: &str, expected: &str) {
    let before = program(source);
    let after = run(pipeline, &before);
    let expected: Vec<String> = expected
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(body(&after).join("\n"), expected.join("\n"));
    let inputs = special_inputs(&before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
}

/// A sort of `operand` by absolute value, as lines that define `%name`: a kernel that reads all before it writes, and
/// fuses with nothing. By absolute value, for a NaN's sign is no part of what passes keep.
pub fn sort(name: &str, operand: &str, shape: &str) -> String {
    format!(
        "%{name} = tsr.sort {operand} {{dimension = 0, is_stable = true}} : t<{shape}xf32> {{
         ^comparator(%{name}_a: t<f32>, %{name}_b: t<f32>):
           %{name}_c = tsr.abs %{name}_a : t<f32>
           %{name}_d = tsr.abs %{name}_b : t<f32>
           %{name}_e = tsr.compare %{name}_c, %{name}_d {{direction = LT, compare_type = TOTALORDER}} : (t<f32>, t<f32>) -> t<i1>
           tsr.return %{name}_e : t<i1>
         }}"
    )
}
