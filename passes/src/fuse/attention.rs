//! What an attention kernel may hold: products that are in no memory, the *scores*, the *weights* that are made of them, and
//! what is made of the weights: sums along their rows, or one product more.
//!
//! The weights are made of a tile of the scores at a time. So a kernel has at its end what needs each weight once; a sum
//! of weights that need another sum of the same rows is another kernel's, but for a softmax's two: while the largest score
//! of a row grows, the sum of exp(score − largest) that there is is made smaller by exp(old − new).

use super::contract::Refusal;
use super::dot::{consumers, producers};
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, ElementType, Graph, OpKind, Operation, Unary, ValueId};

/// What an attention kernel computes.
#[derive(Clone, Debug, Default)]
pub(super) struct Attention {
    /// The shape of scores and weights: batch dimensions, rows, columns.
    pub(super) shape: Vec<usize>,
    /// The scores and all that is made of them, of their shape.
    pub(super) weights: BTreeSet<ValueId>,
    /// The number of the op that multiplies weights, if one does.
    pub(super) product: Option<usize>,
    /// The numbers of those that reduce their rows.
    reductions: Vec<usize>,
}

/// Whether ops that give their kernel a family are those of products in no memory: two products, or one of which rows are
/// reduced.
pub(super) fn has_scores(graph: &Graph, roots: &[usize]) -> bool {
    let is_reduction = |root: usize| {
        let operation = &graph.operations()[root];
        matches!(operation.op.kind, OpKind::Reduce { .. })
            && !graph.value_type(operation.result()).shape().is_empty()
    };
    let (products, others): (Vec<usize>, Vec<usize>) =
        (roots.iter()).partition(|&&root| is_dot_general(&graph.operations()[root]));
    let are_reductions = others.iter().all(|&root| is_reduction(root));
    are_reductions && products.len() + usize::from(!others.is_empty()) > 1 && !products.is_empty()
}

/// Checks the ops of an attention kernel.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    exports: &BTreeSet<ValueId>,
) -> Result<Attention, Refusal> {
    let mut found = Attention::default();
    for &number in members {
        found.add(graph, members, number)?;
    }
    let results: BTreeSet<ValueId> = match found.product {
        Some(_) if !found.reductions.is_empty() => {
            return Err("a product of weights beside sums of their rows");
        }
        Some(number) => {
            let product = graph.operations()[number].result();
            let last = consumers(graph, members, product).last().copied();
            BTreeSet::from([last.map_or(product, |last| graph.operations()[last].result())])
        }
        None => {
            found.check_reductions(graph)?;
            let reductions = found.reductions.iter();
            reductions
                .map(|&number| graph.operations()[number].result())
                .collect()
        }
    };
    match *exports == results {
        true => Ok(found),
        false => Err("a result that is not what an attention kernel ends with"),
    }
}

impl Attention {
    /// Adds what an op is of the kernel.
    fn add(
        &mut self,
        graph: &Graph,
        members: &BTreeSet<usize>,
        number: usize,
    ) -> Result<(), Refusal> {
        let operation = &graph.operations()[number];
        let operands = &operation.op.operands;
        let of_weights = operands
            .iter()
            .any(|operand| self.weights.contains(operand));
        match &operation.op.kind {
            OpKind::DotGeneral { .. } => {
                for &operand in operands.iter().filter(|o| !self.weights.contains(o)) {
                    let first = producers(graph, members, operand).last().copied();
                    let read =
                        first.map_or(operand, |first| graph.operations()[first].op.operands[0]);
                    if is_computed(graph, members, read) {
                        return Err("an operand of a product that is computed in its kernel");
                    }
                }
                match of_weights {
                    true => self.add_product(graph, number),
                    false => self.add_scores(graph, operation),
                }
            }
            OpKind::Reduce { dimensions, .. } => {
                let columns = self.shape.len().saturating_sub(1);
                let is_of_weights = operands.len() == 2 && self.weights.contains(&operands[0]);
                if !is_of_weights || dimensions[..] != [columns] {
                    return Err("a reduction of other than the rows of weights");
                }
                self.reductions.push(number);
                Ok(())
            }
            kind if of_weights => {
                let stays = |value: ValueId| graph.value_type(value).shape() == self.shape;
                let result = operation.result();
                if !kind.is_elementwise() || !stays(result) || !operands.iter().all(|&o| stays(o)) {
                    return Err("what is computed of a product in no memory is moved");
                }
                self.weights.insert(result);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a product in no memory.
    fn add_scores(&mut self, graph: &Graph, operation: &Operation) -> Result<(), Refusal> {
        let shape = &graph.tensor_type(operation.result()).shape;
        let OpKind::DotGeneral {
            lhs_batching_dimensions: batch,
            lhs_contracting_dimensions: contracting,
            ..
        } = &operation.op.kind
        else {
            return Err("scores that are no product");
        };
        let lhs = graph.tensor_type(operation.op.operands[0]).rank();
        let rows = lhs - batch.len() - contracting.len();
        if rows == 0 || shape.len() != batch.len() + rows + 1 {
            return Err("scores without rows, or without one dimension of columns");
        }
        if !self.weights.is_empty() && self.shape != *shape {
            return Err("scores of different shapes");
        }
        self.shape.clone_from(shape);
        self.weights.insert(operation.result());
        Ok(())
    }

    /// Adds the product of weights.
    fn add_product(&mut self, graph: &Graph, number: usize) -> Result<(), Refusal> {
        let OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            ..
        } = &graph.operations()[number].op.kind
        else {
            return Err("weights in what is no product");
        };
        let operands = &graph.operations()[number].op.operands;
        let are_weights = [0, 1].map(|n| self.weights.contains(&operands[n]));
        let (batching, contracting) = match are_weights {
            [true, false] => (lhs_batching_dimensions, lhs_contracting_dimensions),
            [false, true] => (rhs_batching_dimensions, rhs_contracting_dimensions),
            _ => return Err("a product of weights by weights"),
        };
        let (batch, columns) = (batching.len(), self.shape.len() - 1);
        let by_columns = contracting.iter().copied().eq([columns]);
        let by_rows = contracting.iter().copied().eq(batch..columns);
        if !batching.iter().copied().eq(0..batch) || batch >= columns || !(by_columns || by_rows) {
            return Err("a product of weights along neither rows nor columns");
        }
        match self.product.replace(number) {
            None => Ok(()),
            Some(_) => Err("two products of weights"),
        }
    }

    /// Checks that sums of rows are one, or a softmax's.
    fn check_reductions(&self, graph: &Graph) -> Result<(), Refusal> {
        match self.reductions[..] {
            [_] => Ok(()),
            [maximum, sum] if is_softmax(graph, [maximum, sum]) => Ok(()),
            [] => Err("scores of which nothing is made"),
            _ => Err("sums of rows that are not a softmax's"),
        }
    }
}

/// Whether reductions are the largest of weights of f32, x, and the sum of exp(x − largest).
pub(super) fn is_softmax(graph: &Graph, [maximum, sum]: [usize; 2]) -> bool {
    let operation = |number: usize| &graph.operations()[number];
    let made_by = |value: ValueId| graph.defining_operation(value).map(|one| &one.op);
    let x = operation(maximum).op.operands[0];
    let made_of_difference = || {
        let exponential = made_by(operation(sum).op.operands[0])?;
        let difference = made_by(exponential.operands[0])?;
        let repeated = made_by(*difference.operands.get(1)?)?;
        let is_softmax = exponential.kind == OpKind::Unary(Unary::Exponential)
            && difference.kind == OpKind::Binary(Binary::Subtract)
            && difference.operands[0] == x
            && matches!(repeated.kind, OpKind::BroadcastInDim { .. })
            && repeated.operands[0] == operation(maximum).result();
        Some(is_softmax)
    };
    graph.tensor_type(x).element == ElementType::F32
        && reducer(operation(maximum)) == Some(Binary::Maximum)
        && reducer(operation(sum)) == Some(Binary::Add)
        && made_of_difference() == Some(true)
}

/// The function of two numbers with which an op reduces, if it is one.
fn reducer(operation: &Operation) -> Option<Binary> {
    let OpKind::Reduce { body, .. } = &operation.op.kind else {
        return None;
    };
    match body.operations() {
        [one] if body.input_values().eq(one.op.operands.iter().copied()) => match one.op.kind {
            OpKind::Binary(function) => Some(function),
            _ => None,
        },
        _ => None,
    }
}

fn is_dot_general(operation: &Operation) -> bool {
    matches!(operation.op.kind, OpKind::DotGeneral { .. })
}

/// Whether a member makes a value.
fn is_computed(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> bool {
    matches!(graph.definition(value), Definition::Result { op, .. } if members.contains(&op.index()))
}
