//! The CPU target: a plan's kernels as machine code for x86-64, in one shared object.
//!
//! Each kernel becomes an MLIR module (built by its family), LLVM IR, an object file; dense f32 and f64 matrix
//! products become calls of the runtime's own. A kernel is compiled once for each way in which launches give it
//! overlapping memory: where a result lies in an operand's memory, LLVM is told that they are one and the same, and that
//! nothing else overlaps.

mod elf;
mod family;
mod function;
mod header;
mod link;
mod machine;

pub(crate) use family::builtin;
pub use link::linker;
pub use machine::{CpuTarget, CpuTargetError};

use crate::blocks;
use crate::codegen::{Code, Shape};
use crate::llvm::{self, Diagnostics};
use crate::manifest;
use crate::units::{Unit, Units};
use crate::{CodeStage, CodegenError, Options, mlir};
use function::{Buffers, Own};
use inkwell::context::Context as LlvmContext;
use melior::ir::{Location, Module};
use tessera_ir::plan::Plan;
use tessera_runtime::bundle::{self, BundleWriter, Function};

/// The bundle of a plan and the code of its units.
pub(crate) fn bundle(
    plan: &Plan,
    units: &Units<'_>,
    compiled: &[Option<Code>],
    target: &CpuTarget,
    options: &Options,
) -> Result<BundleWriter, CodegenError> {
    let kernels =
        (units.units.iter().zip(compiled)).map(|(unit, code)| kernel(unit, code.as_ref()));
    let made_for = bundle::Target {
        name: target.to_string(),
        architecture: "x86_64".to_owned(),
        features: target.features().iter().map(|&f| f.to_owned()).collect(),
    };
    let manifest = manifest::manifest(plan, units, kernels.collect(), made_for, &options.pipeline);
    let header = header::header(&manifest);
    let mut writer = BundleWriter::new(manifest)
        .constants(&plan.constants)
        .file("step.h", header.into_bytes());
    let objects: Vec<&[u8]> = compiled
        .iter()
        .flatten()
        .map(|code| &code.bytes[..])
        .collect();
    if !objects.is_empty() {
        writer = writer.kernels(link::link(&objects, options)?);
    }
    Ok(writer)
}

fn kernel(unit: &Unit<'_>, code: Option<&Code>) -> bundle::Kernel {
    if let Some(builtin) = &unit.builtin {
        // What it calls has the unit's name, and the runtime divides its work.
        return manifest::kernel(unit, builtin.code.clone(), Some(&builtin.operands), None);
    }
    let Some(Shape::Blocks(division)) = code.map(|code| &code.shape) else {
        unreachable!("what the runtime does not compute was compiled, for a CPU")
    };
    let function = Function {
        symbol: unit.symbol.clone(),
        blocks: division.blocks,
        grain: division.grain,
        scratch_bytes: division.scratch_bytes,
    };
    manifest::kernel(unit, bundle::Code::Function(function), None, None)
}

/// Compiles a unit in this process, up to a stage.
pub(crate) fn compile_unit(
    unit: &Unit<'_>,
    target: &CpuTarget,
    stage: CodeStage,
) -> Result<Code, CodegenError> {
    let context = mlir::context();
    let diagnostics = Diagnostics::of(&context);
    let mut module = Module::new(Location::unknown(&context));
    let every: Vec<usize> = (0..unit.in_place.len()).collect();
    let builtin = unit.builtin.as_ref();
    let buffers = Buffers {
        operands: builtin.map_or(&every, |builtin| &builtin.operands),
        own: match builtin.map(|builtin| &builtin.code) {
            None => Own::Scratch,
            Some(bundle::Code::ScaledDot(_)) => Own::Product,
            Some(_) => Own::Tensor,
        },
    };
    let division = function::build(
        &context,
        &module,
        unit.kernel,
        &unit.in_place,
        &unit.symbol,
        &buffers,
        |emission| blocks::emit(emission),
    )
    .map_err(|source| CodegenError::Unsupported {
        kernel: unit.kernel.name.clone(),
        source,
    })?;
    let shape = Shape::Blocks(division);
    if stage == CodeStage::Mlir {
        let bytes = module.as_operation().to_string().into_bytes();
        return Ok(Code { shape, bytes });
    }
    llvm::lower(&context, &mut module, &diagnostics)?;
    let llvm_context = LlvmContext::create();
    let translated = llvm::translate(&module, &llvm_context, &diagnostics)?;
    let machine = target.machine()?;
    machine.optimise(&translated)?;
    let bytes = match stage {
        // MLIR has been given above.
        CodeStage::Mlir | CodeStage::Llvm => translated.print_to_string().to_bytes().to_vec(),
        CodeStage::Assembly => machine.assembly(&translated)?.into_bytes(),
        CodeStage::Object => machine.object(&translated)?,
    };
    Ok(Code { shape, bytes })
}
