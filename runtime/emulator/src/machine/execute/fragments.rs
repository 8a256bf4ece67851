//! Matrices between shared memory and registers: all lanes of a warp at once.

use super::super::context::{Context, Fault};
use crate::finding::FindingKind;
use crate::instruction::{Access, Direction, Move, Ordering, Space};
use crate::machine::Lanes;
use crate::machine::places::Places;
use crate::memory::address::Window;

impl Context<'_> {
    pub(super) fn move_matrices(&mut self, frame: usize, own: &Move) -> Result<(), Fault> {
        let numbers = own.numbers;
        let rows = self.rows(frame, own)?;
        let each = numbers.registers();
        let width = 32 / numbers.each();
        match &own.direction {
            Direction::Load(destinations) => {
                for (number, &destination) in destinations.iter().enumerate() {
                    let mut lanes = Lanes::splat(0);
                    for lane in 0..32 {
                        for part in 0..numbers.each() {
                            let place = numbers.place(number % each, lane, part);
                            let owner = number / each * numbers.rows() + place.row;
                            let bits = (place.bit, numbers.bits());
                            let (value, written) = self.bits(frame, owner, rows[owner], bits)?;
                            lanes.values[lane] |= value << (width * part);
                            lanes.written &= !(u32::from(!written) << lane);
                        }
                    }
                    self.set(frame, destination, u32::MAX, &lanes);
                }
            }
            Direction::Store(sources) => {
                for (number, source) in sources.iter().enumerate() {
                    let values = self.values(frame, source);
                    for (lane, part) in
                        (0..32).flat_map(|lane| (0..numbers.each()).map(move |part| (lane, part)))
                    {
                        let place = numbers.place(number % each, lane, part);
                        let owner = number / each * numbers.rows() + place.row;
                        let (window, begin) = rows[owner];
                        let address = begin + place.bit as u64 / 8;
                        let value = values.values[lane] >> (width * part) & ((1 << width) - 1);
                        let value = (value, values.written >> lane & 1 == 1);
                        let owner = owner as u32;
                        let done = self.write(frame, owner, window, address, width / 8, value);
                        done.ok_or_else(|| beyond("writes to shared memory", address, owner))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where each row lies; the lane of a row has its address.
    fn rows(&mut self, frame: usize, own: &Move) -> Result<Places, Fault> {
        let access = Access {
            space: if own.generic {
                Space::Generic
            } else {
                Space::Shared
            },
            location: own.location.clone(),
            bytes: 16,
        };
        let writes = matches!(own.direction, Direction::Store(_));
        let what = if writes {
            "writes to shared memory"
        } else {
            "reads from shared memory"
        };
        let count = own.matrices * own.numbers.rows();
        let lanes = u32::MAX >> (32 - count);
        let places = self.places(frame, lanes, &access, 16, what)?;
        for lane in 0..count {
            let (window, address) = places[lane];
            if window != Window::Shared {
                return Err(beyond(what, address, lane as u32));
            }
        }
        self.accesses(lanes, &places, (!writes, writes), Ordering::default());
        Ok(places)
    }

    /// Bits of a row, of which only whole bytes are read.
    fn bits(
        &self,
        frame: usize,
        owner: usize,
        (window, row): (Window, u64),
        (begin, count): (usize, usize),
    ) -> Result<(u64, bool), Fault> {
        let what = "reads from shared memory";
        let owner = owner as u32;
        if count >= 8 {
            let address = row + begin as u64 / 8;
            let read = self.read(frame, owner, window, address, count / 8);
            return read.ok_or_else(|| beyond(what, address, owner));
        }
        let (mut all, mut written) = (0, true);
        for byte in begin / 8..=(begin + count - 1) / 8 {
            let address = row + byte as u64;
            let read = self.read(frame, owner, window, address, 1);
            let (value, is_written) = read.ok_or_else(|| beyond(what, address, owner))?;
            all |= value << (8 * (byte - begin / 8));
            written &= is_written;
        }
        Ok((all >> (begin % 8) & ((1 << count) - 1), written))
    }
}

fn beyond(access: &'static str, address: u64, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::OutOfBounds {
            access,
            address,
            bytes: 16,
        },
        lane,
    }
}
