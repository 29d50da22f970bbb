//! Fleets, clients and costs as rows of text.

use super::PoolSummary;
use super::figure::{Figure, Unit, count};
use super::summary::Summary;
use super::table::Table;

impl Summary {
    /// Pools whose replicas change or cost something: how many there were, what became of them, what they cost.
    pub fn fleet_table(&self) -> Table {
        let head = [
            "pool",
            "replicas",
            "min",
            "max",
            "added",
            "removed",
            "failures",
            "lost",
            "moved",
            "GPU hours",
            "cost",
            "per 1M tokens",
        ];
        let runs = match self.replications() {
            0 | 1 => String::new(),
            runs => format!("; counts over {runs} replications"),
        };
        let money = match &self.costs {
            Some(costs) => format!("; costs in {}", costs.currency),
            None => String::new(),
        };
        let mut table =
            Table::new(format!("Fleet (GPU hours and costs of the counted time{money}{runs})"), &head);
        for pool in &self.pools {
            let Some(fleet) = &pool.fleet else { continue };
            let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |n| count(n.into()));
            table.push([
                pool.name.clone(),
                pool.figure("replicas").map_or_else(|| count(pool.replicas), Figure::value_text),
                number(fleet.replicas_least),
                number(fleet.replicas_most),
                count(fleet.starts),
                count(fleet.stops),
                count(fleet.failures),
                count(fleet.lost),
                count(fleet.moved),
                value(pool.figure("gpu hours")),
                value(pool.figure("cost")),
                value(pool.figure("cost per million tokens")),
            ]);
        }
        table
    }

    /// What tiers, workloads and everything cost: an hour, and a million output tokens. Empty when nothing has a price.
    pub fn cost_table(&self) -> Table {
        let Some(costs) = &self.costs else { return Table::new("", &["of"]) };
        let title = format!("Costs in {}, of the counted time", costs.currency);
        let head = ["of", "cost", "95 % interval", "per 1M tokens", "95 % interval"];
        let mut table = Table::new(title, &head);
        let mut push = |name: String, figures: &[Figure]| {
            let find = |name: &str| figures.iter().find(|figure| figure.name == name);
            let (hour, tokens) = (find("cost"), find("cost per million tokens"));
            let interval =
                |figure: Option<&Figure>| figure.map_or_else(|| "-".to_owned(), Figure::interval_text);
            table.push([name, value(hour), interval(hour), value(tokens), interval(tokens)]);
        };
        for tier in &costs.tiers {
            push(format!("tier {}", tier.name), &tier.figures);
        }
        for workload in &self.workloads {
            push(format!("workload {}", workload.name), &workload.figures);
        }
        push("all workloads".to_owned(), &self.all_workloads);
        if self.all_workloads.is_empty() {
            table.rows.pop();
        }
        if costs.idle > 0.0 {
            let share = Unit::Share.show(costs.idle / costs.total);
            table.push([
                "nobody (idle)".to_owned(),
                format!("{share} of all"),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
            ]);
        }
        table
    }

    /// Workloads whose clients may try again: requests and the attempts they took.
    pub fn client_table(&self) -> Table {
        let head = ["workload", "requests", "attempts", "amplification", "hedges", "wasted tokens", "wasted"];
        let mut table = Table::new("Clients (attempts of counted requests)", &head);
        for workload in &self.workloads {
            let Some(attempts) = &workload.attempts else { continue };
            table.push([
                workload.name.clone(),
                count(workload.offered),
                count(attempts.attempts),
                value(workload.figure("amplification")),
                count(attempts.hedges),
                count(attempts.wasted_tokens),
                value(workload.figure("wasted tokens")),
            ]);
        }
        table
    }
}

impl PoolSummary {
    /// The figure called `name`.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

fn value(figure: Option<&Figure>) -> String {
    figure.map_or_else(|| "-".to_owned(), Figure::value_text)
}
