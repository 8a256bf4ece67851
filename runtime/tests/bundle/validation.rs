//! Manifests that contradict themselves: each is refused with the place, what was expected and what was found.

use crate::sample::*;
use tessera_numerics::ElementType::{self, F16, F32, F64, I1, I32};
use tessera_runtime::bundle::{
    BatchDimension, Code, Family, Gemm, Kernel, MAX_NESTING, Manifest, MatrixLayout, Place, Step,
    Work,
};

/// What is wrong with the step manifest after a change, without the path.
pub fn refusal(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = step_manifest();
    change(&mut manifest);
    let folder = tempfile::tempdir().unwrap();
    let error = writer(manifest)
        .write(folder.path().join("x"))
        .expect_err("a refusal")
        .to_string();
    let (_, message) = error.split_once("manifest.json: ").unwrap();
    message.to_owned()
}

#[test]
fn a_type_beyond_memory() {
    assert_eq!(
        refusal(|m| m.results[1].tensor_type.shape = vec![1 << 40, 1 << 40]),
        "results[1].type: expected a tensor that fits into the address space, \
         found tensor<1099511627776x1099511627776xf32>"
    );
}

#[test]
fn an_initialiser_that_is_none() {
    assert_eq!(
        refusal(|m| m.inputs[0].initialiser = Some("normals".to_owned())),
        "inputs[0].initialiser: expected an initialiser, found column 1: unknown initialiser 'normals', \
         expected one of zeros, ones, splat, normal, uniform"
    );
}

#[test]
fn an_input_donated_to_no_result() {
    assert_eq!(
        refusal(|m| m.inputs[0].donate = Some(2)),
        "inputs[0].donate: expected result 0 to 1, found 2"
    );
}

#[test]
fn an_input_donated_to_a_result_of_another_type() {
    assert_eq!(
        refusal(|m| m.results[0].tensor_type = ty(I32, [1000])),
        "inputs[0].donate: expected a result of type tensor<1000xf32>, \
         found result 0 of type tensor<1000xi32>"
    );
}

#[test]
fn two_inputs_donated_to_one_result() {
    assert_eq!(
        refusal(|m| m.inputs[1].donate = Some(0)),
        "inputs[1].donate: expected a result that no other input is donated to, \
         found result 0, which takes over input 0"
    );
}

#[test]
fn an_arena_beyond_memory() {
    assert_eq!(
        refusal(|m| m.arena_bytes = usize::MAX),
        "arena_bytes: expected a size that fits into the address space, found 18446744073709551615"
    );
}

#[test]
fn a_buffer_nowhere() {
    for (place, expected) in [
        (Place::Input(2), "input 0 to 1, found 2"),
        (Place::Result(9), "result 0 to 1, found 9"),
        (Place::Constant(1), "constant 0, found 1"),
        (Place::Arena(65), "a multiple of 64, found 65"),
        (
            Place::Arena(usize::MAX - 63),
            "bytes inside the 4096 of the arena, found 4000 bytes from 18446744073709551552 on",
        ),
    ] {
        assert_eq!(
            refusal(|m| m.buffers[4].place = place),
            format!("buffers[4].place: expected {expected}")
        );
    }
}

#[test]
fn a_buffer_larger_than_its_place() {
    assert_eq!(
        refusal(|m| m.buffers[1].value_type = ty(F64, [1000]).into()),
        "buffers[1].place: expected at most the 4000 bytes of tensor<1000xf32>, \
         found 8000 bytes of tensor<1000xf64>"
    );
}

#[test]
fn two_kernels_of_one_name() {
    assert_eq!(
        refusal(|m| m.kernels[NEGATE].name = "add".to_owned()),
        "kernels[1].name: expected a name of its own, found \"add\", the name of kernel 0"
    );
}

#[test]
fn a_function_that_cannot_be() {
    let function = |change: fn(&mut tessera_runtime::bundle::Function)| {
        refusal(|m| {
            if let Code::Function(function) = &mut m.kernels[ADD].code {
                change(function);
            }
        })
    };
    assert_eq!(
        function(|f| f.symbol = "a b".to_owned()),
        "kernels[0].function.symbol: expected a C identifier, found \"a b\""
    );
    assert_eq!(
        function(|f| f.grain = 0),
        "kernels[0].function.grain: expected at least 1, found 0"
    );
    assert_eq!(
        function(|f| f.blocks = 1 << 63),
        "kernels[0].function.blocks: expected at most 9223372036854775807, \
         found 9223372036854775808"
    );
    assert_eq!(
        function(|f| f.scratch_bytes = 1 << 63),
        "kernels[0].function.scratch_bytes: expected a size that fits into the address space, \
         found 9223372036854775808"
    );
}

#[test]
fn a_launch_of_nothing() {
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(6, [], [])),
        "schedule[0].launch.kernel: expected kernel 0 to 5, found 6"
    );
}

#[test]
fn a_launch_with_too_few_buffers() {
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(ADD, [0], [2])),
        "schedule[0].launch.operands: expected the 2 of kernel \"add\", found 1"
    );
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(ADD, [0, 1], [])),
        "schedule[0].launch.results: expected the 1 of kernel \"add\", found 0"
    );
}

#[test]
fn a_launch_on_a_buffer_that_is_not_there() {
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(ADD, [0, 6], [2])),
        "schedule[0].launch.operands[1]: expected buffer 0 to 5, found 6"
    );
}

#[test]
fn a_launch_on_a_buffer_of_another_type() {
    assert_eq!(
        refusal(|m| m.buffers[1].value_type = ty(F32, [10, 100]).into()),
        "schedule[0].launch.operands[1]: expected a buffer of type tensor<1000xf32>, \
         found buffer 1 of type tensor<10x100xf32>"
    );
}

#[test]
fn a_launch_that_writes_an_input() {
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(NEGATE, [0], [1])),
        "schedule[0].launch.results[0]: expected a buffer in the arena, a result or a donated \
         input, found buffer 1 in input 1, which is not"
    );
}

#[test]
fn a_launch_that_writes_a_constant() {
    assert_eq!(
        refusal(|m| m.schedule[0] = launch(NEGATE, [0], [3])),
        "schedule[0].launch.results[0]: expected a buffer in the arena, a result or a donated \
         input, found buffer 3 in constant 0"
    );
}

#[test]
fn a_launch_that_writes_into_the_middle_of_an_operand() {
    assert_eq!(
        refusal(|m| {
            m.buffers.push(buffer(ty(F32, [1000]), Place::Arena(0)));
            m.schedule[2] = launch(NEGATE, [4], [6]);
        }),
        "schedule[2].launch.results[0]: expected memory that no other buffer of the launch shares, \
         found buffer 6, which overlaps buffer 4"
    );
}

#[test]
fn a_copy_between_different_sizes() {
    assert_eq!(
        refusal(|m| {
            m.buffers.push(buffer(ty(F32, [10]), Place::Arena(0)));
            m.schedule.push(Step::Copy {
                source: 6,
                destination: 5,
            });
        }),
        "schedule[3].copy.destination: expected a buffer of the source's size, tensor<10xf32>, \
         found tensor<1000xf32>"
    );
}

#[test]
fn a_copy_within_itself() {
    assert_eq!(
        refusal(|m| {
            m.buffers.push(buffer(ty(F32, [1000]), Place::Arena(0)));
            m.schedule.push(Step::Copy {
                source: 6,
                destination: 4,
            });
        }),
        "schedule[3].copy.destination: expected a buffer that the source does not overlap, \
         found buffer 4, which overlaps buffer 6"
    );
}

#[test]
fn a_copy_to_an_input() {
    assert_eq!(
        refusal(|m| m.schedule.push(Step::Copy {
            source: 5,
            destination: 1,
        })),
        "schedule[3].copy.destination: expected a buffer in the arena, a result or a donated \
         input, found buffer 1 in input 1, which is not"
    );
}

#[test]
fn a_loop_without_a_boolean() {
    assert_eq!(
        refusal(|m| m.schedule.push(Step::While {
            condition: vec![],
            predicate: 0,
            body: vec![],
        })),
        "schedule[3].while.predicate: expected tensor<i1>, found tensor<1000xf32>"
    );
}

#[test]
fn a_case_without_an_integer_or_branches() {
    assert_eq!(
        refusal(|m| m.schedule.push(Step::Case {
            index: 0,
            branches: vec![vec![]],
        })),
        "schedule[3].case.index: expected tensor<i32>, found tensor<1000xf32>"
    );
    assert_eq!(
        refusal(|m| {
            m.buffers.push(buffer(ty(I32, []), Place::Arena(0)));
            m.schedule.push(Step::Case {
                index: 6,
                branches: vec![],
            });
        }),
        "schedule[3].case.branches: expected at least one branch, found none"
    );
}

/// Loops inside one another.
fn nested(depth: usize) -> Step {
    let body = match depth {
        1 => vec![],
        _ => vec![nested(depth - 1)],
    };
    Step::While {
        condition: vec![],
        predicate: 6,
        body,
    }
}

#[test]
fn steps_nested_too_deep() {
    let nest = |depth: usize| {
        move |m: &mut Manifest| {
            m.buffers.push(buffer(ty(I1, []), Place::Arena(0)));
            m.schedule = vec![nested(depth)];
        }
    };
    let mut manifest = step_manifest();
    nest(MAX_NESTING)(&mut manifest);
    let sample = Sample::write(manifest);
    tessera_runtime::Bundle::open(sample.path()).expect("the deepest nesting reads back");

    let refusal = refusal(nest(MAX_NESTING + 1));
    assert!(
        refusal.ends_with(": expected at most 32 nested steps, found more"),
        "{refusal}"
    );
}

#[test]
fn a_mistake_inside_a_branch_has_its_place() {
    assert_eq!(
        refusal(|m| {
            m.buffers.push(buffer(ty(I32, []), Place::Arena(0)));
            m.schedule = vec![Step::Case {
                index: 6,
                branches: vec![vec![], vec![launch(7, [], [])]],
            }];
        }),
        "schedule[0].case.branches[1][0].launch.kernel: expected kernel 0 to 5, found 7"
    );
}

/// A product of 4×6 by 6×5 that validation accepts.
fn gemm() -> Gemm {
    let dense = |row_stride| MatrixLayout {
        row_stride,
        column_stride: 1,
    };
    Gemm {
        element_type: F32,
        m: 4,
        n: 5,
        k: 6,
        batch: vec![BatchDimension {
            extent: 2,
            lhs_stride: 24,
            rhs_stride: 0,
            result_stride: 20,
        }],
        lhs: dense(6),
        rhs: dense(5),
        result: dense(5),
    }
}

fn gemm_kernel(gemm: Gemm, element_type: ElementType) -> Kernel {
    Kernel {
        name: "dot".to_owned(),
        family: Family::Dot,
        operands: vec![
            ty(element_type, [2, 4, 6]).into(),
            ty(element_type, [6, 5]).into(),
        ],
        results: vec![ty(element_type, [2, 4, 5]).into()],
        work: Work::default(),
        code: Code::Gemm(gemm),
    }
}

fn gemm_refusal(change: impl FnOnce(&mut Gemm)) -> String {
    let mut gemm = gemm();
    change(&mut gemm);
    refusal(|m| m.kernels.push(gemm_kernel(gemm, F32)))
}

#[test]
fn a_product_that_is_in_order() {
    let mut manifest = step_manifest();
    manifest.kernels.push(gemm_kernel(gemm(), F32));
    Sample::write(manifest);
}

#[test]
fn a_product_of_an_element_type_without_one() {
    let mut gemm = gemm();
    gemm.element_type = F16;
    assert_eq!(
        refusal(|m| m.kernels.push(gemm_kernel(gemm, F16))),
        "kernels[6].gemm.element_type: expected f32 or f64, found f16"
    );
}

#[test]
fn a_product_over_tensors_of_another_element_type() {
    assert_eq!(
        refusal(|m| m.kernels.push(gemm_kernel(gemm(), F64))),
        "kernels[6].gemm.lhs: expected elements of f32, found tensor<2x4x6xf64>"
    );
}

#[test]
fn a_product_of_one_operand() {
    assert_eq!(
        refusal(|m| {
            m.kernels.push(gemm_kernel(gemm(), F32));
            m.kernels[6].operands.pop();
        }),
        "kernels[6].gemm: expected two operands and one result, found 1 operands and 1 results"
    );
}

#[test]
fn a_product_that_reaches_beyond_its_buffers() {
    assert_eq!(
        gemm_refusal(|g| g.lhs.row_stride = 7),
        "kernels[6].gemm.lhs: expected strides that stay inside the 48 elements of \
         tensor<2x4x6xf32>, found 2 at stride 24, 4 at stride 7, 6 at stride 1"
    );
    assert_eq!(
        gemm_refusal(|g| g.batch[0].rhs_stride = 1),
        "kernels[6].gemm.rhs: expected strides that stay inside the 30 elements of \
         tensor<6x5xf32>, found 2 at stride 1, 6 at stride 5, 5 at stride 1"
    );
    assert_eq!(
        gemm_refusal(|g| g.result.column_stride = usize::MAX),
        "kernels[6].gemm.result: expected strides that stay inside the 40 elements of \
         tensor<2x4x5xf32>, found 2 at stride 20, 4 at stride 5, 5 at stride 18446744073709551615"
    );
}

#[test]
fn a_product_that_writes_an_element_twice() {
    assert_eq!(
        gemm_refusal(|g| g.result.row_stride = 4),
        "kernels[6].gemm.result: expected strides that give each element a place of its own, \
         found 2 at stride 20, 4 at stride 4, 5 at stride 1"
    );
}

#[test]
fn a_product_over_its_own_operand() {
    let square = Gemm {
        m: 4,
        n: 4,
        k: 4,
        batch: vec![],
        lhs: MatrixLayout {
            row_stride: 4,
            column_stride: 1,
        },
        rhs: MatrixLayout {
            row_stride: 4,
            column_stride: 1,
        },
        result: MatrixLayout {
            row_stride: 4,
            column_stride: 1,
        },
        ..gemm()
    };
    assert_eq!(
        refusal(|m| {
            let matrix = ty(F32, [4, 4]);
            m.kernels.push(Kernel {
                operands: vec![matrix.clone().into(), matrix.clone().into()],
                results: vec![matrix.clone().into()],
                ..gemm_kernel(square, F32)
            });
            m.buffers.push(buffer(matrix, Place::Arena(0)));
            m.schedule.push(launch(6, [6, 6], [6]));
        }),
        "schedule[3].launch.results[0]: expected memory that no other buffer of the launch shares, \
         found buffer 6, which overlaps buffer 6"
    );
}
