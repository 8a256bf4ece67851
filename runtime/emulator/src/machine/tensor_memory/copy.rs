//! `tcgen05.cp`: rows of shared memory become lanes of tensor memory.

use super::super::asynchronous::{Doer, Memories, Spot};
use crate::memory::tensor::{Misuse, WHOLE};
use crate::tcgen05::Cell;
use crate::tcgen05::copy::{CopyShape, decompress};
use crate::tcgen05::shared_descriptor::{Major, SharedDescriptor};

/// A copy that was begun.
pub(crate) struct Copying {
    /// The CTAs, each of which copies from its own shared memory to its own tensor memory.
    pub ranks: Vec<u32>,
    pub shape: CopyShape,
    pub decompresses: Option<usize>,
    pub to: Cell,
    pub from: SharedDescriptor,
}

impl Copying {
    pub(super) fn execute(&self, machine: &mut Memories<'_>, by: &Doer<'_>) -> Result<(), Misuse> {
        for &rank in &self.ranks {
            for row in 0..self.shape.rows() {
                for piece in 0..self.shape.pieces() {
                    let along = u64::from(16 * piece);
                    let address = self.from.address(Major::K, u64::from(row), along);
                    let Some(taken) = machine.take(Spot::Shared(rank, address), 16, by) else {
                        return Ok(());
                    };
                    let mut bytes = [0; 16];
                    let mut written = [false; 16];
                    for place in 0..16 {
                        let (value, is_written) = taken.read(place, 1).unwrap_or((0, false));
                        bytes[place] = value as u8;
                        written[place] = is_written;
                    }
                    if let Some(bits) = self.decompresses {
                        // Padding need not be written; the bytes of the elements must be.
                        let all = written[..2 * bits].iter().all(|&own| own);
                        bytes = decompress(bits, bytes);
                        written = [all; 16];
                    }
                    for lane in self.shape.lanes(row) {
                        let first = self.to.plus(lane, 4 * piece);
                        machine.touch_tensor(rank, first, 4, true, by);
                        for word in 0..4 {
                            let at = 4 * word as usize;
                            let value = u32::from_le_bytes([
                                bytes[at],
                                bytes[at + 1],
                                bytes[at + 2],
                                bytes[at + 3],
                            ]);
                            let each = written[at..at + 4].iter().enumerate();
                            let mask =
                                each.fold(0, |mask, (i, &own)| mask | u8::from(own) << i) & WHOLE;
                            let memory = &mut machine.ctas[rank as usize].tensor.memory;
                            memory.write(first.plus(0, word), (value, mask))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
