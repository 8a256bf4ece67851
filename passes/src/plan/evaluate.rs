//! Doing what a plan says, in plain memory: the oracle of plans.
//!
//! The interpreter computes each kernel's body; this module moves bytes, and checks at each step what a plan promises: that
//! buffers lie in their memory, that nothing is written that is not the plan's to write, and that a result lies over an
//! operand only where that is allowed. Memory that nobody wrote yet holds a pattern that is no boolean and, as a float,
//! NaN: who reads it gets wrong results.

use super::in_place::overwrites;
use tessera_interpreter::{EvaluateError, Value, evaluate_values};
use tessera_ir::plan::{ARENA_ALIGNMENT, Buffer, BufferId, Kernel, Place, Plan, Step};
use tessera_ir::{Module, ScaledTensor, Tensor, TensorType, Type};

/// Why a plan cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PlanFault {
    /// The inputs given are not the plan's.
    #[error("expected {expected} as input {number}, found {found}")]
    Input {
        /// Which input.
        number: usize,
        /// What the plan says of it.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The plan breaks a promise.
    #[error("{0}")]
    Broken(String),
    /// A kernel cannot be computed.
    #[error("kernel {kernel}: {cause}")]
    Kernel {
        /// Its name.
        kernel: String,
        /// Why.
        cause: Box<EvaluateError>,
    },
    /// Bytes are no tensor of the type they are read as, which happens where nobody wrote them.
    #[error("kernel {kernel} reads what was not written: {cause}")]
    Unwritten {
        /// Its name.
        kernel: String,
        /// Why.
        cause: String,
    },
}

/// The results of a plan on the given inputs.
///
/// # Errors
/// The inputs are not the plan's, or the plan is wrong.
pub fn evaluate(plan: &Plan, inputs: &[Tensor]) -> Result<Vec<Tensor>, PlanFault> {
    let mut memory = Memory::of(plan, inputs)?;
    memory.steps(&plan.schedule)?;
    let results = plan.results.iter().enumerate().map(|(number, result)| {
        let bytes = memory.slice(Place::Result(number), &result.tensor_type.clone().into())?;
        tensor(&result.tensor_type, bytes).map_err(|cause| PlanFault::Unwritten {
            kernel: format!("after the last: result {number}"),
            cause,
        })
    });
    results.collect()
}

/// What memory holds that nobody wrote.
const UNWRITTEN: u8 = 0xFF;

struct Memory<'p> {
    plan: &'p Plan,
    inputs: Vec<Vec<u8>>,
    /// The memory of results that take over no input's.
    results: Vec<Vec<u8>>,
    /// The input whose memory each result takes over.
    donors: Vec<Option<usize>>,
    arena: Vec<u8>,
}

fn broken<T>(message: String) -> Result<T, PlanFault> {
    Err(PlanFault::Broken(message))
}

fn tensor(tensor_type: &TensorType, bytes: &[u8]) -> Result<Tensor, String> {
    Tensor::new(tensor_type.element, tensor_type.shape.clone(), bytes).map_err(|e| e.to_string())
}

impl<'p> Memory<'p> {
    fn of(plan: &'p Plan, inputs: &[Tensor]) -> Result<Self, PlanFault> {
        if plan.inputs.len() != inputs.len() {
            return broken(format!(
                "expected {} inputs, found {}",
                plan.inputs.len(),
                inputs.len()
            ));
        }
        let mut donors = vec![None; plan.results.len()];
        for (number, (input, given)) in plan.inputs.iter().zip(inputs).enumerate() {
            let found = TensorType::new(given.element(), given.shape());
            if found != input.tensor_type {
                return Err(PlanFault::Input {
                    number,
                    expected: input.tensor_type.to_string(),
                    found: found.to_string(),
                });
            }
            if let Some(result) = input.donate {
                match donors.get_mut(result) {
                    Some(donor @ None) => *donor = Some(number),
                    _ => {
                        return broken(format!(
                            "input {number} is donated to result {result}, which has a donor or is not there"
                        ));
                    }
                }
            }
        }
        let sizes = plan
            .results
            .iter()
            .map(|result| result.tensor_type.byte_size());
        let memory = Self {
            plan,
            inputs: inputs.iter().map(|input| input.bytes().to_vec()).collect(),
            results: sizes.map(|size| vec![UNWRITTEN; size]).collect(),
            donors,
            arena: vec![UNWRITTEN; plan.arena_bytes],
        };
        for buffer in &plan.buffers {
            memory.slice(buffer.place, &buffer.value_type)?;
        }
        Ok(memory)
    }

    fn buffer(&self, id: BufferId) -> Result<&'p Buffer, PlanFault> {
        let buffer = self.plan.buffers.get(id.0 as usize);
        buffer.ok_or_else(|| PlanFault::Broken(format!("buffer {} is not there", id.0)))
    }

    /// The bytes of a place.
    fn slice(&self, place: Place, value_type: &Type) -> Result<&[u8], PlanFault> {
        let size = value_type.byte_size();
        let (whole, offset) = match self.memory_of(place) {
            Place::Input(number) => (self.inputs.get(number).map(Vec::as_slice), 0),
            Place::Result(number) => (self.results.get(number).map(Vec::as_slice), 0),
            Place::Constant(number) => (self.plan.constants.get(number).map(Tensor::bytes), 0),
            Place::Arena(offset) if offset.is_multiple_of(ARENA_ALIGNMENT) => {
                (Some(self.arena.as_slice()), offset)
            }
            Place::Arena(_) => (None, 0),
        };
        let bytes = whole.and_then(|whole| whole.get(offset..offset + size));
        bytes.ok_or_else(|| PlanFault::Broken(format!("{value_type} does not lie at {place:?}")))
    }

    /// The same place by one name: a result that takes over an input's memory is that input.
    fn memory_of(&self, place: Place) -> Place {
        match place {
            Place::Result(number) => match self.donors.get(number) {
                Some(Some(input)) => Place::Input(*input),
                _ => place,
            },
            _ => place,
        }
    }

    fn write(&mut self, id: BufferId, bytes: &[u8]) -> Result<(), PlanFault> {
        let Buffer { place, value_type } = self.buffer(id)?;
        self.slice(*place, value_type)?;
        let target = match self.memory_of(*place) {
            Place::Input(number) if self.plan.inputs[number].donate.is_none() => {
                return broken(format!("input {number} is written and not donated"));
            }
            Place::Constant(number) => return broken(format!("constant {number} is written")),
            Place::Input(number) => &mut self.inputs[number],
            Place::Result(number) => &mut self.results[number],
            Place::Arena(offset) => {
                self.arena[offset..offset + bytes.len()].copy_from_slice(bytes);
                return Ok(());
            }
        };
        target.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, id: BufferId, kernel: &str) -> Result<Value, PlanFault> {
        let Buffer { place, value_type } = self.buffer(id)?;
        let bytes = self.slice(*place, value_type)?;
        let value = match value_type {
            Type::Tensor(tensor_type) => tensor(tensor_type, bytes).map(Value::Tensor),
            Type::Scaled(scaled) => ScaledTensor::new(scaled.clone(), bytes)
                .map(Value::Scaled)
                .map_err(|error| error.to_string()),
        };
        value.map_err(|cause| PlanFault::Unwritten {
            kernel: kernel.to_owned(),
            cause,
        })
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), PlanFault> {
        for step in steps {
            match step {
                Step::Launch {
                    kernel,
                    operands,
                    results,
                    ..
                } => {
                    let Some(kernel) = self.plan.kernels.get(kernel.0 as usize) else {
                        return broken(format!("kernel {} is not there", kernel.0));
                    };
                    self.launch(kernel, operands, results)?;
                }
                Step::Copy {
                    source,
                    destination,
                } => self.copy(*source, *destination)?,
                Step::While {
                    condition,
                    predicate,
                    body,
                } => loop {
                    self.steps(condition)?;
                    let predicate = self.read(*predicate, "the condition of a loop")?;
                    if predicate.bytes() == [0] {
                        break;
                    }
                    self.steps(body)?;
                },
                Step::Case { index, branches } => {
                    let index = self.read(*index, "the index of a choice")?;
                    let index = index
                        .as_tensor()
                        .and_then(Tensor::values::<i32>)
                        .and_then(|values| values.first().copied());
                    let last = branches.len().saturating_sub(1);
                    let chosen = index
                        .and_then(|index| usize::try_from(index).ok())
                        .unwrap_or(last);
                    match branches.get(chosen.min(last)) {
                        Some(branch) => self.steps(branch)?,
                        None => return broken("a choice without branches".to_owned()),
                    }
                }
            }
        }
        Ok(())
    }

    fn copy(&mut self, source: BufferId, destination: BufferId) -> Result<(), PlanFault> {
        let (from, to) = (self.buffer(source)?, self.buffer(destination)?);
        if from.value_type.byte_size() != to.value_type.byte_size() {
            return broken(format!(
                "{} is copied to {}",
                from.value_type, to.value_type
            ));
        }
        if self.overlap(from, to) {
            return broken(format!("{from:?} is copied to {to:?}, over itself"));
        }
        let bytes = self.slice(from.place, &from.value_type)?.to_vec();
        self.write(destination, &bytes)
    }

    fn launch(
        &mut self,
        kernel: &Kernel,
        operands: &[BufferId],
        results: &[BufferId],
    ) -> Result<(), PlanFault> {
        self.check_types(kernel, operands, results)?;
        self.check_overlaps(kernel, operands, results)?;
        let mut inputs = Vec::with_capacity(operands.len());
        for &operand in operands {
            inputs.push(self.read(operand, &kernel.name)?);
        }
        let values = evaluate_values(&Module::default(), &kernel.body, &inputs);
        let values = values.map_err(|cause| PlanFault::Kernel {
            kernel: kernel.name.clone(),
            cause: Box::new(cause),
        })?;
        for (&result, value) in results.iter().zip(values) {
            self.write(result, value.bytes())?;
        }
        Ok(())
    }

    /// A kernel gets what its body takes and gives.
    fn check_types(
        &self,
        kernel: &Kernel,
        operands: &[BufferId],
        results: &[BufferId],
    ) -> Result<(), PlanFault> {
        let inputs: Vec<&Type> = kernel.body.inputs().iter().map(|i| &i.value_type).collect();
        let outputs: Vec<&Type> = kernel.body.result_types().collect();
        for (buffers, types) in [(operands, inputs), (results, outputs)] {
            let mut found = Vec::with_capacity(buffers.len());
            for &buffer in buffers {
                found.push(&self.buffer(buffer)?.value_type);
            }
            if found != types {
                return broken(format!(
                    "kernel {} takes {types:?}, found {found:?}",
                    kernel.name
                ));
            }
        }
        Ok(())
    }

    /// Results lie over nothing but operands that they may be written over.
    fn check_overlaps(
        &self,
        kernel: &Kernel,
        operands: &[BufferId],
        results: &[BufferId],
    ) -> Result<(), PlanFault> {
        let allowed = overwrites(&kernel.body, kernel.family);
        for (number, &result) in results.iter().enumerate() {
            let to = self.buffer(result)?;
            for &other in &results[..number] {
                if self.overlap(to, self.buffer(other)?) {
                    return broken(format!("two results of kernel {} overlap", kernel.name));
                }
            }
            for (operand_number, &operand) in operands.iter().enumerate() {
                let from = self.buffer(operand)?;
                let is_allowed = self.memory_of(from.place) == self.memory_of(to.place)
                    && allowed
                        .iter()
                        .any(|o| o.operand == operand_number && o.result == number);
                if self.overlap(from, to) && !is_allowed {
                    return broken(format!(
                        "result {number} of kernel {} lies over operand {operand_number}, which the kernel still reads",
                        kernel.name
                    ));
                }
            }
        }
        Ok(())
    }

    fn overlap(&self, a: &Buffer, b: &Buffer) -> bool {
        let (size_a, size_b) = (a.value_type.byte_size(), b.value_type.byte_size());
        if size_a == 0 || size_b == 0 {
            return false;
        }
        match (self.memory_of(a.place), self.memory_of(b.place)) {
            (Place::Arena(a), Place::Arena(b)) => a < b + size_b && b < a + size_a,
            (a, b) => a == b,
        }
    }
}
