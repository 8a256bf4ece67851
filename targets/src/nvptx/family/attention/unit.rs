//! Who multiplies tiles of 64 × 64: the warps' matrix units, of 16-bit numbers, or each thread for itself.

use super::TILE;
use crate::blocks::dot::Product;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value, scalar};
use crate::nvptx::GpuTarget;
use crate::nvptx::family::dot::{self, Factors};
use crate::nvptx::family::fma::{self, Threads};
use crate::nvptx::family::mma::{self, Division, Warps};
use crate::nvptx::family::part::Part;
use crate::nvptx::matrix::Mma;
use tessera_ir::ElementType;

/// Warps down and across, and what fragments each has: a tile of 64 × 64 for 256 threads, as many as multiply one by one.
const DIVISION: Division = Division {
    warps: [2, 4],
    fragments: [2, 2],
};

/// Threads of a CTA.
pub const THREADS: i64 = 256;

/// What multiplies two operands' tiles.
#[derive(Clone)]
pub enum Unit<'c> {
    Threads(Threads<'c>),
    Warps(Warps),
}

/// The instruction that makes a product, if one does.
pub fn instruction(target: GpuTarget, product: &Product<'_>) -> Option<Mma> {
    dot::halves(target, product)
}

impl<'c> Unit<'c> {
    /// The best there is of a target for a product. `thread` is the thread in its CTA.
    pub fn new(
        target: GpuTarget,
        product: &Product<'_>,
        (thread, number): (&Expression, Value<'c>),
    ) -> Self {
        match instruction(target, product) {
            Some(mma) => Self::Warps(Warps {
                mma,
                division: DIVISION,
                thread: thread.clone(),
            }),
            None => Self::Threads(Threads {
                accumulator: product.accumulator,
                thread: number,
            }),
        }
    }

    /// Contracted elements of a stage.
    pub fn depth(&self) -> i64 {
        match self {
            Self::Threads(_) => fma::DEPTH,
            Self::Warps(_) => mma::NUMBERS,
        }
    }

    /// Bytes of an operand's tile in a stage.
    pub fn stage_bytes(&self) -> i64 {
        match self {
            Self::Threads(threads) => TILE * fma::DEPTH * threads.accumulator.size() as i64,
            Self::Warps(_) => TILE * mma::ROW_STRIDE,
        }
    }

    /// What sums are made in.
    pub fn accumulator(&self) -> ElementType {
        match self {
            Self::Threads(threads) => threads.accumulator,
            Self::Warps(_) => ElementType::F32,
        }
    }

    /// A thread's sums of a tile before anything is added.
    pub fn zeros(&self, emission: &Emission<'c, '_>) -> Vec<Value<'c>> {
        let b = emission.elemental.builder();
        let count = match self {
            Self::Threads(_) => fma::SUMS as usize,
            Self::Warps(warps) => warps.sums(),
        };
        vec![scalar::constant_number(&b, self.accumulator(), 0.0); count]
    }

    /// The rows and columns, in the tile, of the thread's sums.
    pub fn places(&self, emission: &mut Emission<'c, '_>) -> Vec<[Expression; 2]> {
        match self {
            Self::Threads(threads) => {
                let own = threads.own(&emission.elemental.builder());
                threads.places(emission, own)
            }
            Self::Warps(warps) => warps.places(),
        }
    }

    /// Brings a stage of an operand's tile (the operand's number, how many stages of the part come before) into shared memory.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn stage(
        &self,
        emission: &mut Emission<'c, '_>,
        product: &impl Factors,
        part: &Part<'c>,
        (operand, step): (usize, &Expression),
        to: Value<'c>,
    ) -> Result<(), Unsupported> {
        match self {
            Self::Threads(threads) => {
                let first = part.first.plus(&step.times(fma::DEPTH));
                threads.stage(emission, product, part, (operand, &first, to))
            }
            Self::Warps(warps) => warps.stage(emission, product, part, (operand, step), to),
        }
    }

    /// Puts a number of the accumulator's type where an operand's tile has its row or column of that number and its contracted
    /// element of that number.
    pub fn put(
        &self,
        emission: &mut Emission<'c, '_>,
        number: Value<'c>,
        [free, contracted]: [&Expression; 2],
        to: Value<'c>,
    ) {
        let stage = contracted.quotient(self.depth());
        let within = contracted.remainder(self.depth());
        match self {
            Self::Threads(threads) => {
                let at = contracted.times(TILE).plus(free);
                emission.store_accumulator(number, to, threads.accumulator, &at);
            }
            Self::Warps(warps) => {
                let element = match warps.mma {
                    Mma::F16 => ElementType::F16,
                    Mma::Bf16 | Mma::BlockScaled(_) => ElementType::Bf16,
                };
                let row = stage.times(TILE).plus(free);
                let at = row.times(mma::ROW_STRIDE / 2).plus(&within);
                emission.elemental.store(number, to, element, &at);
            }
        }
    }

    /// Sums and the products of what is staged from two addresses on.
    pub fn multiply(
        &self,
        emission: &mut Emission<'c, '_>,
        staged: [Value<'c>; 2],
        sums: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        match self {
            Self::Threads(threads) => {
                let b = emission.elemental.builder();
                threads.multiply(&b, staged, threads.own(&b), sums)
            }
            Self::Warps(warps) => {
                let stage = Expression::constant(0);
                warps.multiply(emission, (staged, &stage), (None, None), sums)
            }
        }
    }
}
