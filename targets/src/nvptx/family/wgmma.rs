//! Products on Hopper's matrix units: `wgmma`, by warpgroups of four warps, of tiles in shared memory.
//!
//! A CTA has tiles of the result, one after the other. Its first warpgroup brings tiles of A and B to shared memory, a step
//! of 128 bytes of a row at a time, some steps ahead, swizzled: one thread has numbers of 16 bits copied by tensor maps; of
//! codes with block scales all threads decode a part, which bf16 represents. The other one or two warpgroups multiply 64
//! rows of A each by all of B, one step's products behind the other, keep the sums in registers and write them.
//!
//! Each stage of shared memory has two mbarriers. *Full* waits for the bytes that come by tensor maps, or for every decoding
//! thread, once what it wrote is fenced for the matrix unit; *empty* for every multiplying warp, once the products that read
//! the stage are done.
//!
//! The order of a sum is fixed: steps along K, each of which is 16 numbers of a row in one instruction, which the matrix unit
//! adds to what was there, rounding towards zero once for each. Which CTA has which tiles depends on the shape alone.

mod codes;
mod instructions;
mod load;
mod multiply;
mod tile;

use super::boxes::{Boxed, Half, Major};
use super::dot::{Factors, no_such_tile};
use super::grid;
use super::rounds::Round;
use super::scaled_dot::ScaledProduct;
use super::swizzled::SharedMemory;
use crate::blocks::dot;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::inline::Ptx;
use crate::nvptx::shared::Shared;
use crate::nvptx::{Capability, Feature, Grid, asynchronous, thread};
use instructions::DEPTH;
use tessera_ir::Graph;
use tessera_runtime::bundle::{self, TensorMap};
use tile::{Places, Tile};

/// Threads of a warpgroup.
const WARPGROUP: i64 = 4 * thread::WARP;

/// A product that the matrix unit computes.
pub struct Product<'a, 'g, P> {
    product: &'a P,
    half: Half,
    operands: Operands<'a, 'g>,
    capability: &'a Capability,
    tile: Tile,
    places: Places,
}

/// Where A and B come from.
enum Operands<'a, 'g> {
    /// Numbers of 16 bits in memory, lhs and rhs; and the dimensions of the batch.
    Boxes([Boxed; 2], &'a [usize]),
    /// Codes with block scales.
    Codes(&'a ScaledProduct<'g>),
}

impl<'a, 'g> Product<'a, 'g, dot::Product<'g>> {
    /// That product of numbers that are all represented in 16 bits, where the chip has the matrix unit and tensor maps reach
    /// the operands.
    pub fn of_numbers(
        graph: &Graph,
        product: &'a dot::Product<'g>,
        half: Half,
        capability: &'a Capability,
    ) -> Option<Self> {
        if product.extents().contains(&0) {
            return None;
        }
        let operands = [Boxed::of(graph, product, 0)?, Boxed::of(graph, product, 1)?];
        let operands = Operands::Boxes(operands, &product.batch);
        Self::of(product, half, operands, capability)
    }
}

impl<'a, 'g> Product<'a, 'g, ScaledProduct<'g>> {
    /// That product of formats whose numbers bf16 represents, where the chip has the matrix unit and rows of codes lie in
    /// whole words.
    pub fn of_codes(product: &'a ScaledProduct<'g>, capability: &'a Capability) -> Option<Self> {
        let operands = Operands::Codes(product);
        (product.types().into_iter().all(codes::has_runs))
            .then(|| Self::of(product, Half::Bf16, operands, capability))?
    }
}

impl<'a, 'g, P: Factors> Product<'a, 'g, P> {
    fn of(
        product: &'a P,
        half: Half,
        operands: Operands<'a, 'g>,
        capability: &'a Capability,
    ) -> Option<Self> {
        let extents = product.extents();
        if !capability.features.contains(&Feature::Wgmma) || extents.contains(&0) {
            return None;
        }
        let (tile, places) = Tile::of(extents, operands.are_whole()).places(capability)?;
        Some(Self {
            product,
            half,
            operands,
            capability,
            tile,
            places,
        })
    }

    /// The same in tiles of so many rows and columns, where these are given.
    ///
    /// # Errors
    /// There are no such tiles.
    pub fn in_tiles(self, tile: Option<[i64; 2]>) -> Result<Self, Unsupported> {
        let Some(wanted) = tile else {
            return Ok(self);
        };
        let tile = Tile::in_tiles(self.product.extents(), self.operands.are_whole(), wanted);
        let placed = tile.and_then(|tile| tile.places(self.capability));
        let (tile, places) = placed.ok_or_else(|| {
            let expected = "64 or 128 rows or columns by 8, 16, 32, 64, 96, 128, 192 or 256, of operands that lie \
                            across by a multiple of 64";
            no_such_tile(self.product.operation(), wanted, expected)
        })?;
        Ok(Self {
            tile,
            places,
            ..self
        })
    }

    /// Fills the kernel's function.
    ///
    /// # Errors
    /// It cannot be computed here.
    pub fn emit(
        &self,
        emission: &mut Emission<'_, '_>,
        shared: &mut Shared,
    ) -> Result<Grid, Unsupported> {
        let rows = self.tile.rows();
        let maps: Vec<TensorMap> = match &self.operands {
            Operands::Boxes(boxes, _) => (0..2)
                .map(|side| boxes[self.operand(side)].tensor_map(rows[side]))
                .collect(),
            Operands::Codes(_) => Vec::new(),
        };
        let b = emission.elemental.builder();
        let parameter = |_: &TensorMap| asynchronous::map_parameter(&b);
        let kernel = Kernel {
            own: self,
            maps: maps.iter().map(parameter).collect(),
            shared: shared.dynamic(&b, SharedMemory::BASE),
            warp: thread::warp(&b),
        };
        kernel.emit(emission)?;
        let threads = (1 + self.tile.consumers) * WARPGROUP;
        let grid = grid(emission, self.tile.rounds.ctas(), threads)?;
        Ok(Grid {
            shared_bytes: self.places.shared_bytes,
            tile: self.manifest_tile(),
            tensor_maps: maps,
            ..grid
        })
    }

    /// The operand that is A (0) or B (1).
    fn operand(&self, side: usize) -> usize {
        match side {
            0 => self.tile.a,
            _ => 1 - self.tile.a,
        }
    }

    /// The tile as the manifest says it.
    fn manifest_tile(&self) -> Option<bundle::Tile> {
        let depth = self.tile.instructions * DEPTH;
        super::tile(self.tile.of_result(), depth, self.tile.stages)
    }

    /// How A and B lie in shared memory.
    fn majors(&self) -> [Major; 2] {
        [0, 1].map(|side| self.operands.major(self.operand(side)))
    }

    /// Rows of A and of B, in a product of the batch.
    fn extents(&self) -> [i64; 2] {
        let [_, m, n, _] = self.product.extents();
        [0, 1].map(|side| [m, n][self.operand(side)])
    }
}

impl Operands<'_, '_> {
    /// Whether tiles of lhs and of rhs have whole lines of 64 rows.
    fn are_whole(&self) -> [bool; 2] {
        [0, 1].map(|operand| self.major(operand) == Major::Rows)
    }

    fn major(&self, operand: usize) -> Major {
        match self {
            Self::Boxes(boxes, _) => boxes[operand].major,
            Self::Codes(_) => Major::K,
        }
    }
}

/// A CTA's work.
struct Kernel<'a, 'c, 'g, P> {
    own: &'a Product<'a, 'g, P>,
    /// Addresses of tensor maps of A and B, if there are any.
    maps: Vec<Value<'c>>,
    /// Where shared memory begins.
    shared: Value<'c>,
    warp: Value<'c>,
}

impl<'c, P: Factors> Kernel<'_, 'c, '_, P> {
    fn emit(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::thread(&b), b.constant_i64(0));
        let prepare = |emission: &mut Emission<'c, '_>, inner: Builder<'c>| {
            emission.inside(inner, |emission| {
                self.prepare(emission);
                Ok(Vec::new())
            })
        };
        b.if_else(emission, first, &[], prepare, |_, _| {
            Ok::<_, Unsupported>(Vec::new())
        })?;
        thread::barrier(&b);
        let warps = b.constant_i64(WARPGROUP / thread::WARP);
        let loads = b.compare_integers(IntegerPredicate::Slt, self.warp, warps);
        b.if_else(
            emission,
            loads,
            &[],
            |emission, inner| {
                self.take_registers(&inner, 0);
                emission.inside(inner, |emission| self.load(emission))
            },
            |emission, inner| {
                self.take_registers(&inner, 1);
                emission.inside(inner, |emission| self.multiply(emission))
            },
        )?;
        Ok(())
    }

    /// Gives threads that decode (0) registers that those which multiply (1) do without: where three warpgroups share a
    /// processor's, each thread has 168. (PTX ISA, `setmaxnreg`: multiples of 8.)
    fn take_registers(&self, b: &Builder<'c>, role: usize) {
        if matches!(self.own.operands, Operands::Codes(_)) && self.own.tile.consumers == 2 {
            let text = ["inc.sync.aligned.u32 184", "dec.sync.aligned.u32 160"][role];
            let text = format!("setmaxnreg.{text};");
            Ptx::new(&text).memory().run(b, &[]);
        }
    }

    /// One thread makes the mbarriers.
    fn prepare(&self, emission: &mut Emission<'c, '_>) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let warps = tile.consumers * WARPGROUP / thread::WARP;
        let loading = match self.own.operands {
            Operands::Boxes(..) => 1,
            Operands::Codes(_) => WARPGROUP,
        };
        for (first, arrivals) in [(places.full, loading), (places.empty, warps)] {
            for number in 0..tile.stages {
                asynchronous::initialise(&b, self.at(&b, first + 8 * number), arrivals);
            }
        }
        asynchronous::fence_initialised(&b);
    }

    /// The address of a place in shared memory.
    fn at(&self, b: &Builder<'c>, offset: i64) -> Value<'c> {
        let offset = b.constant_integer(b.integer(32), offset);
        b.binary("arith.addi", self.shared, offset)
    }

    /// The address of one of so many things of `bytes` bytes, the first of which is at a place in shared memory.
    fn one_of(&self, b: &Builder<'c>, first: i64, bytes: i64, number: Value<'c>) -> Value<'c> {
        let bytes = b.constant_integer(b.integer(32), bytes);
        let offset = b.binary("arith.muli", number, bytes);
        b.binary("arith.addi", self.at(b, first), offset)
    }

    /// The first row of A and of B in a tile.
    fn corners(&self, round: &Round) -> [Expression; 2] {
        let rows = self.own.tile.rows();
        [0, 1].map(|side| round.tile[side].times(rows[side]))
    }
}
