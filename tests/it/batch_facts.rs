//! Batch by hand: what the documented rules say, to the request and to the nanosecond.

use crate::support::{Script, arrival};
use std::ops::ControlFlow;
use tidegate_sim::engine::{Feed, Mode, simulate};
use tidegate_sim::observe::{JobFact, JobState, Observer};
use tidegate_sim::request::{Arrival, Finished, Outcome, RequestHead};
use tidegate_sim::scenario::{Overrides, Scenario, load_str};
use tidegate_sim::time::{Span, Time};

fn scenario(horizon: &str, body: &str) -> Scenario {
    let text =
        format!("[scenario]\nquestion = \"by hand\"\nhorizon = \"{horizon}\"\nreplications = 1\n\n{body}");
    load_str("by-hand", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"))
}

/// What was sent when, what ended when, and the states of jobs.
#[derive(Debug, Default)]
struct Told {
    sent: Vec<(Time, u16, u64)>,
    finished: Vec<Finished>,
    jobs: Vec<(Time, JobFact)>,
}

impl Observer for Told {
    fn dispatched(&mut self, now: Time, head: &RequestHead, _pool: u16, _replica: u16) {
        self.sent.push((now, head.workload, head.index));
    }
    fn finished(&mut self, done: &Finished) {
        self.finished.push(*done);
    }
    fn job(&mut self, now: Time, job: &JobFact) {
        self.jobs.push((now, *job));
    }
}

fn run(scenario: &Scenario, arrivals: Vec<Vec<Arrival>>) -> Told {
    let feeds = arrivals.into_iter().map(Script::new).collect();
    run_with(scenario, feeds)
}

fn run_with<F: Feed>(scenario: &Scenario, feeds: Vec<F>) -> Told {
    let mut told = Told::default();
    simulate(scenario, feeds, 7, Mode::Fast, &mut told, |_, _| ControlFlow::Continue(()));
    told
}

fn s(seconds: f64) -> Time {
    Time::from_nanos((seconds * 1e9).round() as u64)
}

const SLOTS: &str = r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 10
service = "7s"
[tiers.t]
pools = ["p"]
[workloads.chat]
tier = "t"
arrivals = { kind = "constant", rate = "1/s" }
[batch.nightly]
tier = "t"
"#;

/// Twenty real-time requests at 10 s, when every server has served a batch request for 3 s.
fn burst() -> Vec<Vec<Arrival>> {
    let one = |index| {
        let mut request = arrival(0, index, 10_000_000_000, 1, 1);
        request.draw.service = Span::from_secs(7);
        request
    };
    vec![(0..20).map(one).collect(), Vec::new()]
}

#[test]
fn a_burst_waits_for_one_quantum_and_what_yielded_goes_on_where_it_was() {
    let rules = "[pools.p.batch]\nquantum = \"400ms\"\n";
    let scenario = scenario("40s", &format!("{SLOTS}jobs = [{{ at = \"0s\", requests = 20 }}]\n{rules}"));
    let told = run(&scenario, burst());
    let of = |workload: u16| told.finished.iter().filter(move |done| done.head.workload == workload);
    // The second ten of the job began at 7 s; their quantum ends at 7 + 8 x 0.4 = 10.2 s.
    let starts: Vec<Time> = of(0).map(|done| done.scheduled.unwrap()).collect();
    assert_eq!(starts, [[s(10.2); 10], [s(17.2); 10]].concat());
    // They had 3.2 s of 7 s, waited until no real-time request did, and went on: nothing was done twice.
    let ends: Vec<Time> = of(1).map(|done| done.ended).collect();
    assert_eq!(ends, [[s(7.0); 10], [s(28.0); 10]].concat());
    for done in of(1).filter(|done| done.ended == s(28.0)) {
        assert_eq!((done.preemptions, done.preempted), (1, Span::from_secs(14)));
    }
    let (at, job) = told.jobs.last().unwrap();
    assert_eq!((*at, job.state, job.requests.completed), (s(28.0), JobState::Completed, 20));
}

#[test]
fn without_a_quantum_a_burst_waits_for_services_to_end() {
    let scenario = scenario("40s", &format!("{SLOTS}jobs = [{{ at = \"0s\", requests = 20 }}]\n"));
    let told = run(&scenario, burst());
    let starts =
        told.finished.iter().filter(|done| done.head.workload == 0).map(|done| done.scheduled.unwrap());
    assert_eq!(starts.collect::<Vec<_>>(), [[s(14.0); 10], [s(21.0); 10]].concat());
}

#[test]
fn at_one_instant_real_time_goes_first() {
    let scenario = scenario("40s", &format!("{SLOTS}jobs = [{{ at = \"10s\", requests = 5 }}]\n"));
    let told = run(&scenario, burst());
    let sent: Vec<(Time, u16)> = told.sent.iter().map(|&(at, workload, _)| (at, workload)).collect();
    assert_eq!(sent[..20], [(s(10.0), 0); 20]);
    // Ten wait on the replica until 17 s, and end at 24 s: only then is there room below them.
    assert_eq!(sent[20..], [(s(24.0), 1); 5]);
}

/// Holds the rules of headroom and priority against every batch request that is sent.
#[derive(Debug, Default)]
struct Day {
    most: usize,
    /// On the replicas: real-time, batch.
    on: [usize; 2],
    /// Real-time requests let in and not sent.
    waiting: i64,
    sent: u64,
    /// Batch requests completed in each hour.
    done: [u64; 24],
    /// Real-time requests that arrived in each hour.
    arrived: [u64; 24],
}

impl Observer for Day {
    fn admitted(&mut self, now: Time, _head: &RequestHead) {
        self.waiting += 1;
        self.arrived[(now.as_nanos() / 3_600_000_000_000).min(23) as usize] += 1;
    }
    fn dispatched(&mut self, _now: Time, head: &RequestHead, _pool: u16, _replica: u16) {
        self.on[usize::from(head.workload)] += 1;
        if head.workload == 0 {
            self.waiting -= 1;
            return;
        }
        self.sent += 1;
        assert_eq!(self.waiting, 0, "batch starts while real-time waits");
        let [real_time, batch] = self.on;
        assert!(batch <= self.most.saturating_sub(real_time), "{batch} batch beside {real_time} real-time");
    }
    fn finished(&mut self, done: &Finished) {
        self.on[usize::from(done.head.workload)] -= 1;
        if done.head.workload == 1 && done.outcome == Outcome::Completed {
            self.done[(done.ended.as_nanos() / 3_600_000_000_000).min(23) as usize] += 1;
        }
    }
}

#[test]
fn over_a_day_batch_keeps_its_headroom_and_works_where_it_is_quiet() {
    let body = r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 50
service = { kind = "exponential", mean = "10s" }
[pools.p.batch]
headroom = "20%"
quantum = "100ms"
[tiers.t]
pools = ["p"]
[workloads.chat]
tier = "t"
arrivals = { kind = "diurnal", peak = "3.5/s", trough = "0.5/s", peak_at = "14h" }
[batch.nightly]
tier = "t"
jobs = { every = "1h", requests = 50000 }
"#;
    let scenario = scenario("24h", body);
    let mut day = Day { most: 40, ..Day::default() };
    let feeds = crate::support::sources(&scenario);
    simulate(&scenario, feeds, 7, Mode::Fast, &mut day, |_, _| ControlFlow::Continue(()));
    let of = |values: &[u64; 24], hours: &[usize]| hours.iter().map(|&hour| values[hour]).sum::<u64>();
    let mut hours: Vec<usize> = (0..24).collect();
    hours.sort_by_key(|&hour| day.arrived[hour]);
    let (quiet, busy) = (of(&day.done, &hours[..6]), of(&day.done, &hours[18..]));
    assert!(day.sent > 50_000, "{} batch requests were sent", day.sent);
    assert!(quiet > 2 * busy, "{quiet} in the quietest six hours, {busy} in the busiest");
}

#[test]
fn a_window_closes_at_its_nanosecond_and_what_ends_then_counts() {
    let body = r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "2s"
[tiers.t]
pools = ["p"]
[batch.nightly]
tier = "t"
jobs = [{ at = "0s", requests = 50000 }]
"#;
    let scenario = scenario("25h", body);
    let told = run(&scenario, vec![Vec::new()]);
    let (at, job) = told.jobs.last().unwrap();
    assert_eq!((*at, job.state), (s(86_400.0), JobState::Expired));
    assert_eq!((job.requests.completed, job.requests.expired, job.requests.total), (43_200, 6_800, 50_000));
    assert_eq!(told.finished.iter().filter(|done| done.outcome == Outcome::Completed).count(), 43_200);
}
