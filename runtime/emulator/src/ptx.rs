//! PTX as text: a module is read whole, before anything of it is executed.
//!
//! The reader knows PTX's grammar (PTX ISA 9, chapters 4 and 5) and no instruction: an opcode is its first word and its
//! modifiers, its operands are kept as they are written. What an instruction means, and whether it is known, is asked when
//! it is decoded, so a module with one unknown instruction can still be run where that is not reached.

mod error;
mod lexer;
mod module;
mod parser;
mod types;

pub use error::{ParseError, Place};
pub use module::{
    Address, Body, Function, FunctionKind, Initializer, Instruction, Linkage, Literal, Module,
    Operand, Predicate, Statement, Variable,
};
pub use types::{ScalarType, StateSpace};
