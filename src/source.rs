//! The text a user gives: read whole, recognised, turned into a module.

use crate::Failure;
use std::io::Read;
use tessera_ir::Module;
use tessera_ir::diagnostic::line_and_column;

/// A text with the name its diagnostics carry.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's path, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// The languages a step can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// StableHLO's text, as JAX prints it.
    StableHlo,
    /// Tessera's own text.
    Tsr,
}

impl Source {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn read(path: &str) -> Result<Self, Failure> {
        let (name, bytes) = if path == "-" {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            ("<stdin>", read.map(|_| bytes))
        } else {
            (path, std::fs::read(path))
        };
        let bytes = bytes.map_err(|error| Failure::in_file(name, error))?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// The language, by the dialect of the first op.
    pub fn language(&self) -> Language {
        let place = |dialect: &str| self.text.find(dialect).unwrap_or(usize::MAX);
        let foreign = ["stablehlo.", "chlo.", "mhlo."];
        let first_foreign = foreign.into_iter().map(place).min();
        match first_foreign {
            Some(foreign) if place("tsr.") < foreign => Language::Tsr,
            _ => Language::StableHlo,
        }
    }

    /// The module the text describes.
    ///
    /// # Errors
    /// The text is malformed, or holds what is not supported; the failure shows the place.
    pub fn module(&self) -> Result<Module, Failure> {
        let module = match self.language() {
            Language::StableHlo => tessera_import::import(&self.text, &self.name),
            Language::Tsr => tessera_ir::text::parse(&self.text, Some(&self.name)),
        };
        let module =
            module.map_err(|diagnostic| Failure::at(&self.name, &self.text, &diagnostic))?;
        tessera_ir::verify(&module).map_err(|errors| {
            let lines = errors
                .iter()
                .map(|error| format!("{}: error: {error}", self.name));
            Failure::Diagnosed(lines.collect::<Vec<_>>().join("\n"))
        })?;
        Ok(module)
    }
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> Failure {
    let valid = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let (line, column) = line_and_column(&before, before.len());
    Failure::Diagnosed(format!(
        "{name}:{line}:{column}: error: expected UTF-8 text, found the byte 0x{:02x}",
        bytes[valid]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(text: &str) -> Language {
        let source = Source {
            name: "a.mlir".into(),
            text: text.into(),
        };
        source.language()
    }

    #[test]
    fn the_first_dialect_names_the_language() {
        assert_eq!(language("%0 = stablehlo.add %a, %a"), Language::StableHlo);
        assert_eq!(
            language("%0 = tsr.add %a, %a // not stablehlo.add"),
            Language::Tsr
        );
        assert_eq!(language(""), Language::StableHlo);
    }
}
