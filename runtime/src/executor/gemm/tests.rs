//! Products against their definition, element by element.

use super::super::team::Team;
use super::*;
use crate::bundle::BatchDimension;
use std::num::NonZeroUsize;

/// Small integers and halves, whose products and sums f32 holds exactly: any order of summation gives these bits.
fn exact_values(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7 + seed * 3) % 17) as f32 / 2.0 - 4.0)
        .collect()
}

fn random_values(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

const fn layout(row_stride: usize, column_stride: usize) -> MatrixLayout {
    MatrixLayout {
        row_stride,
        column_stride,
    }
}

fn dense(m: usize, n: usize, k: usize) -> Gemm {
    Gemm {
        element_type: ElementType::F32,
        m,
        n,
        k,
        batch: Vec::new(),
        lhs: layout(k, 1),
        rhs: layout(n, 1),
        result: layout(n, 1),
    }
}

fn run(threads: usize, gemm: &Gemm, lhs: &[f32], rhs: &[f32], result: &mut [f32]) {
    let kernel = GemmKernel::new(gemm);
    let mut workspace = vec![0f32; kernel.workspace_bytes(threads) / size_of::<f32>()];
    let buffers = GemmBuffers {
        lhs: lhs.as_ptr().cast(),
        rhs: rhs.as_ptr().cast(),
        result: result.as_mut_ptr().cast(),
        workspace: workspace.as_mut_ptr().cast(),
    };
    let team = Team::new(NonZeroUsize::new(threads)).unwrap();
    // SAFETY: the tests' slices are as long as their strides reach, and the result and the workspace are others.
    team.enter(|member| unsafe { kernel.run(member, buffers) });
}

/// The definition, in f64.
fn naive(gemm: &Gemm, lhs: &[f32], rhs: &[f32], mut element: impl FnMut(usize, f64, f64)) {
    let kernel = GemmKernel::new(gemm);
    for product in 0..kernel.products {
        let [lhs_begin, rhs_begin, result_begin] = kernel.product_offsets(product);
        for i in 0..gemm.m {
            for j in 0..gemm.n {
                let (mut sum, mut size) = (0.0, 0.0);
                for l in 0..gemm.k {
                    let a = lhs[lhs_begin + i * gemm.lhs.row_stride + l * gemm.lhs.column_stride];
                    let b = rhs[rhs_begin + l * gemm.rhs.row_stride + j * gemm.rhs.column_stride];
                    sum += f64::from(a) * f64::from(b);
                    size += (f64::from(a) * f64::from(b)).abs();
                }
                let place =
                    result_begin + i * gemm.result.row_stride + j * gemm.result.column_stride;
                element(place, sum, size);
            }
        }
    }
}

/// Runs the product over exact values and compares every element of the result's memory, also those that the
/// product does not touch.
fn check_exactly(gemm: &Gemm, lhs: usize, rhs: usize, result: usize) {
    let (lhs, rhs) = (exact_values(lhs, 1), exact_values(rhs, 2));
    let mut expected = vec![f32::NAN; result];
    let mut found = expected.clone();
    naive(gemm, &lhs, &rhs, |place, sum, _| {
        expected[place] = sum as f32
    });
    run(2, gemm, &lhs, &rhs, &mut found);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&expected), "{gemm:?}");
}

#[test]
fn dense_products_of_many_shapes() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 7, 5),
        (7, 1, 5),
        (3, 5, 1),
        (5, 3, 2),
        (17, 19, 23),
        (64, 48, 33),
        (100, 7, 64),
        (7, 100, 64),
    ] {
        check_exactly(&dense(m, n, k), m * k, k * n, m * n);
    }
}

#[test]
fn a_sum_over_nothing_is_zero() {
    check_exactly(&dense(3, 5, 0), 0, 0, 15);
    let far = Gemm {
        lhs: layout(isize::MAX as usize, 1),
        ..dense(3, 5, 0)
    };
    check_exactly(&far, 0, 0, 15);
}

#[test]
fn a_product_without_rows_or_columns_is_nothing() {
    check_exactly(&dense(0, 5, 2), 0, 10, 0);
    check_exactly(&dense(5, 0, 2), 10, 0, 0);
    check_exactly(&dense(usize::MAX, 0, 2), 0, 0, 0);
    let mut batch = dense(1, 1, 1);
    for extent in [usize::MAX, 2, 0] {
        batch.batch.push(BatchDimension {
            extent,
            lhs_stride: 1,
            rhs_stride: 1,
            result_stride: 1,
        });
    }
    check_exactly(&batch, 0, 0, 0);
}

#[test]
fn transposed_matrices() {
    let (m, n, k) = (12, 20, 9);
    for (lhs, rhs, result) in [
        (layout(1, m), layout(n, 1), layout(n, 1)),
        (layout(k, 1), layout(1, k), layout(n, 1)),
        (layout(1, m), layout(1, k), layout(1, m)),
    ] {
        let gemm = Gemm {
            lhs,
            rhs,
            result,
            ..dense(m, n, k)
        };
        check_exactly(&gemm, m * k, k * n, m * n);
    }
}

#[test]
fn a_part_of_a_larger_matrix() {
    let (m, n, k) = (6, 10, 8);
    let gemm = Gemm {
        lhs: layout(2 * k, 2),
        rhs: layout(n + 3, 1),
        result: layout(n + 5, 1),
        ..dense(m, n, k)
    };
    check_exactly(&gemm, m * 2 * k, k * (n + 3), m * (n + 5));
}

#[test]
fn a_batch_with_the_batch_inside_the_rows() {
    // As attention has it: [batch, position, head, feature], one product for each batch and head.
    let (batch, heads, m, n, k) = (2, 3, 8, 8, 4);
    let gemm = Gemm {
        batch: vec![
            BatchDimension {
                extent: batch,
                lhs_stride: m * heads * k,
                rhs_stride: n * heads * k,
                result_stride: heads * m * n,
            },
            BatchDimension {
                extent: heads,
                lhs_stride: k,
                rhs_stride: k,
                result_stride: m * n,
            },
        ],
        lhs: layout(heads * k, 1),
        rhs: layout(1, heads * k),
        ..dense(m, n, k)
    };
    check_exactly(
        &gemm,
        batch * m * heads * k,
        batch * n * heads * k,
        batch * heads * m * n,
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn products_by_small_matrices() {
    // Whole tiles and parts of tiles; every way that operands and results may lie.
    for (m, n, k) in [
        (24, 32, 16),
        (50, 30, 33),
        (61, 60, 7),
        (300, 32, 40),
        (25, 250, 5),
    ] {
        let [straight, transposed] = [(k, 1), (1, m)].map(|(r, c)| layout(r, c));
        for lhs in [straight, transposed, layout(2 * k, 2)] {
            for rhs in [layout(n, 1), layout(1, k), layout(2 * n, 2)] {
                let gemm = Gemm {
                    lhs,
                    rhs,
                    ..dense(m, n, k)
                };
                let is_narrow = GemmKernel::new(&gemm).narrow.is_some();
                assert_eq!(is_narrow, is_x86_feature_detected!("avx512f"), "{gemm:?}");
                check_exactly(&gemm, 2 * m * k, 2 * k * n, m * n);
                // The same product, transposed.
                let swap = |layout: MatrixLayout| MatrixLayout {
                    row_stride: layout.column_stride,
                    column_stride: layout.row_stride,
                };
                let gemm = Gemm {
                    m: n,
                    n: m,
                    lhs: swap(rhs),
                    rhs: swap(lhs),
                    result: layout(1, n),
                    ..gemm
                };
                check_exactly(&gemm, 2 * k * n, 2 * m * k, m * n);
            }
        }
    }
}

#[test]
fn one_operand_for_the_whole_batch() {
    let (m, n, k) = (5, 6, 7);
    let gemm = Gemm {
        batch: vec![BatchDimension {
            extent: 4,
            lhs_stride: m * k,
            rhs_stride: 0,
            result_stride: m * n,
        }],
        ..dense(m, n, k)
    };
    check_exactly(&gemm, 4 * m * k, k * n, 4 * m * n);
}

#[test]
fn products_cut_into_panels() {
    let (m, n, k) = (520, 300, 170);
    let (rows, columns) = (layout(n, 1), layout(1, m));
    for (lhs, rhs, result, cut) in [
        (layout(k, 1), layout(n, 1), rows, Cut::Rows),
        (layout(k, 1), layout(1, k), rows, Cut::Columns),
        (layout(1, m), layout(1, k), columns, Cut::Columns),
        (layout(k, 1), layout(1, k), columns, Cut::Rows),
    ] {
        let gemm = Gemm {
            lhs,
            rhs,
            result,
            ..dense(m, n, k)
        };
        let kernel = GemmKernel::new(&gemm);
        assert_eq!(kernel.cut, cut);
        assert!(kernel.panels > 1, "{kernel:?}");
        check_exactly(&gemm, m * k, k * n, m * n);
    }
}

#[test]
fn panels_are_even_and_not_too_short() {
    // 2048 = 16 · 128; 688 = 5 · 137.6, in vectors of 16; little work is one panel.
    let kernel = |gemm: &Gemm| {
        let kernel = GemmKernel::new(gemm);
        (kernel.cut, kernel.panel, kernel.panels)
    };
    assert_eq!(kernel(&dense(2048, 688, 256)), (Cut::Rows, 128, 16));
    let transposed = Gemm {
        rhs: layout(1, 2048),
        ..dense(256, 688, 2048)
    };
    assert_eq!(kernel(&transposed), (Cut::Columns, 144, 5));
    assert_eq!(kernel(&dense(16, 16, 16)), (Cut::Rows, 16, 1));
    // A long row by a matrix.
    assert_eq!(kernel(&dense(1, 50_000, 512)).0, Cut::Columns);
}

#[test]
fn double_precision() {
    let gemm = Gemm {
        element_type: ElementType::F64,
        ..dense(2, 2, 2)
    };
    let (lhs, rhs) = ([1.0f64, 2.0, 3.0, 4.0], [5.0f64, 6.0, 7.0, 8.0]);
    let mut result = [0.0f64; 4];
    let buffers = GemmBuffers {
        lhs: lhs.as_ptr().cast(),
        rhs: rhs.as_ptr().cast(),
        result: result.as_mut_ptr().cast(),
        workspace: std::ptr::null_mut(),
    };
    let team = Team::new(NonZeroUsize::new(1)).unwrap();
    // SAFETY: three arrays of four elements each.
    team.enter(|member| unsafe { GemmKernel::new(&gemm).run(member, buffers) });
    assert_eq!(result, [19.0, 22.0, 43.0, 50.0]);
}

#[test]
fn the_error_is_that_of_a_sum_in_f32() {
    let (m, n, k) = (130, 70, 600);
    let gemm = dense(m, n, k);
    let (lhs, rhs) = (random_values(m * k, 1), random_values(k * n, 2));
    let mut found = vec![0.0; m * n];
    run(2, &gemm, &lhs, &rhs, &mut found);
    // Any order of k additions and multiplications: |error| ≤ k·u / (1 - k·u) · Σ|a·b|, with u = 2⁻²⁴ (Higham,
    // Accuracy and Stability of Numerical Algorithms, section 3.1).
    let ku = k as f64 * f64::from(f32::EPSILON) / 2.0;
    naive(&gemm, &lhs, &rhs, |place, sum, size| {
        let error = (f64::from(found[place]) - sum).abs();
        assert!(error <= ku / (1.0 - ku) * size, "{error} at {place}");
    });
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let mut gemm = dense(300, 210, 330);
    gemm.batch = vec![BatchDimension {
        extent: 3,
        lhs_stride: 300 * 330,
        rhs_stride: 330 * 210,
        result_stride: 300 * 210,
    }];
    let lhs = random_values(3 * 300 * 330, 1);
    let rhs = random_values(3 * 330 * 210, 2);
    let bits = [1, 2, 3].map(|threads| {
        let mut result = vec![0.0; 3 * 300 * 210];
        run(threads, &gemm, &lhs, &rhs, &mut result);
        result.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert!(bits[0] == bits[1] && bits[0] == bits[2]);
}
