//! Loads, stores and atomics (PTX ISA 9.7.9, 9.7.13).

use super::number::Number;
use super::words::Words;
use super::{Action, Location, Refusal, Source};
use crate::arithmetic::Float;
use crate::arithmetic::float::{Extreme, Mode};
use crate::arithmetic::integer::Integer;
use crate::memory::address::Window;
use crate::program::Register;
use std::ops::Range;

/// The memory that an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Any: the address says which.
    Generic,
    Global,
    Constant,
    Shared,
    Local,
    /// The kernel's arguments, or those of the function or of a call in it.
    Parameter,
}

impl Space {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "global" => Self::Global,
            "const" => Self::Constant,
            "shared" | "shared::cta" | "shared::cluster" => Self::Shared,
            "local" => Self::Local,
            "param" | "param::entry" | "param::func" => Self::Parameter,
            _ => return None,
        })
    }
}

/// How an access is ordered (PTX ISA 8.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ordering {
    /// Whether it may meet another strong one: it is an atomic, relaxed, or volatile, which is held to be relaxed.
    pub is_strong: bool,
    pub acquires: bool,
    pub releases: bool,
    /// Of a strong one: whose accesses it may meet.
    pub scope: ThreadScope,
    /// Whether it is `ld.global.nc`, of memory that the kernel does not write.
    pub is_of_a_constant: bool,
}

/// The threads that a strong access or a fence is strong to (PTX ISA 8.5), each scope within the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ThreadScope {
    Cta,
    Cluster,
    /// `.gpu`, and `.sys`, since no other device takes part; what atomics and `volatile` have that name none.
    #[default]
    Device,
}

impl ThreadScope {
    /// How many there are.
    pub const COUNT: usize = 3;
    pub const ALL: [Self; Self::COUNT] = [Self::Cta, Self::Cluster, Self::Device];

    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "cta" => Self::Cta,
            "cluster" => Self::Cluster,
            "gpu" | "gl" | "sys" => Self::Device,
            _ => return None,
        })
    }
}

/// Elements one behind the other.
pub(crate) struct Access {
    pub space: Space,
    pub location: Location,
    /// Bytes of an element.
    pub bytes: u32,
}

/// From memory.
pub(crate) struct Load {
    pub access: Access,
    pub ordering: Ordering,
    pub destinations: Vec<Option<Register>>,
    /// The integers that elements are, extended to the registers' bits.
    pub extends: Option<(Integer, Integer)>,
    /// Of all elements' bytes those that anybody uses, as bits: of elements without one nothing is read.
    pub used_bytes: u32,
}

impl Load {
    /// Whether anybody uses a byte of an element.
    #[inline]
    pub fn is_used(&self, element: usize) -> bool {
        let bytes = self.access.bytes as usize;
        let own = ((1u64 << bytes) - 1) << (element * bytes).min(32);
        self.used_bytes == u32::MAX || u64::from(self.used_bytes) & own != 0
    }

    /// Neighbouring elements of which anybody uses a byte.
    pub fn used_runs(&self) -> impl Iterator<Item = Range<usize>> {
        let count = self.destinations.len();
        let mut at = 0;
        std::iter::from_fn(move || {
            let begin = (at..count).find(|&element| self.is_used(element))?;
            at = (begin..count)
                .find(|&element| !self.is_used(element))
                .unwrap_or(count);
            Some(begin..at)
        })
    }
}

/// To memory.
pub(crate) struct Store {
    pub access: Access,
    pub ordering: Ordering,
    pub sources: Vec<Source>,
}

/// What memory becomes: of what it is and two operands.
pub(crate) type AtomicFunction = Box<dyn Fn(u64, u64, u64) -> u64 + Send + Sync>;

/// A read, a function and a write that nothing comes between.
pub(crate) struct Atomic {
    pub access: Access,
    pub ordering: Ordering,
    pub function: AtomicFunction,
    /// Whether it is a sum of f32, to which subnormal numbers in global memory are zeros of their sign (PTX ISA 9.7.13.5).
    pub is_sum_of_f32: bool,
    /// One behind the other; of several each is an operation of its own.
    pub elements: Vec<AtomicElement>,
    /// Whether it is `.cas` of all elements as one number.
    pub swaps_whole: bool,
}

impl Atomic {
    /// What a window's memory becomes.
    pub fn of(&self, window: Window, old: u64, [a, b]: [u64; 2]) -> u64 {
        if !(self.is_sum_of_f32 && window == Window::Global) {
            return (self.function)(old, a, b);
        }
        let mode = Mode {
            flush: true,
            ..Mode::plain(Float::F32)
        };
        mode.read((self.function)(mode.read(old), mode.read(a), b))
    }
}

/// An element of memory that an atomic changes.
pub(crate) struct AtomicElement {
    pub operands: [Option<Source>; 2],
    /// What memory was goes here.
    pub destination: Option<Register>,
}

/// Bytes of `discard`.
const DISCARDED: u32 = 128;

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    match words.opcode() {
        "ld" | "ldu" => load(words),
        "st" => store(words),
        "atom" | "red" => atomic(words),
        // They say how a cache is to be used, of which this machine has none.
        "prefetch" | "prefetchu" | "applypriority" => {
            words.choice(Space::from_name);
            words.skip_cache_hints();
            words.choice(|word| matches!(word, "L1" | "L2" | "tensormap").then_some(()));
            Ok(Action::Nothing)
        }
        "discard" => {
            let space = words.choice(Space::from_name).unwrap_or(Space::Generic);
            words.needed("cache", |word| (word == "L2").then_some(()))?;
            words.counted(&[2])?;
            if words.immediate(1)? != u64::from(DISCARDED) {
                return Err(words.refuse(format!("discards {DISCARDED} bytes")));
            }
            Ok(Action::Discard(Access {
                space,
                location: words.location(0)?,
                bytes: DISCARDED,
            }))
        }
        "createpolicy" => {
            words.choice(|word| matches!(word, "fractional" | "range" | "cvt").then_some(()));
            words.skip_cache_hints();
            words.has("global");
            words.has("L2");
            words.has("b64");
            Ok(Action::Compute(super::Compute {
                parts: 0,
                function: super::of_each_lane(|_| [0; 4]),
                sources: Vec::new(),
                destinations: vec![words.destination(0)?],
            }))
        }
        _ => Err(words.refuse("is not modelled")),
    }
}

/// Takes what says which memory, how it is ordered and how it is cached.
fn space(words: &mut Words<'_>) -> Result<(Space, Ordering), Refusal> {
    if words.has("mmio") {
        return Err(words.refuse("is of memory that is a device's, which is not modelled"));
    }
    // All memory of this machine is as strongly ordered as any of these asks: only the race checker looks at them.
    let opcode = words.opcode();
    let is_atomic = matches!(opcode, "atom" | "red");
    let named = words.choice(|word| {
        let named = |acquires, releases| Ordering {
            is_strong: true,
            acquires,
            releases,
            ..Ordering::default()
        };
        Some(match (word, opcode) {
            ("weak", "ld" | "st") => (false, Ordering::default()),
            ("volatile", "ld" | "st") => (false, named(false, false)),
            ("relaxed", "ld" | "st" | "atom" | "red") => (true, named(false, false)),
            ("acquire", "ld" | "atom") => (true, named(true, false)),
            ("release", "st" | "atom" | "red") => (true, named(false, true)),
            ("acq_rel", "atom") => (true, named(true, true)),
            _ => return None,
        })
    });
    let is_scoped = named.as_ref().is_some_and(|(is_scoped, _)| *is_scoped);
    let mut ordering = named.map(|(_, ordering)| ordering).unwrap_or_default();
    if is_atomic || is_scoped {
        let is_named = |word: &str| matches!(word, "cta" | "cluster" | "gpu" | "sys");
        let scope = words.choice(|word| is_named(word).then(|| ThreadScope::from_name(word))?);
        if scope.is_none() && !is_atomic {
            return Err(words.refuse("needs a scope"));
        }
        ordering.scope = scope.unwrap_or_default();
    }
    let space = words.choice(Space::from_name).unwrap_or(Space::Generic);
    let is_shared_by_threads = matches!(space, Space::Generic | Space::Global | Space::Shared);
    if (is_atomic || is_scoped) && !is_shared_by_threads {
        return Err(words.refuse("is of memory that no other thread has"));
    }
    if opcode == "st" && space == Space::Constant {
        return Err(words.refuse("writes constants"));
    }
    ordering.is_of_a_constant = words.has("nc");
    words.skip_cache_hints();
    Ok((space, ordering))
}

/// The type of an access's elements, and how many there are; 128 bits are two of 64, as their registers are.
fn elements(words: &mut Words<'_>) -> Result<(Number, usize), Refusal> {
    let count = vector(words);
    if words.has("b128") {
        let half = Integer {
            bits: 64,
            signed: false,
        };
        return Ok((Number::Integer(half), 2 * count));
    }
    Ok((words.number()?, count))
}

/// Elements of an access: `.v2`, `.v4`, `.v8`.
fn vector(words: &mut Words<'_>) -> usize {
    let vector = words.choice(|word| match word {
        "v2" => Some(2),
        "v4" => Some(4),
        "v8" => Some(8),
        _ => None,
    });
    vector.unwrap_or(1)
}

fn load(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let (space, ordering) = space(words)?;
    let hinted = words.has("L2::cache_hint");
    let (number, count) = elements(words)?;
    words.counted(if hinted { &[3] } else { &[2] })?;
    let destinations = words.destinations(0)?;
    if destinations.len() != count {
        return Err(words.refuse(format!(
            "needs {count} registers, not {}",
            destinations.len()
        )));
    }
    let extends = match number {
        Number::Integer(integer) if integer.signed => {
            let bits = words.register_bits(destinations.iter().flatten().next().copied());
            Some((
                integer,
                Integer {
                    bits: bits.clamp(integer.bits, 64),
                    signed: true,
                },
            ))
        }
        _ => None,
    };
    let access = Access {
        space,
        location: words.location(1)?,
        bytes: number.bits() / 8,
    };
    Ok(Action::Load(Load {
        access,
        ordering,
        destinations,
        extends,
        used_bytes: words.used_bytes(),
    }))
}

fn store(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let (space, ordering) = space(words)?;
    let hinted = words.has("L2::cache_hint");
    let (number, count) = elements(words)?;
    words.counted(if hinted { &[3] } else { &[2] })?;
    let format = match number {
        Number::Float(format) => format,
        _ => crate::arithmetic::Float::F64,
    };
    let sources: Vec<_> = words
        .sources(1)?
        .into_iter()
        .map(|source| super::number::in_format(source, format))
        .collect();
    if sources.len() != count {
        return Err(words.refuse(format!("needs {count} values, not {}", sources.len())));
    }
    let access = Access {
        space,
        location: words.location(0)?,
        bytes: number.bits() / 8,
    };
    Ok(Action::Store(Store {
        access,
        ordering,
        sources,
    }))
}

/// `atom` gives what memory was, `red` does not.
fn atomic(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let (space, ordering) = space(words)?;
    let operation = words.needed("operation", |word| {
        [
            "and", "or", "xor", "cas", "exch", "add", "inc", "dec", "min", "max",
        ]
        .into_iter()
        .find(|own| *own == word)
    })?;
    let is_whole = words.instruction.has("b128");
    let (number, count) = elements(words)?;
    let is_half = matches!(
        number,
        Number::Float(Float::F16 | Float::Bf16) | Number::Two(_)
    );
    // Which is what memory does: subnormal numbers stay.
    let is_extreme = matches!(operation, "min" | "max");
    if is_half && (operation == "add" || is_extreme) && !words.has("noftz") {
        return Err(words.refuse("needs .noftz"));
    }
    let gives = words.opcode() == "atom";
    if is_half && is_extreme && count == 1 {
        return Err(words.refuse("of halves is of a vector"));
    }
    if count > 1 && !is_whole {
        // As many as 16 bytes have.
        let is_of = matches!(
            number,
            Number::Float(Float::F32 | Float::F16 | Float::Bf16)
                | Number::Two(Float::F16 | Float::Bf16)
        ) && (operation == "add" || is_half && is_extreme)
            && count as u32 * number.bits() <= 128;
        if !is_of || space != Space::Global {
            return Err(words.refuse("is of a vector that no atomic changes"));
        }
    }
    let operands = if operation == "cas" { 2 } else { 1 };
    let first = usize::from(gives);
    let hinted = usize::from(words.has("L2::cache_hint"));
    words.counted(&[first + 1 + operands + hinted])?;
    let format = match number {
        Number::Float(format) => format,
        _ => Float::F64,
    };
    let values = |place: usize| -> Result<Vec<Source>, Refusal> {
        let sources = words.sources(place)?.into_iter();
        Ok(sources
            .map(|source| super::number::in_format(source, format))
            .collect())
    };
    let own = values(first + 1)?;
    let others = if operands == 2 {
        values(first + 2)?
    } else {
        Vec::new()
    };
    let destinations = if gives {
        words.destinations(0)?
    } else {
        vec![None; count]
    };
    if own.len() != count || destinations.len() != count {
        return Err(words.refuse(format!("needs {count} values and registers")));
    }
    let elements = own.into_iter().zip(destinations).enumerate();
    let elements = elements.map(|(place, (own, destination))| AtomicElement {
        operands: [Some(own), others.get(place).cloned()],
        destination,
    });
    Ok(Action::Atomic(Atomic {
        access: Access {
            space,
            location: words.location(first)?,
            bytes: number.bits() / 8,
        },
        ordering: Ordering {
            is_strong: true,
            ..ordering
        },
        function: function(words, operation, number)?,
        is_sum_of_f32: operation == "add"
            && number == Number::Float(Float::F32)
            && !words.scope.is_ring(),
        elements: elements.collect(),
        swaps_whole: is_whole && operation == "cas",
    }))
}

pub(super) fn function(
    words: &Words<'_>,
    operation: &str,
    number: Number,
) -> Result<AtomicFunction, Refusal> {
    atomic_function(operation, number, words.scope.is_ring())
        .ok_or_else(|| words.refuse("is an operation that is not modelled for its type"))
}

/// What memory becomes of what it is and two operands, of floats in the ring mode too.
pub(super) fn atomic_function(
    operation: &str,
    number: Number,
    is_ring: bool,
) -> Option<AtomicFunction> {
    if is_ring && let Some(function) = super::ring::atomic(operation, number) {
        return Some(function);
    }
    Some(match (operation, number) {
        ("exch", _) => Box::new(|_, a, _| a),
        ("cas", _) => {
            let mask = u64::MAX >> (64 - number.bits());
            Box::new(
                move |old, expected, new| {
                    if old == expected & mask { new } else { old }
                },
            )
        }
        ("and", Number::Integer(_)) => Box::new(|old, a, _| old & a),
        ("or", Number::Integer(_)) => Box::new(|old, a, _| old | a),
        ("xor", Number::Integer(_)) => Box::new(|old, a, _| old ^ a),
        ("add", Number::Integer(integer)) => {
            Box::new(move |old, a, _| integer.wrap(integer.value(old) + integer.value(a)))
        }
        ("min", Number::Integer(integer)) => {
            Box::new(move |old, a, _| integer.wrap(integer.value(old).min(integer.value(a))))
        }
        ("max", Number::Integer(integer)) => {
            Box::new(move |old, a, _| integer.wrap(integer.value(old).max(integer.value(a))))
        }
        ("inc", Number::Integer(_)) => Box::new(|old, a, _| if old >= a { 0 } else { old + 1 }),
        ("dec", Number::Integer(_)) => {
            Box::new(|old, a, _| if old == 0 || old > a { a } else { old - 1 })
        }
        ("add", Number::Float(format)) => {
            let mode = Mode::plain(format);
            Box::new(move |old, a, _| mode.add(old, a))
        }
        ("add", Number::Two(format)) => {
            let mode = Mode::plain(format);
            let add = super::number::on_both(format.bits(), move |[old, a]| mode.add(old, a));
            Box::new(move |old, a, _| add([old, a]))
        }
        ("min" | "max", Number::Float(format) | Number::Two(format)) => {
            let mode = Mode::plain(format);
            let how = Extreme {
                smaller: operation == "min",
                ..Extreme::default()
            };
            let one = move |[old, a]: [u64; 2]| mode.extreme(old, a, how);
            if let Number::Two(_) = number {
                let both = super::number::on_both(format.bits(), one);
                Box::new(move |old, a, _| both([old, a]))
            } else {
                Box::new(move |old, a, _| one([old, a]))
            }
        }
        _ => return None,
    })
}
