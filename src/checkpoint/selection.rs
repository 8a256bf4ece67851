//! Which tensors of a file the user means.

use super::{Checkpoint, Entry};
use crate::{Failure, words};
use tessera_passes::recipes::Pattern;

/// The tensors that one of some patterns fits; all of them where there is no pattern.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    patterns: Vec<Pattern>,
}

impl Selection {
    /// The tensors that one of these patterns fits, in which `*` stands for any characters.
    pub fn new(patterns: &[String]) -> Self {
        Self {
            patterns: patterns.iter().map(Pattern::new).collect(),
        }
    }

    /// Whether the tensor of that name is meant.
    pub fn includes(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether the tensor is asked for by its own name and not by a pattern.
    pub fn names(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.as_str() == name)
    }

    /// The tensors meant.
    ///
    /// # Errors
    /// A pattern fits none.
    pub fn entries<'a>(&self, checkpoint: &'a Checkpoint) -> Result<Vec<Entry<'a>>, Failure> {
        let all = || checkpoint.entries();
        for pattern in &self.patterns {
            if !all().any(|entry| pattern.matches(entry.name)) {
                let nearest = words::suggestion(pattern.as_str(), all().map(|entry| entry.name));
                let message = format!("no tensor is called '{pattern}'{nearest}");
                return Err(Failure::in_file(&checkpoint.name(), message));
            }
        }
        Ok(all().filter(|entry| self.includes(entry.name)).collect())
    }
}
