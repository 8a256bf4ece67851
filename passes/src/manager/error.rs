//! What can go wrong in a pipeline, and what is needed to see it again.

use std::fmt;
use tessera_ir::{Location, OpError, VerifyError};

/// Why a pass gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PassFailure {
    /// What is wrong, in the user's terms where it is the user's to mend.
    pub message: String,
    /// Where the op in question comes from.
    pub location: Location,
    /// The op in question, as text.
    pub operation: Option<String>,
    /// Whether the pass itself is wrong, and not what it was given.
    pub internal: bool,
}

impl PassFailure {
    /// The module asks for something that cannot be done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            location: Location::Unknown,
            operation: None,
            internal: false,
        }
    }

    /// The pass found itself wrong.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            internal: true,
            ..Self::refused(message)
        }
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, location: &Location) -> Self {
        self.location = location.clone();
        self
    }

    /// The same about an op, given as text.
    #[must_use]
    pub fn about(mut self, operation: impl Into<String>) -> Self {
        self.operation = Some(operation.into());
        self
    }
}

impl From<OpError> for PassFailure {
    /// A pass that builds an op which breaks its constraints is wrong.
    fn from(error: OpError) -> Self {
        Self::internal(format!("the pass built an op that is not valid: {error}"))
    }
}

/// A pipeline that stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassError {
    /// The pass it stopped in, with its options.
    pub pass: String,
    /// Why.
    pub cause: Cause,
    /// What is needed to see it again.
    pub reproducer: Box<Reproducer>,
}

/// Why a pipeline stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The pass gave up.
    Failed(PassFailure),
    /// The module that the pass made is broken.
    BrokenModule(Vec<VerifyError>),
    /// The pass panicked, with that message.
    Panicked(String),
}

impl PassError {
    /// Whether the compiler is wrong, and not what it was given.
    pub fn is_internal(&self) -> bool {
        match &self.cause {
            Cause::Failed(failure) => failure.internal,
            Cause::BrokenModule(_) | Cause::Panicked(_) => true,
        }
    }

    /// Where the op in question comes from, where that is known.
    pub fn location(&self) -> &Location {
        match &self.cause {
            Cause::Failed(failure) => &failure.location,
            Cause::BrokenModule(_) | Cause::Panicked(_) => &Location::Unknown,
        }
    }
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = &self.pass;
        match &self.cause {
            Cause::Failed(failure) => {
                write!(f, "pass '{pass}': {failure}")?;
                match &failure.operation {
                    Some(operation) => write!(f, "\n  {operation}"),
                    None => Ok(()),
                }
            }
            Cause::BrokenModule(errors) => {
                write!(f, "pass '{pass}' made a broken module")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
            Cause::Panicked(message) => write!(f, "pass '{pass}' panicked: {message}"),
        }
    }
}

impl std::error::Error for PassError {}

/// The module as it was before a pass, and the passes that were still to run; before the plan there are none left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reproducer {
    /// The pipeline, from the pass that failed to the end.
    pub pipeline: String,
    /// The module before that pass, in the text form.
    pub module: String,
}

impl fmt::Display for Reproducer {
    /// One file: the module, with the pipeline in a comment before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pipeline.as_str() {
            "" => writeln!(f, "// tessera compile --passes ''")?,
            pipeline => writeln!(f, "// tessera opt --passes '{pipeline}'")?,
        }
        f.write_str(&self.module)
    }
}
