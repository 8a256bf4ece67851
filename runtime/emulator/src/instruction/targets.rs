//! Which targets have an instruction, as the assembler says it (the "Target ISA Notes" of each in the PTX ISA; held against
//! ptxas of CUDA 13.5 by `targets.table`). What all targets from sm_75 on have is not here.

use super::Refusal;
use super::words::Words;
use crate::ptx::Operand;

/// What a target must be.
#[derive(Clone, Copy)]
enum Needs {
    /// This architecture, or a later one.
    From(u32),
    /// Code for one architecture or one family of these: `sm_100a`, `sm_100f`.
    Of(&'static [u32]),
    /// Code for one architecture of these: `sm_100a`.
    Exactly(&'static [u32]),
}

use Needs::{Exactly, From, Of};

/// Blackwell's chips for data centres, which have tensor memory.
const DATA_CENTRE: &[u32] = &[100, 101, 103, 110];
/// All of Blackwell's.
const BLACKWELL: &[u32] = &[100, 101, 103, 110, 120, 121];
/// Those of Blackwell's whose `mma.sync` has scales by blocks.
const SCALED: &[u32] = &[120, 121];

impl Needs {
    fn is_met(self, target: &str) -> bool {
        let name = target.strip_prefix("sm_").unwrap_or(target);
        let digits = name.trim_end_matches(char::is_alphabetic);
        let Ok(number) = digits.parse::<u32>() else {
            return false;
        };
        let suffix = &name[digits.len()..];
        match self {
            From(first) => number >= first,
            Of(numbers) => numbers.contains(&number) && matches!(suffix, "a" | "f"),
            Exactly(numbers) => numbers.contains(&number) && suffix == "a",
        }
    }
}

/// An instruction needs something if its opcode is one of these (any, if there are none) and of each list it has a modifier.
struct Rule {
    opcodes: &'static [&'static str],
    modifiers: &'static [&'static [&'static str]],
    needs: Needs,
}

const fn rule(
    opcodes: &'static [&'static str],
    modifiers: &'static [&'static [&'static str]],
    needs: Needs,
) -> Rule {
    Rule {
        opcodes,
        modifiers,
        needs,
    }
}

const BF16: &[&str] = &["bf16", "bf16x2"];
const FP8: &[&str] = &["e4m3x2", "e5m2x2"];
const FP6_AND_FP4: &[&str] = &["e2m3x2", "e3m2x2", "e2m1x2"];

const RULES: &[Rule] = &[
    // Synchronisation and clusters.
    rule(&["mbarrier"], &[], From(80)),
    rule(
        &["mbarrier"],
        &[&[
            "expect_tx",
            "complete_tx",
            "try_wait",
            "relaxed",
            "cluster",
            "shared::cluster",
        ]],
        From(90),
    ),
    rule(&["barrier"], &[&["cluster"]], From(90)),
    rule(&["membar"], &[&["async"]], From(90)),
    rule(
        &["fence"],
        &[&[
            "acquire",
            "release",
            "async",
            "async.global",
            "async::generic",
            "mbarrier_init",
            "tensormap::generic",
        ]],
        From(90),
    ),
    rule(&[], &[&["cluster", "shared::cluster"]], From(90)),
    rule(
        &["mapa", "getctarank", "griddepcontrol", "elect"],
        &[],
        From(90),
    ),
    rule(&["prefetch"], &[&["tensormap"]], From(90)),
    rule(&["tensormap"], &[&["cp_fenceproxy"]], From(90)),
    rule(
        &["tensormap"],
        &[&["replace"]],
        Of(&[90, 100, 101, 103, 110, 120, 121]),
    ),
    rule(&["tensormap"], &[&["swizzle_atomicity"]], Of(BLACKWELL)),
    rule(
        &["setmaxnreg"],
        &[],
        Of(&[90, 100, 101, 103, 110, 120, 121]),
    ),
    rule(&["redux"], &[], From(80)),
    rule(&["redux"], &[&["f32"]], Of(&[100, 101, 103])),
    rule(&["createpolicy", "discard", "applypriority"], &[], From(80)),
    rule(
        &["prefetch"],
        &[&["L2::evict_last", "L2::evict_normal"]],
        From(80),
    ),
    // Copies.
    rule(&["cp"], &[], From(80)),
    rule(&["cp"], &[&["bulk"]], From(90)),
    rule(
        &["cp"],
        &[&["cta_group::1", "cta_group::2"]],
        Of(DATA_CENTRE),
    ),
    // Matrices.
    rule(
        &["ldmatrix", "stmatrix"],
        &[&["m8n16", "m16n16", "m16n8"]],
        Of(BLACKWELL),
    ),
    rule(&["stmatrix"], &[], From(90)),
    rule(&["mma"], &[&["and"]], From(80)),
    rule(
        &["mma"],
        &[&[
            "m16n8k4",
            "m16n8k16",
            "m16n8k32",
            "m16n8k64",
            "m16n8k128",
            "m16n8k256",
            "f64",
        ]],
        From(80),
    ),
    rule(
        &["mma"],
        &[&["f64"], &["m16n8k4", "m16n8k8", "m16n8k16"]],
        From(90),
    ),
    rule(&["mma"], &[&["e4m3", "e5m2"]], From(89)),
    rule(&["mma"], &[&["kind::f8f6f4"]], Of(BLACKWELL)),
    rule(&["mma"], &[&["block_scale"]], Of(SCALED)),
    rule(&["mma"], &[&["e2m3", "e3m2", "e2m1"]], Of(SCALED)),
    rule(&["wgmma"], &[], Exactly(&[90])),
    rule(&["tcgen05"], &[], Of(DATA_CENTRE)),
    rule(&["tcgen05"], &[&["kind::i8"]], Exactly(&[100, 101, 110])),
    rule(
        &["tcgen05"],
        &[&["scale_vec::1X", "scale_vec::2X", "scale_vec::4X"]],
        Exactly(DATA_CENTRE),
    ),
    // Numbers.
    rule(&[], &[BF16], From(80)),
    rule(&[], &[&["tf32"]], From(80)),
    rule(&[], &[&["f32x2"]], From(100)),
    rule(
        &[
            "add", "sub", "mul", "ex2", "tanh", "set", "setp", "atom", "red",
        ],
        &[BF16],
        From(90),
    ),
    rule(&["add", "min", "max"], &[&["u16x2", "s16x2"]], From(90)),
    rule(&["min", "max"], &[&["relu"], &["s32"]], From(90)),
    rule(&["min", "max"], &[&["NaN", "f16", "f16x2"]], From(80)),
    rule(&["min", "max"], &[&["abs"]], From(86)),
    rule(&["fma"], &[&["relu"]], From(80)),
    rule(&["cvt"], &[&["relu"]], From(80)),
    rule(&["cvt"], &[&["f16x2"], &["f32"]], From(80)),
    rule(&["cvt"], &[&["tf32"], &["rn", "rz"]], From(90)),
    rule(
        &["cvt"],
        &[&["tf32"], &["satfinite"], &["rn", "rz"]],
        From(100),
    ),
    rule(&["cvt"], &[FP8], From(89)),
    rule(&["cvt"], &[FP8, &["bf16x2"]], Of(BLACKWELL)),
    rule(&["cvt"], &[FP6_AND_FP4], Of(BLACKWELL)),
    rule(&["cvt"], &[&["ue8m0x2"]], Of(BLACKWELL)),
    rule(&["cvt"], &[&["rs"]], Exactly(&[100, 103])),
    rule(
        &["add", "sub", "fma"],
        &[&["f32"], &["f16", "bf16"]],
        From(100),
    ),
    // Memory.
    rule(&["ld"], &[&["L2::256B"]], From(80)),
    rule(&["ld", "st"], &[&["v8"]], From(100)),
    rule(
        &["ld", "st"],
        &[&["v4"], &["b64", "u64", "s64", "f64"]],
        From(100),
    ),
    rule(&["atom", "red"], &[&["v2", "v4", "v8"]], From(90)),
    rule(&["atom"], &[&["b128"]], From(90)),
];

/// The first thing that the target lacks: a modifier, where it is one that asks for it.
fn lacking(words: &Words<'_>, target: &str) -> Option<Option<&'static str>> {
    let instruction = words.instruction;
    for rule in RULES {
        if !rule.opcodes.is_empty() && !rule.opcodes.contains(&&instruction.opcode[..]) {
            continue;
        }
        let found = |list: &&'static [&'static str]| {
            let mut list = list.iter().copied();
            list.find(|word| instruction.has(word))
        };
        let found: Option<Vec<_>> = rule.modifiers.iter().map(found).collect();
        if let Some(found) = found
            && !rule.needs.is_met(target)
        {
            return Some(found.last().copied());
        }
    }
    // Three numbers at once.
    let is_of_three = matches!(&instruction.opcode[..], "min" | "max")
        && instruction.has("f32")
        && instruction.operands.len() == 4;
    if is_of_three && !From(100).is_met(target) {
        return Some(None);
    }
    let counts = instruction.opcode == "mbarrier"
        && (instruction.has("arrive") || instruction.has("arrive_drop"))
        && !instruction.has("noComplete")
        && instruction.operands.len() == 3;
    if counts && !From(90).is_met(target) {
        return Some(None);
    }
    // The two conversions of bf16 that came with it.
    let modifiers = &instruction.modifiers;
    let is_of_others = instruction.opcode == "cvt"
        && instruction.has("bf16")
        && modifiers.last().is_none_or(|from| from != "f32")
        && modifiers[..] != ["f32", "bf16"];
    if is_of_others && !From(90).is_met(target) {
        return Some(Some("bf16"));
    }
    let is_of_clusters = |operand: &Operand| {
        let (Operand::Name(name) | Operand::Component(name, _)) = operand else {
            return false;
        };
        let begins = ["%cluster", "%ncluster", "%is_explicit_cluster"];
        begins.iter().any(|own| name.starts_with(own)) && words.scope.find(name).is_none()
    };
    if instruction.operands.iter().any(is_of_clusters) && !From(90).is_met(target) {
        return Some(None);
    }
    None
}

/// That the target has the instruction.
pub(super) fn check(words: &Words<'_>) -> Result<(), Refusal> {
    let target = words.scope.target();
    match lacking(words, target) {
        None => Ok(()),
        Some(None) => Err(words.refuse(format!("is not supported on .target {target}"))),
        Some(Some(modifier)) => Err(words.refuse(format!(
            "with .{modifier} is not supported on .target {target}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::row;
    use crate::instruction::Action;
    use crate::program::Program;
    use crate::ptx::Module;

    /// Statements, each with the targets that have it, and the targets that were asked.
    const TABLE: &str = include_str!("targets.table");
    const REGISTERS: &str = ".reg .b32 %r<300>;\n.reg .f32 %f<300>;\n.reg .f64 %fd<100>;\n.reg .b64 %x<10>;\n\
                             .reg .b16 %h<9>;\n.reg .pred %p<9>;\n";

    #[test]
    fn what_the_assembler_says() {
        let asked = TABLE
            .lines()
            .find_map(|line| line.strip_prefix("# Asked were: "));
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" | ")).collect();
        let body: Vec<&str> = lines.iter().map(|(statement, _)| *statement).collect();
        for target in asked.expect("targets").split(' ') {
            let text = format!(
                ".version 9.1\n.target {target}\n.address_size 64\n.visible .entry main(.param .u64 param0) {{\n\
                 {REGISTERS}{}{}\n}}",
                row::registers(),
                body.join("\n")
            );
            let program = Program::unchecked(&Module::parse(&text).unwrap());
            let steps = &program.functions[0].steps;
            assert_eq!(steps.len(), lines.len());
            for (step, (statement, targets)) in steps.iter().zip(&lines) {
                let reason = match &step.action {
                    Action::Refused(refusal) => Some(&refusal.reason[..]),
                    _ => None,
                };
                let is_there = targets.split(' ').any(|own| own == target);
                let as_told = match reason {
                    None => is_there,
                    Some(reason) => {
                        !is_there
                            && reason.ends_with(&format!("is not supported on .target {target}"))
                    }
                };
                assert!(as_told, "{statement} on {target}: {reason:?}");
            }
        }
    }
}
