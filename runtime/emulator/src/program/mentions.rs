//! The names that a function's instructions mention.

use crate::ptx::{Operand, Statement};
use std::collections::HashSet;

/// All names in a body, registers and labels among them.
pub(super) fn mentions(body: &[Statement]) -> HashSet<&str> {
    let mut names = HashSet::new();
    collect(body, &mut names);
    names
}

fn collect<'m>(body: &'m [Statement], names: &mut HashSet<&'m str>) {
    for statement in body {
        match statement {
            Statement::Instruction(instruction) => {
                instruction
                    .operands
                    .iter()
                    .for_each(|operand| mention(operand, names));
            }
            Statement::Block(inner) => collect(inner, names),
            Statement::Label(_)
            | Statement::Variable(_)
            | Statement::Targets { .. }
            | Statement::Prototype { .. } => {}
        }
    }
}

fn mention<'m>(operand: &'m Operand, names: &mut HashSet<&'m str>) {
    match operand {
        Operand::Name(name)
        | Operand::Component(name, _)
        | Operand::Offset(name, _)
        | Operand::Not(name)
        | Operand::Negative(name) => {
            names.insert(name);
        }
        Operand::Pair(one, other) => {
            mention(one, names);
            mention(other, names);
        }
        Operand::Literal(_) | Operand::Sink => {}
        Operand::Address(address) => {
            mention(&address.base, names);
            let coordinates = address.coordinates.iter();
            coordinates.for_each(|operand| mention(operand, names));
        }
        Operand::Vector(all) | Operand::List(all) => {
            all.iter().for_each(|operand| mention(operand, names));
        }
    }
}
