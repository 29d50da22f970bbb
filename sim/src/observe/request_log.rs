//! `requests.csv`: one line an attempt of a request, with its whole timeline. Written while the run goes on.

use crate::observe::Observer;
use crate::request::Finished;
use crate::scenario::Scenario;
use crate::time::{Span, Time};
use std::io::{self, Write};

/// Columns of the file.
const HEADER: &str = "workload,index,tenant,session,turn,outcome,refusal,retry_after_ns,prompt_tokens,max_tokens,\
output_tokens,generated_tokens,cached_tokens,preemptions,pool,replica,sent_ns,arrived_ns,ready_ns,dispatched_ns,\
scheduled_ns,first_token_ns,last_token_ns,ended_ns,preempted_ns,ttft_us,tpot_us,e2e_us,attempt,transfer_s,beside_s\n";

/// An observer that writes a line for every attempt of a request when it is over, so in the order of their ends.
///
/// Times are whole nanoseconds since the start of the scenario; latencies are microseconds, exact to the nanosecond.
/// `retry_after_ns` is the exact time after which a refused request would have been let in, empty when time alone does
/// not heal it; `ready_ns` is when the service's overhead was over, `arrived_ns` where there is none, and may lie after
/// `ended_ns` of a client that gave up before. What a request never reached is left empty. Memory does not grow with the run. The warm-up is not cut: the file
/// holds every attempt. `attempt` counts those of one request (same workload and index) from 0; `transfer_s` is the time
/// that the KV cache was on the way to the pool that decodes, seconds; `beside_s` the time by which the steps it was in
/// were longer because of batch tokens in them, by the step law, seconds.
#[derive(Debug)]
pub struct RequestLog<W: Write> {
    out: W,
    workloads: Vec<String>,
    pools: Vec<String>,
    reasons: Vec<String>,
    line: String,
    lines: u64,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl<W: Write> RequestLog<W> {
    /// A log of a run of `scenario` into `out`, which should be buffered.
    pub fn new(scenario: &Scenario, out: W) -> Self {
        let quoted = |name: &String| quote(name);
        let mut log = RequestLog {
            out,
            workloads: scenario.workloads.iter().map(|w| quoted(&w.name)).collect(),
            pools: scenario.pools.iter().map(|p| quoted(&p.name)).collect(),
            reasons: (0..scenario.policy.reasons() as u16)
                .map(|reason| quote(scenario.policy.reason_name(reason)))
                .collect(),
            line: String::with_capacity(256),
            lines: 0,
            failed: None,
        };
        log.failed = log.out.write_all(HEADER.as_bytes()).err();
        log
    }

    /// Flushes and gives the sink back with the number of requests written, or the first error there was.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.out.flush()?;
        Ok((self.out, self.lines))
    }

    fn compose(&mut self, done: &Finished) {
        let line = &mut self.line;
        let head = &done.head;
        line.clear();
        line.push_str(&self.workloads[usize::from(head.workload)]);
        number(line, head.index);
        number(line, head.tenant.into());
        number(line, head.session);
        number(line, head.turn.into());
        line.push(',');
        line.push_str(done.outcome.name());
        line.push(',');
        line.push_str(done.refusal.map_or("", |refusal| &self.reasons[usize::from(refusal.reason)]));
        optional(line, done.refusal.and_then(|refusal| refusal.retry_after).map(Span::as_nanos));
        number(line, head.prompt_tokens.into());
        optional(line, head.max_tokens.map(u64::from));
        number(line, done.output_tokens.into());
        number(line, done.generated.into());
        number(line, done.cached_tokens.into());
        number(line, done.preemptions.into());
        line.push(',');
        line.push_str(&self.pools[usize::from(done.pool)]);
        optional(line, done.replica.map(u64::from));
        number(line, done.sent.as_nanos());
        number(line, done.arrived.as_nanos());
        number(line, done.ready.as_nanos());
        for at in [done.dispatched, done.scheduled, done.first_token, done.last_token] {
            optional(line, at.map(Time::as_nanos));
        }
        number(line, done.ended.as_nanos());
        number(line, done.preempted.as_nanos());
        for span in [done.ttft(), done.tpot(), Some(done.e2e())] {
            line.push(',');
            if let Some(span) = span {
                micros(line, span.as_nanos());
            }
        }
        number(line, done.attempt.into());
        line.push(',');
        seconds(line, done.transfer.as_nanos());
        line.push(',');
        seconds(line, done.beside.as_nanos());
        line.push('\n');
    }
}

impl<W: Write> Observer for RequestLog<W> {
    fn finished(&mut self, done: &Finished) {
        if self.failed.is_some() {
            return;
        }
        self.compose(done);
        self.lines += 1;
        self.failed = self.out.write_all(self.line.as_bytes()).err();
    }
}

fn number(line: &mut String, value: u64) {
    use std::fmt::Write as _;
    let _ = write!(line, ",{value}");
}

fn optional(line: &mut String, value: Option<u64>) {
    match value {
        Some(value) => number(line, value),
        None => line.push(','),
    }
}

/// Nanoseconds as microseconds, exactly: `168120`, `0.5`.
fn micros(line: &mut String, ns: u64) {
    use std::fmt::Write as _;
    let (whole, rest) = (ns / 1000, ns % 1000);
    let _ = write!(line, "{whole}");
    if rest != 0 {
        let _ = write!(line, ".{rest:03}");
        line.truncate(line.trim_end_matches('0').len());
    }
}

/// Nanoseconds as seconds, exactly: `0`, `0.000000001`.
fn seconds(line: &mut String, ns: u64) {
    use std::fmt::Write as _;
    let (whole, rest) = (ns / crate::time::NANOS_PER_SEC, ns % crate::time::NANOS_PER_SEC);
    let _ = write!(line, "{whole}");
    if rest != 0 {
        let _ = write!(line, ".{rest:09}");
        line.truncate(line.trim_end_matches('0').len());
    }
}

/// A name as a CSV field (RFC 4180).
fn quote(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_exact_to_the_nanosecond() {
        for (ns, text) in [(0, "0"), (1, "0.001"), (500, "0.5"), (1_000, "1"), (168_120_010, "168120.01")] {
            let mut line = String::new();
            micros(&mut line, ns);
            assert_eq!(line, text);
        }
    }

    #[test]
    fn seconds_are_exact_to_the_nanosecond() {
        for (ns, text) in [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (30_000_000_000, "30")] {
            let mut line = String::new();
            seconds(&mut line, ns);
            assert_eq!(line, text);
        }
    }

    #[test]
    fn a_name_with_a_comma_stays_one_field() {
        assert_eq!(quote("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
