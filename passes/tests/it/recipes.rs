//! Recipes: what the presets say, what a file may say, and what each is refused for.

#[path = "recipes/exceptions.rs"]
mod exceptions;
#[path = "recipes/inheritance.rs"]
mod inheritance;
#[path = "recipes/presets.rs"]
mod presets;
#[path = "recipes/refusals.rs"]
mod refusals;

use tessera_numerics::Format;
use tessera_passes::linears::{Dimensions, Role, Side};
use tessera_passes::recipes::{OperandRecipe, Recipe, Scaling, preset};

/// A recipe that the text is one.
fn recipe(text: &str) -> Recipe {
    Recipe::parse(text, "test").unwrap_or_else(|error| panic!("{}", shown(&error, text)))
}

fn shown(error: &tessera_passes::recipes::RecipeError, text: &str) -> String {
    error.diagnostic().render("test.toml", text)
}

/// One operand of one product of a recipe.
fn operand(recipe: &Recipe, role: Role, side: Side) -> &OperandRecipe {
    recipe.products().get(role).operand(side).unwrap()
}

fn scaling(recipe: &Recipe, role: Role, side: Side) -> Scaling {
    *operand(recipe, role, side).precision().scaling().unwrap()
}

fn format(recipe: &Recipe, role: Role, side: Side) -> Option<Format> {
    let precision = operand(recipe, role, side).precision();
    precision.scaling().map(Scaling::format)
}

fn sizes(l: usize, m: usize, n: usize) -> Dimensions {
    Dimensions {
        batch: 1,
        l,
        m,
        n,
        is_grouped: false,
    }
}
