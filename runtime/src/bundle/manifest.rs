//! The manifest: everything about a bundle that is not code or constant bytes.

use super::tensor_type::{deserialize_element_type, serialize_element_type};
use super::{
    GroupedGemm, Hadamard, HadamardMagnitudes, Quantize, ScaledDot, TensorMap, TensorType,
    ValueType, Work,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tessera_numerics::ElementType;

/// A compiled graph: what goes in and out, where everything lies, and what runs in which order.
///
/// Numbers that name something (an input, a buffer, a kernel) are positions in the list of that name, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`](super::FORMAT).
    pub format: String,
    /// The format's version: [`VERSION`](super::VERSION).
    pub version: u64,
    /// Who made it.
    pub compiler: CompilerIdentity,
    /// The name of the graph it was made of.
    pub graph: String,
    /// What the code is made for.
    pub target: Target,
    /// The pass pipeline that made it, in its textual form.
    pub pipeline: String,
    /// What the caller gives.
    pub inputs: Vec<Input>,
    /// What the caller gets.
    pub results: Vec<Output>,
    /// Tensors known at compile time. [`BundleWriter`](super::BundleWriter) fills this in.
    pub constants: Vec<Constant>,
    /// Every place a step reads or writes.
    pub buffers: Vec<Buffer>,
    /// The bytes of memory that all [`Place::Arena`] buffers share.
    pub arena_bytes: usize,
    /// Distinct pieces of code.
    pub kernels: Vec<Kernel>,
    /// What is done, in order.
    pub schedule: Vec<Step>,
    /// The other files of the bundle. [`BundleWriter`](super::BundleWriter) fills this in.
    pub files: BTreeMap<String, BundleFile>,
}

/// The compiler that made a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompilerIdentity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What the code of a bundle is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The target as the user asked for it: `cpu`, `cpu:x86-64-v3`, `sm_90a`.
    pub name: String,
    /// The instruction set, as Rust names it (`std::env::consts::ARCH`): `x86_64`, `aarch64`; of NVIDIA's GPUs
    /// [`NVPTX`].
    pub architecture: String,
    /// The features beyond the instruction set's baseline that the code needs, as LLVM names them: `avx2`, `sse4.2`; of
    /// a GPU's code the version of PTX that it is written in, `ptx80`.
    ///
    /// Only names in [`known_features`](super::known_features) can be checked, and so a CPU's code may need only those.
    pub features: Vec<String>,
}

/// The architecture of targets whose kernels are PTX, as Rust and LLVM name it.
pub const NVPTX: &str = "nvptx64";

impl Target {
    /// Whether it is an NVIDIA GPU.
    pub fn is_gpu(&self) -> bool {
        self.architecture == NVPTX
    }
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The name the user knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub tensor_type: TensorType,
    /// The result that takes over its memory; the two have one type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub donate: Option<usize>,
    /// How it begins where the caller gives no value, as `tessera run --input` spells it: `zeros`, `normal(std=0.02)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialiser: Option<String>,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name the user knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub tensor_type: TensorType,
}

/// A tensor in `constants.bin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Its type.
    #[serde(rename = "type")]
    pub tensor_type: TensorType,
    /// Its first byte in the file; a multiple of [`ALIGNMENT`](super::ALIGNMENT).
    pub offset: usize,
    /// Its size in bytes.
    pub bytes: usize,
}

/// A value at a place: a dense, row-major tensor or a scaled tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// The type of the value there.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Where it lies.
    pub place: Place,
}

/// Where a buffer lies: from the first byte of an input, result or constant on, or somewhere in the arena. It may be
/// another view of that memory, but takes no more of it than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the memory of an input. Written only where the input is donated.
    Input(usize),
    /// In the memory of a result; that of the donated input where one is tied to it.
    Result(usize),
    /// In a constant; never written.
    Constant(usize),
    /// In the arena, from that byte on; a multiple of [`ALIGNMENT`](super::ALIGNMENT).
    Arena(usize),
}

/// A piece of code, launched once or many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What profiles and messages call it; unique in the bundle.
    pub name: String,
    /// How it is scheduled.
    pub family: Family,
    /// The types of the buffers it reads.
    pub operands: Vec<ValueType>,
    /// The types of the buffers it writes.
    pub results: Vec<ValueType>,
    /// What a launch has to do. No more is done with it than to say it.
    #[serde(default)]
    pub work: Work,
    /// What runs.
    pub code: Code,
}

/// A kernel's schedule family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Elementwise, with index computations.
    Loop,
    /// Reductions along the fast axis.
    Row,
    /// Reductions along a slow axis.
    Column,
    /// Matrix products.
    Dot,
    /// Reductions and matrix products of what is computed of products that are in no memory.
    Attention,
    /// Scatter and other data-dependent places.
    Index,
    /// Sorting and selection.
    Sort,
    /// Making scaled tensors, reading them, and preparing for them.
    Quantize,
    /// Factorising matrices.
    Solve,
}

/// What a kernel runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A function of `kernels.so`.
    Function(Function),
    /// A kernel of `kernels.ptx`. Bundles for a GPU have no other code, and only they have this.
    Ptx(PtxKernel),
    /// A matrix product that the runtime computes. Its buffers are lhs, rhs; result.
    Gemm(Gemm),
    /// Matrix products of groups of rows that the runtime computes. Its buffers are lhs, rhs, group sizes; result.
    GroupedGemm(GroupedGemm),
    /// A product of scaled tensors that the runtime computes. Its buffers are lhs, rhs; result.
    ScaledDot(ScaledDot),
    /// Products of groups of rows of scaled tensors that the runtime computes, in the terms of [`GroupedGemm`]: both of
    /// nvfp4 or both of mxfp4, with linear block scales, summed over along their axes; the result is of f32.
    GroupedScaledDot,
    /// Scaled tensors that the runtime makes.
    Quantize(Quantize),
    /// The numbers of a scaled tensor, as f32, that the runtime computes.
    Dequantize,
    /// A scaled tensor in the order of bytes of another type, of the same shape, format and blocks, that the runtime makes.
    Relayout,
    /// The sums of a scaled tensor's numbers along its axis, as f32, that the runtime computes. A second operand holds
    /// weights that they are multiplied by: vectors along the axis, of n each for an nth of the sums.
    AxisSums,
    /// A Hadamard transform that the runtime computes.
    Hadamard(Hadamard),
    /// The largest magnitudes of a Hadamard transform, that the runtime computes.
    HadamardMagnitudes(HadamardMagnitudes),
    /// Orthonormal factors of matrices of f32, the last two dimensions, that the runtime computes: Q of A = Q R, R with
    /// a diagonal that is not negative. No more columns than rows. A column that depends on those before it becomes
    /// zero.
    Orthonormalize,
}

impl Code {
    /// The function of `kernels.so`, where it is one and not the runtime's.
    pub fn as_function(&self) -> Option<&Function> {
        match self {
            Self::Function(function) => Some(function),
            Self::Ptx(_)
            | Self::Gemm(_)
            | Self::GroupedGemm(_)
            | Self::ScaledDot(_)
            | Self::GroupedScaledDot
            | Self::Quantize(_)
            | Self::Dequantize
            | Self::Relayout
            | Self::AxisSums
            | Self::Hadamard(_)
            | Self::HadamardMagnitudes(_)
            | Self::Orthonormalize => None,
        }
    }

    /// The name of the function of `kernels.so` that the kernel is or calls, if there is one.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::ScaledDot(product) => product.epilogue.as_ref().map(|one| &*one.symbol),
            Self::Quantize(quantize) => quantize.prologue.as_ref().map(|one| &*one.symbol),
            other => other.as_function().map(|function| &*function.symbol),
        }
    }

    /// The kernel of `kernels.ptx`, where it is one.
    pub fn as_ptx(&self) -> Option<&PtxKernel> {
        match self {
            Self::Ptx(kernel) => Some(kernel),
            Self::Function(_)
            | Self::Gemm(_)
            | Self::GroupedGemm(_)
            | Self::ScaledDot(_)
            | Self::GroupedScaledDot
            | Self::Quantize(_)
            | Self::Dequantize
            | Self::Relayout
            | Self::AxisSums
            | Self::Hadamard(_)
            | Self::HadamardMagnitudes(_)
            | Self::Orthonormalize => None,
        }
    }
}

/// A function of `kernels.so`, of the C type
/// `void symbol(void *const *buffers, int64_t begin, int64_t end)`.
///
/// `buffers` holds the addresses of the operands, then of the results, then, where `scratch_bytes` is not 0, of memory
/// that no other thread uses during the call, aligned to [`ALIGNMENT`](super::ALIGNMENT), its contents undefined.
///
/// The call does the blocks `begin .. end` of all `0 .. blocks`. Blocks are independent of each other and of how they
/// are grouped into calls: each writes memory that no other block reads or writes. The runtime makes calls that
/// together cover every block once, on several threads where that pays, so a result never depends on the number of
/// threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// The function's name in `kernels.so`.
    pub symbol: String,
    /// The number of blocks; 0 means that there is nothing to do.
    pub blocks: u64,
    /// The least number of blocks that are worth a thread of their own; at least 1.
    pub grain: u64,
    /// The bytes of memory a call needs for itself.
    pub scratch_bytes: usize,
}

/// A kernel of `kernels.ptx`, and the grid it is launched with.
///
/// Its parameters are 64-bit addresses in global memory: of the operands, then of the results, then, where
/// `workspace_bytes` is not 0, of memory that the kernel has to itself while it runs, its contents undefined; then come
/// its tensor maps. Inputs, results, the workspace, the arena and the file of constants begin at multiples of 256 bytes;
/// what lies in the last two has a multiple of [`ALIGNMENT`](super::ALIGNMENT) as its offset there.
///
/// A launch begins when what stands before it in the schedule has come to its end and can be seen by all. What a result
/// holds then is undefined, unless an operand begins at the same byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PtxKernel {
    /// The name of its `.entry`, a C identifier.
    pub entry: String,
    /// CTAs along x, y and z; a 0 anywhere means that there is nothing to do, and nothing is launched.
    pub grid: [u32; 3],
    /// Threads of a CTA along x, y and z.
    pub block: [u32; 3],
    /// CTAs of a cluster along x, y and z, which divide those of the grid; 1, 1 and 1 without clusters.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory of a CTA, beside the variables that the module declares.
    pub shared_bytes: u32,
    /// The bytes of memory a launch needs for itself.
    pub workspace_bytes: usize,
    /// How it cuts the product that it makes, if it makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<Tile>,
    /// What it takes of the chip, where it was assembled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Tensor maps over its buffers, its parameters behind the addresses: 128 bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensor_maps: Vec<TensorMap>,
}

/// What a CTA makes of a product at a time, and how it brings operands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Rows of the result.
    pub rows: u32,
    /// Columns of the result.
    pub columns: u32,
    /// Contracted elements that come to shared memory at a time.
    pub depth: u32,
    /// For how many such pieces of the operands there is room: by one less, copies are ahead of products.
    pub stages: u32,
}

/// What a kernel takes of a GPU's multiprocessor, as the assembler reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread's stack.
    pub stack_bytes: u32,
    /// Bytes of registers that a thread writes to its stack for want of more.
    pub spill_store_bytes: u32,
    /// Bytes that it reads back.
    pub spill_load_bytes: u32,
    /// Bytes of the shared memory that the module declares for a CTA.
    pub shared_bytes: u32,
}

/// A batch of matrix products, `result[b] = lhs[b] · rhs[b]`, over strided matrices.
///
/// `lhs[b]` is m×k, `rhs[b]` k×n, `result[b]` m×n; all strides are counted in elements. The result's former contents
/// do not matter; where `k` is 0 it becomes zeros. Sums are accumulated in the element type. No two elements of the
/// result share memory, nor does the result with an operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gemm {
    /// The type of the elements of all three: f32 or f64.
    #[serde(
        serialize_with = "serialize_element_type",
        deserialize_with = "deserialize_element_type"
    )]
    pub element_type: ElementType,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The dimension summed over.
    pub k: usize,
    /// The dimensions of `b`; none for a single product.
    pub batch: Vec<BatchDimension>,
    /// How `lhs[b]` lies: rows are m, columns k.
    pub lhs: MatrixLayout,
    /// How `rhs[b]` lies: rows are k, columns n.
    pub rhs: MatrixLayout,
    /// How `result[b]` lies: rows are m, columns n.
    pub result: MatrixLayout,
}

/// One batch dimension of a matrix product.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchDimension {
    /// The number of products along it.
    pub extent: usize,
    /// Elements from one lhs to the next.
    pub lhs_stride: usize,
    /// Elements from one rhs to the next.
    pub rhs_stride: usize,
    /// Elements from one result to the next.
    pub result_stride: usize,
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixLayout {
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
}

/// One step of the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A kernel runs.
    ///
    /// A result buffer is disjoint from every other result buffer, and from each operand unless the two start at the
    /// same byte.
    Launch {
        /// Which kernel.
        kernel: usize,
        /// The buffers it reads, of the kernel's operand types.
        operands: Vec<usize>,
        /// The buffers it writes, of the kernel's result types.
        results: Vec<usize>,
    },
    /// The bytes of one buffer become those of another, of the same size.
    Copy {
        /// Read.
        source: usize,
        /// Written.
        destination: usize,
    },
    /// While the steps of `condition` leave true in `predicate`, `body` is done.
    While {
        /// Steps before each test.
        condition: Vec<Step>,
        /// The buffer tested, a `tensor<i1>`.
        predicate: usize,
        /// Steps of one iteration.
        body: Vec<Step>,
    },
    /// The branch whose number stands in `index` is done; the last where it is out of bounds.
    Case {
        /// The buffer that chooses, a `tensor<i32>`.
        index: usize,
        /// The steps of each branch; at least one branch.
        branches: Vec<Vec<Step>>,
    },
}

/// What is known about a file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its contents, in hexadecimal.
    pub blake3: String,
}
