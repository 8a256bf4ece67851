//! Plans as text, what they promise, what depends on what.

mod check;
mod dependences;
mod text;

/// A plan in which everything stands that a plan can hold, as it is printed.
const EXAMPLE: &str = include_str!("tests/example.plan");
