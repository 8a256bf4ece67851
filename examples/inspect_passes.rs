//! A StableHLO text on its way through the passes: the graph after each, then the plan.
//!
//! `cargo run --example inspect_passes`

use std::error::Error;
use tessera::Compiler;
use tessera_passes::manager::{Observer, PassRun};

const ATTENTION_WEIGHTS: &str = "\
func.func @main(%scores: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %lowest = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.reduce(%scores init: %lowest) applies stablehlo.maximum across dimensions = [1] : (tensor<4x16xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<4xf32>) -> tensor<4x16xf32>
  %2 = stablehlo.subtract %scores, %1 : tensor<4x16xf32>
  %3 = stablehlo.exponential %2 : tensor<4x16xf32>
  %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [1] : (tensor<4x16xf32>, tensor<f32>) -> tensor<4xf32>
  %5 = stablehlo.broadcast_in_dim %4, dims = [0] : (tensor<4xf32>) -> tensor<4x16xf32>
  %6 = stablehlo.divide %3, %5 : tensor<4x16xf32>
  return %6 : tensor<4x16xf32>
}
";

/// Prints the graph after each pass that changed it.
struct Print;

impl Observer for Print {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        if run.changed {
            println!("// after {}\n{}", run.name, run.module);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let module = tessera_import::import(ATTENTION_WEIGHTS, "softmax.mlir")?;
    println!("// imported\n{module}");
    let compiler = Compiler::new("cpu")?;
    let module = compiler.transform(&module, &mut Print)?;
    print!(
        "{}",
        tessera_ir::plan::print(&compiler.plan(&module)?, false)
    );
    Ok(())
}
