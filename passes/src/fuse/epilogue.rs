//! What a dot kernel may compute of its product before it is written: the epilogue.
//!
//! These are elementwise ops on the product, each element by itself, and what their other operands are made of. Reshapes
//! of the product that keep its rows move nothing. Results may be largest magnitudes of all of what is made of the product:
//! threads find them in any order. What one begins with, no NaN, is an input, over which it is written.

use super::contract::Refusal;
use super::cost::weight;
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, ElementType, Graph, Op, OpKind, Operation, Unary, ValueId};

/// What all ops of an epilogue cost at most: a kernel repeats their code for each element that a thread has. Enough for
/// two transcendental functions and what is around them.
const MOST_WEIGHT: u64 = 100;

/// Checks the ops beside those of numbers `product`, of which `root` multiplies.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    product: &BTreeSet<usize>,
    root: usize,
    exports: &BTreeSet<ValueId>,
) -> Result<(), Refusal> {
    let made_by = |numbers: &BTreeSet<usize>| -> BTreeSet<ValueId> {
        let operations = numbers.iter().map(|&number| &graph.operations()[number]);
        operations
            .flat_map(|operation| operation.results())
            .collect()
    };
    let epilogue: BTreeSet<usize> = members.difference(product).copied().collect();
    let computed = made_by(&epilogue);
    for &number in product {
        let operands = &graph.operations()[number].op.operands;
        if operands.iter().any(|operand| computed.contains(operand)) {
            return Err("an operand of a product that is computed in its kernel");
        }
    }
    let mut of_product = BTreeSet::from([graph.operations()[root].result()]);
    let mut largest: BTreeSet<ValueId> = BTreeSet::new();
    let mut total = 0;
    for &number in &epilogue {
        let operation = &graph.operations()[number];
        if !matches!(operation.op.kind, OpKind::Reduce { .. }) {
            total += weight(&operation.op.kind);
        }
        let shape = graph.value_type(operation.result()).shape();
        let operands = operation.op.operands.iter();
        let mut shapes = operands
            .filter(|operand| of_product.contains(operand))
            .map(|&operand| graph.value_type(operand).shape())
            .peekable();
        if shapes.peek().is_none() {
            continue;
        }
        if let OpKind::Reduce { .. } = operation.op.kind {
            let init = of_magnitudes(graph, operation)?;
            if !is_read_once(graph, members, init) {
                return Err("a largest magnitude that cannot be written over what it begins with");
            }
            largest.insert(operation.result());
            continue;
        }
        let stays = match &operation.op.kind {
            OpKind::Reshape { .. } => shapes.all(|from| from.last() == shape.last()),
            kind => kind.is_elementwise() && shapes.all(|from| from == shape),
        };
        if !stays {
            return Err("what is computed of a product is moved");
        }
        of_product.insert(operation.result());
    }
    let is_used = |value: &ValueId| {
        let mut used = members.iter().map(|&number| &graph.operations()[number].op);
        used.any(|op| op.operands.contains(value))
    };
    if largest.iter().any(is_used) {
        return Err("what needs the largest of all that is made of a product");
    }
    if total > MOST_WEIGHT {
        return Err("an epilogue that costs too much");
    }
    let mut others = exports.difference(&of_product);
    if others.any(|export| !largest.contains(export)) {
        return Err("a result that the product is no part of");
    }
    Ok(())
}

/// What a reduction to the largest of all magnitudes of a tensor of f32 begins with.
fn of_magnitudes(graph: &Graph, operation: &Operation) -> Result<ValueId, Refusal> {
    const OTHERWISE: Refusal = "a reduction of a product that is not to the largest magnitude";
    let (OpKind::Reduce { dimensions, body }, &[magnitudes, init]) =
        (&operation.op.kind, &operation.op.operands[..])
    else {
        return Err(OTHERWISE);
    };
    let of = graph.tensor_type(magnitudes);
    let made = graph.defining_operation(magnitudes);
    let are_magnitudes = made.is_some_and(|made| made.op.kind == OpKind::Unary(Unary::Abs));
    let is_of_all = dimensions.len() == of.rank() && of.element == ElementType::F32;
    match is_maximum(body) && is_of_all && are_magnitudes {
        true => Ok(init),
        false => Err(OTHERWISE),
    }
}

/// Whether a reducer gives the larger of two numbers.
fn is_maximum(body: &Graph) -> bool {
    matches!(
        body.operations(),
        [Operation { op: Op { kind: OpKind::Binary(Binary::Maximum), operands }, .. }]
            if body.input_values().eq(operands.iter().copied())
    )
}

/// Whether one operand of some ops is a value.
fn is_read_once(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> bool {
    let operations = members.iter().map(|&number| &graph.operations()[number]);
    let operands = operations.flat_map(|operation| &operation.op.operands);
    operands.filter(|&&operand| operand == value).count() == 1
}

/// Whether a reduction is to the largest magnitude of what elementwise ops and reshapes make of a product.
pub(super) fn is_magnitude_of_product(graph: &Graph, operation: &Operation) -> bool {
    if of_magnitudes(graph, operation).is_err() {
        return false;
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![operation.op.operands[0]];
    while let Some(value) = open.pop() {
        let Some(definition) = graph
            .defining_operation(value)
            .filter(|_| seen.insert(value))
        else {
            continue;
        };
        match &definition.op.kind {
            kind if kind.is_product() => return true,
            OpKind::Reshape { .. } => open.extend(&definition.op.operands),
            kind if kind.is_elementwise() => open.extend(&definition.op.operands),
            _ => {}
        }
    }
    false
}

/// Of the largest magnitudes that a product's kernel finds: the number of the input that each begins with, and the result's.
pub(crate) fn magnitudes(body: &Graph) -> Vec<(usize, usize)> {
    let has_product = body.operations().iter().any(|one| one.op.kind.is_product());
    let results = body.results().iter().enumerate().filter(|_| has_product);
    let found = results.filter_map(|(number, result)| {
        let operation = body.defining_operation(result.value)?;
        let OpKind::Reduce { .. } = operation.op.kind else {
            return None;
        };
        match body.definition(*operation.op.operands.last()?) {
            Definition::Input(input) => Some((input, number)),
            Definition::Result { .. } => None,
        }
    });
    found.collect()
}
