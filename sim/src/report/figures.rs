//! Which figures a result set has, and what is on them.

use super::against;
use super::axis::Axis;
use super::over_time;
use super::plot::{About, Look, Mark, Plot, Series};
use super::shape;
use crate::results::figure::{Unit, count};
use crate::results::{ClientRow, JobRow, ResultSet, TimelineRow, WorkloadSummary};
use crate::scenario::Metric;
use hdrhistogram::Histogram;

/// Every figure of `results`, or those of one latency.
///
/// Per workload and latency a histogram and a percentile plot, per workload the distribution functions and (where
/// clients may try again) attempts and requests over time, per pool the throughput, the queues and the load over time,
/// and the replicas when their number changes; per batch its jobs, and per pool that works on one the tokens of both
/// kinds. What was never measured has no figure. The client's latency is
/// drawn when it differs from the server's, or when asked for.
pub fn figures(results: &ResultSet, only: Option<Metric>) -> Vec<Plot> {
    let mut figures = Vec::new();
    for workload in &results.summary.workloads {
        let drawn = |metric: &Metric| match only {
            Some(only) => *metric == only,
            None => *metric != Metric::ClientE2e || workload.network_ns > 0,
        };
        let measured: Vec<(Metric, &Histogram<u64>)> = Metric::ALL
            .into_iter()
            .filter(drawn)
            .filter_map(|metric| Some((metric, results.latency(&workload.name, metric)?)))
            .filter(|(_, histogram)| !histogram.is_empty())
            .collect();
        for (metric, histogram) in &measured {
            figures.push(histogram_plot(results, workload, *metric, histogram));
            figures.push(percentile_plot(results, workload, *metric, histogram));
        }
        if !measured.is_empty() {
            figures.push(distribution_plot(results, workload, &measured));
        }
        let rows: Vec<&ClientRow> = match only {
            Some(_) => Vec::new(),
            None => results.clients.iter().filter(|row| row.workload == workload.name).collect(),
        };
        figures.extend((!rows.is_empty()).then(|| over_time::attempts(results, &workload.name, &rows)));
    }
    if only.is_none() {
        for batch in &results.summary.batches {
            let rows: Vec<&JobRow> = results.jobs.iter().filter(|row| row.batch == batch.name).collect();
            figures.extend(over_time::jobs(results, batch, &rows));
        }
        for pool in &results.summary.pools {
            let rows: Vec<&TimelineRow> =
                results.timeline.iter().filter(|row| row.pool == pool.name).collect();
            if !rows.is_empty() {
                figures.extend(over_time::pool(results, &pool.name, &rows));
                figures.extend(over_time::replicas(results, &pool.name, &rows));
                figures.extend(over_time::batch_tokens(results, &pool.name, &rows));
            }
        }
        figures.extend(against::figures(results));
    }
    figures
}

/// What a latency is called in a title.
pub(super) fn metric_title(metric: Metric) -> &'static str {
    match metric {
        Metric::Ttft => "Time to first token",
        Metric::Itl => "Inter-token latency",
        Metric::Tpot => "Time per output token",
        Metric::E2e => "End-to-end latency",
        Metric::ClientE2e => "End-to-end latency at the client",
    }
}

/// What the samples of a latency are.
pub(super) fn sample_word(metric: Metric) -> &'static str {
    if metric == Metric::Itl { "token gaps" } else { "requests" }
}

pub(super) fn caption(results: &ResultSet, what: &str) -> Vec<String> {
    let whole = if results.summary.workloads.len() > 1 { " (all workloads)" } else { "" };
    vec![results.summary.caption() + whole, what.to_owned()]
}

/// How many samples a histogram has, told apart from the requests of the whole run.
fn samples_text(histogram: &Histogram<u64>, metric: Metric) -> String {
    format!("{} {} (this workload, counted)", count(histogram.len()), sample_word(metric))
}

fn objective(workload: &WorkloadSummary, metric: Metric) -> Option<Mark> {
    let ns = *workload.objectives_ns.get(metric.name())? as f64;
    Some(Mark { at: ns, label: format!("objective {}", Unit::Ns.show(ns)), bound: true })
}

fn histogram_plot(
    results: &ResultSet,
    workload: &WorkloadSummary,
    metric: Metric,
    histogram: &Histogram<u64>,
) -> Plot {
    let (least, most) = (histogram.min() as f64, bulk_end(histogram) as f64);
    let beyond = histogram.len() - histogram.count_between(0, most as u64);
    let beyond = match beyond {
        0 => String::new(),
        number => {
            let most = Unit::Ns.show(histogram.max() as f64);
            format!(", {} of them beyond the right edge (up to {most})", count(number))
        }
    };
    let outline = shape::outline(histogram, least, most);
    let highest = outline.iter().map(|point| point.1).fold(0.0, f64::max);
    let quantile = |quantile: f64, name: &str| {
        let ns = histogram.value_at_quantile(quantile).min(histogram.max()) as f64;
        Mark { at: ns, label: format!("{name} {}", Unit::Ns.show(ns)), bound: false }
    };
    let mut marks = vec![quantile(0.5, "p50"), quantile(0.99, "p99")];
    let goal = objective(workload, metric);
    // An objective far from every sample would squeeze the histogram into a corner.
    let near = |mark: &Mark| mark.at >= least / 3.0 && mark.at <= most * 3.0;
    let goal = goal.filter(near);
    let (low, high) =
        goal.iter().fold((least, most), |(low, high), mark| (low.min(mark.at), high.max(mark.at)));
    marks.extend(goal);
    Plot {
        name: format!("{}-{}-histogram", workload.name, metric.name()),
        about: About::Workload(workload.name.clone()),
        title: format!("{} of {}", metric_title(metric), workload.name),
        caption: caption(results, &(samples_text(histogram, metric) + &beyond)),
        x: Axis::log_duration(&format!("{} (log scale)", metric.name()), low, high),
        y: Axis::share(format!("{} per bar", sample_word(metric)), highest),
        series: vec![Series {
            label: String::new(),
            color: color(metric),
            look: Look::Area,
            points: outline,
        }],
        marks,
        shaded: Vec::new(),
        limits: Vec::new(),
    }
}

/// Where a histogram's figure ends: at its largest value, or well above the 99.9th percentile when a thin tail would
/// squeeze everything else to the left. The caption counts what is not shown.
pub(super) fn bulk_end(histogram: &Histogram<u64>) -> u64 {
    let bulk = histogram.value_at_quantile(0.999);
    let width = bulk as f64 / histogram.min().max(1) as f64;
    let end = (bulk as f64 * width.powf(0.15)) as u64;
    if histogram.max() > end.saturating_mul(2) { histogram.highest_equivalent(end) } else { histogram.max() }
}

fn percentile_plot(
    results: &ResultSet,
    workload: &WorkloadSummary,
    metric: Metric,
    histogram: &Histogram<u64>,
) -> Plot {
    let limits: Vec<Mark> = objective(workload, metric).into_iter().collect();
    Plot {
        name: format!("{}-{}-percentiles", workload.name, metric.name()),
        about: About::Workload(workload.name.clone()),
        title: format!("{} of {}, by percentile", metric_title(metric), workload.name),
        caption: caption(
            results,
            &(samples_text(histogram, metric) + "; dotted where fewer than 10 lie beyond"),
        ),
        x: Axis::tail(histogram.len()),
        y: latency_axis(metric.name(), &[histogram]),
        series: shape::tail_series(histogram, "", color(metric), Look::Solid),
        marks: Vec::new(),
        shaded: Vec::new(),
        limits,
    }
}

/// A linear axis, or a logarithmic one where the largest value would hide all others.
pub(super) fn latency_axis(label: &str, histograms: &[&Histogram<u64>]) -> Axis {
    let most = histograms.iter().map(|h| h.max()).max().unwrap_or(0) as f64;
    let least = histograms.iter().map(|h| h.min()).min().unwrap_or(0) as f64;
    let middle = histograms.iter().map(|h| h.value_at_quantile(0.5)).min().unwrap_or(0) as f64;
    if most > 40.0 * middle.max(1.0) {
        Axis::log_duration(&format!("{label} (log scale)"), least, most)
    } else {
        Axis::duration(label, most)
    }
}

fn distribution_plot(
    results: &ResultSet,
    workload: &WorkloadSummary,
    measured: &[(Metric, &Histogram<u64>)],
) -> Plot {
    let least = measured.iter().map(|(_, h)| h.min()).min().unwrap_or(0) as f64;
    let most = measured.iter().map(|(_, h)| h.max()).max().unwrap_or(0) as f64;
    let series = measured.iter().map(|(metric, histogram)| Series {
        label: metric.name().to_owned(),
        color: color(*metric),
        look: Look::Solid,
        points: shape::cumulative(histogram),
    });
    let only = if let [(metric, _)] = measured { format!("-{}", metric.name()) } else { String::new() };
    let samples = measured.iter().map(|(metric, h)| format!("{} {}", metric.name(), count(h.len())));
    Plot {
        name: format!("{}{only}-cdf", workload.name),
        about: About::Workload(workload.name.clone()),
        title: format!("Latencies of {}, cumulative", workload.name),
        caption: caption(results, &format!("samples: {}", samples.collect::<Vec<_>>().join(", "))),
        x: Axis::log_duration("latency (log scale)", least, most),
        y: Axis::whole("samples at most this long"),
        series: series.collect(),
        marks: Vec::new(),
        shaded: Vec::new(),
        limits: Vec::new(),
    }
}

/// Each latency keeps its colour in every figure.
pub(super) fn color(metric: Metric) -> usize {
    match metric {
        Metric::Ttft => 0,
        Metric::Itl => 1,
        Metric::Tpot => 2,
        Metric::E2e => 3,
        Metric::ClientE2e => 4,
    }
}
