//! The goose side: lanes and users are goose users, and every result goes back into goose, so that its thresholds, HTML
//! report and baselines work.
//!
//! Goose measures the time to an answer's head and holds one request a user; neither is wanted here. So a goose user is only
//! the place where one of our tasks lives, and one more user tells goose what all of them saw (from the schedule to the end
//! as `POST`, to the first token as `TTFT`). The tasks run on their own: one that panics does not hang an attack, and one
//! that waits can be stopped.

use super::block::Block;
use super::lanes;
use super::record::Fed;
use super::sending::Alive;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario as GooseScenario, Transaction, TransactionFunction};
use goose::metrics::GooseMetrics;
use goose::{GooseAttack, GooseError};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidegate_sim::request::Arrival;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;

/// What a goose user does.
pub(super) enum Role {
    /// Walks a part of the schedule, on a thread of its own.
    Lane(Vec<Arrival>, Handle),
    /// Is a user of a closed loop, on the thread of a lane.
    User(Box<Arrival>, Handle),
    /// Tells goose what the others saw.
    Feed(UnboundedReceiver<Fed>),
}

/// A result on its way to goose.
pub(super) type FedResult = Fed;

/// The start of a block: everybody waits for it.
pub(super) struct Start {
    pub block: Arc<Block>,
    pub alive: Alive,
}

/// A role, and the start that its player waits for.
pub(super) struct Part {
    role: Role,
    start: oneshot::Receiver<Start>,
}

impl Part {
    pub(super) fn new(role: Role) -> (Part, oneshot::Sender<Start>) {
        let (tell, start) = oneshot::channel();
        (Part { role, start }, tell)
    }
}

/// What goose is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GooseOptions {
    /// Reports to write, by their endings: HTML, Markdown, JSON.
    pub reports: Vec<PathBuf>,
    /// A JSON report of an earlier run, which reports are compared with.
    pub baseline: Option<PathBuf>,
    /// Thresholds in goose's own form.
    pub thresholds: Vec<String>,
}

/// What goose said.
#[derive(Debug, Default)]
pub struct GooseVerdict {
    /// Thresholds that failed, in words.
    pub failed: Vec<String>,
    /// Requests that goose counted.
    pub requests: usize,
}

/// What goose users share.
pub(super) struct Cast {
    parts: Mutex<VecDeque<Part>>,
    /// Users that wait for the start.
    pub ready: AtomicUsize,
    names: Vec<String>,
    troubles: Mutex<Vec<String>>,
}

impl Cast {
    pub(super) fn new(parts: Vec<Part>, names: Vec<String>) -> Arc<Self> {
        let parts = Mutex::new(parts.into());
        Arc::new(Cast { parts, ready: AtomicUsize::new(0), names, troubles: Mutex::default() })
    }

    /// What went wrong in a role.
    pub(super) fn troubles(&self) -> Vec<String> {
        std::mem::take(&mut *self.troubles.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn trouble(&self, text: String) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    async fn play(&self, user: &mut GooseUser) {
        let part = self.parts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(Part { role, start }) = part else { return };
        self.ready.fetch_add(1, Ordering::Relaxed);
        // The other end goes when there is no block after all.
        let Ok(Start { block, alive }) = start.await else { return };
        let played = match role {
            Role::Lane(stripe, thread) => thread.spawn(lanes::walk(block, stripe, alive)).await,
            Role::User(first, thread) => {
                let play = async move {
                    lanes::user(block, *first, alive).await;
                    Ok(())
                };
                thread.spawn(play).await
            }
            Role::Feed(results) => {
                drop((block, alive));
                self.feed(user, results).await;
                return;
            }
        };
        match played {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.trouble(format!("a lane has no timer: {error}")),
            Err(error) => self.trouble(format!("a lane has ended: {error}")),
        }
    }

    /// Tells goose every result, a few at a time, so that no lane waits for it.
    async fn feed(&self, user: &mut GooseUser, mut results: UnboundedReceiver<Fed>) {
        let mut told = 0_u32;
        loop {
            match results.try_recv() {
                Ok(fed) => {
                    let name = &self.names[usize::from(fed.workload)];
                    let fine = fed.error.is_none();
                    // Goose has gone: our own books do not need it.
                    let _ = user
                        .record_custom_request_duration("POST", name, fed.e2e, fine, fed.status, fed.error)
                        .await;
                    if let Some(ttft) = fed.ttft {
                        let _ = user
                            .record_custom_request_duration("TTFT", name, ttft, true, fed.status, None)
                            .await;
                    }
                    told += 1;
                    if told.is_multiple_of(16) {
                        tokio::task::yield_now().await;
                    }
                }
                Err(TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

/// Runs an attack whose users play `cast`. Ends when all of them have.
pub(super) async fn run(
    cast: Arc<Cast>,
    users: usize,
    target: String,
    options: GooseOptions,
) -> Result<GooseVerdict, GooseError> {
    let players = Arc::clone(&cast);
    let play: TransactionFunction = Arc::new(move |user| {
        let cast = Arc::clone(&players);
        Box::pin(async move {
            cast.play(user).await;
            Ok(())
        })
    });
    let attack = GooseAttack::initialize_with_config(configuration(users, target, options)?)?;
    let scenario =
        GooseScenario::new("tidegate").register_transaction(Transaction::new(play).set_name("block"));
    let ended = attack.register_scenario(scenario).execute().await;
    let requests = |metrics: &GooseMetrics| {
        metrics.requests.values().map(|request| request.success_count + request.fail_count).sum()
    };
    match ended {
        Ok(metrics) => Ok(GooseVerdict { failed: Vec::new(), requests: requests(&metrics) }),
        Err(GooseError::ThresholdsFailed { failed, metrics }) => Ok(GooseVerdict {
            failed: failed.iter().map(|rule| format!("{}, observed {}", rule.rule, rule.observed)).collect(),
            requests: requests(&metrics),
        }),
        Err(error) => Err(error),
    }
}

/// What goose did not like, in words: its own text leaves out which option it was.
pub(super) fn complaint(error: &GooseError) -> String {
    match error {
        GooseError::InvalidOption { option, value, detail } => format!("{option} `{value}`: {detail}"),
        other => other.to_string(),
    }
}

/// Goose without anything that prints, parses arguments or listens.
fn configuration(
    users: usize,
    target: String,
    options: GooseOptions,
) -> Result<GooseConfiguration, GooseError> {
    let mut configuration = GooseConfiguration::parse_args_default(&Vec::<&str>::new())
        .map_err(|error| GooseError::Io(std::io::Error::other(error.to_string())))?;
    configuration.host = Some(target);
    configuration.users = Some(users);
    // All at once: they wait for the start anyway.
    configuration.increase_rate = Some((users * 20).max(100).to_string());
    configuration.iterations = Some(1);
    configuration.quiet = 3;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_transaction_metrics = true;
    configuration.no_scenario_metrics = true;
    configuration.no_threshold_abort = true;
    configuration.no_telnet = true;
    configuration.threshold = options.thresholds;
    configuration.report_file = options.reports.iter().map(|path| path.display().to_string()).collect();
    configuration.baseline_file = options.baseline.map(|path| path.display().to_string());
    Ok(configuration)
}
