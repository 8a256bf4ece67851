//! One element as text: decimal where that reads back to the same bits, hexadecimal otherwise.

use super::cursor::{Cursor, integer_value};
use super::lexer::TokenKind;
use crate::diagnostic::Diagnostic;
use half::{bf16, f16};
use std::fmt::Write;
use tessera_numerics::ElementType;

impl Cursor<'_> {
    /// Passes one element and appends its bytes, little-endian, to `bytes`: `true`, `-3`, `1.5`, `0x7FC00000`.
    ///
    /// A hexadecimal number is the element's bits. A decimal one is rounded to the nearest element; a 16-bit float is
    /// rounded by way of f64, as MLIR does.
    ///
    /// # Errors
    /// Something else stands there, or the number is out of the element type's range.
    pub fn element(&mut self, element: ElementType, bytes: &mut Vec<u8>) -> Result<(), Diagnostic> {
        let start = self.offset();
        let negative = self.eat(TokenKind::Minus);
        let token = self.peek();
        let out_of_range = |cursor: &Self| {
            let sign = if negative { "-" } else { "" };
            let message = format!("'{sign}{}' is out of range for {element}", token.text);
            Diagnostic::new(message, cursor.span_from(start))
        };
        match (token.kind, element) {
            (TokenKind::Bare, ElementType::I1) if token.text == "true" && !negative => {
                bytes.push(1);
            }
            (TokenKind::Bare, ElementType::I1) if token.text == "false" && !negative => {
                bytes.push(0);
            }
            (TokenKind::Float, float) if float.is_float() => {
                self.advance();
                let pushed = push_decimal_float(float, token.text, negative, bytes);
                return pushed.ok_or_else(|| out_of_range(self));
            }
            (TokenKind::Integer, integer) if !integer.is_float() => {
                self.advance();
                let hexadecimal = token.text.starts_with("0x");
                let value = integer_value(token, negative);
                return value
                    .filter(|&value| is_in_range(integer, value, hexadecimal && !negative))
                    .map(|value| bytes.extend(&value.to_le_bytes()[..integer.size()]))
                    .ok_or_else(|| out_of_range(self));
            }
            (TokenKind::Integer, float) if token.text.starts_with("0x") && !negative => {
                self.advance();
                return integer_value(token, false)
                    .filter(|&bits| bits >> float.bits() == 0)
                    .map(|bits| bytes.extend(&bits.to_le_bytes()[..float.size()]))
                    .ok_or_else(|| out_of_range(self));
            }
            (TokenKind::Integer, _) if token.text.starts_with("0x") => {
                let message = "a hexadecimal float has no sign: the number is its bits";
                return Err(Diagnostic::new(message, start..token.end()));
            }
            (_, ElementType::I1) => return Err(self.unexpected("true or false")),
            (TokenKind::Integer, _) => {
                return Err(self.unexpected("a float with a decimal point, or its bits as 0x…"));
            }
            (_, float) if float.is_float() => return Err(self.unexpected("a float")),
            _ => return Err(self.unexpected("an integer")),
        }
        self.advance();
        Ok(())
    }
}

/// Whether an integer is an element of the type; as bits, a signed type takes what an unsigned one of its width does.
fn is_in_range(element: ElementType, value: i128, bits: bool) -> bool {
    let width = element.bits();
    let unsigned = 0..1 << width;
    if element.is_signed_integer() && !bits {
        let half = 1i128 << (width - 1);
        (-half..half).contains(&value)
    } else {
        unsigned.contains(&value)
    }
}

/// Appends a decimal float rounded to the element type, or nothing where it is too large.
fn push_decimal_float(
    element: ElementType,
    digits: &str,
    negative: bool,
    bytes: &mut Vec<u8>,
) -> Option<()> {
    let sign = if negative { -1.0 } else { 1.0 };
    match element {
        ElementType::F64 => {
            let value: f64 = digits.parse().ok().filter(|v: &f64| v.is_finite())?;
            bytes.extend((sign * value).to_le_bytes());
        }
        ElementType::F32 => {
            let value: f32 = digits.parse().ok().filter(|v: &f32| v.is_finite())?;
            bytes.extend((sign as f32 * value).to_le_bytes());
        }
        ElementType::F16 => {
            let value = f16::from_f64_const(sign * digits.parse::<f64>().ok()?);
            bytes.extend(Some(value).filter(|v| v.is_finite())?.to_le_bytes());
        }
        _ => {
            let value = bf16::from_f64_const(sign * digits.parse::<f64>().ok()?);
            bytes.extend(Some(value).filter(|v| v.is_finite())?.to_le_bytes());
        }
    }
    Some(())
}

/// Appends the text of one element, given by its bytes: the shortest that reads back to the same bits.
pub(super) fn write_element(text: &mut String, element: ElementType, bytes: &[u8]) {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    // A string takes whatever is written to it.
    let _ = match element {
        ElementType::I1 => write!(text, "{}", bits != 0),
        ElementType::I8 => write!(text, "{}", bits as i8),
        ElementType::I16 => write!(text, "{}", bits as i16),
        ElementType::I32 => write!(text, "{}", bits as i32),
        ElementType::I64 => write!(text, "{}", bits as i64),
        ElementType::Ui8 | ElementType::Ui16 | ElementType::Ui32 | ElementType::Ui64 => {
            write!(text, "{bits}")
        }
        ElementType::F16 => write_half(
            text,
            f16::from_bits(bits as u16).to_f64(),
            bits as u16,
            |v| f16::from_f64_const(v).to_bits(),
        ),
        ElementType::Bf16 => write_half(
            text,
            bf16::from_bits(bits as u16).to_f64(),
            bits as u16,
            |v| bf16::from_f64_const(v).to_bits(),
        ),
        ElementType::F32 => {
            let value = f32::from_bits(bits as u32);
            if value.is_finite() {
                write_decimal(text, &format!("{value:?}"))
            } else {
                write!(text, "0x{bits:08X}")
            }
        }
        ElementType::F64 => {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                write_decimal(text, &format!("{value:?}"))
            } else {
                write!(text, "0x{bits:016X}")
            }
        }
    };
}

/// A 16-bit float in the fewest decimal digits that give its bits again when rounded by way of f64.
fn write_half(
    text: &mut String,
    value: f64,
    bits: u16,
    round: impl Fn(f64) -> u16,
) -> std::fmt::Result {
    // Five significant digits tell any two floats of eleven significant bits apart.
    let shortest = (0..5)
        .map(|digits| format!("{value:.digits$e}").parse().unwrap_or(f64::NAN))
        .find(|&candidate: &f64| value.is_finite() && round(candidate) == bits);
    match shortest {
        Some(candidate) => write_decimal(text, &format!("{candidate:?}")),
        None => write!(text, "0x{bits:04X}"),
    }
}

/// Writes Rust's shortest decimal, `1e-5`, as MLIR reads it, with a point: `1.0e-5`.
fn write_decimal(text: &mut String, decimal: &str) -> std::fmt::Result {
    match decimal.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => {
            write!(text, "{mantissa}.0e{exponent}")
        }
        _ => text.write_str(decimal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(element: ElementType, text: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut cursor = Cursor::new(text);
        cursor
            .element(element, &mut bytes)
            .map_err(|error| error.message)?;
        assert!(cursor.at(TokenKind::End));
        Ok(bytes)
    }

    fn written(element: ElementType, bytes: &[u8]) -> String {
        let mut text = String::new();
        write_element(&mut text, element, bytes);
        text
    }

    #[test]
    fn floats_are_written_shortest_with_a_point() {
        for (value, text) in [
            (0.0f32, "0.0"),
            (-0.0, "-0.0"),
            (1e-5, "1.0e-5"),
            (0.1, "0.1"),
            (256.0, "256.0"),
            (1.5e30, "1.5e30"),
            (f32::INFINITY, "0x7F800000"),
            (f32::NEG_INFINITY, "0xFF800000"),
        ] {
            assert_eq!(written(ElementType::F32, &value.to_le_bytes()), text);
        }
        let tenth = bf16::from_f32(0.1);
        assert_eq!(written(ElementType::Bf16, &tenth.to_le_bytes()), "0.1");
    }

    #[test]
    fn every_16_bit_float_reads_back_to_its_bits() {
        for element in [ElementType::F16, ElementType::Bf16] {
            for bits in 0..=u16::MAX {
                let text = written(element, &bits.to_le_bytes());
                assert_eq!(
                    read(element, &text),
                    Ok(bits.to_le_bytes().into()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn extreme_numbers_read_back() {
        for bits in [
            1u32,
            0x007F_FFFF,
            0x0080_0000,
            0x7F7F_FFFF,
            0x7FC0_0001,
            0xFFA0_0000,
        ] {
            let text = written(ElementType::F32, &bits.to_le_bytes());
            assert_eq!(read(ElementType::F32, &text), Ok(bits.to_le_bytes().into()));
        }
        for bits in [1u64, f64::MAX.to_bits(), f64::NAN.to_bits() | 5] {
            let text = written(ElementType::F64, &bits.to_le_bytes());
            assert_eq!(read(ElementType::F64, &text), Ok(bits.to_le_bytes().into()));
        }
        for (element, text) in [
            (ElementType::I8, "-128"),
            (ElementType::I64, "-9223372036854775808"),
            (ElementType::Ui64, "18446744073709551615"),
            (ElementType::I1, "true"),
        ] {
            assert_eq!(written(element, &read(element, text).unwrap()), text);
        }
    }

    #[test]
    fn numbers_as_jax_prints_them_are_read() {
        assert_eq!(
            read(ElementType::F32, "9.99999974E-6"),
            Ok(1e-5f32.to_le_bytes().into())
        );
        assert_eq!(
            read(ElementType::F32, "-5.000000e-01"),
            Ok((-0.5f32).to_le_bytes().into())
        );
        assert_eq!(read(ElementType::Bf16, "0xFF80"), Ok(vec![0x80, 0xFF]));
        assert_eq!(read(ElementType::I32, "0xFFFFFFFF"), Ok(vec![0xFF; 4]));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (element, text) in [
            (ElementType::I8, "128"),
            (ElementType::I8, "-129"),
            (ElementType::I8, "0x100"),
            (ElementType::Ui8, "-1"),
            (ElementType::Ui64, "18446744073709551616"),
            (ElementType::I1, "2"),
            (ElementType::F32, "1.0e39"),
            (ElementType::F64, "-1.0e999"),
            (ElementType::Bf16, "0x10000"),
            (ElementType::F16, "65520.0"),
        ] {
            let expected = format!("'{text}' is out of range for {element}");
            assert_eq!(read(element, text), Err(expected));
        }
    }

    #[test]
    fn numbers_of_another_kind_are_refused() {
        for (element, text, expected) in [
            (
                ElementType::F32,
                "1",
                "expected a float with a decimal point, or its bits as 0x…, found '1'",
            ),
            (ElementType::F32, "true", "expected a float, found 'true'"),
            (ElementType::I32, "1.0", "expected an integer, found '1.0'"),
            (
                ElementType::I1,
                "1.0",
                "expected true or false, found '1.0'",
            ),
            (
                ElementType::F32,
                "-0x1",
                "a hexadecimal float has no sign: the number is its bits",
            ),
            (
                ElementType::I32,
                "",
                "expected an integer, found the end of the text",
            ),
        ] {
            assert_eq!(read(element, text), Err(expected.into()));
        }
    }
}
