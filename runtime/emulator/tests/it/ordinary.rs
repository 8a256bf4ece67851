//! Instructions of each lane's values, one by one: what the PTX ISA says of them, in numbers.

use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};

/// Executes instructions one behind the other, each followed by a store of what it leaves in `%r0`, `%rd0`, `%h0` or `%p0`, by
/// the first of these that it names: these values.
fn results(instructions: &[&str]) -> Vec<u64> {
    let each = instructions.iter().enumerate().map(|(i, instruction)| {
        let named = ["%rd0", "%r0", "%h0", "%p0"];
        let named = named.into_iter().find(|name| {
            instruction.contains(&format!("{name},")) || instruction.contains(&format!("{name}|"))
        });
        let widen = match named.unwrap() {
            "%rd0" => "",
            "%r0" => "cvt.u64.u32 %rd0, %r0;\n",
            "%h0" => "cvt.u64.u16 %rd0, %h0;\n",
            _ => "selp.u64 %rd0, 1, 0, %p0;\n",
        };
        format!(
            "{instruction}\n{widen}st.global.u64 [%rd1+{}], %rd0;\n",
            8 * i
        )
    });
    let text = format!(
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n.shared .align 16 .b8 own[64];\n\
         .local .align 16 .b8 mine[16];\n\
         ld.param.u64 %rd1, [p];\nmov.u32 %r3, 0;\n{}ret;\n}}",
        each.collect::<String>()
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let size = 8 * instructions.len();
    let address = memory.allocate(size);
    let report = launch(&program, &mut memory, &Launch::new("main").u64(address)).unwrap();
    assert_eq!(report.findings, []);
    let bytes = memory.read_bytes(address, size).unwrap();
    let words = bytes
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.collect()
}

fn check(rows: &[(&str, u64)]) {
    let instructions: Vec<&str> = rows.iter().map(|(instruction, _)| *instruction).collect();
    for ((instruction, expected), found) in rows.iter().zip(results(&instructions)) {
        assert_eq!(
            found, *expected,
            "{instruction}: {found:#x} for {expected:#x}"
        );
    }
}

#[test]
fn integers() {
    check(&[
        ("add.s32 %r0, 7, -9;", 0xffff_fffe),
        ("add.sat.s32 %r0, 0x7fffffff, 1;", 0x7fff_ffff),
        ("sub.u64 %rd0, 3, 5;", u64::MAX - 1),
        ("sub.s16 %h0, -32768, 1;", 0x7fff),
        ("mul.lo.u32 %r0, 0x10001, 0x10001;", 0x20001),
        ("mul.hi.s32 %r0, -3, 5;", 0xffff_ffff),
        ("mul.hi.u32 %r0, 0x80000000, 6;", 3),
        ("mul.wide.s32 %rd0, -3, 5;", -15i64 as u64),
        ("mul.wide.u16 %r0, 0xffff, 2;", 0x1_fffe),
        ("mad.lo.s32 %r0, -3, 5, 16;", 1),
        ("mad.hi.u32 %r0, 0x80000000, 6, 4;", 7),
        ("mad.wide.u32 %rd0, 0xffffffff, 2, 3;", 0x2_0000_0001),
        ("mul24.lo.u32 %r0, 0xff000002, 3;", 6),
        ("mul24.hi.u32 %r0, 0x800000, 0x800000;", 0x4000_0000),
        ("mad24.lo.s32 %r0, 0xffffff, 5, 7;", 2),
        ("sad.s32 %r0, -4, 3, 10;", 17),
        ("div.s32 %r0, -7, 2;", -3i32 as u32 as u64),
        ("div.u32 %r0, 0xfffffff9, 2;", 0x7fff_fffc),
        ("rem.s32 %r0, -7, 2;", 0xffff_ffff),
        ("rem.u32 %r0, 7, 4;", 3),
        ("abs.s32 %r0, -5;", 5),
        ("neg.s32 %r0, 5;", -5i32 as u32 as u64),
        ("min.s32 %r0, -5, 3;", -5i32 as u32 as u64),
        ("min.u32 %r0, -5, 3;", 3),
        ("max.s16x2 %r0, 0x0001fffe, 0xffff0001;", 0x0001_0001),
        ("max.relu.s32 %r0, -5, -3;", 0),
        ("add.u16x2 %r0, 0xffff0001, 0x00020003;", 0x0001_0004),
        // The carry of the one before is that of the one behind.
        ("add.cc.u32 %r0, 0xffffffff, 2;", 1),
        ("addc.cc.u32 %r0, 5, 6;", 12),
        ("addc.u32 %r0, 5, 6;", 11),
        ("sub.cc.u32 %r0, 1, 2;", 0xffff_ffff),
        ("subc.u32 %r0, 9, 3;", 5),
        ("mad.lo.cc.u32 %r0, 0x80000000, 2, 1;", 1),
        ("madc.hi.u32 %r0, 0x80000000, 2, 1;", 2),
        // Bytes 1, 2, 3, −1 by 4, 5, 6, 7; halves 1 and −1 by the bytes.
        (
            "dp4a.s32.s32 %r0, 0xff030201, 0x07060504, 100;",
            100 + 4 + 10 + 18 - 7,
        ),
        (
            "dp4a.u32.u32 %r0, 0xff030201, 0x07060504, 0;",
            4 + 10 + 18 + 255 * 7,
        ),
        (
            "dp2a.lo.s32.u32 %r0, 0xffff0001, 0x07060504, 0;",
            4u64.wrapping_sub(5) & 0xffff_ffff,
        ),
        ("dp2a.hi.s32.u32 %r0, 0xffff0002, 0x07060504, 0;", 12 - 7),
    ]);
}

#[test]
fn bits() {
    check(&[
        ("and.b32 %r0, 0xff00ff00, 0x0ff00ff0;", 0x0f00_0f00),
        ("or.b16 %h0, 0x0f00, 0x00f0;", 0x0ff0),
        ("xor.b64 %rd0, 0xff, 0x0f;", 0xf0),
        ("not.b16 %h0, 0x00ff;", 0xff00),
        ("cnot.b32 %r0, 0;", 1),
        ("cnot.b32 %r0, 7;", 0),
        ("shl.b32 %r0, 3, 31;", 0x8000_0000),
        ("shl.b32 %r0, 3, 32;", 0),
        ("shr.s32 %r0, -8, 1;", 0xffff_fffc),
        ("shr.s32 %r0, -8, 99;", 0xffff_ffff),
        ("shr.u32 %r0, -8, 1;", 0x7fff_fffc),
        ("shf.l.wrap.b32 %r0, 0x80000000, 1, 33;", 3),
        ("shf.r.clamp.b32 %r0, 0x12345678, 0x9, 40;", 9),
        ("shf.r.wrap.b32 %r0, 0x12345678, 0x9, 4;", 0x9123_4567),
        // a & b | c, whose table is that of the constants.
        ("lop3.b32 %r0, 0xff00, 0x0ff0, 0x1, 0xea;", 0x0f01),
        ("prmt.b32 %r0, 0x33221100, 0x77665544, 0x7402;", 0x7744_0022),
        // A selector's highest bit asks for the byte's sign.
        ("prmt.b32 %r0, 0x80, 0, 0x8880;", 0xffff_ff80),
        ("prmt.b32.f4e %r0, 0x33221100, 0x77665544, 1;", 0x4433_2211),
        ("popc.b32 %r0, 0xf0f1;", 9),
        ("popc.b64 %r0, -1;", 64),
        ("clz.b32 %r0, 0x10000;", 15),
        ("clz.b64 %r0, 0;", 64),
        ("bfind.u32 %r0, 0x00010000;", 16),
        ("bfind.s32 %r0, -1;", 0xffff_ffff),
        ("bfind.shiftamt.u32 %r0, 0x00010000;", 15),
        ("brev.b32 %r0, 0x00000003;", 0xc000_0000),
        ("bfe.u32 %r0, 0x12345678, 8, 12;", 0x456),
        ("bfe.s32 %r0, 0x12345f78, 8, 4;", 0xffff_ffff),
        ("bfi.b32 %r0, 0xab, 0x12345678, 8, 8;", 0x1234_ab78),
        ("bmsk.clamp.b32 %r0, 4, 8;", 0xff0),
        ("bmsk.wrap.b32 %r0, 36, 8;", 0xff0),
        ("szext.wrap.s32 %r0, 0xfc, 3;", 0xffff_fffc),
        ("szext.clamp.u32 %r0, 0xfc, 3;", 4),
        // The second bit that is set from bit 3 upwards, the first downwards.
        ("fns.b32 %r0, 0x1f0, 3, 2;", 5),
        ("fns.b32 %r0, 0x1f0, 6, -1;", 6),
        ("fns.b32 %r0, 0, 3, 1;", 0xffff_ffff),
    ]);
}

#[test]
fn comparisons_and_selections() {
    check(
        &[
            ("setp.lt.s32 %p0, -1, 1;", 1),
            ("setp.lt.u32 %p0, -1, 1;", 0),
            ("setp.lo.u32 %p0, -1, 1;", 0),
            ("setp.gt.f32 %p0, 0f7FC00000, 0f00000000;", 0),
            ("setp.gtu.f32 %p0, 0f7FC00000, 0f00000000;", 1),
            ("setp.num.f32 %p0, 0f3F800000, 0f00000000;", 1),
            ("setp.eq.ftz.f32 %p0, 0f00000001, 0f80000000;", 1),
            ("set.ne.u32.s32 %r0, 4, 5;", 0xffff_ffff),
            ("set.ge.f32.u32 %r0, 5, 5;", 0x3f80_0000),
            ("setp.eq.and.s32 %p0|%p1, 5, 5, !%p1;", 1),
            ("selp.b32 %r0, 11, 22, 0;", 22),
            ("slct.u32.s32 %r0, 11, 22, -1;", 22),
            ("slct.u32.f32 %r0, 11, 22, 0f00000000;", 11),
        ]
        .map(|(text, expected)| {
            (
                if text.contains("!%p1") {
                    "setp.ne.u32 %p1, 0, 0;\nsetp.eq.and.s32 %p0|%p1, 5, 5, !%p1;"
                } else {
                    text
                },
                expected,
            )
        }),
    );
}

#[test]
fn floats() {
    check(&[
        // 1 + 2^-24 is a tie, of which the even one is 1; upwards it is not.
        ("add.rn.f32 %r0, 0f3F800000, 0f33800000;", 0x3f80_0000),
        ("add.rp.f32 %r0, 0f3F800000, 0f33800000;", 0x3f80_0001),
        ("add.rm.f32 %r0, 0f3F800000, 0fBF800000;", 0x8000_0000),
        ("sub.rz.f32 %r0, 0f3F800000, 0f33000000;", 0x3f7f_ffff),
        ("mul.ftz.f32 %r0, 0f00800000, 0f3F000000;", 0),
        ("mul.f32 %r0, 0f00800000, 0f3F000000;", 0x0040_0000),
        ("mul.sat.f32 %r0, 0f40000000, 0f40000000;", 0x3f80_0000),
        // (1 + 2^-23)^2 − (1 + 2^-22) = 2^-46: rounded once.
        (
            "fma.rn.f32 %r0, 0f3F800001, 0f3F800001, 0fBF800002;",
            0x2880_0000,
        ),
        (
            "mad.rn.f32 %r0, 0f40000000, 0f40400000, 0f3F800000;",
            0x40e0_0000,
        ),
        ("fma.rn.relu.f16 %h0, 0x3c00, 0xbc00, 0x0000;", 0),
        ("div.rn.f32 %r0, 0f3F800000, 0f40400000;", 0x3eaa_aaab),
        ("div.rz.f32 %r0, 0f3F800000, 0f40400000;", 0x3eaa_aaaa),
        ("div.full.f32 %r0, 0f3F800000, 0f40400000;", 0x3eaa_aaab),
        (
            "rcp.rn.f64 %rd0, 0d4008000000000000;",
            0x3fd5_5555_5555_5555,
        ),
        ("sqrt.rn.f32 %r0, 0f40000000;", 0x3fb5_04f3),
        ("sqrt.rp.f32 %r0, 0f40000000;", 0x3fb5_04f4),
        ("rsqrt.approx.f32 %r0, 0f40800000;", 0x3f00_0000),
        ("sin.approx.f32 %r0, 0f00000000;", 0),
        ("cos.approx.f32 %r0, 0f00000000;", 0x3f80_0000),
        ("lg2.approx.f32 %r0, 0f41000000;", 0x4040_0000),
        ("ex2.approx.f32 %r0, 0fC0000000;", 0x3e80_0000),
        ("tanh.approx.f32 %r0, 0fFF800000;", 0xbf80_0000),
        ("abs.f32 %r0, 0fC0000000;", 0x4000_0000),
        ("neg.f16x2 %r0, 0x3c00bc00;", 0xbc00_3c00),
        ("min.f32 %r0, 0f7FC00000, 0f40000000;", 0x4000_0000),
        ("min.NaN.f32 %r0, 0f7FC00000, 0f40000000;", 0x7fff_ffff),
        ("max.f32 %r0, 0f80000000, 0f00000000;", 0),
        ("copysign.f32 %r0, 0f80000000, 0f40000000;", 0xc000_0000),
        ("testp.subnormal.f32 %p0, 0f00000001;", 1),
        ("testp.finite.f32 %p0, 0f7F800000;", 0),
        ("add.bf16x2 %r0, 0x3f803f80, 0x40003f80;", 0x4040_4000),
    ]);
}

#[test]
fn moves_and_addresses() {
    check(&[
        ("mov.b32 %r0, {0x1234, 0x5678};", 0x5678_1234),
        (
            "mov.b64 {%r2, %r3}, 0x1122334455667788;\nmov.u32 %r0, %r3;",
            0x1122_3344,
        ),
        ("mov.f32 %r0, 1.5;", 0x3fc0_0000),
        (
            "cvta.shared.u64 %rd2, 16;\ncvta.to.shared.u64 %rd0, %rd2;",
            16,
        ),
        ("cvta.shared.u64 %rd2, 16;\nisspacep.shared %p0, %rd2;", 1),
        ("isspacep.local %p0, %rd1;", 0),
        (
            "mapa.shared::cluster.u32 %r2, 16, 0;\ngetctarank.shared::cluster.u32 %r0, %r2;",
            0,
        ),
        ("st.local.u32 [mine], 77;\nld.local.u32 %r0, [mine];", 77),
        (
            "st.shared.u8 [own], 0xff;\nld.shared.s8 %r0, [own];",
            0xffff_ffff,
        ),
        ("ldu.global.u8 %r2, [%rd1];\nmov.u32 %r0, 0xff;", 0xff),
        (
            "createpolicy.fractional.L2::evict_first.b64 %rd2, 1.0;\nmov.u32 %r0, 6;",
            6,
        ),
        (
            "prefetch.global.L1 [%rd1];\nprefetchu.L1 [%rd1];\nmov.u32 %r0, 1;",
            1,
        ),
        (
            "applypriority.global.L2::evict_normal [%rd1], 128;\nmov.u32 %r0, 1;",
            1,
        ),
    ]);
}

#[test]
fn atomics() {
    check(&[
        (
            "st.shared.u32 [own], 5;\natom.shared.add.u32 %r0, [own], 3;",
            5,
        ),
        ("ld.shared.u32 %r0, [own];", 8),
        (
            "red.shared.max.s32 [own], -1;\nld.shared.u32 %r0, [own];",
            8,
        ),
        (
            "atom.shared.inc.u32 %r2, [own], 8;\nld.shared.u32 %r0, [own];",
            0,
        ),
        (
            "atom.shared.dec.u32 %r2, [own], 8;\nld.shared.u32 %r0, [own];",
            8,
        ),
        (
            "atom.shared.cas.b32 %r2, [own], 8, 21;\nld.shared.u32 %r0, [own];",
            21,
        ),
        (
            "atom.shared.cas.b32 %r2, [own], 8, 22;\nld.shared.u32 %r0, [own];",
            21,
        ),
        ("atom.shared.exch.b32 %r0, [own], 0x3f800000;", 21),
        (
            "red.shared.add.f32 [own], 0f40000000;\nld.shared.u32 %r0, [own];",
            0x4040_0000,
        ),
        (
            "red.shared.xor.b32 [own], 0xffffffff;\nld.shared.u32 %r0, [own];",
            0xbfbf_ffff,
        ),
    ]);
}

#[test]
fn control() {
    check(&[
        ("mov.u32 %r0, 1;\nbra OVER;\nmov.u32 %r0, 2;\nOVER:", 1),
        (
            "{\n.reg .u32 %which;\nmov.u32 %which, 1;\nWAYS: .branchtargets FIRST, SECOND;\nbrx.idx %which, WAYS;\n}\nFIRST:\nmov.u32 %r0, 1;\nbra END;\nSECOND:\nmov.u32 %r0, 2;\nEND:",
            2,
        ),
        (
            "setp.ne.u32 %p1, 0, 0;\n@%p1 trap;\n@%p1 exit;\n@%p1 brkpt;\nmov.u32 %r0, 3;",
            3,
        ),
        (
            "nanosleep.u32 10;\npmevent 1;\nsetmaxnreg.inc.sync.aligned.u32 64;\ngriddepcontrol.wait;\nmov.u32 %r0, 4;",
            4,
        ),
        (
            "membar.gl;\nfence.sc.gpu;\nbar.sync 0;\nbarrier.sync 1;\nmov.u32 %r0, 5;",
            5,
        ),
    ]);
}

#[test]
fn what_lanes_tell_each_other() {
    check(&[
        // A warp of one lane.
        (
            "activemask.b32 %r0;\nmov.u32 %r2, %r0;\nmov.u32 %r0, %r2;",
            1,
        ),
        ("shfl.sync.idx.b32 %r0, 9, 0, 31, 1;", 9),
        ("vote.sync.ballot.b32 %r0, 1, 1;", 1),
        ("match.any.sync.b32 %r0, 5, 1;", 1),
        ("redux.sync.add.s32 %r0, 5, 1;", 5),
        ("elect.sync %r0|%p1, 1;", 0),
    ]);
}

/// Two matrices of 8×8 halves from 256 bytes of shared memory, of which byte i is i, and back to other places.
#[test]
fn matrices() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p, .param .u64 q) {\n\
        .reg .b32 %r<12>;\n.reg .b64 %rd<8>;\n.shared .align 16 .b8 own[512];\n\
        ld.param.u64 %rd1, [p];\nld.param.u64 %rd2, [q];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd3, %r1, 8;\n\
        add.u64 %rd4, %rd1, %rd3;\nld.global.v2.u32 {%r2, %r3}, [%rd4];\nmov.u32 %r4, own;\nmad.lo.u32 %r5, %r1, 8, %r4;\n\
        st.shared.v2.u32 [%r5], {%r2, %r3};\nbar.sync 0;\nand.b32 %r6, %r1, 15;\nmad.lo.u32 %r6, %r6, 16, %r4;\n\
        ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r7, %r8}, [%r6];\n\
        ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r9}, [%r6];\n\
        stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r6+256], {%r8};\nbar.sync 0;\nmad.lo.u32 %r5, %r1, 4, %r4;\n\
        ld.shared.u32 %r10, [%r5+256];\nmad.wide.u32 %rd5, %r1, 16, %rd2;\n\
        st.global.v4.u32 [%rd5], {%r7, %r8, %r9, %r10};\nret;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let input = memory.allocate_with((0..=255).collect());
    let output = memory.allocate(512);
    let grid = Launch::new("main").block([32, 1, 1]).u64(input).u64(output);
    let report = launch(&program, &mut memory, &grid).unwrap();
    assert_eq!(report.findings, []);
    let bytes = memory.read_bytes(output, 512).unwrap();
    // A number in row i and column j of matrix m is of the bytes at 128 m + 16 i + 2 j.
    let number = |m: u32, i: u32, j: u32| {
        let first = 128 * m + 16 * i + 2 * j;
        first | (first + 1) << 8
    };
    for (lane, words) in (0..).zip(bytes.chunks(16)) {
        let word = |at: usize| u32::from_le_bytes(words[4 * at..4 * at + 4].try_into().unwrap());
        // Lane l has the columns 2 (l mod 4) and the next of row l / 4; transposed the rows of that column.
        let (row, column) = (lane / 4, lane % 4 * 2);
        let of = |m| number(m, row, column) | number(m, row, column + 1) << 16;
        assert_eq!((word(0), word(1)), (of(0), of(1)), "lane {lane}");
        assert_eq!(
            word(2),
            number(0, column, row) | number(0, column + 1, row) << 16
        );
        // Back in the order of rows, a word for each lane.
        assert_eq!(word(3), of(1));
    }
}

#[test]
fn calls() {
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n\
        .func (.reg .u32 %out) twice(.reg .u32 %in) {\nadd.u32 %out, %in, %in;\nret;\n}\n\
        .visible .entry main(.param .u64 p) {\n.reg .u32 %r<4>;\n.reg .u64 %rd<2>;\nld.param.u64 %rd1, [p];\n\
        mov.u32 %r1, 21;\ncall (%r2), twice, (%r1);\nst.global.u32 [%rd1], %r2;\nret;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate(4);
    let report = launch(&program, &mut memory, &Launch::new("main").u64(address)).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(memory.read_bytes(address, 4).unwrap(), [42, 0, 0, 0]);
}
