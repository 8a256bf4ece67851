//! `fuse{attention=tiled}`: which products between which a softmax stands are in no memory.

use super::{DOT, fused, fused_by, reduce, steps};
use crate::common::{assert_same, import_step, program, run, step_inputs};
use tessera_ir::plan::Family;
use tessera_passes::fuse::kernel_family;
use tessera_passes::plan::evaluate::evaluate;
use tessera_passes::{PlanOptions, plan};

/// Queries of 2 examples of 5 tokens with 3 heads of 8 numbers; keys and values of 7 tokens.
const Q: &str = "t<2x5x3x8xf32>";
const K: &str = "t<2x7x3x8xf32>";

/// The shape of scores.
const S: &str = "2x3x5x7";

/// What makes `%p` of `%q` and `%k`, some lines made of the scores `%s` in between: they define `%x`.
fn weights(lines: &str) -> String {
    let maximum = reduce("m", "%x", "2x3x5x7xf32", "2x3x5xf32", "3", "maximum");
    let sum = reduce("l", "%e", "2x3x5x7xf32", "2x3x5xf32", "3", "add");
    format!(
        "%s = tsr.dot_general %q, %k {{lhs_batching_dimensions = [0, 2], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [3], rhs_contracting_dimensions = [3], {DOT}}} : ({Q}, {K}) -> t<{S}xf32>
         {lines}
         {maximum}
         %ms = tsr.broadcast_in_dim %m {{broadcast_dimensions = [0, 1, 2]}} : (t<2x3x5xf32>) -> t<{S}xf32>
         %y = tsr.subtract %x, %ms : t<{S}xf32>
         %e = tsr.exponential %y : t<{S}xf32>
         {sum}
         %ls = tsr.broadcast_in_dim %l {{broadcast_dimensions = [0, 1, 2]}} : (t<2x3x5xf32>) -> t<{S}xf32>
         %p = tsr.divide %e, %ls : t<{S}xf32>"
    )
}

/// The product of weights by `%v`, as einsum has it: transposed.
fn output(weights: &str) -> String {
    format!(
        "%o = tsr.dot_general %v, {weights} {{lhs_batching_dimensions = [0, 2], rhs_batching_dimensions = [0, 1], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [3], {DOT}}} : ({K}, t<{S}xf32>) -> t<2x3x8x5xf32>
         %out = tsr.transpose %o {{permutation = [0, 3, 1, 2]}} : (t<2x3x8x5xf32>) -> {Q}"
    )
}

const SCALED: &str = "
    %c = tsr.constant {value = dense<0.353553>} : t<f32>
    %cs = tsr.broadcast_in_dim %c {broadcast_dimensions = []} : (t<f32>) -> t<2x3x5x7xf32>
    %x = tsr.multiply %s, %cs : t<2x3x5x7xf32>";

const MASKED: &str = "
    %rows = tsr.iota {dimension = 0} : t<5x7xi32>
    %columns = tsr.iota {dimension = 1} : t<5x7xi32>
    %sees = tsr.compare %rows, %columns {direction = GE, compare_type = SIGNED} : (t<5x7xi32>, t<5x7xi32>) -> t<5x7xi1>
    %mask = tsr.broadcast_in_dim %sees {broadcast_dimensions = [2, 3]} : (t<5x7xi1>) -> t<2x3x5x7xi1>
    %n = tsr.constant {value = dense<0xFF800000>} : t<f32>
    %ns = tsr.broadcast_in_dim %n {broadcast_dimensions = []} : (t<f32>) -> t<2x3x5x7xf32>
    %x = tsr.select %mask, %s, %ns : (t<2x3x5x7xi1>, t<2x3x5x7xf32>, t<2x3x5x7xf32>) -> t<2x3x5x7xf32>";

/// A function of queries, keys and values.
fn of_qkv(results: &str, lines: &str) -> String {
    let (values, types) = results.split_once(" : ").unwrap();
    format!(
        "(%q: {Q}, %k: {K}, %v: {K}, %d: {Q}, %padding: t<2x7xi1>) -> ({types}) {{
           {lines}
           return {values} : {types}
         }}"
    )
}

#[track_caller]
fn tiled(source: &str) -> Vec<String> {
    fused_by("canonicalise,fuse{attention=tiled}", source)
}

#[test]
fn a_softmax_between_products_is_two_kernels_without_scores_in_memory() {
    let source = of_qkv(&format!("%out : {Q}"), &(weights(SCALED) + &output("%p")));
    assert_eq!(
        tiled(&source),
        [
            "Attention: dot_general multiply reduce subtract exponential reduce",
            "Attention: dot_general multiply subtract exponential divide dot_general transpose",
        ]
    );
    assert_eq!(
        fused(&source),
        [
            "Dot: dot_general",
            "Row: multiply reduce subtract exponential reduce divide",
            "Dot: dot_general transpose",
        ]
    );
}

#[test]
fn a_mask_of_indices_is_made_where_it_is_asked_for() {
    let source = of_qkv(&format!("%out : {Q}"), &(weights(MASKED) + &output("%p")));
    assert_eq!(
        tiled(&source),
        [
            "Attention: iota iota compare dot_general select reduce subtract exponential reduce",
            "Attention: iota iota compare dot_general select subtract exponential divide dot_general transpose",
        ]
    );
}

#[test]
fn a_mask_of_tokens_is_read_where_it_lies() {
    let masked = "
        %mask = tsr.broadcast_in_dim %padding {broadcast_dimensions = [0, 3]} : (t<2x7xi1>) -> t<2x3x5x7xi1>
        %n = tsr.constant {value = dense<0xFF800000>} : t<f32>
        %ns = tsr.broadcast_in_dim %n {broadcast_dimensions = []} : (t<f32>) -> t<2x3x5x7xf32>
        %x = tsr.select %mask, %s, %ns : (t<2x3x5x7xi1>, t<2x3x5x7xf32>, t<2x3x5x7xf32>) -> t<2x3x5x7xf32>";
    let source = of_qkv(&format!("%out : {Q}"), &(weights(masked) + &output("%p")));
    assert_eq!(
        tiled(&source),
        [
            "Attention: dot_general select reduce subtract exponential reduce",
            "Attention: dot_general select subtract exponential divide dot_general transpose",
        ]
    );
}

#[test]
fn the_backward_makes_the_scores_again() {
    let sum = reduce("r", "%pd", "2x3x5x7xf32", "2x3x5xf32", "3", "add");
    let lines = format!(
        "{}
         %dp = tsr.dot_general %d, %v {{lhs_batching_dimensions = [0, 2], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [3], rhs_contracting_dimensions = [3], {DOT}}} : ({Q}, {K}) -> t<{S}xf32>
         %pd = tsr.multiply %p, %dp : t<{S}xf32>
         {sum}
         %rs = tsr.broadcast_in_dim %r {{broadcast_dimensions = [0, 1, 2]}} : (t<2x3x5xf32>) -> t<{S}xf32>
         %less = tsr.subtract %dp, %rs : t<{S}xf32>
         %ds = tsr.multiply %p, %less : t<{S}xf32>
         %dq = tsr.dot_general %ds, %k {{lhs_batching_dimensions = [0, 1], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [3], rhs_contracting_dimensions = [1], {DOT}}} : (t<{S}xf32>, {K}) -> t<2x3x5x8xf32>
         %dv = tsr.dot_general %p, %d {{lhs_batching_dimensions = [0, 1], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [1], {DOT}}} : (t<{S}xf32>, {Q}) -> t<2x3x7x8xf32>",
        weights("%x = tsr.negate %s : t<2x3x5x7xf32>")
    );
    let source = of_qkv("%dq, %dv : t<2x3x5x8xf32>, t<2x3x7x8xf32>", &lines);
    let mut found = tiled(&source);
    found.sort();
    assert_eq!(
        found,
        [
            "Attention: dot_general dot_general negate subtract exponential divide multiply reduce",
            "Attention: dot_general negate reduce subtract exponential reduce",
            "Attention: dot_general negate subtract exponential divide dot_general",
            "Attention: dot_general subtract dot_general negate subtract exponential divide multiply dot_general",
        ]
    );
}

#[test]
fn weights_that_are_a_result_are_written_and_read() {
    let lines = weights(SCALED) + &output("%p");
    let source = of_qkv(&format!("%out, %p : {Q}, t<{S}xf32>"), &lines);
    assert_eq!(tiled(&source), fused(&source));
}

#[test]
fn what_is_moved_of_the_weights_has_them_written() {
    let lines = format!(
        "{}{}
         %first = tsr.slice %p {{start_indices = [0, 0, 0, 0], limit_indices = [1, 1, 1, 7], strides = [1, 1, 1, 1]}} : (t<{S}xf32>) -> t<1x1x1x7xf32>",
        weights(SCALED),
        output("%p")
    );
    let source = of_qkv(&format!("%out, %first : {Q}, t<1x1x1x7xf32>"), &lines);
    assert_eq!(tiled(&source), fused(&source));
}

#[test]
fn scores_of_f64_are_written() {
    let source = of_qkv(&format!("%out : {Q}"), &(weights(SCALED) + &output("%p")));
    let source = source
        .replace("f32", "f64")
        .replace("0xFF800000", "0xFFF0000000000000");
    let module = run("canonicalise,fuse{attention=tiled}", &program(&source));
    assert_eq!(
        steps(module.entry().unwrap(), &module),
        [
            "Dot: dot_general",
            "Row: multiply reduce subtract exponential reduce divide",
            "Dot: dot_general transpose",
        ]
    );
}

/// Products of 8 numbers are made again in less time than scores are written and read; of 256 they are not, where no matrix
/// unit makes them.
#[test]
fn scores_that_take_long_to_make_are_written() {
    let of = |depth: &str, element: &str| {
        let source = of_qkv(&format!("%out : {Q}"), &(weights(SCALED) + &output("%p")));
        let [q, k] = [Q, K].map(|one| one.replace("x8xf32", &format!("x{depth}x{element}")));
        let source = source.replace(&format!("%q: {Q}, %k: {K}"), &format!("%q: {q}, %k: {k}"));
        source.replace(
            &format!("({Q}, {K}) -> t<{S}"),
            &format!("({q}, {k}) -> t<{S}"),
        )
    };
    assert_eq!(tiled(&of("8", "f32")).len(), 2);
    assert_eq!(tiled(&of("256", "f32")).len(), 3);
    assert_eq!(tiled(&of("256", "bf16")).len(), 2);
}

/// Whole steps give the same bits, as ops and as a plan: a kernel's own order of sums is its target's.
#[test]
fn the_tiny_llama_computes_its_step_with_tiled_attention() {
    let module = import_step("llama_tiny");
    let inputs = step_inputs("llama_tiny", &module);
    let interpret = |module: &_| {
        let module: &tessera_ir::Module = module;
        tessera_interpreter::evaluate(module, module.entry().unwrap(), &inputs).unwrap()
    };
    let expected = interpret(&module);
    let pipeline = "inline,canonicalise,decompose,fold-unit-dimensions,canonicalise,drop-barriers,fuse{attention=tiled}";
    let fused = run(pipeline, &module);
    assert_same(&interpret(&fused), &expected);
    let kernels = fused
        .graphs()
        .filter(|graph| Some(&graph.name) != fused.entry().map(|e| &e.name));
    let mut names: Vec<&str> = kernels
        .filter(|kernel| kernel_family(kernel) == Ok(Family::Attention))
        .map(|kernel| kernel.name.as_str())
        .collect();
    names.sort_unstable();
    // Two layers have the same kernels: the softmax's sums and the output; in the backward the sum of the weights by their
    // gradients, and the gradients of values, keys and queries.
    assert_eq!(
        names,
        [
            "attention_dot_along_columns",
            "attention_dot_along_columns_1",
            "attention_dot_along_rows",
            "attention_dot_along_rows_1",
            "attention_reduce",
            "attention_softmax",
        ]
    );
    let plan = plan(&fused, PlanOptions { in_place: true }).unwrap();
    assert_same(&evaluate(&plan, &inputs).unwrap(), &expected);
}
