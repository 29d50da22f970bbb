//! E19: files of batch requests at every documented edge, generated, through `tidegate batch check` and as jobs of a
//! scenario.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_sim::jobfile::Fault;
use tidegate_sim::scenario::batch::Jobs;
use tidegate_sim::scenario::input::{self, Checked, Stated};
use tidegate_sim::scenario::{Overrides, load_str, profile};

/// A folder of its own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const TEXT: &str = "\"hi\"";
const IMAGE: &str =
    "[{\"type\":\"text\",\"text\":\"what?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]";

fn line(id: u32, model: &str, content: &str) -> String {
    format!(
        "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"{model}\",\
         \"max_tokens\":1,\"messages\":[{{\"role\":\"user\",\"content\":{content}}}]}}}}\n"
    )
}

/// `count` lines, all alike but for line `odd`.
fn lines(count: u32, odd: Option<(u32, &str, &str)>) -> String {
    let mut text = String::new();
    for id in 1..=count {
        let _ = match odd.filter(|(at, ..)| *at == id) {
            Some((_, model, content)) => write!(text, "{}", line(id, model, content)),
            None => write!(text, "{}", line(id, "gpt", TEXT)),
        };
    }
    text
}

fn checked(path: &Path, overlays: &[&str], stated: Stated<'_>) -> Checked {
    let profile = profile::load("digitalocean-inference").unwrap();
    let overlays: Vec<String> = overlays.iter().map(|&name| name.to_owned()).collect();
    input::check(path, &profile, &overlays, stated).unwrap()
}

/// The limit that gives a file up, its line, and whether the submission is refused at once.
fn verdict(path: &Path, overlays: &[&str], stated: Stated<'_>) -> Option<(String, u64, bool)> {
    let refused = checked(path, overlays, stated).refused?;
    Some((refused.limit.unwrap_or_else(|| "invalid-input-file".to_owned()), refused.line, refused.at_once))
}

fn fails(limit: &str, line: u64) -> Option<(String, u64, bool)> {
    Some((limit.to_owned(), line, false))
}

fn refused(limit: &str) -> Option<(String, u64, bool)> {
    Some((limit.to_owned(), 0, true))
}

#[test]
fn fifty_thousand_lines_are_taken_and_the_next_one_is_named() {
    let folder = Folder::new("lines");
    for (count, expected) in
        [(49_999, None), (50_000, None), (50_001, fails("do-batch-requests-per-file", 50_001))]
    {
        let path = folder.write("many.jsonl", &lines(count, None));
        assert_eq!(verdict(&path, &[], Stated::default()), expected, "{count}");
    }
}

#[test]
fn the_first_offending_line_is_named_wherever_it_is() {
    let folder = Folder::new("offending");
    let at = |odd: (u32, &str, &str), count: u32| {
        let path = folder.write("odd.jsonl", &lines(count, Some(odd)));
        verdict(&path, &[], Stated::default())
    };
    assert_eq!(at((2, "gpt-small", TEXT), 3), fails("do-batch-single-model", 2));
    assert_eq!(at((50_000, "gpt-small", TEXT), 50_000), fails("do-batch-single-model", 50_000));
    assert_eq!(at((2, "GPT", TEXT), 2), fails("do-batch-single-model", 2));
    assert_eq!(at((50_000, "gpt", IMAGE), 50_000), fails("do-batch-text-only", 50_000));
    assert_eq!(at((1, "gpt", IMAGE), 1), fails("do-batch-text-only", 1));
    // The count is a fault of line 50,001; what is wrong before it is told first.
    assert_eq!(at((3, "gpt", IMAGE), 50_001), fails("do-batch-text-only", 3));
}

#[test]
fn two_hundred_million_bytes_are_taken_and_one_more_is_refused_unread() {
    let folder = Folder::new("bytes");
    let path = folder.0.join("large.jsonl");
    // Lines padded with blanks, which JSON ignores.
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let width = 40_000_000;
    for id in 1..=5 {
        let text = line(id, "gpt", TEXT);
        let blanks = vec![b' '; width - text.len()];
        file.write_all(&blanks).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    drop(file);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let size = |bytes: u64| {
        file.set_len(bytes).unwrap();
        checked(&path, &[], Stated::default())
    };
    let found = size(200_000_000);
    assert_eq!((found.refused, found.bytes), (None, 200_000_000));
    assert_eq!(found.contents.unwrap().requests, 5);
    // Without its last line end it is a file all the same.
    assert_eq!(size(199_999_999).refused, None);
    // A hole of zeros: that it is not even read is the point.
    let found = size(200_000_001);
    let refused = found.refused.unwrap();
    assert_eq!((refused.limit.as_deref(), refused.at_once), (Some("do-batch-file-size"), true));
    assert_eq!(found.contents, None);
}

#[test]
fn providers_and_endpoints_are_asked_before_the_file_is_read() {
    let folder = Folder::new("providers");
    let plain = folder.write("plain.jsonl", &lines(2, None));
    let anthropic = "{\"custom_id\":\"a\",\"params\":{\"model\":\"claude\",\"max_tokens\":1,\
                     \"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}}\n";
    let anthropic = folder.write("anthropic.jsonl", anthropic);
    let stated = |provider, endpoint| Stated { provider, endpoint };
    let images = Some("/v1/images/generations");
    let chat = Some("/v1/chat/completions");
    let public = &["public-api"][..];
    assert_eq!(verdict(&plain, &[], stated(Some("x"), None)), refused("do-batch-commercial-only"));
    assert_eq!(verdict(&plain, &[], stated(Some("openai"), images)), refused("do-batch-no-image-generation"));
    assert_eq!(verdict(&plain, public, stated(Some("openai"), chat)), None);
    assert_eq!(
        verdict(&plain, public, stated(Some("openai"), Some("none"))),
        refused("do-batch-openai-endpoint")
    );
    assert_eq!(verdict(&plain, public, stated(None, None)), None);
    assert_eq!(verdict(&anthropic, public, stated(None, None)), None);
    assert_eq!(
        verdict(&anthropic, public, stated(Some("anthropic"), chat)),
        refused("do-batch-anthropic-endpoint")
    );
    // The form is that of the provider that is named.
    assert_eq!(verdict(&anthropic, &[], stated(Some("openai"), None)), fails("invalid-input-file", 1));
    let other = checked(&plain, &[], stated(None, Some("/v1/responses"))).contents.unwrap().fault;
    assert!(matches!(other, Some((1, Fault::OtherUrl { .. }))), "{other:?}");
    // Where a model comes from is not in a file.
    let unknown = checked(&plain, &[], Stated::default()).unknown;
    assert!(unknown.iter().any(|(limit, _)| limit == "do-batch-no-open-source"), "{unknown:?}");
}

#[test]
fn files_are_jobs_of_a_scenario_and_none_that_fails_is_worked_on() {
    let folder = Folder::new("scenario");
    folder.write("good.jsonl", &lines(3, None));
    folder.write("last.jsonl", &lines(700, Some((700, "llama", TEXT))));
    folder.write("long.jsonl", &lines(50_001, None));
    let text = "[scenario]\nquestion = \"Files?\"\nhorizon = \"1h\"\nreplications = 1\nprofile = \"digitalocean-inference\"\n\
                [models.gpt]\nprovider = \"openai\"\nprovenance = \"commercial\"\n\
                [models.llama]\nprovider = \"meta\"\nprovenance = \"open-source\"\n\
                [batch.b]\nmodel = \"gpt\"\nupstream = \"1min\"\njobs = [{ at = \"0s\", file = \"good.jsonl\" }, \
                { at = \"0s\", file = \"last.jsonl\" }, { at = \"0s\", file = \"long.jsonl\" }]\n";
    let name = folder.0.join("s.toml");
    let scenario = load_str(&name.to_string_lossy(), text, &Overrides::default());
    let scenario = scenario.unwrap_or_else(|found| panic!("{found}"));
    let Jobs::Listed(jobs) = &scenario.batches[0].jobs else { panic!("listed jobs") };
    let told: Vec<_> = jobs
        .iter()
        .map(|job| {
            let fault = job.fault.map(|fault| (scenario.policy.reason_name(fault.reason), fault.line));
            (job.requests, job.lines.as_ref().map(|lines| lines.len()), fault)
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, Some(3), None),
            (700, None, Some(("do-batch-no-open-source", 700))),
            (50_001, None, Some(("do-batch-requests-per-file", 50_001))),
        ]
    );
}

#[test]
fn the_command_exits_with_what_it_found() {
    let folder = Folder::new("command");
    let good = folder.write("good.jsonl", &lines(2, None));
    let wrong = folder.write("wrong.jsonl", &lines(2, Some((2, "gpt", IMAGE))));
    let run = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.args(["batch", "check"]).args(arguments).env("NO_COLOR", "1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = run(&[&good]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok") && text.contains("an estimate"), "{text}");
    let (code, text) = run(&[&good, &wrong]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("fails on line 2") && text.contains("do-batch-text-only"), "{text}");
    assert_eq!(run(&[Path::new("nowhere.jsonl")]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
}
