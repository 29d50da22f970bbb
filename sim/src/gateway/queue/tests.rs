//! What the orders of a queue promise.

use super::*;
use crate::gateway::known_tokens;
use crate::request::Prefix;
use crate::time::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A queue with one workload of one tenant for each weight.
fn weighted(order: QueueOrder, weights: &[u32]) -> GatewayQueue {
    let member = |(workload, &weight)| Member { workload: workload as u16, tenants: 1, priority: 0, weight };
    let members: Vec<Member> = weights.iter().enumerate().map(member).collect();
    GatewayQueue::new(Queue { most: None, wait: None, order }, &members)
}

fn prioritised(rule: Queue, priorities: &[u8]) -> GatewayQueue {
    let member =
        |(workload, &priority)| Member { workload: workload as u16, tenants: 1, priority, weight: 1_000 };
    let members: Vec<Member> = priorities.iter().enumerate().map(member).collect();
    GatewayQueue::new(rule, &members)
}

fn head(workload: u16, prompt_tokens: u32, max_tokens: Option<u32>) -> RequestHead {
    RequestHead {
        workload,
        tenant: 0,
        index: 0,
        prompt_tokens,
        max_tokens,
        session: 0,
        turn: 0,
        prefix: Prefix::default(),
        body_bytes: None,
    }
}

fn request(table: &mut Table, workload: u16, tokens: u32) -> SlotId {
    table.insert(&head(workload, tokens, None), None, Time::ZERO, 0)
}

/// Workloads in the order in which they are served.
fn served(queue: &mut GatewayQueue, table: &mut Table, most: usize) -> Vec<u16> {
    let next = || queue.pop(table).map(|id| table.head(id).workload);
    std::iter::from_fn(next).take(most).collect()
}

#[test]
fn lower_priority_numbers_go_first_and_equals_in_order_of_arrival() {
    let mut table = Table::default();
    let rule = Queue { most: None, wait: None, order: QueueOrder::Priority };
    let mut queue = prioritised(rule, &[5, 1, 5]);
    let ids: Vec<SlotId> = (0..4).map(|_| request(&mut table, 0, 1)).collect();
    for (&id, priority) in ids.iter().zip([5, 1, 5, 1]) {
        assert!(queue.push(&mut table, id, priority));
    }
    let order: Vec<SlotId> = std::iter::from_fn(|| queue.pop(&mut table)).collect();
    assert_eq!(order, [ids[1], ids[3], ids[0], ids[2]]);
}

#[test]
fn a_full_queue_refuses_the_next_and_takes_it_once_one_has_left() {
    for order in [QueueOrder::Fifo, QueueOrder::Priority, QueueOrder::Fair] {
        let mut table = Table::default();
        let mut queue = prioritised(Queue { most: Some(1), wait: None, order }, &[0]);
        let (a, b) = (request(&mut table, 0, 1), request(&mut table, 0, 1));
        assert!(queue.push(&mut table, a, 0));
        assert!(!queue.push(&mut table, b, 0));
        queue.remove(&mut table, a, 0);
        assert!(queue.push(&mut table, b, 0));
    }
}

#[test]
fn who_comes_back_goes_first_and_is_never_refused() {
    for order in [QueueOrder::Fifo, QueueOrder::Priority, QueueOrder::Fair] {
        let mut table = Table::default();
        let mut queue = prioritised(Queue { most: Some(2), wait: None, order }, &[0]);
        let ids: Vec<SlotId> = (0..3).map(|_| request(&mut table, 0, 1)).collect();
        assert!(queue.push(&mut table, ids[0], 0));
        assert_eq!(queue.pop(&mut table), Some(ids[0]));
        assert!(queue.push(&mut table, ids[1], 0) && queue.push(&mut table, ids[2], 0));
        assert!(!queue.has_place());
        queue.push_front(&mut table, ids[0], 0);
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.first(), Some(ids[0]));
        let order: Vec<SlotId> = std::iter::from_fn(|| queue.pop(&mut table)).collect();
        assert_eq!(order, [ids[0], ids[1], ids[2]]);
    }
}

#[test]
fn flows_take_tokens_by_weight_and_ties_go_to_the_lowest() {
    let mut table = Table::default();
    let mut queue = weighted(QueueOrder::Fair, &[1_000, 2_000]);
    for workload in [0, 0, 0, 1, 1, 1, 1, 1, 1] {
        let id = request(&mut table, workload, 100);
        queue.push(&mut table, id, 0);
    }
    // Counters over weight after each: 100/0, 100/50, 100/100, then the tie goes to the first again.
    assert_eq!(served(&mut queue, &mut table, 9), [0, 1, 1, 0, 1, 1, 0, 1, 1]);
}

#[test]
fn to_have_been_idle_gives_no_credit() {
    let mut table = Table::default();
    let mut queue = weighted(QueueOrder::Fair, &[1_000, 1_000]);
    let push = |queue: &mut GatewayQueue, table: &mut Table, workload, count| {
        for _ in 0..count {
            let id = request(table, workload, 10);
            queue.push(table, id, 0);
        }
    };
    push(&mut queue, &mut table, 0, 60);
    served(&mut queue, &mut table, 50);
    push(&mut queue, &mut table, 1, 10);
    let next = served(&mut queue, &mut table, 20);
    assert_eq!(next, [0, 1].repeat(10), "the second is not served all that it did not ask for before");
    // Nor when nobody waited in between: it starts where the last one that was served is.
    (0..40).for_each(|_| queue.pass(&head(0, 10, None)));
    push(&mut queue, &mut table, 1, 10);
    push(&mut queue, &mut table, 0, 10);
    assert_eq!(served(&mut queue, &mut table, 20), [0, 1].repeat(10));
}

#[test]
fn what_was_reserved_and_not_used_is_given_back() {
    let mut table = Table::default();
    let mut queue = weighted(QueueOrder::Fair, &[1_000, 1_000]);
    let declared = head(0, 10, Some(90));
    for _ in 0..4 {
        let id = table.insert(&declared, None, Time::ZERO, 0);
        queue.push(&mut table, id, 0);
        let id = request(&mut table, 1, 20);
        queue.push(&mut table, id, 0);
    }
    assert_eq!(served(&mut queue, &mut table, 2), [0, 1]);
    // 100 against 20: the second would be next, four times over.
    queue.settle(&declared, 15);
    assert_eq!(served(&mut queue, &mut table, 1), [0], "it used 15 only");
    // 115 against 20, and then against 220 since the second wrote more than nothing.
    queue.settle(&head(1, 20, None), 220);
    assert_eq!(served(&mut queue, &mut table, 1), [0]);
}

#[test]
fn a_request_that_comes_back_is_charged_once() {
    let mut table = Table::default();
    let mut queue = weighted(QueueOrder::Fair, &[1_000, 1_000]);
    for workload in [0, 1, 1] {
        let id = request(&mut table, workload, 100);
        queue.push(&mut table, id, 0);
    }
    let lost = queue.pop(&mut table).unwrap();
    assert_eq!(table.head(lost).workload, 0);
    queue.push_front(&mut table, lost, 0);
    assert_eq!(served(&mut queue, &mut table, 3), [0, 1, 1]);
}

#[test]
fn tenants_of_one_workload_are_flows_of_their_own() {
    let mut table = Table::default();
    let member = |workload, tenants| Member { workload, tenants, priority: 0, weight: 1_000 };
    let rule = Queue { most: None, wait: None, order: QueueOrder::Fair };
    // Workload 1 never comes here.
    let mut queue = GatewayQueue::new(rule, &[member(0, 2), member(2, 2)]);
    for (workload, tenant) in [(0, 0), (0, 0), (0, 0), (0, 1), (2, 0), (2, 1)] {
        let id = table.insert(&RequestHead { tenant, ..head(workload, 10, None) }, None, Time::ZERO, 0);
        queue.push(&mut table, id, 0);
    }
    let next = || queue.pop(&mut table).map(|id| (table.head(id).workload, table.head(id).tenant));
    let order: Vec<(u16, u32)> = std::iter::from_fn(next).collect();
    assert_eq!(order, [(0, 0), (0, 1), (2, 0), (2, 1), (0, 0), (0, 0)]);
}

proptest! {
    /// The bound of start-time fair queueing: over any stretch in which two flows wait all the time, what they are given
    /// over their weights differs by at most one largest request of each.
    #[test]
    fn flows_that_wait_are_never_further_apart_than_one_largest_request_of_each(
        sizes in prop::collection::vec(prop::collection::vec(1u32..5_000, 40..80), 3),
    ) {
        let weights = [1u64, 2, 5];
        let mut table = Table::default();
        let mut queue = weighted(QueueOrder::Fair, &weights.map(|weight| weight as u32 * 1_000));
        let longest = sizes.iter().map(Vec::len).max().unwrap();
        for round in 0..longest {
            for (flow, sizes) in sizes.iter().enumerate() {
                if let Some(&tokens) = sizes.get(round) {
                    let id = request(&mut table, flow as u16, tokens);
                    queue.push(&mut table, id, 0);
                }
            }
        }
        let largest = |flow: usize| u64::from(*sizes[flow].iter().max().unwrap());
        let mut left: Vec<usize> = sizes.iter().map(Vec::len).collect();
        let mut given = [0u64; 3];
        // In tenths of a token over weight: whole numbers for all three weights.
        let share = |given: &[u64; 3], flow: usize| (10 * given[flow] / weights[flow]) as i64;
        let mut extremes = BTreeMap::new();
        while left.iter().all(|&left| left > 0) {
            let id = queue.pop(&mut table).unwrap();
            let flow = usize::from(table.head(id).workload);
            given[flow] += u64::from(table.head(id).prompt_tokens);
            left[flow] -= 1;
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                let apart = share(&given, a) - share(&given, b);
                let (low, high) = extremes.entry((a, b)).or_insert((0, 0));
                (*low, *high) = (apart.min(*low), apart.max(*high));
                let of = |flow: usize| (10 * largest(flow) / weights[flow]) as i64;
                // Over every prefix one of the two is enough; over every stretch one of each.
                prop_assert!(apart.abs() <= of(a).max(of(b)), "{a} and {b} are {apart} tenths apart");
                prop_assert!(*high - *low <= of(a) + of(b), "{a} and {b}: {low} to {high} tenths");
            }
        }
    }

    /// Entries under any history, and the order against the rule said plainly.
    #[test]
    fn nothing_is_lost_or_served_twice_and_the_least_counter_goes_first(
        happenings in prop::collection::vec((0u8..12, 0u16..3, 1u32..200, prop::option::of(0u32..100)), 1..200),
    ) {
        let weights = [500u128, 1_000, 4_000];
        let mut table = Table::default();
        let mut queue = weighted(QueueOrder::Fair, &weights.map(|weight| weight as u32));
        // Plainly: counters in tokens * 4,000 / weight, lines, and what is on replicas.
        let mut counters = [0u128; 3];
        let mut lines: [Vec<SlotId>; 3] = Default::default();
        let mut gone: Vec<SlotId> = Vec::new();
        let mut last: Option<usize> = None;
        let cost = |head: &RequestHead, tokens: u64| u128::from(tokens) * 4_000 / weights[usize::from(head.workload)];
        for (what, workload, prompt, max_tokens) in happenings {
            let flow = usize::from(workload);
            let waiting = (0..3).filter(|&flow| !lines[flow].is_empty());
            let least = waiting.min_by_key(|&flow| (counters[flow], flow));
            let level = least.or(last).map_or(0, |flow| counters[flow]);
            let head = head(workload, prompt, max_tokens);
            match what {
                0..5 => {
                    let id = table.insert(&head, None, Time::ZERO, 0);
                    if lines[flow].is_empty() {
                        counters[flow] = counters[flow].max(level);
                    }
                    lines[flow].push(id);
                    prop_assert!(queue.push(&mut table, id, 0));
                }
                5..8 => {
                    let expected = least.map(|flow| lines[flow].remove(0));
                    prop_assert_eq!(queue.first(), expected);
                    prop_assert_eq!(queue.pop(&mut table), expected);
                    if let (Some(id), Some(flow)) = (expected, least) {
                        counters[flow] += cost(table.head(id), known_tokens(table.head(id)));
                        last = Some(flow);
                        gone.push(id);
                    }
                }
                8 if !lines[flow].is_empty() => {
                    let id = lines[flow].remove(prompt as usize % lines[flow].len());
                    queue.remove(&mut table, id, 0);
                    table.release(id);
                }
                9 if !gone.is_empty() => {
                    let id = gone.remove(prompt as usize % gone.len());
                    let head = *table.head(id);
                    let flow = usize::from(head.workload);
                    counters[flow] -= cost(&head, known_tokens(&head));
                    if lines[flow].is_empty() {
                        // Its own counter may have been the level.
                        let level = least.or(last).map_or(0, |flow| counters[flow]);
                        counters[flow] = counters[flow].max(level);
                    }
                    lines[flow].insert(0, id);
                    queue.push_front(&mut table, id, 0);
                }
                10 if !gone.is_empty() => {
                    let id = gone.remove(prompt as usize % gone.len());
                    let head = *table.head(id);
                    let used = u64::from(head.prompt_tokens) + u64::from(max_tokens.unwrap_or(7));
                    let counter = &mut counters[usize::from(head.workload)];
                    *counter = *counter + cost(&head, used) - cost(&head, known_tokens(&head));
                    queue.settle(&head, used);
                    table.release(id);
                }
                11 if least.is_none() => {
                    counters[flow] = counters[flow].max(level) + cost(&head, known_tokens(&head));
                    last = Some(flow);
                    queue.pass(&head);
                    gone.push(table.insert(&head, None, Time::ZERO, 0));
                }
                _ => {}
            }
            let waiting: usize = lines.iter().map(Vec::len).sum();
            prop_assert_eq!(queue.len() as usize, waiting);
            prop_assert_eq!(queue.is_empty(), queue.first().is_none());
            prop_assert_eq!(table.in_flight(), waiting + gone.len());
        }
    }
}
