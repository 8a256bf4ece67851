//! Kernels compiled in processes of their own.
//!
//! LLVM aborts on what it cannot select, and an error deep within it may be a segmentation fault. A worker is a process
//! that compiles one kernel after the other: where it dies, the compiler lives on, knows which kernel it was, and has
//! the [request] to show it again.

mod process;
mod request;

pub use request::ReproducerError;

use crate::codegen::{self, Code};
use crate::units::Unit;
use crate::{CodeStage, CodegenError, Target};
use process::{Process, Reply};
use request::Request;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// How a worker is started: a program that calls [`worker_main`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// What it is given.
    pub arguments: Vec<OsString>,
}

/// Compiles kernels in another process, which is started for the first of them, and again after it has died.
pub struct Worker<'a> {
    command: &'a WorkerCommand,
    process: Option<Process>,
}

impl<'a> Worker<'a> {
    pub fn new(command: &'a WorkerCommand) -> Self {
        Self {
            command,
            process: None,
        }
    }

    /// The unit's code at a stage.
    pub fn compile(
        &mut self,
        unit: &Unit<'_>,
        target: &Target,
        stage: CodeStage,
    ) -> Result<Code, CodegenError> {
        let request = request::print(unit, target, stage);
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(self.command)?,
        };
        let failed = |message: String| CodegenError::Kernel {
            kernel: unit.kernel.name.clone(),
            message,
            reproducer: request.clone(),
        };
        match process.ask(&request) {
            Ok(Reply::Compiled(code)) => {
                self.process = Some(process);
                Ok(code)
            }
            // An error that comes back as an answer comes back here too, with all that it knows.
            Ok(Reply::Refused(message)) => {
                self.process = Some(process);
                target.compile_unit(unit, stage)?;
                Err(failed(format!("a worker refuses it: {message}")))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(CodegenError::Worker {
                program: self.command.program.clone(),
                message: "its answer is not a worker's".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(failed(process.last_words()?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a worker does: compiles the kernels that come in on standard input, until it ends.
///
/// # Errors
/// The standard streams cannot be read or written, or a thread cannot be started.
pub fn worker_main() -> io::Result<()> {
    on_compiling_thread(|| serve(&mut io::stdin().lock(), &mut io::stdout().lock()))?
}

/// Compiles the kernel of a reproducer again, which is expected to end the process as it did a worker.
///
/// # Errors
/// The text is none of a reproducer, or the kernel is refused.
pub fn compile_reproducer(text: &str) -> Result<Vec<u8>, ReproducerError> {
    let code = on_compiling_thread(|| compile(text)).map_err(CodegenError::Io)??;
    Ok(code.bytes)
}

fn on_compiling_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = codegen::thread().spawn_scoped(scope, work)?;
        // A panic goes on: it is this process that does the work.
        Ok(thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    while let Some(text) = process::read_request(input)? {
        let reply = match compile(&text) {
            Ok(code) => Reply::Compiled(code),
            Err(error) => Reply::Refused(error.to_string()),
        };
        process::write_reply(output, &reply)?;
    }
    Ok(())
}

fn compile(text: &str) -> Result<Code, ReproducerError> {
    let request = Request::parse(text)?;
    let unit = request.unit()?;
    Ok(request.target.compile_unit(&unit, request.stage)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;
    use tessera_ir::plan;

    #[test]
    fn a_worker_makes_the_same_code() {
        let plan = plan::parse(request::tests::PLAN, None).unwrap();
        let target: Target = "cpu:x86-64-v3".parse().unwrap();
        let units = Units::of(&plan, |kernel, symbol| target.builtin(kernel, symbol)).unwrap();
        assert_eq!(units.units.len(), 2);
        let mut input = Vec::new();
        for unit in &units.units {
            let text = request::print(unit, &target, CodeStage::Object);
            process::write_request(&mut input, &text).unwrap();
        }
        let mut output = Vec::new();
        serve(&mut &input[..], &mut output).unwrap();
        let mut output = &output[..];
        for unit in &units.units {
            let Reply::Compiled(code) = process::read_reply(&mut output).unwrap() else {
                panic!("{} is refused", unit.symbol);
            };
            let here = target.compile_unit(unit, CodeStage::Object).unwrap();
            assert_eq!(code.shape, here.shape);
            assert!(code.bytes == here.bytes, "{}", unit.symbol);
        }
        assert!(output.is_empty());
    }
}
