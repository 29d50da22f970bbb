//! ServeGen files: clients, each with its request rate and burstiness by window and its tables of token counts.
//!
//! Source of the format: the ServeGen repository (Alibaba), one client a line:
//! `windows_600s = [[start_s, rate_per_s, cv, family, shape, scale_s], ..]` and
//! `token_pdf_by_window_start = {"43200": {"input_tokens": [[value, probability], ..], "output_tokens": [..]}}`.
//! `reason_ratio` (the share of output tokens spent on reasoning) is not used: they are output tokens.

use super::error::{Fault, Problem, TraceError, shown, token_range};
use super::lines::Lines;
use super::mooncake::json;
use super::number::TOKENS_MOST;
use super::rows::first_line;
use crate::dist::{Dist, DistError};
use crate::scenario::TraceFormat;
use crate::time::Span;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Length of a window.
pub(crate) const WINDOW: Span = Span::from_secs(600);

/// A client: somebody who sends requests in a way of their own.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// When it is active, in order. Outside its windows it sends nothing.
    pub(crate) windows: Vec<Window>,
    /// Token counts, in order of `from`. Empty when the file has none for this client.
    pub(crate) tokens: Vec<TokenTables>,
}

/// [`WINDOW`] of one client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Its start, after the start of the day.
    pub(crate) start: Span,
    /// Mean requests per second, positive.
    pub(crate) rate_per_s: f64,
    /// Distribution of the gaps between requests.
    pub(crate) family: Family,
    /// Its shape, which sets the burstiness. The file's scale only restates the rate.
    pub(crate) shape: f64,
}

/// Families of gap distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Gamma,
    Weibull,
}

/// Token counts of a client from some time of day on.
#[derive(Clone, Debug)]
pub(crate) struct TokenTables {
    /// From when they hold.
    pub(crate) from: Span,
    /// Prompt tokens.
    pub(crate) prompt: Dist,
    /// Output tokens.
    pub(crate) output: Dist,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "client_id")]
    _client_id: serde_json::Value,
    #[serde(rename = "dataset_present", default)]
    _dataset_present: bool,
    windows_600s: Vec<(f64, f64, f64, String, f64, f64)>,
    token_pdf_by_window_start: Option<BTreeMap<String, Pdfs>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pdfs {
    #[serde(default)]
    input_tokens: Vec<(f64, f64)>,
    #[serde(default)]
    output_tokens: Vec<(f64, f64)>,
    #[serde(rename = "reason_ratio", default)]
    _reason_ratio: Vec<(f64, f64)>,
}

/// Reads clients one at a time.
pub(crate) struct Clients {
    lines: Lines,
    held: bool,
    any: bool,
}

impl Clients {
    /// Opens a ServeGen file.
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        Self::begin(Lines::open(path)?)
    }

    /// Reads clients from `input`, which errors will call `path`.
    pub(crate) fn from_reader(path: &Path, input: Box<dyn Read + Send>) -> Result<Self, TraceError> {
        Self::begin(Lines::of(path, input)?)
    }

    fn begin(mut lines: Lines) -> Result<Self, TraceError> {
        first_line(&mut lines, Some(TraceFormat::ServeGen))?;
        Ok(Clients { lines, held: true, any: false })
    }

    /// The next client that is ever active; `None` at the end.
    pub(crate) fn next_client(&mut self) -> Result<Option<Client>, TraceError> {
        while std::mem::take(&mut self.held) || self.lines.advance()? {
            let client = parse(self.lines.line()).map_err(|fault| self.lines.error(fault))?;
            if !client.windows.is_empty() {
                self.any = true;
                return Ok(Some(client));
            }
        }
        if self.any { Ok(None) } else { Err(TraceError::file(self.lines.path(), Problem::Empty)) }
    }
}

fn parse(line: &str) -> Result<Client, Fault> {
    let line: Line = serde_json::from_str(line).map_err(|e| Fault::of(json(&e)))?;
    let mut windows: Vec<Window> = Vec::with_capacity(line.windows_600s.len());
    for (index, window) in line.windows_600s.iter().enumerate() {
        let window = parse_window(index, window)?;
        if windows.last().is_some_and(|above| window.start < above.start + WINDOW) {
            let at = format!("windows_600s[{index}]");
            return Err(Fault::at(at, Problem::Overlap(window.start.as_secs_f64().to_string())));
        }
        windows.push(window);
    }
    let mut tokens = Vec::new();
    for (key, pdfs) in line.token_pdf_by_window_start.unwrap_or_default() {
        let at = format!("token_pdf_by_window_start[\"{}\"]", shown(&key));
        let no_time = || Problem::Range {
            value: shown(&key),
            allowed: "0..=4294967295 s, whole seconds",
            hint: "a table is named by when it begins to hold",
        };
        let seconds: u32 = key.parse().map_err(|_| Fault::at(at.clone(), no_time()))?;
        if pdfs.input_tokens.is_empty() && pdfs.output_tokens.is_empty() {
            continue;
        }
        let prompt = table(&format!("{at}.input_tokens"), &pdfs.input_tokens)?;
        let output = table(&format!("{at}.output_tokens"), &pdfs.output_tokens)?;
        tokens.push(TokenTables { from: Span::from_secs(u64::from(seconds)), prompt, output });
    }
    // The keys are text: "43200" sorts before "600".
    tokens.sort_by_key(|t| t.from);
    Ok(Client { windows, tokens })
}

fn parse_window(
    index: usize,
    (start, rate, cv, family, shape, scale): &(f64, f64, f64, String, f64, f64),
) -> Result<Window, Fault> {
    let check = |name: &str, value: f64, holds: bool, allowed| {
        let at = || format!("windows_600s[{index}].{name}");
        let hint = "a window is `[start_s, rate_per_s, cv, family, shape, scale_s]`; leave out inactive ones";
        let problem = || Problem::Range { value: value.to_string(), allowed, hint };
        if holds { Ok(value) } else { Err(Fault::at(at(), problem())) }
    };
    let start = check("start_s", *start, (0.0..=1e8).contains(start), "0..=1e8 s")?;
    let rate = check("rate_per_s", *rate, (1e-9..=1e7).contains(rate), "1e-9..=1e7 requests/s")?;
    check("cv", *cv, (0.0..=1e6).contains(cv), "0..=1e6")?;
    let family = match family.as_str() {
        "Gamma" => Family::Gamma,
        "Weibull" => Family::Weibull,
        other => {
            return Err(Fault::at(format!("windows_600s[{index}].family"), Problem::Family(shown(other))));
        }
    };
    // Below these the gamma function of the shape overflows (Weibull) or every gap underflows to zero (Gamma).
    let (least, allowed) = match family {
        Family::Gamma => (0.001, "0.001..=10000"),
        Family::Weibull => (0.05, "0.05..=10000"),
    };
    let shape = check("shape", *shape, (least..=1e4).contains(shape), allowed)?;
    check("scale_s", *scale, *scale > 0.0 && *scale <= 1e12, "0..=1e12 s, not zero")?;
    Ok(Window { start: Span::from_secs_f64(start), rate_per_s: rate, family, shape })
}

fn table(at: &str, pairs: &[(f64, f64)]) -> Result<Dist, Fault> {
    for (index, &(value, probability)) in pairs.iter().enumerate() {
        if !(value >= 1.0 && value <= f64::from(TOKENS_MOST) && value.fract() == 0.0) {
            return Err(Fault::at(format!("{at}[{index}]"), token_range(&value.to_string())));
        }
        if !(0.0..=1.0).contains(&probability) {
            let hint = "a table is a list of pairs `[tokens, probability]`";
            let problem = Problem::Range { value: probability.to_string(), allowed: "0..=1", hint };
            return Err(Fault::at(format!("{at}[{index}]"), problem));
        }
    }
    Dist::empirical(pairs).map_err(|_: DistError| Fault::at(at, Problem::NoWeight(pairs.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_tables_are_read() {
        let client = parse(
            r#"{"client_id":3,"dataset_present":true,
                "windows_600s":[[0,0.5,2.0,"Gamma",0.25,8.0],[1200,2,1.0,"Weibull",1.0,0.5]],
                "token_pdf_by_window_start":{"43200":{"input_tokens":[[10,0.5],[30,0.5]],"output_tokens":[[7,1]],
                "reason_ratio":[]},"600":{"input_tokens":[[1,1]],"output_tokens":[[1,1]]}}}"#,
        )
        .unwrap();
        assert_eq!(client.windows[1].start, Span::from_secs(1200));
        assert_eq!(client.windows[1].family, Family::Weibull);
        assert_eq!(client.tokens[0].from, Span::from_secs(600));
        assert!((client.tokens[1].prompt.mean() - 20.0).abs() < 1e-12);
    }

    #[test]
    fn a_table_for_prompts_alone_is_refused() {
        let fault = parse(
            r#"{"client_id":3,"windows_600s":[],
                "token_pdf_by_window_start":{"0":{"input_tokens":[[10,0.5]],"output_tokens":[]}}}"#,
        )
        .unwrap_err();
        assert_eq!(fault.column.as_deref(), Some("token_pdf_by_window_start[\"0\"].output_tokens"));
    }
}
