//! `cvt` between floating-point formats of low precision, of every code and of numbers around every code, against the formats'
//! definition.

use tessera_emulator::{Global, Launch, Program, Report, launch, ptx::Module};
use tessera_numerics::{ElementFormat, ScaleFormat};

const FORMATS: [(&str, ElementFormat); 5] = [
    ("e4m3", ElementFormat::E4m3),
    ("e5m2", ElementFormat::E5m2),
    ("e2m3", ElementFormat::E2m3),
    ("e3m2", ElementFormat::E3m2),
    ("e2m1", ElementFormat::E2m1),
];

/// Executes an instruction of `%r1` to `%r5`, words of memory for each thread; `%r0` of each.
fn each(instruction: &str, words: &[[u32; 5]], target: &str) -> (Report, Vec<u32>) {
    let text = format!(
        ".version 8.8\n.target {target}\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         .reg .b32 %r<8>;\n.reg .b16 %h<4>;\n.reg .pred %p1;\n.reg .b64 %rd<8>;\n\
         ld.param.u64 %rd1, [p];\nld.param.u64 %rd2, [q];\nmov.u32 %r6, %ctaid.x;\nmov.u32 %r7, %tid.x;\n\
         mad.lo.u32 %r6, %r6, 256, %r7;\nsetp.ge.u32 %p1, %r6, {count};\n@%p1 ret;\nmad.wide.u32 %rd1, %r6, 20, %rd1;\n\
         ld.global.u32 %r1, [%rd1];\nld.global.u32 %r2, [%rd1+4];\nld.global.u32 %r3, [%rd1+8];\n\
         ld.global.u32 %r4, [%rd1+12];\nld.global.u32 %r5, [%rd1+16];\n{instruction}\n\
         mad.wide.u32 %rd2, %r6, 4, %rd2;\nst.global.u32 [%rd2], %r0;\nret;\n}}",
        count = words.len()
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let bytes = words.iter().flatten().flat_map(|word| word.to_le_bytes());
    let input = memory.allocate_with(bytes.collect());
    let output = memory.allocate_with(vec![0; 4 * words.len()]);
    let ctas = words.len().div_ceil(256) as u32;
    let grid = Launch::new("main").grid([ctas, 1, 1]).block([256, 1, 1]);
    let report = launch(&program, &mut memory, &grid.u64(input).u64(output)).unwrap();
    let bytes = memory.read_bytes(output, 4 * words.len()).unwrap();
    let found = bytes
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    (report, found.collect())
}

fn all(instruction: &str, words: &[[u32; 5]]) -> Vec<u32> {
    let (report, found) = each(instruction, words, "sm_100a");
    assert_eq!(report.findings, [], "{instruction}");
    found
}

/// Every number of a format, those in the middle of two, those just beside them, and what no format has.
fn numbers(format: ElementFormat) -> Vec<f32> {
    let mut own: Vec<f32> = (0..1u32 << format.bits())
        .map(|code| format.decode(code as u8))
        .filter(|value| value.is_finite() && *value >= 0.0)
        .collect();
    own.sort_by(f32::total_cmp);
    let middles: Vec<f32> = own
        .windows(2)
        .map(|pair| (pair[0] + pair[1]) / 2.0)
        .collect();
    own.extend(middles);
    let beside: Vec<f32> = own
        .iter()
        .flat_map(|x| [x.next_up(), x.next_down()])
        .collect();
    own.extend(beside);
    own.extend([1e9, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE]);
    own.iter().flat_map(|&x| [x, -x]).collect()
}

#[test]
fn from_f32() {
    for (name, format) in FORMATS {
        let numbers = numbers(format);
        let pairs: Vec<(f32, f32)> = numbers
            .iter()
            .copied()
            .zip(numbers.iter().rev().copied())
            .collect();
        let words: Vec<[u32; 5]> = pairs
            .iter()
            .map(|(a, b)| [a.to_bits(), b.to_bits(), 0, 0, 0])
            .collect();
        let shift = if format == ElementFormat::E2m1 { 4 } else { 8 };
        for (relu, text) in [(false, ""), (true, ".relu")] {
            let instruction = format!(
                "cvt.rn.satfinite{text}.{name}x2.f32 %h1, %r1, %r2;\ncvt.u32.u16 %r0, %h1;"
            );
            let encode = |value: f32| {
                let is_negative = value.is_sign_negative() && !value.is_nan();
                let value = if relu && is_negative { 0.0 } else { value };
                match format {
                    // Of NaN `cuda_fp8.hpp` has all bits of the fraction, the format's definition the first.
                    ElementFormat::E5m2 if value.is_nan() => 0x7f,
                    _ => u32::from(format.encode(value)),
                }
            };
            for ((a, b), found) in pairs.iter().zip(all(&instruction, &words)) {
                // −0 under .relu is +0, the larger of both.
                let (found, expected) = (found & 0xffff, encode(*a) << shift | encode(*b));
                assert_eq!(found, expected, "{name} {relu} of {a} and {b}");
            }
        }
    }
}

#[test]
fn nan_becomes_the_code_that_nvidia_defines() {
    // `__nv_cvt_float_to_fp8` of cuda_fp8.hpp: 0x7F of both formats, without NaN's sign; stochastically the same.
    let nans = [f32::NAN, -f32::NAN].map(f32::to_bits);
    let words = nans.map(|nan| [nan, nan, nan, nan, 0]);
    for name in ["e4m3", "e5m2"] {
        let two = format!("cvt.rn.satfinite.{name}x2.f32 %h1, %r1, %r2;\ncvt.u32.u16 %r0, %h1;");
        assert_eq!(all(&two, &words), [0x7f7f; 2], "{name}");
        let four = format!("cvt.rs.satfinite.{name}x4.f32 %r0, {{%r1, %r2, %r3, %r4}}, %r5;");
        assert_eq!(all(&four, &words), [0x7f7f_7f7f; 2], "{name}");
        let half = format!(
            "cvt.rn.f16x2.f32 %r1, %r1, %r2;\ncvt.rn.satfinite.{name}x2.f16x2 %h1, %r1;\ncvt.u32.u16 %r0, %h1;"
        );
        assert_eq!(all(&half, &words), [0x7f7f; 2], "{name}");
    }
}

#[test]
fn to_f16() {
    for (name, format) in FORMATS {
        let bits = if format == ElementFormat::E2m1 { 4 } else { 8 };
        let codes = 1u32 << format.bits();
        let pairs: Vec<(u32, u32)> = (0..codes).map(|code| (code, codes - 1 - code)).collect();
        let words: Vec<[u32; 5]> = pairs
            .iter()
            .map(|(a, b)| [a << bits | b, 0, 0, 0, 0])
            .collect();
        let instruction = format!("cvt.u16.u32 %h1, %r1;\ncvt.rn.f16x2.{name}x2 %r0, %h1;");
        for ((a, b), found) in pairs.iter().zip(all(&instruction, &words)) {
            for (code, half) in [(a, found >> 16), (b, found & 0xffff)] {
                // Every number of these formats is one of f16; NaN is NaN.
                let expected = format.decode(*code as u8);
                let found = half::f16::from_bits(half as u16).to_f32();
                assert!(
                    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                    "{name} {code:#x}"
                );
            }
        }
    }
}

#[test]
fn scales() {
    // Powers of two and numbers beside them, over the whole range.
    let exponents = (0..255u32).map(|field| field << 23);
    let words: Vec<[u32; 5]> = exponents
        .flat_map(|bits| [bits, bits | 1, bits | 0x40_0000, bits | 0x7f_ffff])
        .map(|bits| [bits, bits, 0, 0, 0])
        .collect();
    let instruction = "cvt.rp.satfinite.ue8m0x2.f32 %h1, %r1, %r2;\ncvt.u32.u16 %r0, %h1;";
    for (own, found) in words.iter().zip(all(instruction, &words)) {
        let value = f32::from_bits(own[0]);
        let code = (0..255u8)
            .find(|&code| ScaleFormat::E8m0.decode(code) >= value)
            .unwrap_or(254);
        assert_eq!(found & 0xff, code.into(), "{value}");
        assert_eq!(found >> 8 & 0xff, code.into());
    }
    let codes: Vec<[u32; 5]> = (0..256)
        .map(|code| [code << 8 | code, 0, 0, 0, 0])
        .collect();
    let instruction = "cvt.u16.u32 %h1, %r1;\ncvt.rn.bf16x2.ue8m0x2 %r0, %h1;";
    for (code, found) in all(instruction, &codes).into_iter().enumerate() {
        let expected = ScaleFormat::E8m0.decode(code as u8);
        let found = f32::from_bits(found & 0xffff_0000);
        assert!(
            found == expected || (found.is_nan() && expected.is_nan()),
            "{code}: {found} for {expected}"
        );
    }
}

#[test]
fn with_random_bits() {
    let format = ElementFormat::E2m1;
    let numbers = numbers(format);
    let words: Vec<[u32; 5]> = (0..numbers.len() * 16)
        .map(|i| {
            let at = |j: usize| numbers[(i * 7 + j * 13) % numbers.len()].to_bits();
            [
                at(0),
                at(1),
                at(2),
                at(3),
                (i as u32).wrapping_mul(0x9e37_79b9),
            ]
        })
        .collect();
    let instruction =
        "cvt.rs.satfinite.e2m1x4.f32 %h1, {%r1, %r2, %r3, %r4}, %r5;\ncvt.u32.u16 %r0, %h1;";
    for (own, found) in words.iter().zip(all(instruction, &words)) {
        // Upper bytes of the halves are the first two's, lower ones the last two's.
        let [_, _, _, _, random] = own;
        let bytes = [24, 8, 16, 0].map(|place| (random >> place) as u8);
        let codes = (0..4).map(|i| format.encode_stochastic(f32::from_bits(own[i]), bytes[i]));
        let expected = codes.fold(0, |all, code| all << 4 | u32::from(code));
        assert_eq!(found, expected, "{own:x?}");
    }
    // 1 + 2^-11 is half of f16's step above 1: half of the random numbers carry, those of the other half of the operand do not
    // matter.
    let bits = (1.0f32 + 2f32.powi(-11)).to_bits();
    let words =
        [0, 0x0fff, 0x1000, 0xe000_0000, 0x1000_0000].map(|random| [bits, bits, random, 0, 0]);
    let found = all("cvt.rs.f16x2.f32 %r0, %r1, %r2, %r3;", &words);
    assert_eq!(
        found,
        [
            0x3c00_3c00,
            0x3c00_3c00,
            0x3c00_3c01,
            0x3c00_3c00,
            0x3c01_3c00
        ]
    );
    let found = all(
        "cvt.rs.bf16x2.f32 %r0, %r1, %r2, %r3;",
        &[[0x3f80_4000, 0x3f80_c000, 0xbfff_4000, 0, 0]],
    );
    assert_eq!(found, [0x3f80_3f81]);
    let e4m3 = "cvt.rs.satfinite.e4m3x4.f32 %r0, {%r1, %r2, %r3, %r4}, %r5;";
    // 17/16 is half of a step above 1; the first of each pair has its bits in reverse.
    let half = 1.0625f32.to_bits();
    let found = all(
        e4m3,
        &[
            [half, half, half, half, 0x0001_8000],
            [half, half, half, half, 0x8000_0001],
        ],
    );
    assert_eq!(found, [0x3938_3839, 0x3839_3938]);
}

#[test]
fn random_bits_are_not_of_every_target() {
    let text = ".version 8.8\n.target sm_120a\n.address_size 64\n.visible .entry main() {\n.reg .b32 %r<6>;\n\
                cvt.rs.satfinite.e4m3x4.f32 %r0, {%r1, %r2, %r3, %r4}, %r5;\n}";
    let error = Program::new(&Module::parse(text).unwrap()).err().unwrap();
    let expected =
        "6:1: 'cvt.rs.satfinite.e4m3x4.f32' with .rs is not supported on .target sm_120a";
    assert_eq!(error.to_string(), expected);
}
