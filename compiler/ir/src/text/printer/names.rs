//! What values, strings and symbols are called.

use crate::{Graph, Operation, ValueId};
use std::fmt::{self, Write};

/// The names of one graph's values. Graphs within ops go on counting.
pub(super) struct Names {
    values: Vec<String>,
}

/// The next free numbers of a function's inputs and ops.
#[derive(Default)]
pub(super) struct Counters {
    inputs: usize,
    operations: usize,
}

impl Names {
    pub(super) fn of_inputs(graph: &Graph, counters: &mut Counters) -> Self {
        let mut values = Vec::with_capacity(graph.value_count());
        for _ in graph.inputs() {
            values.push(format!("%arg{}", counters.inputs));
            counters.inputs += 1;
        }
        Self { values }
    }

    /// Names an op's results and gives their definition, `%3 = ` or `%3:2 = `.
    pub(super) fn define(&mut self, operation: &Operation, counters: &mut Counters) -> String {
        let results = operation.results().len();
        let number = counters.operations;
        counters.operations += usize::from(results > 0);
        match results {
            0 => String::new(),
            1 => {
                self.values.push(format!("%{number}"));
                format!("%{number} = ")
            }
            several => {
                let names = (0..several).map(|index| format!("%{number}#{index}"));
                self.values.extend(names);
                format!("%{number}:{several} = ")
            }
        }
    }

    pub(super) fn get(&self, value: ValueId) -> &str {
        &self.values[value.index()]
    }

    pub(super) fn list(&self, values: impl IntoIterator<Item = ValueId>) -> String {
        let names: Vec<&str> = values.into_iter().map(|value| self.get(value)).collect();
        names.join(", ")
    }
}

/// A string in quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                control if control.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in control.encode_utf8(&mut bytes).bytes() {
                        write!(f, "\\{byte:02X}")?;
                    }
                }
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

/// A symbol, in quotes where its name is no identifier.
pub(crate) struct SymbolName<'a>(pub(crate) &'a str);

impl fmt::Display for SymbolName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
        let begins = self
            .0
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && self.0.chars().all(plain) {
            write!(f, "@{}", self.0)
        } else {
            write!(f, "@{}", Quoted(self.0))
        }
    }
}
