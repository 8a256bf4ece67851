//! The steps in time: what is read must have been written.

use super::{PlanError, StepError, StepPath, at};
use crate::plan::memory::{Memory, RangeMap};
use crate::plan::{Buffer, BufferId, Place, Plan, Step};
use std::collections::BTreeMap;
use std::ops::Range;

impl Plan {
    pub(super) fn written_at_first(&self) -> Written {
        let mut written = Written::default();
        for (number, input) in self.inputs.iter().enumerate() {
            let bytes = 0..input.tensor_type.byte_size_checked().unwrap_or(0);
            written.add(Memory::Input(number), bytes);
        }
        for (number, constant) in self.constants.iter().enumerate() {
            written.add(Memory::Constant(number), 0..constant.bytes().len());
        }
        written
    }

    /// Follows the steps in time: what is read must have been written.
    pub(super) fn follow(
        &self,
        steps: &[Step],
        path: &StepPath,
        written: &mut Written,
        errors: &mut Vec<PlanError>,
    ) {
        for (number, step) in steps.iter().enumerate() {
            let path = path.then(format_args!("step {number}"));
            match step {
                Step::Launch { .. } | Step::Copy { .. } => {
                    for buffer in step.reads() {
                        self.read(buffer, &path, written, errors);
                    }
                    for buffer in step.writes() {
                        let bytes = self.bytes(&self.buffers[buffer.0 as usize]);
                        written.add(bytes.memory, bytes.range);
                    }
                }
                Step::While {
                    condition,
                    predicate,
                    body,
                } => {
                    self.follow(condition, &path.then("condition"), written, errors);
                    self.read(*predicate, &path, written, errors);
                    // The body may not be done at all, so what it writes is there only inside.
                    let mut inside = written.clone();
                    self.follow(body, &path.then("body"), &mut inside, errors);
                }
                Step::Case { index, branches } => {
                    self.read(*index, &path, written, errors);
                    let mut after: Option<Written> = None;
                    for (number, branch) in branches.iter().enumerate() {
                        let path = path.then(format_args!("branch {number}"));
                        let mut inside = written.clone();
                        self.follow(branch, &path, &mut inside, errors);
                        after = Some(match after {
                            Some(others) => others.intersection(&inside),
                            None => inside,
                        });
                    }
                    if let Some(after) = after {
                        *written = after;
                    }
                }
            }
        }
    }

    fn read(
        &self,
        buffer: BufferId,
        path: &StepPath,
        written: &Written,
        errors: &mut Vec<PlanError>,
    ) {
        let bytes = self.bytes(&self.buffers[buffer.0 as usize]);
        if !written.covers(bytes.memory, &bytes.range) {
            errors.push(at(path, StepError::ReadBeforeWrite { buffer }));
        }
    }

    pub(super) fn check_results(&self, written: &Written, errors: &mut Vec<PlanError>) {
        for (number, result) in self.results.iter().enumerate() {
            let whole = self.bytes(&Buffer {
                value_type: result.tensor_type.clone().into(),
                place: Place::Result(number),
            });
            if !written.covers(whole.memory, &whole.range) {
                errors.push(PlanError::ResultNotWritten { result: number });
            }
        }
    }
}

/// The bytes that hold something.
#[derive(Clone, Default)]
pub(super) struct Written(BTreeMap<Memory, RangeMap<()>>);

impl Written {
    fn add(&mut self, memory: Memory, range: Range<usize>) {
        self.0.entry(memory).or_default().change(range, |()| {});
    }

    fn covers(&self, memory: Memory, range: &Range<usize>) -> bool {
        range.is_empty() || self.0.get(&memory).is_some_and(|set| set.covers(range))
    }

    fn intersection(&self, other: &Self) -> Self {
        let sets = self.0.iter().filter_map(|(memory, set)| {
            let both = set.intersection(other.0.get(memory)?);
            Some((*memory, both))
        });
        Self(sets.collect())
    }
}
