//! Runs replications side by side and hands them on in order, whatever the number of threads.
//!
//! It knows nothing of what a replication is. If it handed results on in the order in which they end, two runs of
//! the same scenario could differ.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a run and the world outside tell each other: how far it is, and whether to stop. Shared between threads.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    simulated_ns: AtomicU64,
    requests: AtomicU64,
    planned: AtomicU32,
    done: AtomicU32,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Simulated time of all replications together, nanoseconds.
    pub simulated_ns: u64,
    /// Requests that reached a gateway, in all replications together.
    pub requests: u64,
    /// Replications until the next look.
    pub planned: u32,
    /// Replications that are over.
    pub done: u32,
}

impl Control {
    /// Asks the run to stop; it does so within some ten thousand events.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        Progress {
            simulated_ns: self.simulated_ns.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            planned: self.planned.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
        }
    }

    /// Adds what a replication advanced since it last told.
    pub fn advance(&self, simulated_ns: u64, requests: u64) {
        self.simulated_ns.fetch_add(simulated_ns, Ordering::Relaxed);
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }
}

/// Results that came early wait here for those before them.
struct Line<T, F> {
    next: u32,
    early: BTreeMap<u32, T>,
    take: F,
}

impl<T, F: FnMut(u32, T)> Line<T, F> {
    fn offer(&mut self, index: u32, result: T) {
        self.early.insert(index, result);
        while let Some(result) = self.early.remove(&self.next) {
            (self.take)(self.next, result);
            self.next += 1;
        }
    }
}

/// Runs `run(i)` for each `i` of `range` on all threads of `pool`, and calls `take(i, result)` in order of `i`.
///
/// Replications are started in order, one at a time per thread, so at most a thread's worth of results wait for an
/// earlier one: memory is O(threads). When `control` is stopped none but the first is started; all that were started
/// are handed on.
///
/// # Errors
/// The error of the lowest failing index, which does not depend on the number of threads either.
pub fn replicate<T: Send, E: Send>(
    pool: &rayon::ThreadPool,
    range: Range<u32>,
    control: &Control,
    run: impl Fn(u32) -> Result<T, E> + Sync,
    take: impl FnMut(u32, T) + Send,
) -> Result<(), E> {
    control.planned.store(range.end, Ordering::Relaxed);
    let next = AtomicU32::new(range.start);
    let failed = AtomicBool::new(false);
    let line = Mutex::new(Line { next: range.start, early: BTreeMap::new(), take });
    let errors = Mutex::new(BTreeMap::new());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= range.end || (index > range.start && control.is_stopped()) {
                return;
            }
            match run(index) {
                Ok(result) => {
                    line.lock().unwrap_or_else(PoisonError::into_inner).offer(index, result);
                    control.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    errors.lock().unwrap_or_else(PoisonError::into_inner).insert(index, error);
                }
            }
        }
    };
    pool.broadcast(|_| work());
    // Indices are given out in order and whoever has one finishes it, so nothing below the lowest error is missing.
    match errors.into_inner().unwrap_or_else(PoisonError::into_inner).pop_first() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn results_come_in_order_however_many_threads_there_are() {
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let run = |i: u32| {
                // Early ones take longer.
                (0..20_000 / (i + 1)).for_each(|x| {
                    std::hint::black_box(x);
                });
                Ok::<u32, ()>(i * i)
            };
            replicate(&pool(threads), 3..40, &Control::default(), run, |i, r| seen.push((i, r))).unwrap();
            assert_eq!(seen, (3..40).map(|i| (i, i * i)).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn the_lowest_error_wins_even_when_a_later_one_comes_first() {
        let both_running = Barrier::new(2);
        let run = |i: u32| -> Result<(), u32> {
            both_running.wait();
            if i == 0 {
                (0..100_000).for_each(|x| {
                    std::hint::black_box(x);
                });
            }
            Err(i)
        };
        assert_eq!(replicate(&pool(2), 0..2, &Control::default(), run, |_, ()| {}), Err(0));
    }

    #[test]
    fn a_stop_starts_nothing_more_and_keeps_what_was_started() {
        let control = Control::default();
        let mut seen = Vec::new();
        let run = |i: u32| {
            if i == 4 {
                control.stop();
            }
            Ok::<u32, ()>(i)
        };
        replicate(&pool(1), 0..100, &control, run, |i, _| seen.push(i)).unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!((control.progress().done, control.progress().planned), (5, 100));
        seen.clear();
        replicate(&pool(2), 7..100, &control, Ok::<u32, ()>, |i, _| seen.push(i)).unwrap();
        assert_eq!(seen, [7], "a stop before the start still leaves something to show");
    }
}
