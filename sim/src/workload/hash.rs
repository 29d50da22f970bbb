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
/// over the arrivals (about 100 ns each), no memory.
///
/// # Errors
/// When a source cannot be opened, or its trace breaks half-way.
pub fn arrival_hash(scenario: &Scenario, seed: u64) -> Result<String, SourceError> {
    let mut hash = Hash::default();
    for workload in 0..scenario.workloads.len() {
        let mut source = Source::open(scenario, workload as WorkloadId, seed)?;
        hash.word(workload as u64);
        while let Some(arrival) = source.next() {
            hash.arrival(&arrival);
            for turn in source.later_turns(arrival.head.session, TURNS_MOST) {
                hash.word(turn.think.as_nanos());
                hash.word(pair(turn.prompt, turn.output));
            }
        }
        if let Some(error) = source.error() {
            return Err(error.clone());
        }
        hash.word(u64::MAX);
    }
    Ok(hash.finish())
}

/// Collects words so that the hash function gets blocks large enough to use all lanes of the processor.
struct Hash {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

const BLOCK: usize = 1 << 16;

impl Default for Hash {
    fn default() -> Self {
        Hash { hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(BLOCK + 64) }
    }
}

impl Hash {
    fn arrival(&mut self, arrival: &Arrival) {
        let (head, draw) = (&arrival.head, &arrival.draw);
        self.word(arrival.at.as_nanos());
        self.word(pair(head.prompt_tokens, draw.output_tokens));
        self.word(u64::from(head.tenant));
        self.word(draw.service.as_nanos());
        self.word(draw.patience.map_or(u64::MAX, |p| p.as_nanos()));
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

    fn finish(mut self) -> String {
        self.hasher.update(&self.buffer);
        self.hasher.finalize().to_hex().to_string()
    }
}

fn pair(prompt: u32, output: u32) -> u64 {
    u64::from(prompt) << 32 | u64::from(output)
}
