//! `requests.csv` as a file: written beside its place while the run goes on, put in place when it is whole.

use super::files::{ResultsError, partial};
use super::layout::Layout;
use crate::observe::Observer;
use crate::observe::request_log::RequestLog;
use crate::request::Finished;
use crate::scenario::Scenario;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

/// The request log of a result folder. Nothing is left when it is dropped before [`RequestsFile::finish`].
#[derive(Debug)]
pub struct RequestsFile {
    log: Option<RequestLog<BufWriter<File>>>,
    partial: PathBuf,
    path: PathBuf,
}

impl RequestsFile {
    /// Opens the log of a run of `scenario` in the folder of `layout`, which is made.
    pub fn create(layout: &Layout, scenario: &Scenario) -> Result<Self, ResultsError> {
        let path = layout.requests();
        std::fs::create_dir_all(layout.root()).map_err(ResultsError::io("make folder", layout.root()))?;
        let partial = partial(&path);
        let file = File::create(&partial).map_err(ResultsError::io("write", &partial))?;
        let out = BufWriter::with_capacity(1 << 18, file);
        Ok(RequestsFile { log: Some(RequestLog::new(scenario, out)), partial, path })
    }

    /// Puts the file in place; the number of requests in it.
    pub fn finish(mut self) -> Result<u64, ResultsError> {
        let log = self.log.take().expect("a log is finished once");
        let (_, lines) = log.finish().map_err(ResultsError::io("write", &self.path))?;
        std::fs::rename(&self.partial, &self.path).map_err(ResultsError::io("write", &self.path))?;
        Ok(lines)
    }
}

impl Drop for RequestsFile {
    fn drop(&mut self) {
        // Gone already when the log was finished.
        let _ = std::fs::remove_file(&self.partial);
    }
}

impl Observer for RequestsFile {
    fn finished(&mut self, done: &Finished) {
        if let Some(log) = &mut self.log {
            log.finished(done);
        }
    }
}
