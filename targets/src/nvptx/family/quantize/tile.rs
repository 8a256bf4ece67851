//! The tensor as matrices, and the tile of a matrix that a CTA has: read once, and in shared memory where it is needed
//! along both sides.

use super::output::Output;
use crate::blocks::{ceil_div, extent};
use crate::mlir::elemental::{Unsupported, stored_place};
use crate::mlir::index::{self, Expression};
use crate::mlir::{Emission, Value};
use tessera_ir::{ElementType, ScaledType, ValueId};
use tessera_numerics::BlockShape;

/// Elements of a tile where nothing asks for more.
const ELEMENTS: usize = 4096;
/// Elements of a tile at least, so that segments of 16 keep a warp.
const LEAST: usize = 512;
/// Rows of a tile where columns are quantised: a column's 64 codes of four bits are a sector of memory.
const ROWS: usize = 64;
/// Words of shared memory from one bank to itself.
const BANKS: usize = 32;

/// A side of a matrix, along which blocks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Along rows, the tensor's last dimension.
    Across,
    /// Along columns, another dimension.
    Down,
}

/// How a tensor is seen as matrices: their columns are its last dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    shape: Vec<usize>,
    /// The dimensions that are a matrix's rows.
    down: Vec<usize>,
    /// The dimensions that count matrices.
    matrices: Vec<usize>,
}

impl View {
    /// That of all outputs along one side or both, and which these are: rows of the last two dimensions' matrices go with
    /// columns of them. More than one where columns run along different dimensions.
    pub fn all(shape: &[usize], outputs: &[Output<'_, '_>]) -> Vec<(Self, Vec<usize>)> {
        let last = shape.len() - 1;
        let needs_matrices = outputs.iter().any(|output| {
            let scaled = output.scaled();
            scaled.axis() != last || scaled.blocks() == BlockShape::Square
        });
        let mut views: Vec<(Self, Vec<usize>)> = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let axis = output.scaled().axis();
            let view = match needs_matrices && last > 0 {
                true if axis == last => Self::along(shape, last - 1),
                true => Self::along(shape, axis),
                false => Self {
                    shape: shape.to_vec(),
                    down: (0..last).collect(),
                    matrices: Vec::new(),
                },
            };
            match views.iter_mut().find(|(other, _)| *other == view) {
                Some((_, numbers)) => numbers.push(number),
                None => views.push((view, vec![number])),
            }
        }
        views
    }

    fn along(shape: &[usize], down: usize) -> Self {
        let others = 0..shape.len() - 1;
        Self {
            shape: shape.to_vec(),
            down: vec![down],
            matrices: others.filter(|&d| d != down).collect(),
        }
    }

    fn extents(&self, dimensions: &[usize]) -> Vec<usize> {
        dimensions.iter().map(|&d| self.shape[d]).collect()
    }

    /// Rows and columns of a matrix.
    pub fn sides(&self) -> [i64; 2] {
        let columns = self.shape.last().map_or(1, |&last| last as i64);
        [extent(&self.extents(&self.down)), columns]
    }

    /// The tensor's indices of a matrix's element.
    pub fn indices(&self, matrix: &Expression, place: [&Expression; 2]) -> Vec<Expression> {
        let mut indices = vec![place[1].clone(); self.shape.len()];
        for (dimensions, number) in [(&self.matrices, matrix), (&self.down, place[0])] {
            let of = index::delinearize(number, &self.extents(dimensions));
            for (&d, index) in dimensions.iter().zip(of) {
                indices[d] = index;
            }
        }
        indices
    }
}

/// What tiles a view is cut into.
pub struct Tiling {
    pub view: View,
    /// Rows and columns of a tile, powers of two.
    pub extents: [i64; 2],
    /// Matrices, and tiles down and across in each.
    counts: [i64; 3],
}

impl Tiling {
    /// Tiles of which each holds whole multiples of so many rows and columns, powers of two.
    pub fn new(view: View, least: [usize; 2]) -> Self {
        let [down, across] = view.sides();
        let fit = |extent: i64, least: usize, most: usize| {
            let extent = extent.max(1).cast_unsigned() as usize;
            extent.next_power_of_two().clamp(least, most.max(least))
        };
        let least = [least[0], least[1].max(BANKS)];
        let rows = fit(down, least[0], ROWS);
        let columns = fit(across, least[1], ELEMENTS / rows);
        let rows = fit(down, least[0], ELEMENTS / columns);
        let columns = columns.max(LEAST / rows);
        let extents = [rows, columns].map(|extent| extent as i64);
        let matrices = extent(&view.extents(&view.matrices));
        Self {
            counts: [
                matrices,
                ceil_div(down, extents[0]),
                ceil_div(across, extents[1]),
            ],
            extents,
            view,
        }
    }

    /// Tiles, of which a CTA has one.
    pub fn count(&self) -> i64 {
        self.counts.iter().product()
    }

    /// Elements of a tile.
    pub fn elements(&self) -> i64 {
        self.extents.iter().product()
    }

    /// Bytes of shared memory that keep a tile.
    pub fn kept_bytes(&self) -> i64 {
        let [rows, columns] = self.extents.map(|extent| Expression::constant(extent - 1));
        let last = self.kept_place([&rows, &columns]).offset();
        (last + 1) * size_of::<f32>() as i64
    }

    /// The word of shared memory of an element of a tile. One word is left out after each 32 and eight more after each 16
    /// rows: then neighbours find different banks along both sides.
    fn kept_place(&self, place: [&Expression; 2]) -> Expression {
        let position = place[0].times(self.extents[1]).plus(place[1]);
        let skipped = position.quotient(BANKS as i64);
        position
            .plus(&skipped)
            .plus(&place[0].quotient(16).times(8))
    }

    /// The tile of that number, kept in shared memory at an address.
    pub fn tile<'c>(&self, number: &Expression, kept: Option<Value<'c>>) -> Tile<'_, 'c> {
        let [_, down, across] = self.counts;
        let in_matrix = number.remainder(down * across);
        Tile {
            tiling: self,
            matrix: number.quotient(down * across),
            corner: [
                in_matrix.quotient(across).times(self.extents[0]),
                in_matrix.remainder(across).times(self.extents[1]),
            ],
            kept,
        }
    }
}

/// Some elements of a tile one after the other along a side.
pub struct Segment {
    pub side: Side,
    pub length: i64,
    /// Which of the tile's rows or columns it is of.
    pub line: Expression,
    /// How many segments of that are before it.
    pub number: Expression,
}

impl Segment {
    /// The row and column in the tile of an element.
    fn place(&self, element: i64) -> [Expression; 2] {
        let along = self.number.times(self.length).plus_constant(element);
        self.side.rows_and_columns(self.line.clone(), along)
    }
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Across => Self::Down,
            Self::Down => Self::Across,
        }
    }

    /// The dimension of a matrix along it.
    pub fn dimension(self) -> usize {
        match self {
            Self::Down => 0,
            Self::Across => 1,
        }
    }

    /// What is across a line and along it as what is of rows and of columns.
    pub fn rows_and_columns<T>(self, line: T, along: T) -> [T; 2] {
        match self {
            Self::Across => [line, along],
            Self::Down => [along, line],
        }
    }
}

/// A CTA's tile.
pub struct Tile<'t, 'c> {
    tiling: &'t Tiling,
    matrix: Expression,
    /// Its first row and column in the matrix.
    corner: [Expression; 2],
    kept: Option<Value<'c>>,
}

impl<'c> Tile<'_, 'c> {
    /// Which row or column of the matrix a segment is of, and how many segments of that are before it.
    fn in_matrix(&self, segment: &Segment) -> [Expression; 2] {
        let along = segment.side.dimension();
        [
            self.corner[1 - along].plus(&segment.line),
            (self.corner[along].quotient(segment.length)).plus(&segment.number),
        ]
    }

    /// The rows or columns of a matrix, and the elements of each.
    fn extents(&self, side: Side) -> [i64; 2] {
        let sides = self.tiling.view.sides();
        [sides[1 - side.dimension()], sides[side.dimension()]]
    }

    /// The row of a scaled tensor that a row or column of the matrix is.
    fn stored_row(&self, scaled: &ScaledType, side: Side, line: Expression) -> Expression {
        let [row, column] = side.rows_and_columns(line, Expression::constant(0));
        let indices = self.tiling.view.indices(&self.matrix, [&row, &column]);
        stored_place(scaled, &indices).0
    }

    /// The row of a scaled tensor that a segment is in, and its number there; perhaps beyond what there is.
    pub fn row_and_block(&self, scaled: &ScaledType, segment: &Segment) -> [Expression; 2] {
        let [line, number] = self.in_matrix(segment);
        [self.stored_row(scaled, segment.side, line), number]
    }

    /// Does `body` where a segment begins inside of the matrix, with what [`row_and_block`](Self::row_and_block) says.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn when_inside<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        (scaled, segment): (&ScaledType, &Segment),
        body: impl FnOnce(&mut Emission<'c, 'g>, [&Expression; 2]) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let [lines, elements] = self.extents(segment.side);
        let counts = [lines, ceil_div(elements, segment.length)];
        let [line, number] = self.in_matrix(segment);
        emission.when_within([&line, &number], counts, |emission, [line, number]| {
            let row = self.stored_row(scaled, segment.side, line);
            body(emission, [&row, &number])
        })
    }

    /// A segment's numbers, made of what is in memory; zeros beyond the matrix.
    ///
    /// # Errors
    /// They cannot be made here.
    pub fn read<'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        tensor: ValueId,
        segment: &Segment,
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let [lines, elements] = self.extents(segment.side);
        let [line, number] = self.in_matrix(segment);
        let element = |emission: &mut Emission<'c, 'g>, line: &Expression, at: Expression| {
            let [row, column] = segment.side.rows_and_columns(line.clone(), at);
            let indices = self.tiling.view.indices(&self.matrix, [&row, &column]);
            emission.elemental.element(tensor, &indices)
        };
        let b = emission.elemental.builder();
        let zero = b.constant_float(b.f32(), 0.0);
        let zeros = vec![zero; segment.length as usize];
        emission.value_within(&line, lines, &zeros, |emission, line| {
            if elements % segment.length == 0 {
                let count = elements / segment.length;
                return emission.value_within(&number, count, &zeros, |emission, number| {
                    let first = number.times(segment.length);
                    (0..segment.length)
                        .map(|i| element(emission, &line, first.plus_constant(i)))
                        .collect()
                });
            }
            (0..segment.length)
                .map(|i| {
                    let at = number.times(segment.length).plus_constant(i);
                    let read = emission.value_within(&at, elements, &[zero], |emission, at| {
                        Ok::<_, Unsupported>(vec![element(emission, &line, at)?])
                    });
                    Ok(read?[0])
                })
                .collect()
        })
    }

    /// Keeps a segment's numbers in shared memory, where the tile is kept.
    pub fn keep(&self, emission: &mut Emission<'c, '_>, segment: &Segment, values: &[Value<'c>]) {
        let Some(base) = self.kept else {
            return;
        };
        for (i, &value) in values.iter().enumerate() {
            let [row, column] = segment.place(i as i64);
            let place = self.tiling.kept_place([&row, &column]);
            (emission.elemental).store(value, base, ElementType::F32, &place);
        }
    }

    /// A segment's numbers that were kept.
    ///
    /// # Panics
    /// The tile is not kept.
    pub fn kept(&self, emission: &mut Emission<'c, '_>, segment: &Segment) -> Vec<Value<'c>> {
        let base = self.kept.expect("a tile that is read twice is kept");
        let element = |i| {
            let [row, column] = segment.place(i);
            let place = self.tiling.kept_place([&row, &column]);
            emission.elemental.load(base, ElementType::F32, place)
        };
        (0..segment.length).map(element).collect()
    }
}
