//! Whether registers have the bits of what an instruction is of (PTX ISA 9.2; held against ptxas of CUDA 13.5). Loads, stores
//! and conversions may have wider ones; what is of several types has rules of its own.

use super::Refusal;
use super::number::Number;
use super::words::Words;
use crate::program::Symbol;
use crate::ptx::Operand;

/// All operands are of the type.
const UNIFORM: &[&str] = &[
    "add", "sub", "mul", "mad", "fma", "div", "rem", "abs", "neg", "min", "max", "addc", "subc",
    "madc", "rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh", "copysign", "and", "or",
    "xor", "not", "cnot", "brev", "mov", "shl", "shr", "selp", "setp",
];

/// That the operands that are registers have the sizes that the instruction's one type asks for.
pub(super) fn check(words: &Words<'_>) -> Result<(), Refusal> {
    if !UNIFORM.contains(&words.opcode()) {
        return Ok(());
    }
    let modifiers = words.instruction.modifiers.iter();
    let types: Vec<Number> = modifiers
        .filter_map(|word| Number::from_name(word))
        .collect();
    let [of] = types[..] else {
        return Ok(());
    };
    for (place, operand) in words.operands().iter().enumerate() {
        let Operand::Name(name) = operand else {
            continue;
        };
        let Some(Symbol::Register { first, count: 1 }) = words.scope.find(name) else {
            continue;
        };
        let (needed, found) = (needed(words, place, of), words.scope.bits(first));
        if needed != found {
            return Err(words.refuse(format!(
                "has {name}, a register of {found} bits, as operand {}, which has {needed}",
                place + 1,
            )));
        }
    }
    Ok(())
}

/// The bits of an operand.
fn needed(words: &Words<'_>, place: usize, of: Number) -> u32 {
    let is_wide = words.instruction.has("wide");
    match (words.opcode(), place) {
        // A comparison's result, and a selection's predicate.
        ("setp", 0 | 3) | ("selp", 3) => 1,
        // Products of twice as many bits, and what is added to them.
        ("mul" | "mad" | "madc", 0) | ("mad" | "madc", 3) if is_wide => 2 * of.bits(),
        // How far bits are shifted.
        ("shl" | "shr", 2) => 32,
        _ => of.bits(),
    }
}
