//! What the checker finds.

use crate::ptx::Place;
use std::fmt;

/// Something that a kernel must not do, and where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The kernel.
    pub kernel: String,
    /// The kernel, or the function that it called.
    pub function: String,
    /// In the module's text.
    pub place: Place,
    /// The CTA along x, y and z.
    pub cta: [u32; 3],
    /// The warp in its CTA.
    pub warp: u32,
    /// The first lane of the warp.
    pub lane: u32,
}

/// What a kernel must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// An access of memory that is not there.
    OutOfBounds {
        /// Which memory, and whether to read or write.
        access: &'static str,
        /// The address.
        address: u64,
        /// The bytes.
        bytes: u32,
    },
    /// An access whose address is no multiple of its size.
    Misaligned {
        /// Which memory, and whether to read or write.
        access: &'static str,
        /// The address.
        address: u64,
        /// The bytes.
        bytes: u32,
    },
    /// A value that nobody has written decides what is done.
    Uninitialised {
        /// What it decides.
        what: &'static str,
    },
    /// A value that nobody has written is stored to global memory, and is there at the grid's end.
    UninitialisedResult {
        /// Where.
        address: u64,
        /// The bytes.
        bytes: u32,
    },
    /// An instruction that needs all lanes of a warp, or of a mask, was reached by some.
    Divergence {
        /// Those that came.
        found: u32,
        /// Those that must.
        expected: u32,
    },
    /// All warps wait for something that nobody does. There is one of each thing that is waited for at a line.
    Deadlock {
        /// What this one waits for.
        what: Awaited,
    },
    /// Two accesses of one place, of which one at least writes, with nothing that orders them.
    Race {
        /// The memory.
        memory: &'static str,
        /// Whether the access that was found writes.
        writes: bool,
        /// The place of both.
        address: u64,
        /// The bytes of the access that was found.
        bytes: u32,
        /// Whether the other one writes.
        other_writes: bool,
        /// The other one's line in the module's text.
        other_line: u32,
        /// Whether the order is there and what is missing is a `fence.proxy.async`.
        needs_proxy_fence: bool,
    },
    /// Memory that `ld.global.nc` reads is written by the same kernel.
    Constancy {
        /// Whether the access that was found writes; else it is the load.
        writes: bool,
        /// The place of both.
        address: u64,
        /// The other one's line in the module's text.
        other_line: u32,
    },
    /// A copy by a tensor map that a thread wrote, which the proxy of tensor maps need not see yet.
    TensorMap {
        /// The map's address.
        address: u64,
        /// The write's line in the module's text.
        other_line: u32,
    },
    /// Two lanes write different numbers to one place by one instruction.
    Lanes {
        /// The memory.
        memory: &'static str,
        /// The place.
        address: u64,
        /// The other lane.
        other: u32,
    },
    /// Two lanes of a warp access one place, of which one at least writes, and went different ways: what `bar.warp.sync` orders
    /// and nothing does here.
    Paths {
        /// The memory.
        memory: &'static str,
        /// Whether the access that was found writes.
        writes: bool,
        /// The place of both.
        address: u64,
        /// The other lane.
        other: u32,
        /// Whether that one writes.
        other_writes: bool,
        /// The other access's line in the module's text.
        other_line: u32,
    },
    /// An mbarrier is used as none can be.
    Mbarrier {
        /// Its address.
        address: u64,
        /// A clause whose subject is the mbarrier.
        reason: String,
    },
    /// Tensor memory is used as it cannot be.
    TensorMemory {
        /// A clause whose subject is the tensor memory.
        reason: String,
    },
    /// A descriptor, of a matrix or of an instruction, says what cannot be.
    Descriptor {
        /// A sentence that names the field.
        reason: String,
    },
    /// An access of the shared memory of a CTA of the cluster that has come to its end, or that may have.
    Ended {
        /// The place in that CTA's memory.
        address: u64,
        /// Whether the CTA had ended; else none of its threads waited for the access before it did.
        before: bool,
    },
    /// Registers are used as those of asynchronous work cannot be.
    Registers {
        /// A clause whose subject is the registers.
        reason: &'static str,
    },
    /// A CTA comes to its end while asynchronous work uses its shared memory.
    Unfinished,
    /// The kernel ran into a `trap`.
    Trap,
    /// More steps than were allowed.
    StepLimit,
    /// An instruction that this machine does not model.
    Refused {
        /// The instruction and why.
        reason: String,
    },
}

impl Finding {
    /// Whose line it is: `add`, or `scaled, called by add`.
    pub fn code(&self) -> String {
        if self.function == self.kernel {
            self.kernel.clone()
        } else {
            format!("{}, called by {}", self.function, self.kernel)
        }
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A barrier of the CTA.
    Barrier {
        /// Its number.
        number: u32,
        /// The threads that have come to it.
        arrived: u32,
        /// Those that must.
        expected: u32,
    },
    /// The cluster's barrier.
    Cluster,
    /// The phase of an mbarrier.
    Mbarrier {
        /// Its address in shared memory.
        address: u64,
        /// The phase's parity.
        parity: u32,
        /// The arrivals that it lacks.
        arrivals: u32,
        /// The bytes that it lacks; negative where they came before anybody expected them.
        bytes: i64,
    },
    /// Columns of tensor memory that others have.
    TensorMemory {
        /// How many.
        columns: u32,
    },
    /// Nothing, and nobody lets it go on.
    Nothing,
}

impl Awaited {
    /// Whether two wait for one thing, however much of it they found missing.
    pub(crate) fn is_for_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Barrier { number: own, .. }, Self::Barrier { number, .. }) => own == number,
            (
                Self::Mbarrier {
                    address: own,
                    parity: its,
                    ..
                },
                Self::Mbarrier {
                    address, parity, ..
                },
            ) => (own, its) == (address, parity),
            _ => self == other,
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Barrier {
                number,
                arrived,
                expected,
            } => write!(
                f,
                "a barrier, number {number}, to which {arrived} of {expected} threads have come"
            ),
            Self::Cluster => f.write_str("the cluster's barrier"),
            Self::Mbarrier {
                address,
                parity,
                arrivals,
                bytes,
            } => write!(
                f,
                "an mbarrier's phase: that of parity {parity} at {address:#x} lacks {arrivals} arrivals and {bytes} bytes"
            ),
            Self::TensorMemory { columns } => write!(f, "columns of tensor memory, {columns}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl FindingKind {
    /// The kind's word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OutOfBounds { .. } => "out of bounds",
            Self::Misaligned { .. } => "misaligned",
            Self::Uninitialised { .. } => "uninitialised",
            Self::UninitialisedResult { .. } => "uninitialised result",
            Self::Divergence { .. } => "divergence",
            Self::Deadlock { .. } => "deadlock",
            Self::Race { .. } => "race",
            Self::Constancy { .. } => "constancy",
            Self::TensorMap { .. } => "tensor map",
            Self::Lanes { .. } => "lanes",
            Self::Paths { .. } => "paths",
            Self::Mbarrier { .. } => "mbarrier",
            Self::TensorMemory { .. } => "tensor memory",
            Self::Descriptor { .. } => "descriptor",
            Self::Ended { .. } => "ended",
            Self::Registers { .. } => "registers",
            Self::Unfinished => "unfinished",
            Self::Trap => "trap",
            Self::StepLimit => "step limit",
            Self::Refused { .. } => "refused",
        }
    }

    /// The address in global or shared memory that it is about.
    pub fn address(&self) -> Option<u64> {
        match *self {
            Self::OutOfBounds { address, .. }
            | Self::Misaligned { address, .. }
            | Self::UninitialisedResult { address, .. }
            | Self::Race { address, .. }
            | Self::Constancy { address, .. }
            | Self::TensorMap { address, .. }
            | Self::Lanes { address, .. }
            | Self::Paths { address, .. }
            | Self::Mbarrier { address, .. }
            | Self::Ended { address, .. }
            | Self::Deadlock {
                what: Awaited::Mbarrier { address, .. },
            } => Some(address),
            Self::Uninitialised { .. }
            | Self::Divergence { .. }
            | Self::Deadlock { .. }
            | Self::TensorMemory { .. }
            | Self::Descriptor { .. }
            | Self::Registers { .. }
            | Self::Unfinished
            | Self::Trap
            | Self::StepLimit
            | Self::Refused { .. } => None,
        }
    }

    /// A write of memory that an mbarrier lies in.
    pub(crate) fn written_over(address: u64) -> Self {
        Self::Mbarrier {
            address,
            reason: "is written over, and was not invalidated".into(),
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds {
                access,
                address,
                bytes,
            } => {
                write!(
                    f,
                    "{access} {bytes} bytes at {address:#x}, where no memory is"
                )
            }
            Self::Misaligned {
                access,
                address,
                bytes,
            } => {
                write!(
                    f,
                    "{access} {bytes} bytes at {address:#x}, which is no multiple of {bytes}"
                )
            }
            Self::Uninitialised { what } => write!(f, "a value that was never written is {what}"),
            Self::UninitialisedResult { address, bytes } => write!(
                f,
                "a value that was never written is left in {bytes} bytes of global memory at {address:#x}"
            ),
            Self::Divergence { found, expected } => {
                write!(
                    f,
                    "expected the lanes {expected:#010x} together, found {found:#010x}"
                )
            }
            Self::Deadlock { what } => write!(f, "waits for ever for {what}"),
            Self::Race {
                memory,
                writes,
                address,
                bytes,
                other_writes,
                other_line,
                needs_proxy_fence,
            } => {
                let verb = |writes| if writes { "writes" } else { "reads" };
                let (own, other) = (verb(*writes), verb(*other_writes));
                let missing = if *needs_proxy_fence {
                    "a fence.proxy.async is missing between it and"
                } else {
                    "nothing orders it behind"
                };
                write!(
                    f,
                    "{own} {bytes} bytes of {memory}, and {missing} line {other_line}, which {other} {address:#x} too"
                )
            }
            Self::Constancy {
                writes: false,
                address,
                other_line,
            } => write!(
                f,
                "reads {address:#x} by ld.global.nc, which needs memory that the kernel does not write, and line {other_line} \
                 writes it"
            ),
            Self::Constancy {
                writes: true,
                address,
                other_line,
            } => write!(
                f,
                "writes {address:#x}, which line {other_line} reads by ld.global.nc: that needs memory that the kernel does not \
                 write"
            ),
            Self::TensorMap {
                address,
                other_line,
            } => write!(
                f,
                "copies by the tensor map at {address:#x}, and between it and line {other_line}, which writes that, a \
                 fence.proxy.tensormap::generic is missing that releases it or one that acquires it"
            ),
            Self::Lanes {
                memory,
                address,
                other,
            } => write!(
                f,
                "writes another number to {address:#x} of {memory} than lane {other} by the same instruction"
            ),
            Self::Paths {
                memory,
                writes,
                address,
                other,
                other_writes,
                other_line,
            } => {
                let verb = |writes| if writes { "writes" } else { "reads" };
                let (own, its) = (verb(*writes), verb(*other_writes));
                write!(
                    f,
                    "{own} {address:#x} of {memory}, and no bar.warp.sync orders it behind line {other_line}, where lane {other}, \
                     which went another way, {its} it"
                )
            }
            Self::Mbarrier { address, reason } => {
                write!(f, "the mbarrier at {address:#x} {reason}")
            }
            Self::TensorMemory { reason } => write!(f, "tensor memory {reason}"),
            Self::Descriptor { reason } => f.write_str(reason),
            Self::Ended { address, before } => {
                write!(f, "uses {address:#x} of the shared memory of a CTA ")?;
                f.write_str(match before {
                    true => "whose threads have all ended",
                    false => "none of whose threads waits for it before it ends",
                })
            }
            Self::Registers { reason } => write!(f, "registers {reason}"),
            Self::Unfinished => f.write_str(
                "asynchronous work that uses a CTA's shared memory is not waited for before the CTA's end",
            ),
            Self::Trap => f.write_str("trap"),
            Self::StepLimit => f.write_str("runs on beyond the limit of instructions"),
            Self::Refused { reason } => f.write_str(reason),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.cta;
        write!(
            f,
            "{}:{}: {} (CTA {x},{y},{z}, warp {}, lane {})",
            self.code(),
            self.place,
            self.kind,
            self.warp,
            self.lane
        )
    }
}
