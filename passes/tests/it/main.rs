//! Tests of the passes and the plan: what each makes of small programs, and that programs still compute the same bits.

mod barriers;
mod canonicalise;
mod common;
mod decompose;
mod expand;
mod fold_unit_dimensions;
mod fusion;
mod inline;
mod linears;
mod operations;
mod pipeline;
mod planning;
mod random;
mod recipes;
mod rewrites;
mod scale_layout;
mod snapshots;
mod steps;
