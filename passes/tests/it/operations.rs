//! Every op that JAX exported by itself: fused and planned, it computes the same bits.

use crate::common::{assert_same, interpret, run};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};
use tessera_ir::{Module, Tensor};
use tessera_passes::plan::evaluate::evaluate;
use tessera_passes::{DEFAULT_PIPELINE, PlanOptions, plan};

/// The programs, in the order of their names.
fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/operations");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut programs: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "mlir"))
        .collect();
    programs.sort();
    programs
}

/// The inputs kept beside a program.
fn inputs(program: &Path, module: &Module) -> Vec<Tensor> {
    let bytes = fs::read(program.with_extension("safetensors")).unwrap();
    let kept = SafeTensors::deserialize(&bytes).unwrap();
    let inputs = module.entry().unwrap().inputs().iter().enumerate();
    let tensors = inputs.map(|(number, input)| {
        let tensor_type = input
            .value_type
            .as_tensor()
            .expect("a program takes tensors");
        let data = kept.tensor(&format!("arg{number}")).unwrap();
        Tensor::new(tensor_type.element, tensor_type.shape.clone(), data.data()).unwrap()
    });
    tensors.collect()
}

#[test]
fn plans_of_single_operations_compute_them() {
    let programs = programs();
    assert!(programs.len() > 100, "found {} programs", programs.len());
    for path in programs {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap();
        let before = tessera_import::import(&source, &name)
            .unwrap_or_else(|d| panic!("{}", d.render(&name, &source)));
        let inputs = inputs(&path, &before);
        let expected = interpret(&before, &inputs);
        let fused = run(DEFAULT_PIPELINE, &before);
        let plan =
            plan(&fused, PlanOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = evaluate(&plan, &inputs).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        // The name tells which program it was, should the next line fail.
        eprintln!("{name}");
        assert_same(&found, &expected);
    }
}
