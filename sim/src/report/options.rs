//! What to draw, and whether there is any of it.

use crate::results::against::Agreement;
use crate::results::{ResultSet, Summary};
use crate::scenario::Metric;

/// What to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Only figures of this latency; all figures and the report when absent.
    pub metric: Option<Metric>,
    /// Another result set to lay over the first.
    pub compare: Option<&'a ResultSet>,
    /// What was found of the two, for the page of a comparison; latencies that it leaves out are not drawn.
    pub agreement: Option<&'a Agreement>,
}

/// Why what was asked for would be an empty drawing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToDraw {
    /// The two have no workload of the same name.
    #[error(
        "no workload in common ({left} | {right})\n\
         hint: workloads are compared by name; lay two runs of one scenario over each other"
    )]
    Strangers {
        /// Workloads of the first.
        left: String,
        /// Workloads of the second.
        right: String,
    },
    /// No workload has a sample of the latency; of two result sets, none in both.
    #[error("no workload has a sample of `{}`\nhint: measured: {measured}", metric.name())]
    Unmeasured {
        /// The latency.
        metric: Metric,
        /// The latencies that have samples.
        measured: String,
    },
}

impl Options<'_> {
    /// Whether `results` has anything of what is asked for.
    pub fn check(&self, results: &ResultSet) -> Result<(), NothingToDraw> {
        if let Some(other) = self.compare
            && !results.summary.workloads.iter().any(|workload| has_workload(&other.summary, &workload.name))
        {
            return Err(NothingToDraw::Strangers {
                left: workload_names(&results.summary),
                right: workload_names(&other.summary),
            });
        }
        match self.metric {
            Some(metric) if !self.measured(results, metric) => {
                let known = Metric::ALL.into_iter().filter(|metric| self.measured(results, *metric));
                Err(NothingToDraw::Unmeasured { metric, measured: quoted(known.map(Metric::name)) })
            }
            _ => Ok(()),
        }
    }

    /// Whether a workload has samples of `metric` in every result set.
    fn measured(&self, results: &ResultSet, metric: Metric) -> bool {
        let has = |set: &ResultSet, workload: &str| {
            set.latency(workload, metric).is_some_and(|histogram| !histogram.is_empty())
        };
        let mut workloads = results.summary.workloads.iter();
        workloads.any(|w| has(results, &w.name) && self.compare.is_none_or(|other| has(other, &w.name)))
    }
}

fn has_workload(summary: &Summary, name: &str) -> bool {
    summary.workloads.iter().any(|workload| workload.name == name)
}

fn workload_names(summary: &Summary) -> String {
    quoted(summary.workloads.iter().map(|workload| workload.name.as_str()))
}

/// Names for people: `chat`, `api`, each in backticks.
fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
