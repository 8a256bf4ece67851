//! What lanes of a warp tell each other: every form, of whole warps and of some lanes, against the ISA's definitions
//! (PTX ISA 9.7.9.6, 9.7.13.9 to 9.7.13.16).

use super::modifiers::row::{Form, forms};
use tessera_emulator::{FindingKind, Global, Launch, Program, launch, ptx::Module};

/// Values of other lanes.
pub const SHUFFLES: &[&str] = &["shfl.sync[.up|.down|.bfly|.idx].b32"];

/// What holds in lanes.
pub const VOTES: &[&str] = &["vote.sync[.all|.any|.uni].pred", "vote.sync.ballot.b32"];

/// Who has the same.
pub const MATCHES: &[&str] = &["match[.any|.all].sync[.b32|.b64]"];

/// One value of all.
pub const REDUCTIONS: &[&str] = &[
    "redux.sync[.add|.min|.max][.u32|.s32]",
    "redux.sync[.and|.or|.xor].b32",
];

/// The same of floats.
pub const FLOATS: &[&str] = &["redux.sync[.min|.max][.abs|][.NaN|].f32"];

/// Who is there.
pub const PRESENT: &[&str] = &["activemask.b32", "elect.sync"];

/// 32 lanes' values: `%a`, `%b` and `%c`.
type Lanes = [[u64; 3]; 32];

/// A value, nothing where what was written is undefined, and a predicate.
type Found = (Option<u64>, bool);

/// Executes an instruction in the lanes of a mask, which `%mask` is: `%d` and the predicate `%q` of each.
fn run(instruction: &str, width: u32, lanes: &Lanes, mask: u32) -> Vec<Found> {
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q, .param .u32 m) {{\n\
         .reg .b64 %in, %out, %x;\n.reg .b32 %t, %mask, %own, %c;\n.reg .b{width} %a, %d;\n.reg .b32 %b;\n.reg .pred %q, %on, %p;\n\
         ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nld.param.u32 %mask, [m];\nmov.u32 %t, %tid.x;\n\
         mad.wide.u32 %in, %t, 24, %in;\nmad.wide.u32 %out, %t, 16, %out;\n\
         ld.global.b{width} %a, [%in];\nld.global.b32 %b, [%in+8];\nld.global.b32 %c, [%in+16];\n\
         setp.ne.b{width} %p, %a, 0;\nmov.b{width} %d, 0;\nsetp.ne.b32 %q, %t, %t;\n\
         shr.u32 %own, %mask, %t;\nand.b32 %own, %own, 1;\nsetp.ne.u32 %on, %own, 0;\n@!%on bra END;\n\
         {instruction}\nEND:\nbar.warp.sync -1;\n\
         st.global.b64 [%out], 0;\nst.global.b{width} [%out], %d;\nselp.b64 %x, 1, 0, %q;\nst.global.b64 [%out+8], %x;\nret;\n}}"
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let bytes = lanes.iter().flatten().flat_map(|own| own.to_le_bytes());
    let input = memory.allocate_with(bytes.collect());
    let output = memory.allocate(512);
    let grid = Launch::new("main")
        .block([32, 1, 1])
        .u64(input)
        .u64(output)
        .u32(mask);
    let mut report = launch(&program, &mut memory, &grid).unwrap();
    // What is undefined is stored to be told of.
    let is_result = |kind: &FindingKind| matches!(kind, FindingKind::UninitialisedResult { .. });
    report.findings.retain(|found| !is_result(&found.kind));
    assert_eq!(report.findings, [], "{instruction}");
    let word = |at: u64| {
        let bytes = memory.read_bytes(output + at, 8).ok()?;
        Some(u64::from_le_bytes(bytes.try_into().unwrap()))
    };
    let found = (0..32).map(|lane| (word(16 * lane), word(16 * lane + 8) == Some(1)));
    found.collect()
}

const MASKS: [u32; 6] = [
    u32::MAX,
    1,
    0x8000_0000,
    0x0000_ffff,
    0x5555_5555,
    0x9a00_6f03,
];

/// Some values that are the same every time.
fn values(seed: u64) -> Lanes {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 31
    };
    std::array::from_fn(|_| std::array::from_fn(|_| next()))
}

fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}

fn forms_of(patterns: &[&str]) -> Vec<Form> {
    patterns.iter().flat_map(|pattern| forms(pattern)).collect()
}

/// That an instruction gives each lane of every mask what a definition says.
fn check(
    instruction: &str,
    width: u32,
    lanes: &Lanes,
    definition: impl Fn(usize, &Lanes, u32) -> Found,
) {
    for mask in MASKS {
        let found = run(instruction, width, lanes, mask);
        for lane in lanes_of(mask) {
            let expected = definition(lane, lanes, mask);
            assert_eq!(
                found[lane], expected,
                "{instruction} in lane {lane} of {mask:#x}"
            );
        }
    }
}

#[test]
fn shuffles() {
    for form in forms_of(SHUFFLES) {
        let mode = &form.words[2][..];
        for bounds in [
            0u32, 31, 0x1f, 0x1800, 0x181f, 0x1c07, 0x0f0f, 0x1e1f, 0x0710,
        ] {
            let lanes = values(bounds.into());
            let instruction = format!("{} %d|%q, %a, %b, {bounds}, %mask;", form.text());
            check(&instruction, 32, &lanes, |lane, lanes, mask| {
                // The ISA's own lines.
                let (own, b) = (lane as i32, (lanes[lane][1] & 31) as i32);
                let (clamp, segment) = ((bounds & 31) as i32, (bounds >> 8 & 31) as i32);
                let highest = (own & segment) | (clamp & !segment);
                let lowest = own & segment;
                let (from, within) = match mode {
                    "up" => (own - b, own - b >= highest),
                    "down" => (own + b, own + b <= highest),
                    "bfly" => (own ^ b, own ^ b <= highest),
                    _ => {
                        let from = lowest | (b & !segment);
                        (from, from <= highest)
                    }
                };
                let from = if within { from } else { own };
                // What a lane that does not take part has is open.
                let takes_part = mask >> from & 1 == 1;
                let value = takes_part.then(|| lanes[from as usize][0] & 0xffff_ffff);
                (value, within)
            });
        }
    }
}

#[test]
fn votes() {
    let few = |seed| {
        let mut lanes = values(seed);
        lanes.iter_mut().for_each(|own| own[0] &= 1);
        lanes
    };
    let mut all = few(1);
    all.iter_mut().for_each(|own| own[0] = 1);
    let mut none = all;
    none.iter_mut().for_each(|own| own[0] = 0);
    for lanes in [few(3), all, none] {
        let holds =
            |lanes: &Lanes, mask| lanes_of(mask).filter(|&i| lanes[i][0] != 0).count() as u32;
        for form in forms_of(VOTES) {
            for sign in ["", "!"] {
                let mode = &form.words[2][..];
                let destination = if mode == "ballot" { "%d" } else { "%q" };
                let instruction = format!("{} {destination}, {sign}%p, %mask;", form.text());
                check(&instruction, 32, &lanes, |_, lanes, mask| {
                    let all = mask.count_ones();
                    let count = match sign {
                        "" => holds(lanes, mask),
                        _ => all - holds(lanes, mask),
                    };
                    match mode {
                        "all" => (Some(0), count == all),
                        "any" => (Some(0), count > 0),
                        "uni" => (Some(0), count == 0 || count == all),
                        _ => {
                            let own =
                                lanes_of(mask).filter(|&i| (lanes[i][0] != 0) == sign.is_empty());
                            (Some(own.map(|i| 1 << i).sum()), false)
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn matches_of_values() {
    let mut some = values(5);
    some.iter_mut()
        .for_each(|own| own[0] = ((own[0] % 3) << 33) | (own[0] % 5));
    let mut one = some;
    one.iter_mut().for_each(|own| own[0] = 77);
    for form in forms_of(MATCHES) {
        let width = if form.has("b64") { 64 } else { 32 };
        for lanes in [some, one] {
            let cut = |own: u64| own & (u64::MAX >> (64 - width));
            let alike = |lane: usize, lanes: &Lanes, mask| -> u64 {
                let same = lanes_of(mask).filter(|&i| cut(lanes[i][0]) == cut(lanes[lane][0]));
                same.map(|i| 1 << i).sum()
            };
            let moved = if width == 64 {
                "cvt.u64.u32 %d, %b;"
            } else {
                "mov.b32 %d, %b;"
            };
            let destination = if form.has("all") { "%b|%q" } else { "%b" };
            let instruction = format!("{} {destination}, %a, %mask;\n{moved}", form.text());
            check(&instruction, width, &lanes, |lane, lanes, mask| {
                let alike = alike(lane, lanes, mask);
                let holds = alike == u64::from(mask);
                if form.has("any") {
                    return (Some(alike), false);
                }
                (Some(if holds { mask.into() } else { 0 }), holds)
            });
        }
    }
}

/// A reduction of the values of a mask's lanes.
fn reduced(
    lanes: &Lanes,
    mask: u32,
    of: impl Fn(i64, i64) -> i64,
    value: impl Fn(u64) -> i64,
) -> u64 {
    let all = lanes_of(mask).map(|i| value(lanes[i][0] & 0xffff_ffff));
    all.reduce(of).unwrap_or(0) as u64 & 0xffff_ffff
}

#[test]
fn reductions_of_integers() {
    let lanes = values(9);
    let signed = |own: u64| i64::from(own as u32 as i32);
    let unsigned = |own: u64| own as i64;
    for form in forms_of(REDUCTIONS) {
        let of: fn(i64, i64) -> i64 = match &form.words[2][..] {
            "add" => i64::wrapping_add,
            "min" => i64::min,
            "max" => i64::max,
            "and" => |a, b| a & b,
            "or" => |a, b| a | b,
            _ => |a, b| a ^ b,
        };
        let value = if form.has("s32") { signed } else { unsigned };
        let instruction = format!("{} %d, %a, %mask;", form.text());
        check(&instruction, 32, &lanes, |_, lanes, mask| {
            (Some(reduced(lanes, mask, of, value)), false)
        });
    }
}

#[test]
fn reductions_of_floats() {
    // Zeros of both signs, NaN, infinities and subnormal numbers among them.
    let special = [
        0,
        0x8000_0000,
        1,
        0x8000_0001,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0001,
    ];
    for count in [0, 6, 7] {
        let mut lanes = values(11);
        for (own, special) in lanes.iter_mut().zip(&special[..count]) {
            own[0] = *special;
        }
        for form in forms_of(FLOATS) {
            let (absolute, nan) = (form.has("abs"), form.has("NaN"));
            {
                let instruction = format!("{} %d, %a, %mask;", form.text());
                check(&instruction, 32, &lanes, |_, lanes, mask| {
                    let all = lanes_of(mask).map(|i| f32::from_bits(lanes[i][0] as u32));
                    let all: Vec<f32> = all
                        .map(|own| if absolute { own.abs() } else { own })
                        .collect();
                    let numbers = all.iter().copied().filter(|own| !own.is_nan());
                    if (nan && all.iter().any(|own| own.is_nan())) || numbers.clone().count() == 0 {
                        return (Some(0x7fff_ffff), false);
                    }
                    // −0 is below +0.
                    let picked = if form.has("min") {
                        numbers.min_by(f32::total_cmp)
                    } else {
                        numbers.max_by(f32::total_cmp)
                    };
                    (picked.map(|own| own.to_bits().into()), false)
                });
            }
        }
    }
}

#[test]
fn who_is_there() {
    let lanes = values(2);
    for form in forms_of(PRESENT) {
        let is_elected = form.words[0] == "elect";
        let operands = if is_elected { "%d|%q, %mask" } else { "%d" };
        let instruction = format!("{} {operands};", form.text());
        check(&instruction, 32, &lanes, |lane, _, mask| {
            let first = mask.trailing_zeros();
            if is_elected {
                (Some(first.into()), lane as u32 == first)
            } else {
                (Some(mask.into()), false)
            }
        });
    }
}

/// Lanes of one instruction that name different masks are groups by themselves.
#[test]
fn groups_of_lanes_with_masks_of_their_own() {
    let eight = |lane: usize| lane & !7;
    let lanes: Lanes = std::array::from_fn(|lane| [lane as u64 * 5 + 1, 0, 0xff << eight(lane)]);
    let shuffled = run(
        "shfl.sync.bfly.b32 %d|%q, %a, 3, 31, %c;",
        32,
        &lanes,
        u32::MAX,
    );
    let summed = run("redux.sync.add.u32 %d, %a, %c;", 32, &lanes, u32::MAX);
    let voted = run(
        "setp.gt.u32 %p, %a, 40;\nvote.sync.ballot.b32 %d, %p, %c;",
        32,
        &lanes,
        u32::MAX,
    );
    for lane in 0..32 {
        assert_eq!(shuffled[lane], (Some(lanes[lane ^ 3][0]), true));
        let own = eight(lane)..eight(lane) + 8;
        let sum = own.clone().map(|other| lanes[other][0]).sum();
        assert_eq!(summed[lane].0, Some(sum));
        let ballot = own.filter(|&other| lanes[other][0] > 40);
        assert_eq!(voted[lane].0, Some(ballot.map(|other| 1 << other).sum()));
    }
}
