//! The dot family: a dot_general, with transposes and reshapes of its operands and result.
//!
//! Sums are made in the accumulator's type, in the order of the contracted dimensions where the columns of the result are
//! neighbours on the right, in 64 lanes where the contracted elements are.

mod loops;

pub use loops::emit;

use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Builder, Emission, Value, scalar};
use tessera_ir::{Definition, ElementType, Graph, OpKind, Operation, ValueId};

/// A dot_general in four flat dimensions.
pub(crate) struct Product<'g> {
    graph: &'g Graph,
    pub operation: &'g Operation,
    pub accumulator: ElementType,
    pub element: ElementType,
    pub lhs: Roles,
    pub rhs: Roles,
    pub batch: Vec<usize>,
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
    pub contracted: Vec<usize>,
}

/// Which dimensions of an operand do what.
pub(crate) struct Roles {
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
    pub fn indices(
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
    pub fn of(graph: &'g Graph) -> Option<Self> {
        let mut dots = (graph.operations().iter())
            .filter_map(|operation| Self::of_operation(graph, operation));
        let only = dots.next()?;
        dots.next().is_none().then_some(only)
    }

    /// An op of a body, if it is a dot_general.
    pub fn of_operation(graph: &'g Graph, operation: &'g Operation) -> Option<Self> {
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
        Some(Self {
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
    pub fn result_position(&self, indices: &[Expression]) -> Option<Expression> {
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

    /// Refuses a body that has more than transposes and reshapes after the product.
    ///
    /// # Errors
    /// It has.
    pub fn check(&self) -> Result<(), Unsupported> {
        let rank = self.batch.len() + self.rows.len() + self.columns.len();
        let corner = vec![Expression::constant(0); rank];
        match self.result_position(&corner) {
            Some(_) => Ok(()),
            None => Err(Unsupported::new(
                self.operation,
                "has more than transposes and reshapes after it in a dot kernel",
            )),
        }
    }

    /// The element of an operand (0: lhs, 1: rhs) at places in the flat batch, free and contracted dimensions, in the
    /// accumulator's type.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn operand<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        number: usize,
        [batch, free, contracted]: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported> {
        let (roles, shape) = match number {
            0 => (&self.lhs, &self.rows),
            _ => (&self.rhs, &self.columns),
        };
        let indices = roles.indices(
            &index::delinearize(batch, &self.batch),
            &index::delinearize(free, shape),
            &index::delinearize(contracted, &self.contracted),
        );
        let value = self.operation.op.operands[number];
        let from = self.graph.tensor_type(value).element;
        let x = emission.elemental.element(value, &indices)?;
        let b = emission.elemental.builder();
        Ok(scalar::convert(&b, from, self.accumulator, x))
    }

    /// The type of 16 bits that represents every element of an operand (0: lhs, 1: rhs), where that is known: the
    /// operand's own, or that of what it is converted from.
    pub fn half(&self, number: usize) -> Option<ElementType> {
        let mut value = self.operation.op.operands[number];
        loop {
            let element = self.graph.tensor_type(value).element;
            if matches!(element, ElementType::F16 | ElementType::Bf16) {
                return Some(element);
            }
            let op = &self.graph.defining_operation(value)?.op;
            let keeps_elements = match op.kind {
                OpKind::Transpose { .. }
                | OpKind::Reshape { .. }
                | OpKind::BroadcastInDim { .. }
                | OpKind::Slice { .. }
                | OpKind::Reverse { .. } => true,
                OpKind::Convert { .. } => element == ElementType::F32,
                _ => false,
            };
            if !keeps_elements {
                return None;
            }
            value = op.operands[0];
        }
    }

    /// Writes a sum as the element of the result at places in the flat batch, rows and columns, of a body that
    /// [`check`](Self::check) does not refuse.
    pub fn store<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        places: [&Expression; 3],
    ) {
        let rounded = self.rounded(&emission.elemental.builder(), sum);
        let position = self
            .result_position(&self.result_indices(places))
            .expect("the body was checked");
        let base = emission.results[0];
        (emission.elemental).store(rounded, base, self.element, &position);
    }

    /// A sum as an element of the dot_general's result.
    pub fn rounded<'c>(&self, b: &Builder<'c>, sum: Value<'c>) -> Value<'c> {
        scalar::convert(b, self.accumulator, self.element, sum)
    }

    /// The indices of the element of the dot_general's result at places in the flat batch, rows and columns.
    pub fn result_indices(&self, [batch, row, column]: [&Expression; 3]) -> Vec<Expression> {
        let mut indices = index::delinearize(batch, &self.batch);
        indices.extend(index::delinearize(row, &self.rows));
        indices.extend(index::delinearize(column, &self.columns));
        indices
    }

    /// `x y + sum`, rounded once.
    pub fn multiply_add<'c>(
        &self,
        b: &Builder<'c>,
        x: Value<'c>,
        y: Value<'c>,
        sum: Value<'c>,
    ) -> Value<'c> {
        scalar::multiply_add(b, self.accumulator, x, y, sum)
    }

    pub fn is_empty(&self) -> bool {
        [&self.batch, &self.rows, &self.columns]
            .iter()
            .any(|shape| shape.contains(&0))
    }
}

/// The input that an operand's element at `indices` is read from, and where there; `None` where more than transposes
/// and reshapes is between.
pub(crate) fn input_position(
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
