//! A progress bar on standard error, only when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_sim::experiment::replicate::{Control, Progress};
use tidegate_sim::results::figure::count;
use tidegate_sim::time::Span;

const REFRESH: Duration = Duration::from_millis(200);

/// Draws how far a run is until it is dropped. Asks the run, never disturbs it.
pub struct Ticker {
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Draws the progress of `control`, whose replications each last `horizon`. Does nothing without a terminal.
    pub fn start(control: &Arc<Control>, horizon: Span) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            return Ticker { stop: None, thread: None };
        }
        let style =
            ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {elapsed} (about {eta} left)");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let control = Arc::clone(control);
        let (stop, stopped) = channel::<()>();
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                draw(&bar, control.progress(), horizon, start.elapsed());
            }
            bar.finish_and_clear();
        });
        Ticker { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A bar that fails to draw must not fail the run.
            let _ = thread.join();
        }
    }
}

fn draw(bar: &ProgressBar, progress: Progress, horizon: Span, elapsed: Duration) {
    let total = u64::from(progress.planned).saturating_mul(horizon.as_nanos());
    bar.set_length(total.max(1));
    bar.set_position(progress.simulated_ns.min(total));
    bar.set_message(message(progress, total, elapsed));
}

/// `1.5 of 4 h simulated, 2,000,000 requests, 1,000,000 req/s, 3 of 10 replications`.
fn message(progress: Progress, total_ns: u64, elapsed: Duration) -> String {
    let hours = |ns: u64| ns as f64 / 3.6e12;
    let rate = progress.requests as f64 / elapsed.as_secs_f64().max(1e-3);
    format!(
        "{:.1} of {:.1} h simulated, {} requests, {} req/s, {} of {} replications",
        hours(progress.simulated_ns.min(total_ns)),
        hours(total_ns),
        count(progress.requests),
        count(rate as u64),
        progress.done,
        progress.planned
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_tells_time_requests_and_replications() {
        let progress =
            Progress { simulated_ns: 5_400_000_000_000, requests: 2_000_000, planned: 10, done: 3 };
        assert_eq!(
            message(progress, 14_400_000_000_000, Duration::from_secs(2)),
            "1.5 of 4.0 h simulated, 2,000,000 requests, 1,000,000 req/s, 3 of 10 replications"
        );
    }

    #[test]
    fn without_a_terminal_there_is_no_thread_and_nothing_is_drawn() {
        // Tests run with standard error captured or redirected; on a terminal there is nothing to check.
        let ticker = Ticker::start(&Arc::new(Control::default()), Span::from_secs(1));
        assert!(ticker.thread.is_none() || std::io::IsTerminal::is_terminal(&std::io::stderr()));
    }
}
