//! Lanes of a warp that went different ways, and what orders them.

use tessera_emulator::{Finding, FindingKind, Global, Launch, Program, launch, ptx::Module};

/// What is found of a kernel of one warp, of which `%r1` is the lane and `%p1` says that it is one of the first four; line 10 of
/// the text is the body's first.
fn found(body: &str) -> Vec<Finding> {
    let text = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n.reg .pred %p<4>;\n\
         .reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n.shared .align 16 .b8 own[128];\n\
         ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 4; shl.b32 %r2, %r1, 2; mov.u32 %r3, own; \
         add.u32 %r4, %r3, %r2; and.b32 %r5, %r2, 12; add.u32 %r5, %r3, %r5;\n{body}\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut all: Vec<Finding> = Vec::new();
    for seed in 0..8 {
        let mut memory = Global::new();
        let x = memory.allocate_with(vec![0; 128]);
        let mut grid = Launch::new("main").block([32, 1, 1]).u64(x);
        grid.seed = seed;
        all.extend(launch(&program, &mut memory, &grid).unwrap().findings);
    }
    all
}

/// Four lanes write a word each; then all read them.
fn written_by_some(between: &str) -> String {
    format!("@!%p1 bra ALL;\nst.shared.u32 [%r4], %r1;\nALL:\n{between}\nld.shared.u32 %r6, [%r5];")
}

#[test]
fn what_some_lanes_wrote_and_all_read() {
    let all = found(&written_by_some(""));
    assert!(!all.is_empty());
    for finding in &all {
        let FindingKind::Paths {
            memory,
            writes,
            address,
            other,
            other_writes,
            other_line,
        } = finding.kind
        else {
            panic!("{finding}")
        };
        // The read comes later as a rule; lanes that run ahead of those that write are found by the write.
        assert_eq!(
            (memory, writes, other_writes),
            ("shared memory", !other_writes, !writes)
        );
        let (read, write) = if writes {
            (other_line, finding.place.line)
        } else {
            (finding.place.line, other_line)
        };
        assert_eq!((read, write), (14, 11), "{finding}");
        // Of the two lanes the writing one is that of the word.
        let writer = if writes { finding.lane } else { other };
        assert_eq!(address, 4 * u64::from(writer), "{finding}");
    }
}

#[test]
fn lanes_that_come_together_in_between() {
    for right in [
        "bar.warp.sync -1;",
        "shfl.sync.idx.b32 %r6, %r1, 0, 31, -1;",
        "vote.sync.any.pred %p2, %p1, -1;",
        "bar.sync 0;",
        "barrier.sync 0;",
        "barrier.cluster.arrive;\nbarrier.cluster.wait;",
    ] {
        assert_eq!(found(&written_by_some(right)), [], "{right}");
    }
    // Of a mask that leaves out lanes that read.
    let some = "@%p1 bar.warp.sync 15;";
    assert!(!found(&written_by_some(some)).is_empty());
}

#[test]
fn lanes_that_go_along_are_in_order() {
    // All lanes write, and read what others wrote, none of them apart.
    let together = "st.shared.u32 [%r4], %r1;\nld.shared.u32 %r6, [%r5];";
    assert_eq!(found(together), []);
    // So do four lanes, while the others are elsewhere; and each on its own way has a place of its own.
    let apart = "@!%p1 bra ELSE;\nst.shared.u32 [%r4], %r1;\nld.shared.u32 %r6, [own+4];\nbra ALL;\n\
                 ELSE:\nst.shared.u32 [%r4], 0;\nALL:\nmov.u32 %r7, 0;";
    assert_eq!(found(apart), []);
}

#[test]
fn two_ways_that_access_one_place() {
    let ways = |one: &str, other: &str| {
        let all = found(&format!(
            "@%p1 bra ONE;\n{other}\nbra ALL;\nONE:\n{one}\nALL:\nmov.u32 %r7, 0;"
        ));
        all.into_iter().map(|found| found.kind).collect::<Vec<_>>()
    };
    let weak = "st.global.u32 [%rd1], 7;";
    assert!(matches!(
        ways(weak, weak)[0],
        FindingKind::Paths {
            memory: "global memory",
            writes: true,
            other_writes: true,
            ..
        }
    ));
    assert!(!ways(weak, "ld.global.u32 %r6, [%rd1];").is_empty());
    assert!(!ways(weak, "ld.volatile.global.u32 %r6, [%rd1];").is_empty());
    assert_eq!(
        ways("ld.global.u32 %r6, [%rd1];", "ld.global.u32 %r7, [%rd1];"),
        []
    );
    let strong = "st.relaxed.cta.global.u32 [%rd1], 7;";
    assert_eq!(ways(strong, "ld.volatile.global.u32 %r6, [%rd1];"), []);
    assert_eq!(
        ways(
            "red.global.add.u32 [%rd1], 1;",
            "red.global.add.u32 [%rd1], 2;"
        ),
        []
    );
}

#[test]
fn a_flag_between_lanes() {
    let body = |release: &str, acquire: &str| {
        format!(
            "setp.eq.u32 %p2, %r1, 0;\nsetp.eq.u32 %p3, %r1, 1;\n@%p2 bra WRITE;\n@%p3 bra READ;\nbra ALL;\n\
             WRITE:\nst.global.u32 [%rd1+4], 7;\nst.{release}.cta.global.u32 [%rd1], 1;\nbra ALL;\n\
             READ:\nld.{acquire}.cta.global.u32 %r6, [%rd1];\nsetp.eq.u32 %p2, %r6, 0;\n@%p2 bra READ;\n\
             ld.global.u32 %r7, [%rd1+4];\nALL:\nmov.u32 %r8, 0;"
        )
    };
    assert_eq!(found(&body("release", "acquire")), []);
    assert!(!found(&body("release", "relaxed")).is_empty());
}
