//! What steps were like, as a client reckons it from when its tokens came.
//!
//! While a request decodes, each of its gaps is a step. Over all of them the client knows the mean number of requests that
//! were between their first and last token, the tokens that these had in their caches (prompt and what had come by then,
//! taken as evenly spaced), and the prompts whose first token came meanwhile. That is the mean shape of those steps, as
//! long as one replica serves the requests and nobody else uses it; with several replicas behind the gateway the load is
//! taken as spread evenly ([`super::fit::Options::replicas`]).

use super::points::{PointRow, Producer};
use crate::request::Finished;

/// What a client saw of one request: times in nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its workload.
    pub workload: u16,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// How many of them were found in a cache; 0 when that is not known.
    pub cached_tokens: u32,
    /// Tokens that came.
    pub output_tokens: u32,
    /// When it was sent.
    pub sent_ns: u64,
    /// When the first token came, and the last; `None` without one.
    pub tokens_ns: Option<(u64, u64)>,
    /// When it was over.
    pub ended_ns: u64,
}

impl Seen {
    /// Of a request that is over.
    pub fn of(done: &Finished) -> Self {
        Seen {
            workload: done.head.workload,
            prompt_tokens: done.head.prompt_tokens,
            cached_tokens: done.cached_tokens,
            output_tokens: done.generated,
            sent_ns: done.arrived.as_nanos(),
            tokens_ns: done.first_token.zip(done.last_token).map(|(a, b)| (a.as_nanos(), b.as_nanos())),
            ended_ns: done.ended.as_nanos(),
        }
    }

    /// Gaps between its tokens.
    fn gaps(&self) -> u64 {
        u64::from(self.output_tokens).saturating_sub(1)
    }
}

/// What is summed over time at an instant.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    at_ns: u64,
    /// Requests between their first and last token, times nanoseconds.
    decodes: f64,
    /// Tokens in their caches, times nanoseconds.
    context: f64,
    /// Prompt tokens whose first token has come.
    prompts: f64,
}

/// A row for each request, by when it was sent; `seen` by pool, whose requests are on their way together. `workloads` are
/// their names. O(n log n).
pub fn rows(seen: &[Vec<Seen>], workloads: &[String]) -> Vec<PointRow> {
    let mut all: Vec<(u64, usize, PointRow)> = Vec::new();
    for requests in seen {
        let sums = sums(requests);
        let flight = in_flight(requests);
        for (place, (request, in_flight)) in requests.iter().zip(flight).enumerate() {
            all.push((request.sent_ns, place, row(request, in_flight, &sums, workloads)));
        }
    }
    all.sort_by_key(|(sent, place, _)| (*sent, *place));
    all.into_iter().map(|(.., row)| row).collect()
}

fn row(request: &Seen, in_flight: u64, sums: &[Sums], workloads: &[String]) -> PointRow {
    let mut row = PointRow {
        kind: Producer::Request,
        name: workloads[usize::from(request.workload)].clone(),
        count: 0,
        prefill_tokens: 0.0,
        decodes: 0.0,
        context_tokens: 0.0,
        step_ns: 0.0,
        prompt_tokens: Some(u64::from(request.prompt_tokens)),
        cached_tokens: Some(u64::from(request.cached_tokens)),
        output_tokens: Some(u64::from(request.output_tokens)),
        in_flight: Some(in_flight),
        ttft_ns: request.tokens_ns.map(|(first, _)| first.saturating_sub(request.sent_ns)),
        e2e_ns: Some(request.ended_ns.saturating_sub(request.sent_ns)),
    };
    let Some((first, last)) = request.tokens_ns.filter(|(first, last)| last > first) else { return row };
    let gaps = request.gaps();
    if gaps == 0 {
        return row;
    }
    let at = |ns: u64| sums[sums.partition_point(|sum| sum.at_ns <= ns) - 1];
    let (from, until) = (at(first), at(last));
    let length = (last - first) as f64;
    row.count = gaps;
    row.decodes = (until.decodes - from.decodes) / length;
    row.context_tokens = (until.context - from.context) / length;
    row.prefill_tokens = (until.prompts - from.prompts) / gaps as f64;
    row.step_ns = length / gaps as f64;
    row
}

/// The sums at every instant at which a token stream begins or ends.
fn sums(requests: &[Seen]) -> Vec<Sums> {
    // Instant, change of: requests, tokens, tokens a ns, prompt tokens.
    let mut edges: Vec<(u64, [f64; 4])> = Vec::new();
    for request in requests {
        let Some((first, last)) = request.tokens_ns else { continue };
        let prompt = f64::from(request.prompt_tokens);
        let work = f64::from(request.prompt_tokens.saturating_sub(request.cached_tokens));
        if last > first {
            // The cache holds the prompt at the first token, and all but the last token at the last.
            let rate = request.gaps() as f64 / (last - first) as f64;
            edges.push((first, [1.0, prompt, rate, work]));
            edges.push((last, [-1.0, -prompt - request.gaps() as f64, -rate, 0.0]));
        } else {
            edges.push((first, [0.0, 0.0, 0.0, work]));
        }
    }
    edges.sort_by_key(|(at, _)| *at);
    let (mut now, mut active, mut level, mut slope) = (Sums::default(), 0.0f64, 0.0f64, 0.0f64);
    let mut all: Vec<Sums> = Vec::new();
    for (at, [more, tokens, rate, prompts]) in edges {
        let passed = (at - now.at_ns) as f64;
        now.decodes += active * passed;
        now.context += (level + slope * passed / 2.0) * passed;
        level += slope * passed;
        now.at_ns = at;
        active += more;
        level += tokens;
        slope += rate;
        now.prompts += prompts;
        if active == 0.0 {
            // What rounding has left of nobody's tokens.
            (level, slope) = (0.0, 0.0);
        }
        match all.last_mut() {
            Some(last) if last.at_ns == at => *last = now,
            _ => all.push(now),
        }
    }
    all
}

/// Requests on their way when each was sent, itself included, in the order of `requests`.
fn in_flight(requests: &[Seen]) -> Vec<u64> {
    let mut ends: Vec<u64> = requests.iter().map(|request| request.ended_ns).collect();
    let mut starts: Vec<u64> = requests.iter().map(|request| request.sent_ns).collect();
    ends.sort_unstable();
    starts.sort_unstable();
    let count = |request: &Seen| {
        let begun = starts.partition_point(|at| *at <= request.sent_ns);
        let over = ends.partition_point(|at| *at <= request.sent_ns);
        (begun.saturating_sub(over) as u64).max(1)
    };
    requests.iter().map(count).collect()
}
