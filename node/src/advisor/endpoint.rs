//! The endpoint: one POST to `{url}/chat/completions`, bounded in time and bytes, without redirects or proxies.

use super::limit::pause;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderValue, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use zeroize::Zeroizing;

/// Most bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Most tokens that the model is asked for: about what [`super::answer::PARAGRAPH_CHARS_MAX`] characters take.
const ANSWER_TOKENS_MAX: u32 = 300;
/// Most bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a key file.
const KEY_BYTES_MAX: u64 = 4_096;
/// Requests for one paragraph: the second only where the first met a closed port or a failing server.
const ATTEMPTS_MAX: u32 = 2;
/// Between the two.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Why an endpoint gave no answer.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The address is none.
    #[error("advisor.url is no address of an endpoint: {url}; write it as http://127.0.0.1:11434/v1")]
    Url {
        /// What was given.
        url: String,
    },
    /// The key would go over the network in the clear.
    #[error("the key of advisor.key_file is not sent to {host} without TLS: write advisor.url with https://")]
    ClearKey {
        /// The host.
        host: String,
    },
    /// Others may read the key.
    #[error("{path} has mode {mode:04o}, so others may read or change this key: run `chmod 600 {path}`")]
    KeyPermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key.
    #[error("{path} holds no key: one line of visible ASCII characters, at most {KEY_BYTES_MAX} bytes")]
    KeyFormat {
        /// The file.
        path: PathBuf,
    },
    /// The key file cannot be read.
    #[error("cannot read {path}: {source}")]
    KeyIo {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("nobody listens at {url}: start the server, or name another with advisor.url")]
    Closed {
        /// The address.
        url: String,
    },
    /// It took too long.
    #[error(
        "{url} did not answer within {after_ms} ms: allow more with advisor.timeout_ms, or name a smaller model"
    )]
    Timeout {
        /// The address.
        url: String,
        /// How long it was given.
        after_ms: u128,
    },
    /// It has enough to do.
    #[error("{url} wants fewer requests: {}", wait_words(.retry_after_s))]
    Busy {
        /// The address.
        url: String,
        /// Seconds after which it says it takes one.
        retry_after_s: Option<u32>,
    },
    /// It refused the request.
    #[error("{url} answered with status {status}: {}", status_words(.status))]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// It sent too much.
    #[error("{url} sent more than {bytes_max} bytes: that is no paragraph")]
    Large {
        /// The address.
        url: String,
        /// The most that is read.
        bytes_max: u64,
    },
    /// Anything else on the way.
    #[error("cannot ask {url}: {source}")]
    Http {
        /// The address.
        url: String,
        /// What the client says.
        source: Box<ureq::Error>,
    },
}

impl EndpointError {
    /// Whether the same request may succeed a moment later.
    fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Status { status: 500.., .. })
    }
}

fn wait_words(seconds: &Option<u32>) -> String {
    seconds.map_or_else(
        || "try again later".into(),
        |seconds| format!("try again in {seconds} s"),
    )
}

fn status_words(status: &u16) -> &'static str {
    match *status {
        300..=399 => "redirects are not followed, so name the address itself with advisor.url",
        401 | 403 => "it wants another key, which advisor.key_file names",
        404 => "look at advisor.url, which ends before /chat/completions, and at advisor.model",
        500.. => "it has failed, twice",
        _ => "it does not take the request, so look at advisor.model",
    }
}

/// A place that speaks OpenAI's chat completions, and how it is asked.
#[derive(Debug)]
pub struct Endpoint {
    agent: Agent,
    url: String,
    /// `Bearer KEY`, marked as not to be shown.
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Endpoint {
    /// The endpoint below `url`, with the key in `key_file`.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is sent yet.
    pub fn new(url: &str, key_file: Option<&Path>, timeout: Duration) -> Result<Self, EndpointError> {
        let place = Place::of(url)?;
        if key_file.is_some() && !place.is_private() {
            return Err(EndpointError::ClearKey { host: place.host });
        }
        Ok(Self {
            agent: agent(),
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            authorization: key_file.map(read_key).transpose()?,
            timeout,
        })
    }

    /// The bytes of the answer to one prompt. `may_retry` is asked before a second request is sent.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn ask(
        &self,
        model: &str,
        system: &str,
        user: &str,
        mut may_retry: impl FnMut() -> bool,
    ) -> Result<Vec<u8>, EndpointError> {
        let body = json!({
            "model": model,
            "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
            "max_tokens": ANSWER_TOKENS_MAX,
            "temperature": 0.2,
            // Small models fall into loops without it.
            "frequency_penalty": 0.6,
            "stream": false,
        })
        .to_string();
        let deadline = Instant::now() + self.timeout;
        let mut attempt = 1;
        loop {
            match self.send(&body, deadline) {
                Err(error) if attempt < ATTEMPTS_MAX && error.is_worth_a_retry() && may_retry() => {
                    attempt += 1;
                    pause(RETRY_PAUSE.min(deadline.saturating_duration_since(Instant::now())));
                }
                ended => return ended,
            }
        }
    }

    fn send(&self, body: &str, deadline: Instant) -> Result<Vec<u8>, EndpointError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let mut request = self
            .agent
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .config()
            .timeout_global(Some(left))
            .build();
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send(body).map_err(|error| self.failed(error))?;
        self.check_status(&response)?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_vec().map_err(|error| self.failed(error))
    }

    fn check_status<T>(&self, response: &Response<T>) -> Result<(), EndpointError> {
        match response.status().as_u16() {
            200..=299 => Ok(()),
            429 => Err(EndpointError::Busy {
                url: self.url.clone(),
                retry_after_s: retry_after(response.headers()),
            }),
            status => Err(EndpointError::Status {
                url: self.url.clone(),
                status,
            }),
        }
    }

    fn failed(&self, error: ureq::Error) -> EndpointError {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(_) => self.timed_out(),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                EndpointError::Closed { url }
            }
            ureq::Error::BodyExceedsLimit(bytes_max) => EndpointError::Large { url, bytes_max },
            error => EndpointError::Http {
                url,
                source: Box::new(error),
            },
        }
    }

    fn timed_out(&self) -> EndpointError {
        EndpointError::Timeout {
            url: self.url.clone(),
            after_ms: self.timeout.as_millis(),
        }
    }
}

/// The client: our TLS provider with the certificates that the operating system trusts. A proxy of the environment
/// is not used and a redirect not followed, because either would take key and facts where nobody meant them to go.
fn agent() -> Agent {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(HEAD_BYTES_MAX)
        .build()
        .new_agent()
}

/// The seconds of `retry-after`; its other form, a date, is not read.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Where an address leads.
struct Place {
    host: String,
    is_encrypted: bool,
}

impl Place {
    fn of(url: &str) -> Result<Self, EndpointError> {
        let refused = || EndpointError::Url { url: url.into() };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused()),
        };
        let authority = uri.authority().ok_or_else(refused)?;
        // A key belongs into a file, and what follows `?` would stand before our path.
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(refused());
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            is_encrypted,
        })
    }

    /// Whether nobody on a network can read what is sent there. Of names only `localhost` is: the resolver must keep
    /// it on the machine (RFC 6761).
    fn is_private(&self) -> bool {
        let is_loopback = self
            .host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
        self.is_encrypted || is_loopback || self.host.eq_ignore_ascii_case("localhost")
    }
}

/// The header that a key file makes.
fn read_key(path: &Path) -> Result<HeaderValue, EndpointError> {
    let failed = |source| EndpointError::KeyIo {
        path: path.into(),
        source,
    };
    let format = || EndpointError::KeyFormat { path: path.into() };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(EndpointError::KeyPermissions {
            path: path.into(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file
        .take(KEY_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format())?.trim();
    let is_long = u64::try_from(read).is_ok_and(|len| len > KEY_BYTES_MAX);
    if is_long || text.is_empty() || !text.chars().all(|char| char.is_ascii_graphic()) {
        return Err(format());
    }
    let header = Zeroizing::new(format!("Bearer {text}"));
    let mut value = HeaderValue::from_str(&header).map_err(|_| format())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
