//! Kernels that nvcc compiled, `tests/kernels/basics.cu`, against the same computed here.

use half::f16;
use tessera_emulator::{Global, Launch, Program, Report, launch};

fn program() -> Program {
    let text = include_str!("../kernels/basics.ptx");
    Program::new(&tessera_emulator::ptx::Module::parse(text).unwrap()).unwrap()
}

/// Some numbers, the same every time.
fn words(count: usize) -> impl Iterator<Item = u32> {
    (0..count as u32).map(|i| i.wrapping_mul(0x9e37_79b9) ^ (i << 7).wrapping_mul(0x85eb_ca6b))
}

fn floats(count: usize) -> Vec<f32> {
    words(count)
        .map(|word| (word >> 8) as f32 / 2f32.powi(20) - 8.0)
        .collect()
}

fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to(value)).collect()
}

fn read<T, const N: usize>(
    memory: &Global,
    address: u64,
    count: usize,
    from: impl Fn([u8; N]) -> T,
) -> Vec<T> {
    let bytes = memory.read_bytes(address, count * N).unwrap();
    bytes
        .chunks_exact(N)
        .map(|chunk| from(chunk.try_into().unwrap()))
        .collect()
}

/// Runs a grid to its end, which finds nothing, whatever the schedule.
fn run(memory: &mut Global, grid: &Launch) -> Report {
    let program = program();
    for seed in 1..100 {
        let mut grid = grid.clone();
        grid.seed = seed;
        let report = launch(&program, &mut memory.clone(), &grid).unwrap();
        assert_eq!(report.findings, [], "seed {seed}");
        assert!(report.completed);
    }
    let report = launch(&program, memory, grid).unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(report.completed);
    report
}

#[test]
fn an_elementwise_sum() {
    let n = 1000;
    let (a, b) = (floats(n), floats(n + 7)[7..].to_vec());
    let mut memory = Global::new();
    let x = memory.allocate_with(bytes(&a, f32::to_le_bytes));
    let y = memory.allocate_with(bytes(&b, f32::to_le_bytes));
    let z = memory.allocate(4 * n);
    run(
        &mut memory,
        &Launch::new("add")
            .grid([4, 1, 1])
            .block([256, 1, 1])
            .u64(x)
            .u64(y)
            .u64(z)
            .u32(n as u32),
    );
    let expected: Vec<f32> = (0..n)
        .map(|i| b[i].mul_add((i % 4 + 1) as f32, a[i]))
        .collect();
    assert_eq!(read(&memory, z, n, f32::from_le_bytes), expected);
}

#[test]
fn a_sum_in_shared_memory() {
    // Integers, so that no order of sums matters.
    let x: Vec<f32> = words(5000).map(|word| (word % 100) as f32).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, f32::to_le_bytes));
    let sum = memory.allocate_with(vec![0; 4]);
    for seed in 0..4 {
        memory.write_bytes(sum, &[0; 4]).unwrap();
        let mut grid = Launch::new("reduce")
            .grid([6, 1, 1])
            .block([256, 1, 1])
            .u64(input)
            .u64(sum)
            .u32(5000);
        grid.seed = seed;
        run(&mut memory, &grid);
        assert_eq!(
            read(&memory, sum, 1, f32::from_le_bytes),
            [x.iter().sum::<f32>()]
        );
    }
}

#[test]
fn a_histogram_by_atomics() {
    let x: Vec<u8> = words(3000).map(|word| (word >> 16) as u8).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(x.clone());
    let bins = memory.allocate_with(vec![0; 1024]);
    run(
        &mut memory,
        &Launch::new("histogram")
            .grid([3, 1, 1])
            .block([256, 1, 1])
            .u64(input)
            .u64(bins)
            .u32(3000),
    );
    let mut expected = vec![0; 256];
    x.iter().for_each(|&value| expected[value as usize] += 1);
    assert_eq!(read(&memory, bins, 256, u32::from_le_bytes), expected);
}

#[test]
fn a_scan_by_doubling() {
    let x: Vec<i32> = words(512).map(|word| word as i32 % 1000).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, i32::to_le_bytes));
    let output = memory.allocate(2048);
    run(
        &mut memory,
        &Launch::new("scan")
            .grid([2, 1, 1])
            .block([256, 1, 1])
            .u64(input)
            .u64(output),
    );
    let expected: Vec<i32> = x
        .chunks(256)
        .flat_map(|block| {
            block.iter().scan(0, |sum, value| {
                *sum += value;
                Some(*sum)
            })
        })
        .collect();
    assert_eq!(read(&memory, output, 512, i32::from_le_bytes), expected);
}

#[test]
fn a_transpose_through_tiles() {
    let (rows, columns) = (50, 70);
    let x = floats(rows * columns);
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, f32::to_le_bytes));
    let output = memory.allocate(4 * rows * columns);
    let grid = Launch::new("transpose").grid([3, 2, 1]).block([32, 8, 1]);
    run(
        &mut memory,
        &grid
            .u64(input)
            .u64(output)
            .u32(rows as u32)
            .u32(columns as u32),
    );
    let expected: Vec<f32> = (0..rows * columns)
        .map(|i| x[i % rows * columns + i / rows])
        .collect();
    assert_eq!(
        read(&memory, output, rows * columns, f32::from_le_bytes),
        expected
    );
}

#[test]
fn a_softmax_by_shuffles() {
    let (rows, n) = (3, 100);
    let x: Vec<f16> = floats(rows * n).into_iter().map(f16::from_f32).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, f16::to_le_bytes));
    let output = memory.allocate(2 * rows * n);
    let grid = Launch::new("softmax")
        .grid([rows as u32, 1, 1])
        .block([32, 1, 1]);
    run(&mut memory, &grid.u64(input).u64(output).u32(n as u32));
    let found = read(&memory, output, rows * n, f16::from_le_bytes);
    for (row, found) in x.chunks(n).zip(found.chunks(n)) {
        let largest = row
            .iter()
            .map(|x| x.to_f64())
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x.to_f64() - largest).exp()).sum();
        for (x, y) in row.iter().zip(found) {
            let expected = (x.to_f64() - largest).exp() / sum;
            // Half a unit of f16, whose smallest is 2^-25, and some of f32: of the exponent's multiplication by log2(e),
            // which for |x| up to 23 is 23 * 2^-24 * 2, and of the sum of a hundred numbers.
            let tolerance = expected * (2f64.powi(-11) + 2f64.powi(-17)) + 2f64.powi(-25);
            assert!(
                (y.to_f64() - expected).abs() <= tolerance,
                "{y} for {expected}"
            );
        }
    }
}

#[test]
fn every_lane_recurses_to_its_own_depth() {
    let mut memory = Global::new();
    let output = memory.allocate(4 * 40);
    run(
        &mut memory,
        &Launch::new("recursion").block([40, 1, 1]).u64(output),
    );
    let expected: Vec<i32> = (0..40)
        .map(|i| match (i % 3, i % 5) {
            (0, n) => n + 1,
            (1, n) => n + 2,
            (_, n) => 2 * n + 3,
        })
        .collect();
    assert_eq!(read(&memory, output, 40, i32::from_le_bytes), expected);
}

#[test]
fn lanes_branch_by_a_table() {
    let x: Vec<i32> = (0..32).map(|i| i % 8).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, i32::to_le_bytes));
    let output = memory.allocate(128);
    run(
        &mut memory,
        &Launch::new("classes")
            .block([32, 1, 1])
            .u64(input)
            .u64(output),
    );
    let class = |x: i32| {
        [31, 7, 33, -5, 44, 2]
            .get(x as usize)
            .copied()
            .unwrap_or(x << 3)
    };
    let expected: Vec<i32> = x.into_iter().map(class).collect();
    assert_eq!(read(&memory, output, 32, i32::from_le_bytes), expected);
}

#[test]
fn lanes_of_one_warp_take_turns_at_a_lock() {
    let mut memory = Global::new();
    let lock = memory.allocate_with(vec![0; 4]);
    let counter = memory.allocate_with(vec![0; 4]);
    for seed in 0..4 {
        memory.write_bytes(counter, &[0; 4]).unwrap();
        let mut grid = Launch::new("lock")
            .grid([2, 1, 1])
            .block([64, 1, 1])
            .u64(lock)
            .u64(counter);
        grid.seed = seed;
        run(&mut memory, &grid);
        assert_eq!(read(&memory, counter, 1, i32::from_le_bytes), [128]);
    }
}

#[test]
fn an_array_in_local_memory() {
    let x: Vec<i32> = words(512).map(|word| word as i32 & 15).collect();
    let mut memory = Global::new();
    let input = memory.allocate_with(bytes(&x, i32::to_le_bytes));
    let output = memory.allocate(128);
    run(
        &mut memory,
        &Launch::new("local_array")
            .block([32, 1, 1])
            .u64(input)
            .u64(output)
            .u32(9),
    );
    let walk = |t: usize| (0..9).fold(t as i32 % 16, |at, _| x[t * 16 + at as usize]);
    let expected: Vec<i32> = (0..32).map(walk).collect();
    assert_eq!(read(&memory, output, 32, i32::from_le_bytes), expected);
}

#[test]
fn double_precision_is_that_of_the_hardware() {
    let x: Vec<f64> = (0..32).map(|i| f64::from(i) * 1.7 + 0.3).collect();
    let mut memory = Global::new();
    let values = memory.allocate_with(bytes(&x, f64::to_le_bytes));
    run(
        &mut memory,
        &Launch::new("doubles").block([32, 1, 1]).u64(values),
    );
    let expected: Vec<f64> = x
        .iter()
        .map(|&x| x.sqrt() / 3.0 + x.mul_add(0.1, 1.0))
        .collect();
    assert_eq!(read(&memory, values, 32, f64::from_le_bytes), expected);
}
