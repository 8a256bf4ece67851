#![doc = include_str!("recipes/README.md")]

mod error;
mod exceptions;
pub mod expand;
mod pattern;
mod precision;
mod presets;
mod print;
mod product;
mod read;
mod recipe;
mod resolve;
mod settings;
mod split;

pub use error::{RecipeError, Refusal, UnknownPreset};
pub use exceptions::{
    Block, Depth, End, Keep, KeptReason, LinearProduct, Override, OverrideEffect,
};
pub use pattern::Pattern;
pub use precision::{HighPrecision, OperandPrecision, Precision, Scaling};
pub use presets::{names, preset};
pub use product::{Hadamard, OperandRecipe, ProductRecipe, Products, Signs};
pub use recipe::{Recipe, Treatment};
pub use split::{Fraction, Gate, MeanSplit, SpectralSplit};

impl Recipe {
    /// Reads a recipe. It is called `name` where the text does not say otherwise.
    ///
    /// # Errors
    /// The text is no TOML, has keys or values that a recipe has not, or combines what has no meaning together.
    pub fn parse(text: &str, name: &str) -> Result<Self, RecipeError> {
        resolve::recipe(text, name, None)
    }
}
