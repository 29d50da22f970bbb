//! At random.

use super::{Ask, Policy, Rank, View, draw};
use crate::rng::Rng;
use crate::scenario::Pool;

/// Uniform over the open replicas. O(1) while all are open, otherwise O(replicas / 64).
#[derive(Debug)]
pub(super) struct Random {
    rng: Rng,
}

impl Policy for Random {
    const RANK: Rank = Rank::Nothing;

    fn new(_: &Pool, rng: Rng) -> Self {
        Random { rng }
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        view.nth_open(draw(&mut self.rng, view.open_count()))
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;

    #[test]
    fn the_open_replicas_are_drawn_equally_often_and_no_other() {
        let mut bench = Bench::new(Route::Random, 5, Some(1));
        bench.view.set_up(0, false);
        bench.view.update(3, 0, 1);
        let mut counts = [0u32; 5];
        for _ in 0..30_000 {
            counts[usize::from(bench.pick(&head(0)).unwrap())] += 1;
        }
        // Five standard deviations of a binomial with 30,000 draws and one third are 408.
        for (replica, &count) in counts.iter().enumerate() {
            let expected = if [1, 2, 4].contains(&replica) { 10_000 } else { 0 };
            assert!(count.abs_diff(expected) <= expected / 24, "replica {replica}: {counts:?}");
        }
    }
}
