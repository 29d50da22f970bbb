//! A small vendor for the tests of this module: one account, some endpoints, limits written out.

use super::{ControlPlane, Effect};
use crate::limits::{Algorithm, MeterSpec, Meters, RateSpec};
use crate::profile::{
    Action, Answer, Attr, Condition, Counted, Key, Limit, Mechanism, Provenance, Source, Stage, Subject,
    Unit, Verb,
};
use crate::request::Refusal;
use crate::scenario::policy::{Account, Endpoint, Operation, Policy, Sender};
use crate::scenario::{Arrivals, End, Lengths, Listing, Model, Objectives, Replications, Scenario, Workload};
use crate::time::{Span, Time};

pub(super) fn at(seconds: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(seconds)
}

pub(super) fn words(of: &[(Attr, &str)]) -> Subject {
    let mut subject = Subject::default();
    for (attr, word) in of {
        subject.say(*attr, [*word]);
    }
    subject
}

/// A limit for each account, which [`scenario`] gives its meter.
pub(super) fn limit(name: &str, on: &[Verb], mechanism: Mechanism) -> Limit {
    Limit {
        name: name.into(),
        row: name.into(),
        stage: Stage::Request,
        on: on.to_vec(),
        when: Vec::new(),
        mechanism,
        per: vec![(Key::Account, 1)],
        keys: 1,
        meter: None,
        answer: Answer {
            status: 429,
            code: String::new(),
            message: String::new(),
            provenance: Provenance::Choice,
            announces_retry: false,
            retryable: false,
        },
        provenance: Provenance::Choice,
        source: Source::Profile,
        advice: None,
    }
}

pub(super) fn rate(limit: Option<u64>, most: u64, window: Span) -> Mechanism {
    Mechanism::Rate {
        limit,
        most,
        window,
        algorithm: Algorithm::SlidingLog,
        burst: 1,
        unit: Unit::Requests,
        default_reservation: 0,
        counts_refused: false,
    }
}

pub(super) fn quota(counted: Counted, limit: u64) -> Mechanism {
    Mechanism::Quota { counted, limit: Some(limit) }
}

/// A gate that admits one value; none at all when it is `None`.
pub(super) fn gate(require: Option<(Attr, &str)>) -> Mechanism {
    let require = require.map(|(attr, value)| Condition { attr, values: vec![value.into()] });
    Mechanism::Gate { require, action: Action::Refuse }
}

pub(super) fn endpoint(name: &str, concurrency: u64) -> Endpoint {
    Endpoint {
        name: name.into(),
        account: 0,
        exists: false,
        pools: Vec::new(),
        concurrency,
        overhead: None,
        traits: words(&[(Attr::EndpointKind, "custom")]),
        models: vec![0],
    }
}

/// An operation, as often as a test likes.
pub(super) fn operation(verb: Verb, endpoint: Option<usize>) -> Operation {
    Operation {
        name: verb.name().into(),
        verb,
        first: Time::ZERO,
        every: Span::from_secs(1),
        times: u64::MAX,
        account: 0,
        everybody: false,
        token: 0,
        user: 0,
        endpoint,
        to: None,
        model: None,
        limit: None,
        value: None,
        ready_after: Span::ZERO,
        traits: Subject::default(),
    }
}

/// A version of a family; version 0 stands for a model without versions.
pub(super) fn model(name: &str, family: &str, version: u32, published: bool, traits: Subject) -> Model {
    let version = (version > 0).then(|| (family.to_owned(), version));
    Model { name: name.into(), context_tokens: 1 << 20, listing: Listing { version, published, traits } }
}

pub(super) fn scenario(
    mut limits: Vec<Limit>,
    endpoints: Vec<Endpoint>,
    operations: Vec<Operation>,
) -> Scenario {
    for (meter, limit) in limits.iter_mut().filter(|limit| limit.mechanism.is_metered()).enumerate() {
        limit.meter = Some(meter as u16);
    }
    let traits = words(&[(Attr::Region, "us-east1")]);
    Scenario {
        name: "fixture".into(),
        question: String::new(),
        variant: None,
        horizon: Span::from_secs(10_000),
        warmup: Span::ZERO,
        end: End::Cut,
        seed: 1,
        replications: Replications { looks: vec![1] },
        bin: Span::from_secs(1),
        models: vec![model("m", "", 0, true, Subject::default())],
        pools: Vec::new(),
        tiers: Vec::new(),
        workloads: Vec::new(),
        properties: Vec::new(),
        policy: Policy {
            profile: None,
            limits,
            accounts: vec![Account { name: "main".into(), traits }],
            endpoints,
            operations,
            expectations: Vec::new(),
            tokens: vec!["t".into()],
            users: vec!["u".into()],
        },
        fleet: Default::default(),
        batches: Vec::new(),
        live: Default::default(),
        searches: Vec::new(),
        caveats: Vec::new(),
        hash: String::new(),
    }
}

/// Somebody who sends requests; tests say what to which endpoint.
pub(super) fn workload() -> Workload {
    Workload {
        name: "w".into(),
        tier: 0,
        pool: 0,
        tenants: 1,
        weight: 1_000,
        arrivals: Arrivals::Population { users: 1 },
        lengths: Lengths::FromTrace,
        max_tokens: None,
        sessions: None,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::ZERO,
        objectives: Objectives::default(),
        sender: Sender::default(),
        client: Default::default(),
        wire: Default::default(),
    }
}

fn meters(scenario: &Scenario) -> Meters {
    let spec = |limit: &Limit| {
        let spec = match limit.mechanism {
            Mechanism::Rate { limit, most, window, algorithm, burst, unit, counts_refused, .. } => {
                let weighted = unit != Unit::Requests;
                MeterSpec::Rate(RateSpec { limit, most, window, algorithm, burst, weighted, counts_refused })
            }
            Mechanism::Concurrency { limit } | Mechanism::Quota { limit, .. } => MeterSpec::Held { limit },
            _ => return None,
        };
        Some((spec, limit.keys))
    };
    Meters::new(scenario.policy.limits.iter().filter_map(spec).collect())
}

/// A control plane with its meters, and the calls made.
pub(super) struct Desk<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) plane: ControlPlane<'s>,
    pub(super) meters: Meters,
    calls: u64,
}

impl<'s> Desk<'s> {
    pub(super) fn open(scenario: &'s Scenario) -> Self {
        let mut meters = meters(scenario);
        let plane = ControlPlane::new(scenario, &mut meters);
        Desk { scenario, plane, meters, calls: 0 }
    }

    pub(super) fn call(&mut self, now: Time, operation: usize) -> Result<Vec<Effect>, Refusal> {
        self.calls += 1;
        self.plane.perform(now, operation, self.calls - 1, &mut self.meters)
    }

    /// As [`Self::call`], with the name of the reason alone.
    pub(super) fn verdict(&mut self, now: Time, operation: usize) -> Result<(), &'s str> {
        self.call(now, operation).map(|_| ()).map_err(|no| self.scenario.policy.reason_name(no.reason))
    }

    pub(super) fn ready(&mut self, effect: Effect) -> Vec<Effect> {
        let Effect::ReadyAt { endpoint, at, epoch } = effect else { panic!("{effect:?} is not awaited") };
        self.plane.ready(at, endpoint, epoch, &mut self.meters)
    }

    /// Units in use of a meter.
    pub(super) fn used(&self, now: Time, meter: u16) -> u64 {
        self.meters.used(now, meter, 0)
    }
}
