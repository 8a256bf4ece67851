//! The 128 bytes of a tensor map. They are this machine's own and mean nothing to hardware: little-endian, at byte 0 the word
//! `TSMP`, and then the fields as `tensormap.replace` numbers their values (PTX ISA 9.7.9.28), each in [`Field::place`].

use super::{Fill, Swizzle, TensorElement, TensorMap, TensorMapError, expect};
use std::ops::Range;

/// Bytes of a tensor map.
pub const TENSOR_MAP_BYTES: usize = 128;

/// The bytes of what is to be a map, and which of them somebody has written.
#[derive(Clone)]
pub(crate) struct MapBytes {
    pub values: [u8; TENSOR_MAP_BYTES],
    pub written: [bool; TENSOR_MAP_BYTES],
}

impl Default for MapBytes {
    fn default() -> Self {
        Self {
            values: [0; TENSOR_MAP_BYTES],
            written: [false; TENSOR_MAP_BYTES],
        }
    }
}

const MAGIC: &[u8; 4] = b"TSMP";

/// Types by their numbers; nothing stands for those that convert while they copy, `.f32.ftz`, `.tf32` and `.tf32.ftz`.
const ELEMENTS: [Option<TensorElement>; 16] = [
    Some(TensorElement::U8),
    Some(TensorElement::U16),
    Some(TensorElement::U32),
    Some(TensorElement::S32),
    Some(TensorElement::U64),
    Some(TensorElement::S64),
    Some(TensorElement::F16),
    Some(TensorElement::F32),
    None,
    Some(TensorElement::F64),
    Some(TensorElement::Bf16),
    None,
    None,
    Some(TensorElement::U4Align8),
    Some(TensorElement::U4Align16),
    Some(TensorElement::U6Align16),
];

/// Swizzles by the numbers of their mode and of their atomicity.
const SWIZZLES: [(Swizzle, u8, u8); 7] = [
    (Swizzle::None, 0, 0),
    (Swizzle::B32, 1, 0),
    (Swizzle::B64, 2, 0),
    (Swizzle::B128, 3, 0),
    (Swizzle::B128Atom32, 3, 1),
    (Swizzle::B128Atom32Flip8, 3, 2),
    (Swizzle::B128Atom64, 3, 3),
];

/// A part of a tensor map that a thread replaces; of those with several numbers, which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    GlobalAddress,
    /// One less than the number of dimensions.
    Rank,
    BoxDimension(usize),
    GlobalDimension(usize),
    GlobalStride(usize),
    ElementStride(usize),
    Element,
    Interleave,
    SwizzleMode,
    SwizzleAtomicity,
    Fill,
}

/// The fields' names, how many numbers each has, and how many values it is written as with a constant; nothing where a register
/// may give it.
pub(crate) const REPLACED: &[(&str, usize, Option<u64>)] = &[
    ("global_address", 1, None),
    ("rank", 1, None),
    ("box_dim", 5, None),
    ("global_dim", 5, None),
    ("global_stride", 4, None),
    ("element_stride", 5, None),
    ("elemtype", 1, Some(16)),
    ("interleave_layout", 1, Some(3)),
    ("swizzle_mode", 1, Some(4)),
    ("swizzle_atomicity", 1, Some(4)),
    ("fill_mode", 1, Some(2)),
];

impl Field {
    /// A field of [`REPLACED`].
    pub fn from_name(name: &str, which: usize) -> Option<Self> {
        Some(match name {
            "global_address" => Self::GlobalAddress,
            "rank" => Self::Rank,
            "box_dim" => Self::BoxDimension(which),
            "global_dim" => Self::GlobalDimension(which),
            "global_stride" => Self::GlobalStride(which),
            "element_stride" => Self::ElementStride(which),
            "elemtype" => Self::Element,
            "interleave_layout" => Self::Interleave,
            "swizzle_mode" => Self::SwizzleMode,
            "swizzle_atomicity" => Self::SwizzleAtomicity,
            "fill_mode" => Self::Fill,
            _ => return None,
        })
    }

    /// Its bytes.
    fn place(self) -> Range<usize> {
        let (begin, size) = match self {
            Self::Element => (4, 1),
            Self::Rank => (5, 1),
            Self::SwizzleMode => (6, 1),
            Self::Fill => (7, 1),
            Self::GlobalAddress => (8, 8),
            Self::GlobalDimension(which) => (16 + 8 * which, 8),
            Self::GlobalStride(which) => (56 + 8 * which, 8),
            Self::BoxDimension(which) => (88 + 2 * which, 2),
            Self::ElementStride(which) => (98 + which, 1),
            Self::Interleave => (103, 1),
            Self::SwizzleAtomicity => (104, 1),
        };
        begin..begin + size
    }
}

fn put(bytes: &mut [u8; TENSOR_MAP_BYTES], field: Field, value: u64) {
    let own = &mut bytes[field.place()];
    // What has no room is no value that the field may have: nor is the largest one.
    let largest = u64::MAX >> (64 - 8 * own.len());
    own.copy_from_slice(&value.min(largest).to_le_bytes()[..own.len()]);
}

fn get(bytes: &[u8; TENSOR_MAP_BYTES], field: Field) -> u64 {
    let mut own = [0; 8];
    let place = field.place();
    own[..place.len()].copy_from_slice(&bytes[place]);
    u64::from_le_bytes(own)
}

/// Makes a field of a map, or of zeros that become one, another value. Other bytes are left as they are.
pub(crate) fn replace(map: &mut MapBytes, field: Field, value: u64) {
    let bytes = &mut map.values;
    if bytes[..4] == [0; 4] {
        bytes[..4].copy_from_slice(MAGIC);
    }
    if &bytes[..4] == MAGIC {
        put(bytes, field, value);
        map.written[field.place()].fill(true);
    }
}

impl TensorMap {
    /// The bytes that a kernel takes as its parameter, or reads from global memory.
    ///
    /// # Errors
    /// What the driver refuses as well, and boxes narrower than their swizzle, which are not modelled.
    pub fn encode(&self) -> Result<[u8; TENSOR_MAP_BYTES], TensorMapError> {
        self.check()?;
        let mut bytes = [0; TENSOR_MAP_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        let element = ELEMENTS.iter().position(|own| *own == Some(self.element));
        let swizzle = SWIZZLES.iter().find(|(own, ..)| *own == self.swizzle);
        let (_, mode, atomicity) = swizzle.copied().unwrap_or((Swizzle::None, 0, 0));
        put(
            &mut bytes,
            Field::Element,
            element.unwrap_or_default() as u64,
        );
        put(&mut bytes, Field::Rank, self.dimensions.len() as u64 - 1);
        put(&mut bytes, Field::SwizzleMode, u64::from(mode));
        put(&mut bytes, Field::SwizzleAtomicity, u64::from(atomicity));
        put(&mut bytes, Field::Fill, u64::from(self.fill == Fill::Nan));
        put(&mut bytes, Field::GlobalAddress, self.address);
        for (i, &dimension) in self.dimensions.iter().enumerate() {
            put(&mut bytes, Field::GlobalDimension(i), dimension);
            put(&mut bytes, Field::ElementStride(i), 1);
        }
        for (i, &stride) in self.strides.iter().enumerate() {
            put(&mut bytes, Field::GlobalStride(i), stride);
        }
        for (i, &length) in self.box_dimensions.iter().enumerate() {
            put(&mut bytes, Field::BoxDimension(i), u64::from(length));
        }
        Ok(bytes)
    }

    /// The map of some bytes.
    ///
    /// # Errors
    /// Bytes that were not made by [`encode`](Self::encode) or [`replace`], and what the driver would refuse.
    pub(crate) fn decode(bytes: &[u8; TENSOR_MAP_BYTES]) -> Result<Self, TensorMapError> {
        let is_map = &bytes[..4] == MAGIC;
        let what = "the tensor map";
        expect(what, "one that was encoded here", "other bytes", is_map)?;
        let number = |field| get(bytes, field);
        let rank = number(Field::Rank) as usize + 1;
        expect("the rank", "1 to 5", rank, rank <= 5)?;
        let kind = number(Field::Element);
        let element = ELEMENTS.get(kind as usize).copied().flatten();
        let missing = |what, expected: &str, found: u64| TensorMapError {
            what,
            expected: expected.into(),
            found: found.to_string(),
        };
        let element = element.ok_or_else(|| {
            missing(
                "the type's number",
                "one that copies bits as they are",
                kind,
            )
        })?;
        let (mode, atomicity) = (number(Field::SwizzleMode), number(Field::SwizzleAtomicity));
        let is_own = |&&(_, own, its): &&(Swizzle, u8, u8)| {
            (u64::from(own), u64::from(its)) == (mode, atomicity)
        };
        // Without a swizzle nothing stays together.
        let none = SWIZZLES.first().filter(|_| mode == 0);
        let swizzle = none.or_else(|| SWIZZLES.iter().find(is_own));
        let (swizzle, ..) = *swizzle
            .ok_or_else(|| missing("the swizzle's atomicity", "0, but with mode 3", atomicity))?;
        let interleave = number(Field::Interleave);
        expect(
            "the interleave layout",
            "none (0)",
            interleave,
            interleave == 0,
        )?;
        for i in 0..rank {
            let stride = number(Field::ElementStride(i));
            expect("an element stride", "1", stride, stride == 1)?;
        }
        let map = Self {
            element,
            address: number(Field::GlobalAddress),
            dimensions: (0..rank)
                .map(|i| number(Field::GlobalDimension(i)))
                .collect(),
            strides: (0..rank - 1)
                .map(|i| number(Field::GlobalStride(i)))
                .collect(),
            box_dimensions: (0..rank)
                .map(|i| number(Field::BoxDimension(i)) as u32)
                .collect(),
            swizzle,
            fill: match number(Field::Fill) {
                0 => Fill::Zero,
                _ => Fill::Nan,
            },
        };
        map.check()?;
        Ok(map)
    }
}
