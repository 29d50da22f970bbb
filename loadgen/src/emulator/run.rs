//! An emulator from its start to its end: engine, server, and the signals that end them.

use super::driver::{self, Ended, StartError};
use super::server::{Server, Settings, raise_descriptors};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tidegate_sim::scenario::Scenario;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What clients may do.
    pub settings: Settings,
    /// Where every input is written; nowhere when `None`.
    pub log: Option<PathBuf>,
    /// Threads that serve connections, at least 1. One is that of the engine; more are beside it.
    pub threads: usize,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gives no threads, or no signals.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// The engine, or its log.
    #[error(transparent)]
    Engine(#[from] StartError),
}

/// What a run amounted to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The engine's side.
    pub engine: Ended,
    /// Connections whose answers were not over in time.
    pub dropped: usize,
}

/// Runs until Ctrl-C or SIGTERM. `listening` is told the address as soon as it can be connected to, and how many
/// descriptors there are.
///
/// # Errors
/// When it cannot start, or the log cannot be written.
pub fn run(
    scenario: &Scenario,
    options: Options,
    listening: impl FnOnce(SocketAddr, u64),
) -> Result<Outcome, RunError> {
    let descriptors = raise_descriptors();
    let threads = match options.threads {
        0 | 1 => None,
        threads => Some(runtime(threads).map_err(RunError::Start)?),
    };
    let (gateway, engine) =
        driver::start(scenario, driver::Options { speed: options.settings.speed, log: options.log })?;
    let runtime = threads.as_ref().map_or(engine.runtime(), Runtime::handle).clone();
    let address = options.settings.listen;
    // This thread only waits: what is served is served by the runtime's own.
    let served: Result<usize, RunError> = runtime.block_on(async {
        // Before anybody is told the address: who connects at once may also stop at once.
        let mut interrupted = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(RunError::Start)?;
        let server = Server::start(gateway, options.settings);
        let server = server.map_err(|source| RunError::Listen { address, source })?;
        listening(server.address(), descriptors);
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        Ok(server.stop().await)
    });
    let ended = engine.stop();
    let dropped = served?;
    Ok(Outcome { engine: ended?, dropped })
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).thread_name("http").enable_all().build()
}
