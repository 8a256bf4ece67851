//! What an attention kernel's body holds: products in no memory, the *scores*, and at the end what needs each *weight* made of
//! them once.

use crate::blocks::dot::Product;
use crate::blocks::{Reduction, extent};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use std::collections::BTreeSet;
use tessera_ir::{Binary, ElementType, Graph, OpKind, Operation, Unary, ValueId};

/// An attention kernel's body.
pub struct Body<'c, 'g> {
    pub graph: &'g Graph,
    /// The products in no memory.
    pub scores: Vec<Product<'g>>,
    /// The shape of scores and weights: batch dimensions, rows, columns.
    pub shape: &'g [usize],
    /// How many of its dimensions are those of the batch.
    batch: usize,
    /// The scores and all that is made of them.
    of_scores: BTreeSet<ValueId>,
    pub end: End<'c, 'g>,
}

/// What is made of the weights.
pub enum End<'c, 'g> {
    /// One product more.
    Product(Weighted<'g>),
    /// A reduction of the rows.
    Reduction(Reduction<'c, 'g>),
    /// The largest weight of each row, x, and the sum of exp(x − largest).
    Softmax {
        maximum: Reduction<'c, 'g>,
        sum: Reduction<'c, 'g>,
    },
}

/// A product of weights.
pub struct Weighted<'g> {
    pub product: Product<'g>,
    /// Which operand the weights are: 0, lhs, or 1.
    pub weights: usize,
    /// What of them is contracted.
    pub contracted: Side,
}

/// A side of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Rows,
    Columns,
}

impl<'g> Body<'_, 'g> {
    /// That of a kernel.
    ///
    /// # Errors
    /// It is not what an attention kernel holds.
    pub fn of(graph: &'g Graph) -> Result<Self, Unsupported> {
        let mut of_scores: BTreeSet<ValueId> = BTreeSet::new();
        let mut scores = Vec::new();
        let mut products = Vec::new();
        for operation in graph.operations() {
            let operands = &operation.op.operands;
            let is_of_scores = operands.iter().any(|operand| of_scores.contains(operand));
            match Product::of_operation(graph, operation) {
                Some(product) if !is_of_scores => {
                    of_scores.extend(operation.results());
                    scores.push(product);
                }
                Some(product) => {
                    let weights = [0, 1].map(|n| of_scores.contains(&operands[n]));
                    products.push((product, weights));
                }
                None if is_of_scores => of_scores.extend(operation.results()),
                None => {}
            }
        }
        let Some(first) = scores.first() else {
            let reason = "is in an attention kernel without a product in no memory";
            return Err(Unsupported::new(&graph.operations()[0], reason));
        };
        let shape = &graph.tensor_type(first.operation.result()).shape[..];
        let batch = first.batch.len();
        for product in &scores {
            let own = &graph.tensor_type(product.operation.result()).shape;
            if own != shape || product.batch.len() != batch || product.columns.len() != 1 {
                let reason = "is a product in no memory of other rows or columns than the first";
                return Err(Unsupported::new(product.operation, reason));
            }
        }
        let end = match (Reduction::all(graph).len(), products.len()) {
            (0, 1) => End::Product(Weighted::new(products.remove(0), batch, shape)?),
            (1 | 2, 0) => of_rows(graph, shape)?,
            _ => {
                let reason = "is in an attention kernel that ends with more than one product, one reduction or a softmax's two";
                return Err(Unsupported::new(first.operation, reason));
            }
        };
        Ok(Self {
            graph,
            scores,
            shape,
            batch,
            of_scores,
            end,
        })
    }

    /// Products of the batch, rows, columns.
    pub fn extents(&self) -> [i64; 3] {
        let (rows, columns) = self.shape[self.batch..].split_at(self.shape.len() - self.batch - 1);
        [&self.shape[..self.batch], rows, columns].map(extent)
    }

    /// The indices of a row at places in the flat batch and rows.
    pub fn row(&self, [batch, row]: [&Expression; 2]) -> Vec<Expression> {
        let rows = &self.shape[self.batch..self.shape.len() - 1];
        let mut indices = index::delinearize(batch, &self.shape[..self.batch]);
        indices.extend(index::delinearize(row, rows));
        indices
    }

    /// Values that are repeated along rows and are not made of scores, with the numbers of the dimensions of the scores that
    /// theirs are.
    pub fn repeated_along_rows(&self) -> Vec<(ValueId, &'g [usize])> {
        let columns = self.shape.len() - 1;
        let repeated = self.graph.operations().iter().filter_map(|operation| {
            let OpKind::BroadcastInDim {
                broadcast_dimensions,
                ..
            } = &operation.op.kind
            else {
                return None;
            };
            let operand = operation.op.operands[0];
            let is_of_rows = self.graph.tensor_type(operation.result()).shape == self.shape
                && !broadcast_dimensions.is_empty()
                && !broadcast_dimensions.contains(&columns);
            (is_of_rows && !self.of_scores.contains(&operand))
                .then_some((operand, &broadcast_dimensions[..]))
        });
        repeated.collect()
    }
}

impl<'g> Weighted<'g> {
    fn new(
        (product, are_weights): (Product<'g>, [bool; 2]),
        batch: usize,
        shape: &[usize],
    ) -> Result<Self, Unsupported> {
        let refused = |reason| Err(Unsupported::new(product.operation, reason));
        let weights = match are_weights {
            [true, false] => 0,
            [false, true] => 1,
            _ => return refused("is a product of weights by weights"),
        };
        let OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            ..
        } = &product.operation.op.kind
        else {
            return refused("is no product");
        };
        let (batching, contracting) = match weights {
            0 => (lhs_batching_dimensions, lhs_contracting_dimensions),
            _ => (rhs_batching_dimensions, rhs_contracting_dimensions),
        };
        let columns = shape.len() - 1;
        let contracted = match &contracting[..] {
            [only] if *only == columns => Side::Columns,
            all if all.iter().copied().eq(batch..columns) => Side::Rows,
            _ => return refused("contracts neither the columns nor all rows of its weights"),
        };
        if !batching.iter().copied().eq(0..batch) {
            return refused("has other batches than the products that its weights are made of");
        }
        product.check()?;
        Ok(Self {
            product,
            weights,
            contracted,
        })
    }
}

/// The reductions that a body ends with.
fn of_rows<'c, 'g>(graph: &'g Graph, shape: &[usize]) -> Result<End<'c, 'g>, Unsupported> {
    let mut reductions = Reduction::all(graph);
    for reduction in &reductions {
        let is_of_rows = reduction.shape(graph) == shape
            && reduction.dimensions == [shape.len() - 1]
            && reduction.inputs().len() == 1;
        if !is_of_rows || !reduction.is_associative() {
            let reason = "is no reduction of rows of weights whose order does not matter";
            return Err(Unsupported::new(reduction.operation, reason));
        }
    }
    let last = reductions.pop();
    match (reductions.pop(), last) {
        (None, Some(reduction)) => Ok(End::Reduction(reduction)),
        (Some(maximum), Some(sum)) if is_softmax(graph, [&maximum, &sum]) => {
            Ok(End::Softmax { maximum, sum })
        }
        _ => {
            let reason = "is in an attention kernel of two reductions that are not a softmax's";
            Err(Unsupported::new(&graph.operations()[0], reason))
        }
    }
}

/// Whether reductions are the largest of x, f32, and the sum of exp(x − largest).
fn is_softmax(graph: &Graph, [maximum, sum]: [&Reduction<'_, '_>; 2]) -> bool {
    let made_by = |value: ValueId| graph.defining_operation(value);
    let is = |operation: &Operation, kind: &OpKind| operation.op.kind == *kind;
    let of_difference = || {
        let exponential = made_by(sum.inputs()[0])?;
        let difference = made_by(exponential.op.operands[0])?;
        let repeated = made_by(*difference.op.operands.get(1)?)?;
        Some(
            is(exponential, &OpKind::Unary(Unary::Exponential))
                && is(difference, &OpKind::Binary(Binary::Subtract))
                && difference.op.operands[0] == maximum.inputs()[0]
                && matches!(repeated.op.kind, OpKind::BroadcastInDim { .. })
                && repeated.op.operands[0] == maximum.operation.result(),
        )
    };
    maximum.element() == ElementType::F32
        && maximum.function == Some(Binary::Maximum)
        && sum.function == Some(Binary::Add)
        && of_difference() == Some(true)
}
