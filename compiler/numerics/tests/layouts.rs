//! The order of block scales in memory.

use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledTensor, ScaledType,
    ScaledTypeError, dequantize, quantize,
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
