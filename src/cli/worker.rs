//! `tessera worker`: kernels compiled in a process of their own.

use super::output;
use crate::{Failure, Source};
use tessera_targets::{ReproducerError, WorkerCommand, compile_reproducer, worker_main};

/// This program as a worker; none where the system does not say which program this is.
pub(super) fn command() -> Option<WorkerCommand> {
    let program = std::env::current_exe().ok()?;
    Some(WorkerCommand {
        program,
        arguments: vec!["worker".into()],
    })
}

/// Compiles what comes in on standard input, or the kernel of a reproducer.
pub(super) fn worker(reproducer: Option<&str>) -> Result<(), Failure> {
    let Some(path) = reproducer else {
        return worker_main().map_err(Failure::error);
    };
    let source = Source::read(path)?;
    let code = compile_reproducer(&source.text).map_err(|error| match error {
        ReproducerError::Text(error) => Failure::at(&source.name, &source.text, &error),
        error => Failure::in_file(&source.name, error),
    })?;
    output::write("-", &code)
}
