//! The better of two.

use super::{Ask, Policy, Rank, View, draw};
use crate::rng::Rng;
use crate::scenario::Pool;

/// Of two different open replicas drawn at random the one with the smaller load as it is seen, the first drawn when
/// they are equal. O(1) while all are open, otherwise O(replicas / 64).
///
/// Source: Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 1996.
#[derive(Debug)]
pub(super) struct PowerOfTwo {
    rng: Rng,
}

impl Policy for PowerOfTwo {
    const RANK: Rank = Rank::Nothing;

    fn new(_: &Pool, rng: Rng) -> Self {
        PowerOfTwo { rng }
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        let count = view.open_count();
        if count == 1 {
            return view.nth_open(0);
        }
        let first = draw(&mut self.rng, count);
        let second = (first + 1 + draw(&mut self.rng, count - 1)) % count;
        let (first, second) = (view.nth_open(first), view.nth_open(second));
        if view.load(second) < view.load(first) { second } else { first }
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;

    #[test]
    fn the_strictly_worst_of_three_is_never_picked() {
        let mut bench = Bench::new(Route::PowerOfTwo, 3, None);
        bench.view.update(2, 9, 9);
        let picks: Vec<u16> = (0..300).map(|_| bench.pick(&head(0)).unwrap()).collect();
        assert!(picks.iter().all(|&replica| replica != 2));
        assert!(picks.contains(&0) && picks.contains(&1));
    }

    #[test]
    fn it_draws_among_those_that_are_up_only() {
        let mut bench = Bench::new(Route::PowerOfTwo, 100, None);
        (0..97).for_each(|replica| bench.view.set_up(replica, false));
        bench.view.update(98, 1, 0);
        let picks: Vec<u16> = (0..300).map(|_| bench.pick(&head(0)).unwrap()).collect();
        // Of three the worst loses to either; the other two share.
        assert!(picks.iter().all(|replica| [97, 99].contains(replica)), "{picks:?}");
        bench.view.set_up(97, false);
        bench.view.set_up(98, false);
        assert_eq!(bench.pick(&head(0)), Some(99));
    }
}
