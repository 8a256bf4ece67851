//! The parts of linears that a recipe can treat apart: layers of those that run in a loop, experts of batched products.
//!
//! `NAME[2]` is layer 2 of the linear NAME or, outside of loops over layers, expert 2; `NAME[2][5]` is expert 5 of layer 2.
//! In loops within loops over layers each loop has a number of its own. A linear that is used several times has the
//! number of the use at the end, `NAME[2]#2`.

mod experts;
mod layers;
mod named;

pub(super) use experts::Experts;
pub(super) use layers::{LayerLoop, Layers, Stack, holder};
pub use named::NamedPart;
pub(super) use named::named;

use super::blocks::blocks;
use super::positions::{Position, positions};
use crate::linears::{LinearId, Linears, Place, Role};
use crate::recipes::Block;
use std::collections::HashMap;
use std::ops::Range;
use tessera_ir::Module;

/// A linear or, of those in loops over layers that can be parted, its part in one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    pub linear: LinearId,
    /// The number of the layer in each loop over layers, the outermost first; none outside of these.
    pub layer: Vec<usize>,
}

/// The parts of a step's linears.
#[derive(Debug)]
pub(super) struct Parts {
    pub layers: Layers,
    /// Of each linear, by number.
    pub experts: Vec<Experts>,
    /// In the order of the forward pass.
    units: Vec<Unit>,
    positions: Vec<Position>,
    blocks: Vec<Option<Block>>,
    /// How many blocks of layers there are; 0 where neither names nor loops tell them.
    pub block_count: usize,
    numbers: HashMap<Unit, usize>,
}

impl Parts {
    /// Finds them.
    pub fn of(module: &Module, linears: &Linears) -> Self {
        let layers = Layers::of(module, linears);
        let ids = (0..linears.linears.len()).map(LinearId);
        let experts = (ids.clone()).map(|id| Experts::of(module, linears, id, layers.stack(id)));
        let units = ids.flat_map(|linear| {
            let layers = match layers.stack(linear) {
                Stack::Divisible(sizes) => indices(sizes),
                Stack::Whole(_) => vec![Vec::new()],
            };
            layers.into_iter().map(move |layer| Unit { linear, layer })
        });
        let mut units: Vec<Unit> = units.collect();
        units.sort_by_cached_key(|unit| (order(linears, &layers, unit), unit.linear));
        let blocks = blocks(linears, &layers, &units);
        let counts = blocks.iter().flatten().map(|own| own.count);
        Self {
            positions: positions(linears, &units),
            block_count: counts.max().unwrap_or(0),
            blocks,
            numbers: units.iter().cloned().zip(0..).collect(),
            experts: experts.collect(),
            layers,
            units,
        }
    }

    /// The units of a linear, in the order of the forward pass.
    pub fn units_of(&self, linear: LinearId) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(move |unit| unit.linear == linear)
    }

    /// The number of a unit in the order of the forward pass.
    pub fn number(&self, unit: &Unit) -> usize {
        self.numbers[unit]
    }

    /// Where the unit of a number stands.
    pub fn position(&self, number: usize) -> Position {
        self.positions[number]
    }

    /// The block of layers of the unit of a number.
    pub fn block(&self, number: usize) -> Option<Block> {
        self.blocks[number]
    }
}

/// All indices of stacks in stacks of these sizes, in order.
fn indices(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![Vec::new()], |outer, &size| {
        let outer = outer.into_iter();
        outer
            .flat_map(|index| (0..size).map(move |own| [&index[..], &[own]].concat()))
            .collect()
    })
}

/// When a unit's forward product is computed: its place, with the round of each loop over layers.
fn order(linears: &Linears, layers: &Layers, unit: &Unit) -> Vec<usize> {
    let products = linears.linear(unit.linear).products.iter();
    let forward = products
        .copied()
        .find(|&number| linears.products[number].role == Role::Forward);
    let Some(number) = forward else {
        return Vec::new();
    };
    let Place {
        regions, operation, ..
    } = &linears.products[number].place;
    let mut order = Vec::new();
    let mut rounds = layers.around(number).iter().zip(&unit.layer).peekable();
    for (depth, &(op, region)) in regions.iter().enumerate() {
        let own = holder(&linears.products[number].place, depth);
        let layer = rounds.next_if(|(place, _)| **place == own);
        let round = layer.map(|(place, &layer)| {
            let own = layers.at(place);
            own.map_or(layer, |own| own.rounds_of(&(layer..layer + 1)).start)
        });
        order.extend([op.index(), round.unwrap_or(region)]);
    }
    order.push(operation.index());
    order
}

/// The name of a part: numbers behind the linear's name, before the number of its use.
pub(super) fn part_name(linear: &str, numbers: &[usize]) -> String {
    let text: String = numbers.iter().map(|number| format!("[{number}]")).collect();
    with_suffix(linear, &text)
}

/// The name of several parts: a range of each kind, which has an end that is not included.
pub(super) fn range_name(linear: &str, ranges: &[Range<usize>]) -> String {
    let text = ranges.iter().map(|range| match range.len() {
        1 => format!("[{}]", range.start),
        _ => format!("[{}..{}]", range.start, range.end),
    });
    with_suffix(linear, &text.collect::<String>())
}

fn with_suffix(linear: &str, suffix: &str) -> String {
    let used = linear.rsplit_once('#').filter(|(_, number)| {
        !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
    });
    match used {
        Some((name, number)) => format!("{name}{suffix}#{number}"),
        None => format!("{linear}{suffix}"),
    }
}
