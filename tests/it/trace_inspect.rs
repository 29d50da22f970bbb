//! `tidegate trace inspect` on a trace small enough to check by hand.

use std::process::Command;

#[test]
fn inspecting_prints_figures_lengths_and_a_histogram_with_units() {
    let run = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["trace", "inspect", "tests/data/four-chats.jsonl"])
        .output()
        .expect("the command runs");
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stderr.is_empty());
    insta::assert_snapshot!(String::from_utf8_lossy(&run.stdout));
}
