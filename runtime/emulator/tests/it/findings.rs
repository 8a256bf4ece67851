//! What the checker finds, each in a kernel of a few lines.

use tessera_emulator::{Awaited, FindingKind, Global, Launch, Program, Report, launch};

/// Runs a kernel `main` of those instructions, with one argument: an address of 128 bytes.
fn run(body: &str, threads: u32) -> Report {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n.shared .align 16 .b8 own[64];\n{body}\n}}"
    );
    let program = Program::new(&tessera_emulator::ptx::Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate(128);
    launch(
        &program,
        &mut memory,
        &Launch::new("main").block([threads, 1, 1]).u64(address),
    )
    .unwrap()
}

/// The only finding: its kind and the line of the body, counted from 1.
fn finding(body: &str, threads: u32) -> (FindingKind, u32) {
    let report = run(body, threads);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    let finding = &report.findings[0];
    (finding.kind.clone(), finding.place.line - 8)
}

#[test]
fn a_store_behind_the_end_of_memory() {
    let body = "ld.param.u64 %rd1, [p];\nst.global.u32 [%rd1+128], 7;\nret;";
    let (kind, line) = finding(body, 1);
    assert_eq!(line, 2);
    assert!(
        matches!(kind, FindingKind::OutOfBounds { bytes: 4, .. }),
        "{kind:?}"
    );
}

#[test]
fn a_load_at_no_multiple_of_its_size() {
    let body = "ld.param.u64 %rd1, [p];\nld.global.v2.u32 {%r1, %r2}, [%rd1+4];\nret;";
    assert!(matches!(
        finding(body, 1),
        (FindingKind::Misaligned { bytes: 8, .. }, 2)
    ));
}

#[test]
fn a_branch_on_a_register_that_nobody_wrote() {
    let body = "add.u32 %r2, %r1, 1;\nsetp.eq.u32 %p1, %r2, 0;\n@%p1 bra END;\nEND:\nret;";
    assert_eq!(
        finding(body, 1),
        (
            FindingKind::Uninitialised {
                what: "a branch's or an instruction's guard"
            },
            3
        )
    );
}

#[test]
fn a_branch_on_shared_memory_that_nobody_wrote() {
    let body = "ld.shared.u32 %r1, [own+8];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra END;\nEND:\nret;";
    assert_eq!(
        finding(body, 1),
        (
            FindingKind::Uninitialised {
                what: "a branch's or an instruction's guard"
            },
            3
        )
    );
}

#[test]
fn a_value_that_nobody_wrote_may_be_moved_about() {
    let body = "ld.param.u64 %rd1, [p];\nadd.u32 %r2, %r1, 1;\nst.global.u32 [%rd1], %r2;\nld.global.u32 %r3, [%rd1];\n\
                st.shared.u32 [own], %r3;\nmov.u32 %r4, 5;\nst.global.u32 [%rd1], %r4;\nret;";
    assert_eq!(run(body, 32).findings, []);
}

/// The only finding, which is of memory that a value nobody wrote is left in: of how many bytes, how far from the parameter's, at
/// which line of the body.
fn left(body: &str) -> (u32, u64, u32) {
    match finding(body, 1) {
        (FindingKind::UninitialisedResult { address, bytes }, line) => (bytes, address % 256, line),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_that_nobody_wrote_is_left_in_global_memory() {
    // A register; shared memory by way of one; the second number of two, of which the first is written.
    let register =
        "ld.param.u64 %rd1, [p];\nadd.u32 %r2, %r1, 1;\nst.global.u32 [%rd1+4], %r2;\nret;";
    assert_eq!(left(register), (4, 4, 3));
    let shared =
        "ld.param.u64 %rd1, [p];\nld.shared.u8 %r1, [own];\nst.global.u8 [%rd1], %r1;\nret;";
    assert_eq!(left(shared), (1, 0, 3));
    let second =
        "ld.param.u64 %rd1, [p];\nmov.u32 %r1, 7;\nst.global.v2.u32 [%rd1+8], {%r1, %r2};\nret;";
    assert_eq!(left(second), (4, 12, 3));
    // What an atomic makes of it; what is written over it reaches not all of it.
    let atomic = "ld.param.u64 %rd1, [p];\nmov.u32 %r1, 7;\nst.global.u32 [%rd1], %r1;\nred.global.add.u32 [%rd1], %r2;\nret;";
    assert_eq!(left(atomic), (4, 0, 4));
    let half = "ld.param.u64 %rd1, [p];\nst.global.u32 [%rd1], %r2;\nmov.u32 %r1, 7;\nst.global.u16 [%rd1], %r1;\nret;";
    assert_eq!(left(half), (4, 0, 2));
}

#[test]
fn a_copy_leaves_what_nobody_wrote_in_global_memory() {
    let body = "ld.param.u64 %rd1, [p];\nmov.u32 %r1, 7;\nst.shared.v2.u32 [own], {%r1, %r1};\n\
                fence.proxy.async.shared::cta;\n\
                cp.async.bulk.global.shared::cta.bulk_group [%rd1], [own], 16;\n\
                cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;";
    assert_eq!(left(body), (8, 8, 5));
}

#[test]
fn half_a_warp_at_an_aligned_barrier() {
    let body = "mov.u32 %r1, %tid.x;\nsetp.lt.u32 %p1, %r1, 16;\n@%p1 bra LOW;\n\
                bar.sync 0;\nret;\nLOW:\nbar.sync 1;\nret;";
    let report = run(body, 32);
    let found = report.findings.iter();
    let mut found: Vec<_> = found
        .map(|found| (found.place.line - 8, found.kind.clone()))
        .collect();
    found.sort_by_key(|(line, _)| *line);
    let half = |found| FindingKind::Divergence {
        found,
        expected: u32::MAX,
    };
    assert_eq!(found, [(4, half(0xffff_0000)), (7, half(0xffff))]);
}

#[test]
fn a_barrier_that_one_warp_does_not_come_to() {
    let body = "mov.u32 %r1, %tid.x;\nsetp.lt.u32 %p1, %r1, 32;\n@%p1 bar.sync 1, 64;\nret;";
    assert_eq!(
        finding(body, 64),
        (
            FindingKind::Deadlock {
                what: Awaited::Barrier {
                    number: 1,
                    arrived: 32,
                    expected: 64
                }
            },
            3
        )
    );
}

#[test]
fn every_wait_without_end_is_named_and_one_that_several_warps_share_once() {
    let body = "mov.u32 %r1, %tid.x;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 mbarrier.init.shared.b64 [own], 3;\nbar.sync 0;\n\
                setp.ge.u32 %p1, %r1, 32;\n@%p1 bra OTHERS;\nAGAIN:\nmbarrier.try_wait.parity.shared.b64 %p2, [own], 0;\n\
                @!%p2 bra AGAIN;\nret;\nOTHERS:\nsetp.ge.u32 %p1, %r1, 64;\n@%p1 bar.sync 2, 96;\nbar.sync 1, 128;\nret;";
    let report = run(body, 128);
    let mut found: Vec<_> = report
        .findings
        .iter()
        .map(|found| (found.place.line - 8, found.kind.to_string()))
        .collect();
    // Who waits for an mbarrier comes first: the rest may wait for it.
    assert_eq!(found[0].0, 8);
    let expected = [
        "waits for ever for an mbarrier's phase: that of parity 0 at 0x0 lacks 3 arrivals and 0 bytes",
        "waits for ever for a barrier, number 2, to which 64 of 96 threads have come",
        "waits for ever for a barrier, number 1, to which 32 of 128 threads have come",
    ];
    found.sort();
    let lines = [8, 13, 14];
    let expected = lines.into_iter().zip(expected.map(str::to_owned));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn a_shuffle_between_lanes_of_which_one_is_gone() {
    // Who has not ended need not wait for who has, and has nothing of it.
    let body = "mov.u32 %r1, %tid.x;\nsetp.gt.u32 %p1, %r1, 15;\n@%p1 exit;\n\
                shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1;\nsetp.eq.u32 %p2, %r2, 0;\n@%p2 bra END;\nEND:\nret;";
    assert!(matches!(
        finding(body, 32),
        (FindingKind::Uninitialised { .. }, 6)
    ));
    assert_eq!(
        run(&body.replace("%r1, 16, 31", "%r1, 1, 31"), 32).findings,
        []
    );
}

#[test]
fn an_instruction_that_is_not_modelled_is_an_error_when_it_is_reached() {
    let reached = "vadd.u32.u32.u32 %r1, %r2, %r3;\nret;";
    let (kind, line) = finding(reached, 1);
    assert_eq!(line, 1);
    assert_eq!(kind.to_string(), "'vadd.u32.u32.u32' is not modelled");
    let passed_by = "bra END;\nvadd.u32.u32.u32 %r1, %r2, %r3;\nEND:\nret;";
    assert_eq!(run(passed_by, 1).findings, []);
}

#[test]
fn an_instruction_that_a_modifier_makes_another_of_is_not_taken_for_the_one() {
    for (text, modifier) in [
        (
            "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r1], %r2, [%r3];",
            "async",
        ),
        (
            "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r1], %r2, [%r3];",
            "async",
        ),
    ] {
        let (kind, _) = finding(&format!("{text}\nret;"), 1);
        let (instruction, _) = text.split_once(' ').unwrap();
        assert_eq!(
            kind.to_string(),
            format!("'{instruction}' is not modelled, for its .{modifier}")
        );
    }
}

#[test]
fn a_modifier_that_is_not_known_is_not_passed_over() {
    let (kind, _) = finding("mov.u32 %r1, 1;\nadd.fast.u32 %r2, %r1, 1;\nret;", 1);
    assert_eq!(
        kind.to_string(),
        "'add.fast.u32' has the modifier .fast, which is not modelled"
    );
}

#[test]
fn a_loop_without_end() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.entry main() { L: bra L; }";
    let program = Program::new(&tessera_emulator::ptx::Module::parse(text).unwrap()).unwrap();
    let mut grid = Launch::new("main");
    grid.step_limit = 1000;
    let report = launch(&program, &mut Global::new(), &grid).unwrap();
    assert_eq!(report.findings[0].kind, FindingKind::StepLimit);
    assert!(!report.completed);
}

#[test]
fn an_end_that_no_lane_comes_to_is_passed_by() {
    for end in ["ret", "exit", "trap"] {
        let body = format!(
            "mov.u32 %r1, %tid.x;\nsetp.gt.u32 %p1, %r1, 99;\n@%p1 {end};\nmov.u32 %r2, 1;\nret;"
        );
        let report = run(&body, 32);
        assert_eq!(report.findings, [], "{end}");
        assert!(report.completed, "{end}");
        assert_eq!(report.instructions, 5, "{end}");
    }
}

#[test]
fn lanes_that_write_different_numbers_to_one_place() {
    let store = |store: &str| {
        format!(
            "ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nshr.u32 %r3, %r1, 1;\n\
             mad.wide.u32 %rd2, %r3, 4, %rd1;\nand.b32 %r4, %r1, 30;\nmov.u32 %r5, own;\n{store}\nret;"
        )
    };
    let lanes = |memory, other| FindingKind::Lanes {
        memory,
        address: 0,
        other,
    };
    let found = |body: &str| {
        let (kind, line) = finding(&store(body), 32);
        assert_eq!(line, 7, "{body}");
        match kind {
            FindingKind::Lanes { memory, other, .. } => lanes(memory, other),
            other => other,
        }
    };
    assert_eq!(
        found("st.global.u32 [%rd2], %r1;"),
        lanes("global memory", 0)
    );
    assert_eq!(
        found("st.shared.u32 [%r5], %r1;"),
        lanes("shared memory", 0)
    );
    // The same number, one that differs in bits that are not written, lanes that are not on, and strong writes.
    for right in [
        "st.global.u32 [%rd2], %r4;",
        "st.shared.u32 [%r5], 7;",
        "shl.b32 %r6, %r1, 8;\nst.shared.u8 [%r5], %r6;",
        "setp.eq.u32 %p1, %r1, 4;\n@%p1 st.shared.u32 [%r5], %r1;",
        "st.relaxed.gpu.global.u32 [%rd2], %r1;",
        "atom.shared.exch.b32 %r6, [%r5], %r1;",
    ] {
        let right = format!("st.shared.u32 [%r5], 0;\nbar.warp.sync -1;\n{right}");
        assert_eq!(run(&store(&right), 32).findings, [], "{right}");
    }
}

/// Threads of the first warp access a word each, 128 bytes together; one of the second a byte, so far from the first word.
fn row_and_byte(row: &str, byte: &str) -> Vec<FindingKind> {
    let body = format!(
        "ld.param.u64 %rd1, [p];\nadd.u64 %rd1, %rd1, 0;\nmov.u32 %r1, %tid.x;\nsetp.ge.u32 %p1, %r1, 32;\n\
         mul.wide.u32 %rd2, %r1, 4;\nadd.u64 %rd2, %rd1, %rd2;\n@%p1 bra OTHER;\n{row}\nbra END;\n\
         OTHER:\nsetp.eq.u32 %p2, %r1, 32;\n@%p2 {byte}\nEND:\nret;"
    );
    let found = run(&body, 64).findings;
    found.into_iter().map(|found| found.kind).collect()
}

#[test]
fn a_warp_meets_one_byte_of_another_ones_at_the_border_of_what_it_accesses() {
    for place in [0, 1, 3, 63, 64, 127] {
        for (row, byte) in [
            (
                "st.global.u32 [%rd2], %r1;",
                format!("st.global.u8 [%rd1+{place}], %r1;"),
            ),
            (
                "st.global.u32 [%rd2], %r1;",
                format!("ld.global.u8 %r2, [%rd1+{place}];"),
            ),
            (
                "ld.global.u32 %r2, [%rd2];",
                format!("st.global.u8 [%rd1+{place}], %r1;"),
            ),
        ] {
            let races = row_and_byte(row, &byte);
            let is_race = |kind: &&FindingKind| matches!(kind, FindingKind::Race { address, .. } if address % 128 == place);
            assert_eq!(races.iter().filter(is_race).count(), 1, "{byte}: {races:?}");
        }
    }
    // A word less of the row, and the byte is nobody else's.
    let shorter = "setp.lt.u32 %p3, %r1, 31;\n@%p3 st.global.u32 [%rd2], %r1;";
    assert_eq!(row_and_byte(shorter, "st.global.u8 [%rd1+124], %r1;"), []);
    assert_ne!(row_and_byte(shorter, "st.global.u8 [%rd1+123], %r1;"), []);
}

#[test]
fn an_access_that_ends_behind_the_last_address() {
    for body in [
        "mov.u64 %rd1, -4;\nld.global.u32 %r1, [%rd1];\nret;",
        "mov.u64 %rd1, -16;\nst.global.v4.u32 [%rd1], {%r1, %r1, %r1, %r1};\nret;",
        "mov.u64 %rd1, -4;\natom.global.add.u32 %r1, [%rd1], 1;\nret;",
        "mov.u32 %r2, %tid.x;\nmul.wide.u32 %rd1, %r2, -8;\nadd.u64 %rd1, %rd1, -4;\nld.global.u32 %r1, [%rd1];\nret;",
    ] {
        let found = run(body, 32).findings;
        let is_out = |found: &tessera_emulator::Finding| {
            matches!(found.kind, FindingKind::OutOfBounds { .. })
        };
        assert!(found.iter().any(is_out), "{body}: {found:?}");
    }
}

/// On sm_120 a CTA has 99 KiB, on sm_90 227; variables of a kernel's own have 48 anywhere.
#[test]
fn shared_memory_beyond_the_architectures_is_refused() {
    let launched = |target: &str, variable: u32, dynamic: u64| {
        let text = format!(
            ".version 8.7\n.target {target}\n.address_size 64\n.visible .entry main() {{
               .reg .b32 %r<2>;
               .shared .align 16 .b8 s[{variable}];
               mov.u32 %r1, s;
               st.shared.u32 [%r1], %r1;
               ret;
             }}"
        );
        let program = Program::new(&tessera_emulator::ptx::Module::parse(&text).unwrap()).unwrap();
        let mut what = Launch::new("main");
        what.dynamic_shared = dynamic;
        launch(&program, &mut Global::new(), &what).map_err(|error| error.to_string())
    };
    let refused = |target, variable, dynamic| launched(target, variable, dynamic).unwrap_err();
    launched("sm_120a", 1024, 98 << 10).unwrap();
    assert_eq!(
        refused("sm_120a", 1024, 99 << 10),
        "bytes of a CTA's shared memory: expected at most 101376, found 102400"
    );
    launched("sm_90", 48 << 10, 179 << 10).unwrap();
    assert_eq!(
        refused("sm_90", 49 << 10, 0),
        "bytes of a kernel's shared variables: expected at most 49152, found 50176"
    );
}

#[test]
fn a_finding_in_a_function_names_the_kernel_too() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.func stops() {\ntrap;\nret;\n}\n\
                .visible .entry main() {\ncall stops;\nret;\n}";
    let program = Program::new(&tessera_emulator::ptx::Module::parse(text).unwrap()).unwrap();
    let report = launch(&program, &mut Global::new(), &Launch::new("main")).unwrap();
    let [found] = &report.findings[..] else {
        panic!("{:?}", report.findings);
    };
    assert_eq!((&found.kernel[..], &found.function[..]), ("main", "stops"));
    assert_eq!(
        found.to_string(),
        "stops, called by main:5:1: trap (CTA 0,0,0, warp 0, lane 0)"
    );
}

/// The kinds that a kernel of two warps finds, and at which lines of its body.
fn of_two_warps(body: &str) -> Vec<(FindingKind, u32)> {
    let findings = run(body, 64).findings.into_iter();
    findings.map(|own| (own.kind, own.place.line - 8)).collect()
}

#[test]
fn a_load_of_what_the_kernel_writes_as_if_it_never_did() {
    let constancy = |writes: bool, other: u32| move |kind: &FindingKind| matches!(*kind, FindingKind::Constancy { writes: own, other_line, .. } if own == writes && other_line == other + 8);
    // PTX ISA 9.7.9.8: `.nc` is of memory that is read-only for as long as the kernel is executed, so that neither a barrier nor
    // the same thread's order helps.
    let behind = "ld.param.u64 %rd1, [p];\nmov.u32 %r3, %tid.x;\nsetp.ge.u32 %p1, %r3, 32;\nmov.u32 %r2, 7;\n\
                  @%p1 st.global.u32 [%rd1], %r2;\nbar.sync 0;\n@!%p1 ld.global.nc.u32 %r1, [%rd1];\nret;";
    let found = of_two_warps(behind);
    let [(kind, 7)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(constancy(false, 5)(kind), "{kind}");
    let own = "ld.param.u64 %rd1, [p];\nmov.u32 %r2, 7;\nst.global.u32 [%rd1+4], %r2;\nld.global.nc.u32 %r1, [%rd1+4];\nret;";
    let (kind, line) = finding(own, 1);
    assert!(constancy(false, 3)(&kind) && line == 4, "{kind} {line}");
    assert!(kind.to_string().contains("by ld.global.nc"), "{kind}");
    // What others read in between hides nothing.
    let before = "ld.param.u64 %rd1, [p];\nmov.u32 %r3, %tid.x;\nsetp.ge.u32 %p1, %r3, 32;\nmov.u32 %r2, 7;\n\
                  @!%p1 ld.global.nc.v2.u32 {%r1, %r4}, [%rd1];\nbar.sync 0;\nld.global.u32 %r5, [%rd1];\nbar.sync 0;\n\
                  @%p1 st.global.u32 [%rd1], %r2;\nret;";
    let found = of_two_warps(before);
    let [(kind, 9)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(constancy(true, 5)(kind), "{kind}");
    assert!(
        kind.to_string().contains("line 13 reads by ld.global.nc"),
        "{kind}"
    );
    // Neighbours, and what an ordinary load reads, are nobody's concern.
    let apart = before.replace("st.global.u32 [%rd1]", "st.global.u32 [%rd1+8]");
    assert_eq!(of_two_warps(&apart), []);
    assert_eq!(of_two_warps(&before.replace(".nc", "")), []);
}
