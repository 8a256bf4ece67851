//! The manifest's layout on the page: indented down to the entries of its lists, one line for each entry.
//!
//! Serde's pretty form spends a line on every number of every operand list; its compact form is one line in all.

use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Nesting up to which every element starts a line.
const INDENTED_LEVELS: usize = 2;

/// `value` as JSON text, ending in a newline. Equal values give equal bytes.
pub(super) fn to_vec<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(
        &mut text,
        ListFormatter {
            level: 0,
            empty: true,
        },
    );
    value.serialize(&mut serializer)?;
    text.push(b'\n');
    Ok(text)
}

struct ListFormatter {
    level: usize,
    empty: bool,
}

impl ListFormatter {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.empty = true;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        let indented = self.level <= INDENTED_LEVELS;
        self.level -= 1;
        if indented && !self.empty {
            self.start_line(writer)?;
        }
        self.empty = false;
        writer.write_all(bracket)
    }

    fn element<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.level <= INDENTED_LEVELS {
            self.start_line(writer)
        } else if first {
            Ok(())
        } else {
            writer.write_all(b" ")
        }
    }

    fn start_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.level).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for ListFormatter {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.element(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.element(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::to_vec;
    use serde_json::json;

    #[test]
    fn entries_of_lists_have_a_line_each() {
        let value = json!({"a": 1, "b": [{"x": [1, 2], "y": {}}, []], "c": [], "d": {}});
        let text = String::from_utf8(to_vec(&value).unwrap()).unwrap();
        let expected = r#"{
  "a": 1,
  "b": [
    {"x": [1, 2], "y": {}},
    []
  ],
  "c": [],
  "d": {}
}
"#;
        assert_eq!(text, expected);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}
