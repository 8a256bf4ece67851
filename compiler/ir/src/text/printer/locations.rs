//! Names for the locations of a text: what is written of one where it is used, and what is defined at the end.

use super::Quoted;
use crate::Location;
use crate::location::FileRange;
use indexmap::IndexSet;
use std::collections::HashMap;
use std::marker::PhantomData;

/// The locations named so far. A place in a file and a name alone are written where they are used; whatever is made of
/// other locations gets a name, once.
#[derive(Default)]
pub(super) struct LocationNames<'m> {
    /// What stands in the parentheses of each definition. Its parts stand before it.
    bodies: IndexSet<String>,
    /// What is written of parts seen before, by address: many ops share them. All live as long as what is printed.
    seen: HashMap<*const Location, String>,
    printed: PhantomData<&'m Location>,
}

impl<'m> LocationNames<'m> {
    /// The bodies of `#loc0`, `#loc1`, ….
    pub(super) fn definitions(&self) -> impl Iterator<Item = String> + use<> {
        self.bodies.clone().into_iter()
    }

    /// What is written in the parentheses of `loc(…)`.
    pub(super) fn reference(&mut self, location: &'m Location) -> String {
        let body = match location {
            Location::Unknown => return "unknown".to_owned(),
            Location::File(range) => return file_range(range),
            Location::Name(name, None) => return Quoted(name).to_string(),
            Location::Name(name, Some(child)) => {
                format!("{}({})", Quoted(name), self.part(child))
            }
            Location::CallSite { callee, caller } => {
                format!("callsite({} at {})", self.part(callee), self.part(caller))
            }
            Location::Fused(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| self.part(part)).collect();
                format!("fused[{}]", parts.join(", "))
            }
        };
        let (number, _) = self.bodies.insert_full(body);
        format!("#loc{number}")
    }

    /// [`reference`](Self::reference), remembered.
    fn part(&mut self, location: &'m Location) -> String {
        let address = std::ptr::from_ref(location);
        if let Some(reference) = self.seen.get(&address) {
            return reference.clone();
        }
        let reference = self.reference(location);
        self.seen.insert(address, reference.clone());
        reference
    }
}

fn file_range(range: &FileRange) -> String {
    let (line, column) = range.start;
    let mut text = format!("{}:{line}:{column}", Quoted(&range.file));
    if range.end != range.start {
        let (end_line, end_column) = range.end;
        let end_line = Some(end_line).filter(|&end| end != line);
        let end_line = end_line.map(|line| line.to_string()).unwrap_or_default();
        text += &format!(" to {end_line}:{end_column}");
    }
    text
}
