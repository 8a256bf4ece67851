//! What each op that holds graphs, moves data by data, or decides, means: written in the text form, by the definition.

mod control;
mod errors;
mod grouped;
mod indexing;
mod reduction;
mod scaled;
mod sorting;

use tessera_interpreter::{EvaluateError, evaluate};
use tessera_ir::{Element, Module, Tensor};

fn module(functions: &str) -> Module {
    let text = format!("module {{\n{functions}\n}}");
    let module = tessera_ir::text::parse(&text, Some("test.tsr"));
    let module = module.unwrap_or_else(|error| panic!("{}", error.render("test.tsr", &text)));
    assert_eq!(tessera_ir::verify(&module), Ok(()));
    module
}

fn try_run(functions: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvaluateError> {
    let module = module(functions);
    evaluate(&module, module.entry().unwrap(), inputs)
}

fn run<const N: usize>(functions: &str, inputs: &[Tensor]) -> [Tensor; N] {
    let results = try_run(functions, inputs).unwrap();
    results.try_into().unwrap()
}

fn tensor<T: Element>(shape: &[usize], values: &[T]) -> Tensor {
    Tensor::from_values(shape, values).unwrap()
}

fn vector<T: Element>(values: &[T]) -> Tensor {
    tensor(&[values.len()], values)
}
