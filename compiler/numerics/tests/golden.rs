//! Codecs and block scaling against files made with ml_dtypes and numpy by `golden/make.py`.

use safetensors::SafeTensors;
use tessera_numerics::codec::encode_e8m0_up;
use tessera_numerics::{
    BlockShape, ElementFormat, Format, Quantization, RandomStream, Rounding, ScaleFormat,
    ScaleLayout, ScaleRule, ScaledType, quantize,
};

fn bytes(file: &SafeTensors<'_>, name: &str) -> Vec<u8> {
    file.tensor(name).unwrap().data().to_vec()
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let (numbers, _) = file.tensor(name).unwrap().data().as_chunks();
    numbers.iter().copied().map(f32::from_le_bytes).collect()
}

const ELEMENTS: [(&str, ElementFormat); 5] = [
    ("e2m1", ElementFormat::E2m1),
    ("e2m3", ElementFormat::E2m3),
    ("e3m2", ElementFormat::E3m2),
    ("e4m3", ElementFormat::E4m3),
    ("e5m2", ElementFormat::E5m2),
];

#[test]
fn every_code_stands_for_its_number() {
    let file = SafeTensors::deserialize(include_bytes!("golden/codecs.safetensors")).unwrap();
    for (name, element) in ELEMENTS {
        let decoded = floats(&file, &format!("{name}.decoded"));
        assert_eq!(decoded.len(), 1 << element.bits());
        for (code, expected) in decoded.into_iter().enumerate() {
            let found = element.decode(code as u8);
            let is_same = found.to_bits() == expected.to_bits();
            assert!(
                is_same || found.is_nan() && expected.is_nan(),
                "{name} {code}"
            );
        }
    }
    let codes = bytes(&file, "e8m0.codes");
    for (code, value) in codes.into_iter().zip(floats(&file, "e8m0.values")) {
        assert_eq!(ScaleFormat::E8m0.decode(code), value);
        assert_eq!(encode_e8m0_up(value), code);
    }
}

#[test]
fn numbers_encode_to_the_nearest_code() {
    let file = SafeTensors::deserialize(include_bytes!("golden/codecs.safetensors")).unwrap();
    for (name, element) in ELEMENTS {
        let values = floats(&file, &format!("{name}.values"));
        assert!(values.len() > 300);
        let codes = bytes(&file, &format!("{name}.codes"));
        for (value, code) in values.into_iter().zip(codes) {
            assert_eq!(element.encode(value), code, "{name} {value:e}");
        }
    }
}

/// The one of these that has that name.
fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, wanted: &str) -> T {
    let found = all.iter().copied().find(|&one| name(one) == wanted);
    found.unwrap_or_else(|| panic!("nothing is called {wanted}"))
}

/// What a case's name says, FORMAT.RULE.ROUNDING.SHAPE.AXIS.INPUT: the quantisation and its input's name.
fn case<'n>(name: &'n str, file: &SafeTensors<'_>) -> (Quantization, &'n str) {
    let words: Vec<&str> = name.split('.').collect();
    let [format, rule, rounding, blocks, axis, input] = words[..] else {
        panic!("{name} has not six words");
    };
    let shape = file.tensor(&format!("values.{input}")).unwrap();
    let blocks = match blocks {
        "square" => BlockShape::Square,
        _ => BlockShape::Vector,
    };
    let scaled_type = ScaledType::new(
        shape.shape(),
        named(&Format::ALL, Format::name, format),
        axis.parse().unwrap(),
        blocks,
        ScaleLayout::Linear,
    );
    let quantization = Quantization::new(
        scaled_type.unwrap(),
        named(&ScaleRule::ALL, ScaleRule::name, rule),
        named(&Rounding::ALL, Rounding::name, rounding),
    );
    (quantization.unwrap(), input)
}

#[test]
fn blocks_scale_as_written_out_in_numpy() {
    const STREAM: RandomStream = RandomStream {
        seed: 0x1234_5678_9abc_def0,
        step: 7,
        site: 3,
    };
    let file = SafeTensors::deserialize(include_bytes!("golden/blocks.safetensors")).unwrap();
    let names = file.names();
    let cases = names.iter().filter(|name| !name.starts_with("values."));
    let mut count = 0;
    for name in cases {
        let (quantization, input) = case(name, &file);
        let values = floats(&file, &format!("values.{input}"));
        let tensor = quantize(&values, &quantization, None, Some(STREAM)).unwrap();
        let expected = bytes(&file, name);
        let (codes, rest) = expected.split_at(tensor.codes().len());
        let (scales, tensor_scale) = rest.split_at(tensor.scales().len());
        assert_eq!(tensor.codes(), codes, "{name}: codes");
        assert_eq!(tensor.scales(), scales, "{name}: scales");
        let tensor_scale = f32::from_le_bytes(tensor_scale.try_into().unwrap());
        assert!(
            tensor.tensor_scale() == tensor_scale
                || tensor.tensor_scale().is_nan() && tensor_scale.is_nan(),
            "{name}: tensor scale {tensor_scale}, found {}",
            tensor.tensor_scale()
        );
        count += 1;
    }
    // 57 of format, rule, rounding and shape, each on three axes of one input and the last of five.
    assert_eq!(count, 57 * 8);
}
