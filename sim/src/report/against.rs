//! Figures of a comparison with another variant: the ratio over the day, and who slowed whom.

use super::axis::{Axis, Scale, Tick};
use super::figures::caption;
use super::plot::{About, Look, Mark, Plot, Series, Shaded};
use crate::results::comparison::{Attribution, CellRow, ClaimRow, Comparison};
use crate::results::figure::{Unit, count, time_scale};
use crate::results::{BoundRow, ResultSet};

/// Every figure of every comparison: of each claim about stretches the ratio over time, a figure a pool; of each
/// attribution what the parts add up to.
pub(super) fn figures(results: &ResultSet) -> Vec<Plot> {
    let mut plots = Vec::new();
    for comparison in &results.summary.comparisons {
        for claim in &comparison.claims {
            let pools = claim.wholes().map(|whole| whole.pool.as_str());
            plots.extend(pools.filter_map(|pool| over_time(results, comparison, claim, pool)));
        }
        let rows = comparison.attributions.iter();
        plots.extend(rows.filter_map(|row| waterfall(results, comparison, row)));
    }
    plots
}

/// The ratio stretch by stretch with its interval, and the bound. `None` when no stretch has one.
fn over_time(results: &ResultSet, comparison: &Comparison, claim: &ClaimRow, pool: &str) -> Option<Plot> {
    let known = |cell: &CellRow| {
        let edges = (cell.from_ns? as f64 / 1e9, cell.until_ns? as f64 / 1e9);
        Some((edges, cell.ratio?, cell.low?, cell.high?))
    };
    let stretches: Vec<_> = claim.stretches(pool).filter_map(known).collect();
    if stretches.is_empty() {
        return None;
    }
    let bound = match claim.bound {
        BoundRow::AtMost(bound) | BoundRow::AtLeast(bound) => bound,
    };
    let mut series = Vec::new();
    let label = |index: usize, text: &str| if index == 0 { text.to_owned() } else { String::new() };
    let confidence = format!("{} interval", Unit::Share.show(claim.confidence));
    for (index, ((from, until), _, low, high)) in stretches.iter().enumerate() {
        series.push(Series {
            label: label(index, &confidence),
            color: 0,
            look: Look::Block,
            points: vec![(*from, *low), (*until, *low), (*until, *high), (*from, *high)],
        });
    }
    for (index, ((from, until), ratio, ..)) in stretches.iter().enumerate() {
        series.push(Series {
            label: label(index, "ratio"),
            color: 1,
            look: Look::Solid,
            points: vec![(*from, *ratio), (*until, *ratio)],
        });
    }
    let least = stretches.iter().map(|stretch| stretch.2).fold(bound.min(1.0), f64::min);
    let most = stretches.iter().map(|stretch| stretch.3).fold(bound.max(1.0), f64::max);
    let provenance = &results.summary.provenance;
    let until = provenance.horizon_ns as f64 / 1e9;
    let warmup = provenance.warmup_ns as f64 / 1e9;
    let mut shaded = vec![Shaded { from: 0.0, until: warmup, label: "warm-up" }];
    // What is narrower than a line cannot be seen.
    shaded.retain(|shade| shade.until > until / 500.0);
    let whose = claim.workload.as_deref().unwrap_or("all real-time requests");
    let requests: u64 = claim.stretches(pool).map(|cell| cell.completed).sum();
    let note =
        format!("{} completed requests; same arrivals in both, ratios within replications", count(requests));
    Some(Plot {
        name: format!(
            "{}-{}-of-{}-to-{}-{pool}",
            comparison_word(claim),
            claim.figure.replace(' ', "-"),
            claim.workload.as_deref().unwrap_or("all"),
            comparison.other()
        ),
        about: About::Comparison(comparison.other().to_owned()),
        title: format!("{} of {whose} against {}, pool {pool}", claim.figure, comparison.other()),
        caption: caption(results, &note),
        x: Axis::time(until, "simulated time"),
        y: Axis::between(&format!("ratio to {}", comparison.other()), least, most, 1.0),
        series,
        marks: Vec::new(),
        shaded,
        limits: vec![Mark { at: bound, label: format!("bound {}", claim.bound_text()), bound: true }],
    })
}

/// Two claims about one figure differ in their bound or their stretches: the property keeps their files apart.
fn comparison_word(claim: &ClaimRow) -> String {
    format!("ratio-{}", claim.property.replace(' ', "-"))
}

/// What a part is called under its bar.
fn short(part: &str) -> String {
    match part {
        "earlier-attempts" => "retries".to_owned(),
        "steps-beside-batch" => "batch beside".to_owned(),
        "steps-trajectory" => "other steps".to_owned(),
        other => other.replace('-', " "),
    }
}

/// The difference of the means part by part, each bar beginning where the one before ended, and their sum. `None` when
/// nothing differs.
fn waterfall(results: &ResultSet, comparison: &Comparison, row: &Attribution) -> Option<Plot> {
    let parts: Vec<(String, [f64; 2])> = row
        .parts
        .iter()
        .map(|part| {
            let all = (part.with_ns - part.without_ns) as f64 / row.pairs.max(1) as f64;
            let slow = (part.slow_with_ns - part.slow_without_ns) as f64 / row.slow_pairs.max(1) as f64;
            (short(&part.part), [all, slow])
        })
        .filter(|(_, differences)| *differences != [0.0; 2])
        .collect();
    if parts.is_empty() {
        return None;
    }
    let mut boxes = Vec::new();
    let (mut least, mut most) = (0.0f64, 0.0f64);
    for (which, label) in ["all pairs", "slowest 1 %"].into_iter().enumerate() {
        let mut level = 0.0;
        let mut push = |place: usize, from: f64, until: f64| {
            (least, most) = (least.min(from).min(until), most.max(from).max(until));
            let left = place as f64 + if which == 0 { 0.12 } else { 0.52 };
            boxes.push(Series {
                label: if place == 0 { label.to_owned() } else { String::new() },
                color: which,
                look: Look::Block,
                points: vec![(left, from), (left + 0.36, from), (left + 0.36, until), (left, until)],
            });
        };
        for (place, (_, differences)) in parts.iter().enumerate() {
            push(place, level, level + differences[which]);
            level += differences[which];
        }
        push(parts.len(), 0.0, level);
    }
    let names = parts.iter().map(|(name, _)| name.clone()).chain([format!("{}, sum", row.latency)]);
    let ticks = names.enumerate().map(|(place, label)| Tick { at: place as f64 + 0.5, label }).collect();
    let (unit_ns, unit) = time_scale(most.max(-least));
    let whose = row.workload.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
    let note = format!(
        "means of {} pairs, and of the {} slowest here; above 0: slower than in {}",
        count(row.pairs),
        count(row.slow_pairs),
        comparison.other()
    );
    Some(Plot {
        name: format!(
            "who-slowed-{}-of-{}-to-{}-{}",
            row.latency,
            row.workload.as_deref().unwrap_or("all"),
            comparison.other(),
            row.pool
        ),
        about: About::Comparison(comparison.other().to_owned()),
        title: format!("Who slowed {}{whose} against {}, pool {}", row.latency, comparison.other(), row.pool),
        caption: caption(results, &note),
        x: Axis {
            label: "part of the latency".to_owned(),
            scale: Scale::Linear { low: 0.0, high: parts.len() as f64 + 1.0 },
            ticks,
        },
        y: Axis::between(&format!("difference ({unit})"), least, most, unit_ns),
        series: boxes,
        marks: Vec::new(),
        shaded: Vec::new(),
        limits: Vec::new(),
    })
}
