//! Kernels that work beside themselves, `tests/kernels/asynchronous.cu`: right and silent under a hundred schedules; and each
//! with one thing wrong, which is found.

use half::f16;
use tessera_emulator::{
    Awaited, Finding, FindingKind, Global, Launch, Program, launch, ptx::Module,
};

pub const TEXT: &str = include_str!("../kernels/asynchronous.ptx");

pub fn words(count: usize, from: u32) -> Vec<u32> {
    let word =
        |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ (i << 9).wrapping_mul(0x85eb_ca6b)).rotate_left(11);
    (from..from + count as u32).map(word).collect()
}

pub fn to_bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to(value)).collect()
}

/// A kernel with its inputs, and the results that it must have.
pub struct Case {
    pub grid: Launch,
    pub memory: Global,
    pub results: u64,
    pub expected: Vec<u8>,
}

impl Case {
    /// What is found with a seed, and whether the results are right.
    pub fn run(&self, program: &Program, seed: u64) -> (Vec<Finding>, bool) {
        let mut memory = self.memory.clone();
        let mut grid = self.grid.clone();
        grid.seed = seed;
        grid.step_limit = 1 << 22;
        let report = launch(program, &mut memory, &grid).unwrap();
        let found = memory.read_bytes(self.results, self.expected.len());
        (report.findings, found.as_ref() == Ok(&self.expected))
    }

    /// Silent and right under a hundred schedules.
    pub fn check(&self, text: &str) {
        let program = Program::new(&Module::parse(text).unwrap()).unwrap();
        for seed in 0..100 {
            let (findings, is_right) = self.run(&program, seed);
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
            assert!(is_right, "seed {seed}");
        }
    }

    /// What schedules find of a text in which one line is another: the first finding of one of the first schedules, and its
    /// line, which is what the text says there.
    pub fn mutant(
        &self,
        text: &str,
        line: &str,
        number: usize,
        other: &str,
    ) -> (FindingKind, String) {
        let kernel = text.find(&format!(".entry {}(", self.grid.kernel)).unwrap();
        let (place, _) = text[kernel..]
            .match_indices(line)
            .nth(number)
            .unwrap_or_else(|| panic!("no {line} number {number}"));
        let mut mutated = text[..kernel + place].to_owned();
        mutated.push_str(other);
        mutated.push_str(&text[kernel + place + line.len()..]);
        let program = Program::new(&Module::parse(&mutated).unwrap()).unwrap();
        for seed in 0..8 {
            let (findings, _) = self.run(&program, seed);
            if let Some(finding) = findings.into_iter().next() {
                let at = mutated.lines().nth(finding.place.line as usize - 1);
                return (finding.kind, at.unwrap_or_default().trim().to_owned());
            }
        }
        panic!("nothing is found of {line} number {number} as {other}");
    }
}

/// A race, by what the second access does: whether a proxy fence is what is missing.
pub fn is_race(kind: &FindingKind, proxy: bool) -> bool {
    matches!(kind, FindingKind::Race { needs_proxy_fence, .. } if *needs_proxy_fence == proxy)
}

/// 64×64 numbers, summed over 96: integers, so that all sums are exact.
fn gemm() -> Case {
    let (m, n, k) = (64, 64, 96);
    let numbers = |count, from| -> Vec<f16> {
        let word = |word: u32| f16::from_f32((word % 17) as f32 - 8.0);
        words(count, from).into_iter().map(word).collect()
    };
    let (a, b) = (numbers(m * k, 0), numbers(n * k, 9));
    let mut memory = Global::new();
    let x = memory.allocate_with(to_bytes(&a, f16::to_le_bytes));
    let y = memory.allocate_with(to_bytes(&b, f16::to_le_bytes));
    let results = memory.allocate(4 * m * n);
    let one = |i: usize| -> f32 {
        (0..k)
            .map(|at| a[i / n * k + at].to_f32() * b[i % n * k + at].to_f32())
            .sum()
    };
    let expected: Vec<f32> = (0..m * n).map(one).collect();
    Case {
        grid: Launch::new("gemm")
            .grid([2, 2, 1])
            .block([64, 1, 1])
            .u64(x)
            .u64(y)
            .u64(results)
            .u32(n as u32)
            .u32(k as u32),
        memory,
        results,
        expected: to_bytes(&expected, f32::to_le_bytes),
    }
}

fn cluster_sum() -> Case {
    let x: Vec<i32> = words(8 * 64, 0)
        .into_iter()
        .map(|word| word as i32 >> 8)
        .collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(to_bytes(&x, i32::to_le_bytes));
    let results = memory.allocate(8);
    let expected: Vec<i32> = x.chunks(256).map(|part| part.iter().sum()).collect();
    Case {
        grid: Launch::new("cluster_sum")
            .grid([8, 1, 1])
            .cluster([4, 1, 1])
            .block([64, 1, 1])
            .u64(input)
            .u64(results),
        memory,
        results,
        expected: to_bytes(&expected, i32::to_le_bytes),
    }
}

fn ring() -> Case {
    let rows = 6;
    let x: Vec<f32> = words(rows * 256, 0)
        .into_iter()
        .map(|word| (word >> 12) as f32)
        .collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(to_bytes(&x, f32::to_le_bytes));
    let results = memory.allocate(rows * 1024);
    let expected: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    Case {
        grid: Launch::new("ring")
            .block([64, 1, 1])
            .u64(input)
            .u64(results)
            .u32(rows as u32),
        memory,
        results,
        expected: to_bytes(&expected, f32::to_le_bytes),
    }
}

fn exchange() -> Case {
    let x: Vec<i32> = words(128, 0)
        .into_iter()
        .map(|word| word as i32 >> 8)
        .collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(to_bytes(&x, i32::to_le_bytes));
    // The rows, exchanged, and behind them their sum.
    let results = memory.allocate_with(vec![0; 768]);
    let swapped = (0..128).map(|i| x[i ^ 64]);
    let expected: Vec<i32> = swapped.chain((0..64).map(|i| x[i] + x[i + 64])).collect();
    Case {
        grid: Launch::new("exchange")
            .grid([2, 1, 1])
            .cluster([2, 1, 1])
            .block([64, 1, 1])
            .u64(input)
            .u64(results)
            .u64(results + 512),
        memory,
        results,
        expected: to_bytes(&expected, i32::to_le_bytes),
    }
}

#[test]
fn a_product_by_tiles_that_are_copied_ahead() {
    gemm().check(TEXT);
}

#[test]
fn a_sum_over_distributed_shared_memory() {
    cluster_sum().check(TEXT);
}

#[test]
fn a_ring_of_bulk_copies() {
    ring().check(TEXT);
}

#[test]
fn an_exchange_between_ctas_and_a_sum_in_memory() {
    exchange().check(TEXT);
}

#[test]
fn a_group_that_is_not_waited_for() {
    let (kind, line) = gemm().mutant(TEXT, "cp.async.wait_group 1;", 0, "cp.async.wait_group 2;");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(line.starts_with("cp.async.cg"), "{line}");
    let (kind, _) = gemm().mutant(TEXT, "cp.async.wait_group 0;", 0, "");
    assert!(is_race(&kind, false), "{kind:?}");
}

#[test]
fn a_barrier_that_is_missing_behind_copies() {
    let (kind, line) = gemm().mutant(TEXT, "bar.sync \t0;", 0, "");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(
        line.starts_with("ldmatrix") || line.starts_with("cp.async"),
        "{line}"
    );
}

#[test]
fn a_stage_that_is_copied_over_before_all_have_read_it() {
    let (kind, line) = gemm().mutant(TEXT, "bar.sync \t0;", 1, "");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(
        line.starts_with("cp.async.cg") || line.starts_with("ldmatrix"),
        "{line}"
    );
}

#[test]
fn a_barrier_of_a_reduction_that_is_missing() {
    let (kind, line) = cluster_sum().mutant(TEXT, "bar.sync \t0;", 0, "");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(line.contains(".shared.u32"), "{line}");
}

#[test]
fn a_barrier_of_a_cluster_that_is_missing() {
    let (kind, line) = cluster_sum().mutant(TEXT, "barrier.cluster.wait;", 0, "");
    // The first CTA may be at its end when the others write into its memory.
    assert!(
        is_race(&kind, false) || matches!(kind, FindingKind::Ended { .. }),
        "{kind:?}"
    );
    assert!(
        line.starts_with("ld.shared") || line.starts_with("st.shared"),
        "{line}"
    );
}

#[test]
fn arrivals_of_a_cluster_that_tell_nothing() {
    let (kind, line) = cluster_sum().mutant(
        TEXT,
        "barrier.cluster.arrive;",
        0,
        "barrier.cluster.arrive.relaxed;",
    );
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(
        line.starts_with("ld.shared") || line.starts_with("st.shared"),
        "{line}"
    );
}

#[test]
fn a_wait_that_is_missing() {
    let waits = "mbarrier.try_wait.parity.shared::cta.b64 done, [%r34], %r35;";
    let (kind, _) = ring().mutant(TEXT, waits, 0, "setp.eq.u32 done, %r35, %r35;");
    // It reads what is not there yet, and runs ahead of who fills the ring, who may then wait for ever.
    assert!(
        is_race(&kind, false)
            || matches!(
                kind,
                FindingKind::Mbarrier { .. } | FindingKind::Deadlock { .. }
            ),
        "{kind:?}"
    );
}

#[test]
fn a_wait_for_the_wrong_phase() {
    let waits = "mbarrier.try_wait.parity.shared::cta.b64 done, [%r34], %r35;";
    let other =
        "xor.b32 %r35, %r35, 1;\nmbarrier.try_wait.parity.shared::cta.b64 done, [%r34], %r35;";
    let (kind, _) = ring().mutant(TEXT, waits, 0, other);
    assert!(
        is_race(&kind, false)
            || matches!(
                kind,
                FindingKind::Mbarrier { .. } | FindingKind::Deadlock { .. }
            ),
        "{kind:?}"
    );
}

#[test]
fn more_bytes_expected_than_come() {
    let (kind, line) = ring().mutant(TEXT, ", 1024, [", 0, ", 512, [");
    assert!(
        matches!(
            kind,
            FindingKind::Deadlock {
                what: Awaited::Mbarrier {
                    arrivals: 0,
                    bytes: 512,
                    ..
                }
            }
        ),
        "{kind:?}"
    );
    assert!(line.starts_with("mbarrier.try_wait"), "{line}");
}

#[test]
fn a_stage_that_is_released_before_it_is_read() {
    let arrives = "mbarrier.arrive.shared::cta.b64 _, [%r36];";
    let (kind, line) = ring().mutant(TEXT, arrives, 0, "");
    assert!(
        matches!(
            kind,
            FindingKind::Deadlock {
                what: Awaited::Mbarrier {
                    arrivals: 32,
                    bytes: 0,
                    ..
                }
            }
        ),
        "{kind:?}"
    );
    assert!(line.starts_with("mbarrier.try_wait"), "{line}");
}

#[test]
fn an_arrival_that_tells_nothing() {
    let arrives = "mbarrier.arrive.shared::cta.b64 _, [%r36];";
    let relaxed = "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%r36];";
    let (kind, line) = ring().mutant(TEXT, arrives, 0, relaxed);
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(line.starts_with("cp.async.bulk.shared::cluster"), "{line}");
}

#[test]
fn a_missing_fence_before_a_bulk_copy_reads() {
    let (kind, line) = ring().mutant(TEXT, "fence.proxy.async.shared::cta;", 0, "");
    assert!(is_race(&kind, true), "{kind:?}");
    assert!(line.starts_with("cp.async.bulk.global"), "{line}");
}

#[test]
fn a_source_that_is_written_over_before_it_is_read() {
    let (kind, line) = ring().mutant(TEXT, "cp.async.bulk.wait_group.read 0;", 0, "");
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(line.starts_with("cp.async.bulk.global"), "{line}");
}

#[test]
fn a_copy_that_nobody_waits_for() {
    let mut case = ring();
    // One row: nobody reuses what the copy reads.
    case.grid.arguments[2] = 1u32.to_le_bytes().to_vec();
    let (kind, line) = case.mutant(TEXT, "cp.async.bulk.wait_group 0;", 0, "");
    assert_eq!(kind, FindingKind::Unfinished);
    assert!(line.starts_with("cp.async.bulk.global"), "{line}");
}

#[test]
fn an_mbarrier_that_others_do_not_know_of() {
    let (kind, line) = exchange().mutant(TEXT, "barrier.cluster.wait;", 0, "");
    assert!(
        is_race(&kind, false) || matches!(kind, FindingKind::Mbarrier { .. }),
        "{kind:?}"
    );
    assert!(!line.is_empty());
    let (kind, line) = exchange().mutant(TEXT, "fence.proxy.async;", 0, "");
    assert!(is_race(&kind, true), "{kind:?}");
    assert!(line.starts_with("cp."), "{line}");
}
