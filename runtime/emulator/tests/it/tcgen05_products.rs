//! `tcgen05.mma` in every form, of one CTA and of a pair, against the sum of products (PTX ISA 9.7.16.10): with its masks of
//! lanes, what D is divided by, A in tensor memory, and D's places for every M.
//!
//! Numbers are such that every sum is exact and has one result whatever the order.

use super::modifiers::row::{Form, forms};
use super::tcgen05_forms::{Element, Rows, begin, formats, noise, row, wide};
use super::tcgen05_kernels::{IMAGE, N, descriptor, kernel, run};
use half::f16;
use tessera_numerics::{ElementFormat, ScaleFormat};

/// Products.
pub const PRODUCTS: &[&str] = &[
    "tcgen05.mma[.cta_group::1|.cta_group::2][.kind::f16|.kind::tf32|.kind::f8f6f4|.kind::i8]\
     [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
    "tcgen05.mma[.cta_group::1|.cta_group::2].kind::mxf8f6f4.block_scale[.scale_vec::1X|.block32|]\
     [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
    "tcgen05.mma[.cta_group::1|.cta_group::2].kind::mxf4.block_scale[.scale_vec::2X|.block32|]\
     [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
    "tcgen05.mma[.cta_group::1|.cta_group::2].kind::mxf4nvf4.block_scale[.scale_vec::2X|.scale_vec::4X|.block16|.block32]\
     [.collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard|]",
];

/// The scales of a row, as their codes and what they are.
type Scales = Vec<Vec<(u8, f64)>>;

/// What is multiplied.
struct Operands {
    /// Fields of the instruction descriptor, without those of the shape.
    fields: u32,
    m: usize,
    a: Rows,
    b: Rows,
    /// Of A's rows and of B's columns; none of kinds without scales.
    scales: [Scales; 2],
}

/// 64 codes of four bits, one behind the other.
fn packed(noise: &mut impl Iterator<Item = u32>) -> (Vec<f64>, [u8; 32]) {
    let bytes: [u8; 32] = std::array::from_fn(|_| noise.next().unwrap() as u8);
    let codes = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    let values = codes.map(|code| ElementFormat::E2m1.decode(code).into());
    (values.collect(), bytes)
}

/// Scales near one, so that sums of products with different ones are exact.
fn scales(
    rows: usize,
    blocks: usize,
    format: ScaleFormat,
    noise: &mut impl Iterator<Item = u32>,
) -> Scales {
    let mut scale = || {
        let code = match format {
            ScaleFormat::E8m0 => 126 + (noise.next().unwrap() % 4) as u8,
            _ => 0x38 + (noise.next().unwrap() % 8) as u8,
        };
        (code, f64::from(format.decode(code)))
    };
    let all = (0..rows).map(|_| (0..blocks).map(|_| scale()).collect());
    all.collect()
}

impl Operands {
    /// Of a form, and of the scales' format where it leaves one open.
    fn new(form: &Form, m: usize, scale: ScaleFormat) -> Self {
        let noise = &mut noise(m);
        let [e4m3, .., e2m1] = formats();
        let mut rows = |count: usize, of: &dyn Fn(&mut dyn Iterator<Item = u32>) -> _| -> Rows {
            (0..count).map(|_| of(noise)).collect()
        };
        let wide_row = |bits: usize, of: fn(f32) -> u32| {
            let element = Element {
                field: 0,
                bits,
                value: |_| 0.0,
                largest: 8.0,
            };
            move |mut noise: &mut dyn Iterator<Item = u32>| wide(&element, of, &mut noise)
        };
        let low_row = |element: Element| {
            move |mut noise: &mut dyn Iterator<Item = u32>| row(&element, &mut noise)
        };
        let integer = Element {
            field: 1,
            bits: 8,
            value: |code| f64::from(code as u8 as i8),
            largest: 128.0,
        };
        let half = |x| f16::from_f32(x).to_bits().into();
        let kind = form.words.iter().find_map(|w| w.strip_prefix("kind::"));
        let (fields, a, b) = match kind.expect("a kind") {
            "f16" => {
                let of = wide_row(16, half);
                (1 << 4, rows(m, &of), rows(N, &of))
            }
            "tf32" => {
                let of = wide_row(32, f32::to_bits);
                (1 << 4 | 2 << 7 | 2 << 10, rows(m, &of), rows(N, &of))
            }
            "i8" => {
                let of = low_row(integer);
                (2 << 4 | 1 << 7 | 1 << 10, rows(m, &of), rows(N, &of))
            }
            kind @ ("f8f6f4" | "mxf8f6f4") => {
                let own = if kind == "f8f6f4" { 1 << 4 } else { 1 << 23 };
                let fields = own | e2m1.field << 7 | e4m3.field << 10;
                (fields, rows(m, &low_row(e2m1)), rows(N, &low_row(e4m3)))
            }
            _ => {
                let of = |mut noise: &mut dyn Iterator<Item = u32>| packed(&mut noise);
                let format = u32::from(scale == ScaleFormat::E8m0);
                let fields = format << 23 | 1 << 7 | 1 << 10;
                (fields, rows(m, &of), rows(N, &of))
            }
        };
        let blocks = match kind {
            Some("mxf8f6f4") => 1,
            Some("mxf4") => 2,
            Some("mxf4nvf4") => {
                if is_of_16(form) {
                    4
                } else {
                    2
                }
            }
            _ => 0,
        };
        Self {
            fields,
            m,
            a,
            b,
            scales: [m, N].map(|rows| scales(rows, blocks, scale, noise)),
        }
    }

    /// The sum of a row's and a column's products.
    fn sum(&self, row: usize, column: usize) -> f64 {
        let [(a, _), (b, _)] = [&self.a[row], &self.b[column]];
        let [x, y] = [&self.scales[0][row], &self.scales[1][column]];
        let term = |k: usize| {
            let scale = match x.len() {
                0 => 1.0,
                blocks => x[k * blocks / a.len()].1 * y[k * blocks / a.len()].1,
            };
            a[k] * b[k] * scale
        };
        (0..a.len()).map(term).sum()
    }

    /// Rows of A that each CTA of so many has.
    fn rows_of_a_cta(&self, ctas: usize) -> usize {
        self.m / ctas
    }

    /// Shared memory of each CTA, one behind the other: its rows of A at 0 and its columns of B at 4096, in rows of sixteen
    /// bytes, the second half of K behind all of the first; its rows' scales at 5120 and all columns' at 5632, four rows, 32
    /// apart, in sixteen bytes.
    fn image(&self, ctas: usize) -> Vec<u8> {
        let mut image = vec![0; ctas * IMAGE];
        let (rows, columns) = (self.rows_of_a_cta(ctas), N / ctas);
        for (cta, own) in image.chunks_mut(IMAGE).enumerate() {
            let lines = [(&self.a, 0, rows), (&self.b, 4096, columns)];
            for (lines, begin, count) in lines {
                for i in 0..count {
                    let (_, bytes) = &lines[count * cta + i];
                    for half in 0..2 {
                        let at = begin + 16 * (count * half + i);
                        own[at..at + 16].copy_from_slice(&bytes[16 * half..][..16]);
                    }
                }
            }
            let scales = [
                (&self.scales[0][rows * cta..][..rows], 5120),
                (&self.scales[1][..], 5632),
            ];
            for (scales, begin) in scales {
                for (row, codes) in scales.iter().enumerate() {
                    for (block, &(code, _)) in codes.iter().enumerate() {
                        own[begin + row % 32 * 16 + row / 32 * 4 + block] = code;
                    }
                }
            }
        }
        image
    }

    /// What is executed before products: descriptors, and scales in tensor memory behind D.
    fn begin(&self, ctas: usize) -> String {
        let leading = |rows: usize| 16 * rows as u64;
        let idesc = self.fields | (N as u32 / 8) << 17 | (self.m as u32 / 16) << 24;
        let mut text = [
            begin(1, 0, descriptor(leading(self.rows_of_a_cta(ctas)), 128)),
            begin(2, 4096, descriptor(leading(N / ctas), 128)),
            format!("mov.b32 %r4, {idesc};\nadd.u32 %r2, %t, 32;\nadd.u32 %r3, %t, 36;\n"),
        ]
        .concat();
        if !self.scales[0][0].is_empty() {
            text += &begin(3, 5120, descriptor(0, 128));
            text += &begin(4, 5632, descriptor(0, 128));
            for (to, from) in [("%r2", "%x3"), ("%r3", "%x4")] {
                text += &format!("tcgen05.cp.cta_group::{ctas}.32x128b.warpx4 [{to}], {from};\n");
            }
        }
        text
    }

    /// The operands of a product whose last ones are these.
    fn operands(&self, a: &str, last: &str) -> String {
        let scales = if self.scales[0][0].is_empty() {
            ""
        } else {
            "[%r2], [%r3], "
        };
        format!("[%t], {a}, %x2, %r4, {scales}{last}")
    }
}

fn is_of_16(form: &Form) -> bool {
    form.has("scale_vec::4X") || form.has("block16")
}

fn ctas(form: &Form) -> usize {
    1 + usize::from(form.has("cta_group::2"))
}

fn all() -> impl Iterator<Item = Form> {
    PRODUCTS.iter().flat_map(|pattern| forms(pattern))
}

/// The forms that say nothing of the collector.
fn plain() -> impl Iterator<Item = Form> {
    all().filter(|form| !form.words.iter().any(|word| word.starts_with("collector")))
}

/// Writes a number of its own to every word of D, executes some products, and gives the words of each lane of each CTA.
pub(super) fn run_in(ctas: usize, image: &[u8], issue: &str) -> Vec<[u32; N]> {
    let registers: Vec<String> = (0..N).map(|i| format!("%d{i}")).collect();
    let numbers: String = (0..N)
        .map(|i| format!("mad.lo.u32 %d{i}, %thread, 256, {};\n", first(0, i)))
        .collect();
    let fill = format!(
        "{numbers}and.b32 %r0, %thread, 96;\nshl.b32 %r0, %r0, 16;\nadd.u32 %r0, %r0, %t;\n\
         tcgen05.st.sync.aligned.32x32b.x{N}.b32 [%r0], {{{}}};\ntcgen05.wait::st.sync.aligned;\n\
         tcgen05.fence::before_thread_sync;\nbar.sync 0;\ntcgen05.fence::after_thread_sync;\n",
        registers.join(",")
    );
    let (before, commit) = match ctas {
        1 => (
            fill,
            "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [done];\n",
        ),
        _ => (
            fill + "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n",
            "mov.u16 %both, 3;\n\
             tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64 [done], %both;\n",
        ),
    };
    let text = kernel(ctas as u32, &before, &format!("{issue}{commit}"));
    let text = text.replace(
        ".reg .pred %first",
        ".reg .b16 %both;\n.reg .b32 %m<9>;\n.reg .pred %first",
    );
    let (report, found) = run(&text, image, ctas as u32, 3);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{issue}: {findings:#?}");
    let found = found.expect("all of the result is written");
    let lanes = found.chunks(N);
    let lanes = lanes.map(|lane| std::array::from_fn(|column| lane[column].to_bits()));
    lanes.collect()
}

/// What a word of D has before.
pub(super) fn first(lane: usize, column: usize) -> u32 {
    (0x4000_0000 + 256 * lane + column) as u32
}

/// The bits of a number of D.
fn bits(form: &Form, sum: f64) -> u32 {
    if form.has("kind::i8") {
        sum as i32 as u32
    } else {
        (sum as f32).to_bits()
    }
}

/// That every row of D is in its CTA's lane of the same number.
fn check(form: &Form, found: &[[u32; N]], expected: impl Fn(usize, usize) -> f64) {
    for (row, lane) in found.iter().enumerate() {
        for (column, &found) in lane.iter().enumerate() {
            let sum = expected(row, column);
            let what = format!("{}: row {row}, column {column} is {sum}", form.text());
            assert_eq!(found, bits(form, sum), "{what}");
        }
    }
}

#[test]
fn products_of_every_form() {
    for form in all() {
        let ctas = ctas(&form);
        let formats: &[ScaleFormat] = match is_of_16(&form) {
            true => &[ScaleFormat::E4m3, ScaleFormat::E8m0],
            false => &[ScaleFormat::E8m0],
        };
        for &format in formats {
            let operands = Operands::new(&form, 128 * ctas, format);
            let text = form.text();
            // What is used must have been kept before.
            let kept = ["collector::a::lastuse", "collector::a::use"];
            let (issue, times) = match form.one_of(&kept) {
                None => (
                    format!("{text} {};\n", operands.operands("%x1", "%no")),
                    1.0,
                ),
                Some(word) => {
                    let fill = text.replace(word, "collector::a::fill");
                    let first = operands.operands("%x1", "%no");
                    let second = operands.operands("%x1", "%first");
                    (format!("{fill} {first};\n{text} {second};\n"), 2.0)
                }
            };
            let issue = operands.begin(ctas) + &issue;
            let found = run_in(ctas, &operands.image(ctas), &issue);
            check(&form, &found, |row, column| {
                times * operands.sum(row, column)
            });
        }
    }
}

#[test]
fn products_of_an_a_in_tensor_memory() {
    for form in plain() {
        let ctas = ctas(&form);
        let operands = Operands::new(&form, 128 * ctas, ScaleFormat::E8m0);
        // Elements of four bits by themselves stand in bytes there.
        let formats = match form.one_of(&["kind::f8f6f4", "kind::mxf8f6f4"]) {
            Some(_) => ".b8x16.b4x16_p64",
            None => "",
        };
        let issue = format!(
            "{}add.u32 %r5, %t, 40;\ntcgen05.cp.cta_group::{ctas}.128x256b{formats} [%r5], %x1;\n{} {};\n",
            operands.begin(ctas),
            form.text(),
            operands.operands("[%r5]", "%no")
        );
        let found = run_in(ctas, &operands.image(ctas), &issue);
        check(&form, &found, |row, column| operands.sum(row, column));
    }
}

#[test]
fn lanes_of_d_that_a_mask_keeps() {
    for form in plain().filter(|form| !form.has("block_scale")) {
        let ctas = ctas(&form);
        let operands = Operands::new(&form, 128 * ctas, ScaleFormat::E8m0);
        let masks: Vec<u32> = (0..4 * ctas as u32)
            .map(|i| 0x8000_0001u32.rotate_left(3 * i) | 0xff << (2 * i))
            .collect();
        let set = masks.iter().enumerate();
        let set: String = set
            .map(|(i, mask)| format!("mov.b32 %m{i}, {mask};\n"))
            .collect();
        let names: Vec<String> = (0..masks.len()).map(|i| format!("%m{i}")).collect();
        let list = format!("{{{}}}, %no", names.join(","));
        let text = form.text();
        let issue = format!(
            "{}{set}{text} {};\n",
            operands.begin(ctas),
            operands.operands("%x1", &list)
        );
        let found = run_in(ctas, &operands.image(ctas), &issue);
        for (row, lane) in found.iter().enumerate() {
            let is_kept = masks[row / 32] >> (row % 32) & 1 == 1;
            for (column, &found) in lane.iter().enumerate() {
                let expected = if is_kept {
                    first(row % 128, column)
                } else {
                    bits(&form, operands.sum(row, column))
                };
                assert_eq!(found, expected, "{text}: row {row}, column {column}");
            }
        }
    }
}

#[test]
fn what_d_is_divided_by() {
    let of = |form: &Form| form.has("kind::f16") || form.has("kind::tf32");
    for form in plain().filter(of) {
        let ctas = ctas(&form);
        let operands = Operands::new(&form, 128 * ctas, ScaleFormat::E8m0);
        for shift in [0, 1, 9] {
            let text = form.text();
            let masks = vec!["%m0"; 4 * ctas].join(",");
            // Of two products: with a mask that keeps nothing, and without one.
            let issue = format!(
                "{}mov.b32 %m0, 0;\n{text} {};\n{text} {};\n{text} {};\n",
                operands.begin(ctas),
                operands.operands("%x1", "%no"),
                operands.operands("%x1", &format!("%first, {shift}")),
                operands.operands("%x1", &format!("{{{masks}}}, %first, 0")),
            );
            let found = run_in(ctas, &operands.image(ctas), &issue);
            check(&form, &found, |row, column| {
                operands.sum(row, column) * (2.0 + 0.5f64.powi(shift))
            });
        }
    }
}

/// Where D's numbers are for each M (PTX ISA 9.7.16.10.5): the CTA, the lane and the column.
#[test]
fn places_of_d() {
    type Place = fn(usize, usize) -> (usize, usize, usize);
    let layouts: [(usize, usize, Place); 4] = [
        (1, 128, |row, column| (0, row, column)),
        (1, 64, |row, column| (0, row % 16 + row / 16 * 32, column)),
        (2, 256, |row, column| (row / 128, row % 128, column)),
        (2, 128, |row, column| {
            (row / 64, row % 64 + column / 16 * 64, column % 16)
        }),
    ];
    for (ctas, m, place) in layouts {
        let text = format!("tcgen05.mma.cta_group::{ctas}.kind::f16");
        let form = &forms(&text)[0];
        let operands = Operands::new(form, m, ScaleFormat::E8m0);
        let issue = format!(
            "{}{text} {};\n",
            operands.begin(ctas),
            operands.operands("%x1", "%no")
        );
        let found = run_in(ctas, &operands.image(ctas), &issue);
        let mut expected: Vec<[u32; N]> = (0..128 * ctas)
            .map(|lane| std::array::from_fn(|column| first(lane % 128, column)))
            .collect();
        for row in 0..m {
            for column in 0..N {
                let (cta, lane, at) = place(row, column);
                expected[128 * cta + lane][at] = bits(form, operands.sum(row, column));
            }
        }
        assert_eq!(found, expected, "M = {m} of {ctas} CTAs");
    }
}
