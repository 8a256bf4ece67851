//! Functions that no instruction computes, in arithmetic that vectorises: no calls, no tables, no branches but where
//! said so.
//!
//! They take and give `f32` or `f64`; what they compute in `f64` for `f32` is rounded at the end. Rounding is to nearest
//! throughout and fused multiply-adds are used, which a target has to have. Errors, in units in the last place (1 is the
//! distance between neighbouring numbers), largest found by the tests:
//!
//! | function | f32 | f64 |
//! |---|---|---|
//! | `exp` | 1 | 1 |
//! | `expm1` | 2 | 2 |
//! | `tanh`, `logistic` | 3 | 3 |
//! | `log`, `log1p` | 1 | 1 |
//! | `power` | 1 | 1 |
//! | `erf` | 2 | 2 |
//! | `erfc` | 1 | 4 |
//! | `erf_inv` | 1 | 4 |
//! | `sine`, `cosine` | 1 | 1 |
//! | `tan` | 1 | 2 |
//! | `atan2` | 1 | 2 |
//! | `cbrt` | 1 | 1 |
//! | `remainder` | exact | exact |
//!
//! That holds for all arguments: subnormal results are rounded, not flushed, and an angle is reduced exactly however
//! large it is.

mod algebraic;
mod coefficients;
mod error_function;
mod exponential;
mod float;
mod logarithm;
mod trigonometric;

pub use algebraic::{cbrt, remainder};
pub use error_function::{erf, erf_inv, erfc};
pub use exponential::{exp, expm1, logistic, tanh};
pub use logarithm::{log, log1p, power};
pub use trigonometric::{atan2, cosine, sine, tan};
