//! Lanes: each walks its part of the schedule and sends every request at its instant, whatever became of those before.
//!
//! A lane has a thread of its own ([`super::threads`]), and whatever it has sent stays there.

use super::block::Block;
use super::record::Fact;
use super::sending::{Alive, journey};
use crate::pacer::Pacer;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tidegate_sim::request::Arrival;

/// A lane gives way to other tasks after so many requests that were due at once.
const BURST: u32 = 16;

/// Deals a schedule out to `lanes`, in turn: a burst is spread over all of them.
pub(super) fn deal(open: Vec<Arrival>, lanes: usize) -> Vec<Vec<Arrival>> {
    let mut stripes: Vec<Vec<Arrival>> =
        (0..lanes).map(|_| Vec::with_capacity(open.len().div_ceil(lanes))).collect();
    for (place, arrival) in open.into_iter().enumerate() {
        stripes[place % lanes].push(arrival);
    }
    stripes
}

/// Walks a stripe. It never waits for an answer; what is left of the stripe when the block stops is told as unsent.
///
/// # Errors
/// When the system refuses a timer; what is left is told as unsent then, too.
pub(super) async fn walk(block: Arc<Block>, stripe: Vec<Arrival>, alive: Alive) -> io::Result<()> {
    let mut stripe = stripe.into_iter();
    let walked = send_all(&block, &mut stripe, &alive).await;
    let mut unsent = BTreeMap::new();
    for arrival in stripe {
        *unsent.entry(arrival.head.workload).or_insert(0_u64) += 1;
    }
    for (workload, count) in unsent {
        block.tell(Fact::Unsent(workload, count));
    }
    walked
}

async fn send_all(
    block: &Arc<Block>,
    stripe: &mut std::vec::IntoIter<Arrival>,
    alive: &Alive,
) -> io::Result<()> {
    let mut pacer = Pacer::new()?;
    let stop = block.stop.clone();
    let mut stopped = std::pin::pin!(stop.cancelled());
    let mut burst = 0;
    while let Some(next) = stripe.as_slice().first() {
        let due = next.at.as_nanos();
        if block.clock.nanos() < due {
            burst = 0;
            tokio::select! {
                biased;
                reached = pacer.until(block.instant(due)) => reached?,
                () = &mut stopped => return Ok(()),
            }
        } else {
            burst += 1;
            if burst == BURST {
                burst = 0;
                tokio::task::yield_now().await;
            }
            if block.stop.is_cancelled() {
                return Ok(());
            }
        }
        if let Some(arrival) = stripe.next() {
            tokio::spawn(journey(Arc::clone(block), arrival, true, alive.clone()));
        }
    }
    Ok(())
}

/// A user of a closed loop: waits for its first request, then sends one after the other.
pub(super) async fn user(block: Arc<Block>, first: Arrival, alive: Alive) {
    let due = first.at.as_nanos();
    tokio::select! {
        () = block.alarm.until(&block.clock, due) => {}
        () = block.stop.cancelled() => {}
    }
    journey(block, first, false, alive).await;
}
