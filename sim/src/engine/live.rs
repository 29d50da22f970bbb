//! Inputs from outside: requests, hang-ups and jobs that a driver hands over while the simulation runs.
//!
//! An input only enqueues an event, at an instant later than the present one. Events of one instant have an order of their
//! own, so what happens depends on the inputs and their instants alone, never on when they were handed over: the same
//! inputs put again give the same run to the nanosecond ([`replay`]), whatever the clock of the driver did.

use super::event::{Class, Event};
use super::simulation::{Coming, Simulation};
use super::station::Worker;
use super::{Feed, Totals};
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::replica::scheduler::Replica;
use crate::request::{Arrival, Outcome, RequestHead, WorkloadId};
use crate::scenario::Scenario;
use crate::scenario::batch::Submission;
use crate::table::{NONE, Place, SlotId};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// A feed of nothing: every request comes from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Feed for Silent {
    fn next(&mut self) -> Option<Arrival> {
        None
    }
    fn follow(&mut self, _: &RequestHead, _: u32, _: Time) -> Option<Arrival> {
        None
    }
}

/// What comes from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A request reaches the gateway. Its `at` is replaced by the instant of the input. No two requests of one
    /// workload that are in flight together may have the same index.
    Request(Arrival),
    /// The client of a request hangs up. Nothing happens when it is over.
    HangUp {
        /// Its workload.
        workload: WorkloadId,
        /// Its index.
        index: u64,
    },
    /// A job is submitted. Jobs of a batch are numbered from 0 in the order of their inputs.
    Job {
        /// Index of the batch in the scenario.
        batch: u16,
        /// The job. Its `at` is replaced by the instant of the input.
        submission: Submission,
    },
    /// A job is cancelled. Nothing happens when it is over.
    CancelJob {
        /// Index of the batch in the scenario.
        batch: u16,
        /// Number of the job.
        job: u32,
    },
}

/// What the hub keeps of requests from outside.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Requests in flight.
    requests: BTreeMap<(WorkloadId, u32), (SlotId, u32)>,
    /// By station: requests on the replica, those that have left since the last look included.
    members: Vec<Vec<Member>>,
    /// Jobs on their way, in reused places.
    pub(super) jobs: Vec<Option<Submission>>,
}

/// A request on a replica, and how many tokens of it were told.
#[derive(Clone, Copy, Debug)]
struct Member {
    id: SlotId,
    generation: u32,
    told: u32,
}

/// An engine that takes inputs, one step at a time so that every token is told when it is out.
pub type LiveSimulation<'s> = Simulation<'s, Silent, Replica>;

impl<'s> LiveSimulation<'s> {
    /// The gateway of a scenario ([`Scenario::gateway`]) at its start, with nothing to do but what inputs ask for.
    /// `unskipped` tells every token when it is out; otherwise replicas may run many steps as one event, which changes
    /// nothing but when [`Observer::token`] is called.
    pub fn live(gateway: &'s Scenario, seed: u64, unskipped: bool) -> Self {
        let feeds = vec![Silent; gateway.workloads.len()];
        let mut simulation = Simulation::new(gateway, feeds, seed, !unskipped);
        let members = vec![Vec::new(); simulation.stations.len()];
        simulation.live = Some(Live { members, ..Live::default() });
        simulation
    }

    /// The earliest instant at which an input may be put.
    pub fn earliest(&self) -> Time {
        self.now + Span::from_nanos(1)
    }

    /// Hands an input over, to take effect at `at`; O(log events).
    ///
    /// # Panics
    /// When `at` is not later than the present instant.
    pub fn put(&mut self, at: Time, input: Input) {
        assert!(at > self.now, "an input at {at} is put at {}, when that is over", self.now);
        let live = self.live.as_mut().expect("only a live simulation takes inputs");
        match input {
            Input::Request(mut arrival) => {
                arrival.at = at;
                self.come(Coming { arrival, request: NONE });
            }
            Input::HangUp { workload, index } => {
                self.events.push(Event::new(at, Class::Cancel, workload.into(), index as u32, NONE, 0));
            }
            Input::Job { batch, mut submission } => {
                submission.at = at;
                let place = live.jobs.iter().position(Option::is_none).unwrap_or_else(|| {
                    live.jobs.push(None);
                    live.jobs.len() - 1
                });
                live.jobs[place] = Some(submission);
                self.expect_job_from_outside(at, batch, place as u32);
            }
            Input::CancelJob { batch, job } => self.cancel_job_from_outside(at, batch, job),
        }
    }

    /// Ends the run here: requests in flight are told where they stand.
    pub fn close(mut self, observer: &mut impl Observer) -> Totals {
        self.cut_short(observer);
        self.finish(observer)
    }
}

/// Runs a gateway on inputs that were put before, in order of their instants, until `until`; what a driver with a clock
/// did with the same inputs, as fast as events pop.
pub fn replay(
    gateway: &Scenario,
    seed: u64,
    inputs: impl IntoIterator<Item = (Time, Input)>,
    until: Time,
    unskipped: bool,
    observer: &mut impl Observer,
) -> Totals {
    let mut simulation = LiveSimulation::live(gateway, seed, unskipped);
    simulation.start(observer);
    let mut inputs = inputs.into_iter().peekable();
    loop {
        let next = simulation.next_time().unwrap_or(Time::MAX);
        match inputs.peek() {
            Some((at, _)) if *at <= next => {
                let (at, input) = inputs.next().expect("it was seen");
                simulation.put(at, input);
            }
            _ if next > until => return simulation.close_at(until, observer),
            _ => {
                simulation.step(observer);
            }
        }
    }
}

impl LiveSimulation<'_> {
    /// As [`LiveSimulation::close`], at `at`: not earlier than the present, not later than the next event.
    pub fn close_at(mut self, at: Time, observer: &mut impl Observer) -> Totals {
        assert!(
            at >= self.now && self.next_time().is_none_or(|next| at <= next),
            "{at} is not between events"
        );
        self.now = at;
        self.close(observer)
    }
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// A request has its slot.
    #[inline]
    pub(super) fn note_live(&mut self, id: SlotId, head: &RequestHead) {
        if let Some(live) = &mut self.live {
            let place = (id, self.table[id].generation);
            let before = live.requests.insert((head.workload, head.index as u32), place);
            assert!(before.is_none(), "two requests in flight have index {}", head.index);
        }
    }

    /// A request is over.
    #[inline]
    pub(super) fn forget_live(&mut self, workload: WorkloadId, index: u64) {
        if let Some(live) = &mut self.live {
            live.requests.remove(&(workload, index as u32));
        }
    }

    /// A request is on a replica.
    #[inline]
    pub(super) fn watch_tokens(&mut self, id: SlotId, station: usize) {
        if let Some(live) = &mut self.live {
            let slot = &self.table[id];
            live.members[station].push(Member { id, generation: slot.generation, told: slot.generated });
        }
    }

    /// The client of a request from outside hangs up.
    pub(super) fn hang_up(&mut self, event: &Event, observer: &mut impl Observer) {
        let live = self.live.as_ref().expect("only a live simulation takes inputs");
        let Some(&(id, generation)) = live.requests.get(&(event.entity() as WorkloadId, event.counter()))
        else {
            return;
        };
        let slot = &self.table[id];
        if slot.generation == generation && slot.place != Place::Ghost {
            self.withdraw(id, Outcome::Cancelled, None, observer);
        }
    }

    /// Tells the tokens that a step has brought to requests that stay on its replica. O(requests on it).
    pub(super) fn tell_tokens(&mut self, station: usize, observer: &mut impl Observer) {
        let Some(live) = &mut self.live else { return };
        let Worker::Llm(worker) = &self.stations[station].worker else { return };
        let (table, pools, now) = (&self.table, &self.pools, self.now);
        live.members[station].retain_mut(|member| {
            let slot = &table[member.id];
            let here = slot.generation == member.generation
                && slot.permit
                && pools[usize::from(slot.pool)].first + usize::from(slot.replica) == station;
            if !here || slot.place == Place::Ghost {
                return false;
            }
            let tokens = worker.delivered(table, member.id).tokens;
            if tokens > member.told {
                member.told = tokens;
                observer.token(now, table.head(member.id), tokens);
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Mode, simulate};
    use crate::request::Finished;
    use crate::scenario::{Overrides, load_str};
    use crate::workload::Source;
    use std::ops::ControlFlow;

    const CHAT: &str = r#"
[scenario]
question = "?"
horizon = "20s"
replications = 1

[models.m]
context = "8k"

[pools.chat]
model = "m"
replicas = 2
step_time = { kind = "linear", base = "8ms", per_decode = "20us" }
batching = { tokens = 512, sequences = 16 }
kv = { blocks = 512 }
outstanding = 24
queue = { most = 20 }

[tiers.t]
pools = ["chat"]

[workloads.chat]
tier = "t"
arrivals = { kind = "poisson", rate = "9/s" }
prompt = { kind = "lognormal", mean = 300, cv = 1.0 }
output = { kind = "lognormal", mean = 60, cv = 1.0 }
"#;

    fn scenario() -> Scenario {
        let found = load_str("chat", CHAT, &Overrides::default());
        found.unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    #[derive(Default, PartialEq, Debug)]
    struct Told {
        ended: Vec<Finished>,
        tokens: BTreeMap<u64, Vec<(Time, u32)>>,
    }

    impl Observer for Told {
        fn finished(&mut self, done: &Finished) {
            self.ended.push(*done);
        }
        fn token(&mut self, now: Time, head: &RequestHead, tokens: u32) {
            self.tokens.entry(head.index).or_default().push((now, tokens));
        }
    }

    fn arrivals(scenario: &Scenario) -> Vec<(Time, Input)> {
        let mut source = Source::open(scenario, 0, scenario.seed).unwrap();
        std::iter::from_fn(|| source.next()).map(|arrival| (arrival.at, Input::Request(arrival))).collect()
    }

    #[test]
    fn requests_from_outside_fare_as_those_of_the_scenario() {
        let scenario = scenario();
        let (mut inside, mut outside) = (Told::default(), Told::default());
        let feeds = vec![Source::open(&scenario, 0, scenario.seed).unwrap()];
        let go = |_: Time, _: &Totals| ControlFlow::Continue(());
        simulate(&scenario, feeds, scenario.seed, Mode::Fast, &mut inside, go);
        let until = Time::ZERO + Span::from_secs(500);
        let inputs = arrivals(&scenario);
        replay(&scenario.gateway(), scenario.seed, inputs, until, true, &mut outside);
        assert!(inside.ended.len() > 100, "{}", inside.ended.len());
        assert_eq!(inside.ended, outside.ended);
        for done in inside.ended.iter().filter(|done| done.outcome == Outcome::Completed) {
            let told = outside.tokens.get(&done.head.index).cloned().unwrap_or_default();
            let counts: Vec<u32> = told.iter().map(|(_, tokens)| *tokens).collect();
            // The last token comes with the end.
            assert_eq!(counts, (1..done.generated).collect::<Vec<_>>(), "{done:?}");
            if let Some((first, _)) = told.first() {
                assert_eq!(Some(*first), done.first_token);
            }
        }
    }

    #[test]
    fn a_client_that_hangs_up_gets_no_more_and_what_it_held_is_free() {
        let scenario = scenario();
        let mut inputs = arrivals(&scenario);
        let hang_ups: Vec<(Time, Input)> = inputs
            .iter()
            .step_by(3)
            .map(|(at, input)| {
                let Input::Request(arrival) = input else { unreachable!("requests alone") };
                let (workload, index) = (0, arrival.head.index);
                (*at + Span::from_millis(150), Input::HangUp { workload, index })
            })
            .collect();
        inputs.extend(hang_ups);
        inputs.sort_by_key(|(at, _)| *at);
        let until = Time::ZERO + Span::from_secs(500);
        let run = |unskipped| {
            let mut told = Told::default();
            let gateway = scenario.gateway();
            let totals = replay(&gateway, scenario.seed, inputs.clone(), until, unskipped, &mut told);
            (told, totals)
        };
        let ((slow, totals), (fast, _)) = (run(true), run(false));
        assert!(totals.of(Outcome::Cancelled) > 10, "{totals:?}");
        assert_eq!(totals.outcomes.iter().sum::<u64>(), totals.offered);
        assert_eq!(slow.ended, fast.ended, "skipping ahead changes nothing");
    }

    #[test]
    #[should_panic(expected = "is put at")]
    fn an_input_cannot_change_the_past() {
        let gateway = scenario().gateway();
        let mut simulation = LiveSimulation::live(&gateway, 1, true);
        simulation.put(Time::ZERO, Input::HangUp { workload: 0, index: 0 });
    }
}
