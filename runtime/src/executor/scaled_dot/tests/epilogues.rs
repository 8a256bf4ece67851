//! What is computed of a product is computed of every element, once, and of nothing else.

use super::*;
use std::ffi::c_void;

/// Of operands (lhs, rhs, residual) and results (sum, first): `sum = residual + product`, `first` is the number of the
/// first element of the call.
unsafe extern "C" fn add_residual(buffers: *const *mut c_void, begin: i64, end: i64) {
    for number in begin..end {
        // SAFETY: the test gives five buffers, of as many elements as the product has, and then those of the call.
        unsafe {
            let [residual, sum, first, product] =
                [2, 3, 4, 5].map(|buffer| (*buffers.add(buffer)).cast::<f32>());
            let sum_here = *residual.add(number as usize) + *product.add((number - begin) as usize);
            *sum.add(number as usize) = sum_here;
            *first.add(number as usize) = begin as f32;
        }
    }
}

/// A product with rows of `row` elements, at every level, its sum over the residual.
fn check(product: &ScaledProduct, row: usize) {
    let lhs = operand(&product.lhs, ScaleCodes::Usual, 1.0, 21);
    let rhs = operand(&product.rhs, ScaleCodes::Usual, 1.0, 22);
    let length = product.result_span();
    let plain = ScaledDot::new(product.clone()).unwrap();
    let alone = compute(&plain, 1, &lhs, &rhs, length);
    let residual: Vec<f32> = (0..length).map(|number| number as f32).collect();
    let expected: Vec<f32> = residual.iter().zip(&alone).map(|(x, y)| x + y).collect();
    let epilogue = RowFunction {
        function: add_residual,
        row,
    };
    for level in levels() {
        let dot = plain.clone().with_level(level).unwrap();
        let dot = dot.with_epilogue(Some(epilogue));
        let team = Team::new(NonZeroUsize::new(2)).unwrap();
        let workspace = Workspace::new(&dot, &team).unwrap();
        let (mut sum, mut first) = (residual.clone(), vec![f32::NAN; length]);
        let sum_place: *mut u8 = sum.as_mut_ptr().cast();
        let buffers = [
            lhs.as_ptr().cast_mut(),
            rhs.as_ptr().cast_mut(),
            sum_place,
            sum_place,
            first.as_mut_ptr().cast(),
        ];
        let buffers = ScaledDotBuffers {
            lhs: buffers[0],
            rhs: buffers[1],
            result: std::ptr::null_mut(),
            workspace: workspace.0.pointer(),
            epilogue: &buffers,
        };
        // SAFETY: operands are of their types, residual, sum and first have as many elements as the product, and the
        // workspace is that of the team.
        team.enter(|member| unsafe { dot.run(member, buffers) });
        assert_same_bits(&sum, &expected, &format!("{level}, {product:?}"));
        for (number, first) in first.iter().enumerate() {
            let first = *first as usize;
            assert!(first <= number && first / row == number / row, "{level}");
        }
    }
}

#[test]
fn of_a_row_major_product() {
    for (m, n, k) in [(1, 1, 1), (3, 5, 16), (17, 100, 160), (70, 1100, 160)] {
        for format in FORMATS {
            let types = (scaled_type(m, k, format), scaled_type(n, k, format));
            check(&ScaledProduct::dense(types.0, types.1), n);
        }
    }
}

#[test]
fn of_rows_that_are_parts_of_the_products() {
    let types = [30, 96].map(|rows| scaled_type(rows, 64, Format::Nvfp4));
    let [lhs, rhs] = types;
    check(&ScaledProduct::dense(lhs, rhs), 24);
}

#[test]
fn of_a_product_whose_columns_are_neighbours() {
    let (m, n) = (37, 70);
    let [lhs, rhs] = [m, n].map(|rows| scaled_type(rows, 64, Format::Nvfp4));
    let result = MatrixLayout {
        row_stride: 1,
        column_stride: m,
    };
    let product = ScaledProduct {
        result,
        ..ScaledProduct::dense(lhs, rhs)
    };
    check(&product, m);
}

#[test]
fn of_a_batch() {
    let [lhs, rhs] = [2 * 20, 2 * 33].map(|rows| scaled_type(rows, 48, Format::Mxfp4));
    let product = ScaledProduct {
        m: 20,
        n: 33,
        batch: vec![BatchDimension {
            extent: 2,
            lhs_stride: 20,
            rhs_stride: 33,
            result_stride: 33,
        }],
        result: MatrixLayout {
            row_stride: 66,
            column_stride: 1,
        },
        ..ScaledProduct::dense(lhs, rhs)
    };
    check(&product, 33);
}

#[test]
fn of_a_sum_over_nothing() {
    let [lhs, rhs] = [4, 6].map(|rows| scaled_type(rows, 0, Format::Nvfp4));
    check(&ScaledProduct::dense(lhs, rhs), 6);
}
