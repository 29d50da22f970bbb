//! Properties: figures that exist, bounds in their unit.

use super::{Entry, ratio};
use crate::profile::Mechanism;
use crate::request::{Outcome, PoolId};
use crate::scenario::batch::{JobRules, Jobs};
use crate::scenario::decode::{At, Decode, did_you_mean};
use crate::scenario::diagnostic::Errors;
use crate::scenario::document::Value;
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::{Lasting, Number, Rate, Raw, Share};
use crate::scenario::property_file::{MetricWord, PropertyFile};
use crate::scenario::{
    Arrivals, Batch, Bound, End, Engine, JobShare, Measure, Metric, Pool, Property, Scenario, Workload,
};
use crate::time::Span;

/// What a property can be compared with.
pub(super) struct Others<'a> {
    /// Names of the variants of the file.
    pub variants: &'a [String],
    pub horizon: Option<Span>,
}

/// Every enabled property, in the order of the file; one for each of its metrics.
pub(super) fn all(
    file: &ScenarioFile,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    others: &Others<'_>,
    errors: &mut Errors,
) -> Vec<Property> {
    let mut names: Vec<String> = Vec::new();
    let mut resolved = Vec::new();
    for at in &file.properties.0 {
        let property = &at.value;
        for (name, metric) in claims(property) {
            if names.contains(&name) {
                errors.refuse(&property.name.place, format!("two properties are named `{name}`"));
            }
            if property.enabled.value {
                resolved.extend(one(at, &name, metric, workloads, pools, others, errors));
            }
            names.push(name);
        }
    }
    resolved
}

/// The metrics of a property, each with the name of the claim about it.
fn claims(property: &PropertyFile) -> Vec<(String, &At<MetricWord>)> {
    let name = property.name.value.0.trim();
    match &property.metric.value.0[..] {
        [metric] => vec![(name.to_owned(), metric)],
        metrics => {
            metrics.iter().map(|metric| (format!("{name} ({})", metric.value.word()), metric)).collect()
        }
    }
}

fn one(
    at: &At<PropertyFile>,
    name: &str,
    metric: &At<MetricWord>,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    others: &Others<'_>,
    errors: &mut Errors,
) -> Option<Property> {
    let before = errors.count();
    let property = &at.value;
    let workload = property.workload.as_ref().map(|at| workload_of(at, workloads, errors));
    let entry = workload.flatten().map(|index| &workloads[index]);
    let measure = measure(at, metric, errors);
    let ratio = ratio::resolve(property, metric, measure, entry, others, errors);
    let bound = measure.and_then(|measure| bound(at, measure, errors));
    (errors.count() == before).then_some(())?;
    exists(metric, measure?, entry, workloads, pools, errors)?;
    // Workloads that are switched off have no index in the scenario.
    let position = |index: usize| workloads[..index].iter().filter(|entry| entry.enabled).count();
    Some(Property {
        name: name.to_owned(),
        workload: workload.flatten().map(position),
        measure: measure?,
        bound: bound?,
        ratio,
    })
}

pub(super) fn workload_of(
    at: &At<crate::scenario::leaf::Name>,
    workloads: &[Entry],
    errors: &mut Errors,
) -> Option<usize> {
    let wanted = at.value.as_str();
    let found = workloads.iter().position(|entry| entry.name == wanted);
    let Some(index) = found else {
        let names = || workloads.iter().map(|entry| entry.name.as_str());
        let hint = did_you_mean(wanted, names())
            .unwrap_or_else(|| format!("declared: {}", crate::scenario::overrides::listed(names())));
        errors.refuse_with(&at.place, format!("no workload is named `{wanted}`"), hint);
        return None;
    };
    if !workloads[index].enabled {
        errors.refuse_with(
            &at.place,
            format!("the workload `{wanted}` is switched off"),
            "set `enabled = false` here, too (in a variant: `\"properties.NAME.enabled\" = false`)",
        );
        return None;
    }
    Some(index)
}

fn measure(at: &At<PropertyFile>, metric: &At<MetricWord>, errors: &mut Errors) -> Option<Measure> {
    let property = &at.value;
    let latency = match metric.value {
        MetricWord::Ttft => Metric::Ttft,
        MetricWord::Itl => Metric::Itl,
        MetricWord::Tpot => Metric::Tpot,
        MetricWord::E2e => Metric::E2e,
        MetricWord::ClientE2e => Metric::ClientE2e,
        MetricWord::JobTime => {
            return match statistic(at, metric.value, errors)? {
                Statistic::Quantile(quantile) => Some(Measure::JobQuantile(quantile)),
                Statistic::Mean => Some(Measure::JobMean),
            };
        }
        _ => return plain_measure(property, metric.value, errors),
    };
    match statistic(at, metric.value, errors)? {
        Statistic::Quantile(quantile) => Some(Measure::Quantile(latency, quantile)),
        Statistic::Mean => Some(Measure::Mean(latency)),
    }
}

/// What is asked of a metric that is a time.
enum Statistic {
    Quantile(f64),
    Mean,
}

fn statistic(at: &At<PropertyFile>, metric: MetricWord, errors: &mut Errors) -> Option<Statistic> {
    let property = &at.value;
    match (&property.quantile, property.mean.value) {
        (Some(quantile), false) => {
            let q = quantile.value.0;
            if q > 0.0 && q < 1.0 {
                return Some(Statistic::Quantile(q));
            }
            let hint = "the slowest request of a run grows with its length: ask for a quantile below 1";
            errors.refuse_with(&quantile.place, format!("`{q}` is not strictly between 0 and 1"), hint);
        }
        (None, true) => return Some(Statistic::Mean),
        (Some(_), true) => errors.refuse(&property.mean.place, "`quantile` and `mean` exclude each other"),
        (None, false) => errors.refuse_with(
            &at.place,
            format!("`{}` needs `quantile` or `mean = true`", metric.word()),
            "for example `quantile = 0.99`",
        ),
    }
    None
}

/// The measure of a metric that is one number.
fn plain_measure(property: &PropertyFile, metric: MetricWord, errors: &mut Errors) -> Option<Measure> {
    let word = metric.word();
    let extra = property.quantile.as_ref().map(|at| &at.place);
    let extra = extra.or(property.mean.value.then_some(&property.mean.place));
    if let Some(place) = extra {
        errors.refuse_with(place, format!("`{word}` has neither quantiles nor a mean"), "leave it out");
        return None;
    }
    Some(match metric {
        MetricWord::Throughput => Measure::Throughput,
        MetricWord::TokenThroughput => Measure::TokenThroughput,
        MetricWord::Goodput => Measure::GoodputShare,
        MetricWord::GoodputRate => Measure::GoodputRate,
        MetricWord::Completed => Measure::Share(Outcome::Completed),
        MetricWord::Refused => Measure::Share(Outcome::Refused),
        MetricWord::TimedOut => Measure::Share(Outcome::TimedOut),
        MetricWord::Expired => Measure::Share(Outcome::Expired),
        MetricWord::Lost => Measure::Share(Outcome::Lost),
        MetricWord::Failed => Measure::Share(Outcome::Failed),
        MetricWord::Cancelled => Measure::Share(Outcome::Cancelled),
        MetricWord::Amplification => Measure::Amplification,
        MetricWord::Wasted => Measure::Wasted,
        MetricWord::Utilization => Measure::Utilization,
        MetricWord::Replicas => Measure::Replicas,
        MetricWord::Cost => Measure::Cost,
        MetricWord::CostPerMillionTokens => Measure::CostPerMillionTokens,
        MetricWord::JobsCompleted => Measure::Jobs(JobShare::Completed),
        MetricWord::JobsExpired => Measure::Jobs(JobShare::Expired),
        MetricWord::JobsFailed => Measure::Jobs(JobShare::Failed),
        MetricWord::BatchRequestsCompleted => Measure::Jobs(JobShare::RequestsCompleted),
        MetricWord::BatchRequestsExpired => Measure::Jobs(JobShare::RequestsExpired),
        MetricWord::Ttft
        | MetricWord::Itl
        | MetricWord::Tpot
        | MetricWord::E2e
        | MetricWord::ClientE2e
        | MetricWord::JobTime => unreachable!("times are handled by the caller"),
    })
}

fn bound(at: &At<PropertyFile>, measure: Measure, errors: &mut Errors) -> Option<Bound> {
    let property = &at.value;
    let is_ratio = property.ratio_to.is_some();
    match (&property.at_most, &property.at_least) {
        (Some(most), None) => value(most, measure, is_ratio, false, errors).map(Bound::AtMost),
        (None, Some(least)) => value(least, measure, is_ratio, true, errors).map(Bound::AtLeast),
        (Some(_), Some(least)) => {
            errors.refuse_with(
                &least.place,
                "`at_most` and `at_least` exclude each other",
                "write two properties",
            );
            None
        }
        (None, None) => {
            errors.refuse(&at.place, "a property needs `at_most` or `at_least`");
            None
        }
    }
}

/// A bound in the unit of its figure: nanoseconds, per second, a share, or a plain number.
fn value(
    raw: &At<Raw>,
    measure: Measure,
    is_ratio: bool,
    at_least: bool,
    errors: &mut Errors,
) -> Option<f64> {
    if is_ratio {
        return ratio::bound(raw, errors);
    }
    let (bound, always, what) = match measure {
        Measure::Quantile(..) | Measure::Mean(_) | Measure::JobQuantile(_) | Measure::JobMean => {
            return Lasting::decode(&raw.value.0, errors).map(|duration| duration.0.as_nanos() as f64);
        }
        Measure::Throughput | Measure::TokenThroughput | Measure::GoodputRate => {
            return Rate::decode(&raw.value.0, errors).map(|rate| rate.0);
        }
        Measure::Share(_)
        | Measure::GoodputShare
        | Measure::Utilization
        | Measure::Wasted
        | Measure::Jobs(_) => {
            let share = Share::decode(&raw.value.0, errors)?.0;
            (share, if at_least { share <= 0.0 } else { share >= 1.0 }, "every share")
        }
        Measure::Amplification => {
            let ratio = plain(raw, "attempts for each request, such as `1.2`", errors)?;
            (ratio, at_least && ratio <= 1.0, "every amplification")
        }
        Measure::Replicas => {
            let mean = plain(raw, "a number of replicas, such as `6.5`", errors)?;
            (mean, at_least && mean <= 0.0, "every number of replicas")
        }
        Measure::Cost => {
            let cost =
                plain(raw, "the cost of an hour in the currency of the prices, such as `12.5`", errors)?;
            (cost, at_least && cost <= 0.0, "every cost")
        }
        Measure::CostPerMillionTokens => {
            let expected = "the cost of a million tokens in the currency of the prices, such as `0.8`";
            let cost = plain(raw, expected, errors)?;
            (cost, at_least && cost <= 0.0, "every cost")
        }
    };
    if always {
        // A share has an end on either side, the others have one below.
        let least = match measure {
            Measure::Amplification => 1.0,
            _ => bound,
        };
        let word = if at_least { "least" } else { "most" };
        errors.refuse(&raw.place, format!("{what} is at {word} `{least}`: this would always hold"));
        return None;
    }
    Some(bound)
}

/// A bound that has no unit in the file.
fn plain(raw: &At<Raw>, expected: &str, errors: &mut Errors) -> Option<f64> {
    let node = &raw.value.0;
    if let Value::Text(text) = &node.value {
        let number = text.trim_start().split(|c: char| !(c.is_ascii_digit() || c == '.')).next();
        let hint = match number.filter(|number| !number.is_empty()) {
            Some(number) => format!("write a number without quotes and without a unit: `{number}`"),
            None => "write a number without quotes and without a unit".to_owned(),
        };
        errors.refuse_with(&raw.place, format!("`{text}` is a string, expected {expected}"), hint);
        return None;
    }
    Number::<0, 1_000_000_000_000>::decode(node, errors).map(|number| number.0)
}

/// Refuses properties of figures that nothing in the scenario can move: they would hold (or not) whatever happens.
pub(super) fn vary(file: &ScenarioFile, scenario: &Scenario, errors: &mut Errors) {
    let declared = file.properties.0.iter().filter(|property| property.value.enabled.value);
    let metrics = declared.flat_map(|property| &property.value.metric.value.0);
    for (metric, property) in metrics.zip(&scenario.properties) {
        if let Some((value, why, hint)) = fixed(scenario, property) {
            let word = metric.value.word();
            let reason = format!("`{word}` can never be other than {value}: {why}");
            errors.refuse_with(&metric.place, reason, hint);
        }
    }
}

/// The only value that the figure of a property can have, why, and what would change that.
fn fixed(scenario: &Scenario, property: &Property) -> Option<(u64, &'static str, &'static str)> {
    let workloads = match property.workload {
        Some(index) => std::slice::from_ref(&scenario.workloads[index]),
        None => &scenario.workloads[..],
    };
    let any = |holds: &dyn Fn(&Workload) -> bool| workloads.iter().any(holds);
    let fails =
        any(&|workload| scenario.workers_of(workload).into_iter().any(|pool| scenario.pool_can_fail(pool)));
    let tries = any(&|workload| workload.client.retry.is_some() || workload.client.hedge.is_some());
    let of = |batch: &Batch| property.workload == Some(usize::from(batch.workload));
    let limits = &scenario.policy.limits;
    let deadline = limits.iter().any(|limit| matches!(limit.mechanism, Mechanism::Deadline { .. }));
    match property.measure {
        Measure::Share(Outcome::Lost) if !fails => {
            Some((0, "nothing that serves it fails", "give its pool `failures`, or declare `[[faults]]`"))
        }
        Measure::Share(Outcome::Failed) if !deadline => Some((
            0,
            "no execution limit is in force",
            "use a profile with a limit of the mechanism `deadline`",
        )),
        Measure::Share(Outcome::Cancelled) if !any(&|workload| workload.client.hedge.is_some()) => {
            Some((0, "no client sends a second attempt beside the first", "give its workload a `hedge`"))
        }
        Measure::Amplification if !tries => {
            Some((1, "no client tries again", "give its workload a `retry` or a `hedge`"))
        }
        Measure::Wasted
            if !(fails
                || tries
                || deadline
                || scenario.end == End::Cut
                || any(&|workload| workload.patience.is_some())
                // Requests of jobs that expire or are cancelled are stopped.
                || any(&|workload| matches!(workload.arrivals, Arrivals::Jobs))) =>
        {
            Some((
                0,
                "every answer that begins is completed",
                "give its workload a `patience`, a `retry` or a `hedge`, or let something fail",
            ))
        }
        Measure::Replicas => {
            let pools = |workload: &Workload| {
                scenario.pools_of(workload).into_iter().any(|pool| scenario.pool_can_vary(pool))
            };
            let varies = match property.workload {
                Some(_) => any(&pools),
                None => (0..scenario.pools.len()).any(|pool| scenario.pool_can_vary(pool as PoolId)),
            };
            (!varies).then(|| {
                let pools = workloads.iter().flat_map(|workload| scenario.pools_of(workload));
                let of = |pool: &Pool| u64::from(pool.fleet.initial);
                let all: u64 = match property.workload {
                    Some(_) => pools.map(|pool| of(&scenario.pools[usize::from(pool)])).sum(),
                    None => scenario.pools.iter().map(of).sum(),
                };
                (all, "its pools neither scale nor fail", "give a pool `scaling`, `failures` or a fault")
            })
        }
        Measure::Jobs(JobShare::Failed)
            if !scenario.batches.iter().any(|batch| of(batch) && can_fail(batch)) =>
        {
            Some((
                0,
                "no rule is in force that a job could break",
                "use a profile with limits on batch, or let the file of a job be wrong",
            ))
        }
        Measure::Cost | Measure::CostPerMillionTokens if !scenario.has_prices() => Some((
            0,
            "nothing has a price",
            "give the pool, or the nodes it is on, a `price` such as `\"2.50 USD/h\"`",
        )),
        _ => None,
    }
}

/// Whether a job of `batch` can be refused, or fail when it is checked.
fn can_fail(batch: &Batch) -> bool {
    let JobRules { fault, requests, bytes, tokens, .. } = &batch.rules;
    let faulty = match &batch.jobs {
        Jobs::Drawn { .. } => false,
        Jobs::Listed(jobs) => jobs.iter().any(|job| job.fault.is_some()),
    };
    fault.is_some() || requests.is_some() || bytes.is_some() || tokens.is_some() || faulty
}

/// Refuses a figure that will never have a value.
fn exists(
    metric: &At<MetricWord>,
    measure: Measure,
    workload: Option<&Entry>,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<()> {
    let before = errors.count();
    let mut asked =
        workloads.iter().filter(|entry| entry.enabled && workload.is_none_or(|one| one.name == entry.name));
    let goodput = matches!(measure, Measure::GoodputShare | Measure::GoodputRate);
    if goodput && !asked.clone().any(|entry| entry.has_objectives) {
        errors.refuse_with(
            &metric.place,
            "goodput needs objectives, and none are declared",
            "add `objectives = { ttft = \"1s\", tpot = \"50ms\" }` to the workload",
        );
    }
    if measure.is_of_jobs() && !workload.is_some_and(|entry| entry.batch) {
        let word = metric.value.word();
        let reason = match workload {
            None => format!("`{word}` is of the jobs of one batch, and none is named"),
            Some(entry) => {
                format!("`{word}` is of the jobs of a batch, and the workload `{}` has none", entry.name)
            }
        };
        errors.refuse_with(&metric.place, reason, "write `workload = \"NAME\"` with the name of a batch");
    }
    let token_gaps = matches!(
        measure,
        Measure::Quantile(Metric::Itl | Metric::Tpot, _) | Measure::Mean(Metric::Itl | Metric::Tpot)
    );
    if let (Measure::Quantile(..) | Measure::Mean(_), Some(batch)) =
        (measure, workload.filter(|one| one.elsewhere))
    {
        errors.refuse_with(
            &metric.place,
            format!("the batch `{}` is worked on elsewhere: its requests have no latencies here", batch.name),
            "leave the property out, or ask for what becomes of its jobs",
        );
    }
    let on_slots = |entry: &Entry| {
        let pool = entry.pool.and_then(|index| pools[index].as_ref());
        pool.is_some_and(|pool| matches!(pool.engine, Engine::Slots(_)))
    };
    if token_gaps && asked.all(on_slots) {
        errors.refuse_with(
            &metric.place,
            format!("a `slots` pool gives the whole answer at once: it has no `{}`", metric.value.word()),
            "use `e2e`",
        );
    }
    (errors.count() == before).then_some(())
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Bound, Measure, Overrides, load_str};

    const FILE: &str = r#"
[scenario]
question = "Is one replica enough?"
horizon = "10min"

[models.m]
context = "8k"

[pools.chat]
model = "m"
step_time = { kind = "linear", base = "8ms", per_sequence = "20us" }
kv = { blocks = 2000 }

[tiers.t]
pools = ["chat"]

[workloads.chat]
tier = "t"
arrivals = { kind = "poisson", rate = "2/s" }
prompt = 500
output = 100

[[properties]]
name = "p"
"#;

    /// The first message that a property with these lines is refused with, and its hint.
    fn refused(property: &str) -> (String, String) {
        let found = load_str("x.toml", &format!("{FILE}{property}\n"), &Overrides::default());
        let found = found.expect_err(property);
        assert_eq!(found.items.len(), 1, "{found}");
        (found.items[0].message.clone(), found.items[0].hint.clone().unwrap_or_default())
    }

    #[test]
    fn what_nothing_can_move_is_no_property() {
        for (metric, value, hint) in [
            ("lost", 0, "failures"),
            ("failed", 0, "deadline"),
            ("cancelled", 0, "hedge"),
            ("amplification", 1, "retry"),
            ("wasted", 0, "patience"),
            ("replicas", 1, "scaling"),
            ("cost", 0, "USD/h"),
            ("cost-per-million-tokens", 0, "USD/h"),
        ] {
            let (message, said) = refused(&format!("metric = \"{metric}\"\nat_most = 0.5"));
            let expected = format!("`{metric}` can never be other than {value}: ");
            assert!(message.starts_with(&expected), "{message}");
            assert!(said.contains(hint), "{said}");
        }
    }

    #[test]
    fn figures_of_jobs_are_of_a_batch() {
        let of_none = "is of the jobs of one batch, and none is named";
        for metric in ["jobs-completed", "jobs-expired", "jobs-failed", "batch-requests-completed"] {
            let (message, hint) = refused(&format!("metric = \"{metric}\"\nat_least = 0.5"));
            assert_eq!(message, format!("`{metric}` {of_none}"));
            assert_eq!(hint, "write `workload = \"NAME\"` with the name of a batch");
        }
        let (message, _) =
            refused("metric = \"job-time\"\nquantile = 0.95\nat_most = \"20h\"\nworkload = \"chat\"");
        assert_eq!(message, "`job-time` is of the jobs of a batch, and the workload `chat` has none");
        let (message, _) = refused("metric = \"job-time\"\nat_most = \"20h\"\nworkload = \"chat\"");
        assert_eq!(message, "`job-time` needs `quantile` or `mean = true`");
        let (message, _) = refused("metric = \"jobs-completed\"\nat_least = 0\nworkload = \"chat\"");
        assert_eq!(message, "every share is at least `0`: this would always hold");
    }

    #[test]
    fn tokens_can_be_wasted_as_soon_as_a_client_can_lose_its_patience() {
        let text = FILE.replace("output = 100", "output = 100\npatience = \"10s\"");
        let text = format!("{text}metric = \"wasted\"\nat_most = \"5%\"\n");
        let scenario = load_str("x.toml", &text, &Overrides::default()).unwrap();
        let property = &scenario.properties[0];
        assert_eq!((property.measure, property.bound), (Measure::Wasted, Bound::AtMost(0.05)));
    }

    #[test]
    fn plain_numbers_have_no_unit_and_say_so() {
        let (message, hint) = refused("metric = \"cost\"\nat_most = \"12.5 USD/h\"");
        assert_eq!(
            message,
            "`12.5 USD/h` is a string, expected the cost of an hour in the currency of the prices, such as `12.5`"
        );
        assert_eq!(hint, "write a number without quotes and without a unit: `12.5`");
        let (message, _) = refused("metric = \"replicas\"\nat_most = -1");
        assert_eq!(message, "`-1` is not in 0..=1000000000");
        let (message, hint) = refused("metric = \"amplification\"\nat_most = \"many\"");
        assert!(message.starts_with("`many` is a string, expected attempts for each request"), "{message}");
        assert_eq!(hint, "write a number without quotes and without a unit");
    }

    #[test]
    fn a_bound_that_every_run_keeps_is_no_property() {
        for (metric, bound, expected) in [
            ("amplification", "1.0", "every amplification is at least `1`"),
            ("replicas", "0", "every number of replicas is at least `0`"),
            ("cost", "0", "every cost is at least `0`"),
            ("wasted", "0", "every share is at least `0`"),
        ] {
            let (message, _) = refused(&format!("metric = \"{metric}\"\nat_least = {bound}"));
            assert_eq!(message, format!("{expected}: this would always hold"));
        }
    }
}
