//! Threads that share the blocks of a launch.

use super::RunError;
use std::num::NonZeroUsize;
use std::ops::Range;

/// Calls are cut this much finer than one for each thread, so that a thread that is late leaves work to the others.
const PIECES_PER_THREAD: u64 = 4;

/// A fixed number of threads. With one there is no pool: everything runs where it is asked for.
pub struct Team {
    pool: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Team {
    /// A team of that many threads; without a number, as many as the machine runs at once.
    ///
    /// # Errors
    /// The system does not give the threads.
    pub fn new(threads: Option<NonZeroUsize>) -> Result<Self, RunError> {
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let pool = (threads > 1).then(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("tessera-{index}"))
                .build()
        });
        Ok(Self {
            pool: pool.transpose().map_err(|error| RunError::Threads {
                threads,
                message: error.to_string(),
            })?,
            threads,
        })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on a thread of the team, where [`Member::share`] costs least.
    pub(super) fn enter<R: Send>(&self, work: impl FnOnce(Member) -> R + Send) -> R {
        let member = Member {
            threads: self.threads,
        };
        match &self.pool {
            None => work(member),
            Some(pool) => pool.install(|| work(member)),
        }
    }
}

/// The right to spread work over a team; only [`Team::enter`] gives it.
#[derive(Clone, Copy)]
pub(super) struct Member {
    threads: usize,
}

impl Member {
    /// The threads of the team.
    pub(super) fn threads(self) -> usize {
        self.threads
    }

    /// Covers `0 .. blocks` with calls `work(worker, range)`, of `grain` blocks or more except for the last, and returns
    /// when all are done. No two calls of one `worker`, a number below the team's threads, run at a time.
    pub(super) fn share<F>(self, blocks: u64, grain: u64, work: &F)
    where
        F: Fn(usize, Range<u64>) + Sync,
    {
        if blocks == 0 {
            return;
        }
        let fine = blocks.div_ceil(self.threads as u64 * PIECES_PER_THREAD);
        let length = fine.max(grain);
        if self.threads == 1 || blocks <= length {
            return work(self.worker(), 0..blocks);
        }
        self.halve(0..blocks.div_ceil(length), &|piece| {
            let begin = piece * length;
            work(self.worker(), begin..blocks.min(begin + length));
        });
    }

    fn halve<F: Fn(u64) + Sync>(self, pieces: Range<u64>, work: &F) {
        let count = pieces.end - pieces.start;
        if count == 1 {
            return work(pieces.start);
        }
        let middle = pieces.start + count / 2;
        rayon::join(
            || self.halve(pieces.start..middle, work),
            || self.halve(middle..pieces.end, work),
        );
    }

    /// The number of the thread this runs on.
    fn worker(self) -> usize {
        match self.threads {
            1 => 0,
            _ => rayon::current_thread_index().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The begin and end of each call.
    fn calls(threads: usize, blocks: u64, grain: u64) -> Vec<(u64, u64)> {
        let calls = Mutex::new(Vec::new());
        let team = Team::new(NonZeroUsize::new(threads)).unwrap();
        team.enter(|member| {
            member.share(blocks, grain, &|worker, range| {
                assert!(worker < threads);
                calls.lock().unwrap().push((range.start, range.end));
            });
        });
        let mut calls = calls.into_inner().unwrap();
        calls.sort_unstable();
        calls
    }

    #[test]
    fn every_block_is_covered_once() {
        for threads in [1, 2, 3] {
            for (blocks, grain) in [(1, 1), (7, 2), (100, 1), (100, 30), (101, 1000)] {
                let calls = calls(threads, blocks, grain);
                assert_eq!(calls.first().map(|call| call.0), Some(0));
                assert_eq!(calls.last().map(|call| call.1), Some(blocks));
                assert!(calls.windows(2).all(|pair| pair[0].1 == pair[1].0));
                let whole = &calls[..calls.len() - 1];
                assert!(whole.iter().all(|(begin, end)| end - begin >= grain));
            }
        }
    }

    #[test]
    fn one_thread_makes_one_call() {
        assert_eq!(calls(1, 1000, 1), [(0, 1000)]);
    }

    #[test]
    fn no_blocks_make_no_call() {
        assert_eq!(calls(2, 0, 1), []);
    }

    #[test]
    fn a_grain_of_all_blocks_makes_one_call() {
        assert_eq!(calls(3, 64, 64), [(0, 64)]);
    }
}
