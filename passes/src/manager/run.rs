//! Running a pipeline.

use super::pipeline::pass_text;
use super::{Cause, PassError, PassFailure, Pipeline, Report, Reproducer};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tessera_ir::text::{self, PrintOptions};
use tessera_ir::{Module, verify};

/// A pass that has run.
#[derive(Debug)]
pub struct PassRun<'a> {
    /// Its number in the pipeline, from 0.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// The module it made.
    pub module: &'a Module,
    /// Whether that differs from the module it was given in more than locations.
    pub changed: bool,
    /// What it said beside.
    pub report: &'a Report,
    /// The time it took.
    pub duration: Duration,
    /// The time the verifier took after it.
    pub verification: Duration,
}

/// Who watches a pipeline run.
pub trait Observer {
    /// A pass has run, and what it made is valid.
    fn after_pass(&mut self, run: &PassRun<'_>);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn after_pass(&mut self, _: &PassRun<'_>) {}
}

impl Pipeline {
    /// Runs the passes in order. After each the module is verified and the observer told.
    ///
    /// # Errors
    /// A pass gives up, panics or makes a broken module.
    pub fn run(&self, module: &Module, observer: &mut dyn Observer) -> Result<Module, PassError> {
        let mut module = module.clone();
        for (number, pass) in self.passes.iter().enumerate() {
            let failed = |cause| PassError {
                pass: pass_text(&**pass),
                cause,
                reproducer: Box::new(Reproducer {
                    pipeline: self.text_from(number),
                    module: text::print(
                        &module,
                        PrintOptions {
                            locations: true,
                            ..PrintOptions::default()
                        },
                    ),
                }),
            };
            let span = tracing::debug_span!("pass", name = pass.name());
            let _entered = span.enter();
            let mut report = Report::default();
            let start = Instant::now();
            let result = guarded(|| pass.run(&module, &mut report)).map_err(failed)?;
            let duration = start.elapsed();
            verify(&result).map_err(|errors| failed(Cause::BrokenModule(errors)))?;
            observer.after_pass(&PassRun {
                number,
                name: pass.name(),
                changed: result != module,
                module: &result,
                report: &report,
                duration,
                verification: start.elapsed() - duration,
            });
            module = result;
        }
        Ok(module)
    }
}

/// Runs `work` and makes a cause of its failure, a panic included.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, PassFailure>) -> Result<T, Cause> {
    // What `work` can leave half done is its report, which nobody reads after a panic.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Cause::Failed),
        Err(payload) => Err(Cause::Panicked(panic_message(&*payload))),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
