//! `wgmma`: every type, both majors and all swizzles against sums that are exact; what Triton compiles for Hopper, and that
//! with one thing wrong.

use super::asynchronous::{Case, is_race, to_bytes, words};
use super::modifiers::row::forms;
use super::ring::{plain_product, run as in_ring};
use half::{bf16, f16};
use tessera_emulator::{
    Fill, FindingKind, Global, Launch, Program, Report, Swizzle, TensorElement, TensorMap, launch,
    ptx::Module,
};
use tessera_numerics::ElementFormat;

const TEXT: &str = include_str!("../kernels/triton_pipeline_sm_90.ptx");

/// Products, of columns of any number, `N`.
pub const PRODUCTS: &[&str] = &[
    "wgmma.mma_async.sync.aligned.m64nNk16[.f16.f16.f16|.f32.f16.f16|.f32.bf16.bf16]",
    "wgmma.mma_async.sync.aligned.m64nNk8.f32.tf32.tf32",
    "wgmma.mma_async.sync.aligned.m64nNk32[.f16|.f32][.e4m3|.e5m2][.e4m3|.e5m2]",
    "wgmma.mma_async.sync.aligned.m64nNk32[.satfinite|].s32[.s8|.u8][.s8|.u8]",
];

/// What stands around them.
pub const ORDERS: &[&str] = &["wgmma[.fence|.commit_group|.wait_group].sync.aligned"];

/// How a matrix lies in shared memory.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Bytes of a line; 16 without a swizzle.
    span: usize,
    is_transposed: bool,
}

impl Layout {
    /// The place of a number of some bytes, at a row (of A, a column of B) and k; rows are up to `rows`.
    fn place(self, rows: usize, (row, k): (usize, usize), bytes: usize) -> usize {
        let (line, along) = if self.is_transposed {
            (k, row * bytes)
        } else {
            (row, k * bytes)
        };
        // Eight lines are together; then, where rows are next to each other, the next piece of a line; then the next lines.
        let pieces = if self.is_transposed {
            (rows * bytes).div_ceil(self.span)
        } else {
            32usize.div_ceil(self.span)
        };
        let place = (line / 8 * pieces + along / self.span) * 8 * self.span
            + line % 8 * self.span
            + along % self.span;
        let exchanged = match self.span {
            16 => 0,
            span => place / 128 % (span / 16) * 16,
        };
        place ^ exchanged
    }

    fn descriptor(self, begin: usize, rows: usize, bytes: usize) -> u64 {
        let group = 8 * self.span;
        let pieces = if self.is_transposed {
            (rows * bytes).div_ceil(self.span)
        } else {
            32usize.div_ceil(self.span)
        };
        let (leading, stride) = match (self.span, self.is_transposed) {
            (16, false) => (group, group * pieces),
            (16, true) => (group * pieces, group),
            (_, false) => (16, group),
            (_, true) => (group, group * pieces),
        };
        let swizzle = match self.span {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => 0u64,
        };
        (begin >> 4 | leading >> 4 << 16 | stride >> 4 << 32) as u64 | swizzle << 62
    }
}

/// A kind of numbers: its name, its bytes, the bits of a number.
struct Kind {
    name: &'static str,
    bytes: usize,
    bits: fn(i32) -> u64,
}

const F16: Kind = Kind {
    name: "f16",
    bytes: 2,
    bits: |x| u64::from(f16::from_f32(x as f32).to_bits()),
};
const BF16: Kind = Kind {
    name: "bf16",
    bytes: 2,
    bits: |x| u64::from(bf16::from_f32(x as f32).to_bits()),
};
const TF32: Kind = Kind {
    name: "tf32",
    bytes: 4,
    bits: |x| u64::from((x as f32).to_bits()),
};
const E4M3: Kind = Kind {
    name: "e4m3",
    bytes: 1,
    bits: |x| u64::from(low(ElementFormat::E4m3, x)),
};
const E5M2: Kind = Kind {
    name: "e5m2",
    bytes: 1,
    bits: |x| u64::from(low(ElementFormat::E5m2, x)),
};
const S8: Kind = Kind {
    name: "s8",
    bytes: 1,
    bits: |x| x as u8 as u64,
};

const U8: Kind = Kind {
    name: "u8",
    bytes: 1,
    bits: |x| x as u8 as u64,
};

const KINDS: [&Kind; 7] = [&F16, &BF16, &TF32, &E4M3, &E5M2, &S8, &U8];

impl Kind {
    /// The number that stands for one of the test's: of `u8` the same modulo 256.
    fn value(&self, x: i32) -> i64 {
        match self.name {
            "u8" => i64::from(x as u8),
            _ => x.into(),
        }
    }
}

/// The code of a small integer.
fn low(format: ElementFormat, x: i32) -> u8 {
    (0..=255)
        .find(|&code| format.decode(code) == x as f32)
        .unwrap()
}

/// A product of 64 rows and n columns: the matrices, and D before.
struct Product {
    a: Vec<Vec<i32>>,
    b: Vec<Vec<i32>>,
    d: Vec<Vec<i32>>,
}

impl Product {
    fn new(n: usize, k: usize) -> Self {
        let matrix = |rows: usize, columns: usize, from: u32, range: i32| -> Vec<Vec<i32>> {
            let words = words(rows * columns, from);
            let number = |&word: &u32| (word >> 7) as i32 % (2 * range + 1) - range;
            words
                .chunks(columns)
                .map(|row| row.iter().map(number).collect())
                .collect()
        };
        Self {
            a: matrix(64, k, 0, 2),
            b: matrix(n, k, 7, 3),
            d: matrix(64, n, 99, 20),
        }
    }

    fn of(&self, [a, b]: [&Kind; 2], row: usize, column: usize) -> i64 {
        let pairs = self.a[row].iter().zip(&self.b[column]);
        let products = pairs.map(|(&x, &y)| a.value(x) * b.value(y));
        products.sum()
    }
}

/// Bits of D's number in its register: f32, f16 or an integer.
fn d_bits(result: &str, x: i32) -> u32 {
    match result {
        "f32" => (x as f32).to_bits(),
        "f16" => u32::from(f16::from_f32(x as f32).to_bits()),
        _ => x as u32,
    }
}

/// Runs D = A·B + D, or A·B, with `operands` behind the descriptors; gives D by row and column, its bits.
fn run(
    result: &str,
    kinds: [&Kind; 2],
    n: usize,
    layouts: [Option<Layout>; 2],
    tail: &str,
    adds: bool,
) -> Vec<Vec<u32>> {
    let [a, b] = kinds.map(|kind| kind.name);
    let k = 32 / kinds[0].bytes;
    let name = format!("wgmma.mma_async.sync.aligned.m64n{n}k{k}.{result}.{a}.{b}");
    let product = Product::new(n, k);
    let (report, rows) = execute(
        (&name, result),
        (kinds, &product),
        layouts,
        (tail, adds),
        str::to_owned,
    );
    assert_eq!(report.findings, [], "{name}");
    rows
}

/// As [`run`], of an instruction's name and type of result, a product, and a text that is changed.
fn execute(
    (name, result): (&str, &str),
    ([a, b], product): ([&Kind; 2], &Product),
    layouts: [Option<Layout>; 2],
    (tail, adds): (&str, bool),
    edit: impl Fn(&str) -> String,
) -> (Report, Vec<Vec<u32>>) {
    let n = product.b.len();
    let each = if result == "f16" { 2 } else { 1 };
    let registers = n / 2 / each;
    let mut shared = vec![0u8; 16 << 10];
    let mut put = |begin: usize, rows: usize, layout: Layout, kind: &Kind, matrix: &[Vec<i32>]| {
        for (row, numbers) in matrix.iter().enumerate() {
            for (k, &x) in numbers.iter().enumerate() {
                let place = begin + layout.place(rows, (row, k), kind.bytes);
                shared[place..place + kind.bytes]
                    .copy_from_slice(&(kind.bits)(x).to_le_bytes()[..kind.bytes]);
            }
        }
    };
    let plain = Layout {
        span: 16,
        is_transposed: false,
    };
    put(0, 64, layouts[0].unwrap_or(plain), a, &product.a);
    let b_layout = layouts[1].unwrap();
    put(8192, n, b_layout, b, &product.b);
    // Behind shared memory's content each lane's four registers of A, and D.
    let mut content = shared;
    let per = 4 / a.bytes;
    let position = |thread: usize| (thread / 32 * 16 + thread % 32 / 4, thread % 4);
    for thread in 0..128 {
        let (row, t) = position(thread);
        for i in 0..4 {
            let mut register = 0u32;
            for slot in 0..per {
                let number = product.a[row + 8 * (i % 2)][per * (t + 4 * (i / 2)) + slot];
                register |= ((a.bits)(number) as u32) << (8 * a.bytes * slot);
            }
            content.extend(register.to_le_bytes());
        }
    }
    let place = |thread: usize, i: usize| {
        let (row, t) = position(thread);
        (row + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * t + i % 2)
    };
    for thread in 0..128 {
        for i in 0..registers {
            let (row, column) = place(thread, each * i);
            let mut register = d_bits(result, product.d[row][column]);
            if each == 2 {
                register |= d_bits(result, product.d[row][column + 1]) << 16;
            }
            content.extend(register.to_le_bytes());
        }
    }
    let d: Vec<String> = (0..registers).map(|i| format!("%d{i}")).collect();
    let moves =
        |instruction: &dyn Fn(usize) -> String| (0..registers).map(instruction).collect::<String>();
    let a_operand = match layouts[0] {
        Some(layout) => layout.descriptor(0, 64, a.bytes).to_string(),
        None => "{%a0, %a1, %a2, %a3}".into(),
    };
    let text = format!(
        ".version 8.7\n.target sm_90a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .b32 %d<128>;\n.reg .b32 %a<4>;\n.reg .b64 %rd<8>;\n\
         .shared .align 1024 .b8 own[16384];\nld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nshl.b32 %r2, %r1, 2;\n\
         F:\ncvt.u64.u32 %rd2, %r2;\nadd.u64 %rd2, %rd1, %rd2;\nld.global.u32 %r3, [%rd2];\nst.shared.u32 [%r2], %r3;\n\
         add.u32 %r2, %r2, 512;\nsetp.lt.u32 %p1, %r2, 16384;\n@%p1 bra F;\n\
         mul.wide.u32 %rd3, %r1, 16;\nadd.u64 %rd3, %rd1, %rd3;\nld.global.v4.u32 {{%a0, %a1, %a2, %a3}}, [%rd3+16384];\n\
         mul.wide.u32 %rd4, %r1, {bytes};\nadd.u64 %rd4, %rd1, %rd4;\n{loads}\
         fence.proxy.async;\nbar.sync 0;\nsetp.ne.u32 %p2, {adds}, 0;\nwgmma.fence.sync.aligned;\n\
         {name} {{{d}}}, {a_operand}, {b_operand}, %p2{tail};\n\
         wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n{stores}ret;\n}}",
        bytes = 4 * registers,
        loads = moves(&|i| format!("ld.global.u32 %d{i}, [%rd4+{}];\n", 18432 + 4 * i)),
        adds = u32::from(adds),
        d = d.join(", "),
        b_operand = b_layout.descriptor(8192, n, b.bytes),
        stores = moves(&|i| format!("st.global.u32 [%rd4+{}], %d{i};\n", 18432 + 4 * i)),
    );
    let program = Program::new(&Module::parse(&edit(&text)).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate_with(content);
    let report = launch(
        &program,
        &mut memory,
        &Launch::new("main").block([128, 1, 1]).u64(address),
    )
    .unwrap();
    let found = memory.read_bytes(address + 18432, 512 * registers);
    let found = found.unwrap_or_else(|_| vec![0; 512 * registers]);
    let mut rows = vec![vec![0; n]; 64];
    for thread in 0..128 {
        for i in 0..n / 2 {
            let (row, column) = place(thread, i);
            let bytes = 4 / each;
            let at = 4 * registers * thread + bytes * i;
            let mut number = [0; 4];
            number[..bytes].copy_from_slice(&found[at..at + bytes]);
            rows[row][column] = u32::from_le_bytes(number);
        }
    }
    (report, rows)
}

/// That D is what integers make of it, with a factor of the product.
fn check(
    result: &str,
    kinds: [&Kind; 2],
    n: usize,
    layouts: [Option<Layout>; 2],
    tail: &str,
    (sign, adds): (i32, bool),
) {
    let found = run(result, kinds, n, layouts, tail, adds);
    let product = Product::new(n, 32 / kinds[0].bytes);
    for (row, numbers) in found.iter().enumerate() {
        for (column, &number) in numbers.iter().enumerate() {
            let before = if adds { product.d[row][column] } else { 0 };
            let expected = sign * product.of(kinds, row, column) as i32 + before;
            let what = format!("{result} {} {layouts:?} at {row}, {column}", kinds[0].name);
            // −0 is what nothing makes of zeros here; bits are compared.
            assert_eq!(number, d_bits(result, expected), "{what}");
        }
    }
}

fn k_major(span: usize) -> Option<Layout> {
    Some(Layout {
        span,
        is_transposed: false,
    })
}

fn mn_major(span: usize) -> Option<Layout> {
    Some(Layout {
        span,
        is_transposed: true,
    })
}

#[test]
fn all_types() {
    let layouts = [k_major(32), k_major(32)];
    for form in PRODUCTS.iter().flat_map(|pattern| forms(pattern)) {
        let types = form.words.iter().rev().take(2);
        let named = |name: &String| KINDS.into_iter().find(|kind| kind.name == name);
        let kinds: Vec<&Kind> = types.filter_map(named).collect();
        let [b, a] = kinds[..] else {
            panic!("{} has two types", form.text());
        };
        let result = form.one_of(&["f32", "s32"]).unwrap_or("f16");
        let tail = match (a.bytes, result) {
            (2, _) => ", 1, 1, 0, 0",
            (_, "s32") => "",
            _ => ", 1, 1",
        };
        for n in [8, 16, 48] {
            let mut product = Product::new(n, 32 / a.bytes);
            if result == "s32" {
                // Sums on both sides of both ends of the range.
                let near = |x: &mut i32| *x = x.saturating_mul(i32::MAX / 19);
                product.d.iter_mut().flatten().for_each(near);
            }
            let name = form.text().replace("nN", &format!("n{n}"));
            let (report, found) = execute(
                (&name, result),
                ([a, b], &product),
                layouts,
                (tail, true),
                str::to_owned,
            );
            assert_eq!(report.findings, [], "{name}");
            for (row, column) in (0..64).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let sum = product.of([a, b], row, column) + i64::from(product.d[row][column]);
                let ends = (i32::MIN.into(), i32::MAX.into());
                let sum = if form.has("satfinite") {
                    sum.clamp(ends.0, ends.1)
                } else {
                    sum
                };
                assert_eq!(
                    found[row][column],
                    d_bits(result, sum as i32),
                    "{name} at {row}, {column}"
                );
            }
        }
    }
}

#[test]
fn what_stands_around_products() {
    let layouts = [k_major(32), k_major(32)];
    let product = Product::new(8, 16);
    let name = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16";
    for form in ORDERS.iter().flat_map(|pattern| forms(pattern)) {
        let is_silent = |edit: &dyn Fn(&str) -> String| {
            let tail = (", 1, 1, 0, 0", true);
            let (report, _) = execute((name, "f32"), ([&F16, &F16], &product), layouts, tail, edit);
            report.findings.is_empty()
        };
        assert!(is_silent(&str::to_owned));
        // What it stands for shows where it is not there.
        let text = form.text();
        let without = |kernel: &str| {
            let lines = kernel.lines().filter(|line| !line.starts_with(&text));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(!is_silent(&without), "{text}");
    }
    // A group may still be under way where as many are left.
    let left =
        |kernel: &str| kernel.replace("wait_group.sync.aligned 0", "wait_group.sync.aligned 1");
    let tail = (", 1, 1, 0, 0", true);
    let (report, _) = execute((name, "f32"), ([&F16, &F16], &product), layouts, tail, left);
    assert!(!report.findings.is_empty());
}

#[test]
fn all_swizzles_and_both_majors() {
    for span in [16, 32, 64, 128] {
        check(
            "f32",
            [&F16, &F16],
            24,
            [k_major(span), k_major(span)],
            ", 1, 1, 0, 0",
            (1, true),
        );
        check(
            "f32",
            [&F16, &F16],
            64,
            [mn_major(span), mn_major(span)],
            ", 1, 1, 1, 1",
            (1, true),
        );
        check(
            "f32",
            [&BF16, &BF16],
            128,
            [k_major(32), mn_major(span)],
            ", 1, 1, 0, 1",
            (1, true),
        );
    }
}

#[test]
fn a_in_registers() {
    check(
        "f32",
        [&F16, &F16],
        8,
        [None, k_major(64)],
        ", 1, 1, 0",
        (1, true),
    );
    check(
        "f32",
        [&F16, &F16],
        64,
        [None, mn_major(128)],
        ", 1, 1, 1",
        (1, true),
    );
    check(
        "f32",
        [&TF32, &TF32],
        8,
        [None, k_major(64)],
        ", 1, 1",
        (1, true),
    );
    check(
        "f32",
        [&E4M3, &E4M3],
        8,
        [None, k_major(64)],
        ", 1, 1",
        (1, true),
    );
    check("s32", [&S8, &S8], 8, [None, k_major(64)], "", (1, true));
}

#[test]
fn signs_and_what_is_added() {
    let layouts = [k_major(128), k_major(128)];
    check("f32", [&F16, &F16], 8, layouts, ", -1, 1, 0, 0", (-1, true));
    check("f32", [&F16, &F16], 8, layouts, ", -1, -1, 0, 0", (1, true));
    check("f32", [&F16, &F16], 8, layouts, ", 1, 1, 0, 0", (1, false));
}

/// What is refused, or found, of an instruction on four warps.
fn reason(target: &str, threads: u32, body: &str) -> String {
    let text = format!(
        ".version 8.7\n.target {target}\n.address_size 64\n.entry main() {{\n.reg .b32 %d<8>;\n.reg .b64 %rd<2>;\n\
         .reg .pred %p<2>;\n.shared .align 1024 .b8 own[4096];\nsetp.eq.u32 %p1, 0, 0;\n{body}\n}}"
    );
    let program = match Program::new(&Module::parse(&text).unwrap()) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    let report = launch(
        &program,
        &mut Global::new(),
        &Launch::new("main").block([threads, 1, 1]),
    )
    .unwrap();
    report
        .findings
        .first()
        .map(|found| found.kind.to_string())
        .unwrap_or_default()
}

#[test]
fn what_is_refused() {
    let fence = "wgmma.fence.sync.aligned;";
    assert!(reason("sm_90", 128, fence).contains("is not supported on .target"));
    assert!(reason("sm_100a", 128, fence).contains("is not supported on .target"));
    assert!(reason("sm_90a", 96, fence).contains("four warps"));
    assert_eq!(reason("sm_90a", 128, fence), "");
    let multiply = |shape: &str, tail: &str| {
        let body = format!(
            "wgmma.mma_async.sync.aligned.{shape} {{%d0, %d1, %d2, %d3}}, %rd0, %rd1, %p1, 1, 1{tail};"
        );
        reason("sm_90a", 128, &body)
    };
    assert!(multiply("m64n8k8.f32.f16.f16", ", 0, 0").contains("sums over 8, not 16"));
    assert!(multiply("m64n16k16.f32.f16.f16", ", 0, 0").contains("needs 8 registers for D"));
    assert!(multiply("m64n8k16.f32.f16.bf16", ", 0, 0").contains("do not go together"));
    assert!(multiply("m64n8k8.f32.tf32.tf32", ", 0, 0").contains("takes 6 operands"));
    let sparse = "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%d0, %d1, %d2, %d3}, %rd0, %rd1, %d0, 0, %p1, 1, 1, 0, 0;";
    assert!(reason("sm_90a", 128, sparse).contains("sparse"));
}

/// Rows and columns of the pipeline's product, and what is summed over.
const SHAPE: (usize, usize, usize) = (128, 64, 256);

/// Its operands: integers, so that all sums are exact.
fn halves() -> (Vec<f16>, Vec<f16>) {
    let (m, n, k) = SHAPE;
    let numbers = |count, from| -> Vec<f16> {
        let number = |word: u32| f16::from_f32((word % 17) as f32 - 8.0);
        words(count, from).into_iter().map(number).collect()
    };
    (numbers(m * k, 0), numbers(k * n, 5))
}

fn pipeline() -> Case {
    let (m, n, k) = SHAPE;
    let (a, b) = halves();
    let mut memory = Global::new();
    let x = memory.allocate_with(to_bytes(&a, f16::to_le_bytes));
    let y = memory.allocate_with(to_bytes(&b, f16::to_le_bytes));
    let results = memory.allocate(4 * m * n);
    let map = |address, rows: usize, columns: usize| TensorMap {
        element: TensorElement::F16,
        address,
        dimensions: vec![columns as u64, rows as u64],
        strides: vec![2 * columns as u64],
        box_dimensions: vec![64, 64],
        swizzle: Swizzle::B128,
        fill: Fill::Zero,
    };
    let one = |i: usize| -> f32 {
        (0..k)
            .map(|at| a[i / n * k + at].to_f32() * b[at * n + i % n].to_f32())
            .sum()
    };
    let expected: Vec<f32> = (0..m * n).map(one).collect();
    let mut grid = Launch::new("pipeline").grid([2, 1, 1]).block([128, 1, 1]);
    grid.dynamic_shared = 64 << 10;
    for (address, rows, columns) in [(x, m, k), (y, k, n)] {
        let map = map(address, rows, columns).encode().unwrap().to_vec();
        grid = grid
            .bytes(map)
            .u32(rows as u32)
            .u32(columns as u32)
            .u64(columns as u64)
            .u64(1);
    }
    Case {
        grid: grid.u64(results).u32(n as u32).u32(k as u32).u64(0).u64(0),
        memory,
        results,
        expected: to_bytes(&expected, f32::to_le_bytes),
    }
}

#[test]
fn a_pipeline_of_tensor_maps_and_products() {
    pipeline().check(TEXT);
}

#[test]
fn a_pipeline_in_the_ring() {
    let ((m, n, k), (a, b)) = (SHAPE, halves());
    let case = pipeline();
    let program = Program::in_ring(&Module::parse(TEXT).unwrap()).unwrap();
    let mut memory = case.memory.clone();
    let report = launch(&program, &mut memory, &case.grid).unwrap();
    assert_eq!(report.findings, []);
    let found = memory.read_bytes(case.results, 4 * m * n).unwrap();
    // The ring's own multiplications and additions, one after the other.
    let expected = {
        let plain = Launch::new("plain")
            .grid([m as u32, 1, 1])
            .block([n as u32, 1, 1]);
        let operands = [&a, &b].map(|own| to_bytes(own, f16::to_le_bytes));
        let text = plain_product(n as u32, k as u32);
        in_ring(&text, true, &plain, &operands, 4 * m * n).1
    };

    assert_eq!(found, expected);
    // They are no floats.
    assert_ne!(found, case.expected);
}

#[test]
fn products_that_are_not_waited_for() {
    let wait = "wgmma.wait_group.sync.aligned 0;";
    let (kind, line) = pipeline().mutant(TEXT, wait, 0, "");
    assert!(matches!(kind, FindingKind::Registers { .. }), "{kind:?}");
    assert!(line.contains("%r"), "{line}");
}

#[test]
fn a_stage_that_is_loaded_before_its_product_is_done() {
    let (kind, line) = pipeline().mutant(
        TEXT,
        "wgmma.wait_group.sync.aligned 1;",
        0,
        "wgmma.wait_group.sync.aligned 7;",
    );
    assert!(is_race(&kind, false), "{kind:?}");
    assert!(
        line.contains("cp.async.bulk.tensor") || line.starts_with("wgmma.mma_async"),
        "{line}"
    );
}

#[test]
fn a_product_of_what_has_not_come() {
    let wait = "mbarrier.try_wait.parity.shared::cta.b64 complete,";
    let (kind, line) = pipeline().mutant(TEXT, wait, 0, "setp.eq.u32 complete, 0, 0; // ");
    // It multiplies what is not there yet, and expects bytes of a phase that is not over.
    assert!(
        is_race(&kind, false) || matches!(kind, FindingKind::Mbarrier { .. }),
        "{kind:?}"
    );
    assert!(
        line.contains("cp.async.bulk.tensor")
            || line.starts_with("wgmma.mma_async")
            || line.contains("mbarrier.arrive.expect_tx"),
        "{line}"
    );
}

#[test]
fn registers_that_no_fence_stands_behind() {
    let (kind, line) = pipeline().mutant(TEXT, "wgmma.fence.sync.aligned;", 0, "");
    assert!(matches!(kind, FindingKind::Registers { .. }), "{kind:?}");
    assert!(line.starts_with("wgmma.mma_async"), "{line}");
}

#[test]
fn registers_of_a_that_change_while_a_product_reads_them() {
    let body = |before: &str, after: &str| {
        format!(
            "{{\n.reg .b32 %a<4>;\nmov.u32 %a0, 0;\nmov.u32 %a1, 0;\nmov.u32 %a2, 0;\nmov.u32 %a3, 0;\nmov.u64 %rd1, 0;\n\
             setp.ne.u32 %p1, 0, 0;\nwgmma.fence.sync.aligned;\n\
             wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{%d0, %d1, %d2, %d3}}, {{%a0, %a1, %a2, %a3}}, %rd1, %p1, 1, 1, 0;\n\
             wgmma.commit_group.sync.aligned;\n{before}\nwgmma.wait_group.sync.aligned 0;\n{after}\n}}"
        )
    };
    let write = "mov.u32 %a1, 5;";
    let found = reason("sm_90a", 128, &body(write, ""));
    assert!(found.contains("reads A in them"), "{found}");
    assert_eq!(reason("sm_90a", 128, &body("", write)), "");
    // To read them is no harm.
    assert_eq!(reason("sm_90a", 128, &body("mov.u32 %d4, %a1;", "")), "");
}
