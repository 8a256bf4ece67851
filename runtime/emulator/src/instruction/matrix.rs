//! Products of matrices by a warp: `mma.sync` (PTX ISA 9.7.14.5). What moves their fragments is in [`fragments`](super::fragments).
//!
//! Of a fragment with elements of b bits, lane 4g + t holds registers of 32/b elements that are next to each other along k.
//! Register i of A is of row g + 8·(i mod 2) and begins at k = (32/b)·(t + 4·⌊i/2⌋); register i of B is of column g and
//! begins at k = (32/b)·(t + 4i); numbers i of C and D are of row g + 8·⌊i/2⌋ and column 2t + i mod 2. Of eight rows, register
//! i of A is of row g and begins at k = (32/b)·(t + 4i).

use super::fragments::{self, Move};
use super::quad_pairs::{self, QuadPairs};
use super::words::Words;
use super::{Action, Refusal, Source};
use crate::program::Register;
use std::sync::OnceLock;
use tessera_numerics::{ElementFormat, ScaleFormat};

/// Matrix fragments of a warp.
pub(crate) enum Matrix {
    /// Between shared memory and registers.
    Move(Box<Move>),
    /// D = A·B + C.
    Multiply(Box<Multiply>),
    /// 8×8 numbers of 16 bits are transposed, two of a row in each lane.
    Transpose {
        source: Source,
        destination: Option<Register>,
    },
    /// Four products at once, each of eight lanes.
    QuadPairs(Box<QuadPairs>),
}

/// What `.kind` says.
const KINDS: [&str; 4] = ["f8f6f4", "mxf8f6f4", "mxf4", "mxf4nvf4"];

/// D = A·B + C, A of m×k, B of k×n.
pub(crate) struct Multiply {
    pub shape: Shape,
    pub a_type: Element,
    pub b_type: Element,
    pub result: Accumulator,
    pub a: Vec<Source>,
    pub b: Vec<Source>,
    pub c: Vec<Source>,
    pub d: Vec<Option<Register>>,
    pub scales: Option<Scales>,
    /// `.satfinite` of integers.
    pub saturates: bool,
    /// Bits are multiplied by exclusive or.
    pub is_xor: bool,
    /// `.kind`
    pub kind: Option<&'static str>,
}

/// Rows of D, columns of D, and what is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Shape {
    /// The shape of a modifier such as `m16n8k16`.
    pub fn named(name: &str) -> Option<Self> {
        let (m, rest) = name.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some(Self {
            m: m.parse().ok()?,
            n: n.parse().ok()?,
            k: k.parse().ok()?,
        })
    }
}

/// What A or B is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    F64,
    /// In as many bits as it has, or each in a byte.
    Low {
        format: ElementFormat,
        in_bytes: bool,
    },
    Integer {
        bits: u32,
        signed: bool,
    },
}

impl Element {
    /// PTX's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Tf32 => "tf32",
            Self::F64 => "f64",
            Self::Low { format, .. } => match format {
                ElementFormat::E4m3 => "e4m3",
                ElementFormat::E5m2 => "e5m2",
                ElementFormat::E2m3 => "e2m3",
                ElementFormat::E3m2 => "e3m2",
                ElementFormat::E2m1 => "e2m1",
            },
            Self::Integer { bits: 1, .. } => "b1",
            Self::Integer { bits: 4, signed } => {
                if signed {
                    "s4"
                } else {
                    "u4"
                }
            }
            Self::Integer { signed, .. } => {
                if signed {
                    "s8"
                } else {
                    "u8"
                }
            }
        }
    }

    /// Bits that an element takes in a register.
    pub fn bits(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 => 32,
            Self::F64 => 64,
            Self::Low { in_bytes: true, .. } => 8,
            Self::Low { format, .. } => format.bits(),
            Self::Integer { bits, .. } => bits as usize,
        }
    }

    /// Bits that an element takes in shared memory where padding stands behind sixteen of them.
    pub fn padded_bits(self) -> Option<usize> {
        match self {
            Self::Low {
                format,
                in_bytes: true,
            } if format.bits() < 8 => Some(format.bits()),
            _ => None,
        }
    }

    /// The exponent of the smallest normal number.
    pub fn smallest_exponent(self) -> i32 {
        match self {
            Self::F16 => -14,
            Self::Bf16 | Self::Tf32 => -126,
            Self::F64 => -1022,
            Self::Low { format, .. } => match format {
                ElementFormat::E4m3 => -6,
                ElementFormat::E5m2 => -14,
                ElementFormat::E3m2 => -2,
                ElementFormat::E2m1 | ElementFormat::E2m3 => 0,
            },
            Self::Integer { .. } => 0,
        }
    }

    /// The integer that bits are in the ring mode. Bits of TF32 that hardware does not look at are looked at.
    pub fn payload(self, bits: u64) -> i64 {
        use crate::arithmetic::Float;
        use crate::arithmetic::ring::Ring;
        let ring = match self {
            Self::F16 => Ring::of(Float::F16),
            Self::Bf16 => Ring::of(Float::Bf16),
            Self::Tf32 => Ring::of(Float::F32),
            Self::F64 => Ring::of(Float::F64),
            Self::Low { format, .. } => Ring::of_element(format),
            Self::Integer { .. } => return self.value(bits) as i64,
        };
        let code = match self {
            Self::Low {
                format: ElementFormat::E2m1,
                in_bytes: true,
            } => bits >> 2 & 0xf,
            Self::Low { format, .. } => bits & ((1 << format.bits()) - 1),
            _ => bits,
        };
        ring.payload(code)
    }

    /// The floating-point numbers that words hold, of 32 bits at most, the lowest bits first.
    pub fn numbers(self, words: &[u32]) -> Vec<f32> {
        let bits = self.bits();
        let mask = u32::MAX >> (32 - bits);
        let mut numbers = Vec::with_capacity(words.len() * 32 / bits);
        match self {
            // Loops that ask for no format.
            Self::F16 => numbers.extend(
                words
                    .iter()
                    .flat_map(|&word| [half(word), half(word >> 16)]),
            ),
            Self::Bf16 => {
                let two = |&word: &u32| [word << 16, word & 0xffff_0000].map(f32::from_bits);
                numbers.extend(words.iter().flat_map(two));
            }
            _ => {
                for word in words {
                    let slots = (0..32 / bits).map(|slot| word >> (slot * bits) & mask);
                    numbers.extend(slots.map(|code| self.number(code)));
                }
            }
        }
        numbers
    }

    /// The floating-point number of a code of 32 bits at most: f32 has all of them.
    pub fn number(self, code: u32) -> f32 {
        match self {
            Self::F16 => half(code),
            Self::Bf16 => f32::from_bits(code << 16),
            Self::Low { format, in_bytes } => self.table(format, in_bytes)[code as usize & 0xff],
            Self::Tf32 | Self::F64 | Self::Integer { .. } => self.value(code.into()) as f32,
        }
    }

    /// The numbers of all codes of a format.
    fn table(self, format: ElementFormat, in_bytes: bool) -> &'static [f32; 256] {
        static TABLES: [OnceLock<[f32; 256]>; 10] = [const { OnceLock::new() }; 10];
        let table = &TABLES[2 * format as usize + usize::from(in_bytes)];
        table.get_or_init(|| std::array::from_fn(|code| self.value(code as u64) as f32))
    }

    /// The number that bits are.
    pub fn value(self, bits: u64) -> f64 {
        match self {
            Self::F16 => crate::arithmetic::Float::F16.value(bits),
            Self::Bf16 => crate::arithmetic::Float::Bf16.value(bits),
            // The lower 13 bits of an f32 are not looked at.
            Self::Tf32 => crate::arithmetic::Float::F32.value(bits & 0xffff_e000),
            Self::F64 => f64::from_bits(bits),
            // Numbers of four and six bits stand in their byte's upper part but two bits.
            Self::Low {
                format: format @ ElementFormat::E2m1,
                in_bytes: true,
            } => f64::from(format.decode((bits >> 2) as u8 & 0xf)),
            Self::Low {
                format: format @ (ElementFormat::E2m3 | ElementFormat::E3m2),
                ..
            } => f64::from(format.decode(bits as u8 & 0x3f)),
            Self::Low { format, .. } => f64::from(format.decode(bits as u8)),
            Self::Integer {
                bits: width,
                signed,
            } => crate::arithmetic::integer::Integer {
                bits: width.max(8),
                signed,
            }
            .value(if signed && width == 4 {
                (bits << 60) as i64 as u64 >> 60 | if bits & 8 != 0 { 0xf0 } else { 0 }
            } else {
                bits
            }) as f64,
        }
    }
}

/// The number of an f16.
fn half(bits: u32) -> f32 {
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // As f32's the same bits stand for 2^112 times less, subnormal numbers too; but for those of infinities and NaNs.
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits((112 + 127) << 23);
    let special = f32::from_bits(0x7f80_0000 | magnitude << 13);
    let own = if magnitude < 0x7c00 { finite } else { special };
    f32::from_bits(own.to_bits() | sign)
}

/// What C and D are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accumulator {
    F16,
    F32,
    F64,
    S32,
}

/// Scales of blocks along k.
pub(crate) struct Scales {
    pub format: ScaleFormat,
    /// Blocks of a row.
    pub blocks: usize,
    pub a: Selected,
    pub b: Selected,
}

/// A register of scales, and which of its bytes, of which lanes of four, are meant.
pub(crate) struct Selected {
    pub register: Source,
    pub byte: Source,
    pub thread: Source,
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    if !words.has("sync") || !words.has("aligned") {
        return Err(words.refuse("needs .sync.aligned"));
    }
    if words.opcode() == "movmatrix" {
        for word in ["m8n8", "trans", "b16"] {
            words.has(word);
        }
        words.counted(&[2])?;
        return Ok(Action::Matrix(Matrix::Transpose {
            source: words.source(1)?,
            destination: words.destination(0)?,
        }));
    }
    if words.opcode() != "mma" {
        return Ok(Action::Matrix(Matrix::Move(Box::new(fragments::decode(
            words,
        )?))));
    }
    let modifiers = &words.instruction.modifiers;
    let is_of_quad_pairs =
        words.instruction.has("m8n8k4") && !modifiers.iter().any(|own| own == "f64");
    Ok(Action::Matrix(if is_of_quad_pairs {
        Matrix::QuadPairs(Box::new(quad_pairs::decode(words)?))
    } else {
        multiply(words)?
    }))
}

fn multiply(words: &mut Words<'_>) -> Result<Matrix, Refusal> {
    let shape = words.needed("shape", shape)?;
    if !words.has("row") || !words.has("col") {
        return Err(words.refuse("is modelled with A in rows and B in columns, .row.col, alone"));
    }
    let saturates = words.has("satfinite");
    let kind = words.choice(|word| word.strip_prefix("kind::").map(str::to_owned));
    let scaled = words.has("block_scale");
    let blocks = words.choice(|word| match word {
        "scale_vec::1X" => Some(1),
        "scale_vec::2X" => Some(2),
        "scale_vec::4X" => Some(4),
        _ => None,
    });
    let result = words.needed("result type", result)?;
    let in_bytes = matches!(kind.as_deref(), Some("f8f6f4" | "mxf8f6f4"));
    let a_type = words.needed("type of A", |word| element(word, in_bytes))?;
    let b_type = words.needed("type of B", |word| element(word, in_bytes))?;
    if words.needed("type of C", self::result)? != result {
        return Err(words.refuse("is modelled for C and D of one type alone"));
    }
    let join = words.choice(|word| match word {
        "and" => Some(false),
        "xor" => Some(true),
        _ => None,
    });
    if join.is_some() != (a_type.bits() == 1) || join.is_some() != words.has("popc") {
        return Err(words.refuse("multiplies bits by .and.popc or .xor.popc, and nothing else so"));
    }
    let scales = match (kind.as_deref(), scaled) {
        (Some("mxf4" | "mxf4nvf4" | "mxf8f6f4"), true) => Some(scales(words, blocks)?),
        (None | Some("f8f6f4"), false) => None,
        _ => return Err(words.refuse("is of a kind that is not modelled")),
    };
    words.counted(if scales.is_some() { &[8] } else { &[4] })?;
    let multiply = Multiply {
        shape,
        a_type,
        b_type,
        result,
        a: words.sources(1)?,
        b: words.sources(2)?,
        c: words.sources(3)?,
        d: words.destinations(0)?,
        scales,
        saturates,
        is_xor: join == Some(true),
        kind: KINDS.into_iter().find(|own| kind.as_deref() == Some(own)),
    };
    check(words, &multiply)?;
    Ok(Matrix::Multiply(Box::new(multiply)))
}

/// That the registers hold the shape, and that the types go together.
fn check(words: &Words<'_>, multiply: &Multiply) -> Result<(), Refusal> {
    let Multiply {
        shape,
        a_type,
        b_type,
        result,
        ..
    } = *multiply;
    let bits = a_type.bits();
    let register = if bits == 64 { 64 } else { 32 };
    let registers = |elements: usize, bits: usize| elements * bits / (32 * register);
    let d_bits = match result {
        Accumulator::F16 => 16,
        Accumulator::F64 => 64,
        Accumulator::F32 | Accumulator::S32 => 32,
    };
    let expected = [
        registers(shape.m * shape.k, bits),
        registers(shape.k * shape.n, bits),
        registers(shape.m * shape.n, d_bits),
        registers(shape.m * shape.n, d_bits),
    ];
    let found = [
        multiply.a.len(),
        multiply.b.len(),
        multiply.c.len(),
        multiply.d.len(),
    ];
    let along_k = 4 * (32 / bits).max(1);
    if !shape.k.is_multiple_of(along_k) {
        let reason = format!("sums over {}, which is no multiple of {along_k}", shape.k);
        return Err(words.refuse(reason));
    }
    if b_type.bits() != bits || expected != found || expected.contains(&0) {
        return Err(words.refuse(format!(
            "needs {expected:?} registers for A, B, C and D, not {found:?}"
        )));
    }
    let is_integer = |element| matches!(element, Element::Integer { .. });
    if is_integer(a_type) != is_integer(b_type)
        || is_integer(a_type) != (result == Accumulator::S32)
    {
        return Err(words.refuse("mixes integers and floating-point numbers"));
    }
    Ok(())
}

fn shape(name: &str) -> Option<Shape> {
    let shape = Shape::named(name)?;
    matches!((shape.m, shape.n), (8 | 16, 8)).then_some(shape)
}

pub(super) fn result(name: &str) -> Option<Accumulator> {
    Some(match name {
        "f16" => Accumulator::F16,
        "f32" => Accumulator::F32,
        "f64" => Accumulator::F64,
        "s32" => Accumulator::S32,
        _ => return None,
    })
}

pub(super) fn element(name: &str, in_bytes: bool) -> Option<Element> {
    let low = |format| Element::Low { format, in_bytes };
    Some(match name {
        "f16" => Element::F16,
        "bf16" => Element::Bf16,
        "tf32" => Element::Tf32,
        "f64" => Element::F64,
        "e4m3" => low(ElementFormat::E4m3),
        "e5m2" => low(ElementFormat::E5m2),
        "e2m1" => low(ElementFormat::E2m1),
        "e2m3" if in_bytes => low(ElementFormat::E2m3),
        "e3m2" if in_bytes => low(ElementFormat::E3m2),
        "b1" => Element::Integer {
            bits: 1,
            signed: false,
        },
        "s8" => Element::Integer {
            bits: 8,
            signed: true,
        },
        "u8" => Element::Integer {
            bits: 8,
            signed: false,
        },
        "s4" => Element::Integer {
            bits: 4,
            signed: true,
        },
        "u4" => Element::Integer {
            bits: 4,
            signed: false,
        },
        _ => return None,
    })
}

/// The scales' type stands last, their registers and selectors behind C.
fn scales(words: &mut Words<'_>, blocks: Option<usize>) -> Result<Scales, Refusal> {
    let format = words.needed("type of scales", |word| match word {
        "ue4m3" => Some(ScaleFormat::E4m3),
        "ue8m0" => Some(ScaleFormat::E8m0),
        _ => None,
    })?;
    let blocks = blocks.unwrap_or(if words.instruction.has("kind::mxf4") {
        2
    } else {
        1
    });
    let selected = |place: usize| {
        let [byte, thread] = &words.sources(place + 1)?[..] else {
            return Err(words.refuse("needs {byte, thread} behind a register of scales"));
        };
        Ok(Selected {
            register: words.source(place)?,
            byte: byte.clone(),
            thread: thread.clone(),
        })
    };
    Ok(Scales {
        format,
        blocks,
        a: selected(4)?,
        b: selected(6)?,
    })
}
