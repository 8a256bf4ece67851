//! Which of a model's blocks of layers a linear lies in: of those in a loop over layers each round is a block; of others
//! the name says it: `params.layers.3.wq`, `state['params']['layers'][3]['wq']`.

use super::parts::{Layers, Stack, Unit};
use crate::linears::{LinearId, Linears};
use crate::recipes::Block;
use std::collections::{BTreeMap, HashMap};

/// The block of each unit; they come in the order of the forward pass.
///
/// Where some layers run in loops, blocks are counted in the order of the forward pass: those that names tell, and the
/// rounds of the loops. Loops that meet a weight of the same parameter, as of several microbatches, go through the same
/// blocks.
pub(super) fn blocks(linears: &Linears, layers: &Layers, units: &[Unit]) -> Vec<Option<Block>> {
    let named = named(linears);
    if units.iter().all(|unit| unit.layer.is_empty()) {
        let own = units.iter().map(|unit| named[unit.linear.0]);
        return own.collect();
    }
    let stacks = stacks(linears, layers);
    let mut numbers: HashMap<Key, usize> = HashMap::new();
    let indices = units.iter().map(|unit| {
        let key = match unit.layer[..] {
            [] => Key::Named(named[unit.linear.0]?.index),
            _ => Key::Loop(stacks[unit.linear.0], unit.layer.clone()),
        };
        let next = numbers.len();
        Some(*numbers.entry(key).or_insert(next))
    });
    let indices: Vec<Option<usize>> = indices.collect();
    let count = numbers.len();
    let blocks = indices.into_iter();
    blocks
        .map(|index| index.map(|index| Block { index, count }))
        .collect()
}

/// What tells a block.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// The number in a name.
    Named(usize),
    /// The rounds of the loops over the layers of a stack.
    Loop(usize, Vec<usize>),
}

/// Of each linear the number of the stack of layers that it is of: linears have one where they run in the same loops or
/// are of the same parameter.
fn stacks(linears: &Linears, layers: &Layers) -> Vec<usize> {
    let families: Vec<Vec<usize>> = (0..linears.linears.len())
        .map(|number| match layers.stack(LinearId(number)) {
            Stack::Divisible(_) => layers.families(linears, LinearId(number)),
            Stack::Whole(_) => Vec::new(),
        })
        .collect();
    let mut stacks: Vec<usize> = (0..families.len()).collect();
    for (number, linear) in linears.linears.iter().enumerate() {
        for other in 0..number {
            let shares = |inputs: &crate::linears::Linear| {
                let mut own = inputs.parameters.iter();
                own.any(|parameter| linear.parameters.contains(parameter))
            };
            let is_same = !families[number].is_empty()
                && !families[other].is_empty()
                && (families[number] == families[other] || shares(&linears.linears[other]));
            let (from, to) = (stacks[number], stacks[other]);
            if is_same && from != to {
                let joined = stacks.iter_mut().filter(|stack| **stack == from);
                joined.for_each(|stack| *stack = to);
            }
        }
    }
    stacks
}

/// The block that each linear's name tells. The first number in a name counts; the names that are equal before it form a
/// family, and the blocks are the numbers of the largest family. A linear of a family with other numbers has none.
fn named(linears: &Linears) -> Vec<Option<Block>> {
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
