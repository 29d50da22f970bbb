//! The official `openai` clients against the emulator, unchanged. Opt-in, because it installs them from their registries:
//! `TIDEGATE_SDK_TESTS=python,node cargo test --test it sdk -- --nocapture`.

use crate::served::{Emulator, text};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the test of a client is wanted; says aloud that it is skipped when not.
fn is_wanted(client: &str) -> bool {
    let wanted = std::env::var("TIDEGATE_SDK_TESTS").unwrap_or_default();
    let is_wanted = wanted.split(',').any(|wanted| wanted == client);
    if !is_wanted {
        eprintln!("SKIPPED: the {client} client; TIDEGATE_SDK_TESTS={client} installs and runs it");
    }
    is_wanted
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
    if !is_wanted("python") {
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
    if !is_wanted("node") {
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
