//! What tests of the emulator share: a scenario, a server of it, and a client that knows nothing but bytes.

use super::driver::{self, Ended, Engine};
use super::server::{Server, Settings};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tidegate_sim::scenario::{Overrides, Scenario, load_str};
use tokio::runtime::Runtime;

/// Chat with four tenants at a millisecond a token, embeddings, and a batch.
const SCENARIO: &str = r#"
[scenario]
question = "?"
horizon = "60s"
replications = 1

[models.m]
context = "8k"

[models.e]
context = "8k"

[pools.chat]
model = "m"
replicas = 1
step_time = { kind = "linear", base = "1ms", per_decode = "1us" }
batching = { tokens = 4096, sequences = 512 }
kv = { blocks = 65536 }
outstanding = 1024
queue = { most = 2000 }

[pools.chat.batch]
priority = "engine"

[pools.embed]
engine = "slots"
model = "e"
servers = 4
service = "1ms"

[tiers.chat]
pools = ["chat"]

[tiers.embed]
pools = ["embed"]

[workloads.chat]
tier = "chat"
tenants = 4
arrivals = { kind = "poisson", rate = "9/s" }
prompt = { kind = "lognormal", mean = 300, cv = 1.0 }
output = { kind = "lognormal", mean = 20, cv = 0.5 }

[workloads.embed]
tier = "embed"
arrivals = { kind = "poisson", rate = "9/s" }

[workloads.embed.live]
api = "embeddings"

[batch.nightly]
tier = "chat"
jobs = { every = "1h", requests = 10 }
prompt = 10
output = 5
window = "24h"
"#;

/// The scenario, with more behind it.
pub(crate) fn scenario_with(more: &str) -> Scenario {
    let text = format!("{SCENARIO}\n{more}");
    load_str("emulated", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"))
}

/// The scenario.
pub(crate) fn scenario() -> Scenario {
    scenario_with("")
}

/// A server on a port of its own.
pub(crate) struct Emulator {
    runtime: Runtime,
    server: Option<Server>,
    engine: Option<Engine>,
    pub(crate) address: SocketAddr,
}

/// Settings for tests: any port, and little patience.
pub(crate) fn settings() -> Settings {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Settings { listen, grace: Duration::from_secs(2), ..Settings::default() }
}

impl Emulator {
    pub(crate) fn start(scenario: &Scenario, settings: Settings) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = driver::Options { speed: settings.speed, log: None };
        let (gateway, engine) = driver::start(scenario, options).unwrap();
        let server = runtime.block_on(async { Server::start(gateway, settings) }).unwrap();
        let address = server.address();
        Emulator { runtime, server: Some(server), engine: Some(engine), address }
    }

    /// Stops it; what the engine has seen, and connections that had to be dropped.
    pub(crate) fn stop(mut self) -> (Ended, usize) {
        let server = self.server.take().unwrap();
        let dropped = self.runtime.block_on(server.stop());
        (self.engine.take().unwrap().stop().unwrap(), dropped)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends a request on a connection of its own and reads the answer to its end.
    pub(crate) fn send(&self, method: &str, path: &str, key: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request(method, path, key, headers, body)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::of(&bytes)
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> Answer {
        self.send("GET", path, key, "", b"")
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        self.send("POST", path, key, "content-type: application/json\r\n", body.as_bytes())
    }
}

/// The bytes of a request after which the connection is to be closed.
pub(crate) fn request(method: &str, path: &str, key: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let key = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
    let length = body.len();
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: emulator\r\nconnection: close\r\n{key}{headers}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no head in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let rest = &bytes[end + 4..];
        let body = if head.contains("transfer-encoding: chunked") { unchunk(rest) } else { rest.to_vec() };
        Answer { status, head, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// What the events of a stream hold, `[DONE]` left out.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let events = self.text().split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
        events.filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

/// The data of chunks, as far as they are whole.
fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let data = &rest[end + 2..];
        if size == 0 || data.len() < size {
            break;
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
    body
}

/// A chat request.
pub(crate) fn chat(stream: bool, max_tokens: u32) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"how are you"}}],"max_tokens":{max_tokens},"ignore_eos":true,"stream":{stream}}}"#
    )
}
