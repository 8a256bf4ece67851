//! `tessera recipe`: the recipes there are, and what each says.

use super::arguments::RecipeCommand;
use super::print;
use crate::{Failure, Source};
use std::fmt::Write;
use std::path::Path;
use tessera_passes::recipes::{self, Recipe};

pub(super) fn recipe(command: &RecipeCommand) -> Result<(), Failure> {
    match command {
        RecipeCommand::List => print(&list()?),
        RecipeCommand::Show { recipe } => {
            let recipe = find(recipe)?;
            for remark in recipe.remarks() {
                notice!("note: {remark}");
            }
            print(&recipe.to_string())
        }
    }
}

fn list() -> Result<String, Failure> {
    let width = recipes::names().map(str::len).max().unwrap_or(0);
    let mut text = String::new();
    for name in recipes::names() {
        let recipe = recipes::preset(name).map_err(Failure::error)?;
        let _ = writeln!(text, "{name:<width$}  {}", recipe.summary());
    }
    Ok(text)
}

/// The preset of that name, or the recipe of a file: what ends in `.toml` or has a folder in it, or `-`.
pub(super) fn find(name: &str) -> Result<Recipe, Failure> {
    let path = Path::new(name);
    let is_file = name == "-"
        || path
            .extension()
            .is_some_and(|extension| extension == "toml")
        || path.parent().is_some_and(|folder| folder != Path::new(""));
    if !is_file {
        return recipes::preset(name).map_err(|error| {
            let names = error.names.join(", ");
            let file = "a file of one's own is given with its ending, .toml";
            Failure::error(format!("{error}\nnote: there are: {names}\nnote: {file}"))
        });
    }
    let source = Source::read(name)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    let stem = stem.as_deref().unwrap_or(name);
    Recipe::parse(&source.text, stem)
        .map_err(|error| Failure::at(&source.name, &source.text, &error.diagnostic()))
}
