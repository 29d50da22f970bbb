//! Files of batch requests, judged by the limits of a profile: for whoever has a file and no scenario.
//!
//! What can be said of a whole submission (its provider, its endpoint, its size) refuses it at once; what is in the file
//! fails the job on the first line that has it.

use super::profile::Loaded;
use crate::jobfile::{self, Contents, Fault, Format, Rules};
use crate::profile::{Attr, Counted, Limit, Mechanism, Stage, Subject, Verb, concerns, judge};
use std::io::{self, BufReader};
use std::path::Path;

/// What is stated when a file is submitted; what is left out is read off the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stated<'a> {
    /// The provider it is meant for.
    pub provider: Option<&'a str>,
    /// Path of its requests; `none` when none is named.
    pub endpoint: Option<&'a str>,
}

/// A file, and what the limits say of it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its size, bytes.
    pub bytes: u64,
    /// What is in it; `None` when its size alone refuses it, so that it was not read.
    pub contents: Option<Contents>,
    /// Why it would not be worked on.
    pub refused: Option<Refused>,
    /// Limits that could not be evaluated, by name, and what is not known.
    pub unknown: Vec<(String, Attr)>,
}

/// Why a file would not be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The limit; `None` when the file is not of the form that it must have.
    pub limit: Option<String>,
    /// The first line that it is about, from 1; 0 when it is about the whole file.
    pub line: u64,
    /// Whether the submission is refused; otherwise the job fails when it is validated.
    pub at_once: bool,
    /// What is wrong, for people.
    pub why: String,
}

/// Checks a file by the limits of a profile that these overlays put in force. O(file) time, memory as
/// [`jobfile::read`].
///
/// # Errors
/// When it cannot be read.
pub fn check(path: &Path, profile: &Loaded, overlays: &[String], stated: Stated<'_>) -> io::Result<Checked> {
    let on = profile.limits.iter().filter(|limit| limit.is_on(overlays) && !limit.required);
    let mut limits: Vec<Limit> = on.map(|limit| limit.limit.clone()).collect();
    limits.retain(|limit| limit.on.contains(&Verb::SubmitBatch));
    limits.sort_by_key(|limit| limit.stage);
    let bytes = std::fs::metadata(path)?.len();
    let mut own = Subject::default();
    own.count(Attr::BatchBytes, [bytes]);
    for (attr, word) in [(Attr::BatchProvider, stated.provider), (Attr::BatchEndpoint, stated.endpoint)] {
        if let Some(word) = word {
            own.say(attr, [word]);
        }
    }
    let mut checked = Checked { bytes, contents: None, refused: None, unknown: Vec::new() };
    let before = judge(&limits, Verb::SubmitBatch, &own).refused;
    let before = before.filter(|refused| limits[refused.limit].stage != Stage::Validation);
    if let Some(refused) = before {
        let limit = &limits[refused.limit];
        checked.refused = Some(by(limit, 0, &own));
        return Ok(checked);
    }
    let most = limits.iter().filter(|limit| concerns(limit, Verb::SubmitBatch, &own));
    let most = most.filter_map(|limit| match &limit.mechanism {
        Mechanism::Size { attr: Attr::BatchRequests, range } => {
            Some((range.at_most.or(range.below.map(|bound| bound - 1))?, limit))
        }
        _ => None,
    });
    let most = most.min_by_key(|(most, _)| *most);
    let rules = Rules {
        format: stated.provider.and_then(Format::of),
        endpoint: stated.endpoint.filter(|endpoint| *endpoint != "none"),
        requests: most.map(|(most, _)| most),
    };
    let file = BufReader::with_capacity(1 << 16, std::fs::File::open(path)?);
    let found = jobfile::read(file, &rules, |_, _| ())?;
    let subject = |line: u64| {
        let mut subject = own.clone();
        state(&mut subject, &found, line);
        subject
    };
    let broken = found.fault.as_ref().map(|(line, fault)| match (fault, most) {
        (Fault::TooMany { .. }, Some((_, limit))) => by(limit, *line, &Subject::default()),
        (fault, _) => Refused { limit: None, line: *line, at_once: false, why: fault.to_string() },
    });
    let judged = first_refused(&limits, &found, subject)
        .map(|(limit, line)| by(&limits[limit], line, &subject(line.max(1))));
    checked.refused = earlier(judged, broken, |refused| (refused.at_once, refused.line));
    let whole = subject(u64::MAX);
    if checked.refused.is_none() {
        checked.refused = too_many_tokens(&limits, &found, &whole);
    }
    checked.unknown = unknown(&limits, &whole);
    checked.contents = Some(found);
    Ok(checked)
}

fn by(limit: &Limit, line: u64, subject: &Subject) -> Refused {
    let why = match &limit.mechanism {
        Mechanism::Gate { require, .. } => {
            let attr = require.as_ref().map(|gate| gate.attr).or(limit.when.last().map(|when| when.attr));
            let words = attr.and_then(|attr| Some((attr.name(), subject.words(attr)?.join(", "))));
            words.map_or_else(String::new, |(name, words)| format!("{name} is {words}, "))
        }
        _ => String::new(),
    };
    Refused {
        limit: Some(limit.name.clone()),
        line,
        at_once: limit.stage != Stage::Validation,
        why: format!("{why}{}", limit.value_text()),
    }
}

/// A file alone that holds more tokens than an account may have enqueued.
fn too_many_tokens(limits: &[Limit], found: &Contents, subject: &Subject) -> Option<Refused> {
    let over = limits.iter().find(|limit| {
        let quota = match limit.mechanism {
            Mechanism::Quota { counted: Counted::EnqueuedTokens, limit } => limit,
            _ => None,
        };
        quota.is_some_and(|most| found.prompt_tokens > most) && concerns(limit, Verb::SubmitBatch, subject)
    });
    over.map(|limit| by(limit, 0, subject))
}

/// Limits that would have to know more than a file tells.
fn unknown(limits: &[Limit], subject: &Subject) -> Vec<(String, Attr)> {
    let open = limits.iter().filter_map(|limit| {
        let (known, unknown): (Vec<_>, Vec<_>) =
            limit.when.iter().partition(|condition| subject.knows(condition.attr));
        let first = unknown.first().filter(|condition| condition.values != ["*"])?;
        known.iter().all(|condition| condition.touches(subject)).then(|| (limit.name.clone(), first.attr))
    });
    let judged = judge(limits, Verb::SubmitBatch, subject).unknown.into_iter();
    let judged = judged.map(|(limit, attr)| (limits[limit].name.clone(), attr));
    judged.chain(open).filter(|(_, attr)| *attr != Attr::BatchRequests).collect()
}

/// The first thing in a file that a limit refuses, and the line that has it: 0 when the submission itself is refused.
/// `subject` is what is known of a file up to a line.
pub(super) fn first_refused(
    limits: &[Limit],
    found: &Contents,
    subject: impl Fn(u64) -> Subject,
) -> Option<(usize, u64)> {
    let models = found.models.iter().map(|(_, line)| *line);
    let mut lines: Vec<u64> = models.chain(found.content.iter().map(|(_, line)| *line)).collect();
    lines.sort_unstable();
    lines.dedup();
    // More of a file has more in it: what is refused once stays refused.
    let mut refused = lines.into_iter().filter_map(|line| {
        let limit = judge(limits, Verb::SubmitBatch, &subject(line)).refused?.limit;
        Some((limit, line))
    });
    let (limit, line) = refused.next()?;
    let at_once = limits[limit].stage != Stage::Validation;
    Some((limit, if at_once { 0 } else { line }))
}

/// The one of two verdicts that is told: what refuses the submission, else the earlier line. `place` is of both: whether
/// it is at once, and the line.
pub(super) fn earlier<T>(
    judged: Option<T>,
    broken: Option<T>,
    place: impl Fn(&T) -> (bool, u64),
) -> Option<T> {
    match (judged, broken) {
        (Some(judged), Some(broken)) => {
            let ((at_once, line), (_, other)) = (place(&judged), place(&broken));
            Some(if at_once || line <= other { judged } else { broken })
        }
        (judged, broken) => judged.or(broken),
    }
}

/// States what a file says of itself up to a line; what was stated before stays.
pub(super) fn state(subject: &mut Subject, found: &Contents, line: u64) {
    let format = found.format.unwrap_or(Format::OpenAi);
    if !subject.knows(Attr::BatchProvider) {
        subject.say(Attr::BatchProvider, [format.provider()]);
    }
    if !subject.knows(Attr::BatchEndpoint) {
        subject.say(Attr::BatchEndpoint, [found.endpoint.as_deref().unwrap_or("none")]);
    }
    let kinds = found.content.iter().filter(|(_, at)| *at <= line).map(|(kind, _)| kind.name());
    subject.say(Attr::BatchContent, kinds);
    let models = found.models.iter().filter(|(_, at)| *at <= line).count();
    subject.count(Attr::BatchModels, [models as u64]);
}
