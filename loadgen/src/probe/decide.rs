//! Which probe measures a limit, or why none does. Pure: nothing is sent here.

use super::basis::{Basis, Caller};
use super::cost::{Cost, PROMPT, cost, cost_of_calls};
use super::method::{Amount, GateCall, JobCall, Method, Rate};
use super::plan::{Budget, Probe};
use tidegate_sim::limits::Algorithm;
use tidegate_sim::profile::{
    Action, Attr, Condition, Counted, Limit, Mechanism, Range, Unit, Verb, concerns, judge,
};
use tidegate_sim::time::Span;

/// Windows up to this long are waited for, so that a count begins with nothing in it.
pub(super) const RESTED: Span = Span::from_secs(60);
/// Output tokens that a request asks for to stay in flight.
const STAY: u64 = 4096;

/// The probe of the limit at `index`, with the caller it is sent as; or why there is none.
pub(super) fn decide(basis: &Basis, index: usize, budget: &Budget) -> Result<Probe, String> {
    let documented = &basis.limits[index];
    let limit = &documented.limit;
    if documented.required {
        return Err("the vendor publishes no value: a scenario states that of an account".to_owned());
    }
    let verb = if limit.on.contains(&Verb::Inference) {
        Verb::Inference
    } else if limit.on.contains(&Verb::SubmitBatch)
        || matches!(limit.mechanism, Mechanism::Quota { counted: Counted::EnqueuedTokens, .. })
    {
        Verb::SubmitBatch
    } else {
        return control(limit, budget);
    };
    let jobs = verb == Verb::SubmitBatch;
    let mut callers = basis.callers.iter().enumerate().filter(|(_, caller)| caller.jobs == jobs);
    let concerned = callers.clone().filter(|(_, caller)| concerns(limit, verb, &caller.subject));
    // One whose requests nothing refuses anyway, if there is one; of those with concurrency of their own the one that is
    // filled with the fewest requests; of equal ones the first.
    let limits: Vec<Limit> = basis.limits.iter().map(|one| one.limit.clone()).collect();
    let banned_anyway = |caller: &Caller| judge(&limits, verb, &caller.subject).refused.is_some();
    let fewest = |(_, caller): &(usize, &Caller)| match (&limit.mechanism, &caller.permits) {
        (Mechanism::Permits { .. }, Some((most, name))) if *name == limit.name => *most,
        (Mechanism::Permits { .. }, _) => u64::MAX,
        _ => 0,
    };
    let Some((caller, of)) = concerned.min_by_key(|found| (banned_anyway(found.1), fewest(found))) else {
        return banned(basis, limit, jobs)
            .unwrap_or_else(|| Err(unconcerned(limit, callers.next().map(|(_, caller)| caller))));
    };
    let method = if jobs { job(basis, limit, of, budget) } else { request(basis, index, of) }?;
    Ok(owned(basis, caller, method))
}

/// What is counted of calls to the control plane, where its address is known: reads alone, which are free.
fn control(limit: &Limit, budget: &Budget) -> Result<Probe, String> {
    let reads = [Verb::CallMcp, Verb::ListEndpoints].iter().any(|verb| limit.on.contains(verb));
    match limit.mechanism {
        Mechanism::Rate { unit: Unit::Requests, .. } if reads && !budget.control => {
            Err("it counts calls of the control plane: give the address of a free read as `--control-plane`"
                .to_owned())
        }
        Mechanism::Rate { unit: Unit::Requests, .. } if reads => {
            let method = Method::Volley(Rate { control: true, ..rate(limit)? });
            let cost = Cost { prompt_tokens: 0, output_tokens: 0, ..cost_of_calls(&method) };
            Ok(Probe { limit: None, caller: 0, method, cost })
        }
        Mechanism::Quota { .. } => {
            Err("it would have to be filled with what costs money by being there".to_owned())
        }
        _ => {
            Err("it is asked of operations on the control plane, which create or change what may cost money"
                .to_owned())
        }
    }
}

/// The probe of a limit on requests.
fn request(basis: &Basis, index: usize, caller: &Caller) -> Result<Method, String> {
    let limit = &basis.limits[index].limit;
    match &limit.mechanism {
        Mechanism::Rate { unit, .. } => {
            // Limits on requests are filled by other requests than limits on tokens are.
            let rate = rate(limit)?;
            let rate = if *unit == Unit::Requests { paced(basis, index, caller, rate)? } else { rate };
            units(rate, *unit, caller)
        }
        Mechanism::Concurrency { limit: Some(most) } => {
            Ok(Method::Hold { limit: *most, queued: false, tokens: stay(caller) })
        }
        Mechanism::Permits { .. } => match &caller.permits {
            Some((most, name)) if *name == limit.name => {
                Ok(Method::Hold { limit: *most, queued: true, tokens: stay(caller) })
            }
            _ => Err("nobody says how much concurrency the endpoint has: a scenario does".to_owned()),
        },
        Mechanism::Concurrency { limit: None } | Mechanism::Quota { .. } => {
            Err("it limits nothing until somebody sets a value".to_owned())
        }
        Mechanism::Size { attr, range } => size(*attr, range),
        Mechanism::Deadline { at_most } => {
            Err(format!("it needs an answer that takes {at_most}: how long one takes is up to the model"))
        }
        Mechanism::Overhead { .. } => {
            Err("from outside, what the service adds cannot be told from queueing and execution".to_owned())
        }
        Mechanism::Gate { action: Action::Ignore, .. } => {
            Err("what does not pass is ignored: an answer does not show it".to_owned())
        }
        Mechanism::Gate { action: Action::Warn, .. } => Err("it only warns".to_owned()),
        Mechanism::Gate { require: None, .. } => Err("it refuses every request of this caller".to_owned()),
        Mechanism::Gate { require: Some(gate), .. } => gate_call(basis, index, gate),
    }
}

fn rate(limit: &Limit) -> Result<Rate, String> {
    let Mechanism::Rate { limit: most, window, algorithm, burst, counts_refused, .. } = &limit.mechanism
    else {
        unreachable!("a {} is no rate", limit.mechanism.name())
    };
    let Some(most) = *most else { return Err("it limits nothing until somebody sets a value".to_owned()) };
    Ok(Rate {
        limit: most,
        window: *window,
        burst: (*algorithm == Algorithm::TokenBucket).then_some(*burst),
        slides: *algorithm == Algorithm::SlidingLog,
        counts_refused: *counts_refused,
        at_once: u64::MAX,
        pace: Span::ZERO,
        control: false,
    })
}

/// How fast the other limits of a caller let a rate be filled; or which one hides it.
fn paced(basis: &Basis, index: usize, caller: &Caller, mut own: Rate) -> Result<Rate, String> {
    if let Some((most, _)) = &caller.permits {
        own.at_once = own.at_once.min(*most);
    }
    for (other, documented) in basis.limits.iter().enumerate().filter(|(other, _)| *other != index) {
        let limit = &documented.limit;
        if documented.required || !concerns(limit, Verb::Inference, &caller.subject) {
            continue;
        }
        match limit.mechanism {
            Mechanism::Concurrency { limit: Some(most) } => own.at_once = own.at_once.min(most),
            Mechanism::Rate { unit: Unit::Requests, limit: Some(_), .. } => {
                let found = rate(limit)?;
                let (mine, its) = (own.window.as_nanos(), found.window.as_nanos());
                // What it lets in within one window of ours, at most.
                let lets = if its >= mine { found.count() } else { found.limit.saturating_mul(mine / its) };
                let first = lets == own.count() && other < index;
                if lets < own.count() || first {
                    return Err(format!(
                        "`{}` ({}) refuses first, whatever is sent",
                        limit.name,
                        limit.value_text()
                    ));
                }
                if its < mine {
                    own.at_once = own.at_once.min(found.limit);
                    own.pace = own.pace.max(found.window);
                }
            }
            _ => {}
        }
    }
    Ok(own)
}

fn units(rate: Rate, unit: Unit, caller: &Caller) -> Result<Method, String> {
    let longest = caller.context.map_or(u64::MAX, |context| context.saturating_sub(1));
    match unit {
        Unit::Requests => Ok(Method::Volley(rate)),
        Unit::InputTokens => Ok(Method::Weigh { rate, unit, most: longest }),
        Unit::Tokens if rate.count() <= PROMPT => Err("no request has so few tokens".to_owned()),
        Unit::Tokens => Ok(Method::Weigh { rate, unit, most: longest.saturating_add(1) }),
        Unit::Bytes => Ok(Method::Weigh { rate, unit, most: u64::MAX }),
        Unit::OutputTokens if rate.count().saturating_add(1 + PROMPT) > longest => Err(format!(
            "no request can reserve {} output tokens: the context of `{}` is {}",
            rate.count() + 1,
            caller.model,
            longest + 1
        )),
        Unit::OutputTokens => Ok(Method::Reserve(rate)),
    }
}

fn stay(caller: &Caller) -> u64 {
    caller.context.map_or(STAY, |context| STAY.min(context / 2)).max(1)
}

fn size(attr: Attr, range: &Range) -> Result<Method, String> {
    let what = match attr {
        Attr::Body => Amount::Body,
        Attr::Messages => Amount::Messages,
        Attr::Stops => Amount::Stops,
        Attr::Choices => Amount::Choices,
        Attr::VersionRank => return Err("nothing says which models of a family are older".to_owned()),
        other => return Err(format!("no request can be given another `{}`", other.name())),
    };
    let upper = range.at_most.or(range.below.map(|bound| bound.saturating_sub(1)));
    match (upper, range.at_least) {
        (Some(bound), _) => Ok(Method::Edge { what, bound, upper: true }),
        (None, Some(bound)) => Ok(Method::Edge { what, bound, upper: false }),
        (None, None) => Err("it has no bound that a request could be at".to_owned()),
    }
}

fn gate_call(basis: &Basis, index: usize, gate: &Condition) -> Result<Method, String> {
    let admits = |word: &str| gate.values.iter().any(|value| value == word);
    match gate.attr {
        Attr::Auth => {
            let earlier = basis.limits[..index].iter().map(|documented| &documented.limit);
            let mut earlier = earlier.filter(|limit| {
                matches!(&limit.mechanism, Mechanism::Gate { require: Some(gate), .. } if gate.attr == Attr::Auth)
            });
            match earlier.next() {
                Some(first) => Err(format!(
                    "it needs a key without permission; one that nobody has is refused by `{}`",
                    first.name
                )),
                None => Ok(Method::Gate(GateCall::BadKey)),
            }
        }
        Attr::Ingress => Err("it needs an address that is not allowed".to_owned()),
        Attr::ModelListed => Ok(Method::Gate(GateCall::BadModel)),
        Attr::Tools if admits("function") => Ok(Method::Gate(GateCall::BadTool)),
        attr @ (Attr::Region | Attr::ControlPlane | Attr::Compliance | Attr::CustomerTier) => {
            Err(format!("it needs an account with another `{}`", attr.name()))
        }
        attr => Err(format!("no request can be given another `{}`", attr.name())),
    }
}

/// The probe of a limit on batch jobs.
fn job(basis: &Basis, limit: &Limit, caller: &Caller, budget: &Budget) -> Result<Method, String> {
    let digital_ocean = basis.dialect == tidegate_sim::scenario::live::Dialect::DigitalOcean;
    // A file at the edge is taken, and its job would run until it is cancelled.
    let both = budget.loopback;
    let call = match &limit.mechanism {
        Mechanism::Quota { .. } => {
            return Err("it would have to be filled with tokens that are paid for".to_owned());
        }
        Mechanism::Size { attr: Attr::BatchRequests, range } => JobCall::Lines { most: most(range)?, both },
        Mechanism::Size { attr: Attr::BatchBytes, range } => JobCall::Bytes { most: most(range)?, both },
        Mechanism::Size { attr: Attr::BatchModels, .. } => {
            let limits: Vec<Limit> = basis.limits.iter().map(|one| one.limit.clone()).collect();
            let other = basis.callers.iter().find(|other| {
                let judged = judge(&limits, Verb::SubmitBatch, &other.subject);
                other.model != caller.model && judged.refused.is_none()
            });
            let other = other.ok_or("a second model that jobs may name is needed: a scenario has one")?;
            JobCall::Models(other.model.clone())
        }
        Mechanism::Gate { action: Action::Refuse, require: Some(gate) } => match gate.attr {
            Attr::BatchProvider if digital_ocean => JobCall::Provider,
            Attr::BatchProvider => return Err("jobs of this dialect name no provider".to_owned()),
            Attr::BatchEndpoint => endpoint(gate)?,
            Attr::BatchContent => JobCall::Image,
            Attr::BatchWindow => JobCall::Window,
            attr => return other_model(basis, attr, |value| !gate.values.iter().any(|known| known == value)),
        },
        Mechanism::Gate { action: Action::Refuse, require: None } => JobCall::Model(caller.model.clone()),
        mechanism => return Err(format!("a {} of jobs has no probe", mechanism.name())),
    };
    Ok(Method::Job(call))
}

fn endpoint(gate: &Condition) -> Result<JobCall, String> {
    let paths = ["/v1/embeddings", "/v1/completions", "/v1/images/generations"];
    let other = paths.into_iter().find(|path| !gate.values.iter().any(|value| value == path));
    other.map(JobCall::Endpoint).ok_or_else(|| "every path is allowed".to_owned())
}

fn most(range: &Range) -> Result<u64, String> {
    range
        .at_most
        .or(range.below.map(|bound| bound.saturating_sub(1)))
        .ok_or_else(|| "it has no upper bound".to_owned())
}

/// A model that a gate on models does not let in, among those that the callers know.
fn other_model(basis: &Basis, attr: Attr, banned: impl Fn(&str) -> bool) -> Result<Method, String> {
    let mut models = basis.callers.iter().filter(|caller| caller.word(attr).is_some_and(&banned));
    match models.next() {
        Some(caller) => Ok(Method::Job(JobCall::Model(caller.model.clone()))),
        None => Err(format!("no model with another `{}` is known", attr.name())),
    }
}

/// What bans something that a caller does not do, but a probe can.
fn banned(basis: &Basis, limit: &Limit, jobs: bool) -> Option<Result<Probe, String>> {
    let (Mechanism::Gate { require: None, action: Action::Refuse }, true) = (&limit.mechanism, jobs) else {
        return None;
    };
    let [only] = limit.when.as_slice() else { return None };
    let caller = basis.callers.iter().position(|caller| caller.jobs)?;
    let method = match only.attr {
        Attr::BatchContent => Ok(Method::Job(JobCall::Image)),
        Attr::BatchEndpoint if only.values.iter().any(|value| value.starts_with("/v1/images")) => {
            Ok(Method::Job(JobCall::Endpoint("/v1/images/generations")))
        }
        attr @ (Attr::ModelKind | Attr::ModelProvenance | Attr::ModelProvider) => {
            other_model(basis, attr, |value| only.values.iter().any(|known| known == value))
        }
        _ => return None,
    };
    Some(method.map(|method| owned(basis, caller, method)))
}

/// A probe as whoever has the model that it names, or else as `caller`.
fn owned(basis: &Basis, caller: usize, method: Method) -> Probe {
    let owner = match &method {
        Method::Job(JobCall::Model(model)) => {
            basis.callers.iter().position(|caller| caller.jobs && caller.model == *model)
        }
        _ => None,
    };
    let caller = owner.unwrap_or(caller);
    Probe { limit: None, caller, cost: cost(&method), method }
}

/// Why a limit concerns nobody here.
fn unconcerned(limit: &Limit, caller: Option<&Caller>) -> String {
    let Some(caller) = caller else { return "nobody here sends what it is about".to_owned() };
    let missing = limit.when.iter().find(|condition| !condition.touches(&caller.subject));
    match missing {
        Some(condition) if !caller.subject.knows(condition.attr) => {
            format!("nobody says `{}`", condition.attr.name())
        }
        Some(condition) => format!("it is about {} {}", condition.attr.name(), condition.values.join(" or ")),
        None => "it concerns nobody here".to_owned(),
    }
}
