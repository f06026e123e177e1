//! An endpoint of the tests: a socket on loopback that answers each connection as it was told.

use crossbeam::channel::{Receiver, bounded};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What a connection gets.
pub(crate) enum Reply {
    /// A status line's rest, further header lines, a body.
    Text(&'static str, &'static str, String),
    /// Nothing, until the other side goes.
    Silence,
    /// A head whose end never comes, a byte at a time, until the other side goes.
    Drip,
    /// A body of a gibibyte, its length said before or in chunks, until the other side goes.
    Gibibyte { is_chunked: bool },
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A listening endpoint. Its replies are given in order, one a connection; after the last its port is closed.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    /// The requests, as they come.
    pub(crate) requests: Receiver<Request>,
    /// Bytes of body that a connection took, for each endless reply.
    pub(crate) taken: Receiver<u64>,
}

impl Stub {
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let (heard, requests) = bounded(REQUESTS_MAX);
        let (took, taken) = bounded(REQUESTS_MAX);
        thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().expect("somebody connects");
                if heard.send(read(&mut stream)).is_err() {
                    return;
                }
                let bytes = answer(&mut stream, &reply);
                if took.send(bytes).is_err() {
                    return;
                }
            }
            // The port is closed before the test hears that no more requests come.
            drop(listener);
            drop(heard);
        });
        Self {
            address,
            requests,
            taken,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

/// A chat completion with this text.
pub(crate) fn says(text: &str) -> Reply {
    let message = serde_json::json!({ "role": "assistant", "content": text });
    let body =
        serde_json::json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    Reply::Text("200 OK", "", body.to_string())
}

/// More requests than any test makes.
const REQUESTS_MAX: usize = 16;
const GIBIBYTE: u64 = 1 << 30;
/// Between two bytes that drip.
const DRIP_PAUSE: Duration = Duration::from_millis(10);

fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let len = stream.read(&mut buffer).expect("a request comes");
        bytes.extend_from_slice(&buffer[..len]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| length.parse() == Ok(body.len())) {
                let body = body.to_owned();
                return Request { head, body };
            }
        }
        assert!(len != 0, "a request ended early: {text}");
    }
}

/// Gives the reply, and says how many bytes of an endless one were taken.
fn answer(stream: &mut TcpStream, reply: &Reply) -> u64 {
    match reply {
        Reply::Text(status, head, body) => {
            let text = format!(
                "HTTP/1.1 {status}\r\n{head}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).expect("the other side reads");
            0
        }
        Reply::Silence => {
            let gone = stream.read(&mut [0; 1]);
            assert!(matches!(gone, Ok(0) | Err(_)), "more came");
            0
        }
        Reply::Drip => {
            let mut taken = 0;
            let start = b"HTTP/1.1 200 OK\r\nx-slow: "
                .iter()
                .chain(std::iter::repeat(&b'x'));
            for byte in start {
                let timer = crossbeam::channel::after(DRIP_PAUSE);
                if stream.write_all(&[*byte]).is_err() || timer.recv().is_err() {
                    break;
                }
                taken += 1;
            }
            taken
        }
        Reply::Gibibyte { is_chunked } => endless(stream, *is_chunked),
    }
}

fn endless(stream: &mut TcpStream, is_chunked: bool) -> u64 {
    let chunk = vec![b' '; 64 << 10];
    let (head, before, after) = if is_chunked {
        ("transfer-encoding: chunked".to_owned(), "10000\r\n", "\r\n")
    } else {
        (format!("content-length: {GIBIBYTE}"), "", "")
    };
    let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the other side reads");
    let mut taken = 0;
    while taken < GIBIBYTE {
        let sent = [before.as_bytes(), &chunk, after.as_bytes()]
            .iter()
            .try_for_each(|part| stream.write_all(part));
        if sent.is_err() {
            break;
        }
        taken += 64 << 10;
    }
    taken
}
