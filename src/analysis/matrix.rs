//! A tensor as a matrix.

/// A tensor of finite numbers, not all zero, of at least one dimension.
#[derive(Clone, Debug)]
pub struct Matrix {
    shape: Vec<usize>,
    values: Vec<f32>,
    squares: f64,
}

/// Why a tensor has no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFigures {
    /// NaNs or infinities are in it.
    #[error("of its {elements} elements {nan} are NaN and {infinite} infinite")]
    NotFinite {
        /// The elements.
        elements: usize,
        /// The NaNs among them.
        nan: usize,
        /// The infinities among them.
        infinite: usize,
    },
    /// There is nothing whose shares could be told.
    #[error("all its elements are zero")]
    Zero,
}

impl Matrix {
    /// A tensor of that shape and these numbers, row-major.
    ///
    /// # Errors
    /// A number is not finite, or all are zero.
    pub fn new(shape: &[usize], values: Vec<f32>) -> Result<Self, NoFigures> {
        let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        if !squares.is_finite() {
            let count = |is: fn(f32) -> bool| values.iter().filter(|&&value| is(value)).count();
            Err(NoFigures::NotFinite {
                elements: values.len(),
                nan: count(f32::is_nan),
                infinite: count(f32::is_infinite),
            })
        } else if squares == 0.0 {
            Err(NoFigures::Zero)
        } else {
            Ok(Self {
                shape: shape.to_vec(),
                values,
                squares,
            })
        }
    }

    /// The tensor's dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns()
    }

    /// The last dimension.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// ‖M‖².
    pub fn squares(&self) -> f64 {
        self.squares
    }

    /// ‖M − M̂‖ / ‖M‖ for numbers that stand for this tensor's.
    pub fn relative_error(&self, read_back: &[f32]) -> f64 {
        let pairs = self.values.iter().zip(read_back);
        let errors = pairs.map(|(&own, &back)| (f64::from(own) - f64::from(back)).powi(2));
        (errors.sum::<f64>() / self.squares).sqrt()
    }

    /// The mean over the rows, a number a column.
    pub fn mean(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns()];
        for row in self.values.chunks_exact(self.columns()) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let rows = self.rows() as f64;
        sums.iter().map(|sum| sum / rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_dimension_is_the_columns() {
        let matrix = Matrix::new(&[2, 2, 2], vec![1., 2., 3., 4., 5., 6., 7., 8.]).unwrap();
        assert_eq!((matrix.rows(), matrix.columns()), (4, 2));
        assert_eq!(matrix.mean(), [4.0, 5.0]);
        assert_eq!(matrix.squares(), 204.0);
        // One of eight numbers is off by 2.
        let back = [1., 2., 3., 4., 5., 6., 7., 10.];
        assert_eq!(matrix.relative_error(&back), (4.0f64 / 204.0).sqrt());
    }

    #[test]
    fn figures_need_finite_numbers_that_are_not_all_zero() {
        let of = |values: [f32; 2]| Matrix::new(&[1, 2], values.to_vec()).map(|_| ());
        let not_finite = |nan, infinite| {
            Err(NoFigures::NotFinite {
                elements: 2,
                nan,
                infinite,
            })
        };
        assert_eq!(of([f32::NAN, 1.0]), not_finite(1, 0));
        assert_eq!(of([f32::INFINITY, f32::NAN]), not_finite(1, 1));
        assert_eq!(of([0.0, -0.0]), Err(NoFigures::Zero));
        // f32's largest number, squared, is far from f64's.
        assert_eq!(of([f32::MAX, 0.0]), Ok(()));
    }
}
