//! Rates of tokens and bytes: requests of known sizes, until exactly the limit is used and one unit more is refused.

use super::super::blame::{Blame, told};
use super::super::body::Shape;
use super::super::edge::{Seen, highest};
use super::super::finding::Outcome;
use super::super::method::Rate;
use super::super::plan::Probe;
use super::{Bench, Measured, duration};
use serde_json::Value as Json;
use std::time::Instant;
use tidegate_sim::profile::Unit;

/// Questions that are asked at most beyond those that fill the window.
const QUESTIONS: u32 = 60;

pub(super) async fn measure(
    bench: &mut Bench<'_>,
    probe: &Probe,
    rate: &Rate,
    unit: Unit,
    most: u64,
) -> Measured {
    let rested = bench.rest(rate.window).await;
    let documented = rate.count();
    let least = least(bench, probe, unit);
    // Used so far, and the most that the limit can be.
    let (mut used, mut high) = (0_u64, None::<u64>);
    let (mut first, mut last) = (None::<Instant>, Instant::now());
    let mut found = Measured::unclear("");
    let mut questions = QUESTIONS;
    if !rested {
        found.notes.push(format!("what others sent in the {} before counts, too", rate.window));
    }
    let outcome = loop {
        let Some(wanted) = next(documented, used, high) else { break bounds(rate, used, high, first, last) };
        let size = wanted.min(most);
        if size < least {
            // Nothing as small can be sent.
            break bounds(rate, used, high, first, last);
        }
        if wanted <= most {
            questions -= 1;
        }
        if questions == 0 {
            break bounds(rate, used, high, first, last);
        }
        let shape = shaped(unit, size);
        let answer = match bench.call(probe, &shape) {
            Ok(call) => bench.send(call).await,
            Err(why) => Err(why),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => break Outcome::Unclear(why),
        };
        last = answer.heard;
        match bench.blame(probe, &answer) {
            Blame::LetIn => {
                first.get_or_insert(answer.sent);
                let counted = counted(unit, size, &answer.json());
                if counted != size {
                    let note = format!("the gateway counts {counted} where {size} were sent");
                    found.notes.truncate(3);
                    found.notes.push(note);
                }
                used += counted;
            }
            Blame::Other(name) => {
                break Outcome::Unclear(format!("`{name}` refused first: {}", told(&answer)));
            }
            Blame::Unknown if !matches!(answer.status, 429 | 503) => {
                break Outcome::Unclear(format!("refused otherwise: {}", told(&answer)));
            }
            Blame::This | Blame::Unknown => {
                // In use and asked for together were more than the limit.
                let bound = (used + size).saturating_sub(1);
                high = Some(high.map_or(bound, |known| known.min(bound)));
                found.refusal = Some(answer);
            }
        }
    };
    found.outcome = match outcome {
        // What is missing may have been used before.
        Outcome::Exactly(count) | Outcome::Between(_, count) if !rested && count < documented => {
            Outcome::Unclear(format!("at most {count} were let in; what was sent before counts, too"))
        }
        outcome => outcome,
    };
    found
}

/// The units to ask for next; `None` when nothing is left to ask.
fn next(documented: u64, used: u64, high: Option<u64>) -> Option<u64> {
    match high {
        // One more than documented, in all.
        None if used <= documented => Some(documented + 1 - used),
        None if used > documented.saturating_mul(4) => None,
        None => Some(used),
        Some(high) if high <= used => None,
        Some(high) if high == documented => Some(documented - used),
        Some(high) if used <= documented && documented < high => Some(documented + 1 - used),
        Some(high) => Some((high - used).div_ceil(2)),
    }
}

fn bounds(rate: &Rate, used: u64, high: Option<u64>, first: Option<Instant>, last: Instant) -> Outcome {
    let Some(high) = high else { return Outcome::AtLeast(used) };
    let took = first.map_or_else(Default::default, |first| last.saturating_duration_since(first));
    let least = match rate.burst {
        None if took >= duration(rate.window) => {
            return Outcome::Unclear(format!("it took {:.3} s, longer than the window", took.as_secs_f64()));
        }
        None => used,
        Some(_) => {
            let gained = took.as_nanos() * u128::from(rate.limit) / u128::from(rate.window.as_nanos());
            used.saturating_sub(u64::try_from(gained).unwrap_or(u64::MAX))
        }
    };
    match high.max(used) {
        high if high == least => Outcome::Exactly(high),
        high => Outcome::Between(least, high),
    }
}

/// The fewest units that a request can have.
fn least(bench: &Bench<'_>, probe: &Probe, unit: Unit) -> u64 {
    match unit {
        Unit::Tokens => 2,
        Unit::Bytes => bench.call(probe, &Shape::default()).map_or(1, |call| call.body.len() as u64),
        Unit::InputTokens | Unit::OutputTokens | Unit::Requests => 1,
    }
}

fn shaped(unit: Unit, size: u64) -> Shape {
    match unit {
        Unit::Tokens => Shape { prompt: size - 1, ..Shape::default() },
        Unit::Bytes => Shape { bytes: Some(size), ..Shape::default() },
        Unit::InputTokens | Unit::OutputTokens | Unit::Requests => Shape { prompt: size, ..Shape::default() },
    }
}

/// What the gateway says it counted, where it says so.
fn counted(unit: Unit, size: u64, answer: &Json) -> u64 {
    let usage = |name: &str| answer["usage"][name].as_u64();
    match unit {
        Unit::InputTokens => usage("prompt_tokens").unwrap_or(size),
        Unit::Tokens => usage("total_tokens").unwrap_or(size),
        Unit::OutputTokens | Unit::Bytes | Unit::Requests => size,
    }
}

/// Output tokens are reserved as they are asked for, and given back when they do not come: so one request has them all, and one
/// that asks for one more is refused at once.
pub(super) async fn reserve(bench: &mut Bench<'_>, probe: &Probe, rate: &Rate) -> Measured {
    bench.rest(rate.window).await;
    let most = bench.caller(probe).context.map_or(u64::MAX, |context| context - 2);
    let (mut refusal, mut dirty) = (None, false);
    let outcome = highest(rate.count(), 1, most, async |tokens| {
        if dirty && !bench.rest(rate.window).await {
            return Seen::Nothing(format!("what was used stays for {}", rate.window));
        }
        let shape = Shape { prompt: 1, output: tokens, stream: true, ..Shape::default() };
        let call = match bench.call(probe, &shape).and_then(|call| bench.may_send(1).map(|()| call)) {
            Ok(call) => call,
            Err(why) => return Seen::Nothing(why),
        };
        let opened = bench.client.open(call).await;
        bench.last = Some(Instant::now());
        let mut answer = match opened {
            Ok(answer) => answer,
            Err(why) => return Seen::Nothing(why),
        };
        if answer.is_fine() {
            // The answer is not needed: hanging up ends it, and what it costs.
            dirty = true;
            return Seen::LetIn;
        }
        if let Some(rest) = answer.rest.take() {
            answer.text = rest.text().await.unwrap_or_default();
        }
        match bench.blame(probe, &answer) {
            Blame::Other(name) => Seen::Nothing(format!("`{name}` refused first: {}", told(&answer))),
            Blame::Unknown if answer.status != 429 => {
                Seen::Nothing(format!("refused otherwise: {}", told(&answer)))
            }
            _ => {
                refusal = Some(answer);
                Seen::Refused
            }
        }
    })
    .await;
    Measured { refusal, ..Measured::of(outcome) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the questions find of a log that lets in `real`, with requests of `most` units at most; and how many there were.
    fn play(documented: u64, real: u64, most: u64) -> (u64, Option<u64>, u32) {
        let (mut used, mut high, mut asked) = (0, None::<u64>, 0);
        while let Some(wanted) = next(documented, used, high) {
            let size = wanted.min(most);
            asked += 1;
            if used + size <= real {
                used += size;
            } else {
                let bound = used + size - 1;
                high = Some(high.map_or(bound, |known| known.min(bound)));
            }
            assert!(asked < 200, "documented {documented}, really {real}: used {used}, at most {high:?}");
        }
        (used, high, asked)
    }

    #[test]
    fn a_right_document_is_confirmed_in_two_questions() {
        assert_eq!(play(200_000, 200_000, u64::MAX), (200_000, Some(200_000), 2));
        let (used, high, asked) = play(200_000, 200_000, 8_191);
        assert_eq!((used, high), (200_000, Some(200_000)));
        assert!(asked <= 27, "{asked}");
    }

    #[test]
    fn a_wrong_document_is_corrected_to_the_unit() {
        for real in [1, 7, 99, 100, 101, 150, 350] {
            let (used, high, _) = play(100, real, u64::MAX);
            assert_eq!((used, high), (real, Some(real)), "{real}");
        }
        assert_eq!(play(100, 10_000, u64::MAX).1, None);
    }
}
