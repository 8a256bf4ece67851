//! The plan: a graph's kernels, the buffers they work on and the order they run in.
//!
//! A plan is what the passes hand to a target. Everything in it is decided: which ops are one [`Kernel`], where each
//! [`Buffer`] lies, which step follows which. It knows no machine code; a target compiles each kernel once, however
//! often it is launched.
//!
//! [`print()`] and [`parse`] are its text form; [`Plan::check`] says what a plan promises, and
//! [`Plan::dependences`] which steps must wait for which.

mod check;
mod dependences;
mod memory;
mod parser;
mod printer;
#[cfg(test)]
mod tests;

pub use check::{PlanError, StepError, StepPath};
pub use dependences::Dependence;
pub use parser::parse;
pub use printer::print;

use crate::{Graph, Location, Tensor, TensorType, Type};
use std::fmt;
use tessera_numerics::Initialiser;

/// A compiled graph before code: kernels, buffers, schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The name of the graph it was made of.
    pub name: String,
    /// What the caller gives, in order.
    pub inputs: Vec<PlanInput>,
    /// What the caller gets, in order.
    pub results: Vec<PlanResult>,
    /// Tensors known at compile time.
    pub constants: Vec<Tensor>,
    /// Every place a kernel reads or writes. Several may share memory: views of one value, and values whose lives do
    /// not overlap.
    pub buffers: Vec<Buffer>,
    /// Distinct kernels; no two are equal but for their names.
    pub kernels: Vec<Kernel>,
    /// What is done, in order.
    pub schedule: Vec<Step>,
    /// The size of the arena, in bytes: the memory of everything that is neither input, result nor constant.
    pub arena_bytes: usize,
}

/// An input of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanInput {
    /// Its type.
    pub tensor_type: TensorType,
    /// The name the user knows it by.
    pub name: Option<String>,
    /// The result that takes over its memory.
    pub donate: Option<usize>,
    /// How it begins where the caller gives no value.
    pub initialiser: Option<Initialiser>,
}

/// A result of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanResult {
    /// Its type.
    pub tensor_type: TensorType,
    /// The name the user knows it by.
    pub name: Option<String>,
}

/// A buffer's number in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// A kernel's number in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelId(pub u32);

/// A value at a place: a dense, row-major tensor or a scaled tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The type of the value there.
    pub value_type: Type,
    /// Where it lies.
    pub place: Place,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In the memory the caller gave for an input. Written only where the input is donated.
    Input(usize),
    /// In the memory of a result; that of the donated input where one is tied to it.
    Result(usize),
    /// In a constant; never written.
    Constant(usize),
    /// In the arena, from that byte on; a multiple of [`ARENA_ALIGNMENT`].
    Arena(usize),
}

/// Every arena buffer starts at a multiple of this many bytes: a cache line, and the widest vector.
pub const ARENA_ALIGNMENT: usize = 64;

/// A fused group of ops, compiled to one function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// A C identifier, unique in the plan, that says what the kernel does: `loop_add_multiply_3`.
    pub name: String,
    /// How it is scheduled.
    pub family: Family,
    /// What it computes: from the operand buffers (inputs) to the result buffers (results).
    pub body: Graph,
}

/// A schedule family: how a kernel walks over its data, and so what its body may hold.
///
/// *Elementwise ops* below are those of [`OpKind::is_elementwise`](crate::OpKind::is_elementwise), and bitcast_convert
/// between elements of one size. *Index ops* are those whose result elements are each one operand element at a computed
/// place: broadcast_in_dim, reshape, transpose, slice, dynamic_slice, pad, concatenate, reverse, iota, gather,
/// bitcast_convert. Constants in a body are scalars. The init of a reduction is a constant or an input of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Elementwise and index ops. All results have one shape; each element is computed by itself.
    Loop,
    /// Reductions along trailing dimensions, with elementwise and index ops before, between and after them. Every
    /// reduction reduces the same trailing dimensions of the same shape; results have that shape or the reduced one.
    ///
    /// What is computed of a reduction stays in its row: elementwise ops on the reduced shape, broadcast_in_dim of the
    /// reduced shape along the row, and elementwise ops on the whole shape. Index ops stand before reductions only.
    Row,
    /// One reduction (of one or more inputs) along leading dimensions, so that the fastest dimension stays, with
    /// elementwise and index ops before it, and elementwise ops on the reduced shape after it.
    Column,
    /// One dot_general, with transposes and reshapes of its operands and result. Each dimension of the dot_general's
    /// operands and result has one stride in the buffer read or written, and the contracting dimensions of an operand lie
    /// side by side, in their order: they can be walked as one. Or one scaled_dot, grouped_dot or grouped_scaled_dot.
    ///
    /// A product whose result is not moved may have an epilogue: elementwise ops on it, of its shape or one with the same
    /// rows by reshape, whose other operands are made by elementwise and index ops. Then all results are of these ops, or
    /// the product's own; or largest magnitudes of such, each a reduce of all of an abs, which begins with an input that is
    /// no NaN and that nothing else reads, and is written over it.
    Dot,
    /// Two or more dot_generals, or one with reductions, of which the first, the *scores*, are in no memory: what is
    /// computed of them is made of a tile of them at a time.
    ///
    /// Scores have one shape, batch dimensions, rows and one dimension of columns, and operands read through transposes
    /// and reshapes. *Weights* are made of them by elementwise ops of that shape, whose other operands are made by
    /// elementwise and index ops. Of weights there is one of three things:
    ///
    /// - one dot_general more, batched likewise, of one operand the weights, of which it contracts the columns or all
    ///   rows, its other operand read through transposes and reshapes; its result may be moved by such;
    /// - one reduction of one input along the columns;
    /// - a softmax's two: the maximum of weights x of f32 along the columns, and the sum of exp(x − maximum), both results.
    Attention,
    /// One scatter, dynamic_update_slice, reduce_window, with elementwise and index ops before it. What is updated is an
    /// input of the body or a scalar broadcast.
    Index,
    /// One sort or top_k.
    Sort,
    /// One dequantize, relayout or hadamard; or one or more quantize of one tensor, which may be less a mean: an input of the body
    /// or `subtract(x, broadcast_in_dim(mean))` of two inputs, the mean of f32 along the last dimension. Or the tensor
    /// is made in it, by elementwise ops of its shape and broadcast_in_dim. Nothing else of the body is computed in it.
    Quantize,
    /// One orthonormalize.
    Solve,
}

impl Family {
    /// Every family, in the order of its declaration.
    pub const ALL: [Self; 9] = [
        Self::Loop,
        Self::Row,
        Self::Column,
        Self::Dot,
        Self::Attention,
        Self::Index,
        Self::Sort,
        Self::Quantize,
        Self::Solve,
    ];

    /// The family's word in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Row => "row",
            Self::Column => "column",
            Self::Dot => "dot",
            Self::Attention => "attention",
            Self::Index => "index",
            Self::Sort => "sort",
            Self::Quantize => "quantize",
            Self::Solve => "solve",
        }
    }
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%b{}", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(number) => write!(f, "input({number})"),
            Self::Result(number) => write!(f, "result({number})"),
            Self::Constant(number) => write!(f, "constant({number})"),
            Self::Arena(offset) => write!(f, "arena({offset})"),
        }
    }
}

/// One step of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A kernel runs from operand to result buffers.
    ///
    /// A result buffer may be an operand's memory, from its first byte on, in two cases.
    ///
    /// - The body reads that operand only at the element (loop, a dot's epilogue), or at the reduced element after the
    ///   reduction (column), at which it computes its results: a kernel reads all operands there before it writes any
    ///   result, once. In a row kernel nothing but the one result is computed from the operand, elementwise.
    /// - The body is a dynamic_update_slice or scatter of that operand and reads it nowhere else. It is updated in place;
    ///   such a kernel copies the operand only where the two addresses differ.
    Launch {
        /// Which kernel.
        kernel: KernelId,
        /// The buffers of the body's inputs, in order.
        operands: Vec<BufferId>,
        /// The buffers of the body's results, in order.
        results: Vec<BufferId>,
        /// Where the ops come from.
        location: Location,
    },
    /// The bytes of one buffer become those of another.
    Copy {
        /// Read.
        source: BufferId,
        /// Written.
        destination: BufferId,
    },
    /// While the steps of `condition` leave true in `predicate`, `body` is done.
    While {
        /// Steps before each test.
        condition: Vec<Step>,
        /// The `tensor<i1>` tested.
        predicate: BufferId,
        /// Steps of one iteration.
        body: Vec<Step>,
    },
    /// The branch whose number stands in `index` is done; the last where it is out of bounds.
    Case {
        /// The `tensor<i32>` that chooses.
        index: BufferId,
        /// The steps of each branch.
        branches: Vec<Vec<Step>>,
    },
}

impl Step {
    /// The buffers that are read, those in inner steps among them, in the order of the text.
    pub fn reads(&self) -> Vec<BufferId> {
        let mut buffers = Vec::new();
        self.visit(&mut |buffer, access| {
            if access == Access::Read {
                buffers.push(buffer);
            }
        });
        buffers
    }

    /// The buffers that are written, those in inner steps among them, in the order of the text.
    pub fn writes(&self) -> Vec<BufferId> {
        let mut buffers = Vec::new();
        self.visit(&mut |buffer, access| {
            if access == Access::Write {
                buffers.push(buffer);
            }
        });
        buffers
    }

    fn visit(&self, each: &mut impl FnMut(BufferId, Access)) {
        match self {
            Self::Launch {
                operands, results, ..
            } => {
                operands.iter().for_each(|&b| each(b, Access::Read));
                results.iter().for_each(|&b| each(b, Access::Write));
            }
            Self::Copy {
                source,
                destination,
            } => {
                each(*source, Access::Read);
                each(*destination, Access::Write);
            }
            Self::While {
                condition,
                predicate,
                body,
            } => {
                condition.iter().for_each(|step| step.visit(each));
                each(*predicate, Access::Read);
                body.iter().for_each(|step| step.visit(each));
            }
            Self::Case { index, branches } => {
                each(*index, Access::Read);
                let steps = branches.iter().flatten();
                steps.for_each(|step| step.visit(each));
            }
        }
    }
}

/// What a step does to a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}
