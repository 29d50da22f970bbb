//! Where the session is, by hashing.

use super::ring::Ring;
use super::{Ask, Policy, Rank, View};
use crate::rng::{Rng, mix};
use crate::scenario::Pool;

/// Sticky sessions: a hash of (workload, session) falls to a point on a ring of all replicas, and the first open replica
/// clockwise takes the request. While a replica is down or full its sessions are the next one's on the ring, a different
/// one for each of its points; when it is back they are its own again. Load is not looked at. O(log replicas), and O(1)
/// for each point of a closed replica that is passed.
///
/// Source: hash-based session affinity of gateways (Envoy `ring_hash`, HAProxy `hash-type consistent`).
#[derive(Debug)]
pub(super) struct SessionAffinity {
    ring: Ring,
}

/// Keeps session keys apart from the points of the ring, which are hashes of pairs, too.
const APART: u64 = 0x7365_7373_696f_6e73;

impl Policy for SessionAffinity {
    const RANK: Rank = Rank::Nothing;

    fn new(pool: &Pool, _: Rng) -> Self {
        SessionAffinity { ring: Ring::new(pool.replicas) }
    }

    #[inline]
    fn pick(&mut self, view: &View, ask: Ask<'_>) -> usize {
        let key = mix(mix(APART ^ u64::from(ask.head.workload)) ^ ask.head.session);
        let home = self.ring.clockwise(key).find(|&replica| view.is_open(replica));
        home.expect("every replica is on the ring, and one is open")
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::route::tests::{Bench, head};
    use crate::request::RequestHead;
    use crate::scenario::Route;
    use std::collections::BTreeSet;

    #[test]
    fn a_session_stays_whatever_the_load_and_sessions_spread() {
        let mut bench = Bench::new(Route::SessionAffinity, 8, None);
        let session = |session| RequestHead { session, ..head(0) };
        let home = bench.pick(&session(7)).unwrap();
        bench.view.update(home, 500, 9);
        assert_eq!(bench.pick(&session(7)), Some(home));
        let mut counts = [0u32; 8];
        for id in 0..4_000 {
            counts[usize::from(bench.pick(&session(id)).unwrap())] += 1;
        }
        assert!(counts.iter().all(|count| (250..=800).contains(count)), "{counts:?}");
        let elsewhere = RequestHead { workload: 1, ..session(7) };
        let others: BTreeSet<u16> =
            (0..50).map(|id| bench.pick(&RequestHead { session: id, ..elsewhere }).unwrap()).collect();
        assert!(others.len() > 4, "sessions of another workload are others: {others:?}");
    }

    #[test]
    fn sessions_of_a_replica_that_is_down_spread_and_come_home() {
        let mut bench = Bench::new(Route::SessionAffinity, 8, None);
        let session = |session| RequestHead { session, ..head(0) };
        let homes: Vec<u16> = (0..500).map(|id| bench.pick(&session(id)).unwrap()).collect();
        bench.view.set_up(3, false);
        let mut hosts = BTreeSet::new();
        for (id, &home) in homes.iter().enumerate() {
            let host = bench.pick(&session(id as u64)).unwrap();
            if home == 3 {
                hosts.insert(host);
            } else {
                assert_eq!(host, home, "session {id} has no reason to move");
            }
        }
        assert!(hosts.len() >= 4 && !hosts.contains(&3), "{hosts:?}");
        bench.view.set_up(3, true);
        let again: Vec<u16> = (0..500).map(|id| bench.pick(&session(id)).unwrap()).collect();
        assert_eq!(homes, again);
    }
}
