//! Everything that came from outside, with the instant at which it took effect: what a run can be repeated from.

use super::gateway::Mark;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_sim::engine::live::Input;
use tidegate_sim::request::{Arrival, Prefix, RequestDraw, RequestHead};
use tidegate_sim::scenario::batch::{JobFault, Submission};
use tidegate_sim::time::{Span, Time};

/// A log that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file.
    #[error("cannot {what} `{path}`: {source}")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What failed.
        source: csv::Error,
    },
    /// What is in it.
    #[error("`{path}`, line {line}: {problem}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
}

/// A line of the log. Which columns are filled depends on its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    /// `request`, `hang-up`, `job`, `cancel` or `end`.
    kind: String,
    at_ns: u64,
    /// Index of the workload, or of the batch.
    of: u16,
    /// Number of the request or of the job.
    number: u64,
    tenant: u32,
    prompt_tokens: u32,
    max_tokens: Option<u32>,
    session: u64,
    turn: u32,
    shared: u64,
    shared_tokens: u32,
    own: u64,
    body_bytes: Option<u32>,
    output_tokens: u32,
    service_ns: u64,
    overhead_ns: u64,
    /// Replication that a marked request says it is of.
    replication: Option<u32>,
    requests: u32,
    bytes: Option<u64>,
    /// `prompt:output` of each line of a job.
    lines: String,
    /// `reason:line:at-once` of what is wrong with a job.
    fault: String,
    /// Of the last line: hash of the decisions, and how many there were.
    decisions: String,
}

/// Writes the log as the run goes.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    csv: csv::Writer<BufWriter<File>>,
}

impl LogWriter {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(|error| io("write", path, error.into()))?;
        let csv = csv::Writer::from_writer(BufWriter::with_capacity(1 << 16, file));
        Ok(LogWriter { path: path.to_owned(), csv })
    }

    /// An input and when it takes effect; `mark` when a request says which of the scenario's it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn input(&mut self, at: Time, input: &Input, mark: Option<Mark>) -> Result<(), LogError> {
        let mut row = row_of(input);
        row.at_ns = at.as_nanos();
        row.replication = mark.map(|mark| mark.replication);
        self.write(&row)
    }

    /// The end, and what the run amounted to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self, at: Time, decisions: &str) -> Result<(), LogError> {
        let row = Row {
            kind: "end".to_owned(),
            at_ns: at.as_nanos(),
            decisions: decisions.to_owned(),
            ..Row::default()
        };
        self.write(&row)?;
        self.csv.flush().map_err(|error| io("write", &self.path, error.into()))
    }

    fn write(&mut self, row: &Row) -> Result<(), LogError> {
        self.csv.serialize(row).map_err(|error| io("write", &self.path, error))
    }
}

fn io(what: &'static str, path: &Path, source: csv::Error) -> LogError {
    LogError::Io { what, path: path.to_owned(), source }
}

fn row_of(input: &Input) -> Row {
    match input {
        Input::Request(Arrival { head, draw, .. }) => Row {
            kind: "request".to_owned(),
            of: head.workload,
            number: head.index,
            tenant: head.tenant,
            prompt_tokens: head.prompt_tokens,
            max_tokens: head.max_tokens,
            session: head.session,
            turn: head.turn,
            shared: head.prefix.shared,
            shared_tokens: head.prefix.shared_tokens,
            own: head.prefix.own,
            body_bytes: head.body_bytes,
            output_tokens: draw.output_tokens,
            service_ns: draw.service.as_nanos(),
            overhead_ns: draw.overhead.as_nanos(),
            ..Row::default()
        },
        Input::HangUp { workload, index } => {
            Row { kind: "hang-up".to_owned(), of: *workload, number: *index, ..Row::default() }
        }
        Input::Job { batch, submission } => Row {
            kind: "job".to_owned(),
            of: *batch,
            tenant: submission.owner,
            requests: submission.requests,
            bytes: submission.bytes,
            lines: submission.lines.as_ref().map_or_else(String::new, |lines| {
                lines
                    .iter()
                    .map(|(prompt, output)| format!("{prompt}:{output}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            }),
            fault: submission.fault.map_or_else(String::new, |fault| {
                format!("{}:{}:{}", fault.reason, fault.line, u8::from(fault.at_once))
            }),
            ..Row::default()
        },
        Input::CancelJob { batch, job } => {
            Row { kind: "cancel".to_owned(), of: *batch, number: u64::from(*job), ..Row::default() }
        }
    }
}

/// A log that was read.
#[derive(Clone, Debug)]
pub struct Log {
    /// The inputs, in order of their instants.
    pub inputs: Vec<(Time, Input)>,
    /// Replication that each input says it is of, when it is a marked request.
    pub replications: Vec<Option<u32>>,
    /// When the run ended, and the hash of its decisions; `None` when it was not ended in an orderly way.
    pub end: Option<(Time, String)>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not one of a log.
    pub fn read(path: &Path) -> Result<Log, LogError> {
        let file = File::open(path).map_err(|error| io("read", path, error.into()))?;
        let mut csv = csv::Reader::from_reader(BufReader::with_capacity(1 << 16, file));
        let mut log = Log { inputs: Vec::new(), replications: Vec::new(), end: None };
        let mut last = 0;
        for (row, line) in csv.deserialize::<Row>().zip(2..) {
            let broken = |problem: String| LogError::Broken { path: path.to_owned(), line, problem };
            let row = row.map_err(|error| broken(error.to_string()))?;
            if row.at_ns <= last && row.kind != "end" {
                return Err(broken(format!("`at_ns` is {}, after {last}: instants increase", row.at_ns)));
            }
            last = row.at_ns;
            let at = Time::from_nanos(row.at_ns);
            if log.end.is_some() {
                return Err(broken("nothing follows the `end`".to_owned()));
            }
            if row.kind == "end" {
                log.end = Some((at, row.decisions));
                continue;
            }
            let replication = row.replication;
            log.inputs.push((at, input_of(&row).map_err(broken)?));
            log.replications.push(replication);
        }
        Ok(log)
    }
}

fn input_of(row: &Row) -> Result<Input, String> {
    let index = row.number;
    Ok(match row.kind.as_str() {
        "request" => Input::Request(Arrival {
            at: Time::from_nanos(row.at_ns),
            head: RequestHead {
                workload: row.of,
                tenant: row.tenant,
                index,
                prompt_tokens: row.prompt_tokens,
                max_tokens: row.max_tokens,
                session: row.session,
                turn: row.turn,
                prefix: Prefix { shared: row.shared, shared_tokens: row.shared_tokens, own: row.own },
                body_bytes: row.body_bytes,
            },
            draw: RequestDraw {
                output_tokens: row.output_tokens,
                service: Span::from_nanos(row.service_ns),
                patience: None,
                overhead: Span::from_nanos(row.overhead_ns),
            },
            chain: None,
        }),
        "hang-up" => Input::HangUp { workload: row.of, index },
        "cancel" => {
            let job = u32::try_from(index).map_err(|_| format!("`number` is {index}, at most 2^32"))?;
            Input::CancelJob { batch: row.of, job }
        }
        "job" => Input::Job {
            batch: row.of,
            submission: Submission {
                at: Time::from_nanos(row.at_ns),
                owner: row.tenant,
                requests: row.requests,
                bytes: row.bytes,
                lines: lines_of(&row.lines)?,
                fault: fault_of(&row.fault)?,
            },
        },
        other => return Err(format!("`kind` is `{other}`, not one of request, hang-up, job, cancel, end")),
    })
}

/// Prompt and output tokens of each line of a job.
type Lines = Arc<[(u32, u32)]>;

fn lines_of(text: &str) -> Result<Option<Lines>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let line = |pair: &str| {
        let (prompt, output) = pair.split_once(':')?;
        Some((prompt.parse().ok()?, output.parse().ok()?))
    };
    let lines: Option<Vec<(u32, u32)>> = text.split(' ').map(line).collect();
    lines.map(|lines| Some(lines.into())).ok_or_else(|| "`lines` are not `prompt:output` pairs".to_owned())
}

fn fault_of(text: &str) -> Result<Option<JobFault>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut parts = text.split(':');
    let fault = (|| {
        let reason = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        let at_once = parts.next()? == "1";
        Some(JobFault { reason, line, at_once })
    })();
    fault.map(Some).ok_or_else(|| "`fault` is not `reason:line:at-once`".to_owned())
}
