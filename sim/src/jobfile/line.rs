//! One request of a file: its id, its model, how long it is and what is in it.

use super::{BYTES_PER_TOKEN, Fault, Format, PER_MESSAGE};
use serde_json::Value;

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Text.
    Text,
    /// An image.
    Image,
    /// Sound.
    Audio,
    /// Moving images.
    Video,
    /// A document.
    File,
}

impl Content {
    /// The name used in profiles.
    pub fn name(self) -> &'static str {
        match self {
            Content::Text => "text",
            Content::Image => "image",
            Content::Audio => "audio",
            Content::Video => "video",
            Content::File => "file",
        }
    }
}

/// A request, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What the client calls it.
    pub id: &'a str,
    /// The path it is for, where the form has one.
    pub url: Option<&'a str>,
    /// The model it asks for.
    pub model: &'a str,
    /// Prompt tokens by the estimate, at least 1.
    pub prompt_tokens: u32,
    /// Output tokens that it asks for at most, when it says so.
    pub output_tokens: Option<u32>,
    /// Kinds of content in it, in order of appearance, each once.
    pub content: Vec<Content>,
}

impl<'a> Line<'a> {
    /// A line of a file of this form. O(line).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(value: &'a Value, format: Format) -> Result<Line<'a>, Fault> {
        if !value.is_object() {
            return Err(Fault::Wrong { field: "line", expected: "an object" });
        }
        let id = text(value, "custom_id", "custom_id")?;
        let (url, asked) = match format {
            Format::OpenAi => {
                if text(value, "method", "method")? != "POST" {
                    return Err(Fault::Wrong { field: "method", expected: "`POST`" });
                }
                (Some(text(value, "url", "url")?), object(value, "body")?)
            }
            Format::Anthropic => (None, object(value, "params")?),
        };
        let mut size = Size::default();
        size.prompt(asked, format)?;
        let limits: &[&'static str] = match format {
            Format::OpenAi => &["max_completion_tokens", "max_tokens", "max_output_tokens"],
            Format::Anthropic => &["max_tokens"],
        };
        let most =
            limits.iter().find_map(|&field| Some((field, asked.get(field).filter(|most| !most.is_null())?)));
        let output_tokens = match most {
            None if format == Format::Anthropic => return Err(Fault::Missing("params.max_tokens")),
            None => None,
            Some((field, most)) => {
                let most = most.as_u64().and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
                Some(most.ok_or(Fault::Wrong { field, expected: "a whole number above 0" })?)
            }
        };
        let field = if format == Format::OpenAi { "body.model" } else { "params.model" };
        Ok(Line {
            id,
            url,
            model: text(asked, "model", field)?,
            prompt_tokens: u32::try_from(size.tokens).unwrap_or(u32::MAX).max(1),
            output_tokens,
            content: size.content,
        })
    }
}

/// A field that must be there and hold text; `shown` is what a fault calls it.
fn text<'a>(value: &'a Value, field: &str, shown: &'static str) -> Result<&'a str, Fault> {
    match value.get(field) {
        None | Some(Value::Null) => Err(Fault::Missing(shown)),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(_) => Err(Fault::Wrong { field: shown, expected: "text that is not empty" }),
    }
}

fn object<'a>(value: &'a Value, field: &'static str) -> Result<&'a Value, Fault> {
    match value.get(field) {
        None | Some(Value::Null) => Err(Fault::Missing(field)),
        Some(found) if found.is_object() => Ok(found),
        Some(_) => Err(Fault::Wrong { field, expected: "an object" }),
    }
}

/// What a prompt adds up to.
#[derive(Default)]
struct Size {
    tokens: u64,
    content: Vec<Content>,
}

impl Size {
    fn prompt(&mut self, asked: &Value, format: Format) -> Result<(), Fault> {
        match (format, asked.get("messages"), asked.get("input"), asked.get("prompt")) {
            (_, Some(messages), ..) => self.messages(messages)?,
            (Format::OpenAi, None, Some(input), _) => self.input(input)?,
            (Format::OpenAi, None, None, Some(prompt)) => self.input(prompt)?,
            (Format::OpenAi, None, None, None) => return Err(Fault::Missing("body.messages")),
            (Format::Anthropic, None, ..) => return Err(Fault::Missing("params.messages")),
        }
        for field in ["system", "instructions"] {
            if let Some(system) = asked.get(field).filter(|system| !system.is_null()) {
                self.tokens += PER_MESSAGE;
                self.parts(system)?;
            }
        }
        // Descriptions of tools are read by the model like text.
        if let Some(tools) = asked.get("tools").filter(|tools| !tools.is_null()) {
            self.json(tools);
        }
        Ok(())
    }

    fn messages(&mut self, messages: &Value) -> Result<(), Fault> {
        let Value::Array(messages) = messages else {
            return Err(Fault::Wrong { field: "messages", expected: "a list" });
        };
        if messages.is_empty() {
            return Err(Fault::Wrong { field: "messages", expected: "a list of at least one" });
        }
        messages.iter().try_for_each(|message| self.message(message))
    }

    fn message(&mut self, message: &Value) -> Result<(), Fault> {
        if !message.is_object() {
            return Err(Fault::Wrong { field: "messages", expected: "a list of objects" });
        }
        self.tokens += PER_MESSAGE;
        if let Some(content) = message.get("content").filter(|content| !content.is_null()) {
            self.parts(content)?;
        }
        if let Some(calls) = message.get("tool_calls").filter(|calls| !calls.is_null()) {
            self.json(calls);
        }
        Ok(())
    }

    /// Text, a list of texts or of messages, or tokens that were counted by the client.
    fn input(&mut self, input: &Value) -> Result<(), Fault> {
        match input {
            Value::String(text) => {
                self.tokens += PER_MESSAGE;
                self.text(text);
                Ok(())
            }
            Value::Array(items) if !items.is_empty() => items.iter().try_for_each(|item| match item {
                Value::Number(_) => {
                    self.tokens += 1;
                    Ok(())
                }
                Value::Object(fields) if fields.contains_key("content") => self.message(item),
                Value::Object(fields) if fields.contains_key("type") => {
                    self.json(item);
                    Ok(())
                }
                Value::String(_) | Value::Array(_) => self.input(item),
                _ => Err(Fault::Wrong { field: "input", expected: "text or messages" }),
            }),
            _ => Err(Fault::Wrong { field: "input", expected: "text, or a list of at least one" }),
        }
    }

    /// The content of a message: text, or parts.
    fn parts(&mut self, content: &Value) -> Result<(), Fault> {
        match content {
            Value::String(text) => {
                self.text(text);
                Ok(())
            }
            Value::Array(parts) => parts.iter().try_for_each(|part| self.part(part)),
            _ => Err(Fault::Wrong { field: "content", expected: "text or a list of parts" }),
        }
    }

    fn part(&mut self, part: &Value) -> Result<(), Fault> {
        let kind = part.get("type").and_then(Value::as_str);
        let kind =
            kind.ok_or(Fault::Wrong { field: "content", expected: "a list of parts with a `type`" })?;
        let held = |field: &'static str| {
            part.get(field).and_then(Value::as_str).ok_or(Fault::Wrong { field, expected: "text" })
        };
        match kind {
            "text" | "input_text" | "output_text" => self.text(held("text")?),
            "refusal" => self.text(held("refusal")?),
            "thinking" => self.text(held("thinking")?),
            "tool_result" => {
                if let Some(content) = part.get("content").filter(|content| !content.is_null()) {
                    self.parts(content)?;
                }
            }
            "tool_use" | "redacted_thinking" => self.json(part),
            "image" | "image_url" | "input_image" => self.note(Content::Image),
            "audio" | "input_audio" => self.note(Content::Audio),
            "video" | "video_url" | "input_video" => self.note(Content::Video),
            "file" | "input_file" | "document" => self.note(Content::File),
            other => return Err(Fault::UnknownPart(other.chars().take(60).collect())),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.tokens += text.len().div_ceil(BYTES_PER_TOKEN) as u64;
        self.note(Content::Text);
    }

    /// Counts a value as the text that it is written as.
    fn json(&mut self, value: &Value) {
        self.tokens += value.to_string().len().div_ceil(BYTES_PER_TOKEN) as u64;
    }

    fn note(&mut self, kind: Content) {
        if !self.content.contains(&kind) {
            self.content.push(kind);
        }
    }
}
