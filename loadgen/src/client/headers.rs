//! What headers say of limits: when to come back, how much is left.
//!
//! Four ways of saying when: seconds, milliseconds, a date, and a duration in words ("6m0s"); large numbers are seconds
//! since 1970. Sources: RFC 9110 section 10.2.3 (`retry-after`), OpenAI's rate-limit headers (durations), DigitalOcean's
//! (epoch seconds, and the rule of its documentation for retries).

use hyper::HeaderMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What stands before the remaining amount of a limit, in the two spellings that are seen.
const REMAINING: [&str; 2] = ["x-ratelimit-remaining", "ratelimit-remaining"];
/// What the rest of such a name is made of.
const WORDS: [&str; 12] = [
    "",
    "requests",
    "tokens",
    "input",
    "output",
    "per",
    "second",
    "minute",
    "hour",
    "day",
    "month",
    "concurrent",
];
/// From here a number of seconds is one since 1970.
const EPOCH_FROM: f64 = 1e9;
/// Nothing announced is longer.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// How much a header says is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The header's name.
    pub header: String,
    /// What is left.
    pub left: u64,
    /// The limit stated beside it.
    pub limit: Option<u64>,
}

/// When a caller who was turned away is told to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// After this long: `retry-after` in any form.
    Wait(Duration),
    /// A window that has nothing left opens after this long: from reset headers, which say less than `retry-after`.
    Reset(Duration),
    /// The same, out of a header that names the instant. Everybody who was turned away is told the same one, so it is to
    /// be spread (DigitalOcean: by 250 to 500 ms).
    ResetAt(Duration),
}

impl Announced {
    /// How long.
    pub fn wait(self) -> Duration {
        match self {
            Announced::Wait(wait) | Announced::Reset(wait) | Announced::ResetAt(wait) => wait,
        }
    }
}

/// When `headers` say to come back; `now` is the wall clock, for dates.
///
/// `retry-after-ms`, `retry-after`, or that of an upstream provider (`llm_provider-retry-after`), the first that can be
/// read. Else the reset headers: of limits with nothing left the latest (all must be open), else the earliest that is not
/// zero (DigitalOcean: the soonest; zero says nothing after a refusal), at least a second where resets are instants.
pub fn announced(headers: &HeaderMap, now: SystemTime) -> Option<Announced> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    for prefix in ["", "llm_provider-"] {
        let ms = text(&format!("{prefix}retry-after-ms")).and_then(|text| text.parse::<f64>().ok());
        if let Some(wait) = ms.and_then(|ms| seconds(ms / 1e3)) {
            return Some(Announced::Wait(wait));
        }
        if let Some(wait) = text(&format!("{prefix}retry-after")).and_then(|text| moment(text, now)) {
            return Some(Announced::Wait(wait.0));
        }
    }
    let (mut closed, mut any, mut instants) = (None::<Duration>, None::<Duration>, false);
    for (name, value) in headers {
        let Some((before, after)) = name.as_str().split_once("ratelimit-reset") else { continue };
        let Some((wait, instant)) = value.to_str().ok().and_then(|text| moment(text.trim(), now)) else {
            continue;
        };
        if wait.is_zero() && !instant {
            continue;
        }
        instants |= instant;
        let wait = if instant { wait.max(Duration::from_secs(1)) } else { wait };
        let left = text(&format!("{before}ratelimit-remaining{after}"));
        if left == Some("0") {
            closed = Some(closed.map_or(wait, |most| most.max(wait)));
        }
        any = Some(any.map_or(wait, |least| least.min(wait)));
    }
    closed.or(any).map(if instants { Announced::ResetAt } else { Announced::Reset })
}

/// What `headers` say is left of each limit.
pub fn remaining(headers: &HeaderMap) -> Vec<Remaining> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let Some(rest) = REMAINING.iter().find_map(|prefix| name.as_str().strip_prefix(prefix)) else {
            continue;
        };
        // Names go into results: nothing that a server makes up does.
        if !rest.split('-').all(|word| WORDS.contains(&word)) {
            continue;
        }
        let Some(left) = value.to_str().ok().and_then(|text| text.trim().parse().ok()) else { continue };
        let prefix = name.as_str().trim_end_matches(rest).trim_end_matches("remaining");
        let limit = headers.get(format!("{prefix}limit{rest}"));
        let limit = limit.and_then(|limit| limit.to_str().ok()).and_then(|text| text.trim().parse().ok());
        found.push(Remaining { header: name.as_str().to_owned(), left, limit });
    }
    found
}

/// A moment in any of the forms, from `now`; whether it was given as an instant.
fn moment(text: &str, now: SystemTime) -> Option<(Duration, bool)> {
    if let Ok(number) = text.parse::<f64>() {
        if number < EPOCH_FROM {
            return seconds(number).map(|wait| (wait, false));
        }
        // Milliseconds since 1970 are seen, too.
        let number = if number >= 1e12 { number / 1e3 } else { number };
        let at = UNIX_EPOCH + Duration::try_from_secs_f64(number).ok()?;
        return Some((at.duration_since(now).unwrap_or_default().min(LONGEST), true));
    }
    if let Some(wait) = duration(text) {
        return Some((wait, false));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some((at.duration_since(now).unwrap_or_default().min(LONGEST), true))
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().map(|wait| wait.min(LONGEST))
}

/// `6m0s`, `1.5s`, `20ms`, `1h2m`: numbers with units, largest first.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut whole = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let letters = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let scale = match &unit[..letters] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        whole += number * scale;
        rest = &unit[letters..];
    }
    if text.is_empty() { None } else { seconds(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn wait(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        announced(&map(pairs), now()).map(Announced::wait)
    }

    #[test]
    fn retry_after_is_read_in_all_four_forms() {
        assert_eq!(wait(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after-ms", "1500")]), Some(Duration::from_millis(1_500)));
        assert_eq!(wait(&[("retry-after", "Tue, 14 Nov 2023 22:13:25 GMT")]), Some(Duration::from_secs(5)));
        assert_eq!(wait(&[("retry-after", "Tue, 14 Nov 2023 22:13:15 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "1700000007")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "1m30s")]), Some(Duration::from_secs(90)));
    }

    #[test]
    fn milliseconds_win_over_seconds_and_the_gateways_own_over_its_providers() {
        assert_eq!(
            wait(&[("retry-after", "2"), ("retry-after-ms", "1200")]),
            Some(Duration::from_millis(1_200))
        );
        assert_eq!(wait(&[("llm_provider-retry-after", "9")]), Some(Duration::from_secs(9)));
        let both = [("llm_provider-retry-after", "9"), ("retry-after", "4")];
        assert_eq!(wait(&both), Some(Duration::from_secs(4)));
    }

    #[test]
    fn of_durations_that_of_the_limit_with_nothing_left_counts() {
        let openai = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-tokens", "12"),
            ("x-ratelimit-reset-tokens", "20ms"),
        ];
        assert_eq!(announced(&map(&openai), now()), Some(Announced::Reset(Duration::from_secs(360))));
    }

    #[test]
    fn of_instants_the_soonest_that_is_not_zero_counts_and_is_at_least_a_second() {
        let pairs = [
            ("x-ratelimit-reset-requests", "0"),
            ("x-ratelimit-reset-tokens-per-minute", "1700000004"),
            ("x-ratelimit-reset-tokens-per-day", "1700050000"),
        ];
        assert_eq!(wait(&pairs), Some(Duration::from_secs(4)));
        assert_eq!(wait(&[("x-ratelimit-reset-requests", "1699999999")]), Some(Duration::from_secs(1)));
        assert_eq!(wait(&[("x-ratelimit-reset-requests", "0")]), None);
    }

    #[test]
    fn nonsense_announces_nothing() {
        for text in ["", "soon", "-3", "NaN", "inf", "1x", "m", "1e400"] {
            assert_eq!(wait(&[("retry-after", text)]), None, "{text}");
        }
        assert_eq!(wait(&[("retry-after", "999999999")]), Some(LONGEST));
    }

    #[test]
    fn what_is_left_comes_with_its_limit() {
        let headers = map(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-remaining-tokens", "unknown"),
            ("x-ratelimit-remaining-sk-canary", "3"),
            ("ratelimit-remaining", "7"),
            ("ratelimit-limit", "250"),
        ]);
        let found = remaining(&headers);
        let all: Vec<_> = found.iter().map(|r| (r.header.as_str(), r.left, r.limit)).collect();
        assert_eq!(
            all,
            [("x-ratelimit-remaining-requests", 59, Some(60)), ("ratelimit-remaining", 7, Some(250))]
        );
    }
}
