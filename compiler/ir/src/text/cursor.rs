//! A place in a text, and what every reader does there: look, go on, expect.

use super::alias::Aliases;
use super::lexer::{Lexer, Token, TokenKind};
use crate::diagnostic::Diagnostic;
use std::ops::Range;
use std::rc::Rc;

/// How deep brackets, regions and attributes may nest. Programs stay far below it; beyond it the reader's stack ends.
pub const MAX_NESTING: usize = 64;

/// Reads a text token by token.
///
/// A cursor knows the aliases of the whole text, wherever they are defined. Copies made by [`at_offset`](Self::at_offset)
/// share them.
#[derive(Clone, Debug)]
pub struct Cursor<'s> {
    lexer: Lexer<'s>,
    peeked: Option<Token<'s>>,
    previous_end: usize,
    nesting: usize,
    pub(super) aliases: Rc<Aliases<'s>>,
}

/// A value as it is used: `%name`, or `%name#1` for the result of that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueUse<'s> {
    /// The name without `%`.
    pub name: &'s str,
    /// The number after `#`, 0 without it.
    pub number: usize,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A value as it is defined: `%name`, or `%name:2` for several results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueDefinition<'s> {
    /// The name without `%`.
    pub name: &'s str,
    /// The number after `:`, 1 without it.
    pub count: usize,
    /// Where it stands.
    pub span: Range<usize>,
}

impl<'s> ValueDefinition<'s> {
    /// The definition of one value by its name.
    pub fn one(token: Token<'s>) -> Self {
        Self {
            name: token.name(),
            count: 1,
            span: token.span(),
        }
    }
}

impl<'s> Cursor<'s> {
    /// A cursor at the beginning of a text.
    pub fn new(source: &'s str) -> Self {
        Self {
            lexer: Lexer::new(source, 0),
            peeked: None,
            previous_end: 0,
            nesting: 0,
            aliases: Rc::default(),
        }
    }

    /// A cursor at another place of the same text, a byte that begins a token. It nests as deep as this one.
    pub fn at_offset(&self, offset: usize) -> Self {
        Self {
            lexer: Lexer::new(self.source(), offset),
            peeked: None,
            previous_end: offset,
            nesting: self.nesting,
            aliases: Rc::clone(&self.aliases),
        }
    }

    /// The whole text.
    pub const fn source(&self) -> &'s str {
        self.lexer.source()
    }

    /// Goes to another place of the text, a byte that begins a token.
    pub fn reset(&mut self, offset: usize) {
        *self = self.at_offset(offset);
    }

    /// The next token, which stays the next one.
    pub fn peek(&mut self) -> Token<'s> {
        match self.peeked {
            Some(token) => token,
            None => *self.peeked.insert(self.lexer.token()),
        }
    }

    /// The next token, which is then behind the cursor.
    pub fn advance(&mut self) -> Token<'s> {
        let token = self.peek();
        self.peeked = None;
        self.previous_end = token.end();
        token
    }

    /// The byte where the next token begins.
    pub fn offset(&mut self) -> usize {
        self.peek().start
    }

    /// The byte after the token last passed.
    pub const fn previous_end(&self) -> usize {
        self.previous_end
    }

    /// The place of the next token.
    pub fn span(&mut self) -> Range<usize> {
        self.peek().span()
    }

    /// The bytes from a token on up to the one last passed.
    pub fn span_from(&self, start: usize) -> Range<usize> {
        start..self.previous_end.max(start)
    }

    /// Whether the next token is of that kind.
    pub fn at(&mut self, kind: TokenKind) -> bool {
        self.peek().kind == kind
    }

    /// Whether the next token is that identifier.
    pub fn at_keyword(&mut self, keyword: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Bare && token.text == keyword
    }

    /// Passes the next token if it is of that kind, and says whether it was.
    pub fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.at(kind);
        if found {
            self.advance();
        }
        found
    }

    /// Passes the next token if it is that identifier, and says whether it was.
    pub fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.advance();
        }
        found
    }

    /// Passes a token of that kind.
    ///
    /// # Errors
    /// The next token is of another kind.
    pub fn expect(&mut self, kind: TokenKind) -> Result<Token<'s>, Diagnostic> {
        if self.at(kind) {
            Ok(self.advance())
        } else {
            Err(self.unexpected(kind.description()))
        }
    }

    /// Passes that identifier.
    ///
    /// # Errors
    /// The next token is another.
    pub fn expect_keyword(&mut self, keyword: &str) -> Result<Token<'s>, Diagnostic> {
        if self.at_keyword(keyword) {
            Ok(self.advance())
        } else {
            Err(self.unexpected(&format!("'{keyword}'")))
        }
    }

    /// The error that the next token is not what is expected; where it is no token at all, the error that says why.
    pub fn unexpected(&mut self, expected: &str) -> Diagnostic {
        let token = self.peek();
        match token.kind {
            TokenKind::Invalid(error) => Diagnostic::new(error.to_string(), token.span()),
            _ => Diagnostic::new(
                format!("expected {expected}, found {}", token.description()),
                token.span(),
            ),
        }
    }

    /// Reads one level deeper.
    ///
    /// # Errors
    /// The text nests deeper than [`MAX_NESTING`], or `read` fails.
    pub fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        self.descend()?;
        let value = read(self);
        self.ascend();
        value
    }

    /// Goes one level deeper, until [`ascend`](Self::ascend): for readers that hold the cursor among other things.
    ///
    /// # Errors
    /// The text nests deeper than [`MAX_NESTING`].
    pub fn descend(&mut self) -> Result<(), Diagnostic> {
        if self.nesting == MAX_NESTING {
            let message = format!("nested more than {MAX_NESTING} levels deep");
            return Err(Diagnostic::new(message, self.span()));
        }
        self.nesting += 1;
        Ok(())
    }

    /// Goes back from where [`descend`](Self::descend) led.
    pub fn ascend(&mut self) {
        self.nesting -= 1;
    }

    /// Reads items with commas between them, from an opening token to its closing one.
    ///
    /// # Errors
    /// A bracket or comma is missing, or `item` fails.
    pub fn list<T>(
        &mut self,
        open: TokenKind,
        close: TokenKind,
        mut item: impl FnMut(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<Vec<T>, Diagnostic> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(self.nested(&mut item)?);
            if self.eat(close) {
                return Ok(items);
            }
            if !self.eat(TokenKind::Comma) {
                return Err(self.unexpected(&format!("',' or {}", close.description())));
            }
        }
    }

    /// Passes everything from an opening bracket to the closing one that belongs to it, whatever stands between.
    ///
    /// # Errors
    /// The brackets do not match, or something is no token.
    pub fn skip_brackets(&mut self) -> Result<Range<usize>, Diagnostic> {
        let start = self.peek();
        let mut open: Vec<(TokenKind, Range<usize>)> = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::Less => open.push((TokenKind::Greater, token.span())),
                TokenKind::LeftBrace => open.push((TokenKind::RightBrace, token.span())),
                TokenKind::LeftParenthesis => {
                    open.push((TokenKind::RightParenthesis, token.span()));
                }
                TokenKind::LeftBracket => open.push((TokenKind::RightBracket, token.span())),
                TokenKind::Greater
                | TokenKind::RightBrace
                | TokenKind::RightParenthesis
                | TokenKind::RightBracket => match open.pop() {
                    Some((close, _)) if close == token.kind => {}
                    Some((close, span)) => {
                        let error = self.unexpected(close.description());
                        return Err(error.with_note("to close this", Some(span)));
                    }
                    None => return Err(self.unexpected("an opening bracket")),
                },
                TokenKind::Invalid(_) => return Err(self.unexpected("a token")),
                TokenKind::End => {
                    let expected = open
                        .last()
                        .map_or("an opening bracket", |(close, _)| close.description());
                    let error = self.unexpected(expected);
                    return Err(match open.pop() {
                        Some((_, span)) => error.with_note("to close this", Some(span)),
                        None => error,
                    });
                }
                _ if open.is_empty() => return Err(self.unexpected("an opening bracket")),
                _ => {}
            }
            self.advance();
            if open.is_empty() {
                return Ok(start.start..self.previous_end);
            }
        }
    }

    /// Passes a value that is used: `%0`, `%0#1`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn value_use(&mut self) -> Result<ValueUse<'s>, Diagnostic> {
        let token = self.expect(TokenKind::Value)?;
        let mut value = ValueUse {
            name: token.name(),
            number: 0,
            span: token.span(),
        };
        // The number belongs to the name only where it follows at once.
        let next = self.peek();
        if next.kind == TokenKind::Attribute && next.start == token.end() {
            value.number = next.name().parse().map_err(|_| {
                Diagnostic::new("expected the number of a result after '#'", next.span())
            })?;
            self.advance();
            value.span.end = next.end();
        }
        Ok(value)
    }

    /// Passes a value that is defined: `%0`, `%0:2`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn value_definition(&mut self) -> Result<ValueDefinition<'s>, Diagnostic> {
        let token = self.expect(TokenKind::Value)?;
        let count = if self.eat(TokenKind::Colon) {
            self.integer("the number of results")?
        } else {
            1
        };
        Ok(ValueDefinition {
            name: token.name(),
            count,
            span: self.span_from(token.start),
        })
    }

    /// Passes a symbol, `@name` or `@"any name"`, and gives the name.
    ///
    /// # Errors
    /// Something else stands there, or an escape in the name is wrong.
    pub fn symbol(&mut self) -> Result<String, Diagnostic> {
        let token = self.expect(TokenKind::Symbol)?;
        let name = &token.text[1..];
        if name.starts_with('"') {
            unescape(name, token.start + 1)
        } else {
            Ok(name.to_owned())
        }
    }

    /// Passes a string and gives what it says.
    ///
    /// # Errors
    /// Something else stands there, or an escape is wrong.
    pub fn string(&mut self) -> Result<String, Diagnostic> {
        let token = self.expect(TokenKind::String)?;
        unescape(token.text, token.start)
    }

    /// Passes an integer, with a `-` where `T` has negative numbers. `expected` names it in messages.
    ///
    /// # Errors
    /// Something else stands there, or the integer is not a `T`.
    pub fn integer<T: TryFrom<i128>>(&mut self, expected: &str) -> Result<T, Diagnostic> {
        let start = self.offset();
        let negative = self.eat(TokenKind::Minus);
        if !self.at(TokenKind::Integer) {
            return Err(self.unexpected(expected));
        }
        let token = self.advance();
        integer_value(token, negative)
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| {
                let sign = if negative { "-" } else { "" };
                let found = token.description();
                let found = found.trim_matches('\'');
                Diagnostic::new(
                    format!("expected {expected}, '{sign}{found}' is out of range"),
                    self.span_from(start),
                )
            })
    }
}

/// The value of an integer token, `None` where it takes more than 127 bits.
pub(super) fn integer_value(token: Token<'_>, negative: bool) -> Option<i128> {
    let magnitude = match token.text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => token.text.parse(),
    };
    let magnitude = magnitude.ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// What a string with quotes and escapes says: `\"`, `\\`, `\n`, `\t` and two hexadecimal digits for a byte.
fn unescape(quoted: &str, start: usize) -> Result<String, Diagnostic> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, length) = match *rest {
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [byte @ (b'"' | b'\\'), ..] => (byte, 1),
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hexadecimal(high) << 4 | hexadecimal(low), 2)
            }
            _ => {
                let at = start + 1 + inner.len() - rest.len() - 1;
                return Err(Diagnostic::new(
                    "expected \\\", \\\\, \\n, \\t or two hexadecimal digits after '\\'",
                    at..at + 1,
                ));
            }
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    String::from_utf8(bytes).map_err(|_| {
        Diagnostic::new(
            "the string's bytes are not UTF-8",
            start..start + quoted.len(),
        )
    })
}

/// The value of a hexadecimal digit.
pub(super) fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_token_is_named_with_what_was_expected() {
        let mut cursor = Cursor::new("(a)");
        cursor.advance();
        cursor.advance();
        let error = cursor.expect(TokenKind::Comma).unwrap_err();
        assert_eq!(error, Diagnostic::new("expected ',', found ')'", 2..3));
    }

    #[test]
    fn the_end_is_named_as_such() {
        let error = Cursor::new("  ").expect(TokenKind::String).unwrap_err();
        assert_eq!(
            error,
            Diagnostic::new("expected a string, found the end of the text", 2..2)
        );
    }

    #[test]
    fn where_no_token_is_the_reason_is_said() {
        let error = Cursor::new("\"abc").expect(TokenKind::Comma).unwrap_err();
        assert_eq!(
            error.message,
            "the string is not closed before the end of the line"
        );
    }

    #[test]
    fn a_list_asks_for_a_comma_or_its_end() {
        let mut cursor = Cursor::new("[1 2]");
        let error = cursor
            .list(TokenKind::LeftBracket, TokenKind::RightBracket, |cursor| {
                cursor.integer::<u8>("a digit")
            })
            .unwrap_err();
        assert_eq!(
            error,
            Diagnostic::new("expected ',' or ']', found '2'", 3..4)
        );
    }

    #[test]
    fn values_carry_result_numbers_and_counts() {
        let mut cursor = Cursor::new("%a#3 %a #3 %a:2");
        assert_eq!(cursor.value_use().unwrap().number, 3);
        let second = cursor.value_use().unwrap();
        assert_eq!((second.number, second.span), (0, 5..7));
        cursor.advance();
        let definition = cursor.value_definition().unwrap();
        assert_eq!((definition.name, definition.count), ("a", 2));
    }

    #[test]
    fn strings_and_symbols_are_unescaped() {
        let mut cursor = Cursor::new(r#""a\"\\\n\t\C3\A9" @"b c" @d"#);
        assert_eq!(cursor.string().unwrap(), "a\"\\\n\té");
        assert_eq!(cursor.symbol().unwrap(), "b c");
        assert_eq!(cursor.symbol().unwrap(), "d");
    }

    #[test]
    fn wrong_escapes_are_refused_at_their_place() {
        let error = Cursor::new(r#" "ab\q""#).string().unwrap_err();
        assert_eq!(error.span, 4..5);
        let error = Cursor::new(r#""\FF""#).string().unwrap_err();
        assert_eq!(error.message, "the string's bytes are not UTF-8");
        let error = Cursor::new("\"\\é\"").string().unwrap_err();
        assert_eq!(error.span, 1..2);
    }

    #[test]
    fn integers_are_held_to_their_range() {
        assert_eq!(Cursor::new("0x10").integer::<i64>("n").unwrap(), 16);
        assert_eq!(Cursor::new("-5").integer::<i64>("n").unwrap(), -5);
        let error = Cursor::new("-5").integer::<u32>("a size").unwrap_err();
        assert_eq!(
            error,
            Diagnostic::new("expected a size, '-5' is out of range", 0..2)
        );
        let huge = "9".repeat(60);
        assert!(Cursor::new(&huge).integer::<i64>("n").is_err());
    }

    #[test]
    fn brackets_are_skipped_whole() {
        let mut cursor = Cursor::new("<a -> [\">\", {}]> b");
        assert_eq!(cursor.skip_brackets().unwrap(), 0..16);
        assert_eq!(cursor.advance().text, "b");
        let error = Cursor::new("<[>").skip_brackets().unwrap_err();
        assert_eq!(error.message, "expected ']', found '>'");
        let error = Cursor::new("<[]").skip_brackets().unwrap_err();
        assert_eq!(error.message, "expected '>', found the end of the text");
    }

    #[test]
    fn nesting_has_an_end() {
        fn read(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
            let (open, close) = (TokenKind::LeftBracket, TokenKind::RightBracket);
            cursor.list(open, close, read).map(drop)
        }
        assert_eq!(read(&mut Cursor::new("[[[]]]")), Ok(()));
        let deep = "[".repeat(100_000);
        let error = read(&mut Cursor::new(&deep)).unwrap_err();
        assert_eq!(error.message, "nested more than 64 levels deep");
        assert_eq!(error.span, MAX_NESTING + 1..MAX_NESTING + 2);
    }
}
