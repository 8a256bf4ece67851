//! The machine on whole kernels.

#[path = "it/addresses.rs"]
mod addresses;
#[path = "it/asynchronous.rs"]
mod asynchronous;
#[path = "it/barriers.rs"]
mod barriers;
#[path = "it/basics.rs"]
mod basics;
#[path = "it/block_scaled.rs"]
mod block_scaled;
#[path = "it/boxes.rs"]
mod boxes;
#[path = "it/classics.rs"]
mod classics;
#[path = "it/conversions.rs"]
mod conversions;
#[path = "it/copies.rs"]
mod copies;
#[path = "it/counts.rs"]
mod counts;
#[path = "it/fences.rs"]
mod fences;
#[path = "it/findings.rs"]
mod findings;
#[path = "it/fragments.rs"]
mod fragments;
#[path = "it/instructions.rs"]
mod instructions;
#[path = "it/lanes.rs"]
mod lanes;
#[path = "it/malformed.rs"]
mod malformed;
#[path = "it/modifiers.rs"]
mod modifiers;
#[path = "it/movmatrix.rs"]
mod movmatrix;
#[path = "it/ordinary.rs"]
mod ordinary;
#[path = "it/paths.rs"]
mod paths;
#[path = "it/quad_pairs.rs"]
mod quad_pairs;
#[path = "it/ring.rs"]
mod ring;
#[path = "it/scopes.rs"]
mod scopes;
#[path = "it/tcgen05.rs"]
mod tcgen05;
#[path = "it/tcgen05_commits.rs"]
mod tcgen05_commits;
#[path = "it/tcgen05_copies.rs"]
mod tcgen05_copies;
#[path = "it/tcgen05_forms.rs"]
mod tcgen05_forms;
#[path = "it/tcgen05_kernels.rs"]
mod tcgen05_kernels;
#[path = "it/tcgen05_products.rs"]
mod tcgen05_products;
#[path = "it/tcgen05_registers.rs"]
mod tcgen05_registers;
#[path = "it/tcgen05_triton.rs"]
mod tcgen05_triton;
#[path = "it/tensor.rs"]
mod tensor;
#[path = "it/tensormap.rs"]
mod tensormap;
#[path = "it/threads.rs"]
mod threads;
#[path = "it/triton.rs"]
mod triton;
#[path = "it/used_bytes.rs"]
mod used_bytes;
#[path = "it/warpgroup.rs"]
mod warpgroup;
#[path = "it/wide.rs"]
mod wide;
