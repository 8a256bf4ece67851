//! Block scaling against its definition in exact arithmetic, on random blocks.
//!
//! Block scales and elements are numbers of few bits times powers of two and inputs are f32: sums and products of two of
//! them are exact in f64 where exponents are near each other, as the strategies below keep them.

use proptest::prelude::*;
use tessera_numerics::{
    BlockShape, ElementFormat, Format, Quantization, Rounding, ScaleFormat, ScaleLayout, ScaleRule,
    ScaledTensor, ScaledType, dequantize, quantize,
};

/// Numbers of one sign or the other over ten binades, some zero.
fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![
        1 => Just(0.0f32),
        9 => (1.0f32..2.0, -5i32..5, any::<bool>()).prop_map(|(significand, exponent, negative)| {
            let magnitude = significand * 2f32.powi(exponent);
            if negative { -magnitude } else { magnitude }
        }),
    ];
    proptest::collection::vec(number, count)
}

fn make(values: &[f32], format: Format, rule: ScaleRule) -> ScaledTensor {
    let scaled_type = ScaledType::new(
        [values.len()],
        format,
        0,
        BlockShape::Vector,
        ScaleLayout::Linear,
    );
    let quantization = Quantization::new(scaled_type.unwrap(), rule, Rounding::NearestEven);
    quantize(values, &quantization.unwrap(), None, None).unwrap()
}

/// The distance to the nearest number of a format, of those that a search through all codes finds.
fn distance(element: ElementFormat, value: f64) -> f64 {
    let codes = 0..=u8::MAX >> (8 - element.bits());
    codes
        .map(|code| f64::from(element.decode(code)))
        .filter(|number| number.is_finite())
        .map(|number| (number - value).abs())
        .fold(f64::INFINITY, f64::min)
}

const MX: [Format; 5] = [
    Format::Mxfp4,
    Format::Mxfp6E2m3,
    Format::Mxfp6E3m2,
    Format::Mxfp8E4m3,
    Format::Mxfp8E5m2,
];

proptest! {
    #[test]
    fn mx_scales_are_the_powers_of_two_of_their_rules(values in numbers(32)) {
        let amax = values.iter().fold(0f64, |amax, value| amax.max(f64::from(value.abs())));
        prop_assume!(amax > 0.0);
        for format in MX {
            let element = format.element();
            let power = |exponent: i32| 2f64.powi(exponent);
            let scale = |rule| f64::from(ScaleFormat::E8m0.decode(make(&values, format, rule).scales()[0]));
            // floor: the largest power of two not above amax, over the element's largest power of two.
            let floor = scale(ScaleRule::Floor) * power(element.largest_exponent());
            prop_assert!(floor <= amax && amax < 2.0 * floor);
            // ceil: the least power of two not below amax, over the same.
            let ceil = scale(ScaleRule::Ceil) * power(element.largest_exponent());
            prop_assert!(ceil / 2.0 < amax && amax <= ceil);
            // rceil: the least power of two with which amax is not above the element's largest number.
            let rceil = scale(ScaleRule::Rceil) * f64::from(element.largest());
            prop_assert!(rceil / 2.0 < amax && amax <= rceil);
            // even: floor of amax rounded to the element's mantissa; it doubles from the last half step on.
            let even = scale(ScaleRule::Even) * power(element.largest_exponent());
            let last = 2.0 - power(-1 - element.mantissa_bits() as i32);
            prop_assert_eq!(even, if amax / floor >= last { 2.0 * floor } else { floor });
        }
    }

    #[test]
    fn mx_elements_are_the_nearest_multiples_of_their_scale(values in numbers(32)) {
        for format in MX {
            for rule in [ScaleRule::Floor, ScaleRule::Even, ScaleRule::Ceil, ScaleRule::Rceil] {
                let tensor = make(&values, format, rule);
                let scale = f64::from(ScaleFormat::E8m0.decode(tensor.scales()[0]));
                for (value, found) in values.iter().zip(dequantize(&tensor)) {
                    // Powers of two: both quotients are exact.
                    let scaled = f64::from(*value) / scale;
                    let error = (f64::from(found) / scale - scaled).abs();
                    prop_assert_eq!(error, distance(format.element(), scaled));
                }
            }
        }
    }

    #[test]
    fn nvfp4_scales_and_elements_are_the_nearest_to_f32_roundings(values in numbers(64)) {
        // By `te` each operation rounds once in f32, by 2^-24 of its result at most. Three make the scale wanted, and three
        // more the number that is encoded: these differ from the exact ones by less than 4 · 2^-24 of themselves, and the
        // distance to the nearest code by no more.
        let slack = 4.0 * 2f64.powi(-24);
        let tensor = make(&values, Format::Nvfp4, ScaleRule::Te);
        let decode = f64::from(tensor.tensor_scale());
        let found = dequantize(&tensor);
        for (index, block) in values.chunks(16).enumerate() {
            let amax = block.iter().fold(0f64, |amax, value| amax.max(f64::from(value.abs())));
            let scale = f64::from(ScaleFormat::E4m3.decode(tensor.scales()[index]));
            let wanted = amax / 6.0 / decode;
            let error = (scale - wanted).abs();
            prop_assert!(error <= distance(ElementFormat::E4m3, wanted) + wanted * slack);
            if scale == 0.0 {
                continue;
            }
            for (value, found) in block.iter().zip(&found[16 * index..]) {
                let scaled = f64::from(*value) / scale / decode;
                let error = (f64::from(*found) / scale / decode - scaled).abs();
                // Reading back rounds once more.
                let bound = distance(ElementFormat::E2m1, scaled) + (scaled.abs() + 6.0) * slack;
                prop_assert!(error <= bound, "{} {}", error, bound);
            }
        }
    }

    #[test]
    fn four_over_six_never_loses_more_than_one_range_alone(values in numbers(16)) {
        let error = |rule| {
            let found = dequantize(&make(&values, Format::Nvfp4, rule));
            let each = values.iter().zip(found);
            each.map(|(value, found)| f64::from((value - found).abs())).sum::<f64>()
        };
        // One block: its scale by `te` is exactly 448, here 256 or 384. What differs is rounding in f32: of 16 sums and of
        // products, by less than 32 · 2^-24 of what is summed.
        let total: f64 = values.iter().map(|value| f64::from(value.abs())).sum();
        let bound = error(ScaleRule::Te) + total * 32.0 * 2f64.powi(-24);
        prop_assert!(error(ScaleRule::FourOverSix) <= bound);
    }
}
