//! A recipe as text: every key with its value, nothing inherited.

use super::exceptions::{Depth, Keep, Override, OverrideEffect};
use super::{
    Fraction, MeanSplit, OperandPrecision, OperandRecipe, Pattern, ProductRecipe, Products, Recipe,
    SpectralSplit,
};
use crate::linears::{Role, Side};
use std::fmt::{self, Display, Formatter};

impl Display for Recipe {
    /// TOML, which reads back as the same recipe.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = {}", quoted(self.name()))?;
        writeln!(f, "summary = {}", quoted(self.summary()))?;
        writeln!(f, "seed = {}", self.seed())?;
        for role in Role::ALL {
            product(f, "", self.products().get(role), None)?;
        }
        keep(f, self.keep())?;
        let mut overrides = self.overrides().iter();
        overrides.try_for_each(|own| override_of(f, own, self.products()))
    }
}

/// The tables of a product; where there is another one, only those that differ from its.
fn product(
    f: &mut Formatter<'_>,
    prefix: &str,
    own: &ProductRecipe,
    other: Option<&ProductRecipe>,
) -> fmt::Result {
    let role = own.role();
    if other.is_none_or(|other| other.hadamard() != own.hadamard()) {
        write!(f, "\n[{prefix}{role}]\nhadamard = ")?;
        match own.hadamard() {
            None => writeln!(f, "false")?,
            Some(hadamard) => {
                let (size, signs) = (hadamard.size(), hadamard.signs());
                writeln!(f, "{{ size = {size}, signs = \"{signs}\" }}")?;
            }
        }
    }
    for (name, recipe) in own.operands() {
        if other.is_none_or(|other| other.operand(name) != Some(recipe)) {
            writeln!(f, "\n[{prefix}{role}.{name}]")?;
            operand(f, name, recipe)?;
        }
    }
    Ok(())
}

fn operand(f: &mut Formatter<'_>, name: Side, recipe: &OperandRecipe) -> fmt::Result {
    let scaling = match recipe.precision() {
        OperandPrecision::High(precision) => return writeln!(f, "precision = \"{precision}\""),
        OperandPrecision::Scaled(scaling) => scaling,
    };
    writeln!(f, "precision = \"{}\"", scaling.format())?;
    writeln!(f, "blocks = \"{}\"", scaling.blocks())?;
    writeln!(f, "rule = \"{}\"", scaling.rule())?;
    writeln!(f, "rounding = \"{}\"", scaling.rounding())?;
    if name.has_tokens() {
        match recipe.mean() {
            None => writeln!(f, "mean = false")?,
            Some(split) => mean(f, split)?,
        }
    }
    match recipe.spectral() {
        None => writeln!(f, "spectral = false"),
        Some(split) => spectral(f, split),
    }
}

fn mean(f: &mut Formatter<'_>, split: &MeanSplit) -> fmt::Result {
    write!(f, "mean = {{ precision = \"{}\", gate = ", split.precision)?;
    match &split.gate {
        None => writeln!(f, "false }}"),
        Some(gate) => {
            let (threshold, refresh) = (share(gate.threshold()), gate.refresh());
            writeln!(f, "{{ threshold = {threshold}, refresh = {refresh} }} }}")
        }
    }
}

fn spectral(f: &mut Formatter<'_>, split: &SpectralSplit) -> fmt::Result {
    writeln!(
        f,
        "spectral = {{ rank = {}, refresh = {}, sampling = {}, iterations = {}, factors = \"{}\" }}",
        share(split.rank()),
        split.refresh(),
        share(split.sampling()),
        split.iterations(),
        split.factors()
    )
}

fn keep(f: &mut Formatter<'_>, keep: &Keep) -> fmt::Result {
    let Keep {
        precision,
        names,
        first,
        last,
        whole_blocks,
        frozen,
        smallest_dimension,
    } = keep;
    writeln!(f, "\n[keep]\nprecision = \"{precision}\"")?;
    writeln!(f, "names = {}", patterns(names))?;
    for (end, depth) in [("first", first), ("last", last)] {
        let Depth {
            linears,
            blocks,
            fraction,
        } = depth;
        writeln!(f, "{end}_linears = {linears}")?;
        writeln!(f, "{end}_blocks = {blocks}")?;
        writeln!(f, "{end}_fraction = {}", share(*fraction))?;
    }
    writeln!(f, "whole_blocks = {whole_blocks}")?;
    writeln!(f, "frozen = {frozen}")?;
    writeln!(f, "smallest_dimension = {smallest_dimension}")
}

fn override_of(f: &mut Formatter<'_>, own: &Override, base: &Products) -> fmt::Result {
    writeln!(f, "\n[[override]]\nnames = {}", patterns(&own.names))?;
    match &own.effect {
        OverrideEffect::Keep(precision) => writeln!(f, "keep = \"{precision}\""),
        OverrideEffect::Quantise { products, always } => {
            if *always {
                writeln!(f, "keep = false")?;
            }
            let mut roles = Role::ALL.into_iter();
            roles.try_for_each(|role| {
                product(f, "override.", products.get(role), Some(base.get(role)))
            })
        }
    }
}

fn patterns(patterns: &[Pattern]) -> String {
    let texts: Vec<String> = patterns.iter().map(|own| quoted(own.as_str())).collect();
    format!("[{}]", texts.join(", "))
}

/// A text in TOML's quotes.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A number that TOML reads as a float.
fn share(fraction: Fraction) -> String {
    format!("{:?}", fraction.get())
}
