//! That every opcode is in a table or among the forms of `forms.rs`, and what shows each of these: tests that execute all of its
//! forms, which are held against those that are accepted, or tests that are named here.

use super::super::{FAMILIES, forms};
use super::table;
use std::collections::BTreeSet;

/// Tests that execute every form of the patterns that stand first in their text.
const EXECUTED: &[&str] = &[
    include_str!("../../../tests/it/addresses.rs"),
    include_str!("../../../tests/it/barriers.rs"),
    include_str!("../../../tests/it/boxes.rs"),
    include_str!("../../../tests/it/copies.rs"),
    include_str!("../../../tests/it/fences.rs"),
    include_str!("../../../tests/it/fragments.rs"),
    include_str!("../../../tests/it/lanes.rs"),
    include_str!("../../../tests/it/movmatrix.rs"),
    include_str!("../../../tests/it/tcgen05_commits.rs"),
    include_str!("../../../tests/it/tcgen05_copies.rs"),
    include_str!("../../../tests/it/tcgen05_products.rs"),
    include_str!("../../../tests/it/tcgen05_registers.rs"),
    include_str!("../../../tests/it/tensormap.rs"),
    include_str!("../../../tests/it/warpgroup.rs"),
    include_str!("../../../tests/it/quad_pairs.rs"),
];

/// The opcodes that these are of.
const OPCODES: &[&str] = &[
    "mma",
    "ldmatrix",
    "stmatrix",
    "movmatrix",
    "mbarrier",
    "shfl",
    "vote",
    "match",
    "redux",
    "activemask",
    "elect",
    "cp",
    "wgmma",
    "tcgen05",
    "tensormap",
    "fence",
    "membar",
    "mov",
    "cvta",
    "isspacep",
    "mapa",
    "getctarank",
    "prefetch",
    "prefetchu",
    "discard",
    "applypriority",
    "createpolicy",
];

macro_rules! tests {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../../tests/it/", $name, ".rs")))),*]
    };
}

/// The text of tests, by file.
const TESTS: &[(&str, &str)] = tests![
    "asynchronous",
    "barriers",
    "instructions",
    "lanes",
    "ordinary",
    "tensor",
    "warpgroup"
];

/// What shows the other opcodes: opcodes, a file, tests.
const SHOWN: &[(&[&str], &str, &[&str])] = &[
    (
        &["bar", "barrier"],
        "barriers",
        &[
            "reductions_of_predicates",
            "who_arrives_goes_on_and_who_waits_does_not",
            "lanes_that_come_apart_to_a_barrier_of_whole_warps",
        ],
    ),
    (
        &["barrier"],
        "asynchronous",
        &["arrivals_of_a_cluster_that_tell_nothing"],
    ),
    (
        &[
            "bra",
            "brx",
            "exit",
            "trap",
            "brkpt",
            "nanosleep",
            "pmevent",
            "griddepcontrol",
            "setmaxnreg",
        ],
        "ordinary",
        &["control"],
    ),
    (&["call", "ret"], "ordinary", &["calls"]),
];

/// Text without the breaks of long lines in it.
fn literals(text: &str) -> impl Iterator<Item = String> {
    let pieces = text.split('"').skip(1).step_by(2);
    pieces.map(|piece| {
        let lines = piece.split("\\\n");
        lines.map(str::trim_start).collect::<String>()
    })
}

#[test]
fn every_form_of_these_is_executed() {
    let of = |opcode: &str| -> BTreeSet<Vec<String>> {
        let begins = format!("{opcode}.");
        let begins_with_choice = format!("{opcode}[");
        // They are constants in front of the tests.
        let constants = EXECUTED
            .iter()
            .filter_map(|text| text.split("\nfn ").next());
        let texts = constants.flat_map(literals);
        // A pattern is what has nothing in it but modifiers and choices.
        let is_part = |c: char| c.is_ascii_alphanumeric() || ".:[]|_".contains(c);
        let patterns = texts.filter(|text| {
            (text.starts_with(&begins) || text.starts_with(&begins_with_choice))
                && text.chars().all(is_part)
        });
        let forms = patterns.flat_map(|pattern| {
            let forms = super::row::forms(&pattern).into_iter();
            forms.map(|form| {
                let mut words = form.words[1..].to_vec();
                words.sort();
                words
            })
        });
        forms.collect()
    };
    for opcode in OPCODES {
        let accepted: BTreeSet<Vec<String>> = forms::of(opcode)
            .map(|form| form.iter().map(|&word| word.to_owned()).collect())
            .collect();
        let executed = of(opcode);
        let missing: Vec<_> = accepted.difference(&executed).collect();
        assert!(missing.is_empty(), "{opcode} is not executed: {missing:#?}");
        let refused: Vec<_> = executed.difference(&accepted).collect();
        assert!(refused.is_empty(), "{opcode} is not accepted: {refused:#?}");
    }
}

#[test]
fn every_opcode_has_forms_that_something_shows() {
    let in_tables: BTreeSet<String> = table()
        .into_iter()
        .map(|(_, form)| form.words[0].clone())
        .collect();
    // Carries go from one instruction to the next: `carries` of `modifiers.rs` executes them in pairs.
    let in_pairs = ["addc", "subc", "madc"];
    let all = FAMILIES.iter().flat_map(|(opcodes, _)| *opcodes);
    for opcode in all.filter(|opcode| !in_tables.contains(**opcode) && !in_pairs.contains(*opcode))
    {
        assert!(forms::of(opcode).next().is_some(), "{opcode} has no forms");
        let is_shown = SHOWN.iter().any(|(opcodes, ..)| opcodes.contains(opcode));
        assert!(
            is_shown || OPCODES.contains(opcode),
            "{opcode} is shown by nothing"
        );
    }
    for (opcodes, file, names) in SHOWN {
        let (_, text) = TESTS
            .iter()
            .find(|(own, _)| own == file)
            .expect("a file of tests");
        for name in *names {
            assert!(
                text.contains(&format!("fn {name}()")),
                "{opcodes:?} are shown by {file}::{name}, which is not there"
            );
        }
    }
}
