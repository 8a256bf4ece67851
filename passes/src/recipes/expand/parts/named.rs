//! Patterns that name a part of what a step can only multiply as one.

use super::experts::WholeReason;
use super::{Experts, Parts, Stack, indices, part_name};
use crate::linears::{LinearId, Linears};
use crate::recipes::{Pattern, Recipe};
use std::fmt;

/// A part of a linear that a recipe's pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    /// Where the pattern stands in the recipe.
    key: &'static str,
    pattern: Pattern,
    linear: String,
    /// The number of the layer in each loop, and of how many.
    layer: Vec<(usize, usize)>,
    /// The number of the expert, and of how many.
    expert: Option<(usize, usize)>,
    /// Why it cannot be treated apart.
    reason: WholeReason,
}

impl fmt::Display for NamedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            pattern,
            linear,
            layer,
            expert,
            reason,
        } = self;
        write!(f, "{key}: '{pattern}' names ")?;
        if let Some((number, count)) = expert {
            write!(f, "expert {number} of {count}")?;
        }
        if expert.is_some() && !layer.is_empty() {
            f.write_str(" in ")?;
        }
        for (depth, (number, count)) in layer.iter().enumerate() {
            let of = if depth > 0 { " of " } else { "" };
            write!(f, "{of}layer {number} of {count}")?;
        }
        write!(f, " of {linear}, which cannot be treated apart: {reason}")
    }
}

/// The patterns of a recipe that fit a part which cannot be treated apart, of each the first such part, and whether the
/// pattern fits something else too.
pub(in super::super) fn named(
    linears: &Linears,
    parts: &Parts,
    recipe: &Recipe,
) -> Vec<(NamedPart, bool)> {
    let kept = recipe.keep().names.iter();
    let kept = kept.map(|pattern| ("[keep] names", pattern));
    let overrides = recipe.overrides().iter().flat_map(|own| &own.names);
    let overrides = overrides.map(|pattern| ("[[override]] names", pattern));
    let named = kept.chain(overrides).filter_map(|(key, pattern)| {
        let mut ids = (0..linears.linears.len()).map(LinearId);
        let part = ids.find_map(|id| parts.whole_part(linears, id, pattern))?;
        Some((NamedPart { key, ..part }, parts.fits(linears, pattern)))
    });
    named.collect()
}

impl Parts {
    /// Whether a pattern fits a linear, or a part that can be treated apart.
    pub fn fits(&self, linears: &Linears, pattern: &Pattern) -> bool {
        let mut linears = linears.linears.iter().enumerate();
        linears.any(|(number, linear)| {
            pattern.matches(&linear.name)
                || self.units_of(LinearId(number)).any(|unit| {
                    let experts = match self.experts[number] {
                        Experts::Divisible(count) => count,
                        Experts::None | Experts::Whole(..) => 0,
                    };
                    let mut names = self.names(&linear.name, &unit.layer, 0..experts);
                    names.any(|name| pattern.matches(&name))
                })
        })
    }

    /// The names of a layer and of its experts.
    fn names(
        &self,
        linear: &str,
        layer: &[usize],
        experts: std::ops::Range<usize>,
    ) -> impl Iterator<Item = String> {
        let own = (!layer.is_empty()).then(|| part_name(linear, layer));
        let (linear, layer) = (linear.to_owned(), layer.to_vec());
        let experts =
            experts.map(move |number| part_name(&linear, &[&layer[..], &[number]].concat()));
        own.into_iter().chain(experts)
    }

    /// The first part of a linear that a pattern fits and that cannot be treated apart, where it does not fit all of the
    /// linear or of the layer.
    fn whole_part(&self, linears: &Linears, id: LinearId, pattern: &Pattern) -> Option<NamedPart> {
        let name = &linears.linear(id).name;
        if pattern.matches(name) {
            return None;
        }
        let stack = self.layers.stack(id);
        let experts = self.experts[id.0];
        let part = |layer: &[usize], expert: Option<usize>, reason| NamedPart {
            key: "",
            pattern: pattern.clone(),
            linear: name.clone(),
            layer: (layer.iter().copied().zip(stack.sizes().iter().copied())).collect(),
            expert: expert.zip(experts.count()),
            reason,
        };
        indices(stack.sizes()).into_iter().find_map(|layer| {
            if !layer.is_empty() && pattern.matches(&part_name(name, &layer)) {
                let is_whole = matches!(stack, Stack::Whole(_));
                return is_whole.then(|| part(&layer, None, WholeReason::Layers));
            }
            let Experts::Whole(count, reason) = experts else {
                return None;
            };
            let mut numbers = 0..count;
            let name_of = |expert: usize| part_name(name, &[&layer[..], &[expert]].concat());
            let expert = numbers.find(|&expert| pattern.matches(&name_of(expert)))?;
            Some(part(&layer, Some(expert), reason))
        })
    }
}
