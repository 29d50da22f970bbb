//! The gateway's queue in front of a pool: bounded, first come first served, by priority, or fair.

mod fair;
mod lines;

#[cfg(test)]
mod tests;

use crate::request::{RequestHead, WorkloadId};
use crate::scenario::{Queue, QueueOrder};
use crate::table::{Place, SlotId, Table};
use fair::Fair;
use lines::Lines;

/// Requests that wait for a replica to have room.
#[derive(Debug)]
pub struct GatewayQueue {
    rule: Queue,
    order: Order,
    len: u32,
}

/// A workload whose requests may wait in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub workload: WorkloadId,
    /// Tenants it has, at least 1.
    pub tenants: u32,
    /// Priority of its tier: lower goes first in a queue ordered by that.
    pub priority: u8,
    /// Weight of each of its tenants in a fair queue, thousandths, at least 1.
    pub weight: u32,
}

#[derive(Debug)]
enum Order {
    Lines(Lines),
    Fair(Fair),
}

impl GatewayQueue {
    /// An empty queue for requests of the given workloads. O(members), and O(tenants) when it is fair.
    pub fn new(rule: Queue, members: &[Member]) -> Self {
        let order = match rule.order {
            QueueOrder::Fifo => Order::Lines(Lines::new(vec![0])),
            QueueOrder::Priority => {
                Order::Lines(Lines::new(members.iter().map(|member| member.priority).collect()))
            }
            QueueOrder::Fair => Order::Fair(Fair::new(members)),
        };
        GatewayQueue { rule, order, len: 0 }
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

    /// Lets a request wait, or says `false` because the queue is full. `priority` is its tier's. O(log priorities), or
    /// O(log flows) when the queue is fair.
    pub fn push(&mut self, table: &mut Table, id: SlotId, priority: u8) -> bool {
        let has_place = self.has_place();
        if has_place {
            self.push_back_anyway(table, id, priority);
        }
        has_place
    }

    /// As [`GatewayQueue::push`] of a request that was let in long ago and is never refused, so that the queue may be
    /// longer than its bound.
    pub fn push_back_anyway(&mut self, table: &mut Table, id: SlotId, priority: u8) {
        match &mut self.order {
            Order::Lines(lines) => lines.of(priority).push_back(table, id),
            Order::Fair(fair) => fair.push(table, id),
        }
        table[id].place = Place::Gateway;
        self.len += 1;
    }

    /// Takes back a request that had gone to a replica and lost it: it goes before all others of its line, or of its
    /// flow in a fair queue, which is given back what the request was charged. Never refused, so that the queue may be
    /// longer than its bound. As [`GatewayQueue::push`].
    pub fn push_front(&mut self, table: &mut Table, id: SlotId, priority: u8) {
        match &mut self.order {
            Order::Lines(lines) => lines.of(priority).push_front(table, id),
            Order::Fair(fair) => fair.push_front(table, id),
        }
        table[id].place = Place::Gateway;
        self.len += 1;
    }

    /// Takes who goes next to a replica. O(priorities), or O(log flows).
    pub fn pop(&mut self, table: &mut Table) -> Option<SlotId> {
        let id = match &mut self.order {
            Order::Lines(lines) => lines.pop(table),
            Order::Fair(fair) => fair.pop(table),
        }?;
        self.len -= 1;
        Some(id)
    }

    /// Who would go next. O(priorities), or O(log flows).
    pub fn first(&self) -> Option<SlotId> {
        match &self.order {
            Order::Lines(lines) => lines.first(),
            Order::Fair(fair) => fair.first(),
        }
    }

    /// Takes a waiting request out. As [`GatewayQueue::push`].
    pub fn remove(&mut self, table: &mut Table, id: SlotId, priority: u8) {
        match &mut self.order {
            Order::Lines(lines) => lines.of(priority).remove(table, id),
            Order::Fair(fair) => fair.remove(table, id),
        }
        self.len -= 1;
    }

    /// A request goes to a replica at once, without having waited: a fair queue counts that, others do nothing.
    #[inline]
    pub fn pass(&mut self, head: &RequestHead) {
        if let Order::Fair(fair) = &mut self.order {
            fair.pass(head);
        }
    }

    /// A request that had gone to a replica ([`GatewayQueue::pop`], [`GatewayQueue::pass`]) and has not come back is over
    /// and was `used` tokens, prompt and output: a fair queue corrects what it reserved, others do nothing.
    #[inline]
    pub fn settle(&mut self, head: &RequestHead, used: u64) {
        if let Order::Fair(fair) = &mut self.order {
            fair.settle(head, used);
        }
    }
}
