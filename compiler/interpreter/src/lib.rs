//! Tessera's reference evaluator: the oracle that every target is tested against.
//!
//! One obvious function an op, in files by group. Speed comes second: what is here must be read and believed.
//!
//! # Numbers
//! - **Floats.** An elementwise op is computed in f64 from the operands' exact values and rounded once to the element
//!   type, to nearest, ties to even. For `+ − × ÷ √` that is the correctly rounded result in every element type, since
//!   f64 has more than twice the digits of f32 and two more (Figueroa, "When is double rounding innocuous?", 1995).
//!   Transcendental functions are within an ulp of f64 before the rounding, so for narrower types nearly always correctly
//!   rounded. They come from the crate `libm` rather than the system, so results are the same on every machine.
//! - **Sums.** `dot_general`, and `reduce` and `reduce_window` by a single `add`, accumulate floats in f64 in the order
//!   of indices and round once at the end. The oracle's own error is then one rounding of the exact sum, up to
//!   n · 2⁻⁵³ · Σ|xᵢ|, and a test's bound is the tested target's error alone. Every other reducer is applied as it is
//!   written, in row-major order, with the init first.
//! - **Scaled tensors.** `quantize` and `hadamard` are the definitions of `tessera-numerics`, bit for bit the same everywhere.
//!   `scaled_dot` multiplies and adds the exact values of codes times block scales in f64, multiplies by the tensor scales
//!   and rounds once.
//! - **Integers.** Two's complement, wrapping around. x / 0 = −1 (all bits set), x % 0 = x, least / −1 = least.
//! - **Conversions.** Floats become integers by truncation toward zero, saturating, NaN becoming 0; integers wrap around;
//!   a boolean is x ≠ 0; everything rounds to nearest, ties to even, once. XLA's CPU backend does the same, but for f64
//!   to f16 and bf16, which it rounds to f32 in between.
//! - **Order.** `maximum` and `minimum` give NaN where one operand is NaN and order −0 below +0, as IEEE 754-2019 does.
//!   `top_k` goes by totalOrder, as XLA does.
//! - **Places.** `gather`, `dynamic_slice` and `dynamic_update_slice` move a slice that would lie partly outside inside;
//!   `scatter` leaves out a slice of updates that lies partly outside, whole, as XLA does.

mod contraction;
mod control;
mod elements;
mod elementwise;
mod error;
mod evaluate;
mod grouped;
mod indexing;
mod number;
mod reduction;
mod scaled;
mod shape;
mod solve;
mod sorting;
mod strided;
mod value;

pub use error::{EvaluateError, OpFailure};
pub use evaluate::{evaluate, evaluate_op, evaluate_values};
pub use value::Value;
