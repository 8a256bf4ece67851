//! A text's tokens.

use super::{ParseError, Place};
use std::fmt;

/// A token of a PTX text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'t> {
    /// A name, with its `%` or `$`; an opcode's first word.
    Word(&'t str),
    /// A word behind a dot, without it: a directive, a modifier, a component. `::` joins words to one.
    Dotted(&'t str),
    /// An integer; whether it is written as unsigned.
    Integer { value: u64, unsigned: bool },
    /// The bits of a single-precision number, `0f3F800000`.
    Single(u32),
    /// A double-precision number, `0d…` or in decimals.
    Double(f64),
    /// What stands in quotation marks.
    Text(&'t str),
    /// A sign of punctuation.
    Sign(&'static str),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "'{word}'"),
            Self::Dotted(word) => write!(f, "'.{word}'"),
            Self::Integer { value, .. } => write!(f, "the number {value}"),
            Self::Single(bits) => write!(f, "the number {:?}", f32::from_bits(*bits)),
            Self::Double(value) => write!(f, "the number {value:?}"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Sign(sign) => write!(f, "'{sign}'"),
            Self::End => f.write_str("the end of the text"),
        }
    }
}

/// Longer signs before those they begin with.
const SIGNS: [&str; 31] = [
    "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "{", "}", "[", "]", "(", ")", "<", ">", ",",
    ";", ":", "!", "|", "@", "+", "-", "*", "/", "&", "^", "~", "?", "=",
];

/// All tokens of a text with their places; the last is the end.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, Place)>, ParseError> {
    let mut lexer = Lexer {
        rest: text,
        last: ' ',
        place: Place { line: 1, column: 1 },
    };
    if text.starts_with('\u{feff}') {
        return lexer.error("PTX", "a byte order mark");
    }
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let place = lexer.place;
        let token = lexer.token()?;
        tokens.push((token, place));
        if token == Token::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    rest: &'t str,
    /// The character before the rest.
    last: char,
    place: Place,
}

impl<'t> Lexer<'t> {
    /// Takes so many bytes, which end between two characters.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        for character in taken.chars() {
            if character == '\n' {
                self.place = Place {
                    line: self.place.line + 1,
                    column: 1,
                };
            } else {
                self.place.column += 1;
            }
        }
        self.last = taken.chars().next_back().unwrap_or(self.last);
        self.rest = rest;
        taken
    }

    fn error<T>(&self, expected: &str, found: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError {
            place: self.place,
            expected: expected.into(),
            found: found.into(),
        })
    }

    /// Blanks, comments, and lines of a preprocessor.
    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if self.rest.starts_with("//") || (self.rest.starts_with('#') && self.place.column == 1)
            {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                match self.rest.find("*/") {
                    Some(end) => self.take(end + 2),
                    None => return self.error("a comment that ends", "the end of the text"),
                };
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'t>, ParseError> {
        let mut characters = self.rest.chars();
        let Some(first) = characters.next() else {
            return Ok(Token::End);
        };
        let second = characters.next().unwrap_or(' ');
        if first.is_ascii_digit() || self.is_fraction() {
            return self.number();
        }
        if is_word(first) || (first == '%' && is_word(second)) {
            let end = self.rest[1..]
                .find(|c| !is_word(c))
                .map_or(self.rest.len(), |end| end + 1);
            return Ok(Token::Word(self.take(end)));
        }
        if first == '.' && is_word(second) {
            let end = self.dotted_end();
            return Ok(Token::Dotted(&self.take(end)[1..]));
        }
        if first == '"' {
            return match self.rest[1..].find('"') {
                Some(end) => Ok(Token::Text(&self.take(end + 2)[1..=end])),
                None => self.error("a text that ends", "the end of the text"),
            };
        }
        if first == '%' {
            self.take(1);
            return Ok(Token::Sign("%"));
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.take(sign.len());
                Ok(Token::Sign(sign))
            }
            None => self.error("PTX", format!("the character '{first}'")),
        }
    }

    /// Whether a number such as `.5` comes next: behind a word it is a modifier, and so is `.2d` everywhere.
    fn is_fraction(&self) -> bool {
        let end = decimal_end(self.rest).filter(|_| self.rest.starts_with('.'));
        end.is_some_and(|end| !is_word(self.last) && !self.rest[end..].starts_with(is_word))
    }

    /// Where a word behind a dot ends; `::` goes on where another word follows.
    fn dotted_end(&self) -> usize {
        let mut end = 1;
        loop {
            let rest = &self.rest[end..];
            end += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            match self.rest[end..].strip_prefix("::") {
                Some(after) if after.starts_with(is_word) => end += 2,
                _ => return end,
            }
        }
    }

    fn number(&mut self) -> Result<Token<'t>, ParseError> {
        let word_end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let word = &self.rest[..word_end];
        let hexadecimal = |digits: &str, length: usize| {
            (digits.len() == length)
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        match word.get(..2) {
            Some("0f" | "0F") => {
                let Some(bits) = hexadecimal(&word[2..], 8) else {
                    return self.error("eight hexadecimal digits after 0f", format!("'{word}'"));
                };
                self.take(word_end);
                return Ok(Token::Single(bits as u32));
            }
            Some("0d" | "0D") => {
                let Some(bits) = hexadecimal(&word[2..], 16) else {
                    return self.error("sixteen hexadecimal digits after 0d", format!("'{word}'"));
                };
                self.take(word_end);
                return Ok(Token::Double(f64::from_bits(bits)));
            }
            _ => {}
        }
        if let Some(end) = decimal_end(self.rest) {
            let digits = &self.rest[..end];
            return match digits.parse() {
                Ok(value) => {
                    self.take(end);
                    Ok(Token::Double(value))
                }
                Err(_) => self.error("a number", format!("'{digits}'")),
            };
        }
        let digits = word.strip_suffix('U').unwrap_or(word);
        let (radix, significant) = match digits.as_bytes() {
            [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
            [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
            [b'0', _, ..] => (8, &digits[1..]),
            _ => (10, digits),
        };
        match u64::from_str_radix(significant, radix) {
            Ok(value) => {
                let unsigned = digits.len() < word.len() || value > i64::MAX as u64;
                self.take(word_end);
                Ok(Token::Integer { value, unsigned })
            }
            Err(_) => self.error("an integer of 64 bits", format!("'{word}'")),
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$'
}

/// Where a number in decimals with a point or an exponent ends, if the text begins with one.
fn decimal_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let is_exponent = |at: usize| matches!(bytes.get(at), Some(b'e' | b'E'));
    let is_word_at = |at: usize| bytes.get(at).is_some_and(|&byte| is_word(byte.into()));
    let whole = digits(0);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if fraction > 0 || (whole > 0 && (!is_word_at(end + 1) || is_exponent(end + 1))) {
            end += 1 + fraction;
        }
    }
    if end > 0 && is_exponent(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes
            .get(end + 1 + sign..)
            .map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    (end > whole).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Token<'_>> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|(token, _)| token)
            .collect()
    }

    #[test]
    fn an_opcode_is_a_word_and_dotted_words() {
        use Token::*;
        assert_eq!(
            of("mma.sync.m16n8k64.kind::mxf4nvf4.scale_vec::4X.f32"),
            [
                Word("mma"),
                Dotted("sync"),
                Dotted("m16n8k64"),
                Dotted("kind::mxf4nvf4"),
                Dotted("scale_vec::4X"),
                Dotted("f32"),
                End
            ]
        );
        assert_eq!(of("tensor.2d"), [Word("tensor"), Dotted("2d"), End]);
    }

    #[test]
    fn numbers() {
        let integer = |value, unsigned| Token::Integer { value, unsigned };
        assert_eq!(
            of("12 0x1F 017 0b101 7U"),
            [
                integer(12, false),
                integer(31, false),
                integer(15, false),
                integer(5, false),
                integer(7, true),
                Token::End
            ]
        );
        assert_eq!(
            of("18446744073709551615"),
            [integer(u64::MAX, true), Token::End]
        );
        assert_eq!(
            of("0f3F800000 0d3FF0000000000000"),
            [
                Token::Single(1f32.to_bits()),
                Token::Double(1.0),
                Token::End
            ]
        );
        assert_eq!(
            of("8.7 1e3 2.5E-1 1. .5 1.e2 .25e1"),
            [
                Token::Double(8.7),
                Token::Double(1000.0),
                Token::Double(0.25),
                Token::Double(1.0),
                Token::Double(0.5),
                Token::Double(100.0),
                Token::Double(2.5),
                Token::End
            ]
        );
    }

    #[test]
    fn names_labels_and_a_remainder() {
        use Token::*;
        assert_eq!(of("$L__BB0_2:"), [Word("$L__BB0_2"), Sign(":"), End]);
        assert_eq!(of("%tid.x"), [Word("%tid"), Dotted("x"), End]);
        assert_eq!(of("_"), [Word("_"), End]);
        assert_eq!(
            of("(7 % 4)"),
            [
                Sign("("),
                Integer {
                    value: 7,
                    unsigned: false
                },
                Sign("%"),
                Integer {
                    value: 4,
                    unsigned: false
                },
                Sign(")"),
                End
            ]
        );
    }

    #[test]
    fn comments_are_blanks_and_places_count_from_one() {
        let found = tokens("// first\n/* a\n b */ ret;\n# 1 \"file\"\n").unwrap();
        assert_eq!(found[0], (Token::Word("ret"), Place { line: 3, column: 7 }));
        assert_eq!(found[1].0, Token::Sign(";"));
        assert_eq!(found[2].0, Token::End);
    }

    #[test]
    fn what_is_no_token_is_named() {
        let error = |text| tokens(text).unwrap_err().to_string();
        assert_eq!(
            error("a\n  `"),
            "2:3: expected PTX, found the character '`'"
        );
        assert_eq!(
            error("0f12"),
            "1:1: expected eight hexadecimal digits after 0f, found '0f12'"
        );
        assert_eq!(
            error("99999999999999999999"),
            "1:1: expected an integer of 64 bits, found '99999999999999999999'"
        );
        assert_eq!(
            error("/* "),
            "1:1: expected a comment that ends, found the end of the text"
        );
    }
}
