//! Locations as they are written: `loc("step.py":10:4)`.

use super::alias::undefined;
use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::Location;
use crate::diagnostic::Diagnostic;
use crate::location::FileRange;
use std::rc::Rc;
use std::sync::Arc;

/// How deep locations may nest, aliases included: Python's deepest call stacks, and far from the end of ours.
pub const MAX_LOCATION_DEPTH: usize = 256;

/// How many places one location may name. Aliases that name others twice would grow without end.
const MAX_LOCATION_NODES: usize = 1 << 16;

/// A location with its measures.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    location: Location,
    depth: usize,
    nodes: usize,
}

impl Nested {
    fn leaf(location: Location) -> Self {
        Self {
            location,
            depth: 1,
            nodes: 1,
        }
    }
}

impl<'s> Cursor<'s> {
    /// Passes a location, `loc(…)`. Aliases may be defined anywhere in the text. A fused location's metadata,
    /// `fused<…>[…]`, is left out.
    ///
    /// # Errors
    /// Something else stands there, or an alias is not defined, names itself or nests without end.
    pub fn location(&mut self) -> Result<Location, Diagnostic> {
        self.location_at(0).map(|nested| nested.location)
    }

    /// Passes a location if one stands there.
    ///
    /// # Errors
    /// As [`location`](Self::location).
    pub fn optional_location(&mut self) -> Result<Option<Location>, Diagnostic> {
        if self.at_keyword("loc") {
            self.location().map(Some)
        } else {
            Ok(None)
        }
    }

    fn location_at(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        self.expect_keyword("loc")?;
        self.expect(TokenKind::LeftParenthesis)?;
        let location = self.location_body(depth)?;
        self.expect(TokenKind::RightParenthesis)?;
        Ok(location)
    }

    /// What stands in the parentheses of a location, itself inside `depth` others.
    fn location_body(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        let token = self.peek();
        if depth == MAX_LOCATION_DEPTH {
            let message = format!("locations nest more than {MAX_LOCATION_DEPTH} levels deep");
            return Err(Diagnostic::new(message, token.span()));
        }
        match (token.kind, token.text) {
            (TokenKind::Attribute, _) => self.location_alias(depth),
            (TokenKind::String, _) => self.file_or_name(depth),
            // `loc("a"(loc("b")))` is written by nobody, but read by MLIR.
            (TokenKind::Bare, "loc") => self.location_at(depth),
            (TokenKind::Bare, "unknown") => {
                self.advance();
                Ok(Nested::leaf(Location::Unknown))
            }
            (TokenKind::Bare, "callsite") => self.call_site(depth),
            (TokenKind::Bare, "fused") => self.fused(depth),
            _ => Err(self.unexpected("a location: unknown, a string, callsite, fused or an alias")),
        }
    }

    fn file_or_name(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        let start = self.offset();
        let text = self.string()?;
        if self.eat(TokenKind::LeftParenthesis) {
            let child = self.location_body(depth + 1)?;
            self.expect(TokenKind::RightParenthesis)?;
            let wrap = |mut parts: Vec<Location>| {
                Location::Name(text.as_str().into(), parts.pop().map(Arc::new))
            };
            return self.wrap(start, vec![child], wrap);
        }
        if !self.eat(TokenKind::Colon) {
            return Ok(Nested::leaf(Location::Name(text.into(), None)));
        }
        let begin = (self.line()?, self.column()?);
        let mut end = begin;
        if self.eat_keyword("to") {
            if !self.at(TokenKind::Colon) {
                end.0 = self.line()?;
            }
            end.1 = self.column()?;
        }
        Ok(Nested::leaf(Location::File(Arc::new(FileRange {
            file: text.into(),
            start: begin,
            end,
        }))))
    }

    fn line(&mut self) -> Result<u32, Diagnostic> {
        self.integer("a line")
    }

    fn column(&mut self) -> Result<u32, Diagnostic> {
        self.expect(TokenKind::Colon)?;
        self.integer("a column")
    }

    fn call_site(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        let start = self.advance().start;
        self.expect(TokenKind::LeftParenthesis)?;
        let callee = self.location_body(depth + 1)?;
        self.expect_keyword("at")?;
        let caller = self.location_body(depth + 1)?;
        self.expect(TokenKind::RightParenthesis)?;
        self.wrap(start, vec![callee, caller], |parts| {
            let [callee, caller] = parts.try_into().expect("two were given");
            Location::CallSite {
                callee: Arc::new(callee),
                caller: Arc::new(caller),
            }
        })
    }

    fn fused(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        let start = self.advance().start;
        if self.eat(TokenKind::Less) {
            self.attribute()?;
            self.expect(TokenKind::Greater)?;
        }
        self.expect(TokenKind::LeftBracket)?;
        let mut parts = Vec::new();
        while !self.eat(TokenKind::RightBracket) {
            if !parts.is_empty() {
                self.expect(TokenKind::Comma)?;
            }
            parts.push(self.location_body(depth + 1)?);
        }
        self.wrap(start, parts, |parts| Location::Fused(parts.into()))
    }

    /// A location made of others, if that is not too large.
    fn wrap(
        &self,
        start: usize,
        parts: Vec<Nested>,
        make: impl FnOnce(Vec<Location>) -> Location,
    ) -> Result<Nested, Diagnostic> {
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        let nodes = 1 + parts.iter().map(|part| part.nodes).sum::<usize>();
        if depth > MAX_LOCATION_DEPTH {
            let message = format!("locations nest more than {MAX_LOCATION_DEPTH} levels deep");
            return Err(Diagnostic::new(message, self.span_from(start)));
        }
        if nodes > MAX_LOCATION_NODES {
            let message = format!("the location names more than {MAX_LOCATION_NODES} places");
            return Err(Diagnostic::new(message, self.span_from(start)));
        }
        Ok(Nested {
            location: make(parts.into_iter().map(|part| part.location).collect()),
            depth,
            nodes,
        })
    }

    fn location_alias(&mut self, depth: usize) -> Result<Nested, Diagnostic> {
        let token = self.advance();
        let name: &'s str = token.name();
        let aliases = Rc::clone(&self.aliases);
        let known = aliases.locations.borrow().get(name).cloned();
        match known {
            Some(Some(location)) => return Ok(location),
            Some(None) => {
                let message = format!("the location alias '#{name}' names itself");
                return Err(Diagnostic::new(message, token.span()));
            }
            None => {}
        }
        let definition = aliases
            .definition(self.source(), name)
            .ok_or_else(|| undefined(name, token.span()))?;
        aliases.locations.borrow_mut().insert(name, None);
        let location = self.at_offset(definition).location_at(depth + 1)?;
        let mut locations = aliases.locations.borrow_mut();
        locations.insert(name, Some(location.clone()));
        Ok(location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Location {
        Cursor::new(source).location().unwrap()
    }

    fn message(source: &str) -> String {
        Cursor::new(source).location().unwrap_err().message
    }

    fn file(line: u32, column: u32) -> Arc<Location> {
        Arc::new(Location::file("f", line, column))
    }

    #[test]
    fn each_kind_of_location_is_read() {
        assert_eq!(read("loc(unknown)"), Location::Unknown);
        assert_eq!(read("loc(\"f\":1:2)"), Location::file("f", 1, 2));
        assert_eq!(read("loc(\"n\")"), Location::Name("n".into(), None));
        assert_eq!(
            read("loc(\"n\"(\"f\":1:2))"),
            Location::Name("n".into(), Some(file(1, 2)))
        );
        assert_eq!(
            read("loc(callsite(\"f\":1:2 at \"f\":3:4))"),
            Location::CallSite {
                callee: file(1, 2),
                caller: file(3, 4)
            }
        );
        let fused = Location::Fused([Location::Unknown, Location::file("f", 1, 2)].into());
        assert_eq!(read("loc(fused[unknown, \"f\":1:2])"), fused);
        assert_eq!(read("loc(fused<{a = 1}>[unknown, \"f\":1:2])"), fused);
    }

    #[test]
    fn ranges_end_on_the_same_line_or_another() {
        let range = |end| {
            Location::File(Arc::new(FileRange {
                file: "f".into(),
                start: (1, 2),
                end,
            }))
        };
        assert_eq!(read("loc(\"f\":1:2 to :5)"), range((1, 5)));
        assert_eq!(read("loc(\"f\":1:2 to 3:5)"), range((3, 5)));
    }

    #[test]
    fn aliases_may_be_defined_later_and_by_others() {
        let source = "loc(#loc2)\n#loc = loc(\"f\":1:2)\n#loc2 = loc(\"n\"(#loc))";
        assert_eq!(read(source), Location::Name("n".into(), Some(file(1, 2))));
    }

    #[test]
    fn aliases_without_end_are_refused() {
        assert_eq!(
            message("loc(#a)"),
            "the alias '#a' is not defined in this text"
        );
        assert_eq!(
            message("loc(#a) #a = loc(callsite(#b at #b)) #b = loc(\"n\"(#a))"),
            "the location alias '#a' names itself"
        );
        let chain = |order: &mut dyn Iterator<Item = usize>| {
            let links = order.map(|i| format!("#l{} = loc(\"n\"(#l{i}))\n", i + 1));
            let links: String = links.collect();
            format!("loc(fused[#l1, #l200, #l400, #l5000])\n#l0 = loc(unknown)\n{links}")
        };
        for source in [chain(&mut (0..6000)), chain(&mut (0..6000).rev())] {
            assert_eq!(message(&source), "locations nest more than 256 levels deep");
        }
    }

    #[test]
    fn aliases_that_double_are_refused() {
        let links = (0..100).map(|i| format!("#l{} = loc(fused[#l{i}, #l{i}])\n", i + 1));
        let links: String = links.collect();
        assert_eq!(
            message(&format!("loc(#l100)\n#l0 = loc(unknown)\n{links}")),
            "the location names more than 65536 places"
        );
    }

    #[test]
    fn deep_locations_are_refused() {
        let source = format!("loc({}", "\"n\"(".repeat(100_000));
        assert_eq!(message(&source), "locations nest more than 256 levels deep");
    }

    #[test]
    fn wrong_locations_are_refused() {
        assert_eq!(
            message("loc(somewhere)"),
            "expected a location: unknown, a string, callsite, fused or an alias, found 'somewhere'"
        );
        assert_eq!(message("loc(\"f\":x:1)"), "expected a line, found 'x'");
        assert_eq!(
            message("loc(callsite(unknown unknown))"),
            "expected 'at', found 'unknown'"
        );
        assert_eq!(
            message("loc(\"f\":1:4294967296)"),
            "expected a column, '4294967296' is out of range"
        );
    }
}
