//! What is checked, and as whom: the limits in force, the rows of the documents, and the callers whose requests are sent.

use tidegate_sim::control::ControlPlane;
use tidegate_sim::gateway::admission::meters;
use tidegate_sim::profile::{Attr, Limit, Row, Subject};
use tidegate_sim::scenario::live::{Api, Dialect, TokenPrices};
use tidegate_sim::scenario::profile::{self, Loaded};
use tidegate_sim::scenario::{Arrivals, Engine, Scenario};

/// All that a plan is made from.
#[derive(Clone, Debug)]
pub struct Basis {
    /// What the limits are of.
    pub title: String,
    /// Limits in force, in the order in which they are asked.
    pub limits: Vec<Documented>,
    /// Rows of the documents, where a profile is built in.
    pub rows: Vec<Row>,
    /// Who sends requests and jobs; at least one.
    pub callers: Vec<Caller>,
    /// What tokens cost.
    pub prices: Option<TokenPrices>,
    /// How jobs are submitted.
    pub dialect: Dialect,
    /// Prefixes of addresses that may be used without being asked.
    pub targets: Vec<String>,
}

/// A limit, and whether its value is known.
#[derive(Clone, Debug)]
pub struct Documented {
    /// The limit.
    pub limit: Limit,
    /// Whether the vendor publishes no value, and nobody gave one.
    pub required: bool,
}

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name: of a workload or a batch.
    pub name: String,
    /// Whether it hands in batch jobs instead of requests.
    pub jobs: bool,
    /// What limits can know of what it sends.
    pub subject: Subject,
    /// Path and form of its requests.
    pub api: Api,
    /// Name of the model (or endpoint) on the wire.
    pub model: String,
    /// Longest prompt plus output, tokens, when known.
    pub context: Option<u64>,
    /// The variable that holds its key.
    pub key_env: Option<String>,
    /// Requests that are served or wait behind provisioned concurrency: one more is refused, and by which limit.
    pub permits: Option<(u64, String)>,
}

impl Caller {
    /// The word stated for an attribute, when it is one.
    pub(super) fn word(&self, attr: Attr) -> Option<&str> {
        self.subject.words(attr).and_then(<[String]>::first).map(String::as_str)
    }
}

/// Who calls, where no scenario says it.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Path and form of requests.
    pub api: Api,
    /// Name of the model.
    pub model: String,
    /// Longest prompt plus output, tokens.
    pub context: Option<u64>,
    /// What is said of endpoint, account, model.
    pub traits: Subject,
}

impl Basis {
    /// The gateway of a scenario: its limits as it changed them, its workloads and batches as callers.
    pub fn of_scenario(scenario: &Scenario) -> Basis {
        let policy = &scenario.policy;
        let mut meters = meters(&policy.limits);
        let plane = ControlPlane::new(scenario, &mut meters);
        let workload = |index: usize| {
            let spec = &scenario.workloads[index];
            let (model, pool) = spec
                .sender
                .candidates
                .first()
                .copied()
                .unwrap_or((scenario.pools[usize::from(spec.pool)].model, spec.pool));
            let served = &scenario.pools[usize::from(pool)];
            let permits = served.permits.map(|permits| {
                let queued = u64::from(served.queue.most.unwrap_or(0));
                (u64::from(permits.most) + queued, policy.reason_name(permits.reason).to_owned())
            });
            Caller {
                name: spec.name.clone(),
                jobs: false,
                subject: plane.request_subject(index, model),
                api: spec.wire.api,
                model: scenario.wire_name(index).to_owned(),
                context: match &served.engine {
                    Engine::Llm(engine) => Some(u64::from(engine.context_tokens)),
                    // Servers take requests of any length.
                    Engine::Slots(_) => None,
                },
                key_env: spec.wire.key_env.clone(),
                permits,
            }
        };
        let asks = |index: &usize| !matches!(scenario.workloads[*index].arrivals, Arrivals::Jobs);
        let requests = (0..scenario.workloads.len()).filter(asks).map(workload);
        let jobs = scenario.batches.iter().map(|batch| Caller {
            name: batch.name.clone(),
            jobs: true,
            permits: None,
            ..workload(usize::from(batch.workload))
        });
        let id = policy.profile.as_ref().map_or("", |profile| profile.id.as_str());
        // The rows of a file of one's own are not kept by a scenario.
        let rows = profile::built_in().find(|known| *known == id).and_then(|id| profile::load(id).ok());
        Basis {
            title: policy
                .profile
                .as_ref()
                .map_or_else(|| scenario.name.clone(), |profile| profile.title.clone()),
            limits: policy
                .limits
                .iter()
                .map(|limit| Documented { limit: limit.clone(), required: false })
                .collect(),
            rows: rows.map_or_else(Vec::new, |loaded| loaded.profile.rows),
            callers: requests.chain(jobs).collect(),
            prices: scenario.live.prices,
            dialect: scenario.live.dialect,
            targets: scenario.live.targets.clone(),
        }
    }

    /// The limits of a profile with these overlays, for one caller of requests and one of jobs.
    pub fn of_profile(loaded: &Loaded, overlays: &[String], alone: &Alone) -> Basis {
        let mut limits: Vec<Documented> = loaded
            .limits
            .iter()
            .filter(|limit| limit.is_on(overlays))
            .map(|limit| Documented { limit: limit.limit.clone(), required: limit.required })
            .collect();
        limits.sort_by_key(|documented| documented.limit.stage);
        let mut subject = alone.traits.clone();
        if !subject.knows(Attr::ModelName) {
            subject.say(Attr::ModelName, [alone.model.as_str()]);
        }
        let caller = |jobs: bool| Caller {
            name: if jobs { "jobs" } else { "requests" }.to_owned(),
            jobs,
            subject: subject.clone(),
            api: alone.api,
            model: alone.model.clone(),
            context: alone.context,
            key_env: None,
            permits: None,
        };
        let takes_jobs = loaded.profile.rows.iter().any(|row| row.tier == "batch");
        Basis {
            title: loaded.profile.title.clone(),
            limits,
            rows: loaded.profile.rows.clone(),
            callers: std::iter::once(caller(false)).chain(takes_jobs.then(|| caller(true))).collect(),
            prices: None,
            dialect: if takes_jobs { Dialect::DigitalOcean } else { Dialect::OpenAi },
            targets: Vec::new(),
        }
    }

    /// Names of the variables that hold keys.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.callers.iter().filter_map(|caller| caller.key_env.as_deref())
    }
}
