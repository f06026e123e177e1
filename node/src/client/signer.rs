//! Builds, signs and submits transactions of one key's lane, counting its counters.

use super::{Client, ClientError, Ticket};
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::{Committed, Detail};
use selfchain_types::{AccountId, Amount, AssetId, EnvelopeBuilder, Hash, Height, KeyId, Operation, Refusal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How old the known tip may be before a transaction is signed: heights bound its validity.
const TIP_AGE_MAX: Duration = Duration::from_secs(1);

/// Signs for one lane of a key. May be used from several threads: transactions leave in the order of their
/// counters.
///
/// After a submission that was refused or timed out, those after it on the lane cannot commit before it; the
/// next call asks the ledger which counter is next.
pub struct Signer {
    client: Client,
    key: SigningKey,
    lane: u32,
    chain_id: Hash,
    validity_max: u32,
    state: Mutex<State>,
}

struct State {
    /// The next counter; `None`: ask the ledger.
    next: Option<u64>,
    tip: Height,
    tip_known: Instant,
    fee: (AccountId, AssetId, Amount),
}

impl Signer {
    pub(super) fn new(client: Client, key: SigningKey, lane: u32) -> Result<Self, ClientError> {
        let status = client.status()?;
        let signer = Self {
            client,
            key,
            lane,
            chain_id: status.chain_id,
            validity_max: status.validity_max,
            state: Mutex::new(State {
                next: None,
                tip: status.tip,
                tip_known: Instant::now(),
                fee: (AccountId::NONE, AssetId(0), Amount::ZERO),
            }),
        };
        let next = signer.ask_next(signer.key.id())?;
        signer.state().next = Some(next);
        Ok(signer)
    }

    /// The client that it submits by.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    /// Pays fees from `account`, in `asset`, at most `max` a transaction, from now on.
    pub fn pay_fees(&self, account: AccountId, asset: AssetId, max: Amount) {
        self.state().fee = (account, asset, max);
    }

    /// Signs these operations as one transaction and submits it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn submit(&self, operations: Vec<Operation>, detail: Detail) -> Result<Ticket, ClientError> {
        self.submit_with(operations, Vec::new(), detail)
    }

    /// As [`Signer::submit`], with attachments that operations point to.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn submit_with(
        &self,
        operations: Vec<Operation>,
        attachments: Vec<u8>,
        detail: Detail,
    ) -> Result<Ticket, ClientError> {
        self.submit_among(&[], operations, attachments, detail)
    }

    /// As [`Signer::submit_with`], signed by other keys too, on the same lane.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn submit_among(
        &self,
        others: &[SigningKey],
        operations: Vec<Operation>,
        attachments: Vec<u8>,
        detail: Detail,
    ) -> Result<Ticket, ClientError> {
        // Held while the frame is handed over, so that counters leave in order.
        let mut state = self.state();
        let counter = match state.next {
            Some(counter) => counter,
            None => self.ask_next(self.key.id())?,
        };
        self.refresh_tip(&mut state)?;
        let mut builder =
            EnvelopeBuilder::new(self.chain_id, state.tip, u64::from(self.validity_max), operations);
        builder.fee = state.fee;
        builder.attachments = attachments;
        let mut signers = vec![(&self.key, self.lane, counter)];
        for other in others {
            signers.push((other, self.lane, self.ask_next(other.id())?));
        }
        let envelope = builder.sign(&signers);
        match self.client.submit(&envelope, detail) {
            Ok(ticket) => {
                state.next = Some(counter + 1);
                Ok(ticket)
            }
            Err(error) => {
                state.next = None;
                Err(error)
            }
        }
    }

    /// Signs, submits, and waits until the transaction is durable. Refused operations are in the result.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn commit(&self, operations: Vec<Operation>) -> Result<Committed, ClientError> {
        self.wait(self.submit(operations, Detail::Balances)?)
    }

    /// Waits for a ticket of this signer. After an error the next submission asks for the lane's counter.
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn wait(&self, ticket: Ticket) -> Result<Committed, ClientError> {
        ticket.wait().inspect_err(|_| self.state().next = None)
    }

    fn ask_next(&self, key: KeyId) -> Result<u64, ClientError> {
        let at = usize::try_from(self.lane).unwrap_or(usize::MAX);
        let record = self.client.key(key)?;
        let last = match &record {
            None => 0,
            Some(record) => record
                .lanes
                .get(at)
                .ok_or(ClientError::Envelope(Refusal::LaneUnknown))?
                .get(),
        };
        Ok(last + 1)
    }

    fn refresh_tip(&self, state: &mut State) -> Result<(), ClientError> {
        let seen = self.client.tip_seen();
        if seen > state.tip {
            (state.tip, state.tip_known) = (seen, Instant::now());
        }
        if state.tip_known.elapsed() > TIP_AGE_MAX {
            (state.tip, state.tip_known) = (self.client.status()?.tip, Instant::now());
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Signer(key {}, lane {})", self.key.id(), self.lane)
    }
}
