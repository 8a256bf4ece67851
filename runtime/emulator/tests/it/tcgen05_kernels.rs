//! Kernels written by hand with `tcgen05`: scales copied from shared memory, products of a pair of CTAs.

use half::f16;
use tessera_emulator::{FindingKind, Global, Launch, Program, Report, launch, ptx::Module};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// Bytes of shared memory that a CTA begins with.
pub(super) const IMAGE: usize = 6144;
pub(super) const N: usize = 32;

/// A kernel of CTAs of 128 threads: it fills shared memory from the first argument, executes `issue` in the first thread of the
/// first CTA, waits for the mbarrier `done`, and stores the 32 columns of each lane from `%t` on to the second argument.
pub(super) fn kernel(group: u32, before: &str, issue: &str) -> String {
    let registers: Vec<String> = (0..N).map(|i| format!("%d{i}")).collect();
    let stores: String = (0..N)
        .map(|i| format!("st.global.b32 [%out+{}], %d{i};\n", 4 * i))
        .collect();
    let copies: String = (0..3)
        .map(|i| {
            let at = 2048 * i;
            format!(
                "ld.global.v4.b32 {{%d0,%d1,%d2,%d3}}, [%in+{at}];\nst.shared.v4.b32 [%to+{at}], {{%d0,%d1,%d2,%d3}};\n"
            )
        })
        .collect();
    format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 image, .param .u64 result) {{\n\
         .reg .pred %first, %warp, %ended, %no;\n.reg .b32 %thread, %number, %t, %to, %r<8>, %d<{N}>;\n\
         .reg .b64 %in, %out, %x<8>;\n\
         .shared .align 1024 .b8 own[{IMAGE}];\n.shared .align 8 .b64 done;\n.shared .align 4 .b32 slot;\n\
         mov.u32 %thread, %tid.x;\nmov.u32 %number, %ctaid.x;\n\
         ld.param.u64 %in, [image];\nmul.wide.u32 %x0, %number, {IMAGE};\nadd.u64 %in, %in, %x0;\n\
         mul.wide.u32 %x0, %thread, 16;\nadd.u64 %in, %in, %x0;\nshl.b32 %to, %thread, 4;\nmov.u32 %r0, own;\nadd.u32 %to, %to, %r0;\n\
         {copies}fence.proxy.async.shared::cta;\n\
         setp.lt.u32 %warp, %thread, 32;\n\
         @%warp tcgen05.alloc.cta_group::{group}.sync.aligned.shared::cta.b32 [slot], 64;\n\
         setp.eq.u32 %first, %thread, 0;\n@%first mbarrier.init.shared::cta.b64 [done], 1;\n\
         bar.sync 0;\nld.shared.b32 %t, [slot];\n{before}\
         setp.eq.and.u32 %first, %number, 0, %first;\n@!%first bra WAIT;\nsetp.ne.u32 %no, %thread, %thread;\n{issue}\
         WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %ended, [done], 0;\n@!%ended bra WAIT;\n\
         tcgen05.fence::after_thread_sync;\n\
         and.b32 %r0, %thread, 96;\nshl.b32 %r0, %r0, 16;\nadd.u32 %r0, %r0, %t;\n\
         tcgen05.ld.sync.aligned.32x32b.x{N}.b32 {{{}}}, [%r0];\ntcgen05.wait::ld.sync.aligned;\n\
         ld.param.u64 %out, [result];\nmad.lo.u32 %r0, %number, 128, %thread;\nmul.wide.u32 %x0, %r0, {};\nadd.u64 %out, %out, %x0;\n\
         {stores}bar.sync 0;\n\
         @%warp tcgen05.dealloc.cta_group::{group}.sync.aligned.b32 %t, 64;\nret;\n}}",
        registers.join(","),
        4 * N
    )
}

/// The descriptor, but for where it begins, of a matrix along K without swizzling.
pub(super) fn descriptor(leading: u64, stride: u64) -> u64 {
    leading >> 4 << 16 | stride >> 4 << 32 | 1 << 46
}

pub(super) fn run(text: &str, image: &[u8], ctas: u32, seed: u64) -> (Report, Option<Vec<f32>>) {
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let input = memory.allocate_with(image.to_vec());
    let size = 4 * 128 * N * ctas as usize;
    let result = memory.allocate(size);
    let mut grid = Launch::new("main")
        .grid([ctas, 1, 1])
        .block([128, 1, 1])
        .u64(input)
        .u64(result);
    grid.cluster = [ctas, 1, 1];
    grid.seed = seed;
    grid.step_limit = 1 << 20;
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(result, size).ok();
    let numbers = bytes.map(|bytes| {
        let number = |chunk: &[u8]| f32::from_le_bytes(chunk.try_into().unwrap());
        bytes.chunks_exact(4).map(number).collect()
    });
    (report, numbers)
}

fn check(text: &str, image: &[u8], ctas: u32, expected: &[f32]) {
    for seed in 0..100 {
        let (report, found) = run(text, image, ctas, seed);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
        let found = found.expect("all of the result is written");
        let wrong = (0..expected.len()).find(|&i| found[i] != expected[i]);
        assert_eq!(wrong, None, "seed {seed}");
    }
}

pub(super) fn words(count: usize, from: usize) -> impl Iterator<Item = u32> {
    (from as u32..(from + count) as u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b9) ^ (i << 9).wrapping_mul(0x85eb_ca6b)).rotate_left(11))
}

/// Copies A's and B's scales and multiplies, A at 0, B at 4096, their scales at 5120 and 5632 of shared memory.
fn nvfp4() -> String {
    let begin = |name: usize, at: u64, fields: u64| {
        format!(
            "mov.u32 %r1, own;\nadd.u32 %r1, %r1, {at};\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %x{name}, %r1;\nor.b64 %x{name}, %x{name}, {fields};\n"
        )
    };
    let idesc = 1 << 7 | 1 << 10 | (N as u32 / 8) << 17 | 8 << 24;
    let issue = [
        begin(1, 0, descriptor(2048, 128)),
        begin(2, 4096, descriptor(512, 128)),
        begin(3, 5120, descriptor(0, 128)),
        begin(4, 5632, descriptor(0, 128)),
        "add.u32 %r2, %t, 32;\nadd.u32 %r3, %t, 36;\n".into(),
        "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r2], %x3;\n".into(),
        "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r3], %x4;\n".into(),
        format!("mov.b32 %r4, {idesc};\n"),
        "tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.scale_vec::4X [%t], %x1, %x2, %r4, [%r2], [%r3], %no;\n".into(),
        "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [done];\n".into(),
    ];
    kernel(1, "", &issue.concat())
}

/// Shared memory of the NVFP4 kernel, and the product.
fn nvfp4_numbers() -> (Vec<u8>, Vec<f32>) {
    let codes =
        |rows: usize, from| -> Vec<u8> { words(rows * 32, from).map(|word| word as u8).collect() };
    let scales = |rows: usize, from| -> Vec<u8> {
        words(rows * 4, from)
            .map(|word| 0x30 + (word % 16) as u8)
            .collect()
    };
    let (a, b) = (codes(128, 0), codes(N, 5000));
    let (x, y) = (scales(128, 9000), scales(N, 9999));
    let mut image = vec![0; IMAGE];
    for row in 0..128 {
        for byte in 0..32 {
            // Rows of sixteen bytes, the second half of K behind all of the first.
            image[byte / 16 * 2048 + row * 16 + byte % 16] = a[row * 32 + byte];
            if row < N {
                image[4096 + byte / 16 * 512 + row * 16 + byte % 16] = b[row * 32 + byte];
            }
        }
        for block in 0..4 {
            // Four rows, 32 apart, in sixteen bytes (cuBLAS, "1D block scaling factors layout").
            let at = row % 32 * 16 + row / 32 * 4 + block;
            image[5120 + at] = x[row * 4 + block];
            if row < N {
                image[5632 + at] = y[row * 4 + block];
            }
        }
    }
    let value = |codes: &[u8], scales: &[u8], row: usize, k: usize| {
        let code = codes[row * 32 + k / 2] >> (4 * (k % 2)) & 15;
        let scale = ScaleFormat::E4m3.decode(scales[row * 4 + k / 16]);
        f64::from(ElementFormat::E2m1.decode(code) * scale)
    };
    let number = |i: usize| {
        let terms = (0..64).map(|k| value(&a, &x, i / N, k) * value(&b, &y, i % N, k));
        terms.sum::<f64>() as f32
    };
    (image, (0..128 * N).map(number).collect())
}

/// What is known of the NVFP4 kernel.
pub(super) fn of_nvfp4() -> Report {
    run(&nvfp4(), &nvfp4_numbers().0, 1, 0).0
}

#[test]
fn scales_that_are_copied_from_shared_memory() {
    let (image, expected) = nvfp4_numbers();
    check(&nvfp4(), &image, 1, &expected);
}

#[test]
fn copies_of_scales_that_are_wrong() {
    let (image, expected) = nvfp4_numbers();
    let text = nvfp4();
    let first = "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r2], %x3;\n";
    let apart = |stride| {
        format!(
            "add.u32 %r1, %r1, 5120;\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %x3, %r1;\nor.b64 %x3, %x3, {};",
            descriptor(0, stride)
        )
    };
    // What is changed, and what is found, if more than the numbers.
    for (from, to, finding) in [
        // Not copied; the scales of B; one operand's on the other's.
        (first.to_owned(), String::new(), "never written is left"),
        (first.to_owned(), first.replace("%x3", "%x4"), ""),
        (
            first.to_owned(),
            first.replace("%r2", "%r3"),
            "never written is left",
        ),
        // Rows 64 bytes apart for 128.
        (apart(128), apart(64), ""),
        // Two halves for four copies.
        (
            first.to_owned(),
            first.replace("32x128b.warpx4", "64x128b.warpx2::02_13"),
            "each of the four warps' lanes needs a copy",
        ),
        // A's halves of K the wrong way apart: they reach beyond it.
        (
            descriptor(2048, 128).to_string(),
            descriptor(128, 2048).to_string(),
            "a fence.proxy.async is missing",
        ),
    ] {
        assert_eq!(text.matches(&from).count(), 1, "{from}");
        let (report, found) = run(&text.replace(&from, &to), &image, 1, 0);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        if finding.is_empty() {
            assert_eq!(findings, [""; 0], "{to}");
            assert_ne!(found.as_ref(), Some(&expected), "{to}");
        } else {
            assert!(findings[0].contains(finding), "{to}: {findings:#?}");
        }
    }
}

/// A product of halves, of 256 rows by 32 columns, of two CTAs: A's rows and B's columns are half in each.
fn of_a_pair(commit: &str) -> String {
    let begin = |name: usize, at: u64, fields: u64| {
        format!(
            "mov.u32 %r1, own;\nadd.u32 %r1, %r1, {at};\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %x{name}, %r1;\nor.b64 %x{name}, %x{name}, {fields};\n"
        )
    };
    let idesc = 1 << 4 | (N as u32 / 8) << 17 | 16 << 24;
    let issue = [
        begin(1, 0, descriptor(2048, 128)),
        begin(2, 4096, descriptor(256, 128)),
        format!("mov.b32 %r4, {idesc};\n"),
        "tcgen05.mma.cta_group::2.kind::f16 [%t], %x1, %x2, %r4, %no;\n".into(),
        commit.into(),
    ];
    let before = "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";
    kernel(2, before, &issue.concat())
}

const TO_BOTH: &str = "mov.u16 %mask, 3;\ntcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64 [done], %mask;\n";

fn pair_numbers() -> (Vec<u8>, Vec<f32>) {
    let number = |word: u32| (word % 33) as f32 - 16.0;
    let a: Vec<f32> = words(256 * 16, 0).map(number).collect();
    let b: Vec<f32> = words(N * 16, 7777).map(number).collect();
    let mut image = vec![0; 2 * IMAGE];
    for k in 0..16 {
        for row in 0..256 {
            let at = row / 128 * IMAGE + k / 8 * 2048 + row % 128 * 16 + k % 8 * 2;
            let bytes = f16::from_f32(a[row * 16 + k]).to_le_bytes();
            image[at..at + 2].copy_from_slice(&bytes);
        }
        for column in 0..N {
            let at = column / 16 * IMAGE + 4096 + k / 8 * 256 + column % 16 * 16 + k % 8 * 2;
            let bytes = f16::from_f32(b[column * 16 + k]).to_le_bytes();
            image[at..at + 2].copy_from_slice(&bytes);
        }
    }
    let expected =
        (0..256 * N).map(|i| (0..16).map(|k| a[i / N * 16 + k] * b[i % N * 16 + k]).sum());
    (image, expected.collect())
}

fn with_mask(text: String) -> String {
    text.replace(".reg .pred %first", ".reg .b16 %mask;\n.reg .pred %first")
}

#[test]
fn a_product_of_a_pair_of_ctas() {
    let (image, expected) = pair_numbers();
    check(&with_mask(of_a_pair(TO_BOTH)), &image, 2, &expected);
}

#[test]
fn a_commit_that_does_not_reach_the_other_cta() {
    let (image, _) = pair_numbers();
    let text = of_a_pair(
        "tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.b64 [done];\n",
    );
    let (report, _) = run(&text, &image, 2, 0);
    let is_deadlock = |kind: &FindingKind| matches!(kind, FindingKind::Deadlock { .. });
    assert!(report.findings.iter().any(|found| is_deadlock(&found.kind)));
}

#[test]
fn a_pair_that_does_not_wait_for_its_other_half() {
    let (image, _) = pair_numbers();
    let text = with_mask(of_a_pair(TO_BOTH));
    let text = text.replace(
        "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n",
        "",
    );
    let found = (0..20).any(|seed| !run(&text, &image, 2, seed).0.findings.is_empty());
    assert!(found);
}
