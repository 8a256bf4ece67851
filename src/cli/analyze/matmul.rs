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
use tessera_passes::linears::{Role, Side};

pub(super) fn matmul(
    arguments: &AnalyzeArguments,
    role: Role,
    [lhs, rhs]: [&str; 2],
    methods: &[Column],
) -> Result<(), Failure> {
    let [left, right] = Side::of(role);
    // Tokens are summed over in wgrad; else the left operand's last dimension is, however many it has.
    let axes = match role {
        Role::Forward | Role::Dgrad => [-1, arguments.axis.unwrap_or(-1)],
        Role::Wgrad => [0, 0],
    };
    let (lhs_name, lhs, lhs_axis) = operand(lhs, axes[0])?;
    let (name, rhs, rhs_axis) = operand(rhs, axes[1])?;
    let has_more = |side: Side, name: &str, matrix: &Matrix| {
        Failure::error(format!(
            "the {side} '{name}' of shape {} has more than two dimensions",
            shape(matrix.shape())
        ))
    };
    if rhs.shape().len() != 2 {
        return Err(has_more(right, &name, &rhs));
    }
    if role == Role::Wgrad && lhs.shape().len() != 2 {
        return Err(has_more(left, &lhs_name, &lhs));
    }
    let (found, expected) = (rhs.shape()[rhs_axis], lhs.shape()[lhs_axis]);
    if found != expected {
        let message = match role {
            Role::Forward | Role::Dgrad => format!(
                "the {left}'s last dimension is {expected}, the {right}'s axis {rhs_axis} is {found}: a product sums \
                 over equal ones; --axis chooses the {right}'s"
            ),
            Role::Wgrad => format!(
                "the {left} has {expected} rows, the {right} {found}: wgrad sums over equal ones"
            ),
        };
        return Err(Failure::error(message));
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
