//! Where linears are cut, so that each piece has one treatment: loops over layers between layers that a recipe treats
//! differently, batches of experts between experts that it does.

use super::parts::{Experts, LayerLoop, Parts, Stack, Unit, part_name};
use crate::linears::{LinearId, Linears, Product};
use crate::recipes::{HighPrecision, LinearProduct, ProductRecipe, Recipe, Treatment};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// What a recipe is told about the linears of a step.
pub(super) struct Described<'a> {
    pub linears: &'a Linears,
    pub parts: &'a Parts,
    /// Of each linear, whether it looks up rows of its weight.
    pub lookups: Vec<bool>,
}

impl Described<'_> {
    /// The names of a part: its layer, then its expert.
    pub fn names(&self, unit: &Unit, expert: Option<usize>) -> Vec<String> {
        let name = &self.linears.linear(unit.linear).name;
        let layer = (!unit.layer.is_empty()).then(|| part_name(name, &unit.layer));
        let expert = expert.map(|number| part_name(name, &[&unit.layer[..], &[number]].concat()));
        layer.into_iter().chain(expert).collect()
    }

    /// What is asked about a product of a linear in one layer.
    pub fn asked<'s>(
        &'s self,
        product: &Product,
        unit: &Unit,
        names: &'s [String],
    ) -> LinearProduct<'s> {
        let linear = self.linears.linear(unit.linear);
        let number = self.parts.number(unit);
        let position = self.parts.position(number);
        LinearProduct {
            name: &linear.name,
            parts: names,
            index: position.index,
            count: position.count,
            block: self.parts.block(number),
            block_count: self.parts.block_count,
            is_lookup: self.lookups[unit.linear.0],
            is_frozen: linear.is_frozen,
            routing: linear.routing,
            role: product.role,
            sizes: product.dimensions,
        }
    }
}

/// What a recipe does, whatever its reason.
#[derive(PartialEq)]
enum Effect<'r> {
    Kept(HighPrecision),
    Quantised(&'r ProductRecipe),
}

/// Where linears are cut.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Of each family of loops the layers at which a piece begins, but for the first.
    layers: BTreeMap<usize, BTreeSet<usize>>,
    /// Of a linear in a layer the experts likewise.
    experts: HashMap<(LinearId, Vec<usize>), BTreeSet<usize>>,
}

impl Cuts {
    /// Those that a recipe asks for.
    pub fn of(described: &Described<'_>, recipe: &Recipe) -> Self {
        let mut cuts = Self::default();
        let Described { linears, parts, .. } = described;
        for (number, linear) in linears.linears.iter().enumerate() {
            let id = LinearId(number);
            let units: Vec<&Unit> = parts.units_of(id).collect();
            for &product in &linear.products {
                let product = &linears.products[product];
                let effects: Vec<Vec<Effect<'_>>> = (units.iter())
                    .map(|unit| effects(described, recipe, product, unit))
                    .collect();
                for (unit, own) in units.iter().zip(&effects) {
                    let starts = (1..own.len()).filter(|&expert| own[expert] != own[expert - 1]);
                    let key = (id, unit.layer.clone());
                    cuts.experts.entry(key).or_default().extend(starts);
                }
                let Stack::Divisible(sizes) = parts.layers.stack(id) else {
                    continue;
                };
                for (depth, family) in parts.layers.families(linears, id).into_iter().enumerate() {
                    // Units lie row by row.
                    let apart: usize = sizes[depth + 1..].iter().product();
                    let starts = (apart..units.len()).filter(|&unit| {
                        units[unit].layer[depth] > 0 && effects[unit] != effects[unit - apart]
                    });
                    let starts = starts.map(|unit| units[unit].layer[depth]);
                    cuts.layers.entry(family).or_default().extend(starts);
                }
            }
        }
        cuts
    }

    /// Every loop and every batch cut before each of those numbers, as far as it is as long.
    #[cfg(test)]
    pub fn everywhere(described: &Described<'_>, starts: &[usize]) -> Self {
        let Described { linears, parts, .. } = described;
        let mut cuts = Self::default();
        let below = |count: usize| {
            let own = starts.iter().copied();
            own.filter(move |&start| start < count)
        };
        for id in (0..linears.linears.len()).map(LinearId) {
            let Stack::Divisible(sizes) = parts.layers.stack(id) else {
                continue;
            };
            for (family, &size) in parts.layers.families(linears, id).into_iter().zip(sizes) {
                let own = cuts.layers.entry(family).or_default();
                own.extend(below(size));
            }
            let experts = parts.experts[id.0].count().unwrap_or(0);
            for unit in parts.units_of(id) {
                let own = cuts.experts.entry((id, unit.layer.clone())).or_default();
                own.extend(below(experts));
            }
        }
        cuts
    }

    /// The pieces of a loop, in the order of the layers.
    pub fn layers(&self, own: &LayerLoop) -> Vec<Range<usize>> {
        pieces(self.layers.get(&own.family), own.layers)
    }

    /// The pieces of a linear's batch, in those layers; one where it has no experts.
    pub fn experts(
        &self,
        experts: Experts,
        linear: LinearId,
        layers: &[Range<usize>],
    ) -> Vec<Range<usize>> {
        let first: Vec<usize> = layers.iter().map(|range| range.start).collect();
        let count = match experts {
            Experts::Divisible(count) => count,
            Experts::None | Experts::Whole(..) => 1,
        };
        pieces(self.experts.get(&(linear, first)), count)
    }
}

/// The ranges between cuts.
fn pieces(starts: Option<&BTreeSet<usize>>, count: usize) -> Vec<Range<usize>> {
    let starts = starts.into_iter().flatten().copied();
    let ends = starts.clone().chain([count]);
    let starts = [0].into_iter().chain(starts);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// What a recipe does with a product in one layer: of each expert, or of all as one.
fn effects<'r>(
    described: &Described<'_>,
    recipe: &'r Recipe,
    product: &Product,
    unit: &Unit,
) -> Vec<Effect<'r>> {
    let experts = match described.parts.experts[unit.linear.0] {
        Experts::Divisible(count) => (0..count).map(Some).collect(),
        Experts::None | Experts::Whole(..) => vec![None],
    };
    let effect = |expert| {
        let names = described.names(unit, expert);
        match recipe.for_product(&described.asked(product, unit, &names)) {
            Treatment::Kept { precision, .. } => Effect::Kept(precision),
            Treatment::Quantised(own) => Effect::Quantised(own),
        }
    };
    experts.into_iter().map(effect).collect()
}
