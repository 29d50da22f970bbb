//! Limits on what only the body of a request shows: how many messages, stop texts and choices it has, and how long it is.
//!
//! The engine judges a workload by what its scenario says of it; these are judged by what came over the wire. (Bodies whose
//! lengths the scenario draws are the engine's.)

use super::ask::Asked;
use tidegate_sim::control::ControlPlane;
use tidegate_sim::gateway::admission::meters;
use tidegate_sim::profile::{Attr, Limit, Mechanism, Range, Verb, concerns};
use tidegate_sim::request::{Refusal, WorkloadId};
use tidegate_sim::scenario::Scenario;
use tidegate_sim::scenario::policy::reason_of;

/// By workload, in the order in which limits are asked.
#[derive(Debug)]
pub(super) struct Bounds(Vec<Vec<Bound>>);

#[derive(Debug)]
struct Bound {
    limit: usize,
    attr: Attr,
    range: Range,
}

impl Bounds {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let limits = &scenario.policy.limits;
        let plane = ControlPlane::new(scenario, &mut meters(limits));
        let of_workload = |index: usize| {
            let spec = &scenario.workloads[index];
            let chosen = spec.sender.candidates.first().map(|(model, _)| *model);
            let model = chosen.unwrap_or(scenario.pools[usize::from(spec.pool)].model);
            let subject = plane.request_subject(index, model);
            let concerned = limits.iter().enumerate();
            let concerned = concerned.filter(|(_, limit)| concerns(limit, Verb::Inference, &subject));
            let is_ours = |attr: &Attr| match attr {
                Attr::Messages | Attr::Stops | Attr::Choices => true,
                Attr::Body => spec.sender.body.is_none(),
                _ => false,
            };
            let bound = |(limit, of): (usize, &Limit)| match &of.mechanism {
                Mechanism::Size { attr, range } if is_ours(attr) => {
                    Some(Bound { limit, attr: *attr, range: *range })
                }
                _ => None,
            };
            concerned.filter_map(bound).collect()
        };
        Bounds((0..scenario.workloads.len()).map(of_workload).collect())
    }

    /// The first limit that refuses a request of `bytes`. O(bounds of the workload).
    pub(super) fn refusal(&self, workload: WorkloadId, asked: &Asked, bytes: u32) -> Option<Refusal> {
        self.0[usize::from(workload)].iter().find_map(|Bound { limit, attr, range }| {
            let value = u64::from(match attr {
                Attr::Messages => asked.messages?,
                Attr::Stops => asked.stops,
                Attr::Choices => asked.choices,
                _ => bytes,
            });
            let refusal = Refusal::plain(reason_of(*limit));
            (!range.admits(value)).then(|| Refusal { limit: range.bound(value), current: value, ..refusal })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::{self, Kind};
    use super::*;
    use tidegate_sim::scenario::{Overrides, load};

    #[test]
    fn a_body_is_held_against_the_documented_bounds() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/limits/e25-serverless.toml");
        let scenario = load(std::path::Path::new(path), &Overrides::default()).unwrap();
        let bounds = Bounds::of(&scenario);
        let refused = |more: &str| {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}]{more}}}"#);
            let asked = ask::read(Kind::Chat, body.as_bytes(), false).unwrap();
            let refusal = bounds.refusal(0, &asked, 100)?;
            let name = scenario.policy.limit_of(refusal.reason).unwrap().name.clone();
            Some((name, refusal.limit, refusal.current))
        };
        assert_eq!(refused(""), None);
        assert_eq!(refused(r#","n":128,"stop":["a","b","c","d"]"#), None);
        assert_eq!(refused(r#","n":129"#), Some(("do-serverless-choices".to_owned(), 128, 129)));
        assert_eq!(refused(r#","n":0"#), Some(("do-serverless-choices".to_owned(), 1, 0)));
        let stops = refused(r#","stop":["a","b","c","d","e"]"#);
        assert_eq!(stops, Some(("do-serverless-stops".to_owned(), 4, 5)));
    }
}
