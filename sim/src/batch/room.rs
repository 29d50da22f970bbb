//! Whether a batch request may be sent to a replica now.

use crate::scenario::batch::{BatchPriority, BatchRules, Gate};
use crate::time::Time;

/// What a replica holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Sequences it can run at once, or its servers.
    pub capacity: u32,
    /// Real-time requests waiting on it. Where an engine does not tell them apart, the hub does.
    pub waiting: u32,
    /// Real-time requests running.
    pub running: u32,
    /// Batch requests on it, waiting or running.
    pub batch: u32,
    /// KV blocks in use.
    pub kv_used: u32,
    /// KV blocks there are; 0 where there are none.
    pub kv_total: u32,
}

/// For whom there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For nobody.
    None,
    /// For requests of urgent jobs only.
    Urgent,
    /// For every batch request.
    Open,
}

/// For whom there is room on a replica that holds this. `queued`: whether real-time requests wait in the queue of the pool;
/// `open`: whether a window is ([`is_open`]); `cap`: what a controller allows. O(1).
///
/// Priority and concurrency hold for everybody; what urgent jobs may ignore is said at
/// [`crate::scenario::BatchRules::urgency`].
pub fn room(rules: &BatchRules, held: &Held, queued: bool, open: bool, cap: Option<u32>) -> Room {
    let real_time = held.waiting + held.running;
    let strict = rules.priority != BatchPriority::None;
    if strict && (queued || held.waiting > 0) {
        return Room::None;
    }
    let fits = |all: u64| u64::from(held.batch) + 1 + u64::from(real_time) <= all;
    let all = u64::from(held.capacity);
    if held.batch >= rules.concurrency.unwrap_or(held.capacity) || (strict && !fits(all)) {
        return Room::None;
    }
    let spared = all * u64::from(1_000 - rules.headroom.min(1_000)) / 1_000;
    let soft = open
        && (rules.headroom == 0 || fits(spared))
        && cap.is_none_or(|cap| held.batch < cap)
        && rules.gate.is_none_or(|gate| is_below(&gate, held));
    if soft { Room::Open } else { Room::Urgent }
}

fn is_below(gate: &Gate, held: &Held) -> bool {
    let share =
        |used: u32, all: u32, permille: u32| u64::from(used) * 1_000 <= u64::from(all) * u64::from(permille);
    gate.waiting.is_none_or(|most| held.waiting <= most)
        && gate.running.is_none_or(|most| share(held.running, held.capacity, most))
        && gate.kv.is_none_or(|most| share(held.kv_used, held.kv_total, most))
}

/// Whether batch may be sent at this time of day. O(windows).
pub fn is_open(rules: &BatchRules, now: Time) -> bool {
    let time = now.as_nanos() % rules.period.as_nanos().max(1);
    rules.windows.is_empty()
        || rules.windows.iter().any(|(from, to)| (from.as_nanos()..to.as_nanos()).contains(&time))
}

/// When a window opens or closes next; `None` when there are none. O(windows).
pub fn next_edge(rules: &BatchRules, now: Time) -> Option<Time> {
    let period = rules.period.as_nanos();
    let day = now.as_nanos() / period.max(1) * period;
    let edges = rules.windows.iter().flat_map(|(from, to)| [from.as_nanos(), to.as_nanos()]);
    let later = edges.map(|edge| {
        let today = day.saturating_add(edge);
        if today > now.as_nanos() { today } else { today.saturating_add(period) }
    });
    later.min().map(Time::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn rules() -> BatchRules {
        BatchRules::default()
    }

    fn held(waiting: u32, running: u32, batch: u32) -> Held {
        Held { capacity: 10, waiting, running, batch, ..Held::default() }
    }

    fn ask(rules: &BatchRules, held: Held) -> Room {
        room(rules, &held, false, true, None)
    }

    #[test]
    fn strict_priority_sends_nothing_while_a_real_time_request_waits() {
        assert_eq!(ask(&rules(), held(0, 0, 0)), Room::Open);
        assert_eq!(ask(&rules(), held(1, 0, 0)), Room::None);
        assert_eq!(room(&rules(), &held(0, 0, 0), true, true, None), Room::None);
        let none = BatchRules { priority: BatchPriority::None, ..rules() };
        assert_eq!(room(&none, &held(9, 9, 0), true, true, None), Room::Open);
    }

    #[test]
    fn headroom_is_a_floor_of_what_real_time_leaves() {
        for (headroom, running, most) in [(0, 0, 10), (200, 0, 8), (200, 3, 5), (250, 0, 7), (1_000, 0, 0)] {
            let rules = BatchRules { headroom, ..rules() };
            let fit = (0..20).take_while(|&batch| ask(&rules, held(0, running, batch)) == Room::Open).count();
            assert_eq!(fit, most, "headroom {headroom}, {running} running");
        }
    }

    #[test]
    fn urgent_jobs_ignore_windows_headroom_gates_and_controllers_but_not_concurrency() {
        let gate = Some(Gate { running: Some(100), ..Gate::default() });
        let closed = BatchRules { headroom: 1_000, gate, concurrency: Some(3), ..rules() };
        assert_eq!(room(&closed, &held(0, 5, 2), false, false, Some(0)), Room::Urgent);
        assert_eq!(room(&closed, &held(0, 5, 3), false, false, Some(0)), Room::None);
    }

    #[test]
    fn a_gate_is_shut_just_above_its_value() {
        let gate = Gate { waiting: Some(1), running: Some(500), kv: Some(800) };
        let rules = BatchRules { priority: BatchPriority::None, gate: Some(gate), ..rules() };
        let held = |waiting, running, kv_used| Held { kv_used, kv_total: 100, ..held(waiting, running, 0) };
        assert_eq!(ask(&rules, held(1, 5, 80)), Room::Open);
        for over in [held(2, 5, 80), held(1, 6, 80), held(1, 5, 81)] {
            assert_eq!(ask(&rules, over), Room::Urgent);
        }
    }

    #[test]
    fn windows_open_at_their_first_instant_and_close_at_their_last() {
        let hours = |h| Span::from_secs(3_600 * h);
        let windows = vec![(hours(0), hours(6)), (hours(22), hours(24))];
        let rules = BatchRules { windows, period: hours(24), ..rules() };
        let at = |h| Time::ZERO + hours(h);
        let open: Vec<u64> = (0..30).filter(|&h| is_open(&rules, at(h))).collect();
        assert_eq!(open, [0, 1, 2, 3, 4, 5, 22, 23, 24, 25, 26, 27, 28, 29]);
        assert_eq!(next_edge(&rules, at(0)), Some(at(6)));
        assert_eq!(next_edge(&rules, at(6)), Some(at(22)));
        assert_eq!(next_edge(&rules, at(23)), Some(at(24)));
        assert_eq!(next_edge(&BatchRules::default(), at(3)), None);
    }
}
