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
use crate::scenario::{Engine, Scenario, Workload};
use crate::time::Span;
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
    /// Load, in units per second (rates) or units at once (concurrency, permits).
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

/// Reckons for `scenario`, as it stands when it starts.
pub fn forecast(scenario: &Scenario) -> Forecast {
    let limits = &scenario.policy.limits;
    let mut meters = admission::meters(limits);
    let control = ControlPlane::new(scenario, &mut meters);
    let mut found = Forecast::default();
    let mut counters: Vec<Counter> = Vec::new();
    for (index, workload) in scenario.workloads.iter().enumerate() {
        let sender = &workload.sender;
        let judged = |&(model, _): &(usize, _)| {
            (model, judge(limits, Verb::Inference, &control.request_subject(index, model)))
        };
        let candidates: Vec<_> = sender.candidates.iter().map(judged).collect();
        let passing = candidates.iter().find(|(_, judged)| judged.refused.is_none());
        let Some((model, judged)) = passing.or(candidates.first()) else { continue };
        if let Some(refused) = judged.refused {
            found.refused.push((index, refused));
            continue;
        }
        for &limit in &judged.dynamic {
            found.add(scenario, index, *model, limit, &mut counters);
        }
        found.bounds_on_execution(scenario, workload, &judged.dynamic);
    }
    let met = counters.into_iter().filter_map(Counter::met);
    found.met.extend(met);
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

    fn add(
        &mut self,
        scenario: &Scenario,
        index: usize,
        model: usize,
        limit: usize,
        counters: &mut Vec<Counter>,
    ) {
        let workload = &scenario.workloads[index];
        let rule = &scenario.policy.limits[limit];
        let mut counter = |load, allows, bound, part| {
            // Permits are counted by pool, which no key names.
            let key = match rule.mechanism {
                Mechanism::Permits { .. } => vec![(Key::Endpoint, u64::from(workload.pool))],
                _ => key(rule, workload, index, model),
            };
            count(
                counters,
                Counter { limit, key, workloads: vec![index], load, allows, bound, parts: vec![part] },
            );
        };
        match rule.mechanism {
            Mechanism::Rate { limit: Some(most), window, unit, default_reservation, .. } => {
                let rate = busiest(workload, window, scenario.horizon);
                let units = units(workload, unit, default_reservation);
                let (Some(rate), Some(units)) = (rate, units) else {
                    let why = if rate.is_none() {
                        "a closed population sends as fast as it is answered"
                    } else {
                        "the sizes of its requests are not known beforehand"
                    };
                    return self
                        .remark(format!("`{}` on `{}` is not reckoned: {why}", rule.name, workload.name));
                };
                let (load, sharing) = each(rule, workload, rate * units);
                let part = format!("{} {}/s{sharing}", figure(rate * units), unit.name());
                let allows = most as f64 / window.as_secs_f64();
                let bound = format!("{most} in {window}");
                counter(load, allows, bound, part);
            }
            Mechanism::Concurrency { limit: Some(most) } => {
                let (Some(rate), Some(execution)) =
                    (busiest(workload, Span::from_secs(1), scenario.horizon), execution(scenario, workload))
                else {
                    return self.remark(format!(
                        "`{}` on `{}` is not reckoned: how long a request takes depends on the batch",
                        rule.name, workload.name
                    ));
                };
                let (load, sharing) = each(rule, workload, rate * execution);
                let part = format!("{}/s x {}{sharing}", figure(rate), seconds(execution));
                counter(load, most as f64, format!("{most} at once"), part);
            }
            Mechanism::Permits { .. } => {
                let pool = usize::from(workload.pool);
                let Some(permits) = scenario.pools[pool].permits else { return };
                let Some(rate) = busiest(workload, Span::from_secs(1), scenario.horizon) else { return };
                if let Some(execution) = execution(scenario, workload) {
                    let part = format!("{}/s x {}", figure(rate), seconds(execution));
                    let bound = format!("{} provisioned", permits.most);
                    counter(rate * execution, permits.most.into(), bound, part);
                } else {
                    let most = f64::from(permits.most) / rate;
                    self.remark(format!(
                        "`{}`: {}/s needs a mean execution of at most {} at concurrency {}; how long one takes \
                         depends on the batch",
                        workload.name,
                        figure(rate),
                        seconds(most),
                        permits.most
                    ));
                }
            }
            Mechanism::Deadline { at_most } => {
                if let Engine::Slots(slots) = &scenario.pools[usize::from(workload.pool)].engine
                    && let Some(share) = beyond(&slots.service, at_most.as_secs_f64())
                {
                    self.remark(format!(
                        "`{}`: up to {} of the executions of `{}` (mean {}) last longer than {at_most} and are cancelled",
                        rule.name,
                        percent(share),
                        workload.name,
                        seconds(slots.service.mean())
                    ));
                }
            }
            Mechanism::Overhead { below } => {
                if let Some(overhead) = &workload.sender.overhead
                    && overhead.most() >= below.as_secs_f64()
                {
                    self.remark(format!(
                        "`{}`: the overhead of `{}` may reach {}, it must stay below {below}",
                        rule.name,
                        workload.name,
                        seconds(overhead.most())
                    ));
                }
            }
            _ => {}
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

/// Mean execution, seconds; `None` where it depends on the batch.
fn execution(scenario: &Scenario, workload: &Workload) -> Option<f64> {
    match &scenario.pools[usize::from(workload.pool)].engine {
        Engine::Slots(slots) => Some(slots.service.mean()),
        Engine::Llm(_) => None,
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
