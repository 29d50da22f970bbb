//! Verdicts as a JUnit XML file: every property is a test case.
//!
//! Violated is a `failure`. Inconclusive is an `error`, not `skipped`: a claim that was not shown must not turn a
//! build green. There are no times and dates, so the same run writes the same bytes.

use tidegate_sim::results::{Summary, Verdict, VerdictRow};

/// The file's text.
pub fn encode(summary: &Summary) -> String {
    let count = |wanted| summary.properties.iter().filter(|row| row.verdict == wanted).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        summary.properties.len(),
        count(Verdict::Violated),
        count(Verdict::Inconclusive)
    );
    let name = escape(&format!("tidegate {}", summary.title()));
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{name}\" {counts}>\n");
    text += &format!("  <testsuite name=\"{name}\" {counts}>\n");
    for row in &summary.properties {
        text += &case(summary, row);
    }
    text + "  </testsuite>\n</testsuites>\n"
}

fn case(summary: &Summary, row: &VerdictRow) -> String {
    let class = row.workload.as_ref().map_or_else(|| summary.title(), |w| format!("{}.{w}", summary.title()));
    let open = format!("    <testcase classname=\"{}\" name=\"{}\"", escape(&class), escape(&row.property));
    let (claim, reason) = (escape(&row.claim_text()), escape(&row.reason));
    let element = match row.verdict {
        Verdict::Holds => return format!("{open}><system-out>{claim}: {reason}</system-out></testcase>\n"),
        Verdict::Violated => "failure",
        Verdict::Inconclusive => "error",
    };
    let kind = row.verdict.name();
    format!("{open}>\n      <{element} type=\"{kind}\" message=\"{claim}: {reason}\"/>\n    </testcase>\n")
}

/// Text for an attribute or an element; what XML 1.0 cannot hold becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_the_xml() {
        assert_eq!(escape("a<b & \"c\"\u{1}\n"), "a&lt;b &amp; &quot;c&quot;\u{fffd}&#10;");
    }
}
