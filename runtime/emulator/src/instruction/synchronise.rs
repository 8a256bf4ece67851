//! Barriers and fences (PTX ISA 9.7.13.1 to 9.7.13.4).

use super::number::in_format;
use super::words::Words;
use super::{Access, Action, Refusal, Source, Space, ThreadScope, tensormap};
use crate::arithmetic::Float;
use crate::machine::FencedMemory;
use crate::program::Register;

/// Barriers and fences.
pub(crate) enum Synchronise {
    /// `bar.sync`, `barrier.sync`, `.red`: waits until so many threads have come; all of the CTA without a number.
    Barrier {
        barrier: Source,
        threads: Option<Source>,
        /// What is computed of a predicate of all of them.
        reduction: Option<BarrierReduction>,
        /// Whether all lanes of a warp must come at once.
        aligned: bool,
    },
    /// `bar.arrive`: is counted, and does not wait.
    Arrive {
        barrier: Source,
        threads: Source,
        aligned: bool,
    },
    /// `bar.warp.sync`: the lanes of a mask.
    Warp { mask: Source },
    /// `barrier.cluster.arrive`, and whether it tells what was done before: not with `.relaxed`.
    ClusterArrive { releases: bool },
    /// `barrier.cluster.wait`
    ClusterWait,
    /// `membar`, `fence`.
    Fence(Fence),
}

/// What a fence orders.
pub(crate) enum Fence {
    /// Accesses of threads, as those of a scope see them: whether earlier ones are told to who reads later writes, and whether
    /// what earlier reads were told is known to later ones.
    Threads {
        releases: bool,
        acquires: bool,
        scope: ThreadScope,
    },
    /// Accesses of some memories through the generic and the asynchronous proxy.
    Proxies(&'static [FencedMemory]),
    /// Accesses through the generic proxy and copies by tensor maps: what was written is released, or acquired for the map at
    /// an address.
    Maps {
        acquired: Option<Access>,
        scope: ThreadScope,
    },
    /// Names of memory, of which this machine keeps no other copy.
    Nothing,
}

/// `bar.red`
pub(crate) struct BarrierReduction {
    pub destination: Option<Register>,
    pub predicate: Source,
    pub function: Reduction,
}

/// What of the threads' predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Count,
    All,
    Any,
}

impl Reduction {
    /// The result of the threads whose predicate is true, and of all.
    pub fn of(self, (holds, all): (u32, u32)) -> u64 {
        match self {
            Self::Count => u64::from(holds),
            Self::All => u64::from(holds == all),
            Self::Any => u64::from(holds != 0),
        }
    }
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let action = match words.opcode() {
        "membar" | "fence" => fence(words)?,
        "bar" if words.has("warp") => {
            words.has("sync");
            words.counted(&[1])?;
            Synchronise::Warp {
                mask: words.source(0)?,
            }
        }
        "barrier" if words.has("cluster") => cluster(words)?,
        opcode => barrier(words, opcode == "bar")?,
    };
    Ok(Action::Synchronise(action))
}

/// Orders what a thread does. This machine does everything in order but what is asynchronous; the race checker listens.
fn fence(words: &mut Words<'_>) -> Result<Synchronise, Refusal> {
    let mut fence = if words.has("proxy") {
        words.needed("proxy", |word| {
            Some(match word {
                "alias" => Fence::Nothing,
                "async" => Fence::Proxies(&[FencedMemory::Shared, FencedMemory::Global]),
                "async::generic" => Fence::Proxies(&[FencedMemory::Shared]),
                "tensormap::generic" => Fence::Maps {
                    acquired: None,
                    scope: ThreadScope::Device,
                },
                _ => return None,
            })
        })?
    } else {
        // That of initialisations alone tells what any fence's does.
        words.has("mbarrier_init");
        let scope = words.choice(ThreadScope::from_name).unwrap_or_default();
        let semantics = words.choice(|word| {
            Some(match word {
                "sc" | "acq_rel" => (true, true),
                "acquire" => (false, true),
                "release" => (true, false),
                _ => return None,
            })
        });
        let (releases, acquires) = semantics.unwrap_or((true, true));
        Fence::Threads {
            releases,
            acquires,
            scope,
        }
    };
    if let Fence::Maps { .. } = fence {
        return fence_of_maps(words);
    }
    if !matches!(fence, Fence::Threads { .. }) {
        words.choice(|word| matches!(word, "acquire" | "release").then_some(()));
        words.choice(ThreadScope::from_name);
    }
    if let Fence::Proxies(memories) = &mut fence {
        let memory = words.choice(|word| match word {
            "global" => Some(FencedMemory::Global),
            "shared::cta" | "shared::cluster" => Some(FencedMemory::Shared),
            _ => None,
        });
        match memory {
            Some(FencedMemory::Global) => *memories = &[FencedMemory::Global],
            Some(FencedMemory::Shared) => *memories = &[FencedMemory::Shared],
            None => {}
        }
    }
    words.choice(|word| word.starts_with("sync_restrict::").then_some(()));
    words.counted(&[0])?;
    Ok(Synchronise::Fence(fence))
}

/// `fence.proxy.tensormap::generic`, of which an acquire names the map.
fn fence_of_maps(words: &mut Words<'_>) -> Result<Synchronise, Refusal> {
    let acquires = words.has("acquire");
    words.has("release");
    let scope = words.needed("scope", ThreadScope::from_name)?;
    words.counted(if acquires { &[2] } else { &[0] })?;
    let acquired = if acquires {
        Some(tensormap::map(words, 0, Space::Generic, 1)?)
    } else {
        None
    };
    Ok(Synchronise::Fence(Fence::Maps { acquired, scope }))
}

fn cluster(words: &mut Words<'_>) -> Result<Synchronise, Refusal> {
    words.has("aligned");
    let releases = !words.has("relaxed");
    words.choice(|word| matches!(word, "release" | "acquire").then_some(()));
    if words.has("arrive") {
        return Ok(Synchronise::ClusterArrive { releases });
    }
    words.needed("operation", |word| {
        (word == "wait").then_some(Synchronise::ClusterWait)
    })
}

/// `bar` is `barrier` with `.aligned`.
fn barrier(words: &mut Words<'_>, aligned: bool) -> Result<Synchronise, Refusal> {
    words.has("cta");
    let aligned = words.has("aligned") || aligned;
    if words.has("arrive") {
        words.counted(&[2])?;
        return Ok(Synchronise::Arrive {
            barrier: words.source(0)?,
            threads: words.source(1)?,
            aligned,
        });
    }
    if words.has("sync") {
        let count = words.counted(&[1, 2])?;
        let threads = if count == 2 {
            Some(words.source(1)?)
        } else {
            None
        };
        return Ok(Synchronise::Barrier {
            barrier: words.source(0)?,
            threads,
            reduction: None,
            aligned,
        });
    }
    words.needed("operation", |word| (word == "red").then_some(()))?;
    let function = words.needed("reduction", |word| {
        Some(match word {
            "popc" => Reduction::Count,
            "and" => Reduction::All,
            "or" => Reduction::Any,
            _ => return None,
        })
    })?;
    words.needed("type", |word| matches!(word, "u32" | "pred").then_some(()))?;
    let count = words.counted(&[3, 4])?;
    Ok(Synchronise::Barrier {
        barrier: words.source(1)?,
        threads: if count == 4 {
            Some(words.source(2)?)
        } else {
            None
        },
        reduction: Some(BarrierReduction {
            destination: words.destination(0)?,
            predicate: in_format(words.source(count - 1)?, Float::F64),
            function,
        }),
        aligned,
    })
}
