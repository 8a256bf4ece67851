//! The passes on the command line: which run, what is printed on the way, what a failure leaves.

use super::arguments::PassArguments;
use super::output::write_reproducer;
use super::{notify, recipe};
use crate::{Failure, Source};
use std::time::Duration;
use tessera_ir::text::{self, PrintOptions};
use tessera_ir::{Location, Module};
use tessera_passes::manager::{Observer, PassRun};
use tessera_passes::recipes::expand::ExpandRecipe;
use tessera_passes::{PassError, Pipeline};

/// The first line of a reproducer, in front of the pipeline.
const REPRODUCER_HEADER: &str = "// tessera opt --passes '";

/// The pipeline the flags ask for: the recipe's passes, then those named, or a reproducer's own, or `default`.
pub(super) fn pipeline(
    arguments: &PassArguments,
    source: &Source,
    default: impl FnOnce() -> Pipeline,
) -> Result<Pipeline, Failure> {
    let named = match &arguments.passes {
        Some(text) => Some((text.as_str(), "--passes")),
        None => reproducer_pipeline(&source.text).map(|text| (text, source.name.as_str())),
    };
    let rest = match named {
        Some((text, place)) => text
            .parse()
            .map_err(|error| Failure::in_file(place, error))?,
        None => default(),
    };
    let Some(name) = &arguments.recipe else {
        return Ok(rest);
    };
    let mut pipeline = recipe_pipeline(name)?;
    pipeline.extend(rest);
    Ok(pipeline)
}

/// The passes up to a recipe's expansion.
pub(super) fn recipe_pipeline(name: &str) -> Result<Pipeline, Failure> {
    let found = recipe::find(name)?;
    recipe::remark(&found);
    let pass = ExpandRecipe::named(name, found);
    Ok(tessera_passes::recipe_pipeline(pass))
}

/// The pipeline that a reproducer carries in its first line.
fn reproducer_pipeline(text: &str) -> Option<&str> {
    text.lines()
        .next()?
        .strip_prefix(REPRODUCER_HEADER)?
        .strip_suffix('\'')
}

/// Runs the pipeline as the flags say.
pub(super) fn run(
    pipeline: &Pipeline,
    module: &Module,
    arguments: &PassArguments,
) -> Result<Module, Failure> {
    for name in &arguments.print_ir_after {
        if !pipeline.passes().any(|pass| pass.name() == name) {
            let message = format!("--print-ir-after {name}: the pipeline has no such pass");
            return Err(Failure::error(message));
        }
    }
    let mut watch = Watch {
        arguments,
        total: Duration::ZERO,
    };
    let result = pipeline.run(module, &mut watch);
    if arguments.timing {
        notice!("{:>10.3} ms  passes", watch.total.as_secs_f64() * 1e3);
    }
    result.map_err(|error| failure(&error, arguments))
}

/// A failed pass as the user sees it. What the compiler did wrong is kept as a reproducer.
pub(super) fn failure(error: &PassError, arguments: &PassArguments) -> Failure {
    let place = place(error.location());
    if !error.is_internal() {
        return Failure::Diagnosed(format!("{place}error: {error}"));
    }
    let reproducer = write_reproducer(
        arguments.reproducer.as_deref(),
        &error.reproducer.to_string(),
    );
    match reproducer {
        Ok(path) => Failure::Internal {
            message: format!("{place}{error}"),
            reproducer: Some(path),
        },
        Err(unwritten) => Failure::Internal {
            message: format!("{place}{error}\n{unwritten}"),
            reproducer: None,
        },
    }
}

/// A place as it stands before a message.
fn place(location: &Location) -> String {
    match location.innermost() {
        Some(range) => format!("{}:{}:{}: ", range.file, range.start.0, range.start.1),
        None => String::new(),
    }
}

/// Prints graphs, remarks and times while the pipeline runs.
struct Watch<'a> {
    arguments: &'a PassArguments,
    total: Duration,
}

impl Observer for Watch<'_> {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        let arguments = self.arguments;
        self.total += run.duration + run.verification;
        for warning in run.report.warnings() {
            notice!("warning: {warning}");
        }
        if arguments.timing {
            let milliseconds = (run.duration + run.verification).as_secs_f64() * 1e3;
            let statistics = run.report.statistics().iter();
            let statistics: Vec<_> = statistics
                .map(|(what, count)| format!("{count} {what}"))
                .collect();
            notice!(
                "{milliseconds:>10.3} ms  {}  {}",
                run.name,
                statistics.join(", ")
            );
        }
        if arguments.remarks {
            for remark in run.report.remarks() {
                notice!(
                    "{}{}: {}",
                    place(&remark.location),
                    run.name,
                    remark.message
                );
            }
        }
        if arguments.print_ir_after_all
            || arguments.print_ir_after.iter().any(|name| name == run.name)
        {
            let unchanged = if run.changed { "" } else { ", unchanged" };
            notice!("// after {}: {}{unchanged}", run.number, run.name);
            notify(&text::print(run.module, PrintOptions::default()));
        }
    }
}
