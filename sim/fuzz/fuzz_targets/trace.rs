//! No bytes make a trace reader panic, in any format, plain or gzip.
//!
//! The first byte picks the format (or none, to go by the first line). Start from the corpus of broken traces:
//! `cargo +nightly fuzz run trace fuzz/corpus/trace ../tests/bad/traces`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::path::Path;
use tidegate_sim::scenario::TraceFormat;
use tidegate_sim::workload::trace::scan_reader;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let format = TraceFormat::ALL.get(usize::from(choice) % (TraceFormat::ALL.len() + 1)).copied();
    let _ = scan_reader(Path::new("fuzz"), Box::new(Cursor::new(bytes.to_vec())), format);
});
