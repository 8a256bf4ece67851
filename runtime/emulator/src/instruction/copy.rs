//! Copies that are done beside the warp: `cp.async`, `cp.async.bulk` (PTX ISA 9.7.9.25).

use super::memory::{AtomicFunction, Space, function};
use super::words::Words;
use super::{Access, Action, Refusal, Source, mbarrier};
use std::sync::Arc;

/// Copies that are done beside the warp, and waits for them.
pub(crate) enum Copy {
    /// `cp.async`: 4, 8 or 16 bytes of each lane, from global to shared memory.
    Element(Element),
    /// `cp.async.bulk`: so many bytes.
    Bulk(Bulk),
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
}

impl Family {
    /// How many there are.
    pub const COUNT: usize = 2;
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

/// How a bulk copy says that it is done.
pub(crate) enum Target {
    /// By bytes at an mbarrier; with a mask of CTAs, in each of them, as the destination is.
    Barrier {
        object: Access,
        mask: Option<Source>,
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
    if words.has("tensor") {
        return Err(words.refuse("is not modelled"));
    }
    if prefetches {
        words.has("L2");
    }
    let to_barrier = words.has("mbarrier::complete_tx::bytes");
    let to_group = words.has("bulk_group");
    let multicast = words.has("multicast::cluster");
    let hinted = usize::from(words.has("L2::cache_hint"));
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
        target(words, 3, multicast.then_some(4))?
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

fn target(words: &Words<'_>, place: usize, mask: Option<usize>) -> Result<Target, Refusal> {
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
    })
}

/// `.add.f32` and the like.
fn reduction(words: &mut Words<'_>) -> Result<Reduction, Refusal> {
    words.has("noftz");
    let operation = words.needed("operation", |word| {
        ["add", "min", "max", "inc", "dec", "and", "or", "xor"]
            .into_iter()
            .find(|own| *own == word)
    })?;
    let number = words.number()?;
    Ok(Reduction {
        function: Arc::new(function(words, operation, number)?),
        bytes: number.bits() / 8,
    })
}
