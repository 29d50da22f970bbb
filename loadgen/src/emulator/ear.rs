//! What a handler hears of its request: how far it is by now, not every step on the way there.
//!
//! One small allocation a request, and a handler that is slow finds the latest state instead of a queue.

use super::gateway::Told;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tidegate_sim::request::Finished;

/// The engine's end.
#[derive(Debug)]
pub(super) struct Mouth(Arc<Shared>);

/// The handler's end.
#[derive(Debug)]
pub(super) struct Ear {
    shared: Arc<Shared>,
    heard: Heard,
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_admitted: bool,
    tokens: u32,
    done: Option<Box<Finished>>,
    /// The engine will say nothing more.
    is_closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Heard {
    admitted: bool,
    tokens: u32,
}

/// Both ends of what is told of one request.
pub(super) fn pair() -> (Mouth, Ear) {
    let shared = Arc::new(Shared::default());
    (Mouth(Arc::clone(&shared)), Ear { shared, heard: Heard::default() })
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No operation on it can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mouth {
    /// Every limit let it in.
    pub(super) fn admitted(&self) {
        self.tell(|state| state.is_admitted = true);
    }

    /// It has so many tokens by now.
    pub(super) fn tokens(&self, tokens: u32) {
        self.tell(|state| state.tokens = tokens);
    }

    /// It is over.
    pub(super) fn done(&self, done: &Finished) {
        self.tell(|state| state.done = Some(Box::new(*done)));
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.0.state();
            change(&mut state);
            state.waker.take()
        };
        // Outside the lock: whoever is woken takes it.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        self.tell(|state| state.is_closed = true);
    }
}

impl Ear {
    /// The next thing it has not heard, in the order of [`Told`]; `None` when nothing more can come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let mut state = self.shared.state();
        if state.is_admitted && !self.heard.admitted {
            self.heard.admitted = true;
            return Poll::Ready(Some(Told::Admitted));
        }
        if let Some(done) = state.done.take() {
            return Poll::Ready(Some(Told::Done(done)));
        }
        if state.tokens > self.heard.tokens {
            self.heard.tokens = state.tokens;
            return Poll::Ready(Some(Told::Tokens(state.tokens)));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ear: &mut Ear) -> Poll<Option<Told>> {
        ear.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_slow_hears_the_latest_and_everything_that_matters() {
        let (mouth, mut ear) = pair();
        assert!(next(&mut ear).is_pending());
        mouth.admitted();
        mouth.tokens(1);
        mouth.tokens(5);
        assert!(matches!(next(&mut ear), Poll::Ready(Some(Told::Admitted))));
        assert!(matches!(next(&mut ear), Poll::Ready(Some(Told::Tokens(5)))));
        assert!(next(&mut ear).is_pending());
        mouth.tokens(6);
        drop(mouth);
        assert!(matches!(next(&mut ear), Poll::Ready(Some(Told::Tokens(6)))));
        assert!(matches!(next(&mut ear), Poll::Ready(None)));
    }
}
