//! Waits for an instant to within tens of microseconds.
//!
//! The timers of the async runtime have a resolution of a millisecond, which would be the lag of every request. On Linux a
//! timer of the kernel (`timerfd`) wakes the runtime through the same call that waits for sockets; elsewhere a thread
//! sleeps and then says so, which costs two switches of threads.

use std::io;
use std::time::{Duration, Instant};

/// Closer than this an instant counts as reached: setting a timer takes about as long.
pub const NEAR: Duration = Duration::from_micros(2);

/// A timer of one task.
#[derive(Debug)]
pub struct Pacer {
    timer: timer::Timer,
}

impl Pacer {
    /// A timer. Inside a tokio runtime only.
    ///
    /// # Errors
    /// When the system has no descriptor (no thread) left.
    pub fn new() -> io::Result<Self> {
        Ok(Pacer { timer: timer::Timer::new()? })
    }

    /// Returns at `due`. Returns at once, without giving way to other tasks, when that is over. May be dropped while it
    /// waits.
    ///
    /// # Errors
    /// When the system refuses the timer; the instant may not be reached then.
    pub async fn until(&mut self, due: Instant) -> io::Result<()> {
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait < NEAR {
                return Ok(());
            }
            self.timer.sleep(due, wait).await?;
        }
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};
    use tokio::io::unix::AsyncFd;

    #[derive(Debug)]
    pub(super) struct Timer {
        fd: AsyncFd<OwnedFd>,
        /// What it is set to.
        set: Option<Instant>,
    }

    impl Timer {
        // What replaces `new` is unsafe, because a caller could hand over a type that lies about its descriptor. `OwnedFd`
        // does not, and this crate has no unsafe code.
        #[allow(deprecated)]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Timer { fd: AsyncFd::new(fd)?, set: None })
        }

        /// Setting the timer anew forgets an expiry that nobody has read, so a wait that was dropped leaves nothing behind.
        pub(super) async fn sleep(&mut self, due: Instant, wait: Duration) -> io::Result<()> {
            if self.set != Some(due) {
                let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
                let wait = Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(wait.subsec_nanos()).max(1),
                };
                timerfd_settime(
                    self.fd.get_ref(),
                    TimerfdTimerFlags::empty(),
                    &Itimerspec { it_interval: zero, it_value: wait },
                )?;
                self.set = Some(due);
            }
            loop {
                let mut ready = self.fd.readable().await?;
                let mut expiries = [0_u8; 8];
                match rustix::io::read(self.fd.get_ref(), &mut expiries) {
                    Ok(_) => {
                        self.set = None;
                        return Ok(());
                    }
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::io;
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};
    use tokio::sync::oneshot;

    /// A thread that sleeps on behalf of a task.
    #[derive(Debug)]
    pub(super) struct Timer {
        ask: Sender<(Duration, oneshot::Sender<()>)>,
    }

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let (ask, asked) = channel::<(Duration, oneshot::Sender<()>)>();
            std::thread::Builder::new().name("pacer".into()).spawn(move || {
                while let Ok((wait, told)) = asked.recv() {
                    std::thread::sleep(wait);
                    // Nobody waits any more: the next one may.
                    let _ = told.send(());
                }
            })?;
            Ok(Timer { ask })
        }

        pub(super) async fn sleep(&mut self, _: Instant, wait: Duration) -> io::Result<()> {
            let (tell, told) = oneshot::channel();
            let gone = || io::Error::other("the thread of a timer has ended");
            self.ask.send((wait, tell)).map_err(|_| gone())?;
            told.await.map_err(|_| gone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wakes_after_the_instant_and_soon() {
        let start = Instant::now();
        let mut pacer = Pacer::new().unwrap();
        let mut late = Vec::new();
        for step in 1..=20 {
            let due = start + Duration::from_millis(2 * step);
            pacer.until(due).await.unwrap();
            let now = Instant::now();
            assert!(now + NEAR >= due, "woke {:?} early", due - now);
            late.push(now.saturating_duration_since(due));
        }
        late.sort_unstable();
        // The median, because other processes may hold the processor; the runtime's own timers would be 1 ms late.
        assert!(late[10] < Duration::from_millis(1), "{late:?}");
    }

    #[tokio::test]
    async fn an_instant_that_is_over_is_not_waited_for_and_a_dropped_wait_leaves_nothing_behind() {
        let start = Instant::now();
        let mut pacer = Pacer::new().unwrap();
        pacer.until(start).await.unwrap();
        let wait = pacer.until(start + Duration::from_millis(10));
        let dropped = tokio::time::timeout(Duration::from_millis(5), wait).await;
        assert!(dropped.is_err());
        tokio::time::sleep(Duration::from_millis(15)).await;
        let due = Instant::now() + Duration::from_millis(3);
        pacer.until(due).await.unwrap();
        assert!(Instant::now() + NEAR >= due);
    }
}
