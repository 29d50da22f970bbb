//! Who has the least of something: a tournament.
//!
//! A figure changes with every request that comes or goes, the least is asked for once a request: both are a walk between
//! a leaf and the root, and nobody is scanned.

/// Figures of some contestants; the least of them is known.
#[derive(Clone, Debug)]
pub(super) struct Tree<F> {
    /// An implicit binary tree: node `n` holds the least of nodes `2n` and `2n + 1`; leaves are the contestants.
    nodes: Vec<F>,
    leaves: usize,
    /// The figure of one that is out: above every other.
    out: F,
}

impl<F: Copy + Ord> Tree<F> {
    /// Leaves for `count` contestants, all of them out, which is told by the figure `out`. O(count) memory.
    pub(super) fn new(count: usize, out: F) -> Self {
        let leaves = count.next_power_of_two();
        Tree { nodes: vec![out; 2 * leaves], leaves, out }
    }

    /// The figure of `index` from now on. O(log count), less when no winner changes.
    #[inline]
    pub(super) fn set(&mut self, index: usize, figure: F) {
        let mut node = self.leaves + index;
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

    /// `index` is out. O(log count).
    #[inline]
    pub(super) fn take_out(&mut self, index: usize) {
        self.set(index, self.out);
    }

    /// The least figure; `None` when all are out. O(1).
    #[inline]
    pub(super) fn least_figure(&self) -> Option<F> {
        (self.nodes[1] != self.out).then_some(self.nodes[1])
    }

    /// Who has the least figure, the lowest index among equals; `None` when all are out. O(log count).
    #[inline]
    pub(super) fn least(&self) -> Option<usize> {
        let least = self.least_figure()?;
        let mut node = 1;
        while node < self.leaves {
            node = 2 * node + usize::from(self.nodes[2 * node] != least);
        }
        Some(node - self.leaves)
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
            let mut tree = Tree::new(count, u64::MAX);
            let mut plain = vec![None; count];
            prop_assert_eq!(tree.least(), None);
            for (index, figure) in writes {
                plain[index % count] = figure;
                match figure {
                    Some(figure) => tree.set(index % count, figure),
                    None => tree.take_out(index % count),
                }
                let least = (0..count).filter(|&index| plain[index].is_some()).min_by_key(|&index| plain[index]);
                prop_assert_eq!(tree.least(), least);
                prop_assert_eq!(tree.least_figure(), least.and_then(|index| plain[index]));
            }
        }
    }
}
