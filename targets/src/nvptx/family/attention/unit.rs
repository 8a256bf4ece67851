//! Who multiplies tiles of 64 × 64: the warps' matrix units, of 16-bit numbers, or each thread for itself.

use super::TILE;
use crate::blocks::dot::Product;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value, scalar};
use crate::nvptx::family::dot::{self, Factors};
use crate::nvptx::family::fma::{self, Threads};
use crate::nvptx::family::mma::{self, Division, Lines, Warps};
use crate::nvptx::family::part::Part;
use crate::nvptx::matrix::Mma;
use crate::nvptx::{GpuTarget, copy};
use tessera_ir::{ElementType, Graph};

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
    /// And, of operands that are copied as they are in memory, how they lie there.
    Warps(Warps, Box<Lines>),
}

/// The instruction that makes a product, if one does.
pub fn instruction(target: GpuTarget, product: &Product<'_>) -> Option<Mma> {
    dot::halves(target, product)
}

impl<'c> Unit<'c> {
    /// The best there is of a target for a product of a body. `thread` is the thread in its CTA.
    pub fn new(
        (target, graph): (GpuTarget, &Graph),
        product: &Product<'_>,
        (thread, number): (&Expression, Value<'c>),
    ) -> Self {
        let Some(mma) = instruction(target, product) else {
            return Self::Threads(Threads {
                accumulator: product.accumulator,
                thread: number,
            });
        };
        let lines = Lines::of(graph, product);
        let warps = Warps {
            mma,
            division: DIVISION,
            thread: thread.clone(),
            majors: lines.majors(),
        };
        Self::Warps(warps, Box::new(lines))
    }

    /// Contracted elements of a stage.
    pub fn depth(&self) -> i64 {
        match self {
            Self::Threads(_) => fma::DEPTH,
            Self::Warps(..) => mma::NUMBERS,
        }
    }

    /// Bytes of an operand's tile in a stage.
    pub fn stage_bytes(&self) -> i64 {
        match self {
            Self::Threads(threads) => TILE * fma::DEPTH * threads.accumulator.size() as i64,
            Self::Warps(..) => TILE * mma::ROW_STRIDE,
        }
    }

    /// What sums are made in.
    pub fn accumulator(&self) -> ElementType {
        match self {
            Self::Threads(threads) => threads.accumulator,
            Self::Warps(..) => ElementType::F32,
        }
    }

    /// A thread's sums of a tile before anything is added.
    pub fn zeros(&self, emission: &Emission<'c, '_>) -> Vec<Value<'c>> {
        let b = emission.elemental.builder();
        let count = match self {
            Self::Threads(_) => fma::SUMS as usize,
            Self::Warps(warps, _) => warps.sums(),
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
            Self::Warps(warps, _) => warps.places(),
        }
    }

    /// Brings a stage of an operand's tile (the operand's number, how many stages of the part come before) into shared memory, or
    /// begins to.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn stage(
        &self,
        emission: &mut Emission<'c, '_>,
        product: &Product<'_>,
        part: &Part<'c>,
        (operand, step): (usize, &Expression),
        to: Value<'c>,
    ) -> Result<(), Unsupported> {
        let (warps, lines) = match self {
            Self::Threads(threads) => {
                let first = part.first.plus(&step.times(fma::DEPTH));
                return threads.stage(emission, product, part, (operand, &first, to));
            }
            Self::Warps(warps, lines) => (warps, lines),
        };
        let in_memory = lines.boxed[operand].as_ref().and_then(|boxed| {
            let from = emission.elemental.address_of_input(boxed.buffer)?;
            Some((boxed, from, &lines.batch[..]))
        });
        let Some(in_memory) = in_memory else {
            return warps.stage(emission, product, part, (operand, step), to);
        };
        let [_, m, n, k] = product.extents();
        let extents = [[m, n][operand], k];
        warps.copy(emission, in_memory, (part, extents), (operand, step), to)
    }

    /// Waits until what the thread began to bring into shared memory is there.
    pub fn wait(&self, b: &Builder<'c>) {
        if let Self::Warps(_, lines) = self
            && lines.boxed.iter().any(Option::is_some)
        {
            copy::commit(b);
            copy::wait(b, 0);
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
            Self::Warps(warps, _) => {
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
            Self::Warps(warps, _) => {
                let stage = Expression::constant(0);
                warps.multiply(emission, (staged, &stage), (None, None), sums)
            }
        }
    }
}
