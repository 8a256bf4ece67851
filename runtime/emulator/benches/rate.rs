//! How many instructions of lanes a second the machine executes: kernels of the tests, without the search for races, with it,
//! and with it on all threads of the host, in turn. Of several rounds the fastest counts.

use std::time::{Duration, Instant};
use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};

fn main() {
    let basics = include_str!("../tests/kernels/basics.ptx");
    let dot = include_str!("../tests/kernels/triton_dot_sm_80.ptx");
    let shape =
        |kernel: &str, grid, block| Launch::new(kernel).grid([grid, 1, 1]).block([block, 1, 1]);
    let bytes = 1 << 20;
    rate(basics, "add", bytes, |x| {
        shape("add", 256, 256)
            .u64(x)
            .u64(x + (1 << 18))
            .u64(x + (1 << 19))
            .u32(1 << 16)
    });
    rate(basics, "reduce", bytes, |x| {
        shape("reduce", 32, 256)
            .u64(x)
            .u64(x + (1 << 19))
            .u32(1 << 16)
    });
    rate(basics, "scan", bytes, |x| {
        shape("scan", 128, 256).u64(x).u64(x + (1 << 19))
    });
    rate(dot, "dot", bytes, |x| {
        let mut grid = shape("dot", 1, 128)
            .u64(x)
            .u64(x + 8192)
            .u64(x + 16384)
            .u64(0)
            .u64(0);
        grid.dynamic_shared = 64 << 10;
        grid
    });
}

fn rate(text: &str, name: &str, bytes: usize, grid: impl Fn(u64) -> Launch) {
    let mut asked = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    if asked.peek().is_some() && !asked.any(|word| word == name) {
        return;
    }
    let module = Module::parse(text).expect("a kernel of the tests");
    let program = Program::new(&module).expect("a kernel of the tests");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ways = [(false, 1), (true, 1), (true, threads)];
    let mut best = [Duration::MAX; 3];
    let mut lanes = 0;
    for _ in 0..7 {
        for ((races, threads), best) in ways.into_iter().zip(&mut best) {
            let mut memory = Global::new();
            let x = memory.allocate_with(vec![0; bytes]);
            let mut grid = grid(x);
            grid.races = races;
            grid.threads = threads;
            let begin = Instant::now();
            let report = launch(&program, &mut memory, &grid).expect("a grid that can be launched");
            *best = begin.elapsed().min(*best);
            assert!(report.findings.is_empty(), "{:?}", report.findings);
            lanes = report.lane_instructions;
        }
    }
    let [without, with, across] = best.map(|time| lanes as f64 / time.as_secs_f64() / 1e6);
    println!(
        "{name:8} {lanes:9} instructions of lanes: {without:6.1} M/s, with the search for races {with:6.1} M/s, \
         on {threads} threads {across:6.1} M/s"
    );
}
