//! `tcgen05` in kernels of a few lines: what is refused, and what the checker finds.

use tessera_emulator::{
    DecodeError, FindingKind, Global, Launch, Program, Report, launch, ptx::Module,
};

/// Runs a kernel `main` of one warp for a target: `own` is shared memory, `%r0` the address of 64 columns where they are
/// allocated.
fn run(target: &str, body: &str) -> Report {
    let program = program(target, body).unwrap();
    let mut grid = Launch::new("main").block([32, 1, 1]);
    grid.step_limit = 1 << 16;
    launch(&program, &mut Global::new(), &grid).unwrap()
}

fn program(target: &str, body: &str) -> Result<Program, DecodeError> {
    let text = format!(
        ".version 8.7\n.target {target}\n.address_size 64\n.visible .entry main() {{\n\
         .reg .pred %p<4>;\n.reg .b32 %r<12>;\n.reg .b64 %rd<8>;\n.shared .align 1024 .b8 own[4096];\n{body}\n}}"
    );
    Program::new(&Module::parse(&text).unwrap())
}

/// Why a kernel of some instructions is none for a target.
fn error(target: &str, body: &str) -> String {
    let error = program(target, body).err();
    error.map(|error| error.to_string()).unwrap_or_default()
}

const ALLOCATE: &str = "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [own], 64;\nld.shared.b32 %r0, [own];\n";
const DEALLOCATE: &str = "tcgen05.dealloc.cta_group::1.sync.aligned.b32 %r0, 64;\n";

/// The only finding of a body that has tensor memory.
fn finding(body: &str) -> String {
    let report = run("sm_100a", &format!("{ALLOCATE}{body}{DEALLOCATE}ret;"));
    let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

#[test]
fn what_is_stored_is_loaded() {
    let body = "mov.u32 %r1, %laneid;\ntcgen05.st.sync.aligned.32x32b.x1.b32 [%r0], {%r1};\n\
                tcgen05.wait::st.sync.aligned;\n\
                tcgen05.ld.sync.aligned.16x64b.x1.b32 {%r2}, [%r0];\ntcgen05.wait::ld.sync.aligned;\n";
    // Of the second word of each row nothing is written, of the first lanes 0, 1, 4, 5, … have row ⌊i/4⌋ + 8 · (i mod 2).
    let check = "and.b32 %r3, %r1, 2;\nsetp.ne.u32 %p1, %r3, 0;\n@%p1 bra END;\n\
                 and.b32 %r3, %r1, 1;\nshr.u32 %r4, %r1, 2;\nmad.lo.u32 %r3, %r3, 8, %r4;\n\
                 setp.eq.u32 %p1, %r2, %r3;\n@!%p1 trap;\nEND:\nbar.warp.sync -1;\n";
    let report = run(
        "sm_100a",
        &format!("{ALLOCATE}{body}{check}{DEALLOCATE}ret;"),
    );
    assert_eq!(report.findings, []);
    assert!(report.completed);
}

#[test]
fn other_architectures_have_no_tensor_memory() {
    for target in ["sm_120a", "sm_121a", "sm_100", "sm_90a"] {
        let expected = format!(
            "9:1: 'tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32' is not supported on .target {target}"
        );
        assert_eq!(error(target, ALLOCATE), expected);
    }
    for target in ["sm_100f", "sm_103a", "sm_110a"] {
        assert_eq!(
            run(target, &format!("{ALLOCATE}{DEALLOCATE}ret;")).findings,
            []
        );
    }
}

#[test]
fn scaled_fragments_are_not_of_the_family_that_has_tensor_memory() {
    let body = "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3 \
                {%r0,%r1,%r2,%r3}, {%r4,%r4,%r4,%r4}, {%r4,%r4}, {%r4,%r4,%r4,%r4}, %r4, {0,0}, %r4, {0,0};\nret;";
    let found = error("sm_100a", body);
    assert!(
        found.ends_with("with .block_scale is not supported on .target sm_100a"),
        "{found}"
    );
}

#[test]
fn what_is_not_modelled_is_named() {
    let refusal = |body: &str| match &run("sm_100a", body).findings[0].kind {
        FindingKind::Refused { reason } => reason.clone(),
        other => other.to_string(),
    };
    let operands = "[%r0], %rd0, %rd1, %r1, %p0;";
    for (instruction, expected) in [
        (
            "tcgen05.mma.ws.cta_group::1.kind::f16",
            ".ws, is not modelled",
        ),
        (
            "tcgen05.mma.sp.cta_group::1.kind::f16",
            ".sp, is not modelled",
        ),
        (
            "tcgen05.mma.cta_group::1.kind::f16.ashift",
            ".ashift, is not modelled",
        ),
        ("tcgen05.mma.cta_group::1.kind::mxf4", "needs .block_scale"),
        (
            "tcgen05.mma.cta_group::1.kind::mxf4.block_scale.scale_vec::4X",
            "do not go together",
        ),
    ] {
        let found = refusal(&format!("{instruction} {operands}"));
        assert!(found.contains(expected), "{found}");
    }
    assert!(
        refusal("tcgen05.shift.cta_group::1.down [%r0];").contains("no operation that is modelled")
    );
    let smallest = "tcgen05.ld.red.sync.aligned.32x32b.x2.min.f32 {%r1, %r2}, %r3, [%r0];";
    assert!(refusal(smallest).contains("tcgen05.ld.red.sync.aligned"));
    let product = "tcgen05.mma.cta_group::1.kind";
    for (instruction, expected) in [
        (
            "f16 [%r0], %rd0, %rd1, %r1, {%r2, %r2, %r2}, %p0;",
            "of one CTA has 4 masks of lanes of D, not 3",
        ),
        (
            "f16 [%r0], %rd0, %rd1, %r1, {%r2}, %p0;",
            "has 4 masks of lanes of D, not 1",
        ),
        (
            "f16 [%r0], %rd0, %rd1, %r1, %p0, 1, 1;",
            "takes 5 or 6 operands, not 7",
        ),
        (
            "f16 [%r0], %rd0, %rd1, %r1, {%r2, %r2, %r2, %r2};",
            "takes 6 or 7 operands, not 5",
        ),
        (
            "f16 [%r0], %rd0, %rd1, %r1, %p0, 16;",
            "cannot divide D by 2^16",
        ),
        (
            "i8 [%r0], %rd0, %rd1, %r1, %p0, 1;",
            "cannot divide D by 2^1",
        ),
    ] {
        let found = refusal(&format!("{product}::{instruction}"));
        assert!(found.contains(expected), "{found}");
    }
    let of_a_pair =
        "tcgen05.mma.cta_group::2.kind::f16 [%r0], %rd0, %rd1, %r1, {%r2, %r2, %r2, %r2}, %p0;";
    assert!(refusal(of_a_pair).contains("of a pair of CTAs has 8 masks of lanes of D, not 4"));
    let copy = "tcgen05.cp.cta_group::1.32x128b [%r0], %rd0;";
    assert!(refusal(copy).contains("a multicast that do not go together"));
}

#[test]
fn allocations() {
    let relinquished = "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;\n\
                        tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [own], 32;\n";
    assert!(finding(relinquished).contains("after the permit to was relinquished"));
    let odd = "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [own], 48;\n";
    assert!(finding(odd).contains("by powers of two"));
    let groups = "tcgen05.relinquish_alloc_permit.cta_group::2.sync.aligned;\n";
    assert!(finding(groups).contains(".cta_group::1 and with .cta_group::2"));
    let leak = run("sm_100a", &format!("{ALLOCATE}ret;"));
    assert!(leak.findings[0].to_string().contains("64 columns at"));
}

#[test]
fn an_allocation_that_nobody_makes_room_for() {
    let full = "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [own], 512;\n";
    assert!(finding(full).contains("waits for ever for columns of tensor memory"));
}

#[test]
fn accesses() {
    let outside = "add.u32 %r1, %r0, 64;\ntcgen05.ld.sync.aligned.32x32b.x1.b32 {%r2}, [%r1];\n\
                   tcgen05.wait::ld.sync.aligned;\n";
    assert!(finding(outside).contains("no allocation at column"));
    let lanes = "add.u32 %r1, %r0, 0x200000;\ntcgen05.ld.sync.aligned.32x32b.x1.b32 {%r2}, [%r1];\n\
                 tcgen05.wait::ld.sync.aligned;\n";
    assert!(finding(lanes).contains("reached at lane 32, and the warp reaches the lanes 0 to 31"));
    let unwritten = "tcgen05.ld.sync.aligned.32x32b.x1.b32 {%r2}, [%r0];\ntcgen05.wait::ld.sync.aligned;\n\
                     setp.eq.u32 %p1, %r2, 0;\n@%p1 bra END;\nEND:\n";
    assert!(finding(unwritten).contains("never written"));
    let early = "mov.u32 %r1, 1;\ntcgen05.st.sync.aligned.32x32b.x1.b32 [%r0], {%r1};\n\
                 tcgen05.wait::st.sync.aligned;\ntcgen05.ld.sync.aligned.32x32b.x1.b32 {%r2}, [%r0];\n\
                 add.u32 %r3, %r2, 1;\ntcgen05.wait::ld.sync.aligned;\n";
    assert!(finding(early).contains("belong to a wgmma or tcgen05.ld that is not waited for"));
}
