//! What a plan promises.

mod error;
mod steps;
mod written;

pub use error::{PlanError, StepError, StepPath};

use super::{ARENA_ALIGNMENT, Buffer, BufferId, Kernel, Place, Plan};
use crate::TensorType;
use std::collections::{HashMap, HashSet};

/// The error of a step.
fn at(step: &StepPath, error: StepError) -> PlanError {
    PlanError::Step {
        step: step.clone(),
        error: Box::new(error),
    }
}

impl Plan {
    /// Checks all that a plan promises, but for what a kernel's [family](super::Family) asks of its body, which its
    /// target checks, and for the values that a kernel which works in place may need.
    ///
    /// # Errors
    /// Every promise broken; only the first kinds where later ones make no sense without them.
    pub fn check(&self) -> Result<(), Vec<PlanError>> {
        let mut errors = Vec::new();
        self.check_donations(&mut errors);
        self.check_buffers(&mut errors);
        self.check_kernels(&mut errors);
        let root = StepPath::default();
        self.check_steps(&self.schedule, &root, &mut errors);
        // What is written when, is asked only of buffers that exist and lie somewhere.
        if errors.is_empty() {
            let mut written = self.written_at_first();
            self.follow(&self.schedule, &root, &mut written, &mut errors);
            self.check_results(&written, &mut errors);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn check_donations(&self, errors: &mut Vec<PlanError>) {
        let mut donors: HashMap<usize, usize> = HashMap::new();
        for (input, declared) in self.inputs.iter().enumerate() {
            let Some(result) = declared.donate else {
                continue;
            };
            let reason = match (self.results.get(result), donors.insert(result, input)) {
                (None, _) => format!("the plan has {} result(s)", self.results.len()),
                (Some(_), Some(first)) => format!("and so is input {first}"),
                (Some(taker), None) if taker.tensor_type != declared.tensor_type => {
                    format!("but is {}, not {}", declared.tensor_type, taker.tensor_type)
                }
                (Some(_), None) => continue,
            };
            errors.push(PlanError::Donation {
                input,
                result,
                reason,
            });
        }
    }

    fn check_buffers(&self, errors: &mut Vec<PlanError>) {
        for (number, buffer) in (0..).map(BufferId).zip(&self.buffers) {
            errors.extend(self.check_buffer(number, buffer).err());
        }
    }

    fn check_buffer(&self, id: BufferId, buffer: &Buffer) -> Result<(), PlanError> {
        let place = buffer.place;
        let sized = |tensor_type: &TensorType| tensor_type.byte_size_checked();
        let found = buffer
            .value_type
            .byte_size_checked()
            .ok_or(PlanError::BufferOverflow { buffer: id })?;
        let unknown = |count| PlanError::UnknownPlace {
            buffer: id,
            place,
            count,
        };
        let available = match place {
            Place::Input(number) => {
                let input = self.inputs.get(number);
                sized(&input.ok_or_else(|| unknown(self.inputs.len()))?.tensor_type)
            }
            Place::Result(number) => {
                let result = self.results.get(number);
                sized(
                    &result
                        .ok_or_else(|| unknown(self.results.len()))?
                        .tensor_type,
                )
            }
            Place::Constant(number) => {
                let constant = self.constants.get(number);
                let constant = constant.ok_or_else(|| unknown(self.constants.len()))?;
                Some(constant.bytes().len())
            }
            Place::Arena(offset) if !offset.is_multiple_of(ARENA_ALIGNMENT) => {
                return Err(PlanError::Alignment { buffer: id, place });
            }
            Place::Arena(offset) => self.arena_bytes.checked_sub(offset),
        };
        let available = available.unwrap_or(0);
        if found > available {
            return Err(PlanError::BufferSize {
                buffer: id,
                place,
                found,
                available,
            });
        }
        Ok(())
    }

    fn check_kernels(&self, errors: &mut Vec<PlanError>) {
        let mut names: HashSet<&str> = HashSet::new();
        let mut bodies: HashMap<_, &str> = HashMap::new();
        for Kernel { name, family, body } in &self.kernels {
            let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.chars().all(identifier)
                || name.is_empty()
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                errors.push(PlanError::KernelName { name: name.clone() });
            }
            if !names.insert(name) {
                errors.push(PlanError::SameName { name: name.clone() });
            }
            if let Some(first) = bodies.insert((family, body), name) {
                errors.push(PlanError::EqualKernels {
                    first: first.to_owned(),
                    second: name.clone(),
                });
            }
        }
    }
}
