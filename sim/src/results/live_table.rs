//! A live run as rows of text.

use super::figure::{Unit, count};
use super::live::{LiveCounts, LiveSummary, Validity};
use super::table::Table;

impl LiveSummary {
    /// Whether the run is to be believed, and why not: `DEGRADED: 99 of 100 requests were sent ...`.
    pub fn validity_text(&self) -> String {
        match (self.validity, self.reasons.is_empty()) {
            (Validity::Valid, _) | (_, true) => self.validity.name().to_owned(),
            _ => format!("{}: {}", self.validity.name(), self.reasons.join("; ")),
        }
    }

    /// What became of requests, by workload and of all; warm-up included.
    pub fn count_table(&self) -> Table {
        let head =
            ["workload", "scheduled", "succeeded", "refused", "failed", "cancelled", "unsent", "attempts"];
        let mut table =
            Table::new(format!("Live against {} (whole run, warm-up included)", self.target), &head);
        let mut push = |name: &str, counts: &LiveCounts, attempts: u64| {
            let parts = [counts.scheduled, counts.succeeded, counts.refused, counts.failed];
            let rest = [counts.cancelled, counts.unsent, attempts];
            let cells = parts.into_iter().chain(rest).map(count);
            table.push(std::iter::once(name.to_owned()).chain(cells));
        };
        for workload in &self.workloads {
            push(&workload.workload, &workload.counts, workload.attempts);
        }
        if self.workloads.len() > 1 {
            push("all", &self.counts, self.workloads.iter().map(|w| w.attempts).sum());
        }
        table
    }

    /// When requests were sent, and what the generator used.
    pub fn generator_table(&self) -> Table {
        let mut table = Table::new("Generator", &["figure", "value"]);
        let ns = |ns: u64| Unit::Ns.show(ns as f64);
        let (lag, used) = (&self.lag, &self.generator);
        if lag.samples > 0 {
            let rows =
                [("p50", lag.p50_ns), ("p99", lag.p99_ns), ("p99.9", lag.p999_ns), ("most", lag.max_ns)];
            for (name, value) in rows {
                table.push([format!("lag {name}"), ns(value)]);
            }
            let share = Unit::Share.show(lag.on_time);
            table.push(["on time".to_owned(), format!("{share} of {}", count(lag.samples))]);
        }
        for (name, text) in [
            ("most in flight", count(used.in_flight_peak)),
            ("most connections", count(used.sockets_peak)),
            ("cores used", Unit::Number.show(used.cpu_cores)),
            (
                "most memory",
                format!("{} MiB", Unit::Number.show(used.memory_peak_bytes as f64 / 1_048_576.0)),
            ),
            ("elapsed", ns(used.elapsed_ns)),
        ] {
            table.push([name.to_owned(), text]);
        }
        table
    }

    /// How attempts were answered, and what went wrong with those that were not.
    pub fn answer_table(&self) -> Table {
        let mut table = Table::new("Answers", &["workload", "answer", "attempts"]);
        for workload in &self.workloads {
            for (status, number) in workload.statuses.iter().filter(|(_, number)| *number > 0) {
                let answer = if *status == 0 { "no status".to_owned() } else { format!("status {status}") };
                table.push([workload.workload.clone(), answer, count(*number)]);
            }
            for (kind, number) in workload.failures.iter().filter(|(_, number)| *number > 0) {
                table.push([workload.workload.clone(), format!("failure: {kind}"), count(*number)]);
            }
        }
        table
    }

    /// Tokens: asked for, received, wasted.
    pub fn token_table(&self) -> Table {
        let head = ["workload", "prompt", "output planned", "output received", "wasted", "lengths"];
        let mut table = Table::new("Tokens", &head);
        for workload in &self.workloads {
            table.push([
                workload.workload.clone(),
                count(workload.prompt_tokens),
                count(workload.planned_output_tokens),
                count(workload.output_tokens),
                count(workload.wasted_tokens),
                if workload.lengths_forced { "as planned" } else { "the server's" }.to_owned(),
            ]);
        }
        table
    }

    /// Remaining-headers of the gateway against what was counted here.
    pub fn header_table(&self) -> Table {
        let head = ["header", "answers", "lowest", "limit", "drift"];
        let mut table = Table::new("Headers that say what is left", &head);
        for row in &self.headers {
            let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), count);
            table.push([
                row.header.clone(),
                count(row.seen),
                count(row.lowest),
                or_dash(row.limit),
                or_dash(row.drift),
            ]);
        }
        table
    }

    /// All of these tables, in order.
    pub fn tables(&self) -> Vec<Table> {
        vec![
            self.count_table(),
            self.generator_table(),
            self.answer_table(),
            self.token_table(),
            self.header_table(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::results::live::tests::sample;

    #[test]
    fn every_workload_has_its_counts_and_several_are_summed() {
        let live = sample();
        let counts = live.count_table();
        assert_eq!(counts.title, "Live against http://127.0.0.1:8080 (whole run, warm-up included)");
        assert_eq!(counts.rows.len(), 1);
        assert_eq!(counts.rows[0], ["chat", "20,000", "19,000", "700", "200", "60", "40", "20,900"]);
        let answers = live.answer_table();
        assert_eq!(answers.rows[0], ["chat", "no status", "180"]);
        assert_eq!(answers.rows[1], ["chat", "status 200", "19,050"]);
        assert!(answers.rows.iter().any(|row| row[1] == "failure: reset"), "{answers:?}");
        assert_eq!(live.token_table().rows[0][5], "as planned");
        assert_eq!(live.header_table().rows[0][3..], ["1,000", "2"]);
    }

    #[test]
    fn a_run_that_is_not_valid_says_why() {
        let mut live = sample();
        assert_eq!(live.validity_text(), "DEGRADED: lag p99 1.4 ms is above 1 ms");
        live.validity = crate::results::live::Validity::Valid;
        assert_eq!(live.validity_text(), "VALID");
    }
}
