//! Batch services under way on a replica, and which of them are to yield.

use crate::replica::NORMAL;
use crate::table::SlotId;
use crate::time::{Span, Time};

/// Batch services under way, in order of their start.
#[derive(Debug)]
pub(super) struct Services {
    quantum: Option<Span>,
    under_way: Vec<Service>,
}

#[derive(Clone, Copy, Debug)]
struct Service {
    id: SlotId,
    began: Time,
    end: Time,
    /// Thousandths of its time that it takes.
    slow: u32,
    /// Whether its server is promised to a real-time request: when it yields, or is over.
    promised: Option<Time>,
}

impl Services {
    /// None; they can yield at whole multiples of `quantum`, which must not be zero.
    pub(super) fn new(quantum: Option<Span>) -> Self {
        assert!(quantum != Some(Span::ZERO), "a quantum of nothing");
        Services { quantum, under_way: Vec::new() }
    }

    pub(super) fn len(&self) -> u32 {
        self.under_way.len() as u32
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.under_way.iter().map(|service| service.id)
    }

    pub(super) fn clear(&mut self) {
        self.under_way.clear();
    }

    /// A service begins at `began` and ends at `end`, `slow` thousandths of its time later.
    pub(super) fn begin(&mut self, id: SlotId, began: Time, end: Time, slow: u32) {
        self.under_way.push(Service { id, began, end, slow, promised: None });
    }

    /// A service stops at `now`; returns how much of it is done.
    pub(super) fn end(&mut self, id: SlotId, now: Time) -> Span {
        let index = self.under_way.iter().position(|service| service.id == id);
        let service = self.under_way.remove(index.expect("a batch request in service is under way"));
        let elapsed = now - service.began;
        let done = u128::from(elapsed.as_nanos()) * u128::from(NORMAL) / u128::from(service.slow);
        Span::from_nanos(u64::try_from(done).expect("less than what elapsed"))
    }

    /// Whether a service yields at `now`, before its end.
    pub(super) fn yields(&self, id: SlotId, now: Time) -> bool {
        let mut under_way = self.under_way.iter();
        under_way.any(|service| service.id == id && service.promised == Some(now) && now < service.end)
    }

    /// Promises servers to `wanted` requests; returns a service that yields for one of them, and when. What is over by
    /// itself before its point needs no word.
    pub(super) fn yield_next(&mut self, now: Time, wanted: u32) -> Option<(SlotId, Time)> {
        let quantum = self.quantum?;
        let promised = self.under_way.iter().filter(|service| service.promised.is_some()).count();
        for _ in promised..wanted as usize {
            let open = self.under_way.iter_mut().filter(|service| service.promised.is_none());
            // The first of equals: the earliest started.
            let first = open.min_by_key(|service| service.free_at(now, quantum))?;
            let at = first.free_at(now, quantum);
            first.promised = Some(at);
            if at < first.end {
                return Some((first.id, at));
            }
        }
        None
    }
}

impl Service {
    /// When its server is free: at its next point, unless it is over by then.
    fn free_at(&self, now: Time, quantum: Span) -> Time {
        let elapsed = (now - self.began).as_nanos();
        let points = elapsed.div_ceil(quantum.as_nanos()).max(1);
        self.end.min(self.began.saturating_add(Span::from_nanos(points.saturating_mul(quantum.as_nanos()))))
    }
}
