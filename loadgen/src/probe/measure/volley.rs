//! Rates of requests: as many at once as the limit lets in, and one more.
//!
//! Within one window a log lets in exactly its limit, wherever the requests lie in it. So the count is exact when the time from
//! the first sending to the last answer is shorter than the window; a bucket gives back meanwhile, which bounds what is known of
//! it. That the window has the documented length is seen from two requests, one just before the first has left it and one after.

use super::super::blame::{Blame, told};
use super::super::body::Shape;
use super::super::client::{Answer, Call};
use super::super::decide::RESTED;
use super::super::finding::Outcome;
use super::super::method::Rate;
use super::super::plan::Probe;
use super::{Bench, Measured, duration};
use futures_util::future::join_all;
use reqwest::Method;
use std::time::{Duration, Instant};

/// What a volley did.
#[derive(Debug, Default)]
struct Count {
    let_in: u64,
    refused: u64,
    /// A refusal.
    refusal: Option<Answer>,
    /// Other limits that refused, and what they said.
    others: Vec<String>,
    /// From the first sending to the last answer.
    span: Option<(Instant, Instant)>,
}

impl Count {
    fn took(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

/// How often a volley is fired that took too long to tell a number.
const TRIES: u32 = 5;

/// Measures; a volley that took too long is fired again: by then its connections are open.
pub(super) async fn measure(bench: &mut Bench<'_>, probe: &Probe, rate: &Rate) -> Measured {
    let mut found = once(bench, probe, rate).await;
    for _ in 1..TRIES {
        let slow = matches!(found.outcome, Outcome::Between(..)) || found.slow;
        if !slow || rate.window > RESTED || bench.may_send(rate.count() + 1).is_err() {
            break;
        }
        found = once(bench, probe, rate).await;
    }
    found
}

async fn once(bench: &mut Bench<'_>, probe: &Probe, rate: &Rate) -> Measured {
    let rested = bench.rest(rate.window).await;
    if !rested {
        bench.rest(rate.pace).await;
    }
    let documented = rate.count();
    // What this run has used of a window that was not waited for.
    let before = if rested || rate.control { 0 } else { bench.client.let_in(probe.caller) };
    let mut all = Count { let_in: before, ..Count::default() };
    // More than four times what is documented need not be told exactly.
    let most = documented.saturating_mul(4).saturating_add(1);
    let mut goal = documented + 1;
    let mut waits = 0;
    while all.refused == 0 {
        if all.let_in >= goal {
            if goal >= most {
                break;
            }
            goal = goal.saturating_mul(2).min(most);
        }
        let wanted = goal.saturating_sub(all.let_in).clamp(1, rate.at_once.max(1));
        let began = Instant::now();
        let (let_in, others) = (all.let_in, all.others.len());
        if let Err(why) = volley(bench, probe, rate, wanted, &mut all).await {
            // What was let in until then is a fact.
            return match all.let_in > documented {
                true => noted(Measured::of(Outcome::AtLeast(all.let_in)), why),
                false => Measured::unclear(why),
            };
        }
        if all.refused > 0 {
            break;
        }
        if all.others.len() > others && all.let_in == let_in {
            waits += 1;
            if waits > 3 {
                return Measured::unclear(all.others.pop().unwrap_or_default());
            }
        }
        if !rate.pace.is_zero() {
            bench
                .sleep_until(began.max(Instant::now()) + duration(rate.pace) + Duration::from_millis(5))
                .await;
        } else if all.others.len() > others {
            bench.sleep_until(Instant::now() + Duration::from_millis(500)).await;
        }
    }
    let mut found = concluded(rate, &all);
    if !rested {
        let note = format!(
            "{before} requests of this run count, and what others sent in the {} before",
            rate.window
        );
        match found.outcome {
            // What is missing may have been used before.
            Outcome::Exactly(count) if count < documented => {
                found.outcome = Outcome::Unclear(format!("{count} were let in; {note}"));
            }
            _ => found.notes.push(note),
        }
    }
    if matches!(found.outcome, Outcome::Exactly(_) | Outcome::Between(..)) && rate.window <= RESTED {
        if rate.burst.is_some() {
            refill(bench, probe, rate, &all, &mut found).await;
        } else if rate.pace.is_zero() {
            edges(bench, probe, rate, &all, &mut found).await;
        }
    }
    found.refusal = all.refusal;
    found
}

fn noted(mut measured: Measured, note: String) -> Measured {
    measured.notes.push(note);
    measured
}

/// What a count says of the limit.
fn concluded(rate: &Rate, all: &Count) -> Measured {
    let outcome = match rate.burst {
        _ if all.refused == 0 => Outcome::AtLeast(all.let_in),
        None if all.took() < duration(rate.window) => Outcome::Exactly(all.let_in),
        None => Outcome::Unclear(format!(
            "{} requests took {:.3} s, longer than the window: send from nearer",
            all.let_in + all.refused,
            all.took().as_secs_f64()
        )),
        Some(_) => match all.let_in - gained(rate, all.took()).min(all.let_in) {
            least if least == all.let_in => Outcome::Exactly(least),
            least => Outcome::Between(least, all.let_in),
        },
    };
    let slow = all.refused > 0 && rate.burst.is_none() && all.took() >= duration(rate.window);
    Measured { slow, ..Measured::of(outcome) }
}

/// Units that a bucket gains in a time, rounded down.
fn gained(rate: &Rate, time: Duration) -> u64 {
    let units = time.as_nanos() * u128::from(rate.limit) / u128::from(rate.window.as_nanos());
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// Sends requests at once and adds what became of them.
async fn volley(
    bench: &mut Bench<'_>,
    probe: &Probe,
    rate: &Rate,
    count: u64,
    all: &mut Count,
) -> Result<(), String> {
    bench.may_send(count)?;
    let call = match bench.client.target().control.clone().filter(|_| rate.control) {
        Some(path) => {
            let key = bench.key(bench.caller(probe));
            Call {
                method: Method::GET,
                path,
                headers: Vec::new(),
                body: bytes::Bytes::new(),
                key,
                caller: None,
            }
        }
        None => bench.call(probe, &Shape::default())?,
    };
    let client = &bench.client;
    let answers = join_all((0..count).map(|_| client.send(call.clone()))).await;
    bench.last = Some(Instant::now());
    for answer in answers {
        let answer = answer?;
        let (first, last) = all.span.get_or_insert((answer.sent, answer.heard));
        *first = answer.sent.min(*first);
        *last = answer.heard.max(*last);
        match bench.blame(probe, &answer) {
            Blame::LetIn => all.let_in += 1,
            Blame::Other(name) => all.others.push(format!("`{name}` refused first: {}", told(&answer))),
            Blame::Unknown if !matches!(answer.status, 429 | 503) => {
                return Err(format!("refused otherwise: {}", told(&answer)));
            }
            // The pace leaves no other limit that could have refused.
            Blame::This | Blame::Unknown => {
                all.refused += 1;
                all.refusal = Some(answer);
            }
        }
    }
    Ok(())
}

/// Whether the window has the documented length: a request just before its end is refused, one after it is let in.
async fn edges(bench: &mut Bench<'_>, probe: &Probe, rate: &Rate, all: &Count, found: &mut Measured) {
    let Some((first, last)) = all.span else { return };
    let window = duration(rate.window);
    let early = (window / 10).min(Duration::from_millis(500));
    // Whoever is refused counts, so that nothing would be let in after it.
    let counts = rate.counts_refused;
    if rate.slides && !counts && first + window - early > Instant::now() {
        bench.sleep_until(first + window - early).await;
        let mut one = Count::default();
        if let Err(why) = volley(bench, probe, rate, 1, &mut one).await {
            found.notes.push(format!("the window was not checked: {why}"));
            return;
        }
        let inside = one.span.is_some_and(|(_, heard)| heard < first + window);
        if inside && one.let_in > 0 {
            found.against.push(format!("the window is shorter than {}", rate.window));
        }
    }
    if counts {
        found
            .notes
            .push("the length of the window was not checked, because what is refused counts".to_owned());
        return;
    }
    bench.sleep_until(last + window + Duration::from_millis(20)).await;
    let mut one = Count::default();
    match volley(bench, probe, rate, 1, &mut one).await {
        Err(why) => found.notes.push(format!("the window was not checked: {why}")),
        Ok(()) if one.refused > 0 => found.against.push(format!("the window is longer than {}", rate.window)),
        Ok(()) => {}
    }
}

/// Whether a bucket is filled as fast as documented: after a pause it gives what came in meanwhile.
async fn refill(bench: &mut Bench<'_>, probe: &Probe, rate: &Rate, all: &Count, found: &mut Measured) {
    let Some(refused) = &all.refusal else { return };
    let units = (rate.count() / 10).clamp(1, 20);
    let pause = rate.window.as_nanos().saturating_mul(units).div_ceil(rate.limit.max(1));
    let emptied = (refused.sent, all.span.map_or(refused.heard, |(_, last)| last));
    bench.sleep_until(emptied.1 + Duration::from_nanos(pause)).await;
    let mut more = Count::default();
    if let Err(why) = volley(bench, probe, rate, 2 * units + 2, &mut more).await {
        found.notes.push(format!("the refill was not checked: {why}"));
        return;
    }
    let Some((first, last)) = more.span else { return };
    // Less than one unit was there when it was empty.
    let least = gained(rate, first.saturating_duration_since(emptied.1));
    let most = gained(rate, last.saturating_duration_since(emptied.0)) + 1;
    if more.refused == 0 || !(least..=most).contains(&more.let_in) {
        found.against.push(format!(
            "it gave {} after {:.3} s, where {least} to {most} come in",
            more.let_in,
            (first - emptied.1).as_secs_f64()
        ));
    }
}
