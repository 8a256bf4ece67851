//! Quantisations of one tensor: a CTA reads a tile of it once, and makes codes and scales of it along rows and columns.
//!
//! The bits are those of [`tessera_numerics::quantize`]. Numbers are computed where they are read, so that what stands
//! before the quantisation, the subtraction of a mean for one, is part of the kernel. The scaled tensors are made in
//! phases, one for each way in which threads share a tile: a thread has a block, or a square's or a group's part that is as
//! long. The first phase reads memory, and keeps what it reads in shared memory for the next ones.

mod ms_eden;
mod output;
mod square;
mod tile;

use super::grid;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::shared::Shared;
use crate::nvptx::thread::{self, WARP};
use crate::nvptx::{GpuTarget, Grid};
use output::Output;
use tessera_numerics::Rounding;
use tile::{Segment, Side, Tile, Tiling, View};

/// Threads of a CTA, at most.
const THREADS: i64 = 256;

/// Neighbouring lanes that have neighbouring segments of a line, where nothing asks for more or fewer.
const NEIGHBOURS: i64 = 4;

pub fn emit(
    emission: &mut Emission<'_, '_>,
    target: GpuTarget,
    shared: &mut Shared,
) -> Result<Grid, Unsupported> {
    let graph = &emission.kernel.body;
    let mut outputs = Vec::new();
    for (number, value) in emission.result_values().into_iter().enumerate() {
        let operation = graph.defining_operation(value);
        let operation = operation.ok_or_else(|| {
            let reason = "stands in a kernel that gives back an input";
            Unsupported::new(&graph.operations()[0], reason)
        })?;
        outputs.push(Output::new(emission, (operation, number), target)?);
    }
    let Some(first) = outputs.first() else {
        return Ok(Grid::EMPTY);
    };
    let shape = first.scaled().shape();
    let passes: Vec<Pass> = (View::all(shape, &outputs).into_iter())
        .map(|(view, numbers)| Pass::new(view, &numbers, &outputs))
        .collect();
    // The first thread also writes what there is once.
    let ctas = passes.iter().map(|pass| pass.tiling.count()).max();
    let ctas = ctas.unwrap_or(1).max(1);
    let threads = passes.iter().map(Pass::threads).max().unwrap_or(WARP);
    let b = emission.elemental.builder();
    let id = thread::global(&b, threads);
    let cta = thread::cta(&b);
    for output in &outputs {
        output.put_once(emission, id, ctas * threads)?;
    }
    let bytes: i64 = passes.iter().map(Pass::kept_bytes).sum();
    let (kept, dynamic) = match bytes {
        0 => (None, 0),
        _ => {
            let (kept, dynamic) = shared.memory(&b, bytes as u32);
            (Some(kept), dynamic)
        }
    };
    let mut before = 0;
    for pass in &passes {
        let cta = Expression::variable(emission.elemental.variable(cta, 0, ctas - 1));
        let own = kept.filter(|_| pass.kept_bytes() > 0).map(|kept| {
            let b = emission.elemental.builder();
            b.element_address(kept, b.integer(8), b.constant_i64(before))
        });
        before += pass.kept_bytes();
        let count = pass.tiling.count();
        if count == 0 {
            continue;
        }
        emission.value_within(&cta, count, &[], |emission, cta| {
            let tile = pass.tiling.tile(&cta, own);
            pass.emit(emission, &outputs, &tile, threads)?;
            Ok::<_, Unsupported>(Vec::new())
        })?;
    }
    Ok(Grid {
        shared_bytes: dynamic,
        ..grid(emission, ctas, threads)?
    })
}

/// The scaled tensors that are made of tiles of one view.
struct Pass {
    tiling: Tiling,
    phases: Vec<Phase>,
    is_kept: bool,
}

impl Pass {
    fn new(view: View, numbers: &[usize], outputs: &[Output<'_, '_>]) -> Self {
        let mut least = [1; 2];
        let mut phases: Vec<Phase> = Vec::new();
        let mut is_kept = false;
        for &number in numbers {
            let output = &outputs[number];
            for (least, wanted) in least.iter_mut().zip(output.least_tile()) {
                *least = wanted.max(*least);
            }
            is_kept |= output.asks_for_columns();
            let phase = Phase::new(number, output);
            match phases.iter_mut().find(|other| other.goes_with(&phase)) {
                Some(other) => other.outputs.push(number),
                None => phases.push(phase),
            }
        }
        phases.sort_by_key(|phase| phase.side);
        Self {
            tiling: Tiling::new(view, least),
            is_kept: is_kept || phases.len() > 1,
            phases,
        }
    }

    /// Segments of a phase.
    fn units(&self, phase: &Phase) -> i64 {
        self.tiling.elements() / phase.length
    }

    /// As many as the phase with the most segments has, of which a warp has 32.
    fn threads(&self) -> i64 {
        let units = self.phases.iter().map(|phase| self.units(phase)).max();
        units.unwrap_or(WARP).clamp(WARP, THREADS)
    }

    fn kept_bytes(&self) -> i64 {
        if self.is_kept {
            self.tiling.kept_bytes()
        } else {
            0
        }
    }

    fn emit<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        outputs: &[Output<'c, 'g>],
        tile: &Tile<'_, 'c>,
        threads: i64,
    ) -> Result<(), Unsupported> {
        let thread = thread::thread(&emission.elemental.builder());
        for (number, phase) in self.phases.iter().enumerate() {
            let is_first = number == 0;
            if number == 1 {
                thread::barrier(&emission.elemental.builder());
            }
            let own = phase.outputs.iter().map(|&number| &outputs[number]);
            let own: Vec<&Output<'c, 'g>> = own.collect();
            let body = |emission: &mut Emission<'c, 'g>, unit: Expression| {
                let segment = phase.segment(&unit, self.tiling.extents);
                let values = match is_first {
                    true => read_and_keep(emission, (tile, &segment), &own)?,
                    false => tile.kept(emission, &segment),
                };
                for output in &own {
                    output.put(emission, (tile, &segment), &values)?;
                }
                Ok::<_, Unsupported>(())
            };
            // Warps are whole in every iteration: lanes of one may ask each other.
            let units = self.units(phase);
            if units <= threads {
                let variable = emission.elemental.variable(thread, 0, threads - 1);
                let unit = Expression::variable(variable);
                emission.value_within(&unit, units, &[], |emission, unit| {
                    body(emission, unit).map(|()| Vec::new())
                })?;
            } else {
                let b = emission.elemental.builder();
                let bounds = [thread, b.constant_i64(units), b.constant_i64(threads)];
                emission.for_bounds(bounds, (0, units - 1), None, body)?;
            }
        }
        Ok(())
    }
}

/// A segment's numbers from memory, kept for the phases that follow and for other lanes of this one.
fn read_and_keep<'c, 'g>(
    emission: &mut Emission<'c, 'g>,
    (tile, segment): (&Tile<'_, 'c>, &Segment),
    outputs: &[&Output<'c, 'g>],
) -> Result<Vec<Value<'c>>, Unsupported> {
    let values = tile.read(emission, outputs[0].quantized(), segment)?;
    tile.keep(emission, segment, &values);
    if outputs.iter().any(|output| output.asks_for_columns()) {
        thread::warp_barrier(&emission.elemental.builder());
    }
    Ok(values)
}

/// What threads do one segment each of, for scaled tensors whose blocks or squares lie the same way.
struct Phase {
    side: Side,
    length: i64,
    /// How many lanes that are next to each other have segments of one line, at most.
    neighbours: i64,
    /// The numbers of the scaled tensors.
    outputs: Vec<usize>,
}

impl Phase {
    fn new(number: usize, output: &Output<'_, '_>) -> Self {
        Self {
            side: output.side(),
            length: output.storage.length as i64,
            neighbours: match output.quantization.rounding() {
                Rounding::MsEden => ms_eden::BLOCKS,
                _ if output.is_square() => square::SQUARES,
                _ => NEIGHBOURS,
            },
            outputs: vec![number],
        }
    }

    fn goes_with(&self, other: &Self) -> bool {
        let way = |one: &Self| (one.side, one.length, one.neighbours);
        way(self) == way(other)
    }

    /// The segment of that number in a tile.
    fn segment(&self, unit: &Expression, extents: [i64; 2]) -> Segment {
        let along = self.side.dimension();
        let (segments, lines) = (extents[along] / self.length, extents[1 - along]);
        let neighbours = self.neighbours.min(segments);
        let before = unit.quotient(neighbours * lines).times(neighbours);
        Segment {
            side: self.side,
            length: self.length,
            line: unit.quotient(neighbours).remainder(lines),
            number: before.plus(&unit.remainder(neighbours)),
        }
    }
}
