//! What headers say is left of limits, held against what was sent.

use crate::client::headers::Remaining;
use std::collections::BTreeMap;
use tidegate_sim::request::{Outcome, WorkloadId};
use tidegate_sim::results::live::HeaderCheck;

/// A header of one caller.
type Caller = (String, WorkloadId, u32);

/// Everything that remaining-headers have said.
#[derive(Clone, Debug, Default)]
pub struct HeaderBook {
    checks: BTreeMap<String, Check>,
    last: BTreeMap<Caller, Last>,
}

#[derive(Clone, Debug, Default)]
struct Check {
    seen: u64,
    lowest: u64,
    limit: Option<u64>,
    drift: Option<u64>,
}

/// The latest value of a caller's header, and its requests since then.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    left: u64,
    since: u64,
}

impl HeaderBook {
    /// Takes in an answer, in the order in which answers come.
    ///
    /// Only headers that count requests can be held against our own count, between two consecutive answers of one caller
    /// and only while the value falls: a window that opens, or refills, says nothing. Answers may overtake one another, so
    /// a difference as large as the requests in flight is no error.
    pub fn see(&mut self, caller: (WorkloadId, u32), remaining: &[Remaining], outcome: Outcome) {
        if remaining.is_empty() {
            return;
        }
        for found in remaining {
            let check = self.checks.entry(found.header.clone()).or_default();
            check.lowest = if check.seen == 0 { found.left } else { check.lowest.min(found.left) };
            check.seen += 1;
            check.limit = found.limit.or(check.limit);
            if !found.header.contains("request") {
                continue;
            }
            let taken = u64::from(outcome != Outcome::Refused);
            let last = self.last.entry((found.header.clone(), caller.0, caller.1));
            let last = last
                .and_modify(|last| {
                    last.since += taken;
                    if found.left <= last.left {
                        let drift = (last.left - found.left).abs_diff(last.since);
                        check.drift = Some(check.drift.map_or(drift, |most| most.max(drift)));
                    }
                })
                .or_default();
            *last = Last { left: found.left, since: 0 };
        }
    }

    /// Adds another block.
    pub fn merge(&mut self, other: &HeaderBook) {
        for (header, theirs) in &other.checks {
            let mine = self.checks.entry(header.clone()).or_default();
            mine.lowest = if mine.seen == 0 { theirs.lowest } else { mine.lowest.min(theirs.lowest) };
            mine.seen += theirs.seen;
            mine.limit = theirs.limit.or(mine.limit);
            mine.drift = mine.drift.max(theirs.drift);
        }
    }

    /// As results have it.
    pub fn checks(&self) -> Vec<HeaderCheck> {
        let check = |(header, check): (&String, &Check)| HeaderCheck {
            header: header.clone(),
            seen: check.seen,
            lowest: check.lowest,
            limit: check.limit,
            drift: check.drift,
        };
        self.checks.iter().map(check).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(left: u64) -> Vec<Remaining> {
        vec![Remaining { header: "x-ratelimit-remaining-requests".into(), left, limit: Some(60) }]
    }

    #[test]
    fn a_header_that_counts_as_we_do_has_no_drift() {
        let mut book = HeaderBook::default();
        for value in [59, 58, 57] {
            book.see((0, 0), &left(value), Outcome::Completed);
        }
        // A refusal takes nothing; the window opens; another caller has a counter of its own.
        book.see((0, 0), &left(57), Outcome::Refused);
        book.see((0, 0), &left(60), Outcome::Completed);
        book.see((0, 1), &left(59), Outcome::Completed);
        let check = &book.checks()[0];
        assert_eq!((check.seen, check.lowest, check.limit, check.drift), (6, 57, Some(60), Some(0)));
    }

    #[test]
    fn a_header_that_counts_twice_drifts() {
        let mut book = HeaderBook::default();
        [59, 57, 55].into_iter().for_each(|value| book.see((0, 0), &left(value), Outcome::Completed));
        assert_eq!(book.checks()[0].drift, Some(1));
    }
}
