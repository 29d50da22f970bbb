//! A queue in one piece of memory: grows by doubling up to a bound, never shrinks.

/// Entries from oldest (index 0) to newest. 24 bytes while empty, no allocation before the first entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring<T> {
    slots: Box<[T]>,
    head: u32,
    len: u32,
}

impl<T: Copy + Default> Ring<T> {
    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Entries that fit before the next growth.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Where the `i`-th oldest entry lies. A comparison, not a mask, so that the bound need not be a power of two.
    fn slot(&self, i: usize) -> usize {
        let at = self.head as usize + i;
        if at >= self.slots.len() { at - self.slots.len() } else { at }
    }

    /// The `i`-th oldest entry; `i` below [`len`](Self::len).
    pub(super) fn get(&self, i: usize) -> T {
        debug_assert!(i < self.len(), "entry {i} of {}", self.len);
        self.slots[self.slot(i)]
    }

    /// The `i`-th oldest entry, to be changed.
    pub(super) fn get_mut(&mut self, i: usize) -> &mut T {
        debug_assert!(i < self.len(), "entry {i} of {}", self.len);
        &mut self.slots[self.slot(i)]
    }

    /// The oldest entry.
    pub(super) fn front(&self) -> Option<T> {
        (self.len > 0).then(|| self.slots[self.head as usize])
    }

    /// Forgets the oldest entry, of which there must be one.
    pub(super) fn pop_front(&mut self) {
        debug_assert!(self.len > 0, "nothing to forget");
        self.head = self.slot(1) as u32;
        self.len -= 1;
    }

    /// Appends. Doubles when full, to `bound` entries at most unless there are that many already. O(1) amortised.
    pub(super) fn push_back(&mut self, entry: T, bound: u64) {
        if self.len() == self.slots.len() {
            self.grow(bound);
        }
        let at = self.slot(self.len());
        self.slots[at] = entry;
        self.len += 1;
    }

    /// Inserts before the `i`-th oldest entry. O(entries after it).
    pub(super) fn insert(&mut self, i: usize, entry: T, bound: u64) {
        self.push_back(entry, bound);
        for later in (i + 1..self.len()).rev() {
            *self.get_mut(later) = self.get(later - 1);
        }
        *self.get_mut(i) = entry;
    }

    /// How many entries from the oldest on satisfy `holds`, which must not hold again after it failed. O(log entries).
    pub(super) fn partition_point(&self, holds: impl Fn(T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn grow(&mut self, bound: u64) {
        let capacity = self.slots.len();
        let mut next = (2 * capacity).max(4);
        if (capacity as u64) < bound {
            next = usize::try_from(bound).map_or(next, |bound| next.min(bound));
        }
        assert!(u32::try_from(2 * next).is_ok(), "{next} entries on one key do not fit a ring");
        let mut slots = Vec::with_capacity(next);
        slots.extend((0..self.len()).map(|i| self.get(i)));
        slots.resize(next, T::default());
        (self.slots, self.head) = (slots.into_boxed_slice(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn a_ring_is_a_queue() {
        let (mut ring, mut queue) = (Ring::default(), VecDeque::new());
        for step in 0..1000_u32 {
            match step % 7 {
                2 | 5 if !queue.is_empty() => {
                    ring.pop_front();
                    queue.pop_front();
                }
                3 => {
                    let at = queue.len() / 3;
                    ring.insert(at, step, 1 << 20);
                    queue.insert(at, step);
                }
                _ => {
                    ring.push_back(step, 1 << 20);
                    queue.push_back(step);
                }
            }
            assert_eq!(ring.front(), queue.front().copied());
            assert_eq!((0..ring.len()).map(|i| ring.get(i)).collect::<Vec<_>>(), Vec::from(queue.clone()));
        }
    }

    #[test]
    fn doubling_stops_at_the_bound() {
        let mut ring = Ring::default();
        for entry in 0..1000_u64 {
            ring.push_back(entry, 1000);
        }
        assert_eq!(ring.capacity(), 1000);
    }
}
