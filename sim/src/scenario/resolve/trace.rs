//! Files a scenario names: where they are, whether they can be read, and what they hold.

use crate::jobfile::{self, Contents, Rules};
use crate::scenario::batch_file::JobsFile;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, shorten};
use crate::scenario::file::{ArrivalsFile, FormatWord, LengthsFile, PoolFile, ScenarioFile, StepTimeFile};
use crate::scenario::{TraceFormat, leaf};
use crate::workload::trace::{self, TraceStats};
use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest table of measured steps, bytes.
const TABLE_BYTES_MOST: u64 = 16 << 20;

/// Where files are looked for, and what is known of those that were read: each is read once, for all variants.
pub(in crate::scenario) struct Traces {
    /// Folder of the scenario file.
    folder: PathBuf,
    /// What `--trace` says.
    given: Option<PathBuf>,
    stats: BTreeMap<Key, TraceStats>,
    pairs: BTreeMap<Key, Arc<Vec<(u32, u32)>>>,
    digests: BTreeMap<String, String>,
    /// Files of batch requests, by what they were checked against.
    inputs: BTreeMap<(PathBuf, String), Arc<Input>>,
}

/// A file of batch requests, read.
pub(in crate::scenario) struct Input {
    /// What is in it.
    pub contents: Contents,
    /// Prompt tokens, and output tokens that are asked for at most, line by line.
    pub lines: Vec<(u32, Option<u32>)>,
}

/// A file and the format it is read as.
type Key = (PathBuf, Option<&'static str>);

impl Traces {
    pub(in crate::scenario) fn new(folder: PathBuf, given: Option<PathBuf>) -> Self {
        let (stats, pairs, digests, inputs) = Default::default();
        Traces { folder, given, stats, pairs, digests, inputs }
    }

    /// Folder of the scenario file.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a whole trace, checking every row.
    pub(super) fn scan(
        &mut self,
        written: &At<leaf::Text>,
        format: Option<&At<FormatWord>>,
        errors: &mut Errors,
    ) -> Option<(PathBuf, TraceStats)> {
        let path = self.find(written, errors)?;
        let key = (path.clone(), format.map(|at| at.value.word()));
        if !self.stats.contains_key(&key) {
            match trace::scan(&path, format.map(|at| format_of(at.value))) {
                Ok(stats) => {
                    self.stats.insert(key.clone(), stats);
                }
                Err(error) => {
                    errors.refuse_with(&written.place, error.to_string(), error.hint());
                    return None;
                }
            }
        }
        self.digest(written, &path, errors)?;
        self.stats.get(&key).cloned().map(|stats| (path, stats))
    }

    /// The prompt and output lengths of a trace.
    pub(super) fn pairs(
        &mut self,
        written: &At<leaf::Text>,
        format: Option<&At<FormatWord>>,
        errors: &mut Errors,
    ) -> Option<Arc<Vec<(u32, u32)>>> {
        let path = self.find(written, errors)?;
        let key = (path.clone(), format.map(|at| at.value.word()));
        if !self.pairs.contains_key(&key) {
            match trace::pairs(&path, format.map(|at| format_of(at.value))) {
                Ok(pairs) => {
                    self.pairs.insert(key.clone(), Arc::new(pairs));
                }
                Err(error) => {
                    errors.refuse_with(&written.place, error.to_string(), error.hint());
                    return None;
                }
            }
        }
        self.digest(written, &path, errors)?;
        self.pairs.get(&key).cloned()
    }

    /// The text of a table of measured steps, or of a fit to some.
    pub(super) fn table(&mut self, written: &At<leaf::Text>, errors: &mut Errors) -> Option<String> {
        let path = self.find(written, errors)?;
        let bytes = std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        if bytes > TABLE_BYTES_MOST {
            errors.refuse(
                &written.place,
                format!("`{bytes}` bytes are more than the {TABLE_BYTES_MOST} of any table"),
            );
            return None;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            errors.refuse(&written.place, format!("`{}` cannot be read: {error}", path.display()))
        });
        self.digest(written, &path, errors)?;
        text.ok()
    }

    /// The path of a file of batch requests; it is read when its limits are known.
    pub(super) fn requests(&mut self, written: &At<leaf::Text>, errors: &mut Errors) -> Option<PathBuf> {
        let path = self.find(written, errors)?;
        self.digest(written, &path, errors)?;
        Some(path)
    }

    /// What is in a file of batch requests, as far as it is right.
    pub(super) fn input(&mut self, path: &Path, rules: &Rules<'_>) -> std::io::Result<Arc<Input>> {
        let key = (path.to_path_buf(), format!("{rules:?}"));
        if let Some(input) = self.inputs.get(&key) {
            return Ok(Arc::clone(input));
        }
        let file = BufReader::with_capacity(1 << 16, std::fs::File::open(path)?);
        let mut lines = Vec::new();
        let contents = jobfile::read(file, rules, |prompt, output| lines.push((prompt, output)))?;
        let input = Arc::new(Input { contents, lines });
        self.inputs.insert(key, Arc::clone(&input));
        Ok(input)
    }

    /// The file a path means: variables filled in, relative to the scenario unless it begins with a variable.
    fn find(&self, written: &At<leaf::Text>, errors: &mut Errors) -> Option<PathBuf> {
        let text = &written.value.0;
        let expanded = match self.expand(text) {
            Ok(expanded) => expanded,
            Err(Unset::Unclosed) => {
                errors.refuse(&written.place, format!("`{}` has a `${{` without its `}}`", shorten(text)));
                return None;
            }
            Err(Unset::Variable(name)) => {
                let hint = match name.as_str() {
                    "TRACE" => "give the file with `--trace FILE` (or in the environment, `TIDEGATE_TRACE`)"
                        .to_owned(),
                    _ => format!("set the environment variable `{name}`"),
                };
                errors.refuse_with(&written.place, format!("`${{{}}}` has no value", shorten(&name)), hint);
                return None;
            }
        };
        let path = if text.starts_with("${") { PathBuf::from(expanded) } else { self.folder.join(expanded) };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => Some(path),
            Ok(_) => {
                errors.refuse(
                    &written.place,
                    format!("`{}` is not a regular file", shorten(&path.to_string_lossy())),
                );
                None
            }
            Err(error) => {
                let hint =
                    "paths are relative to the scenario file; those that begin with a `${VARIABLE}` are not";
                let message =
                    format!("`{}` cannot be opened: {}", shorten(&path.to_string_lossy()), error.kind());
                errors.refuse_with(&written.place, message, hint);
                None
            }
        }
    }

    fn expand(&self, text: &str) -> Result<String, Unset> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let end = rest[start..].find('}').ok_or(Unset::Unclosed)? + start;
            out.push_str(&self.variable(&rest[start + 2..end])?);
            rest = &rest[end + 1..];
        }
        Ok(out + rest)
    }

    fn variable(&self, name: &str) -> Result<String, Unset> {
        if let ("TRACE", Some(given)) = (name, &self.given) {
            return Ok(given.to_string_lossy().into_owned());
        }
        // `var` panics on names with `=` or a zero byte.
        let usable = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = if usable { std::env::var(name).ok().filter(|value| !value.is_empty()) } else { None };
        value.ok_or_else(|| Unset::Variable(name.to_owned()))
    }

    fn digest(&mut self, written: &At<leaf::Text>, path: &Path, errors: &mut Errors) -> Option<()> {
        if self.digests.contains_key(&written.value.0) {
            return Some(());
        }
        match digest(path) {
            Ok(digest) => {
                self.digests.insert(written.value.0.clone(), digest);
                Some(())
            }
            Err(error) => {
                errors.refuse(&written.place, format!("`{}` cannot be read: {error}", path.display()));
                None
            }
        }
    }
}

enum Unset {
    Unclosed,
    Variable(String),
}

/// BLAKE3 of a file, as `b3sum` prints it. O(file) time, O(1) memory.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            count => {
                hasher.update(&buffer[..count]);
            }
        }
    }
}

/// Puts the digest of each file in place of its path.
pub(super) fn digest_paths(file: &mut ScenarioFile, traces: &Traces) {
    let replace = |path: &mut At<leaf::Text>| {
        if let Some(digest) = traces.digests.get(&path.value.0) {
            path.value.0 = format!("blake3:{digest}");
        }
    };
    for (_, _, workload) in &mut file.workloads.entries {
        let Some(workload) = workload else { continue };
        if let ArrivalsFile::Trace(trace) = &mut workload.arrivals.value {
            replace(&mut trace.path);
        }
        if let Some(At { value: LengthsFile::Pairs(pairs), .. }) = &mut workload.lengths {
            replace(&mut pairs.path);
        }
    }
    for (_, _, batch) in &mut file.batch.entries {
        let Some(batch) = batch else { continue };
        if let JobsFile::Listed(jobs) = &mut batch.jobs.value {
            jobs.iter_mut().filter_map(|job| job.value.file.as_mut()).for_each(replace);
        }
        if let Some(pairs) = &mut batch.lengths {
            replace(&mut pairs.value.path);
        }
    }
    for (_, _, pool) in &mut file.pools.entries {
        let Some(PoolFile::Llm(pool)) = pool else { continue };
        match &mut pool.step_time.value {
            StepTimeFile::Table(table) => replace(&mut table.path),
            StepTimeFile::Calibrated(fit) => replace(&mut fit.file),
            StepTimeFile::Linear(_) | StepTimeFile::Roofline(_) => {}
        }
    }
}

/// The format a word names.
pub(super) fn format_of(word: FormatWord) -> TraceFormat {
    match word {
        FormatWord::Plain => TraceFormat::Plain,
        FormatWord::Azure2023 => TraceFormat::Azure2023,
        FormatWord::Mooncake => TraceFormat::Mooncake,
        FormatWord::ServeGen => TraceFormat::ServeGen,
        FormatWord::BurstGpt => TraceFormat::BurstGpt,
    }
}
