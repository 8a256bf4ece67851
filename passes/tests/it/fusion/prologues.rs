//! `fuse`: tensors that are made where they are quantised, and those that are written before.

use super::{fused, reduce};

/// Both quantisations of `operand`, and their numbers in place of the results, which cannot be scaled.
fn quantized(operand: &str) -> String {
    let one = |axis: usize| {
        let scaled = format!("!tsr.scaled<256x64, mxfp8_e4m3, axis = {axis}>");
        format!(
            "%q{axis} = tsr.quantize {operand} {{rule = rceil, rounding = nearest_even, seed = 0, site = {axis}}} : (t<256x64xf32>) -> {scaled}
             %d{axis} = tsr.dequantize %q{axis} : ({scaled}) -> t<256x64xf32>"
        )
    };
    format!("{}\n{}", one(0), one(1))
}

/// `%n`: the rows of `%x` by the inverse root of their squares' sum, by `%gain`.
fn norm() -> String {
    format!(
        "%squares = tsr.multiply %x, %x : t<256x64xf32>
         {}
         %r = tsr.rsqrt %sum : t<256xf32>
         %rs = tsr.broadcast_in_dim %r {{broadcast_dimensions = [0]}} : (t<256xf32>) -> t<256x64xf32>
         %gains = tsr.broadcast_in_dim %gain {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<256x64xf32>
         %unit = tsr.multiply %x, %rs : t<256x64xf32>
         %n = tsr.multiply %unit, %gains : t<256x64xf32>",
        reduce("sum", "%squares", "256x64xf32", "256xf32", "1", "add")
    )
}

const RESULTS: &str = "t<256x64xf32>, t<256x64xf32>";

#[test]
fn a_norm_is_quantised_where_it_is_made() {
    let source = format!(
        "(%x: t<256x64xf32>, %gain: t<64xf32>) -> ({RESULTS}) {{
           {}
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        norm(),
        quantized("%n")
    );
    assert_eq!(
        fused(&source),
        [
            "Row: multiply reduce rsqrt",
            "Quantize: multiply multiply quantize quantize",
            "Quantize: dequantize",
            "Quantize: dequantize",
        ]
    );
}

#[test]
fn a_norm_is_centred_where_it_is_quantised() {
    let source = format!(
        "(%x: t<256x64xf32>, %gain: t<64xf32>) -> ({RESULTS}) {{
           {}
           {}
           %means = tsr.broadcast_in_dim %total {{broadcast_dimensions = [1]}} : (t<64xf32>) -> t<256x64xf32>
           %c = tsr.subtract %n, %means : t<256x64xf32>
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        norm(),
        reduce("total", "%n", "256x64xf32", "64xf32", "0", "add"),
        quantized("%c")
    );
    assert_eq!(
        fused(&source),
        [
            "Row: multiply reduce rsqrt",
            "Column: multiply multiply reduce",
            "Quantize: multiply multiply subtract quantize quantize",
            "Quantize: dequantize",
            "Quantize: dequantize",
        ]
    );
}

#[test]
fn a_norm_in_another_shape_is_quantised_where_it_is_made() {
    let norm = norm()
        .replace("256x64xf32", "4x64x64xf32")
        .replace("256xf32", "4x64xf32")
        .replace("dimensions = [1]}", "dimensions = [2]}")
        .replace(
            "broadcast_dimensions = [0]",
            "broadcast_dimensions = [0, 1]",
        );
    let source = format!(
        "(%x: t<4x64x64xf32>, %gain: t<64xf32>) -> ({RESULTS}) {{
           {norm}
           %rows = tsr.reshape %n : (t<4x64x64xf32>) -> t<256x64xf32>
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        quantized("%rows")
    );
    assert_eq!(
        fused(&source)[..2],
        [
            "Row: multiply reduce rsqrt",
            "Quantize: multiply multiply reshape quantize quantize"
        ]
    );
}

#[test]
fn what_is_made_of_more_than_it_is_written_first() {
    let source = format!(
        "(%x: t<256x64xf32>, %y: t<256x64xf32>, %z: t<256x64xf32>) -> ({RESULTS}) {{
           %0 = tsr.add %x, %y : t<256x64xf32>
           %1 = tsr.add %0, %z : t<256x64xf32>
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        quantized("%1")
    );
    assert_eq!(
        fused(&source)[..2],
        ["Loop: add add", "Quantize: quantize quantize"]
    );
}

#[test]
fn what_takes_long_to_compute_is_written_first() {
    let source = format!(
        "(%x: t<256x64xf32>) -> ({RESULTS}) {{
           %0 = tsr.tanh %x : t<256x64xf32>
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        quantized("%0")
    );
    assert_eq!(
        fused(&source)[..2],
        ["Loop: tanh", "Quantize: quantize quantize"]
    );
}

#[test]
fn what_others_need_is_written_once() {
    let source = format!(
        "(%x: t<256x64xf32>, %gain: t<64xf32>) -> ({RESULTS}, t<256x64xf32>) {{
           {}
           {}
           return %d0, %d1, %n : {RESULTS}, t<256x64xf32>
         }}",
        norm(),
        quantized("%n")
    );
    assert_eq!(
        fused(&source)[..2],
        [
            "Row: multiply reduce rsqrt multiply multiply",
            "Quantize: quantize quantize"
        ]
    );
}

#[test]
fn numbers_of_another_type_are_converted_where_they_are_quantised() {
    let source = format!(
        "(%x: t<256x64xbf16>) -> ({RESULTS}) {{
           %0 = tsr.convert %x : (t<256x64xbf16>) -> t<256x64xf32>
           {}
           return %d0, %d1 : {RESULTS}
         }}",
        quantized("%0")
    );
    assert_eq!(fused(&source)[0], "Quantize: convert quantize quantize");
}
