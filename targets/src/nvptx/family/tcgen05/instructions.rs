//! The instructions of asynchronous products, as PTX: copies to shared memory, `tcgen05`, and those that other matrix units
//! are asked with too.
//!
//! Addresses of shared memory are `i32`, of its own window.

use super::kind::Kind;
use crate::mlir::{Builder, Value};
pub use crate::nvptx::asynchronous::*;
use crate::nvptx::inline::Ptx;

type B<'a, 'c> = &'a Builder<'c>;

/// Copies up to 4, 8 or 16 bytes, `size`, from global memory; `kept` of them, zeros for the others.
pub fn copy<'c>(b: B<'_, 'c>, to: Value<'c>, from: Value<'c>, size: i64, kept: Value<'c>) {
    // Only pieces of 16 bytes go past the first cache.
    let cache = if size == 16 { "cg" } else { "ca" };
    let text = format!("cp.async.{cache}.shared.global [$0], [$1], {size}, $2;");
    Ptx::new(&text).memory().run(b, &[to, from, kept]);
}

/// What the thread has copied since the last one is a group.
pub fn commit_copies(b: B<'_, '_>) {
    Ptx::new("cp.async.commit_group;").memory().run(b, &[]);
}

/// Waits until all but the last `left` groups are done.
pub fn wait_for_copies(b: B<'_, '_>, left: i64) {
    let text = format!("cp.async.wait_group {left};");
    Ptx::new(&text).memory().run(b, &[]);
}

/// Writes a word to shared memory.
pub fn store_word<'c>(b: B<'_, 'c>, to: Value<'c>, word: Value<'c>) {
    Ptx::new("st.shared.b32 [$0], $1;")
        .memory()
        .run(b, &[to, word]);
}

/// A word of shared memory.
pub fn load_word<'c>(b: B<'_, 'c>, from: Value<'c>) -> Value<'c> {
    Ptx::new("ld.shared.b32 $0, [$1];")
        .memory()
        .word(b, &[from])
}

/// What the thread does next with tensor memory comes after what others did before they said so.
pub fn fence_after(b: B<'_, '_>) {
    Ptx::new("tcgen05.fence::after_thread_sync;")
        .memory()
        .run(b, &[]);
}

/// What the thread did with tensor memory comes before what others do once it says so.
pub fn fence_before(b: B<'_, '_>) {
    Ptx::new("tcgen05.fence::before_thread_sync;")
        .memory()
        .run(b, &[]);
}

/// Allocates columns of tensor memory, whose address goes to a word of shared memory, and lets other CTAs allocate. All
/// threads of the warp take part, in each of `ctas` CTAs: all that a CTA or a pair asks of tensor memory says which it is.
pub fn allocate<'c>(b: B<'_, 'c>, ctas: i64, slot: Value<'c>, columns: u32) {
    let text = format!(
        "tcgen05.alloc.cta_group::{ctas}.sync.aligned.shared::cta.b32 [$0], {columns};\n\t\
         tcgen05.relinquish_alloc_permit.cta_group::{ctas}.sync.aligned;"
    );
    Ptx::new(&text).memory().run(b, &[slot]);
}

/// Gives them back. All threads of the warp that allocated take part.
pub fn deallocate<'c>(b: B<'_, 'c>, ctas: i64, address: Value<'c>, columns: u32) {
    let text = format!("tcgen05.dealloc.cta_group::{ctas}.sync.aligned.b32 $0, {columns};");
    Ptx::new(&text).memory().run(b, &[address]);
}

/// Copies a tile of scales to tensor memory, for the lanes of each of the four warps; of a pair each CTA its own.
pub fn copy_scales<'c>(b: B<'_, 'c>, ctas: i64, to: Value<'c>, descriptor: Value<'c>) {
    let text = format!("tcgen05.cp.cta_group::{ctas}.32x128b.warpx4 [$0], $1;");
    Ptx::new(&text).memory().run(b, &[to, descriptor]);
}

/// A product.
pub struct Multiplication<'c> {
    /// Columns of tensor memory of the sums.
    pub sums: Value<'c>,
    /// Descriptors of A and B.
    pub tiles: [Value<'c>; 2],
    /// Columns of tensor memory of their scales, where the kind has any.
    pub scales: Option<[Value<'c>; 2]>,
    /// The instruction descriptor.
    pub descriptor: Value<'c>,
    /// An `i32`, 0 where the sums begin.
    pub adds: Value<'c>,
}

/// Begins a product.
pub fn multiply<'c>(b: B<'_, 'c>, ctas: i64, kind: Kind, own: &Multiplication<'c>) {
    let (scales, adds) = match own.scales {
        Some(_) => (" [$4], [$5],", 6),
        None => ("", 4),
    };
    let text = format!(
        "{{ .reg .pred adds; setp.ne.b32 adds, ${adds}, 0;\n\t\
         tcgen05.mma.cta_group::{ctas}.{} [$0], $1, $2, $3,{scales} adds; }}",
        kind.qualifiers()
    );
    let [x, y] = own.tiles;
    let mut operands = vec![own.sums, x, y, own.descriptor];
    operands.extend(own.scales.into_iter().flatten());
    operands.push(own.adds);
    Ptx::new(&text).memory().run(b, &operands);
}

/// The mbarrier is arrived at once all is done that the thread began for the matrix unit.
pub fn commit<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    Ptx::new("tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [$0];")
        .memory()
        .run(b, &[barrier]);
}

/// The mbarriers at that place in both CTAs of a pair are arrived at once all is done that the thread began for the matrix
/// unit.
pub fn commit_to_pair<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    const TEXT: &str = "{ .reg .b16 both; mov.b16 both, 3;\n\t\
         tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64 [$0], both; }";
    Ptx::new(TEXT).memory().run(b, &[barrier]);
}

/// The address at which all CTAs of the cluster have what the first, the leader of a pair, has at an address of its own.
pub fn of_leader<'c>(b: B<'_, 'c>, address: Value<'c>) -> Value<'c> {
    Ptx::new("mapa.shared::cluster.u32 $0, $1, 0;").word(b, &[address])
}

/// Arrives at a CTA's mbarrier: what the thread knows to be written before is seen there.
pub fn arrive_in_cluster<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    Ptx::new("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [$0];")
        .memory()
        .run(b, &[barrier]);
}

/// The same of the first thread of a warp, whose number in it is given, for all of them.
pub fn warp_arrives_in_cluster<'c>(b: B<'_, 'c>, barrier: Value<'c>, lane: Value<'c>) {
    const TEXT: &str = "{ .reg .pred arrives; setp.eq.b32 arrives, $1, 0;\n\tbar.warp.sync -1;\n\t\
         @arrives mbarrier.arrive.release.cluster.shared::cluster.b64 _, [$0]; }";
    Ptx::new(TEXT).memory().run(b, &[barrier, lane]);
}

/// `count` columns of the lane's row of tensor memory, as `i32`. All threads of the warp take part.
pub fn load_columns<'c>(b: B<'_, 'c>, address: Value<'c>, count: i64) -> Vec<Value<'c>> {
    let registers: Vec<String> = (0..count).map(|i| format!("${i}")).collect();
    // Registers are there after the wait, which one text keeps before all that uses them.
    let text = format!(
        "tcgen05.ld.sync.aligned.32x32b.x{count}.b32 {{{}}}, [${count}];\n\ttcgen05.wait::ld.sync.aligned;",
        registers.join(", ")
    );
    let word = b.integer(32);
    let loaded = Ptx::new(&text).memory();
    loaded.all(b, &[address], &vec![word; count as usize])
}
