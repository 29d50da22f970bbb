//! Which replica of a pool gets the next request: a policy a file.
//!
//! A policy reads the [`View`] and the [`RequestHead`] and nothing else, so it knows no more than a gateway can. What it
//! needs the least of, it declares (`RANK`); the view keeps a tournament over that and over nothing else.

mod bits;
mod ring;
mod view;

#[cfg(test)]
mod tests;

pub use view::View;

use crate::request::{HashChain, ReplicaId, RequestHead};
use crate::rng::{Purpose, Rng, stream};
use crate::scenario::{Pool, Route};
use rand::RngExt as _;

/// What the replicas of a [`View`] are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Not at all.
    Nothing,
    /// Load as it is seen.
    Load,
    /// Requests held.
    Held,
    /// Tokens of requests held.
    Tokens,
}

/// A request as a router sees it.
#[derive(Clone, Copy, Debug)]
struct Ask<'a> {
    head: &'a RequestHead,
    chain: Option<&'a HashChain>,
}

/// A routing policy with its state.
trait Policy {
    /// What [`View::least`] is the least of.
    const RANK: Rank;

    /// The policy for a pool, with random numbers of its own.
    fn new(pool: &Pool, rng: Rng) -> Self;

    /// The replica for a request, an open one. At least one is open, and there are at least two replicas.
    fn pick(&mut self, view: &View, ask: Ask<'_>) -> usize;
}

/// The policies: for each variant of [`Route`] the module and the type that is its rule.
macro_rules! policies {
    ($($route:ident: $module:ident,)*) => {
        $(mod $module;)*

        /// A policy of either kind. In place, not behind a pointer: every request goes through here.
        #[derive(Debug)]
        enum Chosen {
            $($route($module::$route),)*
        }

        impl Chosen {
            fn new(pool: &Pool, rng: Rng) -> Self {
                match pool.route {
                    $(Route::$route => Chosen::$route(Policy::new(pool, rng)),)*
                }
            }

            #[inline]
            fn pick(&mut self, view: &View, ask: Ask<'_>) -> usize {
                match self {
                    $(Chosen::$route(policy) => policy.pick(view, ask),)*
                }
            }
        }

        fn rank_of(route: Route) -> Rank {
            match route {
                $(Route::$route => <$module::$route as Policy>::RANK,)*
            }
        }
    };
}

policies! {
    RoundRobin: round_robin,
    Random: random,
    LeastLoaded: least_loaded,
    LeastOutstanding: least_outstanding,
    PowerOfTwo: power_of_two,
    ShortestTokens: shortest_tokens,
    PrefixAffinity: prefix_affinity,
    SessionAffinity: session_affinity,
    KvAware: kv_aware,
}

/// The router of a pool: its policy, with what that remembers.
#[derive(Debug)]
pub struct Router {
    policy: Chosen,
}

impl Router {
    /// The router of pool number `index`. O(1); O(replicas, log replicas each) for policies with a ring.
    pub fn new(pool: &Pool, seed: u64, index: u64) -> Self {
        Router { policy: Chosen::new(pool, stream(seed, Purpose::Route, index, 0)) }
    }

    /// The replica for a request, one that is up and not full; `None` when there is none. A replica that is picked is
    /// taken to be used: the policy may remember it.
    ///
    /// The cost is in the file of each policy: O(1) or O(log replicas), and O(replicas / 64) to step over those that are
    /// down or full.
    #[inline]
    pub fn pick(&mut self, view: &View, head: &RequestHead, chain: Option<&HashChain>) -> Option<ReplicaId> {
        if !view.has_room() {
            return None;
        }
        if view.replicas() == 1 {
            return Some(0);
        }
        let index = self.policy.pick(view, Ask { head, chain });
        debug_assert!(view.is_open(index), "replica {index} is down or full, and was picked");
        Some(index as ReplicaId)
    }
}

/// Uniform in `0..count`; the bias of the multiplication is below 2^-48.
#[inline]
fn draw(rng: &mut Rng, count: usize) -> usize {
    ((u128::from(rng.random::<u64>()) * count as u128) >> 64) as usize
}
