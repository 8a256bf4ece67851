//! The PTX itself: what it looks like, for every target, and that NVIDIA's assembler takes it.

use crate::attention;
use crate::code::cases;
use crate::epilogues;
use crate::harness::{Case, Random, plan_of};
use crate::matrix_units;
use std::path::{Path, PathBuf};
use std::process::Command;
use tessera_ir::ElementType;
use tessera_ir::plan::Family;
use tessera_runtime::bundle::{CUBIN_FILE, Manifest, PTX_FILE};
use tessera_targets::nvptx::{Assembler, CAPABILITIES};
use tessera_targets::{CodeStage, CodegenError, Options, Target, compile, emit};

const LOOP: &str = "func.func @scale(%x: tensor<6x8xf32>, %y: tensor<8xf32>) -> tensor<6x8xf32> {
  %b = tsr.broadcast_in_dim %y {broadcast_dimensions = [1]} : (tensor<8xf32>) -> tensor<6x8xf32>
  %0 = tsr.multiply %x, %b : tensor<6x8xf32>
  return %0 : tensor<6x8xf32>
}";

fn scale() -> Case {
    let mut random = Random(5);
    let mut x = |shape: &[usize]| random.tensor(ElementType::F32, shape);
    Case::new(Family::Loop, LOOP, vec![x(&[6, 8]), x(&[8])])
}

pub fn ptx(cases: &[Case], target: &str) -> String {
    let target: Target = target.parse().unwrap();
    let options = Options::default();
    let code = emit(&plan_of(cases), &target, CodeStage::Assembly, &options).unwrap();
    let texts = code
        .into_iter()
        .map(|(_, text)| String::from_utf8(text).unwrap());
    texts.collect()
}

#[test]
fn a_loop_reads_and_writes_sixteen_bytes_at_a_time() {
    insta::assert_snapshot!(ptx(&[scale()], "sm_90a"));
}

#[test]
fn every_target_is_written_in_a_version_that_knows_it() {
    let headers: Vec<String> = (CAPABILITIES.iter())
        .map(|row| {
            let text = ptx(&[scale()], row.name);
            let directive = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name));
                line.unwrap().to_owned()
            };
            format!("{} {}", directive(".version"), directive(".target"))
        })
        .collect();
    insta::assert_snapshot!(headers.join("\n"));
}

#[test]
fn compiling_again_gives_the_same_module() {
    let plan = plan_of(&cases());
    let folder = tempfile::tempdir().unwrap();
    let module = |name: &str, threads| {
        let path = folder.path().join(name);
        let options = Options {
            threads,
            ..Options::default()
        };
        let target: Target = "sm_120a".parse().unwrap();
        let writer = compile(&plan, &target, &options).unwrap();
        writer.write(&path).unwrap();
        std::fs::read_to_string(path.join(PTX_FILE)).unwrap()
    };
    let first = module("one", 1);
    assert_eq!(first.matches(".entry").count(), cases().len());
    assert_eq!(first.matches(".version").count(), 1);
    assert!(first == module("two", 3), "the number of threads matters");
}

#[test]
fn there_are_no_object_files_for_a_gpu() {
    let target: Target = "sm_90a".parse().unwrap();
    let plan = plan_of(&[scale()]);
    let error = emit(&plan, &target, CodeStage::Object, &Options::default()).unwrap_err();
    assert!(matches!(error, CodegenError::NoObjects { .. }), "{error}");
}

/// The assembler, and the disassembler that may lie beside it.
pub fn tools() -> (Option<Assembler>, Option<PathBuf>) {
    let assembler = Assembler::find();
    let nvdisasm = assembler
        .as_ref()
        .map(|one| one.program().with_file_name("nvdisasm"));
    (assembler, nvdisasm.filter(|program| program.is_file()))
}

/// Cases as a bundle in a folder, with the machine code of a target.
pub fn assembled(assembler: &Assembler, cases: &[Case], target: &str, folder: &Path) -> Manifest {
    let made_for: Target = target.parse().unwrap();
    let options = Options {
        assembler: Some(assembler.clone()),
        ..Options::default()
    };
    let writer = compile(&plan_of(cases), &made_for, &options).unwrap();
    writer.write(folder).unwrap();
    writer.manifest()
}

#[test]
fn the_assembler_takes_every_kernel_for_every_target() {
    let (Some(assembler), _) = tools() else {
        eprintln!("SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment");
        return;
    };
    let mut all = cases();
    all.push(scale());
    all.extend(matrix_units::cases());
    all.extend(epilogues::kernels());
    all.extend(attention::kernels());
    let folder = tempfile::tempdir().unwrap();
    for row in &CAPABILITIES {
        let manifest = assembled(&assembler, &all, row.name, &folder.path().join(row.name));
        for kernel in &manifest.kernels {
            let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
            let what = format!("{}, {}: {resources:?}", row.name, kernel.name);
            assert!(resources.registers > 0, "{what}");
            assert_eq!(resources.spill_store_bytes, 0, "{what}");
        }
    }
}

/// In machine code, products of codes with block scales are instructions of their own: OMMA of four bits, QMMA of more.
#[test]
fn the_machine_code_of_products_of_codes_multiplies_codes() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for target in ["sm_120a", "sm_120f", "sm_121a"] {
        let cases = matrix_units::cases();
        let bundle = folder.path().join(target);
        assembled(&assembler, &cases, target, &bundle);
        let cubin = bundle.join(CUBIN_FILE);
        let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
        assert!(output.status.success(), "{target}");
        let text = String::from_utf8_lossy(&output.stdout);
        for instruction in [
            "OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X",
            "OMMA.SF.16864.F32.E2M1.E2M1.E8",
            "QMMA.SF.16832.F32.E4M3.E4M3.E8",
            "LDGSTS",
            "LDSM",
        ] {
            assert!(text.contains(instruction), "{target}: no {instruction}");
        }
    }
}

/// In machine code, products of 16-bit scores and weights are the warps' matrix units', on every target.
#[test]
fn the_machine_code_of_attention_multiplies_halves() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        let bundle = folder.path().join(target);
        assembled(&assembler, &attention::kernels(), target, &bundle);
        let cubin = bundle.join(CUBIN_FILE);
        let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
        assert!(output.status.success(), "{target}");
        let text = String::from_utf8_lossy(&output.stdout);
        for instruction in ["HMMA.16816.F32.BF16", "HMMA.16816.F32 ", "LDSM.16.M88.4"] {
            assert!(text.contains(instruction), "{target}: no {instruction}");
        }
    }
}
