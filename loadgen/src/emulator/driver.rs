//! The thread of the engine: it holds the simulation to a real clock and is the only one that touches it.
//!
//! The thread has a runtime, in which connections may be served, too: then nothing has to wake another thread between a
//! request and the engine, nor between the engine and an answer.
//!
//! An event is handled at its own instant even when the thread is late, and how late is measured. An input takes effect at
//! the present instant of the clock, or as soon after the latest event as can be; it is written to the log before it does.

use super::draws::Draws;
use super::gateway::{Gateway, Message};
use super::log::{LogError, LogWriter};
use super::teller::Teller;
use crate::clock::Clock;
use crate::pacer::Pacer;
use hdrhistogram::Histogram;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use tidegate_sim::engine::Totals;
use tidegate_sim::engine::live::{Input, LiveSimulation};
use tidegate_sim::observe::decisions::Decisions;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::{Span, Time};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How to drive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Simulated time for real time, above zero.
    pub speed: f64,
    /// Where every input is written; nowhere when `None`.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options { speed: 1.0, log: None }
    }
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    thread: JoinHandle<Result<Ended, StartError>>,
    gateway: Gateway,
    runtime: Handle,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system gives no thread, no timer, or nothing to wait with.
    #[error("cannot start the engine: {0}")]
    System(#[from] io::Error),
}

/// What a run of the emulator amounted to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Requests and how they ended.
    pub totals: Totals,
    /// Hash of every decision.
    pub decisions: String,
    /// How many decisions there were.
    pub decided: u64,
    /// How late events were handled, real nanoseconds: p50, p99, most.
    pub lag_ns: [u64; 3],
    /// Events handled.
    pub events: u64,
}

/// Events handled, and inputs taken, before anything else on this thread has its turn.
const AT_ONCE: u32 = 64;

/// Starts an engine on a thread of its own.
///
/// # Errors
/// When the log cannot be made, or the system gives no thread.
pub fn start(scenario: &Scenario, options: Options) -> Result<(Gateway, Engine), StartError> {
    let log = options.log.as_deref().map(LogWriter::create).transpose()?;
    let emulated = Arc::new(scenario.gateway());
    let (inbox, messages) = unbounded_channel();
    let numbers = Arc::new(emulated.workloads.iter().map(|_| AtomicU64::new(0)).collect());
    let gateway = Gateway { scenario: Arc::clone(&emulated), inbox, numbers };
    let scenario = scenario.clone();
    // An event or an input must not wait for many handlers.
    let runtime = Builder::new_current_thread().event_interval(16).enable_all().build()?;
    let handle = runtime.handle().clone();
    let run = move || runtime.block_on(Driver::run(&scenario, &emulated, options.speed, log, messages));
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(run)?;
    Ok((gateway.clone(), Engine { thread, gateway, runtime: handle }))
}

impl Engine {
    /// The runtime of the engine's thread: what is spawned there lives until the engine stops.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Stops the engine and says what the run amounted to. Requests in flight end where they stand.
    ///
    /// # Errors
    /// When the log could not be written to its end.
    pub fn stop(self) -> Result<Ended, StartError> {
        // An engine that stopped by itself has said why.
        let _ = self.gateway.inbox.send(Message::Stop);
        match self.thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Driver<'s> {
    simulation: LiveSimulation<'s>,
    ears: (Teller, Decisions),
    clock: Clock,
    draws: Vec<Draws<'s>>,
    log: Option<LogWriter>,
    lag: Histogram<u64>,
    /// The latest instant that was given to an input.
    latest: Time,
    /// Jobs submitted so far, by batch.
    jobs: Vec<u32>,
    /// Why the log is not whole.
    failed: Option<LogError>,
}

impl Driver<'_> {
    async fn run(
        scenario: &Scenario,
        emulated: &Scenario,
        speed: f64,
        log: Option<LogWriter>,
        messages: UnboundedReceiver<Message>,
    ) -> Result<Ended, StartError> {
        let mut driver = Driver {
            simulation: LiveSimulation::live(emulated, scenario.seed, true),
            ears: (Teller::new(emulated), Decisions::default()),
            clock: Clock::at_speed(speed),
            draws: (0..scenario.workloads.len()).map(|index| Draws::new(scenario, index as u16)).collect(),
            log,
            lag: Histogram::new_with_max(3_600_000_000_000, 3).expect("the bounds are valid"),
            latest: Time::ZERO,
            jobs: vec![0; scenario.batches.len()],
            failed: None,
        };
        driver.simulation.start(&mut driver.ears);
        driver.drive(messages).await?;
        Ok(driver.end()?)
    }

    async fn drive(&mut self, mut messages: UnboundedReceiver<Message>) -> io::Result<()> {
        let mut pacer = Pacer::new()?;
        loop {
            // What is due goes before what comes in: a flood of requests delays no step.
            self.catch_up();
            for _ in 0..AT_ONCE {
                match messages.try_recv() {
                    Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Ok(message) => self.take(message),
                    Err(TryRecvError::Empty) => break,
                }
            }
            let Some(next) = self.simulation.next_time() else {
                match messages.recv().await {
                    Some(Message::Stop) | None => return Ok(()),
                    Some(message) => self.take(message),
                }
                continue;
            };
            if next <= self.clock.now() {
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.clock.instant(next);
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(Message::Stop) | None => return Ok(()),
                    Some(message) => self.take(message),
                },
                reached = pacer.until(due) => reached?,
            }
        }
    }

    /// Handles what is due, but not too much at once.
    fn catch_up(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(next) = self.simulation.next_time() else { return };
            let now = self.clock.now();
            if next > now {
                return;
            }
            self.lag.record(self.clock.real(now - next).min(self.lag.high())).expect("it is in range");
            self.simulation.step(&mut self.ears);
        }
    }

    /// The instant at which an input takes effect: now, after everything that has happened, and after every earlier input.
    fn instant(&mut self) -> Time {
        let after = self.latest + Span::from_nanos(1);
        self.latest = self.clock.now().max(self.simulation.earliest()).max(after);
        self.latest
    }

    fn take(&mut self, message: Message) {
        let (input, mark) = match message {
            Message::Ask(ask, mouth, number) => {
                let arrival = self.draws[usize::from(ask.workload)].arrival(&ask, number);
                self.ears.0.expect(ask.workload, number, mouth);
                (Input::Request(arrival), ask.mark)
            }
            Message::HangUp(workload, index) => {
                self.ears.0.forget(workload, index);
                (Input::HangUp { workload, index }, None)
            }
            Message::Job(batch, submission, reply) => {
                let number = self.jobs[usize::from(batch)];
                self.jobs[usize::from(batch)] += 1;
                // Who does not wait for the answer has a job all the same.
                let _ = reply.send(self.ears.0.expect_job(batch, number));
                (Input::Job { batch, submission }, None)
            }
            Message::CancelJob(batch, job) => (Input::CancelJob { batch, job }, None),
            Message::Gauges(reply) => {
                let lag = (self.lag.value_at_quantile(0.99), self.lag.max());
                let _ = reply.send(self.ears.0.gauges(lag));
                return;
            }
            Message::Stop => unreachable!("the loop ends with it"),
        };
        let at = self.instant();
        if let Some(log) = &mut self.log
            && let Err(error) = log.input(at, &input, mark)
        {
            // The run goes on; that its log is useless is said at the end.
            self.failed = Some(error);
            self.log = None;
        }
        self.simulation.put(at, input);
    }

    fn end(mut self) -> Result<Ended, LogError> {
        // Everything that is due has happened, so that the end is an instant between events.
        let until = self.instant();
        while self.simulation.next_time().is_some_and(|next| next <= until) {
            self.simulation.step(&mut self.ears);
        }
        let totals = self.simulation.close_at(until, &mut self.ears);
        let (decisions, decided) = self.ears.1.finish();
        if let Some(log) = self.log {
            log.end(until, &decisions)?;
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let at = |quantile: f64| self.lag.value_at_quantile(quantile);
        let lag_ns = [at(0.5), at(0.99), self.lag.max()];
        Ok(Ended { totals, decisions, decided, lag_ns, events: self.lag.len() })
    }
}
