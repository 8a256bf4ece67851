//! Which types, orders and hints to caches accesses of memory have, as the assembler says it (PTX ISA 9.7.9.8 to 9.7.9.12,
//! 9.7.13.5, 9.7.13.6; held against ptxas of CUDA 13.5).

use super::Refusal;
use super::words::Words;

/// Types that registers of memory's bits are loaded as and stored as.
const TYPES: &[&str] = &[
    "b8", "b16", "b32", "b64", "b128", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32",
    "f64",
];

/// Types that elements of arithmetic have, and accesses have not.
const OTHER_TYPES: &[&str] = &[
    "f16", "bf16", "f16x2", "bf16x2", "u16x2", "s16x2", "f32x2", "tf32", "pred",
];

/// Orders of a strong access, which are to a scope.
const ORDERS: &[&str] = &["relaxed", "acquire", "release"];

/// How loads and stores use caches.
const LOADS: &[&str] = &["ca", "cg", "cs", "lu", "cv", "nc"];
const STORES: &[&str] = &["wb", "cg", "cs", "wt"];

/// Operations of atomics, and the types that they are of.
const ATOMICS: &[(&str, &[&str])] = &[
    (
        "add",
        &[
            "u32", "s32", "u64", "f32", "f64", "f16", "f16x2", "bf16", "bf16x2",
        ],
    ),
    (
        "min",
        &["u32", "s32", "u64", "s64", "f16", "f16x2", "bf16", "bf16x2"],
    ),
    (
        "max",
        &["u32", "s32", "u64", "s64", "f16", "f16x2", "bf16", "bf16x2"],
    ),
    ("and", &["b32", "b64"]),
    ("or", &["b32", "b64"]),
    ("xor", &["b32", "b64"]),
    ("inc", &["u32"]),
    ("dec", &["u32"]),
    ("exch", &["b32", "b64", "b128"]),
    ("cas", &["b16", "b32", "b64", "b128"]),
];

/// That an access has a form that there is.
pub(super) fn check(words: &Words<'_>) -> Result<(), Refusal> {
    match words.opcode() {
        "ld" | "st" => load_or_store(words),
        "ldu" => uniform(words),
        "atom" | "red" => atomic(words),
        _ => Ok(()),
    }
}

fn types(words: &Words<'_>) -> Result<(), Refusal> {
    let has = |word: &&&str| words.instruction.has(word);
    match OTHER_TYPES.iter().find(has) {
        Some(word) => Err(words.refuse(format!("has no values of .{word}"))),
        None if TYPES.iter().any(|word| has(&word)) => Ok(()),
        None => Err(words.refuse("has no type that is modelled")),
    }
}

/// `ldu`, which is of global memory and has no hints.
fn uniform(words: &Words<'_>) -> Result<(), Refusal> {
    types(words)?;
    let known = |word: &&String| {
        let word = &word[..];
        matches!(word, "global" | "v2" | "v4") || TYPES.contains(&word)
    };
    let mut modifiers = words.instruction.modifiers.iter();
    match modifiers.find(|word| !known(word)) {
        Some(word) => Err(words.refuse(format!("has the modifier .{word}, which is not modelled"))),
        None => Ok(()),
    }
}

/// That 256 bits are of global memory, and hints of the second cache are beside them.
fn width(words: &Words<'_>) -> Result<(), Refusal> {
    let has = |word: &str| words.instruction.has(word);
    let has_type = |bits: &str| TYPES.iter().any(|name| name.ends_with(bits) && has(name));
    if has("b128") && ["v2", "v4", "v8"].into_iter().any(has) {
        return Err(words.refuse("of .b128 has one element"));
    }
    let is_wide = has("v8") && has_type("32") || has("v4") && has_type("64");
    if has("v8") && !is_wide {
        return Err(words.refuse("has eight elements of 32 bits"));
    }
    if is_wide && !has("global") {
        return Err(words.refuse("with 256 bits is of .global"));
    }
    let evicts = |word: &&String| word.starts_with("L2::evict_");
    match words.instruction.modifiers.iter().find(evicts) {
        Some(hint) if !is_wide => Err(words.refuse(format!("with .{hint} is of 256 bits"))),
        _ => Ok(()),
    }
}

fn load_or_store(words: &Words<'_>) -> Result<(), Refusal> {
    types(words)?;
    width(words)?;
    let instruction = words.instruction;
    let has = |word: &str| instruction.has(word);
    let beside = |word: &str, other: &str| {
        Err(words.refuse(format!("has .{word}, which does not go with {other}")))
    };
    let loads = words.opcode() == "ld";
    let order = ORDERS.iter().find(|order| has(order));
    let is_volatile = has("volatile");
    // How caches are used is said in one way or the other.
    let (own, others) = if loads {
        (LOADS, STORES)
    } else {
        (STORES, LOADS)
    };
    if let Some(word) = others.iter().find(|word| has(word) && !own.contains(word)) {
        return beside(word, if loads { "a load" } else { "a store" });
    }
    if let Some(word) = own.iter().find(|word| has(word)) {
        if let Some(order) = order {
            return beside(word, &format!(".{order}"));
        }
        if is_volatile {
            return beside(word, ".volatile");
        }
    }
    if has("nc") && (!has("global") || has("weak")) {
        return beside("nc", "an access that is not of .global alone");
    }
    let spaces = ["shared", "local", "const", "param"];
    let space = instruction.modifiers.iter().find(|word| {
        let name = word.split("::").next().unwrap_or_default();
        spaces.contains(&name)
    });
    let hints = instruction.modifiers.iter().filter(|word| {
        word.starts_with("L1::") || word.starts_with("L2::") && *word != "L2::cache_hint"
    });
    for hint in hints {
        if let Some(space) = space {
            return beside(hint, &format!(".{space}"));
        }
        if is_volatile && hint.starts_with("L1::") {
            return beside(hint, ".volatile");
        }
        if !loads && hint.starts_with("L2::") && hint.ends_with('B') {
            return beside(hint, "a store");
        }
    }
    if let Some(space) = space
        && (order.is_some() && !space.starts_with("shared")
            || is_volatile && !space.starts_with("shared") && space != "local")
    {
        return beside(space, "an order");
    }
    Ok(())
}

fn atomic(words: &Words<'_>) -> Result<(), Refusal> {
    let instruction = words.instruction;
    let Some((operation, types)) = ATOMICS.iter().find(|(name, _)| instruction.has(name)) else {
        return Ok(());
    };
    if words.opcode() == "red" && matches!(*operation, "exch" | "cas") {
        return Err(words.refuse(format!(
            "has no .{operation}: nobody is given what was there"
        )));
    }
    let is_of = types.iter().any(|name| instruction.has(name));
    if is_of {
        return Ok(());
    }
    Err(words.refuse(format!("with .{operation} is of .{}", types.join(", ."))))
}

#[cfg(test)]
mod tests {
    use super::super::inventory::accepted;

    fn are_accepted(statements: &[&str]) -> Vec<bool> {
        let statements: Vec<String> = statements.iter().map(|&own| own.into()).collect();
        accepted(&statements)
    }

    #[test]
    fn what_the_assembler_has() {
        let statements = [
            "ld.global.nc.u32 %a32, [%at];",
            "ld.weak.shared.cg.b64 %a64, [%at];",
            "ld.relaxed.gpu.global.L1::no_allocate.f32 %a32, [%at];",
            "ld.volatile.global.L2::128B.u32 %a32, [%at];",
            "ld.volatile.local.u32 %a32, [%at];",
            "ld.acquire.cta.shared.u32 %a32, [%at];",
            "ld.const.ca.u32 %a32, [%at];",
            "st.cs.u32 [%at], %a32;",
            "st.release.gpu.L1::evict_last.u32 [%at], %a32;",
            "st.local.wb.u32 [%at], %a32;",
            "atom.exch.b64 %a64, [%at], %b64;",
            "atom.cas.b16 %a16, [%at], %b16, %c16;",
            "red.global.add.f64 [%at], %a64;",
        ];
        assert_eq!(are_accepted(&statements), [true; 13]);
    }

    #[test]
    fn what_it_refuses() {
        let statements = [
            "ld.global.f16 %a16, [%at];",
            "st.shared.v2.bf16 [%at], {%a16, %b16};",
            "ld.acquire.gpu.ca.u32 %a32, [%at];",
            "ld.volatile.cv.u32 %a32, [%at];",
            "ld.shared.nc.u32 %a32, [%at];",
            "ld.weak.global.nc.u32 %a32, [%at];",
            "ld.global.wt.u32 %a32, [%at];",
            "ld.shared.L2::128B.u32 %a32, [%at];",
            "ld.volatile.L1::evict_last.u32 %a32, [%at];",
            "ld.volatile.const.u32 %a32, [%at];",
            "ld.relaxed.gpu.local.u32 %a32, [%at];",
            "st.global.ca.u32 [%at], %a32;",
            "st.global.L2::256B.u32 [%at], %a32;",
            "st.release.gpu.wb.u32 [%at], %a32;",
            "red.exch.b32 [%at], %a32;",
            "atom.exch.u32 %a32, [%at], %b32;",
            "atom.add.s64 %a64, [%at], %b64;",
            "atom.and.u32 %a32, [%at], %b32;",
            "atom.inc.u64 %a64, [%at], %b64;",
            "atom.min.f32 %a32, [%at], %b32;",
            "red.add.u16 [%at], %a16;",
            "ldu.shared.u32 %a32, [%at];",
            "ldu.global.ca.u32 %a32, [%at];",
            "st.shared.v4.b64 [%at], {%a64, %b64, %c64, %d64};",
            "st.global.v8.b16 [%at], {%a16, %b16, %c16, %d16, %a16, %b16, %c16, %d16};",
            "ld.global.L2::evict_last.u32 %a32, [%at];",
        ];
        assert_eq!(are_accepted(&statements), [false; 26]);
    }
}
