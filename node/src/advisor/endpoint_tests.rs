//! The endpoint against a socket that answers well, badly, slowly and without end.

use super::*;
use crate::advisor::stub::{Reply, Request, Stub, says};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

const PATIENCE: Duration = Duration::from_secs(20);
/// What a timeout is tested with.
const SHORT: Duration = Duration::from_millis(300);

fn endpoint(stub: &Stub, timeout: Duration) -> Endpoint {
    Endpoint::new(&stub.url(), None, timeout).unwrap()
}

fn ask(endpoint: &Endpoint) -> Result<Vec<u8>, EndpointError> {
    endpoint.ask("a model", "the system", "{\"the\":\"facts\"}", || true)
}

/// What comes of one question to an endpoint with these replies, and the requests that it got.
fn check(replies: Vec<Reply>) -> (Result<Vec<u8>, EndpointError>, Vec<Request>) {
    let stub = Stub::start(replies);
    let ended = ask(&endpoint(&stub, PATIENCE));
    (ended, stub.requests.try_iter().collect())
}

fn text(status: &'static str, head: &'static str) -> Reply {
    Reply::Text(status, head, "{}".into())
}

#[test]
fn the_request_is_a_chat_completion_and_the_answer_comes_as_it_is() {
    let (answer, requests) = check(vec![says("It is a payment.")]);
    assert!(
        String::from_utf8(answer.unwrap())
            .unwrap()
            .contains("It is a payment.")
    );
    let [request] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    assert!(
        request.head.starts_with("post /v1/chat/completions http/1.1"),
        "{}",
        request.head
    );
    assert!(request.head.contains("content-type: application/json"));
    assert!(!request.head.contains("authorization"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["model"], "a model");
    assert_eq!(body["stream"], false);
    assert_eq!(
        body["messages"][0],
        json!({ "role": "system", "content": "the system" })
    );
    assert_eq!(
        body["messages"][1],
        json!({ "role": "user", "content": "{\"the\":\"facts\"}" })
    );
}

#[test]
fn an_endpoint_that_is_silent_or_drips_is_left_at_the_timeout() {
    for reply in [Reply::Silence, Reply::Drip] {
        let stub = Stub::start(vec![reply]);
        let began = Instant::now();
        let error = ask(&endpoint(&stub, SHORT)).unwrap_err();
        assert!(
            matches!(error, EndpointError::Timeout { after_ms: 300, .. }),
            "{error}"
        );
        assert!(began.elapsed() < PATIENCE);
        stub.taken.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn of_a_gibibyte_only_what_an_answer_may_have_is_read() {
    for is_chunked in [true, false] {
        let stub = Stub::start(vec![Reply::Gibibyte { is_chunked }]);
        let error = ask(&endpoint(&stub, PATIENCE)).unwrap_err();
        assert!(
            matches!(
                error,
                EndpointError::Large {
                    bytes_max: ANSWER_BYTES_MAX,
                    ..
                }
            ),
            "{error}"
        );
        // What the sockets' buffers hold was taken too, but nobody read it.
        let taken = stub.taken.recv_timeout(PATIENCE).unwrap();
        assert!(taken < 64 << 20, "{taken}");
    }
}

#[test]
fn a_busy_endpoint_is_not_asked_again_and_its_time_is_told() {
    let (ended, requests) = check(vec![text("429 Too Many Requests", "retry-after: 17\r\n")]);
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("try again in 17 s"), "{message}");
    assert_eq!(requests.len(), 1);
    for head in [
        "",
        "retry-after: Fri, 27 Nov 2026 16:00:00 GMT\r\n",
        "retry-after: -1\r\n",
    ] {
        let (ended, _) = check(vec![text("429 Too Many Requests", head)]);
        assert!(
            matches!(
                ended,
                Err(EndpointError::Busy {
                    retry_after_s: None,
                    ..
                })
            ),
            "{head}"
        );
    }
}

#[test]
fn a_failing_server_is_asked_once_more_and_no_other() {
    let (ended, requests) = check(vec![text("503 Loading", ""), says("It.")]);
    assert!(ended.is_ok() && requests.len() == 2);
    let (ended, requests) = check(vec![text("503 Loading", ""), text("500 No", ""), says("It.")]);
    assert!(matches!(ended, Err(EndpointError::Status { status: 500, .. })));
    assert_eq!(requests.len(), 2);
    for status in ["400 No", "401 No", "404 No", "302 Elsewhere", "307 Elsewhere"] {
        let reply = text(status, "location: http://127.0.0.1:9/v1/chat/completions\r\n");
        let (ended, requests) = check(vec![reply, says("It.")]);
        assert!(
            matches!(ended, Err(EndpointError::Status { .. })),
            "{status}: {ended:?}"
        );
        assert_eq!(requests.len(), 1, "{status}");
    }
}

#[test]
fn a_closed_port_is_tried_once_more_where_that_is_allowed() {
    let closed = {
        let stub = Stub::start(Vec::new());
        // The port closes with the last reply, here at once.
        stub.requests.recv().unwrap_err();
        stub
    };
    let endpoint = endpoint(&closed, PATIENCE);
    let mut asked = 0;
    let error = endpoint.ask("m", "s", "u", || {
        asked += 1;
        true
    });
    assert!(matches!(error, Err(EndpointError::Closed { .. })), "{error:?}");
    assert_eq!(asked, 1);
    assert!(endpoint.ask("m", "s", "u", || false).is_err());
}

#[test]
fn what_does_not_speak_http_is_refused() {
    let stub = Stub::start(vec![Reply::Text("200 OK\r\nno header", "", String::new())]);
    let error = ask(&endpoint(&stub, PATIENCE)).unwrap_err();
    assert!(matches!(error, EndpointError::Http { .. }), "{error:?}");
}

fn key_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_key_goes_as_bearer_and_shows_nowhere() {
    let stub = Stub::start(vec![says("It.")]);
    let key = key_file("sk-Secret123\n");
    let endpoint = Endpoint::new(&stub.url(), Some(key.path()), PATIENCE).unwrap();
    ask(&endpoint).unwrap();
    let head = stub.requests.recv().unwrap().head;
    assert!(head.contains("authorization: bearer sk-secret123"), "{head}");
    assert!(!format!("{endpoint:?}").contains("Secret"));
}

#[test]
fn a_key_is_not_sent_in_the_clear_over_a_network() {
    let key = key_file("sk");
    let with_key = |url| Endpoint::new(url, Some(key.path()), PATIENCE);
    for url in [
        "http://10.0.0.1/v1",
        "http://models.example/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "http://[2001:db8::1]:80/v1",
        "http://0.0.0.0/v1",
    ] {
        assert!(
            matches!(with_key(url), Err(EndpointError::ClearKey { .. })),
            "{url}"
        );
        assert!(Endpoint::new(url, None, PATIENCE).is_ok(), "{url}");
    }
    for url in [
        "https://models.example/v1",
        "http://127.0.0.1:1/v1",
        "http://127.9.9.9/v1",
        "http://[::1]:80/v1",
        "http://LocalHost/v1/",
    ] {
        assert!(with_key(url).is_ok(), "{url}");
    }
}

#[test]
fn addresses_and_keys_that_are_none_are_refused_before_anything_is_sent() {
    for url in [
        "",
        "nonsense",
        "ftp://127.0.0.1/v1",
        "http://",
        "http:///v1",
        "/v1",
        "http://user:password@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=1",
    ] {
        let refused = Endpoint::new(url, None, PATIENCE);
        assert!(
            matches!(refused, Err(EndpointError::Url { .. })),
            "{url}: {refused:?}"
        );
    }
    let check = |text: &str| Endpoint::new("http://127.0.0.1/v1", Some(key_file(text).path()), PATIENCE);
    for text in [
        "",
        "\n",
        "two words",
        "line\nline",
        "umlaut-ü",
        &"x".repeat(4_097),
    ] {
        assert!(
            matches!(check(text), Err(EndpointError::KeyFormat { .. })),
            "{text:.20}"
        );
    }
    let open = key_file("sk");
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Endpoint::new("http://127.0.0.1/v1", Some(open.path()), PATIENCE);
    assert!(matches!(
        refused,
        Err(EndpointError::KeyPermissions { mode: 0o644, .. })
    ));
    let missing = Endpoint::new("http://127.0.0.1/v1", Some(Path::new("no/such/key")), PATIENCE);
    assert!(matches!(missing, Err(EndpointError::KeyIo { .. })));
}

#[test]
fn an_endpoint_behind_tls_is_spoken_to_with_our_provider() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let mut first = [0; 3];
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut first).unwrap();
        first
    });
    // What fails is the handshake with a socket that hangs up, not the choice of a provider or of certificates.
    let error = ask(&Endpoint::new(&url, None, PATIENCE).unwrap()).unwrap_err();
    assert!(matches!(error, EndpointError::Http { .. }), "{error:?}");
    // A handshake record of TLS.
    assert_eq!(heard.join().unwrap(), [22, 3, 1]);
}
