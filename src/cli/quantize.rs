//! `tessera quantize`: checkpoints into low-precision formats, and back.

use super::arguments::QuantizeArguments;
use super::columns::columns;
use super::inspect::bytes;
use super::{print, recipe};
use crate::checkpoint::{Checkpoint, Loss, Outcome, Plan, Selection, Settings, Way};
use crate::checkpoint::{dequantize, quantize as quantize_to, unheeded};
use crate::{Failure, words};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use tessera_numerics::{BlockShape, Format, Rounding, ScaleLayout, ScaleRule};
use tessera_passes::recipes::Scaling;

pub(super) fn quantize(arguments: &QuantizeArguments) -> Result<(), Failure> {
    let same = |path: &Path| path.canonicalize().ok();
    if same(&arguments.input).is_some_and(|input| same(&arguments.output) == Some(input)) {
        let message = "the output is the input: quantising would leave nothing of the original";
        return Err(Failure::in_file(
            &arguments.output.display().to_string(),
            message,
        ));
    }
    if arguments.dequantize {
        return back(arguments);
    }
    let settings = settings(arguments)?;
    let checkpoint = Checkpoint::open(&arguments.input)?;
    let plan = Plan::new(&checkpoint, &settings)?;
    for (reason, names) in plan.copied() {
        notice!("note: copied unchanged: {} ({reason})", list(&names));
    }
    if plan.quantized().next().is_none() {
        let message = "it has no tensor to quantise: nothing is written";
        return Err(Failure::in_file(&checkpoint.name(), message));
    }
    let total = checkpoint.entries().map(|entry| entry.bytes.len() as u64);
    let bar = progress_bar(total.sum());
    let outcomes = quantize_to(&plan, &arguments.output, &|done| bar.inc(done))?;
    bar.finish_and_clear();
    for outcome in &outcomes {
        if !outcome.loss.relative.is_finite() {
            let name = &outcome.name;
            notice!("warning: tensor '{name}' holds numbers that are not finite");
        }
    }
    print(&table(&outcomes))
}

/// `--dequantize`.
fn back(arguments: &QuantizeArguments) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&arguments.input)?;
    let total = checkpoint.entries().map(|entry| entry.bytes.len() as u64);
    let bar = progress_bar(total.sum());
    let count = dequantize(&checkpoint, &arguments.output, &|done| bar.inc(done))?;
    bar.finish_and_clear();
    let (output, tensors) = (arguments.output.display(), counted(count));
    notice!("note: {output}: {tensors} turned back");
    Ok(())
}

/// What the flags say, words looked up and combinations checked.
fn settings(arguments: &QuantizeArguments) -> Result<Settings, Failure> {
    let word = |text: String| Failure::error(text);
    let layout = words::find(
        "layout",
        &arguments.layout,
        &ScaleLayout::ALL,
        ScaleLayout::name,
    );
    let layout = layout.map_err(word)?;
    let (way, seed) = match &arguments.recipe {
        Some(name) => {
            let recipe = recipe::find(name)?;
            if let Some(note) = unheeded(&recipe) {
                notice!("note: {note}");
            }
            let seed = recipe.seed();
            (Way::Recipe(Box::new(recipe)), seed)
        }
        None => {
            let scaling = scaling(arguments)?;
            if arguments.seed.is_some() && !scaling.rounding().is_random() {
                notice!(
                    "note: --seed changes nothing: {} draws no random bits",
                    scaling.rounding()
                );
            }
            (Way::Scaling(scaling), 0)
        }
    };
    Ok(Settings {
        way,
        axis: arguments.axis,
        layout,
        seed: arguments.seed.unwrap_or(seed),
        selection: Selection::new(&arguments.tensors),
    })
}

fn scaling(arguments: &QuantizeArguments) -> Result<Scaling, Failure> {
    let word = |text: String| Failure::error(text);
    // Clap asks for a format where neither a recipe nor the way back is asked for.
    let format = arguments.format.as_deref().unwrap_or_default();
    let format = words::find("format", format, &Format::ALL, Format::name).map_err(word)?;
    let blocks = match &arguments.blocks {
        Some(blocks) => {
            words::find("block shape", blocks, &BlockShape::ALL, BlockShape::name).map_err(word)?
        }
        None => BlockShape::Vector,
    };
    let rule = match &arguments.rule {
        Some(rule) => {
            words::find("scale rule", rule, &ScaleRule::ALL, ScaleRule::name).map_err(word)?
        }
        None => ScaleRule::default_for(format),
    };
    let rounding = match &arguments.rounding {
        Some(rounding) => {
            words::find("rounding", rounding, &Rounding::ALL, Rounding::name).map_err(word)?
        }
        None => Rounding::NearestEven,
    };
    Scaling::new(format, blocks, rule, rounding).map_err(Failure::error)
}

/// Some names of many: `4 tensors: a, b, c and 1 more`.
pub(super) fn list(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {shown}{more}", counted(names.len()))
}

/// `1 tensor`, `2 tensors`.
fn counted(count: usize) -> String {
    let tensors = if count == 1 { "tensor" } else { "tensors" };
    format!("{count} {tensors}")
}

/// Drawn on standard error where that is a terminal.
pub(super) fn progress_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {msg}  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A line a tensor, and a last one for all.
fn table(outcomes: &[Outcome]) -> String {
    let headings = [
        "tensor",
        "shape",
        "before",
        "after",
        "relative error",
        "largest error",
        "zeros",
    ];
    let mut rows: Vec<Vec<String>> = outcomes.iter().map(row).collect();
    let before = outcomes.iter().map(|outcome| outcome.before).sum();
    let after = outcomes.iter().map(|outcome| outcome.after).sum();
    rows.push(vec![
        format!("{} in all", outcomes.len()),
        String::new(),
        bytes(before),
        bytes(after),
    ]);
    columns(&headings, &rows, 2)
}

fn row(outcome: &Outcome) -> Vec<String> {
    let Loss {
        relative,
        largest,
        zeros,
    } = outcome.loss;
    vec![
        outcome.name.clone(),
        shape(&outcome.shape),
        bytes(outcome.before),
        bytes(outcome.after),
        percent(relative),
        format!("{largest:.3e}"),
        percent(zeros),
    ]
}

/// `8x256`.
pub(super) fn shape(dimensions: &[usize]) -> String {
    let each: Vec<String> = dimensions.iter().map(usize::to_string).collect();
    each.join("x")
}

/// `9.43 %`, with three digits where there are so many before the point.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_tensor_and_one_for_all() {
        let outcome = |name: &str, before, after| Outcome {
            name: name.to_owned(),
            shape: vec![before / 128, 32],
            before,
            after,
            loss: Loss {
                relative: 0.0943,
                largest: 0.0123,
                zeros: 0.07,
            },
        };
        let outcomes = [outcome("wq", 4096, 580), outcome("w_gate", 8192, 1156)];
        let expected = "\
tensor    shape    before    after  relative error  largest error   zeros
wq        32x32   4.0 KiB    580 B          9.43 %       1.230e-2  7.00 %
w_gate    64x32   8.0 KiB  1.1 KiB          9.43 %       1.230e-2  7.00 %
2 in all         12.0 KiB  1.7 KiB
";
        assert_eq!(table(&outcomes), expected);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(&["a"]), "1 tensor: a");
        assert_eq!(
            list(&["a", "b", "c", "d", "e"]),
            "5 tensors: a, b, c, d and 1 more"
        );
    }
}
