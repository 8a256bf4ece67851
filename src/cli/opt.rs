//! `tessera opt`: passes over a graph, the graph on standard output.

use super::arguments::OptArguments;
use super::{output, passes, print};
use crate::{Failure, Source};
use std::fmt::Write;
use tessera_ir::text::{self, PrintOptions};
use tessera_passes::Pipeline;

pub(super) fn opt(arguments: &OptArguments) -> Result<(), Failure> {
    if arguments.list_passes {
        return print(&pass_list());
    }
    let source = Source::read(&arguments.input)?;
    let module = source.module()?;
    let pipeline = passes::pipeline(&arguments.passes, &source, Pipeline::default)?;
    let module = passes::run(&pipeline, &module, &arguments.passes)?;
    let options = PrintOptions {
        locations: arguments.locations,
        generic: arguments.generic,
    };
    output::write(&arguments.output, text::print(&module, options).as_bytes())
}

fn pass_list() -> String {
    let mut text = String::new();
    for pass in tessera_passes::manager::list() {
        let _ = writeln!(text, "{:<24}{}", pass.name, pass.summary);
        for option in pass.options {
            let _ = writeln!(
                text,
                "    {}={:<16}{}",
                option.name, option.value, option.summary
            );
        }
    }
    let _ = writeln!(
        text,
        "\ndefault pipeline: {}",
        tessera_passes::DEFAULT_PIPELINE
    );
    text
}
