//! What `tcgen05.mma` can multiply, and the numbers that tell it: kinds and instruction descriptors.

use crate::nvptx::family::boxes::{Half, Major};
use tessera_ir::ScaledType;
use tessera_numerics::{ElementFormat, ScaleFormat};

/// `.kind` of a product. (PTX ISA, "tcgen05.mma", table of kinds.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// E2M1 by E2M1, an E4M3 scale for each 16.
    Mxf4nvf4,
    /// E2M1 by E2M1, an E8M0 scale for each 32.
    Mxf4,
    /// Formats of 4, 6 and 8 bits by each other, an E8M0 scale for each 32.
    Mxf8f6f4,
    /// Formats of 8 bits by each other, without block scales.
    F8f6f4,
    /// Numbers of 16 bits.
    Half(Half),
}

impl Kind {
    /// That of a product of two formats; `None` where there is none, for their blocks differ.
    pub fn of(operands: [&ScaledType; 2]) -> Option<Self> {
        let is_e2m1 = |scaled: &ScaledType| scaled.format().element() == ElementFormat::E2m1;
        let both_are_e2m1 = operands.into_iter().all(is_e2m1);
        let [blocks, others] = operands.map(|scaled| scaled.format().block());
        if blocks != others {
            return None;
        }
        match blocks {
            Some((16, ScaleFormat::E4m3)) if both_are_e2m1 => Some(Self::Mxf4nvf4),
            Some((32, ScaleFormat::E8m0)) if both_are_e2m1 => Some(Self::Mxf4),
            Some((32, ScaleFormat::E8m0)) => Some(Self::Mxf8f6f4),
            Some(_) => None,
            None => Some(Self::F8f6f4),
        }
    }

    /// The instruction's qualifiers.
    pub const fn qualifiers(self) -> &'static str {
        match self {
            Self::Mxf4nvf4 => "kind::mxf4nvf4.block_scale.block16",
            Self::Mxf4 => "kind::mxf4.block_scale.block32",
            Self::Mxf8f6f4 => "kind::mxf8f6f4.block_scale.block32",
            Self::F8f6f4 => "kind::f8f6f4",
            Self::Half(_) => "kind::f16",
        }
    }

    /// Scales of a row that an instruction takes; its 32 bytes of codes are so many blocks, if they have any.
    pub const fn scales(self) -> i64 {
        match self {
            Self::Mxf4nvf4 => 4,
            Self::Mxf4 => 2,
            Self::Mxf8f6f4 => 1,
            Self::F8f6f4 | Self::Half(_) => 0,
        }
    }

    /// Elements along K that an instruction multiplies.
    pub const fn depth(self) -> i64 {
        match self {
            Self::Mxf4nvf4 | Self::Mxf4 => 64,
            Self::Mxf8f6f4 | Self::F8f6f4 => 32,
            Self::Half(_) => 16,
        }
    }

    /// The instruction descriptor of a product of `m` rows by `n` columns, both along K, whose scales begin at byte
    /// `scale_byte` of their words. (PTX ISA, "Instruction descriptor", table for block-scaled kinds.)
    pub fn descriptor(self, formats: [ElementFormat; 2], [m, n]: [i64; 2], scale_byte: i64) -> u32 {
        debug_assert!(is_shape(m, n) && (0..4).contains(&scale_byte));
        let [a, b] = formats.map(|format| self.format(format));
        let [m, n, scale_byte] = [m, n, scale_byte].map(|number| number as u32);
        let is_e8m0 = u32::from(!matches!(self, Self::Mxf4nvf4));
        scale_byte << 4
            | a << 7
            | b << 10
            | (n >> 3) << 17
            | is_e8m0 << 23
            | (m >> 4) << 24
            | scale_byte << 29
    }

    /// The instruction descriptor of such a product without block scales, into f32: of codes of these formats, or of numbers
    /// of 16 bits, and how A and B lie. (PTX ISA, "Instruction descriptor", table for `.kind::tf32`, `f16`, `f8f6f4`.)
    pub fn plain_descriptor(
        self,
        formats: Option<[ElementFormat; 2]>,
        majors: [Major; 2],
        [m, n]: [i64; 2],
    ) -> u32 {
        debug_assert!(is_shape(m, n));
        let [a, b] = match self {
            Self::Half(Half::F16) => [0; 2],
            Self::Half(Half::Bf16) => [1; 2],
            _ => formats.map_or([0; 2], |formats| formats.map(|format| self.format(format))),
        };
        let [a_across, b_across] = majors.map(|major| u32::from(major == Major::Rows));
        const F32: u32 = 1;
        F32 << 4
            | a << 7
            | b << 10
            | a_across << 15
            | b_across << 16
            | (n as u32 >> 3) << 17
            | (m as u32 >> 4) << 24
    }

    /// The descriptor's number of a format.
    const fn format(self, element: ElementFormat) -> u32 {
        match (self, element) {
            (Self::Mxf4nvf4 | Self::Mxf4, _) => 1,
            (_, ElementFormat::E4m3) => 0,
            (_, ElementFormat::E5m2) => 1,
            (_, ElementFormat::E2m3) => 3,
            (_, ElementFormat::E3m2) => 4,
            (_, ElementFormat::E2m1) => 5,
        }
    }
}

/// Whether there is an instruction of so many rows, of one CTA or a pair, by so many columns.
fn is_shape(m: i64, n: i64) -> bool {
    matches!(m, 128 | 256) && n % 16 == 0 && (16..=256).contains(&n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::{BlockShape, Format, ScaleLayout};

    fn kind(lhs: Format, rhs: Format) -> Option<Kind> {
        let scaled = [lhs, rhs].map(|format| {
            ScaledType::new([4, 64], format, 1, BlockShape::Vector, ScaleLayout::Linear).unwrap()
        });
        Kind::of([&scaled[0], &scaled[1]])
    }

    #[test]
    fn each_format_with_block_scales_has_a_kind() {
        assert_eq!(kind(Format::Nvfp4, Format::Nvfp4), Some(Kind::Mxf4nvf4));
        assert_eq!(kind(Format::Mxfp4, Format::Mxfp4), Some(Kind::Mxf4));
        for format in [Format::Mxfp6E2m3, Format::Mxfp8E4m3, Format::Mxfp8E5m2] {
            assert_eq!(kind(format, Format::Mxfp6E3m2), Some(Kind::Mxf8f6f4));
            assert_eq!(kind(Format::Mxfp4, format), Some(Kind::Mxf8f6f4));
        }
        assert_eq!(kind(Format::Fp8E4m3, Format::Fp8E5m2), Some(Kind::F8f6f4));
        assert_eq!(kind(Format::Fp8E4m3, Format::Mxfp8E4m3), None);
        assert_eq!(kind(Format::Nvfp4, Format::Mxfp4), None);
    }

    #[test]
    fn an_instruction_takes_whole_blocks_of_whole_rows_of_32_bytes() {
        for (kind, block, bits) in [
            (Kind::Mxf4nvf4, 16, 4),
            (Kind::Mxf4, 32, 4),
            (Kind::Mxf8f6f4, 32, 8),
        ] {
            assert_eq!(kind.depth() * bits, 32 * 8);
            assert_eq!(kind.depth(), kind.scales() * block);
        }
    }

    #[test]
    fn descriptors_have_their_fields_in_place() {
        let e2m1 = [ElementFormat::E2m1; 2];
        // Formats 1 and 1, N = 256, M = 128.
        let nvfp4 = Kind::Mxf4nvf4.descriptor(e2m1, [128, 256], 0);
        assert_eq!(nvfp4, 1 << 7 | 1 << 10 | 32 << 17 | 8 << 24);
        // M = 256, of a pair of CTAs.
        let of_pair = Kind::Mxf4nvf4.descriptor(e2m1, [256, 256], 0);
        assert_eq!(of_pair, 1 << 7 | 1 << 10 | 32 << 17 | 16 << 24);
        // Scales of E8M0 from byte 2 on.
        let mxfp4 = Kind::Mxf4.descriptor(e2m1, [128, 16], 2);
        assert_eq!(
            mxfp4,
            2 << 4 | 1 << 7 | 1 << 10 | 2 << 17 | 1 << 23 | 8 << 24 | 2 << 29
        );
        // Numbers into f32: bf16, B across; codes E4M3 and E5M2.
        let halves =
            Kind::Half(Half::Bf16).plain_descriptor(None, [Major::K, Major::Rows], [128, 64]);
        assert_eq!(
            halves,
            1 << 4 | 1 << 7 | 1 << 10 | 1 << 16 | 8 << 17 | 8 << 24
        );
        let codes = Some([ElementFormat::E4m3, ElementFormat::E5m2]);
        let codes = Kind::F8f6f4.plain_descriptor(codes, [Major::K; 2], [128, 32]);
        assert_eq!(codes, 1 << 4 | 1 << 10 | 4 << 17 | 8 << 24);
        let mixed = [ElementFormat::E5m2, ElementFormat::E3m2];
        let mixed = Kind::Mxf8f6f4.descriptor(mixed, [128, 64], 3);
        assert_eq!(
            mixed,
            3 << 4 | 1 << 7 | 4 << 10 | 8 << 17 | 1 << 23 | 8 << 24 | 3 << 29
        );
    }
}
