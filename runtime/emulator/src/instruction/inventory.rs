//! That the tables of `tests/it/modifiers` have every form that is accepted: each of theirs is, and none of theirs with one
//! modifier more is, unless they have it too. A modifier that is read and means nothing is found so.

#[path = "../../tests/it/modifiers/approximations.rs"]
#[expect(dead_code, reason = "results are compared where they are executed")]
mod approximations;
#[path = "../../tests/it/modifiers/comparisons.rs"]
mod comparisons;
#[path = "../../tests/it/modifiers/conversions.rs"]
mod conversions;
#[path = "../../tests/it/modifiers/floats.rs"]
#[expect(dead_code, reason = "results are compared where they are executed")]
mod floats;
mod groups;
#[path = "../../tests/it/modifiers/integers.rs"]
mod integers;
#[path = "../../tests/it/modifiers/memory.rs"]
#[expect(dead_code, reason = "results are compared where they are executed")]
mod memory;
#[path = "../../tests/it/modifiers/row.rs"]
#[expect(dead_code, reason = "results are computed where they are executed")]
pub(super) mod row;

use super::{Action, FAMILIES};
use crate::program::Program;
use crate::ptx::Module;
use row::{Form, Row};
use std::collections::BTreeSet;

/// The files whose text has the modifiers' names.
const DECODERS: &[&str] = &[
    include_str!("bits.rs"),
    include_str!("compare.rs"),
    include_str!("convert.rs"),
    include_str!("float.rs"),
    include_str!("integer.rs"),
    include_str!("memory.rs"),
    include_str!("number.rs"),
];

/// Every name in quotes.
fn modifiers() -> BTreeSet<String> {
    let pieces = DECODERS
        .iter()
        .flat_map(|text| text.split('"').skip(1).step_by(2));
    let is_name = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    let is_opcode = |text: &str| FAMILIES.iter().any(|(opcodes, _)| opcodes.contains(&text));
    // Operations of joined comparisons have the names of opcodes.
    let joins = ["and", "or", "xor"];
    let names = pieces.filter(is_name);
    let names = names.filter(|text| !is_opcode(text) || joins.contains(text));
    names.map(str::to_owned).collect()
}

/// Which of some statements are accepted.
pub(super) fn accepted(statements: &[String]) -> Vec<bool> {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main() {{\n{}{}\n}}",
        row::registers(),
        statements.join("\n")
    );
    let module = Module::parse(&text).unwrap();
    let program = Program::new(&module).unwrap();
    let steps = &program.functions[0].steps;
    assert_eq!(steps.len(), statements.len());
    let is_accepted = |step: &crate::program::Step| !matches!(step.action, Action::Refused(_));
    steps.iter().map(is_accepted).collect()
}

/// What tells a form from another: its words in any order, and how many operands it has.
fn key(operands: &str, form: &Form) -> (Vec<String>, usize) {
    let mut words = form.words.clone();
    words[1..].sort();
    (words, operands.split(',').count())
}

/// The forms of the tables, with their operands.
fn table() -> Vec<(&'static str, Form)> {
    let tables = [
        integers::ROWS,
        floats::ROWS,
        approximations::ROWS,
        comparisons::ROWS,
        conversions::ROWS,
    ];
    let rows = tables.iter().flat_map(|rows| rows.iter());
    let rows = rows.flat_map(|row: &Row| row.forms().into_iter().map(|form| (row.operands, form)));
    let accesses = memory::ACCESSES.iter();
    let accesses =
        accesses.flat_map(|own| own.forms().into_iter().map(|form| (own.operands, form)));
    rows.chain(accesses).collect()
}

/// Modifiers that go with every form of an opcode: hints, of which any may stand behind any other, and orders.
fn goes_with_all(opcode: &str, modifier: &str) -> bool {
    let orders: &[&str] = match opcode {
        // Parameters, constants and local memory are what every kernel of a compiler's reads.
        "ld" => &["weak", "volatile", "param", "const", "local"],
        "st" => &["weak", "volatile", "param", "local"],
        "atom" => &[
            "relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys",
        ],
        "red" => &["relaxed", "release", "cta", "cluster", "gpu", "sys"],
        _ => &[],
    };
    orders.contains(&modifier)
        || matches!(
            modifier,
            "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc"
        )
        || modifier.starts_with("L1::")
        || modifier.starts_with("L2::")
}

#[test]
fn every_form_is_in_a_table() {
    let table = table();
    let known: BTreeSet<_> = table
        .iter()
        .map(|(operands, form)| key(operands, form))
        .collect();
    let modifiers = modifiers();
    let (mut refused, mut unknown) = (Vec::new(), Vec::new());
    for (operands, form) in &table {
        let statement = row::statement(operands, form);
        let mut statements = vec![statement.clone()];
        for modifier in &modifiers {
            let mut more = form.clone();
            more.words.push(modifier.clone());
            if form.has(modifier)
                || goes_with_all(&form.words[0], modifier)
                || known.contains(&key(operands, &more))
            {
                continue;
            }
            statements.push(statement.replacen(&form.text(), &more.text(), 1));
        }
        let accepted = accepted(&statements);
        if !accepted[0] {
            refused.push(statement);
        }
        let beyond = statements.into_iter().zip(accepted).skip(1);
        unknown.extend(
            beyond
                .filter(|(_, accepted)| *accepted)
                .map(|(text, _)| text),
        );
    }
    assert!(refused.is_empty(), "refused: {refused:#?}");
    assert!(unknown.is_empty(), "not in a table: {unknown:#?}");
}

#[test]
fn forms_of_ordinary_instructions_are_those_of_the_tables() {
    use std::collections::BTreeMap;
    let mut of_tables: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (_, form) in table() {
        let (mut words, _) = key("", &form);
        let opcode = words.remove(0);
        of_tables.entry(opcode).or_default().insert(words);
    }
    for opcode in super::forms::ordinary() {
        let known = super::forms::of(opcode);
        let known: BTreeSet<Vec<String>> = known
            .map(|form| {
                let mut words: Vec<_> = form.iter().map(|&word| word.to_owned()).collect();
                words.sort();
                words
            })
            .collect();
        // Of those that only follow others, `carries` of `modifiers.rs` executes each; random bits have tests of their own.
        if matches!(opcode, "addc" | "subc" | "madc") {
            continue;
        }
        let known: BTreeSet<_> = known
            .into_iter()
            .filter(|form| !form.iter().any(|word| word == "rs"))
            .collect();
        assert_eq!(of_tables.get(opcode), Some(&known), "{opcode}");
    }
}
