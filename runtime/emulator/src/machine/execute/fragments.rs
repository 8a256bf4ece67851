//! Matrices between shared memory and registers: all lanes of a warp at once.

use super::super::context::{Context, Fault};
use crate::finding::FindingKind;
use crate::instruction::{Access, Direction, Move, Numbers, Ordering, Space};
use crate::machine::Lanes;
use crate::machine::places::Places;
use crate::memory::address::Window;
use crate::memory::number;

impl Context<'_> {
    pub(super) fn move_matrices(&mut self, frame: usize, own: &Move) -> Result<(), Fault> {
        let numbers = own.numbers;
        let places = self.rows(frame, own)?;
        let each = numbers.registers();
        let width = 32 / numbers.each();
        match &own.direction {
            Direction::Load(destinations) => {
                let count = own.matrices * numbers.rows();
                let owners = 0..count as u32;
                let rows: Vec<Row> = owners
                    .map(|owner| self.row(frame, owner, places.of(owner)))
                    .collect::<Result<_, _>>()?;
                let are_written = rows.iter().all(|row| row.unwritten == 0);
                for (number, &destination) in destinations.iter().enumerate() {
                    let mut lanes = Lanes::splat(0);
                    if are_written && matches!(numbers, Numbers::Halves { .. }) {
                        halves(numbers, &rows[8 * number..][..8], &mut lanes);
                        self.set(frame, destination, u32::MAX, &lanes);
                        continue;
                    }
                    for lane in 0..32 {
                        for part in 0..numbers.each() {
                            let place = numbers.place(number % each, lane, part);
                            let row = &rows[number / each * numbers.rows() + place.row];
                            let (value, written) = row.number(place.bit, numbers.bits());
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
                        let (window, begin) = places.of(owner as u32);
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
            let (window, address) = places.of(lane as u32);
            if window != Window::Shared {
                return Err(beyond(what, address, lane as u32));
            }
        }
        self.accesses(lanes, &places, (!writes, writes), Ordering::default());
        Ok(places)
    }

    /// A row of a matrix.
    fn row(&self, frame: usize, owner: u32, (window, begin): (Window, u64)) -> Result<Row, Fault> {
        let stretch = self.stretch(frame, window, begin, 16);
        let (values, written) =
            stretch.ok_or_else(|| beyond("reads from shared memory", begin, owner))?;
        Ok(Row {
            bits: u128::from(number(&values[8..])) << 64 | u128::from(number(&values[..8])),
            unwritten: (0..16).fold(0, |bytes, byte| bytes | u32::from(!written[byte]) << byte),
        })
    }
}

/// The numbers of sixteen bits that each lane has of a matrix of eight rows.
fn halves(numbers: Numbers, rows: &[Row], lanes: &mut Lanes) {
    let rows: [[u8; 16]; 8] = std::array::from_fn(|row| rows[row].bits.to_le_bytes());
    for (lane, value) in lanes.values.iter_mut().enumerate() {
        for part in 0..2 {
            let place = numbers.place(0, lane, part);
            let own = &rows[place.row][place.bit / 8..][..2];
            *value |= number(own) << (16 * part);
        }
    }
}

/// Sixteen bytes of shared memory.
struct Row {
    bits: u128,
    /// The bytes that nobody has written.
    unwritten: u32,
}

impl Row {
    /// So many bits of it, and whether all the bytes that they are in are written.
    fn number(&self, begin: usize, count: usize) -> (u64, bool) {
        let value = (self.bits >> begin) as u64 & ((1 << count) - 1);
        let bytes = (begin + count).div_ceil(8) - begin / 8;
        let unwritten = self.unwritten >> (begin / 8) & ((1 << bytes) - 1);
        (value, unwritten == 0)
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
