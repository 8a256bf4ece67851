//! A module as it is written: variables and functions, their instructions not yet understood.

use super::{Place, ScalarType, StateSpace};

/// A whole text.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Of `.version`: major and minor.
    pub version: (u32, u32),
    /// Of `.target`: the architecture first, `sm_120a`, then options.
    pub target: Vec<String>,
    /// Of `.address_size`: 32 or 64.
    pub address_size: u32,
    /// Of module scope, in their order.
    pub variables: Vec<Variable>,
    /// Kernels and functions, in their order; one that is declared and defined is there twice.
    pub functions: Vec<Function>,
    /// Other names of functions, `.alias alias, aliasee`.
    pub aliases: Vec<(String, String)>,
}

impl Module {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, super::ParseError> {
        super::parser::module(text)
    }

    /// The definition of a kernel or function, or else its declaration.
    pub fn function(&self, name: &str) -> Option<&Function> {
        let own = || {
            self.functions
                .iter()
                .filter(|function| function.name == name)
        };
        own()
            .find(|function| function.body.is_some())
            .or_else(|| own().next())
    }
}

/// Who sees a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linkage {
    /// This module.
    #[default]
    Internal,
    /// `.extern`: it is another module's, or memory given at launch.
    External,
    /// `.visible`
    Visible,
    /// `.weak`
    Weak,
    /// `.common`
    Common,
}

/// A variable, in whatever space.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name; of `%r<4>` what stands before the number.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Where it lives.
    pub space: StateSpace,
    /// Who sees it.
    pub linkage: Linkage,
    /// What it is made of.
    pub element: ScalarType,
    /// Elements of `.v2`, `.v4`, `.v8`; 1 without it.
    pub vector: u32,
    /// Of `.align`, in bytes.
    pub alignment: Option<u64>,
    /// The dimensions of an array. `None` is that of `[]`.
    pub dimensions: Vec<Option<u64>>,
    /// Of `%r<4>`: that so many variables `%r0` to `%r3` are meant.
    pub count: Option<u32>,
    /// What it begins with.
    pub initializer: Option<Initializer>,
    /// Of a parameter that points into memory: the alignment its directive `.ptr … .align` promises.
    pub pointee_alignment: Option<u64>,
}

impl Variable {
    /// Bytes of it; `None` where a dimension is open.
    pub fn bytes(&self) -> Option<u64> {
        let one = self.element.bytes() * u64::from(self.vector);
        self.dimensions
            .iter()
            .try_fold(one, |bytes, dimension| bytes.checked_mul((*dimension)?))
    }

    /// The alignment in bytes: the one that is written, or that of an element or vector.
    pub fn alignment(&self) -> u64 {
        self.alignment
            .unwrap_or(self.element.bytes() * u64::from(self.vector))
            .max(1)
    }
}

/// What a variable begins with.
#[derive(Clone, Debug, PartialEq)]
pub enum Initializer {
    /// A number.
    Literal(Literal),
    /// The address of a variable or function, plus bytes; as a generic address, where `generic(…)` says so; one byte of
    /// it, where `mask(…)` does.
    Address {
        /// Whose.
        name: String,
        /// Bytes behind it.
        offset: i64,
        /// Whether the address is generic.
        generic: bool,
        /// The bits of `mask(bits, …)`.
        mask: Option<u64>,
    },
    /// Those of an array, or of a vector.
    List(Vec<Initializer>),
}

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// The bits of a single-precision number.
    Single(u32),
    /// A double-precision number.
    Double(f64),
}

/// Whether a grid can be launched of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// `.entry`
    Kernel,
    /// `.func`
    Device,
}

/// A kernel or function.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// What it is.
    pub kind: FunctionKind,
    /// Who sees it.
    pub linkage: Linkage,
    /// What it returns.
    pub results: Vec<Variable>,
    /// What it takes.
    pub parameters: Vec<Variable>,
    /// `.maxntid`, `.reqntid`, `.reqnctapercluster` and the like, without the dot, with their numbers.
    pub directives: Vec<(String, Vec<u64>)>,
    /// Its statements; none of a declaration.
    pub body: Option<Body>,
}

impl Function {
    /// The numbers of a directive.
    pub fn directive(&self, name: &str) -> Option<&[u64]> {
        let found = self.directives.iter().find(|(own, _)| own == name);
        found.map(|(_, numbers)| &numbers[..])
    }
}

/// Statements in braces; what they declare is seen in them alone.
pub type Body = Vec<Statement>;

/// A part of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `name:`
    Label {
        /// The label's name.
        name: String,
        /// Where it stands.
        place: Place,
    },
    /// Variables of a space; several in one declaration are one statement each.
    Variable(Variable),
    /// An instruction.
    Instruction(Instruction),
    /// Braces.
    Block(Body),
    /// `name: .branchtargets a, b;` or `.calltargets`: labels or functions that an indexed jump goes to.
    Targets {
        /// The list's name.
        name: String,
        /// Where it stands.
        place: Place,
        /// What is in it.
        targets: Vec<String>,
    },
    /// `name: .callprototype …;`: what an indirect call returns and takes.
    Prototype {
        /// The prototype's name.
        name: String,
        /// Where it stands.
        place: Place,
        /// What the callee returns.
        results: Vec<Variable>,
        /// What it takes.
        parameters: Vec<Variable>,
    },
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Where it begins.
    pub place: Place,
    /// The lanes that execute it: all, without one.
    pub predicate: Option<Predicate>,
    /// Its first word.
    pub opcode: String,
    /// The words behind dots, in their order.
    pub modifiers: Vec<String>,
    /// In their order.
    pub operands: Vec<Operand>,
    /// Of a load's bytes those that anybody uses, as bits: `.pragma "used_bytes_mask …"` (PTX ISA 11.4); all, without one.
    pub used_bytes: u32,
}

impl Instruction {
    /// Opcode and modifiers as they are written.
    pub fn name(&self) -> String {
        let mut name = self.opcode.clone();
        for modifier in &self.modifiers {
            name.push('.');
            name.push_str(modifier);
        }
        name
    }

    /// Whether a modifier is there.
    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.iter().any(|own| own == modifier)
    }
}

/// `@p` or `@!p`.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// The register.
    pub register: String,
    /// Whether lanes execute where it is false.
    pub negated: bool,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, a special register, a variable, a label or a function.
    Name(String),
    /// `%tid.x`, or one element of a vector register: the element counted from 0.
    Component(String, u8),
    /// `name+4`: an address, not what lies there.
    Offset(String, i64),
    /// `!p`
    Not(String),
    /// `-r`, which some instructions take.
    Negative(String),
    /// `d|p`: two destinations.
    Pair(Box<Operand>, Box<Operand>),
    /// A number.
    Literal(Literal),
    /// `_`: a result that nobody wants.
    Sink,
    /// `[…]`
    Address(Address),
    /// `{…}`
    Vector(Vec<Operand>),
    /// `(…)`: the arguments or results of a call.
    List(Vec<Operand>),
}

/// A place in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// A register, a variable, or a number.
    pub base: Box<Operand>,
    /// Bytes behind it.
    pub offset: i64,
    /// What stands behind commas: coordinates of a tensor, an index.
    pub coordinates: Vec<Operand>,
}
