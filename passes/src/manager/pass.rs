//! What a pass is, and what it can say beside its result.

use super::PassFailure;
use std::fmt::Debug;
use std::str::FromStr;
use tessera_ir::{Location, Module};

/// A step from module to module.
///
/// The result is verified after each pass: one that breaks the module is a bug, reported with the pass's name.
pub trait Pass: Debug + Send + Sync {
    /// The name in pipelines: lower case, words joined by hyphens.
    fn name(&self) -> &'static str;

    /// What it does, in one line.
    fn summary(&self) -> &'static str;

    /// Its options with their values, in the order in which they are printed.
    fn options(&self) -> Vec<OptionValue> {
        Vec::new()
    }

    /// Sets an option.
    ///
    /// # Errors
    /// There is no such option, or the value is not one of its values.
    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let _ = (name, value);
        Err(OptionError::Unknown)
    }

    /// Does it. `report` takes what else there is to say.
    ///
    /// # Errors
    /// The module asks for what the pass cannot do, or the pass itself is wrong.
    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure>;
}

/// An option of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// The name in pipelines.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its value, as it is written in a pipeline.
    pub value: String,
}

/// Why an option could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The pass has no option of that name.
    #[error("no such option")]
    Unknown,
    /// The option has no such value.
    #[error("expected {expected}, found '{found}'")]
    Value {
        /// What its values look like.
        expected: &'static str,
        /// The value read.
        found: String,
    },
    /// The option has such values, and this one is wrong in itself: a file that cannot be read, or not understood.
    #[error("{reason}")]
    Refused {
        /// What is wrong, with its place.
        reason: String,
    },
}

/// Reads the value of an option that is an integer, 0 or more.
///
/// # Errors
/// It is not.
pub fn integer_option<T: FromStr>(value: &str) -> Result<T, OptionError> {
    value.parse().map_err(|_| OptionError::Value {
        expected: "an integer, 0 or more",
        found: value.to_owned(),
    })
}

/// What a pass says beside its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    statistics: Vec<(&'static str, usize)>,
    remarks: Vec<Remark>,
    warnings: Vec<String>,
}

/// What a pass tells the user about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The place.
    pub location: Location,
    /// What was or was not done there.
    pub message: String,
}

impl Report {
    /// Adds to a number that is shown with the pass's time.
    pub fn count(&mut self, what: &'static str, number: usize) {
        match self.statistics.iter_mut().find(|(name, _)| *name == what) {
            Some((_, sum)) => *sum += number,
            None => self.statistics.push((what, number)),
        }
    }

    /// Tells the user something.
    pub fn remark(&mut self, location: &Location, message: impl Into<String>) {
        self.remarks.push(Remark {
            location: location.clone(),
            message: message.into(),
        });
    }

    /// Tells the user what asks for attention, of the whole program.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// The warnings, in order.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What was counted, in the order of the first counts.
    pub fn statistics(&self) -> &[(&'static str, usize)] {
        &self.statistics
    }

    /// What was remarked, in order.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
}
