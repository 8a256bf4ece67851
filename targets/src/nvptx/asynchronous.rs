//! What asynchronous products are waited for with, and what brings them their operands, as PTX: mbarriers, copies by tensor
//! maps, fences between proxies.
//!
//! Addresses of shared memory are `i32`, of its own window.

use super::inline::Ptx;
use crate::mlir::{Builder, IntegerPredicate, Value};

type B<'a, 'c> = &'a Builder<'c>;

/// An address in shared memory, or a distance.
pub fn word<'c>(b: &Builder<'c>, x: Value<'c>) -> Value<'c> {
    b.cast("arith.trunci", x, b.integer(32))
}

/// Makes an mbarrier whose phase ends by so many arrivals.
pub fn initialise<'c>(b: B<'_, 'c>, barrier: Value<'c>, arrivals: i64) {
    let text = format!("mbarrier.init.shared::cta.b64 [$0], {arrivals};");
    Ptx::new(&text).memory().run(b, &[barrier]);
}

/// The mbarriers that the thread made are seen as such by the matrix unit.
pub fn fence_initialised(b: B<'_, '_>) {
    Ptx::new("fence.mbarrier_init.release.cluster;")
        .memory()
        .run(b, &[]);
}

/// So many bytes more have to come before the mbarrier's phase ends.
pub fn expect_bytes<'c>(b: B<'_, 'c>, barrier: Value<'c>, bytes: i64) {
    let text = format!("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], {bytes};");
    Ptx::new(&text).memory().run(b, &[barrier]);
}

/// One more parameter of the kernel, a tensor map: the address by which instructions, not loads, find it.
pub fn map_parameter<'c>(b: B<'_, 'c>) -> Value<'c> {
    let parameter = b.argument(b.pointer());
    b.cast("llvm.ptrtoint", parameter, b.i64())
}

/// Copies the box at a place of a tensor map, the innermost dimension first, to shared memory; the mbarrier learns of the
/// bytes.
pub fn copy_box<'c>(
    b: B<'_, 'c>,
    to: Value<'c>,
    map: Value<'c>,
    place: &[Value<'c>],
    barrier: Value<'c>,
) {
    copy_box_with(b, "", (to, map, barrier), place);
}

/// The same of a CTA of a pair, where the mbarrier is either's.
pub fn copy_box_of_pair<'c>(
    b: B<'_, 'c>,
    to: Value<'c>,
    map: Value<'c>,
    place: &[Value<'c>],
    barrier: Value<'c>,
) {
    copy_box_with(b, ".cta_group::2", (to, map, barrier), place);
}

fn copy_box_with<'c>(
    b: B<'_, 'c>,
    group: &str,
    (to, map, barrier): (Value<'c>, Value<'c>, Value<'c>),
    place: &[Value<'c>],
) {
    let rank = place.len();
    let numbers: Vec<String> = (0..rank).map(|i| format!("${}", 3 + i)).collect();
    let text = format!(
        "cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes{group} [$0], [$1, {{{}}}], [$2];",
        numbers.join(", ")
    );
    let operands = [&[to, map, barrier], place].concat();
    Ptx::new(&text).memory().run(b, &operands);
}

/// Copies so many bytes, a multiple of 16, from global memory to shared memory of the CTA; its mbarrier learns of them.
pub fn copy_bytes<'c>(
    b: B<'_, 'c>,
    to: Value<'c>,
    from: Value<'c>,
    bytes: i64,
    barrier: Value<'c>,
) {
    let text = format!(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], {bytes}, [$2];"
    );
    Ptx::new(&text).memory().run(b, &[to, from, barrier]);
}

/// Arrives at an mbarrier.
pub fn arrive<'c>(b: B<'_, 'c>, barrier: Value<'c>) {
    Ptx::new("mbarrier.arrive.shared::cta.b64 _, [$0];")
        .memory()
        .run(b, &[barrier]);
}

/// Arrives at an mbarrier whose phase ends once so many bytes more have come.
pub fn arrive_expecting<'c>(b: B<'_, 'c>, barrier: Value<'c>, bytes: i64) {
    let text = format!("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], {bytes};");
    Ptx::new(&text).memory().run(b, &[barrier]);
}

/// Arrives at an mbarrier where an `i32` is not 0.
pub fn arrive_where<'c>(b: B<'_, 'c>, barrier: Value<'c>, arrives: Value<'c>) {
    const TEXT: &str = "{ .reg .pred arrives; setp.ne.b32 arrives, $1, 0;\n\t\
                        @arrives mbarrier.arrive.shared::cta.b64 _, [$0]; }";
    Ptx::new(TEXT).memory().run(b, &[barrier, arrives]);
}

/// Waits until the phase of that parity has ended.
pub fn wait<'c>(b: B<'_, 'c>, barrier: Value<'c>, parity: Value<'c>) {
    wait_with(b, "", barrier, parity);
}

/// The same where other CTAs of the cluster arrive too: what they wrote before is seen.
pub fn wait_in_cluster<'c>(b: B<'_, 'c>, barrier: Value<'c>, parity: Value<'c>) {
    wait_with(b, ".acquire.cluster", barrier, parity);
}

fn wait_with<'c>(b: B<'_, 'c>, order: &str, barrier: Value<'c>, parity: Value<'c>) {
    let ask = format!(
        "{{ .reg .pred ended; mbarrier.try_wait.parity{order}.shared::cta.b64 ended, [$1], $2; \
         selp.b32 $0, 1, 0, ended; }}"
    );
    let goes_on = |(): &mut (), b: Builder<'c>, _: &[Value<'c>]| {
        let ended = Ptx::new(&ask).memory().word(&b, &[barrier, parity]);
        let zero = b.constant_integer(b.integer(32), 0);
        Ok::<_, std::convert::Infallible>(b.compare_integers(IntegerPredicate::Eq, ended, zero))
    };
    let Ok(_) = b.while_loop(&mut (), &[], goes_on, |(), _, _| Ok(Vec::new()));
}

/// What the thread wrote to shared memory before is seen by what is begun for the matrix unit after.
pub fn fence_for_matrix_unit(b: B<'_, '_>) {
    Ptx::new("fence.proxy.async.shared::cta;")
        .memory()
        .run(b, &[]);
}

/// Waits until the use before that of a parity has ended. What was not used yet is free: the phase before an mbarrier's
/// first counts as ended, with the parity 1.
pub fn wait_before<'c>(b: B<'_, 'c>, barrier: Value<'c>, parity: Value<'c>) {
    wait(b, barrier, other(b, parity));
}

/// The same where other CTAs of the cluster arrive too.
pub fn wait_before_in_cluster<'c>(b: B<'_, 'c>, barrier: Value<'c>, parity: Value<'c>) {
    wait_in_cluster(b, barrier, other(b, parity));
}

fn other<'c>(b: B<'_, 'c>, parity: Value<'c>) -> Value<'c> {
    let one = b.constant_integer(b.integer(32), 1);
    b.binary("arith.xori", parity, one)
}

/// Writes four words to shared memory.
pub fn store_words<'c>(b: B<'_, 'c>, to: Value<'c>, words: [Value<'c>; 4]) {
    let [w, x, y, z] = words;
    Ptx::new("st.shared.v4.b32 [$0], {$1, $2, $3, $4};")
        .memory()
        .run(b, &[to, w, x, y, z]);
}
