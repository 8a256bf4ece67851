//! Which elements, or rows of scaled operands, a matrix product touches, from its extents and strides.

use super::ScaledDot;
use super::manifest::{BatchDimension, Gemm, MatrixLayout};

/// An axis of a strided walk: how many places along it, how many elements apart.
pub(crate) type Axis = (usize, usize);

impl Gemm {
    fn axes(
        &self,
        rows: usize,
        columns: usize,
        layout: MatrixLayout,
        stride: impl Fn(&BatchDimension) -> usize,
    ) -> Vec<Axis> {
        let batch = self.batch.iter();
        batch
            .map(|dimension| (dimension.extent, stride(dimension)))
            .chain([(rows, layout.row_stride), (columns, layout.column_stride)])
            .collect()
    }

    pub(super) fn lhs_axes(&self) -> Vec<Axis> {
        self.axes(self.m, self.k, self.lhs, |d| d.lhs_stride)
    }

    pub(super) fn rhs_axes(&self) -> Vec<Axis> {
        self.axes(self.k, self.n, self.rhs, |d| d.rhs_stride)
    }

    pub(super) fn result_axes(&self) -> Vec<Axis> {
        self.axes(self.m, self.n, self.result, |d| d.result_stride)
    }
}

impl ScaledDot {
    fn axes(&self, inner: &[Axis], stride: impl Fn(&BatchDimension) -> usize) -> Vec<Axis> {
        let batch = self.batch.iter();
        batch
            .map(|dimension| (dimension.extent, stride(dimension)))
            .chain(inner.iter().copied())
            .collect()
    }

    pub(super) fn lhs_axes(&self) -> Vec<Axis> {
        self.axes(&[(self.m, self.lhs_stride)], |d| d.lhs_stride)
    }

    pub(super) fn rhs_axes(&self) -> Vec<Axis> {
        self.axes(&[(self.n, self.rhs_stride)], |d| d.rhs_stride)
    }

    pub(super) fn result_axes(&self) -> Vec<Axis> {
        let inner = [
            (self.m, self.result.row_stride),
            (self.n, self.result.column_stride),
        ];
        self.axes(&inner, |d| d.result_stride)
    }
}

/// One more than the farthest element a walk along `axes` touches; `None` where that, or a stride alone, is more than
/// memory can hold.
pub(crate) fn span(axes: &[Axis]) -> Option<usize> {
    if axes
        .iter()
        .any(|&(_, stride)| isize::try_from(stride).is_err())
    {
        return None;
    }
    if axes.iter().any(|&(extent, _)| extent == 0) {
        return Some(0);
    }
    axes.iter().try_fold(1usize, |span, &(extent, stride)| {
        span.checked_add((extent - 1).checked_mul(stride)?)
    })
}

/// Whether a walk along `axes` meets each element at most once: each stride steps over all that smaller strides reach.
/// Walks that interleave in more intricate ways are refused though they might not collide.
pub(crate) fn is_injective(axes: &[Axis]) -> bool {
    if axes.iter().any(|&(extent, _)| extent == 0) {
        return true;
    }
    let mut axes: Vec<Axis> = axes.iter().copied().filter(|axis| axis.0 > 1).collect();
    axes.sort_unstable_by_key(|axis| axis.1);
    (0..axes.len()).all(|index| span(&axes[..index]).is_some_and(|reach| axes[index].1 >= reach))
}

pub(crate) fn describe(axes: &[Axis]) -> String {
    let axes: Vec<String> = axes
        .iter()
        .map(|(extent, stride)| format!("{extent} at stride {stride}"))
        .collect();
    axes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_spans_up_to_its_last_element() {
        assert_eq!(span(&[]), Some(1));
        assert_eq!(span(&[(3, 10), (5, 2)]), Some(2 * 10 + 4 * 2 + 1));
        assert_eq!(span(&[(3, 0)]), Some(1));
    }

    #[test]
    fn a_walk_along_nothing_spans_nothing() {
        assert_eq!(span(&[(3, 10), (0, 2)]), Some(0));
    }

    #[test]
    fn a_walk_beyond_memory_has_no_span() {
        let most = isize::MAX as usize;
        assert_eq!(span(&[(usize::MAX, 2)]), None);
        assert_eq!(span(&[(3, most), (3, most)]), None);
        assert_eq!(span(&[(0, most + 1)]), None);
    }

    #[test]
    fn dense_and_padded_walks_are_injective_in_any_order() {
        assert!(is_injective(&[(4, 5), (5, 1)]));
        assert!(is_injective(&[(5, 1), (4, 5)]));
        assert!(is_injective(&[(4, 8), (5, 1), (2, 100)]));
    }

    #[test]
    fn axes_of_one_place_or_none_do_not_matter() {
        assert!(is_injective(&[(1, 0), (5, 1)]));
        assert!(is_injective(&[(0, 0), (5, 0)]));
    }

    #[test]
    fn walks_that_meet_an_element_twice_are_not_injective() {
        assert!(!is_injective(&[(2, 0)]));
        assert!(!is_injective(&[(4, 4), (5, 1)]));
        assert!(!is_injective(&[(4, 1), (5, 1)]));
    }
}
