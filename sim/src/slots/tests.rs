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
    SlotsReplica::new(Site { pool: 0, replica: REPLICA, workloads: vec![0] }, servers)
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
