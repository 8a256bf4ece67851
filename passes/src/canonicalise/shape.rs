//! Which dimensions of a shape become which of another by a reshape.

use std::ops::Range;

/// Neighbouring dimensions that hold the same elements in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupPair {
    /// Dimensions before.
    pub(crate) from: Range<usize>,
    /// Dimensions after.
    pub(crate) to: Range<usize>,
}

/// Splits a reshape into the smallest groups of neighbouring dimensions with equal products, dimensions of 1 left out
/// of both sides: each dimension that is not 1 is in exactly one group. `None` where a dimension is 0.
pub(crate) fn reshape_groups(from: &[usize], to: &[usize]) -> Option<Vec<GroupPair>> {
    if from.contains(&0) || to.contains(&0) {
        return None;
    }
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    loop {
        while from.get(i) == Some(&1) {
            i += 1;
        }
        while to.get(j) == Some(&1) {
            j += 1;
        }
        let (Some(&first_from), Some(&first_to)) = (from.get(i), to.get(j)) else {
            return Some(groups);
        };
        let (start_from, start_to) = (i, j);
        let (mut product_from, mut product_to) = (first_from, first_to);
        (i, j) = (i + 1, j + 1);
        while product_from != product_to {
            if product_from < product_to {
                product_from *= from.get(i)?;
                i += 1;
            } else {
                product_to *= to.get(j)?;
                j += 1;
            }
        }
        groups.push(GroupPair {
            from: start_from..i,
            to: start_to..j,
        });
    }
}

/// The dimensions that are not 1.
pub(crate) fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&d| d != 1).collect()
}

/// Row-major positions of the dimensions that are not 1.
pub(crate) fn squeezed_positions(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).filter(|&d| shape[d] != 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: Range<usize>, to: Range<usize>) -> GroupPair {
        GroupPair { from, to }
    }

    #[test]
    fn a_split_dimension_is_a_group_of_its_own() {
        assert_eq!(
            reshape_groups(&[2, 16, 32], &[2, 16, 2, 16]),
            Some(vec![pair(0..1, 0..1), pair(1..2, 1..2), pair(2..3, 2..4)])
        );
    }

    #[test]
    fn dimensions_of_one_belong_to_no_group() {
        assert_eq!(
            reshape_groups(&[1, 4, 1, 6], &[24, 1]),
            Some(vec![pair(1..4, 0..1)])
        );
        assert_eq!(reshape_groups(&[1, 1], &[]), Some(vec![]));
    }

    #[test]
    fn groups_that_overlap_are_merged() {
        assert_eq!(
            reshape_groups(&[4, 6, 5], &[6, 4, 5]),
            Some(vec![pair(0..2, 0..2), pair(2..3, 2..3)])
        );
    }
}
