//! `/metrics`: Prometheus text, with vLLM's names where it has them.
//!
//! Histograms are by workload, because that is what the engine keeps; the label `model_name` is the workload's model.

use super::gateway::{BUCKETS, Buckets, Gauges};
use super::wire::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_sim::request::Outcome;
use tidegate_sim::scenario::Scenario;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the server counts itself.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections for which there was no place.
    pub connections_refused: Counter,
    /// Connections that were given a place.
    pub connections_open: Counter,
    /// Those of them that are over.
    pub connections_closed: Counter,
    /// Requests that never reached the gateway: no key, a wrong body.
    pub faults: Counter,
    /// Answers that went wrong because the scenario wants it.
    pub troubles: Counter,
    /// Connections that were reset because the scenario wants it.
    pub resets: Counter,
}

/// The page.
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    let gauges = match app.gateway.gauges().await {
        Ok(gauges) => gauges,
        Err(stopped) => {
            return super::wire::errors::Fault::from(stopped).answer(super::wire::errors::Voice::OpenAi);
        }
    };
    let mut page = Page::default();
    of_engine(&mut page, app.gateway.scenario(), &gauges);
    of_server(&mut page, &app);
    let mut answer = Response::new(Body::from(page.text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// A page that is being written.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (at, (label, word)) in labels.iter().enumerate() {
            let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{word}\"", if at == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], found: &Buckets) {
        let bucket = format!("{name}_bucket");
        for (bound, below) in BUCKETS.iter().zip(found.below) {
            let bound = bound.to_string();
            let all: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(&bucket, &all, below);
        }
        let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.line(&bucket, &all, found.count);
        self.line(&format!("{name}_sum"), labels, found.sum_s);
        self.line(&format!("{name}_count"), labels, found.count);
    }
}

fn of_engine(page: &mut Page, scenario: &Scenario, gauges: &Gauges) {
    let pools: Vec<_> = scenario
        .pools
        .iter()
        .zip(&gauges.pools)
        .map(|(pool, sample)| {
            (
                [("model_name", scenario.models[pool.model].name.as_str()), ("pool", pool.name.as_str())],
                sample,
            )
        })
        .collect();
    page.head("vllm:num_requests_running", "gauge", "Requests in running batches.");
    pools.iter().for_each(|(labels, sample)| page.line("vllm:num_requests_running", labels, sample.running));
    page.head("vllm:num_requests_waiting", "gauge", "Requests that wait, on replicas and in the gateway.");
    for (labels, sample) in &pools {
        page.line("vllm:num_requests_waiting", labels, sample.waiting + sample.gateway_queue);
    }
    for name in ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] {
        page.head(name, "gauge", "Share of KV blocks in use, 1 for all.");
        for (labels, sample) in pools.iter().filter(|(_, sample)| sample.kv_blocks_total > 0) {
            page.line(name, labels, sample.kv_blocks_used as f64 / sample.kv_blocks_total as f64);
        }
    }
    page.head("tidegate_gateway_queue", "gauge", "Requests in the queue of the gateway.");
    pools
        .iter()
        .for_each(|(labels, sample)| page.line("tidegate_gateway_queue", labels, sample.gateway_queue));
    page.head("tidegate_batch_requests", "gauge", "Batch requests on replicas.");
    pools.iter().for_each(|(labels, sample)| page.line("tidegate_batch_requests", labels, sample.batch));
    of_workloads(page, scenario, gauges);
    let seconds = |ns: u64| ns as f64 / 1e9;
    page.one(
        "tidegate_engine_lag_p99_seconds",
        "gauge",
        "How late 99 of 100 events were handled at most.",
        seconds(gauges.lag_ns),
    );
    page.one(
        "tidegate_engine_lag_most_seconds",
        "gauge",
        "How late an event was handled at most.",
        seconds(gauges.lag_most_ns),
    );
}

fn of_workloads(page: &mut Page, scenario: &Scenario, gauges: &Gauges) {
    let workloads: Vec<_> = scenario
        .workloads
        .iter()
        .enumerate()
        .zip(&gauges.workloads)
        .map(|((index, workload), gauge)| {
            ([("model_name", scenario.wire_name(index)), ("workload", workload.name.as_str())], gauge)
        })
        .collect();
    page.head("vllm:prompt_tokens_total", "counter", "Prompt tokens of completed requests.");
    workloads
        .iter()
        .for_each(|(labels, gauge)| page.line("vllm:prompt_tokens_total", labels, gauge.prompt_tokens));
    page.head("vllm:generation_tokens_total", "counter", "Tokens that were delivered.");
    workloads
        .iter()
        .for_each(|(labels, gauge)| page.line("vllm:generation_tokens_total", labels, gauge.output_tokens));
    page.head("vllm:request_success_total", "counter", "Completed requests.");
    for ([model, workload], gauge) in &workloads {
        // The engine does not keep apart what ends by itself and what ends at its longest.
        let labels = [*model, *workload, ("finished_reason", "stop")];
        page.line("vllm:request_success_total", &labels, gauge.outcomes[Outcome::Completed as usize]);
    }
    page.head("vllm:time_to_first_token_seconds", "histogram", "Arrival at the gateway to first token.");
    workloads
        .iter()
        .for_each(|(labels, gauge)| page.histogram("vllm:time_to_first_token_seconds", labels, &gauge.ttft));
    page.head("vllm:e2e_request_latency_seconds", "histogram", "Arrival at the gateway to the end.");
    workloads
        .iter()
        .for_each(|(labels, gauge)| page.histogram("vllm:e2e_request_latency_seconds", labels, &gauge.e2e));
    page.head("tidegate_requests_offered_total", "counter", "Requests that reached the gateway.");
    workloads
        .iter()
        .for_each(|(labels, gauge)| page.line("tidegate_requests_offered_total", labels, gauge.offered));
    page.head("tidegate_requests_total", "counter", "Requests that are over, by how they ended.");
    for ([model, workload], gauge) in &workloads {
        for outcome in Outcome::ALL {
            let labels = [*model, *workload, ("outcome", outcome.name())];
            page.line("tidegate_requests_total", &labels, gauge.outcomes[outcome as usize]);
        }
    }
    page.head(
        "tidegate_refusals_total",
        "counter",
        "Requests that were refused or cancelled by a limit, by reason.",
    );
    for ([model, workload], gauge) in &workloads {
        for (reason, count) in gauge.refusals.iter().enumerate().filter(|(_, count)| **count > 0) {
            let reason =
                scenario.policy.reason_name(u16::try_from(reason).expect("reasons are numbered in 16 bits"));
            page.line("tidegate_refusals_total", &[*model, *workload, ("reason", reason)], count);
        }
    }
}

fn of_server(page: &mut Page, app: &App) {
    let counters = &app.counters;
    let open = counters.connections_open.get().saturating_sub(counters.connections_closed.get());
    page.one("tidegate_connections_open", "gauge", "Connections that are open.", open);
    page.one(
        "tidegate_connections_total",
        "counter",
        "Connections that were accepted.",
        counters.connections.get(),
    );
    page.one(
        "tidegate_connections_refused_total",
        "counter",
        "Connections for which there was no place.",
        counters.connections_refused.get(),
    );
    page.one(
        "tidegate_faults_total",
        "counter",
        "Requests that never reached the gateway.",
        counters.faults.get(),
    );
    page.one(
        "tidegate_troubles_total",
        "counter",
        "Answers that went wrong on purpose.",
        counters.troubles.get(),
    );
    page.one(
        "tidegate_resets_total",
        "counter",
        "Connections that were reset on purpose.",
        counters.resets.get(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_are_cumulative() {
        let mut page = Page::default();
        page.line("a", &[("x", "say \"no\"\\")], 3);
        assert_eq!(page.text, "a{x=\"say \\\"no\\\"\\\\\"} 3\n");
        let mut page = Page::default();
        let found = Buckets { below: [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], count: 2, sum_s: 100.004 };
        page.histogram("h", &[("m", "x")], &found);
        assert!(page.text.contains("h_bucket{m=\"x\",le=\"0.005\"} 1\n"), "{}", page.text);
        assert!(page.text.contains("h_bucket{m=\"x\",le=\"+Inf\"} 2\n"));
        assert!(page.text.ends_with("h_sum{m=\"x\"} 100.004\nh_count{m=\"x\"} 2\n"));
    }
}
