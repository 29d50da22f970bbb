//! Time of a block: nanoseconds since its start, on a clock that never goes back.

use std::time::{Duration, Instant};
use tidegate_sim::time::Time;

/// The clock of a block. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    start: Instant,
}

impl Stopwatch {
    /// A block that starts `ahead` from now: until then its time stands at zero.
    pub fn starting_in(ahead: Duration) -> Self {
        Stopwatch { start: Instant::now() + ahead }
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now(&self) -> u64 {
        // Beyond 584 years.
        u64::try_from(Instant::now().saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant, as facts have it.
    #[inline]
    pub fn time(&self) -> Time {
        Time::from_nanos(self.now())
    }

    /// How long until `due`; zero when that is over.
    #[inline]
    pub fn until(&self, due: u64) -> Duration {
        (self.start + Duration::from_nanos(due)).saturating_duration_since(Instant::now())
    }

    /// The same instant for timers of the runtime.
    pub fn deadline(&self, due: u64) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + Duration::from_nanos(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_start_time_stands_at_zero_and_waits_count_from_the_start() {
        let clock = Stopwatch::starting_in(Duration::from_secs(60));
        assert_eq!(clock.now(), 0);
        let wait = clock.until(1_000_000_000);
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(61), "{wait:?}");
    }

    #[test]
    fn time_never_goes_back() {
        let clock = Stopwatch::starting_in(Duration::ZERO);
        let mut last = 0;
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
