//! What was found of each limit, and the report of all.

use super::cost::Cost;
use serde_json::{Value as Json, json};
use tidegate_sim::results::table::Table;

/// How what was measured stands to what is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as documented, exactly.
    Equal,
    /// It is not.
    Differs,
    /// What was seen does not decide it.
    Inconclusive,
    /// Nothing was sent.
    NotProbeable,
}

impl Verdict {
    /// The word used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Differs => "differs",
            Verdict::Inconclusive => "inconclusive",
            Verdict::NotProbeable => "not probeable",
        }
    }
}

/// What a probe measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many units are let in, and not one more.
    Exactly(u64),
    /// At least the first, at most the second.
    Between(u64, u64),
    /// So many were let in, and nothing was refused.
    AtLeast(u64),
    /// What must be refused was; what was answered.
    Refused(String),
    /// What must be refused was let in; what was answered.
    LetIn(String),
    /// Something else happened.
    Unclear(String),
}

impl Outcome {
    /// As it stands in tables.
    pub fn text(&self) -> String {
        match self {
            Outcome::Exactly(units) => units.to_string(),
            Outcome::Between(least, most) => format!("{least} to {most}"),
            Outcome::AtLeast(units) => format!("more than {}", units.saturating_sub(1)),
            Outcome::Refused(answer) => format!("refused: {answer}"),
            Outcome::LetIn(answer) => format!("let in: {answer}"),
            Outcome::Unclear(_) => "-".to_owned(),
        }
    }

    /// How it stands to the number that is documented; gates have none.
    pub fn verdict(&self, documented: Option<u64>) -> Verdict {
        match (self, documented) {
            (Outcome::Exactly(units), Some(limit)) if *units == limit => Verdict::Equal,
            (Outcome::Exactly(_), Some(_)) => Verdict::Differs,
            (Outcome::Between(least, most), Some(limit)) if *least > limit || *most < limit => {
                Verdict::Differs
            }
            (Outcome::AtLeast(units), Some(limit)) if *units > limit => Verdict::Differs,
            (Outcome::Refused(_), None) => Verdict::Equal,
            (Outcome::LetIn(_), _) => Verdict::Differs,
            _ => Verdict::Inconclusive,
        }
    }
}

/// What was found of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the limit.
    pub name: String,
    /// The documented row, when there is one.
    pub row: String,
    /// What is documented, as people write it.
    pub documented: String,
    /// What was done, or why nothing was.
    pub how: String,
    /// What was measured; `-` when nothing was.
    pub measured: String,
    /// How the two stand.
    pub verdict: Verdict,
    /// What the refusals said: status, code, headers.
    pub answer: Option<String>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Requests that it took.
    pub requests: u64,
}

/// What was found of all limits.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the limits are of.
    pub title: String,
    /// The address, without credentials.
    pub target: String,
    /// In the order of the plan.
    pub findings: Vec<Finding>,
    /// What was planned.
    pub planned: Cost,
    /// Requests that were sent.
    pub requests: u64,
    /// Whether it was stopped before the end.
    pub interrupted: bool,
}

impl Report {
    /// How many findings have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// The exit code of the command: 1 when one differs, 3 when none does but one is inconclusive or the run was stopped, else
    /// 0.
    pub fn exit_code(&self) -> u8 {
        if self.count(Verdict::Differs) > 0 {
            return 1;
        }
        if self.interrupted || self.count(Verdict::Inconclusive) > 0 { 3 } else { 0 }
    }

    /// What was measured.
    pub fn table(&self) -> Table {
        let probed = self.findings.iter().filter(|finding| finding.verdict != Verdict::NotProbeable);
        let rows = probed.map(|finding| {
            vec![
                finding.name.clone(),
                finding.documented.clone(),
                finding.how.clone(),
                finding.measured.clone(),
                finding.answer.clone().unwrap_or_default(),
                finding.requests.to_string(),
                finding.verdict.name().to_owned(),
            ]
        });
        let head = ["limit", "documented", "probe", "measured", "answer", "requests", "verdict"];
        Table {
            title: format!("{} at {}", self.title, self.target),
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }
    }

    /// What cannot be measured, and why.
    pub fn not_probeable(&self) -> Table {
        not_probeable(&self.findings)
    }

    /// Everything, for machines.
    pub fn json(&self) -> Json {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "limit": finding.name,
                "row": finding.row,
                "documented": finding.documented,
                "probe": finding.how,
                "measured": finding.measured,
                "verdict": finding.verdict.name(),
                "answer": finding.answer,
                "notes": finding.notes,
                "requests": finding.requests,
            })
        });
        json!({
            "title": self.title,
            "target": self.target,
            "interrupted": self.interrupted,
            "requests": self.requests,
            "equal": self.count(Verdict::Equal),
            "differs": self.count(Verdict::Differs),
            "inconclusive": self.count(Verdict::Inconclusive),
            "not_probeable": self.count(Verdict::NotProbeable),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

/// A table of what cannot be measured.
pub(super) fn not_probeable(findings: &[Finding]) -> Table {
    let rows = findings.iter().filter(|finding| finding.verdict == Verdict::NotProbeable);
    let rows =
        rows.map(|finding| vec![finding.name.clone(), finding.documented.clone(), finding.how.clone()]);
    Table {
        title: "Not probeable".to_owned(),
        head: ["limit or row", "documented", "why"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_number_is_equal() {
        for (outcome, verdict) in [
            (Outcome::Exactly(200), Verdict::Equal),
            (Outcome::Exactly(199), Verdict::Differs),
            (Outcome::Between(199, 201), Verdict::Inconclusive),
            (Outcome::Between(201, 210), Verdict::Differs),
            (Outcome::Between(10, 199), Verdict::Differs),
            (Outcome::AtLeast(201), Verdict::Differs),
            (Outcome::AtLeast(200), Verdict::Inconclusive),
            (Outcome::Unclear("x".into()), Verdict::Inconclusive),
        ] {
            assert_eq!(outcome.verdict(Some(200)), verdict, "{outcome:?}");
        }
        assert_eq!(Outcome::Refused("401".into()).verdict(None), Verdict::Equal);
        assert_eq!(Outcome::LetIn("200".into()).verdict(None), Verdict::Differs);
    }

    #[test]
    fn a_difference_outweighs_what_is_open() {
        let finding = |verdict| Finding {
            name: "x".into(),
            row: String::new(),
            documented: String::new(),
            how: String::new(),
            measured: String::new(),
            verdict,
            answer: None,
            notes: Vec::new(),
            requests: 0,
        };
        let report = |verdicts: &[Verdict]| Report {
            findings: verdicts.iter().map(|verdict| finding(*verdict)).collect(),
            ..Report::default()
        };
        assert_eq!(report(&[Verdict::Equal, Verdict::NotProbeable]).exit_code(), 0);
        assert_eq!(report(&[Verdict::Equal, Verdict::Inconclusive]).exit_code(), 3);
        assert_eq!(report(&[Verdict::Inconclusive, Verdict::Differs]).exit_code(), 1);
    }
}
