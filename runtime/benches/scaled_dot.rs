//! Products of scaled tensors beside the f32 products of the `gemm` crate, on the same threads.
//!
//! ```text
//! cargo bench -p tessera-runtime --bench scaled_dot
//! ```
//!
//! Both are measured in turn, several times; the table has the best time of each. Numbers of multiply-adds are per
//! second and all threads.

use rayon::prelude::*;
use std::error::Error;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tessera_numerics::{BlockShape, Format, ScaleLayout, ScaledType};
use tessera_runtime::Team;
use tessera_runtime::scaled_dot::{Level, ScaledDot, ScaledProduct, Workspace};

/// Measurements of each; the best one counts.
const REPETITIONS: usize = 15;

/// Rows, columns, length of the sums.
const SIZES: [[usize; 3]; 2] = [[1024, 1024, 1024], [4096, 1024, 1024]];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too, to see that it works.
    let repetitions = if std::env::args().any(|argument| argument == "--bench") {
        REPETITIONS
    } else {
        1
    };
    let available = std::thread::available_parallelism()?;
    let mut threads = vec![NonZeroUsize::MIN, available];
    threads.dedup();
    println!(
        "{:<16} {:>7} {:<7} {:<13} {:>9} {:>11} {:>9} {:>7}",
        "m x n x k", "threads", "format", "level", "ms", "Gmul-add/s", "f32 ms", "ratio"
    );
    for [m, n, k] in SIZES {
        for &threads in &threads {
            let mut f32_product = F32Product::new(m, n, k, threads)?;
            for format in [Format::Nvfp4, Format::Mxfp4] {
                for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                    if level == Level::Portable {
                        // Not made for speed.
                        continue;
                    }
                    let mut scaled = Scaled::new(m, n, k, format, level, threads)?;
                    let (mut best, mut best_f32) = (Duration::MAX, Duration::MAX);
                    for _ in 0..repetitions {
                        best = best.min(time(|| scaled.run())?);
                        best_f32 = best_f32.min(time(|| f32_product.run())?);
                    }
                    let [own, f32_own] = [best, best_f32].map(|time| 1e3 * time.as_secs_f64());
                    println!(
                        "{:<16} {threads:>7} {format:<7} {:<13} {own:>9.3} {:>11.1} {f32_own:>9.3} {:>7.2}",
                        format!("{m}x{n}x{k}"),
                        level.to_string(),
                        (m * n * k) as f64 / own / 1e6,
                        f32_own / own,
                    );
                }
            }
        }
    }
    Ok(())
}

fn time<E>(run: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

/// Bytes that look random.
fn bytes(count: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

struct Scaled {
    dot: ScaledDot,
    team: Team,
    workspace: Workspace,
    lhs: Vec<u8>,
    rhs: Vec<u8>,
    result: Vec<f32>,
}

impl Scaled {
    fn new(
        m: usize,
        n: usize,
        k: usize,
        format: Format,
        level: Level,
        threads: NonZeroUsize,
    ) -> Result<Self, Box<dyn Error>> {
        let operand = |rows: usize| {
            ScaledType::new(
                [rows, k],
                format,
                1,
                BlockShape::Vector,
                ScaleLayout::Linear,
            )
        };
        let (lhs_type, rhs_type) = (operand(m)?, operand(n)?);
        let [lhs, rhs] = [(&lhs_type, 1), (&rhs_type, 2)].map(|(scaled_type, seed)| {
            let mut operand = bytes(scaled_type.byte_size(), seed);
            // Scales as quantisation makes them: neither NaN nor far from 1.
            let start = scaled_type.scales_offset();
            for scale in &mut operand[start..start + scaled_type.scale_bytes()] {
                *scale = match format {
                    Format::Nvfp4 => *scale % 0x7f,
                    _ => 120 + *scale % 8,
                };
            }
            if format.has_tensor_scale() {
                operand[scaled_type.tensor_scale_offset()..].copy_from_slice(&1f32.to_le_bytes());
            }
            operand
        });
        let dot = ScaledDot::new(ScaledProduct::dense(lhs_type, rhs_type))?.with_level(level)?;
        let team = Team::new(Some(threads))?;
        Ok(Self {
            workspace: Workspace::new(&dot, &team)?,
            dot,
            team,
            lhs,
            rhs,
            result: vec![0.0; m * n],
        })
    }

    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let (lhs, rhs) = (&self.lhs, &self.rhs);
        self.dot
            .multiply(&self.team, &mut self.workspace, lhs, rhs, &mut self.result)?;
        Ok(())
    }
}

/// Row-major matrices, cut into panels of rows of the result as the runtime cuts them.
struct F32Product {
    m: usize,
    n: usize,
    k: usize,
    lhs: Vec<f32>,
    rhs: Vec<f32>,
    result: Vec<f32>,
    pool: rayon::ThreadPool,
}

impl F32Product {
    fn new(m: usize, n: usize, k: usize, threads: NonZeroUsize) -> Result<Self, Box<dyn Error>> {
        let values = |count, seed| {
            let bytes = bytes(count, seed);
            bytes.into_iter().map(|byte| f32::from(byte) / 128.0 - 1.0)
        };
        Ok(Self {
            m,
            n,
            k,
            lhs: values(m * k, 3).collect(),
            rhs: values(k * n, 4).collect(),
            result: vec![0.0; m * n],
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(threads.get())
                .build()?,
        })
    }

    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let (m, n, k) = (self.m, self.n, self.k);
        let (lhs, rhs) = (&self.lhs, &self.rhs);
        let panel = if self.pool.current_num_threads() == 1 {
            m
        } else {
            m.div_ceil(2 * self.pool.current_num_threads())
        };
        let panels = self.result.par_chunks_mut(panel * n);
        let lhs_panels = lhs.par_chunks(panel * k);
        self.pool.install(|| {
            panels.zip(lhs_panels).for_each(|(result, lhs)| {
                let rows = result.len() / n;
                // SAFETY: row-major matrices of rows x n, rows x k and k x n numbers.
                unsafe {
                    gemm::gemm(
                        rows,
                        n,
                        k,
                        result.as_mut_ptr(),
                        1,
                        n as isize,
                        false,
                        lhs.as_ptr(),
                        1,
                        k as isize,
                        rhs.as_ptr(),
                        1,
                        n as isize,
                        0f32,
                        1f32,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            });
        });
        Ok(())
    }
}
