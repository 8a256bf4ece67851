//! The order of block scales in memory.

use tessera_numerics::{
    BlockShape, Format, Quantization, RandomStream, RelayoutError, Rounding, ScaleLayout,
    ScaleRule, ScaledTensor, ScaledType, ScaledTypeError, dequantize, quantize, relayout,
};

/// A tensor of nvfp4 with 130 × 5 blocks: two tiles of rows by two of columns, the last of each ragged.
fn tensor(layout: ScaleLayout) -> ScaledTensor {
    let (rows, columns) = (130, 5 * 16);
    let scaled_type = ScaledType::new(
        [rows, columns],
        Format::Nvfp4,
        1,
        BlockShape::Vector,
        layout,
    )
    .unwrap();
    let values: Vec<f32> = (0..rows * columns)
        .map(|index| 1.0 + (index / 16) as f32)
        .collect();
    let quantization =
        Quantization::new(scaled_type, ScaleRule::Te, Rounding::NearestEven).unwrap();
    quantize(&values, &quantization, None, None).unwrap()
}

#[test]
fn tiles_hold_four_columns_of_every_32nd_row_side_by_side() {
    let tiled = tensor(ScaleLayout::Tiled128x4);
    let linear = tensor(ScaleLayout::Linear);
    assert_eq!(tiled.scales().len(), 2 * 2 * 512);
    let scale = |row: usize, block: usize| linear.scales()[row * 5 + block];
    // Rows 1, 33, 65, 97 of the first tile.
    let expected: Vec<u8> = [1, 33, 65, 97]
        .into_iter()
        .flat_map(|row| (0..4).map(move |block| (row, block)))
        .map(|(row, block)| scale(row, block))
        .collect();
    assert_eq!(tiled.scales()[16..32], expected);
    // The second tile along the columns has one column; the third is the next rows'.
    assert_eq!(tiled.scales()[512..516], [scale(0, 4), 0, 0, 0]);
    assert_eq!(tiled.scales()[1024 + 16], scale(129, 0));
    assert_eq!(tiled.scales()[1024 + 32..1024 + 48], [0; 16]);
}

#[test]
fn layouts_convert_to_each_other_without_a_change_of_numbers() {
    let linear = tensor(ScaleLayout::Linear);
    let tiled = tensor(ScaleLayout::Tiled128x4);
    assert_eq!(
        linear.with_layout(ScaleLayout::Tiled128x4),
        Ok(tiled.clone())
    );
    assert_eq!(tiled.with_layout(ScaleLayout::Linear), Ok(linear.clone()));
    assert_eq!(dequantize(&tiled), dequantize(&linear));
}

#[test]
fn a_format_without_block_scales_has_no_tiles() {
    let scaled_type = ScaledType::new(
        [1],
        Format::Fp8E4m3,
        0,
        BlockShape::Vector,
        ScaleLayout::Linear,
    );
    let quantization =
        Quantization::new(scaled_type.unwrap(), ScaleRule::Te, Rounding::NearestEven);
    let tensor = quantize(&[1.0], &quantization.unwrap(), None, None).unwrap();
    assert!(matches!(
        tensor.with_layout(ScaleLayout::Tiled128x4),
        Err(ScaledTypeError::Layout { .. })
    ));
}

/// Quantisations with square blocks of a tensor of that shape along that axis, by every rule, to nearest.
fn squares(shape: &[usize], axis: usize, layout: ScaleLayout) -> Vec<Quantization> {
    let square = ScaledType::new(shape, Format::Nvfp4, axis, BlockShape::Square, layout).unwrap();
    let rules = ScaleRule::ALL.into_iter();
    let all: Vec<Quantization> = rules
        .filter_map(|rule| Quantization::new(square.clone(), rule, Rounding::NearestEven).ok())
        .collect();
    assert!(!all.is_empty());
    all
}

/// Numbers of several sizes, with signed zeros.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| match index % 97 {
        13 => -0.0,
        14 => 0.0,
        _ => ((index * 7919) % 2003) as f32 / 701.0 - 1.3,
    };
    (0..count).map(number).collect()
}

#[test]
fn square_blocks_along_one_axis_are_those_along_the_other() {
    for (shape, axes) in [
        (&[32, 48][..], [0, 1]),
        (&[33, 50], [0, 1]),
        (&[3, 20, 17], [1, 2]),
    ] {
        let values = numbers(shape.iter().product());
        for [from, to] in [axes, [axes[1], axes[0]]] {
            for layout in ScaleLayout::ALL {
                let from = squares(shape, from, ScaleLayout::Linear);
                for (from, to) in from.iter().zip(squares(shape, to, layout)) {
                    let known = quantize(&values, from, None, None).unwrap();
                    let expected = quantize(&values, &to, None, None).unwrap();
                    assert_eq!(relayout(&known, to.scaled_type()), Ok(expected));
                }
            }
        }
    }
}

#[test]
fn random_bits_go_by_the_place_in_memory() {
    let values = numbers(32 * 48);
    let stream = RandomStream {
        seed: 1,
        step: 2,
        site: 3,
    };
    let [rows, columns] = [1, 0].map(|axis| {
        let blocks = BlockShape::Square;
        let square =
            ScaledType::new([32, 48], Format::Nvfp4, axis, blocks, ScaleLayout::Linear).unwrap();
        let how = Quantization::new(square, ScaleRule::Te, Rounding::Stochastic).unwrap();
        quantize(&values, &how, None, Some(stream)).unwrap()
    });
    let turned = relayout(&rows, columns.scaled_type()).unwrap();
    assert_ne!(turned.codes(), columns.codes());
}

#[test]
fn vector_blocks_along_one_axis_are_not_those_along_the_other() {
    let vector = |axis| {
        let blocks = BlockShape::Vector;
        ScaledType::new([32, 48], Format::Nvfp4, axis, blocks, ScaleLayout::Linear).unwrap()
    };
    let zeros = ScaledTensor::new(vector(1), vec![0; vector(1).byte_size()]).unwrap();
    let error = RelayoutError::Types {
        from: Box::new(vector(1)),
        to: Box::new(vector(0)),
    };
    assert_eq!(relayout(&zeros, &vector(0)), Err(error));
}
