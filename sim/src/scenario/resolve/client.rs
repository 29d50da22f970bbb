//! What the clients of a workload do when an answer does not come.

use crate::dist::Dist;
use crate::request::Outcome;
use crate::scenario::client::{Budget, Client, Hedge, Jitter, Retry};
use crate::scenario::client_file::{HedgeFile, JitterWord, RetryFile, RetryWord};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::WorkloadFile;

/// What is tried again unless the file says otherwise.
const ON: [Outcome; 4] = [Outcome::Refused, Outcome::Expired, Outcome::TimedOut, Outcome::Lost];

/// The client of a workload; `patience` is how long it waits, when that is known.
pub(super) fn resolve(
    workload: &WorkloadFile,
    patience: Option<&Dist>,
    errors: &mut Errors,
) -> Option<Client> {
    let before = errors.count();
    let patient = workload.patience.is_none();
    let retry = workload.retry.as_ref().map(|at| retry(&at.value, patient, errors));
    let hedge = workload.hedge.as_ref().map(|at| hedge(&at.value, patience, errors));
    let deaf = !workload.hang_up.value;
    if deaf && patient {
        errors.refuse_with(
            &workload.hang_up.place,
            "`hang_up` would never act: without `patience` nobody gives up",
            "add `patience`, such as `patience = \"60s\"`, or leave it out",
        );
    }
    (errors.count() == before).then_some(Client { retry: retry.flatten(), hedge: hedge.flatten(), deaf })
}

fn retry(file: &RetryFile, patient: bool, errors: &mut Errors) -> Option<Retry> {
    let before = errors.count();
    let (base, cap) = (file.base.value.0, file.cap.value.0);
    if base > cap {
        errors.refuse_with(
            &file.base.place,
            format!("`{base}` is longer than `cap`, {cap}"),
            "raise `cap`: it bounds every pause",
        );
    }
    let mut on: Vec<Outcome> = Vec::new();
    for at in file.on.iter().flat_map(|at| &at.value) {
        let outcome = outcome(at.value);
        let word = at.value.word();
        if on.contains(&outcome) {
            errors.refuse(&at.place, format!("`{word}` is listed twice"));
        }
        if outcome == Outcome::TimedOut && patient {
            errors.refuse_with(
                &at.place,
                "`timed-out` would never act: without `patience` nobody gives up",
                "add `patience`, such as `patience = \"60s\"`, or leave it out",
            );
        }
        on.push(outcome);
    }
    if file.on.is_none() {
        on.extend(ON);
    }
    (errors.count() == before).then_some(())?;
    Some(Retry {
        most: file.most.value.small(),
        base,
        factor: (file.factor.value.0 * 1_000.0).round() as u32,
        cap,
        jitter: match file.jitter.value {
            JitterWord::None => Jitter::None,
            JitterWord::Full => Jitter::Full,
            JitterWord::Equal => Jitter::Equal,
        },
        honour_retry_after: file.honour_retry_after.value,
        budget: file.budget.as_ref().map(|at| Budget {
            ratio: (at.value.ratio.value.0 * 1_000.0).round() as u32,
            burst: at.value.burst.value.small(),
        }),
        on,
        within: file.within.as_ref().map(|at| at.value.0),
    })
}

fn outcome(word: RetryWord) -> Outcome {
    match word {
        RetryWord::Refused => Outcome::Refused,
        RetryWord::Expired => Outcome::Expired,
        RetryWord::TimedOut => Outcome::TimedOut,
        RetryWord::Lost => Outcome::Lost,
        RetryWord::Failed => Outcome::Failed,
    }
}

fn hedge(file: &HedgeFile, patience: Option<&Dist>, errors: &mut Errors) -> Option<Hedge> {
    let after: &At<_> = &file.after;
    let after_s = after.value.0.as_secs_f64();
    if let Some(most) = patience.map(Dist::most).filter(|most| *most <= after_s) {
        errors.refuse_with(
            &after.place,
            format!(
                "a hedge after `{}` would never act: every client gives up within {most}s",
                after.value.0
            ),
            "hedge earlier: a little above the usual time to the first token",
        );
        return None;
    }
    Some(Hedge { after: after.value.0, most: file.most.value.small() })
}
