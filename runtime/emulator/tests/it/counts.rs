//! What a kernel is said to have done, against what its source says.

use tessera_emulator::{Class, Global, Launch, Program, Traffic, launch};

#[test]
fn a_transpose_through_tiles() {
    let text = include_str!("../kernels/basics.ptx");
    let program = Program::new(&tessera_emulator::ptx::Module::parse(text).unwrap()).unwrap();
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
    assert_eq!((of(Class::Matrix), counts.multiply_adds), (0, 0));
}
