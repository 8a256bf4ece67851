//! Operands of 16-bit numbers as boxes of tensor maps: one thread has a whole tile copied, swizzled, and zeros where the
//! operand ends.

use crate::blocks::dot::{Product, input_position};
use crate::blocks::extent;
use crate::mlir::index::{self, Expression, Variable};
use crate::nvptx::family::swizzled::SwizzledTile;
use tessera_ir::{ElementType, Graph, OpKind};
use tessera_runtime::bundle::TensorMap;

/// The numbers that are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// bf16.
    Bf16,
    /// f16.
    F16,
}

/// Which numbers of a matrix are next to each other in a swizzled tile: those of a line of 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// Those along K, of one row: a tile is a line for each row.
    K,
    /// Those of 64 rows, of one place along K: a tile is, for each 64 rows, a line for each place.
    Rows,
}

/// Numbers of a line, of rows or along K.
pub const LINE: i64 = SwizzledTile::ROW / BYTES;

/// Bytes of 64 rows by 64 numbers along K in a tile, of either major.
pub const PIECE_BYTES: i64 = LINE * SwizzledTile::ROW;

/// An operand that lies in memory as its matrices, or these transposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boxed {
    /// The kernel's buffer that it is.
    pub buffer: usize,
    /// Which numbers are next to each other.
    pub major: Major,
    /// How many these are.
    pub line: i64,
    /// How many lines there are, and the bytes from one to the next; then the same of each dimension of the batch that has
    /// more than one place, the last first.
    others: Vec<[i64; 2]>,
    /// Those dimensions.
    batch: Vec<usize>,
}

/// Bytes of a number.
const BYTES: i64 = 2;

impl Boxed {
    /// An operand (0: lhs, 1: rhs) of a product of 16-bit numbers. `None` where more than transposes, reshapes and
    /// conversions to f32 are between it and memory, where neither rows nor what is contracted are next to each other, or
    /// where distances are unequal, too large or no multiples of 16 bytes. (CUDA Driver API, `cuTensorMapEncodeTiled`.)
    pub fn of(graph: &Graph, product: &Product<'_>, operand: usize) -> Option<Self> {
        let free = if operand == 0 {
            &product.rows
        } else {
            &product.columns
        };
        let extents = [extent(free), extent(&product.contracted)];
        let counter = |number: usize, extent: i64| {
            Expression::variable(Variable {
                number: number as u32,
                lower: 0,
                upper: extent - 1,
            })
        };
        let batch: Vec<Expression> = (product.batch.iter().enumerate())
            .map(|(number, &extent)| counter(2 + number, extent as i64))
            .collect();
        let [rows, contracted] = [0, 1].map(|number| counter(number, extents[number]));
        let roles = [&product.lhs, &product.rhs][operand];
        let indices = roles.indices(
            &batch,
            &index::delinearize(&rows, free),
            &index::delinearize(&contracted, &product.contracted),
        );
        let mut value = product.operation.op.operands[operand];
        // A conversion keeps places; the unit reads what is converted.
        if let Some(operation) = graph.defining_operation(value)
            && matches!(
                operation.op.kind,
                OpKind::Convert {
                    element: ElementType::F32
                }
            )
        {
            value = operation.op.operands[0];
        }
        let (buffer, position) = input_position(graph, value, &indices)?;
        let stored = graph.inputs()[buffer].value_type.as_tensor()?.element;
        if product.half(operand) != Some(stored) || position.offset() != 0 {
            return None;
        }
        // Of a single place there is no distance; any will do.
        let distance = |number: usize, extent: i64| match extent {
            1 => Some(None),
            _ => position
                .stride(number as u32)
                .map(|stride| Some(stride * BYTES)),
        };
        let sides = [distance(0, extents[0])?, distance(1, extents[1])?];
        let places: Vec<usize> = (0..product.batch.len())
            .rev()
            .filter(|&number| product.batch[number] > 1)
            .collect();
        let mut batches = Vec::new();
        for &number in &places {
            let count = product.batch[number] as i64;
            batches.push([count, distance(2 + number, count)??]);
        }
        [(Major::K, 1), (Major::Rows, 0)]
            .into_iter()
            .map(|(major, line)| {
                let is_line = sides[line].is_none_or(|bytes| bytes == BYTES);
                let lines = [extents[1 - line], sides[1 - line].unwrap_or(16)];
                let boxed = Self {
                    buffer,
                    major,
                    line: extents[line],
                    others: [&[lines][..], &batches].concat(),
                    batch: places.clone(),
                };
                (is_line && boxed.can_be_mapped()).then_some(boxed)
            })
            .find_map(|boxed| boxed)
    }

    /// A matrix, or one for each place of a batch of one dimension, which is a buffer of the kernel as it is. `None` as above.
    pub fn of_matrices(buffer: usize, shape: &[usize], contracting: usize) -> Option<Self> {
        let [batch @ .., lines, line] = shape else {
            return None;
        };
        let (lines, line) = (*lines as i64, *line as i64);
        let major = match contracting + 1 == shape.len() {
            true => Major::K,
            false => Major::Rows,
        };
        let mut others = vec![[lines, line * BYTES]];
        // Of a single place there is no distance.
        let batch = batch.iter().filter(|&&count| count > 1);
        others.extend(batch.map(|&count| [count as i64, lines * line * BYTES]));
        let boxed = Self {
            buffer,
            major,
            line,
            batch: (1..others.len()).map(|_| 0).collect(),
            others,
        };
        boxed.can_be_mapped().then_some(boxed)
    }

    fn can_be_mapped(&self) -> bool {
        let is_distance = |bytes: i64| bytes % 16 == 0 && (0..1 << 40).contains(&bytes);
        let distances = self.others.iter().map(|&[_, bytes]| bytes);
        // Places are given as 32-bit numbers with a sign.
        let extents = self.others.iter().map(|&[count, _]| count);
        let mut extents = extents.chain([self.line * BYTES]);
        self.others.len() < TensorMap::MOST_DIMENSIONS
            && distances.into_iter().all(is_distance)
            && extents.all(|extent| (1..1 << 31).contains(&extent))
    }

    /// The byte of the buffer from which the number at a place is stored: of a product of the batch, whose shape is given, a row
    /// and a number along K.
    pub fn byte(
        &self,
        (batch, shape): (&Expression, &[usize]),
        [row, contracted]: [&Expression; 2],
    ) -> Expression {
        let (line, number) = match self.major {
            Major::K => (row, contracted),
            Major::Rows => (contracted, row),
        };
        let indices = index::delinearize(batch, shape);
        let batch = self.batch.iter().map(|&number| &indices[number]);
        let others = [line].into_iter().chain(batch).zip(&self.others);
        others.fold(number.times(BYTES), |byte, (place, &[_, bytes])| {
            byte.plus(&place.times(bytes))
        })
    }

    /// The tensor map for tiles of so many rows.
    pub fn tensor_map(&self, rows: i64) -> TensorMap {
        let lines = match self.major {
            Major::K => rows,
            Major::Rows => LINE,
        };
        let mut extents = vec![(self.line * BYTES) as u64];
        extents.extend(self.others.iter().map(|&[count, _]| count as u64));
        let mut box_extents = vec![1; extents.len()];
        box_extents[0] = SwizzledTile::ROW as u32;
        box_extents[1] = lines as u32;
        TensorMap {
            buffer: self.buffer,
            extents,
            strides: self.others.iter().map(|&[_, bytes]| bytes as u64).collect(),
            box_extents,
            swizzle_bytes: SwizzledTile::ROW as u32,
        }
    }

    /// Where the boxes of a tile of so many rows are in the tensor map, one behind the other in shared memory: from a row
    /// of a product of the batch, whose shape is given, and a number along K on.
    pub fn places(
        &self,
        rows: i64,
        (batch, shape): (&Expression, &[usize]),
        [row, contracted]: [&Expression; 2],
    ) -> Vec<Vec<Expression>> {
        let indices = index::delinearize(batch, shape);
        let batch = self.batch.iter().map(|&number| indices[number].clone());
        let batch: Vec<Expression> = batch.collect();
        let place = |line: &Expression, number: &Expression| {
            [&[line.times(BYTES), number.clone()][..], &batch].concat()
        };
        match self.major {
            Major::K => vec![place(contracted, row)],
            Major::Rows => (0..rows / LINE)
                .map(|piece| place(&row.plus_constant(piece * LINE), contracted))
                .collect(),
        }
    }
}
