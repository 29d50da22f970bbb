//! Simulated time: integer nanoseconds, two types.
//!
//! [`Time`] is an instant since the scenario's start, [`Span`] a length of time. They are different types so that
//! adding two instants does not compile. `u64` nanoseconds reach 584 years; the arithmetic is checked in every
//! build, because a wrapped clock would silently reorder events.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};

/// Nanoseconds in one second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// An instant: nanoseconds since the start of the scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A length of time in nanoseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Time {
    /// The start of the scenario.
    pub const ZERO: Time = Time(0);
    /// The last representable instant; used as "never".
    pub const MAX: Time = Time(u64::MAX);

    /// The instant `ns` nanoseconds after the start.
    pub const fn from_nanos(ns: u64) -> Self {
        Time(ns)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start, for display and statistics only.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// Time since `earlier`, or zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// `self + span`, or [`Time::MAX`] when that does not fit.
    pub fn saturating_add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest representable span.
    pub const MAX: Span = Span(u64::MAX);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Span(ns)
    }

    /// A span of `us` microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Span(us * 1_000)
    }

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Span(ms * 1_000_000)
    }

    /// A span of `s` seconds.
    pub const fn from_secs(s: u64) -> Self {
        Span(s * NANOS_PER_SEC)
    }

    /// The span nearest to `s` seconds; negative and NaN become zero, too large becomes [`Span::MAX`].
    pub fn from_secs_f64(s: f64) -> Self {
        Span((s * NANOS_PER_SEC as f64).round() as u64)
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds, for display and statistics only.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// Whether the span is empty.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self - other`, or zero when `other` is longer.
    pub fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.checked_add(span.0).expect("simulated time overflows u64 nanoseconds"))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Time> for Time {
    type Output = Span;
    fn sub(self, earlier: Time) -> Span {
        Span(self.0.checked_sub(earlier.0).expect("an instant cannot precede its own start"))
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.checked_sub(span.0).expect("an instant cannot precede the start of the scenario"))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.checked_add(other.0).expect("span overflows u64 nanoseconds"))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.checked_sub(other.0).expect("a span cannot be negative"))
    }
}

impl SubAssign for Span {
    fn sub_assign(&mut self, other: Span) {
        *self = *self - other;
    }
}

impl Mul<u64> for Span {
    type Output = Span;
    fn mul(self, factor: u64) -> Span {
        Span(self.0.checked_mul(factor).expect("span overflows u64 nanoseconds"))
    }
}

impl Div<u64> for Span {
    type Output = Span;
    fn div(self, divisor: u64) -> Span {
        Span(self.0 / divisor)
    }
}

impl fmt::Display for Span {
    /// Human form with the unit that keeps the number readable: `850ns`, `12.5us`, `250ms`, `1.5s`, `24h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        for (unit, size) in [("h", 3600 * NANOS_PER_SEC), ("min", 60 * NANOS_PER_SEC)] {
            if ns >= size && ns.is_multiple_of(size) {
                return write!(f, "{}{unit}", ns / size);
            }
        }
        let (unit, size) = match ns {
            0..=999 => ("ns", 1u64),
            1_000..=999_999 => ("us", 1_000),
            1_000_000..=999_999_999 => ("ms", 1_000_000),
            _ => ("s", NANOS_PER_SEC),
        };
        if ns.is_multiple_of(size) {
            write!(f, "{}{unit}", ns / size)
        } else {
            let text = format!("{:.3}", ns as f64 / size as f64);
            write!(f, "{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}", Span(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_in_the_unit_that_keeps_them_readable() {
        let cases = [
            (0, "0ns"),
            (850, "850ns"),
            (12_500, "12.5us"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (90 * NANOS_PER_SEC, "90s"),
            (120 * NANOS_PER_SEC, "2min"),
            (24 * 3600 * NANOS_PER_SEC, "24h"),
        ];
        for (ns, text) in cases {
            assert_eq!(Span::from_nanos(ns).to_string(), text);
        }
    }

    #[test]
    #[should_panic(expected = "cannot precede")]
    fn an_instant_before_its_own_start_is_a_broken_invariant() {
        let _ = Time::from_nanos(1) - Time::from_nanos(2);
    }

    #[test]
    fn seconds_become_the_nearest_nanosecond_and_never_wrap() {
        assert_eq!(Span::from_secs_f64(1e-9 * 2.6), Span::from_nanos(3));
        assert_eq!(Span::from_secs_f64(-1.0), Span::ZERO);
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
        assert_eq!(Span::from_secs_f64(1e30), Span::MAX);
    }
}
