//! TOML to settings: every key known, every value of its kind.

use super::settings::{
    GateSettings, HadamardSettings, KeepSettings, MeanSettings, OperandSettings, OverrideKeep,
    OverrideSettings, Place, ProductChanges, Setting, SpectralSettings, Switched,
};
use super::{Fraction, HighPrecision, Pattern, Precision, RecipeError, Refusal, Signs};
use crate::linears::{Role, Side};
use std::num::NonZeroU32;
use std::ops::Range;
use tessera_numerics::{BlockShape, Rounding, ScaleRule};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Result<T, E = RecipeError> = std::result::Result<T, E>;

/// What one file says.
#[derive(Debug)]
pub(super) struct File {
    pub extends: Option<Setting<String>>,
    pub name: Option<String>,
    pub summary: Option<String>,
    pub seed: Option<u64>,
    pub changes: ProductChanges,
    pub keep: KeepSettings,
    pub overrides: Vec<OverrideSettings>,
}

/// Reads a file. `preset` is its name if it is one; `distance` counts the files from the user's down to
/// this one: 1 is what that one extends.
pub(super) fn read(text: &str, preset: Option<&'static str>, distance: isize) -> Result<File> {
    let root = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        RecipeError::new(Refusal::Toml(message), error.span().unwrap_or(0..0))
    })?;
    let mut table = Table {
        path: String::new(),
        span: root.span(),
        entries: root.get_ref(),
        known: Vec::new(),
        preset,
        level: -2 * distance,
    };
    let plain = |setting: Setting<String>| setting.value;
    let file = File {
        extends: table.text("extends")?,
        name: table.text("name")?.map(plain),
        summary: table.text("summary")?.map(plain),
        seed: table
            .number("seed", "a number, 0 or more")?
            .map(|seed| seed.value),
        changes: table.product_changes()?,
        keep: table.keep()?,
        overrides: table.overrides()?,
    };
    table.finish()?;
    Ok(file)
}

/// Overrides are said over all that any file says of the recipe's own products. Their inner tables are one level higher.
const OVERRIDE_LEVEL: isize = isize::MAX - 1;

/// A table of the file that is being read.
struct Table<'t> {
    /// The keys that lead here, with dots.
    path: String,
    span: Range<usize>,
    entries: &'t DeTable<'t>,
    /// The keys that have been asked for: all that the table may have.
    known: Vec<&'static str>,
    preset: Option<&'static str>,
    level: isize,
}

impl<'t> Table<'t> {
    fn get(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn key(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn setting<T>(&self, key: &str, value: T, span: Range<usize>) -> Setting<T> {
        let place = Place {
            preset: self.preset,
            span,
            key: self.key(key),
            level: self.level,
        };
        Setting { value, place }
    }

    fn kind_error(&self, key: &str, expected: &str, found: &Spanned<DeValue<'_>>) -> RecipeError {
        let refusal = Refusal::Kind {
            key: self.key(key),
            expected: expected.to_owned(),
            found: describe(found.get_ref()),
        };
        RecipeError::new(refusal, found.span())
    }

    /// A value that `read` understands.
    fn value<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Result<Option<Setting<T>>> {
        let Some(found) = self.get(key) else {
            return Ok(None);
        };
        match read(found.get_ref()) {
            Some(value) => Ok(Some(self.setting(key, value, found.span()))),
            None => Err(self.kind_error(key, expected, found)),
        }
    }

    fn text(&mut self, key: &'static str) -> Result<Option<Setting<String>>> {
        self.value(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number that fits its type.
    fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<Option<Setting<T>>> {
        self.value(key, expected, |value| T::try_from(integer(value)?).ok())
    }

    fn steps(&mut self, key: &'static str) -> Result<Option<Setting<NonZeroU32>>> {
        self.value(key, "a number, 1 or more", |value| {
            NonZeroU32::new(u32::try_from(integer(value)?).ok()?)
        })
    }

    fn fraction(&mut self, key: &'static str) -> Result<Option<Setting<Fraction>>> {
        self.value(key, "a number from 0 to 1", |value| match value {
            DeValue::Float(float) => Fraction::new(float.as_str().replace('_', "").parse().ok()?),
            value => Fraction::new(integer(value)? as f64),
        })
    }

    fn word<T: Word>(&mut self, key: &'static str) -> Result<Option<Setting<T>>> {
        let Some(found) = self.get(key) else {
            return Ok(None);
        };
        let Some(word) = found.get_ref().as_str() else {
            return Err(self.kind_error(key, T::WHAT, found));
        };
        match T::all().find(|value| value.word() == word) {
            Some(value) => Ok(Some(self.setting(key, value, found.span()))),
            None => {
                let refusal = Refusal::Word {
                    what: T::NAME,
                    found: word.to_owned(),
                    words: T::all().map(T::word).collect(),
                };
                Err(RecipeError::new(refusal, found.span()))
            }
        }
    }

    fn patterns(&mut self, key: &'static str) -> Result<Option<Setting<Vec<Pattern>>>> {
        self.value(key, "a list of names, as [\"*head*\"]", |value| {
            let texts = value.as_array()?.iter().map(|own| own.get_ref().as_str());
            texts.map(|text| text.map(Pattern::new)).collect()
        })
    }

    fn table(&mut self, key: &'static str) -> Result<Option<Self>> {
        let Some(found) = self.get(key) else {
            return Ok(None);
        };
        match found.get_ref().as_table() {
            Some(entries) => Ok(Some(self.inner(key, entries, found.span()))),
            None => Err(self.kind_error(key, "a table", found)),
        }
    }

    fn inner(&self, key: &str, entries: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Self {
            path: self.key(key),
            span,
            entries,
            known: Vec::new(),
            preset: self.preset,
            level: self.level,
        }
    }

    /// `false`, `true` or a table of parameters.
    fn switched<P: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self) -> Result<P>,
    ) -> Result<Switched<P>> {
        let Some(found) = self.get(key) else {
            return Ok(Switched::default());
        };
        let (on, parameters) = match found.get_ref() {
            DeValue::Boolean(on) => (*on, P::default()),
            DeValue::Table(entries) => {
                let mut table = self.inner(key, entries, found.span());
                let parameters = read(&mut table)?;
                table.finish()?;
                (true, parameters)
            }
            _ => return Err(self.kind_error(key, "false, true or a table", found)),
        };
        let on = Some(self.setting(key, on, found.span()));
        Ok(Switched { on, parameters })
    }

    /// All keys are known.
    fn finish(self) -> Result<()> {
        let unknown = self.entries.keys();
        let unknown = unknown.filter(|key| !self.known.contains(&key.get_ref().as_ref()));
        let Some(first) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let refusal = Refusal::Key {
            table: match self.path.as_str() {
                "" => "a recipe".to_owned(),
                path => format!("[{path}]"),
            },
            found: first.get_ref().to_string(),
            keys: self.known,
        };
        Err(RecipeError::new(refusal, first.span()))
    }
}

/// What a recipe says, table by table.
impl Table<'_> {
    fn product_changes(&mut self) -> Result<ProductChanges> {
        let mut changes = ProductChanges::default();
        for operand in Side::ALL {
            if let Some(mut table) = self.table(operand.name())? {
                let settings = table.operand()?;
                table.finish()?;
                changes.everywhere.push((operand, settings));
            }
        }
        for role in Role::ALL {
            let Some(mut table) = self.table(role.name())? else {
                continue;
            };
            table.level += 1;
            let own = changes.products.get_mut(role);
            own.hadamard = table.hadamard()?;
            for (operand, settings) in Side::of(role).into_iter().zip(&mut own.operands) {
                if let Some(mut table) = table.table(operand.name())? {
                    *settings = table.operand()?;
                    table.finish()?;
                }
            }
            table.refuse_other_operands(role)?;
            table.finish()?;
        }
        Ok(changes)
    }

    fn refuse_other_operands(&self, role: Role) -> Result<()> {
        for found in Side::ALL {
            let entry = self.entries.get_key_value(found.name());
            if let Some((key, _)) = entry.filter(|_| !Side::of(role).contains(&found)) {
                let refusal = Refusal::OperandOfRole { role, found };
                return Err(RecipeError::new(refusal, key.span()));
            }
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<OperandSettings> {
        if let Some((key, _)) = self.entries.get_key_value("hadamard") {
            return Err(RecipeError::new(Refusal::HadamardOfOperand, key.span()));
        }
        Ok(OperandSettings {
            precision: self.word("precision")?,
            blocks: self.word("blocks")?,
            rule: self.word("rule")?,
            rounding: self.word("rounding")?,
            mean: self.switched("mean", Self::mean)?,
            spectral: self.switched("spectral", Self::spectral)?,
        })
    }

    fn mean(&mut self) -> Result<MeanSettings> {
        let precision = self.word("precision")?;
        let gate = self.switched("gate", |gate| {
            Ok(GateSettings {
                threshold: gate.fraction("threshold")?,
                refresh: gate.steps("refresh")?,
            })
        })?;
        Ok(MeanSettings { precision, gate })
    }

    fn spectral(&mut self) -> Result<SpectralSettings> {
        Ok(SpectralSettings {
            rank: self.fraction("rank")?,
            refresh: self.steps("refresh")?,
            sampling: self.fraction("sampling")?,
            iterations: self.steps("iterations")?,
            factors: self.word("factors")?,
        })
    }

    fn hadamard(&mut self) -> Result<Switched<HadamardSettings>> {
        self.switched("hadamard", |hadamard| {
            Ok(HadamardSettings {
                size: hadamard.number("size", "16, 32, 64 or 128")?,
                signs: hadamard.word("signs")?,
            })
        })
    }

    fn keep(&mut self) -> Result<KeepSettings> {
        let Some(mut table) = self.table("keep")? else {
            return Ok(KeepSettings::default());
        };
        let count = "a number, 0 or more";
        let keep = KeepSettings {
            precision: table.word("precision")?,
            names: table.patterns("names")?,
            first_linears: table.number("first_linears", count)?,
            last_linears: table.number("last_linears", count)?,
            first_blocks: table.number("first_blocks", count)?,
            last_blocks: table.number("last_blocks", count)?,
            first_fraction: table.fraction("first_fraction")?,
            last_fraction: table.fraction("last_fraction")?,
            whole_blocks: table.value("whole_blocks", "true or false", |value| value.as_bool())?,
            frozen: table.value("frozen", "true or false", |value| value.as_bool())?,
            smallest_dimension: table.number("smallest_dimension", count)?,
        };
        table.finish()?;
        Ok(keep)
    }

    fn overrides(&mut self) -> Result<Vec<OverrideSettings>> {
        let Some(found) = self.get("override") else {
            return Ok(Vec::new());
        };
        let expected = "tables, each [[override]]";
        let Some(array) = found.get_ref().as_array() else {
            return Err(self.kind_error("override", expected, found));
        };
        let mut overrides = Vec::new();
        for item in array.iter() {
            let Some(entries) = item.get_ref().as_table() else {
                return Err(self.kind_error("override", expected, item));
            };
            let mut table = self.inner("override", entries, item.span());
            table.level = OVERRIDE_LEVEL;
            overrides.push(table.one_override()?);
            table.finish()?;
        }
        Ok(overrides)
    }

    fn one_override(&mut self) -> Result<OverrideSettings> {
        let names = self.patterns("names")?.map(|names| names.value);
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return Err(RecipeError::new(Refusal::NoNames, self.span.clone()));
        };
        let keep = self.override_keep()?;
        if let OverrideKeep::In(precision) = keep {
            let words = Side::ALL.map(Side::name).into_iter();
            let mut words = words.chain(Role::ALL.map(Role::name));
            let beside = words.find_map(|key| Some((key, self.entries.get_key_value(key)?.0)));
            if let Some((key, found)) = beside {
                let refusal = Refusal::KeptAndQuantised { precision, key };
                return Err(RecipeError::new(refusal, found.span()));
            }
        }
        Ok(OverrideSettings {
            names,
            keep,
            changes: self.product_changes()?,
        })
    }

    fn override_keep(&mut self) -> Result<OverrideKeep> {
        let expected = "false, \"bf16\" or \"f32\"";
        let keep = self.value("keep", expected, |value| match value {
            DeValue::Boolean(false) => Some(OverrideKeep::Never),
            DeValue::String(word) => {
                let mut all = HighPrecision::ALL.into_iter();
                let precision = all.find(|precision| precision.name() == word);
                precision.map(OverrideKeep::In)
            }
            _ => None,
        })?;
        Ok(keep.map_or(OverrideKeep::AsElsewhere, |keep| keep.value))
    }
}

/// A value that is one of a few words.
trait Word: Copy {
    /// What a message calls one: `scale rule`.
    const NAME: &'static str;
    /// What a message asks for: `a scale rule in quotes`.
    const WHAT: &'static str;
    fn all() -> impl Iterator<Item = Self>;
    fn word(self) -> &'static str;
}

macro_rules! word {
    ($type:ty, $name:literal, $what:literal, $all:expr, $word:expr) => {
        impl Word for $type {
            const NAME: &'static str = $name;
            const WHAT: &'static str = $what;
            fn all() -> impl Iterator<Item = Self> {
                $all
            }
            fn word(self) -> &'static str {
                $word(self)
            }
        }
    };
}

word!(
    HighPrecision,
    "high precision",
    "a high precision in quotes",
    HighPrecision::ALL.into_iter(),
    HighPrecision::name
);
word!(
    Precision,
    "precision",
    "a precision in quotes",
    Precision::all(),
    Precision::name
);
word!(
    ScaleRule,
    "scale rule",
    "a scale rule in quotes",
    ScaleRule::ALL.into_iter(),
    ScaleRule::name
);
word!(
    Rounding,
    "rounding",
    "a rounding in quotes",
    Rounding::ALL.into_iter(),
    Rounding::name
);
word!(
    Signs,
    "signs",
    "the kind of signs in quotes",
    Signs::ALL.into_iter(),
    Signs::name
);
word!(
    BlockShape,
    "blocks",
    "the shape of blocks in quotes",
    [BlockShape::Vector, BlockShape::Square].into_iter(),
    |blocks| match blocks {
        BlockShape::Vector => "vector",
        BlockShape::Square => "square",
    }
);

/// A whole number that an i64 holds.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value as a message shows it.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
