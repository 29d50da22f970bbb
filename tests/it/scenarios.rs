//! Every shipped scenario is valid: for the loader, for the JSON Schema, in each of its variants.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::bad_input::scenarios as files_of;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_sim::engine::{Mode, Totals, simulate};
use tidegate_sim::observe::recorder::Recorder;
use tidegate_sim::scenario::{self, Arrivals, Engine, Overrides, Scenario};
use tidegate_sim::workload::Source;

/// Files under `scenarios/`, with the trace of those that need one; `None` when it is not there.
fn shipped() -> Vec<(PathBuf, Option<Overrides>)> {
    let needs_trace = |path: &Path| std::fs::read_to_string(path).unwrap().contains("${TRACE}\"");
    let with = |path: PathBuf| {
        if !needs_trace(&path) {
            return (path, Some(Overrides::default()));
        }
        let trace = azure_trace();
        (path, trace.map(|trace| Overrides { trace: Some(trace), ..Overrides::default() }))
    };
    files_of("scenarios").into_iter().map(with).collect()
}

/// The Azure conversation trace, where somebody put it.
fn azure_trace() -> Option<PathBuf> {
    let given = std::env::var_os("TIDEGATE_TRACE").map(PathBuf::from);
    let beside = PathBuf::from("../shared/data/traces/azure_llm_2023_conv.csv");
    given.into_iter().chain([beside]).find(|path| path.is_file())
}

#[test]
fn every_shipped_scenario_and_variant_loads() {
    let mut loaded = 0;
    for (path, overrides) in shipped() {
        let Some(overrides) = overrides else {
            eprintln!("skipped: {} needs a trace that is not here (set TIDEGATE_TRACE)", path.display());
            continue;
        };
        let checked = scenario::check(&path, &overrides).unwrap_or_else(|found| panic!("{found}"));
        let names = scenario::variant_names(&path).unwrap();
        let variants: Vec<String> = checked.variants.iter().map(|s| s.variant.clone().unwrap()).collect();
        assert_eq!(names, variants);
        assert!(!checked.base.properties.is_empty() || checked.base.name == "bench");
        loaded += 1;
    }
    assert!(loaded >= 8, "only {loaded} scenarios were loaded");
}

#[test]
fn every_shipped_scenario_runs_and_each_property_has_a_figure() {
    for (path, overrides) in shipped() {
        let Some(mut overrides) = overrides else {
            eprintln!("skipped: {} needs a trace that is not here (set TIDEGATE_TRACE)", path.display());
            continue;
        };
        // A day and a million requests, shortened; the rest as it is.
        let shorter = [("bench.toml", "200s"), ("diurnal.toml", "3h")];
        let shorter = shorter.iter().find(|(name, _)| path.ends_with(name));
        overrides.set.extend(shorter.map(|(_, horizon)| format!("scenario.horizon={horizon}")));
        if path.ends_with("diurnal.toml") {
            overrides.set.push("workloads.reports.enabled=false".into());
        }
        let scenario = scenario::load(&path, &overrides).unwrap_or_else(|found| panic!("{found}"));
        let sources: Vec<Source> = (0..scenario.workloads.len())
            .map(|workload| Source::open(&scenario, workload as u16, scenario.seed).unwrap())
            .collect();
        let mut recorder = Recorder::new(&scenario);
        let go_on = |_, _: &Totals| ControlFlow::Continue(());
        let totals = simulate(&scenario, sources, scenario.seed, Mode::Fast, &mut recorder, go_on);
        assert!(totals.offered > 1_000, "{}: {totals:?}", path.display());
        let recording = recorder.finish(totals.ended);
        for property in &scenario.properties {
            let reading = recording.reading(property.workload, &property.measure);
            assert!(reading.is_some(), "{}: `{}` has no figure", path.display(), property.name);
        }
    }
}

#[test]
fn every_shipped_scenario_is_valid_against_the_schema() {
    let validator = jsonschema::draft202012::new(&scenario::schema()).expect("the schema is a schema");
    for path in files_of("scenarios") {
        let text = std::fs::read_to_string(&path).unwrap();
        let value: toml::Value = toml::from_str(&text).unwrap();
        let value = serde_json::to_value(value).unwrap();
        let problems: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_loader_refuses_in_shape() {
    let validator = jsonschema::draft202012::new(&scenario::schema()).unwrap();
    for name in ["unknown-key-typo", "unit-missing-rate", "unknown-kind", "wrong-type-count", "zero-replicas"]
    {
        let text = std::fs::read_to_string(format!("tests/bad/scenarios/{name}.toml")).unwrap();
        let value: toml::Value = toml::from_str(&text).unwrap();
        assert!(!validator.is_valid(&serde_json::to_value(value).unwrap()), "{name}");
    }
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(value: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(|p| p.as_object()) {
            for (key, schema) in properties {
                let below = format!("{path}.{key}");
                if schema.get("description").is_none() && schema.get("const").is_none() {
                    bare.push(below.clone());
                }
                walk(schema, &below, bare);
            }
        }
        for form in ["oneOf", "anyOf", "items"].iter().filter_map(|key| value.get(key)) {
            for (index, schema) in form.as_array().into_iter().flatten().enumerate() {
                walk(schema, &format!("{path}/{index}"), bare);
            }
        }
    }
    let schema = scenario::schema();
    let mut bare = Vec::new();
    walk(&schema, "", &mut bare);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        walk(definition, name, &mut bare);
    }
    assert!(bare.is_empty(), "{bare:?}");
}

fn load(text: &str, set: &[&str]) -> Scenario {
    let overrides = Overrides { set: set.iter().map(|&s| s.to_owned()).collect(), ..Overrides::default() };
    scenario::load_str("scenarios/test.toml", text, &overrides).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn the_hash_is_of_the_values_not_of_their_spelling() {
    let text = std::fs::read_to_string("scenarios/mmc.toml").unwrap();
    let base = load(&text, &[]);
    assert_eq!(base.hash.len(), 64);
    let same = text.replace("\"100ms\"", "\"0.1s\"").replace("\"32/s\"", "\"1920/min\"") + "\n# a comment\n";
    assert_eq!(load(&same, &["scenario.question=Something else?"]).hash, base.hash);
    assert_eq!(load(&text, &["properties.0.at_most=0.178s"]).hash, base.hash);
    assert_ne!(load(&text, &["pools.workers.servers=5"]).hash, base.hash);
    assert_ne!(load(&text, &["scenario.seed=2"]).hash, base.hash);
}

#[test]
fn a_trace_enters_the_hash_with_its_contents_not_its_path() {
    let text = std::fs::read_to_string("scenarios/crosscheck.toml").unwrap();
    let relative = load(&text, &[]);
    let trace = Some(PathBuf::from("tests/data/x1_workload.csv"));
    let set = vec!["workloads.x1.arrivals.path=${TRACE}".to_owned()];
    let overrides = Overrides { set, trace, variant: None };
    let absolute = scenario::load_str("scenarios/test.toml", &text, &overrides).unwrap();
    assert_eq!(relative.hash, absolute.hash);
    let Arrivals::Trace(trace) = &relative.workloads[0].arrivals else { panic!("a trace") };
    assert_eq!(trace.rows, 2_000);
}

#[test]
fn overrides_and_variants_change_what_they_name() {
    let path = Path::new("scenarios/chat.toml");
    let with = |set: &[&str], variant: Option<&str>| {
        let set = set.iter().map(|&s| s.to_owned()).collect();
        let variant = variant.map(str::to_owned);
        scenario::load(path, &Overrides { set, variant, trace: None })
            .unwrap_or_else(|found| panic!("{found}"))
    };
    assert_eq!(with(&[], None).pools[0].replicas, 8);
    assert_eq!(with(&["pools.chat.replicas=4"], None).pools[0].replicas, 4);
    assert_eq!(with(&[], Some("four-replicas")).pools[0].replicas, 4);
    // `--set` has the last word.
    assert_eq!(with(&["pools.chat.replicas=3"], Some("four-replicas")).pools[0].replicas, 3);
    assert_eq!(with(&["workloads.api.enabled=false", "properties.3.enabled=false"], None).workloads.len(), 1);
    assert_eq!(with(&["scenario.replications=10"], None).replications.looks, [10]);
    assert_eq!(with(&[], None).replications.looks, [10, 20, 40]);
}

#[test]
fn a_cache_is_sized_by_the_rule_of_the_hardware() {
    let path = Path::new("scenarios/chat.toml");
    let blocks = |set: &str| {
        let overrides = Overrides { set: vec![set.to_owned()], ..Overrides::default() };
        let scenario = scenario::load(path, &overrides).unwrap_or_else(|found| panic!("{found}"));
        let Engine::Llm(engine) = &scenario.pools[0].engine else { panic!("an llm pool") };
        engine.kv.blocks
    };
    // 8.03e9 BF16 parameters leave 72 - 15 - 1.15 GiB for blocks of 16 tokens x 128 KiB.
    assert!((26_000..30_000).contains(&blocks("scenario.seed=1")), "{}", blocks("scenario.seed=1"));
    assert_eq!(blocks("pools.chat.kv={ memory = \"16GiB\" }"), 8_192);
    assert_eq!(blocks("pools.chat.kv={ blocks = 5000 }"), 5_000);
}

#[test]
fn check_says_what_a_scenario_contains() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["check", "scenarios/mmc.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r#"
    ok: mmc: 1 model, 1 pool, 1 replica, 1 tier, 1 workload, 1 slots pool, 4h, 10 replications, 3 properties
    ok: mmc (variant constant-service): 1 model, 1 pool, 1 replica, 1 tier, 1 workload, 1 slots pool, 4h, 10 replications, 2 properties
    "#);
}

#[test]
fn schema_is_printed_as_json() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("schema").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, scenario::schema());
}
