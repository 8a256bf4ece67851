//! The text form of pipelines: `inline,canonicalise{max-iterations=4},fuse`.
//!
//! ```text
//! pipeline := (pass (',' pass)*)?
//! pass     := name ('{' (option (' ' option)*)? '}')?
//! option   := name '=' value
//! ```
//! Spaces and line ends around each part mean nothing. Options that have their default value are not printed.

use super::{Pass, list, registry};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use tessera_ir::diagnostic::{Diagnostic, edit_distance};

/// Passes in the order in which they run.
#[derive(Debug, Default)]
pub struct Pipeline {
    pub(super) passes: Vec<Box<dyn Pass>>,
}

impl Pipeline {
    /// The passes, in order.
    pub fn passes(&self) -> impl ExactSizeIterator<Item = &dyn Pass> {
        self.passes.iter().map(|pass| &**pass)
    }

    /// Adds a pass at the end.
    pub fn push(&mut self, pass: Box<dyn Pass>) {
        self.passes.push(pass);
    }

    /// Adds the passes of another pipeline at the end.
    pub fn extend(&mut self, other: Self) {
        self.passes.extend(other.passes);
    }

    /// The text of the passes from number `first` on.
    pub(super) fn text_from(&self, first: usize) -> String {
        let passes = self.passes.iter().skip(first);
        let texts: Vec<String> = passes.map(|pass| pass_text(&**pass)).collect();
        texts.join(",")
    }
}

/// A pass with those of its options that differ from their defaults.
pub(super) fn pass_text(pass: &dyn Pass) -> String {
    let defaults = registry::make(pass.name()).map_or_else(Vec::new, |pass| pass.options());
    let options: Vec<String> = pass
        .options()
        .into_iter()
        .filter(|option| !defaults.contains(option))
        .map(|option| format!("{}={}", option.name, option.value))
        .collect();
    if options.is_empty() {
        pass.name().to_owned()
    } else {
        format!("{}{{{}}}", pass.name(), options.join(" "))
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text_from(0))
    }
}

impl FromStr for Pipeline {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let mut parser = Parser { text, position: 0 };
        let mut passes = Vec::new();
        parser.skip_space();
        if parser.rest().is_empty() {
            return Ok(Self { passes });
        }
        loop {
            passes.push(parser.pass()?);
            if parser.rest().is_empty() {
                return Ok(Self { passes });
            }
            parser.expect(',', "',' or the end")?;
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        let trimmed = self.rest().trim_start();
        self.position = self.text.len() - trimmed.len();
    }

    /// Takes a character and the space behind it.
    fn take(&mut self, character: char) -> bool {
        let found = self.rest().starts_with(character);
        if found {
            self.position += character.len_utf8();
            self.skip_space();
        }
        found
    }

    fn expect(&mut self, character: char, expected: &str) -> Result<(), Diagnostic> {
        if self.take(character) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn unexpected(&self, expected: &str) -> Diagnostic {
        let found = match self.rest().chars().next() {
            Some(character) => format!("'{character}'"),
            None => "the end".to_owned(),
        };
        let end = self.rest().chars().next().map_or(0, char::len_utf8);
        let span = self.position..self.position + end;
        Diagnostic::new(format!("expected {expected}, found {found}"), span)
    }

    /// Takes characters up to one of `ends` or a space, and the space behind them.
    fn word(
        &mut self,
        ends: &[char],
        expected: &str,
    ) -> Result<(&'a str, Range<usize>), Diagnostic> {
        let rest = self.rest();
        let is_end = |c: char| ends.contains(&c) || c.is_whitespace();
        let length = rest.find(is_end).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.unexpected(expected));
        }
        let span = self.position..self.position + length;
        self.position += length;
        self.skip_space();
        Ok((&rest[..length], span))
    }

    fn pass(&mut self) -> Result<Box<dyn Pass>, Diagnostic> {
        let (name, span) = self.word(&[',', '{', '}', '='], "the name of a pass")?;
        let Some(mut pass) = registry::make(name) else {
            let names: Vec<&str> = list().map(|info| info.name).collect();
            return Err(unknown("pass", name, span, &names));
        };
        if self.take('{') {
            while !self.take('}') {
                self.option(&mut *pass)?;
            }
        }
        Ok(pass)
    }

    fn option(&mut self, pass: &mut dyn Pass) -> Result<(), Diagnostic> {
        let (name, name_span) = self.word(&['=', '{', '}', ','], "an option or '}'")?;
        self.expect('=', "'='")?;
        let names: Vec<&str> = pass.options().iter().map(|option| option.name).collect();
        if !names.contains(&name) {
            let what = format!("option of '{}'", pass.name());
            return Err(unknown(&what, name, name_span, &names));
        }
        let (value, span) = self.word(&['=', '{', '}'], "a value")?;
        pass.set_option(name, value)
            .map_err(|error| Diagnostic::new(format!("option '{name}': {error}"), span))
    }
}

/// The error that `what` is not called `name`, with the nearest of the names there are.
fn unknown(what: &str, name: &str, span: Range<usize>, names: &[&str]) -> Diagnostic {
    let distance = |candidate: &&&str| edit_distance(name, candidate);
    let nearest = names.iter().min_by_key(distance);
    let nearest = nearest.filter(|candidate| distance(candidate) * 2 <= name.len());
    let suggestion = nearest.map_or_else(String::new, |n| format!(", did you mean '{n}'?"));
    let diagnostic = Diagnostic::new(format!("unknown {what} '{name}'{suggestion}"), span);
    if names.is_empty() {
        diagnostic.with_note("it has no options", None)
    } else {
        diagnostic.with_note(format!("there are: {}", names.join(", ")), None)
    }
}
