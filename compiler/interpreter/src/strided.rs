//! Ways through an array: positions that are affine in an index, and the indices themselves.

/// The distance in elements between neighbours along each dimension of a dense row-major array.
pub(crate) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Overflows only beside a dimension of 0, where no stride is used.
        strides[axis - 1] = strides[axis].wrapping_mul(shape[axis] as isize);
    }
    strides
}

/// The number of elements of a shape.
pub(crate) fn count(shape: &[usize]) -> usize {
    let product = |count: usize, &size: &usize| count.saturating_mul(size);
    if shape.contains(&0) {
        0
    } else {
        shape.iter().fold(1, product)
    }
}

/// The positions base + Σ index[d] · strides[d] of every index of a shape, in row-major order of the indices.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    shape: Vec<usize>,
    strides: Vec<isize>,
    index: Vec<usize>,
    position: isize,
    remaining: usize,
}

impl Positions {
    pub(crate) fn new(shape: &[usize], strides: &[isize], base: isize) -> Self {
        debug_assert_eq!(shape.len(), strides.len());
        Self {
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            index: vec![0; shape.len()],
            position: base,
            remaining: count(shape),
        }
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.remaining = self.remaining.checked_sub(1)?;
        let here = self.position;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.position += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.index[axis] = 0;
            self.position -= self.strides[axis] * self.shape[axis] as isize;
        }
        Some(here as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Positions {}

/// Calls `visit` with every index of a shape, in row-major order.
pub(crate) fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut index = vec![0; shape.len()];
    for _ in 0..count(shape) {
        visit(&index);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// The position of an index, or `None` where it lies outside the shape.
pub(crate) fn position(shape: &[usize], index: &[i64]) -> Option<usize> {
    shape
        .iter()
        .zip(index)
        .try_fold(0, |position, (&size, &at)| {
            let at = usize::try_from(at).ok().filter(|&at| at < size)?;
            Some(position * size + at)
        })
}

/// The entries of `values` at the given places.
pub(crate) fn pick<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&place| values[place]).collect()
}

/// The dimensions of a rank that are not among the given ones, in ascending order.
pub(crate) fn others(rank: usize, dimensions: &[usize]) -> Vec<usize> {
    (0..rank).filter(|d| !dimensions.contains(d)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_strides_are_products_of_the_dimensions_after() {
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(strides(&[]), [0; 0]);
    }

    #[test]
    fn positions_follow_the_strides() {
        let dense = Positions::new(&[2, 3], &[3, 1], 0);
        assert_eq!(dense.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let transposed = Positions::new(&[3, 2], &[1, 3], 0);
        assert_eq!(transposed.collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        let reversed = Positions::new(&[3], &[-1], 2);
        assert_eq!(reversed.collect::<Vec<_>>(), [2, 1, 0]);
        let repeated = Positions::new(&[2, 2], &[0, 1], 5);
        assert_eq!(repeated.collect::<Vec<_>>(), [5, 6, 5, 6]);
    }

    #[test]
    fn a_scalar_has_one_position_and_an_empty_shape_none() {
        assert_eq!(Positions::new(&[], &[], 7).collect::<Vec<_>>(), [7]);
        assert_eq!(Positions::new(&[2, 0], &[0, 1], 0).count(), 0);
    }

    #[test]
    fn indices_count_in_row_major_order() {
        let mut seen = Vec::new();
        for_each_index(&[2, 2], |index| seen.push(index.to_vec()));
        assert_eq!(seen, [[0, 0], [0, 1], [1, 0], [1, 1]]);
    }

    #[test]
    fn a_position_lies_inside_the_shape() {
        assert_eq!(position(&[2, 3], &[1, 2]), Some(5));
        assert_eq!(position(&[2, 3], &[1, 3]), None);
        assert_eq!(position(&[2, 3], &[-1, 0]), None);
        assert_eq!(position(&[], &[]), Some(0));
    }
}
