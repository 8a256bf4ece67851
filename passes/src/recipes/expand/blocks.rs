//! Which of a model's blocks of layers a linear lies in, as far as its name says so: `params.layers.3.wq`,
//! `state['params']['layers'][3]['wq']`.

use crate::linears::Linears;
use crate::recipes::Block;
use std::collections::BTreeMap;

/// The block of each linear. The first number in a name counts; the names that are equal before it form a family, and the
/// blocks are the numbers of the largest family. A linear of a family with other numbers has none.
pub(super) fn blocks(linears: &Linears) -> Vec<Option<Block>> {
    let names = linears.linears.iter().map(|linear| linear.name.as_str());
    let numbered: Vec<Option<(String, usize)>> = names.map(first_number).collect();
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (prefix, number) in numbered.iter().flatten() {
        families.entry(prefix).or_default().push(*number);
    }
    for numbers in families.values_mut() {
        numbers.sort_unstable();
    }
    let Some(longest) = families.values().max_by_key(|numbers| numbers.len()) else {
        return vec![None; linears.linears.len()];
    };
    let mut distinct = longest.clone();
    distinct.dedup();
    let count = distinct.len();
    let block = |name: &Option<(String, usize)>| {
        let (prefix, number) = name.as_ref()?;
        let mut own = families.get(prefix.as_str())?.clone();
        own.dedup();
        let index = distinct.binary_search(number).ok()?;
        (own == distinct).then_some(Block { index, count })
    };
    numbered.iter().map(block).collect()
}

/// The first part of a name that is a number, and what stands before it. Parts stand between `.`, `[`, `]`, `/`; a lone
/// `argN` has none.
fn first_number(name: &str) -> Option<(String, usize)> {
    let mut start = 0;
    for (at, character) in name.char_indices().chain([(name.len(), '.')]) {
        if matches!(character, '.' | '[' | ']' | '/') {
            if let Ok(number) = name[start..at].parse() {
                return Some((name[..start].to_owned(), number));
            }
            start = at + character.len_utf8();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::first_number;

    #[test]
    fn numbers_stand_between_points_and_brackets() {
        let number = |name| first_number(name).map(|(_, number)| number);
        assert_eq!(number("params.layers.3.wq"), Some(3));
        assert_eq!(number("state['params']['layers'][12]['wq']"), Some(12));
        assert_eq!(number("blocks/7/attention"), Some(7));
        assert_eq!(number("arg34"), None);
        assert_eq!(number("state['layer2']"), None);
    }
}
