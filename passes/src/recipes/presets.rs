//! The recipes that come with Tessera, each a file in the form in which users write theirs.

use super::{Recipe, UnknownPreset};

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Names and texts, plain ones first.
        const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("presets/", $name, ".toml")))),*];
    };
}

presets![
    "bf16",
    "fp8",
    "mxfp8",
    "mxfp6",
    "mxfp4",
    "nvfp4",
    "nvidia",
    "four-over-six",
    "quartet2",
    "averis",
    "averis-gated",
    "averis-hadamard",
    "metis",
    "averis-metis",
];

/// The presets' names, in the order in which they are listed.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|&(name, _)| name)
}

/// A preset's name and text.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static str)> {
    PRESETS.iter().copied().find(|&(own, _)| own == name)
}

/// The preset of that name.
///
/// # Errors
/// There is none.
pub fn preset(name: &str) -> Result<Recipe, UnknownPreset> {
    let (name, text) = find(name).ok_or_else(|| UnknownPreset {
        found: name.to_owned(),
        names: names().collect(),
    })?;
    let recipe = super::resolve::recipe(text, name, Some(name));
    Ok(recipe.expect("presets are recipes, which a test checks"))
}
