//! Replicas that real-time lends to batch while it can spare them, and takes back.

use super::Feed;
use super::simulation::Simulation;
use crate::batch::is_open;
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::scenario::batch::{Lend, Reclaim};
use crate::time::Span;

/// What a replica does for batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Loan {
    /// It serves real-time.
    #[default]
    No,
    /// It is lent: the router knows nothing of it.
    Lent,
    /// It is taken back, and not empty yet.
    Leaving,
    /// It is empty and loads what real-time needs; the number voids older timers.
    Reloading(u32),
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Looks at the load of a pool: one replica more is lent, or one taken back; all of them when it is not the time of day.
    /// Returns when to look again.
    pub(super) fn look_at_loans(&mut self, pool: usize, observer: &mut impl Observer) -> Span {
        let state = self.batches.pools[pool].as_ref().expect("a pool that lends");
        let rule: Lend = state.rules.lend.expect("a pool that lends");
        let lent = state.loans.iter().filter(|&&loan| loan == Loan::Lent).count();
        let (has_work, open) = (state.has_work(), is_open(state.rules, self.now));
        let left = u32::from(self.pools[pool].view.ready());
        let real_time = self.pools[pool].requests;
        let idle =
            state.sent.iter().zip(&state.loans).rposition(|(&sent, &loan)| loan == Loan::Lent && sent == 0);
        if !open {
            for _ in 0..lent {
                self.take_back_one(pool, None);
            }
        } else if lent > 0 && real_time > rule.above.saturating_mul(left) {
            self.take_back_one(pool, None);
        } else if !has_work && idle.is_some() {
            self.take_back_one(pool, idle);
        } else if has_work
            && lent < usize::from(rule.most)
            && left > 1
            && real_time <= rule.below.saturating_mul(left - 1)
        {
            self.lend_one(pool, observer);
        }
        rule.every
    }

    /// The replica with the fewest real-time requests, the last among equals, is lent.
    fn lend_one(&mut self, pool: usize, observer: &mut impl Observer) {
        let state = self.batches.pools[pool].as_ref().expect("a pool that lends");
        let first = self.pools[pool].first;
        let can = |&replica: &usize| {
            let up = self.pools[pool].view.is_up(replica as u16);
            up && state.loans[replica] == Loan::No && self.elastic.serves(first + replica)
        };
        let load = |replica: &usize| {
            let (waiting, running) = self.stations[first + replica].load();
            (waiting + running, std::cmp::Reverse(*replica))
        };
        let Some(replica) = (0..state.loans.len()).filter(can).min_by_key(load) else { return };
        let state = self.batches.pools[pool].as_mut().expect("a pool that lends");
        state.loans[replica] = Loan::Lent;
        self.pools[pool].view.set_up(replica as u16, false);
        self.catch_up(first + replica, observer);
        self.begin_later(first + replica);
    }

    /// A lent replica, the first one unless named, is taken back.
    fn take_back_one(&mut self, pool: usize, named: Option<usize>) {
        let state = self.batches.pools[pool].as_mut().expect("a pool that lends");
        let Some(replica) = named.or_else(|| state.loans.iter().position(|&loan| loan == Loan::Lent)) else {
            return;
        };
        state.loans[replica] = Loan::Leaving;
        // Its run of steps is cut, so that what is on it leaves when the step in flight is over.
        self.wake_batch(pool);
    }

    /// Whether the batch on a replica must go now.
    pub(super) fn is_preempting(&self, pool: usize, replica: usize) -> bool {
        let state = self.batches.pools[pool].as_ref().expect("a pool with batch");
        state.loans[replica] == Loan::Leaving
            && state.rules.lend.is_some_and(|rule| rule.reclaim == Reclaim::Preempt)
    }

    /// A replica that is taken back and empty of batch loads what real-time needs.
    pub(super) fn go_on_leaving(&mut self, station: usize, pool: usize) {
        let replica = usize::from(self.stations[station].replica);
        let state = self.batches.pools[pool].as_mut().expect("a pool with batch");
        let Some(rule) = state.rules.lend else { return };
        if state.loans[replica] != Loan::Leaving || state.sent[replica] > 0 {
            return;
        }
        self.loans_made += 1;
        let number = self.loans_made;
        state.loans[replica] = Loan::Reloading(number);
        if rule.reload.is_zero() {
            self.reloaded(station, number);
        } else {
            self.set_reload_timer(self.now + rule.reload, station, number);
        }
    }

    /// A replica serves real-time again.
    pub(super) fn reloaded(&mut self, station: usize, number: u32) {
        let (pool, replica) = (self.stations[station].pool, self.stations[station].replica);
        let state = self.batches.pools[pool].as_mut().expect("a pool that lends");
        let loan = &mut state.loans[usize::from(replica)];
        if *loan != Loan::Reloading(number) {
            return;
        }
        *loan = Loan::No;
        if self.elastic.serves(station) {
            self.pools[pool].view.set_up(replica, true);
            self.poll_later(pool, station);
        }
    }

    /// A replica has failed: it is lent to nobody.
    pub(super) fn end_loan(&mut self, station: usize) {
        let pool = self.stations[station].pool;
        let replica = usize::from(self.stations[station].replica);
        if let Some(Some(state)) = self.batches.pools.get_mut(pool) {
            state.loans[replica] = Loan::No;
        }
    }
}
