//! Where the prefix is, by hashing.

use super::ring::Ring;
use super::{Ask, Policy, Rank, View};
use crate::rng::{Rng, mix};
use crate::scenario::Pool;

/// Consistent hashing with bounded loads: the prefix falls to a point on a ring of all replicas, and the first open
/// replica clockwise takes the request that would then hold at most 1.25 times its share of what all that are up hold.
/// A request without a prefix of its own goes to the smallest load. O(log replicas) while replicas are not overloaded.
///
/// Source: Mirrokni, Thorup, Zadimoghaddam, *Consistent Hashing with Bounded Loads*, SODA 2018.
#[derive(Debug)]
pub(super) struct PrefixAffinity {
    ring: Ring,
}

impl Policy for PrefixAffinity {
    const RANK: Rank = Rank::Load;

    fn new(pool: &Pool, _: Rng) -> Self {
        PrefixAffinity { ring: Ring::new(pool.replicas) }
    }

    #[inline]
    fn pick(&mut self, view: &View, ask: Ask<'_>) -> usize {
        let Some(key) = affinity(ask) else { return view.least() };
        let bound = (5 * (view.total() + 1)).div_ceil(4 * u64::from(view.ready()));
        let fits = |&replica: &usize| view.is_open(replica) && u64::from(view.held(replica)) < bound;
        let home = self.ring.clockwise(key).find(fits);
        home.expect("a replica that holds no more than the mean is open and below the bound")
    }
}

/// What a gateway can recognise of a prompt: its session, or the second block hash of a trace (the first is often
/// one system prompt that everybody shares). A system prompt alone is soon on every replica and gives no affinity.
fn affinity(ask: Ask<'_>) -> Option<u64> {
    let hashes = ask.chain.map(|chain| &chain.hashes).filter(|hashes| !hashes.is_empty());
    match hashes {
        Some(hashes) => Some(mix(hashes[1.min(hashes.len() - 1)])),
        None => (ask.head.prefix.own != 0).then(|| mix(ask.head.prefix.own)),
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::scenario::Route;
    use std::collections::BTreeSet;

    #[test]
    fn a_session_goes_to_one_replica_until_that_is_overloaded() {
        let mut bench = Bench::new(Route::PrefixAffinity, 8, None);
        let home = bench.pick(&head(77)).unwrap();
        assert!((0..20).all(|_| bench.pick(&head(77)) == Some(home)));
        bench.view.update(home, 4, 0);
        assert_ne!(bench.pick(&head(77)), Some(home));
        bench.view.update(home, 0, 0);
        let homes: BTreeSet<u16> = (1..200).filter_map(|session| bench.pick(&head(session))).collect();
        assert_eq!(homes.len(), 8, "sessions spread over all replicas");
    }

    #[test]
    fn its_share_is_of_the_replicas_that_are_up() {
        // 8 requests and the new one on 2 replicas are 4.5 each: up to 6 are allowed; on 8 replicas it would be 2.
        let mut bench = Bench::new(Route::PrefixAffinity, 8, None);
        (2..8).for_each(|replica| bench.view.set_up(replica, false));
        let home = bench.pick(&head(77)).unwrap();
        bench.view.update(home, 0, 5);
        bench.view.update(1 - home, 0, 3);
        assert_eq!(bench.pick(&head(77)), Some(home));
        bench.view.update(home, 0, 6);
        bench.view.update(1 - home, 0, 2);
        assert_eq!(bench.pick(&head(77)), Some(1 - home));
    }
}
