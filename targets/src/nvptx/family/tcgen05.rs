//! Products on the matrix unit of Blackwell's data-centre family: `tcgen05.mma`, of scaled tensors, with block scales where
//! they have any, and of bf16 and f16.
//!
//! A CTA has tiles of the result, one after the other. Its first four warps bring operands and scales to shared memory, a step
//! of 128 bytes of a row at a time, some steps ahead: what goes there as it lies by tensor maps, a tile at once, other codes
//! each thread its share; scales that lie as the matrix unit reads them in whole tiles, others each thread its share. Where
//! everything is copied so, one thread has that done. The next four warps read the sums of a tile that is done,
//! multiply them by the tensor scales and write them, while the next one is made. One thread of the last warp has scales
//! copied to tensor memory and products made there.
//!
//! Where rows are those of groups, tiles are counted when it runs: those of groups come first, then those of rows of none,
//! which are only written. A tile has rows of one group; what its operand has beyond them is multiplied and not written.
//!
//! Each stage of shared memory has two mbarriers. *Full* is arrived at by every loading thread, once its copies are done
//! and fenced for the matrix unit, and waits for the bytes that come by tensor maps; *empty* by the matrix unit, once it
//! has read the stage. Each buffer of sums in tensor memory has two: *done* is arrived at by the matrix unit with its last
//! product, *read* by every writing thread.
//!
//! A tile is one CTA's, or a pair's, which is a cluster. Of a pair each CTA loads half of A's rows and half of B's, the scales
//! of its rows of A and all of B's, and writes its half of the sums. One thread of the first CTA, the leader, has the products
//! of both made: *full* and *read* are the leader's mbarriers, *empty* and *done* both CTAs'.
//!
//! The order of a sum is fixed: steps along K, each of which the matrix unit adds to what was there, 32 bytes of a row in
//! one instruction, rounding towards zero once for each. Which CTA has which tiles depends on the shape alone.

mod boxes;
mod instructions;
mod kind;
mod load;
mod memory;
mod multiply;
mod scales;
mod stage;
mod tile;
mod together;
mod write;

use super::boxes::{Boxed, Half, Major};
use super::dot::{Factors, no_such_tile};
use super::grid;
use super::rounds;
use super::scaled_dot::Codes;
use crate::blocks::dot;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Capability, Feature, Grid, asynchronous, thread};
use kind::Kind;
use memory::SharedMemory;
use tessera_ir::{Definition, Graph, ScaledType};
use tessera_runtime::bundle::{self, TensorMap};
use tile::{Cut, Places, Tile};

/// Threads that load.
const LOADING_THREADS: i64 = 4 * thread::WARP;

/// Threads that write: a warp for each quarter of tensor memory's lanes, of which a warp reaches those of its number's
/// remainder by four.
const WRITING_THREADS: i64 = 4 * thread::WARP;

/// Threads of a CTA: those, and a warp that allocates, one of whose threads says what is multiplied.
const THREADS: i64 = LOADING_THREADS + WRITING_THREADS + thread::WARP;

/// A product that the matrix unit computes.
pub struct Product<'a, P> {
    product: &'a P,
    kind: Kind,
    operands: Operands<'a>,
    capability: &'a Capability,
    tile: Tile,
    places: Places,
    /// Whether scales lie in memory in the tiles that the matrix unit reads.
    has_scale_tiles: bool,
}

/// Where A and B come from.
enum Operands<'a> {
    /// Codes, with block scales where the kind has any.
    Codes(&'a [Codes<'a>; 2]),
    /// Numbers of 16 bits in memory, lhs and rhs; and the dimensions of the batch.
    Boxes([Boxed; 2], &'a [usize]),
}

impl<'a> Product<'a, dot::Product<'a>> {
    /// That product of numbers that are all represented in 16 bits, where the chip has the matrix unit and tensor maps reach
    /// the operands.
    pub fn of_numbers(
        graph: &Graph,
        product: &'a dot::Product<'a>,
        half: Half,
        capability: &'a Capability,
    ) -> Option<Self> {
        if product.extents().contains(&0) {
            return None;
        }
        let operands = [Boxed::of(graph, product, 0)?, Boxed::of(graph, product, 1)?];
        let operands = Operands::Boxes(operands, &product.batch);
        Self::of(product, Kind::Half(half), operands, capability)
    }
}

impl<'a, P: Factors> Product<'a, P> {
    /// That product of codes, where the chip has a matrix unit for it and rows are whole copies; of groups those of rows.
    pub fn of_codes(
        product: &'a P,
        codes: &'a [Codes<'a>; 2],
        capability: &'a Capability,
    ) -> Option<Self> {
        let kind = Kind::of(codes.each_ref().map(|own| own.scaled_type))?;
        let are_copied = codes.iter().all(stage::has_copies);
        let operands = Operands::Codes(codes);
        are_copied.then(|| Self::of(product, kind, operands, capability))?
    }

    fn of(
        product: &'a P,
        kind: Kind,
        operands: Operands<'a>,
        capability: &'a Capability,
    ) -> Option<Self> {
        let has_unit = capability.features.contains(&Feature::Tcgen05);
        let cut = operands.cut(kind, product);
        if !has_unit || product.extents().contains(&0) || cut.extents.contains(&0) {
            return None;
        }
        let tile = Tile::of(&cut);
        let (tile, places) = with_groups(tile, product).places(kind, capability)?;
        let has_scale_tiles = operands.have_scale_tiles(&tile, product);
        Some(Self {
            product,
            kind,
            operands,
            capability,
            tile,
            places,
            has_scale_tiles,
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
        let cut = self.operands.cut(self.kind, self.product);
        let placed = (self.tile.in_tiles(&cut, wanted))
            .and_then(|tile| with_groups(tile, self.product).places(self.kind, self.capability));
        let (tile, places) = placed.ok_or_else(|| {
            let mut expected = "128 rows or columns by a multiple of 16 up to 256".to_owned();
            if matches!(self.operands, Operands::Boxes(..)) {
                expected += ", of operands that lie across of 64";
            }
            if cut.in_pairs {
                expected += "; of pairs of CTAs 256 by a multiple of twice that";
            }
            no_such_tile(self.product.operation(), wanted, &expected)
        })?;
        let has_scale_tiles = self.operands.have_scale_tiles(&tile, self.product);
        Ok(Self {
            tile,
            places,
            has_scale_tiles,
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
        let [_, m, n, _] = self.product.extents();
        let extents = if self.tile.a == 0 { [m, n] } else { [n, m] };
        let maps = self.tensor_maps(emission);
        let b = emission.elemental.builder();
        let rank = (self.tile.ctas > 1).then(|| {
            let rank = thread::rank(&b);
            let variable = emission.elemental.variable(rank, 0, self.tile.ctas - 1);
            (rank, Expression::variable(variable))
        });
        let parameter = |_: &TensorMap| asynchronous::map_parameter(&b);
        let kernel = Kernel {
            own: self,
            maps: maps.each_ref().map(|map| map.as_ref().map(parameter)),
            extents,
            shared: shared.dynamic(&b, SharedMemory::BASE),
            warp: thread::warp(&b),
            rank,
        };
        kernel.emit(emission)?;
        let grid = grid(emission, self.tile.rounds.ctas(), THREADS)?;
        Ok(Grid {
            cluster: self.tile.ctas as u32,
            shared_bytes: self.places.shared_bytes,
            tile: self.manifest_tile(),
            tensor_maps: maps.into_iter().flatten().collect(),
            ..grid
        })
    }

    /// The tile as the manifest says it.
    fn manifest_tile(&self) -> Option<bundle::Tile> {
        let depth = self.tile.instructions * self.kind.depth();
        super::tile(self.tile.of_result(), depth, self.tile.stages)
    }

    /// The operand that is A (0) or B (1).
    fn operand(&self, side: usize) -> usize {
        match side {
            0 => self.tile.a,
            _ => 1 - self.tile.a,
        }
    }

    /// The tensor maps of A and B, where these are copied by one.
    fn tensor_maps(&self, emission: &Emission<'_, '_>) -> [Option<TensorMap>; 2] {
        let graph = &emission.kernel.body;
        [0, 1].map(|side| {
            let (operand, rows) = (self.operand(side), self.tile.loaded_rows()[side]);
            match &self.operands {
                Operands::Boxes(all, _) => Some(all[operand].tensor_map(rows)),
                Operands::Codes(codes) => {
                    let value = self.product.operation().op.operands[operand];
                    let Definition::Input(buffer) = graph.definition(value) else {
                        return None;
                    };
                    boxes::tensor_map(&codes[operand], self.kind, buffer, rows)
                }
            }
        })
    }

    /// The types of A and B, where these are codes.
    fn types(&self) -> Option<[&ScaledType; 2]> {
        match &self.operands {
            Operands::Boxes(..) => None,
            Operands::Codes(codes) => {
                Some([0, 1].map(|side| codes[self.operand(side)].scaled_type))
            }
        }
    }

    /// How A and B lie in shared memory.
    fn majors(&self) -> [Major; 2] {
        [0, 1].map(|side| self.operands.major(self.operand(side)))
    }
}

impl Operands<'_> {
    /// What is cut into tiles; those of groups are single CTAs'.
    fn cut(&self, kind: Kind, product: &impl Factors) -> Cut {
        Cut {
            extents: product.even_extents(),
            bytes: self.row_bytes(kind, product),
            is_whole: self.are_whole(),
            in_pairs: product.groups_of_rows().is_none(),
        }
    }

    /// Bytes of shared memory that a row takes.
    fn row_bytes(&self, kind: Kind, product: &impl Factors) -> i64 {
        let [.., k] = product.extents();
        match self {
            Self::Codes([lhs, _]) => stage::row_bytes(kind, lhs.scaled_type),
            Self::Boxes(..) => 2 * k,
        }
    }

    /// Whether tiles of lhs and of rhs have whole lines of 64 rows.
    fn are_whole(&self) -> [bool; 2] {
        [0, 1].map(|operand| self.major(operand) == Major::Rows)
    }

    /// Whether scales are copied in whole tiles; those of groups, whose rows begin anywhere, are not.
    fn have_scale_tiles(&self, tile: &Tile, product: &impl Factors) -> bool {
        match self {
            Self::Codes(codes) if product.groups_of_rows().is_none() => {
                [0, 1].into_iter().all(|operand| {
                    let side = usize::from(operand != tile.a);
                    scales::are_tiles(&codes[operand], tile, side)
                })
            }
            Self::Codes(_) | Self::Boxes(..) => false,
        }
    }

    fn major(&self, operand: usize) -> Major {
        match self {
            Self::Boxes(boxes, _) => boxes[operand].major,
            Self::Codes(_) => Major::K,
        }
    }
}

/// A tile of which there are as many as groups may have, if there are any.
fn with_groups(tile: Tile, product: &impl Factors) -> Tile {
    let [_, _, n, _] = product.extents();
    match product.groups_of_rows() {
        Some(groups) => tile.of_groups(groups.most_tiles(tile.of_result()[0]), n),
        None => tile,
    }
}

/// A CTA's work.
struct Kernel<'a, 'c, P> {
    own: &'a Product<'a, P>,
    /// Rows of A and of B.
    extents: [i64; 2],
    /// Addresses of tensor maps of A and B.
    maps: [Option<Value<'c>>; 2],
    /// Where shared memory begins.
    shared: Value<'c>,
    warp: Value<'c>,
    /// The CTA's number in its pair, if it is in one.
    rank: Option<(Value<'c>, Expression)>,
}

/// Where a tile of a CTA is.
struct Round<'c> {
    /// The product of the batch, or the group.
    batch: Expression,
    /// The first row of A and of B.
    corners: [Expression; 2],
    /// The first that the CTA loads, and of A that it writes.
    loaded: [Expression; 2],
    /// The rows to stop before, an `i64`, of the side that has a group's.
    ends: [Option<Value<'c>>; 2],
}

impl<'c, P: Factors> Kernel<'_, 'c, P> {
    fn emit(&self, emission: &mut Emission<'c, '_>) -> Result<(), Unsupported> {
        let places = &self.own.places;
        let b = emission.elemental.builder();
        let below = |threads: i64| {
            let warps = b.constant_i64(threads / thread::WARP);
            b.compare_integers(IntegerPredicate::Slt, self.warp, warps)
        };
        let loads = below(LOADING_THREADS);
        let loads_or_writes = below(LOADING_THREADS + WRITING_THREADS);
        let nothing = |_: &mut Emission<'c, '_>, _| Ok::<_, Unsupported>(Vec::new());
        b.if_else(
            emission,
            loads_or_writes,
            &[],
            nothing,
            |emission, inner| {
                emission.inside(inner, |emission| {
                    self.prepare(emission);
                    Ok(Vec::new())
                })
            },
        )?;
        self.barrier(&b);
        instructions::fence_after(&b);
        let tensor = instructions::load_word(&b, self.at(&b, places.slot));

        let load_or_write = |emission: &mut Emission<'c, '_>, inner: Builder<'c>| {
            inner.if_else(
                emission,
                loads,
                &[],
                |emission, inner| emission.inside(inner, |emission| self.load(emission)),
                |emission, inner| emission.inside(inner, |emission| self.write(emission, tensor)),
            )
        };
        b.if_else(
            emission,
            loads_or_writes,
            &[],
            load_or_write,
            |emission, inner| emission.inside(inner, |emission| self.multiply(emission, tensor)),
        )?;
        instructions::fence_before(&b);
        self.barrier(&b);
        b.if_else(emission, loads_or_writes, &[], nothing, |_, inner| {
            instructions::fence_after(&inner);
            instructions::deallocate(&inner, self.ctas(), tensor, places.allocation);
            Ok::<_, Unsupported>(Vec::new())
        })?;
        Ok(())
    }

    /// The address of a place in shared memory.
    fn at(&self, b: &Builder<'c>, offset: i64) -> Value<'c> {
        let offset = b.constant_integer(b.integer(32), offset);
        b.binary("arith.addi", self.shared, offset)
    }

    /// The address of one of so many things of `bytes` bytes, the first of which is at a place in shared memory.
    fn one_of(&self, b: &Builder<'c>, first: i64, bytes: i64, number: Value<'c>) -> Value<'c> {
        let offset = b.binary(
            "arith.muli",
            number,
            b.constant_integer(b.integer(32), bytes),
        );
        b.binary("arith.addi", self.at(b, first), offset)
    }

    /// How many of the CTA's tiles have products, where that is known only now: those of groups.
    fn products(&self, emission: &mut Emission<'c, '_>) -> Result<Option<Value<'c>>, Unsupported> {
        let tile = &self.own.tile;
        let Some(groups) = self.own.product.groups_of_rows() else {
            return Ok(None);
        };
        let tiles = groups.tiles(emission, tile.of_result()[0])?;
        let [.., across] = tile.rounds.tiles;
        let b = emission.elemental.builder();
        let tiles = b.binary("arith.muli", tiles, b.constant_i64(across));
        Ok(Some(tile.rounds.count_of(&b, tiles)))
    }

    /// Does something for each tile of the CTA that has products, whose number is given if it is not that of all.
    fn for_each_product(
        &self,
        emission: &mut Emission<'c, '_>,
        count: Option<Value<'c>>,
        body: impl FnOnce(&mut Emission<'c, '_>, &rounds::Round) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let rounds = &self.own.tile.rounds;
        match count {
            None => rounds.for_each(emission, body),
            Some(count) => {
                let zero = emission.elemental.builder().constant_i64(0);
                rounds.for_each_of(emission, [zero, count], body)
            }
        }
    }

    /// Where a tile is.
    fn round(
        &self,
        emission: &mut Emission<'c, '_>,
        own: &rounds::Round,
    ) -> Result<Round<'c>, Unsupported> {
        let tile = &self.own.tile;
        let rows = tile.rows();
        let Some(groups) = self.own.product.groups_of_rows() else {
            let corners = [0, 1].map(|side| own.tile[side].times(rows[side]));
            let loaded = [0, 1].map(|side| match &self.rank {
                Some((_, rank)) => corners[side].plus(&rank.times(tile.loaded_rows()[side])),
                None => corners[side].clone(),
            });
            return Ok(Round {
                batch: own.batch.clone(),
                corners,
                loaded,
                ends: [None; 2],
            });
        };
        // Down are the rows of lhs, which is either side.
        let [grouped, other] = [tile.a, 1 - tile.a];
        let number = emission.elemental.number(&own.tile[0]);
        let of_group = groups.tile(emission, number, rows[grouped])?;
        let mut corners = [0, 1].map(|_| own.tile[1].times(rows[other]));
        corners[grouped] = of_group.first;
        let mut ends = [None; 2];
        ends[grouped] = Some(of_group.end);
        Ok(Round {
            batch: of_group.group,
            loaded: corners.clone(),
            corners,
            ends,
        })
    }

    /// Whether one thread has everything copied: codes and numbers by tensor maps, scales in whole tiles.
    fn is_copied(&self) -> bool {
        let has_no_scales = self.own.kind.scales() == 0;
        (has_no_scales || self.own.has_scale_tiles) && self.maps.iter().all(Option::is_some)
    }

    /// The last warp makes mbarriers and allocates tensor memory.
    fn prepare(&self, emission: &mut Emission<'c, '_>) {
        let (tile, places) = (&self.own.tile, &self.own.places);
        let b = emission.elemental.builder();
        let first = b.compare_integers(IntegerPredicate::Eq, thread::lane(&b), b.constant_i64(0));
        let make = |(): &mut (), b: Builder<'c>| {
            for (first, count, arrivals) in [
                (places.full, tile.stages, self.arrivals_at_full()),
                (places.empty, tile.stages, 1),
                (places.done, tile.buffers, 1),
                (places.read, tile.buffers, self.arrivals_at_read()),
                (places.filled, self.stages_told(), self.arrivals_at_filled()),
            ] {
                for number in 0..count {
                    instructions::initialise(&b, self.at(&b, first + 8 * number), arrivals);
                }
            }
            instructions::fence_initialised(&b);
            Ok::<_, std::convert::Infallible>(Vec::new())
        };
        let Ok(_) = b.if_else(&mut (), first, &[], make, |(), _| Ok(Vec::new()));
        thread::warp_barrier(&b);
        let slot = self.at(&b, places.slot);
        instructions::allocate(&b, self.ctas(), slot, places.allocation);
        instructions::fence_before(&b);
    }

    /// The address of a buffer of sums.
    fn sums(&self, b: &Builder<'c>, tensor: Value<'c>, buffer: Value<'c>) -> Value<'c> {
        let number = |n: i64| b.constant_integer(b.integer(32), n);
        let first = b.binary("arith.muli", buffer, number(self.own.tile.columns));
        let first = b.binary("arith.addi", first, number(self.own.places.sums.into()));
        b.binary("arith.addi", tensor, first)
    }
}
