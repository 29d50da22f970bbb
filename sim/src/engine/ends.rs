//! When each replica's run of steps ends: a tournament over the replicas.
//!
//! A replica has at most one end pending, and it moves whenever a run is cut short. In a heap every move would leave
//! a void event behind; here it is a walk from a leaf to the root, and nothing is ever void.

use crate::time::Time;

/// Pending ends, one place per replica.
#[derive(Debug)]
pub struct StepEnds {
    /// An implicit binary tree: node `n` holds the least of nodes `2n` and `2n + 1`; leaves are the replicas.
    tree: Vec<u64>,
    leaves: usize,
}

const NEVER: u64 = u64::MAX;

impl StepEnds {
    /// Places for `replicas` replicas, none of which is stepping.
    pub fn new(replicas: usize) -> Self {
        let leaves = replicas.next_power_of_two().max(1);
        StepEnds { tree: vec![NEVER; 2 * leaves], leaves }
    }

    /// The replica's run ends at `end`, whatever was said before. O(log replicas).
    #[inline]
    pub fn set(&mut self, replica: usize, end: Time) {
        self.write(replica, end.as_nanos());
    }

    /// The replica is between steps. O(log replicas).
    #[inline]
    pub fn clear(&mut self, replica: usize) {
        self.write(replica, NEVER);
    }

    /// The earliest end; [`Time::MAX`] when nobody is stepping. O(1).
    #[inline]
    pub fn first_time(&self) -> Time {
        Time::from_nanos(self.tree[1])
    }

    /// The replica whose run ends first, the lowest number among equals. O(log replicas).
    ///
    /// Panics when nobody is stepping.
    #[inline]
    pub fn first(&self) -> usize {
        let least = self.tree[1];
        assert!(least != NEVER, "nobody is stepping");
        let mut node = 1;
        while node < self.leaves {
            node = 2 * node + usize::from(self.tree[2 * node] != least);
        }
        node - self.leaves
    }

    #[inline]
    fn write(&mut self, replica: usize, end: u64) {
        let mut node = self.leaves + replica;
        self.tree[node] = end;
        while node > 1 {
            let least = self.tree[node].min(self.tree[node ^ 1]);
            node /= 2;
            if self.tree[node] == least {
                return;
            }
            self.tree[node] = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_end_is_the_least_and_the_lowest_replica_among_equals(
            replicas in 1usize..20,
            writes in prop::collection::vec((0usize..20, prop::option::of(0u64..9)), 1..60),
        ) {
            let mut ends = StepEnds::new(replicas);
            let mut plain = vec![u64::MAX; replicas];
            for (replica, end) in writes {
                let replica = replica % replicas;
                plain[replica] = end.unwrap_or(u64::MAX);
                match end {
                    Some(end) => ends.set(replica, Time::from_nanos(end)),
                    None => ends.clear(replica),
                }
                let least = *plain.iter().min().unwrap();
                prop_assert_eq!(ends.first_time(), Time::from_nanos(least));
                if least < u64::MAX {
                    prop_assert_eq!(ends.first(), plain.iter().position(|&end| end == least).unwrap());
                }
            }
        }
    }
}
