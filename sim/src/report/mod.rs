//! Results for people: figures in SVG and PNG, and one self-contained HTML page.
//!
//! A figure is first described ([`plot::Plot`]: axes, series, marks), then drawn; the description knows nothing of
//! pixels and the drawing nothing of latencies. No font, browser or network of the machine is needed.

mod against;
mod axis;
mod canvas;
mod compare;
mod figures;
mod fonts;
mod frontier;
mod html;
mod options;
mod over_time;
mod palette;
pub mod plot;
mod shape;

use crate::results::{Layout, ResultSet, ResultsError, write_atomic};
use std::path::PathBuf;

pub use figures::figures;
pub use frontier::render_frontier;
pub use options::{NothingToDraw, Options};

/// Draws the figures of `results`, and `report.html` unless one metric or a comparison was asked for (a comparison
/// has `compare.html`), into `layout`. Returns the files written.
pub fn render(
    results: &ResultSet,
    layout: &Layout,
    options: Options<'_>,
) -> Result<Vec<PathBuf>, ResultsError> {
    let figures = match options.compare {
        Some(other) => compare::figures_of_both(results, other, &options),
        None => figures::figures(results, options.metric),
    };
    let mut written = Vec::new();
    let mut drawn = Vec::new();
    for plot in figures {
        let svg = canvas::svg(&plot);
        for (ending, bytes) in [("svg", svg.standalone().as_bytes()), ("png", &canvas::png(&plot)[..])] {
            let path = layout.figure(&plot.name, ending);
            write_atomic(&path, bytes)?;
            written.push(path);
        }
        drawn.push((plot, svg));
    }
    let page = match options.compare {
        Some(other) => Some((layout.compare(), html::compare(results, other, options.agreement, &drawn))),
        None if options.metric.is_none() => Some((layout.report(), html::report(results, &drawn))),
        None => None,
    };
    if let Some((path, text)) = page {
        write_atomic(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
