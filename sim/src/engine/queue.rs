//! The event queue: a 4-ary heap in one `Vec`.
//!
//! Popping leaves a hole at the root instead of repairing the heap at once. Most events schedule exactly one
//! successor (the next arrival of a source, the next service of a server); it drops into the hole, so pop and push
//! together cost one sift.

use super::event::Event;
use crate::time::Time;

/// Pending events, smallest first.
#[derive(Debug, Default)]
pub struct EventQueue {
    heap: Vec<Event>,
    /// The root was popped and not yet replaced.
    hole: bool,
}

const ARITY: usize = 4;

impl EventQueue {
    /// Adds an event. O(log n).
    #[inline]
    pub fn push(&mut self, event: Event) {
        if self.hole {
            self.hole = false;
            self.sift_down(event);
            return;
        }
        let mut index = self.heap.len();
        self.heap.push(event);
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if self.heap[parent] <= event {
                break;
            }
            self.heap[index] = self.heap[parent];
            index = parent;
        }
        self.heap[index] = event;
    }

    /// Takes the smallest event. O(log n), or O(1) when the next call is a push.
    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        self.fill_hole();
        let first = *self.heap.first()?;
        self.hole = true;
        Some(first)
    }

    /// The smallest pending event. O(log n) right after a pop, else O(1).
    #[inline]
    pub fn peek(&mut self) -> Option<&Event> {
        self.fill_hole();
        self.heap.first()
    }

    /// The instant of the smallest pending event. O(1).
    #[inline]
    pub fn next_time(&self) -> Option<Time> {
        if self.hole {
            return self.heap[1..].iter().take(ARITY).map(|event| event.at).min();
        }
        self.heap.first().map(|event| event.at)
    }

    /// Pending events, void ones included.
    pub fn len(&self) -> usize {
        self.heap.len() - usize::from(self.hole)
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn fill_hole(&mut self) {
        if self.hole {
            self.hole = false;
            let last = self.heap.pop().expect("a hole stands for a popped root");
            if !self.heap.is_empty() {
                self.sift_down(last);
            }
        }
    }

    /// Puts `event` at the root and lets it sink.
    #[inline]
    fn sift_down(&mut self, event: Event) {
        let heap = &mut self.heap[..];
        let mut index = 0;
        loop {
            let first = ARITY * index + 1;
            if first >= heap.len() {
                break;
            }
            let least = least_child(heap, first);
            if event <= heap[least] {
                break;
            }
            heap[index] = heap[least];
            index = least;
        }
        heap[index] = event;
    }
}

/// The smallest of the up to four events from `first` on. A full family is decided by a small tournament, which
/// compiles to conditional moves: which child is least is a coin toss that a branch predictor loses.
#[inline]
fn least_child(heap: &[Event], first: usize) -> usize {
    if let Some([a, b, c, d]) = heap.get(first..first + ARITY) {
        let left = if b < a { (b, first + 1) } else { (a, first) };
        let right = if d < c { (d, first + 3) } else { (c, first + 2) };
        return if right.0 < left.0 { right.1 } else { left.1 };
    }
    (first + 1..heap.len()).fold(first, |least, child| if heap[child] < heap[least] { child } else { least })
}

#[cfg(test)]
mod tests {
    use super::super::event::Class;
    use super::*;
    use proptest::prelude::*;

    fn event(at: u64, counter: u32) -> Event {
        Event::new(Time::from_nanos(at), Class::Arrival, 0, counter, 0, 0)
    }

    proptest! {
        /// Any mix of pushes and pops gives what a sorted list would give, holes or not.
        #[test]
        fn pops_in_order_under_any_mix(ops in prop::collection::vec(prop::option::of(0u64..50), 0..300)) {
            let mut queue = EventQueue::default();
            let mut sorted: Vec<Event> = Vec::new();
            for (counter, op) in ops.into_iter().enumerate() {
                match op {
                    Some(at) => {
                        let event = event(at, counter as u32);
                        queue.push(event);
                        sorted.push(event);
                        sorted.sort();
                    }
                    None => {
                        let expected = (!sorted.is_empty()).then(|| sorted.remove(0));
                        prop_assert_eq!(queue.pop(), expected);
                    }
                }
                prop_assert_eq!(queue.next_time(), sorted.first().map(|event| event.at));
                prop_assert_eq!(queue.len(), sorted.len());
            }
        }
    }
}
