//! What a run is going to do: how it may, with whose keys, and what it will cost.

use super::attack::GooseOptions;
use super::machine;
use super::safety::{AbortRules, Caps};
use super::schedule::Schedule;
use super::tokenizer::Tokenizer;
use crate::client::request::OutputLengths;
use crate::client::transport::TransportError;
use crate::client::{Key, KeyError, Target, TargetError, key};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_sim::experiment::ExperimentError;
use tidegate_sim::rng::{mix, replication_seed};
use tidegate_sim::scenario::{Arrivals, Scenario};

/// How to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blocks of each variant.
    pub blocks: u32,
    /// Lanes; as many as cores, at most 2, when `None`.
    pub lanes: Option<usize>,
    /// What may be done at most; in flight as much as the machine gives when that is 0.
    pub caps: Caps,
    /// Requests of a block that are kept; what is beyond is unsent.
    pub schedule_most: usize,
    /// When it is given up.
    pub abort: AbortRules,
    /// How outputs get their lengths; by index on this machine, else by `max_tokens`, when `None`.
    pub lengths: Option<OutputLengths>,
    /// What a token of a prompt is.
    pub tokenizer: Tokenizer,
    /// How long an answer may stand still.
    pub silence: Duration,
    /// Whether a target beyond this machine was agreed to.
    pub yes: bool,
    /// A file with the key.
    pub key_file: Option<PathBuf>,
    /// What goose is asked for.
    pub goose: GooseOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            blocks: 1,
            lanes: None,
            caps: Caps::default(),
            schedule_most: 5_000_000,
            abort: AbortRules::default(),
            lengths: None,
            tokenizer: Tokenizer::Words,
            silence: Duration::from_secs(120),
            yes: false,
            key_file: None,
            goose: GooseOptions::default(),
        }
    }
}

/// Why a run cannot be.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// There is no way to it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A key is missing or is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The workload names a variable that is not set.
    #[error(
        "workload `{workload}` takes its key from the environment variable `{variable}`, which is not set"
    )]
    NoKey {
        /// The workload.
        workload: String,
        /// The variable.
        variable: String,
    },
    /// The target is beyond this machine and nobody agreed to that.
    #[error("`{0}` is not on this machine")]
    NotAllowed(String),
    /// The machine does not give what is wanted.
    #[error("{0}")]
    Machine(String),
    /// A source of requests failed.
    #[error(transparent)]
    Source(#[from] ExperimentError),
    /// A cap on cost without prices.
    #[error("a cap on cost needs prices")]
    NoPrices,
    /// Goose would not.
    #[error("goose: {0}")]
    Goose(String),
    /// The runtime would not start.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
}

impl LoadError {
    /// What to do about it, when that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            LoadError::NotAllowed(_) => {
                Some("agree with `--yes`, or list it under `live.targets` in the scenario")
            }
            LoadError::NoKey { .. } => Some("set it, or name a file with `--key-file`"),
            LoadError::NoPrices => Some("state `live.prices` in the scenario"),
            LoadError::Machine(_) => Some("lower `--max-in-flight`, or raise the limit with `ulimit -n`"),
            LoadError::Target(_) => Some("for example `--target http://127.0.0.1:8080`"),
            LoadError::Source(error) => error.hint(),
            _ => None,
        }
    }
}

/// A run that may begin.
#[derive(Debug)]
pub struct Plan {
    /// The scenario and the variants that its properties compare with, the scenario first.
    pub variants: Vec<Scenario>,
    /// Where requests go.
    pub target: Target,
    /// How.
    pub options: Options,
    /// Keys, by variant and workload: by tenant, one for all, or none.
    pub(super) keys: Vec<Vec<Vec<Key>>>,
    /// Blocks in the order in which they are played.
    pub blocks: Vec<BlockPlan>,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    /// Index of the variant.
    pub variant: usize,
    /// Which replication.
    pub index: u32,
}

/// What a run will send, as far as that is known beforehand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// By block, in order.
    pub blocks: Vec<BlockEstimate>,
}

/// What a block will send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockEstimate {
    /// Its arrival hash.
    pub hash: String,
    /// By workload.
    pub workloads: Vec<WorkloadEstimate>,
}

/// What a workload will send in a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadEstimate {
    /// Its name.
    pub name: String,
    /// Requests that no answer causes.
    pub requests: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// Output tokens that they are to be answered.
    pub output_tokens: u64,
    /// Money, when there are prices.
    pub cost: Option<f64>,
    /// Whether answers cause more requests than these.
    pub open_ended: bool,
}

impl Plan {
    /// Checks everything that can be checked before a byte is sent.
    ///
    /// # Errors
    /// When the target is not allowed, a key is missing, or the machine does not give what is wanted.
    pub fn new(variants: Vec<Scenario>, target: Target, mut options: Options) -> Result<Self, LoadError> {
        let first = &variants[0];
        if !target.is_loopback() && !options.yes && !target.is_among(&first.live.targets) {
            return Err(LoadError::NotAllowed(target.to_string()));
        }
        if options.caps.cost.is_some() && first.live.prices.is_none() {
            return Err(LoadError::NoPrices);
        }
        if options.caps.in_flight == 0 {
            options.caps.in_flight = machine::in_flight_most();
        } else {
            machine::check_in_flight(options.caps.in_flight).map_err(LoadError::Machine)?;
        }
        let keys = variants.iter().map(|scenario| keys(scenario, &target, &options));
        let keys = keys.collect::<Result<_, _>>()?;
        let blocks = order(first.seed, variants.len(), options.blocks);
        Ok(Plan { variants, target, options, keys, blocks })
    }

    /// How outputs get their lengths.
    pub fn lengths(&self) -> OutputLengths {
        let by_place =
            if self.target.is_loopback() { OutputLengths::Index } else { OutputLengths::MaxTokens };
        self.options.lengths.unwrap_or(by_place)
    }

    /// What the run will send. Draws every block's schedule.
    ///
    /// # Errors
    /// When a source fails.
    pub fn estimate(&self) -> Result<Estimate, LoadError> {
        let block = |block: &BlockPlan| {
            let scenario = &self.variants[block.variant];
            let seed = replication_seed(scenario.seed, block.index);
            let schedule = Schedule::draw(scenario, seed, self.options.schedule_most)?;
            let mut workloads: Vec<WorkloadEstimate> = scenario.workloads.iter().map(estimate_of).collect();
            for arrival in schedule.open.iter().chain(&schedule.users) {
                let workload = &mut workloads[usize::from(arrival.head.workload)];
                workload.requests += 1;
                workload.prompt_tokens += u64::from(arrival.head.prompt_tokens);
                workload.output_tokens += u64::from(arrival.draw.output_tokens);
            }
            for workload in &mut workloads {
                workload.cost = scenario.live.prices.map(|prices| {
                    let (prompt, output) = (workload.prompt_tokens as f64, workload.output_tokens as f64);
                    (prompt * prices.prompt + output * prices.output) / 1e6
                });
            }
            Ok(BlockEstimate { hash: schedule.hash, workloads })
        };
        Ok(Estimate { blocks: self.blocks.iter().map(block).collect::<Result<_, LoadError>>()? })
    }
}

impl Estimate {
    /// Money of all blocks together, when there are prices.
    pub fn cost(&self) -> Option<f64> {
        self.blocks.iter().flat_map(|block| &block.workloads).map(|workload| workload.cost).sum()
    }
}

fn estimate_of(workload: &tidegate_sim::scenario::Workload) -> WorkloadEstimate {
    let open_ended = workload.sessions.is_some()
        || matches!(workload.arrivals, Arrivals::Population { .. } | Arrivals::Jobs);
    WorkloadEstimate { name: workload.name.clone(), open_ended, ..WorkloadEstimate::default() }
}

/// Blocks of one index are played together, their variants in random order, so that what drifts in the world outside
/// meets all variants alike.
fn order(seed: u64, variants: usize, blocks: u32) -> Vec<BlockPlan> {
    let mut all = Vec::new();
    for index in 0..blocks {
        let mut draws =
            (0_u64..).map(|draw| mix(mix(seed ^ 0x6c69_7665) ^ mix(u64::from(index) << 32 | draw)));
        let mut left: Vec<usize> = (0..variants).collect();
        while !left.is_empty() {
            let place = (draws.next().unwrap_or(0) % left.len() as u64) as usize;
            all.push(BlockPlan { variant: left.remove(place), index });
        }
    }
    all
}

/// Keys of the workloads of a scenario: the file's, that of the workload's variable, that of `TIDEGATE_API_KEY`, else, on
/// this machine, the name that an emulated gateway knows each tenant by.
fn keys(scenario: &Scenario, target: &Target, options: &Options) -> Result<Vec<Vec<Key>>, LoadError> {
    let of_file = options.key_file.as_deref().map(Key::from_file).transpose()?;
    let of_all = Key::from_env(key::KEY_ENV)?;
    let of = |workload: &tidegate_sim::scenario::Workload| {
        if let Some(key) = &of_file {
            return Ok(vec![key.clone()]);
        }
        if let Some(variable) = &workload.wire.key_env {
            let missing = || LoadError::NoKey { workload: workload.name.clone(), variable: variable.clone() };
            return Ok(vec![Key::from_env(variable)?.ok_or_else(missing)?]);
        }
        match &of_all {
            Some(key) => Ok(vec![key.clone()]),
            None if target.is_loopback() => {
                let of_tenant = |tenant| {
                    let text = format!("{}-{tenant}", workload.name);
                    Key::new(&text, &format!("workload `{}`", workload.name))
                };
                // Jobs are submitted by accounts.
                let batch = scenario
                    .batches
                    .iter()
                    .find(|batch| scenario.workloads[usize::from(batch.workload)].name == workload.name);
                let tenants = batch.map_or(workload.tenants, |batch| batch.owners);
                Ok((0..tenants).map(of_tenant).collect::<Result<_, _>>()?)
            }
            None => Ok(Vec::new()),
        }
    };
    scenario.workloads.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scenario;

    const ONE: &str = r#"
        [workloads.chat]
        tier = "t"
        tenants = 2
        arrivals = { kind = "poisson", rate = "100/s" }
        prompt = 10
        output = 4
    "#;

    fn plan(target: &str, options: Options) -> Result<Plan, LoadError> {
        Plan::new(vec![scenario(ONE)], Target::parse(target).unwrap(), options)
    }

    #[test]
    fn a_target_beyond_this_machine_needs_consent_or_the_scenarios_list() {
        let error = plan("https://api.example", Options::default()).unwrap_err();
        assert!(matches!(error, LoadError::NotAllowed(_)) && error.hint().unwrap().contains("--yes"));
        assert!(plan("https://api.example", Options { yes: true, ..Options::default() }).is_ok());
        assert!(plan("http://127.0.0.1:1", Options::default()).is_ok());
        let text = format!("{ONE}\n[live]\ntargets = [\"https://api.example\"]");
        let listed = Plan::new(
            vec![scenario(&text)],
            Target::parse("https://api.example/v1").unwrap(),
            Options::default(),
        );
        assert!(listed.is_ok());
    }

    #[test]
    fn on_this_machine_tenants_have_the_keys_of_an_emulated_gateway() {
        let plan = plan("http://127.0.0.1:1", Options::default()).unwrap();
        let headers: Vec<_> = plan.keys[0][0].iter().map(Key::header).collect();
        assert_eq!(headers, ["Bearer chat-0", "Bearer chat-1"]);
        assert_eq!(plan.lengths(), OutputLengths::Index);
    }

    #[test]
    fn the_estimate_is_the_schedule() {
        let estimate = plan("http://127.0.0.1:1", Options { blocks: 2, ..Options::default() }).unwrap();
        let estimate = estimate.estimate().unwrap();
        assert_eq!(estimate.blocks.len(), 2);
        let first = &estimate.blocks[0].workloads[0];
        assert_eq!((first.prompt_tokens, first.output_tokens), (first.requests * 10, first.requests * 4));
        assert_ne!(estimate.blocks[0].hash, estimate.blocks[1].hash);
        assert_eq!(estimate.cost(), None);
    }

    #[test]
    fn each_index_has_all_variants_and_their_order_is_random() {
        let all = order(7, 3, 20);
        for (index, block) in all.chunks(3).enumerate() {
            let mut variants: Vec<usize> = block.iter().map(|block| block.variant).collect();
            variants.sort_unstable();
            assert_eq!(variants, [0, 1, 2]);
            assert!(block.iter().all(|block| block.index as usize == index));
        }
        let firsts: std::collections::BTreeSet<usize> = all.chunks(3).map(|block| block[0].variant).collect();
        assert_eq!(firsts.len(), 3);
        assert_eq!(all, order(7, 3, 20));
    }
}
