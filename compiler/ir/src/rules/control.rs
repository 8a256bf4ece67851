//! The rules of the ops that decide which graph is run, and how often.

use super::OpError;
use super::check::{Rule, list, region_inputs, require};
use crate::{Region, TensorType};
use tessera_numerics::ElementType;

/// - (C1) the condition takes all operands, carried and captured, and gives a boolean scalar.
/// - (C2) the body takes the same, and gives values of the carried ones' types: those of the first operands, as many
///   as the body gives.
///
/// (C3) The results have the carried values' types.
pub(super) fn while_loop(
    rule: Rule,
    condition: &Region,
    body: &Region,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let boolean = TensorType::scalar(ElementType::I1);
    rule.signature("C1", "the condition", condition, operands, &[&boolean])?;
    let carried = rule.region_results("C2", "the body", body)?.len();
    require!(
        rule,
        "C2",
        carried <= operands.len(),
        "the body must give back at most as many values as there are operands, {}, found {carried}",
        operands.len()
    );
    let carried = &operands[..carried];
    rule.signature("C2", "the body", body, operands, carried)?;
    Ok(carried.iter().map(|&carried| carried.clone()).collect())
}

/// - (I1) the index is an i32 scalar.
/// - (C1) there is a branch.
/// - (C2) each branch takes the captured values. (In StableHLO it takes none and reaches them from within.)
/// - (C3) all give values of one list of types, which are the results'.
pub(super) fn case(
    rule: Rule,
    branches: &[Region],
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let Some((index, captured)) = operands.split_first() else {
        let message = "expected an index and captured values, found no operands";
        return Err(rule.error("operands", message.to_owned()));
    };
    require!(
        rule,
        "I1",
        **index == TensorType::scalar(ElementType::I32),
        "the index must be tensor<i32>, found {index}"
    );
    let Some((first, rest)) = branches.split_first() else {
        return Err(rule.error("C1", "expected at least one branch".to_owned()));
    };
    for (number, branch) in branches.iter().enumerate() {
        let inputs = region_inputs(branch);
        require!(
            rule,
            "C2",
            inputs == captured,
            "branch {number} must take the captured values, ({}), found ({})",
            list(captured),
            list(&inputs)
        );
    }
    let results = rule.region_results("C3", "branch 0", first)?;
    for (number, branch) in rest.iter().enumerate() {
        let number = number + 1;
        let found = rule.region_results("C3", &format!("branch {number}"), branch)?;
        require!(
            rule,
            "C3",
            found == results,
            "branch {number} must give what branch 0 gives, ({}), found ({})",
            list(&results),
            list(&found)
        );
    }
    Ok(results.into_iter().cloned().collect())
}
