//! How requests are spread over the replicas of a pool, and what follows from the choice for everybody else.

/// How requests are spread over the replicas of a pool. The rules are in [`crate::gateway::route`], a file each.
///
/// *Load* is what a replica reports of itself, `4 * waiting + running`; *held* is what the gateway counts, the requests
/// it sent there that are not over. Ties go to the lowest index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// In turn.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// The smallest load.
    LeastLoaded,
    /// The fewest requests held.
    LeastOutstanding,
    /// The smaller load of two drawn at random.
    PowerOfTwo,
    /// The fewest tokens of requests held, as far as a gateway knows them: prompts and declared `max_tokens`.
    ShortestTokens,
    /// The replica that has the prefix (consistent hashing), unless it holds more than 1.25 times the mean.
    PrefixAffinity,
    /// The replica that a hash of the session falls to; the next one on the ring while that is down or full.
    SessionAffinity,
    /// The replica that was last sent the longest known prefix, unless its load is far above the least.
    KvAware,
}

impl Route {
    /// All of them.
    pub const ALL: [Route; 9] = [
        Route::RoundRobin,
        Route::Random,
        Route::LeastLoaded,
        Route::LeastOutstanding,
        Route::PowerOfTwo,
        Route::ShortestTokens,
        Route::PrefixAffinity,
        Route::SessionAffinity,
        Route::KvAware,
    ];

    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Route::RoundRobin => "round-robin",
            Route::Random => "random",
            Route::LeastLoaded => "least-loaded",
            Route::LeastOutstanding => "least-outstanding",
            Route::PowerOfTwo => "power-of-two",
            Route::ShortestTokens => "shortest-tokens",
            Route::PrefixAffinity => "prefix-affinity",
            Route::SessionAffinity => "session-affinity",
            Route::KvAware => "kv-aware",
        }
    }

    /// Whether it draws random numbers.
    pub fn draws(self) -> bool {
        matches!(self, Route::Random | Route::PowerOfTwo)
    }

    /// Whether it reads loads, so that their age ([`super::Pool::view_age`]) can matter.
    pub fn reads_loads(self) -> bool {
        matches!(self, Route::LeastLoaded | Route::PowerOfTwo | Route::PrefixAffinity | Route::KvAware)
    }

    /// Whether it follows cached prefixes, and is of no use without a prefix cache.
    pub fn follows_prefixes(self) -> bool {
        matches!(self, Route::PrefixAffinity | Route::KvAware)
    }
}
