//! The pass `recipe`: every linear's products become what a recipe says.
//!
//! Where a recipe treats layers of a loop differently, or experts of a batch, `divide` cuts the step before all else, so that
//! each linear of the pieces has one treatment: loops become several, one after another, and batches several products.
//!
//! It works on an imported step after `inline,canonicalise` and before everything else, and leaves to `canonicalise` what
//! it wrote twice. Of each product of a linear:
//!
//! 1. Both operands become matrices: rows × columns of the linear's formula, whichever way the step stores them,
//!    so that one matrix serves the two products that have the operand.
//! 2. Splits take out of an operand its mean over the tokens, then its leading directions.
//! 3. What is left is transformed along the dimension that is summed over, and quantised along it. `amax` is a
//!    plain reduction over the whole matrix, or batch of matrices: one tensor scale for a tensor.
//! 4. The residuals are multiplied by `scaled_dot` in f32, and the terms of the splits added.
//! 5. The sum gets the shape and element type that the product had.
//!
//! Random roundings and what a recipe keeps from step to step are state of the step: donated inputs and results
//! after the step's own, each with an initialiser. `recipe.step` counts the steps, modulo 2³². How loops draw other random
//! bits in each round is said in `scope`.
//!
//! An operand has one state of a kind, wherever it stands: in the forward loop over layers, in the backward loop that
//! goes through them from the last to the first, computed again under checkpointing, in every microbatch that uses the
//! same weight. What comes first in the step improves it when that is due, and all that comes later reads it. Activations
//! of several microbatches are several operands. In a branch state is the branch's own, and so it is in a loop that is
//! not at the parts of stacks one after another.
//!
//! A product that stays in high precision has a reason, and [`Expansion::rows`] tells of all. A product computed again in
//! the backward of a checkpointed layer has the random bits of the first, where both are in one round of the same loops; a
//! loop of its own that computes layers again draws others.

mod blocks;
mod decision;
mod divide;
mod division;
mod emitter;
mod grouped;
mod lookup;
mod loops;
mod matrix;
mod notes;
mod outcome;
mod parts;
mod positions;
mod product;
mod rewrite;
mod rotation;
mod scope;
mod split;
mod state;

pub use notes::Note;
pub use outcome::{Expanded, GroupedReason, Kept, Outcome, Row, StayReason};
pub use parts::NamedPart;
pub use state::State;

use super::{Recipe, preset};
use crate::linears::{self, Subject};
use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report};
use decision::Decisions;
use division::{Cuts, Described};
use emitter::Sites;
use parts::Parts;
use rewrite::Rewriter;
use std::path::Path;
use tessera_ir::Module;
use tessera_ir::diagnostic::{Diagnostic, line_and_column};

/// How the terms of splits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As rows that are added and products of few columns.
    #[default]
    Factored,
    /// Multiplied out, a product of whole matrices for each pair of terms.
    Plain,
}

/// A step by a recipe.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The step.
    pub module: Module,
    /// The products of linears and what became of each, linear by linear.
    pub rows: Vec<Row>,
    /// The other products, which no recipe changes.
    pub others: Vec<linears::Row>,
    /// What the recipe added to the state, in the order of the inputs.
    pub states: Vec<State>,
    /// How many random roundings there are.
    pub sites: usize,
    /// What the recipe asks of the step in vain.
    pub notes: Vec<Note>,
}

/// Writes a step by a recipe.
///
/// # Errors
/// The module has no entry or still has calls, or the recipe names a part of a linear that cannot be treated apart.
pub fn expand(module: &Module, recipe: &Recipe, form: Form) -> Result<Expansion, PassFailure> {
    let found = linears::find(module).map_err(|error| PassFailure::refused(error.to_string()))?;
    let parts = Parts::of(module, &found);
    let mut notes = Vec::new();
    for (part, fits_more) in parts::named(&found, &parts, recipe) {
        if !fits_more {
            return Err(PassFailure::refused(part.to_string()));
        }
        notes.push(Note::Part(part));
    }
    let described = Described {
        lookups: lookup::lookups(module, &found),
        linears: &found,
        parts: &parts,
    };
    let cuts = Cuts::of(&described, recipe);
    let divided = divide::divide(module, &described, &cuts)?;
    let decisions = Decisions::new(&divided, &described, recipe);
    let module = &divided.module;
    let others = linears::explain(module, &divided.linears).into_iter();
    let others = others.filter(|row| matches!(row.subject, Subject::Other { .. }));
    let mut rewriter = Rewriter {
        decisions: &decisions,
        sites: Sites::new(recipe.seed()),
        seed: recipe.seed(),
        form,
    };
    let entry = module.entry().map(|entry| entry.name.as_str());
    let mut expanded = Module::new(module.name.clone());
    let mut states = Vec::new();
    for graph in module.graphs() {
        if Some(graph.name.as_str()) == entry && !decisions.rows.is_empty() {
            let own = graph.inputs().len();
            let graph = rewriter.entry(graph)?;
            states = state::added(&graph, own);
            expanded.insert(graph);
        } else {
            expanded.insert(graph.clone());
        }
    }
    let sites = rewriter.sites.count();
    Ok(Expansion {
        module: expanded,
        others: others.collect(),
        states,
        sites,
        rows: decisions.rows,
        notes: [decisions.notes, notes].concat(),
    })
}

/// The pass `recipe`.
#[derive(Clone, Debug, Default)]
pub struct ExpandRecipe {
    /// The recipe and how a pipeline names it.
    recipe: Option<(String, Recipe)>,
    form: Form,
}

impl ExpandRecipe {
    /// The pass with a recipe of one's own. In a pipeline's text it goes by the recipe's name.
    pub fn new(recipe: Recipe) -> Self {
        let name = recipe.name().to_owned();
        Self::named(name, recipe)
    }

    /// The pass with the recipe of a preset or file, which a pipeline's text names so.
    pub fn named(name: impl Into<String>, recipe: Recipe) -> Self {
        Self {
            recipe: Some((name.into(), recipe)),
            form: Form::default(),
        }
    }

    /// The same in another form.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }
}

impl Pass for ExpandRecipe {
    fn name(&self) -> &'static str {
        "recipe"
    }

    fn summary(&self) -> &'static str {
        "computes the linears' products as a recipe says"
    }

    fn options(&self) -> Vec<OptionValue> {
        let name = self.recipe.as_ref().map_or("none", |(name, _)| name);
        let form = match self.form {
            Form::Factored => "factored",
            Form::Plain => "plain",
        };
        vec![
            OptionValue {
                name: "name",
                summary: "the recipe, which has to be given: a preset or a TOML file",
                value: name.to_owned(),
            },
            OptionValue {
                name: "form",
                summary: "terms of splits as rows and thin products (factored) or multiplied out (plain)",
                value: form.to_owned(),
            },
        ]
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match (name, value) {
            ("name", "none") => self.recipe = None,
            ("name", _) => {
                let recipe = named(value).map_err(|reason| OptionError::Refused { reason })?;
                self.recipe = Some((value.to_owned(), recipe));
            }
            ("form", "factored") => self.form = Form::Factored,
            ("form", "plain") => self.form = Form::Plain,
            ("form", _) => {
                return Err(OptionError::Value {
                    expected: "factored or plain",
                    found: value.to_owned(),
                });
            }
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let Some((_, recipe)) = &self.recipe else {
            return Err(PassFailure::refused(
                "expected a recipe, as in 'recipe{name=nvfp4}', found none",
            ));
        };
        let expansion = expand(module, recipe, self.form)?;
        for Row { row, outcome } in &expansion.rows {
            let what = match outcome {
                Outcome::Scaled(_) => "products quantised",
                Outcome::Kept(_) => "products kept",
            };
            report.count(what, 1);
            report.remark(&row.location, format!("{row}: {outcome}"));
        }
        for note in &expansion.notes {
            report.warn(note.to_string());
        }
        report.count("random roundings", expansion.sites);
        report.count("states added", expansion.states.len());
        Ok(expansion.module)
    }
}

/// The preset of that name, or the recipe of a file of that name; else what is wrong.
fn named(name: &str) -> Result<Recipe, String> {
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        return preset(name).map_err(|error| {
            let names = error.names.join(", ");
            format!("{error}; expected a TOML file, FILE.toml, or one of {names}")
        });
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Recipe::parse(&text, &stem).map_err(|error| {
        let Diagnostic { message, span, .. } = error.diagnostic();
        let (line, column) = line_and_column(&text, span.start);
        format!("{name}:{line}:{column}: {message}")
    })
}
