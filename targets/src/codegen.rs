//! From kernels to code, several at a time, in this process or in workers.

use crate::blocks::Division;
use crate::nvptx::Grid;
use crate::units::{Unit, Units};
use crate::worker::Worker;
use crate::{CodeStage, CodegenError, Options, Target};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a kernel's work is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Into blocks, which threads of a CPU are given some of.
    Blocks(Division),
    /// Into the CTAs of a grid.
    Grid(Grid),
}

/// A kernel's code at a stage.
pub struct Code {
    /// How its work is divided.
    pub shape: Shape,
    /// A text or an object file.
    pub bytes: Vec<u8>,
}

/// The code of all units, `None` for those that the runtime computes without a function.
pub fn compile(
    units: &Units<'_>,
    target: &Target,
    options: &Options,
) -> Result<Vec<Option<Code>>, CodegenError> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(units.units.len()) {
            let work = || {
                let mut compiler = UnitCompiler::new(target, options);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(unit) = units.units.get(number) else {
                        break;
                    };
                    let code = match unit.has_function() {
                        false => Ok(None),
                        true => compiler.compile(unit, target.stage()).map(Some),
                    };
                    let mut results = results.lock().unwrap_or_else(|e| e.into_inner());
                    results.push((number, code));
                }
            };
            if let Err(error) = thread().spawn_scoped(scope, work) {
                tracing::warn!("a thread less to compile with: {error}");
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, code)| code).collect()
}

/// A thread to compile on: LLVM and the emitters recurse along long chains of ops.
pub fn thread() -> std::thread::Builder {
    std::thread::Builder::new().stack_size(64 << 20)
}

/// Compiles one unit after the other, in this process or in a worker.
struct UnitCompiler<'a> {
    target: &'a Target,
    worker: Option<Worker<'a>>,
}

impl<'a> UnitCompiler<'a> {
    fn new(target: &'a Target, options: &'a Options) -> Self {
        let worker = options.worker.as_ref().map(Worker::new);
        Self { target, worker }
    }

    fn compile(&mut self, unit: &Unit<'_>, stage: CodeStage) -> Result<Code, CodegenError> {
        match &mut self.worker {
            Some(worker) => worker.compile(unit, self.target, stage),
            None => self.target.compile_unit(unit, stage),
        }
    }
}

/// The code of every unit that has a function, at a stage.
pub fn emit(
    units: &Units<'_>,
    target: &Target,
    stage: CodeStage,
    options: &Options,
) -> Result<Vec<(String, Vec<u8>)>, CodegenError> {
    let mut compiler = UnitCompiler::new(target, options);
    let functions = units.units.iter().filter(|unit| unit.has_function());
    let code = functions.map(|unit| {
        let code = compiler.compile(unit, stage)?;
        Ok((unit.symbol.clone(), code.bytes))
    });
    code.collect()
}
