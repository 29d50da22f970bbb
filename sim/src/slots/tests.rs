//! Facts about servers that fail or slow down.

use super::*;
use crate::observe::Observer;
use crate::request::{Prefix, RequestHead};

/// Busy server time that was told, and first tokens.
#[derive(Default)]
struct Told {
    server_ns: u64,
    tokens: u32,
}

impl Observer for Told {
    fn worked(&mut self, run: &StepRun) {
        self.server_ns += u64::from(run.busy) * (run.end - run.start).as_nanos();
    }
    fn first_token(&mut self, _now: Time, _workload: u16, _pool: u16, _ttft: Span) {
        self.tokens += 1;
    }
}

const REPLICA: u16 = 3;

fn replica(servers: u32) -> SlotsReplica {
    SlotsReplica::new(Site { pool: 0, replica: REPLICA, workloads: vec![0] }, servers, None)
}

fn requests(table: &mut Table, count: u64, service_ns: u64) -> Vec<SlotId> {
    let ids = (0..count).map(|index| {
        let head = RequestHead {
            workload: 0,
            tenant: 0,
            index,
            prompt_tokens: 10,
            max_tokens: None,
            session: index,
            turn: 0,
            prefix: Prefix::default(),
            body_bytes: None,
        };
        let id = table.insert(&head, None, Time::ZERO, 0);
        table[id].replica = REPLICA;
        table[id].service = Span::from_nanos(service_ns);
        id
    });
    ids.collect()
}

fn at(ns: u64) -> Time {
    Time::from_nanos(ns)
}

#[test]
fn the_end_of_a_service_that_a_failure_stopped_is_void_wherever_its_request_is_now() {
    let (mut table, mut told, mut out) = (Table::default(), Told::default(), Departures::default());
    let (mut here, mut there) = (replica(1), replica(1));
    there.site.replica = REPLICA + 1;
    let id = requests(&mut table, 1, 100)[0];
    here.enqueue(&mut table, id);
    let stopped = here.start(&mut table, at(0), &mut told).unwrap();
    here.evict(&mut table, at(40), &mut told, &mut out);
    assert_eq!(out.evicted, [id]);
    assert!(!here.is_serving(&table, id, stopped.counter), "it waits nowhere");

    // Elsewhere, as the service of the same number there.
    table[id].replica = REPLICA + 1;
    there.enqueue(&mut table, id);
    let second = there.start(&mut table, at(60), &mut told).unwrap();
    assert_eq!(second.counter, stopped.counter);
    assert!(!here.is_serving(&table, id, stopped.counter), "it is in service elsewhere");
    assert!(there.is_serving(&table, id, second.counter));

    // And back again.
    there.evict(&mut table, at(70), &mut told, &mut out);
    table[id].replica = REPLICA;
    here.enqueue(&mut table, id);
    let third = here.start(&mut table, at(70), &mut told).unwrap();
    assert!(!here.is_serving(&table, id, stopped.counter), "that was its first service here");
    assert!(here.is_serving(&table, id, third.counter));
    here.complete(&mut table, id, third.end, &mut told);
    assert!(!here.is_serving(&table, id, third.counter), "it is done");
    let slot = &table[id];
    assert_eq!((slot.scheduled, slot.first_token), (at(0), at(170)));
    assert_eq!((slot.preempted, slot.preempted_before_first), (Span::from_nanos(20), Span::from_nanos(20)));
    assert_eq!((told.tokens, told.server_ns), (1, 40 + 10 + 100));
}

#[test]
fn a_replica_that_fails_hands_over_what_it_serves_and_then_what_waits() {
    let (mut table, mut told, mut out) = (Table::default(), Told::default(), Departures::default());
    let mut replica = replica(2);
    let ids = requests(&mut table, 5, 100);
    for &id in &ids {
        replica.enqueue(&mut table, id);
    }
    while replica.start(&mut table, at(10), &mut told).is_some() {}
    // One of those in service ends, the next takes its place.
    replica.complete(&mut table, ids[0], at(110), &mut told);
    replica.start(&mut table, at(110), &mut told).unwrap();
    replica.cancel(&mut table, ids[3], at(120), &mut told);
    replica.evict(&mut table, at(130), &mut told, &mut out);
    assert_eq!(out.evicted, [ids[1], ids[2], ids[4]]);
    assert_eq!((replica.running(), replica.waiting()), (0, 0));
    assert_eq!(told.server_ns, 2 * 100 + 2 * 20);
    assert_eq!(table[ids[1]].preempted_at, at(130));
    assert_eq!(table[ids[4]].preempted_at, NEVER, "what never ran has lost nothing");
    assert!(out.evicted.iter().all(|&id| table[id].place == Place::Waiting));
}

#[test]
fn only_services_that_begin_while_a_replica_is_slow_take_longer() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = replica(3);
    for &id in &requests(&mut table, 3, 1_001) {
        replica.enqueue(&mut table, id);
    }
    let mut end = || replica.start(&mut table, at(0), &mut told).unwrap().end;
    assert_eq!(end(), at(1_001));
    replica.set_slow(1_500);
    let mut end = || replica.start(&mut table, at(0), &mut told).unwrap().end;
    assert_eq!(end(), at(1_501));
    replica.set_slow(NORMAL);
    assert_eq!(replica.start(&mut table, at(0), &mut told).unwrap().end, at(1_001));
}

/// A replica whose batch yields every 100 ns, and what is to be served on it.
fn yielding(servers: u32) -> SlotsReplica {
    SlotsReplica::new(
        Site { pool: 0, replica: REPLICA, workloads: vec![0] },
        servers,
        Some(Span::from_nanos(100)),
    )
}

fn batch(table: &mut Table, count: u64, service_ns: u64) -> Vec<SlotId> {
    let ids = requests(table, count, service_ns);
    for &id in &ids {
        table[id].lower = true;
    }
    ids
}

#[test]
fn a_batch_service_yields_at_a_quantum_point_and_goes_on_where_it_stopped() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = yielding(1);
    let (low, high) = (batch(&mut table, 1, 1_000)[0], requests(&mut table, 1, 50)[0]);
    replica.enqueue(&mut table, low);
    let old = replica.start(&mut table, at(0), &mut told).unwrap();
    assert_eq!(old.end, at(1_000));
    replica.enqueue(&mut table, high);
    assert_eq!(replica.start(&mut table, at(230), &mut told), None);
    let new = replica.yield_next(&mut table, at(230)).unwrap();
    assert_eq!((new.id, new.end), (low, at(300)));
    assert!(!replica.is_serving(&table, low, old.counter), "its old end is void");
    assert!(replica.is_serving(&table, low, new.counter));
    assert_eq!(replica.yield_next(&mut table, at(230)), None, "one yields for each that waits");

    assert!(replica.yields(&mut table, low, at(300), &mut told));
    assert_eq!((replica.waiting(), replica.running(), replica.lower()), (1, 0, (1, 0)));
    let first = replica.start(&mut table, at(300), &mut told).unwrap();
    assert_eq!((first.id, first.end), (high, at(350)));
    assert!(!replica.yields(&mut table, high, at(350), &mut told));
    replica.complete(&mut table, high, at(350), &mut told);
    let rest = replica.start(&mut table, at(350), &mut told).unwrap();
    assert_eq!((rest.id, rest.end), (low, at(350 + 700)));
    assert!(!replica.yields(&mut table, low, rest.end, &mut told));
    replica.complete(&mut table, low, rest.end, &mut told);
    let slot = &table[low];
    assert_eq!((slot.preemptions, slot.preempted), (1, Span::from_nanos(50)));
    assert_eq!(slot.preempted_before_first, Span::from_nanos(50));
    assert_eq!((told.tokens, told.server_ns), (2, 1_000 + 50), "no work is lost");
}

#[test]
fn a_point_that_is_now_is_now_and_a_service_has_one_quantum_at_least() {
    let (mut table, mut told) = (Table::default(), Told::default());
    for (asked, point) in [(0, 100), (1, 100), (100, 100), (101, 200), (200, 200), (950, 1_000)] {
        let mut replica = yielding(1);
        let (low, high) = (batch(&mut table, 1, 1_001)[0], requests(&mut table, 1, 50)[0]);
        replica.enqueue(&mut table, low);
        replica.start(&mut table, at(0), &mut told).unwrap();
        replica.enqueue(&mut table, high);
        assert_eq!(replica.yield_next(&mut table, at(asked)).unwrap().end, at(point), "asked at {asked}");
    }
}

#[test]
fn a_service_that_is_over_before_its_point_is_left_alone_and_counts() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = yielding(2);
    let (short, long) = (batch(&mut table, 1, 260)[0], batch(&mut table, 1, 1_000)[0]);
    for id in [short, long] {
        replica.enqueue(&mut table, id);
    }
    let end = replica.start(&mut table, at(0), &mut told).unwrap();
    replica.start(&mut table, at(30), &mut told).unwrap();
    for id in requests(&mut table, 3, 50) {
        replica.enqueue(&mut table, id);
    }
    // The first is free at 260, by itself; the second at its point, 330. There is no third.
    let told_of = replica.yield_next(&mut table, at(240)).unwrap();
    assert_eq!((told_of.id, told_of.end), (long, at(330)));
    assert_eq!(replica.yield_next(&mut table, at(240)), None);
    assert!(replica.is_serving(&table, short, end.counter), "its end is what it was");
    assert!(!replica.yields(&mut table, short, at(260), &mut told));
    assert!(replica.yields(&mut table, long, at(330), &mut told));
}

#[test]
fn those_whose_servers_are_free_first_yield_and_the_earliest_started_among_equals() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = yielding(4);
    let low = batch(&mut table, 4, 1_000);
    for (&id, start) in low.iter().zip([0, 50, 70, 150]) {
        replica.enqueue(&mut table, id);
        replica.start(&mut table, at(start), &mut told).unwrap();
    }
    for id in requests(&mut table, 3, 50) {
        replica.enqueue(&mut table, id);
    }
    let yields = std::iter::from_fn(|| replica.yield_next(&mut table, at(160)));
    let yields: Vec<(SlotId, Time)> = yields.map(|next| (next.id, next.end)).collect();
    assert_eq!(yields, [(low[2], at(170)), (low[0], at(200)), (low[1], at(250))]);
    assert_eq!((replica.running(), replica.lower(), replica.busy()), (0, (0, 4), 4));
}

#[test]
fn what_a_slow_service_has_done_is_counted_in_its_own_time() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = yielding(1);
    let (low, high) = (batch(&mut table, 1, 1_000)[0], requests(&mut table, 1, 50)[0]);
    replica.set_slow(1_500);
    replica.enqueue(&mut table, low);
    assert_eq!(replica.start(&mut table, at(0), &mut told).unwrap().end, at(1_500));
    replica.set_slow(NORMAL);
    replica.enqueue(&mut table, high);
    assert_eq!(replica.yield_next(&mut table, at(310)).unwrap().end, at(400));
    assert!(replica.yields(&mut table, low, at(400), &mut told));
    // 400 ns did 266 ns of work, rounded down.
    assert_eq!(table[low].service, Span::from_nanos(734));
    assert_eq!(replica.start(&mut table, at(400), &mut told).unwrap().id, high);
    replica.complete(&mut table, high, at(450), &mut told);
    assert_eq!(replica.start(&mut table, at(450), &mut told).unwrap().end, at(450 + 734));
}

#[test]
fn a_service_for_which_nobody_waits_any_more_goes_on_and_has_lost_nothing() {
    let (mut table, mut told) = (Table::default(), Told::default());
    let mut replica = yielding(1);
    let (low, high) = (batch(&mut table, 1, 1_000)[0], requests(&mut table, 1, 50)[0]);
    replica.enqueue(&mut table, low);
    replica.start(&mut table, at(0), &mut told).unwrap();
    replica.enqueue(&mut table, high);
    replica.yield_next(&mut table, at(10)).unwrap();
    replica.cancel(&mut table, high, at(20), &mut told);
    assert!(replica.yields(&mut table, low, at(100), &mut told));
    assert_eq!(replica.start(&mut table, at(100), &mut told).unwrap().end, at(1_000));
    assert_eq!((table[low].preemptions, table[low].preempted), (0, Span::ZERO));
}

#[test]
fn batch_that_is_taken_off_begins_anew_and_real_time_stays() {
    let (mut table, mut told, mut out) = (Table::default(), Told::default(), Departures::default());
    let mut replica = yielding(2);
    let (low, high) = (batch(&mut table, 3, 1_000), requests(&mut table, 2, 500));
    for &id in &low {
        replica.enqueue(&mut table, id);
    }
    while replica.start(&mut table, at(0), &mut told).is_some() {}
    replica.enqueue(&mut table, high[0]);
    replica.yield_next(&mut table, at(60)).unwrap();
    assert!(replica.yields(&mut table, low[0], at(100), &mut told));
    replica.start(&mut table, at(100), &mut told).unwrap();
    replica.enqueue(&mut table, high[1]);
    replica.evict_lower(&mut table, at(140), &mut told, &mut out);
    // In service, then waiting: the one that yielded is the first of its line.
    assert_eq!(out.evicted, [low[1], low[0], low[2]]);
    assert_eq!((replica.waiting(), replica.running(), replica.lower()), (1, 1, (0, 0)));
    assert!(low.iter().all(|&id| table[id].service == Span::from_nanos(1_000)), "nothing is done");
    assert_eq!(table[low[0]].preempted_at, at(100));
    assert_eq!(replica.start(&mut table, at(140), &mut told).unwrap().id, high[1]);
    assert_eq!(told.server_ns, 2 * 140);
}
