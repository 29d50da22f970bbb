//! Values of fields that are checked and not kept: memory does not grow with them.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Longest name that is read, bytes.
const NAME_MOST: usize = 256;

/// A short text: a key, a word, the name of a model.
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Short;
        impl Visitor<'_> for Short {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                if text.len() > NAME_MOST {
                    return Err(E::custom(format_args!("a name of more than {NAME_MOST} bytes")));
                }
                Ok(Name(text.to_owned()))
            }
        }
        from.deserialize_str(Short)
    }
}

/// How many texts there are: none (`null`), one, or a list of them.
pub(super) struct Count(pub(super) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counted;
        impl<'de> Visitor<'de> for Counted {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
            fn visit_str<E>(self, _: &str) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = 0_u32;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(Count(count))
            }
        }
        from.deserialize_any(Counted)
    }
}

/// A value, summed up: memory does not grow with it.
pub(super) enum Simple {
    /// `null`.
    Nothing,
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text, cut off.
    Text(String),
    /// A list or an object with nothing in it.
    Empty,
    /// A list of one short text.
    Word(String),
    /// An object with this `type`.
    Kind(String),
    /// Any other list or object.
    Other,
}

impl<'de> Deserialize<'de> for Simple {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Summed;
        impl<'de> Visitor<'de> for Summed {
            type Value = Simple;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Simple, E> {
                Ok(Simple::Nothing)
            }
            fn visit_bool<E>(self, on: bool) -> Result<Simple, E> {
                Ok(Simple::Flag(on))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Simple, E> {
                Ok(Simple::Number(number as f64))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Simple, E> {
                Ok(Simple::Number(number as f64))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Simple, E> {
                Ok(Simple::Number(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Simple, E> {
                Ok(Simple::Text(text.chars().take(64).collect()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Simple, A::Error> {
                let Some(first) = seq.next_element::<Shallow>()? else { return Ok(Simple::Empty) };
                let mut more = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(first.0.filter(|_| !more).map_or(Simple::Other, Simple::Word))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Simple, A::Error> {
                let (mut kind, mut any) = (None, false);
                while let Some(Name(key)) = map.next_key()? {
                    any = true;
                    let value: Shallow = map.next_value()?;
                    if key == "type" {
                        kind = value.0;
                    }
                }
                Ok(match kind {
                    Some(kind) => Simple::Kind(kind),
                    None if any => Simple::Other,
                    None => Simple::Empty,
                })
            }
        }
        from.deserialize_any(Summed)
    }
}

/// A short text, or anything else.
struct Shallow(Option<String>);

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Looked;
        impl<'de> Visitor<'de> for Looked {
            type Value = Shallow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Shallow, E> {
                Ok(Shallow(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Shallow, E> {
                Ok(Shallow(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Shallow, E> {
                Ok(Shallow(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Shallow, E> {
                Ok(Shallow(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Shallow, E> {
                Ok(Shallow(None))
            }
            fn visit_str<E>(self, text: &str) -> Result<Shallow, E> {
                Ok(Shallow(Some(text.chars().take(64).collect())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shallow, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Shallow(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shallow, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Shallow(None))
            }
        }
        from.deserialize_any(Looked)
    }
}
