//! Broken scenario files: every one is refused, with a diagnostic that says where and what to do, never a panic.
//!
//! A file under `tests/bad/scenarios` may begin with `#! --set KEY=VALUE` or `#! --variant NAME` lines: arguments to
//! load it with. What it is refused with stands beside it in a `.snap` file (`cargo insta review` after a change).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_sim::scenario::{self, Diagnostics, Overrides};

/// Scenario files of a folder, sorted.
pub(crate) fn scenarios(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// The arguments a broken file asks for.
fn overrides(path: &Path) -> Overrides {
    let mut overrides = Overrides::default();
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    for line in text.lines().map_while(|line| line.strip_prefix("#! ")) {
        if let Some(set) = line.strip_prefix("--set ") {
            overrides.set.push(set.to_owned());
        } else if let Some(variant) = line.strip_prefix("--variant ") {
            overrides.variant = Some(variant.to_owned());
        } else {
            panic!("{}: unknown argument `{line}`", path.display());
        }
    }
    overrides
}

#[test]
fn every_broken_scenario_is_refused_with_its_diagnostic() {
    let files = scenarios("tests/bad/scenarios");
    assert!(files.len() >= 150, "the corpus has {} files", files.len());
    insta::with_settings!({
        snapshot_path => "../bad/scenarios",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        for path in files {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let found = scenario::check(&path, &overrides(&path)).expect_err(&name);
            well_formed(&found);
            insta::assert_snapshot!(name, shown(&found));
        }
    });
}

#[test]
fn every_broken_profile_is_refused_with_its_diagnostic() {
    let files = scenarios("tests/bad/profiles");
    assert!(files.len() >= 50, "the corpus has {} files", files.len());
    insta::with_settings!({
        snapshot_path => "../bad/profiles",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        for path in files {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let found = scenario::profile::load(&path.to_string_lossy()).expect_err(&name);
            well_formed(&found);
            insta::assert_snapshot!(name, shown(&found));
        }
    });
}

/// The errors, each with the text it underlines.
fn shown(found: &Diagnostics) -> String {
    let mut out = String::new();
    for item in &found.items {
        let (line, column) = found.position(item);
        let name = &found.sources[item.source].name;
        let underlined = found.underlined(item).lines().next().unwrap_or("");
        out += &format!("{name}:{line}:{column}: {}\n", item.headline());
        out += &format!("  under: {underlined:?}\n");
        if let Some(hint) = &item.hint {
            out += &format!("  hint: {hint}\n");
        }
    }
    out
}

/// What holds of every diagnostic, whatever it says.
fn well_formed(found: &Diagnostics) {
    assert!(!found.items.is_empty());
    for item in &found.items {
        let message = &item.message;
        assert!(found.sources[item.source].text.get(item.span.clone()).is_some(), "{item:?}");
        assert!(!message.contains('\n'), "one line: {message:?}");
        assert!(!message.ends_with('.'), "no full stop: {message}");
        let first = message.split(' ').next().expect("a message");
        let is_name = first.chars().all(|c| !c.is_lowercase());
        assert!(is_name || !first.starts_with(char::is_uppercase), "lower case: {message}");
    }
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_and_underlined() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", "tests/bad/scenarios/dangling-names.toml"])
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
      × tests/bad/scenarios/dangling-names.toml: 3 errors

    Error: 
      × pools.chat.model: no model is named `mm`
        ╭─[tests/bad/scenarios/dangling-names.toml:9:9]
      8 │ [pools.chat]
      9 │ model = "mm"
        ·         ────
     10 │ step_time = { kind = "linear", base = "8ms", per_sequence = "20us" }
        ╰────
      help: declare it with `[models.mm]`; declared: `m`

    Error: 
      × tiers.t.pools[0]: no pool is named `caht`
        ╭─[tests/bad/scenarios/dangling-names.toml:14:10]
     13 │ [tiers.t]
     14 │ pools = ["caht"]
        ·          ──────
     15 │ 
        ╰────
      help: did you mean `chat`?

    Error: 
      × workloads.chat.tier: no tier is named `gold`
        ╭─[tests/bad/scenarios/dangling-names.toml:17:8]
     16 │ [workloads.chat]
     17 │ tier = "gold"
        ·        ──────
     18 │ arrivals = { kind = "poisson", rate = "2/s" }
        ╰────
      help: declare it with `[tiers.gold]`; declared: `t`
    "#);
}

#[test]
fn an_error_in_an_override_underlines_the_override() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", "scenarios/mmc.toml", "--set", "pools.workers.servers=none"])
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
     × pools.workers.servers: `none` is a string, expected an integer
      ╭─[--set:1:23]
    1 │ pools.workers.servers=none
      ·                       ────
      ╰────
    "#);
}

/// A file of the folders with bytes replaced, cut, doubled, or with one value swapped for another.
fn mutated(folders: &[&str]) -> impl Strategy<Value = String> + use<> {
    let texts: Vec<String> = folders
        .iter()
        .flat_map(|folder| scenarios(folder))
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
        .collect();
    let piece = prop_oneof![
        Just("\"".to_owned()),
        Just("[[".to_owned()),
        Just("nan".to_owned()),
        Just("-1".to_owned()),
        Just("1e400".to_owned()),
        Just("\"99999999999999999999h\"".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("µ".to_owned()),
        Just("\0".to_owned()),
        Just("\"${TRACE}\"".to_owned()),
        "[0-9]{1,30}",
        "[a-z_.]{1,8} = ",
    ];
    let change = (any::<prop::sample::Index>(), 0usize..12, piece);
    (prop::sample::select(texts), prop::collection::vec(change, 1..4)).prop_map(|(mut text, changes)| {
        for (index, length, piece) in changes {
            if text.is_empty() {
                text = piece;
                continue;
            }
            let mut start = index.index(text.len());
            let mut end = (start + length).min(text.len());
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(start..end, &piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_scenario_loads_or_is_refused_but_never_panics(text in mutated(&["scenarios", "tests/bad/scenarios"])) {
        if let Err(found) = scenario::check_str("scenarios/mutated.toml", &text, &Overrides::default()) {
            well_formed(&found);
        }
    }

    #[test]
    fn a_mutated_profile_loads_or_is_refused_but_never_panics(
        text in mutated(&["sim/profiles", "tests/bad/profiles"])
    ) {
        if let Err(found) = scenario::profile::load_str("mutated.toml", &text) {
            well_formed(&found);
        }
    }

    #[test]
    fn an_override_of_any_text_is_applied_or_refused_but_never_panics(set in "\\PC{0,24}=\\PC{0,24}") {
        let overrides = Overrides { set: vec![set], ..Overrides::default() };
        if let Err(found) = scenario::load(Path::new("scenarios/mmc.toml"), &overrides) {
            well_formed(&found);
        }
    }
}
