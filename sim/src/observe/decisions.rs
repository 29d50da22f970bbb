//! A fingerprint of everything that a gateway decided.

use super::Observer;
use crate::request::{Finished, PoolId, ReplicaId, RequestHead};
use crate::time::Time;

/// Hash (BLAKE3, 64 hex digits) of every decision of a run, in order: who was let in when, who was sent to which replica,
/// how and when each request ended, why it was refused, and how many tokens it got.
///
/// Two runs with the same hash decided the same at every nanosecond. O(1) memory.
#[derive(Debug, Default)]
pub struct Decisions {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    count: u64,
}

const BLOCK: usize = 1 << 14;

impl Decisions {
    /// The hash, and of how many decisions.
    pub fn finish(mut self) -> (String, u64) {
        self.hasher.update(&self.buffer);
        (self.hasher.finalize().to_hex().to_string(), self.count)
    }

    fn begin(&mut self, kind: u64, now: Time, head: &RequestHead) {
        self.count += 1;
        if self.buffer.len() >= BLOCK {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
        self.word(kind << 32 | u64::from(head.workload));
        self.word(now.as_nanos());
        self.word(head.index);
    }

    fn word(&mut self, word: u64) {
        self.buffer.extend_from_slice(&word.to_le_bytes());
    }
}

impl Observer for Decisions {
    fn admitted(&mut self, now: Time, head: &RequestHead) {
        self.begin(1, now, head);
    }
    fn dispatched(&mut self, now: Time, head: &RequestHead, pool: PoolId, replica: ReplicaId) {
        self.begin(2, now, head);
        self.word(u64::from(pool) << 16 | u64::from(replica));
    }
    fn finished(&mut self, done: &Finished) {
        self.begin(3, done.ended, &done.head);
        self.word(done.outcome as u64);
        self.word(u64::from(done.generated));
        let instant = |at: Option<Time>| at.map_or(u64::MAX, Time::as_nanos);
        self.word(instant(done.first_token));
        self.word(instant(done.last_token));
        if let Some(refusal) = &done.refusal {
            self.word(u64::from(refusal.reason) << 32 | u64::from(refusal.key));
            self.word(refusal.limit);
            self.word(refusal.current);
            self.word(refusal.retry_after.map_or(u64::MAX, |wait| wait.as_nanos()));
        }
    }
}
