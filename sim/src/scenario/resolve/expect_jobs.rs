//! Expectations of batch jobs: exact states, counts and instants.

use super::expect::{Site, each, reason};
use crate::scenario::batch::JobState;
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::leaf::Name;
use crate::scenario::overrides::listed;
use crate::scenario::policy::{Claim, JOB_REQUESTS, Stream};
use crate::scenario::policy_file::{Counts, ExpectFile};
use crate::time::Time;

/// The batch of a name; its index among those that are enabled.
pub(super) fn stream(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<Stream> {
    let batches = &site.file.batch;
    let wanted = name.value.as_str();
    let Some(index) = batches.names().position(|known| known == wanted) else {
        let hint = if site.workloads.iter().any(|entry| entry.name == wanted) {
            format!("`{wanted}` is a workload: write `of` instead")
        } else {
            did_you_mean(wanted, batches.names()).unwrap_or_else(|| match batches.entries.len() {
                0 => format!("declare it with `[batch.{wanted}]`"),
                _ => format!("declare it with `[batch.{wanted}]`; declared: {}", listed(batches.names())),
            })
        };
        errors.refuse_with(&name.place, format!("no batch is named `{wanted}`"), hint);
        return None;
    };
    let enabled = |index: usize| {
        // One that could not be read was reported.
        batches.entries[index].2.as_ref().is_none_or(|batch| batch.enabled.value)
    };
    if !enabled(index) {
        let message = format!("the batch `{wanted}` is switched off");
        let hint = "set `enabled = false` here, too (in a variant: `\"expect.0.enabled\" = false`)";
        errors.refuse_with(&name.place, message, hint);
        return None;
    }
    Some(Stream::Batch((0..index).filter(|index| enabled(*index)).count()))
}

/// Claims about jobs, and where they stand.
pub(super) fn own_claims(file: &ExpectFile) -> Vec<(&'static str, &Place)> {
    fn place<T>(at: &Option<At<T>>) -> Option<&Place> {
        at.as_ref().map(|at| &at.place)
    }
    let all = [
        ("jobs", place(&file.jobs)),
        ("requests", place(&file.requests)),
        ("reasons", place(&file.reasons)),
        ("job_states", place(&file.job_states)),
        ("job_ends", place(&file.job_ends)),
        ("lines", place(&file.lines)),
        ("enqueued_peak", place(&file.enqueued_peak)),
        ("enqueued_end", place(&file.enqueued_end)),
    ];
    all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
}

/// Whether claims and whose they are go together: those of jobs need a batch, and a batch has no others.
/// `others` are the claims about requests and calls.
pub(super) fn of_jobs(file: &ExpectFile, others: &[(&'static str, &Place)], errors: &mut Errors) {
    let own = own_claims(file);
    let Some(batch) = &file.batch else {
        for (key, place) in own {
            let hint = "add `batch`: the name of a batch";
            errors.refuse_with(place, format!("`{key}` is of the jobs of a batch, and none is named"), hint);
        }
        return;
    };
    if let Some(of) = &file.of {
        let hint = "write two expectations";
        errors.refuse_with(&of.place, "`of` and `batch` exclude each other", hint);
    }
    for (key, place) in others {
        let name = batch.value.as_str();
        let message = format!("`{key}` is of requests and calls, not of jobs");
        let hint = format!("put it in an expectation with `of = \"{name}\"`, or use `jobs` and `requests`");
        errors.refuse_with(place, message, hint);
    }
    if file.from.value.0.is_zero() && file.until.is_none() {
        return;
    }
    let run = [("enqueued_peak", &file.enqueued_peak), ("enqueued_end", &file.enqueued_end)];
    for (key, tokens) in run {
        let Some(tokens) = tokens else { continue };
        let message = format!("`{key}` is of the whole run, and the expectation is of a part of it");
        errors.refuse_with(&tokens.place, message, "put it in an expectation without `from` and `until`");
    }
}

/// The claims about jobs.
pub(super) fn claims(file: &ExpectFile, site: &Site<'_>, errors: &mut Errors) -> Vec<Claim> {
    let mut claims = Vec::new();
    let states = JobState::ALL.map(JobState::name);
    claims.extend(
        file.jobs.as_ref().and_then(|at| table(at, &states, "a state of a job", errors)).map(Claim::Jobs),
    );
    let fates = file.requests.as_ref();
    let fates = fates.and_then(|at| table(at, &JOB_REQUESTS, "what becomes of a request of a job", errors));
    claims.extend(fates.map(Claim::JobRequests));
    each(&file.reasons, |name, count| Some(Claim::JobsFor(reason(name, site, errors)?, count)), &mut claims);
    if let Some(at) = &file.job_states {
        let named = |word: &str| JobState::ALL.into_iter().find(|state| state.name() == word);
        let states = at.value.iter().map(|at| named(at.value.word()).expect("every state has its word"));
        claims.push(Claim::JobStates(states.collect()));
    }
    if let Some(at) = &file.job_ends {
        let instant = |span| Time::ZERO.saturating_add(span);
        claims.push(Claim::JobEnds(at.value.iter().map(|end| end.value.0.map(instant)).collect()));
    }
    if let Some(at) = &file.lines {
        let lines =
            at.value.iter().map(|line| u32::try_from(line.value.0).expect("checked when it was read"));
        claims.push(Claim::JobLines(lines.collect()));
    }
    claims.extend(file.enqueued_peak.as_ref().map(|at| Claim::EnqueuedPeak(at.value.0)));
    claims.extend(file.enqueued_end.as_ref().map(|at| Claim::EnqueuedEnd(at.value.0)));
    claims
}

/// Counts by words; those that are not named are 0.
fn table<const N: usize>(
    counts: &At<Counts>,
    words: &[&str; N],
    what: &str,
    errors: &mut Errors,
) -> Option<[u64; N]> {
    let mut found = Some([0; N]);
    for (name, count) in &counts.value.0 {
        let wanted = name.value.as_str();
        match (words.iter().position(|word| *word == wanted), &mut found) {
            (Some(index), Some(found)) => found[index] = *count,
            (Some(_), None) => {}
            (None, _) => {
                let hint = did_you_mean(wanted, words.iter().copied())
                    .unwrap_or_else(|| format!("one of {}", listed(words.iter().copied())));
                errors.refuse_with(&name.place, format!("`{wanted}` is not {what}"), hint);
                found = None;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Scenario, load_str};
    use crate::time::Span;

    const FILE: &str = r#"
[scenario]
question = "Are the jobs done in time?"
horizon = "2h"
replications = 1

[models.m]

[pools.p]
engine = "slots"
model = "m"
servers = 4
service = "1s"

[tiers.t]
pools = ["p"]

[batch.off]
tier = "t"
jobs = [{ at = "0s", requests = 100 }]
enabled = false

[batch.nightly]
tier = "t"
jobs = [{ at = "0s", requests = 100 }, { at = "1h", requests = 50 }]

[[expect]]
batch = "nightly"
"#;

    fn load(lines: &str) -> Scenario {
        load_str("x.toml", &format!("{FILE}{lines}\n"), &Overrides::default()).unwrap()
    }

    #[test]
    fn what_is_not_named_must_be_none() {
        let scenario =
            load("jobs = { completed = 1, expired = 2 }\nrequests = { unfinished = 3, completed = 4 }");
        let expected = &scenario.policy.expectations[0];
        assert_eq!((&expected.name[..], expected.stream), ("nightly", Some(Stream::Batch(0))));
        let mut states = [0; JobState::ALL.len()];
        states[JobState::Completed as usize] = 1;
        states[JobState::Expired as usize] = 2;
        assert_eq!(expected.claims, [Claim::Jobs(states), Claim::JobRequests([4, 0, 0, 0, 3])]);
    }

    #[test]
    fn each_job_can_be_claimed_in_order() {
        let lines = "job_states = [\"in_progress\", \"completed\"]\njob_ends = [\"never\", \"24h\"]\nlines = [0, 50001]";
        let claims = load(lines).policy.expectations.remove(0).claims;
        let day = Time::ZERO + Span::from_secs(86_400);
        assert_eq!(
            claims,
            [
                Claim::JobStates(vec![JobState::InProgress, JobState::Completed]),
                Claim::JobEnds(vec![None, Some(day)]),
                Claim::JobLines(vec![0, 50_001]),
            ]
        );
    }

    #[test]
    fn every_state_has_its_word() {
        for state in JobState::ALL {
            let claims =
                load(&format!("job_states = [\"{}\"]", state.name())).policy.expectations.remove(0).claims;
            assert_eq!(claims, [Claim::JobStates(vec![state])]);
        }
    }

    #[test]
    fn tokens_and_reasons_are_counts() {
        let lines = "enqueued_peak = 2_000\nenqueued_end = 0\nreasons = { queue-full = 1 }";
        let claims = load(lines).policy.expectations.remove(0).claims;
        let full = Claim::JobsFor(crate::request::QUEUE_FULL, 1);
        assert_eq!(claims, [full, Claim::EnqueuedPeak(2_000), Claim::EnqueuedEnd(0)]);
    }
}
