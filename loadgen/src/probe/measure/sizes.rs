//! Sizes of requests: one at the edge, one beyond it.

use super::super::body::Shape;
use super::super::edge::{Seen, highest};
use super::super::finding::Outcome;
use super::super::method::Amount;
use super::super::plan::Probe;
use super::{Bench, Measured};
use serde_json::{Map, Value as Json, json};

/// No body is made larger than this to find where a limit really is.
const BYTES_MOST: u64 = 256 * 1024 * 1024;

pub(super) async fn measure(
    bench: &mut Bench<'_>,
    probe: &Probe,
    what: Amount,
    bound: u64,
    upper: bool,
) -> Measured {
    let mut refusal = None;
    if !upper {
        return least(bench, probe, what, bound).await;
    }
    let bytes = bound.saturating_mul(4).min(BYTES_MOST);
    let (least, most) = match what {
        Amount::Body => {
            (bench.call(probe, &Shape::default()).map_or(1, |call| call.body.len() as u64), bytes)
        }
        Amount::Prompt => (1, bound.saturating_mul(8)),
        Amount::Messages | Amount::Stops | Amount::Choices => (1, bound.saturating_mul(4)),
    };
    if bound < least {
        return Measured::unclear(format!(
            "no request is as small as {bound} {}: the smallest has {least}",
            what.name()
        ));
    }
    let outcome =
        highest(bound, least, most, async |value| bench.ask(probe, &shaped(what, value), &mut refusal).await)
            .await;
    // A context is of prompt and output, and one token of output was asked for.
    Measured { refusal, ..Measured::of(outcome) }
}

/// A lower bound: what is below it is refused; what is at it is let in, where a request can be as small.
async fn least(bench: &mut Bench<'_>, probe: &Probe, what: Amount, bound: u64) -> Measured {
    let Some(below) = bound.checked_sub(1) else { return Measured::unclear("everything is at least 0") };
    let mut refusal = None;
    let under = bench.ask(probe, &shaped(what, below), &mut refusal).await;
    let smallest = bench.call(probe, &shaped(what, bound));
    let at = match smallest {
        Ok(_) => Some(bench.ask(probe, &shaped(what, bound), &mut None).await),
        // There is no such request.
        Err(_) => None,
    };
    let measured = match (under, at) {
        (Seen::Nothing(why), _) | (_, Some(Seen::Nothing(why))) => Outcome::Unclear(why),
        (Seen::LetIn, _) => Outcome::LetIn(format!("{below} {}", what.name())),
        (Seen::Refused | Seen::Maybe(_), Some(Seen::LetIn)) => Outcome::Exactly(bound),
        (Seen::Refused | Seen::Maybe(_), None) => Outcome::Exactly(bound),
        (_, Some(Seen::Refused)) => Outcome::AtLeast(bound + 1),
        (_, Some(Seen::Maybe(why))) => Outcome::Unclear(format!("refused at {bound}, too: {why}")),
    };
    Measured { refusal, ..Measured::of(measured) }
}

fn shaped(what: Amount, value: u64) -> Shape {
    let more = |name: &str, field: Json| Map::from_iter([(name.to_owned(), field)]);
    match what {
        Amount::Body => Shape { bytes: Some(value), ..Shape::default() },
        Amount::Messages => Shape { messages: value, ..Shape::default() },
        Amount::Prompt => Shape { prompt: value, ..Shape::default() },
        Amount::Stops => {
            let stops: Vec<String> = (0..value).map(|stop| format!("stop-{stop}")).collect();
            Shape { more: more("stop", json!(stops)), ..Shape::default() }
        }
        Amount::Choices => Shape { more: more("n", json!(value)), ..Shape::default() },
    }
}
