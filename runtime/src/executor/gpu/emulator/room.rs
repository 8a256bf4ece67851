//! The memory that one launch runs in.

use super::super::device::GpuError;
use super::super::schedule::{Launch, Span};
use crate::bundle::Kernel;
use tessera_emulator::{Bytes, Global};

/// What allocations are multiples of, here and on a GPU.
const ALIGNMENT: u64 = 256;

/// How far from a buffer an address still has to do with it: half of what lies between two.
const REACH: u64 = 1 << 15;

/// A launch's buffers, and its workspace, each apart from all it does not overlap.
pub(super) struct Room<'a> {
    pub(super) memory: Global,
    launch: &'a Launch,
    kernel: &'a Kernel,
    /// By buffer of the launch, its address here.
    addresses: Vec<u64>,
    workspace: Option<u64>,
}

/// Buffers that overlap, as one stretch of the instance's memory.
struct Group {
    span: Span,
    /// Their positions among those of the launch.
    members: Vec<usize>,
}

impl<'a> Room<'a> {
    /// Lays out the buffers of a launch, with the operands' values from the instance's memory.
    pub(super) fn new(
        memory: &Global,
        launch: &'a Launch,
        kernel: &'a Kernel,
    ) -> Result<Self, GpuError> {
        let mut room = Self {
            memory: Global::new(),
            launch,
            kernel,
            addresses: vec![0; launch.buffers.len()],
            workspace: None,
        };
        for group in groups(&launch.buffers) {
            let Span { address, bytes } = group.span;
            let own = room
                .memory
                .allocate_beyond(address % ALIGNMENT, Bytes::unwritten(bytes));
            for member in group.members {
                let span = launch.buffers[member];
                let place = own + (span.address - address);
                room.addresses[member] = place;
                if member < launch.operands {
                    let value = memory.contents(span.address, span.bytes)?;
                    room.memory.set_contents(place, &value)?;
                }
            }
        }
        room.workspace = launch
            .workspace
            .map(|_| room.memory.allocate(launch.code.workspace_bytes));
        Ok(room)
    }

    /// Where a buffer of the launch is.
    pub(super) fn address(&self, buffer: usize) -> u64 {
        self.addresses[buffer]
    }

    /// The kernel's parameters that are addresses.
    pub(super) fn parameters(&self) -> impl Iterator<Item = u64> {
        self.addresses.iter().copied().chain(self.workspace)
    }

    /// Operands that no result lies in have to be what they were.
    pub(super) fn check_operands(&self, memory: &Global) -> Result<(), GpuError> {
        let (operands, results) = self.launch.buffers.split_at(self.launch.operands);
        for (number, operand) in operands.iter().enumerate() {
            if results.iter().any(|result| overlap(*operand, *result)) {
                continue;
            }
            let before = memory.contents(operand.address, operand.bytes)?;
            let after = self
                .memory
                .contents(self.addresses[number], operand.bytes)?;
            if let Some(place) = before.first_difference(&after) {
                let name = self.name(number);
                let message = format!("it changed byte {place} of {name}, which is no result");
                return Err(GpuError::Found(message));
            }
        }
        Ok(())
    }

    /// Puts the results into the instance's memory.
    pub(super) fn take_results(&self, memory: &mut Global) -> Result<(), GpuError> {
        let buffers = self.launch.buffers.iter().zip(&self.addresses);
        for (span, &own) in buffers.skip(self.launch.operands) {
            memory.set_contents(span.address, &self.memory.contents(own, span.bytes)?)?;
        }
        Ok(())
    }

    /// Where an address is, in the terms of the kernel's buffers: `that is byte 4 of operand 0 (tensor<8xf32>)`.
    pub(super) fn describe(&self, address: u64) -> Option<String> {
        let buffers = self.launch.buffers.iter().zip(&self.addresses).enumerate();
        let buffers = buffers.map(|(number, (span, &own))| (self.name(number), own, span.bytes));
        let bytes = self.launch.code.workspace_bytes;
        let workspace = self.workspace;
        let workspace = workspace.map(|own| ("the workspace".to_owned(), own, bytes));
        let distance = |begin: u64, bytes: usize| {
            let end = begin + bytes as u64;
            begin
                .saturating_sub(address)
                .max((address + 1).saturating_sub(end))
        };
        let (name, begin, bytes) = buffers
            .chain(workspace)
            .filter(|&(_, begin, bytes)| distance(begin, bytes) < REACH)
            .min_by_key(|&(_, begin, bytes)| distance(begin, bytes))?;
        let end = begin + bytes as u64;
        Some(if address < begin {
            format!("that is {} bytes before {name}", begin - address)
        } else if address >= end {
            format!("that is {} bytes behind the end of {name}", address - end)
        } else {
            format!("that is byte {} of {name}", address - begin)
        })
    }

    /// `operand 0 (tensor<8xf32>)`.
    fn name(&self, buffer: usize) -> String {
        match buffer.checked_sub(self.launch.operands) {
            None => format!("operand {buffer} ({})", self.kernel.operands[buffer]),
            Some(result) => format!("result {result} ({})", self.kernel.results[result]),
        }
    }
}

fn overlap(a: Span, b: Span) -> bool {
    let end = |span: Span| span.address + span.bytes as u64;
    a.address.max(b.address) < end(a).min(end(b))
}

/// Buffers that overlap, directly or by others, together; in the order of their addresses.
fn groups(buffers: &[Span]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&number| buffers[number].address);
    let mut groups: Vec<Group> = Vec::new();
    for number in order {
        let span = buffers[number];
        match groups.last_mut() {
            Some(group) if overlap(group.span, span) => {
                let end = span.address + span.bytes as u64;
                let bytes = (end - group.span.address) as usize;
                group.span.bytes = group.span.bytes.max(bytes);
                group.members.push(number);
            }
            _ => groups.push(Group {
                span,
                members: vec![number],
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_overlap_stay_together() {
        let spans = [
            (512, 64),
            (0, 128),
            (64, 8),
            (128, 64),
            (512, 128),
            (700, 0),
        ];
        let spans = spans.map(|(address, bytes)| Span { address, bytes });
        let groups = groups(&spans);
        let found: Vec<_> = groups
            .iter()
            .map(|group| (group.span.address, group.span.bytes, &group.members[..]))
            .collect();
        assert_eq!(
            found,
            [
                (0, 128, &[1, 2][..]),
                (128, 64, &[3]),
                (512, 128, &[0, 4]),
                (700, 0, &[5]),
            ]
        );
    }
}
