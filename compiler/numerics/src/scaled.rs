//! Scaled tensors: packed elements, block scales and a tensor scale, as one value in one stretch of memory.

use crate::Format;
use std::fmt;
use std::sync::Arc;

/// The elements that share one block scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockShape {
    /// The format's number of elements along the axis: 1×16 for nvfp4, 1×32 for the mx formats.
    #[default]
    Vector,
    /// 16 along the axis by 16 along the dimension before it in memory, so that a matrix and its transpose have the same
    /// elements and scales. Each of the 16 rows stores the scale. nvfp4 only.
    Square,
}

/// The order of the block scales in memory. Rows are all dimensions but the axis; columns are blocks along the axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleLayout {
    /// Row-major.
    #[default]
    Linear,
    /// Tiles of 128 rows × 4 columns of 512 bytes, as Blackwell's matrix units read them; the last tiles are padded with
    /// zeros. Row `r`, column `c` of a matrix of `C` tiles along the columns lies at byte
    /// `((r/128 · C + c/4) · 32 + r%32) · 16 + (r%128)/32 · 4 + c%4` (cuBLAS, "1D block scaling factors layout").
    Tiled128x4,
}

/// The type of a scaled tensor: what its numbers are and where each lies.
///
/// In memory the axis is the fastest dimension and the others stand before it in their order, as *rows*. Each row is
/// padded to whole blocks with codes of zero. Codes come first, then from a multiple of 64 bytes on the block scales,
/// then from a multiple of 64 bytes on the tensor scale, each where the format has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScaledType {
    shape: Vec<usize>,
    format: Format,
    axis: usize,
    blocks: BlockShape,
    layout: ScaleLayout,
}

/// Why there is no such scaled type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaledTypeError {
    /// The axis is none of the shape's dimensions.
    #[error("axis {axis} is none of the {rank} dimensions")]
    Axis {
        /// The axis asked for.
        axis: usize,
        /// The shape's number of dimensions.
        rank: usize,
    },
    /// Square blocks are nvfp4's alone.
    #[error("blocks of 16x16 are for nvfp4, found {format}")]
    SquareFormat {
        /// The format asked for.
        format: Format,
    },
    /// Square blocks need two dimensions.
    #[error("blocks of 16x16 need two dimensions, found {rank}")]
    SquareRank {
        /// The shape's number of dimensions.
        rank: usize,
    },
    /// A layout of block scales for a format that has none.
    #[error("{format} has no block scales to lay out as {layout}")]
    Layout {
        /// The format asked for.
        format: Format,
        /// The layout asked for.
        layout: ScaleLayout,
    },
    /// The tensor is larger than the address space.
    #[error("a scaled tensor of {shape:?} elements is larger than the address space")]
    Overflow {
        /// The shape asked for.
        shape: Vec<usize>,
    },
}

/// Every part of a scaled tensor starts at a multiple of this many bytes.
pub const PART_ALIGNMENT: usize = 64;

impl ScaledType {
    /// The type of a tensor of that shape whose blocks run along `axis`.
    ///
    /// # Errors
    /// The parts do not fit each other, or the tensor is larger than the address space.
    pub fn new(
        shape: impl Into<Vec<usize>>,
        format: Format,
        axis: usize,
        blocks: BlockShape,
        layout: ScaleLayout,
    ) -> Result<Self, ScaledTypeError> {
        let shape = shape.into();
        let rank = shape.len();
        if axis >= rank {
            return Err(ScaledTypeError::Axis { axis, rank });
        }
        if blocks == BlockShape::Square {
            if format != Format::Nvfp4 {
                return Err(ScaledTypeError::SquareFormat { format });
            }
            if rank < 2 {
                return Err(ScaledTypeError::SquareRank { rank });
            }
        }
        if format.block().is_none() && layout != ScaleLayout::Linear {
            return Err(ScaledTypeError::Layout { format, layout });
        }
        let nonzero = shape.iter().filter(|&&dimension| dimension > 0);
        // Padding and scales less than double the elements of each dimension, and a part is at most padded to 128 rows.
        let bound = nonzero
            .copied()
            .try_fold(8 * 128 * 64, usize::checked_mul)
            .filter(|&bytes| isize::try_from(bytes).is_ok());
        if bound.is_none() {
            return Err(ScaledTypeError::Overflow { shape });
        }
        Ok(Self {
            shape,
            format,
            axis,
            blocks,
            layout,
        })
    }

    /// The dimensions of the tensor, slowest first, as they are outside of its storage.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How numbers are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The dimension along which blocks run.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// What shares a block scale.
    pub fn blocks(&self) -> BlockShape {
        self.blocks
    }

    /// The order of the block scales.
    pub fn layout(&self) -> ScaleLayout {
        self.layout
    }

    /// The number of rows: the product of all dimensions but the axis.
    pub fn rows(&self) -> usize {
        let others = self.shape.iter().enumerate();
        others
            .filter(|&(dimension, _)| dimension != self.axis)
            .map(|(_, &size)| size)
            .product()
    }

    /// The elements of a row: the size of the axis.
    pub fn columns(&self) -> usize {
        self.shape[self.axis]
    }

    /// Where an element of storage comes from: its place in the tensor's row-major order. A row's padding has none.
    pub fn logical_index(&self, row: usize, column: usize) -> usize {
        let after: usize = self.shape[self.axis + 1..].iter().product();
        (row / after * self.columns() + column) * after + row % after
    }

    /// The rows that square blocks are cut from, one after the other: the size of the dimension that stands just before
    /// the axis in memory. 1 for a tensor of one dimension.
    pub fn rows_before_axis(&self) -> usize {
        let mut others = self.shape.iter().enumerate();
        others
            .rfind(|&(dimension, _)| dimension != self.axis)
            .map_or(1, |(_, &size)| size)
    }

    /// The elements of a row with its padding: a whole number of blocks.
    pub fn padded_columns(&self) -> usize {
        match self.format.block() {
            Some((length, _)) => self.columns().next_multiple_of(length),
            None => self.columns(),
        }
    }

    /// The blocks of a row, 0 for a format without block scales.
    pub fn blocks_per_row(&self) -> usize {
        match self.format.block() {
            Some((length, _)) => self.columns().div_ceil(length),
            None => 0,
        }
    }

    /// The bytes of a row's codes.
    pub fn row_bytes(&self) -> usize {
        self.padded_columns() / self.format.element().elements_per_byte()
    }

    /// The bytes of all codes; they start at byte 0.
    pub fn code_bytes(&self) -> usize {
        self.rows() * self.row_bytes()
    }

    /// The byte at which block scales start.
    pub fn scales_offset(&self) -> usize {
        self.code_bytes().next_multiple_of(PART_ALIGNMENT)
    }

    /// The bytes of all block scales, the padding of their layout included.
    pub fn scale_bytes(&self) -> usize {
        let (rows, columns) = (self.rows(), self.blocks_per_row());
        match self.layout {
            ScaleLayout::Linear => rows * columns,
            ScaleLayout::Tiled128x4 => rows.next_multiple_of(128) * columns.next_multiple_of(4),
        }
    }

    /// The byte of the block scale of a row and a block along it, counted from [`scales_offset`](Self::scales_offset).
    pub fn scale_position(&self, row: usize, block: usize) -> usize {
        let columns = self.blocks_per_row();
        match self.layout {
            ScaleLayout::Linear => row * columns + block,
            ScaleLayout::Tiled128x4 => {
                let tile = row / 128 * columns.div_ceil(4) + block / 4;
                (tile * 32 + row % 32) * 16 + row % 128 / 32 * 4 + block % 4
            }
        }
    }

    /// The byte at which the tensor scale, an f32, starts.
    pub fn tensor_scale_offset(&self) -> usize {
        (self.scales_offset() + self.scale_bytes()).next_multiple_of(PART_ALIGNMENT)
    }

    /// The bytes of the whole value.
    pub fn byte_size(&self) -> usize {
        if self.format.has_tensor_scale() {
            self.tensor_scale_offset() + size_of::<f32>()
        } else {
            self.scales_offset() + self.scale_bytes()
        }
    }
}

impl BlockShape {
    /// Every block shape, in the order of its declaration.
    pub const ALL: [Self; 2] = [Self::Vector, Self::Square];

    /// The word in types, recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Square => "square",
        }
    }
}

impl ScaleLayout {
    /// Every layout, in the order of its declaration.
    pub const ALL: [Self; 2] = [Self::Linear, Self::Tiled128x4];

    /// The word in types, recipes and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Tiled128x4 => "tiled_128x4",
        }
    }
}

impl fmt::Display for BlockShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ScaleLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ScaledType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("!tsr.scaled<")?;
        for (index, dimension) in self.shape.iter().enumerate() {
            let separator = if index > 0 { "x" } else { "" };
            write!(f, "{separator}{dimension}")?;
        }
        write!(f, ", {}, axis = {}", self.format, self.axis)?;
        if self.blocks != BlockShape::default() {
            write!(f, ", blocks = {}", self.blocks)?;
        }
        if self.layout != ScaleLayout::default() {
            write!(f, ", layout = {}", self.layout)?;
        }
        f.write_str(">")
    }
}

/// A scaled tensor in host memory. Copies share its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScaledTensor {
    scaled_type: ScaledType,
    bytes: Arc<[u8]>,
}

impl ScaledTensor {
    /// Takes `bytes` for a tensor of that type.
    ///
    /// # Errors
    /// There are more or fewer bytes than the type's.
    pub fn new(
        scaled_type: ScaledType,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Self, ScaledTensorError> {
        let bytes = bytes.into();
        let expected = scaled_type.byte_size();
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(ScaledTensorError {
                scaled_type,
                expected,
                found,
            });
        }
        Ok(Self { scaled_type, bytes })
    }

    /// What it is.
    pub fn scaled_type(&self) -> &ScaledType {
        &self.scaled_type
    }

    /// Codes, block scales and tensor scale, where the type says.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same numbers with their block scales in another layout.
    ///
    /// # Errors
    /// The format has no block scales and the layout is another than [`ScaleLayout::Linear`].
    pub fn with_layout(&self, layout: ScaleLayout) -> Result<Self, ScaledTypeError> {
        let from = &self.scaled_type;
        let to = ScaledType::new(
            from.shape.as_slice(),
            from.format,
            from.axis,
            from.blocks,
            layout,
        )?;
        let mut bytes = vec![0; to.byte_size()];
        bytes[..from.code_bytes()].copy_from_slice(self.codes());
        for row in 0..from.rows() {
            for block in 0..from.blocks_per_row() {
                bytes[to.scales_offset() + to.scale_position(row, block)] =
                    self.scales()[from.scale_position(row, block)];
            }
        }
        if from.format.has_tensor_scale() {
            bytes[to.tensor_scale_offset()..]
                .copy_from_slice(&self.bytes[from.tensor_scale_offset()..]);
        }
        Ok(Self {
            scaled_type: to,
            bytes: bytes.into(),
        })
    }

    /// The packed elements, row after row.
    pub fn codes(&self) -> &[u8] {
        &self.bytes[..self.scaled_type.code_bytes()]
    }

    /// The block scales in the type's layout.
    pub fn scales(&self) -> &[u8] {
        let start = self.scaled_type.scales_offset();
        &self.bytes[start..start + self.scaled_type.scale_bytes()]
    }

    /// The code of an element at a place of storage.
    ///
    /// # Panics
    /// There is no such row or column.
    pub fn code(&self, row: usize, column: usize) -> u8 {
        let per_byte = self.scaled_type.format.element().elements_per_byte();
        let byte = self.codes()[row * self.scaled_type.row_bytes() + column / per_byte];
        match per_byte {
            1 => byte,
            _ => byte >> (4 * (column % 2)) & 0xf,
        }
    }

    /// The number at a place of storage without the tensor scale, code times block scale, which f64 holds exactly. NaN
    /// where one of them is.
    ///
    /// # Panics
    /// There is no such row or column.
    pub fn unscaled_value(&self, row: usize, column: usize) -> f64 {
        let kind = &self.scaled_type;
        let code = self.code(row, column);
        let scale = kind.format.block().map_or(1.0, |(length, format)| {
            format.decode(self.scales()[kind.scale_position(row, column / length)])
        });
        f64::from(kind.format.element().decode(code)) * f64::from(scale)
    }

    /// The factor of all elements, 1 where the format has none: a number is its code's, times its block's scale, times
    /// this.
    pub fn tensor_scale(&self) -> f32 {
        if !self.scaled_type.format.has_tensor_scale() {
            return 1.0;
        }
        let start = self.scaled_type.tensor_scale_offset();
        let mut own = [0; size_of::<f32>()];
        own.copy_from_slice(&self.bytes[start..start + size_of::<f32>()]);
        f32::from_le_bytes(own)
    }
}

/// The number of bytes is not the type's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes for {scaled_type}, found {found}")]
pub struct ScaledTensorError {
    /// The type asked for.
    pub scaled_type: ScaledType,
    /// The bytes it needs.
    pub expected: usize,
    /// The bytes given.
    pub found: usize,
}
