//! How a command ends when it does not end well: the message, and the exit code it stands for.

use std::path::PathBuf;
use tessera_ir::diagnostic::Diagnostic;

/// Why a command failed. Each variant is one exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something in what the user gave is wrong; the text is complete, place and notes included. Exit code 1.
    #[error("{0}")]
    Diagnosed(String),
    /// The results are not the expected ones. Exit code 3.
    #[error("{0}")]
    Differs(String),
    /// A check found something; the text is complete, places included. Exit code 3.
    #[error("{0}")]
    Found(String),
    /// Tessera itself is wrong. Exit code 101.
    #[error("internal error: {message}{}", reproducer_note(.reproducer.as_ref()))]
    Internal {
        /// What went wrong, in the terms of whoever will mend it.
        message: String,
        /// A file that shows it again.
        reproducer: Option<PathBuf>,
    },
}

fn reproducer_note(reproducer: Option<&PathBuf>) -> String {
    reproducer.map_or_else(String::new, |path| {
        format!("\nnote: the reproducer is {}", path.display())
    })
}

impl Failure {
    /// An error without a place in a text.
    pub fn error(message: impl std::fmt::Display) -> Self {
        Self::Diagnosed(format!("error: {message}"))
    }

    /// An error about a file as a whole.
    pub fn in_file(file: &str, message: impl std::fmt::Display) -> Self {
        Self::Diagnosed(format!("{file}: error: {message}"))
    }

    /// An error at a place of a text.
    pub fn at(file: &str, text: &str, diagnostic: &Diagnostic) -> Self {
        Self::Diagnosed(diagnostic.render(file, text).trim_end().to_owned())
    }

    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Diagnosed(_) => 1,
            Self::Differs(_) | Self::Found(_) => 3,
            Self::Internal { .. } => 101,
        }
    }
}
