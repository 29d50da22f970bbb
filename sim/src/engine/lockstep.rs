//! Several simulations on one thread and one clock: the one whose next event is earliest always goes next.
//!
//! Each is the run it would be alone: they share nothing but the clock. What is compared request by request needs them
//! side by side, because then what one has told and the other has not is O(requests in flight); after each other it
//! would be all requests.

use super::simulation::WATCH_EVERY;
use super::{Feed, Mode, Simulation, Totals};
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::replica::naive::NaiveReplica;
use crate::replica::scheduler::Replica;
use crate::scenario::Scenario;
use crate::time::Time;
use std::ops::ControlFlow;

/// One of the simulations that run together.
#[derive(Debug)]
pub struct Run<'s, F> {
    /// What is simulated.
    pub scenario: &'s Scenario,
    /// One for each of its workloads.
    pub feeds: Vec<F>,
}

/// Who hears what of simulations that run together.
pub trait Listeners {
    /// Hears the first.
    fn first(&mut self) -> impl Observer;
    /// Hears number `run` (from 0) of the others.
    fn other(&mut self, run: usize) -> impl Observer;
}

/// Runs `first` and `others` to their ends, each as [`super::simulate`] would with the same `seed`, event by event in
/// order of time; at one instant the first goes first, then the others in their order.
///
/// `watch` is called every few thousand events with what the first amounts to so far and may stop all of them. One that
/// is over waits for the others. Returns what each amounted to, the first at the front. Costs O(runs) an event more
/// than the simulations themselves.
pub fn lockstep<F: Feed>(
    first: Run<'_, F>,
    others: Vec<Run<'_, F>>,
    seed: u64,
    mode: Mode,
    listeners: &mut impl Listeners,
    watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
) -> Vec<Totals> {
    match mode {
        Mode::Fast => together::<F, Replica>(first, others, seed, true, listeners, watch),
        Mode::Unskipped => together::<F, Replica>(first, others, seed, false, listeners, watch),
        Mode::Naive => together::<F, NaiveReplica>(first, others, seed, false, listeners, watch),
    }
}

fn together<F: Feed, S: Stepper>(
    first: Run<'_, F>,
    others: Vec<Run<'_, F>>,
    seed: u64,
    skip: bool,
    listeners: &mut impl Listeners,
    mut watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
) -> Vec<Totals> {
    let new = |run| {
        let Run { scenario, feeds } = run;
        Simulation::<F, S>::new(scenario, feeds, seed, skip)
    };
    let mut first = new(first);
    let mut others: Vec<_> = others.into_iter().map(new).collect();
    first.start(&mut listeners.first());
    for (index, run) in others.iter_mut().enumerate() {
        run.start(&mut listeners.other(index));
    }
    let due = |run: &Simulation<'_, F, S>| run.next_time().unwrap_or(Time::MAX);
    let mut first_due = due(&first);
    let mut dues: Vec<Time> = others.iter().map(due).collect();
    let mut until_look = WATCH_EVERY;
    loop {
        // Who goes next goes on until another one is due; `min_by_key` takes the earlier of equals.
        let next = dues.iter().copied().enumerate().min_by_key(|(_, at)| *at);
        let (which, soonest) = next.unwrap_or((0, Time::MAX));
        let before = until_look;
        if first_due <= soonest {
            if first_due == Time::MAX {
                break;
            }
            let mut ear = listeners.first();
            while first_due <= soonest && first_due < Time::MAX && until_look > 0 {
                first.step(&mut ear);
                first_due = due(&first);
                until_look -= 1;
            }
        } else {
            let mut ear = listeners.other(which);
            let run = &mut others[which];
            let later = dues.iter().enumerate().filter(|(index, _)| *index != which);
            // Who stands behind it among equals may not go before it, who stands in front may.
            let rival = later.map(|(index, at)| if index < which { pred(*at) } else { *at }).min();
            let most = pred(first_due).min(rival.unwrap_or(Time::MAX));
            while dues[which] <= most && dues[which] < Time::MAX && until_look > 0 {
                run.step(&mut ear);
                dues[which] = due(run);
                until_look -= 1;
            }
        }
        assert!(until_look < before, "nobody went on at {soonest}, the first being due at {first_due}");
        if until_look == 0 {
            until_look = WATCH_EVERY;
            if watch(first.now(), &first.totals).is_break() {
                first.cut_short(&mut listeners.first());
                for (index, run) in others.iter_mut().enumerate() {
                    run.cut_short(&mut listeners.other(index));
                }
                break;
            }
        }
    }
    let mut totals = vec![first.finish(&mut listeners.first())];
    for (index, run) in others.into_iter().enumerate() {
        totals.push(run.finish(&mut listeners.other(index)));
    }
    totals
}

/// The instant before `at`; that of nothing stays what it is.
fn pred(at: Time) -> Time {
    if at == Time::MAX { at } else { Time::from_nanos(at.as_nanos().saturating_sub(1)) }
}
