//! Dense products of matrices in host memory, row-major.

/// A matrix by its elements and how far rows and columns lie apart, so that a transpose costs nothing.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    is_transposed: bool,
}

impl<'a, T> View<'a, T> {
    /// The matrix of these elements, row-major.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix's elements");
        Self {
            values,
            rows,
            columns,
            is_transposed: false,
        }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            is_transposed: !self.is_transposed,
            ..self
        }
    }

    /// Elements between neighbours in a row, and in a column.
    fn strides(&self) -> (isize, isize) {
        if self.is_transposed {
            (self.rows as isize, 1)
        } else {
            (1, self.columns as isize)
        }
    }
}

/// A number that the product is there for.
pub(super) trait Number: Copy + 'static {
    const ZERO: Self;
    const ONE: Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// Adds the product of two matrices to a third, on this thread.
pub(super) fn add_product<T: Number>(sum: &mut [T], lhs: View<'_, T>, rhs: View<'_, T>) {
    let (m, n, k) = (lhs.rows, rhs.columns, lhs.columns);
    assert_eq!(rhs.rows, k, "the contracted size");
    assert_eq!(sum.len(), m * n, "the result's elements");
    let ((lhs_cs, lhs_rs), (rhs_cs, rhs_rs)) = (lhs.strides(), rhs.strides());
    // SAFETY: sizes and strides are those of the slices, which has been checked above and in `View::new`; the sum is
    // borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            sum.as_mut_ptr(),
            1,
            n as isize,
            true,
            lhs.values.as_ptr(),
            lhs_cs,
            lhs_rs,
            rhs.values.as_ptr(),
            rhs_cs,
            rhs_rs,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The product of two matrices, on this thread.
pub(super) fn product<T: Number>(lhs: View<'_, T>, rhs: View<'_, T>) -> Vec<T> {
    let mut result = vec![T::ZERO; lhs.rows * rhs.columns];
    add_product(&mut result, lhs, rhs);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_transposes() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let a = View::new(&a, 2, 3);
        assert_eq!(product(a, a.transposed()), [14.0, 32.0, 32.0, 77.0]);
        let expected = [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0];
        assert_eq!(product(a.transposed(), a), expected);
    }
}
