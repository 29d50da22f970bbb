//! Readers against real traces, against themselves, and against noise.

use super::*;
use crate::workload::fixture::real;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

fn read(bytes: &[u8], format: Option<TraceFormat>) -> Result<Vec<Row>, TraceError> {
    let mut rows = Rows::from_reader(Path::new("t"), Box::new(Cursor::new(bytes.to_vec())), format)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next_row()? {
        out.push(row);
    }
    Ok(out)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn the_azure_trace_is_read_whole_and_exactly() {
    let Some(path) = real("azure_llm_2023_conv.csv") else { return };
    let stats = scan(&path, None).unwrap();
    assert_eq!((stats.format, stats.rows), (TraceFormat::Azure2023, 19_366));
    // 18:15:46.6805900 to 19:14:08.4025270.
    assert_eq!(stats.last, Span::from_nanos(3_501_721_937_000));
    assert_eq!((stats.prompt_most, stats.output_most), (14_050, 1_000));
    let pairs = pairs(&path, None).unwrap();
    assert_eq!(pairs[..2], [(374, 44), (396, 109)]);
    let sums = pairs.iter().fold((0u64, 0u64), |sum, p| (sum.0 + u64::from(p.0), sum.1 + u64::from(p.1)));
    assert_eq!(sums, AZURE_TOKENS);
}

/// Prompt and output tokens of the whole Azure conversation trace, summed by awk.
const AZURE_TOKENS: (u64, u64) = (22_361_870, 4_088_665);

#[test]
fn the_mooncake_trace_is_read_whole_with_its_chains() {
    let Some(path) = real("mooncake_fast25_conversation.jsonl") else { return };
    let stats = scan(&path, None).unwrap();
    assert_eq!((stats.format, stats.rows), (TraceFormat::Mooncake, 12_031));
    assert_eq!(stats.last, Span::from_millis(3_536_999));
    let mut rows = Rows::open(&path, None).unwrap();
    let first = rows.next_row().unwrap().unwrap();
    assert_eq!(first.chain.unwrap().hashes, (0..14).collect::<Vec<u64>>());
}

#[test]
fn the_servegen_files_are_read_whole() {
    let Some(path) = real("servegen_reason_deepseek-r1.jsonl") else { return };
    let stats = scan(&path, None).unwrap();
    assert_eq!((stats.format, stats.rows), (TraceFormat::ServeGen, 73));
    assert_eq!(stats.last, Span::from_secs(86_400));
    assert!((stats.borrowed_share - 0.154_380_129_9).abs() < 1e-9, "{}", stats.borrowed_share);
    assert_eq!(stats.prompt_most, 57_284);
    let Some(path) = real("servegen_language_m-large_day1.jsonl") else { return };
    assert_eq!(scan(&path, None).unwrap().rows, 101);
    assert_eq!(*pairs(&path, None).unwrap_err().problem, Problem::NoRows("servegen"));
}

#[test]
fn compressed_files_read_like_plain_ones() {
    let text = "arrival_s,prompt_tokens,output_tokens\n0.5,10,20\n0.75,30,40\n".as_bytes();
    assert_eq!(read(&gzip(text), None), read(text, None));
}

#[test]
fn memory_does_not_grow_with_a_line_that_never_ends() {
    let endless = std::io::repeat(b'1').take(1 << 40);
    let error = scan_reader(Path::new("t"), Box::new(endless), Some(TraceFormat::Mooncake)).unwrap_err();
    assert_eq!(*error.problem, Problem::LongLine(lines::LINE_MOST));
}

/// One valid file of each format.
const SAMPLES: [(TraceFormat, &str); 5] = [
    (TraceFormat::Plain, "arrival_s,prompt_tokens,output_tokens\n0.5,10,20\n1e1,30,40\n"),
    (TraceFormat::Azure2023, "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"),
    (
        TraceFormat::Mooncake,
        "{\"timestamp\": 3, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 1]}\n",
    ),
    (
        TraceFormat::ServeGen,
        "{\"client_id\":0,\"dataset_present\":true,\"windows_600s\":[[0,0.5,2.0,\"Gamma\",0.25,8.0]],\
         \"token_pdf_by_window_start\":{\"0\":{\"input_tokens\":[[10,0.5]],\"output_tokens\":[[7,1]]}}}\n",
    ),
    (
        TraceFormat::BurstGpt,
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,472,18,490,API log\n",
    ),
];

#[test]
fn the_samples_are_valid() {
    for (format, text) in SAMPLES {
        let bytes = Box::new(Cursor::new(text));
        assert_eq!(scan_reader(Path::new("t"), bytes, Some(format)).unwrap().format, format);
        assert_eq!(TraceFormat::recognise(text.lines().next().unwrap()), Some(format));
    }
}

/// Times in nanoseconds (nondecreasing from zero) with lengths.
fn requests() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    let request = (0u64..5_000_000_000, 1..=TOKENS_MOST, 1..=TOKENS_MOST);
    prop::collection::vec(request, 1..50).prop_map(|gaps| {
        let mut at = 0;
        let rows = gaps.into_iter().enumerate().map(|(index, (gap, prompt, output))| {
            at += if index == 0 { 0 } else { gap };
            (at, prompt, output)
        });
        rows.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_what_is_read(requests in requests(), start in 0u64..1_000_000_000) {
        let mut plain = "arrival_s,prompt_tokens,output_tokens\n".to_owned();
        let mut micros = "output_tokens,arrival_us,prompt_tokens,request_id\n".to_owned();
        let mut mooncake = String::new();
        for &(at, prompt, output) in &requests {
            let (at_ns, at_us) = (at + start, at / 1000);
            let (whole, part) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
            writeln!(plain, "{whole}.{part:09},{prompt},{output}").unwrap();
            writeln!(micros, "{output},{at_us},{prompt},x").unwrap();
            let ms = at / 1_000_000;
            writeln!(
                mooncake,
                "{{\"timestamp\": {ms}, \"input_length\": {prompt}, \"output_length\": {output}, \"hash_ids\": [7]}}",
            ).unwrap();
        }
        for (text, unit) in [(plain, 1), (micros, 1_000), (mooncake, 1_000_000)] {
            let rows: Vec<_> = read(text.as_bytes(), None)
                .unwrap()
                .into_iter()
                .map(|row| (row.at.as_nanos(), row.prompt_tokens, row.output_tokens))
                .collect();
            let expected: Vec<_> = requests.iter().map(|r| (r.0 / unit * unit, r.1, r.2)).collect();
            prop_assert_eq!(rows, expected);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_any_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for input in [bytes.clone(), gzip(&bytes)] {
            for format in TraceFormat::ALL.map(Some).into_iter().chain([None]) {
                let _ = scan_reader(Path::new("t"), Box::new(Cursor::new(input.clone())), format);
            }
        }
    }

    #[test]
    fn damaged_traces_never_panic_any_reader(
        sample in 0..SAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let (format, text) = SAMPLES[sample];
        let mut bytes = text.as_bytes().to_vec();
        for (place, byte, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"-0.9eN,\"[{\n"[usize::from(byte) % 11]),
                _ => bytes.truncate(at),
            }
        }
        for input in [bytes.clone(), gzip(&bytes)] {
            for given in [Some(format), None] {
                let _ = scan_reader(Path::new("t"), Box::new(Cursor::new(input.clone())), given);
            }
        }
    }
}
