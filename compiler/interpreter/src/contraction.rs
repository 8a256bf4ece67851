//! Sums of products.

use crate::elements::{elements, tensor};
use crate::error::OpFailure;
use crate::number::{Number, Wide, with_element};
use crate::strided::{Positions, count, others, pick, strides};
use rayon::prelude::*;
use std::ops::Range;
use tessera_ir::{ElementType, Tensor};

/// Which dimensions of one operand do what.
pub(crate) struct Roles<'a> {
    pub batching: &'a [usize],
    pub contracting: &'a [usize],
}

impl Roles<'_> {
    /// The dimensions that go into the result alone.
    fn free(&self, rank: usize) -> Vec<usize> {
        others(rank, &[self.batching, self.contracting].concat())
    }
}

/// Floats are multiplied and added in f64, in the row-major order of the contracting dimensions as they are listed, and
/// rounded once to the result's element type. A product of two f32 is exact in f64.
///
/// Integers and booleans wrap around in the accumulator's type; there addition is `or` for booleans.
pub(crate) fn dot_general(
    lhs: (&Tensor, Roles<'_>),
    rhs: (&Tensor, Roles<'_>),
    accumulator: ElementType,
    element: ElementType,
    shape: &[usize],
) -> Result<Tensor, OpFailure> {
    if accumulator.is_float() {
        let as_f64 = |wide| match wide {
            Wide::Float(value) => value,
            Wide::Integer(value) => value as f64,
        };
        let sums = products(lhs, rhs, as_f64).into_iter().map(Wide::Float);
        return with_element!(element, T => Ok(tensor(shape, sums.map(T::narrow))?));
    }
    // Modulo 2⁶⁴, which every integer type's modulus divides.
    let as_i64 = |wide| match wide {
        Wide::Float(value) => value as i64,
        Wide::Integer(value) => value as i64,
    };
    let sums = products(lhs, rhs, as_i64)
        .into_iter()
        .map(|sum| Wide::Integer(sum.into()));
    with_element!(accumulator, A => {
        let sums = sums.map(|sum| A::narrow(sum).widen());
        with_element!(element, T => Ok(tensor(shape, sums.map(T::narrow))?))
    })
}

/// A number that products are summed in.
trait Accumulator: Copy + Default + Send + Sync {
    fn plus_product(self, x: Self, y: Self) -> Self;
}

impl Accumulator for f64 {
    fn plus_product(self, x: f64, y: f64) -> f64 {
        self + x * y
    }
}

impl Accumulator for i64 {
    fn plus_product(self, x: i64, y: i64) -> i64 {
        self.wrapping_add(x.wrapping_mul(y))
    }
}

/// The sums of products over all batches: [batch, lhs free, rhs free], row-major.
fn products<A: Accumulator>(
    lhs: (&Tensor, Roles<'_>),
    rhs: (&Tensor, Roles<'_>),
    widen: impl Fn(Wide) -> A,
) -> Vec<A> {
    let (lhs, lhs_roles) = lhs;
    let (rhs, rhs_roles) = rhs;
    let lhs_free = lhs_roles.free(lhs.shape().len());
    let rhs_free = rhs_roles.free(rhs.shape().len());
    let size = |tensor: &Tensor, dimensions: &[usize]| -> usize {
        count(&pick(tensor.shape(), dimensions))
    };
    let rows = size(lhs, &lhs_free);
    let depth = size(lhs, lhs_roles.contracting);
    let columns = size(rhs, &rhs_free);
    let batches = size(lhs, lhs_roles.batching);

    let lhs = permuted(
        lhs,
        &[lhs_roles.batching, &lhs_free, lhs_roles.contracting].concat(),
        &widen,
    );
    let rhs = permuted(
        rhs,
        &[rhs_roles.batching, rhs_roles.contracting, &rhs_free].concat(),
        &widen,
    );
    let mut sums = vec![A::default(); batches * rows * columns];
    if sums.is_empty() || depth == 0 {
        return sums;
    }
    /// Rows that share one pass over the right-hand side.
    const BLOCK: usize = 8;
    sums.par_chunks_mut(rows * columns)
        .zip(
            lhs.par_chunks(rows * depth)
                .zip(rhs.par_chunks(depth * columns)),
        )
        .for_each(|(sums, (lhs, rhs))| {
            sums.par_chunks_mut(BLOCK * columns)
                .zip(lhs.par_chunks(BLOCK * depth))
                .for_each(|(sums, lhs)| multiply(sums, lhs, rhs, depth, columns));
        });
    sums
}

/// The elements of a tensor with its dimensions in another order.
fn permuted<A>(tensor: &Tensor, permutation: &[usize], widen: impl Fn(Wide) -> A) -> Vec<A> {
    let shape = pick(tensor.shape(), permutation);
    let strides = pick(&strides(tensor.shape()), permutation);
    with_element!(tensor.element(), T => {
        let values: Vec<T> = elements(tensor).collect();
        Positions::new(&shape, &strides, 0)
            .map(|position| widen(values[position].widen()))
            .collect()
    })
}

/// `sums[i, j] += Σₖ lhs[i, k] · rhs[k, j]` with k ascending for every sum, all matrices row-major.
fn multiply<A: Accumulator>(sums: &mut [A], lhs: &[A], rhs: &[A], depth: usize, columns: usize) {
    for k in 0..depth {
        let rhs_row = &rhs[row(k, columns)];
        for (sums, lhs_row) in sums.chunks_exact_mut(columns).zip(lhs.chunks_exact(depth)) {
            let x = lhs_row[k];
            for (sum, &y) in sums.iter_mut().zip(rhs_row) {
                *sum = sum.plus_product(x, y);
            }
        }
    }
}

fn row(number: usize, columns: usize) -> Range<usize> {
    number * columns..(number + 1) * columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::Element;

    const NONE: Roles<'static> = Roles {
        batching: &[],
        contracting: &[],
    };

    fn contracting(contracting: &[usize]) -> Roles<'_> {
        Roles {
            batching: &[],
            contracting,
        }
    }

    fn tensor<T: Element>(shape: &[usize], values: &[T]) -> Tensor {
        Tensor::from_values(shape, values).unwrap()
    }

    fn dot<T: Element>(
        lhs: (&Tensor, Roles<'_>),
        rhs: (&Tensor, Roles<'_>),
        shape: &[usize],
    ) -> Vec<T> {
        let result = dot_general(lhs, rhs, T::ELEMENT, T::ELEMENT, shape).unwrap();
        assert_eq!(result.shape(), shape);
        result.values().unwrap()
    }

    #[test]
    fn a_matrix_product() {
        let x = tensor(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let y = tensor(&[3, 2], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let product: Vec<f32> = dot((&x, contracting(&[1])), (&y, contracting(&[0])), &[2, 2]);
        assert_eq!(product, [22.0, 28.0, 49.0, 64.0]);
        // xᵀ x
        let gram: Vec<f32> = dot((&x, contracting(&[0])), (&x, contracting(&[0])), &[3, 3]);
        assert_eq!(gram, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }

    #[test]
    fn more_rows_than_a_block() {
        let rows = 19;
        let x: Vec<i32> = (0..rows * 2).collect();
        let x = tensor(&[rows as usize, 2], &x);
        let sums: Vec<i32> = dot(
            (&x, contracting(&[1])),
            (&tensor(&[2], &[1i32, 10]), contracting(&[0])),
            &[19],
        );
        let expected: Vec<i32> = (0..rows).map(|row| 2 * row + 10 * (2 * row + 1)).collect();
        assert_eq!(sums, expected);
    }

    #[test]
    fn batching_dimensions_go_together_and_come_first() {
        // lhs[i, b], rhs[b, j]: an outer product for each b.
        let lhs = tensor(&[2, 2], &[1f64, 2.0, 3.0, 4.0]);
        let rhs = tensor(&[2, 1], &[10f64, 100.0]);
        let [lhs_roles, rhs_roles] = [[1], [0]].map(|batching| batching.to_vec());
        let product: Vec<f64> = dot(
            (
                &lhs,
                Roles {
                    batching: &lhs_roles,
                    contracting: &[],
                },
            ),
            (
                &rhs,
                Roles {
                    batching: &rhs_roles,
                    contracting: &[],
                },
            ),
            &[2, 2, 1],
        );
        assert_eq!(product, [10.0, 30.0, 200.0, 400.0]);
    }

    #[test]
    fn several_contracting_dimensions_pair_as_listed() {
        let lhs = tensor(&[2, 2], &[1i32, 2, 3, 4]);
        let rhs = tensor(&[2, 2], &[10i32, 20, 30, 40]);
        let straight: Vec<i32> = dot(
            (&lhs, contracting(&[0, 1])),
            (&rhs, contracting(&[0, 1])),
            &[],
        );
        assert_eq!(straight, [10 + 40 + 90 + 160]);
        let crossed: Vec<i32> = dot(
            (&lhs, contracting(&[0, 1])),
            (&rhs, contracting(&[1, 0])),
            &[],
        );
        assert_eq!(crossed, [10 + 60 + 60 + 160]);
    }

    #[test]
    fn scalars_multiply() {
        let product: Vec<f32> = dot(
            (&Tensor::scalar(3f32), NONE),
            (&Tensor::scalar(4f32), NONE),
            &[],
        );
        assert_eq!(product, [12.0]);
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        let empty = Tensor::zeros(ElementType::F32, [2, 0]).unwrap();
        let sums: Vec<f32> = dot(
            (&empty, contracting(&[1])),
            (&empty, contracting(&[1])),
            &[2, 2],
        );
        assert_eq!(sums, [0.0; 4]);
    }

    #[test]
    fn floats_are_rounded_once() {
        // In f32, 2²⁴ + 1 + 1 would stay 2²⁴.
        let x = tensor(&[3], &[16_777_216f32, 1.0, 1.0]);
        let ones = tensor(&[3], &[1f32; 3]);
        let sum: Vec<f32> = dot((&x, contracting(&[0])), (&ones, contracting(&[0])), &[]);
        assert_eq!(sum, [16_777_218.0]);
    }

    #[test]
    fn narrow_operands_have_a_wide_result() {
        let x = tensor(&[2], &[half::bf16::from_f32(255.0); 2]);
        let product = dot_general(
            (&x, contracting(&[0])),
            (&x, contracting(&[0])),
            ElementType::F32,
            ElementType::F32,
            &[],
        );
        assert_eq!(product, Ok(Tensor::scalar(130_050f32)));
    }

    #[test]
    fn integers_wrap_around_in_the_accumulator() {
        let x = tensor(&[2], &[100i8, 100]);
        let wide = |accumulator| {
            let (lhs, rhs) = ((&x, contracting(&[0])), (&x, contracting(&[0])));
            dot_general(lhs, rhs, accumulator, ElementType::I32, &[])
        };
        assert_eq!(wide(ElementType::I32), Ok(Tensor::scalar(20_000i32)));
        // 20 000 = 78 · 256 + 32
        assert_eq!(wide(ElementType::I8), Ok(Tensor::scalar(32i32)));
    }

    #[test]
    fn booleans_ask_whether_some_pair_is_true() {
        let x = tensor(&[2, 2], &[true, true, true, false]);
        let y = tensor(&[2], &[true, true]);
        let z = tensor(&[2], &[false, true]);
        let some = |rhs| dot::<bool>((&x, contracting(&[1])), (rhs, contracting(&[0])), &[2]);
        assert_eq!(some(&y), [true, true]);
        assert_eq!(some(&z), [true, false]);
    }
}
