//! The hardware side of a scenario file: machines, links, how replicas come and go, what fails, and which of several
//! pools a request is given to.

use super::decode::{At, Decode, section, words};
use super::diagnostic::Errors;
use super::dist_file::{DistFile, Times};
use super::document::{Node, Value};
use super::file::PoolFile;
use super::fleet_leaf::{Bandwidth, Price, Target};
use super::leaf::{Bytes, Count, Delay, Duration, GpuName, Lasting, Name, Number, Share, YEAR};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

/// Most replicas of a pool.
pub(super) const REPLICAS_MOST: u64 = u16::MAX as u64;

section! {
    /// Equal machines in one zone.
    struct NodesFile {
        /// GPU type.
        gpu: At<GpuName>,
        /// Machines.
        count: At<Count<1, 10_000>>,
        /// GPUs of each machine.
        gpus: At<Count<1, 1_024>> = 8,
        /// Zone they are in.
        zone: At<Name> = "default",
        /// Price of a GPU for an hour; one currency in the whole scenario.
        price: Option<At<Price>>,
        /// What is paid for; `used` when left out.
        billing: Option<At<BillingWord>>,
        /// How each machine fails.
        failures: Option<At<FailuresFile>>,
    }
}

words! {
    /// How replicas are placed on several groups of machines.
    enum PlaceWord {
        /// The first group is filled before the next.
        InOrder = "in-order",
        /// The group that has the fewest replicas of the pool is next.
        Spread = "spread",
    }
}

words! {
    /// What is paid for.
    enum BillingWord {
        /// Every machine, all the time.
        Reserved = "reserved",
        /// The GPUs that replicas have, while they have them.
        Used = "used",
    }
}

section! {
    /// How something fails and comes back, again and again.
    struct FailuresFile {
        /// Time to the next failure: the mean of an exponential law, or a distribution.
        mtbf: At<DistFile<Times>>,
        /// Time to its repair, likewise.
        mttr: At<DistFile<Times>>,
    }
}

section! {
    /// A link that KV caches are sent over, shared by the transfers in flight.
    struct LinkFile {
        /// Bytes per second, all transfers together.
        bandwidth: At<Bandwidth>,
        /// Added to every transfer.
        latency: At<Delay> = "0s",
    }
}

/// `8`, or `{ min, max, initial }`.
#[derive(Clone, Debug)]
pub(super) enum ReplicasFile {
    Fixed(At<Count<1, REPLICAS_MOST>>),
    Range(RangeFile),
}

section! {
    /// A number of replicas that `scaling` changes.
    struct RangeFile {
        /// Fewest; 0 for scale to zero.
        min: At<Count<0, REPLICAS_MOST>>,
        /// Most.
        max: At<Count<1, REPLICAS_MOST>>,
        /// When the run starts; the fewest there may be then, but at least one, when left out.
        initial: Option<At<Count<0, REPLICAS_MOST>>>,
    }
}

impl Decode for ReplicasFile {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::Table(_) => RangeFile::decode(node, errors).map(Self::Range),
            _ => At::read(node, errors).map(Self::Fixed),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::Fixed(count) => count.value.canonical(out),
            Self::Range(range) => range.canonical(out),
        }
    }
}

impl JsonSchema for ReplicasFile {
    fn schema_name() -> Cow<'static, str> {
        "Replicas".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms =
            [generator.subschema_for::<Count<1, REPLICAS_MOST>>(), generator.subschema_for::<RangeFile>()];
        schemars::json_schema!({ "oneOf": forms })
    }
}

section! {
    /// How the number of replicas follows the load.
    struct ScalingFile {
        /// What is measured. May be left out when there is a schedule.
        aim: Option<At<AimWord>>,
        /// Its value: a number, a share, or a duration.
        target: Option<At<Target>>,
        /// Time between two looks.
        interval: At<Duration<1_000_000, YEAR>> = "15s",
        /// The number is left alone while the measure is off its target by no more than this share of it; 0.1 when
        /// left out.
        tolerance: Option<At<Share>>,
        /// More replicas only when every look within this time asked for more.
        up_window: At<Delay> = "0s",
        /// Fewer replicas only when every look within this time asked for fewer.
        down_window: At<Delay> = "5min",
        /// Most replicas added at one look; no bound when left out.
        up_most: Option<At<Count<1, REPLICAS_MOST>>>,
        /// Most replicas taken away at one look; no bound when left out.
        down_most: Option<At<Count<1, REPLICAS_MOST>>>,
        /// The fewest replicas by time.
        schedule: Option<At<Vec<At<ScheduleFile>>>>,
        /// After this the schedule begins anew; `24h` when left out.
        period: Option<At<Duration<1_000_000_000, YEAR>>>,
    }
}

words! {
    /// What an autoscaler measures.
    enum AimWord {
        /// Requests in the pool for each replica, mean since the last look.
        Concurrency = "concurrency",
        /// Requests that wait for each replica.
        Queue = "queue",
        /// Busy time of ready replicas divided by their time.
        Utilization = "utilization",
        /// Mean time to the first token (on a `slots` pool: to the answer) since the last look.
        Ttft = "ttft",
    }
}

section! {
    /// The fewest replicas from a time of the cycle on.
    struct ScheduleFile {
        /// From when.
        from: At<Delay>,
        /// Fewest.
        min: At<Count<0, REPLICAS_MOST>>,
    }
}

section! {
    /// What a replica needs before it serves; what is left out takes no time.
    struct ColdStartFile {
        /// Until there is a machine.
        provision: Option<At<DistFile<Times>>>,
        /// Until the weights are loaded.
        load: Option<At<DistFile<Times>>>,
        /// Until the engine is warm.
        warm_up: Option<At<DistFile<Times>>>,
    }
}

words! {
    /// What becomes of the requests of a replica that fails.
    enum OnFailureWord {
        /// They are lost.
        Lose = "lose",
        /// Those without a first token go to another replica; a stream that has begun is lost.
        Retry = "retry",
        /// All go to another replica; what a stream had said is processed again before it goes on.
        Resume = "resume",
    }
}

section! {
    /// The pool that processes the prompts of this one.
    struct PrefillFile {
        /// Its name.
        pool: At<Name>,
        /// The link that KV caches are sent over.
        link: At<Name>,
        /// Bytes of KV cache for each token of a prompt; those of the model's architecture when left out.
        kv_bytes_per_token: Option<At<Bytes<1, { 1 << 40 }>>>,
    }
}

section! {
    /// Something that fails, or slows down, at a given time.
    struct FaultFile {
        /// Its name, unique among faults; `fault-1` and so on when left out.
        name: Option<At<Name>>,
        /// When it begins.
        at: At<Delay>,
        /// How long it lasts; to the end when left out.
        lasts: Option<At<Lasting>>,
        /// Strikes one replica.
        replica: Option<At<ReplicaFile>>,
        /// Strikes every replica of a pool.
        pool: Option<At<Name>>,
        /// Strikes one GPU of a machine, and the replica that has it.
        gpu: Option<At<MachineFile>>,
        /// Strikes a machine.
        node: Option<At<MachineFile>>,
        /// Strikes every machine of a zone.
        zone: Option<At<Name>>,
        /// Instead of being down, what is struck takes this many times as long for every step or service.
        slow: Option<At<Number<1_001, 100_000>>>,
        /// `false` leaves the fault out.
        enabled: At<bool> = true,
    }
}

section! {
    /// A replica of a pool.
    struct ReplicaFile {
        /// The pool.
        pool: At<Name>,
        /// Which of its replicas, from 0.
        index: At<Count<0, { REPLICAS_MOST - 1 }>> = 0,
    }
}

section! {
    /// A machine of a group.
    struct MachineFile {
        /// The group.
        nodes: At<Name>,
        /// Which of its machines, from 0.
        index: At<Count<0, 9_999>> = 0,
    }
}

words! {
    /// Which of several pools is tried first.
    enum PreferWord {
        /// In the order of the file.
        Order = "order",
        /// At random, by weight.
        Weighted = "weighted",
        /// The lowest price of a replica for an hour.
        Cheapest = "cheapest",
        /// The lowest estimate of the time to an answer.
        Fastest = "fastest",
        /// The fewest requests for each ready replica.
        LeastLoaded = "least-loaded",
    }
}

words! {
    /// When the next pool is tried.
    enum NextWord {
        /// No replica of the pool is there.
        Down = "down",
        /// Or a limit or its full queue refuses the request.
        Refused = "refused",
        /// Or the request would have to wait.
        Busy = "busy",
    }
}

/// What pools of either engine say of their replicas.
#[derive(Clone, Copy)]
pub(super) struct FleetKeys<'a> {
    pub nodes: &'a Option<At<Vec<At<Name>>>>,
    pub place: &'a At<PlaceWord>,
    pub replicas: &'a At<ReplicasFile>,
    pub scaling: &'a Option<At<ScalingFile>>,
    pub cold_start: &'a Option<At<ColdStartFile>>,
    pub failures: &'a Option<At<FailuresFile>>,
    pub on_failure: &'a At<OnFailureWord>,
    pub notice: &'a At<Delay>,
    pub price: &'a Option<At<Price>>,
}

impl ReplicasFile {
    /// Most replicas there can be.
    pub(super) fn most(&self) -> u16 {
        match self {
            ReplicasFile::Fixed(count) => count.value.small() as u16,
            ReplicasFile::Range(range) => range.max.value.small() as u16,
        }
    }
}

impl PoolFile {
    /// What it says of its replicas.
    pub(super) fn fleet(&self) -> FleetKeys<'_> {
        macro_rules! keys {
            ($pool:expr) => {
                FleetKeys {
                    nodes: &$pool.nodes,
                    place: &$pool.place,
                    replicas: &$pool.replicas,
                    scaling: &$pool.scaling,
                    cold_start: &$pool.cold_start,
                    failures: &$pool.failures,
                    on_failure: &$pool.on_failure,
                    notice: &$pool.notice,
                    price: &$pool.price,
                }
            };
        }
        match self {
            PoolFile::Llm(pool) => keys!(pool),
            PoolFile::Slots(pool) => keys!(pool),
        }
    }
}
