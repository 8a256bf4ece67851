//! Settings to a recipe: defaults filled in, combinations checked.

use super::exceptions::{Depth, Keep, Override, OverrideEffect};
use super::read::{File, read};
use super::settings::{
    GateSettings, HadamardSettings, KeepSettings, MeanSettings, OperandSettings, OverrideKeep,
    OverrideSettings, Place, ProductsSettings, Setting, Settings, SpectralSettings, Switched,
};
use super::{
    Fraction, Gate, Hadamard, HighPrecision, MeanSplit, OperandPrecision, OperandRecipe, Precision,
    ProductRecipe, Products, Recipe, RecipeError, Refusal, Scaling, Signs, SpectralSplit, presets,
};
use crate::linears::{Role, Side};
use std::num::NonZeroU32;
use tessera_numerics::{BlockShape, Rounding, ScaleRule};

type Result<T, E = RecipeError> = std::result::Result<T, E>;

/// What a key means where no file gives it.
mod default {
    use super::*;

    pub const PRECISION: HighPrecision = HighPrecision::Bf16;
    pub const MEAN_PRECISION: Precision = Precision::High(HighPrecision::Bf16);
    pub const FACTORS: Precision = Precision::High(HighPrecision::Bf16);
    pub const HADAMARD_SIZE: usize = 16;
    /// Steps between two looks at a basis or a gate.
    pub const REFRESH: NonZeroU32 = NonZeroU32::new(8).unwrap();
    pub const ITERATIONS: NonZeroU32 = NonZeroU32::MIN;

    pub const THRESHOLD: Fraction = Fraction::new(0.1).unwrap();
    pub const RANK: Fraction = Fraction::new(0.015).unwrap();
}

/// The recipe of a text. It is called `name` if the text does not say otherwise.
pub(super) fn recipe(text: &str, name: &str, preset: Option<&'static str>) -> Result<Recipe> {
    let settings = settings(text, preset)?;
    let products = products(&settings.products)?;
    let overrides = settings.overrides.iter();
    let overrides = overrides.map(|own| override_of(&settings.products, own));
    Ok(Recipe {
        name: settings.name.unwrap_or_else(|| name.to_owned()),
        summary: settings.summary.unwrap_or_default(),
        seed: settings.seed.unwrap_or(0),
        products,
        keep: keep(settings.keep),
        overrides: overrides.collect::<Result<_>>()?,
    })
}

/// All that a text says, over what the presets under it say.
fn settings(text: &str, preset: Option<&'static str>) -> Result<Settings> {
    let mut chain: Vec<File> = Vec::new();
    let (mut text, mut preset) = (text, preset);
    loop {
        let distance = isize::try_from(chain.len()).unwrap_or(isize::MAX / 4);
        let file = read(text, preset, distance)?;
        let base = file.extends.clone();
        chain.push(file);
        let Some(base) = base else { break };
        let (name, base_text) = presets::find(&base.value).ok_or_else(|| {
            let refusal = Refusal::Word {
                what: "preset",
                found: base.value,
                words: presets::names().collect(),
            };
            RecipeError::new(refusal, base.place.span)
        })?;
        (text, preset) = (base_text, Some(name));
    }
    let mut settings = Settings::default();
    for file in chain.into_iter().rev() {
        settings.name = file.name;
        settings.summary = file.summary;
        settings.seed = file.seed.or(settings.seed);
        settings.products.apply(file.changes);
        settings.keep.apply(file.keep);
        settings.overrides.extend(file.overrides);
    }
    Ok(settings)
}

fn keep(settings: KeepSettings) -> Keep {
    let count = |setting: Option<Setting<usize>>| setting.map_or(0, |own| own.value);
    let share =
        |setting: Option<Setting<Fraction>>| setting.map_or(Fraction::ZERO, |own| own.value);
    let precision = settings.precision.map(|own| own.value);
    Keep {
        precision: precision.unwrap_or(default::PRECISION),
        names: settings.names.map(|own| own.value).unwrap_or_default(),
        first: Depth {
            linears: count(settings.first_linears),
            blocks: count(settings.first_blocks),
            fraction: share(settings.first_fraction),
        },
        last: Depth {
            linears: count(settings.last_linears),
            blocks: count(settings.last_blocks),
            fraction: share(settings.last_fraction),
        },
        whole_blocks: settings.whole_blocks.is_some_and(|own| own.value),
        frozen: settings.frozen.is_some_and(|own| own.value),
        smallest_dimension: count(settings.smallest_dimension),
    }
}

fn override_of(base: &ProductsSettings, settings: &OverrideSettings) -> Result<Override> {
    let quantise = |always| -> Result<OverrideEffect> {
        let mut own = base.clone();
        own.apply(settings.changes.clone());
        let products = Box::new(products(&own)?);
        Ok(OverrideEffect::Quantise { products, always })
    };
    let effect = match settings.keep {
        OverrideKeep::In(precision) => OverrideEffect::Keep(precision),
        OverrideKeep::Never => quantise(true)?,
        OverrideKeep::AsElsewhere => quantise(false)?,
    };
    Ok(Override {
        names: settings.names.clone(),
        effect,
    })
}

fn products(settings: &ProductsSettings) -> Result<Products> {
    Products::from_roles(|role| product(role, settings))
}

fn product(role: Role, settings: &ProductsSettings) -> Result<ProductRecipe> {
    let own = settings.get(role);
    let names = Side::of(role);
    let [left, right] = &own.operands;
    let operands = [operand(names[0], left)?, operand(names[1], right)?];
    let mut hadamard = hadamard(&own.hadamard)?;
    if operands.iter().all(|own| own.precision().high().is_some()) {
        // Said of both operands later than the transform, a high precision takes it back.
        let level = own
            .operands
            .iter()
            .map(OperandSettings::precision_level)
            .max();
        let place = own.hadamard.place();
        if place.is_some_and(|place| Some(place.level) < level) {
            hadamard = None;
        }
    }
    ProductRecipe::new(role, operands, hadamard).map_err(|refusal| {
        let precisions = own.operands.iter().map(|own| place(&own.precision));
        let roundings = own.operands.iter().map(|own| place(&own.rounding));
        let hadamard = place(&own.hadamard.on);
        let places = match &refusal {
            Refusal::EdenWithoutHadamard { .. } => roundings.chain([hadamard]).collect(),
            Refusal::NotQuantised { .. } => vec![hadamard],
            _ => precisions.collect::<Vec<_>>(),
        };
        located(refusal, places)
    })
}

impl OperandSettings {
    /// How late the operand's precision was said; before everything where the default stands.
    fn precision_level(&self) -> isize {
        place(&self.precision).map_or(isize::MIN, |place| place.level)
    }
}

fn operand(operand: Side, settings: &OperandSettings) -> Result<OperandRecipe> {
    let precision = settings.precision.as_ref().map(|own| own.value);
    let format = match precision.unwrap_or(Precision::High(default::PRECISION)) {
        Precision::Scaled(format) => format,
        Precision::High(precision) => return high_operand(operand, settings, precision),
    };
    let scaling = Scaling::new(
        format,
        value(&settings.blocks).unwrap_or(BlockShape::Vector),
        value(&settings.rule).unwrap_or(ScaleRule::default_for(format)),
        value(&settings.rounding).unwrap_or(Rounding::NearestEven),
    );
    let scaling = scaling.map_err(|refusal| {
        let (precision, blocks) = (place(&settings.precision), place(&settings.blocks));
        let (rule, rounding) = (place(&settings.rule), place(&settings.rounding));
        let places = match &refusal {
            Refusal::Rule { .. } => vec![precision, rule],
            Refusal::Rounding { .. } => vec![precision, blocks, rule, rounding],
            _ => vec![precision, blocks],
        };
        located(refusal, places)
    })?;
    let mean = mean(&settings.mean)?;
    let spectral = spectral(&settings.spectral)?;
    let precision = OperandPrecision::Scaled(scaling);
    OperandRecipe::new(operand, precision, mean, spectral).map_err(|refusal| {
        let sampling = place(&settings.spectral.parameters.sampling);
        let places = match &refusal {
            Refusal::MeanOfWeight => vec![settings.mean.place()],
            _ => vec![settings.spectral.place(), sampling],
        };
        located(refusal, places)
    })
}

/// An operand in high precision. What was said before of how to quantise it no longer counts; said beside the precision or
/// later it has no meaning.
fn high_operand(
    operand: Side,
    settings: &OperandSettings,
    precision: HighPrecision,
) -> Result<OperandRecipe> {
    let said = [
        ("blocks", place(&settings.blocks)),
        ("rule", place(&settings.rule)),
        ("rounding", place(&settings.rounding)),
        ("mean", settings.mean.place()),
        ("spectral", settings.spectral.place()),
    ];
    let level = settings.precision_level();
    for (key, place) in said {
        if let Some(place) = place.filter(|place| place.level >= level) {
            let refusal = Refusal::NotQuantised { key, precision };
            return Err(located(
                refusal,
                vec![self::place(&settings.precision), Some(place)],
            ));
        }
    }
    let precision = OperandPrecision::High(precision);
    OperandRecipe::new(operand, precision, None, None)
        .map_err(|refusal| located(refusal, vec![place(&settings.precision)]))
}

fn mean(settings: &Switched<MeanSettings>) -> Result<Option<MeanSplit>> {
    if settings.place().is_none() {
        return Ok(None);
    }
    let MeanSettings { precision, gate } = &settings.parameters;
    Ok(Some(MeanSplit {
        precision: value(precision).unwrap_or(default::MEAN_PRECISION),
        gate: self::gate(gate)?,
    }))
}

fn gate(settings: &Switched<GateSettings>) -> Result<Option<Gate>> {
    if settings.place().is_none() {
        return Ok(None);
    }
    let GateSettings { threshold, refresh } = &settings.parameters;
    let share = value(threshold).unwrap_or(default::THRESHOLD);
    Gate::new(share, value(refresh).unwrap_or(default::REFRESH))
        .map(Some)
        .map_err(|refusal| located(refusal, vec![settings.place(), place(threshold)]))
}

fn spectral(settings: &Switched<SpectralSettings>) -> Result<Option<SpectralSplit>> {
    if settings.place().is_none() {
        return Ok(None);
    }
    let SpectralSettings {
        rank,
        refresh,
        sampling,
        iterations,
        factors,
    } = &settings.parameters;
    let split = SpectralSplit::new(
        value(rank).unwrap_or(default::RANK),
        value(refresh).unwrap_or(default::REFRESH),
        value(sampling).unwrap_or(Fraction::ONE),
        value(iterations).unwrap_or(default::ITERATIONS),
        value(factors).unwrap_or(default::FACTORS),
    );
    split.map(Some).map_err(|refusal| {
        let key = match &refusal {
            Refusal::Rank { .. } => place(rank),
            _ => place(sampling),
        };
        located(refusal, vec![settings.place(), key])
    })
}

fn hadamard(settings: &Switched<HadamardSettings>) -> Result<Option<Hadamard>> {
    if settings.place().is_none() {
        return Ok(None);
    }
    let HadamardSettings { size, signs } = &settings.parameters;
    let count = value(size).unwrap_or(default::HADAMARD_SIZE);
    let default_signs = match count {
        16 => Signs::Fixed,
        _ => Signs::Random,
    };
    Hadamard::new(count, value(signs).unwrap_or(default_signs))
        .map(Some)
        .map_err(|refusal| {
            let places = match &refusal {
                Refusal::FixedSigns { .. } => vec![place(signs), place(size)],
                _ => vec![place(size)],
            };
            located(refusal, places)
        })
}

fn value<T: Copy>(setting: &Option<Setting<T>>) -> Option<T> {
    setting.as_ref().map(|own| own.value)
}

fn place<T>(setting: &Option<Setting<T>>) -> Option<&Place> {
    setting.as_ref().map(|own| &own.place)
}

/// A refusal at the place of the user's file that has the last word in it, the last one of several on one level. What
/// comes of presets is noted: presets make
/// sense by themselves, so something of the file is always there.
fn located<'p>(
    refusal: Refusal,
    places: impl IntoIterator<Item = Option<&'p Place>>,
) -> RecipeError {
    let places: Vec<&Place> = places.into_iter().flatten().collect();
    let own = places.iter().filter(|place| place.preset.is_none());
    let span = own
        .max_by_key(|place| place.level)
        .map(|place| place.span.clone());
    let mut error = RecipeError::new(refusal, span.unwrap_or(0..0));
    let inherited = places
        .iter()
        .filter_map(|place| Some((place, place.preset?)));
    let notes =
        inherited.map(|(place, preset)| format!("'{}' is set by the preset {preset}", place.key));
    error.notes = notes.collect();
    error
}
