//! Weighted fair queueing by tokens: a line for each tenant, and a counter of what it was given.
//!
//! A *flow* is a tenant of a workload. Its counter is the tokens it was given, divided by its weight. Whenever a request
//! may go, it is the first of the flow with the smallest counter among those that have a request waiting. The counter
//! grows when a request goes, by what the gateway knows it to cost (prompt and declared `max_tokens`), and is corrected
//! when it is over by what it really was. A flow that begins to wait is lifted to the smallest counter of those that
//! wait, or when nobody does to that of the flow served last: to have been idle gives no credit.
//!
//! Two flows that wait all the time are never apart by more than one largest request of each, in tokens divided by
//! weight, over any stretch of the schedule.
//!
//! Source: the virtual token counter of Sheng et al., *Fairness in Serving Large Language Models*, OSDI 2024
//! (arXiv 2401.00588), sections 4.1 to 4.3; the bound is that of start-time fair queueing (Goyal, Vin, Cheng,
//! *Start-time Fair Queuing*, SIGCOMM 1996, theorem 1).

use super::Member;
use crate::gateway::known_tokens;
use crate::gateway::tree::Tree;
use crate::request::RequestHead;
use crate::table::{List, SlotId, Table};

/// Counter units of a token at weight 1. So large that what a token costs at another weight is exact to a billionth.
const UNIT: u64 = 1 << 40;

/// The flow of nobody: above all.
const NOT_WAITING: u128 = u128::MAX;

/// Lines of flows with their counters.
#[derive(Debug)]
pub(super) struct Fair {
    /// First flow and units of a token, by workload; `None` for workloads that never come here.
    workloads: Vec<Option<(u32, u64)>>,
    flows: Vec<Flow>,
    /// Counters of the flows that wait.
    waiting: Tree<u128>,
    /// The flow served last.
    last: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// Tokens given, in units over the weight, and what it was lifted by. Grows by at most 2^33 tokens of 2^50 units a
    /// request: no run reaches the end of it.
    counter: u128,
    line: List,
}

impl Fair {
    /// Empty lines for the tenants of these workloads. O(tenants) memory: 64 to 96 bytes each.
    pub(super) fn new(members: &[Member]) -> Self {
        let mut workloads = Vec::new();
        let mut count: u32 = 0;
        for member in members {
            let place = usize::from(member.workload);
            if workloads.len() <= place {
                workloads.resize(place + 1, None);
            }
            assert!(workloads[place].is_none(), "workload {place} is named twice");
            assert!(member.weight > 0, "workload {place} has no weight");
            workloads[place] = Some((count, 1_000 * UNIT / u64::from(member.weight)));
            count = count.checked_add(member.tenants).expect("more than 2^32 tenants share a queue");
        }
        Fair {
            workloads,
            flows: vec![Flow::default(); count as usize],
            waiting: Tree::new(count as usize, NOT_WAITING),
            last: None,
        }
    }

    /// A request waits, at the end of its flow. O(log flows).
    pub(super) fn push(&mut self, table: &mut Table, id: SlotId) {
        let (flow, _) = self.of(table.head(id));
        self.begin_to_wait(flow);
        self.flows[flow].line.push_back(table, id);
    }

    /// A request that went comes back and waits in front of its flow; what it was charged is given back. O(log flows).
    pub(super) fn push_front(&mut self, table: &mut Table, id: SlotId) {
        let head = table.head(id);
        let (flow, unit) = self.of(head);
        self.refund(flow, cost(known_tokens(head), unit));
        self.begin_to_wait(flow);
        self.flows[flow].line.push_front(table, id);
    }

    /// Takes who goes next, and charges its flow. O(log flows).
    pub(super) fn pop(&mut self, table: &mut Table) -> Option<SlotId> {
        let flow = self.waiting.least()?;
        let id = self.flows[flow].line.pop_front(table).expect("a flow that waits has a request");
        let (of, unit) = self.of(table.head(id));
        assert!(of == flow, "a request of flow {of} stood in the line of flow {flow}");
        self.charge(flow, cost(known_tokens(table.head(id)), unit));
        Some(id)
    }

    /// Who would go next. O(log flows).
    pub(super) fn first(&self) -> Option<SlotId> {
        self.flows[self.waiting.least()?].line.first()
    }

    /// Takes a waiting request out, uncharged. O(log flows).
    pub(super) fn remove(&mut self, table: &mut Table, id: SlotId) {
        let (flow, _) = self.of(table.head(id));
        self.flows[flow].line.remove(table, id);
        self.place(flow);
    }

    /// A request goes without having waited: as if it had been pushed and popped. O(log flows).
    pub(super) fn pass(&mut self, head: &RequestHead) {
        let (flow, unit) = self.of(head);
        self.lift(flow);
        self.charge(flow, cost(known_tokens(head), unit));
    }

    /// A request that went is over and was `used` tokens: its flow is charged for those and for nothing else.
    /// O(log flows).
    pub(super) fn settle(&mut self, head: &RequestHead, used: u64) {
        let (flow, unit) = self.of(head);
        self.flows[flow].counter += cost(used, unit);
        self.refund(flow, cost(known_tokens(head), unit));
        self.place(flow);
    }

    /// Flow of a request, and units of a token in it.
    #[inline]
    fn of(&self, head: &RequestHead) -> (usize, u64) {
        let place = self.workloads.get(usize::from(head.workload)).copied().flatten();
        let (first, unit) = place.unwrap_or_else(|| panic!("workload {} has no flow here", head.workload));
        (first as usize + head.tenant as usize, unit)
    }

    fn begin_to_wait(&mut self, flow: usize) {
        self.lift(flow);
        self.waiting.set(flow, self.flows[flow].counter);
    }

    /// Lifts a flow that does not wait to where those are that do.
    fn lift(&mut self, flow: usize) {
        if self.flows[flow].line.is_empty() {
            let last = self.last.map(|last| self.flows[last as usize].counter);
            let level = self.waiting.least_figure().or(last).unwrap_or(0);
            self.flows[flow].counter = self.flows[flow].counter.max(level);
        }
    }

    fn charge(&mut self, flow: usize, cost: u128) {
        self.flows[flow].counter += cost;
        self.last = Some(flow as u32);
        self.place(flow);
    }

    fn refund(&mut self, flow: usize, cost: u128) {
        let counter = &mut self.flows[flow].counter;
        assert!(*counter >= cost, "flow {flow} gets back {cost} units and was charged {counter}");
        *counter -= cost;
    }

    /// Gives a flow its place among those that wait, when it does.
    fn place(&mut self, flow: usize) {
        match self.flows[flow].line.is_empty() {
            true => self.waiting.take_out(flow),
            false => self.waiting.set(flow, self.flows[flow].counter),
        }
    }
}

#[inline]
fn cost(tokens: u64, unit: u64) -> u128 {
    u128::from(tokens) * u128::from(unit)
}
