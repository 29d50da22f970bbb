//! Every policy against its rule said plainly: scans over all replicas, no tournament, no bit sets, no dirty list.

use super::{Router, View};
use crate::dist::Dist;
use crate::gateway::known_tokens;
use crate::request::{HashChain, Prefix, ReplicaId, RequestHead};
use crate::rng::{Purpose, Rng, mix, stream};
use crate::scenario::{Engine, Pool, PoolFleet, Queue, QueueOrder, Route, SlotsEngine};
use crate::time::Span;
use proptest::prelude::*;

/// A pool of idle replicas that are all up.
pub(super) fn pool(route: Route, replicas: u16, outstanding: Option<u32>) -> Pool {
    Pool {
        name: "pool".into(),
        model: 0,
        replicas,
        gpus_per_replica: 0,
        engine: Engine::Slots(SlotsEngine { servers: 1, service: Dist::constant(1.0).unwrap() }),
        route,
        outstanding,
        queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
        permits: None,
        fleet: PoolFleet::fixed(replicas),
        view_age: Span::ZERO,
        batch: None,
    }
}

/// A request of 100 tokens whose content repeats under the identity `own`.
pub(super) fn head(own: u64) -> RequestHead {
    RequestHead {
        workload: 0,
        tenant: 0,
        index: 0,
        prompt_tokens: 100,
        max_tokens: None,
        session: 0,
        turn: 0,
        prefix: Prefix { shared: 0, shared_tokens: 0, own },
        body_bytes: None,
    }
}

/// A router and what it sees.
pub(super) struct Bench {
    pub(super) view: View,
    router: Router,
}

impl Bench {
    pub(super) fn of(pool: &Pool) -> Self {
        Bench { view: View::new(pool), router: Router::new(pool, 1, 0) }
    }

    pub(super) fn new(route: Route, replicas: u16, outstanding: Option<u32>) -> Self {
        Bench::of(&pool(route, replicas, outstanding))
    }

    pub(super) fn pick(&mut self, head: &RequestHead) -> Option<ReplicaId> {
        self.router.pick(&self.view, head, None)
    }

    pub(super) fn pick_chain(&mut self, head: &RequestHead, chain: &HashChain) -> Option<ReplicaId> {
        self.router.pick(&self.view, head, Some(chain))
    }
}

/// A replica, plainly.
#[derive(Clone, Copy, Debug, Default)]
struct Plain {
    held: u32,
    latest: u32,
    seen: u32,
    tokens: u64,
    up: bool,
    starts: u32,
}

/// A router, plainly.
struct Model {
    route: Route,
    replicas: Vec<Plain>,
    most: u32,
    stale: bool,
    turn: usize,
    rng: Rng,
    /// `(prefix, replica, starts)`, latest last.
    sent: Vec<(Vec<u64>, usize, u32)>,
}

impl Model {
    fn new(pool: &Pool) -> Self {
        let initial = usize::from(pool.fleet.initial);
        let plain =
            |index| Plain { up: index < initial, starts: u32::from(index < initial), ..Plain::default() };
        Model {
            route: pool.route,
            replicas: (0..usize::from(pool.replicas)).map(plain).collect(),
            most: pool.outstanding.unwrap_or(u32::MAX),
            stale: !pool.view_age.is_zero(),
            turn: 0,
            rng: stream(1, Purpose::Route, 0, 0),
            sent: Vec::new(),
        }
    }

    fn is_open(&self, index: usize) -> bool {
        self.replicas[index].up && self.replicas[index].held < self.most
    }

    fn open(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|&index| self.is_open(index)).collect()
    }

    fn least<K: Ord>(&self, of: impl Fn(&Plain) -> K) -> usize {
        self.open().into_iter().min_by_key(|&index| of(&self.replicas[index])).unwrap()
    }

    /// Replicas by the distance of their nearest point clockwise.
    fn clockwise(&self, key: u64) -> Vec<usize> {
        let nearest = |replica: usize| {
            let points = (0..64).map(|point| mix(mix(replica as u64 + 1) ^ point));
            points.map(|point| point.wrapping_sub(key)).min().unwrap()
        };
        let mut all: Vec<usize> = (0..self.replicas.len()).collect();
        all.sort_by_key(|&replica| nearest(replica));
        all
    }

    fn pick(&mut self, head: &RequestHead, chain: Option<&HashChain>) -> Option<usize> {
        let open = self.open();
        if open.is_empty() {
            return None;
        }
        let count = self.replicas.len();
        if count == 1 {
            return Some(0);
        }
        Some(match self.route {
            Route::RoundRobin => {
                let index =
                    (self.turn..count).chain(0..self.turn).find(|&index| self.is_open(index)).unwrap();
                self.turn = (index + 1) % count;
                index
            }
            Route::Random => open[super::draw(&mut self.rng, open.len())],
            Route::LeastLoaded => self.least(|plain| plain.seen),
            Route::LeastOutstanding => self.least(|plain| plain.held),
            Route::ShortestTokens => self.least(|plain| plain.tokens),
            Route::PowerOfTwo if open.len() == 1 => open[0],
            Route::PowerOfTwo => {
                let first = super::draw(&mut self.rng, open.len());
                let other = super::draw(&mut self.rng, open.len() - 1);
                let (first, second) = (open[first], open[(first + 1 + other) % open.len()]);
                if self.replicas[second].seen < self.replicas[first].seen { second } else { first }
            }
            Route::PrefixAffinity => {
                let key = match chain.map(|chain| chain.hashes.as_slice()) {
                    Some(&[only]) => Some(only),
                    Some(hashes) => Some(hashes[1]),
                    None => Some(head.prefix.own).filter(|&own| own != 0),
                };
                let Some(key) = key else { return Some(self.least(|plain| plain.seen)) };
                let up: Vec<&Plain> = self.replicas.iter().filter(|plain| plain.up).collect();
                let held: u32 = up.iter().map(|plain| plain.held).sum();
                let bound = (1.25 * f64::from(held + 1) / up.len() as f64).ceil();
                let fits =
                    |&index: &usize| self.is_open(index) && f64::from(self.replicas[index].held) < bound;
                self.clockwise(mix(key)).into_iter().find(fits).unwrap()
            }
            Route::SessionAffinity => {
                let key = mix(mix(0x7365_7373_696f_6e73 ^ u64::from(head.workload)) ^ head.session);
                self.clockwise(key).into_iter().find(|&index| self.is_open(index)).unwrap()
            }
            Route::KvAware => self.follow(head, chain),
        })
    }

    fn follow(&mut self, head: &RequestHead, chain: Option<&HashChain>) -> usize {
        // Every prefix of the prompt with its length, shortest first; a session's own context is long enough always.
        let mut prefixes: Vec<(Vec<u64>, f64)> = Vec::new();
        match chain {
            Some(chain) => {
                for blocks in 1..=chain.hashes.len() {
                    let tokens = f64::from(blocks as u32 * chain.tokens_per_hash);
                    let named = [&[3], &chain.hashes[blocks - 1..blocks]].concat();
                    prefixes.push((named, tokens.min(f64::from(head.prompt_tokens))));
                }
            }
            None => {
                if head.prefix.shared != 0 {
                    prefixes.push((vec![2, head.prefix.shared], f64::from(head.prefix.shared_tokens)));
                }
                if head.prefix.own != 0 {
                    prefixes.push((vec![1, head.prefix.own], f64::INFINITY));
                }
            }
        }
        let least = self.least(|plain| plain.seen);
        let host = |prefix: &[u64]| {
            let (_, replica, starts) = self.sent.iter().rev().find(|(sent, ..)| sent == prefix)?;
            (self.is_open(*replica) && self.replicas[*replica].starts == *starts).then_some(*replica)
        };
        let long =
            prefixes.iter().rev().filter(|(_, tokens)| tokens / f64::from(head.prompt_tokens) > 0.2999);
        let known = long.filter_map(|(prefix, _)| host(prefix)).next();
        let (least_load, load) =
            (self.replicas[least].seen, |index: usize| f64::from(self.replicas[index].seen));
        let near = |&index: &usize| {
            load(index) <= f64::from(least_load) + 64.0 || load(index) <= 1.5 * f64::from(least_load)
        };
        let picked = known.filter(near).unwrap_or(least);
        let starts = self.replicas[picked].starts;
        self.sent.extend(prefixes.into_iter().map(|(prefix, _)| (prefix, picked, starts)));
        picked
    }
}

/// Something that happens to a pool. Replicas are taken modulo their number.
#[derive(Clone, Debug)]
enum Happening {
    Update(u16, u32, u32),
    SetUp(u16, bool),
    Look,
    Ask(RequestHead, Option<HashChain>),
    /// The oldest request that is still there is over.
    Over,
}

fn happening() -> impl Strategy<Value = Happening> {
    let ask = (0u16..2, 0u64..6, 0u64..4, 1u32..60, prop::option::of(1u32..200), 0u64..3).prop_map(
        |(workload, session, own, prompt_tokens, max_tokens, shared)| {
            let prefix = Prefix { shared, shared_tokens: (7 * shared as u32).min(prompt_tokens), own };
            RequestHead { workload, session, prompt_tokens, max_tokens, prefix, ..head(own) }
        },
    );
    // Hashes name their block and everything before it, so the second has two forms for each form of the first.
    let chain = prop::option::of((prop::collection::vec(0u64..2, 1..5)).prop_map(|blocks| {
        let grow = |hash: &mut u64, block: u64| {
            *hash = 3 * *hash + block + 1;
            Some(*hash)
        };
        HashChain { tokens_per_hash: 12, hashes: blocks.into_iter().scan(0, grow).collect() }
    }));
    prop_oneof![
        4 => (any::<u16>(), 0u32..4, 0u32..4).prop_map(|(at, waiting, running)| Happening::Update(at, waiting, running)),
        // Far enough apart for the bounds of `kv-aware`.
        1 => (any::<u16>(), 0u32..60, 0u32..4).prop_map(|(at, waiting, running)| Happening::Update(at, waiting, running)),
        2 => (any::<u16>(), any::<bool>()).prop_map(|(at, up)| Happening::SetUp(at, up)),
        1 => Just(Happening::Look),
        2 => Just(Happening::Over),
        8 => (ask, chain).prop_map(|(head, chain)| Happening::Ask(head, chain)),
    ]
}

fn compare(pool: &Pool, history: &[Happening]) {
    let mut bench = Bench::of(pool);
    let mut model = Model::new(pool);
    let mut there: std::collections::VecDeque<(u16, u64)> = Default::default();
    for happening in history {
        match happening {
            Happening::Update(at, waiting, running) => {
                let at = at % pool.replicas;
                bench.view.update(at, *waiting, *running);
                let plain = &mut model.replicas[usize::from(at)];
                (plain.held, plain.latest) = (waiting + running, 4 * waiting + running);
                if !model.stale {
                    plain.seen = plain.latest;
                }
            }
            Happening::SetUp(at, up) => {
                let at = at % pool.replicas;
                bench.view.set_up(at, *up);
                let plain = &mut model.replicas[usize::from(at)];
                plain.starts += u32::from(*up && !plain.up);
                plain.up = *up;
            }
            Happening::Look => {
                bench.view.look();
                model.replicas.iter_mut().for_each(|plain| plain.seen = plain.latest);
            }
            Happening::Ask(head, chain) => {
                let picked = bench.router.pick(&bench.view, head, chain.as_ref());
                let expected = model.pick(head, chain.as_ref());
                assert_eq!(picked.map(usize::from), expected, "{:?} of {:?}", pool.route, model.replicas);
                if let Some(replica) = picked {
                    let plain = model.replicas[usize::from(replica)];
                    assert!(plain.up && plain.held < model.most, "replica {replica} is down or full");
                    let tokens = known_tokens(head);
                    bench.view.take(replica, tokens);
                    model.replicas[usize::from(replica)].tokens += tokens;
                    there.push_back((replica, tokens));
                }
            }
            Happening::Over => {
                if let Some((replica, tokens)) = there.pop_front() {
                    bench.view.give_back(replica, tokens);
                    model.replicas[usize::from(replica)].tokens -= tokens;
                }
            }
        }
        assert_eq!(bench.view.has_room(), !model.open().is_empty());
        let ready = model.replicas.iter().filter(|plain| plain.up).count();
        assert_eq!(usize::from(bench.view.ready()), ready);
    }
}

proptest! {
    #[test]
    fn every_policy_picks_what_a_plain_scan_picks_whatever_happened_before(
        replicas in 1u16..80,
        down in 0u16..4,
        outstanding in prop::option::of(1u32..6),
        stale in any::<bool>(),
        history in prop::collection::vec(happening(), 1..120),
    ) {
        // Few replicas meet everything often; many fill more than one word of a bit set.
        let replicas = if replicas > 70 { replicas } else { replicas % 6 + 1 };
        for &route in Route::ALL {
            let mut pool = pool(route, replicas, outstanding);
            pool.fleet.initial = replicas.saturating_sub(down);
            pool.view_age = if stale { Span::from_millis(1) } else { Span::ZERO };
            compare(&pool, &history);
        }
    }
}

#[test]
fn the_view_age_can_matter_to_exactly_those_policies_that_say_they_read_loads() {
    for &route in Route::ALL {
        let picks = |view_age| {
            let mut pool = pool(route, 4, None);
            pool.view_age = view_age;
            let mut bench = Bench::of(&pool);
            let own = |request| if request % 2 == 0 { 0 } else { request };
            let each = |request: u64| {
                let picked = bench.pick(&RequestHead { session: request, ..head(own(request)) }).unwrap();
                bench.view.take(picked, 100);
                bench.view.update(picked, request as u32 % 3, 1 + request as u32 % 7);
                picked
            };
            (0..60).map(each).collect::<Vec<u16>>()
        };
        assert_eq!(picks(Span::ZERO) != picks(Span::from_secs(1)), route.reads_loads(), "{route:?}");
    }
}

#[test]
fn exactly_the_policies_that_say_so_pick_by_their_seed() {
    for &route in Route::ALL {
        let picks = |seed| {
            let pool = pool(route, 7, None);
            let (view, mut router) = (View::new(&pool), Router::new(&pool, seed, 0));
            (0..40).map(|own| router.pick(&view, &head(own), None)).collect::<Vec<_>>()
        };
        assert_eq!(picks(1) != picks(2), route.draws(), "{route:?}");
    }
}
