//! Rules for loops and branches.

use super::facts;
use super::fold::evaluate_graph;
use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use crate::rebuild::{with_inputs, with_selected_inputs};
use tessera_ir::{Op, OpError, OpKind, Region, Tensor, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "loop never entered",
        apply: while_never_entered,
    },
    Rule {
        name: "carried unchanged",
        apply: while_carried_unchanged,
    },
    Rule {
        name: "captured by loop",
        apply: while_captured,
    },
    Rule {
        name: "known branch",
        apply: case_known,
    },
    Rule {
        name: "captured by branches",
        apply: case_captured,
    },
];

/// A loop whose condition does not hold at first gives what it was given.
fn while_never_entered(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::While { condition, .. } = c.kind else {
        return Ok(None);
    };
    let Some(limits) = s.limits else {
        return Ok(None);
    };
    let used = condition.use_counts();
    let (mut known, mut arguments) = (Vec::new(), Vec::new());
    for (number, &operand) in c.operands.iter().enumerate() {
        if used[number] == 0 {
            continue;
        }
        match facts::splat(&s.graph, operand) {
            Some(scalar) if s.shape(operand).is_empty() => arguments.push(scalar.clone()),
            _ => return Ok(None),
        }
        known.push(number);
    }
    let condition = with_selected_inputs(condition, &known)?;
    let Some(results) = evaluate_graph(&condition, &arguments, limits.fold_elements) else {
        return Ok(None);
    };
    let enters = results.first().and_then(facts::as_integer);
    Ok((enters == Some(0)).then(|| c.operands[..c.results.len()].to_vec()))
}

/// A carried value that the body gives back as it took it is the same in each iteration: it is captured.
fn while_carried_unchanged(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::While { condition, body } = c.kind else {
        return Ok(None);
    };
    let carried = c.results.len();
    let is_unchanged = |n: usize| Some(body.results()[n].value) == body.input_value(n);
    let (unchanged, changed): (Vec<usize>, Vec<usize>) =
        (0..carried).partition(|&n| is_unchanged(n));
    if unchanged.is_empty() {
        return Ok(None);
    }
    // The new order of operands: what still changes, what was captured, what is captured from now on.
    let order: Vec<usize> = changed
        .iter()
        .copied()
        .chain(carried..c.operands.len())
        .chain(unchanged.iter().copied())
        .collect();
    let mut body = with_selected_inputs(body, &order)?;
    let kept: Vec<_> = changed.iter().map(|&n| body.results()[n].clone()).collect();
    body.set_results(kept);
    let kind = OpKind::While {
        condition: Region::new(with_selected_inputs(condition, &order)?),
        body: Region::new(body),
    };
    let operands = order.iter().map(|&n| c.operands[n]).collect();
    let new = s.emit(kind, operands, c.location)?;
    let mut results = c.operands[..carried].to_vec();
    for (&position, value) in changed.iter().zip(new) {
        results[position] = value;
    }
    Ok(Some(results))
}

/// What a captured value becomes inside.
enum Captured {
    /// Nothing: it is not used.
    Gone,
    /// Still an input, of that number.
    Input(usize),
    /// Made inside by these ops, the last of which gives it.
    Inside(Vec<Op<usize>>),
}

/// Captured values that are known are made inside; those captured twice are captured once; those unused are not.
fn while_captured(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::While { condition, body } = c.kind else {
        return Ok(None);
    };
    let fixed = c.results.len();
    let Some((captured, operands)) = simplify_captured(s, c.operands, fixed, &[condition, body])
    else {
        return Ok(None);
    };
    let kind = OpKind::While {
        condition: with_captured(s, condition, fixed, &captured)?,
        body: with_captured(s, body, fixed, &captured)?,
    };
    s.emit(kind, operands, c.location).map(Some)
}

/// The same for branches.
fn case_captured(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Case { branches } = c.kind else {
        return Ok(None);
    };
    let regions: Vec<&Region> = branches.iter().collect();
    let Some((captured, operands)) = simplify_captured(s, &c.operands[1..], 0, &regions) else {
        return Ok(None);
    };
    let mut new = Vec::with_capacity(branches.len());
    for branch in branches {
        new.push(with_captured(s, branch, 0, &captured)?);
    }
    let kind = OpKind::Case { branches: new };
    let operands = [&c.operands[..1], &operands].concat();
    s.emit(kind, operands, c.location).map(Some)
}

/// What becomes of the operands from number `fixed` on, and the operands that are left; `None` where nothing changes.
fn simplify_captured(
    s: &Simplifier<'_>,
    operands: &[ValueId],
    fixed: usize,
    regions: &[&Region],
) -> Option<(Vec<Captured>, Vec<ValueId>)> {
    let used: Vec<Vec<usize>> = regions.iter().map(|region| region.use_counts()).collect();
    let mut left = operands[..fixed].to_vec();
    let mut captured = Vec::with_capacity(operands.len() - fixed);
    for (number, &operand) in operands.iter().enumerate().skip(fixed) {
        if used.iter().all(|counts| counts[number] == 0) {
            captured.push(Captured::Gone);
        } else if let Some(ops) = known(s, operand) {
            captured.push(Captured::Inside(ops));
        } else if let Some(before) = left[fixed..].iter().position(|&value| value == operand) {
            captured.push(Captured::Input(fixed + before));
        } else {
            captured.push(Captured::Input(left.len()));
            left.push(operand);
        }
    }
    (left.len() < operands.len()).then_some((captured, left))
}

/// The ops that make a known value: a scalar constant, one broadcast, an iota. Operands count the ops before.
fn known(s: &Simplifier<'_>, value: ValueId) -> Option<Vec<Op<usize>>> {
    let op = s.definition(value)?;
    let without_operands = |kind: &OpKind| Op {
        kind: kind.clone(),
        operands: Vec::new(),
    };
    let is_scalar = |tensor: &Tensor| tensor.shape().is_empty();
    match &op.kind {
        OpKind::Constant { value } if is_scalar(value) => Some(vec![without_operands(&op.kind)]),
        OpKind::Iota { .. } => Some(vec![without_operands(&op.kind)]),
        OpKind::BroadcastInDim { .. } => {
            let inner = s.definition(op.operands[0])?;
            match &inner.kind {
                OpKind::Constant { value } if is_scalar(value) => {
                    let broadcast = Op {
                        kind: op.kind.clone(),
                        operands: vec![0],
                    };
                    Some(vec![without_operands(&inner.kind), broadcast])
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// A region whose inputs from number `fixed` on become what `captured` says.
fn with_captured(
    s: &mut Simplifier<'_>,
    region: &Region,
    fixed: usize,
    captured: &[Captured],
) -> Result<Region, OpError> {
    let mut inputs = region.inputs()[..fixed].to_vec();
    for (input, captured) in region.inputs()[fixed..].iter().zip(captured) {
        if matches!(captured, Captured::Input(number) if *number == inputs.len()) {
            inputs.push(input.clone());
        }
    }
    let graph = with_inputs(region, inputs, |graph| {
        let inputs: Vec<ValueId> = graph.input_values().collect();
        let mut arguments: Vec<_> = inputs[..fixed].iter().copied().map(Some).collect();
        for (number, captured) in captured.iter().enumerate() {
            let old = &region.inputs()[fixed + number];
            arguments.push(match captured {
                Captured::Gone => None,
                Captured::Input(new) => Some(inputs[*new]),
                Captured::Inside(ops) => {
                    let mut made: Vec<ValueId> = Vec::new();
                    for op in ops {
                        let operands: Vec<_> = op.operands.iter().map(|&n| made[n]).collect();
                        let location = old.location.clone();
                        made.push(graph.push_value(op.kind.clone(), operands, location)?);
                    }
                    made.last().copied()
                }
            });
        }
        Ok(arguments)
    })?;
    s.region(&graph)
}

/// Branches of which one is chosen already become that one's ops.
fn case_known(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Case { branches } = c.kind else {
        return Ok(None);
    };
    let last = branches.len() - 1;
    let chosen = match facts::integer(&s.graph, c.operands[0]) {
        Some(index) => usize::try_from(index).map_or(last, |index| index.min(last)),
        None if branches.iter().all(|branch| *branch == branches[0]) => 0,
        None => return Ok(None),
    };
    // The branch is simplified already; the next iteration lets it meet the graph around it.
    let arguments = &c.operands[1..];
    s.graph
        .splice(&branches[chosen], arguments, Clone::clone)
        .map(Some)
}
