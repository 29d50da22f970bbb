//! Mechanisms of rate limits and quotas.

/// How a rate is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Every unit leaves exactly one window after it came.
    SlidingLog,
    /// A bucket that refills continuously.
    TokenBucket,
    /// Windows aligned at multiples of their length.
    FixedWindow,
}

impl Algorithm {
    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::SlidingLog => "sliding-log",
            Algorithm::TokenBucket => "token-bucket",
            Algorithm::FixedWindow => "fixed-window",
        }
    }
}

/// What a meter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Claims.
    pub offered: u64,
    /// Claims let in.
    pub admitted: u64,
    /// Claims it refused first.
    pub refused: u64,
    /// Most units in use at once on one key.
    pub peak: u64,
    /// The limit at that moment; 0 for none.
    pub peak_limit: u64,
    /// Time, summed over keys, in which one more unit would have been refused, nanoseconds.
    pub blocked: u128,
    /// Keys ever used.
    pub keys: u32,
    /// When it first refused.
    pub first_refused: Option<crate::time::Time>,
}
