//! `fuse{epilogues=…}`: what is computed of a product in its kernel, and what is not.

use super::{DOT, fused, fused_by, reduce};

/// A function of `%p`, a product of 32x64 elements, and of `%bias` and `%residual`.
fn after(results: &str, lines: &str) -> String {
    format!(
        "(%x: t<32x16xf32>, %w: t<16x64xf32>, %bias: t<64xf32>, %residual: t<4x8x64xf32>) -> {} {{
           %p = tsr.dot_general %x, %w {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<32x16xf32>, t<16x64xf32>) -> t<32x64xf32>
           {lines}
           return {results}
         }}",
        results.split_once(':').unwrap().1
    )
}

#[track_caller]
fn with_epilogues(source: &str) -> Vec<String> {
    fused_by("canonicalise,fuse{epilogues=all}", source)
}

const BIAS_AND_RESIDUAL: &str = "
    %rows = tsr.broadcast_in_dim %bias {broadcast_dimensions = [1]} : (t<64xf32>) -> t<32x64xf32>
    %0 = tsr.add %p, %rows : t<32x64xf32>
    %1 = tsr.reshape %0 : (t<32x64xf32>) -> t<4x8x64xf32>
    %2 = tsr.add %1, %residual : t<4x8x64xf32>";

#[test]
fn elementwise_ops_on_a_product_are_its_epilogue() {
    let source = after("%2 : t<4x8x64xf32>", BIAS_AND_RESIDUAL);
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general add reshape add"]
    );
    assert_eq!(
        fused(&source),
        ["Dot: dot_general", "Loop: add reshape add"]
    );
}

#[test]
fn of_scaled_products_alone_where_that_is_asked_for() {
    let plain = after("%2 : t<4x8x64xf32>", BIAS_AND_RESIDUAL);
    let scaled = format!(
        "(%x: t<32x32xf32>, %w: t<64x32xf32>, %bias: t<64xf32>, %residual: t<4x8x64xf32>) -> t<4x8x64xf32> {{
           %a = tsr.quantize %x {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (t<32x32xf32>) -> !tsr.scaled<32x32, mxfp4, axis = 1>
           %b = tsr.quantize %w {{rule = rceil, rounding = nearest_even, seed = 0, site = 0}} : (t<64x32xf32>) -> !tsr.scaled<64x32, mxfp4, axis = 1>
           %p = tsr.scaled_dot %a, %b {{lhs_batching_dimensions = [], rhs_batching_dimensions = []}} : (!tsr.scaled<32x32, mxfp4, axis = 1>, !tsr.scaled<64x32, mxfp4, axis = 1>) -> t<32x64xf32>
           {BIAS_AND_RESIDUAL}
           return %2 : t<4x8x64xf32>
         }}"
    );
    let by = "canonicalise,fuse{epilogues=scaled}";
    assert_eq!(
        fused_by(by, &plain),
        ["Dot: dot_general", "Loop: add reshape add"]
    );
    assert_eq!(
        fused_by(by, &scaled),
        [
            "Quantize: quantize",
            "Quantize: quantize",
            "Dot: scaled_dot add reshape add"
        ]
    );
}

#[test]
fn a_product_that_others_need_is_written_beside_its_epilogue() {
    let lines = format!(
        "{BIAS_AND_RESIDUAL}
         %3 = tsr.transpose %p {{permutation = [1, 0]}} : (t<32x64xf32>) -> t<64x32xf32>
         %4 = tsr.tanh %3 : t<64x32xf32>"
    );
    let source = after("%2, %4 : (t<4x8x64xf32>, t<64x32xf32>)", &lines);
    let source = source.replace(
        "return %2, %4 : (t<4x8x64xf32>, t<64x32xf32>)",
        "return %2, %4 : t<4x8x64xf32>, t<64x32xf32>",
    );
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general add reshape add", "Loop: transpose tanh"]
    );
}

#[test]
fn what_moves_a_products_elements_is_a_kernel_after_it() {
    let source = after(
        "%1 : t<32x64xf32>",
        "%0 = tsr.reverse %p {dimensions = [0]} : t<32x64xf32>
         %1 = tsr.tanh %0 : t<32x64xf32>",
    );
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "Loop: reverse tanh"]
    );
    let source = after(
        "%1 : t<2048xf32>",
        "%0 = tsr.reshape %p : (t<32x64xf32>) -> t<2048xf32>
         %1 = tsr.tanh %0 : t<2048xf32>",
    );
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "reshape", "Loop: tanh"]
    );
}

#[test]
fn of_two_products_the_later_has_the_epilogue_of_both() {
    let source = after(
        "%1 : t<32x64xf32>",
        &format!(
            "%q = tsr.dot_general %x, %w {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<32x16xf32>, t<16x64xf32>) -> t<32x64xf32>
             %0 = tsr.negate %q : t<32x64xf32>
             %1 = tsr.multiply %p, %0 : t<32x64xf32>"
        ),
    );
    let source = source
        .replacen("dot_general %x, %w", "dot_general %y, %w", 1)
        .replacen(
            "(%x: t<32x16xf32>,",
            "(%x: t<32x16xf32>, %y: t<32x16xf32>,",
            1,
        );
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "Dot: dot_general negate multiply"]
    );
}

#[test]
fn what_costs_much_is_a_kernel_after_the_product() {
    let lines: String = (0..4)
        .map(|n| {
            let from = if n == 0 {
                "%p".to_owned()
            } else {
                format!("%{}", n - 1)
            };
            format!("%{n} = tsr.tanh {from} : t<32x64xf32>\n")
        })
        .collect();
    let source = after("%3 : t<32x64xf32>", &lines);
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "Loop: tanh tanh tanh tanh"]
    );
}

#[test]
fn what_a_product_is_made_of_is_not_computed_in_its_kernel() {
    let source = format!(
        "(%x: t<32x16xf32>, %w: t<16x64xf32>) -> t<32x64xf32> {{
           %0 = tsr.tanh %x : t<32x16xf32>
           %p = tsr.dot_general %0, %w {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<32x16xf32>, t<16x64xf32>) -> t<32x64xf32>
           %1 = tsr.tanh %p : t<32x64xf32>
           return %1 : t<32x64xf32>
         }}"
    );
    assert_eq!(
        with_epilogues(&source),
        ["Loop: tanh", "Dot: dot_general tanh"]
    );
}

/// The line that returns two results, as it is written.
fn returned(source: &str) -> String {
    let [first, second] = ["32x64xf32", "f32"].map(|shape| format!("t<{shape}>"));
    source.replace(
        &format!(" : ({first}, {second})\n"),
        &format!(" : {first}, {second}\n"),
    )
}

/// `%largest`: the largest magnitude of an operand of that shape.
fn largest(operand: &str, shape: &str) -> String {
    format!(
        "%magnitudes = tsr.abs {operand} : t<{shape}xf32>
         {}",
        reduce(
            "largest",
            "%magnitudes",
            &format!("{shape}xf32"),
            "f32",
            "0, 1",
            "maximum"
        )
    )
}

#[test]
fn the_largest_magnitude_of_what_is_made_of_a_product_is_found_in_its_kernel() {
    let lines = format!(
        "%rows = tsr.broadcast_in_dim %bias {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<32x64xf32>
         %0 = tsr.add %p, %rows : t<32x64xf32>
         {}",
        largest("%0", "32x64")
    );
    let source = after("%0, %largest : (t<32x64xf32>, t<f32>)", &lines);
    let source = returned(&source);
    assert_eq!(
        with_epilogues(&source),
        ["constant", "Dot: dot_general add abs reduce"]
    );
    assert_eq!(
        fused_by("canonicalise,fuse{epilogues=scaled}", &source),
        ["Dot: dot_general", "Row: add abs reduce"]
    );
}

/// What a sum of squares takes of the product is no largest magnitude; nor is a tensor's that was never multiplied.
#[test]
fn other_reductions_are_kernels_of_their_own() {
    let squares = format!(
        "%0 = tsr.multiply %p, %p : t<32x64xf32>
         {}",
        reduce("sum", "%0", "32x64xf32", "f32", "0, 1", "add")
    );
    let source = after("%p, %sum : (t<32x64xf32>, t<f32>)", &squares);
    let source = returned(&source);
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "Row: multiply reduce"]
    );
    let source = format!(
        "(%x: t<128x256xf32>) -> t<f32> {{
           {}
           return %largest : t<f32>
         }}",
        largest("%x", "128x256")
    );
    assert_eq!(with_epilogues(&source), ["Row: abs reduce", "Row: reduce"]);
}

#[test]
fn what_needs_the_largest_magnitude_is_a_kernel_after_it() {
    let lines = format!(
        "{}
         %all = tsr.broadcast_in_dim %largest {{broadcast_dimensions = []}} : (t<f32>) -> t<32x64xf32>
         %0 = tsr.divide %p, %all : t<32x64xf32>",
        largest("%p", "32x64")
    );
    let source = after("%0 : t<32x64xf32>", &lines);
    assert_eq!(
        with_epilogues(&source),
        ["Dot: dot_general", "Row: abs reduce divide"]
    );
}

#[test]
fn so_are_largest_magnitudes_of_several_results() {
    let both = |x: &str, number: usize| {
        let lines = largest(x, "256x64");
        let names = ["magnitudes", "largest"];
        names.iter().fold(lines, |lines, name| {
            lines.replace(&format!("%{name}"), &format!("%{name}{number}"))
        })
    };
    let source = format!(
        "(%x: t<256x16xf32>, %w: t<16x64xf32>) -> (t<256x64xf32>, t<f32>, t<f32>) {{
           %p = tsr.dot_general %x, %w {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], {DOT}}} : (t<256x16xf32>, t<16x64xf32>) -> t<256x64xf32>
           %0 = tsr.tanh %p : t<256x64xf32>
           {}
           {}
           return %0, %largest1, %largest2 : t<256x64xf32>, t<f32>, t<f32>
         }}",
        both("%p", 1),
        both("%0", 2)
    );
    assert_eq!(
        with_epilogues(&source),
        [
            "constant",
            "constant",
            "Dot: dot_general tanh abs reduce abs reduce"
        ]
    );
}
