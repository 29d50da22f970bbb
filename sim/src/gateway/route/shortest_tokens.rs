//! The fewest tokens held.

use super::{Ask, Policy, Rank, View};
use crate::rng::Rng;
use crate::scenario::Pool;

/// Join the shortest queue by tokens: the fewest tokens of requests held, as far as a gateway knows them (the prompt and
/// the declared `max_tokens`; undeclared output counts nothing). A request counts in full from the moment it is sent
/// to the moment it is over. O(log replicas).
///
/// Source: the "least work left" rule (Harchol-Balter, *Performance Modeling and Design of Computer Systems*, chapter
/// 24), with declared tokens in place of the work that no gateway knows.
#[derive(Debug)]
pub(super) struct ShortestTokens;

impl Policy for ShortestTokens {
    const RANK: Rank = Rank::Tokens;

    fn new(_: &Pool, _: Rng) -> Self {
        ShortestTokens
    }

    #[inline]
    fn pick(&mut self, view: &View, _: Ask<'_>) -> usize {
        view.least()
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::known_tokens;
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;

    #[test]
    fn many_short_requests_are_less_than_a_long_one() {
        let mut bench = Bench::new(Route::ShortestTokens, 2, None);
        let long = crate::request::RequestHead { prompt_tokens: 900, max_tokens: Some(100), ..head(0) };
        assert_eq!(bench.pick(&long), Some(0));
        bench.view.take(0, known_tokens(&long));
        for count in 1..=9 {
            assert_eq!(bench.pick(&head(0)), Some(1), "{count} short ones");
            bench.view.take(1, 100);
            bench.view.update(1, 0, count);
        }
        bench.view.give_back(0, known_tokens(&long));
        assert_eq!(bench.pick(&head(0)), Some(0));
    }

    #[test]
    #[should_panic(expected = "replica 1 holds 5 tokens and gives back 6")]
    fn tokens_that_were_never_taken_cannot_be_given_back() {
        let mut bench = Bench::new(Route::ShortestTokens, 2, None);
        bench.view.take(1, 5);
        bench.view.give_back(1, 6);
    }
}
