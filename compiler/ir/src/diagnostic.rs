//! What is wrong with a text, and where: the message a user reads.

use std::fmt::Write;
use std::ops::Range;

/// An error in a source text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// What was expected and what was found, in the user's terms, without a full stop.
    pub message: String,
    /// Where: bytes of the source.
    pub span: Range<usize>,
    /// What helps to understand it.
    pub notes: Vec<Note>,
}

/// An addition to a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The addition.
    pub message: String,
    /// Where, if it speaks of another place.
    pub span: Option<Range<usize>>,
}

impl Diagnostic {
    /// An error without notes.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self {
            message: message.into(),
            span,
            notes: Vec::new(),
        }
    }

    /// The same with a note on another place.
    #[must_use]
    pub fn with_note(mut self, message: impl Into<String>, span: Option<Range<usize>>) -> Self {
        self.notes.push(Note {
            message: message.into(),
            span,
        });
        self
    }

    /// The message as a terminal shows it: `file:line:col: error: …`, the source line, a caret, notes likewise.
    pub fn render(&self, file: &str, source: &str) -> String {
        let mut text = String::new();
        render_one(
            &mut text,
            file,
            source,
            "error",
            &self.message,
            Some(&self.span),
        );
        for note in &self.notes {
            render_one(
                &mut text,
                file,
                source,
                "note",
                &note.message,
                note.span.as_ref(),
            );
        }
        text
    }
}

/// Levenshtein's distance of two names in bytes, for a suggestion to who mistyped one.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitution = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Line and column of a byte of the source, both counted from 1; columns count characters.
pub fn line_and_column(source: &str, offset: usize) -> (u32, u32) {
    let before = before(source, offset);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let clamp = |n| u32::try_from(n).unwrap_or(u32::MAX);
    (clamp(line), clamp(column))
}

/// The source up to a byte, or up to the character that contains it.
fn before(source: &str, offset: usize) -> &str {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    &source[..end]
}

/// Characters of a source line that are shown at most: constants can be megabytes long.
const SHOWN_WIDTH: usize = 120;

fn render_one(
    text: &mut String,
    file: &str,
    source: &str,
    severity: &str,
    message: &str,
    span: Option<&Range<usize>>,
) {
    let Some(span) = span else {
        let _ = writeln!(text, "{severity}: {message}");
        return;
    };
    let (line, column) = line_and_column(source, span.start);
    let _ = writeln!(text, "{file}:{line}:{column}: {severity}: {message}");
    let before = before(source, span.start);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let whole = source[line_start..].lines().next().unwrap_or("");
    let column = column as usize - 1;
    let skipped = (column + 20).saturating_sub(SHOWN_WIDTH);
    let shown: String = whole
        .chars()
        .skip(skipped)
        .take(SHOWN_WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let width = source
        .get(span.clone())
        .map_or(1, |marked| {
            marked.lines().next().unwrap_or("").chars().count()
        })
        .clamp(
            1,
            (shown.chars().count() + 1)
                .saturating_sub(column - skipped)
                .max(1),
        );
    let _ = writeln!(text, "  {shown}");
    let _ = writeln!(
        text,
        "  {}{}",
        " ".repeat(column - skipped),
        "^".repeat(width)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "first\n%1 = tsr.add %a, %b\nlast";

    #[test]
    fn a_diagnostic_shows_line_and_caret() {
        let diagnostic = Diagnostic::new("'%b' is not defined", 20..22)
            .with_note("'%a' is defined here", Some(6..8))
            .with_note("values stand before their uses", None);
        assert_eq!(
            diagnostic.render("a.mlir", SOURCE),
            "a.mlir:2:15: error: '%b' is not defined\n  %1 = tsr.add %a, %b\n                ^^\n\
             a.mlir:2:1: note: '%a' is defined here\n  %1 = tsr.add %a, %b\n  ^^\n\
             note: values stand before their uses\n"
        );
    }

    #[test]
    fn a_span_beyond_the_source_is_shown_at_its_end() {
        let rendered = Diagnostic::new("unexpected end", 90..91).render("a", SOURCE);
        assert!(rendered.starts_with("a:3:5: error: unexpected end\n  last\n      ^"));
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let source = format!("{}@{}", "x".repeat(5000), "y".repeat(5000));
        let rendered = Diagnostic::new("here", 5000..5001).render("a", &source);
        assert!(rendered.lines().all(|line| line.len() < 130));
        assert!(rendered.contains('@'));
    }
}
