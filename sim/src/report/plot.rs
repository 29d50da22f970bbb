//! The description of a figure: what is on it, not how it is drawn.

use super::axis::Axis;

/// A figure.
#[derive(Clone, Debug)]
pub struct Plot {
    /// File stem: `chat-ttft-percentiles`.
    pub name: String,
    /// What it is about.
    pub about: About,
    /// Title.
    pub title: String,
    /// What a reader must know: scenario, seed, replications, samples. One string a line.
    pub caption: Vec<String>,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Vertical marks, such as percentiles.
    pub(super) marks: Vec<Mark>,
    /// Stretches of x that are not counted.
    pub(super) shaded: Vec<Shaded>,
    /// Horizontal bounds.
    pub(super) limits: Vec<Mark>,
}

/// What a figure is about, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A workload.
    Workload(String),
    /// A pool.
    Pool(String),
    /// Batch: jobs, and how their work lies beside real-time.
    Batch,
    /// The variant that the run is compared with.
    Comparison(String),
}

/// A line, or an area down to the x axis.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) label: String,
    /// Index into the palette.
    pub(super) color: usize,
    pub(super) look: Look,
    pub(super) points: Vec<(f64, f64)>,
}

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A line.
    Solid,
    /// A broken line: the second of two result sets.
    Dashed,
    /// A dotted line: where few samples lie.
    Dotted,
    /// A line over a tinted area.
    Area,
    /// A filled bar along a level line, most of a unit of y high; one that would be too narrow to see is made as wide as
    /// can be seen.
    Bar,
    /// The points enclose a tinted area.
    Block,
}

/// A value worth a line across the figure, with its name.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) label: String,
    /// Drawn as a bound rather than a reading.
    pub(super) bound: bool,
}

/// A stretch of x.
#[derive(Clone, Debug)]
pub(super) struct Shaded {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) label: &'static str,
}
