//! Tokens of MLIR's syntax, each a slice of the source.
//!
//! The lexer reads on demand and keeps nothing, so a reader may start at any byte: the alias table and dense literals
//! go over a part of the text twice instead of storing it.

use std::ops::Range;

/// What kind of token stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The end of the text.
    End,
    /// Something that is no token.
    Invalid(LexicalError),
    /// A bare identifier, dots included: `func.func`, `tensor`, `true`, `f32`.
    Bare,
    /// A value: `%0`, `%arg1`. A result number, `#1`, is an [`Attribute`](Self::Attribute) token of its own.
    Value,
    /// A block label: `^bb0`.
    Block,
    /// A symbol: `@main`, `@"a name"`.
    Symbol,
    /// An attribute alias or the name of a dialect's attribute: `#loc3`, `#stablehlo.gather`.
    Attribute,
    /// A type alias or the name of a dialect's type: `!stablehlo.token`.
    Type,
    /// Decimal or hexadecimal: `42`, `0x2A`. The sign is a token of its own.
    Integer,
    /// `1.0`, `9.99999974E-6`.
    Float,
    /// A string with its quotes and escapes.
    String,
    /// `->`
    Arrow,
    /// `:`
    Colon,
    /// `::`
    DoubleColon,
    /// `,`
    Comma,
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `(`
    LeftParenthesis,
    /// `)`
    RightParenthesis,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `-`
    Minus,
    /// `+`
    Plus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `?`
    Question,
    /// `|`
    Bar,
    /// `{-#`, before a file's resources.
    ResourcesBegin,
    /// `#-}`, after a file's resources.
    ResourcesEnd,
}

/// Why no token could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LexicalError {
    /// The line or the text ends inside a string.
    #[error("the string is not closed before the end of the line")]
    UnterminatedString,
    /// A prefix such as `%` without a name.
    #[error("expected a name after the prefix")]
    MissingName,
    /// A character that begins no token.
    #[error("unexpected character")]
    UnexpectedCharacter,
}

impl TokenKind {
    /// The kind as a message names it when it is expected.
    pub const fn description(self) -> &'static str {
        match self {
            Self::End => "the end of the text",
            Self::Invalid(_) => "a token",
            Self::Bare => "an identifier",
            Self::Value => "a value such as %0",
            Self::Block => "a block label such as ^bb0",
            Self::Symbol => "a symbol such as @name",
            Self::Attribute => "an attribute such as #name",
            Self::Type => "a type such as !name",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::String => "a string",
            Self::Arrow => "'->'",
            Self::Colon => "':'",
            Self::DoubleColon => "'::'",
            Self::Comma => "','",
            Self::Equal => "'='",
            Self::Less => "'<'",
            Self::Greater => "'>'",
            Self::LeftBrace => "'{'",
            Self::RightBrace => "'}'",
            Self::LeftParenthesis => "'('",
            Self::RightParenthesis => "')'",
            Self::LeftBracket => "'['",
            Self::RightBracket => "']'",
            Self::Minus => "'-'",
            Self::Plus => "'+'",
            Self::Star => "'*'",
            Self::Slash => "'/'",
            Self::Question => "'?'",
            Self::Bar => "'|'",
            Self::ResourcesBegin => "'{-#'",
            Self::ResourcesEnd => "'#-}'",
        }
    }
}

/// A token: its kind, its text, its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'s> {
    /// The kind.
    pub kind: TokenKind,
    /// The text as it stands in the source; empty at the end.
    pub text: &'s str,
    /// The first byte's position in the source.
    pub start: usize,
}

/// Characters of a token that a message shows at most.
const SHOWN: usize = 40;

impl<'s> Token<'s> {
    /// The position after the last byte.
    pub const fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// The bytes of the source.
    pub const fn span(&self) -> Range<usize> {
        self.start..self.end()
    }

    /// The text without a prefix such as `%`, `^` or `#`.
    pub fn name(&self) -> &'s str {
        match self.kind {
            TokenKind::Value | TokenKind::Block | TokenKind::Attribute | TokenKind::Type => {
                &self.text[1..]
            }
            _ => self.text,
        }
    }

    /// The token as a message names it when it was found.
    pub fn description(&self) -> String {
        if self.kind == TokenKind::End {
            return self.kind.description().to_owned();
        }
        match self.text.char_indices().nth(SHOWN) {
            Some((cut, _)) => format!("'{}…'", &self.text[..cut]),
            None => format!("'{}'", self.text),
        }
    }
}

/// Reads tokens one after another.
#[derive(Clone, Debug)]
pub struct Lexer<'s> {
    source: &'s str,
    position: usize,
}

impl<'s> Lexer<'s> {
    /// A lexer that starts at a byte of the source, which must begin a character.
    pub fn new(source: &'s str, position: usize) -> Self {
        debug_assert!(source.is_char_boundary(position));
        Self { source, position }
    }

    /// The whole text.
    pub const fn source(&self) -> &'s str {
        self.source
    }

    /// The byte after the last token.
    pub const fn position(&self) -> usize {
        self.position
    }

    fn byte(&self, position: usize) -> u8 {
        // A zero byte begins no token, so it may stand for the end.
        self.source
            .as_bytes()
            .get(position)
            .copied()
            .unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let bytes = self.source.as_bytes();
        while let Some(&byte) = bytes.get(self.position) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.position += 1,
                b'/' if self.byte(self.position + 1) == b'/' => {
                    let rest = &bytes[self.position..];
                    let line = rest.iter().position(|&b| b == b'\n');
                    self.position += line.unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// The next token; [`TokenKind::End`] again and again at the end.
    pub fn token(&mut self) -> Token<'s> {
        self.skip_blanks();
        let start = self.position;
        let (kind, length) = self.scan(start);
        self.position = start + length;
        Token {
            kind,
            text: &self.source[start..start + length],
            start,
        }
    }

    /// The kind and the length of the token at a position without blanks.
    fn scan(&self, start: usize) -> (TokenKind, usize) {
        use TokenKind as T;
        let next = self.byte(start + 1);
        match self.byte(start) {
            _ if start >= self.source.len() => (T::End, 0),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => (T::Bare, self.run(start, is_bare)),
            b'0'..=b'9' => self.number(start),
            b'"' => self.string(start, T::String),
            b'%' => self.prefixed(start, T::Value),
            b'^' => self.prefixed(start, T::Block),
            b'#' if next == b'-' && self.byte(start + 2) == b'}' => (T::ResourcesEnd, 3),
            b'#' => self.prefixed(start, T::Attribute),
            b'!' => self.prefixed(start, T::Type),
            b'@' if next == b'"' => {
                let (kind, length) = self.string(start + 1, T::Symbol);
                (kind, length + 1)
            }
            b'@' => self.prefixed(start, T::Symbol),
            b'-' if next == b'>' => (T::Arrow, 2),
            b':' if next == b':' => (T::DoubleColon, 2),
            b'{' if next == b'-' && self.byte(start + 2) == b'#' => (T::ResourcesBegin, 3),
            b'-' => (T::Minus, 1),
            b':' => (T::Colon, 1),
            b',' => (T::Comma, 1),
            b'=' => (T::Equal, 1),
            b'<' => (T::Less, 1),
            b'>' => (T::Greater, 1),
            b'{' => (T::LeftBrace, 1),
            b'}' => (T::RightBrace, 1),
            b'(' => (T::LeftParenthesis, 1),
            b')' => (T::RightParenthesis, 1),
            b'[' => (T::LeftBracket, 1),
            b']' => (T::RightBracket, 1),
            b'+' => (T::Plus, 1),
            b'*' => (T::Star, 1),
            b'/' => (T::Slash, 1),
            b'?' => (T::Question, 1),
            b'|' => (T::Bar, 1),
            _ => {
                let character = self.source[start..].chars().next();
                let length = character.map_or(0, char::len_utf8);
                (T::Invalid(LexicalError::UnexpectedCharacter), length)
            }
        }
    }

    /// How many bytes from a position on satisfy a predicate.
    fn run(&self, start: usize, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = &self.source.as_bytes()[start..];
        rest.iter()
            .position(|&byte| !belongs(byte))
            .unwrap_or(rest.len())
    }

    /// A name after its prefix: digits, or letters, digits and `$._-` not beginning with a digit.
    fn prefixed(&self, start: usize, kind: TokenKind) -> (TokenKind, usize) {
        let mut length = if self.byte(start + 1).is_ascii_digit() {
            self.run(start + 1, |byte| byte.is_ascii_digit())
        } else {
            self.run(start + 1, |byte| is_bare(byte) || byte == b'-')
        };
        // `%a->` is a value and an arrow.
        if self.byte(start + length) == b'-' && self.byte(start + 1 + length) == b'>' {
            length -= 1;
        }
        if length == 0 {
            return (TokenKind::Invalid(LexicalError::MissingName), 1);
        }
        (kind, 1 + length)
    }

    fn number(&self, start: usize) -> (TokenKind, usize) {
        let digit = |byte: u8| byte.is_ascii_digit();
        if self.byte(start) == b'0'
            && self.byte(start + 1) == b'x'
            && self.byte(start + 2).is_ascii_hexdigit()
        {
            let digits = self.run(start + 2, |byte| byte.is_ascii_hexdigit());
            return (TokenKind::Integer, 2 + digits);
        }
        let mut length = self.run(start, digit);
        if self.byte(start + length) != b'.' {
            return (TokenKind::Integer, length);
        }
        length += 1 + self.run(start + length + 1, digit);
        if matches!(self.byte(start + length), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(start + length + 1), b'+' | b'-'));
            let exponent = start + length + 1 + sign;
            if self.byte(exponent).is_ascii_digit() {
                length += 1 + sign + self.run(exponent, digit);
            }
        }
        (TokenKind::Float, length)
    }

    /// A string from its opening quote on; escapes are checked where the string is read.
    fn string(&self, start: usize, kind: TokenKind) -> (TokenKind, usize) {
        let bytes = self.source.as_bytes();
        let mut position = start + 1;
        while let Some(&byte) = bytes.get(position) {
            match byte {
                b'"' => return (kind, position + 1 - start),
                b'\n' => break,
                // An escaped quote or backslash; of a longer escape only this much matters here.
                b'\\' if matches!(self.byte(position + 1), b'"' | b'\\') => position += 2,
                _ => position += 1,
            }
        }
        let error = TokenKind::Invalid(LexicalError::UnterminatedString);
        (error, position.min(bytes.len()) - start)
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')
}

#[cfg(test)]
mod tests {
    use super::TokenKind as T;
    use super::*;

    fn tokens(source: &str) -> Vec<(TokenKind, &str)> {
        let mut lexer = Lexer::new(source, 0);
        std::iter::from_fn(|| Some(lexer.token()).filter(|token| token.kind != T::End))
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn names_keep_their_prefix_and_dots() {
        assert_eq!(
            tokens("func.func %0 %arg1 ^bb0 @main @\"a \\\" b\" #loc3 #stablehlo.gather !a.b"),
            [
                (T::Bare, "func.func"),
                (T::Value, "%0"),
                (T::Value, "%arg1"),
                (T::Block, "^bb0"),
                (T::Symbol, "@main"),
                (T::Symbol, "@\"a \\\" b\""),
                (T::Attribute, "#loc3"),
                (T::Attribute, "#stablehlo.gather"),
                (T::Type, "!a.b"),
            ]
        );
    }

    #[test]
    fn a_result_number_is_a_token_of_its_own() {
        assert_eq!(
            tokens("%0#1 %0:2"),
            [
                (T::Value, "%0"),
                (T::Attribute, "#1"),
                (T::Value, "%0"),
                (T::Colon, ":"),
                (T::Integer, "2")
            ]
        );
    }

    #[test]
    fn numbers_are_decimal_hexadecimal_or_floats() {
        assert_eq!(
            tokens("42 0x7FC00000 1. 1.5 9.99E-6 1.0e+3 -2 3e5 0xg"),
            [
                (T::Integer, "42"),
                (T::Integer, "0x7FC00000"),
                (T::Float, "1."),
                (T::Float, "1.5"),
                (T::Float, "9.99E-6"),
                (T::Float, "1.0e+3"),
                (T::Minus, "-"),
                (T::Integer, "2"),
                (T::Integer, "3"),
                (T::Bare, "e5"),
                (T::Integer, "0"),
                (T::Bare, "xg"),
            ]
        );
    }

    #[test]
    fn property_brackets_are_two_tokens_and_an_arrow_is_one() {
        assert_eq!(
            tokens("<{}> -> %a->"),
            [
                (T::Less, "<"),
                (T::LeftBrace, "{"),
                (T::RightBrace, "}"),
                (T::Greater, ">"),
                (T::Arrow, "->"),
                (T::Value, "%a"),
                (T::Arrow, "->"),
            ]
        );
    }

    #[test]
    fn comments_run_to_the_end_of_the_line() {
        assert_eq!(tokens("a // b \" c\nd//"), [(T::Bare, "a"), (T::Bare, "d")]);
    }

    #[test]
    fn what_is_no_token_is_said_to_be_none() {
        assert_eq!(
            tokens("\"abc\n§%"),
            [
                (T::Invalid(LexicalError::UnterminatedString), "\"abc"),
                (T::Invalid(LexicalError::UnexpectedCharacter), "§"),
                (T::Invalid(LexicalError::MissingName), "%"),
            ]
        );
        assert_eq!(
            tokens("\"a\\\""),
            [(T::Invalid(LexicalError::UnterminatedString), "\"a\\\"")]
        );
    }

    #[test]
    fn a_long_token_is_cut_in_messages() {
        let source = "x".repeat(100);
        let shown = Lexer::new(&source, 0).token().description();
        assert_eq!(shown, format!("'{}…'", "x".repeat(40)));
    }
}
