//! The text form as a whole: round trips, errors, what MLIR says of the generic form.

mod errors;
mod locations;
mod mlir_opt;
pub(crate) mod random;
pub(crate) mod round_trip;

/// A module in which every op, attribute and kind of constant stands, as it is printed.
const EXAMPLE: &str = include_str!("tests/example.tsr");
