//! The load generator and the probe against servers that this project did not write, on loopback. Opt-in, because it installs
//! them: `TIDEGATE_FOREIGN_TESTS=1 cargo test --test it foreign -- --nocapture`. See `tests/foreign/README.md`.

use crate::served::{Folder, text, tidegate};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHAT: &str = "tests/data/foreign/chat.toml";
const JOBS: &str = "tests/data/foreign/jobs.toml";
/// The key that `serve.sh` gives to LiteLLM; the others ask for none.
const KEY: &str = "sk-foreign-tests-on-loopback-0123456789abcdef";

/// A server in the foreground of a script; killed when the test is over.
struct Server {
    child: Child,
    port: u16,
    folder: Folder,
}

impl Server {
    /// Installs and starts a server; `None`, said aloud, where these tests are not wanted or it cannot be installed.
    fn start(name: &str, test: &str, settings: &[(&str, &str)]) -> Option<Server> {
        if std::env::var_os("TIDEGATE_FOREIGN_TESTS").is_none_or(|value| value != "1") {
            eprintln!("SKIPPED: {test}; set TIDEGATE_FOREIGN_TESTS=1 to install {name} and run it");
            return None;
        }
        let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
        let installed = Command::new("bash").arg(scripts.join("install.sh")).arg(name).output().unwrap();
        match installed.status.code() {
            Some(0) => {}
            Some(2) => {
                eprintln!("SKIPPED: {test}; {name} cannot be installed here: {}", text(&installed));
                return None;
            }
            _ => panic!("{}", text(&installed)),
        }
        let folder = Folder::new(&format!("foreign-{test}"));
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.0.join("said")).unwrap();
        let mut command = Command::new("bash");
        command.arg(scripts.join("serve.sh")).args([name, &port.to_string()]).arg(&folder.0);
        command.envs(settings.iter().copied()).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut server = Server { child, port, folder };
        let until = Instant::now() + Duration::from_secs(90);
        while server.get("/health").is_none() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "{name} does not listen: {}",
                server.read("said")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(server)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.0.join(name)).unwrap_or_default()
    }

    /// The body of an answer to a plain GET; `None` when nobody answers.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Plays a scenario against it; its summary.
    fn load(&self, scenario: &str, more: &[&str]) -> serde_json::Value {
        let (url, out) = (self.url(), self.folder.path("live"));
        let mut command = tidegate(&["load", scenario, "--target", &url, "--out", &out, "--no-plots"]);
        let output = command.args(more).env("TIDEGATE_API_KEY", KEY).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output));
        let summary = self.folder.summary("live");
        let counts = &summary["live"]["counts"];
        let part = |name: &str| counts[name].as_u64().unwrap();
        let parts = ["succeeded", "refused", "failed", "cancelled", "unsent"].map(part);
        assert_eq!(part("scheduled"), parts.iter().sum::<u64>(), "{counts}");
        assert_eq!((part("cancelled"), part("unsent")), (0, 0), "{counts}");
        summary
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers of a status that the first workload had.
fn status(summary: &serde_json::Value, wanted: u64) -> u64 {
    let statuses = summary["live"]["workloads"][0]["statuses"].as_array().unwrap();
    statuses.iter().find(|pair| pair[0] == wanted).map_or(0, |pair| pair[1].as_u64().unwrap())
}

/// First tokens were measured: one for each answer.
fn has_first_tokens(summary: &serde_json::Value) {
    let mut figures = summary["workloads"][0]["figures"].as_array().unwrap().iter();
    let first = figures.find(|figure| figure["name"] == "ttft p50").unwrap();
    assert_eq!(first["estimate"]["samples"].as_u64(), Some(status(summary, 200)));
    assert!(first["estimate"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn nginx_counts_the_same_refusals() {
    let Some(server) = Server::start("nginx", "nginx", &[]) else { return };
    let summary = server.load(CHAT, &[]);
    let log = server.read("access.log");
    let logged =
        |status: &str| log.lines().filter(|line| line.split(' ').nth(1) == Some(status)).count() as u64;
    assert!(logged("429") > 20 && logged("200") > 40, "{log}");
    assert_eq!((status(&summary, 429), status(&summary, 200)), (logged("429"), logged("200")));
    assert_eq!(summary["live"]["counts"]["refused"], logged("429"));
    has_first_tokens(&summary);
}

#[test]
fn nginx_is_probed_exactly() {
    let Some(server) = Server::start("nginx", "nginx-probe", &[]) else { return };
    let url = server.url();
    let args = ["probe", "--profile", "tests/data/foreign/nginx.toml", "--model", "canned", "--target", &url];
    let output = tidegate(&args).args(["--only", "requests", "--only", "body", "--json"]).output().unwrap();
    let found: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let measured = |name: &str| {
        let mut all = found["findings"].as_array().unwrap().iter();
        let one = all.find(|one| one["limit"] == name).unwrap();
        (one["measured"].as_str().unwrap().to_owned(), one["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(measured("requests"), ("10".into(), "equal".into()), "{found:#}");
    assert_eq!(measured("body"), ("1048576".into(), "equal".into()), "{found:#}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_llama_server_streams_as_many_tokens_as_it_counts() {
    let Some(server) = Server::start("llama", "llama", &[]) else { return };
    let summary = server.load(
        CHAT,
        &["--set", "workloads.chat.arrivals.rate=\"10/s\"", "--set", "workloads.chat.live.name=\"tiny\""],
    );
    assert_eq!(status(&summary, 200), summary["live"]["counts"]["scheduled"].as_u64().unwrap());
    let metrics = server.get("/metrics").unwrap();
    let line = metrics.lines().find(|line| line.starts_with("llamacpp:tokens_predicted_total")).unwrap();
    let counted: f64 = line.split(' ').next_back().unwrap().parse().unwrap();
    assert_eq!(summary["live"]["workloads"][0]["output_tokens"].as_f64(), Some(counted));
    has_first_tokens(&summary);
}

#[test]
fn litellm_counts_the_same_refusals() {
    // Slow enough an upstream for a proxy that does not answer twenty a second itself on every machine.
    let settings = [("LITELLM_MASTER_KEY", KEY), ("LITELLM_RATE", "4")];
    let Some(server) = Server::start("litellm", "litellm", &settings) else { return };
    let summary = server.load(CHAT, &["--set", "workloads.chat.arrivals.rate=\"30/s\""]);
    let log = server.read("access.log");
    let logged = |status: &str| {
        let asked = log.lines().filter(|line| line.contains("POST /v1/chat/completions"));
        asked.filter(|line| line.ends_with(status)).count() as u64
    };
    assert!(logged("429") > 0 && logged("200") > 10, "{log}");
    assert_eq!((status(&summary, 429), status(&summary, 200)), (logged("429"), logged("200")));
    has_first_tokens(&summary);
}

#[test]
fn aimock_counts_the_same_refusals() {
    let Some(server) = Server::start("aimock", "aimock", &[("AIMOCK_REFUSED", "0.3")]) else { return };
    let summary = server.load(CHAT, &[]);
    let journal = server.get("/__aimock/journal").unwrap();
    let journal: serde_json::Value = serde_json::from_str(&journal).unwrap();
    let entries = journal.as_array().unwrap();
    let logged = |status: u64| {
        let asked = entries.iter().filter(|entry| entry["path"] == "/v1/chat/completions");
        asked.filter(|entry| entry["response"]["status"] == status).count() as u64
    };
    assert!(logged(429) > 10 && logged(200) > 10, "{} and {}", logged(429), logged(200));
    assert_eq!((status(&summary, 429), status(&summary, 200)), (logged(429), logged(200)));
    has_first_tokens(&summary);
}

#[test]
fn a_batch_job_is_worked_off_by_aimock() {
    let Some(server) = Server::start("aimock", "aimock-jobs", &[]) else { return };
    let summary = server.load(JOBS, &[]);
    let batch = &summary["batches"][0];
    assert_eq!(
        (batch["jobs"].as_u64(), batch["states"]["completed"].as_u64()),
        (Some(1), Some(1)),
        "{batch:#}"
    );
    assert_eq!(batch["requests"]["completed"], 25, "{batch:#}");
    let journal = server.get("/__aimock/journal").unwrap();
    let journal: serde_json::Value = serde_json::from_str(&journal).unwrap();
    let created = journal.as_array().unwrap().iter().filter(|entry| entry["path"] == "/v1/batches");
    assert_eq!(created.filter(|entry| entry["method"] == "POST").count(), 1);
}
