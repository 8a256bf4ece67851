//! `tcgen05` in the forms that compilers seldom print: every kind of product, every shape of loads, stores and copies.

use super::tcgen05_kernels::{IMAGE, N, descriptor, kernel, run, words};
use half::{bf16, f16};
use tessera_numerics::ElementFormat;

/// What A or B is made of: its field of the instruction descriptor, the bits of an element, and its number.
struct Element {
    field: u32,
    bits: usize,
    value: fn(u32) -> f64,
    /// The largest number that is used.
    largest: f64,
}

fn low(format: ElementFormat) -> fn(u32) -> f64 {
    match format {
        ElementFormat::E4m3 => |code| ElementFormat::E4m3.decode(code as u8).into(),
        ElementFormat::E5m2 => |code| ElementFormat::E5m2.decode(code as u8).into(),
        ElementFormat::E2m3 => |code| ElementFormat::E2m3.decode(code as u8).into(),
        ElementFormat::E3m2 => |code| ElementFormat::E3m2.decode(code as u8).into(),
        ElementFormat::E2m1 => |code| ElementFormat::E2m1.decode(code as u8).into(),
    }
}

fn formats() -> [Element; 5] {
    let element = |field, format: ElementFormat| Element {
        field,
        bits: format.bits(),
        value: low(format),
        largest: 8.0,
    };
    [
        element(0, ElementFormat::E4m3),
        element(1, ElementFormat::E5m2),
        element(3, ElementFormat::E2m3),
        element(4, ElementFormat::E3m2),
        element(5, ElementFormat::E2m1),
    ]
}

/// Codes of a row of 32 bytes, of numbers up to 8 by units of 1/64 so that sums are exact: 32 products of units of 2^-12 have 23 bits, and the row's bytes: elements one behind
/// the other, of less than eight bits sixteen in sixteen bytes with padding behind them.
fn row(element: &Element, noise: &mut impl Iterator<Item = u32>) -> (Vec<f64>, [u8; 32]) {
    let count = 32 * 8 / element.bits.max(8);
    let mut bytes = [0u8; 32];
    let mut values = Vec::new();
    for i in 0..count {
        let (code, value) = loop {
            let code = noise.next().unwrap() & (u32::MAX >> (32 - element.bits));
            let value = (element.value)(code);
            if value.abs() <= element.largest && (value * 64.0).fract() == 0.0 {
                break (code, value);
            }
        };
        let at = match element.bits {
            4 | 6 => 128 * (i / 16) + element.bits * (i % 16),
            bits => bits * i,
        };
        for bit in 0..element.bits {
            bytes[(at + bit) / 8] |= ((code >> bit & 1) as u8) << ((at + bit) % 8);
        }
        values.push(value);
    }
    (values, bytes)
}

/// The same of a wide format, of which few codes are numbers this short: halves of integers.
fn wide(
    element: &Element,
    of: fn(f32) -> u32,
    noise: &mut impl Iterator<Item = u32>,
) -> (Vec<f64>, [u8; 32]) {
    let bytes_of = element.bits / 8;
    let mut bytes = [0u8; 32];
    let mut values = Vec::new();
    for i in 0..32 / bytes_of {
        let value = (noise.next().unwrap() % 33) as f32 / 2.0 - 8.0;
        let code = of(value).to_le_bytes();
        bytes[i * bytes_of..(i + 1) * bytes_of].copy_from_slice(&code[..bytes_of]);
        values.push(value.into());
    }
    (values, bytes)
}

type Rows = Vec<(Vec<f64>, [u8; 32])>;

/// Shared memory with A at 0 and B at 4096, in rows of sixteen bytes, the second half of K behind all of the first.
fn image(a: &Rows, b: &Rows) -> Vec<u8> {
    let mut image = vec![0; IMAGE];
    for half in 0..2 {
        for (i, (_, bytes)) in a.iter().enumerate() {
            image[2048 * half + 16 * i..][..16].copy_from_slice(&bytes[16 * half..][..16]);
        }
        for (i, (_, bytes)) in b.iter().enumerate() {
            image[4096 + 512 * half + 16 * i..][..16].copy_from_slice(&bytes[16 * half..][..16]);
        }
    }
    image
}

/// A descriptor in a register: of a matrix that begins at a place of shared memory.
fn begin(name: usize, at: u64, fields: u64) -> String {
    format!(
        "mov.u32 %r1, own;\nadd.u32 %r1, %r1, {at};\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %x{name}, %r1;\nor.b64 %x{name}, %x{name}, {fields};\n"
    )
}

const COMMIT: &str =
    "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [done];\n";

/// One product of a kind, of 128 rows and N columns.
fn product(kind: &str, fields: u32, a: &Rows, b: &Rows, expected: impl Fn(f64) -> u32) {
    let idesc = fields | (N as u32 / 8) << 17 | 8 << 24;
    let issue = [
        begin(1, 0, descriptor(2048, 128)),
        begin(2, 4096, descriptor(512, 128)),
        format!(
            "mov.b32 %r4, {idesc};\ntcgen05.mma.cta_group::1.kind::{kind} [%t], %x1, %x2, %r4, %no;\n"
        ),
        COMMIT.into(),
    ];
    let (report, found) = run(&kernel(1, "", &issue.concat()), &image(a, b), 1, 3);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{kind}: {findings:#?}");
    let found = found.expect("all of the result is written");
    for i in 0..128 * N {
        let terms = a[i / N].0.iter().zip(&b[i % N].0).map(|(a, b)| a * b);
        let sum = terms.fold(0.0, |sum, term| sum + term);
        assert_eq!(
            found[i].to_bits(),
            expected(sum),
            "{kind} {fields:#x}: number {i} is {sum}"
        );
    }
}

fn noise(from: usize) -> impl Iterator<Item = u32> {
    words(1 << 20, from).map(|word| word.rotate_left(7))
}

fn single(sum: f64) -> u32 {
    (sum as f32).to_bits()
}

#[test]
fn products_of_every_two_formats() {
    for a_format in formats() {
        for b_format in formats() {
            let mut noise = noise(1);
            let a: Rows = (0..128).map(|_| row(&a_format, &mut noise)).collect();
            let b: Rows = (0..N).map(|_| row(&b_format, &mut noise)).collect();
            let fields = 1 << 4 | a_format.field << 7 | b_format.field << 10;
            product("f8f6f4", fields, &a, &b, single);
        }
    }
}

#[test]
fn products_of_wide_formats() {
    let of = |element: &Element, of: fn(f32) -> u32| -> (Rows, Rows) {
        let mut noise = noise(9);
        let mut rows = |count| (0..count).map(|_| wide(element, of, &mut noise)).collect();
        (rows(128), rows(N))
    };
    let element = |field, bits| Element {
        field,
        bits,
        value: |_| 0.0,
        largest: 8.0,
    };
    let (a, b) = of(&element(2, 32), f32::to_bits);
    product("tf32", 1 << 4 | 2 << 7 | 2 << 10, &a, &b, single);
    let (a, b) = of(&element(0, 16), |x| f16::from_f32(x).to_bits().into());
    product("f16", 1 << 4, &a, &b, single);
    let (a, b) = of(&element(1, 16), |x| bf16::from_f32(x).to_bits().into());
    product("f16", 1 << 4 | 1 << 7 | 1 << 10, &a, &b, single);
}

#[test]
fn products_of_integers() {
    let unsigned = |code: u32| f64::from(code as u8);
    let signed = |code: u32| f64::from(code as u8 as i8);
    for a_is_signed in [false, true] {
        for b_is_signed in [false, true] {
            let element = |is_signed: bool| Element {
                field: u32::from(is_signed),
                bits: 8,
                value: if is_signed { signed } else { unsigned },
                largest: 255.0,
            };
            let (x, y) = (element(a_is_signed), element(b_is_signed));
            let mut noise = noise(4);
            let a: Rows = (0..128).map(|_| row(&x, &mut noise)).collect();
            let b: Rows = (0..N).map(|_| row(&y, &mut noise)).collect();
            let fields = 2 << 4 | x.field << 7 | y.field << 10;
            product("i8", fields, &a, &b, |sum| sum as i32 as u32);
        }
    }
}

#[test]
fn products_with_a_scale_for_32_numbers() {
    for format in formats() {
        let mut noise = noise(2);
        let a: Rows = (0..128).map(|_| row(&format, &mut noise)).collect();
        let b: Rows = (0..N).map(|_| row(&format, &mut noise)).collect();
        let mut scale = || 120 + (noise.next().unwrap() % 12) as u8;
        let x: Vec<u8> = (0..128).map(|_| scale()).collect();
        let y: Vec<u8> = (0..N).map(|_| scale()).collect();
        let mut image = image(&a, &b);
        for (row, &code) in x.iter().enumerate() {
            // Byte 0 of four; rows 32 apart in sixteen bytes.
            image[5120 + row % 32 * 16 + row / 32 * 4] = code;
        }
        for (row, &code) in y.iter().enumerate() {
            image[5632 + row % 32 * 16 + row / 32 * 4] = code;
        }
        let fields = 1 << 23 | format.field << 7 | format.field << 10;
        let idesc = fields | (N as u32 / 8) << 17 | 8 << 24;
        let issue = [
            begin(1, 0, descriptor(2048, 128)),
            begin(2, 4096, descriptor(512, 128)),
            begin(3, 5120, descriptor(0, 128)),
            begin(4, 5632, descriptor(0, 128)),
            "add.u32 %r2, %t, 32;\nadd.u32 %r3, %t, 36;\n".into(),
            "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r2], %x3;\n".into(),
            "tcgen05.cp.cta_group::1.32x128b.warpx4 [%r3], %x4;\n".into(),
            format!(
                "mov.b32 %r4, {idesc};\ntcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.scale_vec::1X [%t], %x1, %x2, %r4, [%r2], [%r3], %no;\n"
            ),
            COMMIT.into(),
        ];
        let (report, found) = run(&kernel(1, "", &issue.concat()), &image, 1, 5);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        let found = found.expect("all of the result is written");
        for i in 0..128 * N {
            let terms = a[i / N].0.iter().zip(&b[i % N].0).map(|(a, b)| a * b);
            let sum = terms.fold(0.0, |sum, term| sum + term);
            let exponent = i32::from(x[i / N]) + i32::from(y[i % N]) - 254;
            assert_eq!(f64::from(found[i]), sum * 2f64.powi(exponent), "number {i}");
        }
    }
}

/// Writes a number of its own to every word, does something, and gives the words of each lane.
fn with_numbers(issue: &str, image: &[u8]) -> Vec<Vec<u32>> {
    let registers: Vec<String> = (0..N).map(|i| format!("%d{i}")).collect();
    let numbers: String = (0..N)
        .map(|i| format!("mad.lo.u32 %d{i}, %thread, 256, {};\n", 0x4000_0000 + i))
        .collect();
    let before = format!(
        "{numbers}and.b32 %r0, %thread, 96;\nshl.b32 %r0, %r0, 16;\nadd.u32 %r0, %r0, %t;\n\
         tcgen05.st.sync.aligned.32x32b.x{N}.b32 [%r0], {{{}}};\ntcgen05.wait::st.sync.aligned;\n\
         tcgen05.fence::before_thread_sync;\nbar.sync 0;\ntcgen05.fence::after_thread_sync;\n",
        registers.join(",")
    );
    let issue = format!("{issue}{COMMIT}");
    let (report, found) = run(&kernel(1, &before, &issue), image, 1, 1);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{issue}: {findings:#?}");
    let found = found.expect("all of the result is written");
    found
        .chunks(N)
        .map(|lane| lane.iter().map(|own| own.to_bits()).collect())
        .collect()
}

#[test]
fn copies_of_every_shape() {
    let image: Vec<u8> = words(IMAGE, 77).map(|word| (word >> 3) as u8).collect();
    // Rows, columns of each, and the lanes that a row goes to (PTX ISA 9.7.16.9.1).
    type Lanes = fn(usize) -> Vec<usize>;
    let shapes: [(&str, usize, usize, Lanes); 6] = [
        ("128x256b", 128, 8, |row| vec![row]),
        ("4x256b", 4, 8, |row| vec![32 * row]),
        ("128x128b", 128, 4, |row| vec![row]),
        ("64x128b.warpx2::02_13", 64, 4, |row| vec![row, row + 64]),
        ("64x128b.warpx2::01_23", 64, 4, |row| {
            vec![row % 32 + row / 32 * 64, row % 32 + row / 32 * 64 + 32]
        }),
        ("32x128b.warpx4", 32, 4, |row| {
            (0..4).map(|warp| 32 * warp + row).collect()
        }),
    ];
    for (shape, rows, columns, lanes) in shapes {
        for (formats, bits) in [("", 8), (".b8x16.b6x16_p32", 6), (".b8x16.b4x16_p64", 4)] {
            let issue = begin(1, 0, descriptor(2048, 128))
                + &format!(
                    "add.u32 %r2, %t, 4;\ntcgen05.cp.cta_group::1.{shape}{formats} [%r2], %x1;\n"
                );
            let found = with_numbers(&issue, &image);
            let mut expected: Vec<Vec<u32>> = (0..128)
                .map(|lane| {
                    (0..N)
                        .map(|i| 256 * lane + 0x4000_0000 + i as u32)
                        .collect()
                })
                .collect();
            for row in 0..rows {
                for piece in 0..columns / 4 {
                    let piece_bytes = &image[2048 * piece + 16 * row..][..16];
                    let all = u128::from_le_bytes(piece_bytes.try_into().unwrap());
                    let bytes: Vec<u8> = (0..16)
                        .map(|i| {
                            let own = (all >> (bits * i)) as u8;
                            // Of four bits in the middle of a byte, of six at its end.
                            match bits {
                                4 => (own & 15) << 2,
                                6 => own & 63,
                                _ => own,
                            }
                        })
                        .collect();
                    for lane in lanes(row) {
                        for (i, word) in bytes.chunks(4).enumerate() {
                            expected[lane][4 + 4 * piece + i] =
                                u32::from_le_bytes(word.try_into().unwrap());
                        }
                    }
                }
            }
            assert_eq!(found, expected, "{shape}{formats}");
        }
    }
}

/// The row and column of a lane's register (PTX ISA 9.7.16.2.3): tensor memory's lanes and words.
fn place(shape: &str, lane: usize, register: usize) -> (usize, usize) {
    let (group, own) = (lane / 4, lane % 4);
    match shape {
        "32x32b" => (lane, register),
        // Four lanes have two words each of two rows, eight apart.
        "16x64b" => (group + 8 * (own % 2), own / 2 + 2 * register),
        "16x128b" => (group + 8 * (register % 2), own + 4 * (register / 2)),
        "16x256b" => {
            let (half, pair) = (register / 2 % 2, register % 2);
            (group + 8 * half, 2 * own + pair + 8 * (register / 4))
        }
        // The second sixteen lanes sixteen columns on.
        _ => (lane % 16, register + lane / 16 * 16),
    }
}

/// Loads and stores of one warp of 32 lanes with numbers in 64 columns.
#[test]
fn loads_and_stores_of_every_shape() {
    let shapes = [
        ("32x32b", 1),
        ("16x64b", 1),
        ("16x128b", 2),
        ("16x256b", 4),
        ("16x32bx2", 1),
    ];
    for (shape, each) in shapes {
        for repetition in [1, 2, 4, 8] {
            for halves in [false, true] {
                let split = shape == "16x32bx2";
                // A rectangle that does not reach into the second one's, or beyond 64 columns.
                if split && halves && repetition == 8 || each * repetition > 16 {
                    continue;
                }
                load_and_store(shape, each * repetition, repetition, halves);
            }
        }
    }
}

fn load_and_store(shape: &str, registers: usize, repetition: usize, halves: bool) {
    let list = |name: &str, count: usize| -> String {
        let all: Vec<String> = (0..count).map(|i| format!("%{name}{i}")).collect();
        all.join(",")
    };
    let distance = if shape == "16x32bx2" { ", 16" } else { "" };
    let pack = |word: &str| {
        if halves {
            format!(".{word}::16b")
        } else {
            String::new()
        }
    };
    let each = |text: &dyn Fn(usize) -> String, count| (0..count).map(text).collect::<String>();
    let text = format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .b32 %t, %lane, %w<64>, %d<32>;\n.reg .b64 %out, %x;\n.shared .b32 slot;\n\
         tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [slot], 64;\nld.shared.b32 %t, [slot];\n\
         mov.u32 %lane, %laneid;\nld.param.u64 %out, [p];\nmad.wide.u32 %out, %lane, 512, %out;\n\
         {}tcgen05.st.sync.aligned.32x32b.x64.b32 [%t], {{{}}};\ntcgen05.wait::st.sync.aligned;\n\
         tcgen05.ld.sync.aligned.{shape}.x{repetition}{}.b32 {{{}}}, [%t]{distance};\ntcgen05.wait::ld.sync.aligned;\n\
         {}{}tcgen05.st.sync.aligned.{shape}.x{repetition}{}.b32 [%t]{distance}, {{{}}};\ntcgen05.wait::st.sync.aligned;\n\
         tcgen05.ld.sync.aligned.32x32b.x64.b32 {{{}}}, [%t];\ntcgen05.wait::ld.sync.aligned;\n{}\
         tcgen05.dealloc.cta_group::1.sync.aligned.b32 %t, 64;\nret;\n}}",
        each(
            &|i| format!("mad.lo.u32 %w{i}, %lane, 65600, {};\n", i + 0x100),
            64
        ),
        list("w", 64),
        pack("pack"),
        list("d", registers),
        each(
            &|i| format!("st.global.b32 [%out+{}], %d{i};\n", 4 * i),
            registers
        ),
        // Other numbers, by lane and register.
        each(
            &|i| format!(
                "mad.lo.u32 %d{i}, %lane, 65792, {};\n",
                0x8000_0000u32 + 0x7000 + i as u32
            ),
            registers
        ),
        pack("unpack"),
        list("d", registers),
        list("w", 64),
        each(
            &|i| format!("st.global.b32 [%out+{}], %w{i};\n", 256 + 4 * i),
            64
        ),
    );
    let program =
        tessera_emulator::Program::new(&tessera_emulator::ptx::Module::parse(&text).unwrap())
            .unwrap();
    let mut memory = tessera_emulator::Global::new();
    let output = memory.allocate(32 * 512);
    let grid = tessera_emulator::Launch::new("main")
        .block([32, 1, 1])
        .u64(output);
    let report = tessera_emulator::launch(&program, &mut memory, &grid).unwrap();
    assert_eq!(report.findings, [], "{shape} x{repetition} {halves}");
    let word = |lane: usize, i: usize| {
        let bytes = memory.read_bytes(output + (512 * lane + 4 * i) as u64, 4);
        bytes
            .ok()
            .map(|own| u32::from_le_bytes(own.try_into().unwrap()))
    };
    let first = |row: usize, column: usize| (row * 65600 + column + 0x100) as u32;
    // With halves a register is the lower halves of two neighbours; the second sixteen lanes begin as many columns on.
    let place = |lane: usize, register: usize| {
        let (row, column) = place(shape, lane, register);
        let on = if shape == "16x32bx2" {
            lane / 16 * 16
        } else {
            0
        };
        (
            row,
            if halves {
                2 * (column - on) + on
            } else {
                column
            },
        )
    };
    // Words as they are behind the store, of halves only the lower ones.
    let mut after: Vec<Vec<Option<u32>>> = (0..32)
        .map(|row| (0..64).map(|column| Some(first(row, column))).collect())
        .collect();
    for lane in 0..32 {
        for register in 0..registers {
            let (row, column) = place(lane, register);
            let loaded = if halves {
                first(row, column) & 0xffff | first(row, column + 1) << 16
            } else {
                first(row, column)
            };
            assert_eq!(
                word(lane, register),
                Some(loaded),
                "{shape} x{repetition} {halves}: {lane} {register}"
            );
            let stored = (lane as u32)
                .wrapping_mul(65792)
                .wrapping_add(0x8000_7000 + register as u32);
            if halves {
                after[row][column] = Some(stored & 0xffff);
                after[row][column + 1] = Some(stored >> 16);
            } else {
                after[row][column] = Some(stored);
            }
        }
    }
    for (lane, words) in after.iter().enumerate() {
        for (column, &expected) in words.iter().enumerate() {
            let found = word(lane, 64 + column);
            // The upper half of a word that a half was put into is not said to be anything.
            let known = found.is_some() || halves;
            assert!(
                known && found.is_none_or(|found| Some(found) == expected),
                "{shape} x{repetition} {halves}: {lane}, {column}: {found:x?} for {expected:x?}"
            );
        }
    }
}
