//! Clients that mean no good, or know no better: nobody panics, nobody waits for ever, nothing is lost.

use crate::emulator::line::Patience;
use crate::emulator::server::{Settings, raise_descriptors};
use crate::emulator::testing::{Answer, Emulator, chat, request, scenario, settings};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tidegate_sim::request::Outcome;

/// Little patience of every kind.
fn impatient() -> Settings {
    let short = Duration::from_millis(300);
    Settings {
        patience: Patience { idle: Duration::from_secs(20), head: short, write: short },
        body_patience: short,
        body_most: 1 << 20,
        ..settings()
    }
}

/// Reads until the server closes the connection; panics when it does not.
fn read_to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("the server neither answers nor closes: {error}"),
    }
}

/// After all that was done to it, it serves, and its counts balance.
fn is_well(emulator: Emulator) {
    assert_eq!(emulator.post("/v1/chat/completions", "chat", &chat(false, 3)).status, 200);
    let (ended, _) = emulator.stop();
    assert_eq!(ended.totals.outcomes.iter().sum::<u64>(), ended.totals.offered, "{:?}", ended.totals);
}

#[test]
fn a_client_that_closes_in_the_middle_of_a_stream_cancels_its_request() {
    let emulator = Emulator::start(&scenario(), settings());
    let mut stream = emulator.connect();
    stream
        .write_all(&request("POST", "/v1/chat/completions", "chat", "", chat(true, 5_000).as_bytes()))
        .unwrap();
    let mut some = [0; 2_000];
    assert!(stream.read(&mut some).unwrap() > 0);
    drop(stream);
    let until = Instant::now() + Duration::from_secs(3);
    let cancelled = "tidegate_requests_total{model_name=\"m\",workload=\"chat\",outcome=\"cancelled\"} 1";
    while !emulator.get("/metrics", "").text().contains(cancelled) {
        assert!(Instant::now() < until, "the engine never heard of it");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (ended, _) = emulator.stop();
    assert_eq!((ended.totals.offered, ended.totals.of(Outcome::Cancelled)), (1, 1));
}

#[test]
fn a_client_that_closes_before_any_token_cancels_its_request() {
    let emulator = Emulator::start(&scenario(), settings());
    let mut stream = emulator.connect();
    let body = chat(false, 5_000);
    stream.write_all(&request("POST", "/v1/chat/completions", "chat", "", body.as_bytes())).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(stream);
    std::thread::sleep(Duration::from_millis(200));
    let (ended, _) = emulator.stop();
    assert_eq!((ended.totals.offered, ended.totals.of(Outcome::Cancelled)), (1, 1), "{:?}", ended.totals);
}

#[test]
fn a_head_that_drips_is_cut_off_while_an_idle_connection_is_not() {
    let emulator = Emulator::start(&scenario(), impatient());
    let mut idle = emulator.connect();
    let mut slow = emulator.connect();
    let began = Instant::now();
    let drip = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: ";
    for byte in drip.iter().chain(std::iter::repeat(&b'a')) {
        if slow.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "it may go on for ever");
    assert!(read_to_the_end(&mut slow).is_empty());
    let bytes = request("GET", "/health", "", "", b"");
    idle.write_all(&bytes).unwrap();
    assert_eq!(Answer::of(&read_to_the_end(&mut idle)).status, 200);
    is_well(emulator);
}

#[test]
fn a_connection_that_idles_after_an_answer_is_closed() {
    let idle = Duration::from_millis(300);
    let patience = Patience { idle, ..impatient().patience };
    let emulator = Emulator::start(&scenario(), Settings { patience, ..impatient() });
    let mut stream = emulator.connect();
    let again = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..3 {
        stream.write_all(again).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let began = Instant::now();
    let found = read_to_the_end(&mut stream);
    assert_eq!(String::from_utf8(found).unwrap().matches("HTTP/1.1 200").count(), 3);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    is_well(emulator);
}

#[test]
fn a_body_that_does_not_come_is_answered_with_408() {
    let emulator = Emulator::start(&scenario(), impatient());
    let mut stream = emulator.connect();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ncontent-length: 500\r\n\r\n{\"mod";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::of(&read_to_the_end(&mut stream)).status, 408);
    is_well(emulator);
}

#[test]
fn bodies_that_are_too_large_are_refused_before_they_are_read() {
    let emulator = Emulator::start(&scenario(), impatient());
    let mut stated = emulator.connect();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ncontent-length: 99999999999\r\n\r\n";
    stated.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::of(&read_to_the_end(&mut stated)).status, 413);
    let mut chunked = emulator.connect();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.write_all(head.as_bytes()).unwrap();
    let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
    // One chunk more than may be, and nothing after it that would be lost unread.
    for _ in 0..17 {
        if chunked.write_all(&chunk).is_err() {
            break;
        }
    }
    let found = read_to_the_end(&mut chunked);
    if !found.is_empty() {
        assert_eq!(Answer::of(&found).status, 413);
    }
    is_well(emulator);
}

#[test]
fn bytes_that_are_no_request_end_their_connection_alone() {
    let emulator = Emulator::start(&scenario(), impatient());
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let many =
        format!("GET / HTTP/1.1\r\n{}\r\n", (0..500).map(|n| format!("x-{n}: 1\r\n")).collect::<String>());
    for bytes in [
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n".to_vec(),
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello".to_vec(),
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"GET /v1/models HTTP/1.1\r\nauthorization: Bearer \xff\xff\r\nconnection: close\r\n\r\n".to_vec(),
        b"GET /v1/models/%ff%fe HTTP/1.1\r\nauthorization: Bearer chat\r\nconnection: close\r\n\r\n".to_vec(),
        long.into_bytes(),
        many.into_bytes(),
    ] {
        let mut stream = emulator.connect();
        let _ = stream.write_all(&bytes);
        let found = read_to_the_end(&mut stream);
        if !found.is_empty() {
            let status = Answer::of(&found).status;
            assert!(
                (400..500).contains(&status),
                "{status} to {:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
            );
        }
    }
    is_well(emulator);
}

#[test]
fn half_a_request_is_no_request() {
    let emulator = Emulator::start(&scenario(), impatient());
    let whole = request("POST", "/v1/chat/completions", "chat", "", chat(false, 3).as_bytes());
    for end in (1..whole.len()).step_by(7) {
        let mut stream = emulator.connect();
        stream.write_all(&whole[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let found = read_to_the_end(&mut stream);
        if !found.is_empty() {
            assert!((400..500).contains(&Answer::of(&found).status));
        }
    }
    let page = emulator.get("/metrics", "");
    assert!(page.text().contains("tidegate_requests_offered_total{model_name=\"m\",workload=\"chat\"} 0"));
    is_well(emulator);
}

#[test]
fn requests_in_a_row_on_one_connection_are_answered_in_order() {
    let emulator = Emulator::start(&scenario(), settings());
    let mut stream = emulator.connect();
    let one = |tokens: u32| {
        let body = chat(false, tokens);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut all: String = (1..=20).map(one).collect();
    all += &String::from_utf8(request("GET", "/health", "", "", b"")).unwrap();
    stream.write_all(all.as_bytes()).unwrap();
    let text = String::from_utf8(read_to_the_end(&mut stream)).unwrap();
    let found: Vec<u32> = text
        .split("\"completion_tokens\":")
        .skip(1)
        .map(|rest| rest.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(found, (1..=20).collect::<Vec<_>>());
    is_well(emulator);
}

/// A number of `/metrics` that has no labels.
fn metric(emulator: &Emulator, name: &str) -> u64 {
    let page = emulator.get("/metrics", "");
    let line = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    // A hundred times as fast, so that answers soon fill what the system buffers.
    let emulator = Emulator::start(&scenario(), Settings { speed: 100.0, ..impatient() });
    let mut deaf = emulator.connect();
    // The system would hold megabytes for it otherwise.
    rustix::net::sockopt::set_socket_recv_buffer_size(&deaf, 4_096).unwrap();
    let body = chat(true, 7_000);
    let one = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    deaf.write_all(one.repeat(30).as_bytes()).unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    // The connection that asks is open, too.
    while metric(&emulator, "tidegate_connections_open") > 1 {
        assert!(Instant::now() < until, "it is served for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (ended, _) = emulator.stop();
    // It was dropped in the middle, not after all of its answers.
    assert!((1..30).contains(&ended.totals.offered), "{:?}", ended.totals);
    assert_eq!(ended.totals.of(Outcome::Refused), 0);
    assert_eq!(ended.totals.outcomes.iter().sum::<u64>(), ended.totals.offered);
}

#[test]
fn more_connections_than_may_be_are_told_so_and_closed() {
    let emulator = Emulator::start(&scenario(), Settings { connections_most: 5, ..settings() });
    let held: Vec<TcpStream> = (0..5).map(|_| emulator.connect()).collect();
    // They count as soon as they are accepted, which the next one has to wait for.
    let mut one_more = emulator.connect();
    assert_eq!(Answer::of(&read_to_the_end(&mut one_more)).status, 503);
    drop(held);
    let until = Instant::now() + Duration::from_secs(5);
    let is_served = || {
        let mut stream = emulator.connect();
        let _ = stream.write_all(&request("GET", "/health", "", "", b""));
        read_to_the_end(&mut stream).starts_with(b"HTTP/1.1 200")
    };
    while !is_served() {
        assert!(Instant::now() < until, "places are not given back");
    }
    assert!(metric(&emulator, "tidegate_connections_refused_total") >= 1);
    is_well(emulator);
}

/// Holds so many connections that ask for nothing, while one asks.
fn idle_connections(count: usize) {
    let descriptors = raise_descriptors();
    assert!(descriptors > 2 * count as u64 + 100, "only {descriptors} descriptors");
    let emulator = Emulator::start(&scenario(), settings());
    let held: Vec<TcpStream> = (0..count).map(|_| emulator.connect()).collect();
    let began = Instant::now();
    assert_eq!(emulator.post("/v1/chat/completions", "chat", &chat(false, 3)).status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let open = metric(&emulator, "tidegate_connections_open");
    assert!(open > count as u64, "{open} are open");
    drop(held);
    is_well(emulator);
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    idle_connections(1_000);
}

#[test]
#[ignore = "needs 20,000 descriptors, because both ends are in one process"]
fn as_many_idle_connections_as_there_are_descriptors_hinder_nobody() {
    idle_connections(9_900);
}

#[test]
fn the_end_lets_answers_go_on_for_a_while_and_no_longer() {
    let emulator = Emulator::start(&scenario(), Settings { grace: Duration::from_millis(500), ..settings() });
    let mut short = emulator.connect();
    let mut long = emulator.connect();
    let _idle = emulator.connect();
    short
        .write_all(&request("POST", "/v1/chat/completions", "chat", "", chat(false, 100).as_bytes()))
        .unwrap();
    long.write_all(&request("POST", "/v1/chat/completions", "chat", "", chat(true, 5_000).as_bytes()))
        .unwrap();
    let mut some = [0; 500];
    assert!(long.read(&mut some).unwrap() > 0);
    let began = Instant::now();
    let (ended, dropped) = emulator.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(dropped, 1, "the long one");
    assert_eq!(Answer::of(&read_to_the_end(&mut short)).status, 200);
    assert_eq!(ended.totals.offered, 2);
    assert_eq!(ended.totals.outcomes.iter().sum::<u64>(), 2, "{:?}", ended.totals);
}
