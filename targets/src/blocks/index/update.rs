//! scatter and dynamic_update_slice: a copy of the operand, unless it is updated in place, then the updates in order.
//!
//! A dimension is *independent* where no update crosses from one of its indices to another: batching dimensions, and
//! those along which every update lies whole. Work is divided along these, so that each block copies and updates memory
//! of its own; the last of them are an inner loop. In a block, updates come one after the other, in row-major order.
//!
//! Where there are threads for more, the indices of one more dimension are divided into sections: a block then goes over
//! all updates and does those that fall into its section.

use super::super::nest::{ceil_div, extent};
use crate::blocks::Division;
use crate::mlir::Emission;
use crate::mlir::elemental::{Unsupported, index_vector};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Builder, IntegerPredicate, Value};
use tessera_ir::{Definition, OpKind, Operation, ScatterDimensionNumbers, ValueId};

/// How finely updates are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Blocks of a few thousand elements, of which a thread has many.
    Coarse,
    /// A column and a section for a thread, of which there are many: neighbours read and write neighbours.
    Fine,
}

impl Grain {
    /// Elements of a block of coarse grain.
    const BLOCK: i64 = 4096;

    /// As many threads as fill a GPU.
    const THREADS: i64 = 1 << 17;

    /// How many columns are updated together, where so many rows and updates are gone over.
    fn run(self, rows: i64, columns: i64) -> i64 {
        match self {
            // Short enough for a few runs, long enough for vectors.
            Self::Coarse => {
                let run = (Self::BLOCK / rows.max(1)).clamp(64, Self::BLOCK);
                run.min(columns)
            }
            Self::Fine => 1,
        }
    }

    /// How many of so many rows are a section, where there are so many units without.
    fn section(self, rows: i64, units: i64) -> i64 {
        match self {
            Self::Coarse => rows,
            Self::Fine => ceil_div(rows, (Self::THREADS / units.max(1)).clamp(1, rows)),
        }
    }
}

/// What stands where in an update.
struct Update<'g> {
    operation: &'g Operation,
    /// The tensors updated, and by what.
    inputs: &'g [ValueId],
    updates: &'g [ValueId],
    /// The shape of the inputs.
    shape: &'g [usize],
    /// The shape of the updates.
    update_shape: &'g [usize],
    /// For each dimension of the inputs, the dimension of the updates whose index is added there.
    window: Vec<Option<usize>>,
    /// Independent dimensions of the inputs before the columns, in order.
    independent: Vec<usize>,
    /// From this dimension of the inputs on, all are independent: the columns.
    columns_from: usize,
    kind: Kind<'g>,
}

/// How the place of an update is found.
enum Kind<'g> {
    Scatter {
        indices: ValueId,
        dimensions: ScatterDimensionNumbers<'g>,
    },
    Slice {
        starts: &'g [ValueId],
    },
}

pub fn scatter<'g>(
    emission: &mut Emission<'_, 'g>,
    operation: &'g Operation,
    grain: Grain,
) -> Result<Division, Unsupported> {
    let graph = &emission.kernel.body;
    let operands = &operation.op.operands;
    let count = operands.len() / 2;
    let (inputs, rest) = operands.split_at(count);
    let (indices, updates) = (rest[0], &rest[1..]);
    let dimensions = scatter_dimensions(&operation.op.kind).expect("the operation is a scatter");
    let shape = &graph.tensor_type(inputs[0]).shape[..];
    let mut window_dims = dimensions.update_window_dims.iter().copied();
    let window: Vec<Option<usize>> = (0..shape.len())
        .map(|d| {
            let absent = dimensions.inserted_window_dims.contains(&d)
                || dimensions.input_batching_dims.contains(&d);
            if absent { None } else { window_dims.next() }
        })
        .collect();
    let update_shape = &graph.tensor_type(updates[0]).shape[..];
    let is_independent = |d: usize| {
        dimensions.input_batching_dims.contains(&d)
            || !dimensions.scatter_dims_to_operand_dims.contains(&d)
                && window[d].is_some_and(|u| update_shape[u] == shape[d])
    };
    let is_column = |d: usize| is_independent(d) && window[d].is_some();
    let columns_from = trailing(shape.len(), is_column);
    let independent = (0..columns_from).filter(|&d| is_independent(d)).collect();
    let update = Update {
        operation,
        inputs,
        updates,
        shape,
        update_shape,
        window,
        independent,
        columns_from,
        kind: Kind::Scatter {
            indices,
            dimensions,
        },
    };
    update.emit(emission, grain)
}

pub fn slice<'g>(
    emission: &mut Emission<'_, 'g>,
    operation: &'g Operation,
    grain: Grain,
) -> Result<Division, Unsupported> {
    let graph = &emission.kernel.body;
    let [input, update, starts @ ..] = &operation.op.operands[..] else {
        return Err(Unsupported::new(operation, "lacks an operand"));
    };
    let shape = &graph.tensor_type(*input).shape[..];
    let update_shape = &graph.tensor_type(*update).shape[..];
    let is_independent = |d: usize| shape[d] == update_shape[d];
    let columns_from = trailing(shape.len(), is_independent);
    let update = Update {
        operation,
        inputs: std::slice::from_ref(input),
        updates: std::slice::from_ref(update),
        shape,
        update_shape,
        window: (0..shape.len()).map(Some).collect(),
        independent: (0..columns_from).filter(|&d| is_independent(d)).collect(),
        columns_from,
        kind: Kind::Slice { starts },
    };
    update.emit(emission, grain)
}

/// The first of the last dimensions that all have a property.
fn trailing(rank: usize, has: impl Fn(usize) -> bool) -> usize {
    (0..rank)
        .rev()
        .take_while(|&d| has(d))
        .last()
        .unwrap_or(rank)
}

fn scatter_dimensions(kind: &OpKind) -> Option<ScatterDimensionNumbers<'_>> {
    match kind {
        OpKind::Scatter {
            update_window_dims,
            inserted_window_dims,
            input_batching_dims,
            scatter_indices_batching_dims,
            scatter_dims_to_operand_dims,
            index_vector_dim,
            ..
        } => Some(ScatterDimensionNumbers {
            update_window_dims,
            inserted_window_dims,
            input_batching_dims,
            scatter_indices_batching_dims,
            scatter_dims_to_operand_dims,
            index_vector_dim: *index_vector_dim,
        }),
        _ => None,
    }
}

impl<'g> Update<'g> {
    fn emit(&self, emission: &mut Emission<'_, 'g>, grain: Grain) -> Result<Division, Unsupported> {
        if self.shape.contains(&0) {
            return Ok(Division::EMPTY);
        }
        let results = self.results(emission)?;
        let outer: Vec<usize> = self.independent.iter().map(|&d| self.shape[d]).collect();
        let columns = extent(&self.shape[self.columns_from..]);
        let rows = extent(self.shape) / extent(&outer) / columns;
        let updates = extent(self.update_shape) / extent(&outer) / columns;
        let run = grain.run(rows.max(updates), columns);
        let runs = ceil_div(columns, run);
        let divided = (0..self.columns_from).find(|d| !self.independent.contains(d));
        let indices = divided.map_or(1, |d| self.shape[d] as i64);
        let length = grain.section(indices, extent(&outer) * runs);
        let sections = ceil_div(indices, length);
        let units = extent(&outer) * runs * sections;
        let work = rows.max(updates) * run;
        let per_block = (Grain::BLOCK / work.max(1)).clamp(1, units);
        let per_block = if grain == Grain::Fine { 1 } else { per_block };
        emission.for_each_unit(units, per_block, |emission, unit| {
            let (place, section) = (unit.quotient(runs), unit.quotient(runs).remainder(sections));
            let part = Part {
                update: self,
                at: index::delinearize(&place.quotient(sections), &outer),
                section: divided.filter(|_| sections > 1).map(|dimension| Section {
                    dimension,
                    first: section.times(length),
                    length,
                }),
                first: unit.remainder(runs).times(run),
                run,
                columns,
                results: &results,
            };
            part.copy(emission)?;
            part.update(emission, &mut Vec::new())
        })?;
        Ok(Division::new(
            ceil_div(units, per_block),
            2.0 * (work * per_block) as f64,
        ))
    }

    /// For each of the op's results, which of the kernel's it is.
    fn results(&self, emission: &Emission<'_, 'g>) -> Result<Vec<usize>, Unsupported> {
        let values = emission.result_values();
        let number = |result: ValueId| {
            values
                .iter()
                .position(|&value| value == result)
                .ok_or_else(|| {
                    Unsupported::new(
                        self.operation,
                        "has a result that the kernel does not give back",
                    )
                })
        };
        self.operation.results().map(number).collect()
    }

    /// The dimensions of the updates that are walked over in order.
    fn ordered(&self) -> Vec<usize> {
        let along = |d: usize| match &self.kind {
            Kind::Slice { .. } => Some(d),
            Kind::Scatter { dimensions, .. } => self.window[d].or_else(|| {
                // The dimension of the updates that a batching dimension is.
                let number = dimensions
                    .input_batching_dims
                    .iter()
                    .position(|&b| b == d)?;
                let from = dimensions.scatter_indices_batching_dims[number];
                let batch = from - usize::from(from > dimensions.index_vector_dim);
                self.scatter_dims(dimensions).nth(batch)
            }),
        };
        let independent = self.independent.iter().copied();
        let taken: Vec<usize> = independent
            .chain(self.columns_from..self.shape.len())
            .filter_map(along)
            .collect();
        (0..self.update_shape.len())
            .filter(|u| !taken.contains(u))
            .collect()
    }

    /// The dimensions of the updates that are no window's: those of the indices without the index vector's.
    fn scatter_dims<'a>(
        &'a self,
        dimensions: &'a ScatterDimensionNumbers<'_>,
    ) -> impl Iterator<Item = usize> + 'a {
        let dims = 0..self.update_shape.len();
        dims.filter(|u| !dimensions.update_window_dims.contains(u))
    }
}

/// Neighbouring indices of a dimension.
struct Section {
    dimension: usize,
    first: Expression,
    length: i64,
}

/// The part of the tensors that a unit works on: a place in the independent dimensions, a section of another, a run of
/// columns.
struct Part<'a, 'g> {
    update: &'a Update<'g>,
    at: Vec<Expression>,
    section: Option<Section>,
    first: Expression,
    run: i64,
    columns: i64,
    results: &'a [usize],
}

impl<'g> Part<'_, 'g> {
    /// The inputs become the results, where they are not in one place.
    fn copy(&self, emission: &mut Emission<'_, 'g>) -> Result<(), Unsupported> {
        let update = self.update;
        for (number, &input) in update.inputs.iter().enumerate() {
            let result = self.results[number];
            let in_place = match emission.kernel.body.definition(input) {
                Definition::Input(operand) => emission.in_place[operand] == Some(result),
                Definition::Result { .. } => false,
            };
            if !in_place {
                let rows: Vec<usize> = (0..update.columns_from)
                    .filter(|d| !update.independent.contains(d))
                    .collect();
                self.copy_rows(emission, input, result, &rows, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    fn copy_rows(
        &self,
        emission: &mut Emission<'_, 'g>,
        input: ValueId,
        result: usize,
        rows: &[usize],
        row: &mut Vec<Expression>,
    ) -> Result<(), Unsupported> {
        if let Some(&d) = rows.get(row.len()) {
            return self.for_each_index(emission, d, |emission, index| {
                row.push(index);
                let result = self.copy_rows(emission, input, result, rows, row);
                row.pop();
                result
            });
        }
        self.for_each_column(emission, |emission, columns| {
            let mut indices = vec![Expression::constant(0); self.update.columns_from];
            let groups = [
                (rows, &row[..]),
                (&self.update.independent[..], &self.at[..]),
            ];
            for (dimensions, group) in groups {
                for (&d, index) in dimensions.iter().zip(group) {
                    indices[d] = index.clone();
                }
            }
            indices.extend(columns);
            let element = emission.elemental.element(input, &indices)?;
            emission.store_result(result, &indices, element);
            Ok(())
        })
    }

    /// A loop over the indices of a dimension that the part has.
    fn for_each_index<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        dimension: usize,
        body: impl FnOnce(&mut Emission<'c, 'g>, Expression) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let extent = self.update.shape[dimension] as i64;
        match &self.section {
            Some(section) if section.dimension == dimension => {
                let first = emission.elemental.number(&section.first);
                let b = emission.elemental.builder();
                let end = b.binary("arith.addi", first, b.constant_i64(section.length));
                let end = b.binary("arith.minsi", end, b.constant_i64(extent));
                emission.for_bounds([first, end, b.constant_i64(1)], (0, extent - 1), None, body)
            }
            _ => emission.for_range(extent, None, body),
        }
    }

    /// The updates in order: loops over the dimensions of the updates that are not independent.
    fn update(
        &self,
        emission: &mut Emission<'_, 'g>,
        counters: &mut Vec<Expression>,
    ) -> Result<(), Unsupported> {
        let ordered = self.update.ordered();
        if let Some(&u) = ordered.get(counters.len()) {
            let extent = self.update.update_shape[u] as i64;
            return emission.for_range(extent, None, |emission, index| {
                counters.push(index);
                let result = self.update(emission, counters);
                counters.pop();
                result
            });
        }
        // The updates' index but for the columns, and where it goes.
        let mut from = vec![Expression::constant(0); self.update.update_shape.len()];
        for (&u, counter) in ordered.iter().zip(counters.iter()) {
            from[u] = counter.clone();
        }
        match &self.update.kind {
            Kind::Slice { starts } => self.update_slice(emission, from, starts),
            Kind::Scatter {
                indices,
                dimensions,
            } => self.update_scattered(emission, from, *indices, dimensions),
        }
    }

    fn update_slice(
        &self,
        emission: &mut Emission<'_, 'g>,
        mut from: Vec<Expression>,
        starts: &[ValueId],
    ) -> Result<(), Unsupported> {
        let update = self.update;
        for (&d, index) in update.independent.iter().zip(&self.at) {
            from[d] = index.clone();
        }
        let mut to = Vec::new();
        for (d, &start) in starts.iter().enumerate() {
            let last = (update.shape[d] - update.update_shape[d]) as i64;
            to.push(emission.elemental.start(start, &[], last)?.plus(&from[d]));
        }
        self.apply_in_section(emission, &from, &to)
    }

    fn update_scattered(
        &self,
        emission: &mut Emission<'_, 'g>,
        mut from: Vec<Expression>,
        indices: ValueId,
        dimensions: &ScatterDimensionNumbers<'_>,
    ) -> Result<(), Unsupported> {
        let update = self.update;
        let graph = &emission.kernel.body;
        let scatter_dims: Vec<usize> = update.scatter_dims(dimensions).collect();
        let mut to = vec![Expression::constant(0); update.shape.len()];
        for (&d, index) in update.independent.iter().zip(&self.at) {
            to[d] = index.clone();
            if let Some(u) = update.window[d] {
                from[u] = index.clone();
            }
        }
        for (&d, &of) in dimensions
            .input_batching_dims
            .iter()
            .zip(dimensions.scatter_indices_batching_dims)
        {
            let batch = of - usize::from(of > dimensions.index_vector_dim);
            from[scatter_dims[batch]] = to[d].clone();
        }
        let batch: Vec<&Expression> = scatter_dims.iter().map(|&u| &from[u]).collect();
        // The slice is left out, whole, where a part of it would be outside.
        let mut inside: Option<Value<'_>> = None;
        let mut starts = Vec::new();
        for (component, &d) in dimensions.scatter_dims_to_operand_dims.iter().enumerate() {
            let rank = graph.tensor_type(indices).rank();
            let at = index_vector(&batch, dimensions.index_vector_dim, rank, component);
            let element = graph.tensor_type(indices).element;
            let raw = emission.elemental.element(indices, &at)?;
            let b = emission.elemental.builder();
            let start = emission.elemental.index(raw, element);
            let size = update.window[d].map_or(1, |u| update.update_shape[u]) as i64;
            let last = update.shape[d] as i64 - size;
            let here = at_most(&b, start, last);
            inside = Some(inside.map_or(here, |all| b.binary("arith.andi", all, here)));
            starts.push((d, start, last));
        }
        let b = emission.elemental.builder();
        let inside = inside.unwrap_or_else(|| b.constant_bool(true));
        b.if_else(
            emission,
            inside,
            &[],
            |emission, inner| {
                emission.inside(inner, |emission| {
                    for (d, start, last) in starts {
                        let start = emission.elemental.variable(start, 0, last.max(0));
                        to[d] = to[d].plus(&Expression::variable(start));
                    }
                    for (d, u) in update.window.iter().enumerate() {
                        if let Some(u) = u
                            && !update.independent.contains(&d)
                        {
                            to[d] = to[d].plus(&from[*u]);
                        }
                    }
                    self.apply_in_section(emission, &from, &to)?;
                    Ok(Vec::new())
                })
            },
            |_, _| Ok(Vec::new()),
        )?;
        Ok(())
    }

    /// Applies an update, if it falls into the part's section.
    fn apply_in_section(
        &self,
        emission: &mut Emission<'_, 'g>,
        from: &[Expression],
        to: &[Expression],
    ) -> Result<(), Unsupported> {
        let Some(section) = &self.section else {
            return self.apply(emission, from, to);
        };
        let place = to[section.dimension].plus(&section.first.times(-1));
        let place = emission.elemental.number(&place);
        let b = emission.elemental.builder();
        let is_inside = at_most(&b, place, section.length - 1);
        b.if_else(
            emission,
            is_inside,
            &[],
            |emission, inner| {
                emission.inside(inner, |emission| {
                    self.apply(emission, from, to)?;
                    Ok(Vec::new())
                })
            },
            |_, _| Ok(Vec::new()),
        )?;
        Ok(())
    }

    /// Combines what is at `to` with the updates from `from`, for every column of the run.
    fn apply(
        &self,
        emission: &mut Emission<'_, 'g>,
        from: &[Expression],
        to: &[Expression],
    ) -> Result<(), Unsupported> {
        let update = self.update;
        self.for_each_column(emission, |emission, columns| {
            let (mut from, mut to) = (from.to_vec(), to.to_vec());
            for (d, column) in (update.columns_from..).zip(columns) {
                if let Some(u) = update.window[d] {
                    from[u] = column.clone();
                }
                to[d] = column;
            }
            let mut news = Vec::new();
            for &value in update.updates {
                news.push(emission.elemental.element(value, &from)?);
            }
            let position = index::linearize(&to, update.shape);
            if let OpKind::Scatter {
                update_computation, ..
            } = &update.operation.op.kind
            {
                let mut arguments = Vec::new();
                for (&result, &input) in self.results.iter().zip(update.inputs) {
                    let element = emission.kernel.body.tensor_type(input).element;
                    let base = emission.results[result];
                    arguments.push(emission.elemental.load(base, element, position.clone()));
                }
                arguments.extend(news);
                news = emission.elemental.apply(update_computation, &arguments)?;
            }
            for (&result, new) in self.results.iter().zip(news) {
                emission.store_result(result, &to, new);
            }
            Ok(())
        })
    }

    /// A loop over the columns of the run; `body` is given their indices.
    fn for_each_column<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        body: impl FnOnce(&mut Emission<'c, 'g>, Vec<Expression>) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let shape = &self.update.shape[self.update.columns_from..];
        let each = |emission: &mut Emission<'c, 'g>, lane: Expression| {
            body(emission, index::delinearize(&self.first.plus(&lane), shape))
        };
        if self.columns % self.run == 0 {
            return emission.for_range(self.run, None, each);
        }
        let left = self.first.times(-1).plus_constant(self.columns);
        let left = emission.elemental.number(&left);
        let b = emission.elemental.builder();
        let count = b.binary("arith.minsi", left, b.constant_i64(self.run));
        let bounds = [b.constant_i64(0), count, b.constant_i64(1)];
        emission.for_bounds(bounds, (0, self.run - 1), None, each)
    }
}

/// Whether an index is in `0..=last`. One comparison: a negative index is a large unsigned one.
fn at_most<'c>(b: &Builder<'c>, index: Value<'c>, last: i64) -> Value<'c> {
    if last < 0 {
        return b.constant_bool(false);
    }
    b.compare_integers(IntegerPredicate::Ule, index, b.constant_i64(last))
}
