//! Passes and how they are run: a [`Pipeline`] is read from text, run pass by pass with the module verified after each,
//! and watched by an [`Observer`]. What goes wrong is a [`PassError`] with a [`Reproducer`].

mod error;
mod pass;
mod pipeline;
mod registry;
mod run;

pub use error::{Cause, PassError, PassFailure, Reproducer};
pub use pass::{OptionError, OptionValue, Pass, Remark, Report, integer_option};
pub use pipeline::Pipeline;
pub use registry::{PassInfo, list};
pub use run::{Observer, PassRun, Silent};

pub(crate) use run::guarded;
