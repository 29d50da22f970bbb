//! A prediction beside a measurement as rows of text: the same on the terminal and in `compare.html`.

use super::against::{Agreement, Decided, LatencyAgreement, PairRow, WorkloadAgreement};
use super::figure::{Estimate, Figure, Unit, count};
use super::table::Table;

impl Agreement {
    /// What the two are called.
    pub fn roles(&self) -> [&str; 2] {
        [&self.sides[0].role, &self.sides[1].role]
    }

    /// Each property with both verdicts.
    pub fn property_table(&self) -> Table {
        let [first, second] = self.roles();
        let head = ["property", "workload", "claim", first, "figure", second, "figure"];
        let mut table = Table::new("Properties", &head);
        for row in &self.properties {
            let verdict =
                |side: &Option<Decided>| side.as_ref().map_or_else(dash, |d| d.verdict.name().to_owned());
            let value = |side: &Option<Decided>| side.as_ref().map_or_else(dash, |d| d.value.clone());
            table.push([
                row.property.clone(),
                row.workload.clone().unwrap_or_else(|| "all".to_owned()),
                row.claim.clone(),
                verdict(&row.first),
                value(&row.first),
                verdict(&row.second),
                value(&row.second),
            ]);
        }
        table
    }

    /// Of a workload: latencies, then rates and shares; then how alike the whole distributions are.
    pub fn workload_tables(&self, workload: &WorkloadAgreement) -> Vec<Table> {
        let figures = workload.latencies.iter().flat_map(|latency| &latency.figures);
        let title = format!(
            "Workload {} ({} and {} requests)",
            workload.workload,
            count(workload.requests[0]),
            count(workload.requests[1])
        );
        vec![
            self.pair_table(title, figures),
            self.pair_table(String::new(), workload.rates.iter()),
            self.distance_table(&workload.latencies),
        ]
    }

    fn pair_table<'a>(&self, title: String, rows: impl Iterator<Item = &'a PairRow>) -> Table {
        let [first, second] = self.roles();
        let head = ["figure", first, "interval", second, "interval", "error", "difference", "intervals"];
        let mut table = Table::new(title, &head);
        for row in rows {
            let text = |estimate: Estimate| {
                let figure = Figure { name: String::new(), unit: row.unit, estimate: Some(estimate) };
                (figure.value_text(), figure.interval_text())
            };
            let (left, right) = (text(row.first), text(row.second));
            table.push([
                row.figure.clone(),
                left.0,
                left.1,
                right.0,
                right.1,
                row.error.map_or_else(dash, signed_percent),
                row.unit.show(row.difference),
                match row.agree {
                    Some(true) => "overlap".to_owned(),
                    Some(false) => "apart".to_owned(),
                    None => dash(),
                },
            ]);
        }
        table
    }

    fn distance_table(&self, latencies: &[LatencyAgreement]) -> Table {
        let [first, second] = self.roles();
        let heads = [format!("samples {first}"), format!("samples {second}")];
        let head = ["latency", "KS distance", &heads[0], &heads[1], "network added"];
        let mut table = Table::new("", &head);
        for row in latencies {
            table.push([
                row.metric.clone(),
                format!("{:.4}", row.ks),
                count(row.samples[0]),
                count(row.samples[1]),
                if row.added_ns == 0 { dash() } else { Unit::Ns.show(row.added_ns as f64) },
            ]);
        }
        table
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// `+1.3 %`; what rounds to nothing has no sign.
fn signed_percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 0.005 { "0 %".to_owned() } else { format!("{percent:+.2} %") }
}
