//! `tessera analyze`: what the tensors of a file are like, and what each way of quantising them costs.

mod matmul;

use super::arguments::AnalyzeArguments;
use super::columns::columns;
use super::quantize::{list, percent, progress_bar, shape};
use super::{output, print, recipe};
use crate::analysis::{Column, Matrix, Report, analyze as figures, svg};
use crate::checkpoint::{Checkpoint, Entry, Selection, axis_of, element_of};
use crate::{Failure, words};
use serde::Serialize;
use std::path::Path;
use tessera_passes::linears::{Role, Side};

pub(super) fn analyze(arguments: &AnalyzeArguments) -> Result<(), Failure> {
    let side = words::find("operand", &arguments.operand, &Side::ALL, Side::name);
    let side = side.map_err(Failure::error)?;
    let role = role(arguments, side)?;
    let methods = methods(arguments, side, role)?;
    if let [lhs, rhs] = arguments.matmul.as_slice() {
        return matmul::matmul(arguments, role, [lhs, rhs], &methods);
    }
    // Clap asks for a file where no product is asked for.
    let input = arguments.input.as_deref().unwrap_or(Path::new("-"));
    let checkpoint = Checkpoint::open(input)?;
    let selection = Selection::new(&arguments.tensors);
    let entries = selection.entries(&checkpoint)?;
    let total = entries.iter().map(|entry| entry.bytes.len() as u64);
    let bar = progress_bar(total.sum());
    let (mut reports, mut skipped) = (Vec::new(), Vec::new());
    for entry in &entries {
        bar.set_message(entry.name.to_owned());
        let is_named = selection.names(entry.name);
        match report(entry, (arguments, role), &methods) {
            Ok(report) => reports.push(report),
            Err(Obstacle::Skipped(reason)) if !is_named => skipped.push((entry.name, reason)),
            Err(Obstacle::Skipped(reason)) => {
                let message = format!("tensor '{}' cannot be analysed: {reason}", entry.name);
                return Err(Failure::in_file(&checkpoint.name(), message));
            }
            Err(Obstacle::Refused(message)) => {
                return Err(Failure::in_file(&checkpoint.name(), message));
            }
        }
        bar.inc(entry.bytes.len() as u64);
    }
    bar.finish_and_clear();
    notify_skipped(skipped);
    if reports.is_empty() {
        let message = "it has no tensor to analyse";
        return Err(Failure::in_file(&checkpoint.name(), message));
    }
    if let Some(path) = &arguments.svg {
        output::write_file(path, svg(&reports).as_bytes())?;
    }
    write_json(arguments, &reports)?;
    print(&tables(&reports))
}

/// What --json asks for.
fn write_json<T: Serialize>(arguments: &AnalyzeArguments, figures: &T) -> Result<(), Failure> {
    let Some(path) = &arguments.json else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(figures).map_err(Failure::error)?;
    output::write_file(path, format!("{json}\n").as_bytes())
}

/// The product that the tensors are operands of.
fn role(arguments: &AnalyzeArguments, side: Side) -> Result<Role, Failure> {
    let Some(role) = &arguments.role else {
        return Ok(match side {
            Side::Activation | Side::Weight => Role::Forward,
            Side::Gradient => Role::Dgrad,
        });
    };
    let role = words::find("role", role, &Role::ALL, Role::name).map_err(Failure::error)?;
    let [first, second] = Side::of(role);
    // Of a product of two tensors these are both.
    if arguments.matmul.is_empty() && side != first && side != second {
        return Err(Failure::error(format!(
            "{role} multiplies {first} and {second}, not {side}: --operand says which the tensors are"
        )));
    }
    Ok(role)
}

/// The methods that the flags ask for.
fn methods(arguments: &AnalyzeArguments, side: Side, role: Role) -> Result<Vec<Column>, Failure> {
    if arguments.recipe.is_empty() {
        return Column::usual().map_err(Failure::error);
    }
    let recipes = arguments.recipe.iter();
    recipes
        .map(|name| Ok(Column::Recipe(Box::new(recipe::find(name)?), side, role)))
        .collect()
}

/// Why a tensor has no figures.
enum Obstacle {
    /// It is not of the kind that has.
    Skipped(String),
    /// What the user asks for does not go.
    Refused(String),
}

fn report(
    entry: &Entry<'_>,
    (arguments, role): (&AnalyzeArguments, Role),
    methods: &[Column],
) -> Result<Report, Obstacle> {
    let matrix = matrix(entry).map_err(Obstacle::Skipped)?;
    let axis =
        axis_of(entry, arguments.axis.unwrap_or(usual_axis(role))).map_err(Obstacle::Refused)?;
    figures(entry.name, &matrix, axis, methods, arguments.seed)
        .map_err(|error| Obstacle::Refused(error.to_string()))
}

/// The dimension that a product sums over, counted from the end: features last, tokens before them.
fn usual_axis(role: Role) -> isize {
    match role {
        Role::Forward | Role::Dgrad => -1,
        Role::Wgrad => -2,
    }
}

/// The tensor as a matrix, or why it is none that has figures.
fn matrix(entry: &Entry<'_>) -> Result<Matrix, String> {
    let element = element_of(entry).map_err(|reason| reason.to_string())?;
    Matrix::new(entry.shape, element.to_f32(entry.bytes)).map_err(|reason| reason.to_string())
}

/// Says which tensors were left out, reason by reason.
fn notify_skipped(mut skipped: Vec<(&str, String)>) {
    skipped.sort_by(|(_, a), (_, b)| a.cmp(b));
    for same in skipped.chunk_by(|(_, a), (_, b)| a == b) {
        let names: Vec<&str> = same.iter().map(|&(name, _)| name).collect();
        let reason = &same[0].1;
        notice!("note: not analysed: {} ({reason})", list(&names));
    }
}

/// Two tables: what the tensors are like, and the errors.
fn tables(reports: &[Report]) -> String {
    let headings = [
        "tensor", "shape", "mean", "first", "1.5 %", "5 %", "range", "in block", "at most",
        "scales",
    ];
    let rows: Vec<Vec<String>> = reports.iter().map(likeness).collect();
    let likeness = columns(&headings, &rows, 2);
    let methods = reports
        .first()
        .into_iter()
        .flat_map(|report| &report.errors);
    let mut headings = vec!["relative error"];
    headings.extend(methods.map(|error| error.method.as_str()));
    let rows: Vec<Vec<String>> = reports.iter().map(errors).collect();
    let errors = columns(&headings, &rows, 1);
    format!("{likeness}\n{errors}")
}

fn likeness(report: &Report) -> Vec<String> {
    let (energy, range) = (&report.energy, &report.range);
    let shares = [
        energy.mean,
        energy.first,
        energy.leading_1_5_percent,
        energy.leading_5_percent,
    ];
    let ranges = [
        range.tensor,
        range.block_median,
        range.block_largest,
        range.scales,
    ];
    let names = [report.tensor.clone(), shape(&report.shape)].into_iter();
    let shares = shares.into_iter().map(percent);
    let ranges = ranges.into_iter().map(|bits| format!("{bits:.1}"));
    names.chain(shares).chain(ranges).collect()
}

fn errors(report: &Report) -> Vec<String> {
    let errors = report.errors.iter().map(|error| {
        let own = error.relative_error;
        own.map_or_else(|| "kept".to_owned(), percent)
    });
    [report.tensor.clone()].into_iter().chain(errors).collect()
}
