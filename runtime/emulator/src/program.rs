//! A module decoded: names are slots and addresses, labels are indices, and each instruction is what it does.

mod behind;
mod decode;
mod layout;
mod mentions;
mod scope;

pub use decode::DecodeError;
pub(crate) use scope::{Scope, Symbol};

use crate::instruction::Action;
use crate::ptx::{self, Module, Place, ScalarType};
use behind::Behind;
use std::collections::HashMap;

/// A module that can be executed.
pub struct Program {
    pub(crate) functions: Vec<Function>,
    names: HashMap<String, usize>,
    /// The numbers of the variables of module scope among `globals`.
    variables: HashMap<String, usize>,
    /// The module's variables in global and constant memory, in their order.
    pub(crate) globals: Vec<Global>,
    /// Of `.target`: the architecture first.
    pub(crate) target: Vec<String>,
    /// Whether floating-point numbers are the integers of the ring mode.
    pub(crate) is_ring: bool,
}

/// A variable of module scope in global or constant memory.
pub(crate) struct Global {
    pub bytes: u64,
    pub alignment: u64,
    pub initializer: Option<ptx::Initializer>,
    pub element: ScalarType,
}

/// A kernel or function.
pub(crate) struct Function {
    pub name: String,
    pub is_kernel: bool,
    /// Whether the module has its body.
    pub is_defined: bool,
    /// Registers of a lane. Predicates are registers too, of 0 and 1.
    pub registers: usize,
    /// The steps, in their order; falling off their end is `ret`.
    pub steps: Vec<Step>,
    behind: Behind,
    /// What it takes and returns, in their order.
    pub parameters: Vec<Formal>,
    pub results: Vec<Formal>,
    /// Bytes of the parameters and of `.param` variables declared in the body.
    pub parameter_bytes: u64,
    /// Bytes of its variables in local memory.
    pub local_bytes: u64,
    /// Bytes of the shared variables that it mentions.
    pub static_shared: u64,
    /// Where shared memory that is given at launch begins.
    pub dynamic_shared: u64,
    /// `.reqntid` and the like.
    pub directives: Vec<(String, Vec<u64>)>,
}

/// A parameter or result of a function.
#[derive(Clone, Debug)]
pub(crate) enum Formal {
    /// In parameter memory.
    Memory { offset: u64, bytes: u64 },
    /// In registers, as functions of PTX's first versions have them.
    Register(Register),
}

/// A register's number in its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register(pub u32);

/// One instruction of a function.
pub(crate) struct Step {
    pub place: Place,
    /// The register that says which lanes execute it, and whether they do where it is false.
    pub guard: Option<(Register, bool)>,
    pub action: Action,
}

impl Program {
    /// Decodes a module. An instruction that is not known is an error when it is reached, not here.
    ///
    /// # Errors
    /// The module is none that an assembler would take: names are declared twice or not at all, or its target does not have
    /// one of its instructions.
    pub fn new(module: &Module) -> Result<Self, DecodeError> {
        decode::program(module, false, true)
    }

    /// As [`new`](Self::new), whose instructions are errors when they are reached, whatever they lack.
    #[cfg(test)]
    pub(crate) fn unchecked(module: &Module) -> Self {
        decode::program(module, false, false).expect("a module")
    }

    /// As [`new`](Self::new), in the *ring mode*: floating-point numbers are taken as integers mod 2^k, k the bits of their format,
    /// so that any order and grouping of sums and products gives the same bits, and wrong data flow gives others.
    ///
    /// 0, 1 and −1 are those of the ring, sums, differences, products and products of matrices too; `ex2` makes products of
    /// sums, `rcp` inverts odd numbers; other functions are arbitrary one-to-one ones. Inputs need no encoding: their bit
    /// patterns are read as integers. Outputs are bit patterns, to be compared with those of another kernel in this mode and
    /// with nothing else.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_ring(module: &Module) -> Result<Self, DecodeError> {
        decode::program(module, true, true)
    }

    /// The names of the kernels, in their order.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.functions
            .iter()
            .filter(|function| function.is_kernel)
            .map(|function| &function.name[..])
    }

    /// The bytes of each parameter of a kernel; `None` where no kernel has that name.
    pub fn parameters(&self, kernel: &str) -> Option<Vec<u64>> {
        let mut kernels = self.functions.iter().filter(|function| function.is_kernel);
        let function = kernels.find(|function| function.name == kernel)?;
        let bytes = function.parameters.iter().map(|formal| match *formal {
            Formal::Memory { bytes, .. } => bytes,
            Formal::Register(_) => 0,
        });
        Some(bytes.collect())
    }

    /// The threads of a CTA that a kernel must be launched with, by `.reqntid`.
    pub fn required_block(&self, kernel: &str) -> Option<[u32; 3]> {
        self.extent(kernel, "reqntid")
    }

    /// The CTAs of a cluster that a kernel must be launched with, by `.reqnctapercluster`.
    pub fn required_cluster(&self, kernel: &str) -> Option<[u32; 3]> {
        self.extent(kernel, "reqnctapercluster")
    }

    /// The numbers of a kernel's directive along x, y and z; those that it leaves out are 1.
    fn extent(&self, kernel: &str, directive: &str) -> Option<[u32; 3]> {
        let function = &self.functions[self.index(kernel)?];
        let mut directives = function.directives.iter();
        let (_, numbers) = directives.find(|(name, _)| name == directive)?;
        let number = |axis| {
            numbers
                .get(axis)
                .map_or(Some(1), |own| u32::try_from(*own).ok())
        };
        Some([number(0)?, number(1)?, number(2)?])
    }

    /// What `.target` says: the architecture first.
    pub fn target(&self) -> &[String] {
        &self.target
    }

    /// The number of the architecture that the module is for: 90 of `sm_90a`.
    pub(crate) fn architecture(&self) -> u32 {
        let digits = self
            .target
            .first()
            .and_then(|target| target.strip_prefix("sm_"));
        digits.map_or(0, |digits| {
            digits
                .trim_end_matches(char::is_alphabetic)
                .parse()
                .unwrap_or(0)
        })
    }

    /// The address of a variable in global memory, or what stands for a function.
    pub(crate) fn address(&self, name: &str, addresses: &[u64]) -> Option<u64> {
        match self.variables.get(name) {
            Some(&index) => addresses.get(index).copied(),
            None => Some(self.index(name)? as u64 + 1),
        }
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }
}
