//! `fence` and `membar` in every form, against what the ISA says whom and what they order (PTX ISA 8.5, 8.7 to 8.10,
//! 9.7.13.4).

use super::modifiers::row::{Form, forms};
use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

/// Orders of a thread's accesses.
pub const THREADS: &[&str] = &[
    "membar[.cta|.gl|.sys]",
    "fence[.sc|.acq_rel|.acquire|.release|][.cta|.cluster|.gpu|.sys]",
];

/// The same of shared memory alone: what was written to the own CTA's, and what is read of the cluster's.
pub const RESTRICTED: &[&str] = &[
    "fence.release.sync_restrict::shared::cta.cluster",
    "fence.acquire.sync_restrict::shared::cluster.cluster",
];

/// The same of mbarriers that were made.
pub const MADE: &[&str] = &["fence.mbarrier_init.release.cluster"];

/// Orders of accesses through the generic proxy and the asynchronous one.
pub const ASYNCHRONOUS: &[&str] = &[
    "membar.proxy.async",
    "fence.proxy.async[.global|.shared::cta|.shared::cluster|]",
    "fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster",
    "fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster",
];

/// Orders of accesses by other names of memory, and of those of tensor maps.
pub const OTHERS: &[&str] = &[
    "membar.proxy.alias",
    "fence.proxy.alias",
    "fence.proxy.tensormap::generic[.acquire|.release][.cta|.cluster|.gpu|.sys]",
];

fn forms_of(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

/// Where two threads are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Together {
    Cta,
    Cluster,
    Device,
}

const TOGETHER: [Together; 3] = [Together::Cta, Together::Cluster, Together::Device];

/// What is found in two warps, `%w` 0 and 1, under some schedules: their first lanes execute a body. `%x` is global memory of
/// zeros, `%own` and `%other` are shared memory of the own CTA and of the one of rank 0, of zeros too.
fn found(together: Together, body: &str) -> Vec<Finding> {
    let (ctas, cluster, threads) = match together {
        Together::Cta => (1, 1, 64),
        Together::Cluster => (2, 2, 32),
        Together::Device => (2, 1, 32),
    };
    let text = format!(
        ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b64 %x, %s;\n.reg .b32 %t, %c, %w, %l, %d, %f, %own, %other;\n.reg .pred %p, %q;\n\
         .shared .align 128 .b8 own[128];\n.shared .align 8 .b64 object;\n\
         ld.param.u64 %x, [p];\nmov.u32 %t, %tid.x;\nmov.u32 %c, %ctaid.x;\nshr.u32 %w, %t, 5;\nadd.u32 %w, %w, %c;\n\
         and.b32 %l, %t, 31;\nsetp.ne.u32 %p, %l, 0;\nmov.u32 %own, own;\nmapa.shared::cluster.u32 %other, %own, 0;\n\
         setp.ne.u32 %q, %t, 0;\n@%q bra MADE;\nst.shared.v4.b32 [own], {{0, 0, 0, 0}};\nMADE:\n\
         barrier.cluster.arrive;\nbarrier.cluster.wait;\n@%p bra END;\n{body}\nEND:\n\
         bar.warp.sync -1;\nbarrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut all = Vec::new();
    for seed in 0..6 {
        let mut memory = Global::new();
        let x = memory.allocate_with(vec![0; 256]);
        let mut grid = Launch::new("main")
            .grid([ctas, 1, 1])
            .cluster([cluster, 1, 1])
            .block([threads, 1, 1])
            .u64(x);
        grid.seed = seed;
        grid.step_limit = 1 << 16;
        all.extend(launch(&program, &mut memory, &grid).unwrap().findings);
    }
    all
}

/// Whether a body has races, and nothing else that is wrong.
fn races(together: Together, body: &str) -> bool {
    let all = found(together, body);
    for finding in &all {
        assert!(
            matches!(finding.kind, FindingKind::Race { .. }),
            "{finding}: {body}"
        );
    }
    !all.is_empty()
}

/// Warp 0 writes 7 somewhere, fences, and sets a flag; warp 1 waits for the flag, fences, and reads.
fn message(memory: &str, place: &str, before: &str, behind: &str) -> String {
    format!(
        "setp.ne.u32 %q, %w, 0;\n@%q bra READ;\nst.{memory}.u32 [{place}], 7;\n{before}\n\
         st.relaxed.sys.{memory}.u32 [{place}+4], 1;\nbra END;\nREAD:\nld.relaxed.sys.{memory}.u32 %f, [{place}+4];\n\
         setp.eq.u32 %q, %f, 0;\n@%q bra READ;\n{behind}\nld.{memory}.u32 %d, [{place}];\n"
    )
}

#[test]
fn fences_of_threads() {
    for form in forms_of(THREADS) {
        let reach = match &form.words[form.words.len() - 1][..] {
            "cta" => Together::Cta,
            "cluster" => Together::Cluster,
            _ => Together::Device,
        };
        let fence = format!("{};", form.text());
        let all = "fence.acq_rel.sys;";
        for together in TOGETHER {
            let tells = !form.has("acquire") && reach >= together;
            let body = message("global", "%x", &fence, all);
            assert_eq!(races(together, &body), !tells, "{fence} tells {together:?}");
            let hears = !form.has("release") && reach >= together;
            let body = message("global", "%x", all, &fence);
            assert_eq!(races(together, &body), !hears, "{fence} hears {together:?}");
        }
    }
    assert!(races(
        Together::Cta,
        &message("global", "%x", "", "fence.acq_rel.sys;")
    ));
}

#[test]
fn fences_of_shared_memory() {
    let [release, acquire] = RESTRICTED else {
        panic!("a release and an acquire");
    };
    for (before, behind, is_ordered) in [
        (format!("{release};"), format!("{acquire};"), true),
        (format!("{release};"), String::new(), false),
        (String::new(), format!("{acquire};"), false),
        // Neither does the other one's work.
        (format!("{acquire};"), format!("{acquire};"), false),
        (format!("{release};"), format!("{release};"), false),
    ] {
        let body = message("shared::cluster", "%other", &before, &behind);
        assert_eq!(
            races(Together::Cluster, &body),
            !is_ordered,
            "{before} {behind}"
        );
    }
}

#[test]
fn fences_of_mbarriers_that_were_made() {
    // The first CTA makes one in its memory and tells so by a flag; the other one arrives at it.
    let body = |fence: &str| {
        format!(
            "setp.ne.u32 %q, %w, 0;\n@%q bra WAIT;\nmbarrier.init.shared.b64 [object], 1;\n{fence}\n\
             st.relaxed.cluster.global.u32 [%x], 1;\nbra END;\nWAIT:\nld.relaxed.cluster.global.u32 %f, [%x];\n\
             setp.eq.u32 %q, %f, 0;\n@%q bra WAIT;\nfence.acquire.cluster;\nmov.u32 %d, object;\n\
             mapa.shared::cluster.u32 %d, %d, 0;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [%d];\n"
        )
    };
    for form in forms_of(MADE) {
        let fence = format!("{};", form.text());
        assert!(!races(Together::Cluster, &body(&fence)), "{fence}");
    }
    assert!(races(Together::Cluster, &body("")));
}

#[test]
fn copies_that_are_no_bulk_copies_go_through_the_generic_proxy() {
    let body = |fence: &str| {
        format!(
            "setp.ne.u32 %q, %w, 0;\n@%q bra END;\ncp.async.ca.shared.global [own], [%x], 16;\ncp.async.wait_all;\n{fence}\n\
             cp.async.bulk.global.shared::cta.bulk_group [%x+64], [own], 16;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\n"
        )
    };
    assert_eq!(found(Together::Cta, &body("fence.proxy.async;")), []);
    let all = found(Together::Cta, &body("fence.acq_rel.cta;"));
    let is_of_proxies = |finding: &Finding| matches!(finding.kind, FindingKind::Race { needs_proxy_fence, .. } if needs_proxy_fence);
    assert!(!all.is_empty() && all.iter().all(is_of_proxies), "{all:?}");
}

/// Warp 0 writes sixteen bytes of a memory, fences, and has them copied to the other one.
fn copied(from_shared: bool, fence: &str) -> String {
    let copy = if from_shared {
        format!(
            "st.shared.v4.u32 [own], {{1, 2, 3, 4}};\n{fence}\ncp.async.bulk.global.shared::cta.bulk_group [%x], [own], 16;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\n"
        )
    } else {
        format!(
            "mbarrier.init.shared.b64 [object], 1;\nst.global.v4.u32 [%x], {{1, 2, 3, 4}};\n{fence}\n\
             mbarrier.arrive.expect_tx.shared.b64 %s, [object], 16;\n\
             cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [own+16], [%x], 16, [object];\n\
             WAIT:\nmbarrier.try_wait.shared.b64 %q, [object], %s;\n@!%q bra WAIT;\n"
        )
    };
    format!("setp.ne.u32 %q, %w, 0;\n@%q bra END;\n{copy}")
}

#[test]
fn fences_of_proxies() {
    let needs_fence = |body: &str| {
        let all = found(Together::Cta, body);
        for finding in &all {
            let FindingKind::Race {
                needs_proxy_fence, ..
            } = finding.kind
            else {
                panic!("{finding}");
            };
            assert!(needs_proxy_fence, "{finding}");
        }
        !all.is_empty()
    };
    for form in forms_of(ASYNCHRONOUS) {
        let fence = format!("{};", form.text());
        let is_of_shared = form.words.iter().any(|word| word.contains("shared"));
        let is_of_global = form.has("global");
        assert_eq!(needs_fence(&copied(true, &fence)), is_of_global, "{fence}");
        assert_eq!(needs_fence(&copied(false, &fence)), is_of_shared, "{fence}");
    }
    // What orders neither leaves both as they are.
    for form in forms_of(OTHERS) {
        let operands = if form.has("acquire") {
            " [%x], 128"
        } else {
            ""
        };
        let fence = format!("{}{operands};", form.text());
        assert!(needs_fence(&copied(true, &fence)), "{fence}");
        assert!(needs_fence(&copied(false, &fence)), "{fence}");
    }
    assert!(needs_fence(&copied(true, "fence.acq_rel.sys;")));
}
