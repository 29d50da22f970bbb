//! Scenarios and servers for tests.

use tidegate_sim::scenario::{Overrides, Scenario, load_str};

/// A scenario with one pool and a tier `t`, and whatever `more` says. Two seconds long.
pub(crate) fn scenario(more: &str) -> Scenario {
    let text = format!(
        r#"
        [scenario]
        question = "?"
        horizon = "2s"
        warmup = "0s"
        seed = 7
        [models.m]
        [pools.p]
        model = "m"
        engine = "slots"
        servers = 64
        service = "20ms"
        [tiers.t]
        pools = ["p"]
        {more}
        "#
    );
    load_str("test", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found:?}"))
}

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as a test server has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which request of the server it is, from 0.
    pub number: u64,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Reads one request off a connection; `None` when that was closed. What comes after it stays in `rest`.
pub(crate) async fn read_request(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<Asked> {
    let mut buffer = [0; 16_384];
    let end = loop {
        if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => rest.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while rest.len() < end + 4 + length {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => rest.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
    let body = rest[end + 4..end + 4 + length].to_vec();
    rest.drain(..end + 4 + length);
    Some(Asked { path, headers, body, number: 0 })
}

/// A server on a port of its own that answers each request by writing bytes: whatever a test wants, be it HTTP or not.
/// `answer` says whether the connection stays open.
pub(crate) async fn serve<F, A>(answer: F) -> (SocketAddr, Arc<AtomicU64>)
where
    F: Fn(Asked, TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicU64::new(0));
    tokio::spawn(accept(listener, Arc::new(answer), Arc::clone(&served)));
    (address, served)
}

async fn accept<F, A>(listener: TcpListener, answer: Arc<F>, served: Arc<AtomicU64>)
where
    F: Fn(Asked, TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = Option<TcpStream>> + Send + 'static,
{
    while let Ok((mut stream, _)) = listener.accept().await {
        let (answer, served) = (Arc::clone(&answer), Arc::clone(&served));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut rest = Vec::new();
            while let Some(mut asked) = read_request(&mut stream, &mut rest).await {
                asked.number = served.fetch_add(1, Ordering::Relaxed);
                match answer(asked, stream).await {
                    Some(open) => stream = open,
                    None => return,
                }
            }
        });
    }
}

/// The head of a streamed answer, chunked.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Bytes as a chunk.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An event with a token.
pub(crate) fn token(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

/// The end of a stream of `tokens` tokens: why it ended, what it cost, and that it has ended.
pub(crate) fn end(tokens: usize) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{tokens}}}}}\n\ndata: [DONE]\n\n"
    )
}

/// A whole answer with a length.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Writes a text and keeps the connection.
pub(crate) async fn write(mut stream: TcpStream, text: &str) -> Option<TcpStream> {
    stream.write_all(text.as_bytes()).await.ok()?;
    Some(stream)
}

/// A whole stream of `tokens` tokens, as one text.
pub(crate) fn stream_of(tokens: usize) -> String {
    let events: String = (0..tokens).map(|_| chunk(&token(" a"))).collect();
    format!("{STREAM}{events}{}0\r\n\r\n", chunk(&end(tokens)))
}
