//! One precise timer that many tasks wait on: think times, pauses before a retry, hedges.
//!
//! Each of them with a kernel timer of its own would cost a descriptor a request.

use crate::clock::Clock;
use crate::pacer::{NEAR, Pacer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Mutex, PoisonError};
use tidegate_sim::time::Time;
use tokio::sync::{Notify, oneshot};

/// Who waits until when. [`Alarm::serve`] must run for anybody to be woken.
#[derive(Debug, Default)]
pub struct Alarm {
    waiting: Mutex<Waiting>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    heap: BinaryHeap<Reverse<Sleeper>>,
    /// Breaks ties, so that those of one instant wake in the order in which they came.
    count: u64,
}

#[derive(Debug)]
struct Sleeper {
    due: u64,
    number: u64,
    wake: oneshot::Sender<()>,
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sleeper {}

impl Alarm {
    /// Returns when `clock` has reached `due`, or when nobody serves the alarm any more. May be dropped; its place is kept
    /// until then.
    pub async fn until(&self, clock: &Clock, due: u64) {
        if clock.nanos() >= due {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let number = waiting.count;
            waiting.count += 1;
            let first = waiting.heap.peek().is_none_or(|Reverse(next)| due < next.due);
            waiting.heap.push(Reverse(Sleeper { due, number, wake }));
            first
        };
        if first {
            self.earlier.notify_one();
        }
        // An error is the end of the alarm.
        let _ = woken.await;
    }

    /// Wakes whoever is due, for ever.
    ///
    /// # Errors
    /// When the system refuses a timer.
    pub async fn serve(&self, clock: Clock) -> io::Result<()> {
        let mut pacer = Pacer::new()?;
        loop {
            let next = self.wake(clock.nanos());
            match next {
                None => self.earlier.notified().await,
                Some(due) => tokio::select! {
                    reached = pacer.until(clock.instant(Time::from_nanos(due))) => reached?,
                    () = self.earlier.notified() => {}
                },
            }
        }
    }

    /// Wakes everybody who is due at `now`; when the next one is.
    fn wake(&self, now: u64) -> Option<u64> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = waiting.heap.peek().map(|Reverse(next)| next.due)?;
            // The pacer takes an instant as reached when it is as near as this.
            if next > now + NEAR.as_nanos() as u64 {
                return Some(next);
            }
            if let Some(Reverse(sleeper)) = waiting.heap.pop() {
                // Whoever does not wait any more need not be woken.
                let _ = sleeper.wake.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_instants_whenever_they_came() {
        let clock = Clock::starting_in(Duration::ZERO);
        let alarm = Arc::new(Alarm::default());
        let server = tokio::spawn({
            let alarm = Arc::clone(&alarm);
            async move { alarm.serve(clock).await }
        });
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for ms in [30_u64, 10, 20, 5] {
            let (alarm, woken) = (Arc::clone(&alarm), Arc::clone(&woken));
            tasks.push(tokio::spawn(async move {
                let due = ms * 1_000_000;
                alarm.until(&clock, due).await;
                assert!(clock.nanos() + 2_000 >= due);
                woken.lock().unwrap().push(ms);
            }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), [5, 10, 20, 30]);
        server.abort();
    }
}
