//! What a kernel is said to have done, against what its source says.

use super::tcgen05_kernels;
use tessera_emulator::{Class, Global, Launch, MatrixKind, Program, Traffic, launch, ptx::Module};

#[test]
fn a_transpose_through_tiles() {
    let text = include_str!("../kernels/basics.ptx");
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let mut memory = Global::new();
    // 64 × 64 numbers in four tiles of 32 × 32, whose rows in shared memory are 33 numbers apart.
    let bytes = 64 * 64 * 4;
    let input = memory.allocate_with(vec![0; bytes as usize]);
    let output = memory.allocate(bytes as usize);
    let grid = Launch::new("transpose").grid([2, 2, 1]).block([32, 8, 1]);
    let grid = grid.u64(input).u64(output).u32(64).u32(64);
    let counts = launch(&program, &mut memory, &grid).unwrap().counts;
    let all = Traffic {
        read: bytes,
        written: bytes,
    };
    assert_eq!((counts.global, counts.shared), (all, all));
    assert_eq!(counts.local, Traffic::default());
    // Whole rows of 32 numbers are read and written: no sector twice.
    assert_eq!(counts.global_sectors, 2 * bytes / 32);
    // A warp's 32 numbers lie in 32 banks, in a row of the tile and in a column.
    assert_eq!(counts.shared_wavefronts, 2 * 64 * 64 / 32);
    assert_eq!(counts.bank_conflicts, 0);
    // One barrier for each of 4 · 8 warps; two accesses of each memory for each of the warps' four rows.
    let of = |class: Class| counts.instructions[class as usize];
    assert_eq!(of(Class::Synchronisation), 4 * 8);
    assert!(of(Class::Memory) >= 4 * 8 * 4 * 4);
    assert_eq!((of(Class::Matrix), counts.all_multiply_adds()), (0, 0));
}

#[test]
fn a_product_in_tensor_memory() {
    let counts = tcgen05_kernels::of_nvfp4().counts;
    // 128 rows by 32 columns, of 64 products each.
    let kind = MatrixKind {
        instruction: "tcgen05.mma",
        kind: Some("mxf4nvf4"),
        types: ["e2m1"; 2],
    };
    assert_eq!(kind.to_string(), "tcgen05.mma.kind::mxf4nvf4.e2m1.e2m1");
    assert_eq!(counts.multiply_adds, [(kind, 128 * 32 * 64)].into());
    let d = 4 * 128 * 32u64;
    // Scales are copied to four columns of all lanes, twice; of A those of 128 rows are read, of B those of 32.
    let columns = |columns: u64| 4 * 128 * columns;
    assert_eq!(
        counts.tensor,
        Traffic {
            read: columns(4) + columns(1) + d,
            written: 2 * columns(4) + d,
        }
    );
    // Two addresses of each of 128 threads.
    let addresses = Traffic {
        read: 2 * 8 * 128,
        written: 0,
    };
    assert_eq!(
        (counts.parameter, counts.constant),
        (addresses, Traffic::default())
    );
}

#[test]
fn products_of_fragments_by_their_kind() {
    let text = ".version 8.8\n.target sm_120a\n.address_size 64\n.const .align 4 .b32 one = 1;\n\
                .visible .entry main() {\n.reg .b32 %r, %s, %d<4>;\nld.const.b32 %r, [one];\n\
                mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32 {%d0,%d1,%d2,%d3}, {%r,%r,%r,%r}, {%r,%r}, {%r,%r,%r,%r};\n\
                mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%d0,%d1,%d2,%d3}, {%r,%r,%r,%r}, {%r,%r}, {%r,%r,%r,%r};\n\
                mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%d0,%d1,%d2,%d3}, {%r,%r,%r,%r}, {%r,%r}, {%r,%r,%r,%r};\n\
                mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.f32.e2m1.e2m1.f32.ue8m0 \
                {%d0,%d1,%d2,%d3}, {%r,%r,%r,%r}, {%r,%r}, {%r,%r,%r,%r}, %r, {0,0}, %r, {0,0};\nret;\n}";
    let program = Program::new(&Module::parse(text).unwrap()).unwrap();
    let grid = Launch::new("main").block([64, 1, 1]);
    let report = launch(&program, &mut Global::new(), &grid).unwrap();
    assert_eq!(report.findings, []);
    let found: Vec<(String, u64)> = (report.counts.multiply_adds.iter())
        .map(|(kind, &count)| (kind.to_string(), count))
        .collect();
    let expected = [
        ("mma.bf16.bf16", 2 * 2 * 16 * 8 * 16),
        ("mma.e4m3.e5m2", 2 * 16 * 8 * 32),
        ("mma.kind::mxf4.e2m1.e2m1", 2 * 16 * 8 * 64),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, count)| (kind.to_owned(), count))
    );
    assert_eq!(report.counts.constant.read, 64 * 4);
}
