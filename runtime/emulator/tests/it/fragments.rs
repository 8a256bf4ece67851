//! `mma.sync`, `ldmatrix` and `stmatrix` in every form, against the ISA's layouts of fragments and the product of the
//! matrices (PTX ISA 9.7.14.5).
//!
//! Numbers are small multiples of one half, so that every sum is exact and has one result whatever the order.

use super::modifiers::row::{Form, forms};
use half::{bf16, f16};
use tessera_emulator::{Global, Launch, Program, Report, launch, ptx::Module};
use tessera_numerics::{ElementFormat, ScaleFormat};

/// `mma` as it is written, each type and shape that there is.
pub const PRODUCTS: &[&str] = &[
    "mma.sync.aligned[.m16n8k8|.m16n8k16].row.col[.f16.f16.f16.f16|.f32.f16.f16.f32|.f32.bf16.bf16.f32]",
    "mma.sync.aligned[.m16n8k4|.m16n8k8].row.col.f32.tf32.tf32.f32",
    "mma.sync.aligned[.m8n8k4|.m16n8k4|.m16n8k8|.m16n8k16].row.col.f64.f64.f64.f64",
    "mma.sync.aligned[.m16n8k16|.m16n8k32].row.col.f16[.e4m3|.e5m2][.e4m3|.e5m2].f16",
    "mma.sync.aligned[.m16n8k16|.m16n8k32].row.col.f32[.e4m3|.e5m2][.e4m3|.e5m2].f32",
    "mma.sync.aligned[.m8n8k16|.m16n8k16|.m16n8k32].row.col[.satfinite|].s32[.s8|.u8][.s8|.u8].s32",
    "mma.sync.aligned[.m8n8k32|.m16n8k32|.m16n8k64].row.col[.satfinite|].s32[.s4|.u4][.s4|.u4].s32",
    "mma.sync.aligned[.m8n8k128|.m16n8k128|.m16n8k256].row.col.s32.b1.b1.s32[.and|.xor].popc",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1][.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f16",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1][.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f32",
    "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale[.scale_vec::1X|].f32[.e4m3|.e5m2|.e2m3|.e3m2|.e2m1]\
     [.e4m3|.e5m2|.e2m3|.e3m2|.e2m1].f32.ue8m0",
    "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale[.scale_vec::2X|].f32.e2m1.e2m1.f32.ue8m0",
    "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale[.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0\
     |.scale_vec::4X.f32.e2m1.e2m1.f32.ue8m0|.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3]",
];

/// Loads and stores of matrices.
pub const MOVES: &[&str] = &[
    "ldmatrix.sync.aligned.m8n8[.x1|.x2|.x4][.trans|][.shared|.shared::cta|].b16",
    "ldmatrix.sync.aligned.m8n16[.x1|.x2|.x4][.shared|.shared::cta|].b8x16[.b6x16_p32|.b4x16_p64]",
    "ldmatrix.sync.aligned.m16n16[.x1|.x2].trans[.shared|.shared::cta|][.b8|.b8x16.b6x16_p32|.b8x16.b4x16_p64]",
    "stmatrix.sync.aligned.m8n8[.x1|.x2|.x4][.trans|][.shared|.shared::cta|].b16",
    "stmatrix.sync.aligned.m16n8[.x1|.x2|.x4].trans[.shared|.shared::cta|].b8",
];

/// Numbers that are the same every time.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A number as its bits, and what it is.
type Number = (u64, f64);

/// −2 to 2 by halves; of integers anything.
fn element(name: &str, noise: &mut Noise) -> Number {
    let half = noise.below(9) as f64 / 2.0 - 2.0;
    let low = |format: ElementFormat, noise: &mut Noise| loop {
        let code = noise.below(1 << format.bits());
        let value = f64::from(format.decode(code as u8));
        if value.abs() <= 2.0 && (2.0 * value).fract() == 0.0 {
            return (code, value);
        }
    };
    match name {
        "f16" => (f16::from_f64(half).to_bits().into(), half),
        "bf16" => (bf16::from_f64(half).to_bits().into(), half),
        "tf32" => ((half as f32).to_bits().into(), half),
        "f64" => (half.to_bits(), half),
        "e4m3" => low(ElementFormat::E4m3, noise),
        "e5m2" => low(ElementFormat::E5m2, noise),
        "e2m3" => low(ElementFormat::E2m3, noise),
        "e3m2" => low(ElementFormat::E3m2, noise),
        "e2m1" => low(ElementFormat::E2m1, noise),
        integer => {
            let bits: u32 = integer[1..].parse().expect("a width");
            let code = noise.below(1 << bits);
            let is_negative = integer.starts_with('s') && code >> (bits - 1) == 1;
            let value = code as f64
                - if is_negative {
                    2f64.powi(bits as i32)
                } else {
                    0.0
                };
            (code, value)
        }
    }
}

/// Bits that an element takes in a register, and where in these it stands.
fn container(name: &str, kind: Option<&str>) -> (u32, u32) {
    match name {
        "f64" => (64, 0),
        "tf32" => (32, 0),
        "f16" | "bf16" => (16, 0),
        "b1" => (1, 0),
        "e2m1" if kind.is_some_and(|kind| kind.ends_with("f8f6f4")) => (8, 2),
        "e2m1" | "s4" | "u4" => (4, 0),
        _ => (8, 0),
    }
}

/// The registers of A or B: `at` is the row or column and the place along k of a lane's number.
fn registers(
    numbers: usize,
    (bits, shift): (u32, u32),
    at: impl Fn(usize, usize) -> u64,
) -> Vec<[u64; 32]> {
    let each = (32 / bits).max(1) as usize;
    let mut all = vec![[0; 32]; numbers / each];
    for (lane, i) in (0..32).flat_map(|lane| (0..numbers).map(move |i| (lane, i))) {
        all[i / each][lane] |= at(lane, i) << ((i % each) as u32 * bits + shift);
    }
    all
}

/// One form of `mma`.
struct Product {
    form: Form,
    m: usize,
    n: usize,
    k: usize,
    /// Of D and C, of A, of B.
    types: [String; 3],
    kind: Option<&'static str>,
    /// The scales' type, and how many a row has.
    scales: Option<(ScaleFormat, usize)>,
}

impl Product {
    fn new(form: Form) -> Self {
        let shape = form.words.iter().find_map(|word| {
            let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
            let (n, k) = rest.split_once('k')?;
            Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?])
        });
        let [m, n, k] = shape.expect("a shape");
        let is_type = |word: &&String| {
            let name = word.as_str();
            matches!(
                name,
                "f16" | "bf16" | "f32" | "tf32" | "f64" | "s32" | "s8" | "u8" | "s4" | "u4" | "b1"
            ) || (name.len() == 4 && name.starts_with('e') && name.contains('m'))
        };
        let types: Vec<String> = form.words.iter().filter(is_type).cloned().collect();
        let [d, a, b, _] = &types[..] else {
            panic!("{} has four types", form.text());
        };
        let types = [d.clone(), a.clone(), b.clone()];
        let kinds = [
            "kind::f8f6f4",
            "kind::mxf8f6f4",
            "kind::mxf4",
            "kind::mxf4nvf4",
        ];
        let kind = form.one_of(&kinds);
        let format = if form.has("ue4m3") {
            ScaleFormat::E4m3
        } else {
            ScaleFormat::E8m0
        };
        let blocks = match (kind, form.one_of(&["scale_vec::4X", "scale_vec::2X"])) {
            (_, Some("scale_vec::4X")) => 4,
            (_, Some(_)) | (Some("kind::mxf4"), None) => 2,
            _ => 1,
        };
        let scales = form.has("block_scale").then_some((format, blocks));
        Self {
            form,
            m,
            n,
            k,
            types,
            kind,
            scales,
        }
    }

    /// Row and k of a lane's number `i` of A.
    fn of_a(&self, lane: usize, i: usize) -> (usize, usize) {
        let each = (32 / container(&self.types[1], self.kind).0).max(1) as usize;
        let (register, halves) = (i / each, self.m / 8);
        let row = lane / 4 + 8 * (register % halves);
        (row, (register / halves * 4 + lane % 4) * each + i % each)
    }

    /// k and column of a lane's number `i` of B.
    fn of_b(&self, lane: usize, i: usize) -> (usize, usize) {
        let each = (32 / container(&self.types[2], self.kind).0).max(1) as usize;
        ((i / each * 4 + lane % 4) * each + i % each, lane / 4)
    }

    /// Row and column of a lane's number `i` of C and D.
    fn of_d(lane: usize, i: usize) -> (usize, usize) {
        (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2)
    }

    /// A number of C.
    fn addend(&self, noise: &mut Noise) -> Number {
        let quarter = noise.below(129) as f64 / 4.0 - 16.0;
        match &self.types[0][..] {
            "f16" => (f16::from_f64(quarter).to_bits().into(), quarter),
            "f32" => ((quarter as f32).to_bits().into(), quarter),
            "f64" => (quarter.to_bits(), quarter),
            _ => {
                // Near where sums leave the range, and elsewhere.
                let value = match noise.below(4) {
                    0 => i32::MAX - noise.below(3000) as i32,
                    1 => i32::MIN + noise.below(3000) as i32,
                    _ => noise.below(1 << 20) as i32 - (1 << 19),
                };
                (u64::from(value as u32), value.into())
            }
        }
    }

    /// The bits of a sum.
    fn result(&self, sum: f64) -> u64 {
        match &self.types[0][..] {
            "f16" => f16::from_f64(sum).to_bits().into(),
            "f32" => (sum as f32).to_bits().into(),
            "f64" => sum.to_bits(),
            _ if self.form.has("satfinite") => {
                u64::from((sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32) as u32)
            }
            _ => u64::from(sum as i64 as u32),
        }
    }

    /// Executes the form with numbers and selectors of scales, and compares.
    fn check(&self, noise: &mut Noise, [a_byte, a_thread, b_byte, b_thread]: [usize; 4]) {
        let (m, n, k) = (self.m, self.n, self.k);
        let mut matrix = |name: &str, rows: usize, columns: usize| -> Vec<Vec<Number>> {
            let row = |_| (0..columns).map(|_| element(name, noise)).collect();
            (0..rows).map(row).collect()
        };
        let (a, b) = (matrix(&self.types[1], m, k), matrix(&self.types[2], k, n));
        let c: Vec<Vec<Number>> = (0..m)
            .map(|_| (0..n).map(|_| self.addend(noise)).collect())
            .collect();
        let d_bits = match &self.types[0][..] {
            "f16" => 16,
            "f64" => 64,
            _ => 32,
        };
        let a_registers = registers(
            m * k / 32,
            container(&self.types[1], self.kind),
            |lane, i| {
                let (row, k) = self.of_a(lane, i);
                a[row][k].0
            },
        );
        let b_registers = registers(
            k * n / 32,
            container(&self.types[2], self.kind),
            |lane, i| {
                let (k, column) = self.of_b(lane, i);
                b[k][column].0
            },
        );
        let c_registers = registers(m * n / 32, (d_bits, 0), |lane, i| {
            let (row, column) = Self::of_d(lane, i);
            c[row][column].0
        });
        // Of every lane and byte another scale, 1/2 to 4.
        let mut scale = || match self.scales {
            Some((ScaleFormat::E4m3, _)) => 0x30 + noise.below(25),
            _ => 126 + noise.below(4),
        };
        let mut of_lanes = || -> [u64; 32] {
            std::array::from_fn(|_| (0..4).fold(0, |word, byte| word | scale() << (8 * byte)))
        };
        let scales = [of_lanes(), of_lanes()];
        let value = |side: usize, lane: usize, byte: usize| {
            let code = (scales[side][lane] >> (8 * byte)) as u8;
            let (format, _) = self.scales.expect("it has scales");
            f64::from(format.decode(code))
        };
        let blocks = self.scales.map_or(1, |(_, blocks)| blocks);
        let expected = |row: usize, column: usize| {
            let terms = (0..k).map(|k_| {
                let (a, b) = (a[row][k_].1, b[k_][column].1);
                let product = if self.form.has("xor") {
                    f64::from(u8::from(a != b))
                } else {
                    a * b
                };
                if self.scales.is_none() {
                    return product;
                }
                // A's scales of a row are in a pair of lanes of four, of rows from 8 on in the second; B's of a column in one.
                let block = k_ / (k / blocks);
                let a_lane = 4 * (row % 8) + 2 * a_thread + row / 8;
                let b_lane = 4 * column + b_thread;
                product * value(0, a_lane, a_byte + block) * value(1, b_lane, b_byte + block)
            });
            self.result(c[row][column].1 + terms.sum::<f64>())
        };
        let wanted = registers(m * n / 32, (d_bits, 0), |lane, i| {
            let (row, column) = Self::of_d(lane, i);
            expected(row, column)
        });
        let mut operands = [a_registers, b_registers, c_registers].to_vec();
        let mut selectors = String::new();
        if self.scales.is_some() {
            operands.push(scales.to_vec());
            selectors = format!(", %s0, {{{a_byte}, {a_thread}}}, %s1, {{{b_byte}, {b_thread}}}");
        }
        let wide = if d_bits == 64 { 64 } else { 32 };
        let found = execute(&self.form.text(), wide, &operands, wanted.len(), &selectors);
        assert_eq!(found, wanted, "{}{selectors}", self.form.text());
    }
}

/// Registers `{%x0, %x1, …}`.
fn vector(name: char, count: usize) -> String {
    let all: Vec<String> = (0..count).map(|i| format!("%{name}{i}")).collect();
    format!("{{{}}}", all.join(", "))
}

/// What D's registers are in each lane, of A's, B's, C's and, perhaps, the scales'.
pub fn execute(
    instruction: &str,
    bits: u32,
    operands: &[Vec<[u64; 32]>],
    results: usize,
    behind: &str,
) -> Vec<[u64; 32]> {
    let names = ['a', 'b', 'c', 's'];
    let declare = |name: char, count: usize| format!(".reg .b{bits} %{name}<{}>;\n", count.max(1));
    let mut text = String::from(
        ".version 9.1\n.target sm_120a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {\n\
         .reg .b64 %in, %out;\n.reg .b32 %t;\n",
    );
    for (name, own) in names.into_iter().zip(operands) {
        text += &declare(name, own.len());
    }
    text += &declare('d', results);
    text += "ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nmov.u32 %t, %tid.x;\n\
             mad.wide.u32 %in, %t, 8, %in;\nmad.wide.u32 %out, %t, 8, %out;\n";
    let mut content = Vec::new();
    for (name, own) in names.into_iter().zip(operands) {
        for (i, lanes) in own.iter().enumerate() {
            text += &format!("ld.global.b{bits} %{name}{i}, [%in+{}];\n", content.len());
            content.extend(lanes.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    text += &format!(
        "{instruction} {}, {}, {}, {}{behind};\n",
        vector('d', results),
        vector('a', operands[0].len()),
        vector('b', operands[1].len()),
        vector('c', operands[2].len()),
    );
    for i in 0..results {
        let at = 256 * i;
        text += &format!("st.global.b64 [%out+{at}], 0;\nst.global.b{bits} [%out+{at}], %d{i};\n");
    }
    let (report, bytes) = run(&(text + "ret;\n}"), content, 256 * results);
    assert_eq!(report.findings, [], "{instruction}");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let of = |i: usize| std::array::from_fn(|lane| word(256 * i + 8 * lane));
    (0..results).map(of).collect()
}

/// A warp that gets bytes and gives so many.
fn run(text: &str, content: Vec<u8>, results: usize) -> (Report, Vec<u8>) {
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let input = memory.allocate_with(content);
    let output = memory.allocate(results);
    let grid = Launch::new("main").block([32, 1, 1]).u64(input).u64(output);
    let report = launch(&program, &mut memory, &grid).unwrap();
    let bytes = memory.read_bytes(output, results);
    (report, bytes.unwrap_or_default().to_vec())
}

#[test]
fn products() {
    let mut noise = Noise(1);
    let all = PRODUCTS.iter().flat_map(|pattern| forms(pattern));
    for form in all {
        let product = Product::new(form);
        let Some((_, blocks)) = product.scales else {
            product.check(&mut noise, [0; 4]);
            continue;
        };
        // Scales of a row begin at a byte that is a multiple of how many they are.
        for place in 0..4 {
            let byte = |at: usize| at * blocks % 4;
            product.check(&mut noise, [byte(place), place % 2, byte(place + 1), place]);
        }
    }
}

/// Where lane `i`'s address points: the rows of matrices, in no order.
fn place(i: usize) -> usize {
    16 * ((7 * i + 3) % 32)
}

/// A kernel with 512 bytes of shared memory, of which each lane fills sixteen; `%row` is the address of a lane's row, whose
/// offset comes with the bytes.
fn kernel(body: &str, is_generic: bool) -> String {
    let to_generic = if is_generic {
        "cvta.shared.u64 %row, %row;\n"
    } else {
        ""
    };
    format!(
        ".version 9.1\n.target sm_120a\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {{\n\
         .reg .b64 %in, %out, %row, %own;\n.reg .b32 %t, %r<4>;\n.shared .align 16 .b8 tile[512];\n\
         ld.param.u64 %in, [p];\nld.param.u64 %out, [q];\nmov.u32 %t, %tid.x;\nmad.wide.u32 %in, %t, 32, %in;\n\
         mad.wide.u32 %out, %t, 16, %out;\nmov.u64 %own, tile;\nmad.wide.u32 %own, %t, 16, %own;\n\
         ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%in];\nld.global.b64 %row, [%in+16];\n{{\n.reg .b64 %base;\n\
         mov.u64 %base, tile;\nadd.u64 %row, %row, %base;\n}}\n{to_generic}{body}\
         st.global.v4.b32 [%out], {{%r0, %r1, %r2, %r3}};\nret;\n}}"
    )
}

/// Each lane's sixteen bytes and the offset of its row; of lanes whose address nobody asks for one that is nowhere.
fn lanes(bytes: &[u8], rows: usize) -> Vec<u8> {
    let of = |lane: usize| {
        let offset = if lane < rows { place(lane) } else { 0xfff_ffff };
        let own = bytes[16 * lane..16 * lane + 16].to_vec();
        [own, (offset as u64).to_le_bytes().to_vec(), vec![0; 8]].concat()
    };
    (0..32).flat_map(of).collect()
}

#[test]
fn loads_and_stores_of_matrices() {
    let mut noise = Noise(2);
    for form in MOVES.iter().flat_map(|pattern| forms(pattern)) {
        let bytes: Vec<u8> = (0..512).map(|_| noise.next() as u8).collect();
        let count = [1, 2, 4][["x1", "x2", "x4"]
            .iter()
            .position(|own| form.has(own))
            .unwrap()];
        let is_generic = form.one_of(&["shared", "shared::cta"]).is_none();
        // Row and column of each half of a lane's register.
        let at = |lane: usize, half: usize| {
            let (first, second) = (lane / 4, 2 * (lane % 4) + half);
            if form.has("trans") {
                (second, first)
            } else {
                (first, second)
            }
        };
        let loads = form.words[0] == "ldmatrix";
        let text = form.text();
        let vector = |name: char, count: usize| {
            vector(name, if form.has("m16n16") { 2 * count } else { count })
        };
        let body = if loads {
            let fill = "st.shared.v4.b32 [%own], {%r0, %r1, %r2, %r3};\nbar.sync 0;\nmov.b32 %r0, 0;\nmov.b32 %r1, 0;\n\
                        mov.b32 %r2, 0;\nmov.b32 %r3, 0;\n";
            format!("{fill}{text} {}, [%row];\n", vector('r', count))
        } else {
            // What no row is stored over stays.
            let fill = "st.shared.v4.b32 [%own], {%t, %t, %t, %t};\nbar.sync 0;\n";
            let back = "bar.sync 0;\nld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%own];\n";
            format!("{fill}{text} [%row], {};\n{back}", vector('r', count))
        };
        let rows = if form.has("m16n16") { 16 } else { 8 };
        let count = count * rows / 8;
        let (report, found) = run(&kernel(&body, is_generic), lanes(&bytes, 8 * count), 512);
        assert_eq!(report.findings, [], "{text}");
        let mut expected = vec![0; 512];
        if !loads {
            for (lane, own) in expected.chunks_mut(16).enumerate() {
                own.copy_from_slice(&[lane as u8, 0, 0, 0].repeat(4));
            }
        }
        for (matrix, lane) in (0..count).flat_map(|matrix| (0..32).map(move |lane| (matrix, lane)))
        {
            let register = 16 * lane + 4 * matrix;
            if form.has("m16n8") {
                // Bytes of the fragment of a 16×8 matrix: rows ⌊lane/4⌋ and 8 behind it, columns 2·(lane mod 4) and the next;
                // columns become rows of sixteen bytes.
                for i in 0..4 {
                    let (row, column) = (lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2);
                    expected[place(8 * matrix + column) + row] = bytes[register + i];
                }
                continue;
            }
            if form.has("m16n16") {
                // Number ⌊lane/4⌋, of every second register that 8 behind it, of rows 4·(lane mod 4) to the third behind it.
                let bits = match form.one_of(&["b8", "b6x16_p32"]) {
                    Some("b8") => 8,
                    Some(_) => 6,
                    None => 4,
                };
                let from = bits * (lane / 4 + 8 * (matrix % 2));
                for i in 0..4 {
                    let row = place(16 * (matrix / 2) + 4 * (lane % 4) + i);
                    let bit = |place: usize| bytes[row + place / 8] >> (place % 8) & 1;
                    expected[register + i] = (0..bits).fold(0, |code, j| code | bit(from + j) << j);
                }
                continue;
            }
            if form.has("b8x16") {
                // Four of the sixteen numbers of row ⌊lane/4⌋, each in a byte.
                let bits = if form.has("b6x16_p32") { 6 } else { 4 };
                let row = place(8 * matrix + lane / 4);
                for i in 0..4 {
                    let from = bits * (4 * (lane % 4) + i);
                    let bit = |place: usize| bytes[row + place / 8] >> (place % 8) & 1;
                    expected[register + i] = (0..bits).fold(0, |code, j| code | bit(from + j) << j);
                }
                continue;
            }
            for half in 0..2 {
                let (row, column) = at(lane, half);
                let (shared, own) = (place(8 * matrix + row) + 2 * column, register + 2 * half);
                for byte in 0..2 {
                    if loads {
                        expected[own + byte] = bytes[shared + byte];
                    } else {
                        expected[shared + byte] = bytes[own + byte];
                    }
                }
            }
        }
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_not_modelled_is_named() {
    let refused = |instruction: &str| {
        let body = format!("{instruction}\n");
        let (report, _) = run(&kernel(&body, false), lanes(&[0; 512], 32), 512);
        let finding = report.findings.first();
        finding.map(ToString::to_string).unwrap_or_default()
    };
    for (name, operands, reason) in [
        (
            "mma.sync.aligned.m8n8k4.row.col.f16.f16.f16.f32",
            "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r2,%r3}, {%r0,%r1,%r2,%r3,%r0,%r1,%r2,%r3}",
            "gives f32 where C is f32",
        ),
        (
            "mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.popc",
            "{%r0,%r1}, {%r0}, {%r1}, {%r2,%r3}",
            "multiplies bits by .and.popc or .xor.popc, and nothing else so",
        ),
        (
            "mma.sync.aligned.m16n8k16.row.col.satfinite.f32.f16.f16.f32",
            "{%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3}",
            "has the modifier .satfinite, which is not modelled",
        ),
        (
            "ldmatrix.sync.aligned.m16n16.x1.shared.b8",
            "{%r0,%r1}, [%row]",
            "with .m16n16 is .trans",
        ),
        (
            "ldmatrix.sync.aligned.m16n16.x4.trans.shared.b8",
            "{%r0,%r1,%r2,%r3,%r0,%r1,%r2,%r3}, [%row]",
            "has more rows than lanes",
        ),
        (
            "stmatrix.sync.aligned.m16n8.x1.shared.b8",
            "[%row], {%r0}",
            "with .m16n8 is .trans",
        ),
        (
            "ldmatrix.sync.aligned.m8n16.x1.trans.shared.b8x16.b6x16_p32",
            "{%r0}, [%row]",
            "has no numbers of these with .m8n16",
        ),
    ] {
        let found = refused(&format!("{name} {operands};"));
        assert!(found.contains(name) && found.contains(reason), "{found}");
    }
}
