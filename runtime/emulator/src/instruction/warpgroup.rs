//! Products of matrices by four warps together: `wgmma` (PTX ISA 9.7.15).
//!
//! Each warp has sixteen rows of A and D, as those of `mma`'s fragments; number i of D is of row g + 8·(⌊i/2⌋ mod 2) and
//! column 8·⌊i/4⌋ + 2t + i mod 2 in lane 4g + t.

use super::matrix::{Accumulator, Element, Shape, element, result};
use super::words::Words;
use super::{Action, Refusal, Source};
use crate::program::Register;
use std::sync::Arc;

/// `wgmma`
pub(crate) enum Warpgroup {
    /// `.fence`: registers written before may be used.
    Fence,
    /// `.commit_group`
    Commit,
    /// `.wait_group`: until no more than so many of the last groups are not done.
    Wait(u64),
    /// `.mma_async`: D = A·B + D.
    Multiply(Arc<Product>),
}

/// D = A·B + D, A of 64×k.
pub(crate) struct Product {
    pub shape: Shape,
    pub a_type: Element,
    pub b_type: Element,
    pub result: Accumulator,
    pub a: Operand,
    /// A matrix in shared memory.
    pub b: Matrix,
    pub d: Vec<Register>,
    /// Whether D is added.
    pub adds: Source,
    /// Whether A, B are taken with the other sign.
    pub negated: [bool; 2],
    /// `.satfinite` of integers.
    pub saturates: bool,
    /// Whether the elements are those of the ring mode.
    pub is_ring: bool,
}

impl Product {
    /// The number that an element of A or B is: in the ring mode an integer of 32 bits at most.
    pub fn value(&self, element: Element, bits: u64) -> f64 {
        if self.is_ring {
            element.payload(bits) as f64
        } else {
            element.value(bits)
        }
    }
}

/// Where A is.
pub(crate) enum Operand {
    Registers(Vec<Register>),
    Shared(Matrix),
}

/// A matrix in shared memory.
#[derive(Clone)]
pub(crate) struct Matrix {
    /// Where it begins and how it lies.
    pub descriptor: Source,
    /// Whether numbers of one column of A, or row of B, are next to each other.
    pub is_transposed: bool,
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let multiplies = words.has("mma_async");
    if words.has("sp") {
        return Err(words.refuse("is of sparse matrices, which is not modelled"));
    }
    if !words.has("sync") || !words.has("aligned") {
        return Err(words.refuse("needs .sync.aligned"));
    }
    let warpgroup = if multiplies {
        Warpgroup::Multiply(Arc::new(product(words)?))
    } else if words.has("fence") {
        words.counted(&[0])?;
        Warpgroup::Fence
    } else if words.has("commit_group") {
        words.counted(&[0])?;
        Warpgroup::Commit
    } else if words.has("wait_group") {
        words.counted(&[1])?;
        Warpgroup::Wait(words.immediate(0)?)
    } else {
        return Err(words.refuse("is not modelled"));
    };
    Ok(Action::Warpgroup(warpgroup))
}

/// `wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d…}, a, b, adds, 1, 1, 0, 0;`
fn product(words: &mut Words<'_>) -> Result<Product, Refusal> {
    let shape = words.needed("shape", shape)?;
    let saturates = words.has("satfinite");
    let result = words.needed("result type", result)?;
    let a_type = words.needed("type of A", |word| element(word, false))?;
    let b_type = words.needed("type of B", |word| element(word, false))?;
    check(words, shape, (a_type, b_type), result)?;
    let is_integer = result == Accumulator::S32;
    let halves = matches!(a_type, Element::F16 | Element::Bf16);
    let registers = |place: usize| -> Result<Vec<Register>, Refusal> {
        let registers = words.destinations(place)?.into_iter().collect();
        let registers: Option<Vec<Register>> = registers;
        registers.ok_or_else(|| words.refuse("needs registers in every place of a fragment"))
    };
    let d = registers(0)?;
    let d_bits = if result == Accumulator::F16 { 16 } else { 32 };
    let expected = 16 * shape.n * d_bits / (32 * 32);
    if d.len() != expected {
        return Err(words.refuse(format!("needs {expected} registers for D, not {}", d.len())));
    }
    let in_registers = matches!(words.operands()[1], crate::ptx::Operand::Vector(_));
    // Signs, and for numbers of 16 bits how matrices in shared memory lie.
    let majors = match (halves, in_registers) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    words.counted(&[4 + if is_integer { 0 } else { 2 } + majors])?;
    let major = |place: usize| -> Result<bool, Refusal> { Ok(words.immediate(place)? != 0) };
    let sign = |place: usize| -> Result<bool, Refusal> { Ok(words.immediate(place)? as i32 == -1) };
    let matrix = |place: usize, is_transposed: bool| -> Result<Matrix, Refusal> {
        Ok(Matrix {
            descriptor: words.source(place)?,
            is_transposed,
        })
    };
    let a = if in_registers {
        let a = registers(1)?;
        if a.len() != 4 {
            return Err(words.refuse(format!("needs 4 registers for A, not {}", a.len())));
        }
        Operand::Registers(a)
    } else {
        Operand::Shared(matrix(1, majors == 2 && major(6)?)?)
    };
    Ok(Product {
        shape,
        a_type,
        b_type,
        result,
        a,
        b: matrix(2, majors != 0 && major(5 + majors)?)?,
        d,
        adds: words.source(3)?,
        negated: if is_integer {
            [false; 2]
        } else {
            [sign(4)?, sign(5)?]
        },
        saturates,
        is_ring: words.scope.is_ring(),
    })
}

/// That the types go together, and with the shape: k is 32 bytes of A.
fn check(
    words: &Words<'_>,
    shape: Shape,
    (a, b): (Element, Element),
    result: Accumulator,
) -> Result<(), Refusal> {
    let results: &[Accumulator] = match (a, b) {
        (Element::F16, Element::F16) => &[Accumulator::F16, Accumulator::F32],
        (Element::Bf16, Element::Bf16) | (Element::Tf32, Element::Tf32) => &[Accumulator::F32],
        (Element::Low { format: x, .. }, Element::Low { format: y, .. })
            if x.bits() == 8 && y.bits() == 8 =>
        {
            &[Accumulator::F16, Accumulator::F32]
        }
        (Element::Integer { bits: 8, .. }, Element::Integer { bits: 8, .. }) => &[Accumulator::S32],
        _ => &[],
    };
    if !results.contains(&result) {
        return Err(words.refuse("is of types that do not go together"));
    }
    // Of integers, multiples of 16 and what is smaller.
    if result == Accumulator::S32 && shape.n > 24 && !shape.n.is_multiple_of(16) {
        return Err(words.refuse(format!(
            "has {} columns, which no product of integers has",
            shape.n
        )));
    }
    if shape.k * a.bits() != 256 {
        return Err(words.refuse(format!("sums over {}, not {}", shape.k, 256 / a.bits())));
    }
    Ok(())
}

fn shape(name: &str) -> Option<Shape> {
    let shape = Shape::named(name)?;
    let is_shape = shape.m == 64 && shape.n.is_multiple_of(8) && (8..=256).contains(&shape.n);
    is_shape.then_some(shape)
}
