//! Latency histograms as HdrHistogram V2 interval logs, the format of the HdrHistogram tools.
//!
//! Values are nanoseconds. Each log has one interval: the counted part of the scenario, in simulated time from 0.

use super::files::{ResultsError, read_text};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The header that the tools look for.
const VERSION: &str = "[Histogram log format version 1.3]";

/// The log of one histogram: `comments`, then one interval that starts at `start` and lasts `length`.
pub fn encode(histogram: &Histogram<u64>, comments: &[String], start: Duration, length: Duration) -> Vec<u8> {
    let mut serializer = V2DeflateSerializer::new();
    let mut bytes = Vec::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(VERSION);
    for comment in comments {
        builder.add_comment(comment);
    }
    // The interval's maximum is for human eyes: milliseconds, as the Java tools write it.
    builder.with_start_time(SystemTime::UNIX_EPOCH).with_max_value_divisor(1e6);
    builder
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("writing to memory cannot fail")
        .write_histogram(histogram, start, length, None::<Tag<'_>>)
        .expect("a histogram fits in memory twice");
    bytes
}

/// Reads a log back; several intervals are added up.
pub fn read(path: &Path) -> Result<Histogram<u64>, ResultsError> {
    decode(&read_text(path)?).map_err(|problem| ResultsError::malformed(path, problem))
}

/// Reads the text of a log.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let mut all: Option<Histogram<u64>> = None;
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let entry = entry.map_err(|error| format!("not a histogram log: {error:?}"))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let packed = base64_decode(interval.encoded_histogram())?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut std::io::Cursor::new(packed))
            .map_err(|error| format!("broken histogram: {error}"))?;
        match &mut all {
            Some(all) => all.add(&histogram).map_err(|error| format!("intervals do not add up: {error}"))?,
            None => all = Some(histogram),
        }
    }
    all.ok_or_else(|| "a histogram log without an interval".to_owned())
}

/// Standard base64 with padding (RFC 4648), which the log reader leaves to its caller.
fn base64_decode(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("`{}` is not base64", char::from(digit).escape_default())),
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Ok(bytes)
}
