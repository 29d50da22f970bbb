//! Recognises events of a stream that differ from an earlier one in nothing but the text of their token.
//!
//! That is nearly all of them, and comparing bytes costs less than reading JSON does.

use std::ops::Range;

/// An event that was read, and where its text is.
#[derive(Debug, Default)]
pub struct Alike {
    data: Vec<u8>,
    /// The inside of a quoted text that is not empty; empty while nothing is known.
    text: Range<usize>,
}

impl Alike {
    /// Keeps an event that was found to be JSON, with output in it and nothing else that matters. O(bytes).
    pub fn learn(&mut self, data: &[u8]) {
        self.text = text_of(data).unwrap_or_default();
        self.data.clear();
        self.data.extend_from_slice(data);
    }

    /// Whether `data` says the same as what was learned, but for what the text is. `false` says nothing. O(bytes).
    ///
    /// Exact: both are the same JSON but for one string, which is not empty in either, and no string's text matters where
    /// there is no error.
    #[inline]
    pub fn is_like(&self, data: &[u8]) -> bool {
        if self.text.is_empty() {
            return false;
        }
        let (before, after) = (&self.data[..self.text.start], &self.data[self.text.end..]);
        let text = data.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        text.is_some_and(|text| {
            !text.is_empty()
                && text.iter().all(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\')
                && std::str::from_utf8(text).is_ok()
        })
    }
}

/// The inside of the first string that is called content or text (or ends so), unless it is empty.
fn text_of(json: &[u8]) -> Option<Range<usize>> {
    let start = [&b"content\""[..], b"text\""].iter().find_map(|key| {
        let places = json.windows(key.len()).enumerate().filter(|(_, found)| found == key);
        places.map(|(at, _)| at + key.len()).find_map(|at| string_after(json, at))
    })?;
    let mut end = start;
    while *json.get(end)? != b'"' {
        end += if json[end] == b'\\' { 2 } else { 1 };
    }
    Some(start..end).filter(|text| !text.is_empty())
}

/// Where a string begins that is the value of a key which ends at `at`.
fn string_after(json: &[u8], at: usize) -> Option<usize> {
    let blanks = |from: usize| json[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let colon = at + blanks(at);
    if json.get(colon) != Some(&b':') {
        return None;
    }
    let quote = colon + 1 + blanks(colon + 1);
    (json.get(quote) == Some(&b'"')).then_some(quote + 1)
}

#[cfg(test)]
mod tests {
    use super::super::answer::read;
    use super::*;
    use proptest::prelude::*;

    fn event(text: &str) -> Vec<u8> {
        format!(
            r#"{{"id":"a","choices":[{{"index":0,"delta":{{"content": "{text}"}},"finish_reason":null}}]}}"#
        )
        .into()
    }

    fn learned(event: &[u8]) -> Alike {
        let mut alike = Alike::default();
        alike.learn(event);
        alike
    }

    #[test]
    fn another_word_is_alike_and_anything_else_is_not() {
        for first in ["gate", r#"a \"quoted\" word\\"#] {
            let alike = learned(&event(first));
            for text in [" tide", "\u{e9}\u{4e2d}", "}]}"] {
                assert!(alike.is_like(&event(text)), "{text}");
            }
            for text in ["", "a\"b", "a\\n", "a\n"] {
                assert!(!alike.is_like(&event(text)), "{text}");
            }
            let mut broken = event("xy");
            let at = broken.iter().position(|&byte| byte == b'x').unwrap();
            broken[at] = 0xff;
            assert!(!alike.is_like(&broken), "no UTF-8");
            let end = String::from_utf8(event("tide")).unwrap().replace("null", "\"stop\"");
            assert!(!alike.is_like(end.as_bytes()));
        }
        assert!(!Alike::default().is_like(b""));
        assert!(!learned(&event("")).is_like(&event("tide")), "nothing but a role was learned");
    }

    proptest! {
        #[test]
        fn what_is_alike_reads_alike(
            key in "(content|text|reasoning_content|x|\\\\\"content|content\\\\\")",
            first in "([a-z]|\\\\n|\\\\\"|\"){0,4}",
            second in "([a-z]|\\\\n|\\\\\"|\"){0,4}",
            blank in " ?",
        ) {
            let json = |text: &str| {
                format!(r#"{{"choices":[{{"delta":{{"{key}"{blank}:{blank}"{text}"}},"text":"z"}}]}}"#).into_bytes()
            };
            let (first, second) = (json(&first), json(&second));
            if let Ok(read_first) = read(&first)
                && learned(&first).is_like(&second)
            {
                prop_assert_eq!(Ok(read_first), read(&second));
            }
        }
    }
}
