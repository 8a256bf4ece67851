//! What a recipe says of a tensor of a checkpoint. A checkpoint tells names and sizes; it does not tell the order of the
//! linears, so what a recipe keeps by depth is not kept here.

use tessera_passes::linears::Role;
use tessera_passes::recipes::{Depth, KeptReason, OverrideEffect, ProductRecipe, Recipe};

/// What the recipe does with the product of that role of the linear of that name; `smallest` is the smallest dimension of
/// its weight.
///
/// # Errors
/// The recipe keeps the linear in high precision; why.
pub fn product_for<'r>(
    recipe: &'r Recipe,
    name: &str,
    smallest: usize,
    role: Role,
) -> Result<&'r ProductRecipe, KeptReason> {
    let fitting = recipe.overrides().iter().rev();
    let fitting = fitting
        .into_iter()
        .find_map(|own| Some((own, own.pattern_for(name)?)));
    let (products, always) = match fitting.map(|(own, pattern)| (&own.effect, pattern)) {
        None => (recipe.products(), false),
        Some((OverrideEffect::Quantise { products, always }, _)) => (&**products, *always),
        Some((OverrideEffect::Keep(_), pattern)) => {
            return Err(KeptReason::Override(pattern.clone()));
        }
    };
    let keep = recipe.keep();
    if !always {
        if let Some(pattern) = keep.names.iter().find(|pattern| pattern.matches(name)) {
            return Err(KeptReason::Name(pattern.clone()));
        }
        let least = keep.smallest_dimension;
        if smallest < least {
            return Err(KeptReason::Size { smallest, least });
        }
    }
    Ok(products.get(role))
}

/// What the recipe says and a checkpoint does not tell, as a sentence.
pub fn unheeded(recipe: &Recipe) -> Option<String> {
    let keep = recipe.keep();
    let by_depth = keep.first != Depth::NONE || keep.last != Depth::NONE;
    by_depth.then(|| {
        format!(
            "recipe '{}' keeps the first or last linears in high precision; a checkpoint does not tell their order: name \
             the tensors to quantise with --tensors",
            recipe.name()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> Recipe {
        Recipe::parse(text, "test").unwrap()
    }

    #[test]
    fn names_sizes_and_overrides_keep_linears() {
        let recipe = recipe(
            "extends = \"nvfp4\"\n[keep]\nnames = [\"*head*\"]\nsmallest_dimension = 32\n\
             [[override]]\nnames = [\"first\"]\nkeep = \"bf16\"\n\
             [[override]]\nnames = [\"small_head\"]\nkeep = false\n",
        );
        let kept = |name, smallest| {
            let product = product_for(&recipe, name, smallest, Role::Forward);
            product.err().map(|reason| reason.to_string())
        };
        assert_eq!(kept("wq", 32), None);
        assert_eq!(kept("lm_head", 32).unwrap(), "its name fits '*head*'");
        assert_eq!(kept("wq", 16).unwrap(), "a dimension of 16 is below 32");
        assert_eq!(
            kept("first", 32).unwrap(),
            "the override for 'first' keeps it"
        );
        assert_eq!(kept("small_head", 16), None);
    }
}
