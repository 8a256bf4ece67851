//! Aliases: `#loc3 = loc(…)`, which may stand after the text that uses them.

use super::attribute::{AttributeValue, ParsedAttribute};
use super::cursor::Cursor;
use super::lexer::{Lexer, TokenKind};
use super::location::Nested;
use crate::diagnostic::Diagnostic;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

/// The aliases of a text, found in one pass over it the first time that one is used.
#[derive(Debug, Default)]
pub(super) struct Aliases<'s> {
    definitions: OnceCell<HashMap<&'s str, usize>>,
    /// Locations read so far; `None` for those being read.
    pub(super) locations: RefCell<HashMap<&'s str, Option<Nested>>>,
}

impl<'s> Aliases<'s> {
    /// The byte where the value of an alias begins.
    pub(super) fn definition(&self, source: &'s str, name: &str) -> Option<usize> {
        let definitions = self.definitions.get_or_init(|| definitions(source));
        definitions.get(name).copied()
    }
}

/// All `#name =` of a text: nothing else puts a `=` after such a name.
fn definitions(source: &str) -> HashMap<&str, usize> {
    let mut definitions = HashMap::new();
    let mut lexer = Lexer::new(source, 0);
    let mut token = lexer.token();
    while token.kind != TokenKind::End {
        let next = lexer.token();
        if token.kind == TokenKind::Attribute && next.kind == TokenKind::Equal {
            definitions
                .entry(token.name())
                .or_insert(lexer.clone().token().start);
        }
        token = next;
    }
    definitions
}

/// The error that an alias has no definition.
pub(super) fn undefined(name: &str, span: std::ops::Range<usize>) -> Diagnostic {
    Diagnostic::new(
        format!("the alias '#{name}' is not defined in this text"),
        span,
    )
}

impl Cursor<'_> {
    /// The attribute that an alias stands for. Aliases within it stay as they are.
    pub(super) fn alias_attribute(
        &self,
        name: &str,
        use_: &ParsedAttribute,
    ) -> Result<ParsedAttribute, Diagnostic> {
        let definition = self
            .aliases
            .definition(self.source(), name)
            .ok_or_else(|| undefined(name, use_.span.clone()))?;
        let mut cursor = self.at_offset(definition);
        cursor.nested(|cursor| {
            let attribute = cursor.attribute()?;
            match attribute.value {
                AttributeValue::Word(word) if word == "loc" => {
                    let message = format!("expected an attribute, '#{name}' is a location");
                    Err(Diagnostic::new(message, use_.span.clone()))
                }
                _ => Ok(attribute),
            }
        })
    }

    /// Whether the next tokens define an alias, which is then passed: `#name = value`.
    ///
    /// # Errors
    /// What follows `=` is neither a location nor an attribute.
    pub fn eat_alias_definition(&mut self) -> Result<bool, Diagnostic> {
        if !self.at(TokenKind::Attribute) {
            return Ok(false);
        }
        self.advance();
        self.expect(TokenKind::Equal)?;
        if self.at_keyword("loc") {
            self.location()?;
        } else {
            self.attribute()?;
        }
        Ok(true)
    }
}
