//! Limits in force: those of the profile, with the overlays and the changes that the scenario names.

use super::Context;
use crate::limits::Algorithm;
use crate::profile::attr::Scale;
use crate::profile::{Action, Key, Limit, Mechanism, Provenance, Range, Source};
use crate::scenario::decode::{At, Decode, did_you_mean};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::document::Node;
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::{Bytes, Count, Lasting, Text};
use crate::scenario::overrides::listed;
use crate::scenario::per_window::per_window;
use crate::scenario::policy_file::{ActionWord, AlgorithmWord, LimitFile, MOST, Quantum, SourceWord};
use crate::scenario::profile::{Loaded, LoadedLimit};

/// Most counters a limit may keep: with more, one of a few bytes each would be a gigabyte.
const KEYS_MOST: u64 = 1 << 24;

/// A limit in force.
pub(super) struct InForce {
    pub loaded: LoadedLimit,
    /// Whether the vendor does not publish its value and the scenario has not given one.
    pub missing: bool,
    /// Whether it is a rate that customers set, of which the profile has none.
    pub customers: bool,
}

impl InForce {
    pub(super) fn limit(&self) -> &Limit {
        &self.loaded.limit
    }
}

/// Every limit in force, in the order in which they are asked.
pub(super) fn all(file: &ScenarioFile, loaded: Option<&Loaded>, cx: &mut Context<'_>) -> Vec<InForce> {
    let Some(loaded) = loaded else {
        without_profile(file, cx.errors);
        return Vec::new();
    };
    let overlays = overlays(file, loaded, cx.errors);
    let on = |limit: &LoadedLimit| limit.is_on(&overlays);
    for (name, place, _) in &file.limits.entries {
        known(name, place, loaded, &overlays, cx.errors);
    }
    let mut all: Vec<InForce> = Vec::new();
    for entry in loaded.limits.iter().filter(|limit| on(limit)) {
        let change = file.limits.entries.iter().find(|(name, ..)| *name == entry.limit.name);
        let mut loaded = entry.clone();
        let mut given = false;
        if let Some((_, place, Some(change))) = change {
            given = self::change(&mut loaded, change, place, cx);
            if !change.enabled.value {
                continue;
            }
        }
        let none = matches!(entry.limit.mechanism, Mechanism::Rate { limit: None, .. });
        all.push(InForce { loaded, missing: entry.required && !given, customers: none && !entry.required });
    }
    all.sort_by_key(|entry| entry.limit().stage);
    all
}

/// Without a profile there is nothing to switch on or to change.
fn without_profile(file: &ScenarioFile, errors: &mut Errors) {
    let Some(run) = &file.scenario.0 else { return };
    // A profile that cannot be read was reported.
    if run.value.profile.is_some() {
        return;
    }
    let hint = "name one with `profile` in `[scenario]`";
    for overlay in &run.value.overlays.value.0 {
        let message = format!("no profile is named that could have the overlay `{}`", overlay.value.as_str());
        errors.refuse_with(&overlay.place, message, hint);
    }
    for (name, place, _) in &file.limits.entries {
        errors.refuse_with(place, format!("no profile is named that could have the limit `{name}`"), hint);
    }
}

fn overlays(file: &ScenarioFile, loaded: &Loaded, errors: &mut Errors) -> Vec<String> {
    let Some(run) = &file.scenario.0 else { return Vec::new() };
    let mut on: Vec<String> = Vec::new();
    for overlay in &run.value.overlays.value.0 {
        let name = overlay.value.as_str();
        let names = || loaded.profile.overlays.iter().map(|overlay| overlay.name.as_str());
        if !names().any(|known| known == name) {
            let hint = did_you_mean(name, names()).unwrap_or_else(|| format!("it has {}", listed(names())));
            let message = format!("the profile `{}` has no overlay `{name}`", loaded.profile.id);
            errors.refuse_with(&overlay.place, message, hint);
        } else if on.iter().any(|other| other == name) {
            errors.refuse(&overlay.place, format!("the overlay `{name}` is named twice"));
        }
        on.push(name.to_owned());
    }
    on
}

/// Reports a change of a limit that is not there, or not on.
fn known(name: &str, place: &Place, loaded: &Loaded, overlays: &[String], errors: &mut Errors) {
    let id = &loaded.profile.id;
    let on = |limit: &LoadedLimit| limit.is_on(overlays);
    match loaded.limits.iter().find(|limit| limit.limit.name == name) {
        None => {
            let names = loaded.limits.iter().map(|limit| limit.limit.name.as_str());
            let hint = did_you_mean(name, names)
                .unwrap_or_else(|| format!("`tidegate limits list --profile {id}` has all"));
            errors.refuse_with(place, format!("the profile `{id}` has no limit `{name}`"), hint);
        }
        Some(limit) if !on(limit) && limit.lifted_by.as_ref().is_some_and(|name| overlays.contains(name)) => {
            let overlay = limit.lifted_by.as_deref().unwrap_or_default();
            errors.refuse_with(
                place,
                format!("the limit `{name}` is off: the overlay `{overlay}` lifts it"),
                "leave the change out, or the overlay",
            );
        }
        Some(limit) if !on(limit) => {
            let overlay = limit.overlay.as_deref().unwrap_or_default();
            errors.refuse_with(
                place,
                format!("the limit `{name}` is off: it belongs to the overlay `{overlay}`"),
                format!("add `overlays = [\"{overlay}\"]` to `[scenario]`"),
            );
        }
        Some(_) => {}
    }
}

/// Applies a change; whether it gave a value.
fn change(loaded: &mut LoadedLimit, file: &LimitFile, place: &Place, cx: &mut Context<'_>) -> bool {
    let before = cx.errors.count();
    let was = loaded.limit.clone();
    let (required, raisable) = (loaded.required, loaded.raisable);
    if (file.value.is_some() || file.algorithm.is_some())
        && std::mem::take(&mut loaded.switched)
        && let Mechanism::Rate { algorithm, .. } = &mut loaded.limit.mechanism
    {
        // Whether the log is too long is asked again of the new value.
        *algorithm = Algorithm::SlidingLog;
    }
    let limit = &mut loaded.limit;
    refuse_other_keys(limit, file, place, cx.errors);
    if !file.enabled.value {
        if limit.provenance == Provenance::Choice {
            cx.notes.push(format!("limit `{}` ({}) is switched off", limit.name, limit.value_text()));
        } else {
            cx.errors.refuse_with(
                &file.enabled.place,
                format!("`{}` is stated by a document, so it cannot be switched off", limit.name),
                "only what no document states (provenance `choice`) can be; name another profile, or none",
            );
        }
        return true;
    }
    let value = set_value(limit, file, cx.errors);
    if let Some(place) = value.filter(|_| limit.mechanism != was.mechanism || required) {
        limit.source = source(&was, required, raisable, file, place, cx.errors);
        if limit.source == Source::Negotiated && cx.errors.count() == before {
            same_window(&was, limit, place, cx.errors);
        }
    } else if let (None, Some(source)) = (value, &file.source) {
        let hint = "give the value it is the source of, or leave `source` out";
        cx.errors.refuse_with(&source.place, "`source` of what? No value is given", hint);
    }
    let value_set = limit.value_text();
    switches(loaded, file, cx);
    if cx.errors.count() == before && value.is_some() && (value_set != was.value_text() || required) {
        let who = match loaded.limit.source {
            Source::Negotiated if is_lower(&was, &loaded.limit) => "negotiated: it is lower than documented",
            Source::Negotiated => "negotiated",
            Source::Account => "given by the scenario: no document states one",
            Source::Profile => "as the profile says",
        };
        let instead = if required { String::new() } else { format!(" instead of {}", was.value_text()) };
        cx.notes.push(format!("limit `{}`: {value_set}{instead}, {who}", was.name));
    }
    value.is_some()
}

/// What is negotiated is how many, not in which window: another one admits another set, whatever its mean.
fn same_window(was: &Limit, now: &Limit, place: &Place, errors: &mut Errors) {
    let (
        Mechanism::Rate { limit: Some(_), window, .. },
        Mechanism::Rate { limit: Some(limit), window: other, .. },
    ) = (&was.mechanism, &now.mechanism)
    else {
        return;
    };
    if window != other {
        errors.refuse_with(
            place,
            format!("`{}` is {} in the profile: this is another window", was.name, was.value_text()),
            format!("keep the window: `{}`", per_window(*limit, *window)),
        );
    }
}

/// Whether it lets fewer through than a document says.
fn is_lower(was: &Limit, now: &Limit) -> bool {
    let most = |limit: &Limit| match limit.mechanism {
        Mechanism::Rate { limit, .. } | Mechanism::Concurrency { limit } | Mechanism::Quota { limit, .. } => {
            limit
        }
        _ => None,
    };
    matches!((most(was), most(now)), (Some(was), Some(now)) if now < was)
        && was.provenance != Provenance::Choice
}

/// Keys that the kind of limit does not have.
fn refuse_other_keys(limit: &Limit, file: &LimitFile, place: &Place, errors: &mut Errors) {
    let takes: &[&str] = match &limit.mechanism {
        Mechanism::Rate { .. } => &["value", "algorithm", "burst", "counts_refused"],
        Mechanism::Concurrency { .. } | Mechanism::Quota { .. } => &["most"],
        Mechanism::Size { .. } => &["at_least", "at_most", "below"],
        Mechanism::Deadline { .. } => &["at_most"],
        Mechanism::Overhead { .. } => &["below"],
        Mechanism::Gate { require: Some(_), .. } => &["allow", "action"],
        Mechanism::Gate { require: None, .. } => &["action"],
        Mechanism::Permits { .. } => &["queue"],
    };
    let given = [
        ("value", file.value.is_some()),
        ("most", file.most.is_some()),
        ("at_least", file.at_least.is_some()),
        ("at_most", file.at_most.is_some()),
        ("below", file.below.is_some()),
        ("allow", file.allow.is_some()),
        ("algorithm", file.algorithm.is_some()),
        ("burst", file.burst.is_some()),
        ("counts_refused", file.counts_refused.is_some()),
        ("action", file.action.is_some()),
        ("queue", file.queue.is_some()),
    ];
    let kind = limit.mechanism.name();
    for (key, _) in given.into_iter().filter(|(key, given)| *given && !takes.contains(key)) {
        let message = format!("`{key}` does not go with `{}`, a limit of the kind `{kind}`", limit.name);
        let hint = format!("it takes {}", listed(takes.iter().copied()));
        errors.refuse_with(&place.key(key), message, hint);
    }
}

/// Puts the value the file gives; its place, when it gives one.
fn set_value<'a>(limit: &mut Limit, file: &'a LimitFile, errors: &mut Errors) -> Option<&'a Place> {
    match &mut limit.mechanism {
        Mechanism::Rate { limit, window, most, .. } => {
            let value = file.value.as_ref()?;
            (*limit, *window, *most) = (Some(value.value.count), value.value.window, value.value.count);
            Some(&value.place)
        }
        Mechanism::Concurrency { limit } | Mechanism::Quota { limit, .. } => {
            let most = file.most.as_ref()?;
            *limit = Some(most.value.0);
            Some(&most.place)
        }
        Mechanism::Size { attr, range } => set_range(range, attr.scale(), file, errors),
        Mechanism::Deadline { at_most: bound } => {
            let written = file.at_most.as_ref()?;
            *bound = time(written, errors)?;
            Some(&written.place)
        }
        Mechanism::Overhead { below: bound } => {
            let written = file.below.as_ref()?;
            *bound = time(written, errors)?;
            Some(&written.place)
        }
        Mechanism::Gate { require: Some(gate), .. } => {
            let allow = file.allow.as_ref()?;
            gate.values =
                allow.value.iter().filter_map(|text| admitted(text, gate.attr.scale(), errors)).collect();
            Some(&allow.place)
        }
        Mechanism::Gate { require: None, .. } | Mechanism::Permits { .. } => None,
    }
}

/// A value that a gate can let through.
fn admitted(text: &At<Text>, scale: Scale, errors: &mut Errors) -> Option<String> {
    let value = text.value.0.as_str();
    let allowed = match scale {
        Scale::Words => true,
        Scale::Flag => matches!(value, "yes" | "no"),
        Scale::Number | Scale::Bytes => value.parse::<u64>().is_ok(),
    };
    if !allowed {
        let expected = if scale == Scale::Flag { "`yes` or `no`" } else { "a whole number" };
        let value = crate::scenario::diagnostic::shorten(value);
        errors.refuse(&text.place, format!("`{value}` is not {expected}, which is all that can come"));
    }
    allowed.then(|| value.to_owned())
}

/// An upper bound of one kind takes the place of one of the other.
fn set_range<'a>(
    range: &mut Range,
    scale: Scale,
    file: &'a LimitFile,
    errors: &mut Errors,
) -> Option<&'a Place> {
    let mut given = None;
    if let Some(at) = &file.at_least {
        range.at_least = Some(size(at, scale, errors)?);
        given = Some(&at.place);
    }
    if let Some(at) = &file.at_most {
        (range.at_most, range.below) = (Some(size(at, scale, errors)?), None);
        given = Some(&at.place);
    }
    if let Some(at) = &file.below {
        range.below = Some(size(at, scale, errors)?);
        if file.at_most.is_none() {
            range.at_most = None;
        }
        given = Some(&at.place);
    }
    let place = given?;
    let least = range.at_least.unwrap_or(0);
    let empty =
        range.at_most.is_some_and(|most| most < least) || range.below.is_some_and(|bound| bound <= least);
    if empty {
        errors.refuse(place, format!("no size would be allowed: at least `{least}` is asked for"));
    }
    Some(place)
}

fn size(at: &At<Quantum>, scale: Scale, errors: &mut Errors) -> Option<u64> {
    let node: &Node = &at.value.0;
    match scale {
        Scale::Bytes => Bytes::<0, { 1 << 60 }>::decode(node, errors).map(|bytes| bytes.0),
        _ => Count::<0, MOST>::decode(node, errors).map(|count| count.0),
    }
}

fn time(at: &At<Quantum>, errors: &mut Errors) -> Option<crate::time::Span> {
    Lasting::decode(&at.value.0, errors).map(|time| time.0)
}

/// Who decided the new value; an error when nobody can have.
fn source(
    was: &Limit,
    required: bool,
    raisable: bool,
    file: &LimitFile,
    place: &Place,
    errors: &mut Errors,
) -> Source {
    let said = file.source.as_ref().map(|at| (at.value, &at.place));
    let name = &was.name;
    if required {
        if let Some((SourceWord::Negotiated, place)) = said {
            let message = format!("the vendor publishes no value for `{name}` that could be negotiated");
            errors.refuse_with(place, message, "write `source = \"account\"`");
        } else if said.is_none() {
            let message = format!("the value of `{name}` is not published: say where this one is from");
            errors.refuse_with(place, message, "add `source = \"account\"`");
        }
        return Source::Account;
    }
    if was.provenance == Provenance::Choice {
        // No document states the value: another one is as good.
        return if matches!(said, Some((SourceWord::Negotiated, _))) {
            Source::Negotiated
        } else {
            Source::Account
        };
    }
    let documented = was.value_text();
    if !raisable {
        errors.refuse_with(
            place,
            format!("`{name}` is documented as fixed ({documented}), it cannot be changed"),
            "only limits that the document calls raisable can be; write a profile of your own for what if",
        );
    } else if let Some((SourceWord::Account, place)) = said {
        let message =
            format!("`account` is for values that are not published; `{name}` is documented ({documented})");
        errors.refuse_with(place, message, "write `source = \"negotiated\"` if the vendor agreed to it");
    } else if said.is_none() {
        let message = format!("`{name}` is documented ({documented}); a change of it needs a source");
        errors.refuse_with(place, message, "add `source = \"negotiated\"` if the vendor agreed to it");
    }
    Source::Negotiated
}

/// What a scenario may choose without a source: no document says how the vendor counts.
fn switches(loaded: &mut LoadedLimit, file: &LimitFile, cx: &mut Context<'_>) {
    let name = loaded.limit.name.clone();
    match &mut loaded.limit.mechanism {
        Mechanism::Rate { algorithm, counts_refused, .. } => {
            if let Some(at) = &file.algorithm {
                let wanted = match at.value {
                    AlgorithmWord::SlidingLog => Algorithm::SlidingLog,
                    AlgorithmWord::TokenBucket => Algorithm::TokenBucket,
                    AlgorithmWord::FixedWindow => Algorithm::FixedWindow,
                };
                if wanted != *algorithm {
                    cx.notes.push(format!("limit `{name}` is counted by a {} [choice]", at.value.word()));
                }
                *algorithm = wanted;
            }
            if let Some(at) = &file.burst {
                if *algorithm == Algorithm::TokenBucket {
                    loaded.burst = Some(at.value.0);
                    cx.notes.push(format!("limit `{name}` has a burst of {} [choice]", at.value.0));
                } else {
                    let hint = "add `algorithm = \"token-bucket\"`, or leave `burst` out";
                    cx.errors.refuse_with(
                        &at.place,
                        "`burst` is the capacity of a token bucket, this is none",
                        hint,
                    );
                }
            }
            if let Some(at) = &file.counts_refused {
                if at.value != *counts_refused {
                    let verb = if at.value { "counts" } else { "does not count" };
                    cx.notes.push(format!("limit `{name}` {verb} what it refuses [choice]"));
                }
                *counts_refused = at.value;
            }
        }
        Mechanism::Gate { action, .. } => {
            if let Some(at) = &file.action {
                let wanted = match at.value {
                    ActionWord::Refuse => Action::Refuse,
                    ActionWord::Ignore => Action::Ignore,
                    ActionWord::Warn => Action::Warn,
                };
                if wanted != *action {
                    cx.notes.push(format!(
                        "limit `{name}`: what does not pass is met with `{}` [choice]",
                        at.value.word()
                    ));
                }
                *action = wanted;
            }
        }
        Mechanism::Permits { queue_permille } => {
            let Some(at) = &file.queue else { return };
            if loaded.limit.provenance != Provenance::Choice {
                cx.errors.refuse_with(
                    &at.place,
                    format!("the queue of `{name}` is stated by a document, so it cannot be changed"),
                    "only what no document states (provenance `choice`) can be",
                );
                return;
            }
            if at.value.0 != *queue_permille {
                *queue_permille = at.value.0;
                cx.notes.push(format!("limit `{name}`: {} [choice]", loaded.limit.value_text()));
            }
        }
        _ => {}
    }
}

/// How many there are of what limits are counted by.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub accounts: usize,
    pub endpoints: usize,
    pub models: usize,
    pub tokens: usize,
    pub users: usize,
    /// Whether the user of every caller has the number of its token, so that the two are one dimension.
    pub paired: bool,
}

/// Numbers meters and counters, and replaces logs that would be too long.
pub(super) fn number(all: &mut [InForce], sizes: Sizes, place: &Place, cx: &mut Context<'_>) {
    let mut meters = 0u16;
    for InForce { loaded, .. } in all {
        if let Some(note) = loaded.settle() {
            cx.notes.push(note);
        }
        let limit = &mut loaded.limit;
        let mut keys = 1u64;
        let mut caller = false;
        for (key, stride) in &mut limit.per {
            if matches!(key, Key::Token | Key::User) && std::mem::replace(&mut caller, true) && sizes.paired {
                *stride = 0;
                continue;
            }
            *stride = u32::try_from(keys).unwrap_or(u32::MAX);
            let size = match key {
                Key::Account => sizes.accounts,
                Key::Endpoint => sizes.endpoints,
                Key::Model => sizes.models,
                Key::Token => sizes.tokens,
                Key::User => sizes.users,
            };
            keys = keys.saturating_mul(size.max(1) as u64);
        }
        if keys > KEYS_MOST {
            let message =
                format!("limit `{}` would have `{keys}` counters, at most {KEYS_MOST} are kept", limit.name);
            cx.errors.refuse_with(place, message, "fewer tenants, or a `token` and a `user` that they share");
        }
        limit.keys = u32::try_from(keys).unwrap_or(u32::MAX);
        limit.meter = limit.mechanism.is_metered().then(|| {
            meters += 1;
            meters - 1
        });
    }
}
