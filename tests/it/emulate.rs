//! `tidegate emulate` from outside.

use crate::served::{Emulator, Folder, text, tidegate};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SCENARIO: &str = "tests/data/sdk.toml";

/// Status and body of an answer.
fn send(url: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer chat-1\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn it_says_where_it_listens_and_what_it_did() {
    let folder = Folder::new("emulate-says");
    let emulator = Emulator::start(SCENARIO, &["--log", &folder.path("log.csv"), "--speed", "10"]);
    let body = r#"{"model":"tide-1","messages":[{"role":"user","content":"hello"}],"max_tokens":200,"ignore_eos":true}"#;
    let began = Instant::now();
    let (status, answer) = send(&emulator.url, "POST", "/v1/chat/completions", body);
    assert_eq!(status, 200, "{answer}");
    assert!(
        began.elapsed() < Duration::from_millis(190),
        "200 ms at ten times the speed: {:?}",
        began.elapsed()
    );
    assert_eq!(send(&emulator.url, "GET", "/health", "").0, 200);
    let (code, said) = emulator.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("requests   1 (1 completed)"), "{said}");
    assert!(said.contains("decisions  "), "{said}");
    let replayed = tidegate(&["replay", SCENARIO, "--log", &folder.path("log.csv")]).output().unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
}

#[test]
fn an_address_that_others_reach_has_to_be_meant() {
    let output = tidegate(&["emulate", SCENARIO, "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("`--yes`"), "{}", text(&output));
}

#[test]
fn bad_usage_is_told_before_anything_listens() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    for (more, said) in [
        (vec!["--listen", &address], "cannot listen on"),
        (vec!["--listen", "nowhere"], "invalid value 'nowhere'"),
        (vec!["--speed", "0"], "from 0.001 to 1000000"),
        (vec!["--listen", "127.0.0.1:0", "--log", "/nowhere/log.csv"], "/nowhere/log.csv"),
    ] {
        let output = tidegate(&["emulate", SCENARIO]).args(&more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(said), "{more:?}: {}", text(&output));
    }
}
