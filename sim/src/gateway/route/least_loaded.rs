//! The smallest load.

use super::{Ask, Policy, Rank, View};
use crate::rng::Rng;
use crate::scenario::Pool;

/// The smallest load `4 * waiting + running` as it is seen: a request that waits weighs as four that run, since those
/// share steps that are hardly longer for one more, and that one waits for a place. O(log replicas).
///
/// Source: the score of the load balancer for data-parallel engines in vLLM (`DPLBAsyncMPClient`).
#[derive(Debug)]
pub(super) struct LeastLoaded;

impl Policy for LeastLoaded {
    const RANK: Rank = Rank::Load;

    fn new(_: &Pool, _: Rng) -> Self {
        LeastLoaded
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        view.least()
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head, pool};
    use crate::scenario::Route;
    use crate::time::Span;

    #[test]
    fn a_waiting_request_counts_four_times_and_ties_go_low() {
        let mut bench = Bench::new(Route::LeastLoaded, 3, None);
        bench.view.update(0, 1, 0);
        bench.view.update(1, 0, 3);
        bench.view.update(2, 0, 3);
        assert_eq!(bench.pick(&head(0)), Some(1));
    }

    #[test]
    fn between_two_looks_the_herd_goes_to_the_replica_that_was_idle() {
        let mut stale = pool(Route::LeastLoaded, 3, None);
        stale.view_age = Span::from_secs(1);
        let mut bench = Bench::of(&stale);
        for held in 0..20 {
            assert_eq!(bench.pick(&head(0)), Some(0), "with {held} held");
            bench.view.update(0, held, 1);
        }
        bench.view.look();
        assert_eq!(bench.pick(&head(0)), Some(1));
    }
}
