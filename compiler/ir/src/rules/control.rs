//! The rules of the ops that decide which graph is run, and how often.

use super::OpError;
use super::check::{Rule, list, region_inputs, require};
use crate::{Region, TensorType, Type};
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
    operands: &[&Type],
) -> Result<Vec<Type>, OpError> {
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
    operands: &[&Type],
) -> Result<Vec<Type>, OpError> {
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

#[cfg(test)]
mod tests {
    use crate::rules::testing::outcome;
    use crate::{Builder, ComparisonDirection, OpError, OpKind, ValueId};

    fn is_positive(
        b: &mut Builder,
        carried: &[ValueId],
        captured: &[ValueId],
    ) -> Result<ValueId, OpError> {
        b.compare(carried[0], captured[0], ComparisonDirection::Gt)
    }

    #[test]
    fn a_loop_gives_the_types_it_carries() {
        assert_eq!(
            outcome(["f32", "f32"], |b, [x, step]| {
                b.while_loop(&[x], &[step], is_positive, |b, carried, captured| {
                    Ok(vec![b.subtract(carried[0], captured[0])?])
                })
            }),
            "tensor<f32>"
        );
    }

    #[test]
    fn the_condition_of_a_loop_gives_one_boolean() {
        assert_eq!(
            outcome(["2xf32", "2xf32"], |b, [x, step]| {
                b.while_loop(&[x], &[step], is_positive, |_, carried, _| {
                    Ok(carried.to_vec())
                })
            }),
            "'tsr.while' (C1): the condition must have type (tensor<2xf32>, tensor<2xf32>) -> tensor<i1>, found (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>"
        );
    }

    #[test]
    fn the_body_of_a_loop_gives_what_is_carried() {
        let body = |body: fn(&mut Builder, ValueId) -> Result<Vec<ValueId>, OpError>| {
            outcome(["f32", "f32"], |b, [x, step]| {
                b.while_loop(&[x], &[step], is_positive, |b, carried, _| {
                    body(b, carried[0])
                })
            })
        };
        assert_eq!(
            body(|b, x| Ok(vec![b.is_finite(x)?])),
            "'tsr.while' (C2): the body must have type (tensor<f32>, tensor<f32>) -> tensor<f32>, found (tensor<f32>, tensor<f32>) -> tensor<i1>"
        );
        assert_eq!(
            body(|_, x| Ok(vec![x, x, x])),
            "'tsr.while' (C2): the body must give back at most as many values as there are operands, 2, found 3"
        );
    }

    #[test]
    fn all_branches_take_and_give_the_same() {
        type Branch = fn(&mut Builder, ValueId) -> Result<Vec<ValueId>, OpError>;
        let case = |index: &str, branches: &[Branch]| {
            outcome([index, "2xf32"], |b, [index, x]| {
                b.case(index, &[x], branches.len(), |b, number, captured| {
                    branches[number](b, captured[0])
                })
            })
        };
        let (same, finite): (Branch, Branch) =
            (|_, x| Ok(vec![x]), |b, x| Ok(vec![b.is_finite(x)?]));
        assert_eq!(case("i32", &[same, same]), "tensor<2xf32>");
        assert_eq!(
            case("i64", &[same]),
            "'tsr.case' (I1): the index must be tensor<i32>, found tensor<i64>"
        );
        assert_eq!(
            case("i32", &[]),
            "'tsr.case' (C1): expected at least one branch"
        );
        assert_eq!(
            case("i32", &[same, finite]),
            "'tsr.case' (C3): branch 1 must give what branch 0 gives, (tensor<2xf32>), found (tensor<2xi1>)"
        );
    }

    #[test]
    fn branches_take_the_captured_values() {
        assert_eq!(
            outcome(["i32", "f32"], |b, [index, x]| {
                b.case(index, &[x], 1, |_, _, captured| Ok(captured.to_vec()))?;
                let kind = b.graph().operations()[0].op.kind.clone();
                b.push(kind, [index, x, x])
            }),
            "'tsr.case' (C2): branch 0 must take the captured values, (tensor<f32>, tensor<f32>), found (tensor<f32>)"
        );
        assert_eq!(
            outcome([], |b, []| b.push(OpKind::Case { branches: vec![] }, [])),
            "'tsr.case' (operands): expected an index and captured values, found no operands"
        );
    }

    #[test]
    fn a_barrier_gives_what_it_takes() {
        assert_eq!(
            outcome(["2xf32", "i1"], |b, values| b.optimization_barrier(&values)),
            "tensor<2xf32>, tensor<i1>"
        );
    }
}
