//! Operands of a `dot_general` or a `grouped_dot` as matrices, and its result as that of a product of matrices.
//!
//! An operand of a linear is rows × columns in the order of the linear's formula: X is tokens × inputs, W inputs × outputs,
//! dY tokens × outputs, in every role. So forward and wgrad see one matrix X, forward and dgrad one W, dgrad and wgrad one
//! dY, and what is computed of them is computed once. Dimensions of a batch of products come first.

use crate::linears::{Product, Role, Side};
use tessera_ir::{Builder, Graph, OpError, OpKind, Operation, ValueId};

/// Which dimension of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Axis {
    Rows,
    Columns,
}

impl Axis {
    /// Of the two dimensions of a matrix, the slower first.
    pub const fn index(self) -> usize {
        match self {
            Self::Rows => 0,
            Self::Columns => 1,
        }
    }

    /// The dimension of that operand that a role's product sums over.
    const fn contracted(role: Role, side: Side) -> Self {
        match (role, side) {
            (Role::Forward, Side::Weight) | (Role::Wgrad, _) => Self::Rows,
            (Role::Forward | Role::Dgrad, _) => Self::Columns,
        }
    }
}

/// A tensor as a matrix, or as a batch of them: which of its dimensions are what, in which order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// The tensor, in the graph before the pass.
    pub tensor: ValueId,
    pub batch: Vec<usize>,
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
}

/// A matrix product as an op states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MatrixProduct {
    /// Both operands, in the op's order.
    pub operands: [Layout; 2],
    /// The dimensions that are summed over.
    pub contracted: [Axis; 2],
    /// The dimensions of the product of the matrices, batch, left, right, before they are collapsed …
    pub shape: Vec<usize>,
    /// … and the order in which the op has them.
    pub permutation: Vec<usize>,
    /// Of a grouped product the sizes of the groups, in the graph before the pass.
    pub group_sizes: Option<ValueId>,
}

/// A value looked at through transposes: dimension `i` of what is seen is dimension `dimensions[i]` of the tensor.
struct View {
    tensor: ValueId,
    dimensions: Vec<usize>,
}

impl View {
    fn of(graph: &Graph, value: ValueId) -> Self {
        let mut view = Self {
            tensor: value,
            dimensions: (0..graph.value_type(value).shape().len()).collect(),
        };
        while let Some(operation) = graph.defining_operation(view.tensor)
            && let OpKind::Transpose { permutation } = &operation.op.kind
        {
            for dimension in &mut view.dimensions {
                *dimension = permutation[*dimension];
            }
            view.tensor = operation.op.operands[0];
        }
        view
    }

    fn all(&self, own: &[usize]) -> Vec<usize> {
        own.iter().map(|&own| self.dimensions[own]).collect()
    }
}

/// The positions `0..keys.len()` in the order of their keys.
fn order(keys: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&position| keys[position]);
    order
}

fn pick(of: &[usize], order: &[usize]) -> Vec<usize> {
    order.iter().map(|&position| of[position]).collect()
}

/// A linear's product as one of matrices; `None` where the op is neither `dot_general` nor
/// `grouped_dot`.
pub(super) fn matrix_product(graph: &Graph, product: &Product) -> Option<MatrixProduct> {
    let operation = graph.operations().get(product.place.operation.index())?;
    if let OpKind::GroupedDot {
        lhs_contracting_dimension,
        rhs_contracting_dimension,
        ..
    } = operation.op.kind
    {
        let contracting = [lhs_contracting_dimension, rhs_contracting_dimension];
        return Some(grouped_product(graph, product, operation, contracting));
    }
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        ..
    } = &operation.op.kind
    else {
        return None;
    };
    let sides = [product.lhs, product.rhs];
    let views = [0, 1].map(|number| View::of(graph, operation.op.operands[number]));
    let batching = [lhs_batching_dimensions, rhs_batching_dimensions];
    let contracting = [lhs_contracting_dimensions, rhs_contracting_dimensions];

    // Several dimensions that go together are collapsed in the order that they have in the weight, or where there is none
    // in the activation: so a matrix is the same in the two roles that have it.
    let leads = |side: Side| match side {
        Side::Weight => 2,
        Side::Activation => 1,
        Side::Gradient => 0,
    };
    let leader = usize::from(leads(sides[1]) > leads(sides[0]));
    let batch_order = order(&views[leader].all(batching[leader]));
    let contracted_order = order(&views[leader].all(contracting[leader]));

    let mut shape = Vec::new();
    // What each dimension of the result is by the op's order: a dimension of lhs, or of rhs.
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut expected: Vec<(usize, usize)> = Vec::new();
    let batch = views[0].all(batching[0]);
    expected.extend(batch.iter().map(|&dimension| (0, dimension)));
    for dimension in pick(&batch, &batch_order) {
        found.push((0, dimension));
        shape.push(graph.value_type(views[0].tensor).shape()[dimension]);
    }
    let contracted = sides.map(|side| Axis::contracted(product.role, side));
    let operands = [0, 1].map(|number| {
        let view = &views[number];
        let sizes = graph.value_type(view.tensor).shape();
        let is_free =
            |own: &usize| !batching[number].contains(own) && !contracting[number].contains(own);
        let own: Vec<usize> = (0..view.dimensions.len()).filter(is_free).collect();
        let mut free = view.all(&own);
        expected.extend(free.iter().map(|&dimension| (number, dimension)));
        free.sort_unstable();
        found.extend(free.iter().map(|&dimension| (number, dimension)));
        shape.extend(free.iter().map(|&dimension| sizes[dimension]));
        let batch = pick(&view.all(batching[number]), &batch_order);
        let summed = pick(&view.all(contracting[number]), &contracted_order);
        let (rows, columns) = match contracted[number] {
            Axis::Rows => (summed, free),
            Axis::Columns => (free, summed),
        };
        Layout {
            tensor: view.tensor,
            batch,
            rows,
            columns,
        }
    });
    let permutation = expected
        .iter()
        .map(|wanted| found.iter().position(|found| found == wanted))
        .collect::<Option<_>>()?;
    Some(MatrixProduct {
        operands,
        contracted,
        shape,
        permutation,
        group_sizes: None,
    })
}

/// The same of a grouped product. The matrices of the groups are a batch, rows of groups are not.
fn grouped_product(
    graph: &Graph,
    product: &Product,
    operation: &Operation,
    contracting: [usize; 2],
) -> MatrixProduct {
    let sides = [product.lhs, product.rhs];
    let contracted = sides.map(|side| Axis::contracted(product.role, side));
    let operands = [0, 1].map(|number| {
        let value = operation.op.operands[number];
        let view = View::of(graph, value);
        let rank = view.dimensions.len();
        // Of three dimensions, the first is that of the groups.
        let own: Vec<usize> = (rank - 2..rank).collect();
        let free = own.iter().copied().filter(|&d| d != contracting[number]);
        let free = view.all(&free.collect::<Vec<_>>());
        let summed = view.all(&[contracting[number]]);
        let (rows, columns) = match contracted[number] {
            Axis::Rows => (summed, free),
            Axis::Columns => (free, summed),
        };
        Layout {
            tensor: view.tensor,
            batch: view.all(&(0..rank - 2).collect::<Vec<_>>()),
            rows,
            columns,
        }
    });
    let shape = graph.value_type(operation.result()).shape().to_vec();
    MatrixProduct {
        operands,
        contracted,
        permutation: (0..shape.len()).collect(),
        shape,
        group_sizes: operation.op.operands.get(2).copied(),
    }
}

impl Layout {
    /// The shape of the matrix of a tensor of that shape; with a first dimension for the batch, where there is one.
    pub fn shape(&self, tensor: &[usize]) -> Vec<usize> {
        let size = |dimensions: &[usize]| -> usize { pick(tensor, dimensions).iter().product() };
        let batch = (!self.batch.is_empty()).then(|| size(&self.batch));
        let matrix = [size(&self.rows), size(&self.columns)];
        batch.into_iter().chain(matrix).collect()
    }

    /// Makes the matrix of the tensor.
    pub fn emit(&self, b: &mut Builder, tensor: ValueId) -> Result<ValueId, OpError> {
        let sizes = b.graph().value_type(tensor).shape().to_vec();
        let permutation = [&self.batch[..], &self.rows, &self.columns].concat();
        let ordered = transpose(b, tensor, &permutation)?;
        reshape(b, ordered, &self.shape(&sizes))
    }
}

impl MatrixProduct {
    /// Gives a product of the matrices the shape that the op's result has.
    pub fn restore(&self, b: &mut Builder, product: ValueId) -> Result<ValueId, OpError> {
        let apart = reshape(b, product, &self.shape)?;
        transpose(b, apart, &self.permutation)
    }
}

/// The value transposed, or itself where its dimensions stay.
fn transpose(b: &mut Builder, x: ValueId, permutation: &[usize]) -> Result<ValueId, OpError> {
    match permutation.is_sorted() {
        true => Ok(x),
        false => b.transpose(x, permutation),
    }
}

/// The value under another shape, or itself where that is its own.
pub(super) fn reshape(b: &mut Builder, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
    match b.graph().value_type(x).shape() == shape {
        true => Ok(x),
        false => b.reshape(x, shape),
    }
}
