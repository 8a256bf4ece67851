//! Where an op comes from: MLIR's locations.

use std::sync::Arc;

/// Where in the user's source an op, a graph or an input comes from, in MLIR's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Location {
    /// Nothing is known: `loc(unknown)`.
    #[default]
    Unknown,
    /// A place in a file, `loc("step.py":10:4)`, or a range, `loc("step.py":10:4 to 11:8)`.
    File(Arc<FileRange>),
    /// A name given by the front end, and what it names: `loc("jit(step)/dot_general"("step.py":10:4))`.
    Name(Arc<str>, Option<Arc<Location>>),
    /// A place in a function and the place that called it: `loc(callsite(callee at caller))`.
    CallSite {
        /// The place in the called function.
        callee: Arc<Location>,
        /// The place of the call.
        caller: Arc<Location>,
    },
    /// Several places that became one op: `loc(fused["a.py":1:1, "a.py":2:1])`.
    Fused(Arc<[Location]>),
}

/// A range in a file. Lines and columns count from 1; where only a point is known, start and end are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileRange {
    /// The file as the front end names it.
    pub file: Arc<str>,
    /// First line and column.
    pub start: (u32, u32),
    /// Last line and column.
    pub end: (u32, u32),
}

impl Location {
    /// A point in a file.
    pub fn file(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        Self::File(Arc::new(FileRange {
            file: file.into(),
            start: (line, column),
            end: (line, column),
        }))
    }

    /// The file range a reader would open first: the innermost callee, the named place, the first of the fused.
    pub fn innermost(&self) -> Option<&FileRange> {
        match self {
            Self::Unknown => None,
            Self::File(range) => Some(range),
            Self::Name(_, child) => child.as_deref().and_then(Self::innermost),
            Self::CallSite { callee, caller } => callee.innermost().or_else(|| caller.innermost()),
            Self::Fused(locations) => locations.iter().find_map(Self::innermost),
        }
    }
}
