//! Which limits a scenario will meet, and which binds first, by arithmetic: nothing is simulated.
//!
//! The load on a limit is the mean of the arrival law over the busiest window of the limit's length, summed over the
//! workloads that share a counter. It says where a limit stands, not what happens there: random arrivals meet a limit
//! before their mean does, and queues and retries are not in it. That is what a run is for.

mod rates;

use crate::control::ControlPlane;
use crate::dist::Dist;
use crate::gateway::admission;
use crate::profile::{Key, Limit, Mechanism, Refused, Unit, Verb, judge};
use crate::scenario::{Arrivals, Engine, Scenario, Workload};
use crate::time::{Span, Time};
use crate::workload::Source;
use rates::{busiest, mean_tokens};

/// What a scenario will meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Limits with a load, the one that binds first in front.
    pub met: Vec<Met>,
    /// Workloads that are refused whole.
    pub refused: Vec<(usize, Refused)>,
    /// What else the arithmetic shows: bounds on execution, overheads, what cannot be told.
    pub remarks: Vec<String>,
}

/// A limit and the load on its busiest counter.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// The limit, by its place in the scenario.
    pub limit: usize,
    /// Workloads on the counter.
    pub workloads: Vec<usize>,
    /// Load, in units in its busiest window (rates) or units at once (concurrency, permits).
    pub load: f64,
    /// What the limit allows, in the same unit.
    pub allows: f64,
    /// How it was reckoned, for people.
    pub arithmetic: String,
}

impl Met {
    /// Load as a share of what is allowed: the limit binds where all load, grown alike, makes it 1.
    pub fn share(&self) -> f64 {
        self.load / self.allows
    }
}

/// A counter of a limit: the part of its key that workloads differ in.
struct Counter {
    limit: usize,
    key: Vec<(Key, u64)>,
    workloads: Vec<usize>,
    load: f64,
    allows: f64,
    /// What it allows, for people.
    bound: String,
    parts: Vec<String>,
}

/// Reckons for `scenario`, as it stands when it starts. Reads its traces.
pub fn forecast(scenario: &Scenario) -> Forecast {
    let limits = &scenario.policy.limits;
    let mut meters = admission::meters(limits);
    let control = ControlPlane::new(scenario, &mut meters);
    let mut found = Forecast::default();
    let mut counters: Vec<Counter> = Vec::new();
    for (index, workload) in scenario.workloads.iter().enumerate() {
        let sender = &workload.sender;
        let jobs = matches!(workload.arrivals, Arrivals::Jobs);
        let verb = if jobs { Verb::SubmitBatch } else { Verb::Inference };
        let judged =
            |&(model, _): &(usize, _)| (model, judge(limits, verb, &control.request_subject(index, model)));
        let candidates: Vec<_> = sender.candidates.iter().map(judged).collect();
        let passing = candidates.iter().find(|(_, judged)| judged.refused.is_none());
        let Some((model, judged)) = passing.or(candidates.first()) else { continue };
        if let Some(refused) = judged.refused {
            found.refused.push((index, refused));
            continue;
        }
        if jobs {
            let name = &workload.name;
            found.remark(format!(
                "batch `{name}` takes nothing from limits on requests; what its jobs meet, a run tells"
            ));
            continue;
        }
        let load = Load::new(scenario, index, *model, &judged.dynamic);
        for &limit in &judged.dynamic {
            match load.on(limit) {
                On::Counter(counter) => count(&mut counters, counter),
                On::Remark(remark) => found.remark(remark),
                On::Nothing => {}
            }
        }
        found.bounds_on_execution(scenario, workload, &judged.dynamic);
    }
    let calls: u64 = scenario.policy.operations.iter().map(|operation| operation.times).sum();
    if calls > 0 {
        found.remark(format!(
            "{calls} calls of operations are not reckoned: what they meet, and what they change, a run tells"
        ));
    }
    found.met.extend(counters.into_iter().filter_map(Counter::met));
    // Ties keep the order in which limits are asked.
    found.met.sort_by(|a, b| b.share().total_cmp(&a.share()).then(a.limit.cmp(&b.limit)));
    found
}

impl Forecast {
    /// The limit that binds first as all load grows alike.
    pub fn binds_first(&self) -> Option<&Met> {
        self.met.first()
    }

    fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// A rate limit and provisioned concurrency together bound how long an execution may take, by Little's law: of
    /// the rates that a workload's requests share, the lowest says it.
    fn bounds_on_execution(&mut self, scenario: &Scenario, workload: &Workload, dynamic: &[usize]) {
        let Some(permits) = scenario.pools[usize::from(workload.pool)].permits else { return };
        let shared = |rule: &&Limit| rule.per.iter().all(|(key, _)| !matches!(key, Key::Token | Key::User));
        let rates = dynamic.iter().map(|&index| &scenario.policy.limits[index]).filter(shared);
        let rates = rates.filter_map(|rule| match rule.mechanism {
            Mechanism::Rate { limit: Some(limit), window, unit: Unit::Requests, .. } if limit > 0 => {
                Some((limit as f64 / window.as_secs_f64(), rule))
            }
            _ => None,
        });
        // `min_by` takes the first of equals: the one that is asked first.
        let Some((rate, rule)) = rates.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
        self.remark(format!(
            "`{}`: the {}/s of {} needs execution <= {} at concurrency {}",
            workload.name,
            figure(rate),
            rule.name,
            seconds(f64::from(permits.most) / rate),
            permits.most
        ));
    }
}

/// What a limit sees of a workload.
enum On {
    Counter(Counter),
    /// Something to say, where there is no load to compare.
    Remark(String),
    Nothing,
}

/// A workload's load, as far as its laws tell it.
struct Load<'s> {
    scenario: &'s Scenario,
    workload: &'s Workload,
    index: usize,
    model: usize,
    /// Instants of a recorded trace, so that its busiest window can be counted.
    recorded: Option<Vec<Time>>,
    /// Mean execution, seconds; `None` where it depends on the batch.
    execution: Option<f64>,
}

impl<'s> Load<'s> {
    fn new(scenario: &'s Scenario, index: usize, model: usize, dynamic: &[usize]) -> Self {
        let workload = &scenario.workloads[index];
        let recorded = matches!(workload.arrivals, Arrivals::Trace(_)).then(|| instants(scenario, index));
        let deadline = dynamic.iter().filter_map(|&limit| match scenario.policy.limits[limit].mechanism {
            Mechanism::Deadline { at_most } => Some(at_most.as_secs_f64()),
            _ => None,
        });
        let execution = match &scenario.pools[usize::from(workload.pool)].engine {
            // No execution lasts longer than its limit.
            Engine::Slots(slots) => Some(deadline.fold(slots.service.mean(), f64::min)),
            Engine::Llm(_) => None,
        };
        Load { scenario, workload, index, model, recorded, execution }
    }

    fn rule(&self, limit: usize) -> &'s Limit {
        &self.scenario.policy.limits[limit]
    }

    /// Mean requests in the busiest window of a length. A window beyond the horizon holds no more than the horizon.
    fn requests_in(&self, window: Span) -> Option<f64> {
        match &self.recorded {
            Some(instants) => Some(most_in(instants, window) as f64),
            None => {
                let seconds = window.min(self.scenario.horizon).as_secs_f64();
                Some(busiest(self.workload, window, self.scenario.horizon)? * seconds)
            }
        }
    }

    fn on(&self, limit: usize) -> On {
        let rule = self.rule(limit);
        match rule.mechanism {
            Mechanism::Rate { limit: Some(most), window, unit, default_reservation, .. } => {
                self.on_rate(limit, most, window, unit, default_reservation)
            }
            Mechanism::Concurrency { limit: Some(most) } => {
                let key = key(rule, self.workload, self.index, self.model);
                self.at_once(limit, key, most as f64, format!("{most} at once"))
            }
            Mechanism::Permits { .. } => {
                let Some(permits) = self.scenario.pools[usize::from(self.workload.pool)].permits else {
                    return On::Nothing;
                };
                // Permits are counted by pool, which no key names.
                let key = vec![(Key::Endpoint, u64::from(self.workload.pool))];
                self.at_once(limit, key, permits.most.into(), format!("{} provisioned", permits.most))
            }
            Mechanism::Deadline { at_most } => self.on_deadline(rule, at_most),
            Mechanism::Overhead { below } => match &self.workload.sender.overhead {
                Some(overhead) if overhead.most() >= below.as_secs_f64() => On::Remark(format!(
                    "`{}`: the overhead of `{}` may reach {}, it must stay below {below}",
                    rule.name,
                    self.workload.name,
                    seconds(overhead.most())
                )),
                _ => On::Nothing,
            },
            _ => On::Nothing,
        }
    }

    fn on_rate(&self, limit: usize, most: u64, window: Span, unit: Unit, default_reservation: u64) -> On {
        let (rule, workload) = (self.rule(limit), self.workload);
        let requests = self.requests_in(window);
        let units = units(workload, unit, default_reservation);
        let (Some(requests), Some(units)) = (requests, units) else {
            let why = if requests.is_none() {
                "a closed population sends as fast as it is answered"
            } else {
                "the sizes of its requests are not known beforehand"
            };
            return On::Remark(format!("`{}` on `{}` is not reckoned: {why}", rule.name, workload.name));
        };
        let (load, sharing) = each(rule, workload, requests * units);
        On::Counter(Counter {
            limit,
            key: key(rule, workload, self.index, self.model),
            workloads: vec![self.index],
            load,
            allows: most as f64,
            bound: format!("{most} in {window}"),
            parts: vec![format!("{} {}{sharing}", figure(requests * units), unit.name())],
        })
    }

    /// Requests at once, by Little's law.
    fn at_once(&self, limit: usize, key: Vec<(Key, u64)>, allows: f64, bound: String) -> On {
        let (rule, workload) = (self.rule(limit), self.workload);
        let Some(rate) = self.requests_in(Span::from_secs(1)) else {
            return On::Remark(format!(
                "`{}` on `{}` is not reckoned: a closed population sends as fast as it is answered",
                rule.name, workload.name
            ));
        };
        let Some(execution) = self.execution else {
            return On::Remark(format!(
                "`{}` on `{}`: {}/s needs a mean execution of at most {}; how long one takes depends on the batch",
                rule.name,
                workload.name,
                figure(rate),
                seconds(allows / rate)
            ));
        };
        let (load, sharing) = each(rule, workload, rate * execution);
        let part = format!("{}/s x {}{sharing}", figure(rate), seconds(execution));
        On::Counter(Counter {
            limit,
            key,
            workloads: vec![self.index],
            load,
            allows,
            bound,
            parts: vec![part],
        })
    }

    fn on_deadline(&self, rule: &Limit, at_most: Span) -> On {
        let Engine::Slots(slots) = &self.scenario.pools[usize::from(self.workload.pool)].engine else {
            return On::Nothing;
        };
        let Some(share) = beyond(&slots.service, at_most.as_secs_f64()) else { return On::Nothing };
        On::Remark(format!(
            "`{}`: up to {} of the executions of `{}` (mean {}) last longer than {at_most} and are cancelled",
            rule.name,
            percent(share),
            self.workload.name,
            seconds(slots.service.mean())
        ))
    }
}

/// When the requests of a traced workload arrive; as far as the trace can be read, which was checked.
fn instants(scenario: &Scenario, index: usize) -> Vec<Time> {
    let source = Source::open(scenario, index as u16, scenario.seed);
    let mut source = source.expect("the trace was read when the scenario was");
    std::iter::from_fn(|| source.next().map(|arrival| arrival.at)).collect()
}

/// Most instants in any window of a length, `(t - window, t]`.
fn most_in(instants: &[Time], window: Span) -> usize {
    let mut first = 0;
    let counts = instants.iter().enumerate().map(|(last, &at)| {
        while at - instants[first] >= window {
            first += 1;
        }
        last + 1 - first
    });
    counts.max().unwrap_or(0)
}

impl Counter {
    fn met(self) -> Option<Met> {
        let arithmetic = format!("{} against {}", self.parts.join(" + "), self.bound);
        let Counter { limit, workloads, load, allows, .. } = self;
        (allows > 0.0).then_some(Met { limit, workloads, load, allows, arithmetic })
    }
}

/// Puts a load on a counter.
fn count(counters: &mut Vec<Counter>, new: Counter) {
    let same = |counter: &&mut Counter| counter.limit == new.limit && counter.key == new.key;
    let Some(counter) = counters.iter_mut().find(same) else { return counters.push(new) };
    counter.load += new.load;
    counter.workloads.extend(new.workloads);
    counter.parts.extend(new.parts);
}

/// What tells counters of a limit apart: where every tenant has its own, the workload stands for them.
fn key(rule: &Limit, workload: &Workload, index: usize, model: usize) -> Vec<(Key, u64)> {
    let sender = &workload.sender;
    let part = |key: Key| match key {
        Key::Account => u64::from(sender.account),
        Key::Endpoint => sender.endpoint.map_or(0, |endpoint| 1 + endpoint as u64),
        Key::Model => model as u64,
        Key::Token if sender.one_token => u64::from(sender.first_token),
        Key::User if sender.one_user => u64::from(sender.first_user),
        Key::Token | Key::User => (1 << 32) | index as u64,
    };
    rule.per.iter().map(|(key, _)| (*key, part(*key))).collect()
}

/// The load on one counter, and how that reads: tenants with counters of their own share a workload's load alike.
fn each(rule: &Limit, workload: &Workload, load: f64) -> (f64, String) {
    let own = |key: Key| match key {
        Key::Token => !workload.sender.one_token,
        Key::User => !workload.sender.one_user,
        Key::Account | Key::Endpoint | Key::Model => false,
    };
    if workload.tenants > 1 && rule.per.iter().any(|(key, _)| own(*key)) {
        (load / f64::from(workload.tenants), format!(" / {} tenants", workload.tenants))
    } else {
        (load, String::new())
    }
}

/// Mean units that a request takes; `None` where that is not known beforehand.
fn units(workload: &Workload, unit: Unit, default_reservation: u64) -> Option<f64> {
    let reserved = || workload.max_tokens.map_or(default_reservation as f64, f64::from);
    let prompt = || {
        let (prompt, _) = mean_tokens(workload)?;
        // The context that a session carries along is not known beforehand.
        workload.sessions.is_none().then(|| prompt + f64::from(workload.shared_prefix_tokens))
    };
    match unit {
        Unit::Requests => Some(1.0),
        Unit::InputTokens => prompt(),
        Unit::OutputTokens => Some(reserved()),
        Unit::Tokens => Some(prompt()? + reserved()),
        Unit::Bytes => Some(workload.sender.body.as_ref()?.mean()),
    }
}

/// The most of a distribution that can lie above `bound`: Cantelli's inequality from its mean and variance, which holds
/// for any. `None` below one in a million.
fn beyond(dist: &Dist, bound: f64) -> Option<f64> {
    if dist.most() <= bound {
        return None;
    }
    let (mean, deviation) = (dist.mean(), dist.mean() * dist.cv());
    let share = if bound <= mean {
        1.0
    } else {
        let variance = deviation * deviation;
        variance / (variance + (bound - mean) * (bound - mean))
    };
    (share >= 1e-6).then_some(share)
}

/// A number to four digits, without a tail of zeros: 250, 0.3333, 160000.
fn figure(value: f64) -> String {
    if value >= 1000.0 {
        return format!("{value:.0}");
    }
    let digits = (3 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{} %", figure(100.0 * share))
}

/// A time to four digits in the unit that keeps it readable.
fn seconds(value: f64) -> String {
    match value {
        v if v < 1e-3 => format!("{} us", figure(v * 1e6)),
        v if v < 1.0 => format!("{} ms", figure(v * 1e3)),
        v => format!("{} s", figure(v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_of_a_trace_is_counted() {
        let instants: Vec<Time> =
            [0, 0, 400, 1_000, 1_399, 1_400].map(|ms| Time::ZERO + Span::from_millis(ms)).into();
        assert_eq!(most_in(&instants, Span::from_secs(1)), 3);
        assert_eq!(most_in(&instants, Span::from_millis(1_001)), 4);
        assert_eq!(most_in(&[], Span::from_secs(1)), 0);
    }

    #[test]
    fn numbers_read_without_a_tail() {
        assert_eq!([250.0, 0.333_333, 160_000.0, 2.0].map(figure), ["250", "0.3333", "160000", "2"]);
        assert_eq!([213.3e-6, 0.12, 80.0].map(seconds), ["213.3 us", "120 ms", "80 s"]);
    }

    #[test]
    fn a_bound_on_the_tail_is_never_below_the_tail() {
        let law = Dist::exponential(1.0).unwrap();
        for bound in [0.5, 1.0, 2.0, 5.0, 10.0] {
            assert!(beyond(&law, bound).unwrap() >= (-bound).exp(), "{bound}");
        }
        assert_eq!(beyond(&Dist::constant(2.0).unwrap(), 2.0), None);
        assert_eq!(beyond(&Dist::constant(2.0).unwrap(), 1.0), Some(1.0));
    }
}
