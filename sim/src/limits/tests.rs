//! The mechanisms against plain statements of their rules, on random operations.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

const fn ns(ns: u64) -> Time {
    Time::from_nanos(ns)
}

fn rate(algorithm: Algorithm, limit: u64, window: Span) -> RateSpec {
    let limit = Some(limit);
    RateSpec { limit, most: 1 << 40, window, algorithm, burst: 1, weighted: false, counts_refused: false }
}

fn one(spec: RateSpec) -> Meters {
    Meters::new(vec![(MeterSpec::Rate(spec), 1)])
}

fn claim(meter: u16, key: u32, units: u64) -> Claim {
    Claim { meter, key, units, entry: 0 }
}

fn admit(meters: &mut Meters, now: u64, units: u64) -> Result<(), Denied> {
    meters.admit(ns(now), &mut [claim(0, 0, units)])
}

/// One key, told plainly: everything that was ever taken, looked through at every question.
#[derive(Clone, Debug)]
struct Plain {
    spec: MeterSpec,
    /// Number of the claim, instant, units.
    taken: Vec<(u64, u64, u64)>,
    /// Of the bucket: unit-nanoseconds in it at an instant. A window of them is one unit.
    fill: i128,
    at: u64,
    claimed: bool,
}

impl Plain {
    fn new(spec: MeterSpec) -> Self {
        let fill = match &spec {
            MeterSpec::Rate(rate) => i128::from(rate.burst) * i128::from(rate.window.as_nanos()),
            MeterSpec::Held { .. } => 0,
        };
        Plain { spec, taken: Vec::new(), fill, at: 0, claimed: false }
    }

    fn limit(&self) -> Option<u64> {
        match &self.spec {
            MeterSpec::Rate(rate) => rate.limit,
            MeterSpec::Held { limit } => *limit,
        }
    }

    fn set_limit(&mut self, now: u64, to: Option<u64>) {
        self.refill(now);
        match &mut self.spec {
            MeterSpec::Rate(rate) => rate.limit = to,
            MeterSpec::Held { limit } => *limit = to,
        }
        self.refill(now);
    }

    fn refill(&mut self, now: u64) {
        if let MeterSpec::Rate(rate) = &self.spec {
            let full = i128::from(rate.burst) * i128::from(rate.window.as_nanos());
            let came = rate.limit.map_or(full * 1000, |limit| i128::from(limit) * i128::from(now - self.at));
            self.fill = full.min(self.fill + came);
        }
        self.at = now;
    }

    fn counts(&self, at: u64, now: u64) -> bool {
        match &self.spec {
            MeterSpec::Held { .. } => true,
            MeterSpec::Rate(rate) => match rate.algorithm {
                Algorithm::FixedWindow => at / rate.window.as_nanos() == now / rate.window.as_nanos(),
                _ => at + rate.window.as_nanos() > now,
            },
        }
    }

    fn in_use(&self, now: u64) -> u64 {
        self.taken.iter().filter(|(_, at, _)| self.counts(*at, now)).map(|(_, _, units)| units).sum()
    }

    fn used(&self, now: u64) -> u64 {
        match &self.spec {
            MeterSpec::Rate(rate) if rate.algorithm == Algorithm::TokenBucket => {
                let mut then = self.clone();
                then.refill(now);
                let window = i128::from(rate.window.as_nanos());
                let missing = i128::from(rate.burst) * window - then.fill;
                ((missing + window - 1) / window) as u64
            }
            MeterSpec::Rate(rate) if rate.algorithm == Algorithm::SlidingLog && !rate.weighted => {
                self.in_use(now).min(rate.most)
            }
            _ => self.in_use(now),
        }
    }

    fn fits(&self, now: u64, units: u64) -> bool {
        let Some(limit) = self.limit() else { return true };
        match &self.spec {
            MeterSpec::Rate(rate) if rate.algorithm == Algorithm::TokenBucket => {
                let mut then = self.clone();
                then.refill(now);
                i128::from(units) * i128::from(rate.window.as_nanos()) <= then.fill
            }
            _ => self.in_use(now) + units <= limit,
        }
    }

    fn take(&mut self, number: u64, now: u64, units: u64) {
        self.refill(now);
        self.taken.push((number, now, units));
        if let MeterSpec::Rate(rate) = &self.spec
            && rate.limit.is_some()
        {
            self.fill -= i128::from(units) * i128::from(rate.window.as_nanos());
        }
    }

    fn refused(&mut self, now: u64, units: u64) {
        self.claimed = true;
        if matches!(&self.spec, MeterSpec::Rate(rate) if rate.counts_refused) {
            self.refill(now);
            let before = self.fill;
            self.take(u64::MAX, now, units);
            self.fill = self.fill.max(before.min(0));
        }
    }

    fn settle(&mut self, number: u64, now: u64, reserved: u64, actual: u64) {
        self.refill(now);
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.0 == number) {
            taken.2 = actual;
        }
        if let MeterSpec::Rate(rate) = &self.spec
            && rate.limit.is_some()
        {
            self.fill += (i128::from(reserved) - i128::from(actual)) * i128::from(rate.window.as_nanos());
        }
        self.refill(now);
    }

    fn release(&mut self, number: u64) {
        self.taken.retain(|taken| taken.0 != number);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Admit(Vec<(u16, u32, u64)>),
    /// Settles or releases every claim of an earlier set.
    End(usize, u64),
    SetLimit(u16, Option<u64>),
}

const KEYS: u32 = 2;
const MOST: u64 = 8;

fn specs() -> impl Strategy<Value = Vec<MeterSpec>> {
    let limit = || prop::option::weighted(0.9, 0..=MOST);
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    let rate = (limit(), 1..40_u64, algorithm, 1..6_u64, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(limit, window, algorithm, burst, weighted, counts_refused)| {
            let window = Span::from_nanos(window);
            MeterSpec::Rate(RateSpec {
                limit,
                most: MOST,
                window,
                algorithm,
                burst,
                weighted,
                counts_refused,
            })
        },
    );
    let held = limit().prop_map(|limit| MeterSpec::Held { limit });
    prop::collection::vec(prop_oneof![4 => rate, 1 => held], 1..4)
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let claims = prop::collection::vec((0..4_u16, 0..KEYS, 0..5_u64), 1..5);
    let act = prop_oneof![
        10 => claims.prop_map(Act::Admit),
        4 => (0..100_usize, 0..8_u64).prop_map(|(which, actual)| Act::End(which, actual)),
        1 => (0..4_u16, prop::option::weighted(0.8, 0..=MOST)).prop_map(|(meter, limit)| Act::SetLimit(meter, limit)),
    ];
    prop::collection::vec((0..8_u64, act), 1..50)
}

/// The meters and their plain statement, side by side.
struct Pair {
    specs: Vec<MeterSpec>,
    meters: Meters,
    plain: Vec<Plain>,
    now: u64,
    /// Admitted and not ended, with the number of the first claim.
    sets: Vec<(u64, Vec<Claim>)>,
    claims: u64,
    expected: Vec<Usage>,
}

impl Pair {
    fn new(specs: Vec<MeterSpec>) -> Self {
        Pair {
            meters: Meters::new(specs.iter().map(|spec| (spec.clone(), KEYS)).collect()),
            plain: specs.iter().flat_map(|spec| vec![Plain::new(spec.clone()); KEYS as usize]).collect(),
            expected: vec![Usage::default(); specs.len()],
            specs,
            now: 0,
            sets: Vec::new(),
            claims: 0,
        }
    }

    fn at(&self, meter: u16, key: u32) -> usize {
        usize::from(meter) * KEYS as usize + key as usize
    }

    fn pass(&mut self, span: u64) {
        for now in self.now..self.now + span {
            for i in 0..self.plain.len() {
                let blocked = self.plain[i].claimed && !self.plain[i].fits(now, 1);
                self.expected[i / KEYS as usize].blocked += u128::from(blocked);
            }
        }
        self.now += span;
    }

    fn all_used(&self) -> Vec<u64> {
        let keys = (0..self.specs.len() as u16).flat_map(|meter| (0..KEYS).map(move |key| (meter, key)));
        keys.map(|(meter, key)| self.meters.used(ns(self.now), meter, key)).collect()
    }

    /// The plain answer: which claim refuses.
    fn refuses(&self, now: u64, claims: &[Claim]) -> Option<usize> {
        (0..claims.len()).find(|i| {
            let Claim { meter, key, units, .. } = claims[*i];
            !self.plain[self.at(meter, key)].fits(now, units + units_before(claims, *i))
        })
    }

    fn peaks(&mut self) {
        for (i, plain) in self.plain.iter().enumerate() {
            let expected = &mut self.expected[i / KEYS as usize];
            expected.peak = expected.peak.max(plain.used(self.now));
        }
    }

    fn admit(&mut self, wanted: Vec<(u16, u32, u64)>) {
        let meters = self.specs.len() as u16;
        let mut claims = Vec::new();
        for (meter, key, units) in wanted {
            let meter = meter % meters;
            let single = matches!(&self.specs[usize::from(meter)], MeterSpec::Rate(rate) if !rate.weighted);
            claims.push(claim(meter, key, if single { 1 } else { units }));
        }
        let refusing = self.refuses(self.now, &claims);
        let used = self.all_used();
        let untouched = self.meters.clone();
        let answer = self.meters.admit(ns(self.now), &mut claims);
        assert_eq!(answer.err().map(|denied| denied.claim), refusing);
        for claim in &claims {
            let at = self.at(claim.meter, claim.key);
            self.expected[usize::from(claim.meter)].offered += 1;
            self.plain[at].claimed = true;
        }
        match answer {
            Ok(()) => {
                let number = self.claims;
                self.claims += claims.len() as u64;
                for (i, claim) in (0..).zip(&claims) {
                    let at = self.at(claim.meter, claim.key);
                    self.plain[at].take(number + i, self.now, claim.units);
                    self.expected[usize::from(claim.meter)].admitted += 1;
                }
                self.sets.push((number, claims));
            }
            Err(denied) => {
                let Claim { meter, key, .. } = claims[denied.claim];
                let at = self.at(meter, key);
                let before = untouched.used(ns(self.now), meter, key) + units_before(&claims, denied.claim);
                assert_eq!(Some(denied.limit), self.plain[at].limit());
                assert_eq!(denied.current, before);
                let refused = &mut self.expected[usize::from(meter)];
                refused.refused += 1;
                refused.first_refused.get_or_insert(ns(self.now));
                for claim in &claims {
                    let at = self.at(claim.meter, claim.key);
                    self.plain[at].refused(self.now, claim.units);
                }
                if !self.specs.iter().any(|spec| matches!(spec, MeterSpec::Rate(rate) if rate.counts_refused))
                {
                    assert_eq!(used, self.all_used(), "a refused set changes nothing");
                }
                self.retry(denied.retry_at, &claims);
            }
        }
        self.peaks();
    }

    /// The retry is admitted at its instant, and at none before it.
    fn retry(&self, retry_at: Option<Time>, claims: &[Claim]) {
        let beyond = self.now + 2000;
        let first = (self.now..beyond).find(|now| self.refuses(*now, claims).is_none());
        assert_eq!(retry_at.filter(|at| *at < ns(beyond)), first.map(ns));
        if let Some(at) = retry_at {
            assert_eq!(self.meters.clone().admit(at, &mut claims.to_vec()), Ok(()));
            assert!(at > ns(self.now), "refused at {at} already");
            let earlier = at - Span::from_nanos(1);
            assert!(self.meters.clone().admit(earlier, &mut claims.to_vec()).is_err());
        }
    }

    fn end(&mut self, which: usize, actual: u64) {
        if self.sets.is_empty() {
            return;
        }
        let (number, claims) = self.sets.swap_remove(which % self.sets.len());
        for (i, claim) in (0..).zip(claims) {
            let Claim { meter, key, units, entry } = claim;
            let at = self.at(meter, key);
            match &self.specs[usize::from(meter)] {
                MeterSpec::Held { .. } => {
                    self.meters.release(ns(self.now), meter, key, units);
                    self.plain[at].release(number + i);
                }
                MeterSpec::Rate(rate) if rate.weighted => {
                    self.meters.settle(ns(self.now), meter, key, entry, units, actual);
                    self.plain[at].settle(number + i, self.now, units, actual);
                }
                MeterSpec::Rate(_) => {}
            }
            self.peaks();
        }
    }

    fn set_limit(&mut self, meter: u16, limit: Option<u64>) {
        let meter = meter % self.specs.len() as u16;
        self.meters.set_limit(ns(self.now), meter, limit);
        for key in 0..KEYS {
            let at = self.at(meter, key);
            self.plain[at].set_limit(self.now, limit);
        }
    }

    fn compare(&self) {
        let plain: Vec<u64> = self.plain.iter().map(|plain| plain.used(self.now)).collect();
        assert_eq!(self.all_used(), plain);
        for (meter, expected) in self.expected.iter().enumerate() {
            let usage = self.meters.usage(meter as u16, ns(self.now));
            let plain = &self.plain[meter * KEYS as usize..][..KEYS as usize];
            let keys = plain.iter().filter(|plain| plain.claimed).count() as u32;
            assert_eq!(usage, Usage { keys, peak_limit: usage.peak_limit, ..*expected });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stack_decides_as_its_plain_statement_does(specs in specs(), acts in acts()) {
        let mut pair = Pair::new(specs);
        for (span, act) in acts {
            pair.pass(span);
            match act {
                Act::Admit(wanted) => pair.admit(wanted),
                Act::End(which, actual) => pair.end(which, actual),
                Act::SetLimit(meter, limit) => pair.set_limit(meter, limit),
            }
            pair.compare();
        }
        pair.pass(50);
        pair.compare();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_of_a_sliding_log_admits_more_than_the_limit(
        limit in 1..50_u64,
        window in 1..SECOND,
        load in 1..20_u64,
        gaps in prop::collection::vec(0..1000_u64, 500),
    ) {
        let mut meters = one(rate(Algorithm::SlidingLog, limit, Span::from_nanos(window)));
        let (mut now, mut admitted) = (0, Vec::new());
        for gap in gaps {
            now += gap * window / (500 * limit * load);
            let newer = admitted.iter().filter(|at| **at + window > now).count() as u64;
            prop_assert_eq!(admit(&mut meters, now, 1).is_ok(), newer < limit, "exact, not only safe");
            if newer < limit {
                admitted.push(now);
            }
        }
        for (i, first) in admitted.iter().enumerate() {
            // Any window with the most units can be moved to begin at one of them.
            let inside = admitted[i..].iter().filter(|at| **at - first < window).count() as u64;
            prop_assert!(inside <= limit, "{inside} units in one window");
        }
    }

    #[test]
    fn a_bucket_equals_the_exact_rational_one(
        limit in prop_oneof![Just(300_000), Just(7), 1..1_000_000_000_u64],
        window in prop_oneof![Just(SECOND), Just(60 * SECOND), 1..3600 * SECOND],
        burst in 1..100_000_u64,
        arrivals in prop::collection::vec((0..1000_u64, 1..1000_u64), 200),
    ) {
        let weighted = true;
        let spec = RateSpec { burst, weighted, ..rate(Algorithm::TokenBucket, limit, Span::from_nanos(window)) };
        let mut plain = Plain::new(MeterSpec::Rate(spec.clone()));
        let mut meters = one(spec);
        let mut now = 0_u64;
        for (gap, units) in arrivals {
            // Around twice what the rate can give, after the burst.
            now += (u128::from(gap) * u128::from(window) / u128::from(limit) / 2) as u64;
            let units = units % burst + 1;
            let answer = admit(&mut meters, now, units);
            prop_assert_eq!(answer.is_ok(), plain.fits(now, units));
            match answer {
                Ok(()) => plain.take(0, now, units),
                Err(denied) => {
                    let at = denied.retry_at.map(Time::as_nanos).unwrap();
                    prop_assert!(plain.fits(at, units) && !plain.fits(at - 1, units));
                }
            }
            prop_assert_eq!(meters.used(ns(now), 0, 0), plain.used(now));
        }
    }

    #[test]
    fn a_fixed_window_equals_counting(
        limit in 1..50_u64,
        window in 1..SECOND,
        gaps in prop::collection::vec((0..1000_u64, 1..4_u64), 500),
    ) {
        let weighted = true;
        let spec = RateSpec { weighted, ..rate(Algorithm::FixedWindow, limit, Span::from_nanos(window)) };
        let mut meters = one(spec);
        let (mut now, mut admitted) = (0, Vec::new());
        for (gap, units) in gaps {
            now += gap * window / (500 * limit);
            let here = admitted.iter().filter(|(at, _)| at / window == now / window);
            let in_use: u64 = here.map(|(_, units)| units).sum();
            prop_assert_eq!(admit(&mut meters, now, units).is_ok(), in_use + units <= limit);
            if in_use + units <= limit {
                admitted.push((now, units));
            }
        }
    }

    #[test]
    fn reserving_and_settling_conserves_units(
        windowed in any::<bool>(),
        steps in prop::collection::vec((0..SECOND, 0..5000_u64, 0..8000_u64, 0..20_usize), 200),
    ) {
        let algorithm = if windowed { Algorithm::FixedWindow } else { Algorithm::SlidingLog };
        let spec = RateSpec { weighted: true, ..rate(algorithm, 200_000, Span::from_secs(60)) };
        let mut meters = one(spec.clone());
        let mut plain = Plain::new(MeterSpec::Rate(spec));
        let (mut now, mut open) = (0, Vec::new());
        for (number, (gap, reserved, actual, settled)) in (0..).zip(steps) {
            now += gap;
            let mut claims = [claim(0, 0, reserved)];
            if meters.admit(ns(now), &mut claims).is_ok() {
                plain.take(number, now, reserved);
                open.push((number, claims[0], actual));
            }
            if settled < open.len() {
                let (number, claim, actual) = open.swap_remove(settled);
                meters.settle(ns(now), 0, 0, claim.entry, claim.units, actual);
                plain.settle(number, now, claim.units, actual);
            }
            prop_assert_eq!(meters.used(ns(now), 0, 0), plain.in_use(now));
        }
    }
}

#[test]
fn each_mechanism_admits_up_to_the_limit_and_not_one_more() {
    for algorithm in Algorithm::ALL {
        for (units, steps) in [(1, 99), (99, 1), (33, 3)] {
            let spec = rate(algorithm, 100, Span::from_secs(1));
            let mut meters = one(RateSpec { weighted: true, burst: 100, ..spec });
            for _ in 0..steps {
                assert_eq!(admit(&mut meters, 5, units), Ok(()));
            }
            let denied = admit(&mut meters.clone(), 5, 2).unwrap_err();
            assert_eq!((denied.limit, denied.current), (100, 99));
            assert_eq!(admit(&mut meters, 5, 1), Ok(()), "limit - 1 and one are the limit");
            assert!(admit(&mut meters, 5, 1).is_err());
            assert_eq!(admit(&mut meters, 5, 101).unwrap_err().retry_at, None, "more than the limit: never");
            assert!(admit(&mut meters, 5, 100).unwrap_err().retry_at.is_some());
        }
    }
    let mut meters = Meters::new(vec![(MeterSpec::Held { limit: Some(100) }, 1)]);
    assert_eq!(admit(&mut meters, 0, 99), Ok(()));
    assert_eq!(admit(&mut meters, 0, 2), Err(Denied { claim: 0, limit: 100, current: 99, retry_at: None }));
    assert_eq!(admit(&mut meters, 0, 1), Ok(()));
    meters.release(ns(1), 0, 0, 1);
    assert_eq!(admit(&mut meters, 1, 1), Ok(()));
}

#[test]
fn a_limit_that_comes_later_decides_by_the_history_before_it() {
    let spec = rate(Algorithm::SlidingLog, 300, Span::from_secs(60));
    let mut meters = one(RateSpec { limit: None, most: 300, ..spec });
    for i in 0..600 {
        assert_eq!(admit(&mut meters, i * SECOND / 10, 1), Ok(()));
    }
    meters.set_limit(ns(60 * SECOND), 0, Some(300));
    let denied = admit(&mut meters, 60 * SECOND, 1).unwrap_err();
    // Of the units at 30.0, 30.1, .. 59.9 the first has to leave, at 90.0.
    assert_eq!(denied, Denied { claim: 0, limit: 300, current: 300, retry_at: Some(ns(90 * SECOND)) });
    assert!(admit(&mut meters, 90 * SECOND - 1, 1).is_err());
    assert_eq!(admit(&mut meters, 90 * SECOND, 1), Ok(()));
    assert_eq!(meters.usage(0, ns(90 * SECOND)).blocked, u128::from(30 * SECOND));
}

#[test]
fn a_key_with_a_limit_of_its_own_shares_no_other() {
    let spec = rate(Algorithm::SlidingLog, 9, Span::from_secs(1));
    let mut meters = Meters::new(vec![(MeterSpec::Rate(RateSpec { limit: Some(2), most: 9, ..spec }), 3)]);
    let admitted = |meters: &mut Meters, key, at| {
        (0..9)
            .filter(|_| meters.admit(ns(at), &mut [Claim { key, units: 1, ..Claim::default() }]).is_ok())
            .count()
    };
    meters.set_limit_of(ns(0), 0, 1, Some(5));
    meters.set_limit_of(ns(0), 0, 2, None);
    assert_eq!([0, 1, 2].map(|key| admitted(&mut meters, key, 0)), [2, 5, 9]);
    meters.set_limit(ns(SECOND), 0, Some(3));
    assert_eq!([0, 1, 2].map(|key| admitted(&mut meters, key, SECOND)), [3, 3, 3]);
}

#[test]
fn a_whole_second_at_300_000_a_second_is_exact() {
    for algorithm in [Algorithm::SlidingLog, Algorithm::TokenBucket] {
        let spec = rate(algorithm, 300_000, Span::from_secs(1));
        let mut meters = one(RateSpec { most: 300_000, burst: 300_000, ..spec });
        for i in 0..300_000 {
            assert_eq!(admit(&mut meters, 7, 1), Ok(()), "unit {i}");
        }
        let denied = admit(&mut meters, 7, 1).unwrap_err();
        let next = match algorithm {
            Algorithm::SlidingLog => 7 + SECOND,
            // A unit takes 3,333 1/3 ns to refill.
            _ => 7 + 3334,
        };
        assert_eq!((denied.current, denied.retry_at), (300_000, Some(ns(next))));
    }
}

#[test]
fn a_set_waits_for_its_slowest_meter() {
    let limits = [(1, 10), (1, 60), (100, 3600)];
    let spec = |(limit, window)| rate(Algorithm::SlidingLog, limit, Span::from_secs(window));
    let mut meters = Meters::new(limits.into_iter().map(|limit| (MeterSpec::Rate(spec(limit)), 1)).collect());
    let mut claims = [claim(0, 0, 1), claim(1, 0, 1), claim(2, 0, 1)];
    assert_eq!(meters.admit(ns(5), &mut claims), Ok(()));
    let denied = meters.admit(ns(6), &mut claims).unwrap_err();
    let retry_at = Some(ns(60 * SECOND + 5));
    assert_eq!(denied, Denied { claim: 0, limit: 1, current: 1, retry_at });
    assert_eq!(meters.usage(1, ns(6)).refused, 0, "only the first that refuses is to blame");
}

#[test]
fn a_steady_sender_above_the_limit_is_shut_out_when_its_refusals_count() {
    for (algorithm, admitted) in
        [(Algorithm::SlidingLog, 10), (Algorithm::TokenBucket, 19), (Algorithm::FixedWindow, 100)]
    {
        let spec = rate(algorithm, 10, Span::from_secs(1));
        let mut meters = one(RateSpec { most: 10, burst: 10, counts_refused: true, ..spec });
        let sent = (0..200).filter(|i| admit(&mut meters, i * SECOND / 20, 1).is_ok());
        assert_eq!(sent.count(), admitted, "{}", algorithm.name());
        let retry = admit(&mut meters, 10 * SECOND - 1, 1).unwrap_err().retry_at.unwrap();
        assert_eq!(admit(&mut meters.clone(), retry.as_nanos(), 1), Ok(()));
    }
}

#[test]
fn the_peak_names_the_limit_it_met() {
    let mut meters = Meters::new(vec![(MeterSpec::Held { limit: Some(5) }, 3)]);
    assert_eq!(meters.admit(ns(0), &mut [claim(0, 2, 4)]), Ok(()));
    meters.set_limit(ns(1), 0, Some(3));
    assert_eq!(meters.admit(ns(1), &mut [claim(0, 1, 3)]), Ok(()));
    meters.set_limit(ns(2), 0, Some(2));
    let usage = meters.usage(0, ns(10));
    assert_eq!((usage.peak, usage.peak_limit, usage.keys), (4, 5, 2));
    assert_eq!(usage.blocked, 9 + 9, "both are above their limit from 1 on");
}

#[test]
#[should_panic(expected = "an operation at t=4ns, after one at t=5ns")]
fn instants_never_decrease() {
    let mut meters = Meters::new(vec![(MeterSpec::Held { limit: None }, 1)]);
    meters.release(ns(5), 0, 0, 0);
    meters.release(ns(4), 0, 0, 0);
}
