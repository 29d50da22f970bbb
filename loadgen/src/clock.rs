//! The real clock, as time of a run.

use std::time::{Duration, Instant};
use tidegate_sim::time::{Span, Time};

/// Nanoseconds since a start, on the clock that never goes back; faster than real by a factor, when wanted. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    speed: f64,
}

impl Clock {
    /// A clock that starts `ahead` from now: until then it stands at zero.
    pub fn starting_in(ahead: Duration) -> Self {
        Clock { start: Instant::now() + ahead, speed: 1.0 }
    }

    /// A clock that is at zero now and runs `speed` times as fast as real time.
    pub fn at_speed(speed: f64) -> Self {
        assert!(speed.is_finite() && speed > 0.0, "a clock cannot run at speed {speed}");
        Clock { start: Instant::now(), speed }
    }

    /// Now.
    #[inline]
    pub fn now(&self) -> Time {
        Time::from_nanos(self.nanos())
    }

    /// Now, nanoseconds since the start.
    #[inline]
    pub fn nanos(&self) -> u64 {
        // Beyond 584 years.
        let real = u64::try_from(Instant::now().saturating_duration_since(self.start).as_nanos());
        let real = real.unwrap_or(u64::MAX);
        // Exact at speed 1; otherwise to what a double holds.
        if self.speed == 1.0 { real } else { (real as f64 * self.speed) as u64 }
    }

    /// The real instant at which this clock shows `at`.
    #[inline]
    pub fn instant(&self, at: Time) -> Instant {
        self.start + Duration::from_nanos(self.real(at - Time::ZERO))
    }

    /// Real nanoseconds of a span of this clock.
    #[inline]
    pub fn real(&self, span: Span) -> u64 {
        if self.speed == 1.0 { span.as_nanos() } else { (span.as_nanos() as f64 / self.speed) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_time_and_reaches_an_instant_sooner() {
        let clock = Clock::at_speed(1_000.0);
        let at = Time::ZERO + Span::from_secs(100);
        assert_eq!(clock.instant(at) - clock.instant(Time::ZERO), Duration::from_millis(100));
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now() >= Time::ZERO + Span::from_secs(2), "{}", clock.now());
    }

    #[test]
    fn before_the_start_time_stands_at_zero_and_waits_count_from_the_start() {
        let clock = Clock::starting_in(Duration::from_secs(60));
        assert_eq!(clock.now(), Time::ZERO);
        let wait = clock.instant(Time::from_nanos(1_000_000_000)) - Instant::now();
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(61), "{wait:?}");
    }

    #[test]
    fn time_never_goes_back() {
        let clock = Clock::starting_in(Duration::ZERO);
        let mut last = 0;
        for _ in 0..10_000 {
            let now = clock.nanos();
            assert!(now >= last);
            last = now;
        }
    }
}
