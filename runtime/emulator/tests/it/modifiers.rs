//! Instructions in every form that they have, by tables of definitions: numbers in, a number out.

#[path = "modifiers/approximations.rs"]
mod approximations;
#[path = "modifiers/comparisons.rs"]
mod comparisons;
#[path = "modifiers/conversions.rs"]
mod conversions;
#[path = "modifiers/floats.rs"]
mod floats;
#[path = "modifiers/integers.rs"]
mod integers;
#[path = "modifiers/memory.rs"]
mod memory;
#[path = "modifiers/row.rs"]
pub mod row;

use row::{Form, Row, bits};
use std::fmt::Write;
use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};

/// Values of every kind for registers of every width: ends, numbers about powers of two, floats of all classes, noise.
fn samples() -> Vec<[u64; 4]> {
    let special: [u64; 24] = [
        0,
        1,
        2,
        31,
        32,
        33,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0x3c00_3c01,
        0x7bff_8400,
        0xfc00_7e01,
        0x0001_83ff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x3f80_0000,
        0xbf80_0001,
        0x7f80_0000,
        0x0080_0000_8000_0001,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0xffff_ffff_ffff_ffff,
    ];
    let mut state = 1u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    let mut all = Vec::new();
    for a in special {
        for b in special {
            let c = special[(noise() % 24) as usize];
            all.push([a, b, c, noise() % 70]);
        }
    }
    while all.len() < 2048 {
        let a = noise();
        // Numbers near to one another, small ones, and others.
        let near = a ^ noise() >> 42;
        all.push(match all.len() % 4 {
            0 => [a, near, near ^ 1 << 31, noise() % 70],
            1 => [a, noise() % 70, noise() % 70, noise() % 70],
            2 => [a, a ^ 0x8000_0000_8000_8000, noise(), noise() % 70],
            _ => [a, noise(), noise(), noise()],
        });
    }
    all
}

/// A kernel that executes a form on a quadruple of values for each thread.
fn kernel(row: &Row, form: &Form, count: usize) -> String {
    let mut body = String::new();
    for (letter, width) in row::registers_of(row.operands, form) {
        let text = format!("%{letter}{width}");
        let Some(at) = ['a', 'b', 'c', 'e'].iter().position(|own| *own == letter) else {
            continue;
        };
        let _ = writeln!(body, "ld.global.u64 %x, [%in+{}];", 8 * at);
        let _ = match width {
            1 => writeln!(body, "and.b64 %x, %x, 1;\nsetp.ne.u64 {text}, %x, 0;"),
            64 => writeln!(body, "mov.b64 {text}, %x;"),
            _ => writeln!(body, "cvt.u{width}.u64 {text}, %x;"),
        };
    }
    let registers = row::registers_of(row.operands, form);
    let result = registers.iter().find(|(letter, _)| *letter == 'd');
    let &(_, width) = result.expect("a row has a result");
    let result = format!("%d{width}");
    body += &row::statement(row.operands, form);
    body.push('\n');
    let _ = match width {
        1 => writeln!(body, "selp.u64 %x, 1, 0, {result};"),
        64 => writeln!(body, "mov.b64 %x, {result};"),
        _ => writeln!(body, "cvt.u64.u{width} %x, {result};"),
    };
    format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         {}.reg .b64 %in, %out, %x;\n.reg .b32 %i, %t;\n.reg .pred %past;\n\
         ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nmov.u32 %i, %ctaid.x;\nmov.u32 %t, %tid.x;\n\
         mad.lo.u32 %i, %i, 256, %t;\nsetp.ge.u32 %past, %i, {count};\n@%past ret;\n\
         mad.wide.u32 %in, %i, 32, %in;\nmad.wide.u32 %out, %i, 8, %out;\n\
         {body}st.global.u64 [%out], %x;\nret;\n}}",
        row::registers()
    )
}

fn execute(row: &Row, form: &Form, samples: &[[u64; 4]]) -> Vec<u64> {
    let text = kernel(row, form, samples.len());
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let bytes = samples.iter().flatten().flat_map(|word| word.to_le_bytes());
    let input = memory.allocate_with(bytes.collect());
    let output = memory.allocate_with(vec![0; 8 * samples.len()]);
    let ctas = samples.len().div_ceil(256) as u32;
    let grid = Launch::new("main").grid([ctas, 1, 1]).block([256, 1, 1]);
    let report = launch(&program, &mut memory, &grid.u64(input).u64(output)).unwrap();
    assert_eq!(report.findings, [], "{}", form.text());
    let bytes = memory.read_bytes(output, 8 * samples.len()).unwrap();
    let found = bytes
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    found.collect()
}

/// The values as the registers of the row have them.
fn cut(row: &Row, form: &Form, values: [u64; 4]) -> [u64; 4] {
    let mut cut = values;
    for (letter, width) in row::registers_of(row.operands, form) {
        if let Some(at) = ['a', 'b', 'c', 'e'].iter().position(|own| *own == letter) {
            cut[at] &= u64::MAX >> (64 - width);
        }
    }
    cut
}

fn check(rows: &[Row]) {
    let samples = samples();
    let mut wrong = Vec::new();
    for row in rows {
        for form in row.forms() {
            let found = execute(row, &form, &samples);
            let mut decided = 0;
            for (&values, found) in samples.iter().zip(found) {
                let values = cut(row, &form, values);
                let Some(expected) = (row.result)(&form, values) else {
                    continue;
                };
                decided += 1;
                if !floats::same(&form, found, expected) {
                    let [a, b, c, e] = values;
                    wrong.push(format!(
                        "{} of {a:#x}, {b:#x}, {c:#x}, {e:#x}: {found:#x} for {expected:#x}",
                        form.text()
                    ));
                    break;
                }
            }
            assert!(
                decided > 100 || !wrong.is_empty(),
                "{} is hardly tested",
                form.text()
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn integers_and_bits() {
    check(integers::ROWS);
}

#[test]
fn floating_point_numbers() {
    check(floats::ROWS);
}

#[test]
fn approximations_of_functions() {
    let samples = samples();
    for row in approximations::ROWS {
        for form in row.forms() {
            let found = execute(row, &form, &samples);
            for (&values, found) in samples.iter().zip(found) {
                let values = cut(row, &form, values);
                assert!(
                    approximations::near(&form, found, values),
                    "{} of {values:x?}: {found:#x}",
                    form.text()
                );
            }
        }
    }
}

#[test]
fn comparisons_and_selections() {
    check(comparisons::ROWS);
}

#[test]
fn conversions_of_numbers() {
    check(conversions::ROWS);
}

/// Loads, stores and atomics: each thread has a cell.
#[test]
fn accesses_of_memory() {
    let samples = &samples()[512..768];
    let mut wrong = Vec::new();
    for access in memory::ACCESSES {
        for form in access.forms() {
            let found = execute_access(access, &form, samples);
            for (&values, (result, cell)) in samples.iter().zip(found) {
                let mut expected_cell = cell_of(values);
                let expected = (access.result)(&form, &mut expected_cell, values);
                let bytes = bits(form.of()).unwrap() as usize / 8;
                let has_result = !access.operands.starts_with('[');
                let mask = match row::registers_of(access.operands, &form)
                    .iter()
                    .find(|(letter, _)| *letter == 'd')
                {
                    Some((_, width)) => u64::MAX >> (64 - width),
                    None => 0,
                };
                // A NaN in the cell may have any bits.
                let mut cell = cell;
                for element in cell.chunks_mut(bytes).take(memory::count(&form)) {
                    let mut own = [0; 8];
                    own[..bytes].copy_from_slice(element);
                    let canonical = memory::canonical(&form, u64::from_le_bytes(own));
                    element.copy_from_slice(&canonical.to_le_bytes()[..bytes]);
                }
                if cell != expected_cell || (has_result && result & mask != expected & mask) {
                    wrong.push(format!("{} of {values:x?}: {result:#x} for {expected:#x}, {cell:x?} for {expected_cell:x?}", form.text()));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A cell as it is at first.
fn cell_of(values: [u64; 4]) -> Vec<u8> {
    let words = values.into_iter().chain(values.map(|own| !own));
    words.flat_map(u64::to_le_bytes).collect()
}

/// What each thread's `d` and cell become.
fn execute_access(
    access: &memory::Access,
    form: &Form,
    samples: &[[u64; 4]],
) -> Vec<(u64, Vec<u8>)> {
    let space = form.one_of(&["shared", "shared::cta", "local"]);
    let (name, at) = match space {
        Some("local") => ("local", "mov.u64 %at, mine;\n"),
        Some(_) => (
            "shared",
            "mov.u64 %at, all;\nmad.wide.u32 %at, %t, 64, %at;\n",
        ),
        None => ("global", "mov.b64 %at, %own;\n"),
    };
    let copy = |from: &str, to: &str, base: &str, other: &str| -> String {
        (0..8)
            .map(|i| {
                let at = 8 * i;
                format!("ld.{from}.b64 %x, [{base}+{at}];\nst.{to}.b64 [{other}+{at}], %x;\n")
            })
            .collect()
    };
    let mut loads = String::new();
    let operands = row::registers_of(access.operands, form);
    for (letter, width) in operands.iter().filter(|(letter, _)| *letter != 'd') {
        let at = ['a', 'b', 'c', 'e']
            .iter()
            .position(|own| own == letter)
            .unwrap();
        let _ = writeln!(
            loads,
            "ld.global.b{width} %{letter}{width}, [%own+{}];",
            8 * at
        );
    }
    let result = operands.iter().find(|(letter, _)| *letter == 'd');
    let result = match result {
        Some((_, 64)) => "mov.b64 %x, %d64;\n".into(),
        Some((_, width)) => format!("cvt.u64.u{width} %x, %d{width};\n"),
        None => "mov.b64 %x, 0;\n".into(),
    };
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         {}.reg .b64 %own, %out, %x, %cell;\n.reg .b32 %t;\n.local .align 64 .b8 mine[64];\n.shared .align 64 .b8 all[16384];\n\
         ld.param.u64 %own, [p];\nld.param.u64 %out, [q];\nmov.u32 %t, %tid.x;\n\
         mad.wide.u32 %own, %t, 64, %own;\nmad.wide.u32 %out, %t, 72, %out;\n{loads}{at}{}{}\n{result}\
         st.global.b64 [%out], %x;\nadd.u64 %cell, %out, 8;\n{}ret;\n}}",
        row::registers(),
        if name == "global" {
            String::new()
        } else {
            copy("global", name, "%own", "%at")
        },
        row::statement(access.operands, form),
        copy(name, "global", "%at", "%cell"),
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let input = memory.allocate_with(samples.iter().flat_map(|&values| cell_of(values)).collect());
    let output = memory.allocate(72 * samples.len());
    let grid = Launch::new("main").block([samples.len() as u32, 1, 1]);
    let report = launch(&program, &mut memory, &grid.u64(input).u64(output)).unwrap();
    assert_eq!(report.findings, [], "{}", form.text());
    let bytes = memory.read_bytes(output, 72 * samples.len()).unwrap();
    let word = |own: &[u8]| u64::from_le_bytes(own.try_into().unwrap());
    let found = bytes
        .chunks(72)
        .map(|own| (word(&own[..8]), own[8..].to_vec()));
    found.collect()
}

#[test]
fn a_pattern_and_its_forms() {
    let texts: Vec<String> = row::forms("add[.sat|].f[16|32]")
        .iter()
        .map(Form::text)
        .collect();
    assert_eq!(texts, ["add.sat.f16", "add.sat.f32", "add.f16", "add.f32"]);
    assert_eq!(bits("f16x2"), Some(32));
}

/// Sums with carries, of 128 bits by two of 64 and of 64 bits by two of 32.
#[test]
fn carries() {
    let samples = samples();
    let row = |forms| Row {
        forms,
        operands: "",
        result: |_, _| None,
    };
    for (first, second) in [
        ("add.cc[.u32|.s32|.u64|.s64]", "addc[.u32|.s32|.u64|.s64]"),
        ("sub.cc[.u32|.s32|.u64|.s64]", "subc[.u32|.s32|.u64|.s64]"),
        ("addc.cc[.u32|.s32|.u64|.s64]", "addc[.u32|.s32|.u64|.s64]"),
        ("subc.cc[.u32|.s32|.u64|.s64]", "subc[.u32|.s32|.u64|.s64]"),
        ("mad.lo.cc[.u32|.u64]", "madc.hi[.u32|.u64]"),
        ("madc.lo.cc[.u32|.u64]", "madc.hi[.u32|.u64]"),
        ("mad.lo.cc[.s32|.s64]", "madc.hi[.s32|.s64]"),
        ("madc.hi.cc[.u32|.u64]", "madc.lo[.u32|.u64]"),
    ] {
        for (first, second) in row(first).forms().iter().zip(row(second).forms()) {
            let width = bits(first.of()).unwrap();
            let is_product = first.words[0].starts_with("mad");
            // What comes before sets the carry or the borrow, or makes it 0.
            let carries = first.words[0].ends_with('c');
            for before in [0u64, 1] {
                let c = if is_product { ", %c" } else { "" };
                let add = |form: &Form, to: &str, a: &str, b: &str, c: &str| {
                    format!("{} %{to}, %{a}{width}, %{b}{width}{c};\n", form.text())
                };
                let third = |own: &str| {
                    if is_product {
                        format!("{c}{own}")
                    } else {
                        String::new()
                    }
                };
                let begins = if first.words[0] == "subc" {
                    format!("sub.cc.u32 %t, 0, {before};\n")
                } else {
                    format!("add.cc.u32 %t, -1, {before};\n")
                };
                let text = [
                    begins,
                    add(first, "low", "a", "b", &third(&format!("{width}"))),
                    if is_product {
                        format!(
                            "{} %high, %a{width}, %b{width}, %e{width};\n",
                            second.text()
                        )
                    } else {
                        add(&second, "high", "c", "e", "")
                    },
                ];
                let found = execute_pair(&text.concat(), width, &samples);
                for (values, found) in samples.iter().zip(found) {
                    let mask = u64::MAX >> (64 - width);
                    let [a, b, c, e] = values.map(|own| u128::from(own & mask));
                    let carry = if carries { u128::from(before) } else { 0 };
                    let part = |form: &Form| -> u128 {
                        let name = form.of();
                        let [a, b] = [a, b].map(|own| row::integer(name, own as u64));
                        let product = a.wrapping_mul(b);
                        let product = if name.starts_with('u') && width == 64 {
                            (a as u128).wrapping_mul(b as u128)
                                >> if form.has("hi") { 64 } else { 0 }
                        } else if form.has("hi") {
                            (product >> width) as u128
                        } else {
                            product as u128
                        };
                        product & u128::from(mask)
                    };
                    let mask = u128::from(mask);
                    let (low, high) = match &first.words[0][..] {
                        "add" | "addc" => {
                            let low = a + b + carry;
                            (low, c + e + (low >> width))
                        }
                        "sub" | "subc" => {
                            let low = a.wrapping_sub(b).wrapping_sub(carry);
                            let borrow = u128::from(a < b + carry);
                            (low, c.wrapping_sub(e).wrapping_sub(borrow))
                        }
                        _ => {
                            let low = part(first) + c + carry;
                            (low, part(&second) + e + (low >> width))
                        }
                    };
                    let expected = [low & mask, high & mask].map(|own| own as u64);
                    assert_eq!(found, expected, "{text:?} of {values:x?}");
                }
            }
        }
    }
}

/// What some instructions leave in `%low` and `%high` of each quadruple of values.
fn execute_pair(body: &str, width: u32, samples: &[[u64; 4]]) -> Vec<[u64; 2]> {
    let loads: String = ["a", "b", "c", "e"]
        .iter()
        .zip((0..).step_by(8))
        .map(|(letter, at)| format!("ld.global.b{width} %{letter}{width}, [%in+{at}];\n"))
        .collect();
    let text = format!(
        ".version 8.8\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         {}.reg .b64 %in, %out;\n.reg .b32 %i, %t;\n.reg .b{width} %low, %high;\n\
         ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nmov.u32 %i, %ctaid.x;\nmov.u32 %t, %tid.x;\n\
         mad.lo.u32 %i, %i, 256, %t;\nmad.wide.u32 %in, %i, 32, %in;\nmad.wide.u32 %out, %i, 16, %out;\n\
         {loads}{body}st.global.b{width} [%out], %low;\nst.global.b{width} [%out+8], %high;\nret;\n}}",
        row::registers()
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let bytes = samples.iter().flatten().flat_map(|word| word.to_le_bytes());
    let input = memory.allocate_with(bytes.collect());
    let output = memory.allocate_with(vec![0; 16 * samples.len()]);
    let ctas = samples.len() as u32 / 256;
    let grid = Launch::new("main").grid([ctas, 1, 1]).block([256, 1, 1]);
    let report = launch(&program, &mut memory, &grid.u64(input).u64(output)).unwrap();
    assert_eq!(report.findings, [], "{body}");
    let bytes = memory.read_bytes(output, 16 * samples.len()).unwrap();
    let word = |own: &[u8]| u64::from_le_bytes(own.try_into().unwrap());
    let found = bytes
        .chunks(16)
        .map(|own| [word(&own[..8]), word(&own[8..])]);
    found.collect()
}
