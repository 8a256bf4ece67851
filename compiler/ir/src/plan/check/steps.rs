//! Each step by itself.

use super::{PlanError, StepError, StepPath, at};
use crate::plan::{Buffer, BufferId, Kernel, KernelId, Place, Plan, Step};
use crate::{TensorType, Type};
use tessera_numerics::ElementType;

impl Plan {
    pub(super) fn check_steps(&self, steps: &[Step], path: &StepPath, errors: &mut Vec<PlanError>) {
        for (number, step) in steps.iter().enumerate() {
            let path = path.then(format_args!("step {number}"));
            if let Err(error) = self.check_step(step) {
                errors.push(at(&path, error));
            }
            match step {
                Step::Launch { .. } | Step::Copy { .. } => {}
                Step::While {
                    condition, body, ..
                } => {
                    self.check_steps(condition, &path.then("condition"), errors);
                    self.check_steps(body, &path.then("body"), errors);
                }
                Step::Case { branches, .. } => {
                    for (number, branch) in branches.iter().enumerate() {
                        let path = path.then(format_args!("branch {number}"));
                        self.check_steps(branch, &path, errors);
                    }
                }
            }
        }
    }

    /// One step by itself, without those inside it.
    fn check_step(&self, step: &Step) -> Result<(), StepError> {
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
                ..
            } => self.check_launch(*kernel, operands, results),
            Step::Copy {
                source,
                destination,
            } => self.check_copy(*source, *destination),
            Step::While { predicate, .. } => self.check_control(*predicate, ElementType::I1),
            Step::Case { index, branches } => {
                if branches.is_empty() {
                    return Err(StepError::NoBranches);
                }
                self.check_control(*index, ElementType::I32)
            }
        }
    }

    fn buffer(&self, id: BufferId) -> Result<&Buffer, StepError> {
        let buffer = self.buffers.get(id.0 as usize);
        buffer.ok_or(StepError::UnknownBuffer {
            buffer: id,
            count: self.buffers.len(),
        })
    }

    fn check_control(&self, id: BufferId, element: ElementType) -> Result<(), StepError> {
        let found = &self.buffer(id)?.value_type;
        let expected = Type::Tensor(TensorType::scalar(element));
        if *found == expected {
            return Ok(());
        }
        Err(StepError::ControlType {
            expected: Box::new(expected),
            buffer: id,
            found: Box::new(found.clone()),
        })
    }

    fn check_launch(
        &self,
        kernel: KernelId,
        operands: &[BufferId],
        results: &[BufferId],
    ) -> Result<(), StepError> {
        let found = self.kernels.get(kernel.0 as usize);
        let Kernel { name, body, .. } = found.ok_or(StepError::UnknownKernel {
            kernel,
            count: self.kernels.len(),
        })?;
        let inputs: Vec<&Type> = body.inputs().iter().map(|i| &i.value_type).collect();
        let outputs: Vec<&Type> = body.result_types().collect();
        self.check_types("operand", name, &inputs, operands)?;
        self.check_types("result", name, &outputs, results)?;
        for (number, &result) in results.iter().enumerate() {
            self.check_writable(result)?;
            let bytes = self.bytes(self.buffer(result)?);
            for &operand in operands {
                let read = self.bytes(self.buffer(operand)?);
                if bytes.overlaps(&read) && bytes.range.start != read.range.start {
                    return Err(StepError::LaunchOverlap { operand, result });
                }
            }
            for &other in &results[..number] {
                if bytes.overlaps(&self.bytes(self.buffer(other)?)) {
                    return Err(StepError::ResultOverlap {
                        first: other,
                        second: result,
                    });
                }
            }
        }
        Ok(())
    }

    fn check_types(
        &self,
        role: &'static str,
        kernel: &str,
        expected: &[&Type],
        buffers: &[BufferId],
    ) -> Result<(), StepError> {
        if expected.len() != buffers.len() {
            return Err(StepError::LaunchCount {
                kernel: kernel.to_owned(),
                role,
                expected: expected.len(),
                found: buffers.len(),
            });
        }
        for (number, (&expected, &buffer)) in expected.iter().zip(buffers).enumerate() {
            let found = &self.buffer(buffer)?.value_type;
            if found != expected {
                return Err(StepError::LaunchType {
                    kernel: kernel.to_owned(),
                    role,
                    number,
                    expected: Box::new(expected.clone()),
                    buffer,
                    found: Box::new(found.clone()),
                });
            }
        }
        Ok(())
    }

    fn check_copy(&self, source: BufferId, destination: BufferId) -> Result<(), StepError> {
        let from = self.bytes(self.buffer(source)?);
        let to = self.bytes(self.buffer(destination)?);
        if from.range.len() != to.range.len() {
            return Err(StepError::CopySize {
                source_buffer: source,
                destination,
                expected: from.range.len(),
                found: to.range.len(),
            });
        }
        if from != to && from.overlaps(&to) {
            return Err(StepError::CopyOverlap {
                source_buffer: source,
                destination,
            });
        }
        self.check_writable(destination)
    }

    fn check_writable(&self, id: BufferId) -> Result<(), StepError> {
        let place = self.buffer(id)?.place;
        let reason = match place {
            Place::Constant(_) => "is never written",
            Place::Input(number)
                if self
                    .inputs
                    .get(number)
                    .is_some_and(|input| input.donate.is_none()) =>
            {
                "is not donated"
            }
            Place::Input(_) | Place::Result(_) | Place::Arena(_) => return Ok(()),
        };
        Err(StepError::WriteProtected {
            buffer: id,
            place,
            reason,
        })
    }
}
