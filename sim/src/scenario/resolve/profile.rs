//! A profile, resolved: rows, and limits that are ready but for what only a scenario knows (who is counted, in what
//! order, with which values).

use crate::limits::Algorithm;
use crate::profile::limit::Range;
use crate::profile::{
    Answer, Attr, Counted, Key, Limit, Mechanism, Overlay, Profile, Row, Source, Stage, Standing, Unit, Verb,
};
use crate::scenario::decode::{At, Named, did_you_mean};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::leaf::{Name, is_name};
use crate::scenario::overrides::listed;
use crate::scenario::profile::{Loaded, LoadedLimit};
use crate::scenario::profile_file::{
    AlgorithmWord, Common, HeaderFile, LimitFile, ProfileFile, QuotaFile, RateFile, RefusalFile, RowFile,
    SizeFile, StandingWord,
};
use std::fmt::Write as _;

/// Most limits, and most rows, of a profile.
const ENTRIES_MOST: usize = 1_000;

/// Units in a window above which a sliding log becomes a token bucket, where a file does not say.
const MAX_LOG: u64 = 1_000_000;

/// The profile, when nothing is wrong with it.
pub(in crate::scenario) fn resolve(file: &ProfileFile, errors: &mut Errors) -> Option<Loaded> {
    let before = errors.count();
    let header = file.profile.0.as_ref().map(|at| &at.value);
    if let Some(at) = &file.profile.0 {
        whole_file(file, &Place { path: "".into(), ..at.place.clone() }, errors);
        check_header(&at.value, errors);
    }
    let binary = header.is_some_and(|header| header.binary_units.value);
    let rows: Vec<Option<Row>> = file
        .rows
        .entries
        .iter()
        .map(|(id, place, row)| row.as_ref().and_then(|row| resolve_row(id, place, row, errors)))
        .collect();
    let limits: Vec<Option<LoadedLimit>> = file
        .limits
        .entries
        .iter()
        .map(|(name, place, limit)| {
            let limit = limit.as_ref()?;
            Resolver { file, name, place, binary, errors }.limit(limit)
        })
        .collect();
    if errors.count() > before {
        return None;
    }
    let header = header?;
    let overlay = |(name, _, overlay): &(String, Place, Option<_>)| {
        let overlay: &crate::scenario::profile_file::OverlayFile = overlay.as_ref()?;
        Some(Overlay { name: name.clone(), about: overlay.about.value.0.clone() })
    };
    let profile = Profile {
        id: header.id.value.as_str().to_owned(),
        title: header.title.value.0.trim().to_owned(),
        as_of: header.as_of.value.0.trim().to_owned(),
        preview: header.preview.value,
        account_word: header.account.value.0.clone(),
        contact: header.contact.value.0.clone(),
        envelope: header.envelope.value.0.clone(),
        overlays: file.overlays.entries.iter().map(overlay).collect::<Option<_>>()?,
        rows: rows.into_iter().collect::<Option<_>>()?,
    };
    let limits = limits.into_iter().collect::<Option<_>>()?;
    Some(Loaded { profile, limits, canonical: canonical(file) })
}

/// What decides results: the limits, and the envelope of refusals. Not the words around them.
fn canonical(file: &ProfileFile) -> String {
    use crate::scenario::decode::Field as _;
    let mut text = String::from("tidegate profile 1\n");
    if let Some(header) = &file.profile.0 {
        let header = &header.value;
        let _ = write!(text, "{:?},{},", header.envelope.value.0, header.binary_units.value);
    }
    file.limits.canonical(&mut text);
    text
}

fn whole_file(file: &ProfileFile, at: &Place, errors: &mut Errors) {
    if file.limits.entries.is_empty() && file.rows.entries.is_empty() {
        errors.refuse_with(
            at,
            "neither rows nor limits are declared",
            "add `[limits.NAME]`; `tidegate limits new PATH` writes an example",
        );
    }
    for (section, count) in [("rows", file.rows.entries.len()), ("limits", file.limits.entries.len())] {
        if count > ENTRIES_MOST {
            errors.refuse(at, format!("`{count}` {section} are declared, at most {ENTRIES_MOST} are"));
        }
    }
}

fn check_header(header: &HeaderFile, errors: &mut Errors) {
    let id = header.id.value.as_str();
    if !is_name(id) {
        let hint = "letters, digits, `-` and `_`, beginning with a letter or digit, at most 64";
        errors.refuse_with(&header.id.place, format!("`{id}` is not a usable name"), hint);
    }
    if impossible_date(header.as_of.value.0.trim()) {
        let message = format!("`{}` is not a day of the calendar", header.as_of.value.0.trim());
        errors.refuse_with(&header.as_of.place, message, "write it as `2026-04-27`, or `undated`");
    }
    if let Err((message, hint)) = crate::profile::answer::check_envelope(&header.envelope.value.0) {
        errors.refuse_with(&header.envelope.place, message, hint);
    }
}

/// Whether a text begins as a date does (three groups of digits with `-` between), and no calendar has that day.
fn impossible_date(text: &str) -> bool {
    let date: &str = text.split([' ', ',']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    let written = (year.len(), month.len(), day.len()) == (4, 2, 2);
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    let (year, month) = (number(year), number(month));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    !written || !(1..=days).contains(&number(day))
}

fn resolve_row(id: &str, place: &Place, row: &RowFile, errors: &mut Errors) -> Option<Row> {
    let standing = match row.standing.value {
        StandingWord::Enforced => Standing::Enforced,
        StandingWord::Modelled => Standing::Modelled,
        StandingWord::Reported => Standing::Reported,
        StandingWord::Informational => Standing::Informational,
        StandingWord::Pending => Standing::Pending,
    };
    if standing != Standing::Enforced && row.how.value.0.trim().is_empty() {
        errors.refuse_with(
            &place.key("how"),
            format!("`{}` needs a reason, and the key `how` is missing", standing.name()),
            "say in one sentence where it is honoured, or what it waits for",
        );
        return None;
    }
    Some(Row {
        id: id.to_owned(),
        kind: row.kind.value.0.clone(),
        quote: row.quote.value.0.clone(),
        document: row.document.value.0.clone(),
        value: row.value.value.0.clone(),
        granularity: row.granularity.value.0.clone(),
        change: row.change.value.0.clone(),
        tier: row.tier.value.0.clone(),
        edges: row.edges.value.0.clone(),
        standing,
        how: row.how.value.0.clone(),
        tests: row.tests.value.0.iter().map(|at| at.value.0.clone()).collect(),
    })
}

/// What a limit is resolved with.
struct Resolver<'a> {
    file: &'a ProfileFile,
    name: &'a str,
    place: &'a Place,
    binary: bool,
    errors: &'a mut Errors,
}

/// What a kind of limit makes of its own keys.
struct Parts<'a> {
    mechanism: Mechanism,
    per: Vec<Key>,
    refusal: Option<&'a At<RefusalFile>>,
    required: bool,
    raisable: bool,
    max_log: u64,
    burst: Option<u64>,
}

impl<'a> Parts<'a> {
    fn new(mechanism: Mechanism) -> Self {
        Parts {
            mechanism,
            per: Vec::new(),
            refusal: None,
            required: false,
            raisable: false,
            max_log: u64::MAX,
            burst: None,
        }
    }

    fn answering(self, refusal: &'a Option<At<RefusalFile>>) -> Self {
        Parts { refusal: refusal.as_ref(), ..self }
    }

    fn raisable(self, raisable: &At<bool>) -> Self {
        Parts { raisable: raisable.value, ..self }
    }

    fn required(self, required: bool) -> Self {
        Parts { required, ..self }
    }
}

impl Resolver<'_> {
    fn limit(&mut self, limit: &LimitFile) -> Option<LoadedLimit> {
        let before = self.errors.count();
        let (common, parts) = match limit {
            LimitFile::Rate(file) => (file.common(), self.rate(file)),
            LimitFile::Concurrency(file) => {
                let most = file.most.value;
                let parts = Parts::new(Mechanism::Concurrency { limit: most.limit() })
                    .answering(&file.refusal)
                    .raisable(&file.raisable)
                    .required(most == crate::scenario::profile_leaf::Most::Required);
                (file.common(), self.counted_by(parts, &file.per))
            }
            LimitFile::Permits(file) => {
                let permits = Mechanism::Permits { queue_permille: file.queue.value.0 };
                (file.common(), Some(Parts::new(permits).answering(&file.refusal)))
            }
            LimitFile::Quota(file) => (file.common(), self.quota(file)),
            LimitFile::Size(file) => (file.common(), self.size(file)),
            LimitFile::Deadline(file) => {
                let deadline = Mechanism::Deadline { at_most: file.at_most.value.0 };
                let parts = Parts::new(deadline).answering(&file.refusal).raisable(&file.raisable);
                (file.common(), Some(parts))
            }
            LimitFile::Overhead(file) => {
                let overhead = Mechanism::Overhead { below: file.below.value.0 };
                (file.common(), Some(Parts::new(overhead).raisable(&file.raisable)))
            }
            LimitFile::Gate(file) => {
                let require = &file.require.value;
                let gate =
                    Mechanism::Gate { require: Some(require.condition.clone()), action: file.action.value };
                let parts = Parts::new(gate).answering(&file.refusal).raisable(&file.raisable);
                (file.common(), Some(parts.required(require.required)))
            }
            LimitFile::Ban(file) => {
                let ban = Mechanism::Gate { require: None, action: file.action.value };
                (file.common(), Some(Parts::new(ban).answering(&file.refusal)))
            }
        };
        self.name();
        let row = self.row(&common);
        let overlay = common.overlay.as_ref().and_then(|name| self.overlay(name));
        let lifted_by = common.lifted_by.as_ref().and_then(|name| self.overlay(name));
        if let (Some(at), Some(name)) = (&common.lifted_by, &overlay)
            && lifted_by.as_ref() == Some(name)
        {
            self.errors.refuse_with(
                &at.place,
                format!("the overlay `{name}` puts it in force and lifts it: it would always be off"),
                "keep `overlay` or `lifted_by`",
            );
        }
        let parts = parts?;
        self.stage(&common, &parts.mechanism);
        let on = self.verbs(&common, &parts.mechanism);
        let answer = self.answer(&parts);
        if self.errors.count() > before {
            return None;
        }
        let stage = common.stage.as_ref().map(|at| at.value);
        let limit = Limit {
            name: self.name.to_owned(),
            row: row?,
            stage: stage.unwrap_or_else(|| default_stage(&parts.mechanism, &parts.per)),
            on,
            when: common.when.as_ref().map(|at| at.value.0.clone()).unwrap_or_default(),
            mechanism: parts.mechanism,
            per: parts.per.iter().map(|key| (*key, 0)).collect(),
            keys: 1,
            meter: None,
            answer: answer?,
            provenance: common.provenance,
            source: Source::Profile,
            advice: common.advice.as_ref().map(|at| at.value.0.clone()),
        };
        let mut loaded = LoadedLimit {
            limit,
            overlay,
            lifted_by,
            required: parts.required,
            raisable: parts.raisable,
            max_log: parts.max_log,
            switched: false,
            burst: parts.burst,
        };
        loaded.settle();
        Some(loaded)
    }

    fn rate<'f>(&mut self, file: &'f RateFile) -> Option<Parts<'f>> {
        let value = file.value.value;
        let unit = file.of.value;
        let algorithm = match file.algorithm.value {
            AlgorithmWord::SlidingLog => Algorithm::SlidingLog,
            AlgorithmWord::TokenBucket => Algorithm::TokenBucket,
            AlgorithmWord::FixedWindow => Algorithm::FixedWindow,
        };
        if let Some(burst) = &file.burst
            && algorithm != Algorithm::TokenBucket
        {
            self.errors.refuse_with(
                &burst.place,
                format!("`burst` does not go with algorithm `{}`", algorithm.name()),
                "write `algorithm = \"token-bucket\"`, or leave it out",
            );
        }
        if let Some(at) = &file.max_log
            && algorithm != Algorithm::SlidingLog
        {
            self.errors.refuse_with(
                &at.place,
                format!("`max_log` does not go with algorithm `{}`, which keeps no log", algorithm.name()),
                "leave it out, or write `algorithm = \"sliding-log\"`",
            );
        }
        let counts_output = matches!(unit, Unit::OutputTokens | Unit::Tokens);
        match &file.default_reservation {
            None if counts_output => self.errors.refuse_with(
                self.place,
                "the key `default_reservation` is missing: output tokens are counted",
                "give the output tokens to reserve for a request that declares no `max_tokens`",
            ),
            Some(at) if !counts_output => self.errors.refuse(
                &at.place,
                format!(
                    "`default_reservation` does not go with of `{}`, which reserves nothing",
                    unit.name()
                ),
            ),
            _ => {}
        }
        let limit = value.count;
        let parts = Parts::new(Mechanism::Rate {
            limit,
            most: limit.unwrap_or(0),
            window: value.window,
            algorithm,
            burst: 0,
            unit,
            default_reservation: file.default_reservation.as_ref().map_or(0, |at| at.value.0),
            counts_refused: file.counts_refused.value,
        });
        let parts = Parts {
            max_log: file.max_log.as_ref().map_or(MAX_LOG, |at| at.value.0),
            burst: file.burst.as_ref().map(|at| at.value.0),
            ..parts.answering(&file.refusal).raisable(&file.raisable).required(value.required)
        };
        self.counted_by(parts, &file.per)
    }

    fn quota<'f>(&mut self, file: &'f QuotaFile) -> Option<Parts<'f>> {
        let most = file.most.value;
        let parts = Parts::new(Mechanism::Quota { counted: file.of.value, limit: most.limit() })
            .answering(&file.refusal)
            .raisable(&file.raisable)
            .required(most == crate::scenario::profile_leaf::Most::Required);
        let mut parts = self.counted_by(parts, &file.per)?;
        parts.per.sort_unstable();
        let (fits, message): (&[Key], _) = match file.of.value {
            Counted::EnqueuedTokens => {
                (&[Key::Account, Key::Model], "enqueued tokens are counted by `account` and `model` together")
            }
            Counted::Endpoints | Counted::ProvisionedConcurrency => {
                (&[Key::Account], "a quota is counted by `account`, and by nothing else")
            }
        };
        if parts.per != fits {
            self.errors.refuse(&file.per.place, message);
            return None;
        }
        Some(parts)
    }

    fn counted_by<'f>(&mut self, parts: Parts<'f>, per: &At<Vec<At<Key>>>) -> Option<Parts<'f>> {
        let keys: Vec<Key> = per.value.iter().map(|at| at.value).collect();
        self.no_twin(&per.value, |key| key.name())?;
        Some(Parts { per: keys, ..parts })
    }

    /// Refuses a list that names something twice.
    fn no_twin<T: PartialEq>(&mut self, list: &[At<T>], name: impl Fn(&T) -> &'static str) -> Option<()> {
        let twin = (1..list.len()).find(|&at| list[..at].iter().any(|other| other.value == list[at].value));
        let Some(at) = twin else { return Some(()) };
        self.errors.refuse(&list[at].place, format!("`{}` is named twice", name(&list[at].value)));
        None
    }

    fn size<'f>(&mut self, file: &'f SizeFile) -> Option<Parts<'f>> {
        let attr = file.of.value.0;
        let keys = [&file.at_least, &file.at_most, &file.below, &file.multiple_of];
        if keys.iter().all(|key| key.is_none()) {
            let hint = "give at least one of `at_least`, `at_most`, `below`, `multiple_of`";
            self.errors.refuse_with(self.place, "a size without a bound bounds nothing", hint);
            return None;
        }
        let [at_least, at_most, below, multiple_of] = keys.map(|key| {
            let Some(at) = key else { return Some(None) };
            at.value.of(attr, self.binary, self.errors).map(Some)
        });
        let range =
            Range { at_least: at_least?, at_most: at_most?, below: below?, multiple_of: multiple_of? };
        if let (Some(_), Some(at)) = (&file.at_most, &file.below) {
            let hint = "`at_most` includes its value, `below` does not; keep one";
            self.errors.refuse_with(&at.place, "`below` and `at_most` bound the same side", hint);
            return None;
        }
        let refused = |key: &Option<At<_>>, message: String, errors: &mut Errors| {
            errors.refuse(key.as_ref().map_or(self.place, |at: &At<_>| &at.place), message);
        };
        if matches!(attr, Attr::BatchRequests | Attr::BatchBytes)
            && let Some(at) = file.at_least.as_ref().or(file.multiple_of.as_ref())
        {
            self.errors.refuse_with(
                &at.place,
                format!("`{}` has no bound but an upper one", attr.name()),
                "keep `at_most` or `below`",
            );
            return None;
        }
        if range.multiple_of == Some(0) {
            refused(&file.multiple_of, "`0` is not above 0".into(), self.errors);
            return None;
        }
        let least = range.at_least.unwrap_or(0);
        let step = range.multiple_of.unwrap_or(1);
        // The smallest value that the lower bound and the step allow must be below the upper bound.
        if !range.admits(least.next_multiple_of(step)) {
            let (key, bound) = if file.at_most.is_some() {
                (&file.at_most, range.at_most)
            } else {
                (&file.below, range.below)
            };
            refused(key, format!("`{}` admits nothing at all", bound.unwrap_or(0)), self.errors);
            return None;
        }
        let parts = Parts::new(Mechanism::Size { attr, range });
        Some(parts.answering(&file.refusal).raisable(&file.raisable))
    }

    /// A limit's name is the reason of its refusals, beside those that need no limit.
    fn name(&mut self) {
        if crate::request::BUILT_IN.contains(&self.name) {
            let message = format!("`{}` is the reason of refusals that need no limit", self.name);
            self.errors.refuse_with(self.place, message, "give the limit another name");
        }
    }

    fn row(&mut self, common: &Common<'_>) -> Option<String> {
        let (row, place) = match common.row {
            Some(at) => (at.value.as_str(), &at.place),
            None => (self.name, self.place),
        };
        if !self.file.rows.entries.is_empty() && !self.file.rows.names().any(|id| id == row) {
            let hint = did_you_mean(row, self.file.rows.names())
                .unwrap_or_else(|| format!("declare `[rows.{row}]`, or name the row with `row = \"..\"`"));
            self.errors.refuse_with(place, format!("no row is named `{row}`"), hint);
            return None;
        }
        Some(row.to_owned())
    }

    fn overlay(&mut self, name: &At<Name>) -> Option<String> {
        let overlays: &Named<_> = &self.file.overlays;
        overlays.find(name, "overlay", self.errors)?;
        Some(name.value.as_str().to_owned())
    }

    /// Gates and sizes are asked before anything is counted, so a stage on the other side could not be honoured.
    fn stage(&mut self, common: &Common<'_>, mechanism: &Mechanism) {
        let Some(at) = common.stage else { return };
        if at.value == Stage::Validation {
            let on: Vec<Verb> = match common.on {
                Some(on) => on.value.iter().map(|at| at.value).collect(),
                None => default_verbs(mechanism),
            };
            if on != [Verb::SubmitBatch] {
                self.errors.refuse_with(
                    &at.place,
                    "only batch jobs are validated",
                    "write `on = [\"submit-batch\"]`, or name another stage",
                );
            }
            return;
        }
        let (fits, hint) = match mechanism {
            Mechanism::Gate { .. } | Mechanism::Size { .. } => (
                at.value <= Stage::Size,
                "what keeps no count is asked first: `auth`, `ingress`, `request` or `size`",
            ),
            Mechanism::Rate { .. }
            | Mechanism::Concurrency { .. }
            | Mechanism::Quota { .. }
            | Mechanism::Permits { .. } => (
                at.value >= Stage::Endpoint,
                "what keeps count is asked last: `endpoint`, `workspace`, `model` or `concurrency`",
            ),
            Mechanism::Deadline { .. } | Mechanism::Overhead { .. } => return,
        };
        if !fits {
            let message = format!("a `{}` cannot be asked at `{}`", mechanism.name(), at.value.name());
            self.errors.refuse_with(&at.place, message, hint);
        }
    }

    /// What the limit is asked for; each mechanism makes sense for some verbs only.
    fn verbs(&mut self, common: &Common<'_>, mechanism: &Mechanism) -> Vec<Verb> {
        let Some(on) = common.on else { return default_verbs(mechanism) };
        self.no_twin(&on.value, |verb| verb.name());
        let fits: &[Verb] = match mechanism {
            Mechanism::Size { attr: Attr::BatchRequests | Attr::BatchBytes, .. } => &[Verb::SubmitBatch],
            Mechanism::Size { .. } | Mechanism::Gate { .. } => Verb::ALL,
            // How often jobs are submitted is counted by nothing.
            Mechanism::Rate { unit: Unit::Requests, .. } => {
                let submits = Verb::ALL.iter().position(|verb| *verb == Verb::SubmitBatch);
                &Verb::ALL[..submits.unwrap_or(Verb::ALL.len())]
            }
            Mechanism::Quota { counted: Counted::EnqueuedTokens, .. } => &[Verb::SubmitBatch],
            Mechanism::Quota { .. } => &[Verb::CreateEndpoint, Verb::UpdateEndpoint, Verb::StartEndpoint],
            _ => &[Verb::Inference],
        };
        for at in &on.value {
            let verb = at.value;
            if verb.is_vendors() {
                let message = format!("`{}` is done by the vendor, whom no limit is asked for", verb.name());
                self.errors.refuse(&at.place, message);
            } else if !fits.contains(&verb) {
                let message = format!("`{}` cannot be asked for `{}`", mechanism.name(), verb.name());
                let hint = format!("it fits {}", listed(fits.iter().map(|verb| verb.name())));
                self.errors.refuse_with(&at.place, message, hint);
            }
        }
        on.value.iter().map(|at| at.value).collect()
    }

    fn answer(&mut self, parts: &Parts<'_>) -> Option<Answer> {
        let mut answer = default_answer(self.name, &parts.mechanism);
        let Some(file) = parts.refusal.map(|at| &at.value) else { return Some(answer) };
        if let Some(at) = &file.message
            && let Err((message, hint)) = crate::profile::answer::check_message(&at.value.0)
        {
            self.errors.refuse_with(&at.place, message, hint);
        }
        let heals = matches!(parts.mechanism, Mechanism::Rate { .. });
        if let Some(at) = &file.announces_retry
            && at.value
            && !heals
        {
            self.errors.refuse_with(
                &at.place,
                format!(
                    "a `{}` has nothing to announce: time alone does not heal it",
                    parts.mechanism.name()
                ),
                "only a `rate` may announce `retry-after`",
            );
        }
        if let Some(at) = &file.status {
            answer.status = at.value.small() as u16;
        }
        if let Some(at) = &file.code {
            answer.code.clone_from(&at.value.0);
        }
        if let Some(at) = &file.message {
            answer.message.clone_from(&at.value.0);
        }
        if let Some(at) = &file.announces_retry {
            answer.announces_retry = at.value;
        }
        if let Some(at) = &file.retryable {
            answer.retryable = at.value;
        }
        answer.provenance = file.provenance.value;
        Some(answer)
    }
}

fn default_verbs(mechanism: &Mechanism) -> Vec<Verb> {
    match mechanism {
        Mechanism::Size { attr: Attr::BatchRequests | Attr::BatchBytes, .. }
        | Mechanism::Quota { counted: Counted::EnqueuedTokens, .. } => vec![Verb::SubmitBatch],
        Mechanism::Quota { counted: Counted::Endpoints, .. } => vec![Verb::CreateEndpoint],
        Mechanism::Quota { counted: Counted::ProvisionedConcurrency, .. } => {
            vec![Verb::CreateEndpoint, Verb::UpdateEndpoint, Verb::StartEndpoint]
        }
        _ => vec![Verb::Inference],
    }
}

fn default_stage(mechanism: &Mechanism, per: &[Key]) -> Stage {
    match mechanism {
        Mechanism::Gate { .. } => Stage::Request,
        Mechanism::Size { attr: Attr::BatchRequests, .. }
        | Mechanism::Quota { counted: Counted::EnqueuedTokens, .. } => Stage::Validation,
        Mechanism::Size { .. } => Stage::Size,
        Mechanism::Rate { .. } if per.contains(&Key::Model) => Stage::Model,
        Mechanism::Rate { .. } if per.contains(&Key::Endpoint) => Stage::Endpoint,
        Mechanism::Rate { .. } => Stage::Workspace,
        _ => Stage::Concurrency,
    }
}

/// What is answered when the file does not say: a choice.
fn default_answer(name: &str, mechanism: &Mechanism) -> Answer {
    let (status, code, retryable) = match mechanism {
        Mechanism::Rate { .. } => (429, "RATE_LIMIT_EXCEEDED", true),
        Mechanism::Concurrency { .. } | Mechanism::Permits { .. } => (429, "TOO_MANY_REQUESTS", true),
        Mechanism::Quota { .. } => (400, "QUOTA_EXCEEDED", false),
        Mechanism::Size { .. } => (400, "INVALID_PARAMETER_VALUE", false),
        Mechanism::Deadline { .. } => (504, "DEADLINE_EXCEEDED", false),
        Mechanism::Gate { .. } | Mechanism::Overhead { .. } => (403, "NOT_ALLOWED", false),
    };
    let message = match mechanism {
        Mechanism::Gate { .. } | Mechanism::Overhead { .. } => format!("{name}: this is not allowed"),
        Mechanism::Deadline { .. } => format!("{name}: the request took too long and was cancelled"),
        _ => format!("{name}: {{current}} is beyond the limit of {{limit}}"),
    };
    Answer {
        status,
        code: code.to_owned(),
        message,
        provenance: crate::profile::Provenance::Choice,
        announces_retry: matches!(mechanism, Mechanism::Rate { .. }),
        retryable,
    }
}
