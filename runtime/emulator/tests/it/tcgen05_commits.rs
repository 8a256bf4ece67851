//! Allocations, fences and commits of `tcgen05` in every form (PTX ISA 9.7.16.6, 9.7.16.7): columns are given once and taken
//! back, and a commit arrives where it says, behind all that its thread began.

use super::modifiers::row::{Form, forms};
use tessera_emulator::{
    Awaited, FindingKind, Global, Launch, Program, Report, launch, ptx::Module,
};

/// What a warp does with columns.
pub const COLUMNS: &[&str] = &[
    "tcgen05.alloc[.cta_group::1|.cta_group::2].sync.aligned[.shared::cta|].b32",
    "tcgen05.dealloc[.cta_group::1|.cta_group::2].sync.aligned.b32",
    "tcgen05.relinquish_alloc_permit[.cta_group::1|.cta_group::2].sync.aligned",
];

/// Fences.
pub const FENCES: &[&str] = &["tcgen05[.fence::before_thread_sync|.fence::after_thread_sync]"];

/// Commits.
pub const COMMITS: &[&str] = &[
    "tcgen05.commit[.cta_group::1|.cta_group::2].mbarrier::arrive::one[.shared::cluster|][.multicast::cluster|].b64",
];

/// Runs a cluster of two CTAs of one warp each; gives the words that each CTA stored to `[%out]`, eight for it.
fn run(body: &str) -> (Report, Vec<Option<u32>>) {
    let text = format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p, %first, %own;\n.reg .b16 %mask;\n.reg .b32 %rank, %t, %u, %v, %n;\n.reg .b64 %out, %x, %generic;\n\
         .shared .align 1024 .b8 tile[1024];\n.shared .b64 done;\n.shared .b32 slot, other;\n\
         mov.u32 %rank, %cluster_ctarank;\nld.param.u64 %out, [p];\nmad.wide.u32 %out, %rank, 32, %out;\n{body}ret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let output = memory.allocate(64);
    let mut grid = Launch::new("main")
        .grid([2, 1, 1])
        .block([32, 1, 1])
        .cluster([2, 1, 1])
        .u64(output);
    grid.step_limit = 1 << 16;
    let report = launch(&program, &mut memory, &grid).unwrap();
    let word = |i: u64| {
        let bytes = memory.read_bytes(output + 4 * i, 4).ok();
        bytes.map(|own| u32::from_le_bytes(own.try_into().unwrap()))
    };
    (report, (0..16).map(word).collect())
}

fn group(form: &Form) -> &'static str {
    if form.has("cta_group::2") { "2" } else { "1" }
}

/// A place in shared memory as a generic address where a form does not say which memory.
fn place(own: &str, is_shared: bool) -> (String, String) {
    match is_shared {
        true => (String::new(), format!("[{own}]")),
        false => (
            format!("mov.u64 %x, {own};\ncvta.shared.u64 %generic, %x;\n"),
            "[%generic]".into(),
        ),
    }
}

#[test]
fn columns_are_given_and_taken_back() {
    for form in forms(COLUMNS[0]) {
        let group = group(&form);
        let (before, slot) = place("slot", form.has("shared::cta"));
        let dealloc = format!("tcgen05.dealloc.cta_group::{group}.sync.aligned.b32");
        let other = format!("tcgen05.alloc.cta_group::{group}.sync.aligned.shared::cta.b32");
        assert!(forms(COLUMNS[1]).iter().any(|own| own.text() == dealloc));
        let alloc = form.text();
        // Two allocations have columns of their own; what was given back is given again.
        let body = format!(
            "{before}{alloc} {slot}, 256;\nld.shared.u32 %t, [slot];\n{other} [other], 256;\nld.shared.u32 %u, [other];\n\
             {dealloc} %t, 256;\n{alloc} {slot}, 128;\nld.shared.u32 %v, [slot];\n\
             st.global.u32 [%out], %t;\nst.global.u32 [%out+4], %u;\nst.global.u32 [%out+8], %v;\n\
             {dealloc} %u, 256;\n{dealloc} %v, 128;\n"
        );
        let (report, words) = run(&body);
        assert_eq!(report.findings, [], "{alloc}");
        for cta in 0..2 {
            let [t, u, v] = [0, 1, 2].map(|i| words[8 * cta + i].expect("an address"));
            // Half of the columns each, from lane 0 on.
            assert_eq!((t.min(u), t.max(u)), (0, 256), "{alloc}");
            assert!((t..t + 256).contains(&v) && v % 32 == 0, "{alloc}: {v}");
        }
        // What is not given back is found where it was asked for.
        let (report, _) = run(&format!("{before}{alloc} {slot}, 32;\n"));
        let found = &report.findings[0].kind;
        assert!(
            matches!(found, FindingKind::TensorMemory { reason } if reason.contains("at the CTA's end")),
            "{alloc}: {found}"
        );
    }
}

#[test]
fn nothing_is_allocated_behind_a_relinquished_permit() {
    for form in forms(COLUMNS[2]) {
        let relinquish = form.text();
        let group = group(&form);
        let alloc =
            format!("tcgen05.alloc.cta_group::{group}.sync.aligned.shared::cta.b32 [slot], 32;\n");
        let dealloc = format!(
            "ld.shared.u32 %t, [slot];\ntcgen05.dealloc.cta_group::{group}.sync.aligned.b32 %t, 32;\n"
        );
        let (report, _) = run(&format!("{alloc}{relinquish};\n{dealloc}"));
        assert_eq!(report.findings, [], "{relinquish}");
        let (report, _) = run(&format!("{relinquish};\n{alloc}{dealloc}"));
        let found = report.findings[0].kind.to_string();
        assert!(
            found.contains("after the permit to was relinquished"),
            "{found}"
        );
    }
}

/// Two CTAs wait for an mbarrier of one arrival, of which the first commits a copy; gives what each then has in its tensor
/// memory.
fn committed(form: &Form, mask: u32) -> (Report, Vec<Option<u32>>) {
    let group = group(form);
    let (before, done) = place("done", form.has("shared::cluster"));
    let masked = match form.has("multicast::cluster") {
        true => ", %mask",
        false => "",
    };
    let fences: String = forms(FENCES[0])
        .iter()
        .map(|fence| fence.text() + ";\n")
        .collect();
    // A copy of one CTA's is in that one's tensor memory, a pair's in both.
    let store = match form.has("cta_group::2") {
        true => "@%first st.global.u32 [%out], %v;\n",
        false => "setp.eq.and.u32 %own, %rank, 0, %first;\n@%own st.global.u32 [%out], %v;\n",
    };
    // The copy, of a tile of which all is written, is what the commit is behind.
    run(&format!(
        "mov.u32 %n, %laneid;\nshl.b32 %n, %n, 5;\nmov.u32 %t, tile;\nadd.u32 %n, %n, %t;\nmov.u32 %v, 7;\n\
         st.shared.v4.b32 [%n], {{%v,%v,%v,%v}};\nst.shared.v4.b32 [%n+16], {{%v,%v,%v,%v}};\nfence.proxy.async.shared::cta;\n\
         tcgen05.alloc.cta_group::{group}.sync.aligned.shared::cta.b32 [slot], 32;\nld.shared.u32 %t, [slot];\n\
         mov.u32 %n, %laneid;\nsetp.eq.u32 %first, %n, 0;\n@%first mbarrier.init.shared::cta.b64 [done], 1;\n\
         fence.mbarrier_init.release.cluster;\n\
         barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n\
         setp.eq.and.u32 %own, %rank, 0, %first;\n@!%own bra WAIT;\nmov.u16 %mask, {mask};\n\
         mov.u32 %n, tile;\nshr.u32 %n, %n, 4;\ncvt.u64.u32 %x, %n;\nor.b64 %x, %x, {};\n\
         tcgen05.cp.cta_group::{group}.32x128b.warpx4 [%t], %x;\n{before}{} {done}{masked};\n\
         WAIT:\nbar.warp.sync -1;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 %p, [done], 0;\n@!%p bra AGAIN;\n{fences}\
         tcgen05.ld.sync.aligned.32x32b.x1.b32 {{%v}}, [%t];\ntcgen05.wait::ld.sync.aligned;\n\
         {store}\
         barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n\
         tcgen05.dealloc.cta_group::{group}.sync.aligned.b32 %t, 32;\n",
        1u64 << 46 | (128 >> 4) << 32,
        form.text(),
    ))
}

#[test]
fn commits_of_every_form() {
    for form in forms(COMMITS[0]) {
        let is_pair = form.has("cta_group::2");
        for mask in 1..4 {
            let reached = if form.has("multicast::cluster") {
                mask
            } else {
                1
            };
            let (report, words) = committed(&form, mask);
            let text = form.text();
            for cta in 0..2 {
                let what = format!("{text}: mask {mask}, CTA {cta}");
                // Whoever it reaches may wait at the cluster's barrier for who waits for it.
                let waits_for_ever = report.findings.iter().any(|found| {
                    matches!(
                        found.kind,
                        FindingKind::Deadlock {
                            what: Awaited::Mbarrier { .. }
                        }
                    ) && found.cta[0] == cta
                });
                assert_eq!(waits_for_ever, reached >> cta & 1 == 0, "{what}");
                if !waits_for_ever && (cta == 0 || is_pair) {
                    assert_eq!(words[8 * cta as usize], Some(7), "{what}");
                }
            }
            if reached == 3 {
                assert_eq!(report.findings, [], "{text}");
            }
        }
    }
}
