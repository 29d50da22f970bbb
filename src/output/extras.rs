//! What is written of the first replication (of a live run, the first block) beside what is recorded of all.

use miette::{IntoDiagnostic as _, WrapErr as _};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tidegate_sim::calibration::log::PointsLog;
use tidegate_sim::calibration::points::encode;
use tidegate_sim::observe::Observer;
use tidegate_sim::observe::request_log::RequestLog;
use tidegate_sim::results::write_atomic;
use tidegate_sim::scenario::Scenario;

type Requests = RequestLog<BufWriter<File>>;

/// The files that were asked for.
pub struct Extras {
    kept: Kept,
    requests: PathBuf,
    points: PathBuf,
}

enum Kept {
    Nothing,
    Requests(Requests),
    Points(PointsLog),
    Both((Requests, PointsLog)),
}

impl Extras {
    /// A line per attempt in `requests`, points for `calibrate` in `points`, where they are wanted.
    pub fn new(
        scenario: &Scenario,
        requests: Option<PathBuf>,
        points: Option<PathBuf>,
    ) -> miette::Result<Self> {
        let log = requests.as_deref().map(|path| request_log(scenario, path)).transpose()?;
        let kept = match (log, points.as_ref().map(|_| PointsLog::new(scenario))) {
            (None, None) => Kept::Nothing,
            (Some(log), None) => Kept::Requests(log),
            (None, Some(points)) => Kept::Points(points),
            (Some(log), Some(points)) => Kept::Both((log, points)),
        };
        Ok(Extras { kept, requests: requests.unwrap_or_default(), points: points.unwrap_or_default() })
    }

    /// Who is to be told of the first replication.
    pub fn observer(&mut self) -> Option<&mut (dyn Observer + Send)> {
        match &mut self.kept {
            Kept::Nothing => None,
            Kept::Requests(log) => Some(log),
            Kept::Points(points) => Some(points),
            Kept::Both(both) => Some(both),
        }
    }

    /// Writes what is not written yet.
    pub fn finish(self) -> miette::Result<()> {
        let (log, points) = match self.kept {
            Kept::Nothing => (None, None),
            Kept::Requests(log) => (Some(log), None),
            Kept::Points(points) => (None, Some(points)),
            Kept::Both((log, points)) => (Some(log), Some(points)),
        };
        let cannot = |path: &Path| format!("cannot write `{}`", path.display());
        if let Some(points) = points {
            let written = write_atomic(&self.points, &encode(&points.finish()));
            written.into_diagnostic().wrap_err_with(|| cannot(&self.points))?;
        }
        if let Some(log) = log {
            log.finish().into_diagnostic().wrap_err_with(|| cannot(&self.requests))?;
        }
        Ok(())
    }
}

fn request_log(scenario: &Scenario, path: &Path) -> miette::Result<Requests> {
    let create = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        File::create(path)
    };
    let file = create().into_diagnostic().wrap_err_with(|| format!("cannot write `{}`", path.display()))?;
    Ok(RequestLog::new(scenario, BufWriter::with_capacity(1 << 16, file)))
}
