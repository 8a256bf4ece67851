//! The dot family: a dot_general, with transposes and reshapes of its operands and result.
//!
//! A product of f32 or f64 matrices whose dimensions lie in memory as strides becomes a call of the runtime's matrix
//! product, [`gemm`]; so does one of scaled tensors, in [`scaled`](super::scaled). Every other is [`loops`]: sums are made in
//! the accumulator's type, in the order of the contracted dimensions where the columns of the result are neighbours on the
//! right, in 64 lanes where the contracted elements are.

mod gemm;
mod loops;

pub use gemm::gemm;
pub(super) use gemm::{Strided, joined};
pub use loops::emit;

use crate::mlir::index::{self, Expression};
use tessera_ir::{Definition, ElementType, Graph, OpKind, Operation, ValueId};

/// A dot_general in four flat dimensions.
struct Product<'g> {
    graph: &'g Graph,
    operation: &'g Operation,
    accumulator: ElementType,
    element: ElementType,
    lhs: Roles,
    rhs: Roles,
    batch: Vec<usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    contracted: Vec<usize>,
}

/// Which dimensions of an operand do what.
struct Roles {
    batching: Vec<usize>,
    contracting: Vec<usize>,
    free: Vec<usize>,
}

impl Roles {
    fn new(rank: usize, batching: &[usize], contracting: &[usize]) -> Self {
        let free = (0..rank).filter(|d| !batching.contains(d) && !contracting.contains(d));
        Self {
            free: free.collect(),
            batching: batching.to_vec(),
            contracting: contracting.to_vec(),
        }
    }

    /// The operand's indices at a place in each group of dimensions.
    fn indices(
        &self,
        batch: &[Expression],
        free: &[Expression],
        contracted: &[Expression],
    ) -> Vec<Expression> {
        let rank = self.batching.len() + self.contracting.len() + self.free.len();
        let mut indices = vec![Expression::constant(0); rank];
        let groups = [
            (&self.batching, batch),
            (&self.free, free),
            (&self.contracting, contracted),
        ];
        for (dimensions, group) in groups {
            for (&d, index) in dimensions.iter().zip(group) {
                indices[d] = index.clone();
            }
        }
        indices
    }
}

impl<'g> Product<'g> {
    /// The dot_general of a body, if it has exactly one.
    fn of(graph: &'g Graph) -> Option<Self> {
        let is_dot =
            |operation: &&Operation| matches!(operation.op.kind, OpKind::DotGeneral { .. });
        let mut dots = graph.operations().iter().filter(is_dot);
        let operation = dots.next()?;
        let OpKind::DotGeneral {
            lhs_batching_dimensions,
            rhs_batching_dimensions,
            lhs_contracting_dimensions,
            rhs_contracting_dimensions,
            accumulator,
            element,
        } = &operation.op.kind
        else {
            return None;
        };
        let [lhs_type, rhs_type] = [0, 1].map(|i| graph.tensor_type(operation.op.operands[i]));
        let lhs = Roles::new(
            lhs_type.rank(),
            lhs_batching_dimensions,
            lhs_contracting_dimensions,
        );
        let rhs = Roles::new(
            rhs_type.rank(),
            rhs_batching_dimensions,
            rhs_contracting_dimensions,
        );
        let pick = |shape: &[usize], dimensions: &[usize]| {
            dimensions.iter().map(|&d| shape[d]).collect::<Vec<_>>()
        };
        dots.next().is_none().then(|| Self {
            graph,
            operation,
            accumulator: *accumulator,
            element: *element,
            batch: pick(&lhs_type.shape, &lhs.batching),
            rows: pick(&lhs_type.shape, &lhs.free),
            columns: pick(&rhs_type.shape, &rhs.free),
            contracted: pick(&lhs_type.shape, &lhs.contracting),
            lhs,
            rhs,
        })
    }

    /// Where the element of the dot_general's result at `indices` lies in the body's only result, or `None` where more
    /// than transposes and reshapes is between.
    fn result_position(&self, indices: &[Expression]) -> Option<Expression> {
        let graph = self.graph;
        let [result] = graph.results() else {
            return None;
        };
        let mut value = self.operation.result();
        let mut indices = indices.to_vec();
        while value != result.value {
            let mut users = (graph.operations().iter()).filter(|o| o.op.operands.contains(&value));
            let user = users.next()?;
            if users.next().is_some() {
                return None;
            }
            indices = match &user.op.kind {
                OpKind::Transpose { permutation } => permutation
                    .iter()
                    .map(|&from| indices[from].clone())
                    .collect(),
                OpKind::Reshape { shape } => {
                    let from = &graph.tensor_type(value).shape;
                    index::delinearize(&index::linearize(&indices, from), shape)
                }
                _ => return None,
            };
            value = user.result();
        }
        Some(index::linearize(&indices, &graph.tensor_type(value).shape))
    }

    fn is_empty(&self) -> bool {
        [&self.batch, &self.rows, &self.columns]
            .iter()
            .any(|shape| shape.contains(&0))
    }
}

/// The input that an operand's element at `indices` is read from, and where there; `None` where more than transposes
/// and reshapes is between.
fn input_position(
    graph: &Graph,
    value: ValueId,
    indices: &[Expression],
) -> Option<(usize, Expression)> {
    let (mut value, mut indices) = (value, indices.to_vec());
    loop {
        let shape = &graph.tensor_type(value).shape;
        let operation = match graph.definition(value) {
            Definition::Input(number) => return Some((number, index::linearize(&indices, shape))),
            Definition::Result { op, .. } => graph.operation(op),
        };
        value = *operation.op.operands.first()?;
        indices = match &operation.op.kind {
            OpKind::Transpose { permutation } => {
                let mut source = vec![Expression::constant(0); indices.len()];
                for (index, &from) in indices.iter().zip(permutation) {
                    source[from] = index.clone();
                }
                source
            }
            OpKind::Reshape { .. } => {
                let position = index::linearize(&indices, shape);
                index::delinearize(&position, &graph.tensor_type(value).shape)
            }
            _ => return None,
        };
    }
}
