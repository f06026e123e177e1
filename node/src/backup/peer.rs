//! A node as a depot: it keeps the pieces for the key that this client shows in the handshake.

use core::time::Duration;
use selfchain_storage::backup::{Depot, DepotError};
use selfchain_transport::client::{ClientConfig, ConnectError, ReceiveError, SendError, blocking};
use selfchain_types::backup::BackupItem;
use selfchain_types::codec::wide;
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::keep::{KEEP_CHUNK_MAX, KEEP_FILE_MAX, Keep, Kept, KeptItem};
use selfchain_types::message::{Answer, Refused, Reply, Request};
use selfchain_types::{Hash, Refusal};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use thiserror::Error;

/// Where a node is that keeps backups: `node://KEY@HOST:PORT`, the key being its Ed25519 public key in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPlace {
    /// Its public key; any other is refused in the handshake.
    pub server_key: [u8; 32],
    /// Its address.
    pub address: SocketAddr,
}

/// What such a place begins with.
pub const PEER_SCHEME: &str = "node://";

impl PeerPlace {
    /// Reads `node://KEY@HOST:PORT`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, address) = text.strip_prefix(PEER_SCHEME)?.split_once('@')?;
        Some(Self {
            server_key: Hash::from_hex(key)?.0,
            address: address.parse().ok()?,
        })
    }
}

/// Why the keeper did not do what was asked.
#[derive(Debug, Error)]
pub enum PeerDepotError {
    /// The key that the owner connects with must be Ed25519.
    #[error("an owner connects with an Ed25519 key, this one is of {scheme}")]
    Scheme {
        /// The key's scheme.
        scheme: &'static str,
    },
    /// There is no connection.
    #[error("the node cannot be reached")]
    Connect(#[from] ConnectError),
    /// It refused.
    #[error("refused: {} ({})", .0.refusal, .0.text)]
    Refused(Refused),
    /// It did not answer in time, again and again.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// It answered something else than was asked.
    #[error("the node's answer is not understood: {what}")]
    Answer {
        /// What was expected.
        what: &'static str,
    },
    /// It says that it has more of a file than the file has.
    #[error("the node says that it has {got} bytes of a file of {len}")]
    Received {
        /// What it says.
        got: u64,
        /// The file's length.
        len: u64,
    },
}

impl PeerDepotError {
    /// The refusal, if that is what it was.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refused) => Some(refused.refusal),
            _ => None,
        }
    }
}

/// A node that keeps backups, as a depot. A lost connection is made again, and a file goes on where it was cut off.
pub struct PeerDepot {
    client: blocking::Client,
    link: Mutex<Link>,
    patience: Duration,
}

struct Link {
    connection: Option<blocking::Connection>,
    number: u64,
}

/// How long one round of connecting may take.
const CONNECT_ROUND: Duration = Duration::from_secs(5);
/// How long one answer may take, before the connection is taken for lost.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

impl PeerDepot {
    /// Connects as `owner`. A call gives up after `patience` without an answer.
    ///
    /// # Errors
    /// [`PeerDepotError`].
    pub fn connect(
        place: &PeerPlace,
        owner: &SigningKey,
        patience: Duration,
    ) -> Result<Self, PeerDepotError> {
        let scheme = owner.public().scheme();
        if scheme != Scheme::Ed25519 {
            return Err(PeerDepotError::Scheme {
                scheme: scheme.name(),
            });
        }
        let mut config = ClientConfig::new(place.address, place.server_key);
        config.client_seed = Some(*owner.seed());
        config.key_log_path = std::env::var_os("SSLKEYLOGFILE");
        let client = blocking::Client::new(config)?;
        let connection = client.connect_with_retry(CONNECT_ROUND.min(patience))?;
        Ok(Self {
            client,
            link: Mutex::new(Link {
                connection: Some(connection),
                number: 0,
            }),
            patience,
        })
    }

    /// What was agreed and how much of it is used: quota, bytes, files.
    ///
    /// # Errors
    /// [`PeerDepotError`].
    pub fn terms(&self) -> Result<(u64, u64, u64), PeerDepotError> {
        match self.ask(&Keep::Terms)? {
            Kept::Terms {
                quota_bytes,
                used_bytes,
                files,
            } => Ok((quota_bytes, used_bytes, files)),
            _ => Err(PeerDepotError::Answer { what: "terms" }),
        }
    }

    /// Asks until there is an answer: every request can be asked again.
    fn ask(&self, keep: &Keep<'_>) -> Result<Kept, PeerDepotError> {
        let until = Instant::now() + self.patience;
        // One question at a time: the guard of a panicked asker guards no half of anything.
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.try_once(&mut link, keep) {
                Ok(Some(kept)) => return Ok(kept),
                Ok(None) => {}
                Err(PeerDepotError::Refused(refused)) if refused.refusal.is_transient() => {
                    if Instant::now() >= until || refused.refusal == Refusal::DiskFull {
                        return Err(PeerDepotError::Refused(refused));
                    }
                    let pause = Duration::from_millis(u64::from(refused.retry_after_ms.max(1)));
                    std::thread::park_timeout(pause);
                }
                Err(PeerDepotError::Connect(error)) if error.is_retryable() && Instant::now() < until => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= until {
                return Err(PeerDepotError::Deadline(self.patience));
            }
        }
    }

    /// One try; nothing when the connection broke.
    fn try_once(&self, link: &mut Link, keep: &Keep<'_>) -> Result<Option<Kept>, PeerDepotError> {
        if link.connection.is_none() {
            link.connection = Some(self.client.connect_with_retry(CONNECT_ROUND)?);
        }
        link.number += 1;
        let number = link.number;
        let Some(connection) = &mut link.connection else {
            return Ok(None);
        };
        let sent = connection.send(Request::Keep(*keep).encode(number), ANSWER_WAIT);
        if let Err(SendError::Deadline { .. } | SendError::Closed { .. }) = sent {
            link.connection = None;
            return Ok(None);
        }
        sent.map_err(|_| PeerDepotError::Answer {
            what: "a request that can be sent",
        })?;
        let by = Instant::now() + ANSWER_WAIT;
        loop {
            let left = by.saturating_duration_since(Instant::now());
            let frames = match connection.receive(left) {
                Ok(frames) => frames,
                Err(ReceiveError::Deadline { .. } | ReceiveError::Closed { .. }) => {
                    link.connection = None;
                    return Ok(None);
                }
                Err(_) => {
                    return Err(PeerDepotError::Answer { what: "frames" });
                }
            };
            for frame in frames {
                let reply = Reply::decode(&frame).map_err(|_| PeerDepotError::Answer { what: "a reply" })?;
                match reply {
                    (of, Reply::Answer(Answer::Kept(kept))) if of == number => return Ok(Some(kept)),
                    (of, Reply::Refused(refused)) if of == number => {
                        return Err(PeerDepotError::Refused(refused));
                    }
                    // Of a request that was given up.
                    (of, _) if of < number => {}
                    _ => {
                        return Err(PeerDepotError::Answer {
                            what: "an answer about backups",
                        });
                    }
                }
            }
        }
    }
}

fn peer(error: PeerDepotError) -> DepotError {
    DepotError::Peer(Box::new(error))
}

impl Depot for PeerDepot {
    fn list(&self) -> Result<Vec<KeptItem>, DepotError> {
        let mut all: Vec<KeptItem> = Vec::new();
        loop {
            let after = all.last().map(|kept| kept.item);
            let Kept::List(rows) = self.ask(&Keep::List { after }).map_err(peer)? else {
                return Err(peer(PeerDepotError::Answer { what: "a list" }));
            };
            if rows.is_empty() {
                return Ok(all);
            }
            // A keeper that does not get on would be asked for ever.
            let is_ahead = rows.is_sorted_by(|a, b| a.item < b.item)
                && after.is_none_or(|after| rows.first().is_some_and(|row| row.item > after));
            if !is_ahead {
                return Err(peer(PeerDepotError::Answer {
                    what: "a list in order",
                }));
            }
            all.extend(rows);
        }
    }

    fn get(&self, item: BackupItem, max: u64) -> Result<Vec<u8>, DepotError> {
        let mut whole = Vec::new();
        loop {
            let keep = Keep::Get {
                item,
                offset: wide(whole.len()),
                len: u32::try_from(KEEP_CHUNK_MAX).unwrap_or(u32::MAX),
            };
            let (len, bytes) = match self.ask(&keep) {
                Ok(Kept::Piece { len, bytes }) => (len, bytes),
                Ok(_) => return Err(peer(PeerDepotError::Answer { what: "a piece" })),
                Err(error) if error.refusal() == Some(Refusal::NotFound) => {
                    return Err(DepotError::NotFound { item });
                }
                Err(error) => return Err(peer(error)),
            };
            if len > max {
                return Err(DepotError::TooLong { item, len, max });
            }
            let is_empty = bytes.is_empty();
            whole.extend_from_slice(&bytes);
            match wide(whole.len()) {
                got if got == len => return Ok(whole),
                got if got > len || is_empty => {
                    return Err(peer(PeerDepotError::Received { got, len }));
                }
                _ => {}
            }
        }
    }

    fn put(&self, item: BackupItem, bytes: &[u8]) -> Result<(), DepotError> {
        let len = wide(bytes.len());
        let hash = Hash(*blake3::hash(bytes).as_bytes());
        if len > KEEP_FILE_MAX {
            return Err(DepotError::TooLong {
                item,
                len,
                max: KEEP_FILE_MAX,
            });
        }
        let mut received: u64 = 0;
        // A keeper that loses what it had is sent everything again, but not for ever.
        let mut steps_left = 4 * (bytes.len() / KEEP_CHUNK_MAX + 2);
        while received < len {
            let from = usize::try_from(received).unwrap_or(bytes.len());
            let until = bytes.len().min(from + KEEP_CHUNK_MAX);
            let keep = Keep::Put {
                item,
                len,
                hash,
                offset: received,
                bytes: &bytes[from..until],
            };
            received = match self.ask(&keep).map_err(peer)? {
                Kept::Received { received } if received <= len => received,
                Kept::Received { received: got } => {
                    return Err(peer(PeerDepotError::Received { got, len }));
                }
                _ => {
                    return Err(peer(PeerDepotError::Answer {
                        what: "how much was received",
                    }));
                }
            };
            steps_left -= 1;
            if steps_left == 0 {
                return Err(peer(PeerDepotError::Received { got: received, len }));
            }
        }
        Ok(())
    }

    fn remove(&self, item: BackupItem) -> Result<(), DepotError> {
        self.ask(&Keep::Remove(item)).map(|_| ()).map_err(peer)
    }
}
