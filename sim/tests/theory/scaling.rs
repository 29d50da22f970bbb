//! An autoscaler under a ramp, against what is offered: with more servers than requests the mean number in service is
//! `rate * service` (M/M/infinity), so the number of replicas that is exactly on target is known at every instant.

use crate::queues::{SERVICE, Station, exponential, queue};
use std::ops::ControlFlow;
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::observe::{Observer, ScaleCause, ScaleChange};
use tidegate_sim::request::PoolId;
use tidegate_sim::scenario::fleet::{Aim, Scaling};
use tidegate_sim::scenario::*;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::Source;

/// Requests that a replica is to have on average.
const TARGET: f64 = 10.0;
/// Off target by no more than this is on target.
const TOLERANCE: f64 = 0.1;
/// Length of the ramp, and of a look, seconds.
const RAMP: f64 = 200.0;
const LOOK: f64 = 1.0;
/// Requests in service at the start and at the end of the ramp.
const FROM: f64 = 100.0;
const TO: f64 = 1_000.0;

#[derive(Default)]
struct Decisions(Vec<(Time, u16)>);

impl Observer for Decisions {
    fn scaled(&mut self, now: Time, _pool: PoolId, change: &ScaleChange) {
        if matches!(change.cause, ScaleCause::Start | ScaleCause::Decision) {
            self.0.push((now, change.wanted));
        }
    }
}

/// Requests in service at an instant: up the ramp, then down again.
fn offered(at: f64) -> f64 {
    let share = if at < RAMP { at / RAMP } else { 2.0 - at / RAMP };
    FROM + (TO - FROM) * share
}

#[test]
fn replicas_follow_a_ramp_within_the_tolerance() {
    let pieces = (0..(2.0 * RAMP / LOOK) as u64).map(|second| {
        let rate = offered(second as f64 * LOOK + LOOK / 2.0) / SERVICE;
        (Span::from_secs_f64(second as f64 * LOOK), rate)
    });
    let arrivals = Arrivals::Varying(RateCurve::Pieces(pieces.collect()));
    let station = Station { replicas: 200, ..Station::servers(1_000) };
    let mut scenario = queue("a ramp", station, exponential(), vec![arrivals], 2.0 * RAMP);
    let first = (FROM / TARGET) as u16;
    scenario.pools[0].fleet = PoolFleet {
        initial: first,
        scaling: Some(Scaling {
            min: 1,
            aim: Some(Aim::Concurrency((TARGET * 1_000.0) as u64)),
            interval: Span::from_secs_f64(LOOK),
            tolerance: (TOLERANCE * 1_000.0) as u32,
            up_window: Span::ZERO,
            down_window: Span::ZERO,
            up_most: u16::MAX,
            down_most: u16::MAX,
            schedule: Vec::new(),
            period: Span::from_secs(86_400),
        }),
        ..PoolFleet::fixed(200)
    };
    let mut decisions = Decisions::default();
    let feeds = vec![Source::open(&scenario, 0, scenario.seed).unwrap()];
    let go_on = |_: Time, _: &_| ControlFlow::Continue(());
    simulate(&scenario, feeds, scenario.seed, Mode::Fast, &mut decisions, go_on);
    let (mut checked, mut changes) = (0, 0);
    for look in 2..(2.0 * RAMP / LOOK) as u64 {
        let at = look as f64 * LOOK;
        let upto = Time::ZERO + Span::from_secs_f64(at);
        let wanted =
            decisions.0.iter().rev().find(|(time, _)| *time <= upto).map_or(first, |(_, wanted)| *wanted);
        // The mean of the second before the look. Its standard error is below 1.5 % (two hundred mean services in a
        // second, a hundred requests at least); four of them, and one replica for rounding up.
        let seen = offered(at - LOOK / 2.0) / TARGET;
        let noise = 0.06;
        let low = seen * (1.0 - noise) / (1.0 + TOLERANCE) - 1.0;
        let high = seen * (1.0 + noise) / (1.0 - TOLERANCE) + 1.0;
        let wanted = f64::from(wanted);
        assert!(low <= wanted && wanted <= high, "at {at} s: {wanted} replicas for {seen:.1} on target");
        checked += 1;
    }
    changes += decisions.0.len();
    assert!(checked > 300 && changes > 30, "{checked} looks, {changes} changes");
    // Up and down again: it does not flap. A decision moves in the direction of the ramp, with few exceptions.
    let against = decisions.0.windows(2).filter(|pair| {
        let up = pair[1].0 < Time::ZERO + Span::from_secs_f64(RAMP);
        (pair[1].1 < pair[0].1 && up) || (pair[1].1 > pair[0].1 && !up)
    });
    assert!(against.count() <= 4, "the number of replicas flaps: {:?}", decisions.0);
}
