//! Which steps wait for which.

use super::EXAMPLE;
use crate::plan::Dependence::{ReadAfterWrite, WriteAfterRead, WriteAfterWrite};
use crate::plan::{Dependence, parse};
use petgraph::visit::EdgeRef;

/// The edges of a plan whose schedule is this, over buffers of four bytes: `%b0` to `%b3` apart from each other in the
/// arena, `%b4` an input donated to the result `%b5`, and `%b6`, which is the whole arena.
fn edges(schedule: &str) -> Vec<(usize, usize, Dependence)> {
    let source = format!(
        "plan @p arena = 256 {{
          input 0 : tensor<f32> donate 0
          result 0 : tensor<f32>
          buffer %b0 : tensor<f32> at arena(0)
          buffer %b1 : tensor<f32> at arena(64)
          buffer %b2 : tensor<f32> at arena(128)
          buffer %b3 : tensor<f32> at arena(192)
          buffer %b4 : tensor<f32> at input(0)
          buffer %b5 : tensor<f32> at result(0)
          buffer %b6 : tensor<64xf32> at arena(0)
          {schedule}
        }}"
    );
    let graph = parse(&source, None).unwrap().dependences();
    let mut edges: Vec<_> = graph
        .edge_references()
        .map(|edge| (edge.source().index(), edge.target().index(), *edge.weight()))
        .collect();
    edges.sort_unstable();
    edges
}

#[test]
fn steps_on_different_bytes_are_independent() {
    assert_eq!(edges("copy %b0 -> %b1 copy %b2 -> %b3"), []);
}

#[test]
fn readers_of_one_buffer_are_independent() {
    assert_eq!(edges("copy %b0 -> %b1 copy %b0 -> %b2"), []);
}

#[test]
fn a_reader_waits_for_the_last_writer() {
    assert_eq!(
        edges("copy %b0 -> %b1 copy %b1 -> %b2"),
        [(0, 1, ReadAfterWrite)]
    );
}

#[test]
fn a_writer_waits_for_the_readers() {
    assert_eq!(
        edges("copy %b1 -> %b0 copy %b1 -> %b2 copy %b3 -> %b1"),
        [(0, 2, WriteAfterRead), (1, 2, WriteAfterRead)]
    );
}

#[test]
fn a_writer_waits_for_a_writer_that_nobody_read() {
    assert_eq!(
        edges("copy %b0 -> %b1 copy %b2 -> %b1"),
        [(0, 1, WriteAfterWrite)]
    );
}

#[test]
fn what_a_chain_says_already_is_left_out() {
    assert_eq!(
        edges("copy %b0 -> %b1 copy %b1 -> %b2 copy %b3 -> %b1"),
        [(0, 1, ReadAfterWrite), (1, 2, WriteAfterRead)]
    );
}

#[test]
fn buffers_that_share_bytes_depend_on_each_other() {
    assert_eq!(
        edges("copy %b4 -> %b0 copy %b4 -> %b3 copy %b6 -> %b6"),
        [(0, 2, ReadAfterWrite), (1, 2, ReadAfterWrite)]
    );
    assert_eq!(
        edges("copy %b0 -> %b4 copy %b5 -> %b1"),
        [(0, 1, ReadAfterWrite)],
        "a result is the input donated to it"
    );
}

#[test]
fn loops_and_cases_touch_what_their_steps_touch() {
    let source = EXAMPLE;
    let graph = parse(source, None).unwrap().dependences();
    let mut edges: Vec<_> = graph
        .edge_references()
        .map(|edge| (edge.source().index(), edge.target().index(), *edge.weight()))
        .collect();
    edges.sort_unstable();
    assert_eq!(
        edges,
        [
            // The case overwrites the donated input.
            (0, 1, ReadAfterWrite),
            (0, 2, WriteAfterRead),
            (1, 2, ReadAfterWrite),
            (1, 3, ReadAfterWrite),
        ]
    );
}
