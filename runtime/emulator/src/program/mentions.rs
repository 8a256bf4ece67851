//! The names that a function's instructions mention.

use crate::ptx::{Instruction, Operand, Statement};
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
            Statement::Instruction(instruction) => names.extend(of_instruction(instruction)),
            Statement::Block(inner) => collect(inner, names),
            Statement::Label { .. }
            | Statement::Variable(_)
            | Statement::Targets { .. }
            | Statement::Prototype { .. } => {}
        }
    }
}

/// All names in an instruction's operands, in their order.
pub(super) fn of_instruction(instruction: &Instruction) -> Vec<&str> {
    let mut names = Vec::new();
    let operands = instruction.operands.iter();
    operands.for_each(|operand| mention(operand, &mut names));
    names
}

fn mention<'m>(operand: &'m Operand, names: &mut Vec<&'m str>) {
    match operand {
        Operand::Name(name)
        | Operand::Component(name, _)
        | Operand::Offset(name, _)
        | Operand::Not(name)
        | Operand::Negative(name) => {
            names.push(name);
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
