//! Operands of 16-bit numbers that are copied as they lie in memory, 16 bytes at a time, by copies that go on by themselves.
//!
//! Numbers that are next to each other in memory are so in shared memory: those along K, or, transposed on the way to the
//! matrix unit, those of a row or column. An operand of which a copy of 16 bytes may begin or end inside is computed number
//! by number.

use super::packed::{below, copy_where};
use super::{Halves, NUMBERS, Piece, ROW_STRIDE, Staging};
use crate::blocks::dot::Product;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, IntegerPredicate, Value};
use crate::nvptx::copy::Width;
use crate::nvptx::family::boxes::{Boxed, Major};
use crate::nvptx::family::dot::Factors;
use crate::nvptx::matrix::Mma;
use tessera_ir::Graph;

/// Bytes that are copied at a time.
const COPY: i64 = Width::Sixteen.bytes();

/// The operands that can be copied, lhs and rhs.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// How one lies in memory.
    pub boxed: [Option<Boxed>; 2],
    /// The dimensions of the products' batch.
    pub batch: Vec<usize>,
}

impl Lines {
    /// Those of a product of numbers.
    pub fn of(graph: &Graph, product: &Product<'_>) -> Self {
        if product.extents().contains(&0) {
            return Self::default();
        }
        Self::new(
            [0, 1].map(|operand| Boxed::of(graph, product, operand)),
            &product.batch,
        )
    }

    /// Those of operands, as these lie in memory, whose lines are of whole copies.
    pub fn new(boxed: [Option<Boxed>; 2], batch: &[usize]) -> Self {
        let has_whole_copies = |boxed: &Boxed| boxed.line % (COPY / 2) == 0;
        Self {
            boxed: boxed.map(|boxed| boxed.filter(has_whole_copies)),
            batch: batch.to_vec(),
        }
    }

    /// Which numbers of lhs and of rhs are next to each other in shared memory.
    pub fn majors(&self) -> [Major; 2] {
        let major = |boxed: &Option<Boxed>| boxed.as_ref().map_or(Major::K, |boxed| boxed.major);
        self.boxed.each_ref().map(major)
    }
}

/// Bytes from place to place along K in shared memory, where it is numbers of so many rows that are next to each other: 16
/// more than there are, as between rows.
pub const fn line_stride(rows: i64) -> i64 {
    rows * 2 + 16
}

/// The staging of a product's operands, of which some are copied.
pub struct Copied<'p, P> {
    product: &'p P,
    halves: Halves<'p, P>,
    lines: Lines,
}

impl<'p, P: Factors> Copied<'p, P> {
    /// For an instruction of 16-bit numbers.
    pub fn new(product: &'p P, mma: Mma, lines: Lines) -> Self {
        Self {
            product,
            halves: Halves::new(product, mma),
            lines,
        }
    }
}

impl<P: Factors> Staging for Copied<'_, P> {
    fn majors(&self) -> [Major; 2] {
        self.lines.majors()
    }

    fn stage<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        piece: &Piece<'_, 'c>,
    ) -> Result<(), Unsupported> {
        let Some(boxed) = &self.lines.boxed[piece.operand] else {
            return self.halves.stage(emission, piece);
        };
        let Some(from) = emission.elemental.address_of_input(boxed.buffer) else {
            let reason = "reads an operand that is in no memory";
            return Err(Unsupported::new(self.product.operation(), reason));
        };
        let [_, m, n, k] = self.product.extents();
        let extents = [[m, n][piece.operand], k];
        copy(emission, piece, (boxed, from, &self.lines.batch), extents)
    }
}

/// Begins to copy a piece of an operand of so many rows and numbers along K, in a batch of that shape; of zeros where it ends.
///
/// # Errors
/// None of its own.
pub fn copy<'c>(
    emission: &mut Emission<'c, '_>,
    piece: &Piece<'_, 'c>,
    (boxed, from, batch): (&Boxed, Value<'c>, &[usize]),
    [rows, contracted]: [i64; 2],
) -> Result<(), Unsupported> {
    // Lines of a stage, bytes of one, and from one to the next.
    let (lines, bytes, stride) = match boxed.major {
        Major::K => (piece.rows, NUMBERS * 2, ROW_STRIDE),
        Major::Rows => (NUMBERS, piece.rows * 2, line_stride(piece.rows)),
    };
    let copies = bytes / COPY;
    let part = piece.part;
    piece.share(emission, lines * copies, |emission, number| {
        let (line, chunk) = (number.quotient(copies), number.remainder(copies));
        let along = chunk.times(COPY / 2);
        let (free, deep) = match boxed.major {
            Major::K => (&line, &along),
            Major::Rows => (&along, &line),
        };
        let row = part.corner[piece.operand].plus(free);
        let deep = part.first.plus(&piece.first_of(NUMBERS)).plus(deep);
        let is_row = below(emission, &row, rows);
        let is_deep = match part.first.as_constant() {
            Some(_) => below(emission, &deep, contracted),
            None => Some(is_before(emission, &deep, part.end)),
        };
        let place = boxed.byte((&part.batch, batch), [&row, &deep]);
        let at = line.times(stride).plus(&chunk.times(COPY));
        copy_where(
            emission,
            Width::Sixteen,
            (piece.to, &at),
            (from, &place),
            [is_row, is_deep],
        );
        Ok(())
    })
}

/// Whether a place is before the one where a group ends.
fn is_before<'c>(emission: &mut Emission<'c, '_>, place: &Expression, end: Value<'c>) -> Value<'c> {
    let place = emission.elemental.number(place);
    let b = emission.elemental.builder();
    b.compare_integers(IntegerPredicate::Slt, place, end)
}
