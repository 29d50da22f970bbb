//! The same requests in two runs: matched when both are over, folded into sums, and forgotten.

use super::attribution::{Shelf, Sums};
use super::end::End;
use super::ledger::{Ledger, Side};
use super::names::Names;
use super::open::{Key, Open};
use crate::experiment::ratio::PairReading;
use crate::limits::Usage;
use crate::observe::GapRun;
use crate::request::{Finished, Outcome, Settled};
use crate::scenario::{Measure, Metric, Property, Scenario};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// What became of a request on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It was never offered.
    Absent,
    /// It was offered, and not on the other side.
    Offered,
    /// It ended in this way, with the number of the reason ([`Names::reasons`]) when there is one.
    Ended(Outcome, Option<u16>),
}

impl Fate {
    /// Whether it was turned away.
    pub(super) fn is_refused(self) -> bool {
        matches!(self, Fate::Ended(Outcome::Refused, _))
    }

    /// Whether it was answered.
    pub(super) fn is_completed(self) -> bool {
        matches!(self, Fate::Ended(Outcome::Completed, _))
    }
}

/// Requests that did not end alike, by workload and by how they ended with and without.
pub(super) type Differences = BTreeMap<(u16, Fate, Fate), u64>;

/// Folds one replication of a comparison.
#[derive(Debug)]
pub(super) struct Pairs<'n> {
    names: &'n Names,
    open: Open,
    ledgers: Vec<Ledger>,
    books: Vec<Book>,
    /// Ledger and figure of each property.
    claims: Vec<(usize, Measure)>,
    warmup: Time,
    horizon: Time,
    pairs: u64,
    differences: Differences,
    /// Counted requests that are over on one side only, by workload and side.
    alone: Vec<[u64; 2]>,
    limits: Vec<[Usage; 2]>,
}

/// Where time went, for some workloads.
#[derive(Clone, Debug)]
struct Book {
    workload: Option<u16>,
    /// By pool.
    e2e: Vec<Shelf>,
    /// By pool; empty when no property asks for it.
    ttft: Vec<Shelf>,
}

/// What a replication of a comparison amounted to.
#[derive(Clone, Debug, Default)]
pub(in crate::experiment) struct Folded {
    /// By property, by cell.
    pub readings: Vec<Vec<PairReading>>,
    pub(super) tally: Tally,
    /// In the order of [`Pairs::attributions`].
    pub sums: Vec<(Sums, Sums)>,
}

/// What is counted of a comparison, over its replications.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Counted requests that ended in both runs.
    pub pairs: u64,
    pub differences: Differences,
    /// By limit that both have: with and without.
    pub limits: Vec<[Usage; 2]>,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Tally) {
        self.pairs += other.pairs;
        for (what, count) in &other.differences {
            *self.differences.entry(*what).or_default() += count;
        }
        self.limits.resize(self.limits.len().max(other.limits.len()), Default::default());
        for (mine, theirs) in self.limits.iter_mut().zip(&other.limits) {
            for (a, b) in mine.iter_mut().zip(theirs) {
                a.offered += b.offered;
                a.admitted += b.admitted;
                a.refused += b.refused;
                a.peak = a.peak.max(b.peak);
            }
        }
    }
}

/// What an attribution is about: a workload (`None`: all), a pool, the whole latency or the first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub workload: Option<u16>,
    pub pool: usize,
    pub metric: Metric,
}

impl<'n> Pairs<'n> {
    /// A fold for `properties`, all of which compare `scenario` with the same variant.
    pub(super) fn new(names: &'n Names, scenario: &Scenario, properties: &[&Property]) -> Self {
        let (warmup, horizon, pools) = (scenario.warmup, scenario.horizon, names.pools.len());
        let mut ledgers: Vec<Ledger> = Vec::new();
        let mut books: Vec<Book> = Vec::new();
        let mut claims = Vec::new();
        for property in properties {
            let ratio = property.ratio.as_ref().expect("only properties that compare are compared");
            let workload = property.workload.map(|index| names.of_with(index));
            let same = |ledger: &Ledger| ledger.workload == workload && ledger.each == ratio.each;
            let place = ledgers.iter().position(same).unwrap_or_else(|| {
                ledgers.push(Ledger::new(workload, ratio.each, pools, warmup, horizon));
                ledgers.len() - 1
            });
            let metric = metric_of(property);
            ledgers[place].ask(metric);
            claims.push((place, property.measure));
            let book = books.iter().position(|book| book.workload == workload).unwrap_or_else(|| {
                books.push(Book { workload, e2e: vec![Shelf::default(); pools], ttft: Vec::new() });
                books.len() - 1
            });
            if metric == Metric::Ttft {
                books[book].ttft.resize(pools, Shelf::default());
            }
        }
        Pairs {
            names,
            open: Open::default(),
            ledgers,
            books,
            claims,
            warmup: Time::ZERO + warmup,
            horizon: Time::ZERO + horizon,
            pairs: 0,
            differences: Differences::new(),
            alone: vec![[0; 2]; names.workloads.len()],
            limits: vec![Default::default(); names.limits.len()],
        }
    }

    /// What the sums of [`Folded`] are about, in their order.
    pub(super) fn attributions(&self) -> Vec<Account> {
        let of = |book: &Book| {
            let account = |pool, metric| Account { workload: book.workload, pool, metric };
            let e2e = (0..book.e2e.len()).map(move |pool| account(pool, Metric::E2e));
            let ttft = (0..book.ttft.len()).map(move |pool| account(pool, Metric::Ttft));
            e2e.chain(ttft).collect::<Vec<_>>()
        };
        self.books.iter().flat_map(of).collect()
    }

    /// Whether a request that arrived at `at` is counted.
    #[inline]
    fn counts(&self, at: Time) -> bool {
        at >= self.warmup && at < self.horizon
    }

    /// An attempt is over on one side; requests of clients that may try again are told by [`Pairs::settled`].
    #[inline]
    pub(super) fn finished(&mut self, side: Side, done: &Finished) {
        let all: &'n Names = self.names;
        let names = all.side(side);
        let workload = &names.workloads[usize::from(done.head.workload)];
        let (Some(id), true) = (workload.id, workload.plain) else { return };
        let end = End::plain(done, names.pools[usize::from(done.pool)], workload.network);
        self.over(side, Key::new(id, done.head.session, done.head.turn), id, &end);
    }

    /// A request is over on one side.
    pub(super) fn settled(&mut self, side: Side, settled: &Settled) {
        let all: &'n Names = self.names;
        let names = all.side(side);
        let head = &settled.last.head;
        let workload = &names.workloads[usize::from(head.workload)];
        let Some(id) = workload.id else { return };
        let end = End::settled(settled, names.pools[usize::from(settled.last.pool)], workload.network);
        self.over(side, Key::new(id, head.session, head.turn), id, &end);
    }

    #[inline]
    fn over(&mut self, side: Side, key: Key, workload: u16, end: &End) {
        let Some(other) = self.open.meet(key, side, end) else {
            self.alone[usize::from(workload)][side as usize] += u64::from(self.counts(end.arrived));
            return;
        };
        let (with, without, first) = match side {
            Side::With => (end, &other, Side::Without),
            Side::Without => (&other, end, Side::With),
        };
        self.alone[usize::from(workload)][first as usize] -= u64::from(self.counts(other.arrived));
        self.fold(workload, with, without);
    }

    /// A pair belongs to the pool that served it in the run without, and to the stretch in which it arrived there.
    #[inline]
    fn fold(&mut self, workload: u16, with: &End, without: &End) {
        let at = without.arrived;
        if !self.counts(at) {
            return;
        }
        self.pairs += 1;
        if with.outcome != without.outcome {
            let fate = |side: Side, end: &End| {
                Fate::Ended(end.outcome, end.reason.map(|reason| self.names.reason(side, reason)))
            };
            let what = (workload, fate(Side::With, with), fate(Side::Without, without));
            *self.differences.entry(what).or_default() += 1;
        }
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.concerns(workload)) {
            ledger.add(without.pool, at, with, without);
        }
        let both = with.outcome == Outcome::Completed && without.outcome == Outcome::Completed;
        let pool = usize::from(without.pool);
        for book in &mut self.books {
            if book.workload.is_some_and(|only| only != workload) {
                continue;
            }
            if both {
                book.e2e[pool].add_e2e(with, without);
            }
            if let Some(shelf) = book.ttft.get_mut(pool) {
                shelf.add_ttft(with, without);
            }
        }
    }

    /// Tokens came out on one side.
    #[inline]
    pub(super) fn gaps(&mut self, side: Side, run: &GapRun) {
        let all: &'n Names = self.names;
        let names = all.side(side);
        let Some(workload) = names.workloads[usize::from(run.workload)].id else { return };
        let pool = names.pools[usize::from(run.pool)];
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.concerns(workload)) {
            ledger.gaps(side, pool, run);
        }
    }

    /// What a limit did on one side.
    pub(super) fn metered(&mut self, side: Side, limit: usize, usage: &Usage) {
        if let Some(place) = self.names.side(side).limits[limit] {
            self.limits[place][side as usize] = *usage;
        }
    }

    /// Both runs are over.
    pub(super) fn finish(mut self) -> Folded {
        // Every request that is offered ends; what has met no other half was offered on one side only.
        for (workload, alone) in (0u16..).zip(&self.alone) {
            let (here, there) = (Fate::Offered, Fate::Absent);
            for (count, what) in alone.iter().zip([(workload, here, there), (workload, there, here)]) {
                if *count > 0 {
                    self.differences.insert(what, *count);
                }
            }
        }
        let sums = self.books.iter().flat_map(|book| book.e2e.iter().chain(&book.ttft).map(Shelf::sums));
        Folded {
            readings: self.claims.iter().map(|(place, measure)| self.ledgers[*place].read(measure)).collect(),
            sums: sums.collect(),
            tally: Tally { pairs: self.pairs, differences: self.differences, limits: self.limits },
        }
    }
}

/// The latency that a property is about.
///
/// Panics when it is about something else: only latencies are compared.
pub(super) fn metric_of(property: &Property) -> Metric {
    match property.measure {
        Measure::Quantile(metric, _) | Measure::Mean(metric) => metric,
        other => panic!("property `{}` compares {other:?}, which is no latency", property.name),
    }
}

/// The stretches that a property is decided for, besides the whole: those that lie beyond the warm-up at least in part.
pub(super) fn stretches(scenario: &Scenario, each: Option<Span>) -> Vec<(usize, Span, Span)> {
    let Some(each) = each else { return Vec::new() };
    let count = scenario.horizon.as_nanos().div_ceil(each.as_nanos());
    let stretch = |i: u64| (i as usize, each * i, (each * (i + 1)).min(scenario.horizon));
    (0..count).map(stretch).filter(|(.., until)| *until > scenario.warmup).collect()
}
