//! What a grid is launched with, and what is known of it afterwards.

use crate::counts::Counts;
use crate::finding::{Finding, FindingKind};
use crate::memory::Global;

/// A grid of CTAs.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: String,
    /// CTAs along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a CTA along x, y and z.
    pub block: [u32; 3],
    /// CTAs of a cluster along x, y and z.
    pub cluster: [u32; 3],
    /// Bytes of shared memory beside that of the module's variables.
    pub dynamic_shared: u64,
    /// The kernel's arguments, each in the bytes of its parameter.
    pub arguments: Vec<Vec<u8>>,
    /// What the order of warps is drawn from.
    pub seed: u64,
    /// Instructions of warps after which the grid is held to run for ever.
    pub step_limit: u64,
    /// Whether races are looked for, which takes time and memory.
    pub races: bool,
    /// Threads that execute CTAs, at most. What comes of it does not depend on them: CTAs that see each other's writes of global
    /// memory, by atomics or flags, are executed one after the other as with one thread. Without the search for races nothing
    /// tells which do, and one thread executes all.
    pub threads: usize,
}

impl Launch {
    /// One CTA of one thread.
    pub fn new(kernel: impl Into<String>) -> Self {
        Self {
            kernel: kernel.into(),
            grid: [1; 3],
            block: [1; 3],
            cluster: [1; 3],
            dynamic_shared: 0,
            arguments: Vec::new(),
            seed: 0,
            step_limit: 1 << 36,
            races: true,
            threads: 1,
        }
    }

    /// With CTAs along x, y and z.
    pub fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = grid;
        self
    }

    /// With threads along x, y and z.
    pub fn block(mut self, block: [u32; 3]) -> Self {
        self.block = block;
        self
    }

    /// With clusters of CTAs along x, y and z.
    pub fn cluster(mut self, cluster: [u32; 3]) -> Self {
        self.cluster = cluster;
        self
    }

    /// With one more argument, of these bytes: a structure.
    pub fn bytes(mut self, bytes: Vec<u8>) -> Self {
        self.arguments.push(bytes);
        self
    }

    /// With one more argument, an address or a number of 64 bits.
    pub fn u64(mut self, value: u64) -> Self {
        self.arguments.push(value.to_le_bytes().to_vec());
        self
    }

    /// With one more argument, a number of 32 bits.
    pub fn u32(mut self, value: u32) -> Self {
        self.arguments.push(value.to_le_bytes().to_vec());
        self
    }

    /// With one more argument, a single-precision number.
    pub fn f32(self, value: f32) -> Self {
        self.u32(value.to_bits())
    }
}

/// A grid that cannot be launched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// No kernel of that name.
    #[error("expected one of the kernels {kernels:?}, found '{kernel}'")]
    UnknownKernel {
        /// The name.
        kernel: String,
        /// Those there are.
        kernels: Vec<String>,
    },
    /// Arguments that are not the parameters'.
    #[error("{kernel}: expected arguments of {expected:?} bytes, found {found:?}")]
    Arguments {
        /// The kernel.
        kernel: String,
        /// Bytes of each parameter.
        expected: Vec<u64>,
        /// Bytes of each argument.
        found: Vec<u64>,
    },
    /// A grid, CTA or cluster that no device has.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// What is wrong.
        what: &'static str,
        /// What could be.
        expected: String,
        /// What is.
        found: String,
    },
    /// A variable's first value that names what is not there.
    #[error("a variable begins with the address of {name}, which is not declared")]
    Initializer {
        /// The name.
        name: String,
    },
}

/// What is known of a grid that was launched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the checker found, in the order in which it did; each once for a line of the kernel.
    pub findings: Vec<Finding>,
    /// Whether all threads ran to their end.
    pub completed: bool,
    /// Instructions that warps executed.
    pub instructions: u64,
    /// The same, counted once for each lane that did.
    pub lane_instructions: u64,
    /// What warps did.
    pub counts: Counts,
    /// Stores of values that nobody has written to global memory, which later ones may write over.
    pub(crate) undefined: Vec<Finding>,
}

/// Stores of values that nobody has written that are remembered: of more, those that came first are enough to tell of.
const UNDEFINED: usize = 1 << 16;

impl Report {
    /// Adds what a later part of the grid did.
    pub(crate) fn append(&mut self, later: Self) {
        for found in later.findings.into_iter().chain(later.undefined) {
            self.add(found);
        }
        self.completed &= later.completed;
        self.instructions += later.instructions;
        self.lane_instructions += later.lane_instructions;
        self.counts.add(&later.counts);
    }

    /// Keeps a finding. A store of a value that nobody has written is one only if it is what stays.
    pub(crate) fn add(&mut self, found: Finding) {
        match found.kind {
            FindingKind::UninitialisedResult { .. } => {
                if self.undefined.len() < UNDEFINED {
                    self.undefined.push(found);
                }
            }
            _ => self.keep(found),
        }
    }

    /// Makes findings of the values that nobody has written and that are in memory at the grid's end.
    pub(crate) fn end(&mut self, memory: &Global) {
        let undefined = std::mem::take(&mut self.undefined);
        if !self.completed {
            return;
        }
        for found in undefined {
            if let FindingKind::UninitialisedResult { address, bytes } = found.kind
                && memory
                    .stretch(address, bytes.into())
                    .is_some_and(|(_, written)| written.contains(&false))
            {
                self.keep(found);
            }
        }
    }

    /// Keeps a finding, of a kind that was not found at the same line before; of waits, one for something else.
    fn keep(&mut self, found: Finding) {
        let same = |own: &Finding| {
            own.place == found.place
                && match (&own.kind, &found.kind) {
                    (
                        FindingKind::Deadlock { what: own },
                        FindingKind::Deadlock { what: other },
                    ) => own.is_for_the_same_as(other),
                    (own, other) => std::mem::discriminant(own) == std::mem::discriminant(other),
                }
        };
        if !self.findings.iter().any(same) {
            self.findings.push(found);
        }
    }
}
