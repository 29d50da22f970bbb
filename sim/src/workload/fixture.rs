//! A small scenario for the tests of this module.

use super::Source;
use crate::dist::Dist;
use crate::request::{Arrival, WorkloadId};
use crate::scenario::{
    Arrivals, End, Engine, Lengths, Model, Objectives, Pool, PoolFleet, Queue, QueueOrder, Replications,
    Route, Scenario, SlotsEngine, Tier, Workload,
};
use crate::time::Span;
use std::path::{Path, PathBuf};

/// Poisson, 50/s, lognormal lengths.
pub(super) fn workload() -> Workload {
    Workload {
        name: "w".to_owned(),
        tier: 0,
        pool: 0,
        tenants: 1,
        weight: 1_000,
        arrivals: Arrivals::Renewal(Dist::exponential(0.02).unwrap()),
        lengths: Lengths::Independent {
            prompt: Dist::lognormal(900.0, 1.2).unwrap(),
            output: Dist::lognormal(200.0, 0.9).unwrap(),
        },
        max_tokens: None,
        sessions: None,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::ZERO,
        objectives: Objectives::default(),
        sender: Default::default(),
        client: Default::default(),
        wire: Default::default(),
    }
}

/// 200 s in front of a pool of servers with exponential service of mean 0.5 s.
pub(super) fn scenario(mut workloads: Vec<Workload>) -> Scenario {
    // Random streams are keyed by name.
    for (index, workload) in workloads.iter_mut().enumerate() {
        workload.name = format!("w{index}");
    }
    let slots = SlotsEngine { servers: 1, service: Dist::exponential(0.5).unwrap() };
    Scenario {
        name: "fixture".to_owned(),
        question: String::new(),
        variant: None,
        horizon: Span::from_secs(200),
        warmup: Span::ZERO,
        end: End::Cut,
        seed: 1,
        replications: Replications { looks: vec![1] },
        bin: Span::from_secs(1),
        models: vec![Model { name: "m".to_owned(), context_tokens: 1 << 20, listing: Default::default() }],
        pools: vec![Pool {
            name: "p".to_owned(),
            model: 0,
            replicas: 1,
            gpus_per_replica: 0,
            engine: Engine::Slots(slots),
            route: Route::RoundRobin,
            outstanding: None,
            queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
            permits: None,
            fleet: PoolFleet::fixed(1),
            view_age: Span::ZERO,
            batch: None,
        }],
        tiers: vec![Tier { name: "t".to_owned(), priority: 0, pools: vec![0], choice: None }],
        workloads,
        properties: Vec::new(),
        policy: Default::default(),
        fleet: Default::default(),
        batches: Vec::new(),
        live: Default::default(),
        searches: Vec::new(),
        caveats: Vec::new(),
        hash: String::new(),
    }
}

/// Everything that no answer causes, workload by workload.
pub(super) fn all(scenario: &Scenario, seed: u64) -> Vec<Arrival> {
    let mut out = Vec::new();
    for workload in 0..scenario.workloads.len() {
        let mut source = Source::open(scenario, workload as WorkloadId, seed).unwrap();
        out.extend(std::iter::from_fn(|| source.next()));
        assert_eq!(source.error(), None);
    }
    out
}

/// A real trace beside the workspace, when it is there; says so when it is not.
pub(super) fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/traces").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: ../shared/data/traces/{name} is not there");
    None
}

/// A file that is there while the value lives.
pub(super) struct TempFile(pub(super) PathBuf);

impl TempFile {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
