//! A run while it runs: one line that is drawn anew on a terminal, a plain line every few seconds elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_loadgen::load::gauge::{Gauge, Snapshot};
use tidegate_sim::results::figure::{Unit, count};
use tidegate_sim::time::Span;

/// How often a terminal is drawn.
const REFRESH: Duration = Duration::from_millis(250);
/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);

/// Shows a run until it is dropped. Asks, never disturbs.
pub struct View {
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Shows the run that `gauge` belongs to, whose blocks each last `horizon`.
    pub fn start(gauge: &Arc<Gauge>, horizon: Span) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(horizon.as_nanos().max(1)), ProgressDrawTarget::stderr());
        let plain = bar.is_hidden();
        let style = ProgressStyle::with_template("{bar:20} {percent:>3} %  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let gauge = Arc::clone(gauge);
        let (stop, stopped) = channel::<()>();
        let every = if plain { PLAIN } else { REFRESH };
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let now = gauge.snapshot();
                if plain {
                    say!("{:>6.1} s  {}", now.at_ns as f64 / 1e9, message(&now));
                } else {
                    bar.set_position(now.at_ns.min(horizon.as_nanos()));
                    bar.set_message(message(&now));
                }
            }
            bar.finish_and_clear();
        });
        View { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A line that fails to draw must not fail the run.
            let _ = thread.join();
        }
    }
}

/// `1,000/s, 12 in flight, e2e 20 ms / 45 ms, ttft 5 ms / 9 ms, lag 50 us / 300 us, 3 x 429, 0 failed`.
fn message(now: &Snapshot) -> String {
    let two =
        |(p50, p99): (u64, u64)| format!("{} / {}", Unit::Ns.show(p50 as f64), Unit::Ns.show(p99 as f64));
    let block =
        if now.blocks > 1 { format!("block {} of {}, ", now.block + 1, now.blocks) } else { String::new() };
    let mut text = format!("{block}{}/s, {} in flight", count(now.over_per_s as u64), count(now.in_flight));
    for (name, pair) in [("e2e", now.e2e_ns), ("ttft", now.ttft_ns), ("lag", now.lag_ns)] {
        if pair.1 > 0 {
            text.push_str(&format!(", {name} {}", two(pair)));
        }
    }
    text.push_str(&format!(", {} x 429, {} failed", count(now.statuses_429), count(now.failed)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_flight_latencies_and_what_went_wrong() {
        let now = Snapshot {
            over_per_s: 1_000.4,
            in_flight: 12,
            e2e_ns: (20_000_000, 45_000_000),
            lag_ns: (50_000, 300_000),
            statuses_429: 3,
            ..Snapshot::default()
        };
        let text = message(&now);
        assert!(text.starts_with("1,000/s, 12 in flight, e2e "), "{text}");
        assert!(
            !text.contains("ttft") && text.contains("lag ") && text.ends_with("3 x 429, 0 failed"),
            "{text}"
        );
    }
}
