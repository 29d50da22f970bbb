//! Nothing is lost and nothing is counted twice: requests, tokens and time, on every shipped scenario.

use crate::support::{SHIPPED, shortened, sources};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{RunOptions, run};
use tidegate_sim::observe::{GapRun, Observer};
use tidegate_sim::request::{Finished, Outcome, RequestHead};
use tidegate_sim::scenario::{End, Scenario};
use tidegate_sim::time::{Span, Time};

/// Books of everything that goes in and comes out, request by request.
#[derive(Debug, Default)]
struct Books {
    /// Requests inside, by workload and index.
    inside: BTreeMap<(u16, u64), Time>,
    offered: u64,
    finished: u64,
    outcomes: [u64; Outcome::ALL.len()],
    /// Tokens that came out, and tokens that clients were told they received.
    tokens: u64,
    received: u64,
}

impl Observer for Books {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        self.offered += 1;
        let twice = self.inside.insert((head.workload, head.index), now);
        assert_eq!(twice, None, "{head:?} was offered twice");
    }
    fn first_token(&mut self, _now: Time, _workload: u16, _pool: u16, _ttft: Span) {
        self.tokens += 1;
    }
    fn gaps(&mut self, run: &GapRun) {
        self.tokens += run.steps * u64::from(run.count);
    }
    fn finished(&mut self, done: &Finished) {
        let arrived = self.inside.remove(&(done.head.workload, done.head.index));
        assert_eq!(arrived, Some(done.arrived), "{done:?} ended without being there");
        assert_eq!(done.budget().total(), done.e2e(), "{done:?}");
        let moments = [done.dispatched, done.scheduled, done.first_token, done.last_token, Some(done.ended)];
        let reached: Vec<Time> =
            [Some(done.sent), Some(done.arrived)].into_iter().chain(moments).flatten().collect();
        assert!(reached.is_sorted(), "time runs backwards in {done:?}");
        match done.outcome {
            Outcome::Completed => assert_eq!(done.generated, done.output_tokens, "{done:?}"),
            Outcome::Refused | Outcome::Expired => assert_eq!(done.generated, 0, "{done:?}"),
            _ => assert!(done.generated <= done.output_tokens, "{done:?}"),
        }
        assert_eq!(done.outcome == Outcome::Refused, done.refusal.is_some());
        self.finished += 1;
        self.outcomes[done.outcome as usize] += 1;
        self.received += u64::from(done.generated);
    }
}

impl Books {
    fn balance(&self, name: &str) {
        assert!(self.inside.is_empty(), "{name}: {} requests never ended", self.inside.len());
        assert_eq!(self.offered, self.finished, "{name}");
        assert_eq!(self.tokens, self.received, "{name}: tokens produced and received differ");
    }
}

#[test]
fn every_shipped_scenario_keeps_its_books_drained_or_cut() {
    for name in SHIPPED {
        for end in [End::Drain, End::Cut] {
            let mut scenario = shortened(name, &["scenario.replications=1"]);
            scenario.end = end;
            let mut books = Books::default();
            let control = Control::default();
            let options = RunOptions { threads: 1, mode: Mode::Fast, control: &control };
            let found = run(&scenario, options, Some(&mut books)).unwrap();
            books.balance(name);
            assert_eq!(found.totals[0].offered, books.offered, "{name}");
            assert_eq!(found.totals[0].outcomes, books.outcomes, "{name}");
            assert!(books.offered > 0, "{name} offered nothing");
            let left = books.outcomes[Outcome::Queued as usize] + books.outcomes[Outcome::Running as usize];
            assert!(end == End::Cut || left == 0, "{name}: {left} requests are left after draining");
        }
    }
}

#[test]
fn a_run_that_is_stopped_keeps_its_books_too() {
    let scenario = Scenario { horizon: Span::from_secs(1_200), ..shortened("overload", &[]) };
    let mut books = Books::default();
    let feeds = sources(&scenario);
    let mut looks = 0;
    let stop = |_: Time, _: &_| {
        looks += 1;
        if looks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let totals =
        tidegate_sim::engine::simulate(&scenario, feeds, scenario.seed, Mode::Fast, &mut books, stop);
    assert_eq!(looks, 2, "the run was too short to be stopped");
    books.balance("overload, stopped");
    assert!(totals.of(Outcome::Running) > 0, "something was running when it was stopped");
}
