//! Instructions decoded: what each does, with its registers resolved. A file for each family of the PTX ISA's chapter 9.

mod accesses;
mod bits;
mod compare;
mod control;
mod convert;
mod copy;
mod exchange;
mod float;
mod forms;
mod fragments;
mod integer;
#[cfg(test)]
mod inventory;
mod matrix;
mod mbarrier;
mod memory;
mod movement;
mod number;
mod operands;
mod pack;
mod quad_pairs;
mod ring;
mod sizes;
mod stochastic;
mod synchronise;
mod targets;
mod tcgen05;
mod tensormap;
mod warpgroup;
mod words;

pub(crate) use control::{Argument, Call, Callee, Control};
pub(crate) use copy::{
    Bulk, Copy, Element as CopyElement, Family, Reduction as BulkReduction, Target, Tensor,
    tensor_reduction,
};
pub(crate) use exchange::{Exchange, Vote};
pub(crate) use fragments::{Direction, Move, Numbers};
pub(crate) use matrix::{Accumulator, Element, Matrix, Multiply, Scales};
pub(crate) use mbarrier::{Arrive, Mbarrier, Test};
pub(crate) use memory::{
    Access, Atomic, AtomicFunction, Load, Ordering, Space, Store, ThreadScope,
};
pub(crate) use operands::{Location, Source, Special, is_special_register};
pub(crate) use quad_pairs::{QuadPairs, of_d};
pub(crate) use synchronise::{Fence, Synchronise};
pub(crate) use tcgen05::{MultiplyTensor, OperandA, Tcgen05};
pub(crate) use tensormap::{ALIGNMENT as TENSORMAP_ALIGNMENT, Tensormap};
pub(crate) use warpgroup::{
    Matrix as SharedOperand, Operand as WarpgroupOperand, Product, Warpgroup,
};
pub(crate) use words::Refusal;

use crate::machine::{Lanes, lanes_of};
use crate::program::{Register, Scope};
use crate::ptx::Instruction;
use words::Words;

/// What an instruction does.
pub(crate) enum Action {
    /// A function of each lane's values.
    Compute(Compute),
    /// From memory.
    Load(Load),
    /// To memory.
    Store(Store),
    /// A read, a function and a write that nothing comes between.
    Atomic(Atomic),
    /// What memory held is gone: it is as if nobody had written it.
    Discard(Access),
    /// Where lanes go on.
    Control(Control),
    /// Barriers and fences.
    Synchronise(Synchronise),
    /// Values of other lanes.
    Exchange(Exchange),
    /// Matrix fragments of a warp.
    Matrix(Matrix),
    /// Barrier objects in shared memory.
    Mbarrier(Box<Mbarrier>),
    /// Copies that are done beside the warp.
    Copy(Box<Copy>),
    /// Tensor maps that threads change.
    Tensormap(Box<Tensormap>),
    /// Tensor memory and its products.
    Tcgen05(Box<Tcgen05>),
    /// Products of matrices by four warps.
    Warpgroup(Warpgroup),
    /// A hint.
    Nothing,
    /// An instruction that is not modelled: an error when it is reached.
    Refused(Refusal),
}

/// Of some lanes, their values in, their values out. Lanes that are not asked for may be computed too: what comes out of them
/// means nothing.
pub(crate) type Function = Box<dyn Fn(u32, &[&[u64; 32]; SOURCES], &mut [Lanes]) + Send + Sync>;

/// Sources of a function of lanes, at most.
pub(crate) const SOURCES: usize = 5;

/// A function of lanes that does the same to each, of four sources at most.
pub(crate) fn of_each_lane(
    function: impl Fn(&[u64; 4]) -> [u64; 4] + Send + Sync + 'static,
) -> Function {
    Box::new(move |active, sources, results| {
        for lane in lanes_of(active) {
            let lane = lane as usize;
            let own = function(&std::array::from_fn(|place| sources[place][lane]));
            for (result, value) in results.iter_mut().zip(own) {
                result.values[lane] = value;
            }
        }
    })
}

/// A function of each lane's values.
pub(crate) struct Compute {
    pub function: Function,
    /// At most [`SOURCES`].
    pub sources: Vec<Source>,
    /// So many sources are parts of a whole: it is held to be written where one of them is, since compilers leave unwritten
    /// what fills the places that nobody looks at.
    pub parts: usize,
    /// At most four; `None` is a result that nobody wants.
    pub destinations: Vec<Option<Register>>,
}

type Decode = fn(&mut Words<'_>) -> Result<Action, Refusal>;

/// Every opcode that is known, and what decodes it.
const FAMILIES: &[(&[&str], Decode)] = &[
    (
        &[
            "add", "sub", "mul", "mad", "fma", "div", "abs", "neg", "min", "max", "addc", "subc",
            "madc", "mul24", "mad24", "sad", "rem", "dp4a", "dp2a",
        ],
        integer::or_float,
    ),
    (
        &[
            "rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh", "copysign", "testp",
        ],
        float::decode,
    ),
    (
        &[
            "and", "or", "xor", "not", "cnot", "shl", "shr", "shf", "lop3", "prmt", "popc", "clz",
            "bfind", "fns", "brev", "bfe", "bfi", "szext", "bmsk",
        ],
        bits::decode,
    ),
    (&["set", "setp", "selp", "slct"], compare::decode),
    (&["cvt"], convert::decode),
    (
        &["mov", "cvta", "isspacep", "mapa", "getctarank"],
        movement::decode,
    ),
    (
        &[
            "ld",
            "ldu",
            "st",
            "atom",
            "red",
            "prefetch",
            "prefetchu",
            "discard",
            "applypriority",
            "createpolicy",
        ],
        memory::decode,
    ),
    (
        &[
            "bra",
            "brx",
            "call",
            "ret",
            "exit",
            "trap",
            "brkpt",
            "nanosleep",
            "pmevent",
            "griddepcontrol",
            "setmaxnreg",
        ],
        control::decode,
    ),
    (&["bar", "barrier", "membar", "fence"], synchronise::decode),
    (&["mbarrier"], mbarrier::decode),
    (&["wgmma"], warpgroup::decode),
    (&["cp"], copy::decode),
    (&["tensormap"], tensormap::decode),
    (
        &["shfl", "vote", "match", "redux", "activemask", "elect"],
        exchange::decode,
    ),
    (
        &["ldmatrix", "stmatrix", "movmatrix", "mma"],
        matrix::decode,
    ),
    (&["tcgen05"], tcgen05::decode),
];

/// Decodes an instruction.
pub(crate) fn decode(instruction: &Instruction, scope: &Scope<'_>) -> Action {
    let mut words = Words::new(instruction, scope);
    let opcode = &instruction.opcode[..];
    let family = FAMILIES.iter().find(|(own, _)| own.contains(&opcode));
    let family = family.map_or(unknown as Decode, |&(_, decode)| decode);
    let action = targets::check(&words)
        .and_then(|()| check_modelled(&words))
        .and_then(|()| family(&mut words))
        .and_then(|action| {
            words.finish()?;
            forms::check(&words)?;
            accesses::check(&words)?;
            sizes::check(&words)?;
            Ok(action)
        });
    action.unwrap_or_else(Action::Refused)
}

/// Whether an instruction's opcode is known.
pub(crate) fn is_known(instruction: &Instruction) -> bool {
    let opcode = &instruction.opcode[..];
    FAMILIES.iter().any(|(own, _)| own.contains(&opcode))
}

/// That the target has an instruction.
pub(crate) fn check_target(instruction: &Instruction, scope: &Scope<'_>) -> Result<(), Refusal> {
    targets::check(&Words::new(instruction, scope))
}

/// Instructions whose opcode is known and that another modifier makes other instructions of, which are not modelled.
const OTHERS: &[(&str, &str)] = &[
    ("st", "async"),
    ("red", "async"),
    ("mma", "sp"),
    ("mma", "sp::ordered_metadata"),
    ("cp", "im2col"),
    ("cp", "im2col::w"),
    ("cp", "im2col::w::128"),
    ("cp", "im2col_no_offs"),
    ("cp", "tile::gather4"),
    ("cp", "tile::scatter4"),
    ("cp", "cp_mask"),
];

fn check_modelled(words: &Words<'_>) -> Result<(), Refusal> {
    let opcode = words.opcode();
    let is_other =
        |&&(own, modifier): &&(&str, &str)| own == opcode && words.instruction.has(modifier);
    match OTHERS.iter().find(is_other) {
        None => Ok(()),
        Some((_, modifier)) => Err(words.refuse(format!("is not modelled, for its .{modifier}"))),
    }
}

fn unknown(words: &mut Words<'_>) -> Result<Action, Refusal> {
    Err(words.refuse("is not modelled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where instructions are tested: what they do is stated there, apart from this crate's code. Kernels that compilers made
    /// do not count.
    const TESTS: &[&str] = &[
        include_str!("../tests/it/addresses.rs"),
        include_str!("../tests/it/asynchronous.rs"),
        include_str!("../tests/it/conversions.rs"),
        include_str!("../tests/it/findings.rs"),
        include_str!("../tests/it/instructions.rs"),
        include_str!("../tests/it/movmatrix.rs"),
        include_str!("../tests/it/ordinary.rs"),
        include_str!("../tests/it/tcgen05.rs"),
        include_str!("../tests/it/tcgen05_kernels.rs"),
        include_str!("../tests/it/tensor.rs"),
        include_str!("../tests/it/tensormap.rs"),
        include_str!("../tests/it/warpgroup.rs"),
        include_str!("../tests/it/wide.rs"),
    ];

    #[test]
    fn every_opcode_has_a_test() {
        let is_tested = |opcode: &&str| {
            TESTS.iter().any(|text| {
                text.match_indices(opcode).any(|(at, _)| {
                    let before = &text[..at];
                    let begins = before.ends_with("\\n") || before.ends_with(['\n', ' ', '"']);
                    let after = text[at + opcode.len()..].chars().next();
                    begins && matches!(after, Some('.' | ' ' | ';'))
                })
            })
        };
        let all = FAMILIES.iter().flat_map(|(opcodes, _)| *opcodes);
        let missing: Vec<&&str> = all.filter(|opcode| !is_tested(opcode)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
