//! The flags: what `tessera` and its subcommands accept.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A tensor compiler for training steps in 4-bit floating point.
#[derive(Debug, Parser)]
#[command(
    name = "tessera",
    version,
    after_help = "Exit codes: 0 success, 1 an error in what was given, 2 wrong usage, 3 results differ from the \
                  expected ones, 101 an internal error.\n\
                  The product goes to standard output; messages, progress and timing to standard error."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compiles a step to a bundle, or prints a stage on the way.
    Compile(CompileArguments),
    /// Runs a step, from its text or its bundle, on given inputs.
    Run(Box<RunArguments>),
    /// Runs passes over a graph and prints it.
    Opt(OptArguments),
    /// Prints what a bundle holds.
    Inspect(InspectArguments),
    /// Lists the recipes, or prints what one says.
    Recipe {
        /// What to do.
        #[command(subcommand)]
        command: RecipeCommand,
    },
    /// Says what Tessera finds on this machine and what is missing.
    Doctor,
    /// Compiles kernels handed over on standard input; what `compile` starts to keep LLVM's aborts out of its process.
    #[command(hide = true)]
    Worker {
        /// A kernel's reproducer, to be compiled again instead; the code goes to standard output.
        reproducer: Option<String>,
    },
}

/// `tessera recipe`.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Lists the presets, a line each.
    List,
    /// Prints a recipe in full, as a TOML file that says the same.
    Show {
        /// A preset, or a TOML file; '-' for standard input.
        recipe: String,
    },
}

/// How the graph is transformed and shown on the way.
#[derive(Clone, Debug, Args)]
pub struct PassArguments {
    /// The passes to run, e.g. 'inline,canonicalise{max-iterations=4}' [default: those a reproducer names, or else the
    /// default pipeline for compile and run and none for opt].
    #[arg(long, visible_alias = "pass-pipeline", value_name = "PIPELINE")]
    pub passes: Option<String>,
    /// Prints the graph to standard error after every pass.
    #[arg(long)]
    pub print_ir_after_all: bool,
    /// Prints the graph to standard error after the named pass; may be repeated.
    #[arg(long, value_name = "PASS")]
    pub print_ir_after: Vec<String>,
    /// Prints the time of every stage to standard error.
    #[arg(long)]
    pub timing: bool,
    /// Where a failing pass or kernel leaves what shows the failure again [default: a new temporary file].
    #[arg(long, value_name = "FILE")]
    pub reproducer: Option<PathBuf>,
}

/// What code is made for, and how.
#[derive(Clone, Debug, Args)]
pub struct TargetArguments {
    /// What code is made for: cpu (this machine), cpu:x86-64-v3 or cpu:x86-64-v4 [default: cpu].
    #[arg(long)]
    pub target: Option<String>,
    /// How many kernels are compiled at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = count)]
    pub jobs: Option<usize>,
}

/// The stage that `compile` stops at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// The graph after the passes, as text.
    Tsr,
    /// The plan: kernels, buffers, schedule, as text.
    Plan,
    /// The kernels in MLIR, a module a kernel, with split markers between.
    Mlir,
    /// The kernels in LLVM IR, optimised, one module after another.
    Llvm,
    /// The kernels in assembly, one file after another.
    Asm,
    /// The kernels as object files, one a kernel, in the folder that -o names.
    Obj,
    /// The bundle: manifest, code, constants, header.
    Bundle,
}

/// `tessera compile`.
#[derive(Debug, Args)]
pub struct CompileArguments {
    /// The step: StableHLO or tsr text; '-' for standard input.
    pub input: String,
    /// Where the product goes; '-' for standard output [default: NAME.tessera for a bundle, standard output for the
    /// rest].
    #[arg(short, long)]
    pub output: Option<String>,
    /// What to write.
    #[arg(long, value_enum, default_value = "bundle")]
    pub emit: Emit,
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened: the fields document themselves")]
    pub target: TargetArguments,
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened: the fields document themselves")]
    pub passes: PassArguments,
}

/// `tessera opt`.
#[derive(Debug, Args)]
pub struct OptArguments {
    /// The graph: StableHLO or tsr text; '-' for standard input.
    #[arg(required_unless_present = "list_passes", default_value = "-")]
    pub input: String,
    /// Where the graph goes; '-' for standard output.
    #[arg(short, long, default_value = "-")]
    pub output: String,
    /// Prints MLIR's generic form, which mlir-opt --allow-unregistered-dialect reads.
    #[arg(long)]
    pub generic: bool,
    /// Prints locations.
    #[arg(long)]
    pub locations: bool,
    /// Lists the passes and what each does.
    #[arg(long)]
    pub list_passes: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened: the fields document themselves")]
    pub passes: PassArguments,
}

/// `tessera run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The step: StableHLO or tsr text ('-' for standard input), or a bundle.
    pub input: String,
    /// Inputs by name, arg0, arg1, …: a safetensors file, or a TOML file of initialisers as --input takes them.
    #[arg(long, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// One input, NAME=VALUE; '*' in NAME stands for anything. VALUE is zeros, ones, splat(x),
    /// normal(mean=0, std=1, seed=0), uniform(low, high, seed=0), @FILE or @FILE#TENSOR (safetensors). Later ones
    /// take precedence, and over --inputs.
    #[arg(long = "input", value_name = "NAME=VALUE")]
    pub input_values: Vec<String>,
    /// How often to run; donated results are fed back as the next step's inputs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Writes the results of the last step, result0, result1, …, to a safetensors file.
    #[arg(long, value_name = "FILE")]
    pub outputs: Option<PathBuf>,
    /// Appends a line of JSON a step with the scalar results: {"step": 1, "result118": 6.24}.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Compares the results of the last step with a safetensors file (result0, …), or the scalar results of every step
    /// with a log (.jsonl). Exits with 3 where they differ.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
    /// The relative difference allowed.
    #[arg(long, default_value_t = 1e-4, value_name = "X", value_parser = tolerance)]
    pub rtol: f64,
    /// The absolute difference allowed.
    #[arg(long, default_value_t = 1e-6, value_name = "X", value_parser = tolerance)]
    pub atol: f64,
    /// Runs the reference interpreter in place of compiled code.
    #[arg(long)]
    pub interpret: bool,
    /// How many threads run a kernel [default: one a core].
    #[arg(long, value_name = "N", value_parser = count)]
    pub threads: Option<usize>,
    /// Writes compile and step times and the scalar results to a JSON file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Prints the time of every kernel to standard error.
    #[arg(long, conflicts_with = "interpret")]
    pub profile: bool,
    /// Prints neither progress nor the closing table.
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened: the fields document themselves")]
    pub target: TargetArguments,
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened: the fields document themselves")]
    pub passes: PassArguments,
}

/// A number of threads or processes.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// A difference allowed.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(tolerance) if tolerance >= 0.0 => Ok(tolerance),
        _ => Err("expected a number, 0 or more".to_owned()),
    }
}

/// `tessera inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The bundle.
    pub bundle: PathBuf,
    /// Prints the manifest as it is, in JSON.
    #[arg(long)]
    pub json: bool,
}
