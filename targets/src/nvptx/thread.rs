//! What a thread knows of itself and says to others: its numbers, shuffles, barriers, shared memory.

use super::inline::Ptx;
use crate::mlir::{Builder, Value};
use melior::ir::{Type, ValueLike};

/// Threads of a warp.
pub const WARP: i64 = 32;

/// The thread's number in its CTA, an `i64`.
pub fn thread<'c>(b: &Builder<'c>) -> Value<'c> {
    special(b, "llvm.nvvm.read.ptx.sreg.tid.x")
}

/// The thread's number in its warp, an `i64`, where CTAs have one dimension.
pub fn lane<'c>(b: &Builder<'c>) -> Value<'c> {
    b.binary("arith.andi", thread(b), b.constant_i64(WARP - 1))
}

/// The warp's number in its CTA, an `i64`, where CTAs have one dimension.
pub fn warp<'c>(b: &Builder<'c>) -> Value<'c> {
    b.binary("arith.shrui", thread(b), b.constant_i64(5))
}

/// The CTA's number in the grid, an `i64`.
pub fn cta<'c>(b: &Builder<'c>) -> Value<'c> {
    special(b, "llvm.nvvm.read.ptx.sreg.ctaid.x")
}

/// The cluster's number in the grid, an `i64`.
pub fn cluster<'c>(b: &Builder<'c>) -> Value<'c> {
    special(b, "llvm.nvvm.read.ptx.sreg.clusterid.x")
}

/// The CTA's number in its cluster, an `i64`.
pub fn rank<'c>(b: &Builder<'c>) -> Value<'c> {
    special(b, "llvm.nvvm.read.ptx.sreg.cluster.ctarank")
}

/// The thread's number in the grid, whose CTAs have `threads` threads.
pub fn global<'c>(b: &Builder<'c>, threads: i64) -> Value<'c> {
    let first = b.binary("arith.muli", cta(b), b.constant_i64(threads));
    b.binary("arith.addi", first, thread(b))
}

fn special<'c>(b: &Builder<'c>, register: &str) -> Value<'c> {
    let number = b.intrinsic(register, &[], b.integer(32));
    b.cast("arith.extui", number, b.i64())
}

/// All threads of the CTA arrive, and see what the others wrote before.
pub fn barrier(b: &Builder<'_>) {
    let zero = b.constant_integer(b.integer(32), 0);
    b.intrinsic_without_result("llvm.nvvm.barrier.cta.sync.aligned.all", &[zero]);
}

/// All threads of the cluster arrive, and see what the others wrote before.
pub fn cluster_barrier(b: &Builder<'_>) {
    const TEXT: &str =
        "barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;";
    Ptx::new(TEXT).memory().run(b, &[]);
}

/// All threads of the warp arrive, and see what the others wrote before.
pub fn warp_barrier(b: &Builder<'_>) {
    let all = b.constant_integer(b.integer(32), -1);
    b.intrinsic_without_result("llvm.nvvm.bar.warp.sync", &[all]);
}

/// The value that the thread has whose number in the warp differs in the bits of `mask`. All threads of the warp take
/// part.
pub fn shuffle<'c>(b: &Builder<'c>, x: Value<'c>, mask: i64) -> Value<'c> {
    let t = x.r#type();
    let width = width(b, t);
    let bits = b.bitcast(x, b.integer(width));
    let shuffle_word = |word| {
        let mask = b.constant_integer(b.integer(32), mask);
        shuffle_word(b, "bfly", word, mask)
    };
    let shuffled = match width {
        ..32 => {
            let wide = b.cast("arith.extui", bits, b.integer(32));
            b.cast("arith.trunci", shuffle_word(wide), b.integer(width))
        }
        32 => shuffle_word(bits),
        _ => {
            let (word, by) = (b.integer(32), b.constant_i64(32));
            let upper = b.binary("arith.shrui", bits, by);
            let [lower, upper] = [bits, upper].map(|half| {
                let half = shuffle_word(b.cast("arith.trunci", half, word));
                b.cast("arith.extui", half, b.i64())
            });
            b.binary("arith.ori", lower, b.binary("arith.shli", upper, by))
        }
    };
    b.bitcast(shuffled, t)
}

/// The `f32` that the thread of that number in the warp has, an `i32`. All threads of the warp take part.
pub fn from_lane<'c>(b: &Builder<'c>, x: Value<'c>, lane: Value<'c>) -> Value<'c> {
    let word = b.bitcast(x, b.integer(32));
    b.bitcast(shuffle_word(b, "idx", word, lane), b.f32())
}

fn shuffle_word<'c>(b: &Builder<'c>, mode: &str, word: Value<'c>, with: Value<'c>) -> Value<'c> {
    let number = |n: i64| b.constant_integer(b.integer(32), n);
    // PTX ISA, `shfl.sync`: in modes bfly and idx with clamp 31, every lane of the warp has a partner.
    let operands = [number(-1), word, with, number(31)];
    let name = format!("llvm.nvvm.shfl.sync.{mode}.i32");
    b.intrinsic(&name, &operands, b.integer(32))
}

/// The bits of a number in a register.
fn width<'c>(b: &Builder<'c>, t: Type<'c>) -> u32 {
    match t {
        t if t == b.f32() => 32,
        t if t == b.f64() => 64,
        t => [1, 8, 16, 32, 64]
            .into_iter()
            .find(|&bits| t == b.integer(bits))
            .expect("a register holds f32, f64 or an integer"),
    }
}
