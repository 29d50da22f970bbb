//! The whole of a run: block after block, and what they amount to.

use super::attack::{self, Cast, GooseVerdict, Part, Role, Start};
use super::block::{Block, Setting};
use super::gauge::Gauge;
use super::jobs;
use super::lanes;
use super::machine::{self, Usage};
use super::plan::{BlockPlan, LoadError, Plan};
use super::prompt::Prompts;
use super::record::{Booked, Fact, Ledger, Tally};
use super::safety::Spent;
use super::schedule::Schedule;
use super::sending::Alive;
use super::threads::Threads;
use super::validity::{Evidence, judge};
use crate::client::batch::BatchApi;
use crate::client::request::Form;
use crate::client::transport::Transport;
use crate::clock::Clock;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tidegate_sim::experiment::measured::Measured;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::observe::Observer;
use tidegate_sim::observe::jobs::JobStory;
use tidegate_sim::results::live::{Generator, LiveSummary, Validity};
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::{End, Scenario};
use tidegate_sim::workload::client::RetryBudget;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// From the moment at which everybody is ready to the start of a block.
const AHEAD: Duration = Duration::from_millis(50);
/// How often a stop is looked for.
const TICK: Duration = Duration::from_millis(25);
/// Most lanes that nobody asked for: each sends ten thousand requests a second and more.
const LANES_MOST: usize = 8;
/// How long goose may take to bring its users, and to end.
const GOOSE: Duration = Duration::from_secs(30);

/// How long it may take to end when the run was stopped.
const HURRIED: Duration = Duration::from_millis(200);

/// What a run amounted to.
#[derive(Debug)]
pub struct Outcome {
    /// Its blocks, in the order in which they were played.
    pub measured: Vec<Measured>,
    /// How the blocks of the scenario itself went.
    pub live: LiveSummary,
    /// How those of the other variants went, in their order.
    pub others: Vec<LiveSummary>,
    /// Batch jobs of the first block of the scenario itself.
    pub jobs: Vec<JobStory>,
    /// What goose said of the last block.
    pub goose: GooseVerdict,
    /// Whether somebody stopped it.
    pub interrupted: bool,
}

/// Plays a plan. `control` is told how far it is and may stop it, within a fraction of a second; `gauge` can be watched
/// meanwhile. `first` is told every fact of the first block of the scenario itself.
///
/// Blocks the thread it is called on and brings a runtime of its own. One at a time in a process: goose knows only one.
///
/// # Errors
/// When the target cannot be found, a trace is broken, or goose refuses what it was asked for. What goes wrong on the wire is
/// no error but a result.
///
/// # Panics
/// When a request was lost or counted twice.
pub fn play(
    plan: &Plan,
    control: &Control,
    gauge: &Arc<Gauge>,
    mut first: Option<&mut (dyn Observer + Send)>,
) -> Result<Outcome, LoadError> {
    // Goose, and whoever looks on: they have time.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(LoadError::Start)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = plan.options.lanes.unwrap_or((cores / 2).clamp(1, LANES_MOST));
    let run = Run {
        plan,
        control,
        lanes: Threads::start(lanes).map_err(LoadError::Start)?,
        transport: {
            let _inside = runtime.enter();
            Transport::new(&plan.target)?
        },
        prompts: Arc::new(Prompts::new(plan.options.tokenizer)),
        spent: Arc::new(Spent::new(plan.options.caps, plan.variants[0].live.prices)),
        gauge: Arc::clone(gauge),
        fatal: Arc::default(),
        stop: CancellationToken::new(),
        usage: Usage::start(),
    };
    let mut books: Vec<Book> = plan.variants.iter().map(Book::new).collect();
    let mut measured = Vec::new();
    let mut jobs = Vec::new();
    let mut goose = GooseVerdict::default();
    for (number, block) in plan.blocks.iter().enumerate() {
        if run.is_stopped() {
            break;
        }
        let told = if block.variant == 0 && block.index == 0 { first.take() } else { None };
        let is_first = block.variant == 0 && block.index == 0;
        let last = number + 1 == plan.blocks.len();
        let played = run.block(&runtime, *block, (number as u32, plan.blocks.len() as u32), told, last)?;
        books[block.variant].add(&played);
        if is_first {
            jobs = played.jobs;
        }
        goose = played.goose;
        measured.push(played.measured);
    }
    let interrupted = control.is_stopped();
    let mut lives =
        plan.variants.iter().zip(&books).map(|(scenario, book)| run.live(scenario, book, interrupted));
    let live = lives.next().expect("a plan has a scenario");
    let others = lives.collect();
    // Whatever still runs has been stopped.
    drop(run);
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(Outcome { measured, live, others, jobs, goose, interrupted })
}

/// What all blocks of a run share.
struct Run<'a> {
    plan: &'a Plan,
    control: &'a Control,
    lanes: Threads,
    transport: Transport,
    prompts: Arc<Prompts>,
    spent: Arc<Spent>,
    gauge: Arc<Gauge>,
    fatal: Arc<OnceLock<String>>,
    stop: CancellationToken,
    usage: Usage,
}

/// A block that was played.
struct Played {
    measured: Measured,
    tally: Tally,
    jobs: Vec<JobStory>,
    goose: GooseVerdict,
    troubles: Vec<String>,
}

/// What the blocks of a variant left.
struct Book {
    tally: Tally,
    troubles: Vec<String>,
    elapsed_ns: u64,
}

impl Book {
    fn new(scenario: &Scenario) -> Self {
        Book { tally: Tally::new(scenario.workloads.len()), troubles: Vec::new(), elapsed_ns: 0 }
    }

    fn add(&mut self, played: &Played) {
        self.tally.merge(&played.tally);
        self.troubles.extend(played.troubles.iter().cloned());
        self.elapsed_ns += played.measured.totals.ended.as_nanos();
    }
}

impl Run<'_> {
    fn is_stopped(&self) -> bool {
        self.control.is_stopped() || self.stop.is_cancelled()
    }

    fn setting(&self, variant: usize) -> Result<Setting, LoadError> {
        let scenario = &self.plan.variants[variant];
        let lengths = self.plan.lengths();
        let forms = scenario.workloads.iter().zip(&self.plan.keys[variant]).enumerate();
        let forms = forms.map(|(index, (workload, keys))| {
            Form::new(&workload.wire, scenario.wire_name(index), lengths, keys, &self.transport)
        });
        let batch_api = BatchApi::new(&self.plan.target, scenario.live.dialect)?;
        Ok(Setting {
            forms: forms.collect(),
            reasons: Setting::reasons(scenario),
            scenario: Arc::new(scenario.clone()),
            transport: self.transport.clone(),
            batch_api,
            prompts: Arc::clone(&self.prompts),
            silence_ns: u64::try_from(self.plan.options.silence.as_nanos()).unwrap_or(u64::MAX),
            spent: Arc::clone(&self.spent),
            gauge: Arc::clone(&self.gauge),
            fatal: Arc::clone(&self.fatal),
            stop: self.stop.clone(),
        })
    }

    /// Plays one block, the `number.0`th of `number.1`.
    fn block(
        &self,
        runtime: &Runtime,
        block: BlockPlan,
        number: (u32, u32),
        more: Option<&mut (dyn Observer + Send)>,
        last: bool,
    ) -> Result<Played, LoadError> {
        let setting = Arc::new(self.setting(block.variant)?);
        let scenario = Arc::clone(&setting.scenario);
        let seed = replication_seed(scenario.seed, block.index);
        let schedule = Schedule::draw(&scenario, seed, self.plan.options.schedule_most)?;
        let hash = schedule.hash.clone();
        let mut scheduled = schedule.beyond.clone();
        for arrival in schedule.open.iter().chain(&schedule.users) {
            scheduled[usize::from(arrival.head.workload)] += 1;
        }
        let (facts, told) = mpsc::unbounded_channel();
        let (results, fed) = mpsc::unbounded_channel();
        let ledger = Ledger::new(&scenario, &scheduled, more, results, Arc::clone(&self.gauge));
        let (stage, booked) = std::thread::scope(|threads| {
            let books = std::thread::Builder::new().name("ledger".into());
            let books = books.spawn_scoped(threads, move || ledger.keep(told)).map_err(LoadError::Start)?;
            let index = block.index;
            let stage = Stage { run: self, setting, schedule, index, seed, facts, number, last };
            let stage = runtime.block_on(stage.play(fed, &scheduled));
            let booked = books.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            stage.map(|stage| (stage, booked))
        })?;
        let Booked { recording, totals, tally, jobs } = booked;
        let cut = self.is_stopped();
        let whole = !cut && schedule_is_whole(&tally);
        let measured = Measured {
            variant: scenario.variant.clone(),
            index: block.index,
            recording,
            totals,
            arrival_hash: whole.then_some(hash),
            cut,
        };
        Ok(Played { measured, tally, jobs, goose: stage.goose, troubles: stage.troubles })
    }

    fn live(&self, scenario: &Scenario, book: &Book, interrupted: bool) -> LiveSummary {
        let (counts, lag) = (book.tally.counts(), book.tally.lag());
        let evidence = Evidence {
            lag,
            counts,
            caps: self.spent.hit(),
            fatal: self.fatal.get().map(String::as_str),
            interrupted,
            troubles: book.troubles.clone(),
        };
        let (validity, reasons) = judge(&scenario.live.validity, &evidence);
        LiveSummary {
            target: self.plan.target.to_string(),
            validity,
            reasons,
            counts,
            lag,
            generator: Generator {
                in_flight_peak: self.gauge.in_flight_peak(),
                sockets_peak: self.transport.sockets_peak() as u64,
                cpu_cores: self.usage.cores(),
                memory_peak_bytes: machine::memory_peak(),
                elapsed_ns: book.elapsed_ns,
            },
            workloads: book.tally.rows(scenario),
            headers: book.tally.header_checks(),
        }
    }
}

fn schedule_is_whole(tally: &Tally) -> bool {
    tally.counts().unsent == 0
}

/// A block that is being played.
struct Stage<'r, 'a> {
    run: &'r Run<'a>,
    setting: Arc<Setting>,
    schedule: Schedule,
    index: u32,
    seed: u64,
    facts: mpsc::UnboundedSender<Fact>,
    number: (u32, u32),
    last: bool,
}

/// What goose and its users said of a block.
struct Staged {
    goose: GooseVerdict,
    troubles: Vec<String>,
}

impl Stage<'_, '_> {
    async fn play(
        self,
        fed: mpsc::UnboundedReceiver<attack::FedResult>,
        scheduled: &[u64],
    ) -> Result<Staged, LoadError> {
        let Stage { run, setting, schedule, index, seed, facts, number, last } = self;
        let Schedule { open, users, sources, beyond, .. } = schedule;
        for (workload, unsent) in beyond.iter().enumerate().filter(|(_, unsent)| **unsent > 0) {
            // The books were opened with them.
            let _ = facts.send(Fact::Unsent(workload as u16, *unsent));
        }
        let thread = |number| run.lanes.runtime(number).clone();
        let mut roles = vec![Role::Feed(fed)];
        let stripes = lanes::deal(open, run.lanes.len()).into_iter().enumerate();
        roles.extend(stripes.map(|(number, stripe)| Role::Lane(stripe, thread(number))));
        let users = users.into_iter().enumerate();
        roles.extend(users.map(|(number, first)| Role::User(Box::new(first), thread(number))));
        let (parts, starts): (Vec<Part>, Vec<oneshot::Sender<Start>>) =
            roles.into_iter().map(Part::new).unzip();
        let names = setting.scenario.workloads.iter().map(|workload| workload.name.clone()).collect();
        let players = parts.len();
        let cast = Cast::new(parts, names);
        let mut options = run.plan.options.goose.clone();
        if !last {
            // Of several blocks the last writes the reports.
            options.reports.clear();
            options.thresholds.clear();
        }
        let target = run.plan.target.to_string();
        let mut attack = tokio::spawn(attack::run(Arc::clone(&cast), players, target, options));
        let came = async {
            while cast.ready.load(Ordering::Relaxed) < players {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let early = tokio::select! {
            () = came => None,
            ended = &mut attack => Some(match ended {
                Ok(Err(error)) => attack::complaint(&error),
                Ok(Ok(_)) => "the attack ended before it began".to_owned(),
                Err(error) => error.to_string(),
            }),
            () = tokio::time::sleep(GOOSE) => Some("its users did not come".to_owned()),
        };
        if let Some(why) = early {
            attack.abort();
            for (workload, count) in scheduled.iter().enumerate() {
                let _ = facts.send(Fact::Unsent(workload as u16, count - beyond[workload]));
            }
            return Err(LoadError::Goose(why));
        }
        let budgets = setting.scenario.workloads.iter().map(|workload| {
            let rule = workload.client.retry.as_ref().and_then(|retry| retry.budget);
            Mutex::new(rule.map(RetryBudget::new))
        });
        let block = Arc::new(Block {
            index,
            seed,
            clock: Clock::starting_in(AHEAD),
            sources: sources.into_iter().map(Mutex::new).collect(),
            alarm: super::alarm::Alarm::default(),
            budgets: budgets.collect(),
            facts,
            stop: run.stop.child_token(),
            setting,
        });
        let alarm = run.lanes.runtime(0).spawn({
            let block = Arc::clone(&block);
            async move { block.alarm.serve(block.clock).await }
        });
        let (alive, mut over) = mpsc::channel(1);
        jobs::start(&block, &alive);
        for start in starts {
            // Everybody is there: see above.
            let _ = start.send(Start { block: Arc::clone(&block), alive: Alive::clone(&alive) });
        }
        drop(alive);
        Self::watch(run, &block, number, &mut over).await;
        alarm.abort();
        let mut troubles = cast.troubles();
        if let Ok(Err(error)) = alarm.await {
            troubles.push(format!("there is no timer: {error}"));
        }
        // The last hold on the queue of facts: the books are closed now, then goose is told the rest.
        drop(block);
        // Goose looks up twice a second only. Whoever stops a run does not wait for that, unless for a report.
        let hurried = run.stop.is_cancelled() && run.plan.options.goose.reports.is_empty();
        let patience = if hurried { HURRIED } else { GOOSE };
        let goose = match tokio::time::timeout(patience, &mut attack).await {
            Ok(Ok(Ok(verdict))) => verdict,
            Ok(Ok(Err(error))) => return Err(LoadError::Goose(attack::complaint(&error))),
            Ok(Err(error)) => return Err(LoadError::Goose(error.to_string())),
            Err(_) if hurried => {
                attack.abort();
                GooseVerdict::default()
            }
            Err(_) => {
                troubles.push("goose did not end".to_owned());
                GooseVerdict::default()
            }
        };
        troubles.extend(cast.troubles());
        Ok(Staged { goose, troubles })
    }

    /// Waits until nobody has anything to send; meanwhile looks whether to stop, and tells how far it is.
    async fn watch(
        run: &Run<'_>,
        block: &Arc<Block>,
        number: (u32, u32),
        over: &mut mpsc::Receiver<std::convert::Infallible>,
    ) {
        let horizon = block.setting.scenario.horizon.as_nanos();
        let cuts = block.setting.scenario.end == End::Cut;
        let mut looked = Instant::now();
        let (mut told_ns, mut told_sent) = (0, run.gauge.snapshot().sent);
        loop {
            tokio::select! {
                biased;
                _ = over.recv() => break,
                () = tokio::time::sleep(TICK) => {}
            }
            if run.control.is_stopped() || goose::is_killswitch_triggered() {
                run.control.stop();
                run.stop.cancel();
            }
            let now = block.clock.nanos();
            if cuts && now >= horizon {
                block.stop.cancel();
            }
            let seconds = looked.elapsed().as_secs_f64();
            if seconds >= 1.0 {
                looked = Instant::now();
                let look = run.gauge.look(now, number, seconds);
                let sent = run.gauge.snapshot().sent;
                run.control.advance(now.min(horizon) - told_ns, sent - told_sent);
                (told_ns, told_sent) = (now.min(horizon), sent);
                if let Some(why) = run.plan.options.abort.broken_by(&look) {
                    block.setting.give_up(&why);
                }
            }
        }
        run.gauge.look(block.clock.nanos(), number, looked.elapsed().as_secs_f64().max(1e-3));
    }
}

/// Whether a run may decide anything.
pub fn decides(live: &LiveSummary) -> bool {
    live.validity != Validity::Invalid
}
