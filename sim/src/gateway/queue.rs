//! The gateway's queue in front of a pool: bounded, first come first served or by priority.

use crate::scenario::{Queue, QueueOrder};
use crate::table::{List, Place, SlotId, Table};

/// Requests that wait for a replica to have room.
#[derive(Debug)]
pub struct GatewayQueue {
    rule: Queue,
    /// `(priority, line)`, lowest priority number first; one line when the order is first come first served.
    lines: Vec<(u8, List)>,
    len: u32,
}

impl GatewayQueue {
    /// An empty queue for requests of the given priorities.
    pub fn new(rule: Queue, priorities: impl IntoIterator<Item = u8>) -> Self {
        let mut levels: Vec<u8> = match rule.order {
            QueueOrder::Fifo => vec![0],
            QueueOrder::Priority => priorities.into_iter().collect(),
        };
        levels.sort_unstable();
        levels.dedup();
        GatewayQueue {
            rule,
            lines: levels.into_iter().map(|level| (level, List::default())).collect(),
            len: 0,
        }
    }

    /// The rule it follows.
    pub fn rule(&self) -> &Queue {
        &self.rule
    }

    /// Requests that wait.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether one more request may wait.
    #[inline]
    pub fn has_place(&self) -> bool {
        self.rule.most.is_none_or(|most| self.len < most)
    }

    /// Lets a request wait, or says `false` because the queue is full. O(priorities).
    pub fn push(&mut self, table: &mut Table, id: SlotId, priority: u8) -> bool {
        if !self.has_place() {
            return false;
        }
        table[id].place = Place::Gateway;
        self.line(priority).push_back(table, id);
        self.len += 1;
        true
    }

    /// Who goes next.
    pub fn pop(&mut self, table: &mut Table) -> Option<SlotId> {
        let id = self.lines.iter_mut().find_map(|(_, line)| line.pop_front(table))?;
        self.len -= 1;
        Some(id)
    }

    /// Who would go next.
    pub fn first(&self) -> Option<SlotId> {
        self.lines.iter().find_map(|(_, line)| line.first())
    }

    /// Takes a waiting request out.
    pub fn remove(&mut self, table: &mut Table, id: SlotId, priority: u8) {
        self.line(priority).remove(table, id);
        self.len -= 1;
    }

    fn line(&mut self, priority: u8) -> &mut List {
        let index = match self.rule.order {
            QueueOrder::Fifo => 0,
            QueueOrder::Priority => self
                .lines
                .binary_search_by_key(&priority, |line| line.0)
                .expect("every tier's priority has a line"),
        };
        &mut self.lines[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Prefix, RequestHead};
    use crate::time::Time;

    fn request(table: &mut Table) -> SlotId {
        let head = RequestHead {
            workload: 0,
            tenant: 0,
            index: 0,
            prompt_tokens: 1,
            max_tokens: None,
            session: 0,
            turn: 0,
            prefix: Prefix::default(),
            body_bytes: None,
        };
        table.insert(&head, None, Time::ZERO, 0)
    }

    #[test]
    fn lower_priority_numbers_go_first_and_equals_in_order_of_arrival() {
        let mut table = Table::default();
        let rule = Queue { most: None, wait: None, order: QueueOrder::Priority };
        let mut queue = GatewayQueue::new(rule, [5, 1, 5]);
        let ids: Vec<SlotId> = (0..4).map(|_| request(&mut table)).collect();
        for (&id, priority) in ids.iter().zip([5, 1, 5, 1]) {
            assert!(queue.push(&mut table, id, priority));
        }
        let order: Vec<SlotId> = std::iter::from_fn(|| queue.pop(&mut table)).collect();
        assert_eq!(order, [ids[1], ids[3], ids[0], ids[2]]);
    }

    #[test]
    fn a_full_queue_refuses_the_next_and_takes_it_once_one_has_left() {
        let mut table = Table::default();
        let rule = Queue { most: Some(1), wait: None, order: QueueOrder::Fifo };
        let mut queue = GatewayQueue::new(rule, [0]);
        let (a, b) = (request(&mut table), request(&mut table));
        assert!(queue.push(&mut table, a, 0));
        assert!(!queue.push(&mut table, b, 0));
        queue.remove(&mut table, a, 0);
        assert!(queue.push(&mut table, b, 0));
    }
}
