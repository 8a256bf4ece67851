//! `tessera recipe`: the recipes there are, what each says, and what one makes of a step.

use super::arguments::RecipeCommand;
use super::print;
use super::quantize::percent;
use crate::{Failure, Source};
use std::fmt::Write;
use std::path::Path;
use tessera_passes::Pipeline;
use tessera_passes::linears::{self, Dimensions, Subject};
use tessera_passes::manager::Silent;
use tessera_passes::recipes::expand::{Expansion, Form, Outcome, Row, State, expand};
use tessera_passes::recipes::{self, Recipe};

pub(super) fn recipe(command: &RecipeCommand) -> Result<(), Failure> {
    match command {
        RecipeCommand::List => print(&list()?),
        RecipeCommand::Show { recipe } => {
            let recipe = find(recipe)?;
            remark(&recipe);
            print(&recipe.to_string())
        }
        RecipeCommand::Explain { input, recipe } => explain(input, recipe),
    }
}

/// Says what is seldom meant.
pub(super) fn remark(recipe: &Recipe) {
    for remark in recipe.remarks() {
        notice!("note: {remark}");
    }
}

/// What a recipe makes of a step, by the decisions that the pass itself takes.
fn explain(input: &str, recipe: &str) -> Result<(), Failure> {
    let recipe = find(recipe)?;
    remark(&recipe);
    let source = Source::read(input)?;
    let module = source.module()?;
    let prepared: Pipeline = "inline,canonicalise".parse().map_err(Failure::error)?;
    let module = prepared.run(&module, &mut Silent).map_err(Failure::error)?;
    let expansion = expand(&module, &recipe, Form::default()).map_err(Failure::error)?;
    for note in &expansion.notes {
        notice!("warning: {note}");
    }
    print(&explanation(&recipe, &expansion))
}

/// A line a product, linear by linear; the other products with their reasons; what is added to the state.
fn explanation(recipe: &Recipe, expansion: &Expansion) -> String {
    let names = expansion.rows.iter().map(|row| linear(row).chars().count());
    let width = names.chain([6]).max().unwrap_or(0);
    let mut text = String::new();
    let _ = writeln!(text, "recipe {}: {}\n", recipe.name(), recipe.summary());
    let _ = writeln!(
        text,
        "{:width$}  {:8}  {:16}  becomes",
        "linear", "role", "l×m×n"
    );
    for row in &expansion.rows {
        let (role, again) = match &row.row.subject {
            Subject::Linear {
                role,
                is_recomputed,
                ..
            } => (role.to_string(), *is_recomputed),
            Subject::Other { .. } => continue,
        };
        let again = if again { " (computed again)" } else { "" };
        let size = row.row.dimensions.to_string();
        let name = linear(row);
        let _ = writeln!(
            text,
            "{name:width$}  {role:8}  {size:16}  {}{again}",
            row.outcome
        );
    }
    text.push_str(&dequantised(expansion));
    if !expansion.others.is_empty() {
        let _ = writeln!(text, "\nproducts of no linear, which stay as they are");
        for (row, count) in counted(expansion) {
            let times = if count == 1 {
                String::new()
            } else {
                format!(" ({count} of them)")
            };
            let _ = writeln!(text, "{row}{times}");
        }
    }
    if !expansion.states.is_empty() {
        let _ = writeln!(text, "\nstate that is added");
        for state in &expansion.states {
            let State {
                name,
                tensor_type,
                initialiser,
            } = state;
            let _ = writeln!(text, "{name}: {tensor_type}, begins as {initialiser}");
        }
    }
    let _ = writeln!(text, "\n{}", total(expansion));
    text
}

/// How many of the linears' products are quantised, and which share of the multiply-adds of all products that is.
fn total(expansion: &Expansion) -> String {
    let is_scaled = |row: &&Row| matches!(row.outcome, Outcome::Scaled(_));
    let scaled = expansion.rows.iter().filter(is_scaled);
    let others = expansion.others.iter().map(multiply_adds);
    let all = expansion.rows.iter().map(|row| multiply_adds(&row.row));
    let all: f64 = all.chain(others).sum();
    let (count, products) = (scaled.clone().count(), expansion.rows.len());
    let own = scaled.fold(0.0, |sum, row| sum + multiply_adds(&row.row));
    let share = if all > 0.0 { own / all } else { 0.0 };
    format!(
        "{count} of {products} products of linears are quantised: {} of the multiply-adds of all products",
        percent(share)
    )
}

/// The multiply-adds of a product in one run of the step; of one in a loop that runs an unknown number of times, of one
/// round.
fn multiply_adds(row: &linears::Row) -> f64 {
    let Dimensions {
        batch,
        l,
        m,
        n,
        is_grouped,
    } = row.dimensions;
    // Groups share out the rows.
    let batch = if is_grouped { 1 } else { batch };
    let rounds = row.count.unwrap_or(1) as f64;
    [batch, l, m, n]
        .map(|size| size as f64)
        .iter()
        .product::<f64>()
        * rounds
}

/// What there is to say of products that have no kernel of 4 bits.
fn dequantised(expansion: &Expansion) -> String {
    let mut pairs: Vec<&str> = Vec::new();
    for row in &expansion.rows {
        if let Outcome::Scaled(expanded) = &row.outcome
            && let Some(formats) = expanded.dequantised.as_deref()
            && !pairs.contains(&formats)
        {
            pairs.push(formats);
        }
    }
    match pairs.as_slice() {
        [] => String::new(),
        pairs => format!(
            "\nthe CPU multiplies {} in f32, on the numbers that the operands stand for: with the recipe's rounding, without \
             its speed\n",
            pairs.join(", ")
        ),
    }
}

/// The linear's name, and whether its weight is frozen.
fn linear(row: &Row) -> String {
    match &row.row.subject {
        Subject::Linear {
            name,
            is_frozen: true,
            ..
        } => format!("{name} (frozen)"),
        Subject::Linear { name, .. } => name.clone(),
        Subject::Other { .. } => String::new(),
    }
}

/// The other products in their order, equal lines once.
fn counted(expansion: &Expansion) -> Vec<(String, usize)> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for row in &expansion.others {
        let line = match &row.subject {
            Subject::Other { reason } => format!("{}: {reason}", row.dimensions),
            Subject::Linear { .. } => continue,
        };
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => lines.push((line, 1)),
        }
    }
    lines
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
