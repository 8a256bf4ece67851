//! Copies that happen at once become copies one after another.

use super::coalesce::Coalescing;
use super::live::{Live, written};
use super::program::{Copy, Instruction, Program, View};

/// Puts the copies of every instruction in an order in which each source is read before it is overwritten. Copies from a
/// place to itself go; where copies go round in a circle, one source is saved in a temporary first.
pub(super) fn sequence(program: &mut Program, coalescing: &mut Coalescing) {
    let mut instructions = std::mem::take(&mut program.instructions);
    sequence_all(&mut instructions, coalescing);
    program.instructions = instructions;
}

fn sequence_all(instructions: &mut Vec<Instruction>, coalescing: &mut Coalescing) {
    for instruction in instructions.iter_mut() {
        match instruction {
            Instruction::Launch { .. } => {}
            Instruction::Copies { copies, position } => {
                *copies = sequenced(std::mem::take(copies), *position, coalescing);
            }
            Instruction::While {
                condition, body, ..
            } => {
                sequence_all(condition, coalescing);
                sequence_all(body, coalescing);
            }
            Instruction::Case { branches, .. } => {
                for branch in branches {
                    sequence_all(branch, coalescing);
                }
            }
        }
    }
    instructions.retain(|i| !matches!(i, Instruction::Copies { copies, .. } if copies.is_empty()));
}

fn sequenced(mut copies: Vec<Copy>, position: usize, coalescing: &mut Coalescing) -> Vec<Copy> {
    let place = |coalescing: &Coalescing, view: &View| coalescing.class_number(view.variable);
    copies.retain(|copy| {
        copy.source.value_type.byte_size() > 0
            && place(coalescing, &copy.source) != place(coalescing, &copy.destination)
    });
    let mut ordered = Vec::with_capacity(copies.len());
    while !copies.is_empty() {
        // A place that no other copy still reads can be written.
        let free = copies.iter().position(|copy| {
            let destination = place(coalescing, &copy.destination);
            !copies
                .iter()
                .any(|other| place(coalescing, &other.source) == destination)
        });
        if let Some(free) = free {
            ordered.push(copies.remove(free));
            continue;
        }
        // Every destination is read by another copy: they go round. Save the first source.
        let mut live = Live::default();
        live.add(written(position) - 1, written(position));
        let source = copies[0].source.clone();
        let saved = View {
            variable: coalescing.add_temporary(source.value_type.byte_size(), &live),
            value_type: source.value_type.clone(),
        };
        let overwritten = place(coalescing, &source);
        for copy in &mut copies {
            if place(coalescing, &copy.source) == overwritten {
                copy.source.variable = saved.variable;
            }
        }
        ordered.push(Copy {
            source,
            destination: saved,
        });
    }
    ordered
}
