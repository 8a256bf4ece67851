//! How many instructions of lanes a second the machine executes: kernels of the tests, without the search for races, with it,
//! and with it on all threads of the host, in turn; and how many multiply-adds, of products of matrices. Of several rounds the
//! fastest counts. Names of kernels choose these; `--races` measures the second way alone, for a profile.

use std::time::{Duration, Instant};
use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};

fn main() {
    let basics = include_str!("../tests/kernels/basics.ptx");
    let matmul = include_str!("../tests/kernels/triton_matmul_sm_80.ptx");
    let softmax = include_str!("../tests/kernels/triton_softmax_sm_90.ptx");
    let nvfp4_of_warps = include_str!("../tests/kernels/triton_matmul_nvfp4_sm_120.ptx");
    let nvfp4 = include_str!("../tests/kernels/triton_matmul_nvfp4_sm_100.ptx");
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
    rate(basics, "histogram", bytes, |x| {
        shape("histogram", 16, 256)
            .u64(x)
            .u64(x + (1 << 19))
            .u32(1 << 15)
    });
    rate(basics, "transpose", bytes, |x| {
        let grid = Launch::new("transpose").grid([8, 8, 1]);
        let grid = grid.block([32, 8, 1]).u64(x).u64(x + (1 << 19));
        grid.u32(256).u32(256)
    });
    rate(basics, "softmax", bytes, |x| {
        shape("softmax", 128, 32)
            .u64(x)
            .u64(x + (1 << 19))
            .u32(1024)
    });
    rate(softmax, "softmax of Triton", bytes, |x| {
        let mut grid = shape("softmax", 128, 128)
            .u64(x)
            .u64(x + (1 << 19))
            .u64(0)
            .u64(0);
        grid.dynamic_shared = 1 << 10;
        grid
    });
    rate(PRODUCTS, "products", bytes, |x| {
        shape("products", 8, 128).u64(x)
    });
    // A of 256x256, B of 256x256, the result, and memory that Triton's own tools may ask for.
    rate(matmul, "matmul of f16", bytes, |x| {
        let mut grid = shape("matmul", 4, 128)
            .u64(x)
            .u64(x + (1 << 17))
            .u64(x + (1 << 18));
        grid.grid[1] = 4;
        grid.dynamic_shared = 64 << 10;
        grid.u32(256).u32(256).u64(0).u64(0)
    });
    // A of 256x512 with its scales, B of 512x256 with its scales, and as above.
    let scaled = |x: u64| {
        let mut grid = shape("matmul_scaled", 2, 128);
        for operand in [0, 1 << 16, 2 << 16, 3 << 16, 4 << 16] {
            grid = grid.u64(x + operand);
        }
        grid.grid[1] = 4;
        grid.dynamic_shared = 96 << 10;
        grid.u32(256).u32(512).u64(0).u64(0)
    };
    rate(nvfp4_of_warps, "nvfp4 of sm_120a", bytes, scaled);
    rate(nvfp4, "nvfp4 of sm_100a", bytes, scaled);
}

/// Products of matrices in registers, and nothing else to speak of.
const PRODUCTS: &str = "\
.version 8.0
.target sm_90
.address_size 64
.visible .entry products(.param .u64 x)
{
.reg .b32 %a<4>;
.reg .b32 %b<2>;
.reg .f32 %c<4>;
.reg .b64 %x;
.reg .b32 %i;
.reg .pred %p;
ld.param.u64 %x, [x];
mov.b32 %i, %tid.x;
mul.wide.u32 %x, %i, 32;
mov.b32 %a0, 0x3c003800;
mov.b32 %a1, 0x3c004000;
mov.b32 %a2, 0x40003c00;
mov.b32 %a3, 0x38003c00;
mov.b32 %b0, 0x3c00bc00;
mov.b32 %b1, 0x40003800;
mov.f32 %c0, 0f00000000;
mov.f32 %c1, %c0;
mov.f32 %c2, %c0;
mov.f32 %c3, %c0;
mov.b32 %i, 0;
LOOP:
mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%c0, %c1, %c2, %c3};
add.u32 %i, %i, 1;
setp.lt.u32 %p, %i, 512;
@%p bra LOOP;
ret;
}
";

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
    let only_races = std::env::args().any(|word| word == "--races");
    let mut best = [Duration::MAX; 3];
    let (mut lanes, mut multiply_adds) = (0, 0);
    for _ in 0..7 {
        for (index, ((races, threads), best)) in ways.into_iter().zip(&mut best).enumerate() {
            if only_races && index != 1 {
                continue;
            }
            let mut memory = Global::new();
            let x = memory.allocate_with(vec![0x3a; bytes]);
            let mut grid = grid(x);
            grid.races = races;
            grid.threads = threads;
            let begin = Instant::now();
            let report = launch(&program, &mut memory, &grid).expect("a grid that can be launched");
            *best = begin.elapsed().min(*best);
            assert!(report.findings.is_empty(), "{:?}", report.findings);
            lanes = report.lane_instructions;
            multiply_adds = report.counts.all_multiply_adds();
        }
    }
    let rates = |count: u64| best.map(|time| count as f64 / time.as_secs_f64() / 1e6);
    let print = |what: &str, count: u64| {
        let [without, with, across] = rates(count);
        println!(
            "{name:17} {count:8} {what}: {without:6.1} M/s, with the search for races {with:6.1} M/s, \
             on {threads} threads {across:6.1} M/s"
        );
    };
    print("instructions of lanes", lanes);
    if multiply_adds > 0 {
        print("multiply-adds", multiply_adds);
    }
}
