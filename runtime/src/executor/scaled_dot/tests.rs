//! Every level against the definition in the module's documentation, bit for bit, and against exact arithmetic.

mod epilogues;

use super::*;
use crate::bundle::BatchDimension;
use std::num::NonZeroUsize;
use tessera_numerics::{BlockShape, PART_ALIGNMENT, ScaleLayout, ScaledType};

/// Which scale codes an operand has.
#[derive(Clone, Copy, Debug)]
enum ScaleCodes {
    /// Those around 1.
    Usual,
    /// All but NaN.
    Numbers,
    /// All.
    Any,
}

struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 56) as u8
    }
}

fn scaled_type(rows: usize, k: usize, format: Format) -> ScaledType {
    let layout = ScaleLayout::Linear;
    ScaledType::new([rows, k], format, 1, BlockShape::Vector, layout).unwrap()
}

/// An operand of random codes, with zeros behind the end of the axis.
fn operand(scaled_type: &ScaledType, codes: ScaleCodes, tensor_scale: f32, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = vec![0; scaled_type.byte_size()];
    let (k, row_bytes) = (scaled_type.columns(), scaled_type.row_bytes());
    for row in 0..scaled_type.rows() {
        for column in 0..k {
            let code = random.byte() & 15;
            bytes[row * row_bytes + column / 2] |= code << (column % 2 * 4);
        }
    }
    let scales = scaled_type.scales_offset();
    for scale in &mut bytes[scales..scales + scaled_type.scale_bytes()] {
        *scale = loop {
            let code = random.byte();
            let format = scaled_type.format();
            let wanted = match (codes, format) {
                (ScaleCodes::Any, _) => true,
                (ScaleCodes::Numbers, Format::Nvfp4) => code & 0x7f != 0x7f,
                (ScaleCodes::Numbers, _) => code != 0xff,
                (ScaleCodes::Usual, Format::Nvfp4) => code < 0x7f,
                (ScaleCodes::Usual, _) => (110..140).contains(&code),
            };
            if wanted {
                break code;
            }
        };
    }
    if scaled_type.format().has_tensor_scale() {
        bytes[scaled_type.tensor_scale_offset()..].copy_from_slice(&tensor_scale.to_le_bytes());
    }
    bytes
}

/// The E2M1 numbers, from their specification.
const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

fn element(code: u8) -> f64 {
    let magnitude = E2M1[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The number of a scale code, from the formats' specifications.
fn scale(format: Format, code: u8) -> f64 {
    match format {
        Format::Nvfp4 => {
            let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
            match (exponent, code & 7) {
                (15, 7) => f64::NAN,
                (0, _) => mantissa / 8.0 * 2f64.powi(-6),
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            }
        }
        _ if code == 255 => f64::NAN,
        _ => 2f64.powi(i32::from(code) - 127),
    }
}

/// One row of an operand without its tensor scale, in f64.
struct Row {
    elements: Vec<f64>,
    scales: Vec<f64>,
}

/// The rows of an operand and its tensor scale.
struct Decoded {
    rows: Vec<Row>,
    tensor_scale: f32,
}

fn decode(scaled_type: &ScaledType, bytes: &[u8]) -> Decoded {
    let row_bytes = scaled_type.row_bytes();
    let rows = (0..scaled_type.rows()).map(|row| {
        let codes = &bytes[row * row_bytes..][..row_bytes];
        let elements = codes
            .iter()
            .flat_map(|&pair| [element(pair & 15), element(pair >> 4)]);
        let scales = (0..scaled_type.blocks_per_row()).map(|block| {
            let position = scaled_type.scales_offset() + scaled_type.scale_position(row, block);
            scale(scaled_type.format(), bytes[position])
        });
        Row {
            elements: elements.collect(),
            scales: scales.collect(),
        }
    });
    Decoded {
        rows: rows.collect(),
        tensor_scale: tensor_scale_of(scaled_type, bytes),
    }
}

fn tensor_scale_of(scaled_type: &ScaledType, bytes: &[u8]) -> f32 {
    if !scaled_type.format().has_tensor_scale() {
        return 1.0;
    }
    let start = scaled_type.tensor_scale_offset();
    f32::from_le_bytes(bytes[start..start + 4].try_into().unwrap())
}

/// `a + term`, rounded once. The term, of at most 21 bits, is split into two f32 factors.
fn add(a: f32, term: f64) -> f32 {
    if term == 0.0 || term.is_nan() {
        return a + term as f32;
    }
    let half = 2f64.powi(term.abs().log2().floor() as i32 / 2);
    assert_eq!((term / half) as f32 as f64 * half, term);
    ((term / half) as f32).mul_add(half as f32, a)
}

/// One element of a result: by the definition, exact, and the sum of the terms' magnitudes.
struct Expected {
    defined: f32,
    exact: f64,
    magnitudes: f64,
}

/// The product of one row of each operand.
fn expected(format: Format, lhs: (&Decoded, usize), rhs: (&Decoded, usize)) -> Expected {
    let (x, y) = (&lhs.0.rows[lhs.1], &rhs.0.rows[rhs.1]);
    let (length, _) = format.block().unwrap();
    let (mut sum, mut exact, mut magnitudes) = (0f32, 0.0, 0.0);
    for block in 0..x.scales.len() {
        let elements = block * length..(block + 1) * length;
        let products = elements.map(|i| 2.0 * x.elements[i] * 2.0 * y.elements[i]);
        let term = x.scales[block] * y.scales[block] * products.sum::<f64>();
        sum = add(sum, term * 2f64.powi(-22));
        exact += term / 4.0;
        magnitudes += (term / 4.0).abs();
    }
    let scales = [lhs.0.tensor_scale, rhs.0.tensor_scale];
    let factor = f64::from(scales[0]) * f64::from(scales[1]);
    Expected {
        defined: (sum * 2f32.powi(20)) * (scales[0] * scales[1]),
        exact: exact * factor,
        magnitudes: magnitudes * factor.abs(),
    }
}

/// The memory of a result, NaN where the product writes nothing.
fn compute(dot: &ScaledDot, threads: usize, lhs: &[u8], rhs: &[u8], length: usize) -> Vec<f32> {
    let team = Team::new(NonZeroUsize::new(threads)).unwrap();
    let mut workspace = Workspace::new(dot, &team).unwrap();
    let mut result = vec![f32::NAN; length];
    dot.multiply(&team, &mut workspace, lhs, rhs, &mut result)
        .unwrap();
    result
}

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        // NaNs are all alike.
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{what}: at {place} {found:e} and not {expected:e}");
    }
}

/// Computes a product at every level, and compares all of the result's memory with the definition.
fn check(product: &ScaledProduct, lhs: &[u8], rhs: &[u8]) {
    let length = product.result_span();
    let mut definition = vec![f32::NAN; length];
    let dot = ScaledDot::new(product.clone()).unwrap();
    let decoded = [decode(&product.lhs, lhs), decode(&product.rhs, rhs)];
    for number in 0..dot.products {
        let mut rest = number;
        let (mut lhs_row, mut rhs_row, mut place) = (0, 0, 0);
        for dimension in product.batch.iter().rev() {
            let index = rest % dimension.extent;
            rest /= dimension.extent;
            lhs_row += index * dimension.lhs_stride;
            rhs_row += index * dimension.rhs_stride;
            place += index * dimension.result_stride;
        }
        for i in 0..product.m {
            for j in 0..product.n {
                let left = (&decoded[0], lhs_row + i * product.lhs_stride);
                let right = (&decoded[1], rhs_row + j * product.rhs_stride);
                let own = place + i * product.result.row_stride + j * product.result.column_stride;
                definition[own] = expected(product.lhs.format(), left, right).defined;
            }
        }
    }
    for level in levels() {
        let dot = dot.clone().with_level(level).unwrap();
        let found = compute(&dot, 2, lhs, rhs, length);
        assert_same_bits(&found, &definition, &format!("{level}, {product:?}"));
    }
}

fn check_dense(m: usize, n: usize, k: usize, format: Format, codes: ScaleCodes) {
    let (lhs_type, rhs_type) = (scaled_type(m, k, format), scaled_type(n, k, format));
    let lhs = operand(&lhs_type, codes, 0.375, (m + k) as u64);
    let rhs = operand(&rhs_type, codes, 1.7e-3, (n + k) as u64 + 1000);
    check(&ScaledProduct::dense(lhs_type, rhs_type), &lhs, &rhs);
}

const FORMATS: [Format; 2] = [Format::Nvfp4, Format::Mxfp4];

#[test]
fn every_level_computes_the_definition() {
    for format in FORMATS {
        for (m, n, k) in [
            (1, 1, 1),
            (8, 32, 32),
            (3, 5, 7),
            (9, 33, 70),
            (33, 9, 64),
            (17, 100, 129),
            (70, 40, 1100),
        ] {
            check_dense(m, n, k, format, ScaleCodes::Usual);
        }
    }
}

#[test]
fn every_scale_is_computed_with() {
    for format in FORMATS {
        check_dense(40, 50, 352, format, ScaleCodes::Numbers);
    }
}

#[test]
fn all_pairs_of_scales() {
    // One block, so that 256 rows by 256 columns meet each pair of codes; NaN is among them.
    for format in FORMATS {
        let one = scaled_type(256, 16, format);
        let [mut lhs, mut rhs] = [3, 4].map(|seed| operand(&one, ScaleCodes::Any, 1.0, seed));
        let scales = one.scales_offset();
        for code in 0..=255 {
            lhs[scales + usize::from(code)] = code;
            rhs[scales + usize::from(code)] = code;
        }
        check(&ScaledProduct::dense(one.clone(), one), &lhs, &rhs);
    }
}

#[test]
fn all_pairs_of_elements() {
    // 16 rows and 16 columns of one code each.
    for format in FORMATS {
        let one = scaled_type(16, 16, format);
        let mut lhs = operand(&one, ScaleCodes::Usual, 1.0, 1);
        for code in 0..16 {
            let row = usize::from(code) * one.row_bytes();
            lhs[row..row + 8].fill(code << 4 | code);
        }
        check(&ScaledProduct::dense(one.clone(), one), &lhs, &lhs);
    }
}

#[test]
fn the_largest_scale_and_the_smallest_one_cancel() {
    // 0.5 · 0.5 · 2⁻¹²⁷ · 2¹²⁷, whichever operand has the small scale.
    let one = scaled_type(1, 1, Format::Mxfp4);
    let [small, large] = [0, 254].map(|code| {
        let mut bytes = vec![0; one.byte_size()];
        (bytes[0], bytes[one.scales_offset()]) = (1, code);
        bytes
    });
    for level in levels() {
        let dot = ScaledDot::new(ScaledProduct::dense(one.clone(), one.clone()))
            .and_then(|dot| dot.with_level(level))
            .unwrap();
        assert_eq!(compute(&dot, 1, &small, &large, 1), [0.25], "{level}");
        assert_eq!(compute(&dot, 1, &large, &small, 1), [0.25], "{level}");
    }
}

#[test]
fn a_scale_of_nan_makes_nan_of_its_row_and_column_alone() {
    for (format, nan) in [(Format::Nvfp4, 0x7f), (Format::Mxfp4, 0xff)] {
        let (lhs_type, rhs_type) = (scaled_type(10, 64, format), scaled_type(40, 64, format));
        let mut lhs = operand(&lhs_type, ScaleCodes::Usual, 1.0, 5);
        let mut rhs = operand(&rhs_type, ScaleCodes::Usual, 1.0, 6);
        lhs[lhs_type.scales_offset() + lhs_type.scale_position(3, 1)] = nan;
        rhs[rhs_type.scales_offset() + rhs_type.scale_position(35, 0)] = nan;
        for level in levels() {
            let product = ScaledProduct::dense(lhs_type.clone(), rhs_type.clone());
            let dot = ScaledDot::new(product).and_then(|dot| dot.with_level(level));
            let result = compute(&dot.unwrap(), 1, &lhs, &rhs, 400);
            for (place, value) in result.iter().enumerate() {
                let meets = place / 40 == 3 || place % 40 == 35;
                assert_eq!(value.is_nan(), meets, "{level} {format} at {place}");
            }
        }
    }
}

#[test]
fn results_are_near_the_exact_ones() {
    for format in FORMATS {
        let (lhs_type, rhs_type) = (scaled_type(20, 1000, format), scaled_type(40, 1000, format));
        let lhs = operand(&lhs_type, ScaleCodes::Usual, 0.013, 7);
        let rhs = operand(&rhs_type, ScaleCodes::Usual, 17.0, 8);
        let (left, right) = (decode(&lhs_type, &lhs), decode(&rhs_type, &rhs));
        let dot = ScaledDot::new(ScaledProduct::dense(lhs_type.clone(), rhs_type)).unwrap();
        let result = compute(&dot, 1, &lhs, &rhs, 800);
        // One rounding, of 2⁻²⁴ of a partial sum, for each block; one for each product by tensor scales, whose own
        // product has one; 1 % for their products with each other. Nothing is subnormal here.
        let roundings = lhs_type.blocks_per_row() as f64 + 2.0;
        for (place, &found) in result.iter().enumerate() {
            let expected = expected(format, (&left, place / 40), (&right, place % 40));
            let error = (f64::from(found) - expected.exact).abs();
            let bound = 1.01 * roundings * 2f64.powi(-24) * expected.magnitudes;
            assert!(error <= bound, "{format} at {place}: {error:e} > {bound:e}");
            assert!(expected.exact != 0.0);
        }
    }
}

#[test]
fn a_batch_in_any_order_of_dimensions() {
    // lhs [5, 2, 3, k] with batch dimensions 2 and 3, rhs [2, 9, 3, k], result [3, 5, 2, 9].
    let k = 48;
    for format in FORMATS {
        let of = |shape: [usize; 4]| {
            ScaledType::new(shape, format, 3, BlockShape::Vector, ScaleLayout::Linear).unwrap()
        };
        let (lhs_type, rhs_type) = (of([5, 2, 3, k]), of([2, 9, 3, k]));
        let lhs = operand(&lhs_type, ScaleCodes::Usual, 2.0, 9);
        let rhs = operand(&rhs_type, ScaleCodes::Usual, 3.0, 10);
        let product = ScaledProduct {
            lhs: lhs_type,
            rhs: rhs_type,
            m: 5,
            n: 9,
            batch: vec![
                BatchDimension {
                    extent: 2,
                    lhs_stride: 3,
                    rhs_stride: 27,
                    result_stride: 9,
                },
                BatchDimension {
                    extent: 3,
                    lhs_stride: 1,
                    rhs_stride: 1,
                    result_stride: 90,
                },
            ],
            lhs_stride: 6,
            rhs_stride: 3,
            result: MatrixLayout {
                row_stride: 18,
                column_stride: 1,
            },
        };
        check(&product, &lhs, &rhs);
    }
}

#[test]
fn results_of_any_strides() {
    let (m, n) = (37, 70);
    for (row_stride, column_stride) in [(n, 1), (1, m), (n + 3, 1), (2 * n, 2), (1, m + 1)] {
        let (lhs_type, rhs_type) = (
            scaled_type(m, 80, Format::Nvfp4),
            scaled_type(n, 80, Format::Nvfp4),
        );
        let lhs = operand(&lhs_type, ScaleCodes::Usual, 1.0, 11);
        let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.0, 12);
        let product = ScaledProduct {
            result: MatrixLayout {
                row_stride,
                column_stride,
            },
            ..ScaledProduct::dense(lhs_type, rhs_type)
        };
        check(&product, &lhs, &rhs);
    }
}

#[test]
fn an_axis_that_is_not_the_last() {
    // Quantised along axis 0, storage is the transposed matrix: rows are the shape's columns.
    let of = |shape: [usize; 2]| {
        ScaledType::new(
            shape,
            Format::Nvfp4,
            0,
            BlockShape::Square,
            ScaleLayout::Linear,
        )
        .unwrap()
    };
    let (lhs_type, rhs_type) = (of([40, 7]), of([40, 19]));
    let lhs = operand(&lhs_type, ScaleCodes::Usual, 1.0, 13);
    let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.0, 14);
    check(&ScaledProduct::dense(lhs_type, rhs_type), &lhs, &rhs);
}

#[test]
fn scales_in_tiles() {
    let of = |rows: usize, layout| {
        ScaledType::new([rows, 100], Format::Nvfp4, 1, BlockShape::Vector, layout).unwrap()
    };
    let lhs_type = of(140, ScaleLayout::Tiled128x4);
    let rhs_type = of(50, ScaleLayout::Linear);
    let lhs = operand(&lhs_type, ScaleCodes::Usual, 1.0, 15);
    let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.0, 16);
    check(&ScaledProduct::dense(lhs_type, rhs_type), &lhs, &rhs);
}

#[test]
fn threads_change_no_bit() {
    let (lhs_type, rhs_type) = (
        scaled_type(300, 1500, Format::Nvfp4),
        scaled_type(1100, 1500, Format::Nvfp4),
    );
    let lhs = operand(&lhs_type, ScaleCodes::Usual, 1.0, 17);
    let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.0, 18);
    let dot = ScaledDot::new(ScaledProduct::dense(lhs_type, rhs_type)).unwrap();
    assert!(dot.cut(3).tasks > 3 && dot.stretch < dot.blocks);
    let one = compute(&dot, 1, &lhs, &rhs, 300 * 1100);
    for threads in [2, 3] {
        let several = compute(&dot, threads, &lhs, &rhs, 300 * 1100);
        assert_same_bits(&several, &one, &format!("{threads} threads"));
    }
}

#[test]
fn a_sum_over_nothing_is_zero() {
    for format in FORMATS {
        check_dense(3, 5, 0, format, ScaleCodes::Usual);
    }
}

#[test]
fn a_product_without_elements_is_nothing() {
    for (m, n) in [(0, 5), (5, 0)] {
        check_dense(m, n, 32, Format::Nvfp4, ScaleCodes::Usual);
    }
    // All rows are the lhs' only one.
    let (one, none) = (
        scaled_type(1, 32, Format::Nvfp4),
        scaled_type(0, 32, Format::Nvfp4),
    );
    let lhs = operand(&one, ScaleCodes::Usual, 1.0, 1);
    let product = ScaledProduct {
        m: usize::MAX,
        lhs_stride: 0,
        ..ScaledProduct::dense(one, none.clone())
    };
    let dot = ScaledDot::new(product).unwrap();
    assert!(compute(&dot, 2, &lhs, &vec![0; none.byte_size()], 0).is_empty());
}

fn refused(product: ScaledProduct) -> String {
    ScaledDot::new(product).unwrap_err().to_string()
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let nvfp4 = scaled_type(4, 32, Format::Nvfp4);
    assert_eq!(
        refused(ScaledProduct::dense(
            nvfp4.clone(),
            scaled_type(4, 32, Format::Mxfp4)
        )),
        "expected operands of one format, found !tsr.scaled<4x32, nvfp4, axis = 1> and !tsr.scaled<4x32, mxfp4, axis = 1>"
    );
    assert_eq!(
        refused(ScaledProduct::dense(
            nvfp4.clone(),
            scaled_type(4, 31, Format::Nvfp4)
        )),
        "expected operands with axes of one size, found !tsr.scaled<4x32, nvfp4, axis = 1> and !tsr.scaled<4x31, nvfp4, axis = 1>"
    );
    assert_eq!(
        refused(ScaledProduct::dense(
            scaled_type(4, 32, Format::Fp8E4m3),
            nvfp4
        )),
        "lhs: expected nvfp4 or mxfp4, found !tsr.scaled<4x32, fp8_e4m3, axis = 1>"
    );
}

#[test]
fn strides_that_leave_an_operand_are_refused() {
    let nvfp4 = scaled_type(4, 32, Format::Nvfp4);
    let dense = ScaledProduct::dense(nvfp4.clone(), nvfp4);
    let product = ScaledProduct {
        rhs_stride: 2,
        ..dense
    };
    assert_eq!(
        refused(product),
        "rhs: expected strides that stay inside its 4 rows, found 4 at stride 2"
    );
}

#[test]
fn results_with_two_elements_in_one_place_are_refused() {
    let nvfp4 = scaled_type(4, 32, Format::Nvfp4);
    let mut product = ScaledProduct::dense(nvfp4.clone(), nvfp4);
    product.result.row_stride = 3;
    assert_eq!(
        refused(product),
        "result: expected strides that give each element a place of its own, found 4 at stride 3, 4 at stride 1"
    );
}

#[test]
fn buffers_of_other_sizes_are_refused() {
    let nvfp4 = scaled_type(4, 32, Format::Nvfp4);
    let dot = ScaledDot::new(ScaledProduct::dense(nvfp4.clone(), nvfp4.clone())).unwrap();
    let team = Team::new(NonZeroUsize::new(1)).unwrap();
    let mut workspace = Workspace::new(&dot, &team).unwrap();
    let bytes = vec![0; nvfp4.byte_size()];
    let mut result = [0.0; 16];
    let mut multiply = |lhs: &[u8], result: &mut [f32]| {
        let error = dot.multiply(&team, &mut workspace, lhs, &bytes, result);
        error.map_err(|error| error.to_string())
    };
    assert_eq!(multiply(&bytes, &mut result), Ok(()));
    assert_eq!(
        multiply(&bytes[1..], &mut result).unwrap_err(),
        format!(
            "lhs: expected room for {}, found {}",
            2 * PART_ALIGNMENT + 4,
            2 * PART_ALIGNMENT + 3
        )
    );
    assert_eq!(
        multiply(&bytes, &mut result[1..]).unwrap_err(),
        "result: expected room for 16, found 15"
    );
    let large = scaled_type(400, 32, Format::Nvfp4);
    let dot = ScaledDot::new(ScaledProduct::dense(nvfp4, large.clone())).unwrap();
    let rhs = vec![0; large.byte_size()];
    let mut result = vec![0.0; 1600];
    let error = dot.multiply(&team, &mut workspace, &bytes, &rhs, &mut result);
    assert!(matches!(
        error,
        Err(ScaledDotError::Buffer {
            buffer: "workspace",
            ..
        })
    ));
}

#[test]
fn the_detected_level_is_the_fastest_there_is() {
    let available: Vec<Level> = levels().collect();
    assert_eq!(available.last(), Some(&Level::detect()));
}

/// Computes a grouped product at every level; rows of the result behind the last group are part of it.
fn grouped(
    lhs: (&ScaledType, &[u8]),
    rhs: (&ScaledType, &[u8]),
    sizes: &[i32],
    length: usize,
    check: impl Fn(&[f32], Level),
) {
    let product = GroupedScaledDot::new(lhs.0.clone(), rhs.0.clone(), sizes.len()).unwrap();
    let team = Team::new(NonZeroUsize::new(2)).unwrap();
    for level in levels() {
        let product = product.clone().with_level(level);
        let workspace = Memory::zeroed(product.workspace_bytes(team.threads())).unwrap();
        let mut result = vec![f32::NAN; length];
        let buffers = GroupedScaledDotBuffers {
            lhs: lhs.1.as_ptr(),
            rhs: rhs.1.as_ptr(),
            group_sizes: sizes.as_ptr(),
            result: result.as_mut_ptr(),
            workspace: workspace.pointer(),
        };
        // SAFETY: the buffers are as long as the types and the workspace's size say.
        let done = team.enter(|member| unsafe { product.run(member, buffers) });
        done.unwrap();
        check(&result, level);
    }
}

#[test]
fn rows_of_groups_meet_their_groups_columns() {
    for (format, sizes) in FORMATS.into_iter().flat_map(|format| {
        [[5, 0, 70, 1, 0], [0, 0, 0, 0, 80], [0, 0, 0, 0, 0]].map(|sizes| (format, sizes))
    }) {
        let (rows, n, k) = (83, 70, 80);
        let lhs_type = scaled_type(rows, k, format);
        let (axis, blocks, layout) = (1, BlockShape::Vector, ScaleLayout::Linear);
        let rhs_type = ScaledType::new([sizes.len(), k, n], format, axis, blocks, layout).unwrap();
        let lhs = operand(&lhs_type, ScaleCodes::Usual, 0.375, 1);
        let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.7e-3, 2);
        let decoded = [decode(&lhs_type, &lhs), decode(&rhs_type, &rhs)];
        let mut definition = vec![0.0; rows * n];
        let groups = tessera_numerics::group_ranges(&sizes, rows).unwrap();
        for (group, range) in groups.into_iter().enumerate() {
            for row in range {
                for column in 0..n {
                    let right = (&decoded[1], group * n + column);
                    let element = expected(format, (&decoded[0], row), right);
                    definition[row * n + column] = element.defined;
                }
            }
        }
        let (lhs, rhs) = ((&lhs_type, &lhs[..]), (&rhs_type, &rhs[..]));
        grouped(lhs, rhs, &sizes, rows * n, |found, level| {
            assert_same_bits(found, &definition, &format!("{level}, {format}, {sizes:?}"));
        });
    }
}

#[test]
fn groups_that_cut_through_blocks_count_their_own_elements() {
    // Longer than a stretch; groups that begin, end or lie inside of blocks, one larger than a stretch.
    let sizes = [3, 0, 20, 1, 8, 500, 32];
    for format in FORMATS {
        let (m, n, k) = (7, 70, 600);
        let (lhs_type, rhs_type) = (scaled_type(m, k, format), scaled_type(n, k, format));
        let lhs = operand(&lhs_type, ScaleCodes::Any, 0.375, 3);
        let rhs = operand(&rhs_type, ScaleCodes::Usual, 1.7e-3, 4);
        let (left, right) = (decode(&lhs_type, &lhs), decode(&rhs_type, &rhs));
        let mut definition = Vec::new();
        for range in tessera_numerics::group_ranges(&sizes, k).unwrap() {
            // The lhs with what lies outside cleared, its blocks without an element of the group left out.
            let rows = left.rows.iter().map(|row| {
                let elements = row.elements.iter().enumerate();
                let elements = elements.map(|(i, &x)| if range.contains(&i) { x } else { 0.0 });
                let length = format.block().unwrap().0;
                let scales = row.scales.iter().enumerate().map(|(block, &scale)| {
                    let (begin, end) = (block * length, (block + 1) * length);
                    let is_met = range.start < end && begin < range.end;
                    if is_met { scale } else { 0.0 }
                });
                Row {
                    elements: elements.collect(),
                    scales: scales.collect(),
                }
            });
            let own = Decoded {
                rows: rows.collect(),
                tensor_scale: left.tensor_scale,
            };
            for row in 0..m {
                for column in 0..n {
                    let element = expected(format, (&own, row), (&right, column));
                    definition.push(element.defined);
                }
            }
        }
        let (lhs, rhs) = ((&lhs_type, &lhs[..]), (&rhs_type, &rhs[..]));
        grouped(lhs, rhs, &sizes, definition.len(), |found, level| {
            assert_same_bits(found, &definition, &format!("{level}, {format}"));
        });
    }
}
