//! What the manifest says that a launch has to do.

use crate::harness::{Case, plan_of};
use tessera_ir::plan::Family;
use tessera_runtime::bundle::{MatrixUnit, Work};
use tessera_targets::{Options, Target, compile};

/// The work of one kernel for a target.
fn work(case: Case, target: &str) -> Work {
    let target: Target = target.parse().unwrap();
    let writer = compile(&plan_of(&[case]), &target, &Options::default()).unwrap();
    writer.manifest().kernels[0].work
}

fn on_cores(bytes: u64, operations: u64) -> Work {
    Work {
        bytes,
        operations,
        ..Work::default()
    }
}

/// x y + z of 6 × 8: four tensors of 192 bytes, one of them a row of 32.
#[test]
fn elementwise_ops_count_their_elements() {
    let body = "func.func @loop(%x: tensor<6x8xf32>, %y: tensor<8xf32>, %z: tensor<6x8xf32>) -> tensor<6x8xf32> {
      %b = tsr.broadcast_in_dim %y {broadcast_dimensions = [1]} : (tensor<8xf32>) -> tensor<6x8xf32>
      %0 = tsr.multiply %x, %b : tensor<6x8xf32>
      %1 = tsr.add %0, %z : tensor<6x8xf32>
      return %1 : tensor<6x8xf32>
    }";
    for target in ["cpu", "sm_90a"] {
        let case = Case::new(Family::Loop, body, Vec::new());
        assert_eq!(work(case, target), on_cores(3 * 192 + 32, 2 * 48));
    }
}

#[test]
fn a_reduction_counts_what_it_takes() {
    let body = "func.func @row(%x: tensor<6x128xf32>) -> tensor<6xf32> {
      %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
      %0 = tsr.reduce %x, %zero {dimensions = [1]} : (tensor<6x128xf32>, tensor<f32>) -> tensor<6xf32> {
      ^body(%a: tensor<f32>, %b: tensor<f32>):
        %t = tsr.add %a, %b : tensor<f32>
        tsr.return %t : tensor<f32>
      }
      return %0 : tensor<6xf32>
    }";
    let case = Case::new(Family::Row, body, Vec::new());
    assert_eq!(work(case, "sm_90a"), on_cores(4 * (6 * 128 + 6), 6 * 128));
}

/// 16 × 256 by 256 × 32 in nvfp4: 9 bytes for 16 numbers and 4 of tensor scale.
#[test]
fn a_product_is_the_matrix_units_that_make_it() {
    let body = "func.func @dot(%x: !tsr.scaled<16x256, nvfp4, axis = 1>, %y: !tsr.scaled<32x256, nvfp4, axis = 1>) -> tensor<16x32xf32> {
      %0 = tsr.scaled_dot %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = []} : (!tsr.scaled<16x256, nvfp4, axis = 1>, !tsr.scaled<32x256, nvfp4, axis = 1>) -> tensor<16x32xf32>
      return %0 : tensor<16x32xf32>
    }";
    let operations = 2 * 16 * 32 * 256;
    let found = ["sm_100a", "sm_120a", "sm_90a", "cpu"].map(|target| {
        let work = work(Case::new(Family::Dot, body, Vec::new()), target);
        (work.matrix_unit, work.matrix_operations, work.operations)
    });
    let expected = [
        (Some(MatrixUnit::Fp4), operations, 0),
        (Some(MatrixUnit::Fp4), operations, 0),
        (Some(MatrixUnit::Half), operations, 0),
        (None, 0, operations),
    ];
    assert_eq!(found, expected);
}

/// Of 1000 rows three are gathered: no more than these are read.
#[test]
fn a_gather_reads_what_it_gathers() {
    let body = "func.func @loop(%x: tensor<1000x8xf32>, %i: tensor<3x1xi32>) -> tensor<3x8xf32> {
      %0 = tsr.gather %x, %i {offset_dims = [1], collapsed_slice_dims = [0], operand_batching_dims = [], start_indices_batching_dims = [], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 8], indices_are_sorted = false} : (tensor<1000x8xf32>, tensor<3x1xi32>) -> tensor<3x8xf32>
      return %0 : tensor<3x8xf32>
    }";
    let case = Case::new(Family::Loop, body, Vec::new());
    assert_eq!(work(case, "sm_90a"), on_cores(96 + 12 + 96, 0));
}

/// One row of 1000 is replaced: the update is read, and as much is written where the rest stays in place.
#[test]
fn an_update_in_place_writes_no_more_than_the_update() {
    let body = "func.func @index(%x: tensor<1000x8xf32>, %u: tensor<1x8xf32>, %i: tensor<i32>) -> tensor<1000x8xf32> {
      %zero = tsr.constant {value = dense<0>} : tensor<i32>
      %0 = tsr.dynamic_update_slice %x, %u, %i, %zero : (tensor<1000x8xf32>, tensor<1x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1000x8xf32>
      return %0 : tensor<1000x8xf32>
    }";
    let case = || Case::new(Family::Index, body, Vec::new());
    assert_eq!(
        work(case().in_place(0, 0), "sm_90a"),
        on_cores(32 + 4 + 32, 0)
    );
    assert_eq!(
        work(case(), "sm_90a"),
        on_cores(32_000 + 32 + 4 + 32_000, 0)
    );
}

/// 16 × 32 by 32 × 48, of which one is subtracted, by 48 × 8, in bf16: both products are the matrix units', and what is between them
/// is in no memory.
#[test]
fn attention_counts_all_its_products() {
    let body = "func.func @attention(%q: tensor<16x32xbf16>, %k: tensor<48x32xbf16>, %v: tensor<48x8xbf16>) -> tensor<16x8xf32> {
      %s = tsr.dot_general %q, %k {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (tensor<16x32xbf16>, tensor<48x32xbf16>) -> tensor<16x48xf32>
      %one = tsr.constant {value = dense<1.0>} : tensor<f32>
      %ones = tsr.broadcast_in_dim %one {broadcast_dimensions = []} : (tensor<f32>) -> tensor<16x48xf32>
      %x = tsr.subtract %s, %ones : tensor<16x48xf32>
      %w = tsr.convert %x : (tensor<16x48xf32>) -> tensor<16x48xbf16>
      %0 = tsr.dot_general %w, %v {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (tensor<16x48xbf16>, tensor<48x8xbf16>) -> tensor<16x8xf32>
      return %0 : tensor<16x8xf32>
    }";
    let case = Case::new(Family::Attention, body, Vec::new());
    let expected = Work {
        bytes: 2 * (16 * 32 + 48 * 32 + 48 * 8) + 4 * 16 * 8,
        operations: 2 * 16 * 48,
        matrix_operations: 2 * 16 * 48 * (32 + 8),
        matrix_unit: Some(MatrixUnit::Half),
    };
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        assert_eq!(work(case.clone(), target), expected, "{target}");
    }
}
