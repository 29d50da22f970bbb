//! Which replica gets the next request.

use crate::request::{HashChain, ReplicaId, RequestHead};
use crate::rng::{Purpose, Rng, mix, stream};
use crate::scenario::Route;
use rand::RngExt as _;

/// What a router sees of the replicas of a pool.
#[derive(Clone, Debug)]
pub struct View {
    /// `4 * waiting + running` of each replica.
    load: Vec<u32>,
    /// Requests held (waiting and running) of each replica.
    held: Vec<u32>,
    /// Sum of `held`.
    total: u64,
    /// Most requests a replica may hold.
    most: u32,
    /// Replicas that hold fewer than `most`.
    open: u32,
}

impl View {
    /// Idle replicas that may hold `most` requests each.
    pub fn new(replicas: u16, most: Option<u32>) -> Self {
        let count = usize::from(replicas);
        let most = most.unwrap_or(u32::MAX);
        View { load: vec![0; count], held: vec![0; count], total: 0, most, open: u32::from(replicas) }
    }

    /// Notes what a replica holds now.
    #[inline]
    pub fn update(&mut self, replica: ReplicaId, waiting: u32, running: u32) {
        let index = usize::from(replica);
        let (before, after) = (self.held[index], waiting + running);
        self.load[index] = 4 * waiting + running;
        self.held[index] = after;
        self.total = self.total + u64::from(after) - u64::from(before);
        self.open = self.open + u32::from(before >= self.most) - u32::from(after >= self.most);
    }

    /// Whether any replica may take another request.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.open > 0
    }

    #[inline]
    fn is_open(&self, index: usize) -> bool {
        self.held[index] < self.most
    }

    fn replicas(&self) -> usize {
        self.load.len()
    }
}

/// Points of the hash ring that each replica owns.
const RING_POINTS: u64 = 64;

/// A routing policy with its state.
#[derive(Debug)]
pub struct Router {
    policy: Route,
    /// Next in turn.
    turn: usize,
    rng: Rng,
    /// `(point, replica)`, sorted; only for prefix affinity.
    ring: Vec<(u64, ReplicaId)>,
}

impl Router {
    /// A router over `replicas` replicas of pool number `pool`.
    pub fn new(policy: Route, replicas: u16, seed: u64, pool: u64) -> Self {
        let mut ring = Vec::new();
        if policy == Route::PrefixAffinity {
            for replica in 0..replicas {
                ring.extend(
                    (0..RING_POINTS).map(|point| (mix(mix(u64::from(replica) + 1) ^ point), replica)),
                );
            }
            ring.sort_unstable();
        }
        Router { policy, turn: 0, rng: stream(seed, Purpose::Route, pool, 0), ring }
    }

    /// The replica for a request; `None` when all are full.
    ///
    /// O(1) for round robin, random and power of two; O(replicas) over one dense array for least loaded;
    /// O(log replicas) for prefix affinity while replicas are not overloaded.
    #[inline]
    pub fn pick(&mut self, view: &View, head: &RequestHead, chain: Option<&HashChain>) -> Option<ReplicaId> {
        if !view.has_room() {
            return None;
        }
        let count = view.replicas();
        let index = match self.policy {
            _ if count == 1 => 0,
            Route::RoundRobin => {
                let start = self.turn;
                let index = next_open(view, start);
                self.turn = if index + 1 == count { 0 } else { index + 1 };
                index
            }
            Route::Random => next_open(view, self.draw(count)),
            Route::LeastLoaded => least_loaded(view),
            Route::PowerOfTwo => {
                let first = self.draw(count);
                let second = (first + 1 + self.draw(count - 1)) % count;
                match (view.is_open(first), view.is_open(second)) {
                    (true, true) => {
                        if view.load[second] < view.load[first] {
                            second
                        } else {
                            first
                        }
                    }
                    (true, false) => first,
                    (false, true) => second,
                    (false, false) => next_open(view, first),
                }
            }
            Route::PrefixAffinity => match affinity(head, chain) {
                Some(key) => self.on_ring(view, key),
                None => least_loaded(view),
            },
        };
        Some(index as ReplicaId)
    }

    /// Uniform in `0..count`; the bias of the multiplication is below 2^-48.
    #[inline]
    fn draw(&mut self, count: usize) -> usize {
        ((u128::from(self.rng.random::<u64>()) * count as u128) >> 64) as usize
    }

    /// Consistent hashing with bounded loads: the first replica clockwise that holds at most 1.25 times its share.
    /// Source: Mirrokni, Thorup, Zadimoghaddam, *Consistent Hashing with Bounded Loads*, SODA 2018.
    fn on_ring(&self, view: &View, key: u64) -> usize {
        let count = view.replicas() as u64;
        let bound = (5 * (view.total + 1)).div_ceil(4 * count);
        let start = self.ring.partition_point(|&(point, _)| point < key);
        let clockwise =
            self.ring[start..].iter().chain(&self.ring[..start]).map(|&(_, replica)| usize::from(replica));
        let mut fits =
            clockwise.filter(|&replica| view.is_open(replica) && u64::from(view.held[replica]) < bound);
        fits.next().unwrap_or_else(|| least_loaded(view))
    }
}

/// The first open replica from `start` on, in turn.
#[inline]
fn next_open(view: &View, start: usize) -> usize {
    let count = view.replicas();
    let mut index = if start < count { start } else { 0 };
    while !view.is_open(index) {
        index = if index + 1 == count { 0 } else { index + 1 };
    }
    index
}

#[inline]
fn least_loaded(view: &View) -> usize {
    let (mut best, mut least) = (usize::MAX, u32::MAX);
    for (index, &load) in view.load.iter().enumerate() {
        if load < least && view.is_open(index) {
            (best, least) = (index, load);
        }
    }
    best
}

/// What a gateway can recognise of a prompt: its session, or the second block hash of a trace (the first is often
/// one system prompt that everybody shares). A system prompt alone is soon on every replica and gives no affinity.
fn affinity(head: &RequestHead, chain: Option<&HashChain>) -> Option<u64> {
    let hashes = chain.map(|chain| &chain.hashes).filter(|hashes| !hashes.is_empty());
    match hashes {
        Some(hashes) => Some(mix(hashes[1.min(hashes.len() - 1)])),
        None => (head.prefix.own != 0).then(|| mix(head.prefix.own)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Prefix;

    fn head(own: u64) -> RequestHead {
        RequestHead {
            workload: 0,
            tenant: 0,
            index: 0,
            prompt_tokens: 1,
            max_tokens: None,
            session: 0,
            turn: 0,
            prefix: Prefix { shared: 0, shared_tokens: 0, own },
            body_bytes: None,
        }
    }

    fn router(policy: Route, replicas: u16) -> Router {
        Router::new(policy, replicas, 1, 0)
    }

    #[test]
    fn round_robin_takes_turns_and_skips_the_full() {
        let mut view = View::new(3, Some(1));
        let mut router = router(Route::RoundRobin, 3);
        assert_eq!(router.pick(&view, &head(0), None), Some(0));
        view.update(1, 1, 0);
        assert_eq!(router.pick(&view, &head(0), None), Some(2));
        assert_eq!(router.pick(&view, &head(0), None), Some(0));
        view.update(0, 0, 1);
        view.update(2, 0, 1);
        assert_eq!(router.pick(&view, &head(0), None), None);
    }

    #[test]
    fn least_loaded_counts_a_waiting_request_four_times_and_breaks_ties_low() {
        let mut view = View::new(3, None);
        view.update(0, 1, 0);
        view.update(1, 0, 3);
        view.update(2, 0, 3);
        assert_eq!(router(Route::LeastLoaded, 3).pick(&view, &head(0), None), Some(1));
    }

    #[test]
    fn power_of_two_never_picks_the_strictly_worst_of_three() {
        let mut view = View::new(3, None);
        view.update(2, 9, 9);
        let mut router = router(Route::PowerOfTwo, 3);
        let picks: Vec<u16> = (0..300).map(|_| router.pick(&view, &head(0), None).unwrap()).collect();
        assert!(picks.iter().all(|&replica| replica != 2));
        assert!(picks.contains(&0) && picks.contains(&1));
    }

    #[test]
    fn affinity_sends_a_session_to_one_replica_until_that_is_overloaded() {
        let mut view = View::new(8, None);
        let mut router = router(Route::PrefixAffinity, 8);
        let home = router.pick(&view, &head(77), None).unwrap();
        assert!((0..20).all(|_| router.pick(&view, &head(77), None) == Some(home)));
        view.update(home, 4, 0);
        assert_ne!(router.pick(&view, &head(77), None), Some(home));
        let homes: std::collections::BTreeSet<_> =
            (1..200).filter_map(|session| router.pick(&View::new(8, None), &head(session), None)).collect();
        assert_eq!(homes.len(), 8, "sessions spread over all replicas");
    }
}
