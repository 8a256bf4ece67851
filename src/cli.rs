//! The command line: flags in, exit code out. Standard output carries the product, standard error the rest.

/// Prints a line to standard error, as `eprintln!` does, but does not mind when nobody reads it.
macro_rules! notice {
    ($($arguments:tt)*) => {
        $crate::cli::notify(&format!("{}\n", format_args!($($arguments)*)))
    };
}

mod analyze;
mod arguments;
mod columns;
mod compile;
mod doctor;
mod emulate;
mod inspect;
mod opt;
mod output;
mod passes;
mod quantize;
mod recipe;
mod run;
mod table;
mod worker;

use crate::Failure;
use arguments::{Arguments, Command};
use clap::Parser;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    // Clap prints help with code 0 and usage errors with code 2 by itself.
    let arguments = Arguments::parse();
    start_tracing();
    match catch_unwind(AssertUnwindSafe(|| dispatch(&arguments.command))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            notice!("{failure}");
            ExitCode::from(failure.exit_code())
        }
        // The panic hook has printed what happened and where.
        Err(_) => {
            notice!(
                "internal error: this is a defect of Tessera; the command shows it again: {}",
                command_line()
            );
            ExitCode::from(101)
        }
    }
}

fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Compile(arguments) => compile::compile(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Opt(arguments) => opt::opt(arguments),
        Command::Inspect(arguments) => inspect::inspect(arguments),
        Command::Recipe { command } => recipe::recipe(command),
        Command::Quantize(arguments) => quantize::quantize(arguments),
        Command::Analyze(arguments) => analyze::analyze(arguments),
        Command::Emulate(arguments) => emulate::emulate(arguments),
        Command::Doctor => doctor::doctor(),
        Command::Worker { reproducer } => worker::worker(reproducer.as_deref()),
    }
}

/// `TESSERA_LOG=debug` prints what the parts say of their work.
fn start_tracing() {
    use tracing_subscriber::EnvFilter;
    if let Ok(filter) = EnvFilter::try_from_env("TESSERA_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
}

fn command_line() -> String {
    let quoted = std::env::args().map(|argument| match argument.contains([' ', '\'', '*', '(']) {
        true => format!("'{}'", argument.replace('\'', "'\\''")),
        false => argument,
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Writes to standard output. A reader that has gone away, as `head` does, is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error. Where it is closed or full, what was to be said is lost and the work goes on.
fn notify(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
