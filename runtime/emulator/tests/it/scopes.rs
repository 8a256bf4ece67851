//! Scopes of strong accesses, fences and waits: who tells and who is told must each be within the other's.

use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

/// What is found of a kernel of two CTAs of a warp each, in a cluster of so many, under some schedules; `%p1` says that a lane is
/// the first one of its CTA, `%p2` that its CTA is the second.
fn found(cluster: u32, body: &str) -> Vec<(Finding, String)> {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n.reg .pred %p<5>;\n\
         .reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n.shared .align 8 .b8 object[8];\n.shared .align 4 .b8 data[4];\n\
         ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nsetp.eq.u32 %p1, %r1, 0;\nmov.u32 %r2, %ctaid.x;\n\
         setp.eq.u32 %p2, %r2, 1;\n{body}\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut all = Vec::new();
    for seed in 0..8 {
        let mut memory = Global::new();
        let x = memory.allocate_with(vec![0; 8]);
        let mut grid = Launch::new("main")
            .grid([2, 1, 1])
            .cluster([cluster, 1, 1])
            .block([32, 1, 1])
            .u64(x);
        grid.seed = seed;
        grid.step_limit = 1 << 16;
        for finding in launch(&program, &mut memory, &grid).unwrap().findings {
            let line = text.lines().nth(finding.place.line as usize - 1);
            all.push((finding, line.unwrap_or_default().to_owned()));
        }
    }
    all
}

/// The first lane of CTA 0 writes data and then a flag; that of CTA 1 reads the flag until it is set, and then the data.
fn flag(writes: &str, reads: &str) -> String {
    format!(
        "@!%p1 bra END;\n@%p2 bra READ;\nst.global.u32 [%rd1], 7;\n{writes}\nbra END;\nREAD:\n{reads}\n\
         setp.eq.u32 %p3, %r3, 0;\n@%p3 bra READ;\nBEHIND\nld.global.u32 %r4, [%rd1];\nEND:\nret;"
    )
}

/// Whether the read of the data, or the write where it came later, is found to race.
fn data_races(body: &str) -> bool {
    let all = found(1, body);
    let is_data = |line: &str| line.ends_with("[%rd1];") || line.ends_with("[%rd1], 7;");
    for (finding, line) in &all {
        assert!(
            matches!(finding.kind, FindingKind::Race { .. }) && line.contains("global"),
            "{finding} {line}"
        );
    }
    all.iter().any(|(_, line)| is_data(line))
}

#[test]
fn a_release_and_an_acquire_that_both_reach_the_other_cta() {
    let pairs = [
        (
            "st.release.gpu.global.u32 [%rd1+4], 1;",
            "ld.acquire.gpu.global.u32 %r3, [%rd1+4];",
        ),
        (
            "st.release.sys.global.u32 [%rd1+4], 1;",
            "ld.acquire.gpu.global.u32 %r3, [%rd1+4];",
        ),
        (
            "red.release.gpu.global.add.u32 [%rd1+4], 1;",
            "atom.acquire.gpu.global.add.u32 %r3, [%rd1+4], 0;",
        ),
    ];
    for (writes, reads) in pairs {
        let body = flag(writes, reads).replace("BEHIND", "");
        assert_eq!(found(1, &body), [], "{writes} {reads}");
    }
}

#[test]
fn an_acquire_or_a_release_of_the_own_cta_alone() {
    for (writes, reads) in [
        ("gpu", "cta"),
        ("cta", "gpu"),
        ("cluster", "gpu"),
        ("gpu", "cluster"),
    ] {
        let body = flag(
            &format!("st.release.{writes}.global.u32 [%rd1+4], 1;"),
            &format!("ld.acquire.{reads}.global.u32 %r3, [%rd1+4];"),
        );
        let body = body.replace("BEHIND", "");
        assert!(data_races(&body), "{writes} {reads}");
        // The flag's accesses are not strong to each other.
        let all = found(1, &body);
        assert!(
            all.iter().any(|(_, line)| line.contains("[%rd1+4]")),
            "{all:?}"
        );
    }
    // Of one cluster the cluster's scope is wide enough.
    let body = flag(
        "st.release.cluster.global.u32 [%rd1+4], 1;",
        "ld.acquire.cluster.global.u32 %r3, [%rd1+4];",
    );
    assert_eq!(found(2, &body.replace("BEHIND", "")), []);
}

#[test]
fn fences_around_relaxed_accesses() {
    let body = |releases: &str, acquires: &str| {
        flag(
            &format!("{releases}\nst.relaxed.gpu.global.u32 [%rd1+4], 1;"),
            "ld.relaxed.gpu.global.u32 %r3, [%rd1+4];",
        )
        .replace("BEHIND", acquires)
    };
    let (wide, narrow) = ("fence.acq_rel.gpu;", "fence.acq_rel.cta;");
    assert_eq!(found(1, &body(wide, wide)), []);
    assert_eq!(found(1, &body("membar.gl;", "fence.sc.sys;")), []);
    assert!(data_races(&body(wide, narrow)));
    assert!(data_races(&body(narrow, wide)));
    assert!(data_races(&body(wide, "membar.cta;")));
    assert!(data_races(&body(wide, "")));
    assert!(data_races(&body("", wide)));
    // A narrow fence does not undo what a wide one did before, nor keeps a later one from it.
    assert_eq!(
        found(1, &body("fence.acq_rel.gpu;\nfence.acq_rel.cta;", wide)),
        []
    );
    assert_eq!(
        found(1, &body(wide, "fence.acq_rel.cta;\nfence.acq_rel.gpu;")),
        []
    );
}

/// CTA 0 writes into CTA 1's shared memory and arrives at its mbarrier; CTA 1 waits and reads.
fn object(arrives: &str, waits: &str, behind: &str) -> Vec<(Finding, String)> {
    found(
        2,
        &format!(
            "@!%p1 bra MADE;\nmbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\nMADE:\n\
             barrier.cluster.arrive;\nbarrier.cluster.wait;\n@!%p1 bra DONE;\n@%p2 bra WAIT;\nmov.u32 %r5, data;\n\
             mapa.shared::cluster.u32 %r5, %r5, 1;\nmov.u32 %r6, object;\nmapa.shared::cluster.u32 %r6, %r6, 1;\n\
             st.shared::cluster.u32 [%r5], 7;\nmbarrier.arrive.{arrives}.shared::cluster.b64 _, [%r6];\nbra DONE;\n\
             WAIT:\nmbarrier.try_wait.parity.{waits}.shared::cta.b64 %p3, [object], 0;\n@!%p3 bra WAIT;\n{behind}\n\
             ld.shared.u32 %r7, [data];\nDONE:\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nret;"
        ),
    )
}

#[test]
fn arrivals_and_waits_across_a_cluster() {
    let races = |arrives: &str, waits: &str, behind: &str| {
        let all = object(arrives, waits, behind);
        for (finding, line) in &all {
            let is_race = matches!(
                finding.kind,
                FindingKind::Race {
                    memory: "shared memory",
                    ..
                }
            );
            assert!(
                is_race && line == "ld.shared.u32 %r7, [data];",
                "{finding} {line}"
            );
        }
        !all.is_empty()
    };
    let wide = "release.cluster";
    assert!(!races(wide, "acquire.cluster", ""));
    assert!(races(wide, "acquire.cta", ""));
    assert!(races("release.cta", "acquire.cluster", ""));
    assert!(races("relaxed.cluster", "acquire.cluster", ""));
    assert!(races(wide, "relaxed.cluster", ""));
    assert!(!races(wide, "relaxed.cluster", "fence.acq_rel.cluster;"));
    assert!(races(wide, "relaxed.cluster", "fence.acq_rel.cta;"));
}
