//! The PTX itself: what it looks like, for every target, and that NVIDIA's assembler takes it.

use crate::code::cases;
use crate::harness::{Case, Random, plan_of};
use crate::matrix_units;
use std::path::{Path, PathBuf};
use std::process::Command;
use tessera_ir::ElementType;
use tessera_ir::plan::Family;
use tessera_runtime::bundle::PTX_FILE;
use tessera_targets::nvptx::CAPABILITIES;
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

/// A program of NVIDIA's, `ptxas` or `nvdisasm`, on PATH, under CUDA_HOME or CUDA_PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(std::env::var_os);
    let folders = homes.map(|home| Path::new(&home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = folders.chain(std::env::split_paths(&path));
    all.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
}

/// What the assembler makes of some cases for a target, in a folder, and what it says.
fn assembled(ptxas: &Path, cases: &[Case], target: &str, folder: &Path) -> (PathBuf, String) {
    let bundle = folder.join(target);
    let made_for: Target = target.parse().unwrap();
    let writer = compile(&plan_of(cases), &made_for, &Options::default()).unwrap();
    writer.write(&bundle).unwrap();
    let cubin = folder.join(format!("{target}.cubin"));
    let output = Command::new(ptxas)
        .arg(format!("-arch={target}"))
        .arg("-v")
        .arg(bundle.join(PTX_FILE))
        .arg("-o")
        .arg(&cubin)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{target}: {said}");
    (cubin, said)
}

#[test]
fn the_assembler_takes_every_kernel_for_every_target() {
    let Some(ptxas) = tool("ptxas") else {
        eprintln!("SKIPPED: no ptxas on PATH or under CUDA_HOME");
        return;
    };
    let mut all = cases();
    all.push(scale());
    all.extend(matrix_units::cases());
    let folder = tempfile::tempdir().unwrap();
    for row in &CAPABILITIES {
        let (_, said) = assembled(&ptxas, &all, row.name, folder.path());
        let spills = said.lines().filter(|line| line.contains("bytes spill"));
        for line in spills {
            assert!(
                line.contains(" 0 bytes spill stores"),
                "{}: {line}",
                row.name
            );
        }
    }
}

/// In machine code, products of codes with block scales are instructions of their own: OMMA of four bits, QMMA of more.
#[test]
fn the_machine_code_of_products_of_codes_multiplies_codes() {
    let (Some(ptxas), Some(nvdisasm)) = (tool("ptxas"), tool("nvdisasm")) else {
        eprintln!("SKIPPED: no ptxas or no nvdisasm on PATH or under CUDA_HOME");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for target in ["sm_120a", "sm_120f", "sm_121a"] {
        let cases = matrix_units::cases();
        let (cubin, _) = assembled(&ptxas, &cases, target, folder.path());
        let output = Command::new(&nvdisasm).arg(&cubin).output().unwrap();
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
