//! The official `openai` clients against the emulator, unchanged. Opt-in, because it installs them from their registries:
//! `TIDEGATE_SDK_TESTS=1 cargo test --test it sdk -- --nocapture`.

use crate::served::{Emulator, text};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the tests are wanted; says aloud that they are skipped when not.
fn are_wanted(what: &str) -> bool {
    let wanted = std::env::var_os("TIDEGATE_SDK_TESTS").is_some_and(|value| value == "1");
    if !wanted {
        eprintln!("SKIPPED: the test of the {what} client; set TIDEGATE_SDK_TESTS=1 to install and run it");
    }
    wanted
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where packages are installed; kept between runs.
fn folder(name: &str) -> PathBuf {
    let folder = root().join("target/sdk").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

/// Runs a client's script against two emulators: one that takes everything, one with a rate limit.
fn against_emulators(client: &mut Command, script: &Path) {
    let open = Emulator::start("tests/data/sdk.toml", &[]);
    let limited = Emulator::start("tests/data/sdk-limited.toml", &[]);
    let output = client.arg(script).args([&open.url, &limited.url]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for emulator in [open, limited] {
        let (code, said) = emulator.stop();
        assert!(code == Some(0) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn the_python_sdk_works_unchanged() {
    if !are_wanted("Python") {
        return;
    }
    let folder = folder("python");
    let python = folder.join("bin/python");
    if !folder.join("bin/pip").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "openai"]));
    against_emulators(&mut Command::new(&python), &root().join("tests/sdk/python/sdk.py"));
}

#[test]
fn the_node_sdk_works_unchanged() {
    if !are_wanted("Node") {
        return;
    }
    let folder = folder("node");
    if !folder.join("node_modules/openai").exists() {
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "openai"]).current_dir(&folder));
    }
    let mut node = Command::new("node");
    node.current_dir(&folder);
    against_emulators(&mut node, &root().join("tests/sdk/node/sdk.mjs"));
}
