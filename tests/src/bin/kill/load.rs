//! The load: keys with accounts of their own, each sending on several lanes at once until the node is gone.

use crate::Checked;
use crate::node::server_key;
use crate::run::Submitted;
use selfchain::types::codec::wide;
use selfchain::types::crypto::SigningKey;
use selfchain::types::envelope::EnvelopeView;
use selfchain::types::message::{Detail, Reply, Request};
use selfchain::types::{Amount, AssetId, EnvelopeBuilder, Hash, Height};
use selfchain::{AccountId, Operation};
use selfchain_tests::random::Random;
use selfchain_transport::client::{ClientConfig, ReceiveError, blocking};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// A key with accounts of its own, which sends on several lanes at once.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) key: SigningKey,
    pub(crate) random: Random,
    /// Last counter of each lane that is known to be used.
    pub(crate) settled: [u64; LANES],
    /// Operations made so far: their ids.
    pub(crate) made: u128,
    /// Reservations that may be open: id and amount.
    pub(crate) reserved: VecDeque<(u128, u64)>,
}

impl Worker {
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            number,
            key: SigningKey::from_seed(&bytes),
            random: Random(seed),
            settled: [0; LANES],
            made: 0,
            reserved: VecDeque::new(),
        }
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> + use<> {
        let first = account_of(self.number, 0).0;
        (first..first + u128::from(ACCOUNTS)).map(AccountId)
    }

    /// Keeps a window of transactions in flight until the node is killed. Gives back all that it handed over.
    pub(crate) fn load(
        &mut self,
        address: SocketAddr,
        chain_id: Hash,
        tip: Height,
        acknowledged: &SyncSender<()>,
        is_killed: &AtomicBool,
    ) -> Checked<Vec<Submitted>> {
        let mut submitted: Vec<Submitted> = Vec::new();
        let client = blocking::Client::new(ClientConfig::new(address, server_key()?))?;
        let Ok(connection) = client.connect() else {
            // Killed before it was connected to, or else nobody will be acknowledged.
            return Ok(submitted);
        };
        let (sender, mut receiver) = connection.split();
        let mut counters = self.settled;
        let mut answered = 0;
        loop {
            let was_killed = is_killed.load(Ordering::Acquire);
            while !was_killed && submitted.len() - answered < WINDOW && submitted.len() < SUBMITTED_MAX {
                let lane = usize::try_from(self.random.below(3))? % LANES;
                let builder = EnvelopeBuilder::new(chain_id, tip, 4_000, self.operations());
                counters[lane] += 1;
                let envelope = builder.sign(&[(&self.key, u32::try_from(lane)?, counters[lane])]);
                let request = Request::Submit {
                    detail: Detail::Refusals,
                    envelope: &envelope,
                };
                let frame = request.encode(wide(submitted.len()));
                let tx_id = view(&envelope)?.tx_id();
                let (signer, lane) = (self.key.id(), (self.number, lane));
                submitted.push(Submitted {
                    signer,
                    lane,
                    tx_id,
                    envelope,
                    result: None,
                });
                if let Err(error) = sender.send(frame, SEND_WAIT)
                    && !is_killed.load(Ordering::Acquire)
                {
                    return Err(format!("not sent: {error}").into());
                }
            }
            match receiver.receive(REPLY_WAIT) {
                Ok(frames) => {
                    for frame in frames {
                        answered += usize::from(take(&frame, &mut submitted, acknowledged)?);
                    }
                }
                Err(ReceiveError::Deadline { .. }) if !was_killed => {}
                Err(error) if !was_killed && !is_killed.load(Ordering::Acquire) => {
                    return Err(format!("the connection broke before the kill: {error}").into());
                }
                // All that had arrived is taken.
                Err(_) => return Ok(submitted),
            }
        }
    }

    /// A plain transfer, a batch, a chain, a reservation, or what becomes of one.
    fn operations(&mut self) -> Vec<Operation> {
        match self.random.below(20) {
            0..=9 => vec![self.transfer()],
            10..=12 => (0..self.random.below(BATCH_MAX) + 2)
                .map(|_| self.transfer())
                .collect(),
            13 => vec![
                self.transfer().linked(),
                self.transfer().linked(),
                self.transfer(),
            ],
            14..=16 => {
                let amount = self.random.below(40) + 1;
                let (id, from, to) = (self.id(), self.own(), self.any());
                self.reserved.push_back((id, amount));
                if self.reserved.len() > RESERVED_MAX {
                    self.reserved.pop_front();
                }
                vec![Operation::reserve(
                    id,
                    from,
                    to,
                    Amount(u128::from(amount)),
                    MONEY,
                    0,
                )]
            }
            _ => self.settle(),
        }
    }

    fn settle(&mut self) -> Vec<Operation> {
        let Some((pending, amount)) = self.reserved.pop_front() else {
            return vec![self.transfer()];
        };
        let id = self.id();
        let part = Amount(u128::from(self.random.below(amount) + 1));
        vec![match self.random.below(4) {
            0 => Operation::post(id, pending, Amount::MAX),
            1 => Operation::post(id, pending, part),
            _ => Operation::void(id, pending),
        }]
    }

    fn transfer(&mut self) -> Operation {
        // One in eight is more than anybody has.
        let amount = if self.random.below(8) == 0 {
            1_000_000
        } else {
            self.random.below(50) + 1
        };
        Operation::transfer(
            self.id(),
            self.own(),
            self.any(),
            Amount(u128::from(amount)),
            MONEY,
        )
    }

    fn id(&mut self) -> u128 {
        self.made += 1;
        self.made << 8 | account_of(self.number, 0).0
    }

    fn own(&mut self) -> AccountId {
        account_of(self.number, self.random.below(ACCOUNTS))
    }

    fn any(&mut self) -> AccountId {
        let worker = usize::try_from(self.random.below(3)).unwrap_or(0) % WORKERS;
        account_of(worker, self.random.below(ACCOUNTS))
    }
}

/// Reservations that a worker remembers; those it forgets stay open.
const RESERVED_MAX: usize = 64;

fn account_of(worker: usize, at: u64) -> AccountId {
    let worker = wide(worker);
    AccountId(u128::from((worker + 1) * 16 + at))
}

/// Takes a reply; whether it was the last one for its transaction.
fn take(frame: &[u8], submitted: &mut [Submitted], acknowledged: &SyncSender<()>) -> Checked<bool> {
    let (number, reply) = Reply::decode(frame)?;
    let one = submitted
        .get_mut(usize::try_from(number)?)
        .ok_or("a reply to nothing")?;
    match reply {
        Reply::Accepted => Ok(false),
        Reply::Committed(committed) if !committed.duplicate && one.result.is_none() => {
            one.result = Some(committed);
            // A killer that has heard enough listens no more.
            acknowledged.try_send(()).unwrap_or_default();
            Ok(true)
        }
        other => Err(format!("{} was answered {other:?}", one.tx_id).into()),
    }
}

pub(crate) fn view(envelope: &[u8]) -> Checked<EnvelopeView<'_>> {
    Ok(EnvelopeView::new(envelope).map_err(|refusal| format!("not an envelope: {refusal}"))?)
}

pub(crate) const WORKERS: usize = 3;
pub(crate) const MONEY: AssetId = AssetId(1);
pub(crate) const ISSUANCE: AccountId = AccountId(1 << 64);
const ACCOUNTS: u64 = 5;
const LANES: usize = 3;
const WINDOW: usize = 48;
/// Submissions of one worker in one cycle.
const SUBMITTED_MAX: usize = 2_000;
const BATCH_MAX: u64 = 40;
const REPLY_WAIT: Duration = Duration::from_millis(20);
const SEND_WAIT: Duration = Duration::from_secs(10);
