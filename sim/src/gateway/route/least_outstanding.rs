//! The fewest requests held.

use super::{Ask, Policy, Rank, View};
use crate::rng::Rng;
use crate::scenario::Pool;

/// The fewest requests held, waiting and running, which the gateway counts itself: this never waits for a report.
/// O(log replicas).
///
/// Source: join the shortest queue (Winston, *Optimality of the Shortest Line Discipline*, 1977); in gateways, "least
/// outstanding requests" (AWS Application Load Balancer) and `leastconn` (HAProxy).
#[derive(Debug)]
pub(super) struct LeastOutstanding;

impl Policy for LeastOutstanding {
    const RANK: Rank = Rank::Held;

    fn new(_: &Pool, _: Rng) -> Self {
        LeastOutstanding
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        view.least()
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;

    #[test]
    fn a_waiting_request_counts_as_one_that_runs_and_ties_go_low() {
        let mut bench = Bench::new(Route::LeastOutstanding, 3, None);
        bench.view.update(0, 0, 3);
        bench.view.update(1, 2, 0);
        bench.view.update(2, 1, 1);
        assert_eq!(bench.pick(&head(0)), Some(1));
        bench.view.set_up(1, false);
        assert_eq!(bench.pick(&head(0)), Some(2));
    }
}
