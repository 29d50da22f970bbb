//! `tidegate limits`: what it lists, what it compares, what it finds missing.

use std::process::{Command, Output};
use tidegate_sim::scenario::profile;

fn limits(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("limits").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_limit_is_shown_with_its_sentence_its_parameters_and_its_answer() {
    let output = limits(&["show", "dbx-qps-workspace-standard"]);
    assert_eq!(output.status.code(), Some(0));
    let text = text(&output);
    for part in ["200 for non-route optimized", "200/s", "sliding-log", "REQUEST_LIMIT_EXCEEDED", "(choice)"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(limits(&["show", "dbx-qps-workspace-standrad"]).status.code(), Some(2));
}

#[test]
fn a_limit_of_an_overlay_is_listed_only_when_it_is_on() {
    let off = text(&limits(&["list", "--profile", "digitalocean-inference"]));
    let on = text(&limits(&["list", "--profile", "digitalocean-inference", "--overlay", "public-api"]));
    assert!(!off.contains("do-api-hour") && off.contains("--overlay public-api"), "{off}");
    assert!(on.contains("do-api-hour"), "{on}");
    assert_eq!(limits(&["list", "--overlay", "publik"]).status.code(), Some(2));
}

#[test]
fn limits_of_the_same_thing_stand_side_by_side_whatever_they_are_called() {
    let output = limits(&["diff", "databricks-model-serving", "databricks-gcp-preview"]);
    assert_eq!(output.status.code(), Some(0));
    let text = text(&output);
    assert!(text.lines().any(|line| line.contains("297 s") && line.contains("120 s")), "{text}");
}

#[test]
fn a_difference_as_json_holds_each_value_with_row_and_provenance() {
    let output = limits(&["diff", "--json", "databricks-model-serving", "databricks-gcp-preview"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let deadline = &found["right"]["limits"]["gcp-exec-duration"];
    assert_eq!(deadline["parameters"]["at_most_ns"], 120_000_000_000_u64);
    assert_eq!(deadline["provenance"], "documented");
    for side in ["left", "right"] {
        for (name, limit) in found[side]["limits"].as_object().unwrap() {
            assert!(limit["row"].is_string() && limit["provenance"].is_string(), "{name}");
        }
    }
    let again = limits(&["diff", "--json", "databricks-model-serving", "databricks-gcp-preview"]);
    assert_eq!(output.stdout, again.stdout);
}

#[test]
fn every_documented_row_of_the_built_in_profiles_is_honoured_or_pending() {
    let output = limits(&["coverage", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["rows"], 110);
    assert_eq!(found["gaps"], 0);
    let pending = found["pending"].as_u64().unwrap();
    let strict = limits(&["coverage", "--strict"]);
    assert_eq!(strict.status.code(), Some(i32::from(pending > 0)));
}

#[test]
fn a_row_that_is_called_enforced_and_named_by_no_limit_is_a_gap() {
    let folder = std::env::temp_dir().join(format!("tidegate-gap-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("gap.toml");
    let text = "[profile]\nid = \"gap\"\ntitle = \"T\"\nas_of = \"undated\"\n\
                [rows.a]\nkind = \"rate\"\nquote = \"q\"\ndocument = \"d\"\nstanding = \"enforced\"\n";
    std::fs::write(&path, text).unwrap();
    let output = limits(&["coverage", "--profile", &path.to_string_lossy()]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 of 1 rows are honoured; 0 pending, 1 gaps"));
}

#[test]
fn a_new_profile_loads_and_is_never_written_over() {
    let folder = std::env::temp_dir().join(format!("tidegate-new-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("mine.toml");
    let shown = path.to_string_lossy().into_owned();
    assert_eq!(limits(&["new", &shown]).status.code(), Some(0));
    assert!(profile::load(&shown).is_ok());
    std::fs::write(&path, "# mine\n").unwrap();
    assert_eq!(limits(&["new", &shown]).status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn every_built_in_profile_is_valid_against_the_schema() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["schema", "--profile"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is a schema");
    for id in profile::built_in().chain(["template"]) {
        let text = std::fs::read_to_string(format!("sim/profiles/{id}.toml")).unwrap();
        let value: toml::Value = toml::from_str(&text).unwrap();
        let value = serde_json::to_value(value).unwrap();
        let problems: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{id}: {problems:#?}");
    }
}

#[test]
fn the_forecast_of_the_worked_example_reads_as_the_readme_says() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    for variant in [None, Some("preview")] {
        let mut arguments = vec!["check", "scenarios/two-gateways.toml"];
        arguments.extend(variant.iter().flat_map(|name| ["--variant", name]));
        let output = limits(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let printed = text(&output);
        let quoted: Vec<&str> = printed
            .lines()
            .filter(|line| line.contains(" binds") || line.contains("`gcp-exec-duration`"))
            .collect();
        for line in quoted {
            assert!(readme.contains(line), "the README does not say: {line}");
        }
    }
}
