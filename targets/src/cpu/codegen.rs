//! From kernels to object files.

use super::emission::{self, Division};
use super::machine::Machine;
use super::units::{Unit, Units};
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

/// A kernel's machine code.
pub struct Code {
    /// How its work is divided.
    pub division: Division,
    /// An ELF object file.
    pub object: Vec<u8>,
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
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(unit) = units.units.get(number) else {
                        break;
                    };
                    let code = match unit.gemm {
                        Some(_) => Ok(None),
                        None => compile_unit(unit, target).map(Some),
                    };
                    let mut results = results.lock().unwrap_or_else(|e| e.into_inner());
                    results.push((number, code));
                }
            };
            // LLVM and the emitters recurse along long chains of ops.
            let builder = std::thread::Builder::new().stack_size(64 << 20);
            if let Err(error) = builder.spawn_scoped(scope, work) {
                tracing::warn!("a thread less to compile with: {error}");
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, code)| code).collect()
}

fn compile_unit(unit: &Unit<'_>, target: &CpuTarget) -> Result<Code, CpuError> {
    let mut object = Vec::new();
    let division = at_stages(unit, target, |stage| {
        if let Stage::Optimised(module, machine) = stage {
            object = machine.object(module)?;
        }
        Ok(())
    })?;
    Ok(Code { division, object })
}

/// The code of every unit that has a function, at a stage.
pub fn emit(
    units: &Units<'_>,
    target: &CpuTarget,
    wanted: CodeStage,
) -> Result<Vec<(String, Vec<u8>)>, CpuError> {
    let functions = units.units.iter().filter(|unit| unit.gemm.is_none());
    let code = functions.map(|unit| {
        let mut code = Vec::new();
        at_stages(unit, target, |stage| {
            match (wanted, stage) {
                (CodeStage::Mlir, Stage::Built(module)) => {
                    code = module.as_operation().to_string().into_bytes();
                }
                (CodeStage::Llvm, Stage::Optimised(module, _)) => {
                    code = module.print_to_string().to_bytes().to_vec();
                }
                (CodeStage::Assembly, Stage::Optimised(module, machine)) => {
                    code = machine.assembly(module)?.into_bytes();
                }
                (CodeStage::Object, Stage::Optimised(module, machine)) => {
                    code = machine.object(module)?;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok((unit.symbol.clone(), code))
    });
    code.collect()
}

/// A kernel between two steps of its compilation.
enum Stage<'a, 'c, 'l> {
    Built(&'a Module<'c>),
    Optimised(&'a inkwell::module::Module<'l>, &'a Machine),
}

/// Compiles a unit and shows it at each stage.
fn at_stages(
    unit: &Unit<'_>,
    target: &CpuTarget,
    mut show: impl FnMut(Stage<'_, '_, '_>) -> Result<(), CpuError>,
) -> Result<Division, CpuError> {
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
    show(Stage::Built(&module))?;
    lower::lower(&context, &mut module, &diagnostics)?;
    let llvm = LlvmContext::create();
    let translated = lower::translate(&module, &llvm, &diagnostics)?;
    let machine = target.machine()?;
    machine.optimise(&translated)?;
    show(Stage::Optimised(&translated, &machine))?;
    Ok(division)
}
