//! Quantisation at the speed of memory, with the bits of [`quantize`](crate::quantize()).
//!
//! A [`Quantizer`] makes several scaled tensors of one input in one pass over it, say an activation's blocks along its rows
//! for the forward product and along its columns for the weight's gradient, and may subtract a mean from each column on
//! the way. An output may also be made of the input's Hadamard transform along the output's axis, which is in no memory but a
//! near cache. A [`QuantizerJob`] is one execution, divided into parts that threads may run at once.
//!
//! The input is seen as matrices whose rows or columns the blocks run along, and [`kernel`] makes every format by every
//! rule of them tile by tile, [`eden`] those by MS-EDEN. By definition are computed: square blocks of a transform; stochastic
//! rounding of rows without padding that are no whole number of groups of sixteen; and blocks along an axis that
//! is neither the rows' nor the columns'.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod columns;
mod eden;
mod elements;
mod kernel;
mod largest;
mod magnitudes;
mod rotated;
mod rotation;
mod rounding;
mod rows;
mod scales;
mod sink;
mod source;
mod squares;
mod vector;

pub use largest::{largest_centred_magnitude, largest_magnitude};
pub use magnitudes::HadamardMagnitudes;
pub use rotation::HadamardTransform;

use crate::quantize::{QuantizeError, TensorScale, check, quantize};
use crate::simd::SimdLevel;
use crate::{BlockShape, HadamardError, Quantization, RandomStream, Rounding, ScaleLayout};
use eden::{Eden, eden_tile};
use kernel::{Direction, Encoding, Scratch, quantize_tile};
use largest::from_magnitude;
use rotated::Rotation;
use scales::ScaleMaker;
use sink::{Sink, fence};
use source::{
    Ahead, PATCH_COLUMNS, Place, Source, TILE_COLUMNS, TILE_ROWS, is_near, patch_rows, run,
};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use vector::LANES;

/// Several quantisations of one input.
#[derive(Clone, Debug)]
pub struct Quantizer {
    quantizations: Vec<Quantization>,
    view: View,
    /// For each quantisation how its blocks lie in the view, or nothing where it is computed by definition.
    directions: Vec<Option<Direction>>,
    /// For each quantisation the transform along its axis that it is made of, if it is not of the input itself.
    transforms: Vec<Option<HadamardTransform>>,
    level: SimdLevel,
}

/// The input as `count` matrices of `rows` × `columns`, cut into tiles of so many rows.
#[derive(Clone, Copy, Debug)]
struct View {
    count: usize,
    rows: usize,
    columns: usize,
    tile_rows: usize,
}

/// The numbers of an execution, in the row-major order of the quantisations' shape.
#[derive(Clone, Copy)]
pub enum QuantizerValues<'a> {
    /// In memory.
    Given(&'a [f32]),
    /// Made where they are read, some rows at a time: the function writes as many numbers as there is room for, from the
    /// number of that index on.
    Made(&'a (dyn Fn(usize, &mut [f32]) + Sync)),
}

impl fmt::Debug for QuantizerValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(values) => f.debug_tuple("Given").field(values).finish(),
            Self::Made(_) => f.debug_tuple("Made").finish_non_exhaustive(),
        }
    }
}

/// What one execution takes.
#[derive(Clone, Copy, Debug)]
pub struct QuantizerInput<'a> {
    /// The numbers.
    pub values: QuantizerValues<'a>,
    /// What is subtracted from the numbers, in f32: one number for each index of the last dimension.
    pub mean: Option<&'a [f32]>,
    /// What each quantisation takes, in their order.
    pub draws: &'a [QuantizerDraw],
}

/// What one quantisation takes of an execution.
#[derive(Clone, Copy, Debug)]
pub struct QuantizerDraw {
    /// The largest magnitude of the numbers less the mean, transformed if they are; it matters to formats with a tensor
    /// scale alone.
    pub amax: f32,
    /// The bits of random roundings.
    pub stream: Option<RandomStream>,
}

/// Why a quantiser cannot be made or run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantizerError {
    /// Quantisations of tensors of different shapes.
    #[error("expected quantisations of one shape, found {first:?} and {other:?}")]
    Shapes {
        /// The first quantisation's shape.
        first: Vec<usize>,
        /// The other shape.
        other: Vec<usize>,
    },
    /// No quantisation at all.
    #[error("expected at least one quantisation, found none")]
    Empty,
    /// Not one of something for each quantisation.
    #[error("expected {expected} {what}, one for each quantisation, found {found}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// The number of quantisations.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// An output that has not its type's size.
    #[error("expected {expected} bytes for output {output}, found {found}")]
    Bytes {
        /// The output's index.
        output: usize,
        /// Its type's bytes.
        expected: usize,
        /// The bytes given.
        found: usize,
    },
    /// Not one mean for each index of the last dimension.
    #[error("expected {expected} means, one for each index of the last dimension, found {found}")]
    Mean {
        /// The size of the last dimension.
        expected: usize,
        /// The means given.
        found: usize,
    },
    /// A transform that the tensor has not along a quantisation's axis.
    #[error(transparent)]
    Hadamard(#[from] HadamardError),
    /// The numbers or the random stream do not fit a quantisation.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
}

impl Quantizer {
    /// A quantiser that makes all of these, with the best instructions of this processor.
    ///
    /// # Errors
    /// There are none, or their shapes differ.
    pub fn new(quantizations: Vec<Quantization>) -> Result<Self, QuantizerError> {
        let shape = match quantizations.first() {
            Some(first) => first.scaled_type().shape().to_vec(),
            None => return Err(QuantizerError::Empty),
        };
        let others = quantizations.iter().map(|one| one.scaled_type().shape());
        if let Some(other) = others.into_iter().find(|&other| other != shape) {
            let other = other.to_vec();
            return Err(QuantizerError::Shapes {
                first: shape,
                other,
            });
        }
        let (view, directions) = view(&shape, &quantizations);
        Ok(Self {
            transforms: vec![None; quantizations.len()],
            quantizations,
            view,
            directions,
            level: SimdLevel::detect(),
        })
    }

    /// The same, with outputs that are made of Hadamard transforms of the input, less the mean: for each quantisation the
    /// signs of a transform along its axis, or nothing.
    ///
    /// # Errors
    /// Not one for each quantisation; a size that there is not, or that does not divide the axis.
    pub fn with_hadamard(mut self, signs: &[Option<Vec<bool>>]) -> Result<Self, QuantizerError> {
        let (expected, found) = (self.quantizations.len(), signs.len());
        if expected != found {
            return Err(QuantizerError::Count {
                what: "transforms",
                expected,
                found,
            });
        }
        for (index, signs) in signs.iter().enumerate() {
            let Some(signs) = signs else { continue };
            let transform = HadamardTransform::new(signs)?;
            let scaled_type = self.quantizations[index].scaled_type();
            let (size, found) = (transform.size(), scaled_type.columns());
            if !found.is_multiple_of(size) {
                return Err(HadamardError::Length { size, found }.into());
            }
            if scaled_type.blocks() == BlockShape::Square {
                self.directions[index] = None;
            }
            self.transforms[index] = Some(transform);
        }
        Ok(self)
    }

    /// The same with chosen instructions; one of [`SimdLevel::available`], or else the best that there are.
    pub fn with_level(mut self, level: SimdLevel) -> Self {
        if SimdLevel::available().contains(&level) {
            self.level = level;
        }
        self
    }

    /// What is made, in the order of outputs.
    pub fn quantizations(&self) -> &[Quantization] {
        &self.quantizations
    }

    /// Quantises into `outputs`, each the bytes of a scaled tensor, on this thread alone.
    ///
    /// # Errors
    /// Numbers, means, draws or outputs do not fit.
    pub fn run(
        &self,
        input: QuantizerInput<'_>,
        outputs: &mut [&mut [u8]],
    ) -> Result<(), QuantizerError> {
        let mut job = self.job(input, outputs)?;
        for part in job.parts(1) {
            part.run()?;
        }
        Ok(())
    }

    /// An execution to be run in parts. When all of them have run, `outputs` hold the scaled tensors.
    ///
    /// # Errors
    /// Numbers, means, draws or outputs do not fit.
    pub fn job<'a>(
        &'a self,
        input: QuantizerInput<'a>,
        outputs: &'a mut [&mut [u8]],
    ) -> Result<QuantizerJob<'a>, QuantizerError> {
        self.check(input, outputs)?;
        let mut made = Made::default();
        let mut plain = Vec::new();
        let is_large = !is_near(self.elements());
        let each = self.quantizations.iter().zip(&self.directions);
        let each = each.zip(&self.transforms).zip(input.draws).zip(outputs);
        for ((((quantization, direction), transform), &draw), bytes) in each {
            match *direction {
                Some(direction) => {
                    let scale = TensorScale::new(quantization, draw.amax);
                    clear_gaps(quantization, scale.decode, bytes);
                    // SAFETY: the job borrows the bytes for as long as it lives and hands the sink to its parts alone,
                    // which are disjoint.
                    let sink = unsafe { Sink::new(quantization.scaled_type(), bytes, is_large) };
                    match (quantization.rounding(), draw.stream) {
                        (Rounding::MsEden, Some(stream)) => {
                            let decode = scale.decode;
                            let eden = Eden {
                                decode,
                                stream,
                                direction,
                                transform: transform.as_ref(),
                            };
                            made.edens.push((eden, sink));
                        }
                        _ => {
                            let mut encoding = encoding(quantization, direction, scale, draw);
                            encoding.rotation =
                                (transform.as_ref()).map(|one| made.rotation(one, direction));
                            made.encodings.push((encoding, sink));
                        }
                    }
                }
                None => plain.push(PlainOutput {
                    quantization,
                    transform: transform.as_ref(),
                    draw,
                    bytes,
                }),
            }
        }
        Ok(QuantizerJob {
            quantizer: self,
            input,
            made,
            plain,
        })
    }

    /// The numbers of an input.
    fn elements(&self) -> usize {
        self.view.count * self.view.rows * self.view.columns
    }

    fn check(
        &self,
        input: QuantizerInput<'_>,
        outputs: &[&mut [u8]],
    ) -> Result<(), QuantizerError> {
        let expected = self.quantizations.len();
        for (what, found) in [("draws", input.draws.len()), ("outputs", outputs.len())] {
            if found != expected {
                return Err(QuantizerError::Count {
                    what,
                    expected,
                    found,
                });
            }
        }
        for (quantization, draw) in self.quantizations.iter().zip(input.draws) {
            let count = match input.values {
                QuantizerValues::Given(values) => values.len(),
                QuantizerValues::Made(_) => self.elements(),
            };
            check(count, quantization, draw.stream)?;
        }
        for (output, (quantization, bytes)) in self.quantizations.iter().zip(outputs).enumerate() {
            let (expected, found) = (quantization.scaled_type().byte_size(), bytes.len());
            if expected != found {
                return Err(QuantizerError::Bytes {
                    output,
                    expected,
                    found,
                });
            }
        }
        let shape = self.quantizations[0].scaled_type().shape();
        match (input.mean, shape.last()) {
            (Some(mean), Some(&expected)) if mean.len() != expected => Err(QuantizerError::Mean {
                expected,
                found: mean.len(),
            }),
            _ => Ok(()),
        }
    }
}

/// How the input is seen so that as many of the quantisations as possible run along its rows or columns, and which do.
fn view(shape: &[usize], quantizations: &[Quantization]) -> (View, Vec<Option<Direction>>) {
    let last = shape.len() - 1;
    let types = quantizations.iter().map(|one| one.scaled_type());
    // The first axis that is not the last one is what columns run along. Square blocks need rows to be the dimension
    // before the last, too.
    let needs_columns = types.clone().any(|one| one.axis() != last);
    let leading = types
        .clone()
        .map(|one| one.axis())
        .find(|&axis| axis != last)
        .or_else(|| {
            let has_square = types.clone().any(|one| one.blocks() == BlockShape::Square);
            has_square.then(|| last - 1)
        });
    let size = |range: Range<usize>| shape[range].iter().product::<usize>();
    let (count, rows, columns) = match leading {
        Some(axis) => (size(0..axis), shape[axis], size(axis + 1..last + 1)),
        None => (1, size(0..last), shape[last]),
    };
    let directions = quantizations.iter().map(|one| {
        let scaled_type = one.scaled_type();
        let fits = |leading: usize| leading + 1 == last;
        let is_plain = scaled_type.blocks() == BlockShape::Vector;
        if !is_fast(one) {
            None
        } else if scaled_type.axis() == last {
            leading.is_none_or(fits).then_some(Direction::Rows)
        } else {
            leading
                .is_some_and(|leading| leading == scaled_type.axis() && (is_plain || fits(leading)))
                .then_some(Direction::Columns)
        }
    });
    // Tiles that are as high as may be write whole cache lines along the columns.
    let tile_rows = if needs_columns {
        TILE_ROWS
    } else {
        patch_rows(run(columns))
    };
    let view = View {
        count,
        rows,
        columns,
        tile_rows,
    };
    (view, directions.collect())
}

/// Whether the tiles' kernels make that tensor.
fn is_fast(quantization: &Quantization) -> bool {
    match quantization.rounding() {
        // Random words are those of whole groups.
        Rounding::Stochastic => {
            let padded = quantization.scaled_type().padded_columns();
            padded.is_multiple_of(LANES)
        }
        Rounding::MsEden | Rounding::NearestEven => true,
    }
}

fn encoding(
    quantization: &Quantization,
    direction: Direction,
    scale: TensorScale,
    draw: QuantizerDraw,
) -> Encoding {
    Encoding {
        element: quantization.scaled_type().format().element(),
        scales: ScaleMaker::new(quantization, scale),
        random: draw.stream.filter(|_| quantization.rounding().is_random()),
        blocks: quantization.scaled_type().blocks(),
        direction,
        rotation: None,
    }
}

/// Writes what is neither code nor scale: the gaps between the parts, the padding of tiled scales, the tensor scale.
fn clear_gaps(quantization: &Quantization, tensor_scale: f32, bytes: &mut [u8]) {
    let scaled_type = quantization.scaled_type();
    let scales = scaled_type.scales_offset();
    bytes[scaled_type.code_bytes()..scales].fill(0);
    if scaled_type.layout() == ScaleLayout::Tiled128x4 {
        bytes[scales..scales + scaled_type.scale_bytes()].fill(0);
    }
    if scaled_type.format().has_tensor_scale() {
        let start = scaled_type.tensor_scale_offset();
        bytes[scales + scaled_type.scale_bytes()..start].fill(0);
        bytes[start..].copy_from_slice(&tensor_scale.to_le_bytes());
    }
}

/// One execution of a [`Quantizer`].
pub struct QuantizerJob<'a> {
    quantizer: &'a Quantizer,
    input: QuantizerInput<'a>,
    made: Made<'a>,
    plain: Vec<PlainOutput<'a>>,
}

/// The outputs that are made tile by tile.
#[derive(Default)]
struct Made<'a> {
    encodings: Vec<(Encoding, Sink)>,
    /// The transforms of the input that some of these are made of.
    rotations: Vec<Rotation>,
    edens: Vec<(Eden<'a>, Sink)>,
}

impl Made<'_> {
    /// The number of a transform, which becomes one of those there are.
    fn rotation(&mut self, transform: &HadamardTransform, direction: Direction) -> usize {
        let rotation = Rotation {
            transform: transform.clone(),
            direction,
        };
        let known = self.rotations.iter().position(|one| *one == rotation);
        known.unwrap_or_else(|| {
            self.rotations.push(rotation);
            self.rotations.len() - 1
        })
    }

    fn is_empty(&self) -> bool {
        self.encodings.is_empty() && self.edens.is_empty()
    }
}

/// An output that is computed by definition.
struct PlainOutput<'a> {
    quantization: &'a Quantization,
    transform: Option<&'a HadamardTransform>,
    draw: QuantizerDraw,
    bytes: &'a mut [u8],
}

impl QuantizerJob<'_> {
    /// The work in about `count` parts of equal size, and one more for each output that is computed by definition.
    pub fn parts(&mut self, count: usize) -> Vec<QuantizerPart<'_>> {
        let stripes = if self.made.is_empty() {
            0
        } else {
            self.quantizer.view.stripes()
        };
        let count = count.clamp(1, stripes.max(1));
        let mut parts = Vec::new();
        for index in 0..count {
            let stripes = index * stripes / count..(index + 1) * stripes / count;
            if !stripes.is_empty() {
                parts.push(QuantizerPart(PartKind::Stripes {
                    quantizer: self.quantizer,
                    input: self.input,
                    outputs: &self.made,
                    stripes,
                }));
            }
        }
        let plain = self.plain.iter_mut().map(|output| {
            QuantizerPart(PartKind::Plain {
                input: self.input,
                quantization: output.quantization,
                transform: output.transform,
                draw: output.draw,
                bytes: &mut *output.bytes,
            })
        });
        parts.extend(plain);
        parts
    }
}

/// A part of an execution, to be run once on any thread.
pub struct QuantizerPart<'a>(PartKind<'a>);

enum PartKind<'a> {
    Stripes {
        quantizer: &'a Quantizer,
        input: QuantizerInput<'a>,
        outputs: &'a Made<'a>,
        stripes: Range<usize>,
    },
    Plain {
        input: QuantizerInput<'a>,
        quantization: &'a Quantization,
        transform: Option<&'a HadamardTransform>,
        draw: QuantizerDraw,
        bytes: &'a mut [u8],
    },
}

impl QuantizerPart<'_> {
    /// Computes the part.
    ///
    /// # Errors
    /// Those of [`quantize`](crate::quantize()); none that the job has not refused before.
    pub fn run(self) -> Result<(), QuantizerError> {
        match self.0 {
            PartKind::Stripes {
                quantizer,
                input,
                outputs,
                stripes,
            } => {
                quantizer.view.run(input, outputs, stripes, quantizer.level);
            }
            PartKind::Plain {
                input,
                quantization,
                transform,
                draw,
                bytes,
            } => {
                let mut values = match input.values {
                    QuantizerValues::Given(values) => Cow::Borrowed(values),
                    QuantizerValues::Made(make) => {
                        let scaled_type = quantization.scaled_type();
                        let mut values = vec![0.0; scaled_type.rows() * scaled_type.columns()];
                        make(0, &mut values);
                        Cow::Owned(values)
                    }
                };
                if let Some(mean) = input.mean {
                    for (value, mean) in values.to_mut().iter_mut().zip(mean.iter().cycle()) {
                        *value -= mean;
                    }
                }
                if let Some(transform) = transform {
                    let scaled_type = quantization.scaled_type();
                    let inner = scaled_type.shape()[scaled_type.axis() + 1..]
                        .iter()
                        .product();
                    values = Cow::Owned(transform.of_axis(&values, inner));
                }
                let tensor = quantize(&values, quantization, Some(draw.amax), draw.stream)?;
                bytes.copy_from_slice(tensor.bytes());
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Room for the rows that a thread makes, kept from one part to the next: fresh memory costs more than making them.
    static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

impl View {
    /// Stretches of rows of a matrix, each a tile high.
    fn stripes(self) -> usize {
        self.count * self.rows.div_ceil(self.tile_rows)
    }

    /// Makes what is made of some stripes.
    fn run(
        self,
        input: QuantizerInput<'_>,
        outputs: &Made<'_>,
        stripes: Range<usize>,
        level: SimdLevel,
    ) {
        // Repeated, where a row is several times as long as there are means.
        let mean: Option<Vec<f32>> = input
            .mean
            .map(|mean| mean.iter().copied().cycle().take(self.columns).collect());
        let mut made = ROOM.take();
        let mut scratch = Scratch::new(&outputs.encodings, outputs.rotations.len(), self.columns);
        let per_matrix = self.rows.div_ceil(self.tile_rows);
        for stripe in stripes {
            let (matrix, row) = (stripe / per_matrix, stripe % per_matrix * self.tile_rows);
            let first = matrix * self.rows * self.columns;
            let (values, first_row) = match input.values {
                QuantizerValues::Given(values) => (&values[first..], 0),
                QuantizerValues::Made(make) => {
                    let rows = self.tile_rows.min(self.rows - row);
                    made.resize(rows * self.columns, 0.0);
                    make(first + row * self.columns, &mut made);
                    (&made[..], row)
                }
            };
            let source = Source {
                matrix: values,
                first_row,
                pitch: self.columns,
                mean: mean.as_deref(),
                rows_before: matrix * self.rows,
                columns_before: matrix * self.columns,
            };
            let mut column = 0;
            while column < self.columns {
                let columns = tile_columns(self.columns - column);
                let place = Place {
                    row,
                    column,
                    rows: self.tile_rows.min(self.rows - row),
                    columns,
                };
                column += columns;
                let ahead = self.ahead(source, row, column);
                if !outputs.encodings.is_empty() {
                    let outputs = (&outputs.encodings[..], &outputs.rotations[..]);
                    quantize_tile(level, source, place, ahead, outputs, &mut scratch);
                }
                for &(eden, sink) in &outputs.edens {
                    eden_tile(level, source, place, eden, sink);
                }
            }
        }
        fence();
        ROOM.set(made);
    }

    /// What is fetched during a tile: the stripe's next from a column on, or the next stripe's first.
    fn ahead(self, source: Source<'_>, row: usize, next: usize) -> Ahead<'_> {
        if next < self.columns {
            source.ahead(row, next)
        } else {
            source.ahead(row + self.tile_rows, 0)
        }
    }
}

/// The columns of a tile where so many are left: whole patches, or what is less than one.
fn tile_columns(left: usize) -> usize {
    if left < PATCH_COLUMNS {
        left
    } else {
        left.min(TILE_COLUMNS) / PATCH_COLUMNS * PATCH_COLUMNS
    }
}
