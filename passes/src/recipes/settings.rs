//! What the files say, before it is known whether it makes sense: each key once, with its place, later files over earlier
//! ones.

use super::{Fraction, HighPrecision, Pattern, Precision, Signs};
use crate::linears::{Role, Side};
use std::num::NonZeroU32;
use std::ops::Range;
use tessera_numerics::{BlockShape, Rounding, ScaleRule};

/// A value that a file gives.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    pub value: T,
    pub place: Place,
}

/// Where a value is given, and which of two places has precedence.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The preset, or nothing for the file that is being read.
    pub preset: Option<&'static str>,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// The key in full, as `weight.blocks`.
    pub key: String,
    /// Higher ones have precedence: later files over earlier ones; in one file `[forward.weight]` over `[weight]`.
    pub level: isize,
}

/// A switch and the parameters of what it switches on. `false` clears the parameters, a table sets some of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Switched<P> {
    pub on: Option<Setting<bool>>,
    pub parameters: P,
}

impl<P> Switched<P> {
    /// The place where it was switched on, if it is.
    pub fn place(&self) -> Option<&Place> {
        self.on.as_ref().filter(|on| on.value).map(|on| &on.place)
    }
}

/// `mean = { … }`
#[derive(Clone, Debug, Default)]
pub(super) struct MeanSettings {
    pub precision: Option<Setting<Precision>>,
    pub gate: Switched<GateSettings>,
}

/// `gate = { … }`
#[derive(Clone, Debug, Default)]
pub(super) struct GateSettings {
    pub threshold: Option<Setting<Fraction>>,
    pub refresh: Option<Setting<NonZeroU32>>,
}

/// `spectral = { … }`
#[derive(Clone, Debug, Default)]
pub(super) struct SpectralSettings {
    pub rank: Option<Setting<Fraction>>,
    pub refresh: Option<Setting<NonZeroU32>>,
    pub sampling: Option<Setting<Fraction>>,
    pub iterations: Option<Setting<NonZeroU32>>,
    pub factors: Option<Setting<Precision>>,
}

/// `hadamard = { … }`
#[derive(Clone, Debug, Default)]
pub(super) struct HadamardSettings {
    pub size: Option<Setting<usize>>,
    pub signs: Option<Setting<Signs>>,
}

/// `[forward.weight]` and its like.
#[derive(Clone, Debug, Default)]
pub(super) struct OperandSettings {
    pub precision: Option<Setting<Precision>>,
    pub blocks: Option<Setting<BlockShape>>,
    pub rule: Option<Setting<ScaleRule>>,
    pub rounding: Option<Setting<Rounding>>,
    pub mean: Switched<MeanSettings>,
    pub spectral: Switched<SpectralSettings>,
}

/// `[forward]` and its like.
#[derive(Clone, Debug, Default)]
pub(super) struct ProductSettings {
    pub hadamard: Switched<HadamardSettings>,
    /// In the order of [`Side::of`].
    pub operands: [OperandSettings; 2],
}

/// All three products.
#[derive(Clone, Debug, Default)]
pub(super) struct ProductsSettings {
    pub forward: ProductSettings,
    pub dgrad: ProductSettings,
    pub wgrad: ProductSettings,
}

impl ProductsSettings {
    pub fn get(&self, role: Role) -> &ProductSettings {
        match role {
            Role::Forward => &self.forward,
            Role::Dgrad => &self.dgrad,
            Role::Wgrad => &self.wgrad,
        }
    }

    pub fn get_mut(&mut self, role: Role) -> &mut ProductSettings {
        match role {
            Role::Forward => &mut self.forward,
            Role::Dgrad => &mut self.dgrad,
            Role::Wgrad => &mut self.wgrad,
        }
    }

    /// The settings of an operand in every product that has it.
    pub fn of_operand(&mut self, operand: Side) -> impl Iterator<Item = &mut OperandSettings> {
        let Self {
            forward,
            dgrad,
            wgrad,
        } = self;
        let products = [
            (Role::Forward, forward),
            (Role::Dgrad, dgrad),
            (Role::Wgrad, wgrad),
        ];
        products.into_iter().flat_map(move |(role, product)| {
            let named = Side::of(role).into_iter().zip(&mut product.operands);
            named
                .filter(move |&(name, _)| name == operand)
                .map(|(_, settings)| settings)
        })
    }
}

/// `[keep]`
#[derive(Clone, Debug, Default)]
pub(super) struct KeepSettings {
    pub precision: Option<Setting<HighPrecision>>,
    pub names: Option<Setting<Vec<Pattern>>>,
    pub first_linears: Option<Setting<usize>>,
    pub last_linears: Option<Setting<usize>>,
    pub first_blocks: Option<Setting<usize>>,
    pub last_blocks: Option<Setting<usize>>,
    pub first_fraction: Option<Setting<Fraction>>,
    pub last_fraction: Option<Setting<Fraction>>,
    pub whole_blocks: Option<Setting<bool>>,
    pub frozen: Option<Setting<bool>>,
    pub smallest_dimension: Option<Setting<usize>>,
}

/// `[[override]]`
#[derive(Clone, Debug)]
pub(super) struct OverrideSettings {
    pub names: Vec<Pattern>,
    pub keep: OverrideKeep,
    /// The recipe's own products with what the override says in place of theirs.
    pub changes: ProductChanges,
}

/// `keep = …` in an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverrideKeep {
    /// As `[keep]` says.
    AsElsewhere,
    /// `false`
    Never,
    /// A precision.
    In(HighPrecision),
}

/// What one table (a file, an override) says of the products; applied to what was said before.
#[derive(Clone, Debug, Default)]
pub(super) struct ProductChanges {
    /// `[activation]`, `[weight]`, `[gradient]`: in every product.
    pub everywhere: Vec<(Side, OperandSettings)>,
    /// `[forward]`, `[dgrad]`, `[wgrad]`, after those.
    pub products: ProductsSettings,
}

/// A whole file, with the preset it extends under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub name: Option<String>,
    pub summary: Option<String>,
    pub seed: Option<u64>,
    pub products: ProductsSettings,
    pub keep: KeepSettings,
    pub overrides: Vec<OverrideSettings>,
}

impl ProductsSettings {
    /// Puts what a table says over what was said before.
    pub fn apply(&mut self, changes: ProductChanges) {
        for (operand, settings) in changes.everywhere {
            for own in self.of_operand(operand) {
                own.apply(settings.clone());
            }
        }
        self.forward.apply(changes.products.forward);
        self.dgrad.apply(changes.products.dgrad);
        self.wgrad.apply(changes.products.wgrad);
    }
}

impl ProductSettings {
    fn apply(&mut self, later: Self) {
        let Self { hadamard, operands } = later;
        self.hadamard.apply(hadamard, HadamardSettings::apply);
        for (own, later) in self.operands.iter_mut().zip(operands) {
            own.apply(later);
        }
    }
}

impl OperandSettings {
    fn apply(&mut self, later: Self) {
        // A pattern without `..`: a new key is not forgotten here.
        let Self {
            precision,
            blocks,
            rule,
            rounding,
            mean,
            spectral,
        } = later;
        put(&mut self.precision, precision);
        put(&mut self.blocks, blocks);
        put(&mut self.rule, rule);
        put(&mut self.rounding, rounding);
        self.mean.apply(mean, MeanSettings::apply);
        self.spectral.apply(spectral, SpectralSettings::apply);
    }
}

impl MeanSettings {
    fn apply(&mut self, later: Self) {
        let Self { precision, gate } = later;
        put(&mut self.precision, precision);
        self.gate.apply(gate, GateSettings::apply);
    }
}

impl GateSettings {
    fn apply(&mut self, later: Self) {
        let Self { threshold, refresh } = later;
        put(&mut self.threshold, threshold);
        put(&mut self.refresh, refresh);
    }
}

impl SpectralSettings {
    fn apply(&mut self, later: Self) {
        let Self {
            rank,
            refresh,
            sampling,
            iterations,
            factors,
        } = later;
        put(&mut self.rank, rank);
        put(&mut self.refresh, refresh);
        put(&mut self.sampling, sampling);
        put(&mut self.iterations, iterations);
        put(&mut self.factors, factors);
    }
}

impl HadamardSettings {
    fn apply(&mut self, later: Self) {
        let Self { size, signs } = later;
        put(&mut self.size, size);
        put(&mut self.signs, signs);
    }
}

impl KeepSettings {
    /// Puts what a later file says over what was said before.
    pub fn apply(&mut self, later: Self) {
        let Self {
            precision,
            names,
            first_linears,
            last_linears,
            first_blocks,
            last_blocks,
            first_fraction,
            last_fraction,
            whole_blocks,
            frozen,
            smallest_dimension,
        } = later;
        put(&mut self.precision, precision);
        put(&mut self.names, names);
        put(&mut self.first_linears, first_linears);
        put(&mut self.last_linears, last_linears);
        put(&mut self.first_blocks, first_blocks);
        put(&mut self.last_blocks, last_blocks);
        put(&mut self.first_fraction, first_fraction);
        put(&mut self.last_fraction, last_fraction);
        put(&mut self.whole_blocks, whole_blocks);
        put(&mut self.frozen, frozen);
        put(&mut self.smallest_dimension, smallest_dimension);
    }
}

impl<P: Default> Switched<P> {
    fn apply(&mut self, later: Self, parameters: impl FnOnce(&mut P, P)) {
        if later.on.as_ref().is_some_and(|on| !on.value) {
            self.parameters = P::default();
        } else {
            parameters(&mut self.parameters, later.parameters);
        }
        put(&mut self.on, later.on);
    }
}

fn put<T>(own: &mut Option<Setting<T>>, later: Option<Setting<T>>) {
    if later.is_some() {
        *own = later;
    }
}
