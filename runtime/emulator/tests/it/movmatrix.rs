//! `movmatrix` (PTX ISA 9.7.15.5.17): a matrix of a warp's registers is transposed.

use tessera_emulator::{FindingKind, Global, Launch, Program, launch, ptx::Module};

/// The one form.
pub const FORMS: &[&str] = &["movmatrix.sync.aligned.m8n8.trans.b16"];

#[test]
fn a_matrix_is_transposed() {
    // Lane 4r + c/2 has the numbers of row r at columns c and c + 1: here 16r + c, in 16 bits each.
    let of = |row: u32, column: u32| 16 * row + column;
    let run = |guard: &str| {
        let text = format!(
            ".version 8.8\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
             .reg .b64 %out;\n.reg .b32 %t, %r, %c, %x, %d;\n.reg .pred %few;\nld.param.u64 %out, [p];\nmov.u32 %t, %tid.x;\n\
             setp.lt.u32 %few, %t, 16;\nshr.u32 %r, %t, 2;\nand.b32 %c, %t, 3;\nshl.b32 %c, %c, 1;\n\
             mad.lo.u32 %x, %r, 16, %c;\nmad.lo.u32 %x, %x, 0x10001, 0x10000;\n{guard}{} %d, %x;\n\
             mad.wide.u32 %out, %t, 4, %out;\nst.global.u32 [%out], %d;\nret;\n}}",
            FORMS[0]
        );
        let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
        let mut memory = Global::new();
        let out = memory.allocate(128);
        let grid = Launch::new("main").block([32, 1, 1]).u64(out);
        let report = launch(&program, &mut memory, &grid).unwrap();
        (report, memory.read_bytes(out, 128).ok())
    };
    let (report, bytes) = run("");
    assert_eq!(report.findings, []);
    let bytes = bytes.expect("all is written");
    let expected = (0..8).flat_map(|row| (0..8).map(move |column| of(column, row) as u16));
    let found = bytes
        .chunks(2)
        .map(|own| u16::from_le_bytes(own.try_into().unwrap()));
    assert!(found.eq(expected));
    let (report, _) = run("@%few ");
    let is_found = |kind: &FindingKind| {
        matches!(
            kind,
            FindingKind::Divergence { .. } | FindingKind::Deadlock { .. }
        )
    };
    assert!(report.findings.iter().any(|found| is_found(&found.kind)));
}
