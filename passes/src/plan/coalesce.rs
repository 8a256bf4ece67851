//! Variables that can lie in one place become one, so that the copies between them become nothing.
//!
//! Two variables can where their lives do not overlap. There are two exceptions, each at one moment: when the one is
//! copied to the other, and when a kernel writes the one over the other in a way that is allowed (`in_place`).

use super::PlanOptions;
use super::live::{Live, written};
use super::program::{Fixed, Instruction, Program, Variable, View};
use std::collections::HashMap;

/// Which variables are one.
#[derive(Debug)]
pub(super) struct Coalescing {
    /// The class of each variable.
    class_of: Vec<usize>,
    classes: Vec<Class>,
}

/// Variables in one place.
#[derive(Clone, Debug)]
pub(super) struct Class {
    members: Vec<Variable>,
    pub(super) bytes: usize,
    pub(super) memory: Memory,
    pub(super) live: Live,
}

/// Where a class lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Anywhere.
    Arena,
    /// Where a result lies.
    Result(usize),
    /// Where nobody may write: an input that is not donated, a constant.
    ReadOnly,
}

/// Two variables that had better be one.
struct Wish {
    /// Lower ones are granted first.
    rank: Rank,
    a: Variable,
    b: Variable,
}

/// Why two variables had better be one, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A kernel would copy the whole of what it updates a part of.
    Update,
    /// A loop or branch would copy.
    Control,
    /// A result would be copied in the end.
    Result,
    /// Less memory is touched.
    Overwrite,
}

/// At which moments two variables may both be in use and yet lie in one place.
type Exceptions = HashMap<(Variable, Variable), Vec<usize>>;

impl Coalescing {
    /// Makes variables one, as far as they can be.
    pub(super) fn of(program: &Program, options: PlanOptions) -> Self {
        let mut coalescing = Self::separate(program);
        let mut wishes = Wishes {
            program,
            options,
            wishes: Vec::new(),
            exceptions: Exceptions::new(),
        };
        wishes.collect(&program.instructions);
        // Stable: equal ranks in the program's order.
        wishes.wishes.sort_by_key(|wish| wish.rank);
        for wish in &wishes.wishes {
            coalescing.grant(program, wish, &wishes.exceptions);
        }
        coalescing
    }

    /// Each variable by itself, but those that are one memory from the start.
    fn separate(program: &Program) -> Self {
        let mut coalescing = Self {
            class_of: Vec::new(),
            classes: Vec::new(),
        };
        let mut donated: HashMap<usize, usize> = HashMap::new();
        for info in &program.variables {
            let variable = Variable(coalescing.class_of.len());
            let memory = match info.fixed {
                None => Memory::Arena,
                Some(Fixed::Input(_) | Fixed::Constant(_)) => Memory::ReadOnly,
                Some(Fixed::Result(result) | Fixed::Donated { result, .. }) => {
                    Memory::Result(result)
                }
            };
            let Memory::Result(result) = memory else {
                coalescing.add(variable, info.bytes, memory, &info.live);
                continue;
            };
            match donated.get(&result) {
                Some(&class) => {
                    coalescing.class_of.push(class);
                    coalescing.classes[class].members.push(variable);
                    coalescing.classes[class].live.extend(&info.live);
                }
                None => {
                    let class = coalescing.add(variable, info.bytes, memory, &info.live);
                    donated.insert(result, class);
                }
            }
        }
        coalescing
    }

    fn add(&mut self, variable: Variable, bytes: usize, memory: Memory, live: &Live) -> usize {
        self.class_of.push(self.classes.len());
        self.classes.push(Class {
            members: vec![variable],
            bytes,
            memory,
            live: live.clone(),
        });
        self.classes.len() - 1
    }

    /// Adds a variable in the arena that lives at those times.
    pub(super) fn add_temporary(&mut self, bytes: usize, live: &Live) -> Variable {
        let variable = Variable(self.class_of.len());
        self.add(variable, bytes, Memory::Arena, live);
        variable
    }

    /// The number of a variable's class.
    pub(super) fn class_number(&self, variable: Variable) -> usize {
        self.class_of[variable.0]
    }

    /// The classes; those that became part of another are empty.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn grant(&mut self, program: &Program, wish: &Wish, exceptions: &Exceptions) {
        let (mut a, mut b) = (self.class_of[wish.a.0], self.class_of[wish.b.0]);
        if a == b {
            return;
        }
        if self.classes[a].memory == Memory::Arena {
            (a, b) = (b, a);
        }
        let (first, second) = (&self.classes[a], &self.classes[b]);
        let is_possible = first.bytes == second.bytes
            && second.memory == Memory::Arena
            && first.memory != Memory::ReadOnly
            && !interfere(program, first, second, exceptions);
        if !is_possible {
            return;
        }
        let moved = std::mem::take(&mut self.classes[b].members);
        let live = std::mem::take(&mut self.classes[b].live);
        self.classes[b].bytes = 0;
        for &member in &moved {
            self.class_of[member.0] = a;
        }
        self.classes[a].members.extend(moved);
        self.classes[a].live.extend(&live);
    }
}

/// Whether some two variables of the classes are in use at one time, exceptions aside.
fn interfere(program: &Program, a: &Class, b: &Class, exceptions: &Exceptions) -> bool {
    if !a.live.overlaps(&b.live, &[]) {
        return false;
    }
    a.members.iter().any(|&x| {
        b.members.iter().any(|&y| {
            let but = exceptions.get(&(x.min(y), x.max(y)));
            let but = but.map_or(&[][..], Vec::as_slice);
            program.info(x).live.overlaps(&program.info(y).live, but)
        })
    })
}

/// What is wished for, and what is allowed.
struct Wishes<'p> {
    program: &'p Program,
    options: PlanOptions,
    wishes: Vec<Wish>,
    exceptions: Exceptions,
}

impl Wishes<'_> {
    fn add(&mut self, rank: Rank, a: Variable, b: Variable, position: usize) {
        let times = self.exceptions.entry((a.min(b), a.max(b))).or_default();
        times.push(written(position));
        self.wishes.push(Wish { rank, a, b });
    }

    fn collect(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            match instruction {
                Instruction::Launch {
                    kernel,
                    operands,
                    results,
                    position,
                    ..
                } => {
                    if self.options.in_place {
                        self.collect_launch(kernel.0 as usize, operands, results, *position);
                    }
                }
                Instruction::Copies { copies, position } => {
                    for copy in copies {
                        let destination = copy.destination.variable;
                        let fixed = self.program.info(destination).fixed;
                        let rank = match fixed {
                            Some(Fixed::Result(_)) if self.options.in_place => Rank::Result,
                            Some(Fixed::Result(_)) => continue,
                            _ => Rank::Control,
                        };
                        self.add(rank, destination, copy.source.variable, *position);
                    }
                }
                Instruction::While {
                    condition, body, ..
                } => {
                    self.collect(condition);
                    self.collect(body);
                }
                Instruction::Case { branches, .. } => {
                    for branch in branches {
                        self.collect(branch);
                    }
                }
            }
        }
    }

    fn collect_launch(
        &mut self,
        kernel: usize,
        operands: &[View],
        results: &[View],
        position: usize,
    ) {
        let program = self.program;
        for overwrite in &program.overwrites[kernel] {
            let (operand, result) = (&operands[overwrite.operand], &results[overwrite.result]);
            if all_may_be_overwritten(program, kernel, operand, overwrite.result, operands) {
                let rank = if overwrite.is_update {
                    Rank::Update
                } else {
                    Rank::Overwrite
                };
                self.add(rank, operand.variable, result.variable, position);
            }
        }
    }
}

/// Whether the result may overwrite the operand wherever the kernel is given its variable.
fn all_may_be_overwritten(
    program: &Program,
    kernel: usize,
    operand: &View,
    result: usize,
    operands: &[View],
) -> bool {
    let same = operands
        .iter()
        .enumerate()
        .filter(|(_, o)| o.variable == operand.variable);
    let allowed = &program.overwrites[kernel];
    let mut numbers = same.map(|(number, _)| number);
    let updates = |number: usize| {
        allowed
            .iter()
            .any(|o| o.operand == number && o.result == result)
    };
    numbers.all(updates)
}
