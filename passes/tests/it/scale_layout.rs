//! `scale-layout`: which quantised tensors get their scales in tiles of 128 rows by four.

use super::common::{assert_same, interpret, program, run, special_inputs};

const TILED: &str = "scale-layout{products=tiled_128x4}";

/// `%name`, an input of 40 rows by `k` quantised along them.
fn quantised(name: &str, input: usize, k: usize) -> String {
    format!(
        "%{name} = tsr.quantize %arg{input}, %arg2 {{rule = te, rounding = nearest_even, seed = 0, site = 0}} : (t<40x{k}xf32>, t<f32>) -> !tsr.scaled<40x{k}, nvfp4, axis = 1>"
    )
}

/// `%name`, the product of two of those.
fn product(name: &str, [lhs, rhs]: [&str; 2], k: usize) -> String {
    let scaled = format!("!tsr.scaled<40x{k}, nvfp4, axis = 1>");
    format!(
        "%{name} = tsr.scaled_dot %{lhs}, %{rhs} {{lhs_batching_dimensions = [], rhs_batching_dimensions = []}} : ({scaled}, {scaled}) -> t<40x40xf32>"
    )
}

/// The numbers of one of those, which are used as such: the results cannot be scaled.
fn dequantised(name: &str, operand: &str, k: usize) -> String {
    format!(
        "%{name} = tsr.dequantize %{operand} : (!tsr.scaled<40x{k}, nvfp4, axis = 1>) -> t<40x{k}xf32>"
    )
}

/// The quantised tensors of a program of two inputs of 40 rows by `k` that get tiles; the program computes the same.
#[track_caller]
fn tiled(k: usize, lines: &[String], results: &[(&str, usize)]) -> Vec<String> {
    let types: Vec<String> = (results.iter())
        .map(|(_, columns)| format!("t<40x{columns}xf32>"))
        .collect();
    let names: Vec<String> = results.iter().map(|(name, _)| format!("%{name}")).collect();
    let (types, names) = (types.join(", "), names.join(", "));
    let source = format!(
        "(%arg0: t<40x{k}xf32>, %arg1: t<40x{k}xf32>, %arg2: t<f32>) -> ({types}) {{\n{}\nreturn {names} : {types}\n}}",
        lines.join("\n")
    );
    let before = program(&source);
    let after = run(TILED, &before);
    let inputs = special_inputs(&before);
    assert_same(&interpret(&after, &inputs), &interpret(&before, &inputs));
    let text = after.entry().unwrap().to_string();
    let quantisations = text.lines().filter(|line| line.contains("tsr.quantize"));
    let tiled = quantisations.filter(|line| line.contains("layout = tiled_128x4"));
    tiled
        .map(|line| line.trim().split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_only_multiplied_gets_tiles() {
    let lines = [
        quantised("0", 0, 64),
        quantised("1", 1, 64),
        product("2", ["0", "1"], 64),
    ];
    assert_eq!(tiled(64, &lines, &[("2", 40)]), ["%0", "%1"]);
}

#[test]
fn without_the_option_everything_stays_linear() {
    let source = format!(
        "(%arg0: t<40x64xf32>, %arg2: t<f32>) -> t<40x40xf32> {{\n{}\n{}\nreturn %1 : t<40x40xf32>\n}}",
        quantised("0", 0, 64),
        product("1", ["0", "0"], 64)
    );
    let before = program(&source);
    assert_eq!(run("scale-layout", &before), before);
}

/// `%0` is read as numbers, `%1` is multiplied by it, `%2` by `%1`; `%3` is of another product.
#[test]
fn what_is_read_otherwise_keeps_what_it_is_multiplied_by_linear() {
    let lines = [
        quantised("0", 0, 64),
        quantised("1", 1, 64),
        quantised("2", 0, 64),
        quantised("3", 1, 64),
        dequantised("4", "0", 64),
        product("5", ["0", "1"], 64),
        product("6", ["2", "1"], 64),
        product("7", ["3", "3"], 64),
    ];
    let results = [("4", 64), ("5", 40), ("6", 40), ("7", 40)];
    assert_eq!(tiled(64, &lines, &results), ["%3"]);
}

#[test]
fn rows_that_no_tensor_map_copies_stay_linear() {
    // 40 codes are three blocks, of 24 bytes.
    let lines = [
        quantised("0", 0, 40),
        quantised("1", 1, 40),
        product("2", ["0", "1"], 40),
    ];
    assert!(tiled(40, &lines, &[("2", 40)]).is_empty());
}
