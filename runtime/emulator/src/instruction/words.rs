//! An instruction being decoded: its modifiers are taken one by one, and what is left over is refused.

use super::number::in_format;
use super::operands;
use super::{Action, Compute, Location, Source};
use crate::arithmetic::Float;
use crate::machine::lanes_of;
use crate::program::{Register, Scope};
use crate::ptx::{Instruction, Operand};

/// Why an instruction cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Opcode and modifiers as they are written.
    pub instruction: String,
    /// A clause whose subject is the instruction: `is not modelled`.
    pub reason: String,
}

/// An instruction and what of it is not understood yet.
pub(crate) struct Words<'i> {
    pub instruction: &'i Instruction,
    pub scope: &'i Scope<'i>,
    left: Vec<&'i str>,
}

impl<'i> Words<'i> {
    pub fn new(instruction: &'i Instruction, scope: &'i Scope<'i>) -> Self {
        let left = instruction.modifiers.iter().map(String::as_str).collect();
        Self {
            instruction,
            scope,
            left,
        }
    }

    /// The bytes that anybody uses of what it loads, as bits.
    pub fn used_bytes(&self) -> u32 {
        self.instruction.used_bytes
    }

    pub fn opcode(&self) -> &'i str {
        &self.instruction.opcode
    }

    /// That the instruction cannot be executed, and why.
    pub fn refuse(&self, reason: impl Into<String>) -> Refusal {
        Refusal {
            instruction: self.instruction.name(),
            reason: reason.into(),
        }
    }

    /// Takes a modifier if it is there, wherever it stands.
    pub fn has(&mut self, word: &str) -> bool {
        let found = self.left.iter().position(|own| *own == word);
        found.map(|place| self.left.remove(place)).is_some()
    }

    /// Takes the first modifier that means something.
    pub fn choice<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (place, found) = self
            .left
            .iter()
            .enumerate()
            .find_map(|(place, word)| Some((place, meaning(word)?)))?;
        self.left.remove(place);
        Some(found)
    }

    /// As [`choice`](Self::choice), where one must be there.
    pub fn needed<T>(
        &mut self,
        what: &str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Refusal> {
        self.choice(meaning)
            .ok_or_else(|| self.refuse(format!("has no {what} that is modelled")))
    }

    /// Takes the modifiers that say how caches are to be used.
    pub fn skip_cache_hints(&mut self) {
        self.left.retain(|word| {
            let is_hint = matches!(
                *word,
                "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc" | "L1::evict_normal"
            ) || word.starts_with("L1::")
                || (word.starts_with("L2::") && *word != "L2::cache_hint");
            !is_hint
        });
    }

    /// That nothing is left.
    pub fn finish(&self) -> Result<(), Refusal> {
        match self.left.first() {
            Some(word) => {
                Err(self.refuse(format!("has the modifier .{word}, which is not modelled")))
            }
            None => Ok(()),
        }
    }

    pub fn operands(&self) -> &'i [Operand] {
        &self.instruction.operands
    }

    /// That the number of operands is one of these.
    pub fn counted(&self, counts: &[usize]) -> Result<usize, Refusal> {
        let found = self.operands().len();
        if counts.contains(&found) {
            return Ok(found);
        }
        let counts: Vec<_> = counts.iter().map(usize::to_string).collect();
        Err(self.refuse(format!(
            "takes {} operands, not {found}",
            counts.join(" or ")
        )))
    }

    fn operand(&self, place: usize) -> Result<&'i Operand, Refusal> {
        self.operands()
            .get(place)
            .ok_or_else(|| self.refuse(format!("has no operand {}", place + 1)))
    }

    /// The operand as a value to read.
    pub fn source(&self, place: usize) -> Result<Source, Refusal> {
        operands::source(self.scope, self.operand(place)?).map_err(|reason| self.refuse(reason))
    }

    pub fn destination(&self, place: usize) -> Result<Option<Register>, Refusal> {
        operands::destination(self.scope, self.operand(place)?)
            .map_err(|reason| self.refuse(reason))
    }

    /// Registers of `{…}`, or one.
    pub fn destinations(&self, place: usize) -> Result<Vec<Option<Register>>, Refusal> {
        match self.operand(place)? {
            Operand::Vector(elements) => elements
                .iter()
                .map(|one| operands::destination(self.scope, one))
                .collect::<Result<_, _>>(),
            Operand::Pair(first, second) => [first, second]
                .into_iter()
                .map(|one| operands::destination(self.scope, one))
                .collect(),
            one => operands::destinations(self.scope, one),
        }
        .map_err(|reason| self.refuse(reason))
    }

    /// Values of `{…}`, or one.
    pub fn sources(&self, place: usize) -> Result<Vec<Source>, Refusal> {
        match self.operand(place)? {
            Operand::Vector(elements) => elements
                .iter()
                .map(|one| operands::source(self.scope, one))
                .collect::<Result<_, _>>(),
            one => operands::sources(self.scope, one),
        }
        .map_err(|reason| self.refuse(reason))
    }

    pub fn location(&self, place: usize) -> Result<Location, Refusal> {
        operands::location(self.scope, self.operand(place)?).map_err(|reason| self.refuse(reason))
    }

    /// The address of a tensor map, and coordinates: `[map, {x, y}]`.
    pub fn tensor(&self, place: usize) -> Result<(Location, Vec<Source>), Refusal> {
        operands::tensor(self.scope, self.operand(place)?).map_err(|reason| self.refuse(reason))
    }

    /// An integer that is written as such.
    pub fn immediate(&self, place: usize) -> Result<u64, Refusal> {
        match self.source(place)? {
            Source::Value(value) => Ok(value),
            _ => Err(self.refuse(format!("needs a number as operand {}", place + 1))),
        }
    }

    /// Bits of the register that is the operand.
    pub fn register_bits(&self, register: Option<Register>) -> u32 {
        register.map_or(64, |register| self.scope.bits(register))
    }

    /// The first operand is what a function of the `N` operands behind it gives.
    pub fn compute<const N: usize>(
        &self,
        function: impl Fn([u64; N]) -> u64 + Send + Sync + 'static,
    ) -> Result<Action, Refusal> {
        self.compute_in(Float::F64, function)
    }

    /// As [`compute`](Self::compute), of operands that are numbers of a format where they are written as such.
    pub fn compute_in<const N: usize>(
        &self,
        format: Float,
        function: impl Fn([u64; N]) -> u64 + Send + Sync + 'static,
    ) -> Result<Action, Refusal> {
        self.counted(&[N + 1])?;
        let source = |place| Ok(in_format(self.source(place)?, format));
        Ok(Action::Compute(Compute {
            parts: 0,
            function: Box::new(move |active, sources, results| {
                let [result] = results else {
                    return;
                };
                let values = &mut result.values;
                let of = |lane: usize| function(std::array::from_fn(|place| sources[place][lane]));
                if active == u32::MAX {
                    // A loop without a condition, which may become one of vectors.
                    for (lane, value) in values.iter_mut().enumerate() {
                        *value = of(lane);
                    }
                } else {
                    for lane in lanes_of(active) {
                        values[lane as usize] = of(lane as usize);
                    }
                }
            }),
            sources: (1..=N).map(source).collect::<Result<_, _>>()?,
            destinations: vec![self.destination(0)?],
        }))
    }
}
