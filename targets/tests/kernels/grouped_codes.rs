//! Products of groups of codes with block scales, on the matrix units that take these, run in the emulator with its checker
//! on: every bit is what the units are said to make of the exact numbers.

use crate::emulated::{run_on, try_run_on};
use crate::harness::{Case, Random, assert_within_roundings, interpret, numbers};
use crate::ptx::{assembled, ptx, tools};
use crate::scaled::{ordinary, quantized};
use crate::wrong::{Kernel, RACE, Shown};
use std::process::Command;
use tessera_ir::plan::Family;
use tessera_ir::{
    Builder, ElementType, Graph, Input, ScaledTensor, ScaledType, Tensor, TensorType, Type,
};
use tessera_numerics::{BlockShape, Format, ScaleLayout};
use tessera_runtime::bundle::CUBIN_FILE;

/// Products of groups: shape and axis of each operand, and how many rows or contracted elements each group has.
#[derive(Clone, Copy, Debug)]
struct Groups {
    lhs: (&'static [usize], usize),
    rhs: (&'static [usize], usize),
    sizes: &'static [i32],
}

/// Rows of lhs in groups, each multiplied by its group's matrix.
const ROWS: [Groups; 6] = [
    // One row, one column, one block, one group.
    Groups {
        lhs: (&[1, 32], 1),
        rhs: (&[1, 1, 32], 2),
        sizes: &[1],
    },
    // Empty groups, first and last, and rows of none; columns and rows that fill no tile.
    Groups {
        lhs: (&[90, 96], 1),
        rhs: (&[5, 96, 33], 1),
        sizes: &[0, 17, 0, 61, 0],
    },
    // One row each; one group has everything.
    Groups {
        lhs: (&[4, 160], 1),
        rhs: (&[4, 70, 160], 2),
        sizes: &[1, 1, 1, 1],
    },
    Groups {
        lhs: (&[300, 64], 1),
        rhs: (&[3, 20, 64], 2),
        sizes: &[0, 300, 0],
    },
    // Nobody has any; several steps, stored along the first dimension.
    Groups {
        lhs: (&[32, 9], 0),
        rhs: (&[2, 32, 16], 1),
        sizes: &[0, 0],
    },
    Groups {
        lhs: (&[608, 50], 0),
        rhs: (&[3, 24, 608], 2),
        sizes: &[20, 3, 27],
    },
];

/// Contracted elements in groups, each a product of its own.
const DEPTH: [Groups; 4] = [
    // Groups that begin inside a step, inside a block, and at an odd code; one without elements between two parts of a block.
    Groups {
        lhs: (&[320, 40], 0),
        rhs: (&[320, 33], 0),
        sizes: &[17, 0, 60, 131, 5],
    },
    Groups {
        lhs: (&[70, 544], 1),
        rhs: (&[9, 544], 1),
        sizes: &[128, 256, 160],
    },
    // All elements; none.
    Groups {
        lhs: (&[5, 160], 1),
        rhs: (&[160, 6], 0),
        sizes: &[0, 160, 0],
    },
    Groups {
        lhs: (&[1, 32], 1),
        rhs: (&[1, 32], 1),
        sizes: &[1, 1, 0, 3],
    },
];

impl Groups {
    fn is_by_rows(&self) -> bool {
        self.rhs.0.len() == 3
    }

    fn types(&self, format: Format, layout: ScaleLayout) -> [ScaledType; 2] {
        [self.lhs, self.rhs].map(|(shape, axis)| {
            ScaledType::new(shape, format, axis, BlockShape::Vector, layout).unwrap()
        })
    }

    fn body(&self, types: &[ScaledType; 2]) -> Graph {
        let mut inputs: Vec<Input> = types.iter().cloned().map(Input::new).collect();
        let sizes = TensorType::new(ElementType::I32, [self.sizes.len()]);
        inputs.push(Input::new(Type::Tensor(sizes)));
        let mut b = Builder::with_inputs("grouped_scaled_dot", inputs);
        let [lhs, rhs, sizes] = b.inputs()[..] else {
            unreachable!("there are three inputs");
        };
        let result = b.grouped_scaled_dot(lhs, rhs, sizes, ElementType::F32);
        b.finish([result.unwrap()])
    }

    fn case(&self, types: &[ScaledType; 2], operands: &[Tensor; 2]) -> Case {
        let sizes = Tensor::from_values([self.sizes.len()], self.sizes).unwrap();
        let [lhs, rhs] = operands.clone();
        Case::of(Family::Dot, self.body(types), vec![lhs, rhs, sizes])
    }

    fn without_operands(&self, format: Format) -> Case {
        let types = self.types(format, ScaleLayout::Linear);
        Case::of(Family::Dot, self.body(&types), Vec::new())
    }

    /// Where each group's rows or contracted elements begin and end.
    fn spans(&self) -> Vec<[usize; 2]> {
        let ends = self.sizes.iter().scan(0, |end, &size| {
            let begin = *end;
            *end += size as usize;
            Some([begin, *end])
        });
        ends.collect()
    }

    /// Each element as the matrix unit is said to make it: for each instruction of 64 codes of a row their exact sum, and
    /// that of the instructions before, cut off to f32; then times each tensor scale in f32.
    fn as_stated(&self, [lhs, rhs]: &[ScaledTensor; 2]) -> Vec<f32> {
        const DEEP: usize = 64;
        let sum = |row: usize, column: usize, [begin, end]: [usize; 2]| {
            let mut sum = 0f64;
            for first in (begin / DEEP * DEEP..end).step_by(DEEP) {
                for place in first.max(begin)..end.min(first + DEEP) {
                    // Exact: all terms here are multiples of 2⁻²⁰ below 2³².
                    sum += lhs.unscaled_value(row, place) * rhs.unscaled_value(column, place);
                }
                // f64 has 29 bits more than f32.
                sum = f64::from_bits(sum.to_bits() >> 29 << 29);
            }
            sum as f32 * lhs.tensor_scale() * rhs.tensor_scale()
        };
        let (rows, k) = (lhs.scaled_type().rows(), lhs.scaled_type().columns());
        let spans = self.spans();
        let columns = rhs.scaled_type().rows() / if self.is_by_rows() { spans.len() } else { 1 };
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        if self.is_by_rows() {
            let group = |row| {
                spans
                    .iter()
                    .position(|&[begin, end]| (begin..end).contains(&row))
            };
            let element = |(row, column)| {
                group(row).map_or(0.0, |group| sum(row, group * columns + column, [0, k]))
            };
            return places.map(element).collect();
        }
        let of_all = spans
            .iter()
            .flat_map(|&span| (places.clone()).map(move |(row, column)| (row, column, span)));
        of_all
            .map(|(row, column, span)| sum(row, column, span))
            .collect()
    }
}

fn operands(random: &mut Random, types: &[ScaledType; 2]) -> [Tensor; 2] {
    types.each_ref().map(|one| {
        let x = random.tensor_of(ElementType::F32, one.shape(), |random| {
            let x = random.uniform();
            match random.word() % 8 {
                0 => 0.0,
                1 => x * 40.0,
                _ => x,
            }
        });
        quantized(one, &x)
    })
}

fn as_scaled(types: &[ScaledType; 2], operands: &[Tensor; 2]) -> [ScaledTensor; 2] {
    [0, 1].map(|n| ScaledTensor::new(types[n].clone(), operands[n].bytes()).unwrap())
}

fn check_bits(all: &[Groups], target: &str) {
    let mut random = Random(81);
    for format in [Format::Nvfp4, Format::Mxfp4] {
        for layout in ScaleLayout::ALL {
            let own: Vec<_> = (all.iter())
                .map(|groups| {
                    let types = groups.types(format, layout);
                    let operands = operands(&mut random, &types);
                    (groups, types, operands)
                })
                .collect();
            let cases: Vec<Case> = (own.iter())
                .map(|(groups, types, operands)| groups.case(types, operands))
                .collect();
            for ((groups, types, operands), found) in own.iter().zip(run_on(&cases, target)) {
                let expected = groups.as_stated(&as_scaled(types, operands));
                let found = found.values::<f32>().unwrap();
                assert_eq!(found.len(), expected.len());
                for (place, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{target} {format} {layout} {groups:?} at {place}: {found}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn groups_of_rows_round_once_an_instruction_on_sm_120() {
    check_bits(&ROWS, "sm_120a");
}

#[test]
fn groups_of_rows_round_once_an_instruction_on_sm_100() {
    check_bits(&ROWS, "sm_100a");
}

/// Of more tiles than there are processors: a CTA has some of several groups, and of none.
const MANY_TILES: Groups = Groups {
    lhs: (&[900, 64], 1),
    rhs: (&[160, 3, 64], 2),
    sizes: &{
        let mut sizes = [0; 160];
        let mut group = 0;
        while group < 160 {
            sizes[group] = (group * 7 % 11) as i32;
            group += 1;
        }
        sizes
    },
};

#[test]
fn groups_of_more_tiles_than_processors() {
    check_bits(&[MANY_TILES], "sm_100a");
}

#[test]
fn groups_of_depth_round_once_an_instruction_on_sm_120() {
    check_bits(&DEPTH, "sm_120a");
}

/// How far sums of formats of eight bits may be from exact ones, in roundings of 2⁻²⁴ of the sum of magnitudes: each of 32
/// products of an instruction and what was there is cut off 25 bits below the largest, half a rounding, before the sum is,
/// two; then come three for the scales, and the interpreter's one. A group begins and ends inside an instruction.
fn roundings_of_bytes(k: usize) -> f64 {
    (k / 32 + 2) as f64 * (33.0 / 2.0 + 2.0) + 4.0
}

fn check_bytes(all: &[Groups], target: &str) {
    let mut random = Random(82);
    for format in [Format::Mxfp8E4m3, Format::Mxfp8E5m2, Format::Mxfp6E2m3] {
        for groups in all {
            let types = groups.types(format, ScaleLayout::Linear);
            let numbers_of = types
                .each_ref()
                .map(|one| ordinary(&mut random, one.shape()));
            let of = |f: fn(f32) -> f32| {
                let bytes = [0, 1].map(|n| {
                    let values = numbers_of[n].values::<f32>().unwrap();
                    let values: Vec<f32> = values.into_iter().map(f).collect();
                    let x = Tensor::from_values(types[n].shape(), &values).unwrap();
                    quantized(&types[n], &x)
                });
                groups.case(&types, &bytes)
            };
            let (case, magnitudes) = (of(|x| x), of(f32::abs));
            let body = &case.kernel.body;
            let expected = numbers(&interpret(body, &case.inputs)[0]);
            let sizes = numbers(&interpret(body, &magnitudes.inputs)[0]);
            let found = numbers(&run_on(&[case], target)[0]);
            let roundings = roundings_of_bytes(types[0].columns());
            let what = format!("{target} {format} {groups:?}");
            assert_within_roundings(&found, &expected, &sizes, roundings, &what);
        }
    }
}

#[test]
fn groups_of_codes_of_six_and_eight_bits_are_within_their_roundings_on_sm_120() {
    check_bytes(&ROWS[1..4], "sm_120a");
    check_bytes(&DEPTH, "sm_120a");
}

#[test]
fn groups_of_codes_of_six_and_eight_bits_are_within_their_roundings_on_sm_100() {
    check_bytes(&ROWS[1..], "sm_100a");
}

/// A NaN in a number makes its block's numbers NaN, and so the groups' that have one of them, but no other group's: not of a
/// group that has another part of the step, and not of one that has no number.
#[test]
fn what_is_not_a_number_stays_in_its_groups() {
    let groups = DEPTH[0];
    let mut random = Random(83);
    for format in [Format::Mxfp4, Format::Mxfp8E5m2] {
        for place in [3, 60, 70, 200] {
            let types = groups.types(format, ScaleLayout::Linear);
            let operands = types.each_ref().map(|one| {
                let mut values = ordinary(&mut random, one.shape()).values::<f32>().unwrap();
                // Row `place` of both, which lie across.
                values[place * one.shape()[1] + 2] = f32::NAN;
                quantized(one, &Tensor::from_values(one.shape(), &values).unwrap())
            });
            let case = groups.case(&types, &operands);
            let expected = numbers(&interpret(&case.kernel.body, &case.inputs)[0]);
            let found = numbers(&run_on(&[case], "sm_120a")[0]);
            let is_nan = |all: &[f64]| all.iter().map(|x| x.is_nan()).collect::<Vec<_>>();
            assert!(is_nan(&expected).contains(&true) && is_nan(&expected).contains(&false));
            assert_eq!(is_nan(&found), is_nan(&expected), "{format} at {place}");
        }
    }
}

#[test]
fn groups_that_do_not_fit_end_the_step() {
    let one = |sizes| Groups { sizes, ..ROWS[3] };
    for groups in [one(&[1, 300, 0]), one(&[4, -1, 2])] {
        let types = groups.types(Format::Nvfp4, ScaleLayout::Linear);
        let operands = operands(&mut Random(85), &types);
        for target in ["sm_100a", "sm_120a"] {
            let error = try_run_on(&[groups.case(&types, &operands)], target).unwrap_err();
            assert!(error.to_string().contains("trap"), "{target}: {error}");
        }
    }
}

/// A kernel of groups, of so many elements of its result.
fn kernel(groups: Groups, format: Format, target: &str, elements: usize) -> Kernel {
    let types = groups.types(format, ScaleLayout::Linear);
    let operands = operands(&mut Random(84), &types);
    Kernel::new(&groups.case(&types, &operands), target, 4 * elements)
}

/// Of more steps than there are stages.
const LONG_ROWS: Groups = Groups {
    lhs: (&[33, 1600], 1),
    rhs: (&[3, 20, 1600], 2),
    sizes: &[7, 0, 21],
};

const LONG_DEPTH: Groups = Groups {
    lhs: (&[20, 1600], 1),
    rhs: (&[18, 1600], 1),
    sizes: &[70, 1401, 0],
};

#[test]
fn right_kernels_are_silent_in_many_orders() {
    kernel(LONG_ROWS, Format::Nvfp4, "sm_120a", 33 * 20).check_silence(40);
    kernel(LONG_DEPTH, Format::Nvfp4, "sm_120a", 3 * 20 * 18).check_silence(40);
    kernel(LONG_ROWS, Format::Nvfp4, "sm_100a", 33 * 20).check_silence(40);
}

#[test]
fn products_are_made_with_block_scales_where_a_target_has_them() {
    for target in ["sm_120a", "sm_120f", "sm_121a"] {
        for groups in [ROWS[1], DEPTH[0]] {
            let text = ptx(&[groups.without_operands(Format::Nvfp4)], target);
            assert!(
                text.contains("kind::mxf4nvf4.block_scale"),
                "{target}: {text}"
            );
        }
    }
    for target in ["sm_100a", "sm_100f", "sm_103a"] {
        let text = ptx(&[ROWS[1].without_operands(Format::Nvfp4)], target);
        assert!(
            text.contains("tcgen05.mma.cta_group::1.kind::mxf4nvf4"),
            "{target}"
        );
        // Sums over a part of a block are those of bf16.
        let text = ptx(&[DEPTH[0].without_operands(Format::Nvfp4)], target);
        assert!(
            !text.contains("tcgen05") && text.contains("mma.sync"),
            "{target}"
        );
    }
}

/// A layer of experts: 16384 tokens of 4096 features by eight experts of 2048; and a weight's gradient.
const LARGE: [Groups; 2] = [
    Groups {
        lhs: (&[16384, 4096], 1),
        rhs: (&[8, 2048, 4096], 2),
        sizes: &[0; 8],
    },
    Groups {
        lhs: (&[4096, 16384], 1),
        rhs: (&[2048, 16384], 1),
        sizes: &[0; 8],
    },
];

fn check_machine_code(target: &str, all: &[Groups], instruction: &str) {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("products");
    let formats = [Format::Nvfp4, Format::Mxfp4];
    let cases: Vec<Case> = (formats.iter())
        .flat_map(|&format| {
            all.iter()
                .map(move |groups| groups.without_operands(format))
        })
        .collect();
    let manifest = assembled(&assembler, &cases, target, &bundle);
    for kernel in &manifest.kernels {
        let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
        assert_eq!(
            resources.spill_store_bytes, 0,
            "{target} {}: {resources:?}",
            kernel.name
        );
    }
    let cubin = bundle.join(CUBIN_FILE);
    let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
    let machine_code = String::from_utf8_lossy(&output.stdout);
    assert!(
        machine_code.contains(instruction),
        "{target}: no {instruction}"
    );
}

#[test]
fn the_assembler_makes_the_instruction_and_spills_nothing() {
    for target in ["sm_120a", "sm_121a"] {
        check_machine_code(target, &LARGE, "OMMA");
    }
    for target in ["sm_100a", "sm_103a"] {
        check_machine_code(target, &LARGE[..1], "UTCOMMA");
    }
}

#[test]
fn a_kernel_of_groups_with_one_defect_is_found_out() {
    kernel(LONG_DEPTH, Format::Nvfp4, "sm_120a", 3 * 20 * 18).check(&[
        // Stages are not waited for.
        ("bar.sync \t0;", "", Shown::Found(RACE, "ldmatrix")),
        // What is the next group's is taken for this one's, in its last step.
        (
            "%rd334, %rd334, -128;",
            "%rd334, %rd334, -64;",
            Shown::Numbers,
        ),
    ]);
    kernel(LONG_ROWS, Format::Nvfp4, "sm_100a", 33 * 20).check(&[
        // Threads do not come together before mbarriers are there; sums are not waited for.
        (
            "bar.sync \t0;",
            "",
            Shown::Found("was not initialised", "mbarrier.try_wait"),
        ),
        (
            "tcgen05.wait::ld.sync.aligned;",
            "",
            Shown::Found("that is not waited for", "mul.rn.f32"),
        ),
    ]);
}
