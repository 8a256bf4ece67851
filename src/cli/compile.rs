//! `tessera compile`, and the stages that `run` goes through too.

use super::arguments::{CompileArguments, Emit, PassArguments, TargetArguments};
use super::output::{self, write_reproducer};
use super::{passes, worker};
use crate::{CompileError, Compiler, Failure, Source};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tessera_ir::plan::Plan;
use tessera_ir::text::{self, PrintOptions};
use tessera_targets::nvptx::Assembler;
use tessera_targets::{CodeStage, CodegenError};

pub(super) fn compile(arguments: &CompileArguments) -> Result<(), Failure> {
    let source = Source::read(&arguments.input)?;
    let mut stages = Stages::new(&source, &arguments.passes, &arguments.target)?;
    stages.compiler = (stages.compiler).with_tiles(arguments.tiles.iter().cloned().collect());
    let text_output = arguments.output.as_deref().unwrap_or("-");
    match arguments.emit {
        Emit::Tsr => {
            let module = stages.transformed()?;
            output::write(
                text_output,
                text::print(&module, PrintOptions::default()).as_bytes(),
            )
        }
        Emit::Plan => {
            let text = tessera_ir::plan::print(&stages.plan()?, false);
            output::write(text_output, text.as_bytes())
        }
        Emit::Mlir => stages.write_code(CodeStage::Mlir, text_output),
        Emit::Llvm => stages.write_code(CodeStage::Llvm, text_output),
        Emit::Asm => stages.write_code(CodeStage::Assembly, text_output),
        Emit::Obj => stages.write_objects(arguments.output.as_deref()),
        Emit::Bundle => {
            stages.compiler = stages.compiler.with_assembler(assembler(arguments));
            stages.write_bundle(&bundle_path(arguments)?)
        }
    }
}

/// The assembler that is named, or the one that is found.
fn assembler(arguments: &CompileArguments) -> Option<Assembler> {
    match arguments.ptxas.as_deref() {
        Some("none") => None,
        Some(program) => Some(Assembler::new(program)),
        None => Assembler::find(),
    }
}

/// Where the bundle goes: the output named, or the input's name with another ending.
fn bundle_path(arguments: &CompileArguments) -> Result<PathBuf, Failure> {
    match (arguments.output.as_deref(), arguments.input.as_str()) {
        (Some("-"), _) => Err(Failure::error(
            "a bundle is a folder and cannot go to standard output: name it with -o",
        )),
        (Some(path), _) => Ok(path.into()),
        (None, "-") => Err(Failure::error(
            "the bundle of standard input has no name: give it one with -o",
        )),
        (None, input) => {
            let stem = Path::new(input).file_stem().unwrap_or_default();
            Ok(Path::new(stem).with_extension("tessera"))
        }
    }
}

/// The way from a text to code, as the flags say, with times and reproducers.
pub(super) struct Stages<'a> {
    source: &'a Source,
    passes: &'a PassArguments,
    compiler: Compiler,
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        source: &'a Source,
        passes: &'a PassArguments,
        target: &TargetArguments,
    ) -> Result<Self, Failure> {
        let name = target.target.as_deref().unwrap_or("cpu");
        let compiler = Compiler::new(name)
            .map_err(|error| Failure::error(format!("--target {name}: {error}")))?
            .with_jobs(target.jobs)
            .with_worker(worker::command());
        let pipeline = passes::pipeline(passes, source, || compiler.default_pipeline())?;
        let compiler = compiler.with_pipeline(pipeline);
        Ok(Self {
            source,
            passes,
            compiler,
        })
    }

    fn transformed(&self) -> Result<tessera_ir::Module, Failure> {
        let start = Instant::now();
        let module = self.source.module()?;
        self.report("import", start);
        passes::run(self.compiler.pipeline(), &module, self.passes)
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let module = self.transformed()?;
        let start = Instant::now();
        let plan = self
            .compiler
            .plan(&module)
            .map_err(|error| self.failure(error))?;
        self.report("plan", start);
        Ok(plan)
    }

    pub(super) fn write_bundle(&self, path: &Path) -> Result<(), Failure> {
        let plan = self.plan()?;
        let start = Instant::now();
        self.compiler
            .write_bundle(&plan, path)
            .map_err(|error| self.failure(error))?;
        self.report("code", start);
        Ok(())
    }

    fn write_code(&self, stage: CodeStage, output: &str) -> Result<(), Failure> {
        let kernels = self
            .compiler
            .emit(&self.plan()?, stage)
            .map_err(|error| self.failure(error))?;
        // The markers are those at which `mlir-opt --split-input-file` splits.
        let comment = match stage {
            CodeStage::Mlir => "// -----\n//",
            CodeStage::Llvm => ";",
            CodeStage::Assembly | CodeStage::Object => "#",
        };
        let mut text = Vec::new();
        for (symbol, code) in kernels {
            text.extend_from_slice(format!("{comment} {symbol}\n").as_bytes());
            text.extend_from_slice(&code);
            text.push(b'\n');
        }
        output::write(output, &text)
    }

    /// Each kernel's object file in a folder.
    fn write_objects(&self, folder: Option<&str>) -> Result<(), Failure> {
        let Some(folder) = folder.filter(|&folder| folder != "-") else {
            return Err(Failure::error(
                "--emit obj writes a file a kernel: name their folder with -o",
            ));
        };
        let kernels = self
            .compiler
            .emit(&self.plan()?, CodeStage::Object)
            .map_err(|error| self.failure(error))?;
        std::fs::create_dir_all(folder).map_err(|error| Failure::in_file(folder, error))?;
        for (symbol, code) in kernels {
            output::write_file(&Path::new(folder).join(format!("{symbol}.o")), &code)?;
        }
        Ok(())
    }

    fn report(&self, stage: &str, start: Instant) {
        if self.passes.timing {
            notice!("{:>10.3} ms  {stage}", start.elapsed().as_secs_f64() * 1e3);
        }
    }

    /// A failure to compile as the user sees it; what is the compiler's own fault leaves a reproducer.
    fn failure(&self, error: CompileError) -> Failure {
        match error {
            CompileError::Pass(error) => passes::failure(&error, self.passes),
            CompileError::Target(CodegenError::Kernel {
                kernel,
                message,
                reproducer,
            }) => {
                let message = format!("kernel '{kernel}' cannot be compiled: {message}");
                let written = write_reproducer(self.passes.reproducer.as_deref(), &reproducer);
                Failure::Internal {
                    message,
                    reproducer: written.ok(),
                }
            }
            error => Failure::error(error),
        }
    }
}
