//! What goes wrong because the scenario wants it.

use crate::emulator::testing::{Emulator, chat, request, scenario_with, settings};
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

fn ill(trouble: &str) -> Emulator {
    Emulator::start(&scenario_with(&format!("[live]\ntrouble = {{ {trouble} }}\n")), settings())
}

#[test]
fn a_reset_comes_as_a_reset() {
    let emulator = ill("resets = \"100%\"");
    for stream in [true, false] {
        let mut socket = emulator.connect();
        socket
            .write_all(&request("POST", "/v1/chat/completions", "chat", "", chat(stream, 20).as_bytes()))
            .unwrap();
        let error = socket.read_to_end(&mut Vec::new()).expect_err("it ends in order");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(emulator.get("/metrics", "").text().contains("tidegate_resets_total 2"));
    let (ended, _) = emulator.stop();
    assert_eq!(ended.totals.outcomes.iter().sum::<u64>(), ended.totals.offered);
}

#[test]
fn an_error_of_the_server_is_status_500_or_an_event_of_the_stream() {
    let emulator = ill("server_errors = \"100%\"");
    for stream in [true, false] {
        let found = emulator.post("/v1/chat/completions", "chat", &chat(stream, 5));
        assert_eq!((found.status, &found.json()["error"]["type"]), (500, &serde_json::json!("server_error")));
    }
    emulator.stop();
    let emulator = ill("stream_errors = \"100%\"");
    let found = emulator.post("/v1/chat/completions", "chat", &chat(true, 5));
    assert_eq!(found.status, 200);
    let events = found.events();
    assert_eq!(events.len(), 2, "{}", found.text());
    assert_eq!(events[1]["error"]["code"], "server_error");
    assert_eq!(emulator.post("/v1/chat/completions", "chat", &chat(false, 5)).status, 500);
    emulator.stop();
}

#[test]
fn a_stall_stands_still_after_the_first_event_and_then_goes_on() {
    let emulator = ill("stalls = \"100%\", stall = \"700ms\"");
    let began = Instant::now();
    let mut socket = emulator.connect();
    socket.write_all(&request("POST", "/v1/chat/completions", "chat", "", chat(true, 5).as_bytes())).unwrap();
    let mut some = [0; 4_000];
    let first = socket.read(&mut some).unwrap();
    assert!(first > 0 && began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let mut rest = some[..first].to_vec();
    socket.read_to_end(&mut rest).unwrap();
    assert!(began.elapsed() > Duration::from_millis(650), "{:?}", began.elapsed());
    let found = crate::emulator::testing::Answer::of(&rest);
    assert!(found.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(found.events().len(), 7, "role, five tokens, reason");
    emulator.stop();
}
