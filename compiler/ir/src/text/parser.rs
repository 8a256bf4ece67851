//! Text as modules and graphs: what [`print()`](super::print) writes, pretty and generic, also mixed.
//!
//! Each op is made by [`OpKind::from_parts`] and appended by [`Graph::push`], so an ill-typed text gives the constraint
//! that it breaks, at its place.

mod body;
mod function;
mod implicit;
mod operation;

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::diagnostic::Diagnostic;
use crate::{Graph, Location, Module};
use implicit::ImplicitLocations;
use std::collections::HashMap;
use std::ops::Range;

/// Reads a module. With a `file` name, what has no `loc(…)` gets its own place in that file; without, it gets
/// [`Location::Unknown`]. What only a whole module can break, calls and donations, [`verify`](crate::verify()) checks.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(source: &str, file: Option<&str>) -> Result<Module, Diagnostic> {
    let mut parser = Parser::new(Cursor::new(source), file);
    let module = parser.module()?;
    parser.expect_end()?;
    Ok(module)
}

/// Reads one graph. The `file` name is as in [`parse`].
///
/// # Errors
/// The first thing that is wrong.
pub fn parse_graph(source: &str, file: Option<&str>) -> Result<Graph, Diagnostic> {
    let mut parser = Parser::new(Cursor::new(source), file);
    while parser.cursor.eat_alias_definition()? {}
    let (graph, _) = parser.function()?;
    parser.expect_end()?;
    Ok(graph)
}

/// A place in a text, and what is asked for there.
pub(crate) struct Parser<'s> {
    pub(crate) cursor: Cursor<'s>,
    implicit: Option<ImplicitLocations>,
}

impl<'s> Parser<'s> {
    pub(crate) fn new(cursor: Cursor<'s>, file: Option<&str>) -> Self {
        Self {
            cursor,
            implicit: file.map(ImplicitLocations::new),
        }
    }

    /// Reads one level deeper.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        self.cursor.descend()?;
        let value = read(self);
        self.cursor.ascend();
        value
    }

    /// Passes the aliases at the end of the text, where nothing else may stand.
    pub(crate) fn expect_end(&mut self) -> Result<(), Diagnostic> {
        while self.cursor.eat_alias_definition()? {}
        self.cursor.expect(TokenKind::End).map(drop)
    }

    /// The location of what begins at a byte and does not say where it comes from.
    fn implicit_location(&mut self, offset: usize) -> Location {
        let source = self.cursor.source();
        let implicit = self.implicit.as_mut();
        implicit.map_or(Location::Unknown, |implicit| implicit.at(source, offset))
    }

    /// Passes `loc(…)` if it stands there; otherwise what begins at `offset` has its own place.
    pub(crate) fn location_of(&mut self, offset: usize) -> Result<Location, Diagnostic> {
        // In the text's order even where it is not used, so that lines are counted once.
        let implicit = self.implicit_location(offset);
        Ok(self.cursor.optional_location()?.unwrap_or(implicit))
    }

    fn module(&mut self) -> Result<Module, Diagnostic> {
        while self.cursor.eat_alias_definition()? {}
        let token = self.cursor.peek();
        match (token.kind, token.text) {
            (TokenKind::Bare, "module" | "builtin.module") => self.pretty_module(),
            (TokenKind::String, "\"builtin.module\"") => self.generic_module(),
            (TokenKind::Bare, "func.func") | (TokenKind::String, "\"func.func\"") => {
                self.functions(None, TokenKind::End)
            }
            _ => Err(self.cursor.unexpected("'module' or 'func.func'")),
        }
    }

    fn pretty_module(&mut self) -> Result<Module, Diagnostic> {
        self.cursor.advance();
        let name = if self.cursor.at(TokenKind::Symbol) {
            Some(self.cursor.symbol()?)
        } else {
            None
        };
        self.cursor.expect(TokenKind::LeftBrace)?;
        let module = self.functions(name, TokenKind::RightBrace)?;
        self.cursor.expect(TokenKind::RightBrace)?;
        self.cursor.optional_location()?;
        Ok(module)
    }

    /// `"builtin.module"() <{sym_name = "step"}> ({ … }) : () -> ()`.
    fn generic_module(&mut self) -> Result<Module, Diagnostic> {
        self.cursor.advance();
        self.expect_all(&[TokenKind::LeftParenthesis, TokenKind::RightParenthesis])?;
        let mut properties = self.properties()?;
        let name = properties.take("sym_name");
        let name = name
            .map(|name| name.string().map(str::to_owned))
            .transpose()?;
        if let Some(entry) = properties.entries.first() {
            let message = format!("a module has no attribute '{}'", entry.name);
            return Err(Diagnostic::new(message, entry.name_span.clone()));
        }
        self.expect_all(&[TokenKind::LeftParenthesis, TokenKind::LeftBrace])?;
        if self.cursor.eat(TokenKind::Block) {
            self.cursor.expect(TokenKind::Colon)?;
        }
        let module = self.functions(name, TokenKind::RightBrace)?;
        self.expect_all(&[
            TokenKind::RightBrace,
            TokenKind::RightParenthesis,
            TokenKind::Colon,
        ])?;
        self.empty_function_type()?;
        self.cursor.optional_location()?;
        Ok(module)
    }

    /// The functions up to a token, which is left to the caller.
    fn functions(&mut self, name: Option<String>, end: TokenKind) -> Result<Module, Diagnostic> {
        let mut module = Module::new(name);
        let mut names: HashMap<String, Range<usize>> = HashMap::new();
        loop {
            while self.cursor.eat_alias_definition()? {}
            if self.cursor.at(end) {
                return Ok(module);
            }
            let (graph, span) = self.function()?;
            if let Some(first) = names.insert(graph.name.clone(), span.clone()) {
                let message = format!("a graph '@{}' is defined already", graph.name);
                return Err(
                    Diagnostic::new(message, span).with_note("first defined here", Some(first))
                );
            }
            module.insert(graph);
        }
    }

    /// Passes tokens of these kinds, one after another.
    fn expect_all(&mut self, kinds: &[TokenKind]) -> Result<(), Diagnostic> {
        kinds
            .iter()
            .try_for_each(|&kind| self.cursor.expect(kind).map(drop))
    }

    /// Passes `() -> ()`.
    fn empty_function_type(&mut self) -> Result<(), Diagnostic> {
        self.expect_all(&[
            TokenKind::LeftParenthesis,
            TokenKind::RightParenthesis,
            TokenKind::Arrow,
            TokenKind::LeftParenthesis,
            TokenKind::RightParenthesis,
        ])
    }
}
