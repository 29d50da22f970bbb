//! Counts what queueing theory speaks of, straight from the facts and apart from the project's own recorder.

use std::time::Duration;
use tidegate_sim::observe::Observer;
use tidegate_sim::request::{Finished, Outcome, RequestHead};
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::{Span, Time};

/// What happened to the requests of one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests that arrived in the counted time.
    pub offered: u64,
    pub refused: u64,
    pub served: u64,
    /// Served requests whose service did not begin at once.
    pub waited: u64,
    /// Served requests that took longer than the mark.
    pub slow: u64,
    pub wait_ns: u128,
    pub response_ns: u128,
    pub mark: Span,
    /// Requests served inside the counted time, whenever they arrived.
    pub ended_inside: u64,
    /// Time integral of the number in the system, request-nanoseconds, inside the counted time and over all.
    pub area_inside: u128,
    pub area: u128,
    /// Sum of the time in the system of all requests, refused ones (of no time) included.
    pub all_response_ns: u128,
    pub counted: Duration,
    present: u64,
    since: Time,
}

/// All of a run.
#[derive(Clone, Debug)]
pub struct Census {
    pub tallies: Vec<Tally>,
    from: Time,
    until: Time,
}

impl Tally {
    pub fn mean_wait_s(&self) -> f64 {
        self.wait_ns as f64 / self.served as f64 / 1e9
    }
    pub fn mean_response_s(&self) -> f64 {
        self.response_ns as f64 / self.served as f64 / 1e9
    }
    pub fn share_waited(&self) -> f64 {
        self.waited as f64 / self.served as f64
    }
    pub fn share_slow(&self) -> f64 {
        self.slow as f64 / self.served as f64
    }
    pub fn share_refused(&self) -> f64 {
        self.refused as f64 / self.offered as f64
    }
    pub fn number(&self) -> f64 {
        self.area_inside as f64 / self.counted.as_nanos() as f64
    }
    pub fn throughput_per_s(&self) -> f64 {
        self.ended_inside as f64 / self.counted.as_secs_f64()
    }

    fn step(&mut self, now: Time, from: Time, until: Time) {
        let present = u128::from(self.present);
        self.area += present * u128::from((now - self.since).as_nanos());
        let inside = now.min(until).saturating_since(self.since.max(from));
        self.area_inside += present * u128::from(inside.as_nanos());
        self.since = now;
    }
}

impl Census {
    /// Served requests that take longer than `scenario`'s end-to-end objective count as slow.
    pub fn new(scenario: &Scenario) -> Self {
        let tally = |mark: Option<Span>| Tally {
            mark: mark.unwrap_or(Span::MAX),
            counted: Duration::from_nanos((scenario.horizon - scenario.warmup).as_nanos()),
            ..Tally::default()
        };
        Census {
            tallies: scenario.workloads.iter().map(|w| tally(w.objectives.e2e)).collect(),
            from: Time::ZERO + scenario.warmup,
            until: Time::ZERO + scenario.horizon,
        }
    }

    pub fn close(&mut self, ended: Time) {
        for tally in &mut self.tallies {
            tally.step(ended.max(tally.since), self.from, self.until);
        }
    }
}

impl Observer for Census {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        let tally = &mut self.tallies[usize::from(head.workload)];
        tally.step(now, self.from, self.until);
        tally.present += 1;
        tally.offered += u64::from(now >= self.from && now < self.until);
    }

    fn finished(&mut self, done: &Finished) {
        let tally = &mut self.tallies[usize::from(done.head.workload)];
        tally.step(done.ended, self.from, self.until);
        tally.present -= 1;
        tally.all_response_ns += u128::from(done.e2e().as_nanos());
        let inside = done.ended >= self.from && done.ended < self.until;
        tally.ended_inside += u64::from(inside && done.outcome == Outcome::Completed);
        if done.arrived < self.from || done.arrived >= self.until {
            return;
        }
        if done.outcome != Outcome::Completed {
            tally.refused += u64::from(done.outcome == Outcome::Refused);
            return;
        }
        let began = done.scheduled.expect("a served request was in service");
        let wait = began - done.arrived;
        tally.served += 1;
        tally.waited += u64::from(!wait.is_zero());
        tally.slow += u64::from(done.e2e() > tally.mark);
        tally.wait_ns += u128::from(wait.as_nanos());
        tally.response_ns += u128::from(done.e2e().as_nanos());
    }
}
