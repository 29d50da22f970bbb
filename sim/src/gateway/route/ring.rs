//! Consistent hashing: replicas own points on a ring of hashes, and a key belongs to the next point clockwise.
//!
//! Source: Karger et al., *Consistent Hashing and Random Trees*, STOC 1997.

use crate::request::ReplicaId;
use crate::rng::mix;

/// Points that each replica owns. The shares of replicas differ by about one over the root of it.
const POINTS: u64 = 64;

/// The ring of all replicas of a pool, up or down: so a key comes home when its replica does.
#[derive(Debug)]
pub(super) struct Ring {
    /// `(point, replica)`, sorted.
    points: Vec<(u64, ReplicaId)>,
}

impl Ring {
    /// A ring of `replicas` replicas.
    pub(super) fn new(replicas: ReplicaId) -> Self {
        let of = |replica: ReplicaId| {
            (0..POINTS).map(move |point| (mix(mix(u64::from(replica) + 1) ^ point), replica))
        };
        let mut points: Vec<(u64, ReplicaId)> = (0..replicas).flat_map(of).collect();
        points.sort_unstable();
        Ring { points }
    }

    /// The owners of the points from `key` on, once around. O(log points), and O(1) for each point that is passed.
    pub(super) fn clockwise(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let start = self.points.partition_point(|&(point, _)| point < key);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|&(_, replica)| usize::from(replica))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_more_takes_its_share_of_the_keys_and_moves_no_other() {
        let (nine, ten) = (Ring::new(9), Ring::new(10));
        let mut moved = 0;
        for key in (0..20_000).map(mix) {
            let (before, after) = (nine.clockwise(key).next().unwrap(), ten.clockwise(key).next().unwrap());
            assert!(after == before || after == 9, "key {key} moved from {before} to {after}");
            moved += u32::from(after == 9);
        }
        assert!((1_200..2_800).contains(&moved), "a tenth of 20,000 is expected to move: {moved}");
    }
}
