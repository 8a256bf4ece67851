//! Kernels that Triton compiled for `sm_100a`, `tests/kernels/triton_kernels.py`: products in tensor memory, silent in every
//! order of warps and equal to their definition.

use half::f16;
use tessera_emulator::{FindingKind, Global, Launch, Program, Report, launch, ptx::Module};
use tessera_numerics::{ElementFormat, ScaleFormat};

const DOT: &str = include_str!("../kernels/triton_dot_128_sm_100.ptx");
const NVFP4: &str = include_str!("../kernels/triton_dot_nvfp4_sm_100.ptx");
const MXFP4: &str = include_str!("../kernels/triton_dot_mxfp4_sm_100.ptx");
const M: usize = 128;
const N: usize = 64;

/// Runs a kernel of one CTA; its result, if all of that was written.
fn run(text: &str, inputs: &[Vec<u8>], seed: u64) -> (Report, Option<Vec<f32>>) {
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let kernel = program.kernels().next().unwrap().to_owned();
    let mut memory = Global::new();
    let mut grid = Launch::new(kernel).block([128, 1, 1]);
    grid.dynamic_shared = 48 << 10;
    grid.seed = seed;
    grid.step_limit = 1 << 20;
    for input in inputs {
        grid = grid.u64(memory.allocate_with(input.clone()));
    }
    let result = memory.allocate(4 * M * N);
    // The last two are memory that Triton's own tools may ask for.
    let report = launch(&program, &mut memory, &grid.u64(result).u64(0).u64(0)).unwrap();
    let bytes = memory.read_bytes(result, 4 * M * N).ok();
    let numbers = bytes.map(|bytes| {
        let number = |chunk: &[u8]| f32::from_le_bytes(chunk.try_into().unwrap());
        bytes.chunks_exact(4).map(number).collect()
    });
    (report, numbers)
}

fn words(count: usize, from: usize) -> impl Iterator<Item = u32> {
    (from as u32..(from + count) as u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b9) ^ (i << 9).wrapping_mul(0x85eb_ca6b)).rotate_left(11))
}

/// 64 products of small integers in halves: exact.
fn halves() -> (Vec<Vec<u8>>, Vec<f32>) {
    let k = 64;
    let draw = |count, from, modulus: u32| -> Vec<f32> {
        let number = |word: u32| (word % modulus) as f32 - (modulus / 2) as f32;
        words(count, from).map(number).collect()
    };
    let (a, b) = (draw(M * k, 0, 33), draw(k * N, 99, 17));
    let bytes = |numbers: &[f32]| {
        let each = numbers.iter();
        each.flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
    };
    let expected = (0..M * N).map(|i| (0..k).map(|at| a[i / N * k + at] * b[at * N + i % N]).sum());
    (vec![bytes(&a), bytes(&b)], expected.collect())
}

/// Codes of E2M1 and scales of blocks, and the products' sums: exact in f64 and in f32, as the scales are near to each other.
fn scaled(format: ScaleFormat, block: usize, k: usize) -> (Vec<Vec<u8>>, Vec<f32>) {
    let codes = |count, from| -> Vec<u8> { words(count, from).map(|word| word as u8).collect() };
    let scales = |count, from| -> Vec<u8> {
        let (first, span) = match format {
            ScaleFormat::E4m3 => (0x30, 0x10),
            ScaleFormat::E8m0 => (125, 4),
        };
        words(count, from)
            .map(|word| first + (word % span) as u8)
            .collect()
    };
    let (a, b) = (codes(M * k / 2, 0), codes(N * k / 2, 77));
    let (x, y) = (scales(M * k / block, 3), scales(N * k / block, 9));
    let value = |codes: &[u8], scales: &[u8], row: usize, at: usize| {
        let code = codes[row * k / 2 + at / 2] >> (4 * (at % 2)) & 0xf;
        ElementFormat::E2m1.decode(code) * format.decode(scales[row * k / block + at / block])
    };
    let number = |i: usize| {
        let terms = (0..k)
            .map(|at| f64::from(value(&a, &x, i / N, at)) * f64::from(value(&b, &y, i % N, at)));
        let sum: f64 = terms.sum();
        assert_eq!(f64::from(sum as f32), sum, "the test's numbers are exact");
        sum as f32
    };
    let expected = (0..M * N).map(number).collect();
    (vec![a, x, b, y], expected)
}

/// That a kernel is silent and gives the expected numbers in a hundred orders of warps.
fn silent_and_right(text: &str, (inputs, expected): (Vec<Vec<u8>>, Vec<f32>)) {
    let check = |seed| {
        let (report, found) = run(text, &inputs, seed);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
        assert!(report.completed);
        assert_eq!(report.counts.model_dependent, 0);
        let found = found.expect("all of the result is written");
        let wrong = (0..M * N).filter(|&i| found[i] != expected[i]);
        let wrong: Vec<usize> = wrong.collect();
        assert!(
            wrong.is_empty(),
            "seed {seed}: {} wrong, at row {} and column {} {} for {}",
            wrong.len(),
            wrong[0] / N,
            wrong[0] % N,
            found[wrong[0]],
            expected[wrong[0]]
        );
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (50..100).for_each(check));
        (0..50).for_each(check);
    });
}

#[test]
fn a_product_of_f16() {
    silent_and_right(DOT, halves());
}

#[test]
fn a_product_of_nvfp4() {
    silent_and_right(NVFP4, scaled(ScaleFormat::E4m3, 16, 128));
}

#[test]
fn a_product_of_mxfp4() {
    silent_and_right(MXFP4, scaled(ScaleFormat::E8m0, 32, 256));
}

/// What becomes of the NVFP4 kernel with one place changed.
#[derive(Debug, PartialEq)]
enum Mutant {
    /// The first finding: its kind's name, and the line of the text.
    Found(&'static str, String),
    Wrong,
    Right,
}

fn kind(found: &FindingKind) -> &'static str {
    match found {
        FindingKind::OutOfBounds { .. } => "out of bounds",
        FindingKind::Misaligned { .. } => "misaligned",
        FindingKind::Deadlock { .. } => "deadlock",
        FindingKind::Race {
            needs_proxy_fence: true,
            ..
        } => "proxy fence",
        FindingKind::Race { memory, .. } => memory,
        FindingKind::TensorMemory { .. } => "misuse",
        FindingKind::Descriptor { .. } => "descriptor",
        FindingKind::Mbarrier { .. } => "mbarrier",
        FindingKind::Uninitialised { .. } => "unwritten",
        FindingKind::UninitialisedResult { .. } => "undefined",
        FindingKind::Registers { .. } => "registers",
        FindingKind::Unfinished => "unfinished",
        _ => "other",
    }
}

/// Changes a text that stands there once.
fn mutant(from: &str, to: &str) -> Mutant {
    let places = NVFP4.matches(from).count();
    assert_eq!(places, 1, "{from} stands there {places} times");
    let text = NVFP4.replace(from, to);
    let (inputs, expected) = scaled(ScaleFormat::E4m3, 16, 128);
    let mut seen = Mutant::Right;
    for seed in 0..4 {
        let (report, found) = run(&text, &inputs, seed);
        if let Some(first) = report.findings.first() {
            let line = text.lines().nth(first.place.line as usize - 1);
            return Mutant::Found(kind(&first.kind), line.unwrap_or_default().to_owned());
        }
        if found != Some(expected.clone()) {
            seen = Mutant::Wrong;
        }
    }
    seen
}

/// That a changed kernel is found out by a finding of a kind, at a line with something in it.
#[track_caller]
fn assert_found(mutant: Mutant, kind: &str, at: &str) {
    let is_expected =
        matches!(&mutant, Mutant::Found(own, line) if *own == kind && line.contains(at));
    assert!(is_expected, "expected {kind} at {at}, found {mutant:?}");
}

#[test]
fn fields_of_the_instruction_descriptor() {
    let idesc = 135_267_456u32;
    let with = |bits: u32| {
        let to = format!("mov.b32 \t%r161, {};", idesc ^ bits);
        mutant("mov.b32 \t%r161, 135267456;", &to)
    };
    // The format of A, sparsity, the first byte of scales, K, transposition.
    for bits in [1 << 8, 1 << 2, 1 << 29, 1 << 4, 1 << 31, 1 << 15] {
        assert_found(with(bits), "descriptor", "tcgen05.mma");
    }
    // A negated, the scales' format, N of 32 for 64.
    for bits in [1 << 13, 1 << 23, 0b1100 << 17] {
        assert_eq!(with(bits), Mutant::Wrong, "{bits:#x}");
    }
    // M of 64, which these have not.
    assert_found(with(0b1100 << 24), "descriptor", "tcgen05.mma");
}

#[test]
fn fields_of_the_shared_memory_descriptors() {
    let high = -2_147_467_232i32 as u32;
    let with = |bits: u32| {
        let to = format!("mov.b32 \t%r170, {};", (high ^ bits) as i32);
        mutant("mov.b32 \t%r170, -2147467232;", &to)
    };
    // What must be 0b001, and a swizzling mode that is none.
    assert_found(with(1 << 14), "descriptor", "tcgen05.mma");
    assert_found(with(1 << 29), "descriptor", "tcgen05.mma");
    // 32 and 128 bytes for 64, half the distance of groups, a base offset.
    for bits in [2 << 29, 4 << 29, 0x30, 1 << 17] {
        assert_eq!(with(bits), Mutant::Wrong, "{bits:#x}");
    }
    // No swizzling: groups reach into what nobody fenced.
    assert_found(with(6 << 29), "proxy fence", "tcgen05.mma");
    // A second step along K of sixteen bytes for 32, and B's tile sixteen bytes on.
    let step = mutant("add.s32 \t%r171, %r167, 2;", "add.s32 \t%r171, %r167, 1;");
    assert_eq!(step, Mutant::Wrong);
    let tile = mutant("add.s32 \t%r168, %r7, 8192;", "add.s32 \t%r168, %r7, 8208;");
    assert_found(tile, "proxy fence", "tcgen05.mma");
}

#[test]
fn columns_of_tensor_memory() {
    // A's scales where D is, B's one column on, and those of the second step where the first's are.
    for (from, to) in [
        ("add.s32 \t%r162, %r303, 64;", "add.s32 \t%r162, %r303, 60;"),
        ("add.s32 \t%r163, %r303, 72;", "add.s32 \t%r163, %r303, 73;"),
        ("add.s32 \t%r164, %r303, 68;", "add.s32 \t%r164, %r303, 64;"),
    ] {
        assert_eq!(mutant(from, to), Mutant::Wrong, "{to}");
    }
    // All scales two columns on.
    let stored = mutant("add.s32 \t%r9, %r238, 64;", "add.s32 \t%r9, %r238, 66;");
    assert_found(stored, "undefined", "st.global");
    // Half the columns.
    let few = mutant("b32 [%r7], 128;", "b32 [%r7], 64;");
    assert_found(few, "misuse", "tcgen05.wait::st");
    // Every warp at the first warp's lanes.
    let lanes = mutant("and.b32 \t%r37, %r36, 6291456;", "and.b32 \t%r37, %r36, 0;");
    assert_found(lanes, "misuse", "tcgen05.st");
}

#[test]
fn waits_and_fences_that_are_left_out() {
    let without = |text: &str| mutant(text, "");
    assert_found(
        without("fence.proxy.async.shared::cta;"),
        "proxy fence",
        "tcgen05.mma",
    );
    let wait = "mbarrier.try_wait.parity.shared::cta.b64 complete, [%r173], %r8;\n\t@!complete bra.uni waitLoop;";
    assert_found(without(wait), "unfinished", "tcgen05.commit");
    assert_found(
        without("tcgen05.wait::ld.sync.aligned;"),
        "registers",
        "st.shared",
    );
    let commit =
        "@%p7 tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [%r173];";
    assert_found(without(commit), "deadlock", "mbarrier.try_wait");
    // The last wait for stores alone, and the barrier behind it.
    let wait = "tcgen05.wait::st.sync.aligned;\n\tfence";
    assert_found(mutant(wait, "fence"), "misuse", "tcgen05.st");
    let barrier = "fence.proxy.async.shared::cta;\n\tbar.sync \t0;";
    let without = mutant(barrier, "fence.proxy.async.shared::cta;");
    assert_found(without, "shared memory", "mbarrier.init");
}

#[test]
fn a_commit_that_comes_too_early() {
    let commit =
        "@%p7 tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [%r173];";
    let text = NVFP4.replace(commit, "");
    let second = "add.s32 \t%r171, %r167, 2;";
    let text = text.replace(second, &format!("{commit}\n{second}"));
    let (inputs, _) = scaled(ScaleFormat::E4m3, 16, 128);
    let (report, _) = run(&text, &inputs, 0);
    let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let expected = "tensor memory is used by work that nobody committed";
    assert!(found.iter().any(|one| one.contains(expected)), "{found:?}");
}

#[test]
fn tensor_memory_that_is_not_given_back() {
    let dealloc = "@%p1 tcgen05.dealloc.cta_group::1.sync.aligned.b32 %r303, 128;";
    assert_found(mutant(dealloc, ""), "misuse", "tcgen05.alloc");
    // Too few columns, and twice.
    let few = dealloc.replace("128", "64");
    assert_found(mutant(dealloc, &few), "misuse", "tcgen05.dealloc");
    let twice = format!("{dealloc}\n{dealloc}");
    assert_found(mutant(dealloc, &twice), "misuse", "tcgen05.dealloc");
    // Before the result is read.
    let early = "@%p8 mbarrier.inval.shared::cta.b64 [%r173];";
    let text = format!("{early}\n{dealloc}");
    assert_found(mutant(early, &text), "misuse", "tcgen05.wait::ld");
}
