//! The frontier: how much batch each mechanism gets done, against what it does to a real-time p99.

use super::axis::Axis;
use super::canvas;
use super::plot::{About, Look, Mark, Plot, Series};
use crate::results::frontier::{Frontier, Point, RatioRow};
use crate::results::{Layout, ResultsError, write_atomic};
use std::path::PathBuf;

/// Draws the figures of a plan into the figures of a folder: one a property. Returns the files written.
///
/// # Errors
/// When a file cannot be written.
pub fn render_frontier(frontier: &Frontier, layout: &Layout) -> Result<Vec<PathBuf>, ResultsError> {
    let mut written = Vec::new();
    for plot in figures(frontier) {
        let svg = canvas::svg(&plot);
        for (ending, bytes) in [("svg", svg.standalone().as_bytes()), ("png", &canvas::png(&plot)[..])] {
            let path = layout.figure(&plot.name, ending);
            write_atomic(&path, bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// One figure a property that any point has a ratio for.
pub(super) fn figures(frontier: &Frontier) -> Vec<Plot> {
    let mut names: Vec<&str> = Vec::new();
    let points = || frontier.searches.iter().flat_map(|search| &search.points);
    for ratio in points().flat_map(|point| &point.ratios) {
        if !names.contains(&ratio.property.as_str()) {
            names.push(&ratio.property);
        }
    }
    names.into_iter().filter_map(|property| figure(frontier, property)).collect()
}

/// A point on the figure: the ratio with its interval, and the tokens with theirs.
struct Spot {
    ratio: [f64; 3],
    tokens: [f64; 3],
}

impl Spot {
    fn of(point: &Point, property: &str) -> Option<Spot> {
        let row = point.ratios.iter().find(|row| row.property == property)?;
        let tokens = point.batch_tokens?;
        let ratio = row.ratio?;
        Some(Spot {
            ratio: [row.low.unwrap_or(ratio), ratio, row.high.unwrap_or(ratio)],
            tokens: [tokens.low.unwrap_or(tokens.value), tokens.value, tokens.high.unwrap_or(tokens.value)],
        })
    }
}

fn figure(frontier: &Frontier, property: &str) -> Option<Plot> {
    let spots = frontier.searches.iter().map(|search| {
        let spots: Vec<Spot> = search.points.iter().filter_map(|point| Spot::of(point, property)).collect();
        (search.name.as_str(), spots)
    });
    let spots: Vec<(&str, Vec<Spot>)> = spots.filter(|(_, spots)| !spots.is_empty()).collect();
    let row: &RatioRow = frontier
        .searches
        .iter()
        .flat_map(|search| &search.points)
        .find_map(|point| point.ratios.iter().find(|row| row.property == property))?;
    let all = || spots.iter().flat_map(|(_, spots)| spots);
    let most_tokens = all().map(|spot| spot.tokens[2]).fold(0.0, f64::max);
    // Ratios far beyond the bound would squeeze what matters: they run out of the figure.
    let edge = 1.0 + 4.0 * (row.bound - 1.0).abs().max(0.01);
    let most = all().map(|spot| spot.ratio[2]).fold(row.bound, f64::max).min(edge);
    let least = all().map(|spot| spot.ratio[0]).fold(1.0, f64::min);
    let mut series = Vec::new();
    for (color, (name, spots)) in spots.iter().enumerate() {
        let inside: Vec<&Spot> = spots.iter().filter(|spot| spot.ratio[1] <= edge).collect();
        let line = |points: Vec<(f64, f64)>, label: &str, look| Series {
            label: label.to_owned(),
            color,
            look,
            points,
        };
        let curve = inside.iter().map(|spot| (spot.tokens[1], spot.ratio[1])).collect();
        series.push(line(curve, name, Look::Solid));
        for spot in inside {
            let [low, ratio, high] = spot.ratio;
            let [fewest, tokens, greatest] = spot.tokens;
            series.push(line(vec![(tokens, low), (tokens, high.min(edge))], "", Look::Solid));
            series.push(line(vec![(fewest, ratio), (greatest, ratio)], "", Look::Solid));
        }
    }
    let mut caption = vec![format!("{} ({}), seed {}", frontier.scenario, row.figure, frontier.seed)];
    caption.push(format!("crosses: intervals; ratios above {edge:.2} are not drawn"));
    Some(Plot {
        name: format!("frontier-{}", property.replace(' ', "-")),
        about: About::Batch,
        title: format!("What batch gets done against the ratio of {}", row.figure),
        caption,
        x: Axis::count("batch tokens a second, prompt and output", most_tokens),
        y: Axis::between("ratio to the run without batch", least, most, 1.0),
        series,
        marks: Vec::new(),
        shaded: Vec::new(),
        limits: vec![Mark { at: row.bound, label: format!("bound {}", row.bound), bound: true }],
    })
}
