//! The hardware side of a scenario: where replicas run, how many there are and when, what fails, what it costs.

use crate::dist::Dist;
use crate::request::{PoolId, ReplicaId};
use crate::time::{Span, Time};

/// What pools share: machines, zones, links, and what is to fail when.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Groups of equal machines.
    pub nodes: Vec<NodeGroup>,
    /// Names of zones, by the number in [`NodeGroup::zone`].
    pub zones: Vec<String>,
    /// Links that KV caches are sent over.
    pub links: Vec<Link>,
    /// What fails at a time that the scenario says, in the order of the file.
    pub faults: Vec<Fault>,
    /// What prices are in, `USD` for example; empty when nothing has a price.
    pub currency: String,
}

/// Equal machines in one zone.
#[derive(Clone, Debug)]
pub struct NodeGroup {
    /// Its name in the scenario.
    pub name: String,
    /// GPU type; every pool placed here runs on it.
    pub gpu: String,
    /// Machines, at least 1.
    pub count: u32,
    /// GPUs of each machine, at least 1.
    pub gpus: u32,
    /// Index into [`Fleet::zones`].
    pub zone: usize,
    /// Price of a GPU for an hour.
    pub price: Option<f64>,
    /// Whether every machine is paid for all the time, used or not.
    pub reserved: bool,
    /// How each machine fails.
    pub failures: Option<Failures>,
}

/// How something fails and comes back, again and again.
#[derive(Clone, Debug)]
pub struct Failures {
    /// Time from being repaired (or from the start) to the next failure, seconds.
    pub mtbf: Dist,
    /// Time from a failure to its repair, seconds.
    pub mttr: Dist,
}

/// A link that KV caches are sent over, shared equally by the transfers in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name in the scenario.
    pub name: String,
    /// Bytes per second, all transfers together; at least 1.
    pub bandwidth: u64,
    /// Added to every transfer.
    pub latency: Span,
}

/// Something that fails, or slows down, at a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name; `fault-1` and so on when the file gives none.
    pub name: String,
    /// When it begins.
    pub at: Time,
    /// How long it lasts; `None`: to the end of the run.
    pub lasts: Option<Span>,
    /// What it strikes.
    pub target: Target,
    /// What it does.
    pub effect: Effect,
}

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One replica of a pool.
    Replica(PoolId, ReplicaId),
    /// Every replica of a pool.
    Pool(PoolId),
    /// One GPU of a machine (group, machine): the replica that uses it is lost with it.
    Gpu(usize, u32),
    /// A machine, by group and number in it.
    Node(usize, u32),
    /// Every machine of a zone.
    Zone(usize),
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What is struck stops working, and everything on it is lost.
    Down,
    /// Steps (or services) that begin take this many thousandths of their time; above 1,000.
    Slow(u32),
}

/// How the replicas of a pool come and go.
#[derive(Clone, Debug)]
pub struct PoolFleet {
    /// Node groups it may be placed on, in order of preference; none: GPUs without end.
    pub nodes: Vec<usize>,
    /// Whether its replicas are spread evenly over those groups; otherwise the first is filled first.
    pub spread: bool,
    /// Replicas that serve when the run starts; at most [`super::Pool::replicas`].
    pub initial: u16,
    /// How the number of replicas follows the load; `None`: it does not.
    pub scaling: Option<Scaling>,
    /// What a replica needs before it serves, each in seconds; what is absent takes no time.
    pub cold_start: ColdStart,
    /// How each replica fails by itself.
    pub failures: Option<Failures>,
    /// What becomes of the requests of a replica that fails.
    pub on_failure: OnFailure,
    /// Time until the router notices that a replica is gone, or back.
    pub notice: Span,
    /// The pool and the link that its prompts come through; `None`: it processes them itself.
    pub prefill: Option<Prefill>,
    /// Price of a GPU (on a `slots` pool: of a replica, which counts as one GPU) for an hour, for pools that name no
    /// nodes.
    pub price: Option<f64>,
}

impl PoolFleet {
    /// `replicas` replicas that are always there.
    pub fn fixed(replicas: u16) -> Self {
        PoolFleet {
            nodes: Vec::new(),
            spread: false,
            initial: replicas,
            scaling: None,
            cold_start: ColdStart::default(),
            failures: None,
            on_failure: OnFailure::Lose,
            notice: Span::ZERO,
            prefill: None,
            price: None,
        }
    }
}

/// What a replica needs before it serves, seconds each.
#[derive(Clone, Debug, Default)]
pub struct ColdStart {
    /// Until there is a machine.
    pub provision: Option<Dist>,
    /// Until the weights are loaded.
    pub load: Option<Dist>,
    /// Until the engine is warm.
    pub warm_up: Option<Dist>,
}

impl ColdStart {
    /// The parts that take time, in their order.
    pub fn parts(&self) -> impl Iterator<Item = &Dist> {
        [&self.provision, &self.load, &self.warm_up].into_iter().flatten()
    }
}

/// What becomes of the requests of a replica that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They are lost.
    Lose,
    /// Those without a first token go to another replica; a stream that has begun is lost.
    Retry,
    /// All go to another replica; a stream that has begun goes on after its prompt and what it had said are
    /// processed again.
    Resume,
}

/// The pool that processes the prompts of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefill {
    /// Its index.
    pub pool: PoolId,
    /// The link that the KV cache is sent over, an index into [`Fleet::links`].
    pub link: usize,
    /// Bytes of KV cache for each token of a prompt.
    pub bytes_per_token: u64,
}

/// How the number of replicas follows the load.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Fewest replicas, 0 for scale to zero; the most is [`super::Pool::replicas`].
    pub min: u16,
    /// What is measured and aimed at; `None`: only the schedule counts.
    pub aim: Option<Aim>,
    /// Time between two looks.
    pub interval: Span,
    /// The number is left alone while the measure is off its aim by no more than this, thousandths.
    pub tolerance: u32,
    /// More replicas only when every look within this time asked for more.
    pub up_window: Span,
    /// Fewer replicas only when every look within this time asked for fewer.
    pub down_window: Span,
    /// Most replicas added at one look.
    pub up_most: u16,
    /// Most replicas taken away at one look.
    pub down_most: u16,
    /// `(from, min)`: the fewest replicas from that time of the cycle on, in order.
    pub schedule: Vec<(Span, u16)>,
    /// Length of the cycle of the schedule.
    pub period: Span,
}

impl Scaling {
    /// The fewest replicas at an instant.
    pub fn least(&self, now: Time) -> u16 {
        let into = Span::from_nanos(now.as_nanos() % self.period.as_nanos().max(1));
        let scheduled = self.schedule.iter().rev().find(|(from, _)| *from <= into);
        // Before the first piece of a cycle the last one of the cycle before holds.
        let piece = scheduled.or(self.schedule.last().filter(|_| now.as_nanos() >= self.period.as_nanos()));
        piece.map_or(self.min, |(_, least)| (*least).max(self.min))
    }
}

/// What an autoscaler measures, and the value it aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Requests in the pool (in its queue and on its replicas) for each replica, mean since the last look;
    /// thousandths.
    Concurrency(u64),
    /// Requests that wait (in the queue and on replicas) for each replica, at the look; thousandths.
    Queue(u64),
    /// Busy time of ready replicas divided by their time, since the last look; thousandths.
    Utilization(u64),
    /// Mean TTFT of the first tokens since the last look.
    Ttft(Span),
}

impl Aim {
    /// The word in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Aim::Concurrency(_) => "concurrency",
            Aim::Queue(_) => "queue",
            Aim::Utilization(_) => "utilization",
            Aim::Ttft(_) => "ttft",
        }
    }
}
