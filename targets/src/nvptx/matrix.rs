//! Products of matrix fragments by the warps' own matrix units, and the loads that bring fragments out of shared memory.
//!
//! In whatever type, a fragment is 32 bytes of a row along the contracted dimension: of lhs of 16 rows, of rhs of 8 columns.
//! So registers and loads are the same for all types. (PTX ISA, "Matrix Fragments for mma.m16n8k16", "… for mma.m16n8k64".)

use super::shared;
use crate::mlir::{Builder, Value};
use melior::{
    dialect::llvm,
    ir::{Type, attribute::DenseI64ArrayAttribute},
};
use tessera_numerics::Format;

/// Bytes of a row that an instruction contracts.
pub const BYTES: i64 = 32;

/// Rows of a fragment of lhs.
pub const ROWS: i64 = 16;

/// Columns of a fragment of rhs.
pub const COLUMNS: i64 = 8;

/// A warp's product of two fragments, added to a fragment of sums of f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mma {
    /// Of f16.
    F16,
    /// Of bf16.
    Bf16,
    /// Of codes with block scales; tensor scales are no part of it.
    BlockScaled(BlockScaled),
}

/// The formats that the matrix unit takes with their block scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the formats' names")]
pub enum BlockScaled {
    Nvfp4,
    Mxfp4,
    Mxfp6E2m3,
    Mxfp6E3m2,
    Mxfp8E4m3,
    Mxfp8E5m2,
}

impl BlockScaled {
    /// A format, if it has block scales.
    pub fn of(format: Format) -> Option<Self> {
        Some(match format {
            Format::Nvfp4 => Self::Nvfp4,
            Format::Mxfp4 => Self::Mxfp4,
            Format::Mxfp6E2m3 => Self::Mxfp6E2m3,
            Format::Mxfp6E3m2 => Self::Mxfp6E3m2,
            Format::Mxfp8E4m3 => Self::Mxfp8E4m3,
            Format::Mxfp8E5m2 => Self::Mxfp8E5m2,
            Format::Fp8E4m3 | Format::Fp8E5m2 => return None,
        })
    }

    /// The block scales that an instruction takes of each row: those of its 32 bytes.
    pub const fn scales(self) -> i64 {
        match self {
            Self::Nvfp4 => 4,
            Self::Mxfp4 => 2,
            Self::Mxfp6E2m3 | Self::Mxfp6E3m2 | Self::Mxfp8E4m3 | Self::Mxfp8E5m2 => 1,
        }
    }

    fn intrinsic(self) -> String {
        let (instruction, element, scale) = match self {
            Self::Nvfp4 => ("m16n8k64.row.col.mxf4nvf4.scale.4x", "e2m1", "ue4m3"),
            Self::Mxfp4 => ("m16n8k64.row.col.mxf4nvf4.scale.2x", "e2m1", "ue8m0"),
            Self::Mxfp6E2m3 => ("m16n8k32.row.col.mxf8f6f4.scale.1x", "e2m3", "ue8m0"),
            Self::Mxfp6E3m2 => ("m16n8k32.row.col.mxf8f6f4.scale.1x", "e3m2", "ue8m0"),
            Self::Mxfp8E4m3 => ("m16n8k32.row.col.mxf8f6f4.scale.1x", "e4m3", "ue8m0"),
            Self::Mxfp8E5m2 => ("m16n8k32.row.col.mxf8f6f4.scale.1x", "e5m2", "ue8m0"),
        };
        format!("llvm.nvvm.mma.block.scale.{instruction}.f32.{element}.{element}.f32.{scale}")
    }
}

/// Block scales of a fragment: a register whose lanes hold those of rows or columns, and which lanes and bytes are meant.
#[derive(Clone, Copy)]
pub struct Scales<'c> {
    /// The register, an `i32`.
    pub register: Value<'c>,
    /// The first byte; the others follow it.
    pub byte: i64,
    /// Which lanes of four: of lhs the pair of that number, for rows of the fragment's upper and lower half; of rhs the
    /// lane. (PTX ISA, "Scaling factor selection".)
    pub thread: i64,
}

impl Mma {
    /// Contracted elements in the bytes of a fragment.
    pub const fn elements(self) -> i64 {
        match self {
            Self::F16 | Self::Bf16 => BYTES / 2,
            Self::BlockScaled(BlockScaled::Nvfp4 | BlockScaled::Mxfp4) => BYTES * 2,
            Self::BlockScaled(_) => BYTES,
        }
    }

    /// The sums plus the product of two fragments. `scales` are those of lhs and rhs where the product is of codes with
    /// block scales.
    pub fn multiply<'c>(
        self,
        b: &Builder<'c>,
        (lhs, rhs): (&[Value<'c>], &[Value<'c>]),
        sums: &[Value<'c>],
        scales: Option<[Scales<'c>; 2]>,
    ) -> Vec<Value<'c>> {
        let mut operands: Vec<Value<'c>> = [lhs, rhs].concat();
        let name = match self {
            Self::F16 => {
                let halves = Type::vector(&[2], b.f16());
                for operand in &mut operands {
                    *operand = b.cast("llvm.bitcast", *operand, halves);
                }
                "llvm.nvvm.mma.m16n8k16.row.col.f32.f32".to_owned()
            }
            Self::Bf16 => "llvm.nvvm.mma.m16n8k16.row.col.bf16".to_owned(),
            Self::BlockScaled(format) => format.intrinsic(),
        };
        operands.extend(sums);
        for own in scales.into_iter().flatten() {
            let number = |value| b.constant_integer(b.integer(16), value);
            operands.extend([own.register, number(own.byte), number(own.thread)]);
        }
        intrinsic_of_many(b, &name, &operands, &[b.f32(); 4])
    }
}

/// Four matrices of 8 rows of 16 bytes, one register each: lane 8i + j gives the address of row j of matrix i, in shared
/// memory.
pub fn load<'c>(b: &Builder<'c>, address: Value<'c>) -> Vec<Value<'c>> {
    let name = "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16";
    intrinsic_of_many(b, name, &[shared::own(b, address)], &[b.integer(32); 4])
}

/// The same of matrices of 16-bit numbers that are transposed on the way.
pub fn load_transposed<'c>(b: &Builder<'c>, address: Value<'c>) -> Vec<Value<'c>> {
    let name = "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16";
    intrinsic_of_many(b, name, &[shared::own(b, address)], &[b.integer(32); 4])
}

/// A call of an intrinsic that gives a structure.
fn intrinsic_of_many<'c>(
    b: &Builder<'c>,
    name: &str,
    operands: &[Value<'c>],
    results: &[Type<'c>],
) -> Vec<Value<'c>> {
    let structure = llvm::r#type::r#struct(b.context(), results, false);
    let all = b.intrinsic(name, operands, structure);
    let part = |(number, &result): (usize, &Type<'c>)| {
        let position = DenseI64ArrayAttribute::new(b.context(), &[number as i64]).into();
        b.value(
            "llvm.extractvalue",
            &[all],
            result,
            &[("position", position)],
        )
    };
    results.iter().enumerate().map(part).collect()
}
