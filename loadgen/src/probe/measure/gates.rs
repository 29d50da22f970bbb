//! Requests that must be refused: a key, a model, a tool that is not allowed.

use super::super::blame::{Blame, told};
use super::super::body::Shape;
use super::super::finding::Outcome;
use super::super::method::GateCall;
use super::super::plan::Probe;
use super::{Bench, Measured};
use crate::client::key::Key;
use serde_json::{Map, json};

/// A key that nobody has.
const NOBODY: &str = "sk-tidegate-probe-nobody-has-this-key";
/// A model that nobody has.
const NOTHING: &str = "tidegate-probe-no-such-model";

pub(super) async fn measure(bench: &mut Bench<'_>, probe: &Probe, gate: GateCall) -> Measured {
    let mut shape = Shape::default();
    match gate {
        GateCall::BadKey => {}
        GateCall::BadModel => shape.model = Some(NOTHING.to_owned()),
        GateCall::BadTool => {
            shape.more = Map::from_iter([("tools".to_owned(), json!([{ "type": "retrieval" }]))]);
        }
    }
    let call = bench.call(probe, &shape);
    let sent = match call {
        Ok(mut call) => {
            if gate == GateCall::BadKey {
                call.key = Key::new(NOBODY, "a probe").ok();
            }
            bench.send_patiently(probe, call).await
        }
        Err(why) => Err(why),
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(why) => return Measured::unclear(why),
    };
    let text = told(&answer);
    // What every gateway answers, where no limit of the profile says another status.
    let expected = match (probe.limit, gate) {
        (Some(index), _) => bench.basis.limits[index].limit.answer.status,
        (None, GateCall::BadKey) => 401,
        (None, GateCall::BadModel) => 404,
        (None, GateCall::BadTool) => 400,
    };
    let outcome = match bench.blame(probe, &answer) {
        Blame::LetIn => Outcome::LetIn(text),
        Blame::This => Outcome::Refused(text),
        _ if answer.status == expected => Outcome::Refused(text),
        Blame::Other(name) => Outcome::Unclear(format!("`{name}` refused first: {text}")),
        Blame::Unknown if probe.limit.is_none() => {
            Outcome::Unclear(format!("refused with {text}, not {expected}"))
        }
        Blame::Unknown if matches!(answer.status, 400..=404 | 422) => Outcome::Refused(text),
        Blame::Unknown => Outcome::Unclear(format!("refused otherwise: {text}")),
    };
    Measured { refusal: Some(answer), ..Measured::of(outcome) }
}
