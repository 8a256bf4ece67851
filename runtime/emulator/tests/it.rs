//! The machine on whole kernels.

#[path = "it/basics.rs"]
mod basics;
#[path = "it/findings.rs"]
mod findings;
#[path = "it/malformed.rs"]
mod malformed;
#[path = "it/triton.rs"]
mod triton;
