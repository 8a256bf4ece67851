//! `tcgen05.ld` and `tcgen05.st` in every form, against the figures of lanes and registers (PTX ISA 9.7.16.2.3).
//!
//! Every word of tensor memory has a number of its own before, and so has every register that is stored.

use super::modifiers::row::forms;
use tessera_emulator::{FindingKind, Global, Launch, Program, launch, ptx::Module};

/// Loads, with the stores of the same shapes.
pub const LOADS: &[&str] = &[
    "tcgen05.ld.sync.aligned[.32x32b|.16x64b|.16x32bx2][.x1|.x2|.x4|.x8|.x16|.x32|.x64|.x128][.pack::16b|].b32",
    "tcgen05.ld.sync.aligned.16x128b[.x1|.x2|.x4|.x8|.x16|.x32|.x64][.pack::16b|].b32",
    "tcgen05.ld.sync.aligned.16x256b[.x1|.x2|.x4|.x8|.x16|.x32][.pack::16b|].b32",
];

/// Stores.
pub const STORES: &[&str] = &[
    "tcgen05.st.sync.aligned[.32x32b|.16x64b|.16x32bx2][.x1|.x2|.x4|.x8|.x16|.x32|.x64|.x128][.unpack::16b|].b32",
    "tcgen05.st.sync.aligned.16x128b[.x1|.x2|.x4|.x8|.x16|.x32|.x64][.unpack::16b|].b32",
    "tcgen05.st.sync.aligned.16x256b[.x1|.x2|.x4|.x8|.x16|.x32][.unpack::16b|].b32",
];

/// What loads and stores are waited for by.
pub const WAITS: &[&str] = &["tcgen05[.wait::ld|.wait::st].sync.aligned"];

/// Columns of tensor memory: all that there are.
const COLUMNS: usize = 512;

/// A form of a load, and of a store where it is one.
struct Form {
    text: String,
    shape: String,
    /// Registers of a lane.
    registers: usize,
    /// Whether a register is the lower halves of two words.
    halves: bool,
}

impl Form {
    fn all(patterns: &[&str]) -> Vec<Self> {
        let all = patterns.iter().flat_map(|pattern| forms(pattern));
        all.map(|form| {
            let shape = form.words[4].clone();
            let repetition: usize = form.words[5][1..].parse().expect("a repetition");
            let each = match &shape[..] {
                "16x128b" => 2,
                "16x256b" => 4,
                _ => 1,
            };
            Self {
                text: form.text(),
                registers: each * repetition,
                halves: form.has("pack::16b") || form.has("unpack::16b"),
                shape,
            }
        })
        .collect()
    }

    fn is_split(&self) -> bool {
        self.shape == "16x32bx2"
    }

    /// Columns from the first rectangle of two to the second: they stand side by side, with one column between them where
    /// there is room.
    fn distance(&self) -> usize {
        let columns = (1 + usize::from(self.halves)) * self.registers;
        (columns + 1).min(COLUMNS - columns)
    }

    /// The row and column of a lane's register, of halves the first of two columns.
    fn place(&self, lane: usize, register: usize) -> (usize, usize) {
        let (group, own) = (lane / 4, lane % 4);
        let (row, column) = match &self.shape[..] {
            "32x32b" => (lane, register),
            // Four lanes have two words each of two rows, eight apart.
            "16x64b" => (group + 8 * (own % 2), own / 2 + 2 * register),
            "16x128b" => (group + 8 * (register % 2), own + 4 * (register / 2)),
            "16x256b" => {
                let (half, pair) = (register / 2 % 2, register % 2);
                (group + 8 * half, 2 * own + pair + 8 * (register / 4))
            }
            _ => (lane % 16, register),
        };
        let column = if self.halves { 2 * column } else { column };
        let on = match lane / 16 {
            1 if self.is_split() => self.distance(),
            _ => 0,
        };
        (row, column + on)
    }
}

fn list(name: &str, count: usize) -> String {
    let all: Vec<String> = (0..count).map(|i| format!("%{name}{i}")).collect();
    all.join(",")
}

/// Of loads and of stores.
fn waits() -> [String; 2] {
    let all: Vec<String> = forms(WAITS[0])
        .iter()
        .map(|form| form.text() + ";\n")
        .collect();
    all.try_into().expect("two forms")
}

/// Executes some lines in the second warp of a CTA, whose 32 lanes of tensor memory have [`before`] in them, and gives the first
/// registers `%d` of each lane and then all words of each row.
fn run(body: &str, registers: usize) -> (Vec<Vec<u32>>, Vec<Vec<Option<u32>>>) {
    let [of_loads, of_stores] = waits();
    let words = registers + COLUMNS;
    let quarter = |each: &dyn Fn(usize) -> String| (0..COLUMNS / 128).map(each).collect::<String>();
    let all = list("w", 128);
    let numbers = |from: usize| -> String {
        let each = (from..from + 128).enumerate();
        each.map(|(i, column)| format!("mad.lo.u32 %w{i}, %lane, 65600, {};\n", column + 0x100))
            .collect()
    };
    let fill = quarter(&|i| {
        let at = 128 * i;
        format!(
            "{}tcgen05.st.sync.aligned.32x32b.x128.b32 [%t+{at}], {{{all}}};\n",
            numbers(at)
        )
    });
    let put = |name: &str, count: usize, at: usize| -> String {
        (0..count)
            .map(|i| format!("st.global.b32 [%out+{}], %{name}{i};\n", 4 * (at + i)))
            .collect()
    };
    let read = quarter(&|i| {
        let at = 128 * i;
        format!(
            "tcgen05.ld.sync.aligned.32x32b.x128.b32 {{{all}}}, [%t+{at}];\n{of_loads}{}",
            put("w", 128, registers + at)
        )
    });
    let text = format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p;\n.reg .b32 %t, %first, %thread, %lane, %w<128>, %d<128>;\n.reg .b64 %out;\n.shared .b32 slot;\n\
         mov.u32 %thread, %tid.x;\nsetp.lt.u32 %p, %thread, 32;\n\
         @%p tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [slot], {COLUMNS};\n\
         bar.sync 0;\nld.shared.b32 %t, [slot];\n@%p bra END;\n\
         mov.u32 %lane, %laneid;\nld.param.u64 %out, [p];\nmad.wide.u32 %out, %lane, {}, %out;\n\
         add.u32 %t, %t, 0x200000;\n\
         {fill}{of_stores}{body}{}{read}END:\nbar.sync 0;\n\
         @%p tcgen05.dealloc.cta_group::1.sync.aligned.b32 %t, {COLUMNS};\nret;\n}}",
        4 * words,
        put("d", registers, 0),
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let output = memory.allocate(32 * 4 * words);
    let grid = Launch::new("main").block([64, 1, 1]).u64(output);
    let mut report = launch(&program, &mut memory, &grid).unwrap();
    // Halves that are not said to be anything are stored to be told of.
    let is_result = |kind: &FindingKind| matches!(kind, FindingKind::UninitialisedResult { .. });
    report.findings.retain(|found| !is_result(&found.kind));
    assert_eq!(report.findings, [], "{body}");
    let word = |i: usize| {
        let bytes = memory.read_bytes(output + 4 * i as u64, 4).ok();
        bytes.map(|own| u32::from_le_bytes(own.try_into().unwrap()))
    };
    let found = |lane: usize, i: usize| word(words * lane + i);
    let loaded = (0..32).map(|lane| {
        let each = (0..registers).map(|i| found(lane, i));
        each.map(|own| own.expect("a loaded word is one that was written"))
            .collect()
    });
    let rows = (0..32).map(|lane| (0..COLUMNS).map(|i| found(lane, registers + i)).collect());
    (loaded.collect(), rows.collect())
}

/// What a row's column has before, whose halves are both of row and column.
fn before(row: usize, column: usize) -> u32 {
    (row * 65600 + column + 0x100) as u32
}

/// What a lane's register has that is stored.
fn stored(lane: usize, register: usize) -> u32 {
    0x8000_7000 + (lane * 65792 + register) as u32
}

#[test]
fn loads_of_every_form() {
    let [of_loads, _] = waits();
    for form in Form::all(LOADS) {
        // Shapes of sixteen lanes reach the lower or the upper half of the warp's; here the upper.
        let upper = if form.shape == "32x32b" { 0 } else { 16 };
        let distance = match form.is_split() {
            true => format!(", {}", form.distance()),
            false => String::new(),
        };
        let body = format!(
            "add.u32 %first, %t, {};\n{} {{{}}}, [%first]{distance};\n{of_loads}",
            upper << 16,
            form.text,
            list("d", form.registers)
        );
        let (loaded, rows) = run(&body, form.registers);
        for lane in 0..32 {
            for (register, &found) in loaded[lane].iter().enumerate() {
                let (row, column) = form.place(lane, register);
                let row = row + upper;
                let expected = if form.halves {
                    before(row, column) & 0xffff | before(row, column + 1) << 16
                } else {
                    before(row, column)
                };
                assert_eq!(found, expected, "{}: {lane} {register}", form.text);
            }
            for (column, &found) in rows[lane].iter().enumerate() {
                assert_eq!(found, Some(before(lane, column)), "{}", form.text);
            }
        }
    }
}

#[test]
fn stores_of_every_form() {
    let [_, of_stores] = waits();
    for form in Form::all(STORES) {
        let distance = match form.is_split() {
            true => format!(", {}", form.distance()),
            false => String::new(),
        };
        let numbers = (0..form.registers).map(|i| {
            let first = stored(0, i);
            format!("mad.lo.u32 %d{i}, %lane, 65792, {first};\n")
        });
        let body = format!(
            "{}{} [%t]{distance}, {{{}}};\n{of_stores}",
            numbers.collect::<String>(),
            form.text,
            list("d", form.registers)
        );
        let (_, rows) = run(&body, 0);
        let mut expected: Vec<Vec<u32>> = (0..32)
            .map(|row| (0..COLUMNS).map(|column| before(row, column)).collect())
            .collect();
        // Of a word into which a half was put the upper half is not said to be anything.
        let mut is_half = vec![[false; COLUMNS]; 32];
        for lane in 0..32 {
            for register in 0..form.registers {
                let (row, column) = form.place(lane, register);
                let value = stored(lane, register);
                if form.halves {
                    expected[row][column] = value & 0xffff;
                    expected[row][column + 1] = value >> 16;
                    is_half[row][column] = true;
                    is_half[row][column + 1] = true;
                } else {
                    expected[row][column] = value;
                }
            }
        }
        for row in 0..32 {
            for column in 0..COLUMNS {
                let what = format!("{}: row {row}, column {column}", form.text);
                let found = rows[row][column];
                match is_half[row][column] {
                    true => assert!(
                        found.is_none_or(|found| found & 0xffff == expected[row][column]),
                        "{what}"
                    ),
                    false => assert_eq!(found, Some(expected[row][column]), "{what}"),
                }
            }
        }
    }
}

/// That the halves which `.unpack::16b` stores are there, as `.pack::16b` loads them.
#[test]
fn halves_that_are_stored_are_loaded() {
    let [of_loads, of_stores] = waits();
    for store in Form::all(STORES).iter().filter(|form| form.halves) {
        let distance = match store.is_split() {
            true => format!(", {}", store.distance()),
            false => String::new(),
        };
        let registers = list("d", store.registers);
        let numbers = (0..store.registers).map(|i| {
            let first = stored(0, i);
            format!("mad.lo.u32 %d{i}, %lane, 65792, {first};\n")
        });
        let load = store
            .text
            .replace(".st.", ".ld.")
            .replace(".unpack", ".pack");
        let body = format!(
            "{}{} [%t]{distance}, {{{registers}}};\n{of_stores}\
             {load} {{{registers}}}, [%t]{distance};\n{of_loads}",
            numbers.collect::<String>(),
            store.text,
        );
        let (loaded, _) = run(&body, store.registers);
        for (lane, registers) in loaded.iter().enumerate() {
            for (register, &found) in registers.iter().enumerate() {
                assert_eq!(found, stored(lane, register), "{}", store.text);
            }
        }
    }
}
