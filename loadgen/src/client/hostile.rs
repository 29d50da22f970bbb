//! Servers that misbehave, over real sockets: nothing panics, nothing hangs, everything has a name.

use super::attempt::{Fate, Kind, Pulse, Seen, attempt};
use super::request::{Form, OutputLengths};
use super::transport::Transport;
use super::{Fatal, Target};
use crate::clock::Clock;
use crate::testing::{Asked, STREAM, chunk, end, serve, stream_of, token, whole, write};
use std::future::Future;
use std::time::Duration;
use tidegate_sim::request::{Prefix, RequestHead};
use tidegate_sim::scenario::live::{Api, Wire};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const HEAD: RequestHead = RequestHead {
    workload: 0,
    tenant: 0,
    index: 0,
    prompt_tokens: 3,
    max_tokens: Some(8),
    session: 0,
    turn: 0,
    prefix: Prefix { shared: 0, shared_tokens: 0, own: 0 },
    body_bytes: None,
};

/// What `times` attempts over one transport come to.
async fn attempts<F, A>(api: Api, stream: bool, times: usize, answer: F) -> Vec<(Fate, Seen)>
where
    F: Fn(Asked, TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let (address, _) = serve(answer).await;
    let transport = Transport::new(&Target::parse(&format!("http://{address}")).unwrap()).unwrap();
    let wire = Wire { api, stream, name: None, key_env: None };
    let form = Form::new(&wire, "m", OutputLengths::Index, &[], &transport);
    let clock = Clock::starting_in(Duration::ZERO);
    let mut found = Vec::new();
    for _ in 0..times {
        let (pulse, mut seen) = (Pulse::default(), Seen::default());
        let body = form.body(&HEAD, 4, |body| body.extend_from_slice(b" a b c"));
        let one = attempt(&transport, &form, || form.headers(&HEAD, 0), body, &clock, &pulse, &mut seen);
        let fate = tokio::time::timeout(Duration::from_secs(20), one).await.expect("an attempt hangs");
        found.push((fate, seen));
    }
    found
}

/// What one attempt at a chat stream comes to, `bytes` being the answer, after which the connection is closed.
async fn answered(bytes: impl Into<Vec<u8>>) -> (Fate, Seen) {
    let bytes: Vec<u8> = bytes.into();
    let answer = move |_, mut stream: TcpStream| {
        let bytes = bytes.clone();
        async move {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
    };
    attempts(Api::Chat, true, 1, answer).await.remove(0)
}

async fn kind(bytes: impl Into<Vec<u8>>) -> Option<Kind> {
    match answered(bytes).await.0 {
        Fate::Failed(kind) => Some(kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_and_its_connection_is_used_again() {
    let found = attempts(Api::Chat, true, 3, |_, stream| async { write(stream, &stream_of(4)).await }).await;
    for (fate, seen) in &found {
        assert_eq!(*fate, Fate::Completed);
        assert_eq!((seen.tokens.len(), seen.generated(), seen.status), (4, 4, 200));
        let stamps = [seen.sent, seen.head.unwrap(), seen.first_byte.unwrap(), seen.tokens[0], seen.ended];
        assert!(stamps.is_sorted(), "{stamps:?}");
    }
}

#[tokio::test]
async fn events_split_at_every_byte_are_the_same_events() {
    let answer = |_, mut stream: TcpStream| async move {
        stream.write_all(STREAM.as_bytes()).await.ok()?;
        let events = format!("{}{}{}", token(" a"), token("\\u00e9"), end(2));
        for byte in events.bytes() {
            stream.write_all(format!("1\r\n{}\r\n", char::from(byte)).as_bytes()).await.ok()?;
        }
        write(stream, "0\r\n\r\n").await
    };
    let (fate, seen) = attempts(Api::Chat, true, 1, answer).await.remove(0);
    assert_eq!((fate, seen.tokens.len()), (Fate::Completed, 2));
}

#[tokio::test]
async fn line_ends_spaces_and_comments_do_not_matter() {
    let events = "data:{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n: ping\r\n\r\n\
                  data:{\"choices\":null,\"usage\":{\"completion_tokens\":1}}\r\n\r\ndata:[DONE]\r\n\r\n";
    let (fate, seen) = answered(format!("{STREAM}{}0\r\n\r\n", chunk(events))).await;
    assert_eq!((fate, seen.tokens.len(), seen.usage.completion), (Fate::Completed, 1, Some(1)));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_no_answer() {
    let begun = format!("{STREAM}{}", chunk(&token(" a")));
    // Within a chunked body, cleanly but without an end, and in the middle of an event.
    assert_eq!(kind(begun.clone()).await, Some(Kind::Reset));
    assert_eq!(kind(format!("{begun}0\r\n\r\n")).await, Some(Kind::Cut));
    assert_eq!(kind(format!("{begun}{}0\r\n\r\n", chunk("data: {\"cho"))).await, Some(Kind::Garbage));
    let reset = |_, mut stream: TcpStream| async move {
        let begun = format!("{STREAM}{}", chunk(&token(" a")));
        stream.write_all(begun.as_bytes()).await.ok()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Dropping it with this set sends a reset instead of an end.
        stream.set_zero_linger().ok()?;
        None
    };
    let (fate, seen) = attempts(Api::Chat, true, 1, reset).await.remove(0);
    assert_eq!((fate, seen.tokens.len()), (Fate::Failed(Kind::Reset), 1));
}

#[tokio::test]
async fn a_reason_for_its_end_is_an_end_without_done() {
    let events =
        format!("{}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n", token(" a"));
    assert_eq!(answered(format!("{STREAM}{}0\r\n\r\n", chunk(&events))).await.0, Fate::Completed);
}

#[tokio::test]
async fn an_error_inside_an_answer_with_status_200_is_a_failure() {
    for error in [
        "data: {\"error\":{\"message\":\"m\",\"code\":\"x\"}}\n\n",
        "event: error\ndata: {\"message\":\"m\"}\n\n",
    ] {
        let text = format!("{STREAM}{}{}0\r\n\r\n", chunk(&token(" a")), chunk(error));
        let (fate, seen) = answered(text).await;
        assert_eq!((fate, seen.tokens.len()), (Fate::Failed(Kind::ErrorInside), 1), "{error}");
    }
    assert_eq!(kind(whole("200 OK", "", "{\"error\":{\"code\":\"x\"}}")).await, Some(Kind::ErrorInside));
    let quota = whole("200 OK", "", "{\"error\":{\"code\":\"insufficient_quota\"}}");
    assert_eq!(answered(quota).await.0, Fate::Fatal(Fatal::NoQuota));
}

#[tokio::test]
async fn garbage_has_names() {
    let stream = |text: &str| format!("{STREAM}{}0\r\n\r\n", chunk(text));
    assert_eq!(kind(stream("data: not json\n\n")).await, Some(Kind::Garbage));
    assert_eq!(kind(stream("data: {\"choices\":7}\n\n")).await, Some(Kind::Garbage));
    assert_eq!(kind(stream("\u{0}\u{1}\u{fffd}")).await, Some(Kind::Cut));
    assert_eq!(kind("SSH-2.0-server\r\n\r\n").await, Some(Kind::Protocol));
    assert_eq!(
        kind("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1\r\n\r\nx").await,
        Some(Kind::ContentType)
    );
    assert_eq!(kind("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await, Some(Kind::ContentType));
    assert_eq!(kind(format!("{STREAM}zz\r\nx\r\n0\r\n\r\n")).await, Some(Kind::Protocol));
    assert_eq!(kind("").await, Some(Kind::Reset));
    // An answer to something that was not asked for.
    assert_eq!(kind(whole("200 OK", "", "{\"choices\":[]}")).await, Some(Kind::ContentType));
    assert_eq!(kind(whole("204 No Content", "", "")).await, Some(Kind::Shape));
    assert_eq!(kind(whole("302 Found", "location: /x\r\n", "")).await, Some(Kind::ClientError));
    assert_eq!(kind(whole("500 Internal Server Error", "", "oops")).await, Some(Kind::ServerError));
    assert_eq!(kind(whole("503 Service Unavailable", "", "")).await, Some(Kind::ServerError));
}

#[tokio::test]
async fn whoever_says_when_to_come_back_or_why_has_refused() {
    for answer in [
        whole("429 Too Many Requests", "", "not json"),
        whole("503 Service Unavailable", "retry-after: 2\r\n", ""),
        whole("400 Bad Request", "x-tidegate-reason: context-length\r\n", "{}"),
    ] {
        assert_eq!(answered(answer.clone()).await.0, Fate::Refused, "{answer}");
    }
    assert_eq!(answered(whole("401 Unauthorized", "", "")).await.0, Fate::Fatal(Fatal::Unauthorized));
    assert_eq!(answered(whole("402 Payment Required", "", "")).await.0, Fate::Fatal(Fatal::PaymentRequired));
    let quota = whole("429 Too Many Requests", "", r#"{"error":{"code":"insufficient_quota"}}"#);
    assert_eq!(answered(quota).await.0, Fate::Fatal(Fatal::NoQuota));
}

#[tokio::test]
async fn an_answer_of_http_1_0_ends_with_its_connection() {
    let text = format!("HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{}{}", token(" a"), end(1));
    let answer = move |_, mut stream: TcpStream| {
        let text = text.clone();
        async move {
            stream.write_all(text.as_bytes()).await.ok()?;
            None
        }
    };
    for (fate, seen) in attempts(Api::Chat, true, 3, answer).await {
        assert_eq!((fate, seen.tokens.len()), (Fate::Completed, 1));
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_after_each_answer_costs_no_request() {
    let answer = |_, mut stream: TcpStream| async move {
        // It says nothing of closing.
        stream.write_all(stream_of(2).as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        None
    };
    for (fate, _) in attempts(Api::Chat, true, 20, answer).await {
        assert_eq!(fate, Fate::Completed);
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_at_the_second_request_costs_none_either() {
    // It answers odd requests only, and hangs up on even ones without a byte.
    let answer = |asked: Asked, stream: TcpStream| async move {
        if asked.number % 2 == 1 { None } else { write(stream, &stream_of(2)).await }
    };
    let found = attempts(Api::Chat, true, 6, answer).await;
    assert!(found.iter().all(|(fate, _)| *fate == Fate::Completed), "{found:?}");
}

#[tokio::test]
async fn a_huge_chunk_is_read_in_parts_and_a_huge_event_is_given_up() {
    let padding = " ".repeat(3 << 20);
    let many: String = (0..3).map(|_| format!(": {}\n\n", &padding[..900_000])).collect();
    let fine = format!("{STREAM}{}{}0\r\n\r\n", chunk(&many), chunk(&format!("{}{}", token(" a"), end(1))));
    assert_eq!(answered(fine).await.0, Fate::Completed);
    let huge = format!("{STREAM}{}", chunk(&format!("data: {padding}")));
    assert_eq!(kind(huge).await, Some(Kind::TooLarge));
}

#[tokio::test]
async fn a_slow_drip_is_followed_token_by_token() {
    let answer = |_, mut stream: TcpStream| async move {
        stream.write_all(STREAM.as_bytes()).await.ok()?;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            stream.write_all(chunk(&token(" a")).as_bytes()).await.ok()?;
        }
        write(stream, &format!("{}0\r\n\r\n", chunk(&end(4)))).await
    };
    let (fate, seen) = attempts(Api::Chat, true, 1, answer).await.remove(0);
    assert_eq!(fate, Fate::Completed);
    for pair in seen.tokens.windows(2) {
        assert!(pair[1] - pair[0] > 15_000_000, "{:?}", seen.tokens);
    }
}

#[tokio::test]
async fn a_stream_that_does_not_end_after_done_is_answered() {
    let answer = |_, stream: TcpStream| async move {
        let mut stream =
            write(stream, &format!("{STREAM}{}", chunk(&format!("{}{}", token(" a"), end(1))))).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        stream.shutdown().await.ok()?;
        None
    };
    let started = std::time::Instant::now();
    let (fate, seen) = attempts(Api::Chat, true, 1, answer).await.remove(0);
    assert_eq!(fate, Fate::Completed);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(seen.ended < 400_000_000, "the wait for the end is no part of the answer: {}", seen.ended);
}

#[tokio::test]
async fn nobody_listening_is_no_connection() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let transport = Transport::new(&Target::parse(&format!("http://{address}")).unwrap()).unwrap();
    let form = Form::new(&Wire::default(), "m", OutputLengths::Index, &[], &transport);
    let (clock, pulse, mut seen) = (Clock::starting_in(Duration::ZERO), Pulse::default(), Seen::default());
    let fate =
        attempt(&transport, &form, || form.headers(&HEAD, 0), "".into(), &clock, &pulse, &mut seen).await;
    assert_eq!((fate, seen.status), (Fate::Failed(Kind::Connect), 0));
    assert!(seen.ended >= seen.sent);
}

#[tokio::test]
async fn answers_that_are_not_streamed_have_their_shapes() {
    let one = |api: Api, body: &'static str| async move {
        let answer = move |_, stream| async move { write(stream, &whole("200 OK", "", body)).await };
        attempts(api, false, 1, answer).await.remove(0)
    };
    let chat =
        r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"completion_tokens":7}}"#;
    let (fate, seen) = one(Api::Chat, chat).await;
    assert_eq!((fate, seen.generated()), (Fate::Completed, 7));
    assert_eq!(one(Api::Databricks, chat).await.0, Fate::Completed);
    let embedding = r#"{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":3}}"#;
    assert_eq!(one(Api::Embeddings, embedding).await.0, Fate::Completed);
    assert_eq!(one(Api::Embeddings, chat).await.0, Fate::Failed(Kind::Shape));
    assert_eq!(one(Api::Chat, embedding).await.0, Fate::Failed(Kind::Shape));
    assert_eq!(one(Api::Completions, "[]").await.0, Fate::Failed(Kind::Shape));
}
