//! The threads that send: each has a runtime of its own, and what is spawned on it stays there.
//!
//! So nothing between an instant and a request, nor between an answer and its time stamp, has to wake another thread.

use std::io;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Threads of lanes. What is spawned on them is dropped with them.
pub(super) struct Threads {
    threads: Vec<(Handle, JoinHandle<()>)>,
    end: CancellationToken,
}

impl Threads {
    /// So many threads, at least one.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let one = |number| {
            // A timer that is due must not wait for many tasks.
            let runtime = Builder::new_current_thread().event_interval(16).enable_all().build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            let thread = std::thread::Builder::new().name(format!("lane {number}"));
            Ok((handle, thread.spawn(move || runtime.block_on(end.cancelled_owned()))?))
        };
        let threads = (0..count.max(1)).map(one).collect::<io::Result<_>>();
        // Those that came are not left behind when one did not.
        threads.inspect_err(|_| end.cancel()).map(|threads| Threads { threads, end: end.clone() })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    /// The runtime of the `number`th thread, counted round and round.
    pub(super) fn runtime(&self, number: usize) -> &Handle {
        &self.threads[number % self.threads.len()].0
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end.cancel();
        for (_, thread) in self.threads.drain(..) {
            // A panic of a task does not end its thread.
            let _ = thread.join();
        }
    }
}
