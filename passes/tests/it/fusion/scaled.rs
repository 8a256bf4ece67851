//! `fuse` on scaled tensors: quantisations, transforms before them, their largest magnitudes, and what is made of codes.

use super::{DOT, fused, fused_by, reduce};

/// The maximum of all magnitudes of `operand`, of 256x64 elements, as `%name`.
fn amax(name: &str, operand: &str) -> String {
    let maximum = reduce(
        name,
        &format!("%{name}_abs"),
        "256x64xf32",
        "f32",
        "0, 1",
        "maximum",
    );
    format!("%{name}_abs = tsr.abs {operand} : t<256x64xf32>\n{maximum}")
}

/// Both quantisations of `operand`, along either axis, and their numbers in place of the results, which cannot be scaled.
fn quantized(operand: &str, amax: &str) -> String {
    let one = |axis: usize| {
        let scaled = format!("!tsr.scaled<256x64, nvfp4, axis = {axis}>");
        format!(
            "%q{axis} = tsr.quantize {operand}, {amax} {{rule = te, rounding = nearest_even, seed = 0, site = {axis}}} : (t<256x64xf32>, t<f32>) -> {scaled}
             %d{axis} = tsr.dequantize %q{axis} : ({scaled}) -> t<256x64xf32>"
        )
    };
    format!("{}\n{}", one(0), one(1))
}

#[test]
fn quantisations_of_one_tensor_are_one_kernel() {
    let source = format!(
        "(%arg0: t<256x64xf32>) -> (t<256x64xf32>, t<256x64xf32>) {{
           {}
           {}
           return %d0, %d1 : t<256x64xf32>, t<256x64xf32>
         }}",
        amax("m", "%arg0"),
        quantized("%arg0", "%m")
    );
    assert_eq!(
        fused(&source),
        [
            "Row: abs reduce",
            "Row: reduce",
            "Quantize: quantize quantize",
            "Quantize: dequantize",
            "Quantize: dequantize",
        ]
    );
}

#[test]
fn a_mean_is_subtracted_where_its_difference_is_read() {
    let source = format!(
        "(%arg0: t<256x64xf32>, %arg1: t<64xf32>) -> (t<256x64xf32>, t<256x64xf32>) {{
           %mean = tsr.broadcast_in_dim %arg1 {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<256x64xf32>
           %x = tsr.subtract %arg0, %mean : t<256x64xf32>
           {}
           {}
           return %d0, %d1 : t<256x64xf32>, t<256x64xf32>
         }}",
        amax("m", "%x"),
        quantized("%x", "%m")
    );
    let steps = fused(&source);
    assert_eq!(
        steps[..3],
        [
            "Row: subtract abs reduce",
            "Row: reduce",
            "Quantize: subtract quantize quantize",
        ]
    );
    // A kernel of one op each still is one that a family allows.
    fused_by("canonicalise,fuse{max-ops=2}", &source);
}

/// Quantisations of `operand` along its rows and of its transform along `axis`, along its columns.
fn quantized_and_transformed(operand: &str, axis: usize) -> String {
    let signs = ["1, -1"; 8].join(", ");
    let one = |name: &str, of: &str, axis: usize| {
        let scaled = format!("!tsr.scaled<256x64, nvfp4, axis = {axis}>");
        let amax = amax(&format!("m{name}"), of);
        format!(
            "{amax}
             %q{name} = tsr.quantize {of}, %m{name} {{rule = te, rounding = nearest_even, seed = 0, site = 0}} : (t<256x64xf32>, t<f32>) -> {scaled}
             %d{name} = tsr.dequantize %q{name} : ({scaled}) -> t<256x64xf32>"
        )
    };
    format!(
        "%h = tsr.hadamard {operand} {{axis = {axis}, signs = [{signs}]}} : t<256x64xf32>
         {}
         {}",
        one("0", "%h", 0),
        one("1", operand, 1)
    )
}

#[test]
fn a_transform_is_written_neither_for_its_quantisation_nor_for_its_largest_magnitude() {
    let source = format!(
        "(%arg0: t<256x64xf32>) -> (t<256x64xf32>, t<256x64xf32>) {{
           {}
           return %d0, %d1 : t<256x64xf32>, t<256x64xf32>
         }}",
        quantized_and_transformed("%arg0", 0)
    );
    let mut steps = fused(&source);
    steps.sort();
    assert_eq!(
        steps,
        [
            "Quantize: dequantize",
            "Quantize: dequantize",
            "Quantize: hadamard abs reduce",
            "Quantize: hadamard quantize quantize",
            "Row: abs reduce",
            "Row: reduce",
            "Row: reduce",
        ]
    );
    let mut alone = fused_by("canonicalise,fuse{hadamard=alone}", &source);
    alone.sort();
    assert_eq!(
        alone,
        [
            "Quantize: dequantize",
            "Quantize: dequantize",
            "Quantize: hadamard",
            "Quantize: quantize",
            "Quantize: quantize",
            "Row: abs reduce",
            "Row: abs reduce",
            "Row: reduce",
            "Row: reduce",
        ]
    );
}

#[test]
fn a_mean_is_subtracted_before_a_transform() {
    let source = format!(
        "(%arg0: t<256x64xf32>, %arg1: t<64xf32>) -> (t<256x64xf32>, t<256x64xf32>) {{
           %mean = tsr.broadcast_in_dim %arg1 {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<256x64xf32>
           %x = tsr.subtract %arg0, %mean : t<256x64xf32>
           {}
           return %d0, %d1 : t<256x64xf32>, t<256x64xf32>
         }}",
        quantized_and_transformed("%x", 0)
    );
    let mut steps = fused(&source);
    steps.sort();
    assert_eq!(
        steps[2..5],
        [
            "Quantize: subtract hadamard abs reduce",
            "Quantize: subtract hadamard quantize quantize",
            "Row: reduce",
        ]
    );
}

#[test]
fn a_transform_across_the_blocks_is_written() {
    let source = format!(
        "(%arg0: t<256x64xf32>) -> (t<256x64xf32>, t<256x64xf32>) {{
           {}
           return %d0, %d1 : t<256x64xf32>, t<256x64xf32>
         }}",
        quantized_and_transformed("%arg0", 1)
    );
    assert!(fused(&source).contains(&"Quantize: hadamard".to_owned()));
}

#[test]
fn sums_along_a_scaled_tensors_axis_are_made_of_its_codes() {
    let source = |dimension: usize, result: usize| {
        format!(
            "(%arg0: t<256x64xf32>, %arg1: t<f32>) -> t<{result}xf32> {{
               {}
               {}
               return %s : t<{result}xf32>
             }}",
            quantized("%arg0", "%arg1"),
            reduce(
                "s",
                "%d0",
                "256x64xf32",
                &format!("{result}xf32"),
                &dimension.to_string(),
                "add"
            )
        )
    };
    assert_eq!(
        fused(&source(0, 64)),
        ["Quantize: quantize", "Quantize: dequantize reduce"]
    );
    // Blocks run along dimension 0.
    assert_eq!(
        fused(&source(1, 256)),
        ["Quantize: quantize", "Quantize: dequantize", "Row: reduce"]
    );
}

#[test]
fn products_of_a_scaled_tensor_by_a_vector_along_its_axis_are_made_of_its_codes() {
    let source = |vector: usize,
                  lhs: &str,
                  rhs: &str,
                  contracting: [usize; 2],
                  shape: [&str; 2]| {
        let [left, right] = contracting;
        let ([lhs_shape, rhs_shape], result) = (shape, if vector == 256 { 64 } else { 256 });
        format!(
            "(%arg0: t<256x64xf32>, %arg1: t<f32>, %arg2: t<{vector}xf32>) -> t<{result}xf32> {{
               {}
               %p = tsr.dot_general {lhs}, {rhs} {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [{left}], rhs_contracting_dimensions = [{right}], {DOT}}} : (t<{lhs_shape}>, t<{rhs_shape}>) -> t<{result}xf32>
               return %p : t<{result}xf32>
             }}",
            quantized("%arg0", "%arg1")
        )
    };
    let fused_codes = ["Quantize: quantize", "Quantize: dequantize dot_general"];
    let along = source(256, "%d0", "%arg2", [0, 0], ["256x64xf32", "256xf32"]);
    assert_eq!(fused(&along), fused_codes);
    let along = source(256, "%arg2", "%d0", [0, 0], ["256xf32", "256x64xf32"]);
    assert_eq!(fused(&along), fused_codes);
    // Blocks run along dimension 0.
    let across = source(64, "%d0", "%arg2", [1, 0], ["256x64xf32", "64xf32"]);
    assert_eq!(
        fused(&across),
        [
            "Quantize: quantize",
            "Quantize: dequantize",
            "Dot: dot_general"
        ]
    );
}

#[test]
fn the_maximum_of_a_tensor_is_made_where_the_tensor_is() {
    let source = format!(
        "(%arg0: t<256x64xf32>) -> (t<256x64xf32>, t<f32>) {{
           %x = tsr.tanh %arg0 : t<256x64xf32>
           {}
           return %x, %m : t<256x64xf32>, t<f32>
         }}",
        amax("m", "%x")
    );
    assert_eq!(fused(&source), ["Row: tanh abs reduce", "Row: reduce"]);
}

/// The steps of a program that makes a tensor by `lines`, as `%y` of 8x32x64 elements, and of the largest magnitude of its
/// 256 rows.
fn maximum_after_reshape(lines: &str) -> Vec<String> {
    fused(&format!(
        "(%arg0: t<8x32x64xf32>) -> (t<256x64xf32>, t<f32>) {{
           {lines}
           %x = tsr.reshape %y : (t<8x32x64xf32>) -> t<256x64xf32>
           {}
           return %x, %m : t<256x64xf32>, t<f32>
         }}",
        amax("m", "%x")
    ))
}

#[test]
fn the_maximum_of_a_norm_is_made_where_the_norm_is_whatever_shape_it_is_asked_for_in() {
    let norm = format!(
        "%squares = tsr.multiply %arg0, %arg0 : t<8x32x64xf32>
         {}
         %scale = tsr.rsqrt %sum : t<8x32xf32>
         %scales = tsr.broadcast_in_dim %scale {{broadcast_dimensions = [0, 1]}} : (t<8x32xf32>) -> t<8x32x64xf32>
         %y = tsr.multiply %arg0, %scales : t<8x32x64xf32>",
        reduce("sum", "%squares", "8x32x64xf32", "8x32xf32", "2", "add")
    );
    let steps = [
        "Row: multiply reduce rsqrt multiply abs reduce",
        "reshape",
        "Row: reduce",
    ];
    assert_eq!(maximum_after_reshape(&norm), steps);
}

#[test]
fn a_loop_does_not_become_rows_for_a_maximum_in_another_shape() {
    let steps = [
        "Loop: tanh",
        "reshape",
        "reshape",
        "Row: abs reduce",
        "Row: reduce",
    ];
    let tanh = "%y = tsr.tanh %arg0 : t<8x32x64xf32>";
    assert_eq!(maximum_after_reshape(tanh), steps);
}
