//! The CPU target against the reference interpreter: every op on every element type, family by family.

#[path = "cpu/harness.rs"]
mod harness;

#[path = "cpu/code.rs"]
mod code;
#[path = "cpu/dots.rs"]
mod dots;
#[path = "cpu/elementwise.rs"]
mod elementwise;
#[path = "cpu/grouped.rs"]
mod grouped;
#[path = "cpu/loops.rs"]
mod loops;
#[path = "cpu/math.rs"]
mod math;
#[path = "cpu/reductions.rs"]
mod reductions;
#[path = "cpu/scaled.rs"]
mod scaled;
#[path = "cpu/sorts.rs"]
mod sorts;
#[path = "cpu/updates.rs"]
mod updates;
#[path = "cpu/workers.rs"]
mod workers;
