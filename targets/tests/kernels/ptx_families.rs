//! The PTX of one small kernel of each family for every target: targets whose text is the same share a snapshot, called
//! after the first, which begins with the names of all.

use crate::harness::Case;
use crate::ptx::ptx;
use std::collections::BTreeMap;
use tessera_ir::plan::Family;
use tessera_targets::nvptx::CAPABILITIES;

/// The kernel's text for every target, without the directives that name the target.
fn assert_texts(family: Family, body: &str) {
    let case = Case::new(family, body, Vec::new());
    let mut targets: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in &CAPABILITIES {
        let text = ptx(std::slice::from_ref(&case), row.name);
        let lines = text.lines().filter(|line| {
            !line.starts_with("//") && !line.starts_with(".version") && !line.starts_with(".target")
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        targets.entry(text).or_default().push(row.name);
    }
    for (text, targets) in targets {
        let name = format!("{}__{}", case.kernel.name, targets[0]);
        let made_for = targets.join(" ");
        insta::assert_snapshot!(name, format!("// {made_for}\n{}", text.trim_start()));
    }
}

#[test]
fn a_loop() {
    assert_texts(
        Family::Loop,
        "func.func @loop(%x: tensor<6x8xf32>, %y: tensor<8xf32>) -> tensor<6x8xf32> {
           %b = tsr.broadcast_in_dim %y {broadcast_dimensions = [1]} : (tensor<8xf32>) -> tensor<6x8xf32>
           %0 = tsr.multiply %x, %b : tensor<6x8xf32>
           return %0 : tensor<6x8xf32>
         }",
    );
}

#[test]
fn rows() {
    assert_texts(
        Family::Row,
        "func.func @row(%x: tensor<6x128xf32>) -> tensor<6xf32> {
           %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
           %0 = tsr.reduce %x, %zero {dimensions = [1]} : (tensor<6x128xf32>, tensor<f32>) -> tensor<6xf32> {
           ^body(%a: tensor<f32>, %b: tensor<f32>):
             %t = tsr.add %a, %b : tensor<f32>
             tsr.return %t : tensor<f32>
           }
           return %0 : tensor<6xf32>
         }",
    );
}

#[test]
fn columns() {
    assert_texts(
        Family::Column,
        "func.func @column(%x: tensor<8x70xf32>) -> tensor<70xf32> {
           %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
           %0 = tsr.reduce %x, %zero {dimensions = [0]} : (tensor<8x70xf32>, tensor<f32>) -> tensor<70xf32> {
           ^body(%a: tensor<f32>, %b: tensor<f32>):
             %t = tsr.add %a, %b : tensor<f32>
             tsr.return %t : tensor<f32>
           }
           return %0 : tensor<70xf32>
         }",
    );
}

#[test]
fn a_product_of_f32() {
    assert_texts(
        Family::Dot,
        "func.func @dot_f32(%x: tensor<64x16xf32>, %y: tensor<16x64xf32>) -> tensor<64x64xf32> {
           %0 = tsr.dot_general %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (tensor<64x16xf32>, tensor<16x64xf32>) -> tensor<64x64xf32>
           return %0 : tensor<64x64xf32>
         }",
    );
}

#[test]
fn a_product_of_bf16() {
    assert_texts(
        Family::Dot,
        "func.func @dot_bf16(%x: tensor<16x16xbf16>, %y: tensor<32x16xbf16>) -> tensor<16x32xf32> {
           %0 = tsr.dot_general %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (tensor<16x16xbf16>, tensor<32x16xbf16>) -> tensor<16x32xf32>
           return %0 : tensor<16x32xf32>
         }",
    );
}

#[test]
fn the_sums_of_rows_of_scores() {
    assert_texts(
        Family::Attention,
        "func.func @attention(%q: tensor<16x16xbf16>, %k: tensor<64x16xbf16>) -> tensor<16xf32> {
           %s = tsr.dot_general %q, %k {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (tensor<16x16xbf16>, tensor<64x16xbf16>) -> tensor<16x64xf32>
           %zero = tsr.constant {value = dense<0.0>} : tensor<f32>
           %0 = tsr.reduce %s, %zero {dimensions = [1]} : (tensor<16x64xf32>, tensor<f32>) -> tensor<16xf32> {
           ^body(%a: tensor<f32>, %b: tensor<f32>):
             %t = tsr.add %a, %b : tensor<f32>
             tsr.return %t : tensor<f32>
           }
           return %0 : tensor<16xf32>
         }",
    );
}

#[test]
fn a_product_of_a_product() {
    assert_texts(
        Family::Attention,
        "func.func @attention_dot(%q: tensor<64x32xbf16>, %k: tensor<64x32xbf16>, %v: tensor<64x64xbf16>) -> tensor<64x64xf32> {
           %s = tsr.dot_general %q, %k {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], accumulator = f32} : (tensor<64x32xbf16>, tensor<64x32xbf16>) -> tensor<64x64xbf16>
           %0 = tsr.dot_general %s, %v {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xf32>
           return %0 : tensor<64x64xf32>
         }",
    );
}

#[test]
fn a_product_of_scaled_tensors() {
    assert_texts(
        Family::Dot,
        "func.func @scaled_dot(%x: !tsr.scaled<16x256, nvfp4, axis = 1>, %y: !tsr.scaled<32x256, nvfp4, axis = 1>) -> tensor<16x32xf32> {
           %0 = tsr.scaled_dot %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = []} : (!tsr.scaled<16x256, nvfp4, axis = 1>, !tsr.scaled<32x256, nvfp4, axis = 1>) -> tensor<16x32xf32>
           return %0 : tensor<16x32xf32>
         }",
    );
}

#[test]
fn an_update() {
    assert_texts(
        Family::Index,
        "func.func @index(%x: tensor<8x4xf32>, %u: tensor<1x4xf32>, %i: tensor<i32>) -> tensor<8x4xf32> {
           %zero = tsr.constant {value = dense<0>} : tensor<i32>
           %0 = tsr.dynamic_update_slice %x, %u, %i, %zero : (tensor<8x4xf32>, tensor<1x4xf32>, tensor<i32>, tensor<i32>) -> tensor<8x4xf32>
           return %0 : tensor<8x4xf32>
         }",
    );
}

#[test]
fn the_largest() {
    assert_texts(
        Family::Sort,
        "func.func @sort(%x: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi32>) {
           %0:2 = tsr.top_k %x {k = 2} : (tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi32>)
           return %0#0, %0#1 : tensor<4x2xf32>, tensor<4x2xi32>
         }",
    );
}

#[test]
fn a_quantisation() {
    assert_texts(
        Family::Quantize,
        "func.func @quantize(%x: tensor<4x32xf32>, %amax: tensor<f32>) -> !tsr.scaled<4x32, nvfp4, axis = 1> {
           %0 = tsr.quantize %x, %amax {rule = te, rounding = nearest_even, seed = 0, site = 0} : (tensor<4x32xf32>, tensor<f32>) -> !tsr.scaled<4x32, nvfp4, axis = 1>
           return %0 : !tsr.scaled<4x32, nvfp4, axis = 1>
         }",
    );
}

#[test]
fn a_factor() {
    assert_texts(
        Family::Solve,
        "func.func @solve(%x: tensor<40x3xf32>) -> tensor<40x3xf32> {
           %0 = tsr.orthonormalize %x : tensor<40x3xf32>
           return %0 : tensor<40x3xf32>
         }",
    );
}
