//! What the rules of `canonicalise` make of small programs. Each result is compared with the interpreter's on numbers
//! that a wrong rule would stumble over.

mod contraction;
mod control;
mod elementwise;
mod merging;
mod movement;

use crate::common::check;

/// Checks what `canonicalise` leaves of a program.
#[track_caller]
fn becomes(source: &str, expected: &str) {
    check("canonicalise", source, expected);
}

/// Checks that `canonicalise` leaves a program as it is.
#[track_caller]
fn stays(source: &str) {
    let lines: Vec<&str> = source.trim().lines().collect();
    check(
        "canonicalise",
        source,
        &lines[1..lines.len() - 1].join("\n"),
    );
}
