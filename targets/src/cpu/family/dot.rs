//! The dot family: a dot_general, with transposes and reshapes of its operands and result.
//!
//! A product of f32 or f64 matrices whose dimensions lie in memory as strides becomes a call of the runtime's matrix
//! product, [`gemm`]; so does one of scaled tensors, in [`scaled`](super::scaled). Every other is loops: sums are made in the accumulator's type, in the order of the contracted
//! dimensions where the columns of the result are neighbours on the right, in 64 lanes where the contracted elements are.

use super::super::emission::{Division, Emission};
use super::nest::{ceil_div, extent, lane_loop};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression, Variable};
use crate::mlir::{Builder, Value, scalar};
use tessera_ir::plan::Kernel;
use tessera_ir::{Definition, ElementType, Graph, OpKind, Operation, ValueId};
use tessera_runtime::bundle::{BatchDimension, Gemm, MatrixLayout};

/// Columns of the result that are summed together, or elements of a sum that are added together.
const LANES: i64 = 64;

/// Rows of the result that share the right-hand side's elements.
const MOST_ROWS: i64 = 4;

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

/// The kernel as a call of the runtime's matrix product, and which of its inputs are lhs and rhs; `None` where it cannot
/// be one.
///
/// Rows and columns that do not lie at one stride become batches.
pub fn gemm(kernel: &Kernel) -> Option<(Gemm, [usize; 2])> {
    let product = Product::of(&kernel.body)?;
    let types = product
        .operation
        .op
        .operands
        .iter()
        .map(|&v| kernel.body.tensor_type(v).element);
    let element = product.element;
    let float = matches!(element, ElementType::F32 | ElementType::F64);
    if !float || product.accumulator != element || types.into_iter().any(|t| t != element) {
        return None;
    }
    let mut next = 0;
    let mut variables = |shape: &[usize]| -> Vec<Dimension> {
        let dimensions = shape.iter().map(|&extent| {
            next += 1;
            Dimension {
                number: next,
                extent,
            }
        });
        dimensions.collect()
    };
    let [batch, rows, columns, contracted] = [
        &product.batch,
        &product.rows,
        &product.columns,
        &product.contracted,
    ]
    .map(|shape| variables(shape));
    let expressions = |group: &[Dimension]| -> Vec<Expression> {
        group.iter().map(Dimension::expression).collect()
    };
    let [b, m, n, k] = [&batch, &rows, &columns, &contracted].map(|group| expressions(group));
    let operands = &product.operation.op.operands;
    let (lhs_input, lhs) =
        input_position(&kernel.body, operands[0], &product.lhs.indices(&b, &m, &k))?;
    let (rhs_input, rhs) =
        input_position(&kernel.body, operands[1], &product.rhs.indices(&b, &n, &k))?;
    let result = product.result_position(&[b, m, n].concat())?;
    if [&lhs, &rhs, &result]
        .iter()
        .any(|position| position.offset() != 0)
    {
        return None;
    }
    let strided = |group: Vec<Dimension>| -> Option<Vec<Strided>> {
        let dimensions = group.iter().filter(|d| d.extent != 1);
        let stride = |position: &Expression, d: &Dimension| {
            position
                .stride(d.number)
                .and_then(|stride| usize::try_from(stride).ok())
        };
        dimensions
            .map(|d| {
                Some(Strided {
                    extent: d.extent,
                    strides: [stride(&lhs, d)?, stride(&rhs, d)?, stride(&result, d)?],
                })
            })
            .collect()
    };
    let mut batches = joined(strided(batch)?);
    let mut one = |group: Vec<Strided>| {
        // The innermost stays; the others are products of their own.
        let mut group = joined(group);
        let last = group.pop().unwrap_or(Strided {
            extent: 1,
            strides: [0; 3],
        });
        batches.extend(group);
        last
    };
    let m = one(strided(rows)?);
    let n = one(strided(columns)?);
    let mut contracted = joined(strided(contracted)?);
    let k = contracted.pop().unwrap_or(Strided {
        extent: 1,
        strides: [0; 3],
    });
    if !contracted.is_empty() {
        return None;
    }
    let layout = |row_stride, column_stride| MatrixLayout {
        row_stride,
        column_stride,
    };
    let gemm = Gemm {
        element_type: element,
        m: m.extent,
        n: n.extent,
        k: k.extent,
        batch: (batches.iter())
            .map(|batch| BatchDimension {
                extent: batch.extent,
                lhs_stride: batch.strides[0],
                rhs_stride: batch.strides[1],
                result_stride: batch.strides[2],
            })
            .collect(),
        lhs: layout(m.strides[0], k.strides[0]),
        rhs: layout(k.strides[1], n.strides[1]),
        result: layout(m.strides[2], n.strides[2]),
    };
    Some((gemm, [lhs_input, rhs_input]))
}

/// A dimension of the product, and the variable that counts in it.
struct Dimension {
    number: u32,
    extent: usize,
}

impl Dimension {
    fn expression(&self) -> Expression {
        Expression::variable(Variable {
            number: self.number,
            lower: 0,
            upper: (self.extent as i64 - 1).max(0),
        })
    }
}

/// A dimension by its strides in lhs, rhs and result.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) extent: usize,
    pub(super) strides: [usize; 3],
}

/// Neighbouring dimensions that lie as one do become one.
pub(super) fn joined(dimensions: Vec<Strided>) -> Vec<Strided> {
    let mut joined: Vec<Strided> = Vec::new();
    for dimension in dimensions {
        match joined.last_mut() {
            Some(outer)
                if (0..3).all(|i| outer.strides[i] == dimension.strides[i] * dimension.extent) =>
            {
                *outer = Strided {
                    extent: outer.extent * dimension.extent,
                    ..dimension
                };
            }
            _ => joined.push(dimension),
        }
    }
    joined
}

pub fn emit(emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
    let Some(product) = Product::of(&emission.kernel.body) else {
        return super::r#loop::emit(emission);
    };
    if product.is_empty() {
        return Ok(Division::EMPTY);
    }
    let loops = Loops::new(emission, &product)?;
    if loops.in_columns {
        loops.columns(emission)
    } else {
        loops.rows(emission)
    }
}

/// The loops of a product.
struct Loops<'a, 'g> {
    product: &'a Product<'g>,
    batches: i64,
    m: i64,
    n: i64,
    k: i64,
    /// Whether the columns of rhs are neighbours, rather than its contracted elements.
    in_columns: bool,
}

impl<'a, 'g> Loops<'a, 'g> {
    fn new(emission: &Emission<'_, '_>, product: &'a Product<'g>) -> Result<Self, Unsupported> {
        let [batches, m, n, k] = [
            &product.batch,
            &product.rows,
            &product.columns,
            &product.contracted,
        ]
        .map(|shape| extent(shape));
        let mut loops = Self {
            product,
            batches,
            m,
            n,
            k,
            in_columns: true,
        };
        let context = emission.elemental.builder().context();
        let graph = &emission.kernel.body;
        if k > 0 {
            loops.in_columns = super::super::emission::try_out(
                context,
                emission.kernel,
                emission.in_place,
                |e| {
                    let zero = e.elemental.builder().constant_i64(0);
                    let counter = |extent: i64| e.elemental.variable(zero, 0, extent - 1);
                    let [b, n, k] = [batches, n, k].map(counter);
                    let [bx, nx, kx] = [b, n, k].map(Expression::variable);
                    loops.rhs(e, &bx, &nx, &kx)?;
                    let strides = |number: u32| {
                        e.elemental
                            .trace
                            .positions
                            .iter()
                            .map(move |p| p.stride(number))
                    };
                    let columns_apart = strides(n.number).any(|stride| stride != Some(1));
                    Ok(!(columns_apart && strides(k.number).all(|stride| stride == Some(1))))
                },
            )?;
        }
        let probe = product.result_position(&loops.result_indices(
            &Expression::constant(0),
            &Expression::constant(0),
            &Expression::constant(0),
        ));
        if probe.is_none() || graph.results().len() != 1 {
            return Err(Unsupported::new(
                product.operation,
                "has more than transposes and reshapes after it in a dot kernel",
            ));
        }
        Ok(loops)
    }

    fn lhs<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        batch: &Expression,
        row: &Expression,
        contracted: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let product = self.product;
        let indices = product.lhs.indices(
            &index::delinearize(batch, &product.batch),
            &index::delinearize(row, &product.rows),
            &index::delinearize(contracted, &product.contracted),
        );
        self.operand(emission, 0, &indices)
    }

    fn rhs<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        batch: &Expression,
        column: &Expression,
        contracted: &Expression,
    ) -> Result<Value<'c>, Unsupported> {
        let product = self.product;
        let indices = product.rhs.indices(
            &index::delinearize(batch, &product.batch),
            &index::delinearize(column, &product.columns),
            &index::delinearize(contracted, &product.contracted),
        );
        self.operand(emission, 1, &indices)
    }

    /// An operand's element in the accumulator's type.
    fn operand<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        number: usize,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let value = self.product.operation.op.operands[number];
        let from = emission.kernel.body.tensor_type(value).element;
        let x = emission.elemental.element(value, indices)?;
        let b = emission.elemental.builder();
        Ok(scalar::convert(&b, from, self.product.accumulator, x))
    }

    fn result_indices(
        &self,
        batch: &Expression,
        row: &Expression,
        column: &Expression,
    ) -> Vec<Expression> {
        let mut indices = index::delinearize(batch, &self.product.batch);
        indices.extend(index::delinearize(row, &self.product.rows));
        indices.extend(index::delinearize(column, &self.product.columns));
        indices
    }

    fn store<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        [batch, row, column]: [&Expression; 3],
    ) {
        let b = emission.elemental.builder();
        let element = self.product.element;
        let rounded = scalar::convert(&b, self.product.accumulator, element, sum);
        let indices = self.result_indices(batch, row, column);
        let position = self.product.result_position(&indices);
        let position = position.expect("was found when the loops were planned");
        let base = emission.results[0];
        emission.elemental.store(rounded, base, element, &position);
    }

    fn zero<'c>(&self, b: &Builder<'c>) -> Value<'c> {
        scalar::constant_number(b, self.product.accumulator, 0.0)
    }

    fn multiply_add<'c>(
        &self,
        b: &Builder<'c>,
        x: Value<'c>,
        y: Value<'c>,
        sum: Value<'c>,
    ) -> Value<'c> {
        match self.product.accumulator {
            accumulator if accumulator.is_float() => b.value(
                "math.fma",
                &[x, y, sum],
                scalar::register_type(b, accumulator),
                &[],
            ),
            ElementType::I1 => b.binary("arith.ori", sum, b.binary("arith.andi", x, y)),
            _ => b.binary("arith.addi", sum, b.binary("arith.muli", x, y)),
        }
    }

    /// Tiles of some rows and up to 64 columns, all sums of a tile growing together.
    fn columns(&self, emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
        let rows = (1..=MOST_ROWS)
            .rev()
            .find(|rows| self.m % rows == 0)
            .unwrap_or(1);
        let width = LANES.min(self.n);
        let runs = ceil_div(self.n, width);
        let tiles = self.m / rows;
        let units = self.batches * tiles * runs;
        let accumulator = self.product.accumulator;
        let sums = emission.stack_array(rows * width, accumulator);
        emission.for_each_unit::<Unsupported>(units, 1, |emission, unit| {
            let first = unit.remainder(runs).times(width);
            let tile = unit.quotient(runs);
            let batch = tile.quotient(tiles);
            let row = |r: i64| tile.remainder(tiles).times(rows).plus_constant(r);
            let place = |r: i64, lane: &Expression| lane.plus_constant(r * width);
            self.for_each_lane(emission, &first, width, |emission, lane| {
                let zero = self.zero(&emission.elemental.builder());
                for r in 0..rows {
                    emission.store_accumulator(zero, sums, accumulator, &place(r, lane));
                }
                Ok(())
            })?;
            emission.for_range(self.k, None, |emission, k| {
                let mut x = Vec::new();
                for r in 0..rows {
                    x.push(self.lhs(emission, &batch, &row(r), &k)?);
                }
                self.for_each_lane(emission, &first, width, |emission, lane| {
                    let y = self.rhs(emission, &batch, &first.plus(lane), &k)?;
                    for (r, &x) in (0..rows).zip(&x) {
                        let sum = emission.load_accumulator(sums, accumulator, &place(r, lane));
                        let sum = self.multiply_add(&emission.elemental.builder(), x, y, sum);
                        emission.store_accumulator(sum, sums, accumulator, &place(r, lane));
                    }
                    Ok(())
                })
            })?;
            self.for_each_lane(emission, &first, width, |emission, lane| {
                for r in 0..rows {
                    let sum = emission.load_accumulator(sums, accumulator, &place(r, lane));
                    self.store(emission, sum, [&batch, &row(r), &first.plus(lane)]);
                }
                Ok(())
            })
        })?;
        Ok(Division::new(units, (rows * width * self.k) as f64 * 0.1))
    }

    /// The columns `first + lane` that there are.
    fn for_each_lane<'c, 'k>(
        &self,
        emission: &mut Emission<'c, 'k>,
        first: &Expression,
        width: i64,
        body: impl FnOnce(&mut Emission<'c, 'k>, &Expression) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        if self.n % width == 0 {
            let annotation = lane_loop(width);
            return emission.for_range(width, annotation, |emission, lane| body(emission, &lane));
        }
        let left = emission
            .elemental
            .number(&first.times(-1).plus_constant(self.n));
        let b = emission.elemental.builder();
        let count = b.binary("arith.minsi", left, b.constant_i64(width));
        let bounds = [b.constant_i64(0), count, b.constant_i64(1)];
        emission.for_bounds(bounds, (0, width - 1), None, |emission, lane| {
            body(emission, &lane)
        })
    }

    /// One sum after the other, each in lanes.
    fn rows(&self, emission: &mut Emission<'_, '_>) -> Result<Division, Unsupported> {
        let lanes = 1 << self.k.clamp(1, LANES).ilog2();
        let accumulator = self.product.accumulator;
        let sums = emission.stack_array(lanes, accumulator);
        let units = self.batches * self.m;
        emission.for_each_unit(units, 1, |emission, unit| {
            let (batch, row) = (unit.quotient(self.m), unit.remainder(self.m));
            emission.for_range(self.n, None, |emission, column| {
                self.sum_in_lanes(emission, sums, lanes, [&batch, &row, &column])?;
                let only = Expression::constant(0);
                let sum = emission.load_accumulator(sums, accumulator, &only);
                self.store(emission, sum, [&batch, &row, &column]);
                Ok(())
            })
        })?;
        Ok(Division::new(units, (self.n * self.k) as f64 * 0.1))
    }

    fn sum_in_lanes<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sums: Value<'c>,
        lanes: i64,
        [batch, row, column]: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        let accumulator = self.product.accumulator;
        emission.for_range::<Unsupported>(lanes, lane_loop(lanes), |emission, lane| {
            let zero = self.zero(&emission.elemental.builder());
            emission.store_accumulator(zero, sums, accumulator, &lane);
            Ok(())
        })?;
        let step = |emission: &mut Emission<'c, '_>, first: &Expression, count: i64| {
            emission.for_range(count, lane_loop(count), |emission, lane| {
                let k = first.plus(&lane);
                let x = self.lhs(emission, batch, row, &k)?;
                let y = self.rhs(emission, batch, column, &k)?;
                let sum = emission.load_accumulator(sums, accumulator, &lane);
                let sum = self.multiply_add(&emission.elemental.builder(), x, y, sum);
                emission.store_accumulator(sum, sums, accumulator, &lane);
                Ok(())
            })
        };
        emission.for_range(self.k / lanes, None, |emission, number| {
            step(emission, &number.times(lanes), lanes)
        })?;
        let rest = Expression::constant(self.k / lanes * lanes);
        step(emission, &rest, self.k % lanes)?;
        let mut width = lanes / 2;
        while width > 0 {
            emission.for_range::<Unsupported>(width, lane_loop(width), |emission, lane| {
                let x = emission.load_accumulator(sums, accumulator, &lane);
                let upper = lane.plus_constant(width);
                let y = emission.load_accumulator(sums, accumulator, &upper);
                let b = emission.elemental.builder();
                let name = match accumulator {
                    t if t.is_float() => "arith.addf",
                    ElementType::I1 => "arith.ori",
                    _ => "arith.addi",
                };
                let sum = b.binary(name, x, y);
                emission.store_accumulator(sum, sums, accumulator, &lane);
                Ok(())
            })?;
            width /= 2;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::{Graph, Input, Location, TensorType};

    fn product_of(lhs: [usize; 3], transpose: Option<Vec<usize>>) -> Kernel {
        let inputs = [lhs.to_vec(), vec![lhs[2], 7]]
            .map(|shape| Input::new(TensorType::new(ElementType::F32, shape)));
        let mut body = Graph::new("", inputs.to_vec());
        let [x, w] = [0, 1].map(|i| body.input_value(i).unwrap());
        let dot = OpKind::DotGeneral {
            lhs_batching_dimensions: vec![],
            rhs_batching_dimensions: vec![],
            lhs_contracting_dimensions: vec![2],
            rhs_contracting_dimensions: vec![0],
            accumulator: ElementType::F32,
            element: ElementType::F32,
        };
        let mut result = body.push_value(dot, [x, w], Location::Unknown).unwrap();
        if let Some(permutation) = transpose {
            let transpose = OpKind::Transpose { permutation };
            result = body
                .push_value(transpose, [result], Location::Unknown)
                .unwrap();
        }
        body.set_result_values([result]);
        Kernel {
            name: "dot".to_owned(),
            family: tessera_ir::plan::Family::Dot,
            body,
        }
    }

    #[test]
    fn rows_of_two_dimensions_are_one_matrix() {
        let (gemm, inputs) = gemm(&product_of([4, 5, 6], None)).unwrap();
        assert_eq!((gemm.m, gemm.n, gemm.k), (20, 7, 6));
        assert!(gemm.batch.is_empty());
        assert_eq!((gemm.lhs.row_stride, gemm.lhs.column_stride), (6, 1));
        assert_eq!((gemm.rhs.row_stride, gemm.rhs.column_stride), (7, 1));
        assert_eq!((gemm.result.row_stride, gemm.result.column_stride), (7, 1));
        assert_eq!(inputs, [0, 1]);
    }

    #[test]
    fn a_transposed_result_is_strides() {
        let (gemm, _) = gemm(&product_of([4, 5, 6], Some(vec![2, 0, 1]))).unwrap();
        assert_eq!(
            (gemm.m, gemm.result.row_stride, gemm.result.column_stride),
            (20, 1, 20)
        );
    }

    #[test]
    fn rows_that_lie_apart_are_batches() {
        let (gemm, _) = gemm(&product_of([4, 5, 6], Some(vec![0, 2, 1]))).unwrap();
        assert_eq!((gemm.m, gemm.n, gemm.k), (5, 7, 6));
        assert_eq!((gemm.result.row_stride, gemm.result.column_stride), (1, 5));
        let batch = &gemm.batch[0];
        let strides = (batch.lhs_stride, batch.rhs_stride, batch.result_stride);
        assert_eq!((batch.extent, strides), (4, (30, 0, 35)));
    }
}
