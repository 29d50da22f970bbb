//! Where everything lies in a result folder: every file name, in one place.

use crate::scenario::Metric;
use std::path::{Path, PathBuf};

/// The files of one result folder.
///
/// ```text
/// summary.json             verdicts, estimates, provenance
/// report.html              the same for people, with every figure
/// compare.html             this folder against another, when `plot --compare` or `compare` was asked for
/// compare.json             the same for other programs, of `compare`
/// timeline.csv             per pool and bin
/// clients.csv              per workload and bin, of workloads whose clients may try again
/// fleet.csv                per change of the fleet in the first replication, when it can change
/// jobs.csv                 per batch job of the first replication, when there is batch
/// tenants.csv              per workload and tenant, when a workload has several
/// comparison.csv           per cell of a property that compares with another variant
/// requests.csv             per request, only when asked for
/// <workload>-<metric>.hlog latency histograms (HdrHistogram V2)
/// figures/*.svg, *.png     figures
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The result folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Layout { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `summary.json`.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// `compare.html`: two result folders over each other.
    pub fn compare(&self) -> PathBuf {
        self.root.join("compare.html")
    }

    /// `compare.json`: a prediction beside a measurement.
    pub fn agreement(&self) -> PathBuf {
        self.root.join("compare.json")
    }

    /// `timeline.csv`.
    pub fn timeline(&self) -> PathBuf {
        self.root.join("timeline.csv")
    }

    /// `clients.csv`.
    pub fn clients(&self) -> PathBuf {
        self.root.join("clients.csv")
    }

    /// `fleet.csv`.
    pub fn fleet(&self) -> PathBuf {
        self.root.join("fleet.csv")
    }

    /// `jobs.csv`.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs.csv")
    }

    /// `tenants.csv`.
    pub fn tenants(&self) -> PathBuf {
        self.root.join("tenants.csv")
    }

    /// `comparison.csv`.
    pub fn comparison(&self) -> PathBuf {
        self.root.join("comparison.csv")
    }

    /// `requests.csv`.
    pub fn requests(&self) -> PathBuf {
        self.root.join("requests.csv")
    }

    /// `<workload>-<metric>.hlog`.
    pub fn hlog(&self, workload: &str, metric: Metric) -> PathBuf {
        self.root.join(format!("{}-{}.hlog", stem(workload), metric.name()))
    }

    /// The folder of the figures.
    pub fn figures(&self) -> PathBuf {
        self.root.join("figures")
    }

    /// A figure: `figures/<name>.<ending>`.
    pub fn figure(&self, name: &str, ending: &str) -> PathBuf {
        self.figures().join(format!("{}.{ending}", stem(name)))
    }
}

/// `name` as part of a file name on any system.
///
/// Names of plain letters, digits, `.`, `-` and `_` stay as they are; others get a hash of the name, so that two
/// names never share a file.
pub fn stem(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 80 && !name.starts_with('.') && name.chars().all(plain) {
        return name.to_owned();
    }
    let safe: String = name.chars().take(60).map(|c| if plain(c) && c != '.' { c } else { '_' }).collect();
    let hash = name.bytes().fold(0, |hash, byte| crate::rng::mix(hash ^ u64::from(byte)));
    format!("{safe}-{:08x}", hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_name_can_neither_leave_the_folder_nor_meet_another_one() {
        let layout = Layout::new("results/x");
        assert_eq!(layout.hlog("chat", Metric::Ttft), Path::new("results/x/chat-ttft.hlog"));
        let odd = ["../../etc/passwd", "a/b", "a_b", "a b", ".hidden", "", "ünicode", "con:"];
        let mut seen: Vec<PathBuf> = odd.iter().map(|name| layout.hlog(name, Metric::Itl)).collect();
        for path in &seen {
            assert_eq!(path.parent(), Some(Path::new("results/x")), "{}", path.display());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), odd.len());
    }
}
