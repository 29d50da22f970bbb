//! `tidegate load --selftest`.

use super::{put, refused};
use crate::output::interrupt::stop_on_ctrl_c;
use crate::output::table::render;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use tidegate_loadgen::client::Target;
use tidegate_loadgen::load::quiet;
use tidegate_loadgen::load::selftest::{PARTS, Part, Row, gateway, measure};
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::results::figure::{Unit, count};
use tidegate_sim::results::table::Table;

/// What an emulator says once it listens.
const LISTENING: &str = "listening on ";

/// Measures this machine against an emulated gateway in a process of its own, and prints a table.
pub(super) fn run() -> miette::Result<ExitCode> {
    let control = Arc::new(Control::default());
    stop_on_ctrl_c(&control);
    let (_emulator, target) = Emulator::start()?;
    let mut rows = Vec::new();
    for part in PARTS {
        if control.is_stopped() {
            break;
        }
        say!("measuring: {}", name(part));
        // Goose prints on standard output, which is ours for data.
        let quiet = quiet::Stdout::mute();
        let row = measure(part, &target, &control);
        drop(quiet);
        rows.push(row.map_err(refused)?);
    }
    put(text(&rows).as_bytes())?;
    Ok(ExitCode::from(if control.is_stopped() { 3 } else { 0 }))
}

/// An emulator that ends with this.
struct Emulator {
    child: Child,
    scenario: std::path::PathBuf,
}

impl Emulator {
    /// Starts one on a port that the system chooses.
    fn start() -> miette::Result<(Emulator, Target)> {
        let scenario = std::env::temp_dir().join(format!("tidegate-selftest-{}.toml", std::process::id()));
        std::fs::write(&scenario, gateway())
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write `{}`", scenario.display()))?;
        let child = Command::new(std::env::current_exe().into_diagnostic()?)
            .arg("emulate")
            .arg(&scenario)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .into_diagnostic()
            .wrap_err("cannot start an emulator")?;
        let mut emulator = Emulator { child, scenario };
        let told = emulator.child.stderr.take().expect("its standard error is a pipe");
        let mut lines = BufReader::new(told).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(LISTENING).map(|(_, address)| address.trim().to_owned()));
        let address = address.ok_or_else(|| miette!("the emulator ended before it listened"))?;
        // It may go on talking, and must not wait for somebody to listen.
        std::thread::spawn(move || lines.for_each(drop));
        let target = Target::parse(&address).map_err(|error| miette!("{error}"))?;
        Ok((emulator, target))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.scenario);
    }
}

fn name(part: Part) -> String {
    match part {
        Part::Timer => "a timer alone, 1,000/s".to_owned(),
        Part::Open(rate) => format!("open loop, {}/s", count(rate.into())),
        Part::Streams(rate) => format!("streams of 50 tokens, {}/s", count(rate.into())),
        Part::Held(most) => format!("streams of 24 tokens, {} at once", count(most.into())),
        Part::Closed => "closed loop, 32 users".to_owned(),
        Part::Bare => "bare reqwest loop, 32 tasks".to_owned(),
    }
}

fn text(rows: &[Row]) -> String {
    let head = [
        "what",
        "planned",
        "answered",
        "per s",
        "in flight",
        "lag p50",
        "p99",
        "p99.9",
        "most",
        "on time",
        "cores",
        "",
    ];
    let mut lines = Vec::new();
    for row in rows {
        let lag = |pick: fn(&tidegate_sim::results::live::Lag) -> f64, unit: Unit| {
            row.lag.as_ref().map_or_else(|| "-".to_owned(), |lag| unit.show(pick(lag)))
        };
        lines.push(vec![
            name(row.part),
            count(row.counts.scheduled),
            count(row.counts.succeeded),
            count(row.per_s as u64),
            if row.in_flight == 0 { "-".to_owned() } else { count(row.in_flight) },
            lag(|lag| lag.p50_ns as f64, Unit::Ns),
            lag(|lag| lag.p99_ns as f64, Unit::Ns),
            lag(|lag| lag.p999_ns as f64, Unit::Ns),
            lag(|lag| lag.max_ns as f64, Unit::Ns),
            lag(|lag| lag.on_time, Unit::Share),
            format!("{:.2}", row.cores),
            row.validity.map_or_else(String::new, |validity| validity.name().to_owned()),
        ]);
    }
    let of = |wanted: Part| rows.iter().find(|row| row.part == wanted).map(|row| row.per_s);
    let ratio = of(Part::Closed).zip(of(Part::Bare)).filter(|(_, bare)| *bare > 0.0);
    let ratio = ratio.map_or_else(String::new, |(closed, bare)| {
        format!("\nThe closed loop reaches {:.0} % of the bare one.\n", closed / bare * 100.0)
    });
    let title = "This machine, generator and gateway together".to_owned();
    let table = Table { title, head: head.map(str::to_owned).to_vec(), rows: lines };
    format!("{}{ratio}", render(&table))
}
