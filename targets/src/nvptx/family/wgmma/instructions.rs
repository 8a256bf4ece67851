//! `wgmma`: products of matrices in shared memory by the four warps of a warpgroup, as PTX, and the descriptors that say how
//! the matrices lie there. (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".)

use crate::mlir::{Builder, Value};
use crate::nvptx::family::boxes::{Half, Major, PIECE_BYTES};
use crate::nvptx::family::swizzled::SwizzledTile;
use crate::nvptx::inline::Ptx;
use std::fmt::Write;

/// Numbers along K of an instruction: 32 bytes.
pub const DEPTH: i64 = 16;

impl Half {
    const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl Major {
    /// The instruction's operand that says so.
    const fn transposed(self) -> u64 {
        match self {
            Self::K => 0,
            Self::Rows => 1,
        }
    }

    /// A tile's descriptor but for the address. (PTX ISA, "Matrix Descriptor": in units of 16 bytes from bit 16 on the
    /// leading and from bit 32 on the stride dimension's distance; bits 62 and 63: 1, 128 bytes are swizzled. "Strides": with
    /// lines along K, groups of eight lines are a stride apart, and the leading distance is not looked at, 1 by convention;
    /// with lines of rows, groups of eight places along K are a stride apart, and pieces of 64 rows the leading distance.)
    pub const fn descriptor(self) -> u64 {
        const GROUP: u64 = 8 * SwizzledTile::ROW as u64;
        const PIECE: u64 = PIECE_BYTES as u64;
        let leading = match self {
            Self::K => 1,
            Self::Rows => PIECE >> 4,
        };
        leading << 16 | GROUP >> 4 << 32 | 1 << 62
    }

    /// Bytes from what an instruction multiplies to what the next one does: along K within swizzled lines, or whole lines.
    pub const fn bytes_along_k(self) -> i64 {
        match self {
            Self::K => 2 * DEPTH,
            Self::Rows => DEPTH * SwizzledTile::ROW,
        }
    }
}

/// Products of 64 rows of A by so many of B, `count` of them along K, that are added to sums.
pub struct Step {
    pub half: Half,
    pub majors: [Major; 2],
    pub columns: i64,
    pub count: i64,
}

impl Step {
    /// Begins the products as a group, and waits until those begun before it are done. `descriptors` are A's and B's. All
    /// threads of the warpgroup take part; sums are there after [`wait`].
    pub fn multiply<'c>(
        &self,
        b: &Builder<'c>,
        sums: &[Value<'c>],
        descriptors: [Value<'c>; 2],
    ) -> Vec<Value<'c>> {
        let registers = registers(sums.len());
        let (n, half) = (self.columns, self.half.name());
        let [a_transposed, b_transposed] = self.majors.map(Major::transposed);
        let mut operands = Vec::new();
        // Registers that were written before are the products' from the fence on.
        let mut text = "wgmma.fence.sync.aligned;\n\t".to_owned();
        for number in 0..self.count {
            let first = 2 * (sums.len() + number as usize);
            let _ = write!(
                text,
                "wgmma.mma_async.sync.aligned.m64n{n}k{DEPTH}.f32.{half}.{half} {{{registers}}}, ${first}, ${}, \
                 1, 1, 1, {a_transposed}, {b_transposed};\n\t",
                first + 1
            );
            for (descriptor, major) in descriptors.into_iter().zip(self.majors) {
                let units = b.constant_i64(number * major.bytes_along_k() / SwizzledTile::PIECE);
                operands.push(b.binary("arith.addi", descriptor, units));
            }
        }
        text += "wgmma.commit_group.sync.aligned;\n\twgmma.wait_group.sync.aligned 1;";
        Ptx::new(&text).memory().updating(b, sums, &operands)
    }
}

/// Waits until all products are done; their sums.
pub fn wait<'c>(b: &Builder<'c>, sums: &[Value<'c>]) -> Vec<Value<'c>> {
    let text = "wgmma.wait_group.sync.aligned 0;";
    Ptx::new(text).memory().updating(b, sums, &[])
}

/// The descriptor of the tile that begins at an address of shared memory.
pub fn descriptor<'c>(b: &Builder<'c>, major: Major, address: Value<'c>) -> Value<'c> {
    // Bits 0 to 13: the address in units of sixteen bytes.
    let units = b.binary("arith.shrui", address, b.constant_integer(b.integer(32), 4));
    let units = b.cast("arith.extui", units, b.i64());
    let bits = b.constant_i64(major.descriptor().cast_signed());
    b.binary("arith.ori", units, bits)
}

fn registers(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|i| format!("${i}")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_instruction_set() {
        // Groups 1024 bytes apart, leading distance 1, 128-byte swizzling.
        assert_eq!(Major::K.descriptor(), 0x4000_0040_0001_0000);
        // Pieces of 64 rows 8192 bytes apart.
        assert_eq!(Major::Rows.descriptor(), 0x4000_0040_0200_0000);
    }

    #[test]
    fn an_instruction_takes_two_pieces_of_a_line_or_sixteen_lines() {
        assert_eq!(Major::K.bytes_along_k(), 32);
        assert_eq!(Major::Rows.bytes_along_k(), 2048);
    }
}
