//! The code itself: the same bytes each time, the same results on every level, what is refused, what it looks like.

use crate::harness::{Case, Random, plan_of};
use std::num::NonZeroUsize;
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor, text};
use tessera_runtime::bundle::KERNELS_FILE;
use tessera_runtime::{Bundle, Program, RunOptions};
use tessera_targets::cpu::CpuTarget;
use tessera_targets::{CodeStage, CodegenError, Options, Target, compile, emit};

const SOFTMAX: &str = "func.func @softmax(%x: tensor<6x200xf32>) -> tensor<6x200xf32> {
  %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
  %e = tsr.exponential %x : tensor<6x200xf32>
  %s = tsr.reduce %e, %zero {dimensions = [1]} : (tensor<6x200xf32>, tensor<f32>) -> tensor<6xf32> {
  ^body(%a: tensor<f32>, %b: tensor<f32>):
    %t = tsr.add %a, %b : tensor<f32>
    tsr.return %t : tensor<f32>
  }
  %sb = tsr.broadcast_in_dim %s {broadcast_dimensions = [0]} : (tensor<6xf32>) -> tensor<6x200xf32>
  %0 = tsr.divide %e, %sb : tensor<6x200xf32>
  return %0 : tensor<6x200xf32>
}";

const COLUMN: &str = "func.func @column(%x: tensor<300x70xbf16>) -> tensor<70xbf16> {
  %zero = tsr.constant {value = dense<0.0>} : tensor<bf16>
  %y = tsr.logistic %x : tensor<300x70xbf16>
  %0 = tsr.reduce %y, %zero {dimensions = [0]} : (tensor<300x70xbf16>, tensor<bf16>) -> tensor<70xbf16> {
  ^body(%a: tensor<bf16>, %b: tensor<bf16>):
    %t = tsr.add %a, %b : tensor<bf16>
    tsr.return %t : tensor<bf16>
  }
  return %0 : tensor<70xbf16>
}";

const DOT: &str = "func.func @dot(%x: tensor<9x300xbf16>, %y: tensor<300x70xbf16>) -> tensor<9x70xf32> {
  %0 = tsr.dot_general %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (tensor<9x300xbf16>, tensor<300x70xbf16>) -> tensor<9x70xf32>
  return %0 : tensor<9x70xf32>
}";

pub fn cases() -> Vec<Case> {
    let mut random = Random(71);
    let mut x = |element, shape: &[usize]| random.tensor(element, shape);
    vec![
        Case::new(Family::Row, SOFTMAX, vec![x(ElementType::F32, &[6, 200])]),
        Case::new(
            Family::Column,
            COLUMN,
            vec![x(ElementType::Bf16, &[300, 70])],
        ),
        Case::new(
            Family::Dot,
            DOT,
            vec![
                x(ElementType::Bf16, &[9, 300]),
                x(ElementType::Bf16, &[300, 70]),
            ],
        ),
    ]
}

fn options(threads: usize) -> Options {
    Options {
        threads,
        ..Options::default()
    }
}

#[test]
fn compiling_again_gives_the_same_bytes() {
    let plan = plan_of(&cases());
    let target: Target = "cpu:x86-64-v3".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = |name: &str, threads| {
        let path = folder.path().join(name);
        compile(&plan, &target, &options(threads))
            .unwrap()
            .write(&path)
            .unwrap();
        let mut files: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let first = files("one", 1);
    assert!(first.iter().any(|(name, _)| name == KERNELS_FILE));
    assert!(first == files("two", 1), "the second compilation differs");
    assert!(first == files("three", 3), "the number of threads matters");
}

/// The order of every sum is in the code, not left to what a processor's vectors hold.
#[test]
fn every_level_computes_the_same_bits() {
    let cases = cases();
    let plan = plan_of(&cases);
    let inputs: Vec<Tensor> = cases.iter().flat_map(|case| case.inputs.clone()).collect();
    let host = CpuTarget::host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let results = |target: &CpuTarget| {
        let path = folder.path().join(target.to_string());
        compile(&plan, &Target::Cpu(target.clone()), &options(0))
            .unwrap()
            .write(&path)
            .unwrap();
        let program = Program::load(&Bundle::open(&path).unwrap()).unwrap();
        let options = RunOptions {
            threads: NonZeroUsize::new(2),
            ..RunOptions::default()
        };
        program.run(&inputs, &options).unwrap()
    };
    let expected = results(&host);
    for level in ["cpu:x86-64-v3", "cpu:x86-64-v4"] {
        let level: CpuTarget = level.parse().unwrap();
        if level
            .features()
            .iter()
            .all(|feature| host.features().contains(feature))
        {
            assert!(results(&level) == expected, "{level} differs from the host");
        }
    }
}

#[test]
fn what_a_family_cannot_do_is_named_with_its_place() {
    let body = "func.func @sum(%x: tensor<4xf32>, %i: tensor<f32>) -> tensor<f32> {
      %0 = tsr.reduce %x, %i {dimensions = [0]} : (tensor<4xf32>, tensor<f32>) -> tensor<f32> {
      ^body(%a: tensor<f32>, %b: tensor<f32>):
        %t = tsr.add %a, %b : tensor<f32>
        tsr.return %t : tensor<f32>
      } loc(\"step.py\":7:3)
      return %0 : tensor<f32>
    }";
    let graph = text::parse_graph(body, None).unwrap();
    let plan = plan_of(&[Case::of(Family::Loop, graph, vec![])]);
    let target: Target = "cpu:x86-64-v3".parse().unwrap();
    let error = compile(&plan, &target, &options(1)).err().unwrap();
    let CodegenError::Unsupported { kernel, source } = error else {
        panic!("{error}");
    };
    assert_eq!(kernel, "k0_sum");
    assert_eq!(
        source.to_string(),
        "'tsr.reduce': cannot be computed element by element where this kernel needs it"
    );
    let place = source.location.innermost().unwrap();
    assert_eq!((&*place.file, place.start), ("step.py", (7, 3)));
}

#[test]
fn every_stage_can_be_seen() {
    let plan = plan_of(&cases()[..1]);
    let target: Target = "cpu:x86-64-v4".parse().unwrap();
    let code = |stage| {
        let mut code = emit(&plan, &target, stage, &options(1)).unwrap();
        assert_eq!(code.len(), 1);
        let (symbol, code) = code.remove(0);
        assert_eq!(symbol, "k0_softmax");
        code
    };
    let text = |stage| String::from_utf8(code(stage)).unwrap();
    assert!(text(CodeStage::Mlir).contains("scf.for"));
    assert!(text(CodeStage::Llvm).contains("define void @k0_softmax(ptr"));
    // Vectors as wide as level 4 has them.
    assert!(text(CodeStage::Assembly).contains("%zmm"));
    assert_eq!(code(CodeStage::Object)[..4], *b"\x7fELF");
}

/// A small kernel as its family builds it.
#[test]
fn a_kernel_in_mlir() {
    let body = "func.func @scale(%x: tensor<20x33xf32>, %s: tensor<33xf32>) -> tensor<20x33xf32> {
      %sb = tsr.broadcast_in_dim %s {broadcast_dimensions = [1]} : (tensor<33xf32>) -> tensor<20x33xf32>
      %0 = tsr.multiply %x, %sb : tensor<20x33xf32>
      return %0 : tensor<20x33xf32>
    }";
    let plan = plan_of(&[Case::new(Family::Loop, body, vec![])]);
    let target: Target = "cpu:x86-64-v3".parse().unwrap();
    let code = emit(&plan, &target, CodeStage::Mlir, &options(1)).unwrap();
    insta::assert_snapshot!(String::from_utf8(code[0].1.clone()).unwrap());
}

/// The bundle's header says how a kernel is called.
#[test]
fn the_header_declares_every_function() {
    let plan = plan_of(&cases()[1..2]);
    let target: Target = "cpu:x86-64-v3".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    compile(&plan, &target, &options(1))
        .unwrap()
        .write(&path)
        .unwrap();
    insta::assert_snapshot!(std::fs::read_to_string(path.join("step.h")).unwrap());
}
