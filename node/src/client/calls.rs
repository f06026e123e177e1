//! The calls: connect, ask, submit. Each has a deadline, and none hangs.

use super::flight::{Departure, Ending};
use super::link::{Link, run};
use super::{ClientError, Signer, Subscription};
use crossbeam::channel::{Receiver, RecvTimeoutError};
use selfchain_transport::client::{ClientConfig, blocking};
use selfchain_types::asset::AssetRecord;
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::identity::IdentityRecord;
use selfchain_types::key::KeyRecord;
use selfchain_types::message::{
    AccountState, Answer, ChangePosition, Committed, Detail, HistoryRow, HoldRecord, PolicyState, Query,
    Reply, Request, Status,
};
use selfchain_types::vault::{VaultAnswer, VaultQuery};
use selfchain_types::{AccountId, AssetId, Genesis, Hash, Height, KeyId, Refusal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where a client connects, and what it may use.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The node's address.
    pub address: SocketAddr,
    /// The node's key; any other is refused in the handshake.
    pub server_key: [u8; 32],
    /// The longest that a call takes, reconnecting included.
    pub deadline: Duration,
    /// Requests without an answer. At the limit a call waits for a place, up to its deadline.
    pub in_flight_max: usize,
    /// Bytes of those requests, kept to be sent again. At the limit likewise.
    pub in_flight_bytes_max: usize,
    /// The Ed25519 key that it proves in the handshake, where the node is to know who asks.
    pub identity: Option<Arc<SigningKey>>,
}

impl ClientOptions {
    /// The defaults for a node and its key: 10 s, 8,192 requests, 256 MiB.
    pub fn new(address: SocketAddr, server_key: [u8; 32]) -> Self {
        Self {
            address,
            server_key,
            deadline: Duration::from_secs(10),
            in_flight_max: 8_192,
            in_flight_bytes_max: 256 << 20,
            identity: None,
        }
    }
}

/// A connection to a node, kept up by a thread of its own. Clones share it; the last one dropped closes it.
/// Wait for tickets first: what is in flight then is not waited for.
/// Must not be used inside a tokio runtime: its calls block.
#[derive(Clone)]
pub struct Client {
    open: Arc<Open>,
    deadline: Duration,
}

/// Closes the connection when the last client is dropped.
struct Open {
    link: Arc<Link>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The node is told, so that it does not keep a place until its idle timeout. Only then does the thread end at
        // once, and is waited for: a process that exits next would take the farewell with it.
        if self.link.close(CLOSE_WAIT)
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the client's thread had panicked");
        }
    }
}

/// How long dropping the last client may wait for what is queued to be sent.
const CLOSE_WAIT: Duration = Duration::from_millis(200);

impl Client {
    /// Connects, trying again until the deadline.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::Thread`].
    pub fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let ClientOptions {
            address,
            server_key,
            deadline,
            in_flight_max,
            in_flight_bytes_max,
            ref identity,
        } = *options;
        let failed = |error| ClientError::Connect(Arc::new(error));
        let mut config = ClientConfig::new(address, server_key);
        config.key_log_path = std::env::var_os("SSLKEYLOGFILE");
        config.connect_timeout = config.connect_timeout.min(deadline);
        config.client_seed = identity.as_ref().map(|key| *key.seed());
        let transport = blocking::Client::new(config).map_err(failed)?;
        let connection = transport.connect_with_retry(deadline).map_err(failed)?;
        let link = Arc::new(Link::new(in_flight_max.max(1), in_flight_bytes_max.max(1)));
        let served = Arc::clone(&link);
        let thread = thread::Builder::new()
            .name("selfchain-client".into())
            .spawn(move || run(&served, &transport, connection))
            .map_err(|error| ClientError::Thread(Arc::new(error)))?;
        Ok(Self {
            open: Arc::new(Open {
                link,
                thread: Some(thread),
            }),
            deadline: options.deadline,
        })
    }

    /// The same connection with another deadline.
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            open: Arc::clone(&self.open),
            deadline,
        }
    }

    /// The longest that a call takes.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The chain and its tip.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<Status, ClientError> {
        match self.ask(Query::Status)? {
            Answer::Status(status) => Ok(status),
            _ => Err(unexpected("a status")),
        }
    }

    /// What the chain was born with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn genesis(&self) -> Result<Genesis, ClientError> {
        match self.ask(Query::Genesis)? {
            Answer::Genesis(bytes) => Genesis::decode(&bytes).map_err(|error| ClientError::Answer {
                what: "a genesis",
                source: Some(error),
            }),
            _ => Err(unexpected("a genesis")),
        }
    }

    /// An account, if there is one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn account(&self, id: AccountId) -> Result<Option<AccountState>, ClientError> {
        match found(self.ask(Query::Account(id)))? {
            None => Ok(None),
            Some(Answer::Account(account)) => Ok(Some(account)),
            Some(_) => Err(unexpected("an account")),
        }
    }

    /// A key and its lanes, if the ledger has seen it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ClientError> {
        match found(self.ask(Query::Key(id)))? {
            None => Ok(None),
            Some(Answer::Key(key)) => Ok(Some(key)),
            Some(_) => Err(unexpected("a key")),
        }
    }

    /// An asset, if there is one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn asset(&self, id: AssetId) -> Result<Option<AssetRecord>, ClientError> {
        match found(self.ask(Query::Asset(id)))? {
            None => Ok(None),
            Some(Answer::Asset(asset)) => Ok(Some(asset)),
            Some(_) => Err(unexpected("an asset")),
        }
    }

    /// Transfers that wait for their reviewers, from a place on (0 at first), at most
    /// [`selfchain_types::message::HOLDS_MAX`] of them; and the
    /// place to go on at, if there are more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn holds(&self, from: u32) -> Result<(Vec<HoldRecord>, Option<u32>), ClientError> {
        match self.ask(Query::Holds { from })? {
            Answer::Holds(holds, next) => Ok((holds, (next != 0).then_some(next))),
            _ => Err(unexpected("holds")),
        }
    }

    /// What is done about scores of what an account pays, by its own policy, or by the chain's
    /// ([`AccountId::NONE`]); and which model decides.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn policy(&self, account: AccountId) -> Result<Option<PolicyState>, ClientError> {
        match found(self.ask(Query::Policy(account)))? {
            None => Ok(None),
            Some(Answer::Policy(state)) => Ok(Some(state)),
            Some(_) => Err(unexpected("a policy")),
        }
    }

    /// The identity of a node's id, or that a key of this id is or was of, as of its last certificate.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn identity(&self, id: Hash) -> Result<Option<IdentityRecord>, ClientError> {
        match found(self.ask(Query::Identity(id)))? {
            None => Ok(None),
            Some(Answer::Identity(record)) => Ok(Some(record)),
            Some(_) => Err(unexpected("an identity")),
        }
    }

    /// Where a transaction is and what became of it, if it is on the ledger.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn transaction(&self, tx_id: Hash) -> Result<Option<Committed>, ClientError> {
        match found(self.ask(Query::Transaction(tx_id)))? {
            None => Ok(None),
            Some(Answer::Transaction(committed)) => Ok(Some(committed)),
            Some(_) => Err(unexpected("a transaction")),
        }
    }

    /// A block's row ([`selfchain_types::block::Row::decode`]), if it is there.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::Pruned`] below the first height kept.
    pub fn block(&self, height: Height) -> Result<Option<Vec<u8>>, ClientError> {
        match found(self.ask(Query::Block(height)))? {
            None => Ok(None),
            Some(Answer::Block(row)) => Ok(Some(row)),
            Some(_) => Err(unexpected("a block")),
        }
    }

    /// An account's balances as they became from `from` (a height, or a place in it) on, oldest first, at most
    /// `rows_max`. The next page begins at [`ChangePosition::next`] of the last row.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::IndexBehind`] when that outlasts the deadline.
    pub fn history(
        &self,
        account: AccountId,
        from: impl Into<ChangePosition>,
        rows_max: u16,
    ) -> Result<Vec<HistoryRow>, ClientError> {
        match self.ask(Query::History {
            account,
            from: from.into(),
            rows_max,
        })? {
            Answer::History(rows) => Ok(rows),
            _ => Err(unexpected("a history")),
        }
    }

    /// An account's balances as they were after `height`; `None` when nothing had changed by then, and for an
    /// account without history.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::Pruned`] below the first height that is kept, [`Refusal::NotFound`] above the
    /// newest.
    pub fn balance_at(&self, account: AccountId, height: Height) -> Result<Option<HistoryRow>, ClientError> {
        match self.ask(Query::BalanceAt { account, height })? {
            Answer::History(rows) => Ok(rows.into_iter().next()),
            _ => Err(unexpected("a history")),
        }
    }

    /// The bytes of the receipt of one operation, with its proof, if the transaction is on the ledger.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn receipt(&self, tx_id: Hash, operation: u32) -> Result<Option<Vec<u8>>, ClientError> {
        match found(self.ask(Query::Receipt { tx_id, operation }))? {
            None => Ok(None),
            Some(Answer::Receipt(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(unexpected("a receipt")),
        }
    }

    /// The bytes of the proof file that a query asks for: [`Query::ProveOperation`], [`Query::ProveAccount`] or
    /// [`Query::ProveConsistency`]. They prove nothing until they are verified.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::Pruned`] below the first height that can be proved.
    pub fn prove(&self, query: Query) -> Result<Vec<u8>, ClientError> {
        match self.ask(query)? {
            Answer::Proof(bytes) => Ok(bytes),
            _ => Err(unexpected("a proof")),
        }
    }

    /// Asks anything.
    ///
    /// # Errors
    /// [`ClientError`]; a transient refusal is tried again until the deadline.
    pub fn ask(&self, query: Query) -> Result<Answer, ClientError> {
        self.ask_with(|number| Request::Query(query).encode(number))
    }

    /// Asks the vault of the node's owner, as the key of [`ClientOptions::identity`].
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::Denied`] where that key may not.
    pub fn ask_vault(&self, query: &VaultQuery<'_>) -> Result<VaultAnswer, ClientError> {
        match self.ask_with(|number| Request::Vault(query.clone()).encode(number))? {
            Answer::Vault(answer) => Ok(answer),
            _ => Err(unexpected("an answer of the vault")),
        }
    }

    fn ask_with(&self, frame: impl FnOnce(u64) -> Vec<u8>) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.deadline;
        let departure = self.open.link.ask(frame, deadline, self.deadline)?;
        match self.waiting(departure, deadline).end()? {
            Reply::Answer(answer) => Ok(answer),
            _ => Err(unexpected("an answer")),
        }
    }

    /// Submits a signed envelope, and returns as soon as it is on its way.
    ///
    /// # Errors
    /// [`ClientError::Envelope`], [`ClientError::Deadline`] when no place in flight became free.
    pub fn submit(&self, envelope: &[u8], detail: Detail) -> Result<Ticket, ClientError> {
        let tx_id = EnvelopeView::new(envelope)
            .map_err(ClientError::Envelope)?
            .tx_id();
        let deadline = Instant::now() + self.deadline;
        let frame = |number| Request::Submit { detail, envelope }.encode(number);
        let departure = self.open.link.submit(frame, tx_id, deadline, self.deadline)?;
        Ok(Ticket {
            tx_id,
            waiting: self.waiting(departure, deadline),
        })
    }

    /// Signs with `key` on one of its lanes, 0 to 15. Two signers must not share a lane.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn signer(&self, key: SigningKey, lane: u32) -> Result<Signer, ClientError> {
        Signer::new(self.clone(), key, lane)
    }

    /// Every block row from height `from` on, live ones included, without end.
    pub fn subscribe(&self, from: Height) -> Subscription {
        Subscription::new(self.clone(), from)
    }

    /// The newest height that the node has named to this client.
    pub fn tip_seen(&self) -> Height {
        Height(self.open.link.tip())
    }

    pub(super) fn link(&self) -> &Link {
        &self.open.link
    }

    fn waiting(&self, departure: Departure, deadline: Instant) -> Waiting {
        Waiting {
            link: Arc::clone(&self.open.link),
            number: departure.number,
            ending: departure.wait,
            deadline,
            given: self.deadline,
        }
    }
}

/// A submission on its way. Dropping it does not take it back.
#[derive(Debug)]
pub struct Ticket {
    tx_id: Hash,
    waiting: Waiting,
}

impl Ticket {
    /// The transaction's id.
    pub fn tx_id(&self) -> Hash {
        self.tx_id
    }

    /// Waits until the transaction is durable, at most until the deadline of the call that submitted it.
    ///
    /// # Errors
    /// [`ClientError::Deadline`]: it may still commit. [`ClientError::Refused`]: it did not, and will not.
    pub fn wait(self) -> Result<Committed, ClientError> {
        match self.waiting.end()? {
            Reply::Committed(committed) => Ok(committed),
            _ => Err(unexpected("a commit")),
        }
    }
}

struct Waiting {
    link: Arc<Link>,
    number: u64,
    ending: Receiver<Ending>,
    deadline: Instant,
    given: Duration,
}

impl core::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "request {}", self.number)
    }
}

impl Waiting {
    fn end(&self) -> Ending {
        match self.ending.recv_deadline(self.deadline) {
            Ok(ending) => ending,
            Err(RecvTimeoutError::Timeout) => {
                self.link.cancel(self.number);
                Err(ClientError::Deadline { after: self.given })
            }
            Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed),
        }
    }
}

/// Turns the refusal "not found" into nothing.
fn found(answer: Result<Answer, ClientError>) -> Result<Option<Answer>, ClientError> {
    match answer {
        Err(error) if error.refusal() == Some(Refusal::NotFound) => Ok(None),
        answer => answer.map(Some),
    }
}

fn unexpected(what: &'static str) -> ClientError {
    ClientError::Answer { what, source: None }
}

#[cfg(test)]
#[path = "client_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
