//! Single instructions of synchronisation and of asynchronous copies, each in a kernel of a few lines, against what the PTX
//! ISA says of them.

use tessera_emulator::{FindingKind, Global, Launch, Program, Report, launch, ptx::Module};

/// Runs a kernel `main` of those instructions on 256 bytes, of which byte i is i; gives these afterwards. Its CTAs are a
/// cluster. `%rd1` is their address, `own` 256 bytes of shared memory, `object` an mbarrier.
fn run(body: &str, threads: u32, ctas: u32) -> (Report, Vec<u32>) {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p<8>;\n.reg .b32 %r<16>;\n.reg .b64 %rd<16>;\n\
         .shared .align 128 .b8 own[256];\n.shared .align 8 .b64 object;\n\
         ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate_with((0..=255).collect());
    let mut grid = Launch::new("main")
        .grid([ctas, 1, 1])
        .cluster([ctas, 1, 1])
        .block([threads, 1, 1])
        .u64(address);
    grid.step_limit = 1 << 16;
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(address, 256).unwrap_or_default();
    let words = bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    (report, words.collect())
}

/// The words of memory behind a kernel that nothing is found in.
fn words(body: &str, threads: u32, ctas: u32) -> Vec<u32> {
    let (report, words) = run(body, threads, ctas);
    assert_eq!(report.findings, [], "{body}");
    assert!(report.completed);
    words
}

/// Word i of the memory as it is at first.
fn first(i: u32) -> u32 {
    u32::from_le_bytes([4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3].map(|byte| byte as u8))
}

fn reason(body: &str) -> String {
    let (report, _) = run(body, 1, 1);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    report.findings[0].kind.to_string()
}

#[test]
fn an_arrival_gives_the_state_before_it() {
    let body = "mbarrier.init.shared.b64 [object], 5;\n\
                mbarrier.arrive.shared.b64 %rd2, [object], 2;\n\
                mbarrier.pending_count.b64 %r2, %rd2;\n\
                mbarrier.arrive.shared.b64 %rd3, [object];\n\
                mbarrier.pending_count.b64 %r3, %rd3;\n\
                mbarrier.test_wait.shared.b64 %p1, [object], %rd3;\n\
                selp.u32 %r4, 1, 0, %p1;\n\
                mbarrier.arrive.release.cta.shared::cta.b64 %rd4, [object], 2;\n\
                mbarrier.test_wait.shared.b64 %p1, [object], %rd3;\n\
                selp.u32 %r5, 1, 0, %p1;\n\
                st.global.v4.u32 [%rd1], {%r2, %r3, %r4, %r5};";
    assert_eq!(words(body, 1, 1)[..4], [5, 3, 0, 1]);
}

#[test]
fn parities_alternate() {
    let body = "mbarrier.init.shared.b64 [object], 1;\n\
                mbarrier.try_wait.parity.shared.b64 %p1, [object], 1;\n\
                mbarrier.test_wait.parity.acquire.cta.shared.b64 %p2, [object], 0;\n\
                mbarrier.arrive.shared.b64 _, [object];\n\
                mbarrier.try_wait.parity.shared.b64 %p3, [object], 0, 1000;\n\
                mbarrier.arrive.shared.b64 _, [object];\n\
                mbarrier.try_wait.parity.shared.b64 %p4, [object], 1;\n\
                selp.u32 %r2, 1, 0, %p1;\nselp.u32 %r3, 1, 0, %p2;\n\
                selp.u32 %r4, 1, 0, %p3;\nselp.u32 %r5, 1, 0, %p4;\n\
                st.global.v4.u32 [%rd1], {%r2, %r3, %r4, %r5};";
    assert_eq!(words(body, 1, 1)[..4], [1, 0, 1, 1]);
}

#[test]
fn a_phase_ends_when_all_bytes_have_come() {
    let body = "mbarrier.init.shared.b64 [object], 1;\n\
                mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [object], 32;\n\
                mbarrier.arrive.expect_tx.shared.b64 _, [object], 32;\n\
                mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [object], 32;\n\
                mbarrier.test_wait.parity.shared.b64 %p1, [object], 0;\n\
                mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [object], 32;\n\
                mbarrier.test_wait.parity.shared.b64 %p2, [object], 0;\n\
                selp.u32 %r2, 1, 0, %p1;\nselp.u32 %r3, 1, 0, %p2;\n\
                st.global.v2.u32 [%rd1], {%r2, %r3};";
    assert_eq!(words(body, 1, 1)[..2], [0, 1]);
}

#[test]
fn who_drops_out_is_not_waited_for_again() {
    let body = "mbarrier.init.shared.b64 [object], 2;\n\
                mbarrier.arrive_drop.shared.b64 _, [object];\n\
                mbarrier.arrive.noComplete.shared.b64 %rd2, [object], 0;\n";
    // An arrival of none is not one.
    assert!(reason(body).contains("arrived at 0 times"));
    let body = "mbarrier.init.shared.b64 [object], 2;\n\
                mbarrier.arrive_drop.shared.b64 _, [object];\n\
                mbarrier.arrive.shared.b64 _, [object];\n\
                mbarrier.arrive.shared.b64 _, [object];\n\
                mbarrier.test_wait.parity.shared.b64 %p1, [object], 1;\n\
                selp.u32 %r2, 1, 0, %p1;\nst.global.u32 [%rd1], %r2;";
    assert_eq!(words(body, 1, 1)[0], 1);
}

#[test]
fn an_arrival_without_completion() {
    let init = "mbarrier.init.shared.b64 [object], 2;\n";
    let body = format!(
        "{init}mbarrier.arrive.noComplete.shared.b64 %rd2, [object], 1;\n\
         mbarrier.pending_count.b64 %r2, %rd2;\nst.global.u32 [%rd1], %r2;"
    );
    assert_eq!(words(&body, 1, 1)[0], 2);
    let body = format!("{init}mbarrier.arrive.noComplete.shared.b64 %rd2, [object], 2;");
    assert!(reason(&body).contains(".noComplete"));
}

#[test]
fn an_mbarrier_of_another_cta() {
    // The second CTA arrives at the first one's, which waits.
    let body = "mov.u32 %r2, %cluster_ctarank;\nsetp.eq.u32 %p1, %r2, 0;\n\
                @%p1 mbarrier.init.shared.b64 [object], 1;\n\
                @%p1 fence.mbarrier_init.release.cluster;\n\
                barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;\n\
                @%p1 bra WAIT;\n\
                st.global.u32 [%rd1], 77;\n\
                mov.u32 %r3, object;\nmapa.shared::cluster.u32 %r4, %r3, 0;\n\
                mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r4];\nret;\n\
                WAIT:\nmbarrier.try_wait.parity.acquire.cluster.shared.b64 %p2, [object], 0;\n@!%p2 bra WAIT;\n\
                ld.global.u32 %r5, [%rd1];\nst.global.u32 [%rd1+4], %r5;";
    assert_eq!(words(body, 1, 2)[1], 77);
}

#[test]
fn an_mbarrier_is_initialised_once_and_before_it_is_used() {
    assert!(reason("mbarrier.arrive.shared.b64 _, [object];").contains("was not initialised"));
    let twice = "mbarrier.init.shared.b64 [object], 1;\n".repeat(2);
    assert!(reason(&twice).contains("was not invalidated"));
    let again = "mbarrier.init.shared.b64 [object], 1;\nmbarrier.inval.shared.b64 [object];\n\
                 mbarrier.init.shared.b64 [object], 2;\nmbarrier.inval.shared.b64 [object];";
    words(again, 1, 1);
    assert!(reason("mbarrier.inval.shared.b64 [object];").contains("was not initialised"));
    assert!(reason("mbarrier.init.shared.b64 [own+4], 1;").contains("no multiple of 8"));
}

#[test]
fn what_is_written_over_an_mbarrier() {
    let store = "mbarrier.init.shared.b64 [object], 1;\nst.shared.u32 [own+260], 0;";
    assert!(reason(store).contains("is written over"));
    let copy = "mbarrier.init.shared.b64 [object], 1;\n\
                cp.async.ca.shared.global [own+256], [%rd1], 4;\ncp.async.wait_all;";
    assert!(reason(copy).contains("is written over"));
    let after = "mbarrier.init.shared.b64 [object], 1;\nmbarrier.inval.shared.b64 [object];\n\
                 st.shared.u32 [own+260], 0;";
    words(after, 1, 1);
}

#[test]
fn shared_memory_of_a_cta_that_has_ended() {
    // The first CTA does not wait for the second one's write.
    let body = |wait: &str| {
        format!(
            "mov.u32 %r2, %cluster_ctarank;\nsetp.eq.u32 %p1, %r2, 0;\nbarrier.cluster.arrive;\n\
             barrier.cluster.wait;\n@%p1 bra END;\nmov.u32 %r5, 0;\nL:\nadd.u32 %r5, %r5, 1;\n\
             setp.lt.u32 %p2, %r5, 500;\n@%p2 bra L;\n\
             mov.u32 %r3, own;\nmapa.shared::cluster.u32 %r4, %r3, 0;\nst.shared::cluster.u32 [%r4], 1;\nEND:\n{wait}"
        )
    };
    let (report, _) = run(&body(""), 1, 2);
    assert!(
        matches!(report.findings[..], [ref one] if matches!(one.kind, FindingKind::Ended { .. })),
        "{:?}",
        report.findings
    );
    words(
        &body("barrier.cluster.arrive;\nbarrier.cluster.wait;"),
        1,
        2,
    );
}

#[test]
fn a_phase_that_never_ends() {
    let body = "mbarrier.init.shared.b64 [object], 2;\nmbarrier.arrive.shared.b64 _, [object];\n\
                L:\nmbarrier.test_wait.parity.shared.b64 %p1, [object], 0;\n@!%p1 bra L;";
    let (report, _) = run(body, 1, 1);
    let kind = &report.findings[0].kind;
    let of_first = "waits for ever for an mbarrier's phase: that of parity 0 at 0x";
    let said = kind.to_string();
    assert!(
        said.starts_with(of_first) && said.ends_with(" lacks 1 arrivals and 0 bytes"),
        "{said}"
    );
    assert!(kind.address().is_some());
}

#[test]
fn ranks_of_addresses() {
    let body = "mov.u32 %r2, own;\nmapa.shared::cluster.u32 %r3, %r2, 2;\n\
                getctarank.shared::cluster.u32 %r4, %r3;\n\
                getctarank.shared::cluster.u32 %r5, %r2;\n\
                cvta.shared.u64 %rd2, %rd3;\n\
                mov.u64 %rd2, own;\ncvta.shared.u64 %rd3, %rd2;\nmapa.u64 %rd4, %rd3, 1;\n\
                getctarank.u64 %r6, %rd4;\n\
                mov.u32 %r7, %cluster_ctarank;\nsetp.ne.u32 %p1, %r7, 2;\n@%p1 bra END;\n\
                st.global.v4.u32 [%rd1], {%r4, %r5, %r6, %r7};\nEND:";
    assert_eq!(words(body, 1, 3)[..4], [2, 2, 1, 2]);
}

#[test]
fn a_cluster_waits_for_the_phase_it_came_to() {
    // The first CTA comes, and before it waits the second goes on behind the barrier to what the first needs.
    let body = "mov.u32 %r2, %cluster_ctarank;\nsetp.eq.u32 %p1, %r2, 0;\n\
                @%p1 mbarrier.init.shared.b64 [object], 1;\n@%p1 fence.mbarrier_init.release.cluster;\n\
                barrier.cluster.arrive;\n@%p1 bra FIRST;\nbarrier.cluster.wait;\n\
                mov.u32 %r3, object;\nmapa.shared::cluster.u32 %r4, %r3, 0;\n\
                mbarrier.arrive.shared::cluster.b64 _, [%r4];\nbra END;\n\
                FIRST:\nmbarrier.try_wait.parity.shared.b64 %p2, [object], 0;\n@!%p2 bra FIRST;\n\
                barrier.cluster.wait;\nst.global.u32 [%rd1], 5;\nEND:";
    assert_eq!(words(body, 1, 2)[0], 5);
}

#[test]
fn fences_of_all_kinds_are_read() {
    let body = "membar.cta;\nmembar.gl;\nmembar.sys;\nfence.sc.cta;\nfence.acq_rel.gpu;\nfence.acquire.cluster;\n\
                fence.proxy.async;\nfence.proxy.async.global;\nfence.proxy.async.shared::cluster;\n\
                fence.proxy.alias;\nfence.mbarrier_init.release.cluster;\n\
                fence.proxy.tensormap::generic.release.gpu;\n\
                fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;\n\
                griddepcontrol.wait;\ngriddepcontrol.launch_dependents;";
    words(body, 32, 1);
    assert!(reason("fence.proxy.other;").contains("no proxy that is modelled"));
}

/// What shared memory holds after a copy, in the first 16 bytes of global memory.
fn copied(copy: &str) -> Vec<u32> {
    let body = format!(
        "{copy}\ncp.async.wait_all;\nld.shared.v4.u32 {{%r2, %r3, %r4, %r5}}, [own];\n\
         st.global.v4.u32 [%rd1], {{%r2, %r3, %r4, %r5}};"
    );
    words(&body, 1, 1)[..4].to_vec()
}

#[test]
fn a_copy_with_zeros_behind_it() {
    let copy = "cp.async.cg.shared.global [own], [%rd1+64], 16, 8;";
    assert_eq!(copied(copy), [first(16), first(17), 0, 0]);
    let none = "mov.u32 %r9, 0;\ncp.async.cg.shared.global.L2::128B [own], [%rd1+64], 16, %r9;";
    assert_eq!(copied(none), [0; 4]);
    let ignored = "setp.eq.u32 %p1, 0, 0;\ncp.async.ca.shared.global [own], [%rd1+64], 16, %p1;";
    assert_eq!(copied(ignored), [0; 4]);
    let small = "cp.async.cg.shared.global [own], [%rd1+64], 16;\ncp.async.wait_all;\n\
                 cp.async.ca.shared::cta.global [own+4], [%rd1+32], 4, 2;";
    assert_eq!(
        copied(small),
        [first(16), first(8) & 0xffff, first(18), first(19)]
    );
}

#[test]
fn sizes_that_no_copy_has() {
    assert!(
        reason("cp.async.cg.shared.global [own], [%rd1], 8;").contains("does not copy 8 bytes")
    );
    assert!(reason("cp.async.ca.shared.global [own+4], [%rd1], 8;").contains("no multiple of 8"));
    assert!(
        reason("cp.async.ca.shared.global [own+264], [%rd1], 8;").contains("where no memory is")
    );
    let bulk = "mbarrier.init.shared.b64 [object], 1;\ncp.async.bulk.shared::cluster.global\
                .mbarrier::complete_tx::bytes [own], [%rd1], 24, [object];";
    assert!(reason(bulk).contains("multiple of 16 bytes"));
    assert!(reason("cp.async.bulk.prefetch.L2.global [%rd1], 512;").contains("where no memory is"));
    words("cp.async.bulk.prefetch.L2.global [%rd1+16], 240;", 1, 1);
}

#[test]
fn groups_are_done_in_their_order() {
    let body = "cp.async.ca.shared.global [own], [%rd1+64], 4;\ncp.async.commit_group;\n\
                cp.async.ca.shared.global [own+4], [%rd1+128], 4;\ncp.async.commit_group;\n\
                cp.async.wait_group 1;\nld.shared.u32 %r2, [own];\nst.global.u32 [%rd1], %r2;";
    assert_eq!(words(body, 1, 1)[0], first(16));
    // What is in the second group is not there.
    let early = body.replace("[own];\nst", "[own+4];\nst");
    let (report, _) = run(&early, 1, 1);
    assert!(
        matches!(report.findings[0].kind, FindingKind::Race { .. }),
        "{:?}",
        report.findings
    );
}

#[test]
fn an_arrival_behind_copies() {
    // With .noinc the phase counts on it; without, it waits for one arrival more.
    for (count, arrive) in [(1, "noinc."), (2, "")] {
        let more = if count == 2 {
            "mbarrier.arrive.shared.b64 _, [object], 2;\n"
        } else {
            ""
        };
        let body = format!(
            "mbarrier.init.shared.b64 [object], {count};\n\
             cp.async.ca.shared.global [own], [%rd1+64], 4;\n\
             cp.async.mbarrier.arrive.{arrive}shared.b64 [object];\n{more}\
             L:\nmbarrier.try_wait.parity.shared.b64 %p1, [object], 0;\n@!%p1 bra L;\n\
             ld.shared.u32 %r2, [own];\nst.global.u32 [%rd1], %r2;"
        );
        assert_eq!(words(&body, 1, 1)[0], first(16), "{arrive}");
    }
}

#[test]
fn a_copy_to_several_ctas() {
    // To ranks 0 and 2 of three; each waits at its own mbarrier.
    let body = "mov.u32 %r2, %cluster_ctarank;\nmbarrier.init.shared.b64 [object], 1;\n\
                mbarrier.arrive.expect_tx.shared.b64 _, [object], 16;\n\
                fence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n\
                setp.eq.u32 %p1, %r2, 1;\nmov.b16 %rs1, 5;\n\
                @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster \
                [own], [%rd1+64], 16, [object], %rs1;\n@%p1 bra END;\n\
                L:\nmbarrier.try_wait.parity.shared.b64 %p2, [object], 0;\n@!%p2 bra L;\n\
                ld.shared.u32 %r3, [own];\nshl.b32 %r4, %r2, 2;\ncvt.u64.u32 %rd2, %r4;\nadd.u64 %rd2, %rd1, %rd2;\n\
                st.global.u32 [%rd2], %r3;\nEND:\nbarrier.cluster.arrive;\nbarrier.cluster.wait;";
    let body = format!(".reg .b16 %rs<2>;\n{body}");
    assert_eq!(words(&body, 1, 3)[..3], [first(16), first(1), first(16)]);
}

type Function = fn(u32, u32) -> u32;

#[test]
fn what_bulk_reductions_make_of_memory() {
    let expected: [(&str, Function); 7] = [
        ("add.u32", |old, new| old.wrapping_add(new)),
        ("min.s32", |old, new| (old as i32).min(new as i32) as u32),
        ("max.u32", u32::max),
        ("and.b32", |old, new| old & new),
        ("or.b32", |old, new| old | new),
        ("xor.b32", |old, new| old ^ new),
        ("inc.u32", |old, new| if old >= new { 0 } else { old + 1 }),
    ];
    for (operation, function) in expected {
        let body = format!(
            "mov.u32 %r2, 0x81018101;\nst.shared.v4.u32 [own], {{%r2, %r2, %r2, %r2}};\nfence.proxy.async;\n\
             cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%rd1+32], [own], 16;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
        );
        let found = words(&body, 1, 1);
        for i in 8..12 {
            assert_eq!(
                found[i as usize],
                function(first(i), 0x8101_8101),
                "{operation}"
            );
        }
        assert_eq!(found[12], first(12));
    }
}

#[test]
fn strong_accesses_meet_and_others_do_not() {
    let both = |order: &str| {
        let body = format!(
            "setp.lt.u32 %p1, %r1, 32;\n@%p1 bra W;\nld.{order}global.u32 %r2, [%rd1];\nbra END;\n\
             W:\nst.{order}global.u32 [%rd1], 1;\nEND:"
        );
        run(&body, 64, 1).0.findings
    };
    assert!(matches!(both("")[0].kind, FindingKind::Race { .. }));
    assert_eq!(both("volatile."), []);
    assert_eq!(both("relaxed.gpu."), []);
}

#[test]
fn a_flag_orders_what_is_released_and_acquired() {
    let body = |release: &str, acquire: &str| {
        format!(
            "setp.lt.u32 %p1, %r1, 32;\nsetp.ne.u32 %p3, %r1, 0;\nst.shared.u32 [own], 0;\nbar.sync 0;\n\
             @%p1 bra W;\nL:\nld.{acquire}.cta.shared.u32 %r2, [own];\nsetp.eq.u32 %p2, %r2, 0;\n@%p2 bra L;\n\
             ld.global.u32 %r3, [%rd1];\nst.global.u32 [%rd1+4], %r3;\nbra END;\n\
             W:\n@%p3 bra END;\nst.global.u32 [%rd1], 9;\nst.{release}.cta.shared.u32 [own], 1;\nEND:"
        )
    };
    // All of the first warp write the flag's zero before the barrier, which is no race: it is one warp. The second one's
    // does meet it.
    let body = |release, acquire| {
        body(release, acquire).replace("st.shared.u32 [own], 0;", "@%p1 st.shared.u32 [own], 0;")
    };
    assert_eq!(words(&body("release", "acquire"), 64, 1)[1], 9);
    for (release, acquire) in [("relaxed", "acquire"), ("release", "relaxed")] {
        let (report, _) = run(&body(release, acquire), 64, 1);
        assert!(
            matches!(report.findings[0].kind, FindingKind::Race { .. }),
            "{release} {acquire}"
        );
    }
    let fenced = body("relaxed", "relaxed")
        .replace("st.relaxed", "fence.acq_rel.cta;\nst.relaxed")
        .replace("ld.global.u32 %r3", "fence.acq_rel.cta;\nld.global.u32 %r3");
    assert_eq!(words(&fenced, 64, 1)[1], 9);
}

#[test]
fn races_are_not_looked_for_where_nobody_asks() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.entry main() {\n.shared .b32 x;\nst.shared.u32 [x], 1;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut grid = Launch::new("main").block([64, 1, 1]);
    let found = |grid: &Launch| {
        launch(&program, &mut Global::new(), grid)
            .unwrap()
            .findings
            .len()
    };
    assert_eq!(found(&grid), 1);
    grid.races = false;
    assert_eq!(found(&grid), 0);
}

/// A warp that waits for another one's write, by one question or by as many as it takes: how many of 16 seeds find something.
fn found_of_waits(wait: &str) -> usize {
    let body = format!(
        "mov.u32 %r2, %tid.x;\nsetp.ne.u32 %p1, %r2, 0;\n\
         @!%p1 mbarrier.init.shared.b64 [object], 1;\nbar.sync 0;\nsetp.ge.u32 %p2, %r2, 32;\n@%p2 bra OTHER;\n\
         {wait}\nld.shared.u32 %r3, [own];\nbra DONE;\nOTHER:\n\
         setp.ne.u32 %p1, %r2, 32;\n@%p1 bra DONE;\nst.shared.u32 [own], 7;\nmbarrier.arrive.shared.b64 _, [object];\nDONE:"
    );
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main() {{\n.reg .pred %p<8>;\n.reg .b32 %r<16>;\n\
         .shared .align 128 .b8 own[256];\n.shared .align 8 .b64 object;\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let found = (0..16).filter(|&seed| {
        let mut grid = Launch::new("main").block([64, 1, 1]);
        grid.seed = seed;
        let report = launch(&program, &mut Global::new(), &grid).unwrap();
        let is_race =
            |found: &tessera_emulator::Finding| matches!(found.kind, FindingKind::Race { .. });
        assert!(report.findings.iter().all(is_race), "{:?}", report.findings);
        !report.findings.is_empty()
    });
    found.count()
}

#[test]
fn who_asks_an_mbarrier_once_is_found() {
    let once = "mbarrier.try_wait.parity.shared.b64 %p3, [object], 0;";
    let until = format!("AGAIN:\n{once}\n@!%p3 bra AGAIN;");
    assert_eq!(found_of_waits(&until), 0);
    // Wherever the question comes before the arrival: of two warps about half of the schedules.
    assert!(found_of_waits(once) >= 4);
}

/// The first of two CTAs, or of two warps, writes a number and then a flag that the second waits for.
fn message(between: &str, flag: &str, is_other_cta: bool) -> Report {
    let who = if is_other_cta {
        "mov.u32 %r2, %cluster_ctarank;"
    } else {
        "shr.u32 %r2, %r1, 5;"
    };
    let body = format!(
        "{who}\nsetp.eq.u32 %p1, %r2, 0;\nand.b32 %r3, %r1, 31;\nsetp.ne.u32 %p3, %r3, 0;\n@%p3 ret;\n@!%p1 bra SECOND;\n\
         st.global.u32 [%rd1], 77;\n{between}\n{flag} [%rd1+64], 1;\nret;\n\
         SECOND:\nld.relaxed.gpu.global.u32 %r3, [%rd1+64];\nsetp.ne.u32 %p2, %r3, 1;\n@%p2 bra SECOND;\n\
         fence.acq_rel.gpu;\nld.global.u32 %r4, [%rd1];\nst.global.u32 [%rd1+4], %r4;"
    );
    let (threads, ctas) = if is_other_cta { (32, 2) } else { (64, 1) };
    run(&body, threads, ctas).0
}

#[test]
fn what_a_fence_of_the_cta_tells() {
    let relaxed = "st.relaxed.gpu.global.u32";
    for (between, flag, is_wide) in [
        ("fence.acq_rel.gpu;", relaxed, true),
        ("membar.gl;", relaxed, true),
        ("fence.sc.sys;", relaxed, true),
        ("fence.acq_rel.cluster;", relaxed, true),
        ("", "st.release.gpu.global.u32", true),
        ("fence.acq_rel.cta;", relaxed, false),
        ("membar.cta;", relaxed, false),
        ("", "st.release.cta.global.u32", false),
    ] {
        let is_race = |report: &Report| {
            let race = |kind: &FindingKind| matches!(kind, FindingKind::Race { address: _, .. });
            report.findings.iter().any(|found| race(&found.kind))
        };
        // Threads of one CTA are told in any case.
        let within = message(between, flag, false);
        assert_eq!(within.findings, [], "{between} {flag}");
        assert_eq!(
            is_race(&message(between, flag, true)),
            !is_wide,
            "{between} {flag}"
        );
        assert!(is_race(&message("", relaxed, true)));
    }
}
