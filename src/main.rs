//! The `tidegate` command: parse, dispatch, exit code. Everything else lives in the libraries.
#![allow(unreachable_pub, reason = "a command has no outside")]
#![allow(
    rustdoc::invalid_html_tags,
    reason = "the doc comments of `cli` are help texts, where `<scenario>` is a placeholder"
)]

// First, for its macro.
#[macro_use]
mod output;
mod cli;
mod commands;
mod diagnose;

use clap::Parser;
use cli::{BatchCommand, Cli, Command, TraceCommand};
use std::process::ExitCode;

/// A request on the wire is a dozen small blocks that live for milliseconds: the allocator of the system spends a fifth of
/// the processor on them.
#[cfg(feature = "live")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::check(&args),
        Command::Schema(args) => commands::schema::schema(&args),
        Command::Limits(command) => commands::limits::run(&command),
        Command::Trace(TraceCommand::Inspect(args)) => commands::trace::inspect(&args),
        Command::Plan(args) => commands::plan::plan(&args),
        Command::Batch(BatchCommand::Check(args)) => commands::batch::check(&args),
        #[cfg(feature = "live")]
        Command::Emulate(args) => commands::emulate::run(&args),
        #[cfg(feature = "live")]
        Command::Load(args) => commands::load::run(&args),
        Command::Compare(args) => commands::compare::compare(&args),
        #[cfg(feature = "live")]
        Command::Replay(args) => commands::replay::run(&args),
        #[cfg(feature = "live")]
        Command::Probe(args) => commands::probe::probe(&args),
        Command::Calibrate(args) => commands::calibrate::calibrate(&args),
        Command::Plot(args) => commands::plot::plot(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(report) => {
            say!("{report:?}");
            ExitCode::from(2)
        }
    }
}
