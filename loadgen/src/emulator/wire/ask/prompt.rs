//! The prompt of a body: messages, texts, tokens. Counted and hashed while it is read, never kept.

use super::Draft;
use super::value::{Name, Simple};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Most inputs of a request for embeddings, as OpenAI documents it.
const INPUTS_MOST: u32 = 2_048;

/// The messages of a chat.
pub(super) struct Messages<'a>(pub(super) &'a mut Draft);

impl<'de> DeserializeSeed<'de> for Messages<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Messages<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0_usize;
        let draft = self.0;
        while seq.next_element_seed(Message { draft: &mut *draft, number: count })?.is_some() {
            count += 1;
        }
        if count == 0 {
            return Err(A::Error::custom("`messages` holds no message"));
        }
        draft.asked.messages = Some(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(())
    }
}

struct Message<'a> {
    draft: &'a mut Draft,
    number: usize,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Message { draft, number } = self;
        let (mut role, mut has_content) = (None, false);
        while let Some(Name(key)) = map.next_key()? {
            match key.as_str() {
                "role" => {
                    let Name(word) = map.next_value()?;
                    if !["system", "developer", "user", "assistant", "tool", "function"]
                        .contains(&word.as_str())
                    {
                        return Err(A::Error::custom(format_args!("`messages[{number}].role` is `{word}`")));
                    }
                    draft.fold(word.as_bytes());
                    role = Some(word);
                }
                "content" => {
                    map.next_value_seed(Content { draft, number })?;
                    has_content = true;
                }
                "name" | "tool_call_id" => drop(map.next_value::<Name>()?),
                _ => match map.next_value()? {
                    // What answers carry when there is nothing.
                    Simple::Nothing | Simple::Empty => {}
                    _ => {
                        return Err(A::Error::custom(format_args!(
                            "`messages[{number}].{key}` is not emulated: messages are text"
                        )));
                    }
                },
            }
        }
        let Some(role) = role else {
            return Err(A::Error::custom(format_args!("`messages[{number}].role` is missing")));
        };
        if !has_content {
            return Err(A::Error::custom(format_args!("`messages[{number}].content` is missing")));
        }
        if role == "user" {
            draft.hashing = false;
        }
        Ok(())
    }
}

/// The content of a message: text, or parts that are text.
struct Content<'a> {
    draft: &'a mut Draft,
    number: usize,
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text or a list of parts as `messages[{}].content`", self.number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.draft.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Part { draft: &mut *self.draft, number: self.number })?.is_some() {}
        Ok(())
    }
}

struct Part<'a> {
    draft: &'a mut Draft,
    number: usize,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut kind, mut has_text) = (None, false);
        while let Some(Name(key)) = map.next_key()? {
            match key.as_str() {
                "type" => kind = Some(map.next_value::<Name>()?.0),
                "text" => {
                    map.next_value_seed(Content { draft: &mut *self.draft, number: self.number })?;
                    has_text = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match kind.as_deref() {
            Some("text" | "input_text" | "output_text") if has_text => Ok(()),
            Some("text" | "input_text" | "output_text") => Err(A::Error::custom(format_args!(
                "`messages[{}].content` has a part without `text`",
                self.number
            ))),
            Some(other) => Err(A::Error::custom(format_args!(
                "`messages[{}].content` has a part of type `{other}`, which is not emulated: messages are text",
                self.number
            ))),
            None => Err(A::Error::custom(format_args!(
                "`messages[{}].content` has a part without `type`",
                self.number
            ))),
        }
    }
}

/// A prompt, or inputs to embed: text, tokens, a list of either.
pub(super) struct Texts<'a> {
    draft: &'a mut Draft,
    many: bool,
    depth: u8,
}

impl<'a> Texts<'a> {
    /// The prompt of a body; `many` when it may be several texts.
    pub(super) fn of(draft: &'a mut Draft, many: bool) -> Self {
        Texts { draft, many, depth: 0 }
    }
}

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, tokens, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.draft.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Texts { draft, many, depth } = self;
        let (mut items, mut tokens) = (0_u32, 0_u32);
        while let Some(item) = seq.next_element_seed(Item { draft: &mut *draft, depth })? {
            items = items.saturating_add(1);
            tokens = tokens.saturating_add(u32::from(item == Read::Token));
        }
        if items == 0 {
            return Err(A::Error::custom("the list is empty"));
        }
        if tokens != 0 && tokens != items {
            return Err(A::Error::custom("a list holds texts or tokens, not both"));
        }
        if tokens > 0 && draft.count {
            draft.asked.words = draft.asked.words.saturating_add(tokens);
        }
        let texts = if tokens > 0 { 1 } else { items };
        if depth == 0 {
            if texts > 1 && !many {
                return Err(A::Error::custom("one prompt a request is emulated"));
            }
            if texts > INPUTS_MOST {
                return Err(A::Error::custom(format_args!("more than {INPUTS_MOST} inputs")));
            }
            draft.asked.inputs = texts;
        }
        Ok(())
    }
}

/// What an element of a list of texts was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Text,
    Token,
}

struct Item<'a> {
    draft: &'a mut Draft,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Read;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Read, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or tokens")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Read, E> {
        self.draft.text(text);
        Ok(Read::Text)
    }

    fn visit_u64<E: serde::de::Error>(self, token: u64) -> Result<Read, E> {
        self.draft.fold(&token.to_le_bytes());
        Ok(Read::Token)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Read, A::Error> {
        if self.depth > 0 {
            return Err(A::Error::custom("lists of lists of lists are no prompts"));
        }
        Texts { draft: self.draft, many: false, depth: 1 }.visit_seq(seq)?;
        Ok(Read::Text)
    }
}
