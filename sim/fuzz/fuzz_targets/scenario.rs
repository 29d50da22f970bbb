//! Any text is a scenario or is refused with diagnostics that point into it; never a panic.
//!
//! Start from the shipped and the broken files:
//! `cargo +nightly fuzz run scenario fuzz/corpus/scenario ../scenarios ../tests/bad/scenarios`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_sim::scenario::{self, Overrides};

fuzz_target!(|text: &str| {
    if let Err(found) = scenario::check_str("fuzz.toml", text, &Overrides::default()) {
        assert!(!found.items.is_empty());
        for item in &found.items {
            let source = &found.sources[item.source].text;
            assert!(source.get(item.span.clone()).is_some(), "{item:?}");
        }
        // Printing walks every span.
        let _ = found.to_string();
    }
});
