//! Codecs against their definition in exact arithmetic: every code, every f32 near a tie, every random byte.

use tessera_numerics::codec::{
    E8M0_NAN, encode_e4m3_scale_stochastic, encode_e8m0, encode_e8m0_up,
};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// The codes of non-negative finite numbers, in order.
fn magnitudes(element: ElementFormat) -> Vec<u8> {
    let codes = 0..element.sign_bit();
    codes
        .filter(|&code| element.decode(code).is_finite())
        .collect()
}

#[test]
fn codes_of_magnitudes_ascend_to_the_largest() {
    for element in ElementFormat::ALL {
        let codes = magnitudes(element);
        let numbers: Vec<f32> = codes.iter().map(|&code| element.decode(code)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{element:?}");
        assert_eq!(numbers[0], 0.0);
        assert_eq!(numbers.last(), Some(&element.largest()));
        let exponent = element.largest().log2().floor() as i32;
        assert_eq!(element.largest_exponent(), exponent);
    }
}

#[test]
fn every_number_encodes_to_its_own_code() {
    for element in ElementFormat::ALL {
        for code in 0..=u8::MAX >> (8 - element.bits()) {
            let value = element.decode(code);
            if value.is_finite() {
                assert_eq!(element.encode(value), code, "{element:?}");
                for random in 0..=255 {
                    assert_eq!(element.encode_stochastic(value, random), code);
                }
            }
        }
    }
}

#[test]
fn ties_go_to_the_even_code_and_their_neighbours_to_the_nearest() {
    for element in ElementFormat::ALL {
        for pair in magnitudes(element).windows(2) {
            let [low, high] = [pair[0], pair[1]];
            // Both numbers have few bits: their mean is exact.
            let tie = (element.decode(low) + element.decode(high)) / 2.0;
            let even = if low % 2 == 0 { low } else { high };
            for (value, code) in [(tie.next_down(), low), (tie, even), (tie.next_up(), high)] {
                assert_eq!(element.encode(value), code, "{element:?} {value:e}");
                let negative = code | element.sign_bit();
                assert_eq!(element.encode(-value), negative, "{element:?} -{value:e}");
            }
        }
    }
}

#[test]
fn beyond_the_largest_number_lies_the_largest_number() {
    for element in ElementFormat::ALL {
        let largest = *magnitudes(element).last().unwrap();
        for value in [element.largest().next_up(), f32::MAX, f32::INFINITY] {
            for random in [0, 255] {
                assert_eq!(element.encode_stochastic(value, random), largest);
            }
            assert_eq!(element.encode(value), largest, "{element:?}");
            assert_eq!(element.encode(-value), largest | element.sign_bit());
        }
    }
}

#[test]
fn nan_is_nan_or_the_largest_number() {
    let codes = [
        (ElementFormat::E2m1, 0x07),
        (ElementFormat::E2m3, 0x1f),
        (ElementFormat::E3m2, 0x1f),
        (ElementFormat::E4m3, 0x7f),
        (ElementFormat::E5m2, 0x7e),
    ];
    for (element, code) in codes {
        for nan in [f32::NAN, -f32::NAN] {
            assert_eq!(element.encode(nan), code, "{element:?}");
            assert_eq!(element.encode_stochastic(nan, 200), code, "{element:?}");
        }
    }
}

#[test]
fn tiny_numbers_keep_their_sign() {
    for element in ElementFormat::ALL {
        for value in [0.0, 1e-45, f32::MIN_POSITIVE] {
            assert_eq!(element.encode(value), 0);
            assert_eq!(element.encode(-value), element.sign_bit());
        }
    }
}

#[test]
fn stochastic_rounding_is_unbiased_to_a_256th_of_a_step() {
    // Numbers of 6 bits more than the format's, between every two neighbours: all arithmetic below is exact.
    for element in ElementFormat::ALL {
        for pair in magnitudes(element).windows(2) {
            let [low, high] = [pair[0], pair[1]].map(|code| f64::from(element.decode(code)));
            for part in 0..64 {
                let value = low + (high - low) * f64::from(part) / 64.0;
                let mut sum = 0.0;
                for random in 0..=255 {
                    let code = element.encode_stochastic(value as f32, random);
                    assert!(code == pair[0] || code == pair[1], "{element:?} {value}");
                    sum += f64::from(element.decode(code));
                }
                // In steps of a 64th the 256 bytes hit the probability exactly.
                assert_eq!(sum / 256.0, value, "{element:?}");
            }
            // Anywhere else the mean is up to 1/256 of a step nearer to zero.
            let value = low + (high - low) * 0.3;
            let codes = (0..=255).map(|random| element.encode_stochastic(value as f32, random));
            let sum: f64 = codes.map(|code| f64::from(element.decode(code))).sum();
            let error = (value - sum / 256.0) / (high - low);
            // The f32 nearest to `value` is what is rounded: 2^-20 of a step at most, with 3 bits of mantissa.
            assert!((-1e-6..1.0 / 256.0 + 1e-6).contains(&error), "{error}");
        }
    }
}

#[test]
fn stochastic_rounding_to_e2m1_follows_transformer_engine() {
    // t = |x| + u · step, rounded down to the step at t. 1.9 moves across 2 with 0.1 / 0.5 of the bytes: u ≥ 0.2.
    let up = |value: f32, code: u8| {
        let codes = (0..=255).map(|random| ElementFormat::E2m1.encode_stochastic(value, random));
        codes.filter(|&found| found == code).count()
    };
    assert_eq!(up(1.9, 4), 256 - 52);
    assert_eq!(up(5.0, 7), 128);
    assert_eq!(up(-5.0, 15), 128);
    assert_eq!(up(0.125, 1), 64);
}

#[test]
fn e8m0_rounds_up_to_powers_of_two() {
    assert_eq!(encode_e8m0_up(0.0), 0);
    assert_eq!(encode_e8m0_up(f32::INFINITY), 254);
    assert_eq!(encode_e8m0_up(f32::NAN), E8M0_NAN);
    assert_eq!(encode_e8m0_up(f32::MAX), 254);
    for code in 0..254u8 {
        let power = ScaleFormat::E8m0.decode(code);
        assert_eq!(power, 2f32.powi(i32::from(code) - 127));
        assert_eq!(encode_e8m0_up(power), code);
        assert_eq!(encode_e8m0_up(power.next_up()), code + 1);
        assert_eq!(encode_e8m0(i32::from(code) - 127), code);
    }
    assert_eq!([encode_e8m0(-200), encode_e8m0(200)], [0, 254]);
    assert!(ScaleFormat::E8m0.decode(E8M0_NAN).is_nan());
}

#[test]
fn an_e4m3_scale_has_no_sign() {
    for code in 0..0x80 {
        let (scale, signed) = (
            ScaleFormat::E4m3.decode(code),
            ScaleFormat::E4m3.decode(code | 0x80),
        );
        assert!(scale == signed || code == 0x7f && scale.is_nan() && signed.is_nan());
    }
}

#[test]
fn scales_round_at_random_without_bias() {
    let decode = |code| f64::from(ScaleFormat::E4m3.decode(code));
    for low in 0..0x7e {
        for quarter in 0..4 {
            let value = decode(low) + (decode(low + 1) - decode(low)) * f64::from(quarter) / 4.0;
            // Sixteen words, evenly spread, hit a quarter exactly.
            let words = (0..16).map(|word| word << 28);
            let codes = words.map(|word| encode_e4m3_scale_stochastic(value as f32, word));
            let mean = codes.map(decode).sum::<f64>() / 16.0;
            assert_eq!(mean, value, "{low:#x}");
        }
    }
    assert_eq!(encode_e4m3_scale_stochastic(500.0, 0), 0x7e);
    assert_eq!(encode_e4m3_scale_stochastic(f32::NAN, 0), 0x7f);
}
