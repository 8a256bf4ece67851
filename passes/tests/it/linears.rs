//! The linears found in training steps.

use crate::common::{import_step, run};
use tessera_ir::Module;
use tessera_passes::linears::{Linears, Row, explain, find};

fn analysed(module: &Module) -> (Module, Linears) {
    let module = run("inline,canonicalise", module);
    let linears = find(&module).unwrap_or_else(|error| panic!("{error}"));
    (module, linears)
}

fn rows(module: &Module) -> Vec<Row> {
    let (module, linears) = analysed(module);
    explain(&module, &linears)
}

fn table(module: &Module) -> String {
    let rows = rows(module).into_iter().map(|row| row.to_string());
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn llama_tiny() {
    println!("{}", table(&import_step("llama_tiny")));
}

#[test]
fn moe_tiny() {
    println!("{}", table(&import_step("moe_tiny")));
}

#[test]
fn moe_tiny_checkpoint() {
    println!("{}", table(&import_step("moe_tiny_checkpoint")));
}
