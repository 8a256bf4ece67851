//! What names mean at a place in a function.

use super::Register;
use std::collections::HashMap;

/// What a name means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Symbol {
    /// Registers one behind the other: of a scalar one.
    Register { first: Register, count: u32 },
    /// A variable in shared memory.
    Shared { offset: u64 },
    /// A variable in the function's local memory.
    Local { offset: u64 },
    /// A parameter, a result, or a variable for a call.
    Parameter { offset: u64, bytes: u64 },
    /// A variable of the module in global or constant memory.
    Global { index: usize },
    /// A kernel or function.
    Function { index: usize },
    /// A place in the function.
    Label { step: usize },
    /// A list of labels.
    Targets(Vec<String>),
    /// What an indirect call returns and takes, which the callee says as well.
    Prototype,
}

/// The names of a block and of all around it.
pub(crate) struct Scope<'p> {
    around: Option<&'p Scope<'p>>,
    names: HashMap<String, Symbol>,
    /// Bits of the function's registers so far.
    widths: &'p [u8],
    condition_code: Register,
    /// Of `.target`, the architecture.
    target: &'p str,
    /// Whether floats are the ring's.
    is_ring: bool,
}

impl<'p> Scope<'p> {
    pub fn new(
        around: Option<&'p Scope<'p>>,
        names: HashMap<String, Symbol>,
        widths: &'p [u8],
        condition_code: Register,
        target: &'p str,
        is_ring: bool,
    ) -> Self {
        Self {
            around,
            names,
            widths,
            condition_code,
            target,
            is_ring,
        }
    }

    /// What a name means here.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        match self.names.get(name) {
            Some(symbol) => Some(symbol.clone()),
            None => self.around?.find(name),
        }
    }

    /// Bits of a register.
    pub fn bits(&self, register: Register) -> u32 {
        self.widths
            .get(register.0 as usize)
            .map_or(64, |&bits| u32::from(bits))
    }

    /// The register that carries go through, `CC.CF`.
    pub fn condition_code(&self) -> Register {
        self.condition_code
    }

    /// The architecture that the module is for.
    pub fn target(&self) -> &'p str {
        self.target
    }

    /// Whether floating-point numbers are the integers of the ring mode.
    pub fn is_ring(&self) -> bool {
        self.is_ring
    }
}
