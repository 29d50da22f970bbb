//! In turn.

use super::{Ask, Policy, Rank, View};
use crate::rng::Rng;
use crate::scenario::Pool;

/// The replicas in turn; those that are down or full are passed over and keep their place. O(1), and O(replicas / 64)
/// to pass over many.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Next in turn.
    turn: usize,
}

impl Policy for RoundRobin {
    const RANK: Rank = Rank::Nothing;

    fn new(_: &Pool, _: Rng) -> Self {
        RoundRobin { turn: 0 }
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        let index = view.next_open(self.turn);
        self.turn = if index + 1 == view.replicas() { 0 } else { index + 1 };
        index
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;

    #[test]
    fn it_takes_turns_and_skips_the_full() {
        let mut bench = Bench::new(Route::RoundRobin, 3, Some(1));
        assert_eq!(bench.pick(&head(0)), Some(0));
        bench.view.update(1, 1, 0);
        assert_eq!(bench.pick(&head(0)), Some(2));
        assert_eq!(bench.pick(&head(0)), Some(0));
        bench.view.update(0, 0, 1);
        bench.view.update(2, 0, 1);
        assert_eq!(bench.pick(&head(0)), None);
    }

    #[test]
    fn a_replica_that_comes_back_has_its_turn_again() {
        let mut bench = Bench::new(Route::RoundRobin, 3, None);
        bench.view.set_up(1, false);
        assert_eq!([0; 4].map(|_| bench.pick(&head(0)).unwrap()), [0, 2, 0, 2]);
        bench.view.set_up(1, true);
        assert_eq!([0; 4].map(|_| bench.pick(&head(0)).unwrap()), [0, 1, 2, 0]);
    }
}
