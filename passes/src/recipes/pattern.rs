//! Patterns of names.

use std::fmt;

/// A pattern of linears' names: `*` stands for any characters or none, all else for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of that text; every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for that name as a whole. Capitals count.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        // Split always gives a first part, if only an empty one.
        let first = parts.next().unwrap_or("");
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // The leftmost place for each part in the middle leaves the most for those after it.
        for part in parts {
            match rest.find(part) {
                Some(place) => rest = &rest[place + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_all_else_for_itself() {
        let cases = [
            ("head", "head", true),
            ("head", "lm_head", false),
            ("*head", "lm_head", true),
            ("*head*", "lm_head.weight", true),
            ("*head*", "wq", false),
            ("*['mlp'][*]['up']", "params['mlp'][3]['up']", true),
            ("*['mlp'][*]['up']", "params['mlp'][3]['down']", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("*Router*", "router", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} against {name}"
            );
        }
    }
}
