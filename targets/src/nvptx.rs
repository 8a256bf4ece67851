//! The GPU target: a plan's kernels as PTX, in one module.
//!
//! Each kernel becomes an MLIR module, LLVM IR and, by LLVM's NVPTX back end in this process, PTX: an entry whose
//! parameters are the addresses of its buffers. A family whose work is many equal elements has a schedule of its own in
//! `family`; of every other, each thread does one of the blocks that the CPU's threads do many of.

mod assembler;
mod asynchronous;
mod capability;
mod chip;
mod combine;
mod convert;
mod copy;
mod family;
mod function;
mod header;
mod inline;
mod machine;
mod matrix;
mod module;
mod shared;
mod thread;

pub use assembler::{Assembled, Assembler};
pub(crate) use capability::names;
pub use capability::{CAPABILITIES, Capability, Feature, GpuTarget, GpuTargetError};
pub use chip::{Bound, Chip};

use crate::codegen::{Code, Shape};
use crate::llvm::{self, Diagnostics};
use crate::manifest;
use crate::units::{Unit, Units};
use crate::{CodeStage, CodegenError, Options, mlir};
use inkwell::context::Context as LlvmContext;
use melior::ir::{Location, Module};
use tessera_ir::plan::Plan;
use tessera_runtime::bundle::{self, BundleWriter, PtxKernel, Resources, TensorMap, Tile};

/// The grid that a kernel is launched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// CTAs; 0 where there is nothing to do.
    pub ctas: u32,
    /// CTAs of a cluster, which divide those.
    pub cluster: u32,
    /// Threads of a CTA.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// Bytes of global memory of its own.
    pub workspace_bytes: usize,
    /// Tensor maps over its buffers, its last parameters.
    pub tensor_maps: Vec<TensorMap>,
    /// How it cuts a product, if it makes one.
    pub tile: Option<Tile>,
}

impl Grid {
    /// Nothing to do: no result has an element.
    pub const EMPTY: Self = Self {
        ctas: 0,
        cluster: 1,
        threads: 1,
        shared_bytes: 0,
        workspace_bytes: 0,
        tensor_maps: Vec::new(),
        tile: None,
    };

    /// So many CTAs of so many threads; `None` where no grid has that many.
    pub fn new(ctas: i64, threads: i64) -> Option<Self> {
        /// PTX ISA, `%nctaid`: the grid's first dimension.
        const MOST_CTAS: i64 = (1 << 31) - 1;
        (ctas <= MOST_CTAS).then_some(Self {
            ctas: ctas as u32,
            threads: threads as u32,
            ..Self::EMPTY
        })
    }
}

/// The bundle of a plan and the code of its units.
pub(crate) fn bundle(
    plan: &Plan,
    units: &Units<'_>,
    compiled: &[Option<Code>],
    target: GpuTarget,
    options: &Options,
) -> Result<BundleWriter, CodegenError> {
    let texts: Vec<&[u8]> = compiled
        .iter()
        .flatten()
        .map(|code| &code.bytes[..])
        .collect();
    let ptx = match texts.is_empty() {
        true => None,
        false => Some(module::join(&texts)?),
    };
    let assembled = match (&ptx, &options.assembler) {
        (Some(ptx), Some(assembler)) => Some(assembler.assemble(ptx, target)?),
        _ => None,
    };
    let kernels = (units.units.iter().zip(compiled)).map(|(unit, code)| {
        let Some(Shape::Grid(grid)) = code.as_ref().map(|code| &code.shape) else {
            unreachable!("every kernel was compiled, for a GPU")
        };
        let assembled = assembled.as_ref();
        let resources = assembled.and_then(|all| all.resources.get(&unit.symbol));
        let code = bundle::Code::Ptx(kernel(unit, grid, resources));
        manifest::kernel(unit, code, None, family::matrix_unit(unit.kernel, target))
    });
    let made_for = bundle::Target {
        name: target.to_string(),
        architecture: "nvptx64".to_owned(),
        features: vec![format!("ptx{}", target.capability().ptx_version)],
    };
    let manifest = manifest::manifest(plan, units, kernels.collect(), made_for, &options.pipeline);
    let mut writer = BundleWriter::new(manifest).constants(&plan.constants);
    let header = header::header(&writer.manifest());
    writer = writer.file("step.h", header.into_bytes());
    if let Some(ptx) = ptx {
        writer = writer.ptx(ptx);
    }
    if let Some(assembled) = assembled {
        writer = writer.cubin(assembled.cubin);
    }
    Ok(writer)
}

fn kernel(unit: &Unit<'_>, grid: &Grid, resources: Option<&Resources>) -> PtxKernel {
    PtxKernel {
        entry: unit.symbol.clone(),
        grid: [grid.ctas, 1, 1],
        block: [grid.threads, 1, 1],
        cluster: [grid.cluster, 1, 1],
        shared_bytes: grid.shared_bytes,
        workspace_bytes: grid.workspace_bytes,
        tile: grid.tile,
        resources: resources.copied(),
        tensor_maps: grid.tensor_maps.clone(),
    }
}

/// Compiles a unit in this process, up to a stage.
pub(crate) fn compile_unit(
    unit: &Unit<'_>,
    target: GpuTarget,
    stage: CodeStage,
) -> Result<Code, CodegenError> {
    let context = mlir::context();
    let diagnostics = Diagnostics::of(&context);
    let mut module = Module::new(Location::unknown(&context));
    let grid = function::build(&context, &module, unit, target).map_err(|source| {
        CodegenError::Unsupported {
            kernel: unit.kernel.name.clone(),
            source,
        }
    })?;
    let shape = Shape::Grid(grid);
    if stage == CodeStage::Mlir {
        let bytes = module.as_operation().to_string().into_bytes();
        return Ok(Code { shape, bytes });
    }
    llvm::lower(&context, &mut module, &diagnostics)?;
    let llvm_context = LlvmContext::create();
    let translated = llvm::translate(&module, &llvm_context, &diagnostics)?;
    inline::keep_together(&translated);
    let machine = machine::machine(target)?;
    machine.optimise(&translated)?;
    let bytes = match stage {
        // MLIR has been given above.
        CodeStage::Mlir | CodeStage::Llvm => translated.print_to_string().to_bytes().to_vec(),
        CodeStage::Assembly => machine.assembly(&translated)?.into_bytes(),
        CodeStage::Object => {
            return Err(CodegenError::NoObjects {
                target: target.to_string(),
            });
        }
    };
    Ok(Code { shape, bytes })
}
