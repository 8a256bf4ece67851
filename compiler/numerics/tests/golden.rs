//! Codecs and block scaling against files made with ml_dtypes and numpy by `golden/make.py`.

use safetensors::SafeTensors;
use tessera_numerics::codec::encode_e8m0_up;
use tessera_numerics::{
    BlockShape, ElementFormat, Format, Quantization, Rounding, ScaleFormat, ScaleLayout, ScaleRule,
    ScaledType, quantize,
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

#[test]
fn blocks_scale_as_written_out_in_numpy() {
    let file = SafeTensors::deserialize(include_bytes!("golden/blocks.safetensors")).unwrap();
    for (name, format, rule) in [
        ("nvfp4.te", Format::Nvfp4, ScaleRule::Te),
        ("nvfp4.torchao", Format::Nvfp4, ScaleRule::Torchao),
        ("mxfp4.floor", Format::Mxfp4, ScaleRule::Floor),
        ("mxfp4.rceil", Format::Mxfp4, ScaleRule::Rceil),
    ] {
        let values = floats(&file, &format!("{name}.values"));
        let scaled_type = ScaledType::new(
            [32, 128],
            format,
            1,
            BlockShape::Vector,
            ScaleLayout::Linear,
        );
        let quantization = Quantization::new(scaled_type.unwrap(), rule, Rounding::NearestEven);
        let tensor = quantize(&values, &quantization.unwrap(), None, None).unwrap();
        assert_eq!(
            tensor.scales(),
            bytes(&file, &format!("{name}.scales")),
            "{name}"
        );
        assert_eq!(
            tensor.codes(),
            bytes(&file, &format!("{name}.codes")),
            "{name}"
        );
        if format.has_tensor_scale() {
            let expected = floats(&file, &format!("{name}.tensor_scale"));
            assert_eq!([tensor.tensor_scale()], expected[..], "{name}");
        }
    }
}
