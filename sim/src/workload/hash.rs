//! A fingerprint of everything random that a run is fed.

use super::source::{Source, SourceError};
use crate::request::{Arrival, WorkloadId};
use crate::scenario::Scenario;

/// Later turns of a session that enter the hash. They are drawn from the same streams as all further ones.
const TURNS_MOST: u32 = 64;

/// Hash (BLAKE3, 64 hex digits) of the exogenous draws of all sources under a seed: sending times, lengths,
/// tenants, service times and patience of every request that no answer causes, and think times and lengths of the
/// later turns of sessions.
///
/// Two runs with the same arrival hash were offered the same work, whatever the gateway made of it. Costs one pass
/// over the arrivals (about 80 ns each), no memory. A run that consumes its sources anyway hashes them as they go
/// by instead ([`SourceHash`]) and gets the same.
///
/// # Errors
/// When a source cannot be opened, or its trace breaks half-way.
pub fn arrival_hash(scenario: &Scenario, seed: u64) -> Result<String, SourceError> {
    let mut hashes = Vec::new();
    for workload in 0..scenario.workloads.len() {
        let mut source = Source::open(scenario, workload as WorkloadId, seed)?;
        let mut hash = SourceHash::default();
        while let Some(arrival) = source.next() {
            hash.add(&source, &arrival);
        }
        if let Some(error) = source.error() {
            return Err(error.clone());
        }
        hashes.push(hash);
    }
    Ok(SourceHash::combine(hashes))
}

/// Hash of what one source sends by itself, arrival by arrival.
///
/// Collects words so that the hash function gets blocks large enough to use all lanes of the processor.
#[derive(Debug)]
pub struct SourceHash {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

const BLOCK: usize = 1 << 14;

impl Default for SourceHash {
    fn default() -> Self {
        SourceHash { hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(BLOCK + 64) }
    }
}

impl SourceHash {
    /// Adds an arrival that [`Source::next`] gave. O(1); O(turns) when it starts a session.
    #[inline]
    pub fn add(&mut self, source: &Source, arrival: &Arrival) {
        self.arrival(arrival);
        for turn in source.later_turns(arrival.head.session, TURNS_MOST) {
            self.word(turn.think.as_nanos());
            self.word(pair(turn.prompt, turn.output));
        }
    }

    /// The arrival hash of a scenario, from the hashes of all its sources, in order.
    pub fn combine(sources: impl IntoIterator<Item = SourceHash>) -> String {
        let mut whole = blake3::Hasher::new();
        for mut source in sources {
            source.hasher.update(&source.buffer);
            whole.update(source.hasher.finalize().as_bytes());
        }
        whole.finalize().to_hex().to_string()
    }

    fn arrival(&mut self, arrival: &Arrival) {
        let (head, draw) = (&arrival.head, &arrival.draw);
        self.word(arrival.at.as_nanos());
        self.word(pair(head.prompt_tokens, draw.output_tokens));
        // Marks say which words follow, so that different arrivals never give the same words.
        let marks = u64::from(!draw.service.is_zero()) << 1 | u64::from(draw.patience.is_some());
        let marks =
            marks | u64::from(head.body_bytes.is_some()) << 34 | u64::from(!draw.overhead.is_zero()) << 35;
        self.word(u64::from(head.tenant) << 2 | marks);
        if !draw.service.is_zero() {
            self.word(draw.service.as_nanos());
        }
        if let Some(patience) = draw.patience {
            self.word(patience.as_nanos());
        }
        if let Some(bytes) = head.body_bytes {
            self.word(bytes.into());
        }
        if !draw.overhead.is_zero() {
            self.word(draw.overhead.as_nanos());
        }
        if let Some(chain) = &arrival.chain {
            chain.hashes.iter().for_each(|&hash| self.word(hash));
        }
    }

    fn word(&mut self, word: u64) {
        self.buffer.extend_from_slice(&word.to_le_bytes());
        if self.buffer.len() >= BLOCK {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }
}

fn pair(prompt: u32, output: u32) -> u64 {
    u64::from(prompt) << 32 | u64::from(output)
}
