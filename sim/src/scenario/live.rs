//! How a scenario is played against a live gateway, and how one is emulated: addresses, dialects, what makes a run
//! valid, what goes wrong on the wire. Nothing of it changes a simulation.

use super::{Arrivals, Client, End, Scenario, batch};
use crate::time::Span;

/// What a scenario says of its live side.
#[derive(Clone, Debug)]
pub struct Live {
    /// Addresses beyond this machine that it may be played against without being asked: prefixes of URLs.
    pub targets: Vec<String>,
    /// Dialect that batch jobs are submitted in.
    pub dialect: Dialect,
    /// What tokens cost, for the estimate before a run.
    pub prices: Option<TokenPrices>,
    /// When a run is to be believed.
    pub validity: Validity,
    /// What an emulated gateway does wrong.
    pub trouble: Trouble,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            targets: Vec::new(),
            dialect: Dialect::OpenAi,
            prices: None,
            validity: Validity::default(),
            trouble: Trouble::default(),
        }
    }
}

/// How batch jobs are submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Upload to `/v1/files`, then `/v1/batches`.
    OpenAi,
    /// An upload address from `/v1/batches/files`, a PUT of the file there, then `/v1/batches`.
    DigitalOcean,
}

/// Prices of tokens, in any one currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenPrices {
    /// Of a million prompt tokens.
    pub prompt: f64,
    /// Of a million output tokens.
    pub output: f64,
}

/// Bounds of a valid live run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    /// 99 of 100 requests are sent within this after they were due.
    pub lag: Span,
    /// A request is on time when it is sent within this after it was due.
    pub late: Span,
    /// Share of requests that must be on time.
    pub on_time: f64,
}

impl Default for Validity {
    fn default() -> Self {
        Validity { lag: Span::from_millis(1), late: Span::from_millis(5), on_time: 0.999 }
    }
}

/// What an emulated gateway does wrong on the wire: shares of requests that were let in, one kind each at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trouble {
    /// The connection is reset in the middle of the answer (before it, when it is not streamed).
    pub resets: f64,
    /// The answer stands still for [`Trouble::stall`] after its first event.
    pub stalls: f64,
    /// How long it stands still.
    pub stall: Span,
    /// The answer is status 500.
    pub server_errors: f64,
    /// An error comes as an event of a stream that had begun with status 200 (status 500, when it is not streamed).
    pub stream_errors: f64,
}

/// How the requests of a workload look on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Path and body.
    pub api: Api,
    /// Whether answers are streamed, token by token. Never of embeddings.
    pub stream: bool,
    /// Name of the model (or of the endpoint, for [`Api::Databricks`]) on the wire; that of the scenario when `None`.
    pub name: Option<String>,
    /// Name of the environment variable that holds its key; `TIDEGATE_API_KEY` when `None`.
    pub key_env: Option<String>,
}

impl Default for Wire {
    fn default() -> Self {
        Wire { api: Api::Chat, stream: true, name: None, key_env: None }
    }
}

/// Path and body of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/serving-endpoints/NAME/invocations`.
    Databricks,
}

impl Scenario {
    /// The gateway alone, for an engine that requests come to from outside: its pools, tiers, limits, operations and faults
    /// as they are, and workloads that say whose requests come but send none. The network and the clients are real, so
    /// neither is simulated; it never ends by itself.
    pub fn gateway(&self) -> Scenario {
        let mut gateway = self.clone();
        gateway.horizon = FOREVER;
        gateway.warmup = Span::ZERO;
        gateway.end = End::Cut;
        gateway.bin = Span::from_secs(1);
        for workload in &mut gateway.workloads {
            workload.network = Span::ZERO;
            workload.patience = None;
            workload.client = Client::default();
            workload.sessions = None;
            // Requests of jobs are sent by the hub.
            if !matches!(workload.arrivals, Arrivals::Jobs) {
                workload.arrivals = Arrivals::Population { users: 1 };
            }
        }
        for jobs in &mut gateway.batches {
            jobs.jobs = batch::Jobs::Listed(Vec::new());
            jobs.cancels.clear();
        }
        gateway
    }

    /// Name of the model of a workload on the wire.
    pub fn wire_name(&self, workload: usize) -> &str {
        let spec = &self.workloads[workload];
        match &spec.wire.name {
            Some(name) => name,
            None => &self.models[self.pools[usize::from(spec.pool)].model].name,
        }
    }
}

/// Fifty years.
const FOREVER: Span = Span::from_secs(50 * 365 * 86_400);
