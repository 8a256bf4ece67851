//! The flags: what `tessera` and its subcommands accept.

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tessera_runtime::Device;

/// A tensor compiler for training steps in 4-bit floating point.
#[derive(Debug, Parser)]
#[command(
    name = "tessera",
    version,
    after_help = "Exit codes: 0 success, 1 an error in what was given, 2 wrong usage, 3 results differ from the \
                  expected ones or a check found something, 101 an internal error.\n\
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
    /// Quantises the tensors of a safetensors checkpoint, or turns them back.
    #[command(after_long_help = QUANTIZE_FILES)]
    Quantize(QuantizeArguments),
    /// Says what the tensors of a safetensors file are like and what each way of quantising them costs.
    #[command(after_long_help = ANALYZE_FIGURES)]
    Analyze(AnalyzeArguments),
    /// Runs a kernel of a PTX file in software, on any machine, and checks what hardware does not.
    #[command(after_long_help = EMULATE_CHECKS)]
    Emulate(EmulateArguments),
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
    /// Prints what a recipe makes of each product of a step, or why a product stays as it is.
    Explain {
        /// The step: StableHLO or tsr text; '-' for standard input.
        input: String,
        /// A preset, or a TOML file; '-' for standard input.
        #[arg(long)]
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
    /// Computes the linears' products as a recipe says, before the other passes: a preset ('tessera recipe list') or a
    /// TOML file; '-' for standard input.
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Prints the graph to standard error after every pass.
    #[arg(long)]
    pub print_ir_after_all: bool,
    /// Prints the graph to standard error after the named pass; may be repeated.
    #[arg(long, value_name = "PASS")]
    pub print_ir_after: Vec<String>,
    /// Prints to standard error what passes say of their work: what a recipe made of each product, what saturation saved
    /// and by which rules.
    #[arg(long)]
    pub remarks: bool,
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
    /// What code is made for: cpu (this machine), cpu:x86-64-v3, cpu:x86-64-v4, or a GPU: sm_80, sm_90a, sm_100a, sm_100f,
    /// sm_103a, sm_120a, sm_120f, sm_121a [default: cpu].
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
    /// NVIDIA's assembler, which adds a cubin and what each kernel takes of the chip to a GPU's bundle; 'none' for PTX
    /// alone [default: that on PATH, under CUDA_HOME or of PyPI's nvidia-cuda-nvcc, if there is one].
    #[arg(long, value_name = "PROGRAM")]
    pub ptxas: Option<String>,
    /// Cuts a GPU kernel's product into tiles of so many rows and columns, e.g. dot_1=128x64; may be repeated. 'inspect'
    /// prints kernels' names and tiles. On sm_100a, sm_100f and sm_103a a side of 256 can be a pair of CTAs' [default: what a
    /// cost model chooses].
    #[arg(long = "tile", value_name = "KERNEL=ROWSxCOLUMNS", value_parser = tile)]
    pub tiles: Vec<(String, [u32; 2])>,
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
    /// What runs the code: cpu; emulator:sm_90a or of another architecture, a GPU in software with its checker ('emulator'
    /// alone: what the bundle is made for); cuda:0 or another GPU's number. A text is compiled for it unless --target
    /// says otherwise.
    #[arg(long, default_value_t, conflicts_with = "interpret")]
    pub device: Device,
    /// What the emulator draws the order of warps and of asynchronous work from; right kernels do not depend on it.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub emulator_seed: u64,
    /// Does not look for races in the emulator, which takes time and memory.
    #[arg(long)]
    pub emulator_no_races: bool,
    /// How many threads run a kernel [default: one a core].
    #[arg(long, value_name = "N", value_parser = count)]
    pub threads: Option<usize>,
    /// Writes compile and step times and the scalar results to a JSON file, with --profile each kernel's times too.
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

/// What `tessera quantize --help` says of the files.
const QUANTIZE_FILES: &str = "\
Files:
  A tensor w of f32, bf16 or f16 elements and two or more dimensions is replaced by
    w.codes         u8   the elements, along the axis: shape the other dimensions in their order, then the bytes of a row.
                         Codes of 4 bits lie two a byte, the first in the low nibble, an odd row's last nibble is 0;
                         those of 6 and 8 bits lie one a byte. Rows are not padded to whole blocks.
    w.scales        u8   the block scales: shape the other dimensions, then the blocks of a row; with --layout
                         tiled_128x4 [rows/128, blocks/4, 32, 4, 4], rounded up. E4M3 codes a 16 elements (nvfp4), E8M0
                         codes a 32 (mx formats); none for fp8.
    w.tensor_scale  f32  a single number (nvfp4, fp8)
  and an element is code · block scale · tensor scale, in f32. All other tensors are copied as they are. The header's
  metadata 'tessera.scaled_tensors' is a JSON object with the element type, shape, format, axis, blocks, layout, rule and
  rounding of each w, and the seed and site of random roundings. The file is written whole or not at all.

The table on standard output has, for each tensor quantised, its bytes before and after, the relative error (Frobenius
norm), the largest error and the share of elements that became zero.";

/// `tessera quantize`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("way").required(true).args(["format", "recipe", "dequantize"])))]
pub struct QuantizeArguments {
    /// The checkpoint: a safetensors file.
    pub input: PathBuf,
    /// The safetensors file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What to store elements in: nvfp4, mxfp4, mxfp6_e2m3, mxfp6_e3m2, mxfp8_e4m3, mxfp8_e5m2, fp8_e4m3, fp8_e5m2.
    #[arg(long)]
    pub format: Option<String>,
    /// Quantises as a recipe, a preset or a TOML file, has weights in the forward product; tensors that its names or
    /// sizes keep in high precision are copied.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["format", "blocks", "rule", "rounding"])]
    pub recipe: Option<String>,
    /// The tensors to quantise, by name; '*' stands for any characters; may be repeated [default: all that can be].
    #[arg(long, value_name = "NAME")]
    pub tensors: Vec<String>,
    /// The dimension along which blocks run, the one that a product sums over; negative ones count from the end.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub axis: isize,
    /// What shares a block scale: vector, the format's number of elements along the axis, or square, 16x16 (nvfp4)
    /// [default: vector].
    #[arg(long, value_name = "SHAPE")]
    pub blocks: Option<String>,
    /// How scales are made. nvfp4: te, torchao, four_over_six; mx formats: rceil, floor, even, ceil; fp8: te [default: te
    /// or rceil].
    #[arg(long)]
    pub rule: Option<String>,
    /// How elements are rounded: nearest_even, stochastic, ms_eden (nvfp4 by te) [default: nearest_even].
    #[arg(long)]
    pub rounding: Option<String>,
    /// What random roundings are drawn from [default: the recipe's, or 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The order of block scales: linear, or tiled_128x4, which Blackwell's matrix units read.
    #[arg(long, default_value = "linear")]
    pub layout: String,
    /// Turns a file that this command wrote back to plain tensors of the elements that they had before.
    #[arg(long, conflicts_with_all = ["format", "recipe", "tensors", "axis", "blocks", "rule", "rounding", "seed", "layout"])]
    pub dequantize: bool,
}

/// What `tessera analyze --help` says of its figures.
const ANALYZE_FIGURES: &str = "\
A tensor of f32, bf16 or f16 elements and two or more dimensions is seen as a matrix M: its last dimension the columns,
the others the rows (tokens, where it is an activation). Two tables go to standard output.

What it is like, a line a tensor:
  mean      the share of the mean over the rows in the energy, l·|mean|² / ‖M‖²: what centring takes out
  first     the share of the leading singular direction, σ₁² / ‖M‖²
  1.5 %     the share of so many of the directions; by randomised subspace iteration, from below
  5 %
  range     log₂ of the largest over the smallest nonzero magnitude
  in block  the same within 16 elements along the axis, the median of all blocks
  at most   the largest of all blocks
  scales    log₂ of the largest over the smallest of the blocks' largest magnitudes

The relative error ‖M − M̂‖ / ‖M‖ of each method, where M̂ is what is read back, everything that was split off included:
  nvfp4 te, nvfp4 torchao, nvfp4 four_over_six, mxfp4, mxfp8_e4m3
                  quantised by that scale rule
  nvfp4 centred   less the mean over the rows, which is rounded to bf16 (averis)
  nvfp4 spectral  less the leading 1.5 % of singular directions, whose factors are quantised by themselves (metis)
  nvfp4 hadamard  rotated along the axis by a Hadamard transform of 16 with TransformerEngine's signs
or of each --recipe as it treats the operand; 'kept' where the recipe keeps it in high precision.

--json writes the same figures as a list of objects: tensor, shape, axis, energy, range, errors.

With --matmul, a line a method: the relative errors of both operands and of their product, ‖X W − X̂ Ŵ‖ / ‖X W‖. 'nvfp4
centred' centres X alone, recipes treat X and W as they have activation and weight in the forward product; --json writes
a list of objects: method, lhs, rhs, product.";

/// `tessera analyze`.
#[derive(Debug, Args)]
pub struct AnalyzeArguments {
    /// The tensors, weights or recorded activations and gradients: a safetensors file.
    #[arg(required_unless_present = "matmul")]
    pub input: Option<PathBuf>,
    /// Tells instead what the methods cost the product of two tensors, each FILE#TENSOR: an activation (for dgrad, a
    /// gradient), summed over its last dimension, and a weight of two dimensions, summed over --axis; or, for wgrad, an
    /// activation and a gradient of two dimensions, both summed over the first.
    #[arg(long, num_args = 2, value_names = ["LHS", "RHS"], conflicts_with_all = ["input", "tensors", "operand", "svg"])]
    pub matmul: Vec<String>,
    /// The tensors to analyse, by name; '*' stands for any characters; may be repeated [default: all that can be].
    #[arg(long, value_name = "NAME")]
    pub tensors: Vec<String>,
    /// A recipe, a preset or a TOML file, to tell the error of; may be repeated [default: formats, rules and splits].
    #[arg(long, value_name = "NAME")]
    pub recipe: Vec<String>,
    /// Which of a recipe's operands the tensors are: weight, activation or gradient.
    #[arg(long, default_value = "weight", requires = "recipe")]
    pub operand: String,
    /// Which of a linear's products the tensors are operands of: forward, dgrad or wgrad [default: dgrad for a gradient,
    /// forward for the others].
    #[arg(long, requires = "recipe")]
    pub role: Option<String>,
    /// The dimension along which blocks run, the one that a product sums over; negative ones count from the end
    /// [default: the last, and for wgrad, which sums over tokens, the last but one].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub axis: Option<isize>,
    /// What the search for singular directions starts from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Draws the figures, a panel a tensor, in light or dark as the reader has it.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Writes the figures for a program to read.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
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

const EMULATE_CHECKS: &str = "\
Arguments, in the kernel's order:
  TYPE:VALUE                 a number: i8 … i64, u8 … u64, f16, bf16, f32, f64; integers may be
                             hexadecimal, 0x…
  bytes:HEX                  a parameter that is passed by value, as a struct is: two digits a byte, as they lie in memory
  in:FILE#TENSOR             the address of a tensor of a safetensors file, whatever its elements are
  out:NAME:TYPE:SHAPE        the address of memory that nobody has written, e.g. out:c:f32:256x256
  inout:NAME:FILE#TENSOR     the address of a tensor that the kernel reads and writes
  inout:NAME:TYPE:SHAPE      the same, of zeros; TYPE of memory may also be e4m3, e5m2, ue8m0 or e2m1, two a byte
  tensormap:SETTINGS:MEMORY  a tensor map of one of these three in place of its address: box=64x32, the slowest dimension
                             first, then as wanted swizzle=none|32|64|128|128_atom_32|128_atom_32_flip_8|128_atom_64,
                             element=bf16 (or another of CUDA's types, 16u4_align8b for two a byte), fill=zero|nan

The checker stops at accesses out of bounds or misaligned, at decisions by what was never written, at barriers that cannot
be passed, and at what this machine does not model, each with the line of the text. A kernel that loops for ever is stopped
by --max-instructions. With --schedules, outputs whose bits are
others under another schedule are found too: floating-point atomics may do that, a race does.

Exit code 3 where anything was found.";

/// `tessera emulate`.
#[derive(Debug, Args)]
pub struct EmulateArguments {
    /// The module: PTX text; '-' for standard input.
    pub input: String,
    /// The kernel [default: the only one].
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,
    /// CTAs along x, y and z.
    #[arg(long, value_name = "X[,Y[,Z]]", default_value = "1")]
    pub grid: Extent,
    /// Threads of a CTA along x, y and z [default: the kernel's .reqntid, or 1].
    #[arg(long, value_name = "X[,Y[,Z]]")]
    pub block: Option<Extent>,
    /// CTAs of a cluster along x, y and z [default: the kernel's .reqnctapercluster, or 1].
    #[arg(long, value_name = "X[,Y[,Z]]")]
    pub cluster: Option<Extent>,
    /// Bytes of shared memory beside that of the module's variables.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub shared: u64,
    /// An argument of the kernel, in its order: TYPE:VALUE, bytes:…, in:…, out:… or inout:…, see --help.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub arg: Vec<String>,
    /// Writes the outputs to a safetensors file.
    #[arg(long, value_name = "FILE")]
    pub outputs: Option<PathBuf>,
    /// What the order of warps is drawn from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Launches under so many seeds, one after the other, each on memory of its own; outputs are those of the
    /// first that comes to its end.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub schedules: u64,
    /// Threads that execute CTAs, which change nothing that comes of it [default: those of the host].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Warp instructions of a launch after which it is held to run for ever.
    #[arg(long, value_name = "N", default_value_t = 1 << 36, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_instructions: u64,
    /// Takes floats as integers mod 2^k: any order of sums gives the same bits, wrong data flow others. Outputs are compared with
    /// those of another kernel under --ring, and mean nothing else.
    #[arg(long)]
    pub ring: bool,
    /// Writes what was counted and found for a program to read.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// An extent along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent(pub [u32; 3]);

impl std::str::FromStr for Extent {
    type Err = String;

    /// Reads one to three numbers; those that are left out are 1.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut extent = [1; 3];
        let sizes: Vec<&str> = text.split(',').collect();
        if sizes.len() > 3 {
            return Err(format!(
                "expected at most three numbers, found {}",
                sizes.len()
            ));
        }
        for (place, size) in extent.iter_mut().zip(sizes) {
            *place = match size.trim().parse() {
                Ok(size @ 1..) => size,
                _ => return Err(format!("expected a number, 1 or more, found '{size}'")),
            };
        }
        Ok(Self(extent))
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

/// `dot_1=128x64`.
fn tile(text: &str) -> Result<(String, [u32; 2]), String> {
    let parts = text.rsplit_once('=').and_then(|(kernel, tile)| {
        let (rows, columns) = tile.split_once('x')?;
        Some((
            kernel.to_owned(),
            [rows.parse().ok()?, columns.parse().ok()?],
        ))
    });
    parts.ok_or_else(|| "expected KERNEL=ROWSxCOLUMNS, dot_1=128x64 for one".to_owned())
}
