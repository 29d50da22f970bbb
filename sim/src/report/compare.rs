//! Two result sets over each other. They are never mixed: every figure names both, and says when they saw
//! different requests.

use super::axis::Axis;
use super::figures::{bulk_end, color, figures, latency_axis, metric_title, sample_word};
use super::options::Options;
use super::plot::{About, Look, Plot, Series};
use super::shape;
use crate::results::against::{Matched, is_prediction, matched, roles, same_arrivals};
use crate::results::figure::{Unit, count};
use crate::results::{ResultSet, Summary, TimelineRow};
use crate::scenario::Metric;

/// The figures that both result sets have: of one latency, or of all; not those that `agreement` leaves out.
pub(super) fn figures_of_both(a: &ResultSet, b: &ResultSet, options: &Options<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    let names = names(&a.summary, &b.summary);
    for found in matched(a, b, options.metric) {
        let left_out = options.agreement.is_some_and(|all| all.leaves_out(&found.workload, found.metric));
        if !left_out {
            plots.extend(overlays(a, b, &names, &found));
        }
    }
    if options.metric.is_none() {
        plots.extend(timelines(a, b, &names));
    }
    plots
}

/// One latency of both: histograms, percentiles, distribution functions.
fn overlays(a: &ResultSet, b: &ResultSet, names: &[String; 2], found: &Matched) -> [Plot; 3] {
    let [left, right] = &found.histograms;
    let (workload, metric) = (&found.workload, found.metric);
    let colors = [color(metric), other_color(metric)];
    let mut caption = captions(a, b);
    if found.added_ns > 0 {
        let network = Unit::Ns.show(found.added_ns as f64);
        caption
            .push(format!("{network} of network round trip are added to what was predicted at the gateway"));
    }
    let plot = |kind: &str, title: &str, caption: Vec<String>, x: Axis, y: Axis, series: Vec<Series>| Plot {
        name: format!("{workload}-{}-{kind}-compared", metric.name()),
        about: About::Workload(workload.clone()),
        title: format!("{} of {workload}{title}", metric_title(metric)),
        caption,
        x,
        y,
        series,
        marks: Vec::new(),
        shaded: Vec::new(),
        limits: Vec::new(),
    };
    let line = |which: usize, look, points| Series {
        label: names[which].clone(),
        color: colors[which],
        look,
        points,
    };
    let log_axis = |most: u64| {
        let least = left.min().min(right.min());
        Axis::log_duration(&format!("{} (log scale)", metric.name()), least as f64, most as f64)
    };
    // Bars of both have the same edges.
    let (least, end) = (left.min().min(right.min()) as f64, bulk_end(left).max(bulk_end(right)));
    let outlines = [left, right].map(|histogram| shape::outline(histogram, least, end as f64));
    let highest = outlines.iter().flatten().map(|point| point.1).fold(0.0, f64::max);
    let [first, second] = outlines;
    let mut counted = caption.clone();
    counted.push(format!(
        "{} against {} {}; dotted where fewer than 10 lie beyond",
        count(left.len()),
        count(right.len()),
        sample_word(metric)
    ));
    let mut tails = shape::tail_series(left, &names[0], colors[0], Look::Solid);
    tails.extend(shape::tail_series(right, &names[1], colors[1], Look::Dashed));
    [
        plot(
            "histogram",
            "",
            caption.clone(),
            log_axis(end),
            Axis::share(format!("{} per bar", sample_word(metric)), highest),
            vec![line(0, Look::Area, first), line(1, Look::Dashed, second)],
        ),
        plot(
            "percentiles",
            ", by percentile",
            counted,
            Axis::tail(left.len().max(right.len())),
            latency_axis(metric.name(), &[left, right]),
            tails,
        ),
        plot(
            "cdf",
            ", cumulative",
            caption,
            log_axis(left.max().max(right.max())),
            Axis::whole(format!("{} at most this long", sample_word(metric))),
            vec![
                line(0, Look::Solid, shape::cumulative(left)),
                line(1, Look::Dashed, shape::cumulative(right)),
            ],
        ),
    ]
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
            x: Axis::time(until, "simulated time"),
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

/// How the two are called: by scenario and variant; by letter where those are equal, and by role where one is a
/// prediction of the other.
pub(super) fn names(a: &Summary, b: &Summary) -> [String; 2] {
    if is_prediction(a, b) {
        let [first, second] = roles(a, b);
        [format!("{first}: {}", a.title()), format!("{second}: {}", b.title())]
    } else if a.title() == b.title() {
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
        format!("{name}: {} from seed {seed}, scenario hash {hash}", summary.runs_text())
    };
    vec![line(left, &a.summary), line(right, &b.summary), same_requests(&a.summary, &b.summary).to_owned()]
}

/// Whether the two saw the same requests, in a sentence.
pub(super) fn same_requests(a: &Summary, b: &Summary) -> &'static str {
    if same_arrivals(a, b) {
        "same arrivals in both (equal arrival hashes): differences come from the system"
    } else {
        "DIFFERENT ARRIVALS (arrival hashes differ): differences come from the requests, too"
    }
}

/// The beginning of a hash.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..10).unwrap_or(hash)
}
