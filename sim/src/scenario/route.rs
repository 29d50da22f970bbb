//! How requests are spread over the replicas of a pool, and what follows from the choice for everybody else.

/// Declares the policies, the list of all, and their words.
macro_rules! routes {
    ($(#[doc = $doc:literal])* enum $name:ident {
        $( $(#[doc = $form_doc:literal])* $form:ident = $word:literal, )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $form_doc])* $form, )*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$form),*];

            /// The word in the file.
            pub fn name(self) -> &'static str {
                match self { $($name::$form => $word,)* }
            }
        }
    };
}

routes! {
    /// How requests are spread over the replicas of a pool. The rules are in [`crate::gateway::route`], a file each.
    ///
    /// *Load* is what a replica reports of itself, `4 * waiting + running`; *held* is what the gateway counts, the
    /// requests it sent there that are not over. Ties go to the lowest index.
    enum Route {
        /// In turn.
        RoundRobin = "round-robin",
        /// Uniformly at random.
        Random = "random",
        /// The smallest load.
        LeastLoaded = "least-loaded",
        /// The fewest requests held.
        LeastOutstanding = "least-outstanding",
        /// The smaller load of two drawn at random.
        PowerOfTwo = "power-of-two",
        /// The fewest tokens of requests held, as far as a gateway knows them: prompts and declared `max_tokens`.
        ShortestTokens = "shortest-tokens",
        /// The replica that has the prefix (consistent hashing), unless it holds more than 1.25 times the mean.
        PrefixAffinity = "prefix-affinity",
        /// The replica that a hash of the session falls to; the next one on the ring while that is down or full.
        SessionAffinity = "session-affinity",
        /// The replica that was last sent the longest known prefix, unless its load is far above the least.
        KvAware = "kv-aware",
    }
}

impl Route {
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
