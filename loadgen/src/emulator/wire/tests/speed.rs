//! How much the emulator serves, client and server in one process. Says it, asserts nothing about it:
//! `cargo test --release -p tidegate-loadgen --lib -- --ignored --nocapture streams_a_second`.

use crate::emulator::server::Settings;
use crate::emulator::testing::{Emulator, chat, scenario, settings};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TOKENS: u32 = 50;
const CLIENTS: usize = 64;
const LASTS: Duration = Duration::from_secs(5);

#[test]
#[ignore = "measures, which other tests would disturb"]
fn streams_a_second() {
    for speed in [1.0, 10.0, 1_000.0] {
        let emulator = Emulator::start(&scenario(), Settings { speed, ..settings() });
        let body = chat(true, TOKENS);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer chat\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (streams, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut stream = emulator.connect();
                    let mut some = vec![0; 1 << 16];
                    while began.elapsed() < LASTS {
                        stream.write_all(request.as_bytes()).unwrap();
                        // The last chunk of an answer: nothing follows until the next request.
                        while !some_end(&mut stream, &mut some, &bytes) {}
                        streams.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let seconds = began.elapsed().as_secs_f64();
        let (streams, bytes) = (streams.into_inner() as f64, bytes.into_inner() as f64);
        let (ended, _) = emulator.stop();
        let [p50, p99, most] = ended.lag_ns.map(|ns| ns / 1_000);
        eprintln!(
            "speed {speed}: {:.0} streams/s, {:.0} tokens/s, {:.1} MB/s; engine late by p50 {p50} us, p99 {p99} us, most {most} us",
            streams / seconds,
            streams * f64::from(TOKENS) / seconds,
            bytes / seconds / 1e6,
        );
        assert_eq!(ended.totals.offered as f64, streams);
    }
}

/// Reads some; whether it ends an answer.
fn some_end(stream: &mut std::net::TcpStream, some: &mut [u8], bytes: &AtomicU64) -> bool {
    let read = stream.read(some).unwrap();
    assert!(read > 0, "the server has closed");
    bytes.fetch_add(read as u64, Ordering::Relaxed);
    some[..read].ends_with(b"0\r\n\r\n")
}
