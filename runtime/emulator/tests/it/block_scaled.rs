//! Block-scaled products of which the published models of hardware give different numbers.

use tessera_emulator::{Global, Launch, Program, Report, launch, ptx::Module};

/// One `mma.sync` of NVFP4 whose first block of A is zeros with a scale of its own; the other scales are 2^-6 and 2^-9, all
/// other elements 1. The number of D that lane 0 has, and the report.
fn multiply(first_scale: u8, c: f32) -> (f32, Report) {
    let a_scales = 0x0808_0800 | u32::from(first_scale);
    let b_scales = 0x0101_0100 | u32::from(first_scale);
    let text = format!(
        ".version 8.7\n.target sm_120a\n.address_size 64\n.visible .entry main(.param .u64 p) {{\n\
         .reg .pred %p;\n.reg .b16 %h;\n.reg .b32 %a, %z, %t, %x, %y;\n.reg .f32 %c, %d<4>;\n.reg .b64 %rd;\n\
         mov.u32 %t, %laneid;\nand.b32 %t, %t, 3;\nsetp.lt.u32 %p, %t, 2;\n\
         mov.b32 %a, 0x22222222;\nselp.b32 %z, 0, %a, %p;\nmov.b32 %x, {a_scales};\nmov.b32 %y, {b_scales};\n\
         mov.b32 %c, {};\nmov.u16 %h, 0;\n\
         mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3\n\
         {{%d0,%d1,%d2,%d3}}, {{%z,%z,%a,%a}}, {{%a,%a}}, {{%c,%c,%c,%c}}, %x, {{%h,%h}}, %y, {{%h,%h}};\n\
         ld.param.u64 %rd, [p];\nsetp.eq.u32 %p, %laneid, 0;\n@%p st.global.f32 [%rd], %d0;\nret;\n}}",
        c.to_bits()
    );
    let program = Program::new(&Module::parse(&text).unwrap()).unwrap();
    let mut memory = Global::new();
    let address = memory.allocate(4);
    let grid = Launch::new("main").block([32, 1, 1]).u64(address);
    let report = launch(&program, &mut memory, &grid).unwrap();
    assert_eq!(report.findings, []);
    let bytes = memory.read_bytes(address, 4).unwrap();
    (f32::from_le_bytes(bytes.try_into().unwrap()), report)
}

#[test]
fn scales_of_a_size_are_decided() {
    let (d, report) = multiply(0x08, 2f32.powi(-24));
    assert_eq!(d, 48.0 * 2f32.powi(-15) + 2f32.powi(-24));
    assert_eq!(report.counts.model_dependent, 0);
}

#[test]
fn what_models_disagree_on_is_counted_and_is_the_exact_sum() {
    // MMA-Sim aligns to the scales of the block of zeros, 2^16, and loses c.
    let (d, report) = multiply(0x7e, 2f32.powi(-24));
    assert_eq!(d, 48.0 * 2f32.powi(-15) + 2f32.powi(-24));
    assert_eq!(report.counts.model_dependent, 16 * 8);
}
