//! Groups of rows that lie one after another, as grouped products have them.

use std::ops::Range;

/// Why sizes are not those of groups of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupSizesError {
    /// A size below zero.
    #[error("expected group sizes of 0 or more, found {size} for group {group}")]
    Negative {
        /// The group's number.
        group: usize,
        /// Its size.
        size: i32,
    },
    /// Groups that together have more rows than there are.
    #[error("expected groups of {rows} rows or fewer together, found {found}")]
    TooMany {
        /// The rows there are.
        rows: usize,
        /// The sum of all sizes.
        found: u128,
    },
}

/// The rows of each group: groups of those sizes one after another, from row 0 on, in `rows` rows. Rows behind the last
/// group are in none.
///
/// # Errors
/// A size is negative, or all groups together have more rows than there are.
pub fn group_ranges(sizes: &[i32], rows: usize) -> Result<Vec<Range<usize>>, GroupSizesError> {
    let mut ranges = Vec::with_capacity(sizes.len());
    let mut end = 0u128;
    for (group, &size) in sizes.iter().enumerate() {
        let begin = end;
        let rows = u32::try_from(size).map_err(|_| GroupSizesError::Negative { group, size })?;
        end += u128::from(rows);
        ranges.push(begin as usize..end as usize);
    }
    if end > rows as u128 {
        return Err(GroupSizesError::TooMany { rows, found: end });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_one_after_another() {
        let ranges = group_ranges(&[2, 0, 3], 6).unwrap();
        assert_eq!(ranges, [0..2, 2..2, 2..5]);
        assert_eq!(group_ranges(&[], 0), Ok(Vec::new()));
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        let error = group_ranges(&[2, -1], 6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected group sizes of 0 or more, found -1 for group 1"
        );
        let error = group_ranges(&[i32::MAX, i32::MAX], 6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected groups of 6 rows or fewer together, found 4294967294"
        );
    }
}
