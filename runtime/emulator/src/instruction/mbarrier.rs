//! Barrier objects in shared memory: `mbarrier` (PTX ISA 9.7.13.15).

use super::memory::{Space, ThreadScope};
use super::words::Words;
use super::{Access, Action, Refusal, Source};
use crate::program::Register;

/// What is done with an object of 64 bits that counts arrivals and bytes.
pub(crate) enum Mbarrier {
    /// `.init`: so many arrivals end each phase.
    Initialise { object: Access, count: Source },
    /// `.inval`: the memory may be used for anything again.
    Invalidate { object: Access },
    /// `.expect_tx`: more bytes must come in this phase.
    Expect { object: Access, bytes: Source },
    /// `.complete_tx`: bytes have come.
    Complete { object: Access, bytes: Source },
    /// `.arrive`, `.arrive_drop`
    Arrive(Arrive),
    /// `.test_wait`, `.try_wait`: whether a phase has ended.
    Test(Test),
    /// `.pending_count`: how many arrivals a state says were missing.
    Pending {
        state: Source,
        destination: Option<Register>,
    },
}

/// `mbarrier.arrive`
pub(crate) struct Arrive {
    pub object: Access,
    /// How often; once if nobody says.
    pub count: Option<Source>,
    /// `.expect_tx`: that so many bytes more must come first.
    pub bytes: Option<Source>,
    /// `.arrive_drop`: no further phase waits for this arrival.
    pub drops: bool,
    /// Whether it may end the phase: not with `.noComplete`.
    pub completes: bool,
    /// Whether who waits sees what was done before: not with `.relaxed`.
    pub releases: bool,
    /// To whom it says so.
    pub scope: ThreadScope,
    /// The phase that was arrived at.
    pub destination: Option<Register>,
}

/// `mbarrier.test_wait`, `mbarrier.try_wait`
pub(crate) struct Test {
    pub object: Access,
    /// The state that an arrival gave, or a phase's parity.
    pub phase: Source,
    pub is_parity: bool,
    /// Whether what was done before arrivals is seen: not with `.relaxed`.
    pub acquires: bool,
    /// Of whose arrivals.
    pub scope: ThreadScope,
    pub destination: Option<Register>,
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let operation = words.needed("operation", |word| {
        [
            "init",
            "inval",
            "expect_tx",
            "complete_tx",
            "arrive",
            "arrive_drop",
            "test_wait",
            "try_wait",
            "pending_count",
        ]
        .into_iter()
        .find(|own| *own == word)
    })?;
    let relaxed = words.has("relaxed");
    words.choice(|word| matches!(word, "acquire" | "release").then_some(()));
    // Where no scope is written the ISA's is the CTA. But the common way to arrive at another CTA's object names none, nor
    // does who waits for that: such an operation is held to be as wide as the objects that it can reach.
    let scope = words
        .choice(|word| matches!(word, "cta" | "cluster").then(|| ThreadScope::from_name(word))?)
        .unwrap_or(ThreadScope::Cluster);
    if !words.has("b64") {
        return Err(words.refuse("needs the type .b64"));
    }
    let space = match operation {
        "pending_count" => Space::Generic,
        _ => space(words),
    };
    let object = |place: usize| {
        Ok(Access {
            space,
            location: words.location(place)?,
            bytes: 8,
        })
    };
    let mbarrier = match operation {
        "init" => {
            words.counted(&[2])?;
            Mbarrier::Initialise {
                object: object(0)?,
                count: words.source(1)?,
            }
        }
        "inval" => {
            words.counted(&[1])?;
            Mbarrier::Invalidate { object: object(0)? }
        }
        "expect_tx" => {
            words.counted(&[2])?;
            Mbarrier::Expect {
                object: object(0)?,
                bytes: words.source(1)?,
            }
        }
        "complete_tx" => {
            words.counted(&[2])?;
            Mbarrier::Complete {
                object: object(0)?,
                bytes: words.source(1)?,
            }
        }
        "pending_count" => {
            words.counted(&[2])?;
            Mbarrier::Pending {
                state: words.source(1)?,
                destination: words.destination(0)?,
            }
        }
        "test_wait" | "try_wait" => {
            let object = object(1)?;
            let is_parity = words.has("parity");
            let suspends = operation == "try_wait";
            // A fourth operand says how long lanes may sleep, which is theirs to say and nobody's to rely on.
            words.counted(if suspends { &[3, 4] } else { &[3] })?;
            Mbarrier::Test(Test {
                object,
                phase: words.source(2)?,
                is_parity,
                acquires: !relaxed,
                scope,
                destination: words.destination(0)?,
            })
        }
        _ => {
            let object = object(1)?;
            Mbarrier::Arrive(arrive(words, operation, object, (relaxed, scope))?)
        }
    };
    Ok(Action::Mbarrier(Box::new(mbarrier)))
}

fn arrive(
    words: &mut Words<'_>,
    operation: &str,
    object: Access,
    (relaxed, scope): (bool, ThreadScope),
) -> Result<Arrive, Refusal> {
    let expects = words.has("expect_tx");
    let completes = !words.has("noComplete");
    let operands = words.counted(if expects || !completes { &[3] } else { &[2, 3] })?;
    let last = if operands == 3 {
        Some(words.source(2)?)
    } else {
        None
    };
    let (count, bytes) = if expects { (None, last) } else { (last, None) };
    Ok(Arrive {
        object,
        count,
        bytes,
        drops: operation == "arrive_drop",
        completes,
        releases: !relaxed,
        scope,
        destination: words.destination(0)?,
    })
}

/// An object is in shared memory, of its own CTA or, by `.shared::cluster`, of another.
pub(super) fn space(words: &mut Words<'_>) -> Space {
    let named = words.choice(|word| {
        matches!(word, "shared" | "shared::cta" | "shared::cluster").then_some(Space::Shared)
    });
    named.unwrap_or(Space::Generic)
}
