//! Which limits concern a request or an operation, and whether one that keeps no count refuses it.

use super::attr::{Attr, Subject};
use super::limit::{Action, Limit, Mechanism, Verb};

/// What the limits that keep no count say of a kind of request or operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The first that refuses, with the value and the bound where there are numbers.
    pub refused: Option<Refused>,
    /// Gates whose offending part is ignored.
    pub ignored: Vec<usize>,
    /// Gates that only warn.
    pub warned: Vec<usize>,
    /// Limits that could not be evaluated, and what is not known.
    pub unknown: Vec<(usize, Attr)>,
    /// Limits that concern it and are asked as it happens: metered ones, permits, deadlines, overheads, in order.
    pub dynamic: Vec<usize>,
}

/// A refusal by a limit that keeps no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which limit.
    pub limit: usize,
    /// The bound that was broken; 0 where there are no numbers.
    pub bound: u64,
    /// The value that broke it.
    pub value: u64,
}

/// Whether a limit concerns `subject` at all: every attribute of `when` must have one of its values.
pub fn concerns(limit: &Limit, verb: Verb, subject: &Subject) -> bool {
    limit.on.contains(&verb) && limit.when.iter().all(|condition| condition.touches(subject))
}

/// Judges `subject`. `limits` are in the order in which they are asked; the first that refuses is reported.
pub fn judge(limits: &[Limit], verb: Verb, subject: &Subject) -> Judgement {
    let mut found = Judgement::default();
    for (index, limit) in limits.iter().enumerate().filter(|(_, limit)| concerns(limit, verb, subject)) {
        match &limit.mechanism {
            Mechanism::Gate { require, action } => {
                let passed = match require {
                    None => Some(false),
                    Some(condition) => condition.holds(subject),
                };
                match (passed, action) {
                    (None, _) => found.unknown.extend(require.as_ref().map(|gate| (index, gate.attr))),
                    (Some(true), _) => {}
                    (Some(false), Action::Refuse) => found.refuse(index, 0, 0),
                    (Some(false), Action::Ignore) => found.ignored.push(index),
                    (Some(false), Action::Warn) => found.warned.push(index),
                }
            }
            Mechanism::Size { attr, range } => match subject.numbers(*attr) {
                None => found.unknown.push((index, *attr)),
                Some(values) => {
                    if let Some(&value) = values.iter().find(|&&value| !range.admits(value)) {
                        found.refuse(index, range.bound(value), value);
                    }
                }
            },
            _ => found.dynamic.push(index),
        }
    }
    found
}

impl Judgement {
    fn refuse(&mut self, limit: usize, bound: u64, value: u64) {
        self.refused.get_or_insert(Refused { limit, bound, value });
    }
}

#[cfg(test)]
mod tests {
    use super::super::attr::Condition;
    use super::super::limit::{Answer, Provenance, Range, Source, Stage};
    use super::*;

    fn limit(name: &str, when: Vec<Condition>, mechanism: Mechanism) -> Limit {
        Limit {
            name: name.into(),
            row: name.into(),
            stage: Stage::Request,
            on: vec![Verb::Inference],
            when,
            mechanism,
            per: Vec::new(),
            keys: 1,
            meter: None,
            answer: Answer {
                status: 400,
                code: String::new(),
                message: String::new(),
                provenance: Provenance::Choice,
                announces_retry: false,
                retryable: false,
            },
            provenance: Provenance::Choice,
            source: Source::Profile,
            advice: None,
        }
    }

    fn only(attr: Attr, value: &str) -> Condition {
        Condition { attr, values: vec![value.into()] }
    }

    #[test]
    fn a_gate_asks_all_values_and_a_when_asks_any() {
        let gate = Mechanism::Gate { require: Some(only(Attr::Tools, "function")), action: Action::Refuse };
        let limits = [limit("tools", vec![only(Attr::ModelKind, "chat")], gate)];
        let mut subject = Subject::default();
        subject.say(Attr::ModelKind, ["chat", "audio"]).say(Attr::Tools, ["function", "retrieval"]);
        assert_eq!(judge(&limits, Verb::Inference, &subject).refused.map(|r| r.limit), Some(0));
        subject.say(Attr::Tools, ["function"]);
        assert_eq!(judge(&limits, Verb::Inference, &subject).refused, None);
        subject.say(Attr::Tools, [""; 0]);
        assert_eq!(judge(&limits, Verb::Inference, &subject).refused, None);
        assert_eq!(judge(&limits, Verb::Upload, &subject), Judgement::default());
    }

    #[test]
    fn what_is_not_known_is_listed_and_refuses_nothing() {
        let size =
            Mechanism::Size { attr: Attr::Body, range: Range { at_most: Some(10), ..Range::default() } };
        let limits = [limit("body", Vec::new(), size)];
        let mut subject = Subject::default();
        assert_eq!(judge(&limits, Verb::Inference, &subject).unknown, [(0, Attr::Body)]);
        for (bytes, refused) in [(9, false), (10, false), (11, true)] {
            subject.count(Attr::Body, [bytes]);
            let found = judge(&limits, Verb::Inference, &subject).refused;
            assert_eq!(found.is_some(), refused, "{bytes}");
            if let Some(found) = found {
                assert_eq!((found.bound, found.value), (10, 11));
            }
        }
    }

    #[test]
    fn a_trailing_star_stands_for_the_rest() {
        let images = only(Attr::UploadType, "image/*");
        let mut subject = Subject::default();
        for (kind, fine) in [("image/png", true), ("image/svg+xml", true), ("application/pdf", false)] {
            subject.say(Attr::UploadType, [kind]);
            assert_eq!(images.holds(&subject), Some(fine), "{kind}");
        }
    }
}
