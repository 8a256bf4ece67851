//! A stretch of memory that knows which of its bytes were written.

/// Bytes, each with whether it has been written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    values: Vec<u8>,
    written: Vec<bool>,
}

impl Bytes {
    /// No bytes.
    pub(crate) const fn empty() -> Self {
        Self {
            values: Vec::new(),
            written: Vec::new(),
        }
    }

    /// So many bytes that nobody has written. What they read as is not zero.
    pub fn unwritten(size: usize) -> Self {
        Self {
            values: vec![POISON; size],
            written: vec![false; size],
        }
    }

    /// Bytes that are written.
    pub fn of(values: Vec<u8>) -> Self {
        let written = vec![true; values.len()];
        Self { values, written }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The first byte that nobody has written.
    pub fn first_unwritten(&self) -> Option<usize> {
        self.written.iter().position(|&written| !written)
    }

    /// The first byte that is not the same in both, or written in one alone.
    pub fn first_difference(&self, other: &Self) -> Option<usize> {
        let own = self.values.iter().zip(&self.written);
        own.zip(other.values.iter().zip(&other.written))
            .position(|(own, other)| own != other)
    }

    /// Makes it at least so long.
    pub(crate) fn grow(&mut self, size: usize) {
        if size > self.values.len() {
            self.values.resize(size, POISON);
            self.written.resize(size, false);
        }
    }

    /// Up to eight bytes as a number, and whether all are written; `None` beyond the end.
    pub(crate) fn read(&self, place: usize, size: usize) -> Option<(u64, bool)> {
        let end = place.checked_add(size)?;
        let values = self.values.get(place..end)?;
        Some((
            number(values),
            self.written[place..end].iter().all(|&written| written),
        ))
    }

    /// Writes up to eight bytes of a number, which may be one that nobody has written.
    pub(crate) fn write(
        &mut self,
        place: usize,
        size: usize,
        value: u64,
        written: bool,
    ) -> Option<()> {
        let end = place.checked_add(size)?;
        put_number(self.values.get_mut(place..end)?, value);
        self.written[place..end].fill(written);
        Some(())
    }

    /// A stretch of it: the bytes, and which of them are written.
    pub(crate) fn stretch(&self, place: usize, size: usize) -> Option<(&[u8], &[bool])> {
        let end = place.checked_add(size)?;
        Some((self.values.get(place..end)?, &self.written[place..end]))
    }

    /// As [`stretch`](Self::stretch), to write.
    pub(crate) fn stretch_mut(
        &mut self,
        place: usize,
        size: usize,
    ) -> Option<(&mut [u8], &mut [bool])> {
        let end = place.checked_add(size)?;
        Some((
            self.values.get_mut(place..end)?,
            &mut self.written[place..end],
        ))
    }

    /// A part of it.
    pub(crate) fn part(&self, place: usize, size: usize) -> Option<Self> {
        let end = place.checked_add(size)?;
        Some(Self {
            values: self.values.get(place..end)?.to_vec(),
            written: self.written[place..end].to_vec(),
        })
    }

    /// Writes all of another stretch.
    pub(crate) fn put(&mut self, place: usize, other: &Self) -> Option<()> {
        let end = place.checked_add(other.len())?;
        self.values
            .get_mut(place..end)?
            .copy_from_slice(&other.values);
        self.written[place..end].copy_from_slice(&other.written);
        Some(())
    }

    /// Forgets what was written in a part.
    pub(crate) fn forget(&mut self, place: usize, size: usize) {
        let end = (place + size).min(self.values.len());
        if place < end {
            self.values[place..end].fill(POISON);
            self.written[place..end].fill(false);
        }
    }
}

/// The number that up to eight bytes are.
#[inline]
pub(crate) fn number(bytes: &[u8]) -> u64 {
    // Sizes that the compiler knows are single instructions.
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => {
            let places = bytes.iter().zip((0..64).step_by(8));
            places.fold(0, |number, (&byte, place)| {
                number | u64::from(byte) << place
            })
        }
    }
}

/// Makes up to eight bytes a number's.
#[inline]
pub(crate) fn put_number(bytes: &mut [u8], number: u64) {
    match bytes.len() {
        1 => bytes[0] = number as u8,
        2 => bytes.copy_from_slice(&(number as u16).to_le_bytes()),
        4 => bytes.copy_from_slice(&(number as u32).to_le_bytes()),
        size => bytes.copy_from_slice(&number.to_le_bytes()[..size]),
    }
}

/// What memory reads as that nobody has written: as a floating-point number of any size it is a NaN or far from what
/// anyone expects, and it is no small integer.
const POISON: u8 = 0xfb;
