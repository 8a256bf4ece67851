//! Tensor memory and the tensor cores that compute in it: `tcgen05` (PTX ISA 9.7.16).

use super::words::Words;
use super::{Action, Location, Refusal, Source};
use crate::program::Register;
use crate::ptx::Operand;
use crate::tcgen05::copy::CopyShape;
use crate::tcgen05::fragment::{Fragment, Shape};
use crate::tcgen05::instruction_descriptor::{Form, Kind};

/// An instruction of `tcgen05`.
pub(crate) enum Tcgen05 {
    /// `.alloc`: columns, whose address goes to shared memory.
    Allocate {
        pair: bool,
        to: Location,
        generic: bool,
        columns: Source,
    },
    /// `.dealloc`
    Deallocate {
        pair: bool,
        address: Source,
        columns: Source,
    },
    /// `.relinquish_alloc_permit`
    Relinquish { pair: bool },
    /// `.ld`: into registers, which are there after a wait.
    Load {
        fragment: Fragment,
        address: Location,
        destinations: Vec<Option<Register>>,
    },
    /// `.st`
    Store {
        fragment: Fragment,
        address: Location,
        sources: Vec<Source>,
    },
    /// `.wait::ld`
    WaitForLoads,
    /// `.wait::st`
    WaitForStores,
    /// `.fence::before_thread_sync`, `.fence::after_thread_sync`: what a thread does is in order here, and what is not is
    /// known by mbarriers.
    Fence,
    /// `.cp`: from shared memory.
    Copy {
        pair: bool,
        shape: CopyShape,
        /// Bits of the elements that become bytes.
        decompresses: Option<usize>,
        address: Location,
        descriptor: Source,
    },
    /// `.mma`
    Multiply(Box<MultiplyTensor>),
    /// `.commit`: an arrival at an mbarrier when all that the thread began is done.
    Commit {
        pair: bool,
        object: Location,
        generic: bool,
        /// The CTAs in whose memory the same place is arrived at.
        mask: Option<Source>,
    },
}

/// `tcgen05.mma`
pub(crate) struct MultiplyTensor {
    pub form: Form,
    pub d: Location,
    pub a: OperandA,
    pub b: Source,
    pub descriptor: Source,
    /// Where the scales of A and of B are.
    pub scales: Option<(Location, Location)>,
    /// Lanes of D that are not written, 32 in each.
    pub disabled: Vec<Source>,
    /// Whether D is added to.
    pub adds: Source,
    /// What D is divided by before, as an exponent.
    pub shift: u32,
}

/// Where A is.
pub(crate) enum OperandA {
    /// By a descriptor.
    Shared(Source),
    Tensor(Location),
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let operation = words.needed("operation", |word| {
        [
            "alloc",
            "dealloc",
            "relinquish_alloc_permit",
            "ld",
            "st",
            "wait::ld",
            "wait::st",
            "fence::before_thread_sync",
            "fence::after_thread_sync",
            "cp",
            "mma",
            "commit",
        ]
        .into_iter()
        .find(|own| *own == word)
    })?;
    let instruction = match operation {
        "alloc" | "dealloc" | "relinquish_alloc_permit" => allocation(words, operation)?,
        "ld" | "st" => access(words, operation == "ld")?,
        "wait::ld" | "wait::st" => {
            aligned(words)?;
            if operation == "wait::ld" {
                Tcgen05::WaitForLoads
            } else {
                Tcgen05::WaitForStores
            }
        }
        "cp" => copy(words)?,
        "mma" => multiply(words)?,
        "commit" => commit(words)?,
        _ => Tcgen05::Fence,
    };
    Ok(Action::Tcgen05(Box::new(instruction)))
}

fn aligned(words: &mut Words<'_>) -> Result<(), Refusal> {
    if words.has("sync") && words.has("aligned") {
        return Ok(());
    }
    Err(words.refuse("needs .sync.aligned"))
}

/// Whether an instruction is of a pair of CTAs.
fn pair(words: &mut Words<'_>) -> Result<bool, Refusal> {
    words.needed("CTA group", |word| match word {
        "cta_group::1" => Some(false),
        "cta_group::2" => Some(true),
        _ => None,
    })
}

fn allocation(words: &mut Words<'_>, operation: &str) -> Result<Tcgen05, Refusal> {
    let pair = pair(words)?;
    aligned(words)?;
    if operation == "relinquish_alloc_permit" {
        words.counted(&[0])?;
        return Ok(Tcgen05::Relinquish { pair });
    }
    words.needed("type", |word| (word == "b32").then_some(()))?;
    words.counted(&[2])?;
    let columns = words.source(1)?;
    if operation == "dealloc" {
        return Ok(Tcgen05::Deallocate {
            pair,
            address: words.source(0)?,
            columns,
        });
    }
    Ok(Tcgen05::Allocate {
        pair,
        generic: !words.has("shared::cta"),
        to: words.location(0)?,
        columns,
    })
}

fn access(words: &mut Words<'_>, loads: bool) -> Result<Tcgen05, Refusal> {
    aligned(words)?;
    let shape = words.needed("shape", |word| match word {
        "32x32b" => Some(Shape::Lanes32),
        "16x64b" => Some(Shape::Bits64),
        "16x128b" => Some(Shape::Bits128),
        "16x256b" => Some(Shape::Bits256),
        "16x32bx2" => Some(Shape::Split(0)),
        _ => None,
    })?;
    let repetition = words.needed("repetition", |word| {
        let number: u32 = word.strip_prefix('x')?.parse().ok()?;
        (number.is_power_of_two() && number <= 128).then_some(number)
    })?;
    let halves = words.has(if loads { "pack::16b" } else { "unpack::16b" });
    words.needed("type", |word| (word == "b32").then_some(()))?;
    let is_split = matches!(shape, Shape::Split(_));
    words.counted(if is_split { &[3] } else { &[2] })?;
    // [address], distance and registers stand in another order in a load and in a store.
    let (registers, address, distance) = match (loads, is_split) {
        (true, _) => (0, 1, 2),
        (false, true) => (2, 0, 1),
        (false, false) => (1, 0, 1),
    };
    let shape = if is_split {
        Shape::Split(words.immediate(distance)? as u32)
    } else {
        shape
    };
    let fragment = Fragment {
        shape,
        repetition,
        halves,
    };
    let address = words.location(address)?;
    let Some(expected) = fragment.registers() else {
        return Err(words.refuse("has more than 128 registers of a lane"));
    };
    let found;
    let tensor = if loads {
        let destinations = words.destinations(registers)?;
        found = destinations.len();
        Tcgen05::Load {
            fragment,
            address,
            destinations,
        }
    } else {
        let sources = words.sources(registers)?;
        found = sources.len();
        Tcgen05::Store {
            fragment,
            address,
            sources,
        }
    };
    if found != expected as usize {
        return Err(words.refuse(format!("needs {expected} registers, not {found}")));
    }
    Ok(tensor)
}

fn copy(words: &mut Words<'_>) -> Result<Tcgen05, Refusal> {
    let pair = pair(words)?;
    let rows = words.needed("shape", |word| {
        ["128x256b", "4x256b", "128x128b", "64x128b", "32x128b"]
            .into_iter()
            .find(|own| *own == word)
    })?;
    let multicast = words.choice(|word| word.starts_with("warpx").then(|| word.to_owned()));
    let shape = match (rows, multicast.as_deref()) {
        ("128x256b", None) => CopyShape::Rows128By256,
        ("4x256b", None) => CopyShape::Rows4By256,
        ("128x128b", None) => CopyShape::Rows128By128,
        ("64x128b", Some("warpx2::02_13")) => CopyShape::Rows64Alternate,
        ("64x128b", Some("warpx2::01_23")) => CopyShape::Rows64Paired,
        ("32x128b", Some("warpx4")) => CopyShape::Rows32,
        _ => return Err(words.refuse("has a shape and a multicast that do not go together")),
    };
    let from = words.choice(|word| match word {
        "b6x16_p32" => Some(6),
        "b4x16_p64" => Some(4),
        _ => None,
    });
    if words.has("b8x16") != from.is_some() {
        return Err(words.refuse("needs both formats or none"));
    }
    words.counted(&[2])?;
    Ok(Tcgen05::Copy {
        pair,
        shape,
        decompresses: from,
        address: words.location(0)?,
        descriptor: words.source(1)?,
    })
}

fn multiply(words: &mut Words<'_>) -> Result<Tcgen05, Refusal> {
    for (word, what) in [
        ("ws", "with stationary weights, .ws,"),
        ("sp", "of sparse matrices, .sp,"),
        ("ashift", "that shifts A, .ashift,"),
    ] {
        if words.has(word) {
            return Err(words.refuse(format!("{what} is not modelled")));
        }
    }
    let pair = pair(words)?;
    let kind = words.needed("kind", |word| Kind::from_name(word.strip_prefix("kind::")?))?;
    if words.has("block_scale") != kind.is_scaled() {
        return Err(
            words.refuse("needs .block_scale with kinds that have scales, and with no other")
        );
    }
    let blocks = words.choice(|word| match word {
        "scale_vec::1X" => Some(1),
        "scale_vec::2X" => Some(2),
        "scale_vec::4X" | "block16" => Some(4),
        "block32" => Some(if kind == Kind::Mxf8f6f4 { 1 } else { 2 }),
        _ => None,
    });
    let fits = match (kind, blocks) {
        (Kind::Mxf8f6f4, None | Some(1)) | (Kind::Mxf4, None | Some(2)) => true,
        (Kind::Mxf4nvf4, Some(2 | 4)) => true,
        (_, None) => !kind.is_scaled(),
        _ => false,
    };
    if !fits {
        return Err(words.refuse("has a kind and a number of scales that do not go together"));
    }
    // They say what may be kept in a cache, which this machine has none of.
    words.choice(|word| word.starts_with("collector::a").then_some(()));
    let a_in_tensor_memory = words.location(1).is_ok();
    let a = if a_in_tensor_memory {
        OperandA::Tensor(words.location(1)?)
    } else {
        OperandA::Shared(words.source(1)?)
    };
    let form = Form {
        kind,
        pair,
        a_in_tensor_memory,
        blocks,
    };
    let (scales, disabled, adds, shift) = if kind.is_scaled() {
        words.counted(&[7])?;
        let scales = (words.location(4)?, words.location(5)?);
        (Some(scales), Vec::new(), words.source(6)?, 0)
    } else {
        // Lanes of D that are not written stand before the predicate, what D is divided by behind it.
        let disabled = masks(words, pair)?;
        let at = 4 + usize::from(!disabled.is_empty());
        let shift = match words.counted(&[at + 1, at + 2])? {
            operands if operands > at + 1 => divisor(words, kind, at + 1)?,
            _ => 0,
        };
        (None, disabled, words.source(at)?, shift)
    };
    Ok(Tcgen05::Multiply(Box::new(MultiplyTensor {
        form,
        d: words.location(0)?,
        a,
        b: words.source(2)?,
        descriptor: words.source(3)?,
        scales,
        disabled,
        adds,
        shift,
    })))
}

/// The lanes of D that are not written, 32 in each number of a list: none where there is no list.
fn masks(words: &Words<'_>, pair: bool) -> Result<Vec<Source>, Refusal> {
    let masks = words.sources(4)?;
    let is_list = masks.len() > 1 || matches!(words.operands()[4], Operand::Vector(_));
    let expected = if pair { 8 } else { 4 };
    match masks.len() {
        _ if !is_list => Ok(Vec::new()),
        found if found == expected => Ok(masks),
        found => Err(words.refuse(format!(
            "of {} has {expected} masks of lanes of D, not {found}",
            if pair { "a pair of CTAs" } else { "one CTA" }
        ))),
    }
}

/// What D is divided by, as an exponent.
fn divisor(words: &Words<'_>, kind: Kind, place: usize) -> Result<u32, Refusal> {
    let shift = words.immediate(place)?;
    if shift > 15 || !matches!(kind, Kind::F16 | Kind::Tf32) {
        return Err(words.refuse(format!("cannot divide D by 2^{shift}")));
    }
    if shift != 0 && words.scope.is_ring() {
        return Err(words.refuse("divides D, which the ring mode does not model"));
    }
    Ok(shift as u32)
}

fn commit(words: &mut Words<'_>) -> Result<Tcgen05, Refusal> {
    let pair = pair(words)?;
    if !words.has("mbarrier::arrive::one") || !words.has("b64") {
        return Err(words.refuse("needs .mbarrier::arrive::one and .b64"));
    }
    let generic = !words.has("shared::cluster");
    let multicast = words.has("multicast::cluster");
    words.counted(if multicast { &[2] } else { &[1] })?;
    Ok(Tcgen05::Commit {
        pair,
        object: words.location(0)?,
        generic,
        mask: if multicast {
            Some(words.source(1)?)
        } else {
            None
        },
    })
}
