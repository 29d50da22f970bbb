//! Which of several pools gets a request: shares, prices, speed or load, in an order that ends with fall-backs.
//!
//! It knows pools only by the [`Facts`] that the hub states at the moment, and says in which order to try them. Whether a
//! pool takes the request (a limit may refuse it, its queue may be full) is found out by trying.

use crate::request::PoolId;
use crate::rng::{Purpose, Rng, source_of, stream};
use crate::scenario::{Choice, Next, Pool, Prefer, Scenario};
use rand::RngExt as _;

/// What is known of a pool when a request has to be given to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether it has a replica that the router believes in, or can get one when a request comes.
    pub is_up: bool,
    /// Whether a request would have to wait.
    pub is_busy: bool,
    /// Replicas that the router believes in.
    pub ready: u16,
    /// Requests in its queue and on its replicas.
    pub requests: u32,
    /// Mean time to an answer lately, nanoseconds ([`Pace`]); 0 before the first.
    pub pace: u64,
}

/// How long a pool has taken to answer lately: each answer counts an eighth, what came before the rest.
///
/// Source: the smoothed round-trip time of TCP (Jacobson 1988; RFC 6298 with alpha = 1/8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace(u64);

impl Pace {
    /// An answer took `ns` nanoseconds.
    pub fn answer(&mut self, ns: u64) {
        self.0 = if self.0 == 0 { ns.max(1) } else { (self.0 - self.0 / 8 + ns / 8).max(1) };
    }

    /// Nanoseconds; 0 before the first answer.
    pub fn ns(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Candidate {
    weight: u32,
    /// Price of a replica for an hour, millionths.
    price: u64,
    fallback: bool,
}

#[derive(Debug)]
struct Chooser {
    choice: Choice,
    candidates: Vec<Candidate>,
    rng: Rng,
}

/// The choices of all workloads that have one.
#[derive(Debug, Default)]
pub struct Choices {
    /// Empty when no workload has one.
    by_workload: Vec<Option<Chooser>>,
    order: Vec<usize>,
}

/// Price of a replica for an hour, millionths of the currency; 0 when none is stated.
pub fn price_of(pool: &Pool, scenario: &Scenario) -> u64 {
    let nodes = pool.fleet.nodes.iter().filter_map(|&nodes| scenario.fleet.nodes[nodes].price);
    // The dearest machines it may run on: the choice is made before it is known which.
    let gpu = pool.fleet.price.into_iter().chain(nodes).fold(0.0, f64::max);
    (gpu * f64::from(pool.gpus_per_replica.max(1)) * 1e6).round() as u64
}

impl Choices {
    /// The choices of a scenario.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let chooser = |workload: &crate::scenario::Workload| {
            let tier = &scenario.tiers[workload.tier];
            let choice = tier.choice.clone()?;
            let place = |pool: PoolId| {
                tier.pools
                    .iter()
                    .position(|&other| other == pool)
                    .expect("a candidate is one of the tier's pools")
            };
            let candidate = |&(_, pool): &(usize, PoolId)| Candidate {
                weight: choice.weights.get(place(pool)).copied().unwrap_or(0),
                price: price_of(&scenario.pools[usize::from(pool)], scenario),
                fallback: place(pool) + choice.fallbacks >= tier.pools.len(),
            };
            let candidates = workload.sender.candidates.iter().map(candidate).collect();
            let rng = stream(seed, Purpose::Choice, source_of(&workload.name), 0);
            Some(Chooser { candidates, rng, choice })
        };
        let mut by_workload: Vec<_> = scenario.workloads.iter().map(chooser).collect();
        if by_workload.iter().all(Option::is_none) {
            by_workload.clear();
        }
        Choices { by_workload, order: Vec::new() }
    }

    /// Whether no workload has a choice.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_workload.is_empty()
    }

    /// When the next pool is tried; `None` when the workload has no choice.
    #[inline]
    pub fn next_when(&self, workload: u16) -> Option<Next> {
        self.by_workload.get(usize::from(workload))?.as_ref().map(|chooser| chooser.choice.next)
    }

    /// Candidates of a workload that has a choice, by their position, in the order in which to try them. O(candidates
    /// squared); there are a handful.
    pub fn order(&mut self, workload: u16, facts: impl Fn(usize) -> Facts) -> &[usize] {
        let chooser = self.by_workload[usize::from(workload)].as_mut().expect("the workload has a choice");
        let Chooser { choice, candidates, rng } = chooser;
        self.order.clear();
        self.order.extend(0..candidates.len());
        match choice.prefer {
            Prefer::Order => {}
            Prefer::Weighted => {
                let first = draw(candidates, rng);
                self.order.sort_by_key(|&candidate| Some(candidate) != first);
            }
            Prefer::Cheapest => self.order.sort_by_key(|&candidate| candidates[candidate].price),
            Prefer::Fastest => self.order.sort_by_key(|&candidate| facts(candidate).pace),
            Prefer::LeastLoaded => {
                self.order.sort_by(|&a, &b| {
                    let (a, b) = (facts(a), facts(b));
                    let load =
                        |one: &Facts, other: &Facts| u64::from(one.requests) * u64::from(other.ready.max(1));
                    load(&a, &b).cmp(&load(&b, &a))
                });
            }
        }
        // Sorting is stable: what was preferred stays so among the primaries, and fall-backs keep the file's order.
        let rank = |candidate: &usize| match candidates[*candidate].fallback {
            true => 1 + candidate,
            false => 0,
        };
        self.order.sort_by_key(rank);
        &self.order
    }
}

/// A primary candidate in proportion to its weight; `None` when there is no weight.
fn draw(candidates: &[Candidate], rng: &mut Rng) -> Option<usize> {
    let weights = || candidates.iter().map(|one| if one.fallback { 0 } else { u64::from(one.weight) });
    let total: u64 = weights().sum();
    let mut point = ((u128::from(rng.random::<u64>()) * u128::from(total)) >> 64) as u64;
    weights().position(|weight| {
        let hit = point < weight;
        point = point.saturating_sub(weight);
        hit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(prefer: Prefer, candidates: &[(u32, u64, bool)]) -> Choices {
        let choice = Choice { prefer, weights: Vec::new(), fallbacks: 0, next: Next::Refused };
        let candidates = candidates.iter();
        let candidates =
            candidates.map(|&(weight, price, fallback)| Candidate { weight, price, fallback }).collect();
        let rng = stream(1, Purpose::Choice, 1, 0);
        Choices { by_workload: vec![Some(Chooser { choice, candidates, rng })], order: Vec::new() }
    }

    #[test]
    fn fall_backs_come_last_in_the_order_of_the_file_however_cheap() {
        let mut choices =
            choices(Prefer::Cheapest, &[(0, 9, false), (0, 1, true), (0, 3, false), (0, 0, true)]);
        assert_eq!(choices.order(0, |_| Facts::default()), [2, 0, 1, 3]);
    }

    #[test]
    fn a_tie_in_price_goes_to_the_first_of_the_file() {
        let mut choices = choices(Prefer::Cheapest, &[(0, 2, false), (0, 2, false)]);
        assert_eq!(choices.order(0, |_| Facts::default()), [0, 1]);
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        let mut choices = choices(Prefer::Weighted, &[(700, 0, false), (300, 0, false), (0, 0, true)]);
        let first = (0..10_000).filter(|_| choices.order(0, |_| Facts::default())[0] == 0).count();
        assert!(first.abs_diff(7_000) < 4 * 46, "{first}: four standard errors around 7,000");
    }

    #[test]
    fn the_least_loaded_is_the_one_with_the_fewest_requests_for_each_replica() {
        let mut choices = choices(Prefer::LeastLoaded, &[(0, 0, false), (0, 0, false)]);
        let facts = [(6, 2), (8, 4)].map(|(requests, ready)| Facts { requests, ready, ..Facts::default() });
        assert_eq!(choices.order(0, |candidate| facts[candidate]), [1, 0]);
    }

    #[test]
    fn the_fastest_is_first_and_one_that_never_answered_is_tried() {
        let mut choices = choices(Prefer::Fastest, &[(0, 0, false), (0, 0, false), (0, 0, false)]);
        let paces = [30, 0, 20];
        let facts = |candidate: usize| Facts { pace: paces[candidate], ..Facts::default() };
        assert_eq!(choices.order(0, facts), [1, 2, 0]);
    }

    #[test]
    fn a_pace_moves_an_eighth_of_the_way() {
        let mut pace = Pace::default();
        pace.answer(800);
        assert_eq!(pace.ns(), 800);
        pace.answer(1_600);
        assert_eq!(pace.ns(), 900);
    }
}
