//! Refusals as they go over the wire: the answer of the limit in the vendor's envelope, and headers that say no more than
//! the refusal does.
//!
//! `x-ratelimit-limit`, `-remaining` and `-reset` come only with the refusal of a rate, because only then they are known
//! exactly: the limit, what is left of it, and the time until the same request would be let in (which is no later than the
//! reset of the whole window that vendors announce). OpenAI writes the reset as a duration (`6m0s`), DigitalOcean as a second
//! of the epoch, Databricks sends none of the three.

use super::errors::{Fault, Voice};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use tidegate_sim::profile::answer::respond;
use tidegate_sim::profile::{Limit, Mechanism, Unit};
use tidegate_sim::request::{
    CONFLICT, CONTEXT_LENGTH, INVALID_INPUT_FILE, NO_ENDPOINT, NO_REPLICA, QUEUE_FULL, Refusal,
};
use tidegate_sim::scenario::Policy;
use tidegate_sim::time::{NANOS_PER_SEC, Span};

/// Name of the header that says which limit it was, or which built-in reason.
pub const REASON: HeaderName = HeaderName::from_static("x-tidegate-reason");

/// How a vendor writes its rate-limit headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateHeaders {
    /// `x-ratelimit-reset-requests: 6m0s`.
    OpenAi,
    /// `x-ratelimit-reset-tokens-per-minute: 1714000000`.
    DigitalOcean,
    /// None.
    None,
}

impl RateHeaders {
    /// Those of a profile, by its id; OpenAI's without one.
    pub fn of(profile: Option<&str>) -> Self {
        match profile {
            Some(id) if id.starts_with("digitalocean") => RateHeaders::DigitalOcean,
            Some(id) if id.starts_with("databricks") => RateHeaders::None,
            _ => RateHeaders::OpenAi,
        }
    }
}

/// What answers need beside the refusal.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// Limits and their names.
    pub policy: &'a Policy,
    /// In whose form errors without a limit are written.
    pub voice: Voice<'a>,
    /// How rates are written.
    pub rates: RateHeaders,
    /// How much faster than a clock the gateway's time runs.
    pub speed: f64,
    /// Seconds of the epoch now.
    pub epoch: f64,
}

impl Manner<'_> {
    /// The answer to a refusal; `who` is whose counter it was, for messages that name it.
    pub fn answer(&self, refusal: &Refusal, who: &str) -> Response {
        let refusal = &Refusal { retry_after: refusal.retry_after.map(|wait| self.real(wait)), ..*refusal };
        let mut answer = match self.policy.limit_of(refusal.reason) {
            Some(limit) => self.of_limit(limit, refusal, who),
            None => built_in(refusal).answer(self.voice),
        };
        let name = self.policy.reason_name(refusal.reason);
        if let Ok(name) = HeaderValue::from_str(name) {
            answer.headers_mut().insert(REASON, name);
        }
        answer
    }

    /// A time of the gateway in time of clients, rounded up: whoever waits so long is let in.
    fn real(&self, wait: Span) -> Span {
        if self.speed == 1.0 {
            wait
        } else {
            Span::from_nanos((wait.as_nanos() as f64 / self.speed).ceil() as u64)
        }
    }

    fn of_limit(&self, limit: &Limit, refusal: &Refusal, who: &str) -> Response {
        let envelope =
            self.policy.profile.as_ref().map_or(OPENAI_ENVELOPE, |profile| profile.envelope.as_str());
        let found = respond(limit, refusal, envelope, who);
        let mut answer = Response::new(Body::from(found.body));
        *answer.status_mut() = StatusCode::from_u16(found.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        let headers = answer.headers_mut();
        for (name, value) in &found.headers {
            headers.insert(*name, HeaderValue::from_str(value).expect("a number, or a media type"));
        }
        for (name, value) in self.rate(limit, refusal) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name of lower-case letters");
            headers.insert(name, HeaderValue::from_str(&value).expect("a number, or a duration"));
        }
        answer
    }

    fn rate(&self, limit: &Limit, refusal: &Refusal) -> Vec<(String, String)> {
        let Mechanism::Rate { unit, window, .. } = limit.mechanism else { return Vec::new() };
        let Some(what) = counted(self.rates, unit, window) else { return Vec::new() };
        let left = refusal.limit.saturating_sub(refusal.current);
        let mut headers = vec![
            (format!("x-ratelimit-limit-{what}"), refusal.limit.to_string()),
            (format!("x-ratelimit-remaining-{what}"), left.to_string()),
        ];
        if let Some(wait) = refusal.retry_after {
            let value = match self.rates {
                RateHeaders::DigitalOcean => format!("{}", (self.epoch + wait.as_secs_f64()).ceil() as u64),
                _ => duration(wait),
            };
            headers.push((format!("x-ratelimit-reset-{what}"), value));
        }
        headers
    }
}

/// What limits of a scenario without a profile answer in.
const OPENAI_ENVELOPE: &str =
    r#"{"error":{"message":"{message}","type":"requests","param":null,"code":"{code}"}}"#;

/// The last part of the names of headers; `None` for what a vendor has no header for.
fn counted(rates: RateHeaders, unit: Unit, window: Span) -> Option<&'static str> {
    let minute = window == Span::from_secs(60);
    let day = window == Span::from_secs(86_400);
    match (rates, unit) {
        (RateHeaders::None, _) | (_, Unit::Bytes) => None,
        (_, Unit::Requests) => Some("requests"),
        (RateHeaders::OpenAi, _) => Some("tokens"),
        (RateHeaders::DigitalOcean, _) if minute => Some("tokens-per-minute"),
        (RateHeaders::DigitalOcean, _) if day => Some("tokens-per-day"),
        (RateHeaders::DigitalOcean, _) => None,
    }
}

/// A time as OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up to a millisecond.
pub fn duration(wait: Span) -> String {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    if wait.as_nanos() < NANOS_PER_SEC && millis < 1_000 {
        return format!("{millis}ms");
    }
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let tail = if rest == 0 { String::new() } else { format!(".{rest:03}").trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{tail}s"),
        (0, _) => format!("{minutes}m{seconds}{tail}s"),
        _ => format!("{hours}h{minutes}m{seconds}{tail}s"),
    }
}

/// What is said of a reason that no limit has.
pub fn built_in(refusal: &Refusal) -> Fault {
    let of = |status: StatusCode, kind, code, message: String| Fault {
        status,
        kind,
        code: Some(code),
        param: None,
        message,
    };
    match refusal.reason {
        QUEUE_FULL => of(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "queue_full",
            "The queue of the gateway is full.".to_owned(),
        ),
        CONTEXT_LENGTH => Fault {
            param: Some("messages".to_owned()),
            ..of(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "context_length_exceeded",
                match (refusal.limit, refusal.current) {
                    (0, _) => "The prompt and `max_tokens` do not fit the context of the model.".to_owned(),
                    (limit, current) => format!(
                        "This model's maximum context length is {limit} tokens. However, you requested {current} tokens."
                    ),
                },
            )
        },
        NO_ENDPOINT => of(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "endpoint_not_found",
            "The endpoint does not exist, is stopped or not ready.".to_owned(),
        ),
        CONFLICT => Fault::conflict("The endpoint is in another state."),
        NO_REPLICA => of(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            "no_replica",
            "No replica can serve the request.".to_owned(),
        ),
        INVALID_INPUT_FILE => of(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "invalid_input_file",
            "The file is not of the form that it must have.".to_owned(),
        ),
        _ => of(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "rate_limit_exceeded",
            "The request was refused.".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sim::scenario::{Overrides, load_str, policy::reason_of};

    /// A scenario under a profile, with one workload.
    fn policy(profile: &str) -> Policy {
        let text = format!(
            "[scenario]\nquestion = \"?\"\nhorizon = \"1s\"\nreplications = 1\nprofile = \"{profile}\"\n\
             [accounts.one]\n[models.m]\n[pools.p]\nengine = \"slots\"\nmodel = \"m\"\nservers = 1\nservice = \"1s\"\n\
             [tiers.t]\npools = [\"p\"]\n[workloads.w]\ntier = \"t\"\narrivals = {{ kind = \"poisson\", rate = \"1/s\" }}\n"
        );
        load_str("x", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}")).policy
    }

    fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
        answer.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (nanos, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (20_000_000, "20ms"),
            (999_000_001, "1s"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (360_000_000_000, "6m0s"),
            (3_661_250_000_000, "1h1m1.25s"),
        ] {
            assert_eq!(duration(Span::from_nanos(nanos)), text, "{nanos}");
        }
    }

    #[test]
    fn every_built_in_reason_has_its_status_and_names_itself() {
        let policy = Policy::default();
        let manner = Manner {
            policy: &policy,
            voice: Voice::OpenAi,
            rates: RateHeaders::OpenAi,
            speed: 1.0,
            epoch: 0.0,
        };
        for (reason, status, name) in [
            (QUEUE_FULL, 429, "queue-full"),
            (CONTEXT_LENGTH, 400, "context-length"),
            (NO_ENDPOINT, 404, "no-endpoint"),
            (CONFLICT, 409, "conflict"),
            (NO_REPLICA, 503, "no-replica"),
            (INVALID_INPUT_FILE, 400, "invalid-input-file"),
        ] {
            let found = manner.answer(&Refusal::plain(reason), "chat-0");
            assert_eq!((found.status().as_u16(), header(&found, "x-tidegate-reason")), (status, Some(name)));
        }
    }

    #[test]
    fn a_rate_says_limit_what_is_left_and_when_in_the_vendors_format() {
        let policy = policy("digitalocean-inference");
        let at = policy
            .limits
            .iter()
            .position(|limit| matches!(limit.mechanism, Mechanism::Rate { unit: Unit::Requests, .. }));
        let Some(at) = at else { return };
        let wait = Some(Span::from_nanos(1_500_000_001));
        let refusal = Refusal { limit: 60, current: 60, retry_after: wait, ..Refusal::plain(reason_of(at)) };
        let answer = |rates, speed| {
            let envelope = &policy.profile.as_ref().unwrap().envelope;
            let manner = Manner { policy: &policy, voice: Voice::Vendor(envelope), rates, speed, epoch: 1e9 };
            manner.answer(&refusal, "w-0")
        };
        let found = answer(RateHeaders::DigitalOcean, 1.0);
        assert_eq!(header(&found, "x-ratelimit-limit-requests"), Some("60"));
        assert_eq!(header(&found, "x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(header(&found, "x-ratelimit-reset-requests"), Some("1000000002"));
        assert_eq!(header(&found, "x-tidegate-reason"), Some(policy.limits[at].name.as_str()));
        let found = answer(RateHeaders::OpenAi, 1.0);
        assert_eq!(header(&found, "x-ratelimit-reset-requests"), Some("1.501s"));
        let found = answer(RateHeaders::OpenAi, 10.0);
        assert_eq!(header(&found, "x-ratelimit-reset-requests"), Some("151ms"), "a tenth of the time");
        let found = answer(RateHeaders::None, 1.0);
        assert_eq!(header(&found, "x-ratelimit-limit-requests"), None);
    }
}
