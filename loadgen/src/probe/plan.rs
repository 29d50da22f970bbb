//! The plan: what is probed and what it costs, and what is not and why.

use super::basis::Basis;
use super::cost::{Cost, cost};
use super::decide::decide;
use super::finding::{Finding, Verdict, not_probeable};
use super::method::{Amount, GateCall, JobCall, Method};
use tidegate_sim::profile::{Mechanism, Standing};
use tidegate_sim::results::table::Table;
use tidegate_sim::time::Span;

/// What may be spent.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Requests.
    pub requests: u64,
    /// Time of waiting.
    pub time: Span,
    /// Money, in the currency of the prices; asked only where prices are known and the target is not this machine.
    pub cost: f64,
    /// Whether the target is this machine, where tokens cost nothing.
    pub loopback: bool,
    /// Whether the address of a free read on the control plane is known.
    pub control: bool,
    /// Names of the limits to probe; all when empty.
    pub only: Vec<String>,
}

/// A limit (or a row that no limit enforces), and what is to be done about it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Name of the limit, or id of the row.
    pub name: String,
    /// The documented row; empty when there is none.
    pub row: String,
    /// What is documented.
    pub documented: String,
    /// What is to be done.
    pub decision: Decision,
}

/// What is to be done about a limit.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A probe.
    Probe(Probe),
    /// Nothing, and why.
    Not(String),
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The limit it is about, by its place in the basis; `None` for what no limit says.
    pub limit: Option<usize>,
    /// As whom it is sent, by the place in the basis.
    pub caller: usize,
    /// How.
    pub method: Method,
    /// What it costs at most, if the gateway is as documented.
    pub cost: Cost,
}

/// What is probed, in this order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Limits in the order in which they are asked; then what every gateway does; then rows that no limit enforces.
    pub items: Vec<Item>,
    /// What the probes cost together.
    pub cost: Cost,
}

impl Plan {
    /// Plans what `budget` allows. O(limits^2).
    pub fn new(basis: &Basis, budget: &Budget) -> Plan {
        let mut items = Vec::new();
        for (index, documented) in basis.limits.iter().enumerate() {
            let limit = &documented.limit;
            let decision = match decide(basis, index, budget) {
                Ok(probe) => Decision::Probe(Probe { limit: Some(index), ..probe }),
                Err(why) => Decision::Not(why),
            };
            let value = if documented.required { "not published".to_owned() } else { limit.value_text() };
            items.push(Item {
                name: limit.name.clone(),
                row: limit.row.clone(),
                documented: value,
                decision,
            });
        }
        items.extend(customs(basis, &items));
        hide(basis, &mut items);
        items.extend(rows(basis));
        let mut plan = Plan { items, cost: Cost::default() };
        plan.afford(basis, budget);
        plan
    }

    /// Takes out what is not wanted, or too much.
    fn afford(&mut self, basis: &Basis, budget: &Budget) {
        for item in &mut self.items {
            let Decision::Probe(probe) = &item.decision else { continue };
            let mut all = self.cost;
            all += probe.cost;
            let price = if budget.loopback { None } else { all.price(basis.prices) };
            let why = if !budget.only.is_empty() && !budget.only.contains(&item.name) {
                "it was not asked for".to_owned()
            } else if all.requests > budget.requests {
                let most = budget.requests;
                format!(
                    "{} requests are more than are left of the {most} of `--max-requests`",
                    probe.cost.requests
                )
            } else if all.time > budget.time {
                format!(
                    "it takes {}, more than is left of the {} of `--max-time`",
                    probe.cost.time, budget.time
                )
            } else if let Some(price) = price.filter(|price| *price > budget.cost) {
                format!("all probes up to it would cost {price:.4}, `--max-cost` is {}", budget.cost)
            } else {
                self.cost = all;
                continue;
            };
            item.decision = Decision::Not(why);
        }
    }

    /// Probes, in order.
    pub fn probes(&self) -> impl Iterator<Item = (&Item, &Probe)> {
        self.items.iter().filter_map(|item| match &item.decision {
            Decision::Probe(probe) => Some((item, probe)),
            Decision::Not(_) => None,
        })
    }

    /// What is not probed, as findings.
    pub fn unprobed(&self) -> impl Iterator<Item = Finding> {
        self.items.iter().filter_map(|item| match &item.decision {
            Decision::Probe(_) => None,
            Decision::Not(why) => Some(Finding {
                name: item.name.clone(),
                row: item.row.clone(),
                documented: item.documented.clone(),
                how: why.clone(),
                measured: "-".to_owned(),
                verdict: Verdict::NotProbeable,
                answer: None,
                notes: Vec::new(),
                requests: 0,
            }),
        })
    }

    /// The plan as a table: what is sent, and what it costs at most.
    pub fn table(&self, basis: &Basis) -> Table {
        let row = |name: &str, documented: &str, how: String, caller: &str, cost: &Cost| {
            vec![
                name.to_owned(),
                documented.to_owned(),
                how,
                caller.to_owned(),
                cost.requests.to_string(),
                (cost.prompt_tokens + cost.output_tokens).to_string(),
                cost.bytes.to_string(),
                cost.time.to_string(),
                cost.price(basis.prices).map_or_else(|| "-".to_owned(), |price| format!("{price:.6}")),
            ]
        };
        let mut rows: Vec<_> = self
            .probes()
            .map(|(item, probe)| {
                let caller = &basis.callers[probe.caller].name;
                row(&item.name, &item.documented, probe.method.text(), caller, &probe.cost)
            })
            .collect();
        rows.push(row("all", "", String::new(), "", &self.cost));
        let head = ["limit", "documented", "probe", "as", "requests", "tokens", "bytes", "waits", "price"];
        Table { title: format!("Plan: {}", basis.title), head: head.map(str::to_owned).to_vec(), rows }
    }

    /// What is not probed, as a table.
    pub fn not_probeable(&self) -> Table {
        not_probeable(&self.unprobed().collect::<Vec<_>>())
    }
}

/// What every gateway of this kind does, whatever its limits: unless a limit says it already.
fn customs(basis: &Basis, items: &[Item]) -> Vec<Item> {
    let planned = |wanted: &Method| {
        items.iter().any(|item| matches!(&item.decision, Decision::Probe(probe) if probe.method == *wanted))
    };
    let Some(caller) = basis.callers.iter().position(|caller| !caller.jobs) else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |name: String, documented: String, method: Method| {
        let probe = Probe { limit: None, caller, cost: cost(&method), method };
        found.push(Item { name, row: String::new(), documented, decision: Decision::Probe(probe) });
    };
    for (name, documented, call) in
        [("bad-key", "status 401", GateCall::BadKey), ("bad-model", "status 404", GateCall::BadModel)]
    {
        if !planned(&Method::Gate(call)) {
            add(name.to_owned(), documented.to_owned(), Method::Gate(call));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, caller) in basis.callers.iter().enumerate().filter(|(_, caller)| !caller.jobs) {
        let Some(context) = caller.context.filter(|_| !seen.contains(&caller.model.as_str())) else {
            continue;
        };
        seen.push(&caller.model);
        let method = Method::Edge { what: Amount::Prompt, bound: context.saturating_sub(1), upper: true };
        let probe = Probe { limit: None, caller: index, cost: cost(&method), method };
        found.push(Item {
            name: format!("context of {}", caller.model),
            row: String::new(),
            documented: format!(
                "{context} tokens, {} of prompt and one of output",
                context.saturating_sub(1)
            ),
            decision: Decision::Probe(probe),
        });
    }
    found
}

/// Two limits that the same call would meet: the first that is asked answers, the other is never seen.
fn hide(basis: &Basis, items: &mut [Item]) {
    for index in 1..items.len() {
        let (before, rest) = items.split_at_mut(index);
        let Decision::Probe(own) = &rest[0].decision else { continue };
        let same = before.iter().find(|item| match &item.decision {
            Decision::Probe(probe) => {
                let same =
                    matches!(own.method, Method::Gate(_) | Method::Job(_)) && probe.method == own.method;
                same || refuses(basis, probe, own)
            }
            Decision::Not(_) => false,
        });
        if let Some(first) = same {
            rest[0].decision = Decision::Not(format!("what it refuses, `{}` refuses first", first.name));
        }
    }
}

/// Whether the limit of one probe refuses the path that the other names.
fn refuses(basis: &Basis, probe: &Probe, other: &Probe) -> bool {
    let (Method::Job(JobCall::Endpoint(_)), Method::Job(JobCall::Endpoint(path))) =
        (&probe.method, &other.method)
    else {
        return false;
    };
    let limit = probe.limit.map(|index| &basis.limits[index].limit.mechanism);
    matches!(limit, Some(Mechanism::Gate { require: Some(gate), .. }) if !gate.values.iter().any(|value| value == path))
}

/// Rows that no limit in force enforces.
fn rows(basis: &Basis) -> impl Iterator<Item = Item> {
    let enforced = |id: &str| basis.limits.iter().any(|documented| documented.limit.row == id);
    basis.rows.iter().filter(move |row| !enforced(&row.id)).map(|row| {
        let why = match row.standing {
            Standing::Enforced => "the limits that enforce it are not in force here".to_owned(),
            standing => format!("{}: no answer of the gateway shows it", standing.name()),
        };
        Item {
            name: row.id.clone(),
            row: row.id.clone(),
            documented: row.value.clone(),
            decision: Decision::Not(why),
        }
    })
}
