//! What is said of a run against a live gateway beside what is said of every run.

use serde::{Deserialize, Serialize};

/// How a live run went: whether it is to be believed, and what only a wire has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveSummary {
    /// Where requests were sent: scheme, host and port.
    pub target: String,
    /// Whether the run is to be believed.
    pub validity: Validity,
    /// Why it is not, or only in part; empty when it is.
    pub reasons: Vec<String>,
    /// What became of the planned requests, warm-up included.
    pub counts: LiveCounts,
    /// When requests were sent, after they were due.
    pub lag: Lag,
    /// What the generator used.
    pub generator: Generator,
    /// By workload, in the scenario's order.
    pub workloads: Vec<LiveWorkload>,
    /// What was compared with remaining-headers of the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderCheck>,
}

/// Whether a live run is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// Every bound is kept.
    Valid,
    /// A bound is broken by less than its double: figures are to be read with care.
    Degraded,
    /// The offered load was not what the scenario says: no verdict is given.
    Invalid,
}

impl Validity {
    /// The word used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Validity::Valid => "VALID",
            Validity::Degraded => "DEGRADED",
            Validity::Invalid => "INVALID",
        }
    }
}

/// What became of requests: `scheduled` is the sum of the others. Logical requests, whatever attempts they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCounts {
    /// Requests that the schedule has.
    pub scheduled: u64,
    /// Answered whole.
    pub succeeded: u64,
    /// Turned away: status 429, and what else says that the gateway would not.
    pub refused: u64,
    /// Anything else that went wrong: statuses, connections, streams, timeouts of the client.
    pub failed: u64,
    /// Still on the way when the run was stopped, or given up by a stop.
    pub cancelled: u64,
    /// Never sent: the run was stopped, or a cap was hit.
    pub unsent: u64,
}

impl LiveCounts {
    /// Whether the parts sum to `scheduled`.
    pub fn is_conserved(&self) -> bool {
        self.succeeded + self.refused + self.failed + self.cancelled + self.unsent == self.scheduled
    }
}

/// When requests of an open loop were sent, after they were due: nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Median.
    pub p50_ns: u64,
    /// 99 of 100 are below.
    pub p99_ns: u64,
    /// 999 of 1,000 are below.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Share of requests that were on time.
    pub on_time: f64,
    /// Requests measured.
    pub samples: u64,
}

/// What the generator used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Most requests in flight at once.
    pub in_flight_peak: u64,
    /// Most connections open at once.
    pub sockets_peak: u64,
    /// Cores that the process used, in the mean.
    pub cpu_cores: f64,
    /// Most resident memory, bytes.
    pub memory_peak_bytes: u64,
    /// Time from the first due request to the end, nanoseconds.
    pub elapsed_ns: u64,
}

/// What only a wire has, of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveWorkload {
    /// The workload.
    pub workload: String,
    /// What became of its requests.
    pub counts: LiveCounts,
    /// Attempts that were sent.
    pub attempts: u64,
    /// Attempts by status; 0 for those without one.
    pub statuses: Vec<(u16, u64)>,
    /// Failures by kind, such as `reset` or `error in a stream`.
    pub failures: Vec<(String, u64)>,
    /// Prompt tokens, by the server where it says so, else as planned.
    pub prompt_tokens: u64,
    /// Output tokens that the schedule asked for, of answered requests.
    pub planned_output_tokens: u64,
    /// Output tokens that came, of answered requests.
    pub output_tokens: u64,
    /// Output tokens of attempts that nobody had a use for.
    pub wasted_tokens: u64,
    /// Whether lengths of outputs could be forced: by an index that the server knows, or by its reported counts being equal.
    pub lengths_forced: bool,
}

/// What a header says is left, against what was counted here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeaderCheck {
    /// The header, such as `x-ratelimit-remaining-requests`.
    pub header: String,
    /// Answers that had it.
    pub seen: u64,
    /// The lowest value.
    pub lowest: u64,
    /// Limit that the gateway states beside it, when it does.
    pub limit: Option<u64>,
    /// Largest difference between consecutive values and what was sent between them; `None` when nothing can be said.
    pub drift: Option<u64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A degraded run of 20,000 requests of one workload.
    pub(crate) fn sample() -> LiveSummary {
        let counts = LiveCounts {
            scheduled: 20_000,
            succeeded: 19_000,
            refused: 700,
            failed: 200,
            cancelled: 60,
            unsent: 40,
        };
        LiveSummary {
            target: "http://127.0.0.1:8080".to_owned(),
            validity: Validity::Degraded,
            reasons: vec!["lag p99 1.4 ms is above 1 ms".to_owned()],
            counts,
            lag: Lag {
                p50_ns: 44_000,
                p99_ns: 1_400_000,
                p999_ns: 2_300_000,
                max_ns: 7_000_000,
                on_time: 0.9995,
                samples: 19_960,
            },
            generator: Generator {
                in_flight_peak: 312,
                sockets_peak: 320,
                cpu_cores: 0.42,
                memory_peak_bytes: 41 << 20,
                elapsed_ns: 605_000_000_000,
            },
            workloads: vec![LiveWorkload {
                workload: "chat".to_owned(),
                counts,
                attempts: 20_900,
                statuses: vec![(0, 180), (200, 19_050), (429, 1_650), (500, 20)],
                failures: vec![("reset".to_owned(), 150), ("error in a <stream>".to_owned(), 50)],
                prompt_tokens: 18_000_000,
                planned_output_tokens: 4_000_000,
                output_tokens: 3_999_000,
                wasted_tokens: 12_000,
                lengths_forced: true,
            }],
            headers: vec![HeaderCheck {
                header: "x-ratelimit-remaining-requests".to_owned(),
                seen: 20_700,
                lowest: 0,
                limit: Some(1_000),
                drift: Some(2),
            }],
        }
    }

    #[test]
    fn counts_are_conserved_or_not() {
        let mut counts = sample().counts;
        assert!(counts.is_conserved());
        counts.unsent += 1;
        assert!(!counts.is_conserved());
    }

    #[test]
    fn a_live_summary_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert!(text.contains(r#""validity":"degraded""#), "{text}");
        assert_eq!(serde_json::from_str::<LiveSummary>(&text).unwrap(), sample());
    }
}
