//! Figures over simulated time: what pools and clients did, bin by bin, and the jobs of batches.

use super::axis::{Axis, Scale};
use super::figures::caption;
use super::plot::{About, Look, Plot, Series, Shaded};
use crate::observe::JobState;
use crate::results::figure::{Unit, count};
use crate::results::{BatchSummary, ClientRow, JobRow, ResultSet, TimelineRow};

/// What all figures of one result set over time have in common.
struct Clock<'a> {
    results: &'a ResultSet,
    /// Width of a bin, seconds.
    width: f64,
    /// End of the axis, seconds.
    until: f64,
    /// What is not counted.
    shaded: Vec<Shaded>,
    /// Caption: width of the bins, and what is shaded.
    bins: String,
}

impl<'a> Clock<'a> {
    /// Of rows of which the last starts at `last` seconds.
    fn new(results: &'a ResultSet, last: Option<f64>) -> Self {
        let provenance = &results.summary.provenance;
        let width = provenance.bin_ns as f64 / 1e9;
        let (warmup, horizon) = (provenance.warmup_ns as f64 / 1e9, provenance.horizon_ns as f64 / 1e9);
        let until = last.map_or(0.0, |start| start + width).max(horizon);
        let mut shaded = Vec::new();
        if warmup > 0.0 {
            shaded.push(Shaded { from: 0.0, until: warmup, label: "warm-up" });
        }
        if until > horizon {
            shaded.push(Shaded { from: horizon, until, label: "drain" });
        }
        // What is narrower than a line cannot be seen.
        shaded.retain(|shade| shade.until - shade.from > until / 500.0);
        let mean = if results.summary.replications() > 1 { ", mean over replications" } else { "" };
        let grey = if shaded.is_empty() { "" } else { "; shaded: not counted" };
        let bins = format!("bins of {}{mean}{grey}", Unit::Ns.show(provenance.bin_ns as f64));
        Clock { results, width, until, shaded, bins }
    }

    /// What its time is called.
    fn time(&self) -> &'static str {
        if self.results.summary.live.is_some() { "time" } else { "simulated time" }
    }

    fn plot(&self, about: About, name: &str, title: &str, note: &str, y: Axis, series: Vec<Series>) -> Plot {
        let (owner, title) = match &about {
            About::Pool(pool) => (pool, format!("{title} pool {pool}")),
            About::Workload(name) | About::Comparison(name) => (name, format!("{title} {name}")),
            About::Batch => unreachable!("figures about batch are of a batch or of a pool"),
        };
        Plot {
            name: format!("{owner}-{name}"),
            title,
            caption: caption(self.results, note),
            x: Axis::time(self.until, self.time()),
            y,
            series,
            marks: Vec::new(),
            shaded: self.shaded.clone(),
            limits: Vec::new(),
            about,
        }
    }

    /// A flow per second: it belongs to the whole bin.
    fn flow<R>(
        &self,
        rows: &[&R],
        label: &str,
        color: usize,
        look: Look,
        get: fn(&R) -> (f64, f64),
    ) -> Series {
        let at = |row: &&R| {
            let (start, amount) = get(row);
            (start + self.width / 2.0, amount / self.width)
        };
        Series { label: label.to_owned(), color, look, points: rows.iter().map(at).collect() }
    }

    /// A state: that of the bin's end.
    fn state(
        &self,
        rows: &[&TimelineRow],
        label: &str,
        color: usize,
        get: fn(&TimelineRow) -> Option<f64>,
    ) -> Series {
        let at = |row: &&TimelineRow| Some((row.start_s + self.width, get(row)?));
        Series {
            label: label.to_owned(),
            color,
            look: Look::Solid,
            points: rows.iter().filter_map(at).collect(),
        }
    }

    /// A state as steps: what was true at the end of a bin is drawn up to the end of the next one.
    fn steps(
        &self,
        rows: &[&TimelineRow],
        label: &str,
        color: usize,
        look: Look,
        get: fn(&TimelineRow) -> Option<f64>,
    ) -> Series {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (start, state) in rows.iter().filter_map(|row| Some((row.start_s, get(row)?))) {
            let before = points.last().map_or(state, |point| point.1);
            if points.is_empty() {
                points.push((start, before));
            }
            points.push((start + self.width, before));
            if before != state {
                points.push((start + self.width, state));
            }
        }
        Series { label: label.to_owned(), color, look, points }
    }
}

fn most(series: &[Series]) -> f64 {
    series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max)
}

/// Throughput, queues and load of a pool; of a live run, whose clients see no more, the throughput.
pub(super) fn pool(results: &ResultSet, pool: &str, rows: &[&TimelineRow]) -> Vec<Plot> {
    let clock = Clock::new(results, rows.last().map(|row| row.start_s));
    let about = || About::Pool(pool.to_owned());
    let rates = vec![
        clock.flow(rows, "offered", 1, Look::Area, |row| (row.start_s, row.offered)),
        clock.flow(rows, "admitted", 3, Look::Solid, |row| (row.start_s, row.admitted)),
        clock.flow(rows, "completed", 0, Look::Solid, |row| (row.start_s, row.completed)),
    ];
    let rate_axis = Axis::count("requests/s", most(&rates));
    let throughput = clock.plot(about(), "throughput", "Throughput of", &clock.bins, rate_axis, rates);
    if results.summary.live.is_some() {
        return vec![throughput];
    }
    let queues = vec![
        clock.state(rows, "on replicas", 1, |row| row.waiting),
        clock.state(rows, "in the gateway's queue", 3, |row| row.gateway_queue),
    ];
    let busy = rows.iter().map(|row| (row.start_s + clock.width / 2.0, row.utilization));
    let mut load = vec![
        Series {
            label: "utilization (busy time)".to_owned(),
            color: 0,
            look: Look::Solid,
            points: busy.collect(),
        },
        clock.state(rows, "batch occupancy", 1, |row| row.batch_occupancy),
        clock.state(rows, "KV occupancy", 2, |row| row.kv_occupancy),
    ];
    load.retain(|series| !series.points.is_empty());
    let queue_axis = Axis::count("requests", most(&queues));
    let at_ends = format!("at the ends of {}", clock.bins);
    vec![
        throughput,
        clock.plot(about(), "queues", "Requests waiting for", &at_ends, queue_axis, queues),
        clock.plot(about(), "load", "Load of", &clock.bins, Axis::whole("share of capacity"), load),
    ]
}

/// Replicas of a pool: those that are ready, those that are wanted, those that are down. `None` when all are always
/// there.
pub(super) fn replicas(results: &ResultSet, pool: &str, rows: &[&TimelineRow]) -> Option<Plot> {
    let first = rows.iter().find_map(|row| row.replicas_ready)?;
    let steady = |row: &&TimelineRow| {
        row.replicas_ready.is_none_or(|ready| ready == first)
            && row.replicas_wanted.is_none_or(|wanted| wanted == first)
            && row.replicas_down.is_none_or(|down| down == 0.0)
            && row.replicas_starting.is_none_or(|starting| starting == 0.0)
    };
    if rows.iter().all(steady) {
        return None;
    }
    let clock = Clock::new(results, rows.last().map(|row| row.start_s));
    let mut series = vec![
        clock.steps(rows, "down", 1, Look::Area, |row| row.replicas_down),
        clock.steps(rows, "wanted", 3, Look::Dashed, |row| row.replicas_wanted),
        clock.steps(rows, "ready", 0, Look::Solid, |row| row.replicas_ready),
    ];
    series.retain(|series| series.label != "down" || most(std::slice::from_ref(series)) > 0.0);
    let axis = Axis::count("replicas", most(&series));
    let note = format!("at the ends of {}", clock.bins);
    Some(clock.plot(About::Pool(pool.to_owned()), "replicas", "Replicas of", &note, axis, series))
}

/// What the clients of a workload meant and what reached the gateway: where the second leaves the first behind, they
/// storm.
pub(super) fn attempts(results: &ResultSet, workload: &str, rows: &[&ClientRow]) -> Plot {
    let clock = Clock::new(results, rows.last().map(|row| row.start_s));
    let series = vec![
        clock.flow(rows, "attempts", 1, Look::Area, |row| (row.start_s, row.attempts)),
        clock.flow(rows, "new requests", 3, Look::Dashed, |row| (row.start_s, row.requests)),
        clock.flow(rows, "completed requests", 0, Look::Solid, |row| (row.start_s, row.completed)),
    ];
    let axis = Axis::count("per second", most(&series));
    let about = About::Workload(workload.to_owned());
    clock.plot(about, "attempts", "Attempts and requests of", &clock.bins, axis, series)
}

/// Jobs that a figure shows, at most.
const JOBS: usize = 200;

/// How jobs ended, each with its colour; what is in none of them had not ended.
const ENDS: [(JobState, usize); 5] = [
    (JobState::Completed, 0),
    (JobState::Expired, 4),
    (JobState::Failed, 1),
    (JobState::Refused, 5),
    (JobState::Cancelled, 3),
];
const OPEN: usize = 2;

/// The jobs of a batch in the first replication, one below the other, from their submission to their end; `None` when
/// there was none.
pub(super) fn jobs(results: &ResultSet, batch: &BatchSummary, rows: &[&JobRow]) -> Option<Plot> {
    let shown = &rows[..rows.len().min(JOBS)];
    let last = shown.last()?.job;
    let drained = results.timeline.iter().map(|row| row.start_s).max_by(f64::total_cmp);
    let clock = Clock::new(results, drained);
    let mut series: Vec<Series> = Vec::new();
    for row in shown {
        let known = ENDS.iter().find(|(state, _)| state.name() == row.state);
        let (label, color) = known.map_or(("not over", OPEN), |(state, color)| (state.name(), *color));
        let ended = row.ended_s.unwrap_or(clock.until);
        let y = f64::from(row.job);
        let named = series.iter().any(|series| series.label == label);
        let begun = row.started_s.unwrap_or(ended);
        // What was over at once is a bar all the same.
        let bar = if begun < ended { begun } else { ended };
        if row.created_s < bar {
            let points = vec![(row.created_s, y), (bar, y)];
            series.push(Series { label: String::new(), color, look: Look::Solid, points });
        }
        let label = if named { String::new() } else { label.to_owned() };
        series.push(Series { label, color, look: Look::Bar, points: vec![(bar, y), (ended, y)] });
    }
    // The first job is on top.
    let axis = Axis::count("job", f64::from(last.max(1)));
    let y = Axis { scale: Scale::Linear { low: f64::from(last) + 0.8, high: -0.8 }, ..axis };
    let y = Axis { ticks: y.ticks.into_iter().filter(|tick| whole_job(tick.at, last)).collect(), ..y };
    let more = match rows.len() - shown.len() {
        0 => String::new(),
        more => format!("; {} later ones are not shown", count(more as u64)),
    };
    let window = Unit::Ns.show(batch.window_ns as f64);
    let run = if results.summary.live.is_some() { "block" } else { "replication" };
    let note = format!(
        "jobs of the first {run}, each with {window}; thin before its requests may be worked on{more}"
    );
    Some(Plot {
        name: format!("{}-jobs", batch.name),
        about: About::Batch,
        title: format!("Jobs of {}", batch.name),
        caption: caption(results, &note),
        x: Axis::time(clock.until, clock.time()),
        y,
        series,
        marks: Vec::new(),
        shaded: clock.shaded.clone(),
        limits: Vec::new(),
    })
}

/// Whether a tick is the number of a job.
fn whole_job(at: f64, last: u32) -> bool {
    at.fract().abs() < 1e-9 && at <= f64::from(last)
}

/// Output tokens of a pool that are batch, beside those that are not; `None` where no batch token came out.
pub(super) fn batch_tokens(results: &ResultSet, pool: &str, rows: &[&TimelineRow]) -> Option<Plot> {
    if rows.iter().all(|row| row.batch_tokens == 0.0) {
        return None;
    }
    let clock = Clock::new(results, rows.last().map(|row| row.start_s));
    let series = vec![
        clock.flow(rows, "real-time", 0, Look::Area, |row| {
            (row.start_s, row.output_tokens - row.batch_tokens)
        }),
        clock.flow(rows, "batch", 1, Look::Solid, |row| (row.start_s, row.batch_tokens)),
    ];
    let axis = Axis::count("output tokens/s", most(&series));
    let about = About::Pool(pool.to_owned());
    let plot = clock.plot(about, "batch", "Output tokens of", &clock.bins, axis, series);
    Some(Plot { about: About::Batch, ..plot })
}
