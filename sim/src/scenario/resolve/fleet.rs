//! Machines, zones, links and prices: what pools share.

use super::fault;
use crate::dist::Dist;
use crate::request::PoolId;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::Errors;
use crate::scenario::dist_file::{DistFile, Magnitude as _, Times};
use crate::scenario::file::ScenarioFile;
use crate::scenario::fleet::{Effect, Failures, Fault, Fleet, Link, NodeGroup, Target};
use crate::scenario::fleet_file::{BillingWord, FailuresFile, FleetKeys, NodesFile};
use crate::scenario::fleet_leaf::Price;
use crate::scenario::leaf::GpuName;
use crate::time::Span;

/// What pools share, as far as it could be read; groups and links in the order of the file.
pub(super) struct Shared {
    pub nodes: Vec<Option<NodeGroup>>,
    zones: Vec<String>,
    links: Vec<Option<Link>>,
    /// Those that are switched on and right.
    faults: Vec<Fault>,
    currency: String,
}

/// Everything but pools.
pub(super) fn shared(file: &ScenarioFile, horizon: Option<Span>, errors: &mut Errors) -> Shared {
    let mut zones: Vec<String> = Vec::new();
    let entries = file.nodes.entries.iter();
    let nodes: Vec<Option<NodeGroup>> =
        entries.map(|(name, _, group)| group_of(name, group.as_ref()?, &mut zones, errors)).collect();
    let links = file.links.entries.iter().map(|(name, _, link)| {
        let link = link.as_ref()?;
        Some(Link { name: name.clone(), bandwidth: link.bandwidth.value.0, latency: link.latency.value.0 })
    });
    let faults = fault::all(file, &zones, horizon, errors);
    Shared { nodes, links: links.collect(), faults, currency: currency(file, errors), zones }
}

impl Shared {
    /// All of it, when nothing is wrong.
    pub(super) fn finish(self) -> Option<Fleet> {
        Some(Fleet {
            nodes: self.nodes.into_iter().collect::<Option<_>>()?,
            zones: self.zones,
            links: self.links.into_iter().collect::<Option<_>>()?,
            faults: self.faults,
            currency: self.currency,
        })
    }

    /// Whether a replica of the pool can be lost: by itself, with its machine, or by a fault. What could not be read
    /// may do anything.
    pub(super) fn can_fail(&self, pool: usize, keys: &FleetKeys<'_>, file: &ScenarioFile) -> bool {
        let unread = !file.faults.1.is_empty() || !file.nodes.broken.is_empty();
        let names = keys.nodes.iter().flat_map(|at| &at.value);
        let groups: Vec<Option<usize>> =
            names.map(|name| file.nodes.names().position(|known| known == name.value.as_str())).collect();
        let machines = groups.iter().any(|group| {
            let group = group.and_then(|group| self.nodes[group].as_ref());
            group.is_none_or(|group| group.failures.is_some())
        });
        let struck = self.faults.iter().filter(|fault| fault.effect == Effect::Down).any(|fault| {
            let group_in = |zone: usize| {
                let mut known = groups.iter().flatten().filter_map(|group| self.nodes[*group].as_ref());
                known.any(|group| group.zone == zone)
            };
            match fault.target {
                Target::Replica(struck, _) | Target::Pool(struck) => struck == pool as PoolId,
                Target::Gpu(group, _) | Target::Node(group, _) => groups.contains(&Some(group)),
                Target::Zone(zone) => group_in(zone),
            }
        });
        unread || keys.failures.is_some() || machines || struck
    }
}

fn group_of(name: &str, file: &NodesFile, zones: &mut Vec<String>, errors: &mut Errors) -> Option<NodeGroup> {
    let before = errors.count();
    if let (Some(billing), None) = (&file.billing, &file.price) {
        errors.refuse_with(
            &billing.place,
            "`billing` would never act: the machines have no price",
            "add `price`, such as `price = \"2.50 USD/h\"`, or leave it out",
        );
    }
    let zone = file.zone.value.as_str();
    let known = zones.iter().position(|known| known == zone);
    let zone = known.unwrap_or_else(|| {
        zones.push(zone.to_owned());
        zones.len() - 1
    });
    let failures = file.failures.as_ref().map(|at| failures(at, errors));
    (errors.count() == before).then_some(())?;
    Some(NodeGroup {
        name: name.to_owned(),
        gpu: file.gpu.value.0.clone(),
        count: file.count.value.small(),
        gpus: file.gpus.value.small(),
        zone,
        price: file.price.as_ref().map(|at| at.value.per_hour),
        reserved: file.billing.as_ref().is_some_and(|at| at.value == BillingWord::Reserved),
        failures: failures.flatten(),
    })
}

/// How something fails: a plain duration is the mean of an exponential law.
pub(super) fn failures(at: &At<FailuresFile>, errors: &mut Errors) -> Option<Failures> {
    let (mtbf, mttr) = (law(&at.value.mtbf, errors), law(&at.value.mttr, errors));
    let mtbf = mtbf?;
    if mtbf.mean() < 1.0 {
        let place = &at.value.mtbf.place;
        let mean = Span::from_secs_f64(mtbf.mean());
        errors.refuse_with(
            place,
            format!("a mean of `{mean}` between failures is not at least 1s"),
            "machines fail after days or months: `mtbf = \"60d\"`",
        );
        return None;
    }
    Some(Failures { mtbf, mttr: mttr? })
}

fn law(at: &At<DistFile<Times>>, errors: &mut Errors) -> Option<Dist> {
    match &at.value {
        DistFile::Single(mean) if mean.magnitude() > 0.0 => match Dist::exponential(mean.magnitude()) {
            Ok(dist) => Some(dist),
            Err(error) => {
                errors.refuse(&at.place, error.to_string());
                None
            }
        },
        _ => super::dist::dist(at, errors),
    }
}

/// The currency of all prices; empty when there are none.
fn currency(file: &ScenarioFile, errors: &mut Errors) -> String {
    let nodes = file
        .nodes
        .entries
        .iter()
        .filter_map(|(name, _, group)| Some((format!("nodes.{name}"), group.as_ref()?.price.as_ref()?)));
    let pools = file.pools.entries.iter().filter_map(|(name, _, pool)| {
        Some((format!("pools.{name}"), pool.as_ref()?.fleet().price.as_ref()?))
    });
    let prices: Vec<(String, &At<Price>)> = nodes.chain(pools).collect();
    let Some((first, known)) = prices.first() else { return String::new() };
    let currency = &known.value.currency;
    for (_, other) in &prices {
        if other.value.currency != *currency {
            errors.refuse_with(
                &other.place,
                format!(
                    "`{}` is another currency than `{currency}`, that of `{first}`",
                    other.value.currency
                ),
                "give every price in one currency",
            );
        }
    }
    currency.clone()
}

/// GPU type of a pool: its own, or that of its machines.
pub(super) fn gpu_of<'a>(
    own: Option<&'a At<GpuName>>,
    keys: &FleetKeys<'a>,
    file: &'a ScenarioFile,
) -> Option<&'a str> {
    let machines = || {
        let name = keys.nodes.as_ref()?.value.first()?;
        let index = file.nodes.names().position(|known| known == name.value.as_str())?;
        Some(file.nodes.entries[index].2.as_ref()?.gpu.value.0.as_str())
    };
    own.map(|at| at.value.0.as_str()).or_else(machines)
}

/// Whether a pool has a price: its own, or one of each group of its machines.
pub(super) fn is_priced(keys: &FleetKeys<'_>, file: &ScenarioFile) -> bool {
    let Some(nodes) = keys.nodes else { return keys.price.is_some() };
    nodes.value.iter().all(|name| {
        let index = file.nodes.names().position(|known| known == name.value.as_str());
        // A group that is not there, or not readable, is reported elsewhere.
        index.and_then(|index| file.nodes.entries[index].2.as_ref()).is_none_or(|group| group.price.is_some())
    })
}
