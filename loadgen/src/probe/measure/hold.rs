//! Requests in flight: as many as fit, none of which ends, and one more.

use super::super::blame::{Blame, told};
use super::super::body::Shape;
use super::super::client::Answer;
use super::super::finding::Outcome;
use super::super::plan::Probe;
use super::{Bench, Measured};
use futures_util::future::FutureExt as _;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// After so long without an answer, those that are still without one are taken to wait.
const SILENCE: Duration = Duration::from_secs(1);
/// Longest time that all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(
    bench: &mut Bench<'_>,
    probe: &Probe,
    documented: u64,
    queued: bool,
    tokens: u64,
) -> Measured {
    // What other probes had in flight is over when their answers were read; those that hung up may take a moment.
    bench.sleep_until(Instant::now() + Duration::from_millis(300)).await;
    let mut goal = documented + 1;
    loop {
        let found = hold(bench, probe, goal, queued, tokens).await;
        let beyond = matches!(found.outcome, Outcome::AtLeast(_));
        if !beyond || goal > documented * 4 || bench.may_send(goal * 2).is_err() {
            return found;
        }
        goal *= 2;
        bench.sleep_until(Instant::now() + Duration::from_millis(300)).await;
    }
}

async fn hold(bench: &mut Bench<'_>, probe: &Probe, count: u64, queued: bool, tokens: u64) -> Measured {
    let shape = Shape { output: tokens, stream: true, ..Shape::default() };
    let call = match bench.call(probe, &shape).and_then(|call| bench.may_send(count).map(|()| call)) {
        Ok(call) => call,
        Err(why) => return Measured::unclear(why),
    };
    let mut flying = JoinSet::new();
    for _ in 0..count {
        let (client, call) = (bench.client.clone(), call.clone());
        flying.spawn(async move { client.open(call).await });
    }
    bench.last = Some(Instant::now());
    let (mut held, mut refused, mut refusal) = (Vec::new(), 0, None);
    let began = Instant::now();
    // Where requests wait without a word, silence is an answer; elsewhere each has one.
    while let Some(answer) = {
        let wait = if queued { SILENCE } else { PATIENCE };
        tokio::time::timeout(wait, flying.join_next()).await.ok().flatten()
    } {
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Measured::unclear(why),
            Err(error) => return Measured::unclear(format!("a request was lost: {error}")),
        };
        match read(bench, probe, answer).await {
            Ok(Held::In(answer)) => held.push(answer),
            Ok(Held::Refused(answer)) => {
                refused += 1;
                refusal = Some(answer);
            }
            Err(why) => return Measured::unclear(why),
        }
        if began.elapsed() > PATIENCE {
            return Measured::unclear(format!("it took longer than {} s", PATIENCE.as_secs()));
        }
    }
    // Those without a word yet wait, and count.
    let let_in = held.len() as u64 + flying.len() as u64;
    // Who ended before the last was judged made room for another.
    let ended = held.iter_mut().map(is_over).filter(|over| *over).count() as u64;
    flying.shutdown().await;
    drop(held);
    bench.last = Some(Instant::now());
    let outcome = match (refused, ended) {
        (0, 0) => Outcome::AtLeast(let_in),
        (0, _) => Outcome::Unclear(format!(
            "{ended} of {let_in} answers were over before the last request was let in"
        )),
        (_, 0) => Outcome::Exactly(let_in),
        (_, _) => Outcome::Between(let_in - ended, let_in),
    };
    Measured { refusal, ..Measured::of(outcome) }
}

enum Held {
    In(Answer),
    Refused(Answer),
}

async fn read(bench: &Bench<'_>, probe: &Probe, mut answer: Answer) -> Result<Held, String> {
    if answer.is_fine() {
        return Ok(Held::In(answer));
    }
    if let Some(rest) = answer.rest.take() {
        answer.text = rest.text().await.unwrap_or_default();
    }
    match bench.blame(probe, &answer) {
        Blame::Other(name) => Err(format!("`{name}` refused first: {}", told(&answer))),
        Blame::Unknown if !matches!(answer.status, 429 | 503) => {
            Err(format!("refused otherwise: {}", told(&answer)))
        }
        _ => Ok(Held::Refused(answer)),
    }
}

/// Whether a stream has ended by now.
fn is_over(answer: &mut Answer) -> bool {
    let Some(rest) = &mut answer.rest else { return true };
    loop {
        // Without the runtime's budget: when that is used up, everything seems to be still open.
        match tokio::task::unconstrained(rest.chunk()).now_or_never() {
            None => return false,
            Some(Ok(Some(_))) => {}
            Some(Ok(None) | Err(_)) => return true,
        }
    }
}
