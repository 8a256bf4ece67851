//! `tessera analyze --matmul`: what each method costs the product of two tensors.

use super::{matrix, write_json};
use crate::Failure;
use crate::analysis::{Column, Matrix, Operand, ProductError, analyze_product};
use crate::checkpoint::{Checkpoint, Selection, axis_of};
use crate::cli::arguments::AnalyzeArguments;
use crate::cli::columns::columns;
use crate::cli::print;
use crate::cli::quantize::{percent, shape};
use std::path::Path;

pub(super) fn matmul(
    arguments: &AnalyzeArguments,
    [lhs, rhs]: [&str; 2],
    methods: &[Column],
) -> Result<(), Failure> {
    // The left operand is summed over its last dimension, however many it has.
    let (_, lhs, lhs_axis) = operand(lhs, -1)?;
    let (name, rhs, rhs_axis) = operand(rhs, arguments.axis)?;
    if rhs.shape().len() != 2 {
        return Err(Failure::error(format!(
            "the weight '{name}' of shape {} has more than two dimensions",
            shape(rhs.shape())
        )));
    }
    let (found, expected) = (rhs.shape()[rhs_axis], lhs.columns());
    if found != expected {
        return Err(Failure::error(format!(
            "the activation's last dimension is {expected}, the weight's axis {rhs_axis} is {found}: a product sums over \
             equal ones; --axis chooses the weight's"
        )));
    }
    let operands = [(&lhs, lhs_axis), (&rhs, rhs_axis)];
    let operands = operands.map(|(matrix, axis)| Operand { matrix, axis });
    let errors = analyze_product(&name, operands, methods, arguments.seed);
    let Some(errors) = errors.map_err(Failure::error)? else {
        return Err(Failure::error("the product is zero or not finite"));
    };
    write_json(arguments, &errors)?;
    print(&table(&errors))
}

/// The tensor that `FILE#TENSOR` names, and its axis counted from the front.
fn operand(text: &str, axis: isize) -> Result<(String, Matrix, usize), Failure> {
    let Some((path, name)) = text.rsplit_once('#') else {
        let message = format!("--matmul '{text}': expected FILE#TENSOR");
        return Err(Failure::error(message));
    };
    let checkpoint = Checkpoint::open(Path::new(path))?;
    let failed = |message: String| Failure::in_file(path, message);
    let entries = Selection::new(&[name.to_owned()]).entries(&checkpoint)?;
    let [entry] = entries.as_slice() else {
        let message = format!(
            "'{name}' stands for {} tensors, expected one",
            entries.len()
        );
        return Err(failed(message));
    };
    let matrix = matrix(entry)
        .map_err(|reason| failed(format!("tensor '{name}' cannot be analysed: {reason}")))?;
    let axis = axis_of(entry, axis).map_err(failed)?;
    Ok((entry.name.to_owned(), matrix, axis))
}

fn table(errors: &[ProductError]) -> String {
    let rows = errors.iter().map(|error| {
        let cells = match error.errors {
            Some(own) => [own.lhs, own.rhs, own.product].map(percent).to_vec(),
            None => vec!["kept".to_owned(); 3],
        };
        [error.method.clone()].into_iter().chain(cells).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    columns(&["relative error", "lhs", "rhs", "product"], &rows, 1)
}
