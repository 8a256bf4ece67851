//! Names of parts that a step multiplies as one: a layer of those that run in a loop, an expert of a stacked parameter.
//!
//! `NAME[2]` is layer 2 or expert 2 of the linear NAME, `NAME[2][5]` expert 5 of layer 2. Such a linear is one op for all
//! of its parts, with one treatment: a recipe that names a part asks for what the step cannot be given, and is refused.

use super::loops::Surroundings;
use crate::linears::{LinearId, Linears, Product, Role, Side};
use crate::recipes::{Pattern, Recipe};
use std::fmt;
use tessera_ir::Module;

/// A part of a linear that a recipe's pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedPart {
    /// Where the pattern stands in the recipe.
    key: &'static str,
    pattern: Pattern,
    linear: String,
    /// The number of the layer, and of how many.
    layer: Option<(usize, usize)>,
    /// The number of the expert, and of how many.
    expert: Option<(usize, usize)>,
}

impl fmt::Display for NamedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            pattern,
            linear,
            layer,
            expert,
        } = self;
        write!(f, "{key}: '{pattern}' names ")?;
        if let Some((number, count)) = expert {
            write!(f, "expert {number} of {count}")?;
        }
        if expert.is_some() && layer.is_some() {
            f.write_str(" in ")?;
        }
        if let Some((number, count)) = layer {
            write!(f, "layer {number} of {count}")?;
        }
        write!(
            f,
            " of {linear}, which the step multiplies as one: all of it is treated alike; layers and experts that are \
             written out, each with a product of its own, can be named one by one"
        )
    }
}

/// The first part that a pattern of the recipe names which fits no linear as a whole.
pub(super) fn named(module: &Module, linears: &Linears, recipe: &Recipe) -> Option<NamedPart> {
    let kept = recipe.keep().names.iter();
    let kept = kept.map(|pattern| ("[keep] names", pattern));
    let overrides = recipe.overrides().iter().flat_map(|own| &own.names);
    let overrides = overrides.map(|pattern| ("[[override]] names", pattern));
    let fits_whole = |pattern: &Pattern| {
        let mut linears = linears.linears.iter();
        linears.any(|linear| pattern.matches(&linear.name))
    };
    let mut patterns = kept.chain(overrides).filter(|(_, own)| !fits_whole(own));
    patterns.find_map(|(key, pattern)| {
        let mut ids = (0..linears.linears.len()).map(LinearId);
        let part = ids.find_map(|id| part_of(module, linears, id, pattern))?;
        Some(NamedPart { key, ..part })
    })
}

fn part_of(
    module: &Module,
    linears: &Linears,
    id: LinearId,
    pattern: &Pattern,
) -> Option<NamedPart> {
    let mut products = linears.products_of(id);
    let forward = products.find(|product| product.role == Role::Forward)?;
    let name = &linears.linear(id).name;
    let layers = layers(module, forward).filter(|&count| count > 1);
    let experts = Some(forward.dimensions.batch).filter(|&count| count > 1);
    let numbered = |count: Option<usize>| {
        let numbers = (0..count.unwrap_or(0)).map(move |number| count.map(|count| (number, count)));
        numbers.collect::<Vec<Option<(usize, usize)>>>()
    };
    // Of what runs in a loop the first number is the layer's.
    let layers = match layers {
        Some(_) => numbered(layers),
        None => vec![None],
    };
    let experts = [vec![None], numbered(experts)].concat();
    for layer in layers {
        for &expert in &experts {
            let numbers: Vec<(usize, usize)> = [layer, expert].into_iter().flatten().collect();
            let mut part = name.clone();
            for (number, _) in &numbers {
                part.push_str(&format!("[{number}]"));
            }
            if !numbers.is_empty() && pattern.matches(&part) {
                return Some(NamedPart {
                    key: "",
                    pattern: pattern.clone(),
                    linear: name.clone(),
                    layer,
                    expert,
                });
            }
        }
    }
    None
}

/// How many rounds the longest loop has in each of whose rounds a forward product has another weight.
pub(super) fn layers(module: &Module, forward: &Product) -> Option<usize> {
    let number = usize::from(forward.rhs == Side::Weight);
    let weight = forward.place.find(module)?.op.operands[number];
    let around = Surroundings::of(module, &forward.place)?;
    let loops = around.loops.iter().enumerate();
    let varying = loops.filter(|&(number, _)| around.varies(weight, number));
    varying.map(|(_, own)| own.rounds).max()
}
