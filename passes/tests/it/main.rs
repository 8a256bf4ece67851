//! Tests of whole pipelines, on the steps that JAX exported.

mod common;
mod steps;
