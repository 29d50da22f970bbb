//! The real clock, as simulated time.

use std::time::{Duration, Instant};
use tidegate_sim::time::{Span, Time};

/// Nanoseconds since a start, on the clock that never goes back; faster than real by a factor, when wanted.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    speed: f64,
}

impl Clock {
    /// A clock that is at zero now.
    pub fn start() -> Self {
        Clock::at_speed(1.0)
    }

    /// A clock that runs `speed` times as fast as real time.
    pub fn at_speed(speed: f64) -> Self {
        assert!(speed.is_finite() && speed > 0.0, "a clock cannot run at speed {speed}");
        Clock { start: Instant::now(), speed }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.time_of(Instant::now())
    }

    /// A real instant on this clock; zero before its start.
    pub fn time_of(&self, at: Instant) -> Time {
        let real = at.saturating_duration_since(self.start).as_nanos() as u64;
        // Exact at speed 1; otherwise to what a double holds.
        Time::from_nanos(if self.speed == 1.0 { real } else { (real as f64 * self.speed) as u64 })
    }

    /// Real time from now until `at`; zero when that is over.
    pub fn until(&self, at: Time) -> Duration {
        let now = self.now();
        if at <= now {
            return Duration::ZERO;
        }
        let ahead = (at - now).as_nanos();
        if self.speed == 1.0 {
            Duration::from_nanos(ahead)
        } else {
            Duration::from_nanos((ahead as f64 / self.speed) as u64)
        }
    }

    /// Real nanoseconds of a span of this clock.
    pub fn real(&self, span: Span) -> u64 {
        if self.speed == 1.0 { span.as_nanos() } else { (span.as_nanos() as f64 / self.speed) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_time_and_waits_less() {
        let clock = Clock::at_speed(1_000.0);
        let at = Time::ZERO + Span::from_secs(100);
        let wait = clock.until(at);
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert!(wait > Duration::from_millis(50), "{wait:?}");
    }

    #[test]
    fn an_instant_before_the_start_is_zero() {
        let before = Instant::now();
        let clock = Clock::start();
        assert_eq!(clock.time_of(before), Time::ZERO);
        assert_eq!(clock.until(Time::ZERO), Duration::ZERO);
    }
}
