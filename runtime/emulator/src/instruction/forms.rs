//! The forms of instructions: here of those that have no table of results, synchronisation, copies, lanes, matrices (PTX ISA
//! 9.7.9.25, 9.7.13 to 9.7.16). Of accesses of memory, which have too many, `accesses.rs` has the rules.
//!
//! A pattern is modifiers as the ISA writes them; `[.x|.y|]` is one of these or none. They may stand in any order, as
//! compilers put them. What no pattern has is refused before it is decoded, so that no modifier is read and means nothing.

mod ordinary;

use super::Refusal;
use super::words::Words;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// How a barrier object's place is written.
macro_rules! object {
    () => {
        "[.shared|.shared::cta|]"
    };
}

/// The same where another CTA's may be meant.
macro_rules! any_object {
    () => {
        "[.shared|.shared::cta|.shared::cluster|]"
    };
}

/// What caches are told.
macro_rules! hint {
    () => {
        "[.L2::cache_hint|]"
    };
}

/// Opcodes and their patterns.
pub(super) const FORMS: &[(&str, &[&str])] = &[
    (
        "mbarrier",
        &[
            concat!("[init|inval]", object!(), ".b64"),
            concat!(
                "[expect_tx|complete_tx][.relaxed.cta|.relaxed.cluster|]",
                any_object!(),
                ".b64"
            ),
            concat!(
                "[arrive|arrive_drop][.expect_tx|][.release.cta|.release.cluster|.relaxed.cta|.relaxed.cluster|]",
                any_object!(),
                ".b64"
            ),
            concat!(
                "[arrive|arrive_drop].noComplete[.release.cta|]",
                object!(),
                ".b64"
            ),
            concat!(
                "[test_wait|try_wait][.parity|][.acquire.cta|.acquire.cluster|.relaxed.cta|.relaxed.cluster|]",
                object!(),
                ".b64"
            ),
            "pending_count.b64",
        ],
    ),
    (
        "bar",
        &[
            "warp.sync",
            "[cta.|][sync|arrive|red.popc.u32|red.and.pred|red.or.pred]",
        ],
    ),
    (
        "barrier",
        &[
            "[cta.|][sync|arrive][.aligned|]",
            "[cta.|]red[.popc][.aligned|].u32",
            "[cta.|]red[.and|.or][.aligned|].pred",
            "cluster.arrive[.release|.relaxed|][.aligned|]",
            "cluster.wait[.acquire|][.aligned|]",
        ],
    ),
    ("membar", &["[cta|gl|sys]", "proxy[.alias|.async]"]),
    (
        "fence",
        &[
            "[sc.|acq_rel.|acquire.|release.|][cta|cluster|gpu|sys]",
            "acquire.sync_restrict::shared::cluster.cluster",
            "release.sync_restrict::shared::cta.cluster",
            "mbarrier_init.release.cluster",
            "proxy[.alias|.async|.async.global|.async.shared::cta|.async.shared::cluster]",
            "proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster",
            "proxy.async::generic.release.sync_restrict::shared::cta.cluster",
            "proxy.tensormap::generic[.acquire|.release][.cta|.cluster|.gpu|.sys]",
        ],
    ),
    (
        "tensormap",
        &[
            "replace.tile[.global_address|.global_stride][.global|.shared::cta|].b1024.b64",
            "replace.tile[.rank|.box_dim|.global_dim|.element_stride|.elemtype|.interleave_layout|.swizzle_mode\
             |.swizzle_atomicity|.fill_mode][.global|.shared::cta|].b1024.b32",
            "cp_fenceproxy.global.shared::cta.tensormap::generic.release[.cta|.cluster|.gpu|.sys].sync.aligned",
        ],
    ),
    (
        "mov",
        &["[pred|b16|b32|b64|b128|u16|u32|u64|s16|s32|s64|f32|f64]"],
    ),
    (
        "cvta",
        &[
            // Addresses of 32 bits are of modules of such.
            "[to.|][global|shared|shared::cta|shared::cluster|local|const|param|param::entry].u64",
        ],
    ),
    (
        "isspacep",
        &["[global|shared|shared::cta|shared::cluster|local|param|param::entry]"],
    ),
    ("mapa", &["shared::cluster[.u32|.u64]", "u64"]),
    ("getctarank", &["shared::cluster[.u32|.u64]", "u64"]),
    (
        "prefetch",
        &[
            "[global.|local.|][L1|L2]",
            "[global.|][L2::evict_last|L2::evict_normal]",
            "[const.|param.|]tensormap",
        ],
    ),
    ("prefetchu", &["L1"]),
    ("discard", &["[global.|]L2"]),
    ("applypriority", &["[global.|]L2::evict_normal"]),
    (
        "createpolicy",
        &[
            "[fractional|range|range.global][.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged]\
             [.L2::evict_first|.L2::evict_unchanged|].b64",
            "cvt.L2.b64",
        ],
    ),
    ("griddepcontrol", &["[wait|launch_dependents]"]),
    ("setmaxnreg", &["[inc|dec].sync.aligned.u32"]),
    ("nanosleep", &["u32"]),
    ("pmevent", &["", "mask"]),
    ("brkpt", &[""]),
    ("trap", &[""]),
    ("exit", &[""]),
    ("ret", &["[uni|]"]),
    ("bra", &["[uni|]"]),
    ("call", &["[uni|]"]),
    ("brx", &["idx[.uni|]"]),
    ("shfl", &["sync[.up|.down|.bfly|.idx].b32"]),
    ("vote", &["sync[.all|.any|.uni].pred", "sync.ballot.b32"]),
    ("match", &["[any|all].sync[.b32|.b64]"]),
    ("activemask", &["b32"]),
    ("elect", &["sync"]),
    (
        "redux",
        &[
            "sync[.add|.min|.max][.u32|.s32]",
            "sync[.and|.or|.xor].b32",
            "sync[.min|.max][.abs|][.NaN|].f32",
        ],
    ),
    (
        "cp",
        &[
            concat!(
                "async[.ca|.cg][.shared|.shared::cta].global",
                hint!(),
                "[.L2::64B|.L2::128B|.L2::256B|]"
            ),
            "async[.commit_group|.wait_group|.wait_all]",
            concat!("async.mbarrier.arrive[.noinc|]", object!(), ".b64"),
            concat!(
                "async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes[.multicast::cluster|]",
                hint!()
            ),
            concat!(
                "async.bulk.shared::cta.global.mbarrier::complete_tx::bytes",
                hint!()
            ),
            "async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
            concat!("async.bulk.global.shared::cta.bulk_group", hint!()),
            concat!("async.bulk.prefetch.L2.global", hint!()),
            "async.bulk[.commit_group|.wait_group|.wait_group.read]",
            "reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.and|.or|.xor].b32",
            "reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.add|.min|.max][.s32|.u32]",
            "reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u64",
            "reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes[.inc|.dec].u32",
            concat!(
                "reduce.async.bulk.global.shared::cta.bulk_group",
                hint!(),
                "[.and|.or|.xor][.b32|.b64]"
            ),
            concat!(
                "reduce.async.bulk.global.shared::cta.bulk_group",
                hint!(),
                "[.add|.min|.max][.s32|.u32|.u64]"
            ),
            concat!(
                "reduce.async.bulk.global.shared::cta.bulk_group",
                hint!(),
                "[.min|.max][.s64|.f16|.bf16]"
            ),
            concat!(
                "reduce.async.bulk.global.shared::cta.bulk_group",
                hint!(),
                "[.inc|.dec].u32"
            ),
            concat!(
                "reduce.async.bulk.global.shared::cta.bulk_group",
                hint!(),
                ".add[.f32|.f64|.noftz.f16|.noftz.bf16]"
            ),
            concat!(
                "async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].shared::cluster.global[.tile|].mbarrier::complete_tx::bytes\
                 [.multicast::cluster|][.cta_group::1|.cta_group::2|]",
                hint!()
            ),
            concat!(
                "async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].shared::cta.global[.tile|].mbarrier::complete_tx::bytes\
                 [.cta_group::1|.cta_group::2|]",
                hint!()
            ),
            concat!(
                "async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].global.shared::cta[.tile|].bulk_group",
                hint!()
            ),
            concat!(
                "reduce.async.bulk.tensor[.1d|.2d|.3d|.4d|.5d].global.shared::cta[.add|.min|.max|.inc|.dec|.and|.or|.xor]\
                 [.tile|].bulk_group",
                hint!()
            ),
            concat!(
                "async.bulk.prefetch.tensor[.1d|.2d|.3d|.4d|.5d].L2.global[.tile|]",
                hint!()
            ),
        ],
    ),
    (
        "ldmatrix",
        &[
            "sync.aligned.m8n8[.x1|.x2|.x4][.trans|][.shared|.shared::cta|].b16",
            "sync.aligned.m8n16[.x1|.x2|.x4][.shared|.shared::cta|].b8x16[.b6x16_p32|.b4x16_p64]",
            "sync.aligned.m16n16[.x1|.x2].trans[.shared|.shared::cta|][.b8|.b8x16.b6x16_p32|.b8x16.b4x16_p64]",
        ],
    ),
    ("movmatrix", &["sync.aligned.m8n8.trans.b16"]),
    (
        "stmatrix",
        &[
            "sync.aligned.m8n8[.x1|.x2|.x4][.trans|][.shared|.shared::cta|].b16",
            "sync.aligned.m16n8[.x1|.x2|.x4].trans[.shared|.shared::cta|].b8",
        ],
    ),
    (
        "mma",
        &[
            "sync.aligned.m8n8k4[.row|.col][.row|.col][.f16.f16.f16.f16|.f32.f16.f16.f16|.f32.f16.f16.f32]",
            "sync.aligned[.m8n8k128|.m16n8k128|.m16n8k256].row.col.s32.b1.b1.s32[.and|.xor].popc",
            "sync.aligned[.m16n8k8|.m16n8k16].row.col[.f16.f16.f16.f16|.f32.f16.f16.f32|.f32.bf16.bf16.f32]",
            "sync.aligned[.m16n8k4|.m16n8k8].row.col.f32.tf32.tf32.f32",
            "sync.aligned[.m8n8k4|.m16n8k4|.m16n8k8|.m16n8k16].row.col.f64.f64.f64.f64",
            "sync.aligned[.m16n8k16|.m16n8k32].row.col.f16[.e4m3|.e5m2][.e4m3|.e5m2].f16",
            "sync.aligned[.m16n8k16|.m16n8k32].row.col.f32[.e4m3|.e5m2][.e4m3|.e5m2].f32",
            "sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1]\
             [.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f16",
            "sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1]\
             [.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f32",
            "sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale[.scale_vec::1X|].f32[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1]\
             [.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f32.ue8m0",
            "sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale[.scale_vec::2X|].f32.e2m1.e2m1.f32.ue8m0",
            "sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale[.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0\
             |.scale_vec::4X.f32.e2m1.e2m1.f32.ue8m0|.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3]",
            "sync.aligned[.m8n8k16|.m16n8k16|.m16n8k32].row.col[.satfinite|].s32[.s8|.u8][.s8|.u8].s32",
            "sync.aligned[.m8n8k32|.m16n8k32|.m16n8k64].row.col[.satfinite|].s32[.s4|.u4][.s4|.u4].s32",
        ],
    ),
    (
        "wgmma",
        // N are the columns, of which the decoder knows how many there may be.
        &[
            "[fence|commit_group|wait_group].sync.aligned",
            "mma_async.sync.aligned.m64nNk16[.f16.f16.f16|.f32.f16.f16|.f32.bf16.bf16]",
            "mma_async.sync.aligned.m64nNk8.f32.tf32.tf32",
            "mma_async.sync.aligned.m64nNk32[.f16|.f32][.e4m3|.e5m2][.e4m3|.e5m2]",
            "mma_async.sync.aligned.m64nNk32[.satfinite|].s32[.s8|.u8][.s8|.u8]",
        ],
    ),
    (
        "tcgen05",
        &[
            "alloc[.cta_group::1|.cta_group::2].sync.aligned[.shared::cta|].b32",
            "dealloc[.cta_group::1|.cta_group::2].sync.aligned.b32",
            "relinquish_alloc_permit[.cta_group::1|.cta_group::2].sync.aligned",
            "ld.sync.aligned[.32x32b|.16x64b|.16x32bx2][.x1|.x2|.x4|.x8|.x16|.x32|.x64|.x128][.pack::16b|].b32",
            "ld.sync.aligned.16x128b[.x1|.x2|.x4|.x8|.x16|.x32|.x64][.pack::16b|].b32",
            "ld.sync.aligned.16x256b[.x1|.x2|.x4|.x8|.x16|.x32][.pack::16b|].b32",
            "st.sync.aligned[.32x32b|.16x64b|.16x32bx2][.x1|.x2|.x4|.x8|.x16|.x32|.x64|.x128][.unpack::16b|].b32",
            "st.sync.aligned.16x128b[.x1|.x2|.x4|.x8|.x16|.x32|.x64][.unpack::16b|].b32",
            "st.sync.aligned.16x256b[.x1|.x2|.x4|.x8|.x16|.x32][.unpack::16b|].b32",
            "[wait::ld|wait::st].sync.aligned",
            "[fence::before_thread_sync|fence::after_thread_sync]",
            "cp[.cta_group::1|.cta_group::2][.128x256b|.4x256b|.128x128b|.64x128b.warpx2::02_13|.64x128b.warpx2::01_23\
             |.32x128b.warpx4][.b8x16.b6x16_p32|.b8x16.b4x16_p64|]",
            "commit[.cta_group::1|.cta_group::2].mbarrier::arrive::one[.shared::cluster|][.multicast::cluster|].b64",
            "mma[.cta_group::1|.cta_group::2][.kind::f16|.kind::tf32|.kind::f8f6f4|.kind::i8]\
             [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
            "mma[.cta_group::1|.cta_group::2].kind::mxf8f6f4.block_scale[.scale_vec::1X|.block32|]\
             [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
            "mma[.cta_group::1|.cta_group::2].kind::mxf4.block_scale[.scale_vec::2X|.block32|]\
             [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
            "mma[.cta_group::1|.cta_group::2].kind::mxf4nvf4.block_scale[.scale_vec::2X|.scale_vec::4X|.block16|.block32]\
             [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
        ],
    ),
];

/// The forms of each opcode: their modifiers, sorted.
static KNOWN: LazyLock<HashMap<&'static str, BTreeSet<Vec<&'static str>>>> = LazyLock::new(|| {
    let of = |opcode: &str, patterns: &'static [&'static str]| {
        let forms = patterns.iter().flat_map(|pattern| expand(pattern));
        forms
            .map(|pieces| sorted(opcode, pieces.into_iter()))
            .collect()
    };
    let all = FORMS.iter().chain(ordinary::FORMS);
    all.map(|&(opcode, patterns)| (opcode, of(opcode, patterns)))
        .collect()
});

/// The pieces of text of each of a pattern's forms.
fn expand(pattern: &'static str) -> Vec<Vec<&'static str>> {
    let mut forms = vec![Vec::new()];
    // Text stands before every bracket, choices behind it.
    for (place, part) in pattern.split(['[', ']']).enumerate() {
        let choices: Vec<&str> = if place % 2 == 0 {
            vec![part]
        } else {
            part.split('|').collect()
        };
        let longer = forms.iter().flat_map(|form: &Vec<&'static str>| {
            choices
                .iter()
                .map(move |choice| form.iter().copied().chain([*choice]).collect())
        });
        forms = longer.collect();
    }
    forms
}

/// The modifiers of an instruction whose types are one thing's and another's in this order.
const ORDERED: &[&str] = &["cvt", "set", "slct", "add", "sub", "fma"];

/// Modifiers in an order of their own, but for the types of instructions that are told by these' order.
fn sorted<'t>(opcode: &str, pieces: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let words = pieces.flat_map(|piece| piece.split('.'));
    let words = words.filter(|word| !word.is_empty());
    let is_ordered = ORDERED.contains(&opcode);
    let (types, mut words): (Vec<&str>, Vec<&str>) =
        words.partition(|word| is_ordered && is_type(word));
    words.sort_unstable();
    words.extend(types);
    words
}

/// Whether a modifier is a type of numbers: a letter or more, and then how many bits or of what.
fn is_type(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let begins = &word[..word.len() - digits.len()];
    matches!(begins, "u" | "s" | "b" | "f" | "bf" | "tf" | "e" | "ue")
        && digits.starts_with(|c: char| c.is_ascii_digit())
}

/// The forms of an opcode, each its modifiers, sorted.
#[cfg(test)]
pub(super) fn of(opcode: &str) -> impl Iterator<Item = &Vec<&'static str>> {
    KNOWN.get(opcode).into_iter().flatten()
}

/// The opcodes that have tables of results.
#[cfg(test)]
pub(super) fn ordinary() -> impl Iterator<Item = &'static str> {
    ordinary::FORMS.iter().map(|&(opcode, _)| opcode)
}

/// A modifier, of shapes of `wgmma` that of all that differ in their columns.
fn any_columns(word: &str) -> &str {
    let k = word
        .strip_prefix("m64n")
        .and_then(|rest| rest.split_once('k'));
    match k {
        Some((columns, "8")) if is_number(columns) => "m64nNk8",
        Some((columns, "16")) if is_number(columns) => "m64nNk16",
        Some((columns, "32")) if is_number(columns) => "m64nNk32",
        _ => word,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// That an instruction has a form that is known: one whose opcode has patterns, one of these, whatever the order.
pub(super) fn check(words: &Words<'_>) -> Result<(), Refusal> {
    let Some(forms) = KNOWN.get(words.opcode()) else {
        return Ok(());
    };
    let modifiers = words.instruction.modifiers.iter();
    let modifiers = modifiers.map(|word| any_columns(word));
    let opcode = words.opcode();
    if forms.contains(&sorted(opcode, modifiers.clone())) {
        return Ok(());
    }
    let not_modelled = |modifier: &str| {
        Err(words.refuse(format!(
            "has the modifier .{modifier}, which is not modelled"
        )))
    };
    // One without which it has a form; else the first that no form has beside those before it.
    for (place, modifier) in modifiers.clone().enumerate() {
        let others = modifiers.clone().enumerate();
        let others = others.filter(|(other, _)| *other != place);
        if forms.contains(&sorted(opcode, others.map(|(_, word)| word))) {
            return not_modelled(modifier);
        }
    }
    let mut candidates: Vec<Vec<&str>> = forms.iter().cloned().collect();
    for modifier in modifiers {
        candidates.retain_mut(|left| {
            let place = left.iter().position(|word| *word == modifier);
            place.map(|place| left.remove(place)).is_some()
        });
        if candidates.is_empty() {
            return not_modelled(modifier);
        }
    }
    Err(words.refuse("lacks a modifier of every form that is modelled"))
}
