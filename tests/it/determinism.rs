//! The same question gets the same answer, bit for bit: twice, with any number of threads, in any engine mode, watched
//! or not.

use crate::support::{shortened, sources};
use std::ops::ControlFlow;
use tidegate_sim::engine::{Mode, Totals, simulate};
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{RunOptions, run};
use tidegate_sim::observe::recorder::Recorder;
use tidegate_sim::observe::{GapRun, Nobody, Observer, PoolSample, StepRun};
use tidegate_sim::request::{Finished, RequestHead};
use tidegate_sim::results::{ResultSet, encode_summary};
use tidegate_sim::rng::mix;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::{Span, Time};

/// The whole result folder but the figures, and `summary.json` as bytes.
fn results(scenario: &Scenario, threads: usize, mode: Mode) -> (String, ResultSet) {
    let control = Control::default();
    let found = run(scenario, RunOptions { threads, mode, control: &control }, None).unwrap();
    let results = ResultSet::new(found.summary(scenario), &found.recording);
    (String::from_utf8(encode_summary(&results.summary)).unwrap(), results)
}

/// The first line in which two texts differ.
fn first_difference<'a>(one: &'a str, other: &'a str) -> Option<(&'a str, &'a str)> {
    one.lines().zip(other.lines()).find(|(a, b)| a != b)
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    for name in ["chat", "overload"] {
        let scenario = shortened(name, &["scenario.replications=4"]);
        let (one, folder) = results(&scenario, 1, Mode::Fast);
        for threads in [1, 2, 5] {
            let (other, its_folder) = results(&scenario, threads, Mode::Fast);
            assert_eq!(first_difference(&one, &other), None, "{name} with {threads} threads");
            assert!(one == other && folder == its_folder, "{name} with {threads} threads");
        }
    }
}

#[test]
fn another_seed_gives_other_bytes() {
    let bytes = |seed: &str| results(&shortened("chat", &["scenario.replications=1", seed]), 1, Mode::Fast).0;
    assert_ne!(bytes("scenario.seed=7"), bytes("scenario.seed=8"));
}

#[test]
fn what_is_said_of_the_live_side_changes_no_simulation() {
    let plain = shortened("chat", &["scenario.replications=2"]);
    let live = shortened(
        "chat",
        &[
            "scenario.replications=2",
            r#"live={ targets = ["https://example.test"], dialect = "digitalocean", validity = { lag = "3ms" }, trouble = { resets = "20%", stalls = "5%" } }"#,
            r#"workloads.chat.live={ api = "completions", stream = false, name = "other", key_env = "CANARY" }"#,
        ],
    );
    assert_ne!(plain.hash, live.hash, "what a scenario says is in its hash");
    let ((_, without), (_, mut with)) = (results(&plain, 2, Mode::Fast), results(&live, 2, Mode::Fast));
    assert_eq!(with.summary.provenance.arrival_hash, without.summary.provenance.arrival_hash);
    with.summary.provenance.scenario_hash.clone_from(&without.summary.provenance.scenario_hash);
    assert!(with == without);
    // The same events, not only the same figures.
    let events = |scenario: &Scenario| {
        let feeds = sources(scenario);
        simulate(scenario, feeds, scenario.seed, Mode::Unskipped, &mut Nobody, |_, _| {
            ControlFlow::Continue(())
        })
    };
    assert_eq!(events(&plain), events(&live));
}

#[test]
fn every_engine_mode_gives_the_same_bytes() {
    for name in ["chat", "prefix-cache", "static-vs-continuous"] {
        let scenario = shortened(name, &["scenario.replications=1"]);
        let (fast, _) = results(&scenario, 1, Mode::Fast);
        for mode in [Mode::Unskipped, Mode::Naive] {
            let (slow, _) = results(&scenario, 1, mode);
            assert_eq!(first_difference(&fast, &slow), None, "{name} {mode:?}");
        }
    }
}

/// A hash over every fact, in order.
#[derive(Debug, Default)]
struct FactHash(u64);

impl FactHash {
    fn note(&mut self, kind: u64, words: &[u64]) {
        for word in [kind].iter().chain(words) {
            self.0 = mix(self.0 ^ word);
        }
    }
}

impl Observer for FactHash {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        self.note(1, &[now.as_nanos(), head.workload.into(), head.index]);
    }
    fn dispatched(&mut self, now: Time, head: &RequestHead, pool: u16, replica: u16) {
        self.note(2, &[now.as_nanos(), head.index, pool.into(), replica.into()]);
    }
    fn first_token(&mut self, now: Time, workload: u16, pool: u16, ttft: Span) {
        self.note(3, &[now.as_nanos(), workload.into(), pool.into(), ttft.as_nanos()]);
    }
    fn gaps(&mut self, run: &GapRun) {
        self.note(4, &[run.first_end.as_nanos(), run.end.as_nanos(), run.count.into(), run.steps]);
    }
    fn worked(&mut self, run: &StepRun) {
        self.note(5, &[run.start.as_nanos(), run.end.as_nanos(), run.steps, run.replica.into()]);
    }
    fn finished(&mut self, done: &Finished) {
        let last = done.last_token.map_or(0, Time::as_nanos);
        self.note(6, &[done.ended.as_nanos(), done.head.index, done.outcome as u64, last]);
    }
    fn sampled(&mut self, now: Time, pool: u16, sample: &PoolSample) {
        self.note(7, &[now.as_nanos(), pool.into(), sample.running.into(), sample.waiting.into()]);
    }
}

fn watched(scenario: &Scenario, observer: &mut impl Observer) -> Totals {
    simulate(scenario, sources(scenario), scenario.seed, Mode::Fast, observer, |_, _| {
        ControlFlow::Continue(())
    })
}

#[test]
fn watching_a_run_does_not_change_it() {
    let scenario = shortened("chat", &[]);
    let unwatched = watched(&scenario, &mut Nobody);
    let mut alone = FactHash::default();
    assert_eq!(watched(&scenario, &mut alone), unwatched);
    let mut beside = (Recorder::new(&scenario), FactHash::default());
    assert_eq!(watched(&scenario, &mut beside), unwatched);
    assert_eq!(beside.1.0, alone.0, "the facts differ when a recorder listens, too");
    let mut first: (&mut dyn Observer, Nobody) = (&mut FactHash::default(), Nobody);
    assert_eq!(watched(&scenario, &mut first), unwatched);
}
