//! `tcgen05.mma` of every two formats of elements.

use super::tcgen05_kernels::{IMAGE, N, descriptor, kernel, run, words};
use half::{bf16, f16};
use tessera_numerics::ElementFormat;

/// What A or B is made of: its field of the instruction descriptor, the bits of an element, and its number.
pub(super) struct Element {
    pub field: u32,
    pub bits: usize,
    pub value: fn(u32) -> f64,
    /// The largest number that is used.
    pub largest: f64,
}

fn low(format: ElementFormat) -> fn(u32) -> f64 {
    match format {
        ElementFormat::E4m3 => |code| ElementFormat::E4m3.decode(code as u8).into(),
        ElementFormat::E5m2 => |code| ElementFormat::E5m2.decode(code as u8).into(),
        ElementFormat::E2m3 => |code| ElementFormat::E2m3.decode(code as u8).into(),
        ElementFormat::E3m2 => |code| ElementFormat::E3m2.decode(code as u8).into(),
        ElementFormat::E2m1 => |code| ElementFormat::E2m1.decode(code as u8).into(),
    }
}

pub(super) fn formats() -> [Element; 5] {
    let element = |field, format: ElementFormat| Element {
        field,
        bits: format.bits(),
        value: low(format),
        largest: 8.0,
    };
    [
        element(0, ElementFormat::E4m3),
        element(1, ElementFormat::E5m2),
        element(3, ElementFormat::E2m3),
        element(4, ElementFormat::E3m2),
        element(5, ElementFormat::E2m1),
    ]
}

/// Codes of a row of 32 bytes, of numbers up to 8 by units of 1/64 so that sums are exact: 32 products of units of 2^-12 have 23 bits, and the row's bytes: elements one behind
/// the other, of less than eight bits sixteen in sixteen bytes with padding behind them.
pub(super) fn row(
    element: &Element,
    noise: &mut impl Iterator<Item = u32>,
) -> (Vec<f64>, [u8; 32]) {
    let count = 32 * 8 / element.bits.max(8);
    let mut bytes = [0u8; 32];
    let mut values = Vec::new();
    for i in 0..count {
        let (code, value) = loop {
            let code = noise.next().unwrap() & (u32::MAX >> (32 - element.bits));
            let value = (element.value)(code);
            if value.abs() <= element.largest && (value * 64.0).fract() == 0.0 {
                break (code, value);
            }
        };
        let at = match element.bits {
            4 | 6 => 128 * (i / 16) + element.bits * (i % 16),
            bits => bits * i,
        };
        for bit in 0..element.bits {
            bytes[(at + bit) / 8] |= ((code >> bit & 1) as u8) << ((at + bit) % 8);
        }
        values.push(value);
    }
    (values, bytes)
}

/// The same of a wide format, of which few codes are numbers this short: halves of integers.
pub(super) fn wide(
    element: &Element,
    of: fn(f32) -> u32,
    noise: &mut impl Iterator<Item = u32>,
) -> (Vec<f64>, [u8; 32]) {
    let bytes_of = element.bits / 8;
    let mut bytes = [0u8; 32];
    let mut values = Vec::new();
    for i in 0..32 / bytes_of {
        let value = (noise.next().unwrap() % 33) as f32 / 2.0 - 8.0;
        let code = of(value).to_le_bytes();
        bytes[i * bytes_of..(i + 1) * bytes_of].copy_from_slice(&code[..bytes_of]);
        values.push(value.into());
    }
    (values, bytes)
}

pub(super) type Rows = Vec<(Vec<f64>, [u8; 32])>;

/// Shared memory with A at 0 and B at 4096, in rows of sixteen bytes, the second half of K behind all of the first.
fn image(a: &Rows, b: &Rows) -> Vec<u8> {
    let mut image = vec![0; IMAGE];
    for half in 0..2 {
        for (i, (_, bytes)) in a.iter().enumerate() {
            image[2048 * half + 16 * i..][..16].copy_from_slice(&bytes[16 * half..][..16]);
        }
        for (i, (_, bytes)) in b.iter().enumerate() {
            image[4096 + 512 * half + 16 * i..][..16].copy_from_slice(&bytes[16 * half..][..16]);
        }
    }
    image
}

/// A descriptor in a register: of a matrix that begins at a place of shared memory.
pub(super) fn begin(name: usize, at: u64, fields: u64) -> String {
    format!(
        "mov.u32 %r1, own;\nadd.u32 %r1, %r1, {at};\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %x{name}, %r1;\nor.b64 %x{name}, %x{name}, {fields};\n"
    )
}

const COMMIT: &str =
    "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [done];\n";

/// One product of a kind, of 128 rows and N columns.
fn product(kind: &str, fields: u32, a: &Rows, b: &Rows, expected: impl Fn(f64) -> u32) {
    let idesc = fields | (N as u32 / 8) << 17 | 8 << 24;
    let issue = [
        begin(1, 0, descriptor(2048, 128)),
        begin(2, 4096, descriptor(512, 128)),
        format!(
            "mov.b32 %r4, {idesc};\ntcgen05.mma.cta_group::1.kind::{kind} [%t], %x1, %x2, %r4, %no;\n"
        ),
        COMMIT.into(),
    ];
    let (report, found) = run(&kernel(1, "", &issue.concat()), &image(a, b), 1, 3);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{kind}: {findings:#?}");
    let found = found.expect("all of the result is written");
    for i in 0..128 * N {
        let terms = a[i / N].0.iter().zip(&b[i % N].0).map(|(a, b)| a * b);
        let sum = terms.fold(0.0, |sum, term| sum + term);
        assert_eq!(
            found[i].to_bits(),
            expected(sum),
            "{kind} {fields:#x}: number {i} is {sum}"
        );
    }
}

pub(super) fn noise(from: usize) -> impl Iterator<Item = u32> {
    words(1 << 20, from).map(|word| word.rotate_left(7))
}

fn single(sum: f64) -> u32 {
    (sum as f32).to_bits()
}

#[test]
fn products_of_every_two_formats() {
    for a_format in formats() {
        for b_format in formats() {
            let mut noise = noise(1);
            let a: Rows = (0..128).map(|_| row(&a_format, &mut noise)).collect();
            let b: Rows = (0..N).map(|_| row(&b_format, &mut noise)).collect();
            let fields = 1 << 4 | a_format.field << 7 | b_format.field << 10;
            product("f8f6f4", fields, &a, &b, single);
        }
    }
}

#[test]
fn products_of_wide_formats() {
    let of = |element: &Element, of: fn(f32) -> u32| -> (Rows, Rows) {
        let mut noise = noise(9);
        let mut rows = |count| (0..count).map(|_| wide(element, of, &mut noise)).collect();
        (rows(128), rows(N))
    };
    let element = |field, bits| Element {
        field,
        bits,
        value: |_| 0.0,
        largest: 8.0,
    };
    let (a, b) = of(&element(2, 32), f32::to_bits);
    product("tf32", 1 << 4 | 2 << 7 | 2 << 10, &a, &b, single);
    let (a, b) = of(&element(0, 16), |x| f16::from_f32(x).to_bits().into());
    product("f16", 1 << 4, &a, &b, single);
    let (a, b) = of(&element(1, 16), |x| bf16::from_f32(x).to_bits().into());
    product("f16", 1 << 4 | 1 << 7 | 1 << 10, &a, &b, single);
}

#[test]
fn products_of_integers() {
    let unsigned = |code: u32| f64::from(code as u8);
    let signed = |code: u32| f64::from(code as u8 as i8);
    for a_is_signed in [false, true] {
        for b_is_signed in [false, true] {
            let element = |is_signed: bool| Element {
                field: u32::from(is_signed),
                bits: 8,
                value: if is_signed { signed } else { unsigned },
                largest: 255.0,
            };
            let (x, y) = (element(a_is_signed), element(b_is_signed));
            let mut noise = noise(4);
            let a: Rows = (0..128).map(|_| row(&x, &mut noise)).collect();
            let b: Rows = (0..N).map(|_| row(&y, &mut noise)).collect();
            let fields = 2 << 4 | x.field << 7 | y.field << 10;
            product("i8", fields, &a, &b, |sum| sum as i32 as u32);
        }
    }
}

#[test]
fn products_with_a_scale_for_32_numbers() {
    for format in formats() {
        let mut noise = noise(2);
        let a: Rows = (0..128).map(|_| row(&format, &mut noise)).collect();
        let b: Rows = (0..N).map(|_| row(&format, &mut noise)).collect();
        let mut scale = || 120 + (noise.next().unwrap() % 12) as u8;
        let x: Vec<u8> = (0..128).map(|_| scale()).collect();
        let y: Vec<u8> = (0..N).map(|_| scale()).collect();
        let mut image = image(&a, &b);
        for (row, &code) in x.iter().enumerate() {
            // Byte 0 of four; rows 32 apart in sixteen bytes.
            image[5120 + row % 32 * 16 + row / 32 * 4] = code;
        }
        for (row, &code) in y.iter().enumerate() {
            image[5632 + row % 32 * 16 + row / 32 * 4] = code;
        }
        let fields = 1 << 23 | format.field << 7 | format.field << 10;
        let idesc = fields | (N as u32 / 8) << 17 | 8 << 24;
        let issue = [
            begin(1, 0, descriptor(2048, 128)),
            begin(2, 4096, descriptor(512, 128)),
            begin(3, 5120, descriptor(0, 128)),
            begin(4, 5632, descriptor(0, 128)),
            "add.u32 %r2, %t, 32;\nadd.u32 %r3, %t, 36;\n".into(),
            "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r2], %x3;\n".into(),
            "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r3], %x4;\n".into(),
            format!(
                "mov.b32 %r4, {idesc};\ntcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.scale_vec::1X [%t], %x1, %x2, %r4, [%r2], [%r3], %no;\n"
            ),
            COMMIT.into(),
        ];
        let (report, found) = run(&kernel(1, "", &issue.concat()), &image, 1, 5);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        let found = found.expect("all of the result is written");
        for i in 0..128 * N {
            let terms = a[i / N].0.iter().zip(&b[i % N].0).map(|(a, b)| a * b);
            let sum = terms.fold(0.0, |sum, term| sum + term);
            let exponent = i32::from(x[i / N]) + i32::from(y[i % N]) - 254;
            assert_eq!(f64::from(found[i]), sum * 2f64.powi(exponent), "number {i}");
        }
    }
}
