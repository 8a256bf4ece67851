//! Loops over the elements of a shape.
//!
//! The last dimensions, as many as possible, become one inner loop in which every place in memory is an affine function
//! of the counter: that is what LLVM vectorises. The dimensions before are loops around it.

use crate::mlir::elemental::{Trace, Unsupported};
use crate::mlir::index::{self, Atom, Expression};
use crate::mlir::{Emission, try_out};

/// More pieces than this of one inner loop are left to branches.
const MOST_PIECES: usize = 8;

/// How the dimensions of a shape are walked over.
#[derive(Debug)]
pub struct Nest {
    shape: Vec<usize>,
    /// The dimensions from this one on are the inner loop.
    split: usize,
    /// Where the inner loop is cut, so that in each piece a condition on its counter is known.
    cuts: Vec<i64>,
    /// A dimension before the inner loop along which an operand's elements are neighbours that lie apart along the inner
    /// loop: a transposed operand.
    across: Option<usize>,
}

/// What is done for each element of a nest, at the indices given.
pub type Body<'a, 'c, 'g> =
    dyn FnMut(&mut Emission<'c, 'g>, &[Expression]) -> Result<(), Unsupported> + 'a;

/// What is done for each element of a nest walked in lanes: the lane, the indices.
pub type LaneBody<'a, 'c, 'g> =
    dyn FnMut(&mut Emission<'c, 'g>, &Expression, &[Expression]) -> Result<(), Unsupported> + 'a;

/// The annotation of a loop over so many lanes: it is to become vector instructions, not a row of scalar ones.
pub fn lane_loop(lanes: i64) -> Option<&'static str> {
    (lanes >= 16).then_some("#llvm.loop_annotation<unroll = <disable = true>>")
}

impl Nest {
    /// The nest over `shape` with the longest inner loop for which every place is affine in the counter, found by trying
    /// `body`. Its indices are those before `prefix` (which are counted by one loop of that extent) and those of `shape`.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn choose<'c>(
        emission: &Emission<'c, '_>,
        prefix: &[usize],
        shape: &[usize],
        body: impl Fn(&mut Emission<'c, '_>, &[Expression]) -> Result<(), Unsupported>,
    ) -> Result<Self, Unsupported> {
        if shape.contains(&0) {
            return Ok(Self {
                shape: shape.to_vec(),
                split: shape.len() - 1,
                cuts: Vec::new(),
                across: None,
            });
        }
        let context = emission.elemental.builder().context();
        let mut split = 0;
        loop {
            let (trace, outer, counter) =
                try_out(context, emission.kernel, emission.in_place, |emission| {
                    let trial = Trial::new(emission, prefix, shape, split);
                    body(emission, &trial.indices)?;
                    let trace = std::mem::take(&mut emission.elemental.trace);
                    Ok((trace, trial.outer, trial.inner))
                })?;
            if is_affine(&trace, counter) || split + 1 >= shape.len() {
                return Ok(Self {
                    shape: shape.to_vec(),
                    split,
                    cuts: cuts(&trace, counter, extent(&shape[split..])),
                    across: across(&trace, &outer, counter),
                });
            }
            split += 1;
        }
    }

    /// The dimensions before the inner loop.
    pub fn outer(&self) -> &[usize] {
        &self.shape[..self.split]
    }

    /// The dimension before the inner loop along which a transposed operand lies, if there is one.
    pub fn across(&self) -> Option<usize> {
        self.across
    }

    /// Loops over a tile of a dimension before the inner loop and of the inner loop. `indices` are those of all
    /// dimensions before the inner loop; the one of `dimension` is replaced.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn walk_tile<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        (dimension, range): (usize, &Range),
        inner: &Range,
        body: &mut Body<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        let extent = self.shape[dimension] as i64;
        for_part(emission, [0, extent], range, |emission, index| {
            let mut indices = indices.to_vec();
            indices[dimension] = index;
            self.inner_loop(emission, &indices, inner, body)
        })
    }

    /// The length of the inner loop.
    pub fn inner(&self) -> i64 {
        extent(&self.shape[self.split..])
    }

    /// Loops over everything; `indices` stand before those of the shape.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn walk<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        body: &mut Body<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        self.walk_from(emission, indices, 0, &Range::All, body)
    }

    /// Loops over the dimensions from `dimension` on, over part of the inner loop; `indices` stand before.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn walk_from<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        dimension: usize,
        range: &Range,
        body: &mut Body<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        if dimension == self.split {
            return self.inner_loop(emission, indices, range, body);
        }
        emission.for_range(self.shape[dimension] as i64, None, |emission, index| {
            let mut indices = indices.to_vec();
            indices.push(index);
            self.walk_from(emission, &indices, dimension + 1, range, body)
        })
    }

    /// Loops over everything, in the inner loop `lanes` elements at a time; `body` is also given the lane. The lanes of
    /// one step are a loop of their own, of constant length.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn walk_in_lanes<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        lanes: i64,
        body: &mut LaneBody<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        self.lanes_from(emission, indices, 0, lanes, body)
    }

    fn lanes_from<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        dimension: usize,
        lanes: i64,
        body: &mut LaneBody<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        if dimension < self.split {
            let extent = self.shape[dimension] as i64;
            return emission.for_range(extent, None, |emission, index| {
                let mut indices = indices.to_vec();
                indices.push(index);
                self.lanes_from(emission, &indices, dimension + 1, lanes, body)
            });
        }
        let steps = self.inner() / lanes;
        let mut step = |emission: &mut Emission<'c, 'g>, first: &Expression, count: i64| {
            emission.for_range(count, lane_loop(count), |emission, lane| {
                let counter = first.plus(&lane);
                let mut indices = indices.to_vec();
                indices.extend(index::delinearize(&counter, &self.shape[self.split..]));
                body(emission, &lane, &indices)
            })
        };
        emission.for_range(steps, None, |emission, number| {
            step(emission, &number.times(lanes), lanes)
        })?;
        let rest = self.inner() % lanes;
        step(emission, &Expression::constant(steps * lanes), rest)
    }

    fn inner_loop<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        indices: &[Expression],
        range: &Range,
        body: &mut Body<'_, 'c, 'g>,
    ) -> Result<(), Unsupported> {
        let mut bounds = vec![0];
        bounds.extend(&self.cuts);
        bounds.push(self.inner());
        for piece in bounds.windows(2) {
            let (lower, upper) = (piece[0], piece[1]);
            let element = |emission: &mut Emission<'c, 'g>, counter: Expression| {
                let mut indices = indices.to_vec();
                indices.extend(index::delinearize(&counter, &self.shape[self.split..]));
                body(emission, &indices)
            };
            for_part(emission, [lower, upper], range, element)?;
        }
        Ok(())
    }
}

/// Which part of an inner loop is done.
#[derive(Debug)]
pub enum Range {
    /// All of it.
    All,
    /// The chunk of that number.
    Chunk {
        /// Which chunk.
        number: Expression,
        /// The length of all chunks but the last.
        length: i64,
    },
}

/// A loop over the numbers of `lower..upper` that are in the range.
///
/// # Errors
/// What `body` returns.
fn for_part<'c, 'g, E>(
    emission: &mut Emission<'c, 'g>,
    [lower, upper]: [i64; 2],
    range: &Range,
    body: impl FnOnce(&mut Emission<'c, 'g>, Expression) -> Result<(), E>,
) -> Result<(), E> {
    if upper <= lower {
        return Ok(());
    }
    if upper - lower == 1 && matches!(range, Range::All) {
        return body(emission, Expression::constant(lower));
    }
    let b = emission.elemental.builder();
    let [mut first, mut last, step] = [lower, upper, 1].map(|n| b.constant_i64(n));
    if let Range::Chunk { number, length } = range {
        let start = emission.elemental.number(&number.times(*length));
        let b = emission.elemental.builder();
        let end = b.binary("arith.addi", start, b.constant_i64(*length));
        if lower > 0 {
            first = b.binary("arith.maxsi", start, first);
        } else {
            first = start;
        }
        last = b.binary("arith.minsi", end, last);
    }
    emission.for_bounds([first, last, step], (lower, upper - 1), None, body)
}

/// Counters that stand for those of a nest in a trial.
struct Trial {
    indices: Vec<Expression>,
    /// The number of each counter before the inner one.
    outer: Vec<u32>,
    /// The number of the inner counter.
    inner: u32,
}

impl Trial {
    fn new(
        emission: &mut Emission<'_, '_>,
        prefix: &[usize],
        shape: &[usize],
        split: usize,
    ) -> Self {
        let zero = emission.elemental.builder().constant_i64(0);
        let mut counter = |extent: i64| emission.elemental.variable(zero, 0, extent - 1);
        let row = Expression::variable(counter(extent(prefix)));
        let mut indices = index::delinearize(&row, prefix);
        let mut outer = Vec::new();
        for &dimension in &shape[..split] {
            let variable = counter(dimension as i64);
            outer.push(variable.number);
            indices.push(Expression::variable(variable));
        }
        let inner = counter(extent(&shape[split..]));
        let counted = Expression::variable(inner);
        indices.extend(index::delinearize(&counted, &shape[split..]));
        Self {
            indices,
            outer,
            inner: inner.number,
        }
    }
}

/// The outer counter that moves by one along an operand through which the inner counter moves in leaps.
fn across(trace: &Trace, outer: &[u32], inner: u32) -> Option<usize> {
    trace.positions.iter().find_map(|position| {
        let leaps = position
            .stride(inner)
            .is_some_and(|stride| stride.abs() > 1);
        let beside = |number: &u32| position.stride(*number) == Some(1);
        if leaps {
            outer.iter().position(beside)
        } else {
            None
        }
    })
}

/// Whether all places and conditions are affine in a counter.
fn is_affine(trace: &Trace, counter: u32) -> bool {
    let conditions = trace.undecided.iter().map(|(expression, _)| expression);
    (trace.positions.iter().chain(conditions)).all(|e| e.stride(counter).is_some())
}

/// Where conditions on the counter alone change.
fn cuts(trace: &Trace, counter: u32, inner: i64) -> Vec<i64> {
    let mut cuts: Vec<i64> = (trace.undecided.iter())
        .filter_map(|(expression, bound)| {
            // ±counter + offset ≥ bound
            let [(Atom::Variable(variable), coefficient)] = expression.terms() else {
                return None;
            };
            let distance = bound - expression.offset();
            match (variable.number == counter, coefficient) {
                (true, 1) => Some(distance),
                (true, -1) => Some(1 - distance),
                _ => None,
            }
        })
        .filter(|&cut| 0 < cut && cut < inner)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    if cuts.len() >= MOST_PIECES {
        cuts.clear();
    }
    cuts
}

/// The product of dimensions.
pub fn extent(shape: &[usize]) -> i64 {
    shape.iter().product::<usize>() as i64
}

/// ⌈a / b⌉.
pub fn ceil_div(a: i64, b: i64) -> i64 {
    a.div_euclid(b) + i64::from(a % b != 0)
}
