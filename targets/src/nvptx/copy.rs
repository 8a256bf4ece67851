//! Copies from global to shared memory that go on while a thread does other things: `cp.async`. (PTX ISA, "Non-bulk copy".)

use super::shared;
use crate::mlir::{Builder, Value};
use melior::dialect::llvm;

/// The state space of global memory, as LLVM's NVPTX back end numbers them.
const GLOBAL: u32 = 1;

/// Bytes of a copy: an address of either side is a multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 4 bytes.
    Four,
    /// 8 bytes.
    Eight,
    /// 16 bytes.
    Sixteen,
}

impl Width {
    /// The widest that a number of bytes is a multiple of.
    pub fn dividing(bytes: i64) -> Option<Self> {
        [Self::Sixteen, Self::Eight, Self::Four]
            .into_iter()
            .find(|width| bytes % width.bytes() == 0)
    }

    /// Its bytes.
    pub const fn bytes(self) -> i64 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// Begins to copy: where `is_there`, the bytes at `from`, which can be read anyhow; zeros elsewhere.
pub fn begin<'c>(
    b: &Builder<'c>,
    width: Width,
    to: Value<'c>,
    from: Value<'c>,
    is_there: Option<Value<'c>>,
) {
    let global = llvm::r#type::pointer(b.context(), GLOBAL);
    let operands = [
        shared::own(b, to),
        b.cast("llvm.addrspacecast", from, global),
    ];
    let name = match width {
        Width::Four => "llvm.nvvm.cp.async.ca.shared.global.4",
        Width::Eight => "llvm.nvvm.cp.async.ca.shared.global.8",
        Width::Sixteen => "llvm.nvvm.cp.async.cg.shared.global.16",
    };
    match is_there {
        None => b.intrinsic_without_result(name, &operands),
        Some(is_there) => {
            let number = |n| b.constant_integer(b.integer(32), n);
            let bytes = b.select(is_there, number(width.bytes()), number(0));
            let [to, from] = operands;
            b.intrinsic_without_result(&format!("{name}.s"), &[to, from, bytes]);
        }
    }
}

/// What the thread has begun to copy since the last time is one group.
pub fn commit(b: &Builder<'_>) {
    b.intrinsic_without_result("llvm.nvvm.cp.async.commit.group", &[]);
}

/// Waits until at most the last `groups` groups of the thread are still on their way.
pub fn wait(b: &Builder<'_>, groups: i64) {
    let groups = b.constant_integer(b.integer(32), groups);
    b.intrinsic_without_result("llvm.nvvm.cp.async.wait.group", &[groups]);
}
