//! Where in the order of the forward pass a linear stands, each parameter counted once: a step that runs several
//! microbatches, one after another, has several linears of one parameter, and they stand at one position. Each layer of a
//! linear in a loop has its own.

use super::parts::Unit;
use crate::linears::{Linears, Parameter};
use std::collections::{BTreeSet, HashMap};

/// Which linear of a model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From 0, in the order of the forward pass.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// The number of the weight: equal in all microbatches, and an adapter's own.
    pub weight: usize,
}

/// The position of each unit; they come in the order of the forward pass.
///
/// A step of k microbatches uses every parameter k times as often as one microbatch does: k is the greatest number that
/// divides how often each is used. Within a microbatch each use of a tied parameter has its own position, in the order of
/// the uses: an autoencoder's matrix is its first linear as encoder and its last as decoder. An adapter stands where the
/// frozen linear stands that it is added to, so that the head is the last also where adapters come after it.
pub(super) fn positions(linears: &Linears, units: &[Unit]) -> Vec<Position> {
    let mut uses: HashMap<_, usize> = HashMap::new();
    for unit in units {
        *uses.entry(part(linears, unit)).or_default() += 1;
    }
    let microbatches = uses.values().copied().fold(0, greatest_common_divisor);
    let mut seen: HashMap<_, usize> = HashMap::new();
    let mut known: HashMap<_, usize> = HashMap::new();
    let indices = units.iter().map(|unit| {
        let part = part(linears, unit);
        let number = seen.entry(part).or_default();
        let within = *number % (uses[&part] / microbatches);
        *number += 1;
        let next = known.len();
        *known.entry((part, within)).or_insert(next)
    });
    let weights: Vec<usize> = indices.collect();
    let adapts = |unit: &Unit| linears.linear(unit.linear).adapts;
    let is_adapter: BTreeSet<usize> = (units.iter().zip(&weights))
        .filter(|(unit, _)| adapts(unit).is_some())
        .map(|(_, &weight)| weight)
        .collect();
    let count = known.len() - is_adapter.len();
    // What is adapted in the same layer, or in all.
    let base = |unit: &Unit| {
        let base = adapts(unit)?;
        let mut all = units.iter();
        let same = |own: &Unit| own.linear == base && own.layer == unit.layer;
        (all.clone().position(same)).or_else(|| all.position(|own| own.linear == base))
    };
    let position = |(number, unit): (usize, &Unit)| {
        let weight = weights[base(unit).unwrap_or(number)];
        Position {
            index: weight - is_adapter.range(..weight).count(),
            count,
            weight: weights[number],
        }
    };
    units.iter().enumerate().map(position).collect()
}

/// What W is made of: the parameters, and the part of a stacked one.
fn part<'a>(linears: &'a Linears, unit: &'a Unit) -> (&'a [Parameter], Option<usize>, &'a [usize]) {
    let linear = linears.linear(unit.linear);
    (&linear.parameters, linear.index, &unit.layer)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linears::{Linear, LinearId};
    use tessera_ir::Location;

    /// The positions of linears of these parameters, and how many there are.
    fn of(inputs: &[usize]) -> (Vec<usize>, usize) {
        let linears = inputs.iter().map(|&input| Linear {
            name: String::new(),
            parameters: vec![Parameter {
                input,
                name: format!("arg{input}"),
            }],
            index: None,
            is_frozen: false,
            adapts: None,
            routing: None,
            location: Location::Unknown,
            products: Vec::new(),
        });
        let linears = Linears {
            linears: linears.collect(),
            ..Linears::default()
        };
        let units = (0..inputs.len()).map(|number| Unit {
            linear: LinearId(number),
            layer: Vec::new(),
        });
        let positions = positions(&linears, &units.collect::<Vec<_>>());
        let count = positions[0].count;
        (positions.iter().map(|own| own.index).collect(), count)
    }

    #[test]
    fn microbatches_share_their_positions() {
        assert_eq!(of(&[5, 3, 5, 3, 5, 3]), (vec![0, 1, 0, 1, 0, 1], 2));
    }

    #[test]
    fn the_uses_of_a_tied_parameter_stand_each_at_its_own() {
        assert_eq!(of(&[5, 3, 5]), (vec![0, 1, 2], 3));
        assert_eq!(of(&[5, 3, 5, 5, 3, 5]), (vec![0, 1, 2, 0, 1, 2], 3));
    }
}
