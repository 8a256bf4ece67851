//! The attention family: a CTA has 64 rows of the scores, or columns where the rows are contracted, of one product of the
//! batch, and walks over tiles of the other side.
//!
//! Of each tile, the scores are made by the best unit there is for their product, and come into shared memory as elements of
//! their own type; then four threads walk over each of its rows and compute the weights by the body. These are reduced where
//! they are made, or come into shared memory as the operand of the last product, whose sums stay in registers over all tiles.
//! A softmax's two reductions are made in one walk, the sum of exponentials scaled down where the maximum grows. (Milakov and
//! Gimelshein, "Online normalizer calculation for softmax".)
//!
//! Operands of 16 bits that lie in memory in lines of whole 16 bytes are copied asynchronously, and transposed on the way to the
//! matrix unit where these lines are not along the contracted dimension; all others come number by number.
//!
//! Sums of products are made in the order of the contracted dimension; those of rows first by each of the four threads, then of
//! these.

mod body;
mod rows;
mod unit;
mod weighted;

use self::body::{Body, End};
use self::unit::{THREADS, Unit};
use super::dot::no_such_tile;
use super::part::Part;
use super::{fma, grid, mma};
use crate::blocks::ceil_div;
use crate::blocks::dot::Product;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, IntegerPredicate, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::{GpuTarget, Grid, thread};
use tessera_ir::Graph;
use tessera_runtime::bundle::MatrixUnit;

/// Rows and columns of a tile.
const TILE: i64 = fma::TILE;

/// Elements from row to row of a tile of scores in shared memory: rows of four threads each, side by side, lie in different
/// banks.
const STRIDE: i64 = TILE + 4;

/// Threads that walk over a row of a tile.
const THREADS_OF_ROW: i64 = THREADS / TILE;

/// Fills a kernel's function.
///
/// # Errors
/// The body holds what this family cannot do, or takes more shared memory than the target has.
pub fn emit(
    emission: &mut Emission<'_, '_>,
    (target, tile): (GpuTarget, Option<[i64; 2]>),
    shared: &mut Shared,
) -> Result<Grid, Unsupported> {
    let body = Body::of(&emission.kernel.body)?;
    if let Some(tile) = tile.filter(|&tile| tile != [TILE; 2]) {
        return Err(no_such_tile(body.scores[0].operation, tile, "64x64"));
    }
    let grid = match &body.end {
        End::Product(weighted) => weighted::emit(emission, &body, weighted, (target, shared))?,
        End::Reduction(reduction) => rows::reduce(emission, &body, reduction, (target, shared))?,
        End::Softmax { maximum, sum } => {
            rows::softmax(emission, &body, [maximum, sum], (target, shared))?
        }
    };
    let depth = |product| match unit::instruction(target, product) {
        Some(_) => mma::NUMBERS,
        None => fma::DEPTH,
    };
    let depth = depth(&body.scores[0]);
    let tile = (grid.ctas > 0).then(|| super::tile([TILE; 2], depth, 1));
    Ok(Grid {
        tile: tile.flatten(),
        ..grid
    })
}

/// The matrix unit that makes all products of a body, where one does.
pub fn matrix_unit(graph: &Graph, target: GpuTarget) -> Option<MatrixUnit> {
    let mut products =
        (graph.operations().iter()).filter_map(|operation| Product::of_operation(graph, operation));
    let is_made = |product| unit::instruction(target, &product).is_some();
    products.all(is_made).then_some(MatrixUnit::Half)
}

/// Where things are in shared memory, in bytes.
#[derive(Debug, Default)]
struct Places {
    /// Contracted elements that are staged at a time, where a unit has not more in one stage.
    together: i64,
    staged: [i64; 2],
    /// A tile of each product's scores.
    scores: Vec<i64>,
    weights: i64,
    bytes: i64,
}

impl Places {
    /// Those of a body whose products are made by some units, the scores first; as much staged at a time as there is room for.
    fn new(
        body: &Body<'_, '_>,
        units: &[Unit<'_>],
        target: GpuTarget,
    ) -> Result<Self, Unsupported> {
        let most = i64::from(target.capability().shared_bytes);
        let all = [TILE, TILE / 2, TILE / 4].map(|together| Self::staging(body, units, together));
        let least = all[2].bytes;
        let fitting = all.into_iter().find(|places| places.bytes <= most);
        fitting.ok_or_else(|| {
            let reason = format!(
                "needs {least} bytes of shared memory for its scores and weights, of which {target} has {most}"
            );
            Unsupported::new(body.scores[0].operation, reason)
        })
    }

    fn staging(body: &Body<'_, '_>, units: &[Unit<'_>], together: i64) -> Self {
        let mut places = Self {
            together,
            ..Self::default()
        };
        let stages = |unit: &Unit<'_>| stages(unit, together) * unit.stage_bytes();
        let staged = units.iter().map(stages).max().unwrap_or(0);
        places.staged = [(); 2].map(|()| places.take(staged));
        for product in &body.scores {
            let tile = places.take(TILE * STRIDE * product.element.size() as i64);
            places.scores.push(tile);
        }
        if let Some(unit) = units.get(body.scores.len()) {
            places.weights = places.take(TILE / unit.depth() * unit.stage_bytes());
        }
        places
    }

    /// So many bytes more, from a multiple of 16 on.
    fn take(&mut self, bytes: i64) -> i64 {
        let first = self.bytes;
        self.bytes += ceil_div(bytes, 16) * 16;
        first
    }
}

/// The stages of a unit in so many contracted elements.
fn stages(unit: &Unit<'_>, contracted: i64) -> i64 {
    ceil_div(contracted, unit.depth())
}

/// A CTA as it makes tiles of scores.
struct Cta<'a, 'c, 'g> {
    body: &'a Body<'c, 'g>,
    /// Who makes the products: the scores', then that of weights, if there is one.
    units: Vec<Unit<'c>>,
    places: Places,
    /// The shared memory, and how many bytes of it the launch gives.
    memory: (Value<'c>, u32),
    thread: Expression,
    /// Which product of the batch.
    batch: Expression,
}

impl<'a, 'c, 'g> Cta<'a, 'c, 'g> {
    /// A CTA of a body for a part of a product of the batch.
    fn new(
        emission: &mut Emission<'c, '_>,
        body: &'a Body<'c, 'g>,
        (target, shared): (GpuTarget, &mut Shared),
        batch: Expression,
    ) -> Result<Self, Unsupported> {
        let b = emission.elemental.builder();
        let number = thread::thread(&b);
        let own = emission.elemental.variable(number, 0, THREADS - 1);
        let thread = Expression::variable(own);
        let last = match &body.end {
            End::Product(weighted) => Some(&weighted.product),
            End::Reduction(_) | End::Softmax { .. } => None,
        };
        let units: Vec<Unit<'c>> = (body.scores.iter().chain(last))
            .map(|product| Unit::new((target, body.graph), product, (&thread, number)))
            .collect();
        let places = Places::new(body, &units, target)?;
        let memory = shared.memory(&b, places.bytes as u32);
        Ok(Self {
            body,
            units,
            places,
            memory,
            thread,
            batch,
        })
    }

    /// The grid of so many of them.
    fn grid(&self, emission: &Emission<'c, '_>, ctas: i64) -> Result<Grid, Unsupported> {
        Ok(Grid {
            shared_bytes: self.memory.1,
            ..grid(emission, ctas, THREADS)?
        })
    }

    /// The address of a place in shared memory.
    fn at(&self, emission: &mut Emission<'c, '_>, place: i64) -> Value<'c> {
        mma::address(emission, self.memory.0, &Expression::constant(place))
    }

    /// The row of a tile that the thread walks over, and its first column there.
    fn row(&self) -> [Expression; 2] {
        [
            self.thread.quotient(THREADS_OF_ROW),
            self.thread.remainder(THREADS_OF_ROW),
        ]
    }

    /// Makes the scores of the tile from that row and column on. When it ends, all threads see them.
    fn make_scores(
        &self,
        emission: &mut Emission<'c, '_>,
        corner: [&Expression; 2],
    ) -> Result<(), Unsupported> {
        let scores = self.body.scores.iter().zip(&self.units);
        let last = &self.body.scores[self.body.scores.len() - 1];
        for ((product, unit), &place) in scores.zip(&self.places.scores) {
            let [contracted, rows] =
                [&product.contracted, &product.rows].map(|s| crate::blocks::extent(s));
            let b = emission.elemental.builder();
            let part = Part {
                batch: self.batch.clone(),
                corner: corner.map(Clone::clone),
                rows_end: b.constant_i64(rows),
                first: Expression::constant(0),
                end: b.constant_i64(contracted),
            };
            let is_last = std::ptr::eq(product, last);
            let along = (contracted, is_last);
            let sums = self.sums_of_scores(emission, (product, unit), &part, along)?;
            let to = self.at(emission, place);
            for ([row, column], sum) in unit.places(emission).iter().zip(sums) {
                let rounded = product.rounded(&emission.elemental.builder(), sum);
                let at = row.times(STRIDE).plus(column);
                (emission.elemental).store(rounded, to, product.element, &at);
            }
        }
        thread::barrier(&emission.elemental.builder());
        Ok(())
    }

    /// The thread's sums of a tile of scores. When it ends, no thread reads any more the tile before, nor, but for the last product,
    /// what was staged.
    fn sums_of_scores(
        &self,
        emission: &mut Emission<'c, '_>,
        (product, unit): (&Product<'g>, &Unit<'c>),
        part: &Part<'c>,
        (contracted, is_last): (i64, bool),
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let zeros = unit.zeros(emission);
        let steps = stages(unit, contracted);
        let together = stages(unit, self.places.together).min(steps);
        if steps == 0 {
            // Scores come where others may read the last tile's.
            thread::barrier(&emission.elemental.builder());
            return Ok(zeros);
        }
        let chunks = ceil_div(steps, together);
        let staged = self.places.staged.map(|place| self.at(emission, place));
        let b = emission.elemental.builder();
        let bounds = [0, chunks, 1].map(|n| b.constant_i64(n));
        emission.for_carried(bounds, (0, chunks - 1), &zeros, |emission, chunk, sums| {
            for stage in 0..together {
                let step = chunk.times(together).plus_constant(stage);
                for operand in [0, 1] {
                    let to = in_stage(emission, unit, staged[operand], stage);
                    unit.stage(emission, product, part, (operand, &step), to)?;
                }
            }
            unit.wait(&emission.elemental.builder());
            thread::barrier(&emission.elemental.builder());
            let sums = multiply(emission, unit, staged, together, sums)?;
            // What is staged after the last product's only stages comes after the barrier behind the scores.
            if chunks > 1 || !is_last {
                thread::barrier(&emission.elemental.builder());
            }
            Ok(sums)
        })
    }

    /// Does one thing where the tile's row that the thread walks over, from a row on, is in the scores, and says the row;
    /// another where it is not. What a row's columns share is computed once.
    fn in_row(
        &self,
        emission: &mut Emission<'c, 'g>,
        corner: &Expression,
        otherwise: &[Value<'c>],
        then: impl FnOnce(&mut Emission<'c, 'g>, &Expression) -> Result<Vec<Value<'c>>, Unsupported>,
        beyond: impl FnOnce(&mut Emission<'c, 'g>) -> Result<(), Unsupported>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        use melior::ir::ValueLike;
        let [_, rows, _] = self.body.extents();
        let row = corner.plus(&self.row()[0]);
        let number = emission.elemental.number(&row);
        let b = emission.elemental.builder();
        let is_there = b.compare_integers(IntegerPredicate::Slt, number, b.constant_i64(rows));
        let types: Vec<_> = otherwise.iter().map(|value| value.r#type()).collect();
        b.if_else(
            emission,
            is_there,
            &types,
            |emission, inner| {
                emission.inside(inner, |emission| {
                    let row = emission.elemental.variable(number, 0, rows - 1);
                    let row = Expression::variable(row);
                    self.compute_shared(emission, &row)?;
                    then(emission, &row)
                })
            },
            |emission, inner| {
                emission.inside(inner, beyond)?;
                Ok(otherwise.to_vec())
            },
        )
    }

    /// Computes what the weights of a row share, so that it is found again.
    fn compute_shared(
        &self,
        emission: &mut Emission<'c, 'g>,
        row: &Expression,
    ) -> Result<(), Unsupported> {
        let at = self.body.row([&self.batch, row]);
        for (value, dimensions) in self.body.repeated_along_rows() {
            let shape = &self.body.graph.tensor_type(value).shape;
            let indices: Vec<Expression> = (shape.iter().zip(dimensions))
                .map(|(&extent, &to)| match extent {
                    1 => Expression::constant(0),
                    _ => at[to].clone(),
                })
                .collect();
            emission.elemental.element(value, &indices)?;
        }
        Ok(())
    }

    /// The thread's columns of its row in a tile, one after the other, with values carried along.
    fn walk(
        &self,
        emission: &mut Emission<'c, 'g>,
        initial: &[Value<'c>],
        body: impl FnOnce(
            &mut Emission<'c, 'g>,
            &Expression,
            &[Value<'c>],
        ) -> Result<Vec<Value<'c>>, Unsupported>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let count = TILE / THREADS_OF_ROW;
        let b = emission.elemental.builder();
        let bounds = [0, count, 1].map(|n| b.constant_i64(n));
        emission.for_carried(
            bounds,
            (0, count - 1),
            initial,
            |emission, turn, carried| {
                let column = turn.times(THREADS_OF_ROW).plus(&self.row()[1]);
                body(emission, &column, carried)
            },
        )
    }

    /// What `body` gives at the indices of a row's element that is in a column of the tile, where the scores have that: they are
    /// known there; and `otherwise` elsewhere.
    fn value_of_scores(
        &self,
        emission: &mut Emission<'c, 'g>,
        (row, corner, column): (&Expression, &Expression, &Expression),
        otherwise: &[Value<'c>],
        body: impl FnOnce(&mut Emission<'c, 'g>, &[Expression]) -> Result<Vec<Value<'c>>, Unsupported>,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let [_, _, columns] = self.body.extents();
        let number = emission.elemental.number(&corner.plus(column));
        emission.value_below(number, columns, otherwise, |emission, at| {
            let mut indices = self.body.row([&self.batch, row]);
            indices.push(at);
            self.provide_scores(emission, &indices, [&self.row()[0], column]);
            body(emission, &indices)
        })
    }

    /// Says what the scores are at indices, which are a place in the tile.
    fn provide_scores(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        [row, column]: [&Expression; 2],
    ) {
        for (product, &place) in self.body.scores.iter().zip(&self.places.scores) {
            let from = self.at(emission, place);
            let at = row.times(STRIDE).plus(column);
            let score = emission.elemental.load(from, product.element, at);
            let value = product.operation.result();
            (emission.elemental).provide(value, indices.to_vec(), score);
        }
    }
}

/// Sums and the products of so many stages from two addresses on: in a loop, which keeps registers few.
fn multiply<'c>(
    emission: &mut Emission<'c, '_>,
    unit: &Unit<'c>,
    staged: [Value<'c>; 2],
    stages: i64,
    sums: &[Value<'c>],
) -> Result<Vec<Value<'c>>, Unsupported> {
    if stages == 1 {
        return Ok(unit.multiply(emission, staged, sums));
    }
    let b = emission.elemental.builder();
    let bounds = [0, stages, 1].map(|n| b.constant_i64(n));
    emission.for_carried(bounds, (0, stages - 1), sums, |emission, stage, sums| {
        let place = stage.times(unit.stage_bytes());
        let staged = staged.map(|base| mma::address(emission, base, &place));
        Ok(unit.multiply(emission, staged, sums))
    })
}

/// The address of a stage of an operand.
fn in_stage<'c>(
    emission: &mut Emission<'c, '_>,
    unit: &Unit<'c>,
    base: Value<'c>,
    stage: i64,
) -> Value<'c> {
    mma::address(
        emission,
        base,
        &Expression::constant(stage * unit.stage_bytes()),
    )
}
