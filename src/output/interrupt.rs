//! Ctrl-C: the first stops the run and keeps what there is, the second ends the process at once.
//!
//! The `ctrlc` crate rather than tokio's signals: a simulation has no async runtime, and builds without the live side
//! have no tokio. It is small, and its handler runs on a thread of its own, so it may print.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_sim::experiment::replicate::Control;

/// Exit code of a process ended by SIGINT, as shells report it.
const ENDED_BY_INTERRUPT: i32 = 130;

/// Stops `control` on Ctrl-C. Without a handler (a sandbox may refuse one) Ctrl-C ends the process as ever.
pub fn stop_on_ctrl_c(control: &Arc<Control>) {
    let control = Arc::clone(control);
    let asked = AtomicBool::new(false);
    let handler = move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(ENDED_BY_INTERRUPT);
        }
        control.stop();
        say!("\ninterrupted: stopping, and writing what there is (Ctrl-C again to end at once)");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        say!("warning: cannot catch Ctrl-C: {error}");
    }
}
