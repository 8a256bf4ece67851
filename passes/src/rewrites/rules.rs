//! The rules, by what they speak of.

mod contraction;
mod layout;
mod quantisation;
mod rank_one;
mod repetition;
mod sums;

use super::rule::Rule;

/// Every rule there is, in the order in which they are applied.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let lists = [
        layout::RULES,
        contraction::RULES,
        sums::RULES,
        rank_one::RULES,
        quantisation::RULES,
    ];
    lists.into_iter().flatten()
}
