//! Any bytes are a request that the emulator understands, or are refused with a reason; never a panic.
//!
//! The same is said of generated bodies in the suite (`emulator/wire/ask/tests.rs`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_loadgen::emulator::wire::ask::{Asked, Kind, read};

fuzz_target!(|body: &[u8]| {
    for kind in [Kind::Chat, Kind::Completions, Kind::Embeddings, Kind::Invocation] {
        match read(kind, body, true) {
            Ok(asked) => {
                assert_ne!(asked.kind, Kind::Invocation);
                assert!(asked.inputs >= 1);
                assert!(asked.max_tokens.is_none_or(|most| most >= 1 && most >= asked.min_tokens));
                let uncounted = read(kind, body, false).expect("counting refuses nothing");
                assert_eq!(uncounted, Asked { words: 0, prefix: 0, ..asked });
            }
            Err(wrong) => assert!(!wrong.message.is_empty()),
        }
    }
});
