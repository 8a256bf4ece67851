//! The text form: MLIR's syntax, read and written.
//!
//! [`print()`] and [`parse`] are the text form of modules, in the dialect `tsr`; [`print_graph`] and [`parse_graph`] that
//! of one graph.
//!
//! Below lies what every MLIR text has in common, whatever its dialect, for the StableHLO importer to build on:
//! [`lexer`] makes tokens, a [`Cursor`] walks over them and reads types, [dense literals](DenseLiteral),
//! [attributes](ParsedAttribute) and locations. Each error is a [`Diagnostic`](crate::diagnostic::Diagnostic) with its
//! place; nesting is bounded, so no text exhausts the stack; reading takes time in proportion to the text.

mod alias;
mod attribute;
mod cursor;
mod dense;
pub mod lexer;
mod location;
mod number;
pub(crate) mod parser;
pub(crate) mod printer;
#[cfg(test)]
pub(crate) mod tests;
mod types;

pub use attribute::{AttributeValue, DialectBody, Dictionary, DictionaryEntry, ParsedAttribute};
pub use cursor::{Cursor, MAX_NESTING, ValueDefinition, ValueUse};
pub(crate) use dense::write_dense;
pub use dense::{DenseLiteral, SplatTooLarge};
pub use lexer::{Token, TokenKind};
pub use location::MAX_LOCATION_DEPTH;
pub use parser::{parse, parse_graph};
pub use printer::{PrintOptions, print, print_graph};
pub use types::FunctionType;
