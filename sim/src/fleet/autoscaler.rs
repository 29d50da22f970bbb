//! How many replicas a pool should have: a look at a measure, then windows, bounds and rates.
//!
//! The rule is that of the Kubernetes Horizontal Pod Autoscaler: `wanted = ceil(ready * measured / target)`, left alone
//! within a tolerance, then stabilised over windows and limited in rate. Source: Kubernetes documentation, *Horizontal
//! Pod Autoscaling*, algorithm details. Measures that are totals (requests, waiting requests) are divided by the target
//! for one replica, which is the same rule without the detour over a mean.

use crate::scenario::fleet::{Aim, Scaling};
use crate::time::{Span, Time};
use std::collections::VecDeque;

/// What was measured at a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Replicas that serve.
    pub ready: u16,
    /// The measure: thousandths of requests in all for [`Aim::Concurrency`] and [`Aim::Queue`], thousandths for
    /// [`Aim::Utilization`], nanoseconds for [`Aim::Ttft`]; `None` when there was nothing to measure.
    pub measured: Option<u64>,
}

/// The autoscaler of one pool.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    rule: Scaling,
    most: u16,
    /// Recommendations of the windows, latest last: those that could still be the least, and the greatest.
    least: VecDeque<(Time, u16)>,
    greatest: VecDeque<(Time, u16)>,
}

impl Autoscaler {
    /// An autoscaler for a pool of at most `most` replicas that starts with `initial`. Its windows begin with that
    /// number, so that they hold from the start.
    pub fn new(rule: &Scaling, most: u16, initial: u16) -> Self {
        let seen = VecDeque::from([(Time::ZERO, initial)]);
        Autoscaler { rule: rule.clone(), most, least: seen.clone(), greatest: seen }
    }

    /// The rule it follows.
    pub fn rule(&self) -> &Scaling {
        &self.rule
    }

    /// How many replicas there should be from `now` on, `wanted` being how many there should have been until now.
    /// Amortised O(1).
    pub fn decide(&mut self, now: Time, wanted: u16, reading: &Reading) -> u16 {
        let floor = self.rule.least(now).min(self.most);
        let asked = self.asked(wanted, reading).clamp(floor, self.most);
        let up = lowest(&mut self.least, now, asked, self.rule.up_window, |kept, new| kept < new);
        let down = lowest(&mut self.greatest, now, asked, self.rule.down_window, |kept, new| kept > new);
        let next = if up > wanted {
            up.min(wanted.saturating_add(self.rule.up_most))
        } else if down < wanted {
            down.max(wanted.saturating_sub(self.rule.down_most))
        } else {
            wanted
        };
        // The schedule is not waited for.
        next.clamp(floor, self.most)
    }

    /// What the measure asks for by itself.
    fn asked(&self, wanted: u16, reading: &Reading) -> u16 {
        let (Some(aim), Some(measured)) = (self.rule.aim, reading.measured) else {
            return wanted_without(self.rule.aim, wanted);
        };
        // `ask / scale` replicas would be exactly on target; `now` replicas are there.
        let (ask, scale, now) = match aim {
            Aim::Concurrency(target) | Aim::Queue(target) => {
                (u128::from(measured), u128::from(target), u128::from(wanted))
            }
            Aim::Utilization(target) => {
                let ready = u128::from(reading.ready);
                (u128::from(measured) * ready, u128::from(target), ready)
            }
            Aim::Ttft(target) => {
                let ready = u128::from(reading.ready);
                (u128::from(measured) * ready, u128::from(target.as_nanos()), ready)
            }
        };
        // |ask / scale - now| <= tolerance * now
        let tolerated = now * u128::from(self.rule.tolerance) * scale;
        if now > 0 && (ask * 1_000).abs_diff(now * scale * 1_000) <= tolerated {
            return wanted;
        }
        u16::try_from(ask.div_ceil(scale)).unwrap_or(u16::MAX)
    }
}

/// Without a measure only the schedule counts; with one that saw nothing, things stay as they are.
fn wanted_without(aim: Option<Aim>, wanted: u16) -> u16 {
    if aim.is_none() { 0 } else { wanted }
}

/// Adds a value to a sliding window and returns its extreme: `better(a, b)` says that `a` hides `b` while both are in it.
/// The value of `now` is always in the window.
fn lowest(
    window: &mut VecDeque<(Time, u16)>,
    now: Time,
    value: u16,
    length: Span,
    better: fn(u16, u16) -> bool,
) -> u16 {
    while window.back().is_some_and(|&(_, kept)| !better(kept, value)) {
        window.pop_back();
    }
    window.push_back((now, value));
    while window.front().is_some_and(|&(at, _)| at < now && now - at >= length) {
        window.pop_front();
    }
    window.front().expect("the value of now is in it").1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(aim: Option<Aim>) -> Scaling {
        Scaling {
            min: 1,
            aim,
            interval: Span::from_secs(15),
            tolerance: 100,
            up_window: Span::ZERO,
            down_window: Span::ZERO,
            up_most: u16::MAX,
            down_most: u16::MAX,
            schedule: Vec::new(),
            period: Span::from_secs(86_400),
        }
    }

    /// Long after the start, so that no window reaches back to it.
    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(86_400 * 7 + seconds)
    }

    fn reading(ready: u16, measured: u64) -> Reading {
        Reading { ready, measured: Some(measured) }
    }

    #[test]
    fn requests_are_divided_by_the_target_and_rounded_up() {
        let mut scaler = Autoscaler::new(&rule(Some(Aim::Concurrency(10_000))), 20, 1);
        assert_eq!(scaler.decide(at(0), 2, &reading(2, 41_000)), 5);
        assert_eq!(scaler.decide(at(15), 5, &reading(5, 900_000)), 20);
        assert_eq!(scaler.decide(at(30), 20, &reading(20, 0)), 1);
    }

    #[test]
    fn a_measure_within_the_tolerance_changes_nothing_and_one_beyond_does() {
        let mut scaler = Autoscaler::new(&rule(Some(Aim::Utilization(500))), 20, 1);
        assert_eq!(scaler.decide(at(0), 10, &reading(10, 550)), 10);
        assert_eq!(scaler.decide(at(15), 10, &reading(10, 450)), 10);
        assert_eq!(scaler.decide(at(30), 10, &reading(10, 551)), 12);
        let mut scaler = Autoscaler::new(&rule(Some(Aim::Ttft(Span::from_millis(200)))), 20, 1);
        assert_eq!(scaler.decide(at(0), 4, &reading(4, 400_000_000)), 8);
    }

    #[test]
    fn fewer_replicas_only_when_the_whole_window_asked_for_fewer() {
        let down_window = Span::from_secs(60);
        let rule = Scaling { down_window, ..rule(Some(Aim::Concurrency(1_000))) };
        let mut scaler = Autoscaler::new(&rule, 20, 1);
        assert_eq!(scaler.decide(at(0), 8, &reading(8, 8_000)), 8);
        for second in [15, 30, 45] {
            assert_eq!(scaler.decide(at(second), 8, &reading(8, 2_000)), 8, "{second} s");
        }
        // The look of 0 s is exactly a window old, and out.
        assert_eq!(scaler.decide(at(60), 8, &reading(8, 3_000)), 3);
    }

    #[test]
    fn more_replicas_only_when_the_whole_window_asked_for_more() {
        let rule = Scaling { up_window: Span::from_secs(30), ..rule(Some(Aim::Queue(1_000))) };
        let mut scaler = Autoscaler::new(&rule, 20, 1);
        assert_eq!(scaler.decide(at(0), 1, &reading(1, 0)), 1);
        assert_eq!(scaler.decide(at(15), 1, &reading(1, 9_000)), 1);
        assert_eq!(scaler.decide(at(30), 1, &reading(1, 6_000)), 6);
    }

    #[test]
    fn windows_begin_with_the_number_at_the_start() {
        let windows = Span::from_secs(60);
        let rule =
            Scaling { up_window: windows, down_window: windows, ..rule(Some(Aim::Concurrency(1_000))) };
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let mut scaler = Autoscaler::new(&rule, 20, 3);
        assert_eq!(scaler.decide(at(15), 3, &reading(3, 1_000)), 3);
        assert_eq!(scaler.decide(at(30), 3, &reading(3, 9_000)), 3);
        assert_eq!(scaler.decide(at(60), 3, &reading(3, 9_000)), 3, "the look of 15 s asked for one");
        assert_eq!(scaler.decide(at(75), 3, &reading(3, 9_000)), 9);
    }

    #[test]
    fn the_rate_of_change_is_limited() {
        let rule = Scaling { up_most: 3, down_most: 1, ..rule(Some(Aim::Concurrency(1_000))) };
        let mut scaler = Autoscaler::new(&rule, 20, 1);
        assert_eq!(scaler.decide(at(0), 2, &reading(2, 20_000)), 5);
        assert_eq!(scaler.decide(at(15), 5, &reading(5, 1_000)), 4);
    }

    #[test]
    fn a_schedule_sets_the_fewest_at_once_and_wraps_around() {
        let hours = |hours: u64| Span::from_secs(3_600 * hours);
        let schedule = vec![(hours(8), 6), (hours(20), 2)];
        let rule = Scaling { schedule, ..rule(None) };
        let mut scaler = Autoscaler::new(&rule, 20, 1);
        let nothing = Reading::default();
        let at = |hour| Time::ZERO + hours(hour);
        assert_eq!(scaler.decide(at(7), 1, &nothing), 1, "before the first piece of the first day");
        assert_eq!(scaler.decide(at(8), 1, &nothing), 6);
        assert_eq!(scaler.decide(at(21), 6, &nothing), 2);
        assert_eq!(scaler.decide(at(31), 2, &nothing), 2, "the night of the second day");
        assert_eq!(scaler.decide(at(32), 2, &nothing), 6);
    }

    #[test]
    fn nothing_measured_changes_nothing() {
        let mut scaler = Autoscaler::new(&rule(Some(Aim::Ttft(Span::from_secs(1)))), 20, 1);
        assert_eq!(scaler.decide(at(0), 7, &Reading { ready: 7, measured: None }), 7);
    }
}
