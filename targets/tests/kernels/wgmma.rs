//! Products on Hopper's warpgroup-level matrix unit, run in the emulator with its checker on: both majors of operands, edges
//! of tiles, numbers of steps and batches.

use crate::emulated::{roundings_of_halves, run_on};
use crate::harness::{Case, Random, assert_within_roundings, interpret, numbers};
use crate::ptx::{assembled, ptx, tools};
use std::process::Command;
use tessera_ir::plan::Family;
use tessera_ir::{Builder, DotDimensionNumbers, ElementType, Graph, Input, Tensor, TensorType};
use tessera_runtime::bundle::{CUBIN_FILE, PTX_FILE};

/// A product of tensors of 16-bit numbers: shape, batching dimensions and contracting dimension of each.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub lhs: (&'static [usize], &'static [usize], usize),
    pub rhs: (&'static [usize], &'static [usize], usize),
    pub element: ElementType,
}

impl Dense {
    /// Of `m` rows by `n` columns, both stored along K.
    pub fn plain(m: usize, n: usize, k: usize) -> Self {
        let shape = |rows| &*Box::leak(Box::new([rows, k]));
        Self {
            lhs: (shape(m), &[], 1),
            rhs: (shape(n), &[], 1),
            element: ElementType::Bf16,
        }
    }

    /// The same with an operand (0: lhs, 1: rhs) stored along its rows or columns.
    pub fn transposed(mut self, operand: usize) -> Self {
        let one = if operand == 0 {
            &mut self.lhs
        } else {
            &mut self.rhs
        };
        let &[rows, k] = one.0 else {
            panic!("{one:?} is no matrix");
        };
        *one = (&*Box::leak(Box::new([k, rows])), &[], 0);
        self
    }

    pub fn of(self, element: ElementType) -> Self {
        Self { element, ..self }
    }

    fn body(&self) -> Graph {
        let types = [self.lhs, self.rhs].map(|(shape, ..)| TensorType::new(self.element, shape));
        let mut b = Builder::with_inputs("dot", types.map(Input::new).into());
        let [lhs, rhs] = b.inputs()[..] else {
            unreachable!("there are two inputs");
        };
        let dimensions = DotDimensionNumbers {
            lhs_batching: self.lhs.1,
            rhs_batching: self.rhs.1,
            lhs_contracting: &[self.lhs.2],
            rhs_contracting: &[self.rhs.2],
        };
        let f32 = ElementType::F32;
        let result = b.dot_general(lhs, rhs, &dimensions, f32, f32).unwrap();
        b.finish([result])
    }

    pub fn case(&self, operands: Vec<Tensor>) -> Case {
        Case::of(Family::Dot, self.body(), operands)
    }

    /// Operands of numbers that `number` gives.
    pub fn operands(&self, mut number: impl FnMut(&mut Random) -> f64) -> [Tensor; 2] {
        let mut random = Random(71);
        [self.lhs, self.rhs].map(|(shape, ..)| random.tensor_of(self.element, shape, &mut number))
    }
}

/// A target and the instruction that it has for products.
pub type Unit = [&'static str; 2];

const WGMMA: Unit = ["sm_90a", "wgmma.mma_async"];

/// The results for operands, each product's kernel being of a target's matrix unit.
fn results(
    [target, instruction]: Unit,
    products: &[Dense],
    operands: &[[Tensor; 2]],
) -> Vec<Tensor> {
    let cases: Vec<Case> = (products.iter().zip(operands))
        .map(|(own, operands)| own.case(operands.to_vec()))
        .collect();
    for (own, case) in products.iter().zip(&cases) {
        let text = ptx(std::slice::from_ref(case), target);
        assert!(text.contains(instruction), "{own:?}: {text}");
    }
    run_on(&cases, target)
}

fn magnitudes(tensor: &Tensor) -> Tensor {
    let mut numbers = numbers(tensor).into_iter().map(f64::abs);
    let next = |_: &mut Random| numbers.next().unwrap();
    Random(0).tensor_of(tensor.element(), tensor.shape(), next)
}

/// That results are within their roundings of the interpreter's.
pub fn check(unit: Unit, products: &[Dense]) {
    let operands = products
        .iter()
        .map(|own| own.operands(|random| random.uniform() * 2.0));
    let operands: Vec<_> = operands.collect();
    let found = results(unit, products, &operands);
    for ((own, operands), found) in products.iter().zip(&operands).zip(&found) {
        let body = own.body();
        let expected = numbers(&interpret(&body, operands)[0]);
        let sizes = numbers(&interpret(&body, &operands.each_ref().map(magnitudes))[0]);
        // The interpreter's sums are of f32 too: a rounding for each term.
        let k = own.lhs.0[own.lhs.2];
        let roundings = (roundings_of_halves(k) + k) as f64;
        let what = format!("{own:?}");
        assert_within_roundings(&numbers(found), &expected, &sizes, roundings, &what);
    }
}

#[test]
fn operands_stored_along_k() {
    check(
        WGMMA,
        &[
            // One row, one column, a part of one step.
            Dense::plain(1, 1, 8),
            Dense::plain(1, 70, 40),
            // Tiles that go beyond the result and beyond K.
            Dense::plain(70, 9, 72),
            Dense::plain(130, 100, 200),
            // More steps than stages.
            Dense::plain(20, 33, 648),
        ],
    );
}

#[test]
fn operands_stored_along_rows() {
    check(
        WGMMA,
        &[
            Dense::plain(8, 64, 33).transposed(0).transposed(1),
            Dense::plain(72, 136, 100).transposed(0).transposed(1),
            Dense::plain(200, 24, 72).transposed(0),
            Dense::plain(24, 200, 72).transposed(1).of(ElementType::F16),
            Dense::plain(40, 1, 8).transposed(0),
        ],
    );
}

#[test]
fn batches_at_any_distance() {
    let product = |lhs, rhs| Dense {
        lhs,
        rhs,
        element: ElementType::Bf16,
    };
    check(
        WGMMA,
        &[
            product((&[3, 9, 40], &[0], 2), (&[3, 40, 16], &[0], 1)),
            // Attention's, from [batch, sequence, heads, width].
            product((&[2, 11, 3, 8], &[0, 2], 3), (&[2, 13, 3, 8], &[0, 2], 3)),
            product((&[2, 3, 11, 16], &[0, 1], 3), (&[2, 16, 3, 8], &[0, 2], 1)),
            product((&[24, 3, 40], &[1], 0), (&[3, 70, 24], &[0], 2)),
        ],
    );
}

#[test]
fn more_tiles_than_processors() {
    let product = |lhs, rhs| Dense {
        lhs,
        rhs,
        element: ElementType::Bf16,
    };
    check(
        WGMMA,
        &[
            // Of 300 tiles, of two warpgroups each, the first CTAs have three.
            product((&[300, 70, 8], &[0], 2), (&[300, 3, 8], &[0], 2)),
            // Two or three tiles of three steps, whose stages follow each other.
            product((&[280, 5, 136], &[0], 2), (&[280, 3, 136], &[0], 2)),
        ],
    );
}

/// That sums of integers below 2²⁴, which are exact in every order, are the interpreter's bits.
pub fn check_exact(unit: Unit, products: &[Dense]) {
    let integers = |random: &mut Random| (random.word() % 17) as f64 - 8.0;
    let operands = products.iter().map(|own| own.operands(integers));
    let operands: Vec<_> = operands.collect();
    let found = results(unit, products, &operands);
    for ((own, operands), found) in products.iter().zip(&operands).zip(&found) {
        let expected = &interpret(&own.body(), operands)[0];
        assert!(found == expected, "{own:?}");
    }
}

#[test]
fn sums_that_are_exact() {
    let products = [
        Dense::plain(1000, 1100, 96),
        Dense::plain(1000, 1104, 80).transposed(1),
        Dense::plain(136, 72, 712)
            .transposed(0)
            .of(ElementType::F16),
    ];
    check_exact(WGMMA, &products);
}

/// What tensor maps do not reach is left to the warps' units.
#[test]
fn operands_that_no_tensor_map_describes() {
    for own in [
        // Rows of 66 bytes.
        Dense::plain(64, 64, 33),
        Dense::plain(64, 63, 64).transposed(1),
    ] {
        let text = ptx(&[own.case(Vec::new())], "sm_90a");
        assert!(!text.contains("wgmma"), "{own:?}");
        assert!(text.contains("mma.sync"), "{own:?}");
    }
}

/// Large products of every major, whose tiles are the largest, and others.
pub fn large() -> Vec<Case> {
    let plain = || Dense::plain(4096, 4096, 4096);
    let all = [
        plain(),
        plain().of(ElementType::F16),
        plain().transposed(0),
        plain().transposed(1),
        plain().transposed(0).transposed(1),
        // Edges that tiles go beyond.
        Dense::plain(4001, 4103, 1000),
        // One warpgroup that multiplies.
        Dense::plain(4, 4096, 4096),
    ];
    all.iter().map(|own| own.case(Vec::new())).collect()
}

/// Bundles of kernels for Hopper: machine code has these instructions, no register is spilled, and products do not wait for
/// each other, of which the assembler would tell.
pub fn check_machine_code(cases: &[Case], instructions: &[&str]) {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("products");
    let manifest = assembled(&assembler, cases, "sm_90a", &bundle);
    for kernel in &manifest.kernels {
        let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
        assert_eq!(
            resources.spill_store_bytes, 0,
            "{}: {resources:?}",
            kernel.name
        );
    }
    let output = Command::new(assembler.program())
        .args(["-arch=sm_90a", "-v", "-o", "/dev/null"])
        .arg(bundle.join(PTX_FILE))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Used"), "{said}");
    // "Potential Performance Loss: wgmma.mma_async instructions are serialized due to …"
    // "setmaxnreg ignored; unable to determine register count at entry"
    for warned in ["wgmma", "setmaxnreg"] {
        assert!(!said.contains(warned), "{said}");
    }
    let cubin = bundle.join(CUBIN_FILE);
    let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
    let machine_code = String::from_utf8_lossy(&output.stdout);
    for expected in instructions {
        assert!(machine_code.contains(expected), "no {expected}");
    }
}

#[test]
fn the_assembler_keeps_products_asynchronous_and_spills_nothing() {
    let instructions = [
        "HGMMA.64x256x16.F32.BF16",
        "HGMMA.64x8x16.F32.BF16",
        "UTMALDG.2D",
    ];
    check_machine_code(&large(), &instructions);
}
