//! Which replica has the least of something: a tournament over the replicas.
//!
//! A replica's figure changes with every request that comes or goes, the least is asked for once a request: both are a
//! walk between a leaf and the root, and no policy scans its replicas.

/// Figures of replicas; the least of them is known.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// An implicit binary tree: node `n` holds the least of nodes `2n` and `2n + 1`; leaves are the replicas.
    nodes: Vec<u64>,
    leaves: usize,
}

/// The figure of a replica that must not be picked.
pub(super) const CLOSED: u64 = u64::MAX;

impl Tree {
    /// Leaves for `count` replicas, all closed.
    pub(super) fn new(count: usize) -> Self {
        let leaves = count.next_power_of_two();
        Tree { nodes: vec![CLOSED; 2 * leaves], leaves }
    }

    /// The replica's figure is `figure` from now on. O(log replicas), less when no winner changes.
    #[inline]
    pub(super) fn set(&mut self, replica: usize, figure: u64) {
        let mut node = self.leaves + replica;
        self.nodes[node] = figure;
        while node > 1 {
            let least = self.nodes[node].min(self.nodes[node ^ 1]);
            node /= 2;
            if self.nodes[node] == least {
                return;
            }
            self.nodes[node] = least;
        }
    }

    /// The replica with the least figure, the lowest index among equals; `None` when all are closed. O(log replicas).
    #[inline]
    pub(super) fn least(&self) -> Option<usize> {
        let least = self.nodes[1];
        let mut node = 1;
        while node < self.leaves {
            node = 2 * node + usize::from(self.nodes[2 * node] != least);
        }
        (least != CLOSED).then(|| node - self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_is_what_a_scan_finds_and_the_lowest_index_among_equals(
            count in 1usize..40,
            writes in prop::collection::vec((0usize..40, prop::option::of(0u64..6)), 1..100),
        ) {
            let mut tree = Tree::new(count);
            let mut plain = vec![CLOSED; count];
            prop_assert_eq!(tree.least(), None);
            for (replica, figure) in writes {
                plain[replica % count] = figure.unwrap_or(CLOSED);
                tree.set(replica % count, figure.unwrap_or(CLOSED));
                let least = (0..count).filter(|&index| plain[index] != CLOSED).min_by_key(|&index| plain[index]);
                prop_assert_eq!(tree.least(), least);
            }
        }
    }
}
