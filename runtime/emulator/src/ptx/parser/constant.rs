//! Constant expressions of integers (PTX ISA 4.5.6), and numbers.

use super::super::{Literal, ParseError};
use super::{Parser, Token};

/// A value of an expression: 64 bits, signed until an operand or a cast says otherwise.
#[derive(Clone, Copy)]
struct Value {
    bits: u64,
    unsigned: bool,
}

/// Binary operators, those that bind closer first.
const LEVELS: [&[&str]; 10] = [
    &["*", "/", "%"],
    &["+", "-"],
    &["<<", ">>"],
    &["<", ">", "<=", ">="],
    &["==", "!="],
    &["&"],
    &["^"],
    &["|"],
    &["&&"],
    &["||"],
];

impl Parser<'_> {
    /// A number, or an expression of integers.
    pub(super) fn literal(&mut self) -> Result<Literal, ParseError> {
        let negative = self.peek() == Token::Sign("-");
        match if negative {
            self.peek_second()
        } else {
            self.peek()
        } {
            Token::Single(bits) => {
                self.next += 1 + usize::from(negative);
                Ok(Literal::Single(bits ^ (u32::from(negative) << 31)))
            }
            Token::Double(value) => {
                self.next += 1 + usize::from(negative);
                Ok(Literal::Double(if negative { -value } else { value }))
            }
            _ => self.constant(),
        }
    }

    /// An expression of integers.
    pub(super) fn constant(&mut self) -> Result<Literal, ParseError> {
        let Value { bits, unsigned } = self.conditional()?;
        Ok(if unsigned {
            Literal::Unsigned(bits)
        } else {
            Literal::Signed(bits as i64)
        })
    }

    fn conditional(&mut self) -> Result<Value, ParseError> {
        let condition = self.binary(LEVELS.len())?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let yes = self.nested(Self::conditional)?;
        self.sign(":")?;
        let no = self.nested(Self::conditional)?;
        Ok(if condition.bits != 0 { yes } else { no })
    }

    /// Operators of the levels below `level`.
    fn binary(&mut self, level: usize) -> Result<Value, ParseError> {
        let Some(below) = level.checked_sub(1) else {
            return self.unary();
        };
        let mut left = self.binary(below)?;
        loop {
            let Token::Sign(operator) = self.peek() else {
                return Ok(left);
            };
            // `d|p` is two destinations, and no number stands on either side of it.
            if !LEVELS[below].contains(&operator) {
                return Ok(left);
            }
            self.take();
            let place = self.place();
            let right = self.binary(below)?;
            let Some(value) = apply(operator, left, right) else {
                return Err(ParseError {
                    place,
                    expected: "a divisor that is not zero".into(),
                    found: "the number 0".into(),
                });
            };
            left = value;
        }
    }

    /// An operator before a value nests as a parenthesis does.
    fn unary(&mut self) -> Result<Value, ParseError> {
        self.nested(Self::signed_or_primary)
    }

    fn signed_or_primary(&mut self) -> Result<Value, ParseError> {
        let signed = |bits: i64| Value {
            bits: bits as u64,
            unsigned: false,
        };
        if self.takes("-") {
            let value = self.unary()?;
            return Ok(Value {
                bits: value.bits.wrapping_neg(),
                ..value
            });
        }
        if self.takes("+") {
            return self.unary();
        }
        if self.takes("~") {
            let value = self.unary()?;
            return Ok(Value {
                bits: !value.bits,
                ..value
            });
        }
        if self.takes("!") {
            return Ok(signed(i64::from(self.unary()?.bits == 0)));
        }
        if self.takes("(") {
            let cast = match self.peek() {
                Token::Dotted("u64") => Some(true),
                Token::Dotted("s64") => Some(false),
                _ => None,
            };
            if let Some(unsigned) = cast {
                self.take();
                self.sign(")")?;
                return Ok(Value {
                    unsigned,
                    ..self.unary()?
                });
            }
            let value = self.conditional()?;
            self.sign(")")?;
            return Ok(value);
        }
        match self.peek() {
            Token::Integer { value, unsigned } => {
                self.take();
                Ok(Value {
                    bits: value,
                    unsigned,
                })
            }
            Token::Word("WARP_SZ") => {
                self.take();
                Ok(signed(32))
            }
            _ => self.error("a number"),
        }
    }
}

/// An operator's value; none of a division by zero.
fn apply(operator: &str, left: Value, right: Value) -> Option<Value> {
    let unsigned = left.unsigned || right.unsigned;
    let (a, b) = (left.bits, right.bits);
    let (signed_a, signed_b) = (a as i64, b as i64);
    let truth = |truth: bool| Value {
        bits: u64::from(truth),
        unsigned: false,
    };
    let order = if unsigned {
        a.cmp(&b)
    } else {
        signed_a.cmp(&signed_b)
    };
    let shift = u32::try_from(b).unwrap_or(64);
    let bits = match operator {
        "*" => a.wrapping_mul(b),
        "/" if unsigned => a.checked_div(b)?,
        "/" if b == 0 => return None,
        "/" => signed_a.wrapping_div(signed_b) as u64,
        "%" if unsigned => a.checked_rem(b)?,
        "%" if b == 0 => return None,
        "%" => signed_a.wrapping_rem(signed_b) as u64,
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "<<" => a.checked_shl(shift).unwrap_or(0),
        ">>" if left.unsigned => a.checked_shr(shift).unwrap_or(0),
        ">>" => (signed_a >> shift.min(63)) as u64,
        "&" => a & b,
        "^" => a ^ b,
        "|" => a | b,
        "<" => return Some(truth(order.is_lt())),
        ">" => return Some(truth(order.is_gt())),
        "<=" => return Some(truth(order.is_le())),
        ">=" => return Some(truth(order.is_ge())),
        "==" => return Some(truth(a == b)),
        "!=" => return Some(truth(a != b)),
        "&&" => return Some(truth(a != 0 && b != 0)),
        _ => return Some(truth(a != 0 || b != 0)),
    };
    // A shift has its left operand's type.
    let unsigned = if matches!(operator, "<<" | ">>") {
        left.unsigned
    } else {
        unsigned
    };
    Some(Value { bits, unsigned })
}
