//! Tessera compiles whole training steps, from StableHLO to machine code, towards matrix products in 4-bit floating
//! point.
//!
//! This crate is the roof over the parts: [`Source`] reads a step, [`Compiler`] makes a bundle of it, [`checkpoint`]
//! quantises files of tensors, [`analysis`] says what that costs, [`cli`] is the `tessera` command. The parts are crates
//! of their own:
//!
//! | crate | what it is |
//! |---|---|
//! | `tessera-numerics` | element types, tensors, random streams |
//! | `tessera-ir` | graphs and plans, their text form, their verifier |
//! | `tessera-import` | StableHLO text to graphs |
//! | `tessera-interpreter` | the reference evaluator |
//! | `tessera-passes` | graph to graph to plan |
//! | `tessera-targets` | plan to bundle |
//! | `tessera-runtime` | bundles, run |

pub mod analysis;
pub mod checkpoint;
pub mod cli;
mod compiler;
mod failure;
pub mod inputs;
mod source;
mod words;

pub use compiler::{CompileError, Compiler};
pub use failure::Failure;
pub use source::{Language, Source};
