//! The locations of what does not say where it comes from: its own place in its file.

use crate::Location;
use std::sync::Arc;

/// Counts lines and columns along a text.
pub(super) struct ImplicitLocations {
    file: Arc<str>,
    offset: usize,
    line: u32,
    column: u32,
}

impl ImplicitLocations {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    /// The place of a byte. Places are asked for in the text's order, so that each character is counted once.
    pub(super) fn at(&mut self, source: &str, offset: usize) -> Location {
        if offset < self.offset {
            (self.offset, self.line, self.column) = (0, 1, 1);
        }
        for character in source[self.offset..offset].chars() {
            if character == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.offset = offset;
        Location::file(Arc::clone(&self.file), self.line, self.column)
    }
}
