//! CTAs across threads: whatever their number, the same bits, the same findings, the same counts.

use tessera_emulator::ptx::Module;
use tessera_emulator::{Finding, Global, Launch, Program, Report, launch};

/// Launches a grid with one thread, with two and with five: its report and what is in memory, which are the same.
fn run(
    text: &str,
    grid: &Launch,
    memory: &Global,
    (address, size): (u64, usize),
) -> (Report, Vec<u8>) {
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let with = |threads| {
        let mut memory = memory.clone();
        let mut grid = grid.clone();
        grid.threads = threads;
        let report = launch(&program, &mut memory, &grid).unwrap();
        (report, memory.read_bytes(address, size).unwrap())
    };
    let one = with(1);
    for threads in [2, 5] {
        assert!(with(threads) == one, "{threads} threads");
    }
    one
}

fn basics() -> &'static str {
    include_str!("../kernels/basics.ptx")
}

/// A kernel `main` of those instructions, with one argument, whose threads have `%r1` as their number and `%rd2` as the place
/// of a word of their own; `%rd1` is the first's.
fn kernel(body: &str) -> String {
    format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .f32 %f<4>;\n.reg .b64 %rd<8>;\n\
         mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmov.u32 %r4, %tid.x;\nmad.lo.u32 %r1, %r2, %r3, %r4;\n\
         ld.param.u64 %rd1, [p];\nmad.wide.u32 %rd2, %r1, 4, %rd1;\n{body}\nret;\n}}"
    )
}

/// That kernel with 40 CTAs of 64 threads, on words that begin as zeros.
fn words(body: &str, seed: u64) -> (Report, Vec<u32>) {
    let mut memory = Global::new();
    let size = 4 * 40 * 64;
    let x = memory.allocate_with(vec![0; size]);
    let mut grid = Launch::new("main")
        .grid([40, 1, 1])
        .block([64, 1, 1])
        .u64(x);
    grid.seed = seed;
    let (report, bytes) = run(&kernel(body), &grid, &memory, (x, size));
    let words = bytes
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    (report, words.collect())
}

#[test]
fn ctas_that_have_nothing_to_do_with_each_other() {
    let mut memory = Global::new();
    let x = memory.allocate_with(
        (0..40_000u32)
            .flat_map(|i| (i as f32).to_le_bytes())
            .collect(),
    );
    let z = memory.allocate(4 * 40_000);
    let grid = Launch::new("add").grid([157, 1, 1]).block([256, 1, 1]);
    let grid = grid.u64(x).u64(x).u64(z).u32(40_000);
    let (report, bytes) = run(basics(), &grid, &memory, (z, 4 * 40_000));
    assert_eq!(report.findings, []);
    assert!(report.completed);
    for (i, z) in bytes.chunks(4).enumerate() {
        let expected = (i as f32).mul_add((i % 4 + 1) as f32, i as f32);
        assert_eq!(f32::from_le_bytes(z.try_into().unwrap()), expected);
    }
}

#[test]
fn sums_of_floats_by_atomics_have_the_order_of_the_seed() {
    // Numbers of which no two orders need have the same sum.
    let body = "cvt.rn.f32.u32 %f1, %r1;\nadd.f32 %f1, %f1, 0f3DCCCCCD;\nrcp.approx.f32 %f1, %f1;\n\
                red.global.add.f32 [%rd1], %f1;";
    let sums: Vec<u32> = (0..4)
        .map(|seed| {
            let (report, words) = words(body, seed);
            assert_eq!(report.findings, []);
            words[0]
        })
        .collect();
    assert!(sums.iter().any(|&sum| sum != sums[0]), "{sums:x?}");
}

#[test]
fn a_cta_that_reads_what_earlier_ones_counted() {
    // The last CTA to come, and no other, writes how many came.
    let body = "setp.ne.u32 %p1, %r4, 0;\n@%p1 ret;\natom.global.acq_rel.gpu.add.u32 %r5, [%rd1], 1;\n\
                setp.ne.u32 %p2, %r5, 39;\n@%p2 ret;\nst.global.u32 [%rd1+4], %r5;";
    let (report, words) = words(body, 3);
    assert_eq!(report.findings, []);
    assert_eq!(words[..2], [40, 39]);
}

#[test]
fn races_between_ctas_are_found_whichever_wave_they_are_in() {
    let lines = |report: &Report| -> Vec<u32> {
        let line = |found: &Finding| found.place.line - 14;
        report.findings.iter().map(line).collect()
    };
    // A neighbour's words: a CTA of another wave has written those, or is yet to.
    let (report, _) = words(
        "st.global.u32 [%rd2], %r1;\nxor.b32 %r5, %r1, 64;\n\
         mad.wide.u32 %rd3, %r5, 4, %rd1;\nld.global.u32 %r5, [%rd3];",
        1,
    );
    assert!(!report.findings.is_empty());
    assert!(
        lines(&report).iter().all(|line| [1, 4].contains(line)),
        "{report:?}"
    );
    // The same word from the last thread of each CTA, for CTAs that are far from each other.
    let (report, _) = words(
        "shr.u32 %r5, %r2, 5;\nmad.wide.u32 %rd3, %r5, 4, %rd1;\nsetp.ne.u32 %p1, %r2, 0;\n\
         setp.ne.u32 %p2, %r2, 39;\nand.pred %p1, %p1, %p2;\nsetp.ne.u32 %p2, %r4, 0;\nor.pred %p1, %p1, %p2;\n\
         @!%p1 st.global.u32 [%rd1+8], %r1;",
        1,
    );
    assert_eq!(lines(&report), [8], "{report:?}");
}

#[test]
fn a_limit_of_steps_is_that_of_all() {
    let mut memory = Global::new();
    let x = memory.allocate_with(vec![0; 4 * 40 * 64]);
    let mut grid = Launch::new("main")
        .grid([40, 1, 1])
        .block([64, 1, 1])
        .u64(x);
    // The kernel has 8 instructions, and each CTA two warps.
    for (limit, completed) in [(640, true), (639, false), (300, false)] {
        grid.step_limit = limit;
        let text = kernel("st.global.u32 [%rd2], %r1;");
        let (report, _) = run(&text, &grid, &memory, (x, 4 * 40 * 64));
        assert_eq!(report.completed, completed, "{limit}");
    }
}
