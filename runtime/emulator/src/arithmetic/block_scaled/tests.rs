use super::*;
use ScaleFormat::{E4m3, E8m0};

/// Codes of which each is a hexadecimal digit.
fn codes(digits: &str) -> Vec<u8> {
    let digit = |c: char| c.to_digit(16).unwrap() as u8;
    digits.chars().map(digit).collect()
}

fn pairs(format: ScaleFormat, a: &[u8], b: &[u8]) -> Vec<Option<Pair>> {
    let pair = |(&a, &b): (&u8, &u8)| Some(Scale::new(format, a)?.times(Scale::new(format, b)?));
    a.iter().zip(b).map(pair).collect()
}

fn with<T>(
    format: ScaleFormat,
    (a, b): (&[u8], &[u8]),
    scales: (&[u8], &[u8]),
    c: u32,
    what: impl Fn(&Dot<'_>) -> T,
) -> T {
    let scales = pairs(format, scales.0, scales.1);
    what(&Dot {
        a,
        b,
        scales: &scales,
        format,
        c,
    })
}

/// Words that tcgen05-model's authors measured on a B200 (its `validation.py`): A, B, their scales, C, D.
#[test]
fn words_of_a_b200() {
    type Word = (
        ScaleFormat,
        &'static str,
        &'static str,
        &'static [u8],
        &'static [u8],
        u32,
        u32,
    );
    let measured: [Word; 6] = [
        (
            E4m3,
            "56e6a0257a959aac7221bc1d1f25d3c1dd69bb19ff54c54dd0ec01d866402c79",
            "cc65fb01dd3122ca5ebdf507cd408b2d48d0bf9e74d585f8c693b2e47c74ebe9",
            &[0x0c, 0x04, 0x74, 0x47],
            &[0x17, 0x50, 0x24, 0x61],
            0xb232_10eb,
            0x4429_730b,
        ),
        (
            E4m3,
            "27f0bd2b4d3f41a211cf03c8ad764f05ed5a3aa53e4fad3903c2604fdf6b9e1a",
            "ca2c1d615cf7d2b03a55d133f4a689f45714941325bdbfe804a29ddfe565ebc2",
            &[0x66, 0x0e, 0x73, 0x0d],
            &[0x16, 0x48, 0x03, 0x16],
            0x8976_9172,
            0xc305_45d3,
        ),
        // One quantum below a number of f32 where products are not first summed by fours.
        (
            E4m3,
            "eeb608f9ab39f7e02615a8647c6b1c6dbb86c8c5041f16f52465a7b701adbfe7",
            "6cb289b43d299c187263d29a59f5a8608dd2cc52834ff11aba5bf3bea571178a",
            &[0x09, 0x7c, 0x6d, 0x44],
            &[0x07, 0x78, 0x26, 0x79],
            0x094e_5986,
            0x49fc_afb7,
        ),
        (
            E8m0,
            "ad4a507cf20c761cd59e4a699b9230134ab7fb06de60d7620f512910c9a660e6",
            "5a3d0978d0bf24b5a2a0a568621905b24478bffdf762b654c23981a51fce061b",
            // What the measurement calls a scale for sixteen, the first two of four.
            &[0x7c, 0x7a, 0x7f, 0x7f],
            &[0x8a, 0x76, 0x7f, 0x7f],
            0,
            0x46ba_8000,
        ),
        (
            E8m0,
            "bbc25075c1d6add223328beb6af32f858bad41d4430a300ed02566d91b376e28",
            "d93d8d306d8ca16269b6ae93b18aff1eee2fbc28b6c424f8f6dadcfa8d45ba3c",
            &[0x7f, 0x83],
            &[0x74, 0x77],
            0,
            0x4058_0000,
        ),
        (
            E8m0,
            "1f66279a349a7ad4d74846d6ab1d94eb35d417008ed426d9f2aad93b144144ff",
            "d15f3da8b505a5d8e57dbebe375891bf91dcfb8940a97f8d46167705344e119b",
            &[0x7c, 0x7a, 0x81, 0x78],
            &[0x8b, 0x7a, 0x85, 0x84],
            0,
            0xc6a8_8896,
        ),
    ];
    for (number, (format, a, b, a_scales, b_scales, c, d)) in measured.into_iter().enumerate() {
        let (a, b) = (codes(a), codes(b));
        // The fourth was measured with blocks of 32.
        let scales = if number == 3 {
            (&a_scales[..2], &b_scales[..2])
        } else {
            (a_scales, b_scales)
        };
        let found = with(format, (&a, &b), scales, c, |dot| dot.tcgen05_model());
        assert_eq!(found, d, "word {number}: {found:#010x} for {d:#010x}");
    }
}

/// MMA-Sim's rule as its authors write it, in f64: significands between 1 and 2, cut off by `trunc`.
fn mma_sim_in_f64(
    format: ScaleFormat,
    (a, b): (&[u8], &[u8]),
    scales: (&[u8], &[u8]),
    c: f32,
) -> f32 {
    let parts = |value: f64, smallest: i32| {
        if value == 0.0 {
            return (0.0, -126);
        }
        let exponent = ((value.abs().to_bits() >> 52) as i32 - 1023).max(smallest);
        (value / 2f64.powi(exponent), exponent)
    };
    let smallest = if format == E4m3 { -6 } else { -127 };
    let element = |code: u8| f64::from(tessera_numerics::ElementFormat::E2m1.decode(code));
    let block = a.len() / scales.0.len();
    let mut terms = vec![parts(f64::from(c), -126)];
    for k in (0..a.len()).step_by(16) {
        let sum: f64 = (k..k + 16).map(|k| element(a[k]) * element(b[k])).sum();
        let (x, x_exponent) = parts(f64::from(format.decode(scales.0[k / block])), smallest);
        let (y, y_exponent) = parts(f64::from(format.decode(scales.1[k / block])), smallest);
        terms.push((sum * x * y, x_exponent + y_exponent));
    }
    let largest = terms.iter().map(|term| term.1).max().unwrap();
    let cut = |&(significand, exponent): &(f64, i32)| {
        (significand * 2f64.powi(35 + exponent - largest)).trunc()
    };
    let sum = terms.iter().map(cut).sum::<f64>() * 2f64.powi(largest - 35);
    let nearest = sum as f32;
    if f64::from(nearest).abs() > sum.abs() {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        nearest
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *state >> 33
}

fn draw(state: &mut u64, count: usize, from: u64, below: u64) -> Vec<u8> {
    let one = |_| (from + random(state) % (below - from)) as u8;
    (0..count).map(one).collect()
}

#[test]
fn mma_sim_of_any_scales_is_its_authors() {
    let mut state = 1;
    for round in 0..2000 {
        let (format, blocks, below) = match round % 3 {
            0 => (E4m3, 4, 0x7f),
            1 => (E8m0, 4, 160),
            _ => (E8m0, 2, 160),
        };
        let from = if format == E4m3 { 0 } else { 95 };
        let a = draw(&mut state, 64, 0, 16);
        let b = draw(&mut state, 64, 0, 16);
        let x = draw(&mut state, blocks, from, below);
        let y = draw(&mut state, blocks, from, below);
        let c =
            f32::from_bits((random(&mut state) as u32 & 0x807f_ffff) | (100 + round % 50) << 23);
        let found = with(format, (&a, &b), (&x, &y), c.to_bits(), |dot| dot.mma_sim());
        let expected = mma_sim_in_f64(format, (&a, &b), (&x, &y), c);
        assert_eq!(f32::from_bits(found), expected, "round {round}");
    }
}

#[test]
fn sums_of_scales_near_to_each_other_are_decided_and_exact() {
    let mut state = 7;
    for _ in 0..500 {
        let a = draw(&mut state, 64, 0, 16);
        let b = draw(&mut state, 64, 0, 16);
        // 2^-3 to 2^3.
        let x = draw(&mut state, 4, 0x20, 0x50);
        let y = draw(&mut state, 4, 0x20, 0x50);
        let c = (random(&mut state) % 4096) as f32 / 16.0;
        let (narrow, slow) = with(E4m3, (&a, &b), (&x, &y), c.to_bits(), |dot| {
            let slow = [dot.exact(), dot.mma_sim(), dot.tcgen05_model()];
            (dot.sum(), slow)
        });
        assert!(narrow.is_decided);
        assert_eq!(slow, [narrow.bits; 3]);
        let element = |code: u8| f64::from(tessera_numerics::ElementFormat::E2m1.decode(code));
        let scale = |code: u8| f64::from(E4m3.decode(code));
        let exact: f64 = (0..64)
            .map(|k| element(a[k]) * element(b[k]) * scale(x[k / 16]) * scale(y[k / 16]))
            .sum::<f64>()
            + f64::from(c);
        assert_eq!(
            narrow.bits,
            Float::F32.round(exact, Rounding::TowardZero) as u32
        );
    }
}

#[test]
fn large_scales_of_a_block_of_zeros_are_not_decided() {
    // MMA-Sim aligns all terms to the scales of the block of zeros, 2^17, and loses 2^-22.
    let mut a = [2; 64];
    a[..16].fill(0);
    let b = [2; 64];
    let x = [0x7e, 0x08, 0x08, 0x08];
    let y = [0x7e, 0x01, 0x01, 0x01];
    let (sum, sims) = with(E4m3, (&a, &b), (&x, &y), 0, |dot| {
        (dot.sum(), [dot.mma_sim(), dot.tcgen05_model()])
    });
    // 48 products of 2^-6 · 2^-9, none of which is below the quantum: decided after all.
    assert!(sum.is_decided, "{sum:?} {sims:?}");
    let c = 2f32.powi(-24).to_bits();
    let (sum, sims) = with(E4m3, (&a, &b), (&x, &y), c, |dot| {
        (dot.sum(), [dot.mma_sim(), dot.tcgen05_model()])
    });
    assert!(!sum.is_decided, "{sum:?} {sims:?}");
    assert_eq!(sum.bits, sims[1]);
    assert_eq!(
        f32::from_bits(sum.bits),
        48.0 * 2f32.powi(-15) + 2f32.powi(-24)
    );
    assert_eq!(f32::from_bits(sims[0]), 48.0 * 2f32.powi(-15));
}

#[test]
fn zeros_may_have_scales_of_any_size() {
    let mut a = [2; 64];
    a[..16].fill(0);
    let b = [2; 64];
    let x = [0xfe, 0x01, 0x01, 0x01];
    for c in [0.0, 1.0, f32::MAX] {
        let sum = with(E8m0, (&a, &b), (&x, &x), c.to_bits(), |dot| dot.sum());
        assert_eq!(f32::from_bits(sum.bits), c);
    }
}

#[test]
fn scales_that_are_nan_and_addends_that_are_not_finite() {
    let zeros = [0; 64];
    let one = [0x38; 4];
    let nan = [0x38, 0x7f, 0x38, 0x38];
    let sum = |x: &[u8], c: f32| {
        with(E4m3, (&zeros, &zeros), (x, &one), c.to_bits(), |dot| {
            dot.sum().bits
        })
    };
    assert_eq!(sum(&nan, 0.0), NAN);
    assert_eq!(sum(&one, f32::NAN), NAN);
    assert_eq!(sum(&one, f32::NEG_INFINITY), f32::NEG_INFINITY.to_bits());
    // The sign of a scale is not looked at, nor is that of 0x7f.
    assert_eq!(sum(&[0x38, 0xff, 0x38, 0x38], 0.0), NAN);
    assert_eq!(Scale::new(E4m3, 0xb8), Scale::new(E4m3, 0x38));
    assert_eq!(Scale::new(E8m0, 0xff), None);
}

#[test]
fn scales_are_those_of_the_formats() {
    for format in [E4m3, E8m0] {
        for code in 0..=255 {
            let looked_at = if format == E4m3 { code & 0x7f } else { code };
            let value = format.decode(looked_at);
            let scale = Scale::new(format, code);
            match scale {
                None => assert!(value.is_nan()),
                Some(scale) => assert_eq!(
                    scale.significand as f64 * 2f64.powi(scale.exponent - 3),
                    f64::from(value)
                ),
            }
        }
    }
}
