//! Classic errors: kernels of a few lines, right and silent, and each with the one thing wrong that everybody has had wrong once.

use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

/// What is found in four CTAs, in clusters of so many, of so many threads each, under some schedules: with the line that a finding
/// is in. `%r1` is the thread, `%r2` the CTA's rank, `%rd1` a buffer of zeros; `%r3` and `%r4` are a thread's word and its
/// neighbour warp's in shared memory.
fn found(body: &str, (cluster, threads): (u32, u32)) -> Vec<(Finding, String)> {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry classic(.param .u64 p) {{\n.reg .pred %p<6>;\n\
         .reg .b32 %r<16>;\n.reg .b64 %rd<8>;\n.reg .b16 %h<2>;\n.shared .align 128 .b8 tile[1024];\n.shared .align 8 .b8 object[8];\n\
         ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nmov.u32 %r2, %cluster_ctarank;\nshl.b32 %r5, %r1, 2;\n\
         mov.u32 %r6, tile;\nadd.u32 %r3, %r6, %r5;\nxor.b32 %r7, %r5, 128;\nadd.u32 %r4, %r6, %r7;\n\
         setp.eq.u32 %p1, %r1, 0;\nsetp.lt.u32 %p2, %r1, 32;\nmov.u32 %r8, %ctaid.x;\nshl.b32 %r9, %r8, 9;\n\
         cvt.u64.u32 %rd2, %r9;\nadd.u64 %rd2, %rd1, %rd2;\ncvt.u64.u32 %rd3, %r5;\nadd.u64 %rd3, %rd2, %rd3;\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut all = Vec::new();
    for seed in 0..12 {
        let mut memory = Global::new();
        let x = memory.allocate_with(vec![0; 4096]);
        let mut grid = Launch::new("classic")
            .grid([4, 1, 1])
            .cluster([cluster, 1, 1])
            .block([threads, 1, 1])
            .u64(x);
        grid.seed = seed;
        grid.step_limit = 1 << 18;
        for finding in launch(&program, &mut memory, &grid).unwrap().findings {
            let line = text.lines().nth(finding.place.line as usize - 1);
            all.push((finding, line.unwrap_or_default().to_owned()));
        }
    }
    all
}

/// The right kernel is silent; with one text in place of another something is found that is as expected, first of all.
fn check(
    body: &str,
    shape: (u32, u32),
    (from, to): (&str, &str),
    expected: impl Fn(&FindingKind, &str) -> bool,
) {
    assert_eq!(found(body, shape), [], "the right kernel");
    assert_eq!(body.matches(from).count(), 1, "{from}");
    let all = found(&body.replace(from, to), shape);
    let Some((finding, line)) = all.first() else {
        panic!("nothing is found of '{from}' as '{to}'");
    };
    assert!(expected(&finding.kind, line), "{finding}\n{line}");
    assert_eq!(finding.function, "classic");
}

const CTA: (u32, u32) = (1, 64);

fn is_race(kind: &FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::Race {
            needs_proxy_fence: false,
            ..
        }
    )
}

fn deadlock(kind: &FindingKind, of: &str) -> bool {
    matches!(kind, FindingKind::Deadlock { what } if what.to_string().starts_with(of))
}

#[test]
fn a_finding_says_where_it_is() {
    let body = "setp.ne.u32 %p3, %r1, 37;\nsetp.ne.u32 %p4, %r8, 2;\nor.pred %p3, %p3, %p4;\n@%p3 bra END;\n\
                st.global.u32 [%rd1+4096], 7;\nEND:";
    let all = found(body, CTA);
    let (finding, line) = &all[0];
    assert_eq!(line, "st.global.u32 [%rd1+4096], 7;");
    assert_eq!((finding.cta, finding.warp, finding.lane), ([2, 0, 0], 1, 5));
    let address = finding.kind.address().unwrap();
    assert_eq!(
        finding.to_string(),
        format!(
            "classic:{}: writes to global memory 4 bytes at {address:#x}, where no memory is (CTA 2,0,0, warp 1, lane 5)",
            finding.place
        )
    );
    // A race: the address in shared memory and the other's line are named too.
    let all = found("st.shared.u32 [%r3], 1;\nld.shared.u32 %r10, [%r4];", CTA);
    for (finding, _) in all {
        let FindingKind::Race {
            memory,
            address,
            bytes,
            other_line,
            writes,
            ..
        } = finding.kind
        else {
            panic!("{finding}")
        };
        // Words of the other warp: those of a thread whose number differs in bit 5.
        let thread = 32 * finding.warp + finding.lane;
        let word = if writes { thread } else { thread ^ 32 };
        assert_eq!(
            (memory, address, bytes),
            ("shared memory", 4 * u64::from(word), 4)
        );
        assert_eq!(finding.place.line.abs_diff(other_line), 1);
    }
}

#[test]
fn a_reduction_without_a_barrier_between_its_steps() {
    let body = "st.shared.u32 [%r3], %r1;\nbar.sync 0;\n@!%p2 bra END;\nld.shared.u32 %r10, [%r3];\n\
                ld.shared.u32 %r11, [%r4];\nadd.u32 %r10, %r10, %r11;\nst.shared.u32 [%r3], %r10;\nEND:";
    check(body, CTA, ("bar.sync 0;", ""), |kind, line| {
        is_race(kind) && line.contains(".shared.u32")
    });
    // Its last steps are one warp's: not what a barrier of the warp stands between is a race then.
    let last = "@!%p2 bra END;\nsetp.lt.u32 %p3, %r1, 16;\nst.shared.u32 [%r3], %r1;\n@!%p3 bra UP;\n\
                st.shared.u32 [%r3+1000-1000], 5;\nUP:\nbar.warp.sync -1;\nld.shared.u32 %r10, [tile];\nEND:";
    let last = last.replace("+1000-1000", "");
    check(&last, CTA, ("bar.warp.sync -1;", ""), |kind, _| {
        matches!(kind, FindingKind::Paths { .. })
    });
}

#[test]
fn a_double_buffer_without_its_second_barrier() {
    // Two rounds over two halves need one barrier each; over one half two.
    let body = "mov.u32 %r12, 0;\nROUND:\nst.shared.u32 [%r3], %r12;\nbar.sync 0;\nld.shared.u32 %r10, [%r4];\nbar.sync 1;\n\
                add.u32 %r12, %r12, 1;\nsetp.lt.u32 %p3, %r12, 4;\n@%p3 bra ROUND;";
    check(body, CTA, ("bar.sync 1;", ""), |kind, line| {
        is_race(kind) && line.contains(".shared.u32")
    });
    let halves = "mov.u32 %r12, 0;\nmov.u32 %r13, 256;\nROUND:\nand.b32 %r14, %r12, 1;\nmad.lo.u32 %r10, %r14, %r13, %r3;\n\
                  mad.lo.u32 %r11, %r14, %r13, %r4;\nst.shared.u32 [%r10], %r12;\nbar.sync 0;\nld.shared.u32 %r10, [%r11];\n\
                  add.u32 %r12, %r12, 1;\nsetp.lt.u32 %p3, %r12, 4;\n@%p3 bra ROUND;";
    check(
        halves,
        CTA,
        ("and.b32 %r14, %r12, 1;", "mov.u32 %r14, 0;"),
        |kind, _| is_race(kind),
    );
}

/// Threads of the first warp write and arrive, those of the second wait and read, twice; the second warp arrives at another
/// object to say that it has read.
fn phases() -> String {
    "mov.u32 %r13, object;\nmov.u32 %r15, tile;\nadd.u32 %r15, %r15, 768;\n\
     @!%p1 bra MADE;\nmbarrier.init.shared.b64 [%r13], 32;\nmbarrier.init.shared.b64 [%r15], 32;\nMADE:\nbar.sync 0;\n\
     mov.u32 %r12, 0;\nROUND:\n@!%p2 bra READS;\nst.shared.u32 [%r3], %r12;\nmbarrier.arrive.shared.b64 _, [%r13];\n\
     READ:\nmbarrier.try_wait.parity.shared.b64 %p4, [%r15], %r12;\n@!%p4 bra READ;\nbra NEXT;\n\
     READS:\nWRITTEN:\nmbarrier.try_wait.parity.shared.b64 %p4, [%r13], %r12;\n@!%p4 bra WRITTEN;\n\
     ld.shared.u32 %r10, [%r4];\nmbarrier.arrive.shared.b64 _, [%r15];\n\
     NEXT:\nadd.u32 %r12, %r12, 1;\nsetp.lt.u32 %p3, %r12, 2;\n@%p3 bra ROUND;"
        .to_owned()
}

#[test]
fn a_phase_whose_parity_is_wrong() {
    let body = phases();
    let waits = "mbarrier.try_wait.parity.shared.b64 %p4, [%r13], %r12;";
    // One that does not change, and one that begins with the phase before the first.
    for wrong in [
        waits.replace("%r12", "0"),
        format!("xor.b32 %r14, %r12, 1;\n{}", waits.replace("%r12", "%r14")),
    ] {
        check(&body, CTA, (waits, &wrong), |kind, _| {
            is_race(kind)
                || matches!(kind, FindingKind::Mbarrier { .. })
                || deadlock(kind, "an mbarrier's phase")
        });
    }
}

#[test]
fn a_number_of_arrivals_that_is_not_that_of_those_who_arrive() {
    let init = "mbarrier.init.shared.b64 [%r13], 32;";
    let more = init.replace("32", "64");
    check(&phases(), CTA, (init, &more), |kind, line| {
        deadlock(kind, "an mbarrier's phase") && line.starts_with("mbarrier.try_wait")
    });
    // Fewer: phases end before all have written.
    let fewer = init.replace("32", "16");
    let all = found(&phases().replace(init, &fewer), CTA);
    assert!(!all.is_empty());
}

#[test]
fn copies_that_are_read_before_they_are_waited_for() {
    let body = "setp.lt.u32 %p3, %r1, 16;\n@!%p3 bra CAME;\nshl.b32 %r10, %r1, 4;\nadd.u32 %r10, %r6, %r10;\n\
                mad.wide.u32 %rd4, %r1, 16, %rd2;\ncp.async.cg.shared.global [%r10], [%rd4], 16;\ncp.async.commit_group;\n\
                cp.async.wait_group 0;\nCAME:\nbar.sync 0;\nld.shared.u32 %r11, [%r3];";
    check(body, CTA, ("cp.async.wait_group 0;", ""), |kind, line| {
        is_race(kind) && (line.starts_with("ld.shared") || line.starts_with("cp.async"))
    });
    check(body, CTA, ("bar.sync 0;", ""), |kind, _| is_race(kind));
    // Who commits nothing waits for nothing.
    check(body, CTA, ("cp.async.commit_group;", ""), |kind, _| {
        is_race(kind)
    });
}

/// Each CTA of a pair makes an object and arrives at the other's.
fn pair() -> String {
    "@!%p1 bra MADE;\nmbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\nMADE:\n\
     barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;\n@!%p1 bra DONE;\nxor.b32 %r10, %r2, 1;\nmov.u32 %r11, object;\n\
     mapa.shared::cluster.u32 %r11, %r11, %r10;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r11];\n\
     WAIT:\nmbarrier.try_wait.parity.acquire.cluster.shared.b64 %p4, [object], 0;\n@!%p4 bra WAIT;\nDONE:\n\
     barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;"
        .to_owned()
}

#[test]
fn objects_that_the_other_cta_does_not_know_of() {
    let fence = "fence.mbarrier_init.release.cluster;";
    for wrong in ["", "fence.acq_rel.cta;"] {
        check(&pair(), (2, 64), (fence, wrong), |kind, line| {
            is_race(kind) && line.contains("mbarrier")
        });
    }
    let barrier = "barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;";
    check(&pair(), (2, 64), (barrier, "bar.sync 0;"), |kind, line| {
        (is_race(kind) || matches!(kind, FindingKind::Mbarrier { .. })) && line.contains("mbarrier")
    });
}

#[test]
fn objects_of_other_ctas_that_a_copy_to_several_does_not_know_of() {
    let body = "@!%p1 bra MADE;\nmbarrier.init.shared.b64 [object], 1;\nfence.mbarrier_init.release.cluster;\n\
                mbarrier.arrive.expect_tx.shared.b64 _, [object], 256;\nMADE:\n\
                barrier.cluster.arrive;\nbarrier.cluster.wait;\n\
                setp.ne.u32 %p3, %r2, 0;\n@%p3 bra WAIT;\n@!%p1 bra WAIT;\nmov.u32 %r10, object;\nmov.b16 %h0, 3;\n\
                cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r6], [%rd1], 256, [%r10], %h0;\n\
                WAIT:\nmbarrier.try_wait.parity.shared.b64 %p4, [object], 0;\n@!%p4 bra WAIT;\nld.shared.u32 %r11, [%r3];\n\
                barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;";
    let barrier = "barrier.cluster.arrive;\nbarrier.cluster.wait;";
    check(body, (2, 64), (barrier, "bar.sync 0;"), |kind, line| {
        (is_race(kind) || matches!(kind, FindingKind::Mbarrier { .. }))
            && (line.starts_with("cp.async.bulk") || line.starts_with("mbarrier"))
    });
}

#[test]
fn memory_of_a_cta_that_may_come_to_its_end() {
    // The first CTA waits for nobody: in every order, not only in those in which it ends first, this is found.
    let body = "st.shared.u32 [%r3], %r1;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nmov.u32 %r10, 0;\n\
                mapa.shared::cluster.u32 %r11, %r3, %r10;\nld.shared::cluster.u32 %r12, [%r11];\n\
                barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;";
    let wait = "barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;";
    assert_eq!(found(body, (2, 64)), []);
    for wrong in ["", "barrier.cluster.arrive.relaxed;"] {
        let all = found(&body.replace(wait, wrong), (2, 64));
        let of_end = |(finding, line): &&(Finding, String)| {
            matches!(finding.kind, FindingKind::Ended { .. })
                && line.starts_with("ld.shared::cluster")
        };
        assert_eq!(
            all.iter().filter(of_end).count(),
            12,
            "one in each order: {wrong}"
        );
    }
}

#[test]
fn memory_of_a_cta_that_has_come_to_its_end() {
    let body = "st.shared.u32 [%r3], %r1;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nxor.b32 %r10, %r2, 1;\n\
                mapa.shared::cluster.u32 %r11, %r3, %r10;\nld.shared::cluster.u32 %r12, [%r11];\n\
                barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;";
    let last = "barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;";
    check(body, (2, 64), (last, ""), |kind, line| {
        matches!(kind, FindingKind::Ended { .. }) && line.starts_with("ld.shared::cluster")
    });
}

#[test]
fn a_barrier_that_some_lanes_of_a_warp_go_past() {
    // Forty of 64 threads come to the barrier, and all write behind it.
    let past =
        "setp.ge.u32 %p3, %r1, 40;\n@%p3 bra PAST;\nbar.sync 0;\nPAST:\nst.global.u32 [%rd3], %r1;";
    let all = found(past, CTA);
    let is_at_barrier = |(finding, line): &(Finding, String)| {
        matches!(finding.kind, FindingKind::Divergence { found: 0xff, .. }) && line == "bar.sync 0;"
    };
    assert!(!all.is_empty() && all.iter().all(is_at_barrier), "{all:?}");
    // Those that end without a word may.
    let ends =
        "setp.ge.u32 %p3, %r1, 40;\n@%p3 bra END;\nbar.sync 0;\nst.global.u32 [%rd3], %r1;\nEND:";
    assert_eq!(found(ends, CTA), []);
    // So may those that come later.
    let later = "setp.ge.u32 %p3, %r1, 40;\n@!%p3 bra COME;\nst.global.u32 [%rd3], %r1;\nCOME:\nbar.sync 0;";
    assert_eq!(found(later, CTA), []);
    // In a loop whoever leaves it has gone past the barrier in it, but not whoever comes to it once more.
    let turns = "mov.u32 %r10, 0;\nNEXT:\nadd.u32 %r10, %r10, 1;\nsetp.eq.u32 %p3, %r10, 3;\n@%p3 bra DONE;\n\
                 st.global.u32 [%rd3], %r1;\nbar.sync 0;\nbra NEXT;\nDONE:\nst.global.u32 [%rd3], 0;";
    assert_eq!(found(turns, CTA), []);
    let early = turns.replace("%r10, 3;", "%r10, %r12;").replace(
        "mov.u32 %r10, 0;",
        "mov.u32 %r10, 0;\nshr.u32 %r12, %r1, 4;\nand.b32 %r12, %r12, 1;\nadd.u32 %r12, %r12, 2;",
    );
    let all = found(&early, CTA);
    assert!(all.iter().any(|(_, line)| line == "bar.sync 0;"), "{all:?}");
}

#[test]
fn a_barrier_with_another_number_of_threads() {
    let body = "bar.sync 1, 64;";
    check(body, CTA, ("64", "96"), |kind, line| {
        deadlock(kind, "a barrier") && line.starts_with("bar.sync")
    });
    check(
        body,
        CTA,
        ("64", "48"),
        |kind, _| matches!(kind, FindingKind::Refused { reason } if reason.contains("multiple of 32")),
    );
    check(
        body,
        CTA,
        (body, "@%p2 bar.sync 1, 64;\n@!%p2 bar.sync 1, 32;"),
        |kind, _| {
            // Where the second warp comes first it is alone, and through.
            matches!(kind, FindingKind::Refused { reason } if reason.contains("different numbers"))
                || deadlock(kind, "a barrier")
        },
    );
    // 32 of the 64 are enough: who comes first does not wait for the other warp.
    let body = "st.shared.u32 [%r3], %r1;\nbar.sync 1, 64;\nld.shared.u32 %r10, [%r4];";
    check(body, CTA, ("64", "32"), |kind, _| is_race(kind));
}

#[test]
fn a_barrier_in_a_branch_that_not_all_take() {
    let body = "setp.lt.u32 %p3, %r1, 40;\n@!%p3 bra OUT;\nst.shared.u32 [%r3], %r1;\nOUT:\nbar.sync 0;\n\
                bar.sync 1;";
    let inside = "bar.sync 0;\nOUT:";
    let outside = "OUT:\nbar.sync 0;";
    check(body, CTA, (outside, inside), |kind, line| {
        matches!(kind, FindingKind::Divergence { .. }) && line.starts_with("bar.sync")
    });
}

#[test]
fn a_sum_that_is_not_atomic() {
    let sum = "ld.global.u32 %r10, [%rd2];\nadd.u32 %r10, %r10, 1;\nst.global.u32 [%rd2], %r10;";
    let body = "red.global.add.u32 [%rd2], 1;";
    check(body, CTA, (body, sum), |kind, line| {
        is_race(kind) && line.contains("global")
    });
}

#[test]
fn a_last_cta_that_sums_what_the_others_have_not_made_known() {
    let body = "@!%p1 bra END;\nst.global.u32 [%rd2], 3;\nmembar.gl;\natom.global.add.u32 %r10, [%rd1+2048], 1;\n\
                setp.ne.u32 %p3, %r10, 3;\n@%p3 bra END;\nfence.acq_rel.gpu;\nld.global.u32 %r11, [%rd1];\n\
                ld.global.u32 %r12, [%rd1+512];\nEND:";
    for (fence, wrong) in [
        ("membar.gl;", ""),
        ("membar.gl;", "membar.cta;"),
        ("fence.acq_rel.gpu;", ""),
        ("fence.acq_rel.gpu;", "membar.cta;"),
    ] {
        check(body, (1, 32), (fence, wrong), |kind, line| {
            is_race(kind) && line.starts_with("ld.global")
        });
    }
}

#[test]
fn shared_memory_that_nobody_zeroed() {
    let body = "st.shared.u32 [%r3], 0;\nld.shared.u32 %r10, [%r3];\nsetp.eq.u32 %p3, %r10, 5;\n@%p3 bra END;\nEND:";
    check(body, CTA, ("st.shared.u32 [%r3], 0;", ""), |kind, line| {
        matches!(kind, FindingKind::Uninitialised { .. }) && line.contains("bra END")
    });
}

#[test]
fn one_thread_too_many() {
    // Buffers are 4096 bytes, of which each CTA has a quarter: its own 64 words begin 512 bytes behind the last one's.
    let body = "setp.ge.u32 %p3, %r1, 64;\n@%p3 bra END;\nst.global.u32 [%rd3+2240], 1;\nEND:";
    check(body, CTA, ("2240", "2564"), |kind, line| {
        matches!(kind, FindingKind::OutOfBounds { bytes: 4, .. }) && line.starts_with("st.global")
    });
    check(body, CTA, ("2240", "2242"), |kind, line| {
        matches!(kind, FindingKind::Misaligned { bytes: 4, .. }) && line.starts_with("st.global")
    });
}
