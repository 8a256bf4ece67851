//! Copies that are done beside the warp: `cp.async`, `cp.async.bulk`, `cp.async.bulk.tensor` (PTX ISA 9.7.9.25).

use super::memory::{AtomicFunction, Space, atomic_function, function};
use super::words::Words;
use super::{Access, Action, Location, Refusal, Source, mbarrier};
use crate::tensor_map::TensorElement;
use std::sync::Arc;

/// Copies that are done beside the warp, and waits for them.
pub(crate) enum Copy {
    /// `cp.async`: 4, 8 or 16 bytes of each lane, from global to shared memory.
    Element(Element),
    /// `cp.async.bulk`: so many bytes.
    Bulk(Bulk),
    /// `cp.async.bulk.tensor`: a box of a tensor.
    Tensor(Tensor),
    /// `.prefetch`: into a cache, of which this machine has none; only the addresses are looked at.
    Prefetch { from: Access, bytes: Source },
    /// `.commit_group`: what a lane began since the last one becomes a group.
    Commit(Family),
    /// `.wait_group`, `.wait_all`: until no more than so many of the last groups are not done.
    Wait {
        family: Family,
        /// All, those of no group among them, without a number.
        left: Option<u64>,
        /// `.read`: until their sources are read.
        reading: bool,
    },
    /// `cp.async.mbarrier.arrive`: when all copies are done that a lane began.
    Arrive {
        object: Access,
        /// Whether the phase waits for this arrival beside its own: not with `.noinc`.
        increments: bool,
    },
}

/// The kinds of groups that a thread's work comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `cp.async.commit_group`
    Copies,
    /// `cp.async.bulk.commit_group`
    Bulk,
    /// `wgmma.commit_group`
    Multiply,
}

impl Family {
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// `cp.async`
pub(crate) struct Element {
    pub to: Access,
    pub from: Access,
    pub bytes: u32,
    /// Bytes that are copied, zeros behind them.
    pub kept: Option<Source>,
    /// Whether nothing is copied, and all is zeros.
    pub ignored: Option<Source>,
}

/// `cp.async.bulk`, `cp.reduce.async.bulk`
pub(crate) struct Bulk {
    pub to: Access,
    pub from: Access,
    pub bytes: Source,
    pub target: Target,
    pub reduction: Option<Reduction>,
}

/// `cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor`, `cp.async.bulk.prefetch.tensor`
pub(crate) struct Tensor {
    /// The address of the tensor map.
    pub map: Location,
    /// The innermost first.
    pub coordinates: Vec<Source>,
    /// The box's memory; nothing of a prefetch.
    pub shared: Option<Access>,
    /// Whether it goes to shared memory.
    pub loads: bool,
    pub target: Target,
    /// The operation, which is of the tensor map's type.
    pub reduction: Option<&'static str>,
}

/// How a bulk copy says that it is done.
pub(crate) enum Target {
    /// By bytes at an mbarrier; with a mask of CTAs, in each of them, as the destination is.
    Barrier {
        object: Access,
        mask: Option<Source>,
        /// `.cta_group::2`: the mbarrier may be that of the other CTA of the destination's pair.
        is_of_pair: bool,
    },
    Group,
}

/// What becomes of what was there.
#[derive(Clone)]
pub(crate) struct Reduction {
    pub function: Arc<AtomicFunction>,
    /// Of a number.
    pub bytes: u32,
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let reduces = words.has("reduce");
    if !words.has("async") {
        return Err(words.refuse("is not modelled"));
    }
    let is_bulk = words.has("bulk");
    let copy = if words.has("commit_group") {
        words.counted(&[0])?;
        Copy::Commit(if is_bulk {
            Family::Bulk
        } else {
            Family::Copies
        })
    } else if words.has("wait_group") {
        words.counted(&[1])?;
        Copy::Wait {
            family: if is_bulk {
                Family::Bulk
            } else {
                Family::Copies
            },
            left: Some(words.immediate(0)?),
            reading: is_bulk && words.has("read"),
        }
    } else if words.has("wait_all") {
        words.counted(&[0])?;
        Copy::Wait {
            family: Family::Copies,
            left: None,
            reading: false,
        }
    } else if is_bulk {
        bulk(words, reduces)?
    } else if words.has("mbarrier") {
        arrive(words)?
    } else {
        element(words)?
    };
    Ok(Action::Copy(Box::new(copy)))
}

/// `cp.async.mbarrier.arrive.noinc.shared.b64 [object];`
fn arrive(words: &mut Words<'_>) -> Result<Copy, Refusal> {
    if !words.has("arrive") || !words.has("b64") {
        return Err(words.refuse("is not modelled"));
    }
    let increments = !words.has("noinc");
    words.counted(&[1])?;
    let object = Access {
        space: mbarrier::space(words),
        location: words.location(0)?,
        bytes: 8,
    };
    Ok(Copy::Arrive { object, increments })
}

/// `cp.async.cg.shared.global [to], [from], 16, kept;`
fn element(words: &mut Words<'_>) -> Result<Copy, Refusal> {
    let whole_lines = words.has("cg");
    words.skip_cache_hints();
    let hinted = usize::from(words.has("L2::cache_hint"));
    if words.choice(Space::from_name) != Some(Space::Shared)
        || words.choice(Space::from_name) != Some(Space::Global)
    {
        return Err(words.refuse("is from .global to .shared"));
    }
    let operands = words.counted(&[3 + hinted, 4 + hinted])? - hinted;
    let bytes = words.immediate(2)? as u32;
    let is_size = if whole_lines {
        bytes == 16
    } else {
        matches!(bytes, 4 | 8 | 16)
    };
    if !is_size {
        return Err(words.refuse(format!("does not copy {bytes} bytes")));
    }
    let access = |place, space| {
        Ok(Access {
            space,
            location: words.location(place)?,
            bytes,
        })
    };
    let last = if operands == 4 {
        Some(words.source(3)?)
    } else {
        None
    };
    let is_predicate = match &last {
        Some(Source::Register(register)) => words.register_bits(Some(*register)) == 1,
        Some(Source::Not(_)) => true,
        _ => false,
    };
    let (kept, ignored) = if is_predicate {
        (None, last)
    } else {
        (last, None)
    };
    Ok(Copy::Element(Element {
        to: access(0, Space::Shared)?,
        from: access(1, Space::Global)?,
        bytes,
        kept,
        ignored,
    }))
}

fn bulk(words: &mut Words<'_>, reduces: bool) -> Result<Copy, Refusal> {
    let prefetches = words.has("prefetch");
    let rank = if words.has("tensor") {
        Some(
            words.needed("number of dimensions", |word| {
                let ranks = ["1d", "2d", "3d", "4d", "5d"];
                ranks.iter().position(|own| *own == word)
            })? + 1,
        )
    } else {
        None
    };
    if prefetches {
        words.has("L2");
    }
    let to_barrier = words.has("mbarrier::complete_tx::bytes");
    let to_group = words.has("bulk_group");
    let multicast = words.has("multicast::cluster");
    let hinted = usize::from(words.has("L2::cache_hint"));
    if let Some(rank) = rank {
        let goes = if prefetches {
            Goes::Nowhere
        } else if to_barrier {
            Goes::In { multicast }
        } else {
            Goes::Out { reduces }
        };
        return tensor(words, rank, goes, hinted);
    }
    if prefetches {
        words.has("global");
        words.counted(&[2 + hinted])?;
        return Ok(Copy::Prefetch {
            from: bytes_at(words, 0, Space::Global)?,
            bytes: words.source(1)?,
        });
    }
    let to = words.needed("destination", Space::from_name)?;
    let from = words.needed("source", Space::from_name)?;
    let expected = match (to, from) {
        (Space::Shared, Space::Global) => to_barrier && !reduces,
        (Space::Shared, Space::Shared) => to_barrier && !multicast,
        (Space::Global, Space::Shared) => to_group,
        _ => false,
    };
    if !expected {
        return Err(words.refuse("is between memories, or is done in a way, that is not modelled"));
    }
    let reduction = if reduces {
        Some(reduction(words)?)
    } else {
        None
    };
    let operands = 3 + usize::from(to_barrier) + usize::from(multicast) + hinted;
    words.counted(&[operands])?;
    let target = if to_barrier {
        target(words, 3, multicast.then_some(4), false)?
    } else {
        Target::Group
    };
    Ok(Copy::Bulk(Bulk {
        to: bytes_at(words, 0, to)?,
        from: bytes_at(words, 1, from)?,
        bytes: words.source(2)?,
        target,
        reduction,
    }))
}

/// An address of bytes that are aligned as every bulk copy's.
fn bytes_at(words: &Words<'_>, place: usize, space: Space) -> Result<Access, Refusal> {
    Ok(Access {
        space,
        location: words.location(place)?,
        bytes: 16,
    })
}

fn target(
    words: &Words<'_>,
    place: usize,
    mask: Option<usize>,
    is_of_pair: bool,
) -> Result<Target, Refusal> {
    Ok(Target::Barrier {
        object: Access {
            space: Space::Shared,
            location: words.location(place)?,
            bytes: 8,
        },
        mask: match mask {
            Some(place) => Some(words.source(place)?),
            None => None,
        },
        is_of_pair,
    })
}

/// `.add.f32` and the like.
fn reduction(words: &mut Words<'_>) -> Result<Reduction, Refusal> {
    words.has("noftz");
    let operation = operation(words)?;
    let number = words.number()?;
    Ok(Reduction {
        function: Arc::new(function(words, operation, number)?),
        bytes: number.bits() / 8,
    })
}

fn operation(words: &mut Words<'_>) -> Result<&'static str, Refusal> {
    words.needed("operation", |word| {
        ["add", "min", "max", "inc", "dec", "and", "or", "xor"]
            .into_iter()
            .find(|own| *own == word)
    })
}

/// Where a box goes.
#[derive(Clone, Copy)]
enum Goes {
    /// To shared memory: of several CTAs, perhaps.
    In { multicast: bool },
    /// To global memory.
    Out { reduces: bool },
    /// A prefetch.
    Nowhere,
}

/// A box of a tensor. A load names shared memory first, a store last.
fn tensor(words: &mut Words<'_>, rank: usize, goes: Goes, hinted: usize) -> Result<Copy, Refusal> {
    words.has("tile");
    let is_of_pair = words.has("cta_group::2");
    words.has("cta_group::1");
    let spaces = match goes {
        Goes::In { .. } => vec![Space::Shared, Space::Global],
        Goes::Out { .. } => vec![Space::Global, Space::Shared],
        Goes::Nowhere => vec![Space::Global],
    };
    for space in spaces {
        if words.choice(Space::from_name) != Some(space) {
            return Err(words.refuse("is between memories that it is not modelled for"));
        }
    }
    let reduction = match goes {
        Goes::Out { reduces: true } => Some(operation(words)?),
        _ => None,
    };
    let shared = |place: usize| -> Result<Option<Access>, Refusal> {
        Ok(Some(Access {
            space: Space::Shared,
            location: words.location(place)?,
            bytes: 128,
        }))
    };
    let (operands, map, shared, target) = match goes {
        Goes::In { multicast } => {
            let target = target(words, 2, multicast.then_some(3), is_of_pair)?;
            (3 + usize::from(multicast), 1, shared(0)?, target)
        }
        Goes::Out { .. } => (2, 0, shared(1)?, Target::Group),
        Goes::Nowhere => (1, 0, None, Target::Group),
    };
    words.counted(&[operands + hinted])?;
    let (map, coordinates) = words.tensor(map)?;
    if coordinates.len() != rank {
        return Err(words.refuse(format!(
            "needs {rank} coordinates, not {}",
            coordinates.len()
        )));
    }
    Ok(Copy::Tensor(Tensor {
        map,
        coordinates,
        shared,
        loads: matches!(goes, Goes::In { .. }),
        target,
        reduction,
    }))
}

/// What an operation makes of memory of a tensor's type.
pub(crate) fn tensor_reduction(
    operation: &str,
    element: TensorElement,
    is_ring: bool,
) -> Option<AtomicFunction> {
    let number = match element {
        TensorElement::U8 | TensorElement::U16 => return None,
        TensorElement::U32 => "u32",
        TensorElement::S32 => "s32",
        TensorElement::U64 => "u64",
        TensorElement::S64 => "s64",
        TensorElement::F16 => "f16",
        TensorElement::Bf16 => "bf16",
        TensorElement::F32 => "f32",
        TensorElement::F64 => "f64",
        TensorElement::U4Align8 | TensorElement::U4Align16 | TensorElement::U6Align16 => {
            return None;
        }
    };
    atomic_function(
        operation,
        super::number::Number::from_name(number)?,
        is_ring,
    )
}
