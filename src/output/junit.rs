//! Verdicts as a JUnit XML file: every property is a test case, and so is every claim of an expectation.
//!
//! Violated is a `failure`. Inconclusive is an `error`, not `skipped`: a claim that was not shown must not turn a
//! build green. There are no times and dates, so the same run writes the same bytes.

use tidegate_sim::results::{ExpectationRow, Summary, Verdict, VerdictRow};

/// The file's text.
pub fn encode(summary: &Summary) -> String {
    let properties = summary.properties.iter().map(|row| row.verdict);
    let verdicts: Vec<Verdict> =
        properties.chain(summary.expectations.iter().map(|row| row.verdict)).collect();
    let count = |wanted| verdicts.iter().filter(|found| **found == wanted).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        verdicts.len(),
        count(Verdict::Violated),
        count(Verdict::Inconclusive)
    );
    let name = escape(&format!("tidegate {}", summary.title()));
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{name}\" {counts}>\n");
    text += &format!("  <testsuite name=\"{name}\" {counts}>\n");
    for row in &summary.properties {
        text += &property(summary, row);
    }
    for row in &summary.expectations {
        text += &expectation(summary, row);
    }
    text + "  </testsuite>\n</testsuites>\n"
}

fn property(summary: &Summary, row: &VerdictRow) -> String {
    let class = row.workload.as_ref().map_or_else(|| summary.title(), |w| format!("{}.{w}", summary.title()));
    case(&class, &row.property, row.verdict, &format!("{}: {}", row.claim_text(), row.reason))
}

fn expectation(summary: &Summary, row: &ExpectationRow) -> String {
    let class = format!("{}.expectations", summary.title());
    case(&class, &format!("{}: {}", row.name, row.claim), row.verdict, &row.reason())
}

fn case(class: &str, name: &str, verdict: Verdict, message: &str) -> String {
    let open = format!("    <testcase classname=\"{}\" name=\"{}\"", escape(class), escape(name));
    let message = escape(message);
    let element = match verdict {
        Verdict::Holds => return format!("{open}><system-out>{message}</system-out></testcase>\n"),
        Verdict::Violated => "failure",
        Verdict::Inconclusive => "error",
    };
    let kind = verdict.name();
    format!("{open}>\n      <{element} type=\"{kind}\" message=\"{message}\"/>\n    </testcase>\n")
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
    use super::super::table::tests::limited;
    use super::*;

    #[test]
    fn each_claim_of_an_expectation_is_a_case() {
        let text = encode(&limited());
        assert_eq!(text.matches("tests=\"2\" failures=\"1\" errors=\"0\"").count(), 2, "{text}");
        let holds = "<testcase classname=\"limited.expectations\" name=\"a &amp; b: accepted\">\
            <system-out>found 10</system-out></testcase>";
        assert!(text.contains(holds), "{text}");
        let failure = "<failure type=\"violated\" message=\"expected 10, found 12 in replication 3\"/>";
        assert!(text.contains(failure), "{text}");
    }

    #[test]
    fn text_cannot_break_out_of_the_xml() {
        assert_eq!(escape("a<b & \"c\"\u{1}\n"), "a&lt;b &amp; &quot;c&quot;\u{fffd}&#10;");
    }
}
