//! What can be said of a tensor before it is quantised, and what each way of quantising it costs.
//!
//! A tensor is seen as a matrix: its last dimension the columns, all others the rows (tokens, where it is an activation).
//!
//! | figure | definition |
//! |---|---|
//! | mean's share | `l·\|μ\|² / ‖M‖²`, μ the mean over the l rows: what centring takes out of the energy |
//! | share of leading directions | `σ₁² + … + σₖ²` over `‖M‖²`: what a spectral split of rank k takes out |
//! | range | log₂ of the largest over the smallest nonzero magnitude, of the tensor and of its blocks of 16 |
//! | error of a method | `‖M − M̂‖ / ‖M‖` in the Frobenius norm, M̂ what the method's parts add up to when read back |
//! | error of a product | `‖X W − X̂ Ŵ‖ / ‖X W‖`, both operands by one method |

mod energy;
mod figure;
mod matmul;
mod matrix;
mod method;
mod product;
mod range;
mod report;
mod spectrum;
mod symmetric;

pub use energy::Energy;
pub use figure::svg;
pub use matmul::{Errors, Operand, ProductError, analyze_product};
pub use matrix::{Matrix, NoFigures};
pub use method::{Column, Method};
pub use range::Range;
pub use report::{MethodError, Report, analyze};
pub use spectrum::Spectrum;
