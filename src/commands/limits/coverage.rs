//! `tidegate limits coverage`.

use super::{heading, print, profiles};
use crate::cli::CoverageArgs;
use crate::output::table::render_words;
use miette::{IntoDiagnostic as _, Result};
use serde_json::{Value as Json, json};
use std::process::ExitCode;
use tidegate_sim::profile::{Row, Standing};
use tidegate_sim::results::table::Table;
use tidegate_sim::scenario::profile::Loaded;

/// A row, and where it is honoured.
struct Covered<'a> {
    row: &'a Row,
    /// Limits that name it.
    limits: Vec<&'a str>,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Honoured,
    Pending,
    Gap,
}

impl<'a> Covered<'a> {
    fn of(loaded: &'a Loaded, row: &'a Row) -> Self {
        let named = loaded.limits.iter().filter(|limit| limit.limit.row == row.id);
        let limits: Vec<&str> = named.map(|limit| limit.limit.name.as_str()).collect();
        let verdict = match row.standing {
            Standing::Pending => Verdict::Pending,
            Standing::Enforced if limits.is_empty() => Verdict::Gap,
            Standing::Enforced => Verdict::Honoured,
            _ if row.how.trim().is_empty() => Verdict::Gap,
            _ => Verdict::Honoured,
        };
        Covered { row, limits, verdict }
    }

    fn place(&self) -> String {
        match self.verdict {
            Verdict::Gap => "GAP: no limit names it".to_owned(),
            Verdict::Honoured if !self.limits.is_empty() => self.limits.join(", "),
            _ => self.row.how.clone(),
        }
    }
}

/// Every row of the profiles; 1 when one is a gap.
pub(super) fn coverage(args: &CoverageArgs) -> Result<ExitCode> {
    let loaded = profiles(args.profile.as_deref())?;
    let covered: Vec<(&Loaded, Vec<Covered<'_>>)> = loaded
        .iter()
        .map(|loaded| (loaded, loaded.profile.rows.iter().map(|row| Covered::of(loaded, row)).collect()))
        .collect();
    let all = || covered.iter().flat_map(|(_, rows)| rows);
    let count = |verdict: Verdict| all().filter(|row| row.verdict == verdict).count();
    let (gaps, pending) = (count(Verdict::Gap), count(Verdict::Pending));
    let fails = gaps > 0 || (args.strict && pending > 0);
    let text = if args.json {
        let document = json!({
            "profiles": covered.iter().map(|(loaded, rows)| profile_json(loaded, rows)).collect::<Vec<_>>(),
            "honoured": count(Verdict::Honoured),
            "pending": pending,
            "gaps": gaps,
            "rows": all().count(),
        });
        serde_json::to_string_pretty(&document).into_diagnostic()? + "\n"
    } else {
        let mut text: String =
            covered.iter().map(|(loaded, rows)| render_words(&table(loaded, rows))).collect();
        text += &render_words(&totals(&covered));
        text += &format!(
            "{} of {} rows are honoured; {pending} pending, {gaps} gaps\n",
            count(Verdict::Honoured),
            all().count()
        );
        text
    };
    print(&text)?;
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn table(loaded: &Loaded, rows: &[Covered<'_>]) -> Table {
    let cells = rows.iter().map(|covered| {
        let Row { id, value, standing, tests, .. } = covered.row;
        vec![id.clone(), value.clone(), standing.name().to_owned(), covered.place(), tests.join(", ")]
    });
    let head = ["row", "value", "standing", "where", "tests"];
    Table { title: heading(loaded), head: head.map(str::to_owned).to_vec(), rows: cells.collect() }
}

const STANDINGS: [Standing; 5] =
    [Standing::Enforced, Standing::Modelled, Standing::Reported, Standing::Informational, Standing::Pending];

fn totals(covered: &[(&Loaded, Vec<Covered<'_>>)]) -> Table {
    let rows = covered.iter().map(|(loaded, rows)| {
        let counts = STANDINGS.map(|standing| {
            let gap = |covered: &&Covered<'_>| covered.verdict != Verdict::Gap;
            rows.iter().filter(gap).filter(|covered| covered.row.standing == standing).count()
        });
        let gaps = rows.iter().filter(|covered| covered.verdict == Verdict::Gap).count();
        let numbers = counts.into_iter().chain([gaps, rows.len()]).map(|count| count.to_string());
        std::iter::once(loaded.profile.id.clone()).chain(numbers).collect()
    });
    let names = STANDINGS.into_iter().map(|standing| standing.name().to_owned());
    let head = std::iter::once("profile".to_owned()).chain(names).chain(["gaps".into(), "rows".into()]);
    Table { title: "Totals (rows)".to_owned(), head: head.collect(), rows: rows.collect() }
}

fn profile_json(loaded: &Loaded, rows: &[Covered<'_>]) -> Json {
    let row = |covered: &Covered<'_>| {
        json!({
            "id": covered.row.id,
            "value": covered.row.value,
            "standing": covered.row.standing.name(),
            "limits": covered.limits,
            "how": covered.row.how,
            "tests": covered.row.tests,
            "gap": covered.verdict == Verdict::Gap,
        })
    };
    json!({ "profile": loaded.profile.id, "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
