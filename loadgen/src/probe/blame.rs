//! Which limit a refusal is of: what the gateway says of it, or what the profile says that each limit answers.

use super::basis::Basis;
use super::client::Answer;
use tidegate_sim::profile::{Answer as Documented, Provenance};

/// Whose refusal an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nobody's: it was let in.
    LetIn,
    /// The limit's that is probed.
    This,
    /// Another's, by name.
    Other(String),
    /// Nobody can say.
    Unknown,
}

/// Whose refusal `answer` is, when the limit at `index` is probed.
///
/// `own` is the name of what is probed where no limit of the profile is.
pub(super) fn blame(basis: &Basis, index: Option<usize>, own: Option<&str>, answer: &Answer) -> Blame {
    if answer.is_fine() {
        return Blame::LetIn;
    }
    if let Some(reason) = answer.header("x-tidegate-reason") {
        let name = index.map(|index| basis.limits[index].limit.name.as_str());
        let this = name.or(own) == Some(reason);
        return if this { Blame::This } else { Blame::Other(reason.to_owned()) };
    }
    suspect(basis, index, Some(answer.status), &answer.text)
}

/// As [`blame`], of a job that failed with these words.
pub(super) fn blame_text(basis: &Basis, index: Option<usize>, text: &str) -> Blame {
    suspect(basis, index, None, text)
}

/// The only limit that answers like this, when there is one.
fn suspect(basis: &Basis, index: Option<usize>, status: Option<u16>, text: &str) -> Blame {
    let matches = |documented: &Documented| {
        status.is_none_or(|status| documented.status == status)
            && !documented.code.is_empty()
            && text.contains(&documented.code)
            && says(text, &documented.message)
    };
    let mut suspects = basis.limits.iter().enumerate().filter(|(_, one)| matches(&one.limit.answer));
    match (suspects.next(), suspects.next()) {
        (Some((only, _)), None) if Some(only) == index => Blame::This,
        (Some((_, only)), None) => Blame::Other(only.limit.name.clone()),
        _ => Blame::Unknown,
    }
}

/// Whether the parts of a message between its placeholders stand in `text`, in order.
fn says(text: &str, message: &str) -> bool {
    let mut rest = text;
    message.split('{').enumerate().all(|(at, part)| {
        let part = if at == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) };
        // In JSON, quotes are written otherwise; a part with one says nothing.
        if part.contains('"') {
            return true;
        }
        match rest.find(part) {
            Some(found) => {
                rest = &rest[found + part.len()..];
                true
            }
            None => false,
        }
    })
}

/// What a refusal says, in a line: status, code, wait.
pub(super) fn told(answer: &Answer) -> String {
    let json = answer.json();
    let code = ["error_code", "code", "id"].iter().find_map(|name| {
        let found = json.get(name).or_else(|| json.get("error")?.get(name))?;
        found.as_str().map(str::to_owned).or_else(|| found.as_i64().map(|code| code.to_string()))
    });
    let mut text = answer.status.to_string();
    if let Some(code) = code.filter(|code| code.len() < 60) {
        text += &format!(" {code}");
    }
    for name in ["retry-after", "llm_provider-retry-after", "x-ratelimit-reset-requests"] {
        if let Some(value) = answer.header(name).filter(|value| value.len() < 60) {
            text += &format!(", {name} {value}");
        }
    }
    text
}

/// How a refusal differs from what is documented of it. The first of a pair: whether a document says so, so that the limit is
/// not as documented.
pub(super) fn differences(
    documented: &Documented,
    answer: &Answer,
    window_s: Option<u64>,
) -> Vec<(bool, String)> {
    let firm = documented.provenance != Provenance::Choice;
    let mut found = Vec::new();
    if answer.status != documented.status {
        found.push((firm, format!("refused with {}, not {}", answer.status, documented.status)));
    }
    if !documented.code.is_empty() && !answer.text.contains(&documented.code) {
        found.push((firm, format!("the body of a refusal does not say `{}`", documented.code)));
    }
    match (documented.announces_retry, answer.header("retry-after")) {
        (true, None) => found.push((firm, "a refusal has no retry-after".to_owned())),
        (false, Some(_)) => found.push((firm, "a refusal has a retry-after".to_owned())),
        (true, Some(text)) => match (text.parse::<u64>(), window_s) {
            (Err(_), _) => found.push((firm, format!("retry-after is `{text}`, no whole seconds"))),
            (Ok(wait), Some(window)) if wait > window => {
                found.push((firm, format!("retry-after {wait} is longer than the window")));
            }
            (Ok(_), _) => {}
        },
        (false, None) => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_recognised_around_its_numbers() {
        assert!(says("x 3 of 200 requests y", "{current} of {limit} requests"));
        assert!(!says("x 3 of 200 tokens y", "{current} of {limit} requests"));
        assert!(says("anything", ""));
    }
}
