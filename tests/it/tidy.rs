//! What a reader may rely on without reading: imports run one way, files stay readable, the project speaks of itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the model, and what each may import. The table of ARCHITECTURE.md.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("rng", &[]),
    ("theory", &[]),
    ("dist", &["time", "rng"]),
    ("request", &["time"]),
    ("limits", &["time"]),
    ("table", &["time", "rng", "request"]),
    ("profile", &["time", "request", "limits"]),
    ("hardware", &["replica::step_time"]),
    ("jobfile", &[]),
    ("observe", &["time", "request", "limits", "scenario"]),
    (
        "scenario",
        &[
            "time",
            "dist",
            "request",
            "limits",
            "profile",
            "hardware",
            "jobfile",
            "replica::step_time",
            "workload",
        ],
    ),
    ("calibration", &["time", "request", "hardware", "replica::step_time", "scenario", "observe"]),
    ("workload", &["time", "rng", "dist", "request", "scenario"]),
    ("replica", &["time", "rng", "request", "table", "scenario", "observe", "hardware"]),
    ("slots", &["time", "request", "table", "observe", "replica"]),
    ("fleet", &["time", "table", "scenario"]),
    ("batch", &["time", "request", "observe", "scenario", "workload"]),
    ("gateway", &["time", "rng", "request", "table", "limits", "profile", "scenario"]),
    ("control", &["time", "request", "limits", "profile", "scenario"]),
    (
        "engine",
        &[
            "time", "rng", "request", "table", "limits", "profile", "scenario", "workload", "gateway",
            "control", "replica", "slots", "fleet", "observe", "batch",
        ],
    ),
    ("forecast", &["time", "dist", "limits", "profile", "scenario", "workload", "control", "gateway"]),
    ("results", &["time", "rng", "request", "profile", "scenario", "observe"]),
    (
        "experiment",
        &["time", "rng", "request", "limits", "scenario", "workload", "engine", "observe", "results"],
    ),
    ("report", &["time", "request", "scenario", "observe", "results"]),
];

/// Modules of the live side. Emulator and load generator know nothing of each other: they meet on a socket.
const LIVE_MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("pacer", &[]),
    ("client", &["clock"]),
    ("emulator", &["clock", "pacer"]),
    ("load", &["clock", "pacer", "client"]),
    ("probe", &["clock", "client"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(below: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git", "corpus"].contains(&name.as_str()) {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join(below), ".rs", &mut found);
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file without comments and without its test module.
fn shipped_code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a file is compiled only for tests.
fn is_test_file(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.iter().any(|part| {
        ["tests", "tests.rs", "testing.rs", "fixture.rs", "synthetic.rs"].contains(&part.as_ref())
    })
}

#[test]
fn imports_run_one_way() {
    let mut wrong = imports_that_do_not_fit("sim/src", MAY_IMPORT);
    wrong.extend(imports_that_do_not_fit("loadgen/src", LIVE_MAY_IMPORT));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn imports_that_do_not_fit(below: &str, table: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    let base = root().join(below);
    for (path, text) in sources(below) {
        let inside = path.strip_prefix(&base).unwrap();
        let module = inside.iter().next().unwrap().to_string_lossy().replace(".rs", "");
        if module == "lib" || is_test_file(inside) {
            continue;
        }
        let allowed = table.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = allowed else {
            wrong.push(format!("module `{module}` is not in the table"));
            continue;
        };
        for (line, code) in shipped_code(&text).lines().enumerate() {
            for part in code.split("crate::").skip(1) {
                let end =
                    part.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(part.len());
                let target = &part[..end];
                let first = target.split("::").next().unwrap();
                let is_module = table.iter().any(|(name, _)| *name == first);
                let fine = first == module || allowed.iter().any(|allowed| target.starts_with(allowed));
                if is_module && !fine {
                    wrong.push(format!(
                        "{}:{}: `{module}` must not import `{target}`",
                        inside.display(),
                        line + 1
                    ));
                }
            }
        }
    }
    wrong
}

#[test]
fn the_model_knows_no_socket_no_clock_and_no_command_line() {
    let manifest = fs::read_to_string(root().join("sim/Cargo.toml")).unwrap();
    for banned in ["tokio", "hyper", "goose", "clap", "reqwest", "miette"] {
        assert!(!manifest.contains(&format!("\n{banned}")), "sim depends on {banned}");
    }
}

#[test]
fn no_file_outgrows_its_noun() {
    // A long list may be long: the declarations of a scenario file are one.
    let most = 850;
    let long: Vec<String> = ["src", "sim/src", "loadgen/src"]
        .into_iter()
        .flat_map(sources)
        .filter(|(path, _)| !is_test_file(path.strip_prefix(root()).unwrap()))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > most)
        .map(|(path, lines)| format!("{}: {lines} lines, more than {most}", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = Vec::new();
    for (path, text) in ["src", "sim/src", "loadgen/src", "tests/it"].into_iter().flat_map(sources) {
        found.extend(
            marks
                .iter()
                .filter(|mark| text.contains(**mark))
                .map(|mark| format!("{}: {mark}", path.display())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_module_is_in_the_architecture_document() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: BTreeSet<&str> = document.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    for (module, _) in MAY_IMPORT.iter().chain(LIVE_MAY_IMPORT) {
        assert!(named.contains(module), "ARCHITECTURE.md does not mention `{module}`");
    }
}
