//! From kernels to object files.

use super::emission::{self, Division};
use super::units::{Unit, Units};
use super::worker::Worker;
use super::{CpuError, CpuOptions, CpuTarget, family, lower};
use crate::mlir;
use inkwell::context::Context as LlvmContext;
use melior::ir::{Location, Module};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A stage of a kernel's compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeStage {
    /// The MLIR that the kernel's family builds.
    Mlir,
    /// Optimised LLVM IR.
    Llvm,
    /// Assembly.
    Assembly,
    /// An ELF object file.
    Object,
}

impl CodeStage {
    /// Every stage, from the plan on.
    pub const ALL: [Self; 4] = [Self::Mlir, Self::Llvm, Self::Assembly, Self::Object];

    /// The stage's word: `mlir`, `llvm`, `asm`, `obj`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mlir => "mlir",
            Self::Llvm => "llvm",
            Self::Assembly => "asm",
            Self::Object => "obj",
        }
    }
}

/// A kernel's code at a stage.
pub struct Code {
    /// How its work is divided.
    pub division: Division,
    /// A text or an object file.
    pub bytes: Vec<u8>,
}

/// The machine code of all units, `None` for those that are calls of the runtime.
pub fn compile(
    units: &Units<'_>,
    target: &CpuTarget,
    options: &CpuOptions,
) -> Result<Vec<Option<Code>>, CpuError> {
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
                    let code = match unit.builtin {
                        Some(_) => Ok(None),
                        None => compiler.compile(unit, CodeStage::Object).map(Some),
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
    target: &'a CpuTarget,
    worker: Option<Worker<'a>>,
}

impl<'a> UnitCompiler<'a> {
    fn new(target: &'a CpuTarget, options: &'a CpuOptions) -> Self {
        let worker = options.worker.as_ref().map(Worker::new);
        Self { target, worker }
    }

    fn compile(&mut self, unit: &Unit<'_>, stage: CodeStage) -> Result<Code, CpuError> {
        match &mut self.worker {
            Some(worker) => worker.compile(unit, self.target, stage),
            None => compile_unit(unit, self.target, stage),
        }
    }
}

/// The code of every unit that has a function, at a stage.
pub fn emit(
    units: &Units<'_>,
    target: &CpuTarget,
    stage: CodeStage,
    options: &CpuOptions,
) -> Result<Vec<(String, Vec<u8>)>, CpuError> {
    let mut compiler = UnitCompiler::new(target, options);
    let functions = units.units.iter().filter(|unit| unit.builtin.is_none());
    let code = functions.map(|unit| {
        let code = compiler.compile(unit, stage)?;
        Ok((unit.symbol.clone(), code.bytes))
    });
    code.collect()
}

/// Compiles a unit in this process, up to a stage.
pub fn compile_unit(
    unit: &Unit<'_>,
    target: &CpuTarget,
    stage: CodeStage,
) -> Result<Code, CpuError> {
    let context = mlir::context();
    let diagnostics = lower::Diagnostics::of(&context);
    let mut module = Module::new(Location::unknown(&context));
    let division = emission::build(
        &context,
        &module,
        unit.kernel,
        &unit.in_place,
        &unit.symbol,
        |emission| family::emit(emission),
    )
    .map_err(|source| CpuError::Unsupported {
        kernel: unit.kernel.name.clone(),
        source,
    })?;
    if stage == CodeStage::Mlir {
        let bytes = module.as_operation().to_string().into_bytes();
        return Ok(Code { division, bytes });
    }
    lower::lower(&context, &mut module, &diagnostics)?;
    let llvm = LlvmContext::create();
    let translated = lower::translate(&module, &llvm, &diagnostics)?;
    let machine = target.machine()?;
    machine.optimise(&translated)?;
    let bytes = match stage {
        // MLIR has been given above.
        CodeStage::Mlir | CodeStage::Llvm => translated.print_to_string().to_bytes().to_vec(),
        CodeStage::Assembly => machine.assembly(&translated)?.into_bytes(),
        CodeStage::Object => machine.object(&translated)?,
    };
    Ok(Code { division, bytes })
}
