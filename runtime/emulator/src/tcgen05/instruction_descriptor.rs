//! Instruction descriptors: 32 bits that say what `tcgen05.mma` multiplies (PTX ISA 9.7.16.4.2).

use super::datapath::Layout;
use super::shared_descriptor::Major;
use crate::instruction::{Accumulator, Element};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// `.kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    Tf32,
    F8f6f4,
    I8,
    Mxf8f6f4,
    Mxf4,
    Mxf4nvf4,
}

impl Kind {
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "tf32" => Self::Tf32,
            "f8f6f4" => Self::F8f6f4,
            "i8" => Self::I8,
            "mxf8f6f4" => Self::Mxf8f6f4,
            "mxf4" => Self::Mxf4,
            "mxf4nvf4" => Self::Mxf4nvf4,
            _ => return None,
        })
    }

    /// Whether A and B have scales by blocks.
    pub const fn is_scaled(self) -> bool {
        matches!(self, Self::Mxf8f6f4 | Self::Mxf4 | Self::Mxf4nvf4)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Tf32 => "tf32",
            Self::F8f6f4 => "f8f6f4",
            Self::I8 => "i8",
            Self::Mxf8f6f4 => "mxf8f6f4",
            Self::Mxf4 => "mxf4",
            Self::Mxf4nvf4 => "mxf4nvf4",
        }
    }
}

/// A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub element: Element,
    pub is_negated: bool,
    pub major: Major,
    /// The first byte of its scales in a word.
    pub scale_id: u32,
}

/// A descriptor, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstructionDescriptor {
    pub kind: Kind,
    pub layout: Layout,
    pub m: u32,
    pub n: u32,
    pub a: Operand,
    pub b: Operand,
    pub result: Accumulator,
    /// Of the scales, and how many a row has.
    pub scales: Option<(ScaleFormat, u32)>,
    pub saturates: bool,
}

/// What of the instruction itself a descriptor must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub kind: Kind,
    /// `.cta_group::2`
    pub pair: bool,
    pub a_in_tensor_memory: bool,
    /// Scales of a row that `.scale_vec` or `.block16` and `.block32` say.
    pub blocks: Option<u32>,
}

impl InstructionDescriptor {
    /// Takes a descriptor apart, or says which field cannot be.
    pub fn new(bits: u32, form: Form) -> Result<Self, String> {
        let Form { kind, pair, .. } = form;
        let field = |low: u32, count: u32| bits >> low & ((1 << count) - 1);
        let zero = |low: u32, count: u32, what: &str| match field(low, count) {
            0 => Ok(()),
            other => Err(format!(
                "an instruction descriptor of .kind::{} has 0 in bit {low}, {what}, and not {other}",
                kind.name()
            )),
        };
        if field(2, 1) == 1 {
            return Err(
                "an instruction descriptor that says A is sparse, bit 2, is not modelled".into(),
            );
        }
        zero(0, 2, "the selector of what is sparse")?;
        zero(6, 1, "which is reserved")?;
        let (result, saturates) = if kind.is_scaled() {
            zero(3, 1, "which is reserved")?;
            (Accumulator::F32, false)
        } else {
            zero(23, 1, "which is reserved")?;
            zero(29, 1, "which is reserved")?;
            zero(30, 2, "the largest shift of .ws")?;
            if kind != Kind::I8 {
                zero(3, 1, "saturation")?;
            }
            (result(kind, field(4, 2))?, field(3, 1) == 1)
        };
        let operand = |name: &str, format: u32, negated: u32, transposed: u32, scale_id: u32| {
            let operand = Operand {
                element: element(kind, format).ok_or_else(|| {
                    format!(
                        "an instruction descriptor of .kind::{} has no format {format} of {name}",
                        kind.name()
                    )
                })?,
                is_negated: negated == 1,
                major: if transposed == 1 { Major::Mn } else { Major::K },
                scale_id,
            };
            check_operand(kind, name, &operand)?;
            Ok::<_, String>(operand)
        };
        let scale_ids = if kind.is_scaled() {
            (field(29, 2), field(4, 2))
        } else {
            (0, 0)
        };
        let a = operand("A", field(7, 3), field(13, 1), field(15, 1), scale_ids.0)?;
        let b = operand("B", field(10, 3), field(14, 1), field(16, 1), scale_ids.1)?;
        if form.a_in_tensor_memory && a.major == Major::Mn {
            return Err(
                "an instruction descriptor transposes A, bit 15, which tensor memory has by rows"
                    .into(),
            );
        }
        let (m, n) = (field(24, 5) << 4, field(17, 6) << 3);
        let layout = Layout::of(m, pair).ok_or_else(|| {
            format!(
                "an instruction descriptor of .cta_group::{} has no M of {m}",
                1 + u32::from(pair)
            )
        })?;
        let descriptor = Self {
            kind,
            layout,
            m,
            n,
            a,
            b,
            result,
            scales: scales(bits, form, (a.scale_id, b.scale_id))?,
            saturates,
        };
        descriptor.check_shape(form)?;
        Ok(descriptor)
    }

    fn check_shape(&self, form: Form) -> Result<(), String> {
        let Self { kind, m, n, .. } = *self;
        let step = match (kind, form.pair) {
            (Kind::I8, false) if n == 8 || n == 24 => 8,
            (Kind::I8, false) => 16,
            (Kind::I8, true) => 32,
            (_, true) if form.a_in_tensor_memory && !kind.is_scaled() => 32,
            (_, true) => 16,
            (_, false) if form.a_in_tensor_memory && !kind.is_scaled() && m == 128 => 16,
            (_, false) => 8,
        };
        // B that lies along N is read by rows of at least 16 bytes.
        let is_byte = matches!(kind, Kind::F8f6f4 | Kind::I8 | Kind::Mxf8f6f4);
        let step = match self.b.major {
            Major::Mn if is_byte => step.max(if form.pair { 32 } else { 16 }),
            _ => step,
        };
        if n == 0 || n > 256 || !n.is_multiple_of(step) {
            return Err(format!(
                "an instruction descriptor of .kind::{} with M = {m} has N a multiple of {step} up to 256, and not {n}",
                kind.name()
            ));
        }
        if kind.is_scaled() && !form.pair && m != 128 {
            return Err(format!(
                "an instruction descriptor of .kind::{} has M = 128, and not {m}",
                kind.name()
            ));
        }
        Ok(())
    }
}

fn result(kind: Kind, format: u32) -> Result<Accumulator, String> {
    match (kind, format) {
        (Kind::F16 | Kind::F8f6f4, 0) => Ok(Accumulator::F16),
        (Kind::I8, 2) => Ok(Accumulator::S32),
        (Kind::F16 | Kind::F8f6f4 | Kind::Tf32, 1) => Ok(Accumulator::F32),
        _ => Err(format!(
            "an instruction descriptor of .kind::{} has no format {format} of D, bits 4 and 5",
            kind.name()
        )),
    }
}

fn element(kind: Kind, format: u32) -> Option<Element> {
    let low = |format, in_bytes| Element::Low { format, in_bytes };
    Some(match (kind, format) {
        (Kind::F16, 0) => Element::F16,
        (Kind::F16, 1) => Element::Bf16,
        (Kind::Tf32, 2) => Element::Tf32,
        (Kind::I8, 0 | 1) => Element::Integer {
            bits: 8,
            signed: format == 1,
        },
        (Kind::F8f6f4 | Kind::Mxf8f6f4, _) => match format {
            0 => low(ElementFormat::E4m3, true),
            1 => low(ElementFormat::E5m2, true),
            3 => low(ElementFormat::E2m3, true),
            4 => low(ElementFormat::E3m2, true),
            5 => low(ElementFormat::E2m1, true),
            _ => return None,
        },
        (Kind::Mxf4 | Kind::Mxf4nvf4, 1) => low(ElementFormat::E2m1, false),
        _ => return None,
    })
}

fn check_operand(kind: Kind, name: &str, operand: &Operand) -> Result<(), String> {
    let refuse = |what: &str| {
        Err(format!(
            "an instruction descriptor of .kind::{} {what} {name}, which it cannot",
            kind.name()
        ))
    };
    if operand.is_negated && kind == Kind::I8 {
        return refuse("negates");
    }
    let is_packed = match operand.element {
        Element::Low { format, .. } => format.bits() < 8,
        _ => false,
    };
    if operand.major == Major::Mn && is_packed {
        return refuse("transposes");
    }
    Ok(())
}

/// The format of scales and their number in a row.
fn scales(
    bits: u32,
    form: Form,
    (a_id, b_id): (u32, u32),
) -> Result<Option<(ScaleFormat, u32)>, String> {
    let kind = form.kind;
    if !kind.is_scaled() {
        return Ok(None);
    }
    if bits >> 31 == 1 {
        return Err("an instruction descriptor with K = 96, bit 31, is not modelled".into());
    }
    let format = if bits >> 23 & 1 == 1 {
        ScaleFormat::E8m0
    } else {
        ScaleFormat::E4m3
    };
    let blocks = form.blocks.unwrap_or(match kind {
        Kind::Mxf8f6f4 => 1,
        _ => 2,
    });
    if format == ScaleFormat::E4m3 && (kind, blocks) != (Kind::Mxf4nvf4, 4) {
        return Err(format!(
            "an instruction descriptor of .kind::{} with {blocks} scales in a row has E8M0, 1 in bit 23",
            kind.name()
        ));
    }
    for (name, id) in [("A", a_id), ("B", b_id)] {
        if id % blocks != 0 {
            return Err(format!(
                "an instruction descriptor of {blocks} scales in a row selects a multiple of {blocks} as the first byte of \
                 {name}'s, and not {id}"
            ));
        }
    }
    Ok(Some((format, blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn form(kind: Kind) -> Form {
        Form {
            kind,
            pair: false,
            a_in_tensor_memory: false,
            blocks: None,
        }
    }

    /// N of 64 and M of 128.
    const SHAPE: u32 = 8 << 17 | 8 << 24;
    const F32: u32 = 1 << 4;

    fn error(bits: u32, form: Form) -> String {
        InstructionDescriptor::new(bits, form).unwrap_err()
    }

    #[test]
    fn f16_by_f16() {
        let found = InstructionDescriptor::new(SHAPE | F32, form(Kind::F16)).unwrap();
        let operand = Operand {
            element: Element::F16,
            is_negated: false,
            major: Major::K,
            scale_id: 0,
        };
        assert_eq!(
            found,
            InstructionDescriptor {
                kind: Kind::F16,
                layout: Layout::Single128,
                m: 128,
                n: 64,
                a: operand,
                b: operand,
                result: Accumulator::F32,
                scales: None,
                saturates: false,
            }
        );
        let bits = SHAPE | F32 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 15;
        let found = InstructionDescriptor::new(bits, form(Kind::F16)).unwrap();
        assert_eq!(
            (found.a.element, found.b.element),
            (Element::Bf16, Element::Bf16)
        );
        assert_eq!((found.a.is_negated, found.b.is_negated), (false, true));
        assert_eq!((found.a.major, found.b.major), (Major::Mn, Major::K));
    }

    #[test]
    fn nvfp4_and_mxfp4() {
        let formats = 1 << 7 | 1 << 10;
        let nvfp4 = Form {
            blocks: Some(4),
            ..form(Kind::Mxf4nvf4)
        };
        let found = InstructionDescriptor::new(SHAPE | formats, nvfp4).unwrap();
        assert_eq!(found.scales, Some((ScaleFormat::E4m3, 4)));
        let bits = SHAPE | formats | 1 << 23 | 2 << 29;
        let found = InstructionDescriptor::new(bits, form(Kind::Mxf4)).unwrap();
        assert_eq!(found.scales, Some((ScaleFormat::E8m0, 2)));
        assert_eq!((found.a.scale_id, found.b.scale_id), (2, 0));
        let found =
            InstructionDescriptor::new(SHAPE | 5 << 7 | 1 << 23 | 3 << 4, form(Kind::Mxf8f6f4));
        let found = found.unwrap();
        assert_eq!((found.a.scale_id, found.b.scale_id), (0, 3));
        let element = Element::Low {
            format: ElementFormat::E2m1,
            in_bytes: true,
        };
        assert_eq!(found.a.element, element);
    }

    #[test]
    fn fields_that_cannot_be_are_named() {
        let f16 = form(Kind::F16);
        assert!(error(SHAPE | F32 | 1 << 2, f16).contains("sparse, bit 2"));
        assert!(error(SHAPE | F32 | 1 << 3, f16).contains("saturation"));
        assert!(error(SHAPE | 2 << 4, f16).contains("format 2 of D"));
        assert!(error(SHAPE | F32 | 2 << 7, f16).contains("format 2 of A"));
        assert!(error(SHAPE | F32 | 3 << 10, f16).contains("format 3 of B"));
        assert!(error(8 << 17 | 16 << 24 | F32, f16).contains("no M of 256"));
        assert!(error(8 << 24 | F32, f16).contains("N a multiple of 8"));
        assert!(error(SHAPE | 2 << 4 | 1 << 13, form(Kind::I8)).contains("negates A"));
        let fp4 = SHAPE | 1 << 7 | 1 << 10;
        assert!(error(fp4, form(Kind::Mxf4)).contains("E8M0, 1 in bit 23"));
        assert!(error(fp4 | 1 << 23 | 1 << 29, form(Kind::Mxf4)).contains("first byte of A's"));
        assert!(error(fp4 | 1 << 23 | 1 << 16, form(Kind::Mxf4)).contains("transposes B"));
        assert!(error(fp4 | 1 << 23 | 1 << 31, form(Kind::Mxf4)).contains("K = 96"));
        let small = 8 << 17 | 4 << 24 | 1 << 7 | 1 << 10 | 1 << 23;
        assert!(error(small, form(Kind::Mxf4)).contains("has M = 128"));
    }

    #[test]
    fn shapes_of_a_pair() {
        let pair = Form {
            pair: true,
            ..form(Kind::F16)
        };
        let bits = 8 << 17 | 16 << 24 | F32;
        let found = InstructionDescriptor::new(bits, pair).unwrap();
        assert_eq!(found.layout, Layout::Pair256);
        assert!(error(1 << 17 | 16 << 24 | F32, pair).contains("N a multiple of 16"));
        assert!(error(8 << 17 | 4 << 24 | F32, pair).contains("no M of 64"));
    }
}
