//! Random streams: one per (seed, purpose, source, index), so that common random numbers hold by construction.
//!
//! Two variants of a scenario that share a seed draw the same arrivals, lengths and think times, whatever else
//! differs between them, because no stream is ever shared between two purposes or two sources. The generator is
//! named and portable (`Xoshiro256PlusPlus`); it is not cryptographic and need not be.

use rand::SeedableRng;
pub use rand::rngs::Xoshiro256PlusPlus as Rng;

/// What a stream of random numbers is used for. The numbers are part of the format: changing one changes results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Gaps between arrivals.
    Arrival = 1,
    /// Acceptance of candidates when a rate varies in time (thinning), and MMPP phase changes.
    Modulation = 2,
    /// Prompt lengths; for joint distributions the pair.
    Prompt = 3,
    /// Output lengths.
    Output = 4,
    /// Think time between the turns of a session.
    Think = 5,
    /// Number of turns of a session.
    Turns = 6,
    /// Service times of a `slots` pool.
    Service = 7,
    /// Client patience.
    Patience = 8,
    /// Which tenant a request belongs to.
    Tenant = 9,
    /// Random choices of a routing policy.
    Route = 10,
    /// The seed of a replication.
    Replication = 11,
    /// Resampling inside a statistic.
    Bootstrap = 12,
    /// Bytes of request bodies.
    Body = 13,
    /// What an endpoint adds to each request.
    Overhead = 14,
    /// Pauses of clients before they try again.
    Backoff = 15,
    /// Failures and repairs.
    Failure = 16,
    /// How long replicas take to start.
    Start = 17,
    /// Which of several pools a request is given to.
    Choice = 18,
    /// Gaps between submissions of batch jobs.
    Jobs = 19,
    /// Requests of a batch job.
    JobSize = 20,
    /// How long a batch job takes elsewhere.
    Upstream = 21,
}

/// The stream for `purpose` of `source`, `index`-th sub-stream (a session, a replication; 0 when there is one).
///
/// O(1), no allocation: cheap enough for a stream per session or per request.
pub fn stream(seed: u64, purpose: Purpose, source: u64, index: u64) -> Rng {
    let mut state = mix(seed ^ 0x7469_6465_6761_7465);
    for word in [purpose as u64, source, index] {
        state = mix(state ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    Rng::seed_from_u64(state)
}

/// The seed of replication `index`: the scenario's own for the first, so that a single run is replication 0.
pub fn replication_seed(seed: u64, index: u32) -> u64 {
    if index == 0 { seed } else { mix(mix(seed ^ Purpose::Replication as u64) ^ u64::from(index)) }
}

/// The source number of something with a name. Numbers by position would shift when something before it is switched
/// off, and with them every draw of what should stay the same.
pub fn source_of(name: &str) -> u64 {
    name.bytes().fold(mix(name.len() as u64), |hash, byte| mix(hash ^ u64::from(byte)))
}

/// A 64-bit finaliser with full avalanche. Source: Stafford's variant 13 of the MurmurHash3 finaliser, as in
/// SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn streams_differ_in_every_coordinate_and_repeat_exactly() {
        let first = |seed, purpose, source, index| stream(seed, purpose, source, index).next_u64();
        let base = first(7, Purpose::Arrival, 0, 0);
        assert_eq!(base, first(7, Purpose::Arrival, 0, 0));
        for other in [
            first(8, Purpose::Arrival, 0, 0),
            first(7, Purpose::Prompt, 0, 0),
            first(7, Purpose::Arrival, 1, 0),
            first(7, Purpose::Arrival, 0, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn names_give_different_sources_and_each_always_the_same() {
        let names = ["chat", "batch", "chat2", "", "c", "ch"];
        let sources: std::collections::BTreeSet<u64> = names.iter().map(|name| source_of(name)).collect();
        assert_eq!(sources.len(), names.len());
        assert_eq!(source_of("chat"), source_of("chat"));
    }

    #[test]
    fn the_first_replication_is_the_scenario_itself() {
        assert_eq!(replication_seed(7, 0), 7);
        assert_ne!(replication_seed(7, 1), replication_seed(7, 2));
    }
}
