//! The instructions of asynchronous products, as PTX: copies to shared memory, mbarriers, `tcgen05`.
//!
//! Addresses of shared memory are `i32`, of its own window.

use super::kind::Kind;
use crate::mlir::{Builder, IntegerPredicate, Value};
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

/// Writes four words to shared memory.
pub fn store_words<'c>(b: B<'_, 'c>, to: Value<'c>, words: [Value<'c>; 4]) {
    let [w, x, y, z] = words;
    Ptx::new("st.shared.v4.b32 [$0], {$1, $2, $3, $4};")
        .memory()
        .run(b, &[to, w, x, y, z]);
}

/// A word of shared memory.
pub fn load_word<'c>(b: B<'_, 'c>, from: Value<'c>) -> Value<'c> {
    Ptx::new("ld.shared.b32 $0, [$1];")
        .memory()
        .word(b, &[from])
}

/// What the thread wrote to shared memory before is seen by what is begun for the matrix unit after.
pub fn fence_for_matrix_unit(b: B<'_, '_>) {
    Ptx::new("fence.proxy.async.shared::cta;")
        .memory()
        .run(b, &[]);
}

/// Makes an mbarrier whose phase ends by so many arrivals.
pub fn initialise<'c>(b: B<'_, 'c>, barrier: Value<'c>, arrivals: i64) {
    let text = format!("mbarrier.init.shared::cta.b64 [$0], {arrivals};");
    Ptx::new(&text).memory().run(b, &[barrier]);
}

/// So many bytes more have to come before the mbarrier's phase ends.
pub fn expect_bytes<'c>(b: B<'_, 'c>, barrier: Value<'c>, bytes: i64) {
    let text = format!("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], {bytes};");
    Ptx::new(&text).memory().run(b, &[barrier]);
}

/// Copies the box at a place of a tensor map of three dimensions, the innermost first, to shared memory; the mbarrier
/// learns of the bytes.
pub fn copy_box<'c>(
    b: B<'_, 'c>,
    to: Value<'c>,
    map: Value<'c>,
    [x, y, z]: [Value<'c>; 3],
    barrier: Value<'c>,
) {
    const TEXT: &str = "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes \
                        [$0], [$1, {$2, $3, $4}], [$5];";
    Ptx::new(TEXT).memory().run(b, &[to, map, x, y, z, barrier]);
}

/// The mbarriers that the thread made are seen as such by the matrix unit.
pub fn fence_initialised(b: B<'_, '_>) {
    Ptx::new("fence.mbarrier_init.release.cluster;")
        .memory()
        .run(b, &[]);
}

/// Arrives at an mbarrier.
pub fn arrive<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    Ptx::new("mbarrier.arrive.shared::cta.b64 _, [$0];")
        .memory()
        .run(b, &[barrier]);
}

/// Waits until the phase of that parity has ended.
pub fn wait<'c>(b: B<'_, 'c>, barrier: Value<'c>, parity: Value<'c>) {
    const ASK: &str = "{ .reg .pred ended; mbarrier.try_wait.parity.shared::cta.b64 ended, [$1], $2; \
                       selp.b32 $0, 1, 0, ended; }";
    let goes_on = |(): &mut (), b: Builder<'c>, _: &[Value<'c>]| {
        let ended = Ptx::new(ASK).memory().word(&b, &[barrier, parity]);
        let zero = b.constant_integer(b.integer(32), 0);
        Ok::<_, std::convert::Infallible>(b.compare_integers(IntegerPredicate::Eq, ended, zero))
    };
    let Ok(_) = b.while_loop(&mut (), &[], goes_on, |(), _, _| Ok(Vec::new()));
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
/// threads of the warp take part.
pub fn allocate<'c>(b: B<'_, 'c>, slot: Value<'c>, columns: u32) {
    let text = format!(
        "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [$0], {columns};\n\t\
         tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;"
    );
    Ptx::new(&text).memory().run(b, &[slot]);
}

/// Gives them back. All threads of the warp that allocated take part.
pub fn deallocate<'c>(b: B<'_, 'c>, address: Value<'c>, columns: u32) {
    let text = format!("tcgen05.dealloc.cta_group::1.sync.aligned.b32 $0, {columns};");
    Ptx::new(&text).memory().run(b, &[address]);
}

/// Copies a tile of scales to tensor memory, for the lanes of each of the four warps.
pub fn copy_scales<'c>(b: B<'_, 'c>, to: Value<'c>, descriptor: Value<'c>) {
    Ptx::new("tcgen05.cp.cta_group::1.32x128b.warpx4 [$0], $1;")
        .memory()
        .run(b, &[to, descriptor]);
}

/// A product with block scales.
pub struct Multiplication<'c> {
    /// Columns of tensor memory of the sums.
    pub sums: Value<'c>,
    /// Descriptors of A and B.
    pub tiles: [Value<'c>; 2],
    /// Columns of tensor memory of their scales.
    pub scales: [Value<'c>; 2],
    /// The instruction descriptor.
    pub descriptor: Value<'c>,
    /// An `i32`, 0 where the sums begin.
    pub adds: Value<'c>,
}

/// Begins a product.
pub fn multiply<'c>(b: B<'_, 'c>, kind: Kind, own: &Multiplication<'c>) {
    let text = format!(
        "{{ .reg .pred adds; setp.ne.b32 adds, $6, 0;\n\t\
         tcgen05.mma.cta_group::1.{} [$0], $1, $2, $3, [$4], [$5], adds; }}",
        kind.qualifiers()
    );
    let [x, y] = own.tiles;
    let [x_scales, y_scales] = own.scales;
    let operands = [own.sums, x, y, own.descriptor, x_scales, y_scales, own.adds];
    Ptx::new(&text).memory().run(b, &operands);
}

/// The mbarrier is arrived at once all is done that the thread began for the matrix unit.
pub fn commit<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    Ptx::new("tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [$0];")
        .memory()
        .run(b, &[barrier]);
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
