//! Names of the trace formats, and telling them apart by a file's first line.

use crate::scenario::TraceFormat;

impl TraceFormat {
    /// All formats.
    pub const ALL: [TraceFormat; 5] = [
        TraceFormat::Plain,
        TraceFormat::Azure2023,
        TraceFormat::Mooncake,
        TraceFormat::ServeGen,
        TraceFormat::BurstGpt,
    ];

    /// The name used in scenarios and flags.
    pub fn name(self) -> &'static str {
        match self {
            TraceFormat::Plain => "plain",
            TraceFormat::Azure2023 => "azure-2023",
            TraceFormat::Mooncake => "mooncake",
            TraceFormat::ServeGen => "servegen",
            TraceFormat::BurstGpt => "burstgpt",
        }
    }

    /// The format with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether the file describes clients to generate requests from, instead of the requests themselves.
    pub fn is_generator(self) -> bool {
        self == TraceFormat::ServeGen
    }

    /// The format whose files begin with this line.
    pub fn recognise(line: &str) -> Option<Self> {
        if line.trim_start().starts_with('{') {
            return match line {
                _ if line.contains("\"windows_600s\"") => Some(TraceFormat::ServeGen),
                _ if line.contains("\"input_length\"") => Some(TraceFormat::Mooncake),
                _ => None,
            };
        }
        let mut columns = line.split(',').map(|name| name.trim().trim_matches('"'));
        columns.find_map(|name| match name {
            "TIMESTAMP" | "ContextTokens" | "GeneratedTokens" => Some(TraceFormat::Azure2023),
            "Timestamp" | "Request tokens" | "Response tokens" => Some(TraceFormat::BurstGpt),
            "arrival_s" | "arrival_ms" | "arrival_us" | "prompt_tokens" | "output_tokens" => {
                Some(TraceFormat::Plain)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_name() {
        for format in TraceFormat::ALL {
            assert_eq!(TraceFormat::from_name(format.name()), Some(format));
        }
        assert_eq!(TraceFormat::from_name("csv"), None);
    }

    #[test]
    fn the_first_line_tells_the_format() {
        for (line, format) in [
            ("arrival_s,prompt_tokens,output_tokens", Some(TraceFormat::Plain)),
            ("request_id,arrival_us,prompt_tokens,output_tokens", Some(TraceFormat::Plain)),
            ("TIMESTAMP,ContextTokens,GeneratedTokens", Some(TraceFormat::Azure2023)),
            (
                "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
                Some(TraceFormat::BurstGpt),
            ),
            (
                r#"{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}"#,
                Some(TraceFormat::Mooncake),
            ),
            (
                r#"{"client_id":0,"windows_600s":[],"token_pdf_by_window_start":{}}"#,
                Some(TraceFormat::ServeGen),
            ),
            ("a,b,c", None),
            ("{}", None),
        ] {
            assert_eq!(TraceFormat::recognise(line), format, "{line}");
        }
    }
}
