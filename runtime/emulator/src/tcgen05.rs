//! The fifth generation's tensor cores as tables and functions: layouts, descriptors, products (PTX ISA 9.7.16).
//!
//! Nothing here knows a warp or an order: what is where, what a descriptor says, what a product is. When an instruction of
//! `tcgen05` is done, and what it then reads and writes, is the machine's.

pub(crate) mod copy;
pub(crate) mod datapath;
pub(crate) mod factors;
pub(crate) mod fragment;
pub(crate) mod instruction_descriptor;
pub(crate) mod multiply;
pub(crate) mod shared_descriptor;

/// A place in a CTA's tensor memory: lane and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub lane: u32,
    pub column: u32,
}

impl Cell {
    /// Of an address: the lane in its upper half, the column in its lower (PTX ISA 9.7.16.1.1).
    pub const fn of(address: u32) -> Self {
        Self {
            lane: address >> 16,
            column: address & 0xffff,
        }
    }

    /// So many lanes and columns on.
    pub const fn plus(self, lane: u32, column: u32) -> Self {
        Self {
            lane: self.lane + lane,
            column: self.column + column,
        }
    }
}
