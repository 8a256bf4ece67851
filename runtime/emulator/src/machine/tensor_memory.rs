//! Tensor memory in the machine: what threads have begun in it, and what asynchronous work does there.
//!
//! A thread's copies and products wait in its [`Pipe`] until it commits them; a commit is work whose operation is all of them,
//! in their order, and whose signal is the arrival. That is the order the ISA promises (9.7.16.6.4): who began them in one
//! thread may rely on it, and nobody else may rely on anything but the mbarrier.
//!
//! Between threads the ISA also asks for `tcgen05.fence::before_thread_sync` and `::after_thread_sync` on both sides of what
//! orders them (9.7.16.6.2). That one is missing is not found: Triton's kernels, which run on such hardware, have none, neither
//! between a `tcgen05.st` and another thread's product nor between a commit's mbarrier and a load.

mod copy;
mod multiply;

use super::asynchronous::{Doer, Memories, Operation, Origin};
use super::context::Cta;
use super::order::Knowledge;
use super::shadow::{Accessor, Missing, Proxy, Shadow, Stamp};
use crate::finding::FindingKind;
use crate::memory::tensor::{Misuse, TensorMemory};
use crate::tcgen05::Cell;
use std::collections::BTreeMap;

pub(crate) use copy::Copying;
pub(crate) use multiply::{FromA, Multiplying};

/// The tensor memory of a CTA, and what its threads have begun in it.
#[derive(Default)]
pub(crate) struct Tensor {
    pub memory: TensorMemory,
    /// Who accessed it: a lane has 2048 bytes.
    pub shadow: Shadow,
    /// Of each thread: the warp and lane.
    pub pipes: BTreeMap<(u32, u32), Pipe>,
    /// Whether its instructions are of a pair of CTAs; all are or none is.
    pub pair: Option<bool>,
    /// Where columns were allocated.
    pub allocated: Vec<(u32, Origin)>,
}

/// What a thread has begun.
#[derive(Default)]
pub(crate) struct Pipe {
    /// Not committed yet.
    pub begun: Vec<Step>,
    /// Commits so far.
    pub commits: u32,
    /// The work of the last one.
    pub last: Option<u64>,
}

/// A copy or a product.
pub(crate) struct Step {
    pub origin: Origin,
    /// What the warp knew when it began it.
    pub knows: Knowledge,
    pub what: What,
}

pub(crate) enum What {
    Copy(Copying),
    Multiply(Box<Multiplying>),
}

/// What a thread commits at one time.
pub(crate) struct Batch {
    pub steps: Vec<Step>,
    /// As what its accesses are known: the pipe, and the number of the commit.
    pub stamp: (u32, u32),
}

impl Operation for Batch {
    fn read(&mut self, _: &mut Memories<'_>, _: &Doer<'_>) {}

    fn write(&mut self, machine: &mut Memories<'_>, _: &Doer<'_>) {
        for step in self.steps.drain(..) {
            let by = Doer {
                origin: step.origin,
                knows: &step.knows,
                is_asynchronous: true,
                reads_as: self.stamp,
                writes_as: self.stamp,
            };
            let done = match &step.what {
                What::Copy(copy) => copy.execute(machine, &by),
                What::Multiply(multiply) => multiply.execute(machine, &by),
            };
            if let Err(reason) = done {
                let kind = FindingKind::TensorMemory { reason };
                machine.found.push((step.origin, kind));
            }
        }
    }

    fn needs_shared(&self, _: bool) -> bool {
        !self.steps.is_empty()
    }
}

impl Memories<'_> {
    /// Counts an access of columns of a lane, and notes it for the race checker.
    fn touch_tensor(&mut self, rank: u32, cell: Cell, columns: u32, writes: bool, by: &Doer<'_>) {
        let counts = &mut self.ctas[rank as usize].counts;
        counts
            .tensor
            .count(4 * u64::from(columns), (!writes, writes));
        if self.shadow.is_none() {
            return;
        }
        let (agent, clock) = by.writes_as;
        let accessor = Accessor {
            stamp: Stamp::new(agent, clock, by.origin.place.line, None),
            knows: by.knows,
            warps: self.order.warps(),
            of_cta: self.order.warps() / self.ctas.len() as u32,
            proxy: Proxy::Generic,
        };
        let tensor = &mut self.ctas[rank as usize].tensor;
        if let Some(kind) = tensor.access(cell, (columns, columns), writes, &accessor) {
            self.found.push((by.origin, kind));
        }
    }
}

impl Tensor {
    /// Notes an access of columns of a lane, `each` at a time; what the checker says of it.
    pub fn access(
        &mut self,
        cell: Cell,
        (columns, each): (u32, u32),
        writes: bool,
        by: &Accessor<'_>,
    ) -> Option<FindingKind> {
        let place = u64::from(cell.lane) * 2048 + u64::from(cell.column) * 4;
        let bytes = 4 * u64::from(columns);
        let conflict = self.shadow.access(place, bytes, writes, by)?;
        Some(FindingKind::Race {
            memory: "tensor memory",
            writes,
            address: (conflict.place / 2048) << 16 | (conflict.place % 2048 / 4),
            bytes: 4 * each,
            other_writes: conflict.wrote,
            other_line: conflict.earlier.line(),
            needs_proxy_fence: conflict.missing == Missing::ProxyFence,
        })
    }

    /// What is wrong about it at its CTA's end, and where that began.
    pub fn left_over(&self) -> Vec<(Origin, Misuse)> {
        let begun = self.pipes.values().filter_map(|pipe| pipe.begun.first());
        let mut found: Vec<(Origin, Misuse)> = begun
            .map(|step| (step.origin, "is used by work that nobody committed".into()))
            .collect();
        if let (Some(leak), Some(&(_, origin))) = (self.memory.leak(), self.allocated.first()) {
            found.push((origin, leak));
        }
        found
    }
}

/// A word of a CTA's tensor memory.
fn read(ctas: &[Cta], rank: u32, cell: Cell) -> Result<(u32, u8), Misuse> {
    ctas[rank as usize].tensor.memory.read(cell)
}
