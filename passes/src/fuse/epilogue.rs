//! What a dot kernel may compute of its product before it is written: the epilogue.
//!
//! These are elementwise ops on the product, each element by itself, and what their other operands are made of. Reshapes
//! of the product that keep its rows move nothing.

use super::contract::Refusal;
use super::cost::weight;
use std::collections::BTreeSet;
use tessera_ir::{Graph, OpKind, ValueId};

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
    let mut total = 0;
    for &number in &epilogue {
        let operation = &graph.operations()[number];
        total += weight(&operation.op.kind);
        let shape = graph.value_type(operation.result()).shape();
        let operands = operation.op.operands.iter();
        let mut shapes = operands
            .filter(|operand| of_product.contains(operand))
            .map(|&operand| graph.value_type(operand).shape())
            .peekable();
        if shapes.peek().is_none() {
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
    if total > MOST_WEIGHT {
        return Err("an epilogue that costs too much");
    }
    if !exports.is_subset(&of_product) {
        return Err("a result that the product is no part of");
    }
    Ok(())
}
