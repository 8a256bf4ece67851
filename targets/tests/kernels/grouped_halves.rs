//! Products of groups of bf16 and f16 on GPUs' matrix units, run in the emulator with its checker on: groups of rows, of both
//! majors of what they are multiplied by, and groups of contracted elements.

use crate::emulated::{roundings_of_halves, run_on, try_run_on};
use crate::harness::{Case, Random, assert_within_roundings, interpret, numbers};
use crate::ptx::{assembled, ptx, tools};
use crate::wrong::{Kernel, RACE, Shown, UNDEFINED};
use std::process::Command;
use tessera_ir::plan::Family;
use tessera_ir::{Builder, ElementType, Graph, Input, OpKind, Tensor, TensorType};
use tessera_runtime::bundle::CUBIN_FILE;

/// Products of groups: shape and contracted dimension of each operand, and how many rows or contracted elements each group
/// has.
#[derive(Clone, Copy, Debug)]
struct Groups {
    lhs: (&'static [usize], usize),
    rhs: (&'static [usize], usize),
    sizes: &'static [i32],
    element: ElementType,
}

const fn groups(
    lhs: (&'static [usize], usize),
    rhs: (&'static [usize], usize),
    sizes: &'static [i32],
) -> Groups {
    Groups {
        lhs,
        rhs,
        sizes,
        element: ElementType::Bf16,
    }
}

/// Rows of lhs in groups, each multiplied by its group's matrix: of features by outputs, or the other way round.
const ROWS: [Groups; 9] = [
    // One row, one column, a part of a step, one group.
    groups((&[1, 8], 1), (&[1, 1, 8], 2), &[1]),
    // Empty groups, first, between and last, and rows of none; groups begin inside tiles.
    groups((&[90, 72], 1), (&[5, 72, 40], 1), &[0, 17, 0, 61, 0]),
    groups((&[90, 72], 1), (&[5, 40, 72], 2), &[0, 17, 0, 61, 0]),
    // One row each; one group has everything.
    groups((&[4, 160], 1), (&[4, 72, 160], 2), &[1, 1, 1, 1]),
    groups((&[300, 64], 1), (&[3, 64, 24], 1), &[0, 300, 0]),
    // Nobody has any.
    groups((&[9, 32], 1), (&[2, 32, 16], 1), &[0, 0]),
    // Lines that are no whole copies, of either operand, of both; groups along the lines.
    groups((&[33, 37], 1), (&[3, 37, 24], 1), &[5, 20, 8]),
    groups((&[33, 37], 1), (&[3, 9, 37], 2), &[5, 20, 7]),
    groups((&[200, 48], 0), (&[3, 200, 16], 1), &[20, 3, 25]),
];

/// Contracted elements in groups, each a product of its own.
const DEPTH: [Groups; 7] = [
    // Groups that begin and end inside a step; one without elements; elements of none.
    groups((&[320, 40], 0), (&[320, 72], 0), &[17, 0, 60, 131, 5]),
    // More steps than stages; all elements; none.
    groups((&[700, 24], 0), (&[700, 16], 0), &[1, 650, 49]),
    groups((&[160, 8], 0), (&[160, 8], 0), &[0, 160, 0]),
    groups((&[32, 8], 0), (&[32, 16], 0), &[0, 0]),
    // Lines that are no whole copies, and groups along the lines, of either operand and of both.
    groups((&[90, 5], 0), (&[90, 16], 0), &[17, 0, 60, 13]),
    groups((&[24, 96], 1), (&[96, 16], 0), &[3, 90]),
    groups((&[7, 96], 1), (&[40, 96], 1), &[1, 1, 0, 80]),
];

/// Of more rows and columns than a tile has, of the largest: groups end everywhere.
const LARGE_TILES: Groups = groups((&[1100, 40], 1), (&[2, 40, 1032], 1), &[411, 600]);

impl Groups {
    fn of(self, element: ElementType) -> Self {
        Self { element, ..self }
    }

    fn body(&self) -> Graph {
        let mut inputs: Vec<Input> = [self.lhs, self.rhs]
            .map(|(shape, _)| Input::new(TensorType::new(self.element, shape)))
            .into();
        let sizes = TensorType::new(ElementType::I32, [self.sizes.len()]);
        inputs.push(Input::new(sizes));
        let mut b = Builder::with_inputs("grouped_dot", inputs);
        let kind = OpKind::GroupedDot {
            lhs_contracting_dimension: self.lhs.1,
            rhs_contracting_dimension: self.rhs.1,
            accumulator: ElementType::F32,
            element: ElementType::F32,
        };
        let operands = b.inputs();
        let result = b.push(kind, operands).unwrap();
        b.finish(result)
    }

    /// Operands of numbers that `number` gives, and the sizes.
    fn inputs(&self, mut number: impl FnMut(&mut Random) -> f64) -> Vec<Tensor> {
        let mut random = Random(91);
        let mut inputs: Vec<Tensor> = [self.lhs, self.rhs]
            .map(|(shape, _)| random.tensor_of(self.element, shape, &mut number))
            .into();
        inputs.push(Tensor::from_values([self.sizes.len()], self.sizes).unwrap());
        inputs
    }

    fn case(&self, inputs: Vec<Tensor>) -> Case {
        Case::of(Family::Dot, self.body(), inputs)
    }

    /// The most that is summed.
    fn contracted(&self) -> usize {
        self.lhs.0[self.lhs.1]
    }

    fn result_bytes(&self) -> usize {
        let body = self.body();
        let result = body.tensor_type(body.results()[0].value);
        4 * result.shape.iter().product::<usize>()
    }
}

/// The targets of each kind of matrix unit.
const TARGETS: [&str; 4] = ["sm_80", "sm_90a", "sm_100a", "sm_120a"];

fn of_both_elements(all: &[Groups]) -> Vec<Groups> {
    let elements = [ElementType::Bf16, ElementType::F16];
    elements
        .iter()
        .flat_map(|&element| all.iter().map(move |own| own.of(element)))
        .collect()
}

/// That products of integers, whose sums every unit makes exactly, are the interpreter's.
fn check_exact(all: &[Groups], targets: &[&str]) {
    let all = of_both_elements(all);
    let integers = |random: &mut Random| (random.word() % 17) as f64 - 8.0;
    let cases: Vec<Case> = all
        .iter()
        .map(|own| own.case(own.inputs(integers)))
        .collect();
    for target in targets {
        for ((own, case), found) in all.iter().zip(&cases).zip(run_on(&cases, target)) {
            let expected = &interpret(&case.kernel.body, &case.inputs)[0];
            assert!(found == *expected, "{target} {own:?}");
        }
    }
}

/// That products are within their roundings of the interpreter's.
fn check(all: &[Groups]) {
    let all = of_both_elements(all);
    let inputs = |own: &Groups, f: fn(f64) -> f64| own.inputs(|random| f(random.uniform() * 2.0));
    let cases: Vec<Case> = all.iter().map(|own| own.case(inputs(own, |x| x))).collect();
    let bounds = all.iter().zip(&cases).map(|(own, case)| {
        let body = &case.kernel.body;
        [&case.inputs, &inputs(own, f64::abs)].map(|inputs| numbers(&interpret(body, inputs)[0]))
    });
    let bounds: Vec<_> = bounds.collect();
    for target in TARGETS {
        for ((own, [expected, sizes]), found) in all.iter().zip(&bounds).zip(run_on(&cases, target))
        {
            // The interpreter's sums are of f32 too: a rounding for each term. A group's elements begin and end inside an
            // instruction.
            let k = own.contracted();
            let roundings = (roundings_of_halves(k + 16) + k) as f64;
            let what = format!("{target} {own:?}");
            assert_within_roundings(&numbers(&found), expected, sizes, roundings, &what);
        }
    }
}

#[test]
fn groups_of_rows_are_exact_where_sums_are() {
    check_exact(&ROWS, &TARGETS);
}

#[test]
fn groups_of_depth_are_exact_where_sums_are() {
    check_exact(&DEPTH, &TARGETS);
}

#[test]
fn groups_in_large_tiles_are_exact_where_sums_are() {
    check_exact(&[LARGE_TILES], &["sm_80"]);
}

#[test]
fn groups_are_within_their_roundings_of_the_interpreters() {
    check(&ROWS);
    check(&DEPTH);
}

/// A NaN in an element of a group makes that group's results NaN, and no other's, nor those of a group without elements.
#[test]
fn what_is_not_a_number_stays_in_its_group() {
    for own in [ROWS[1], ROWS[8], DEPTH[0], DEPTH[5]] {
        for place in [3, 19, 70] {
            let mut inputs = own.inputs(Random::uniform);
            let mut values = numbers(&inputs[0]);
            let columns = own.lhs.0[1];
            values[place % own.lhs.0[0] * columns + 2] = f64::NAN;
            let mut values = values.into_iter();
            inputs[0] = Random(0).tensor_of(own.element, own.lhs.0, |_| values.next().unwrap());
            let case = own.case(inputs);
            let is_nan = |tensor: &Tensor| {
                numbers(tensor)
                    .iter()
                    .map(|x| x.is_nan())
                    .collect::<Vec<_>>()
            };
            let expected = is_nan(&interpret(&case.kernel.body, &case.inputs)[0]);
            for target in TARGETS {
                let found = is_nan(&run_on(std::slice::from_ref(&case), target)[0]);
                assert_eq!(found, expected, "{target} {own:?} at {place}");
            }
        }
    }
}

#[test]
fn groups_that_do_not_fit_end_the_step() {
    let with = |own: Groups, sizes| Groups { sizes, ..own };
    for own in [
        with(ROWS[4], &[1, 300, 0]),
        with(ROWS[4], &[4, -1, 2]),
        with(DEPTH[2], &[80, 80, 1]),
    ] {
        for target in TARGETS {
            let case = own.case(own.inputs(Random::uniform));
            let error = try_run_on(&[case], target).unwrap_err();
            assert!(error.to_string().contains("trap"), "{target}: {error}");
        }
    }
}

/// What lies in memory as copies take it is copied, of every target.
#[test]
fn products_are_of_the_matrix_units_and_operands_are_copied() {
    for target in TARGETS {
        for own in [ROWS[1], ROWS[2], DEPTH[0]] {
            let text = ptx(&[own.case(Vec::new())], target);
            assert!(
                text.contains("mma.sync.aligned.m16n8k16"),
                "{target} {own:?}"
            );
            assert!(
                text.contains("cp.async.cg.shared.global"),
                "{target} {own:?}"
            );
        }
    }
}

/// A sum is made in the order of the contracted elements, whatever the tile.
#[test]
fn the_tile_changes_no_bit() {
    for own in [
        groups((&[150, 200], 1), (&[3, 200, 136], 1), &[30, 1, 100]),
        groups((&[150, 72], 0), (&[150, 136], 0), &[30, 1, 100]),
    ] {
        let case = own.case(own.inputs(Random::uniform));
        let results = [[16, 64], [64, 16], [64, 64], [128, 128]].map(|tile| {
            let kernel = Kernel::in_tiles(&case, "sm_120a", own.result_bytes(), tile);
            let (findings, found) = kernel.run(&kernel.text, 0);
            assert_eq!(findings, [], "{own:?} in tiles of {tile:?}");
            found.unwrap()
        });
        assert!(results.iter().all(|found| *found == results[0]), "{own:?}");
    }
}

/// Of more steps than there are stages.
const LONG_ROWS: Groups = groups((&[33, 648], 1), (&[3, 648, 24], 1), &[7, 0, 21]);

const LONG_DEPTH: Groups = groups((&[648, 24], 0), (&[648, 16], 0), &[70, 501, 0]);

fn kernel(own: Groups, target: &str) -> Kernel {
    let case = own.case(own.inputs(Random::uniform));
    Kernel::new(&case, target, own.result_bytes())
}

#[test]
fn right_kernels_are_silent_in_many_orders() {
    for own in [LONG_ROWS, LONG_DEPTH, ROWS[7], DEPTH[6]] {
        kernel(own, "sm_80").check_silence(20);
    }
}

/// A layer of experts: 16384 tokens of 4096 features by eight experts of 2048, forward and backward; a weight's gradient.
const LARGE: [Groups; 3] = [
    groups((&[16384, 4096], 1), (&[8, 4096, 2048], 1), &[0; 8]),
    groups((&[16384, 2048], 1), (&[8, 4096, 2048], 2), &[0; 8]),
    groups((&[16384, 4096], 0), (&[16384, 2048], 0), &[0; 8]),
];

#[test]
fn the_assembler_makes_the_instruction_and_spills_nothing() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let all = LARGE.iter().chain([&ROWS[7], &DEPTH[6]]).copied();
    let cases: Vec<Case> = of_both_elements(&all.collect::<Vec<_>>())
        .iter()
        .map(|own| own.case(Vec::new()))
        .collect();
    for row in &tessera_targets::nvptx::CAPABILITIES {
        let bundle = folder.path().join(row.name);
        let manifest = assembled(&assembler, &cases, row.name, &bundle);
        for kernel in &manifest.kernels {
            let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
            let what = format!("{} {}: {resources:?}", row.name, kernel.name);
            assert_eq!(resources.spill_store_bytes, 0, "{what}");
        }
        let cubin = bundle.join(CUBIN_FILE);
        let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        for instruction in [
            "HMMA.16816.F32.BF16",
            "HMMA.16816.F32 ",
            "LDGSTS",
            "LDSM.16.MT88.4",
        ] {
            assert!(text.contains(instruction), "{}: no {instruction}", row.name);
        }
    }
}

/// What a kernel of groups is found out by, whichever these are.
const DEFECTS: [(&str, &str, Shown<'_>); 3] = [
    // Copies are not waited for, or not by all threads; they are in no group.
    (
        "cp.async.wait_group \t",
        "cp.async.wait_group \t1",
        Shown::Found(RACE, "cp.async.cg.shared.global"),
    ),
    ("bar.sync \t0;", "", Shown::Found(RACE, "ldmatrix")),
    (
        "cp.async.commit_group;",
        "",
        Shown::Found(RACE, "cp.async.cg.shared.global"),
    ),
];

#[test]
fn a_kernel_of_groups_of_rows_with_one_defect_is_found_out() {
    let kernel = kernel(LONG_ROWS, "sm_80");
    kernel.check(&DEFECTS);
    kernel.check(&[
        // Rows are multiplied by the first group's matrix; lines are not turned on their way.
        ("%rd10, 31104, ", "%rd10, 0, ", Shown::Numbers),
        ("x4.trans.shared", "x4.shared", Shown::Numbers),
        // Rows go on into the next group's, or begin one late.
        (
            "selp.b64 \t%rd12, %rd48, 33, %p5;",
            "mov.b64 \t%rd12, 33;",
            Shown::Found(RACE, "st.global"),
        ),
        (
            "min.s64 \t%rd11, %rd61, 33;",
            "add.s64 \t%rd11, %rd61, 1;",
            Shown::Numbers,
        ),
    ]);
}

#[test]
fn a_kernel_of_groups_of_depth_with_one_defect_is_found_out() {
    let kernel = kernel(LONG_DEPTH, "sm_80");
    kernel.check(&DEFECTS);
    kernel.check(&[
        // A group begins elsewhere in lhs, or ends later in both.
        (
            "mad.lo.s64 \t%rd47, %rd183, 48, %rd46;",
            "mad.lo.s64 \t%rd47, %rd183, 32, %rd46;",
            Shown::Numbers,
        ),
        ("setp.lt.s64", "setp.le.s64", Shown::Numbers),
        // Lines stand elsewhere than they are read from, or are not turned.
        (
            "mul.wide.u32 \t%rd59, %r71, 144;",
            "mul.wide.u32 \t%rd59, %r71, 128;",
            Shown::Found(UNDEFINED, "st.global"),
        ),
        ("x4.trans.shared", "x4.shared", Shown::Numbers),
        // The second half of a step is the first once more.
        ("[%rd170+768]", "[%rd170]", Shown::Numbers),
    ]);
}
