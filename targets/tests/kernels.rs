//! Every target against the reference interpreter: every op on every element type, family by family. CPU code is run, PTX
//! in the emulator.

#[path = "kernels/emulated.rs"]
mod emulated;
#[path = "kernels/harness.rs"]
mod harness;

#[path = "kernels/attention.rs"]
mod attention;
#[path = "kernels/attention_wrong.rs"]
mod attention_wrong;
#[path = "kernels/code.rs"]
mod code;
#[path = "kernels/dots.rs"]
mod dots;
#[path = "kernels/elementwise.rs"]
mod elementwise;
#[path = "kernels/epilogues.rs"]
mod epilogues;
#[path = "kernels/grouped.rs"]
mod grouped;
#[path = "kernels/grouped_codes.rs"]
mod grouped_codes;
#[path = "kernels/grouped_halves.rs"]
mod grouped_halves;
#[path = "kernels/loops.rs"]
mod loops;
#[path = "kernels/math.rs"]
mod math;
#[path = "kernels/matrix_units.rs"]
mod matrix_units;
#[path = "kernels/mma_wrong.rs"]
mod mma_wrong;
#[path = "kernels/probes.rs"]
mod probes;
#[path = "kernels/prologues.rs"]
mod prologues;
#[path = "kernels/ptx.rs"]
mod ptx;
#[path = "kernels/ptx_families.rs"]
mod ptx_families;
#[path = "kernels/quantize.rs"]
mod quantize;
#[path = "kernels/reductions.rs"]
mod reductions;
#[path = "kernels/scaled.rs"]
mod scaled;
#[path = "kernels/sorts.rs"]
mod sorts;
#[path = "kernels/tcgen05.rs"]
mod tcgen05;
#[path = "kernels/tcgen05_dense.rs"]
mod tcgen05_dense;
#[path = "kernels/tcgen05_pairs.rs"]
mod tcgen05_pairs;
#[path = "kernels/tcgen05_wrong.rs"]
mod tcgen05_wrong;
#[path = "kernels/triton.rs"]
mod triton;
#[path = "kernels/updates.rs"]
mod updates;
#[path = "kernels/wgmma.rs"]
mod wgmma;
#[path = "kernels/wgmma_codes.rs"]
mod wgmma_codes;
#[path = "kernels/wgmma_wrong.rs"]
mod wgmma_wrong;
#[path = "kernels/work.rs"]
mod work;
#[path = "kernels/workers.rs"]
mod workers;
#[path = "kernels/wrong.rs"]
mod wrong;
