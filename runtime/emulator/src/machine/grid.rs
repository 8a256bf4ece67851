//! A grid: its clusters in waves, its waves across threads.
//!
//! Clusters are executed in *waves* of a few, drawn by the seed. Clusters of a wave take turns; waves come one after the
//! other, each on the memory that the one before it leaves. That is the meaning, with any number of threads.
//!
//! Threads execute waves ahead of their turn, each on a view of global memory as it was ([`View`]), and keep or drop what came
//! of it in order: it is kept where it would have been the same in its turn, since the wave wrote nothing that an earlier one
//! had accessed, and read nothing that one had written (A. J. Bernstein, "Analysis of programs for parallel processing", 1966).
//! The race checker's shadow knows both. Otherwise the wave is executed again, in its turn; and since kernels whose waves
//! depend on each other mostly do so throughout, no further one is tried ahead.

use super::random::Random;
use super::setup::{arguments, check_shape, clusters, load};
use super::shadow::Shadow;
use super::wave::{Setting, Wave};
use crate::launch::{Launch, LaunchError, Report};
use crate::memory::{Dirty, Global, View};
use crate::program::Program;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Clusters of a wave.
const WAVE: usize = 8;
/// Waves that a thread executes ahead before those of all are kept or dropped.
const AHEAD: usize = 4;

/// Launches a grid and executes it to its end.
///
/// # Errors
/// The grid cannot be launched. What is wrong with the kernel itself is in the report.
pub fn launch(
    program: &Program,
    memory: &mut Global,
    launch: &Launch,
) -> Result<Report, LaunchError> {
    let index = program
        .index(&launch.kernel)
        .filter(|&index| program.functions[index].is_kernel);
    let Some(kernel) = index else {
        let kernels = program.kernels().map(str::to_owned).collect();
        return Err(LaunchError::UnknownKernel {
            kernel: launch.kernel.clone(),
            kernels,
        });
    };
    check_shape(program, kernel, launch)?;
    let setting = Setting {
        program,
        kernel,
        launch,
        arguments: arguments(program, kernel, launch)?,
        variables: load(program, memory)?,
    };
    let clusters = drawn(clusters(launch), launch.seed);
    let mut grid = Grid {
        setting,
        memory: Arc::new(std::mem::take(memory)),
        shadow: launch.races.then(Shadow::default),
        report: Report {
            completed: true,
            ..Report::default()
        },
    };
    grid.run(&clusters);
    *memory = Arc::unwrap_or_clone(grid.memory);
    grid.report.end(memory);
    Ok(grid.report)
}

/// Clusters in the order of a seed.
fn drawn(mut clusters: Vec<[u32; 3]>, seed: u64) -> Vec<[u32; 3]> {
    let mut random = Random(seed);
    for last in (1..clusters.len()).rev() {
        clusters.swap(last, random.below(last + 1));
    }
    clusters
}

struct Grid<'g> {
    setting: Setting<'g>,
    /// Nobody else has it but while waves are executed ahead.
    memory: Arc<Global>,
    /// Who accessed global memory; nothing where races are not looked for.
    shadow: Option<Shadow>,
    report: Report,
}

/// A wave that was executed ahead of its turn.
struct Ahead {
    report: Report,
    shadow: Shadow,
    written: Dirty,
}

impl Grid<'_> {
    fn run(&mut self, clusters: &[[u32; 3]]) {
        let waves: Vec<(u32, &[[u32; 3]])> =
            (0..).step_by(WAVE).zip(clusters.chunks(WAVE)).collect();
        let threads = self.setting.launch.threads.min(waves.len());
        // Without a shadow nothing tells what waves accessed.
        let mut tries = threads > 1 && self.shadow.is_some();
        let mut next = 0;
        while next < waves.len() {
            let end = (next + threads * AHEAD).min(waves.len());
            let some = if tries { &waves[next..end] } else { &[] };
            for ahead in self.ahead(some, threads) {
                if let Some(ahead) = ahead
                    && self.is_kept(&ahead)
                {
                    self.keep(ahead);
                } else {
                    tries = false;
                    self.in_turn(waves[next]);
                }
                next += 1;
                if !self.report.completed {
                    return;
                }
            }
            if !tries && next < waves.len() {
                self.in_turn(waves[next]);
                next += 1;
                if !self.report.completed {
                    return;
                }
            }
        }
    }

    /// Executes waves on memory as it is, which stays so, across threads.
    fn ahead(&self, waves: &[(u32, &[[u32; 3]])], threads: usize) -> Vec<Option<Ahead>> {
        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Option<Ahead>>> = waves.iter().map(|_| Mutex::default()).collect();
        let limit = self.limit();
        let work = || {
            loop {
                let own = next.fetch_add(1, Ordering::Relaxed);
                let (Some(&wave), Some(done)) = (waves.get(own), done.get(own)) else {
                    return;
                };
                let mut view = View::ahead(Arc::clone(&self.memory));
                let mut shadow = Shadow::default();
                let report =
                    Wave::new(&self.setting, &mut view, Some(&mut shadow), wave, limit).run();
                let ahead = Ahead {
                    report,
                    shadow,
                    written: view.written(),
                };
                if let Ok(mut done) = done.lock() {
                    *done = Some(ahead);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(waves.len()) {
                scope.spawn(work);
            }
            work();
        });
        let done = done.into_iter().map(|one| one.into_inner().ok().flatten());
        done.collect()
    }

    /// Instructions that are left of the launch's limit.
    fn limit(&self) -> u64 {
        self.setting
            .launch
            .step_limit
            .saturating_sub(self.report.instructions)
    }

    /// Whether a wave would have done the same in its turn.
    fn is_kept(&self, ahead: &Ahead) -> bool {
        let earlier = self.shadow.as_ref();
        ahead.report.instructions <= self.limit()
            && earlier.is_some_and(|earlier| ahead.shadow.is_apart_from(earlier))
    }

    fn keep(&mut self, ahead: Ahead) {
        Arc::make_mut(&mut self.memory).put_dirty(&ahead.written);
        if let Some(shadow) = &mut self.shadow {
            shadow.take_in(ahead.shadow);
        }
        self.report.append(ahead.report);
    }

    /// Executes a wave on memory itself.
    fn in_turn(&mut self, wave: (u32, &[[u32; 3]])) {
        let limit = self.limit();
        let mut view = View::of(std::mem::take(Arc::make_mut(&mut self.memory)));
        let report = Wave::new(&self.setting, &mut view, self.shadow.as_mut(), wave, limit).run();
        self.report.append(report);
        if let Some(memory) = view.ends() {
            self.memory = Arc::new(memory);
        }
    }
}
