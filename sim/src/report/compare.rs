//! Two result sets over each other. They are never mixed: every figure names both, and says when they saw
//! different requests.

use super::axis::Axis;
use super::figures::{color, figures, latency_axis, metric_title, sample_word};
use super::plot::{About, Look, Plot, Series};
use super::shape;
use crate::results::figure::count;
use crate::results::{ResultSet, Summary, TimelineRow};
use crate::scenario::Metric;

/// The figures that both result sets have.
pub(super) fn figures_of_both(a: &ResultSet, b: &ResultSet, only: Option<Metric>) -> Vec<Plot> {
    let mut plots = Vec::new();
    let names = names(&a.summary, &b.summary);
    for workload in &a.summary.workloads {
        for metric in Metric::ALL {
            let skipped =
                only.map_or(metric == Metric::ClientE2e && workload.network_ns == 0, |only| metric != only);
            let both = (a.latency(&workload.name, metric), b.latency(&workload.name, metric));
            let (false, (Some(left), Some(right))) = (skipped, both) else { continue };
            let mut series = shape::tail_series(left, &names[0], color(metric), Look::Solid);
            series.extend(shape::tail_series(right, &names[1], other_color(metric), Look::Dashed));
            let mut caption = captions(a, b);
            caption.push(format!(
                "{} against {} {}; dotted where fewer than 10 lie beyond",
                count(left.len()),
                count(right.len()),
                sample_word(metric)
            ));
            plots.push(Plot {
                name: format!("{}-{}-percentiles-compared", workload.name, metric.name()),
                about: About::Workload(workload.name.clone()),
                title: format!("{} of {}, by percentile", metric_title(metric), workload.name),
                caption,
                x: Axis::tail(left.len().max(right.len())),
                y: latency_axis(metric.name(), &[left, right]),
                series,
                marks: Vec::new(),
                shaded: Vec::new(),
                limits: Vec::new(),
            });
            let (least, most) = (left.min().min(right.min()), left.max().max(right.max()));
            let line = |which: usize, color, look, points| Series {
                label: names[which].clone(),
                color,
                look,
                points,
            };
            plots.push(Plot {
                name: format!("{}-{}-cdf-compared", workload.name, metric.name()),
                about: About::Workload(workload.name.clone()),
                title: format!("{} of {}, cumulative", metric_title(metric), workload.name),
                caption: captions(a, b),
                x: Axis::log_duration(&format!("{} (log scale)", metric.name()), least as f64, most as f64),
                y: Axis::whole(format!("{} at most this long", sample_word(metric))),
                series: vec![
                    line(0, color(metric), Look::Solid, shape::cumulative(left)),
                    line(1, other_color(metric), Look::Dashed, shape::cumulative(right)),
                ],
                marks: Vec::new(),
                shaded: Vec::new(),
                limits: Vec::new(),
            });
        }
    }
    if only.is_none() {
        plots.extend(timelines(a, b, &names));
    }
    plots
}

/// Queues over time of the pools that both have.
fn timelines(a: &ResultSet, b: &ResultSet, names: &[String; 2]) -> Vec<Plot> {
    let own = figures(a, None);
    let mut plots = Vec::new();
    for pool in &a.summary.pools {
        let rows = |set: &ResultSet| -> Vec<(f64, f64)> {
            let width = set.summary.provenance.bin_ns as f64 / 1e9;
            let waits = |row: &TimelineRow| Some((row.start_s + width, row.gateway_queue? + row.waiting?));
            set.timeline.iter().filter(|row| row.pool == pool.name).filter_map(waits).collect()
        };
        let (left, right) = (rows(a), rows(b));
        let base = own.iter().find(|plot| plot.name == format!("{}-queues", pool.name));
        let (Some(base), false) = (base, right.is_empty()) else { continue };
        let most = left.iter().chain(&right).map(|point| point.1).fold(0.0, f64::max);
        let until = left.iter().chain(&right).map(|point| point.0).fold(0.0, f64::max);
        plots.push(Plot {
            name: format!("{}-queues-compared", pool.name),
            title: format!("Requests waiting for pool {}", pool.name),
            caption: captions(a, b),
            x: Axis::time(until),
            y: Axis::count("requests", most),
            series: vec![
                Series { label: names[0].clone(), color: 0, look: Look::Solid, points: left },
                Series { label: names[1].clone(), color: 1, look: Look::Dashed, points: right },
            ],
            ..base.clone()
        });
    }
    plots
}

/// A colour for the second result set that differs from the first's in hue and in lightness.
fn other_color(metric: Metric) -> usize {
    (color(metric) + 1) % 5
}

/// How the two are called: by scenario and variant, and by letter where those are equal.
pub(super) fn names(a: &Summary, b: &Summary) -> [String; 2] {
    if a.title() == b.title() {
        [format!("A: {}", a.title()), format!("B: {}", b.title())]
    } else {
        [a.title(), b.title()]
    }
}

fn captions(a: &ResultSet, b: &ResultSet) -> Vec<String> {
    let [left, right] = names(&a.summary, &b.summary);
    let line = |name: String, summary: &Summary| {
        let seed = summary.provenance.seeds.first().map_or_else(|| "-".to_owned(), u64::to_string);
        let hash = short(&summary.provenance.scenario_hash);
        format!("{name}: {} replications from seed {seed}, scenario hash {hash}", summary.replications())
    };
    vec![line(left, &a.summary), line(right, &b.summary), same_requests(&a.summary, &b.summary).to_owned()]
}

/// Whether the two saw the same requests, in a sentence.
pub(super) fn same_requests(a: &Summary, b: &Summary) -> &'static str {
    if a.provenance.arrival_hash == b.provenance.arrival_hash {
        "same arrivals in both (equal arrival hashes): differences come from the system"
    } else {
        "DIFFERENT ARRIVALS (arrival hashes differ): differences come from the requests, too"
    }
}

/// The beginning of a hash.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..10).unwrap_or(hash)
}
