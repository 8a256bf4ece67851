//! The way from a module to a bundle in one object.

use std::collections::BTreeMap;
use std::path::Path;
use tessera_ir::Module;
use tessera_ir::plan::Plan;
use tessera_passes::manager::{Observer, Silent};
use tessera_passes::recipes::Recipe;
use tessera_passes::recipes::expand::ExpandRecipe;
use tessera_passes::{
    PassError, Pipeline, PlanOptions, default_pipeline, matrix_unit_pipeline, recipe_pipeline,
    scale_tiles_pipeline,
};
use tessera_runtime::BundleError;
use tessera_targets::nvptx::Assembler;
use tessera_targets::{CodeStage, CodegenError, Options, Target, TargetError, WorkerCommand};

/// Compiles modules for one target with one pipeline.
///
/// ```no_run
/// use tessera::{Compiler, Source};
///
/// let module = Source::read("step.mlir")?.module()?;
/// Compiler::new("cpu")?.compile(&module, "step.tessera")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Compiler {
    target: Target,
    pipeline: Pipeline,
    options: Options,
}

/// Why a module does not become a bundle.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A pass, or the making of the plan, failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The target cannot do what the plan asks for.
    #[error(transparent)]
    Target(#[from] CodegenError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

fn pipeline_for(target: &Target) -> Pipeline {
    if target.reads_tiles_of_scales() {
        scale_tiles_pipeline()
    } else if target.has_matrix_units() {
        matrix_unit_pipeline()
    } else {
        default_pipeline()
    }
}

impl Compiler {
    /// A compiler for `cpu`, this machine, or for a named target: `cpu:x86-64-v3`, `sm_90a`.
    ///
    /// # Errors
    /// There is no such target.
    pub fn new(target: &str) -> Result<Self, TargetError> {
        let target: Target = target.parse()?;
        Ok(Self {
            pipeline: pipeline_for(&target),
            target,
            options: Options::default(),
        })
    }

    /// The passes that this compiler's target runs without others being named.
    pub fn default_pipeline(&self) -> Pipeline {
        pipeline_for(&self.target)
    }

    /// Other passes than the default ones. They have to end with `fuse` for what comes after them.
    #[must_use]
    pub fn with_pipeline(mut self, pipeline: Pipeline) -> Self {
        self.pipeline = pipeline;
        self
    }

    /// Computes the linears' products as a recipe says, before the other passes.
    #[must_use]
    pub fn with_recipe(mut self, recipe: Recipe) -> Self {
        let mut pipeline = recipe_pipeline(ExpandRecipe::new(recipe));
        pipeline.extend(self.pipeline);
        self.pipeline = pipeline;
        self
    }

    /// How many kernels are compiled at a time; without it, one a core. The bundle does not depend on it.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Option<usize>) -> Self {
        self.options.threads = jobs.unwrap_or(0);
        self
    }

    /// Compiles kernels in processes that this command starts, so that an abort within LLVM is an error and not the end
    /// of this process; without it, in threads of this process. The bundle does not depend on it.
    #[must_use]
    pub fn with_worker(mut self, worker: Option<WorkerCommand>) -> Self {
        self.options.worker = worker;
        self
    }

    /// Adds a GPU's kernels as this assembler makes them to the bundle; without it they are PTX alone.
    #[must_use]
    pub fn with_assembler(mut self, assembler: Option<Assembler>) -> Self {
        self.options.assembler = assembler;
        self
    }

    /// Cuts products of a GPU's kernels, by their names, into tiles of so many rows and columns, where its own choice is not
    /// wanted.
    #[must_use]
    pub fn with_tiles(mut self, tiles: BTreeMap<String, [u32; 2]>) -> Self {
        self.options.tiles = tiles;
        self
    }

    /// The passes this compiler runs.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The module after the passes.
    ///
    /// # Errors
    /// A pass fails.
    pub fn transform(
        &self,
        module: &Module,
        observer: &mut dyn Observer,
    ) -> Result<Module, CompileError> {
        Ok(self.pipeline.run(module, observer)?)
    }

    /// The plan of a module after the passes.
    ///
    /// # Errors
    /// The entry holds what is not part of a kernel.
    pub fn plan(&self, module: &Module) -> Result<Plan, CompileError> {
        Ok(tessera_passes::plan(module, PlanOptions::default())?)
    }

    /// Makes code of a plan and writes the bundle, whole or not at all.
    ///
    /// # Errors
    /// The target cannot do what the plan asks for, or the bundle cannot be written.
    pub fn write_bundle(&self, plan: &Plan, path: impl AsRef<Path>) -> Result<(), CompileError> {
        let mut options = self.options.clone();
        options.pipeline = self.pipeline.to_string();
        let writer = tessera_targets::compile(plan, &self.target, &options)?;
        Ok(writer.write(path)?)
    }

    /// The code of each kernel of a plan at a stage, by the kernel's symbol.
    ///
    /// # Errors
    /// The target cannot do what the plan asks for.
    pub fn emit(
        &self,
        plan: &Plan,
        stage: CodeStage,
    ) -> Result<Vec<(String, Vec<u8>)>, CompileError> {
        Ok(tessera_targets::emit(
            plan,
            &self.target,
            stage,
            &self.options,
        )?)
    }

    /// The whole way: passes, plan, code, bundle.
    ///
    /// # Errors
    /// Any of these fails.
    pub fn compile(&self, module: &Module, path: impl AsRef<Path>) -> Result<(), CompileError> {
        let module = self.transform(module, &mut Silent)?;
        self.write_bundle(&self.plan(&module)?, path)
    }
}
