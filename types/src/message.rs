//! Messages between a client and a node: one frame each, request or reply. `docs/formats/message.md`.

use crate::account::Balances;
use crate::block::Exception;
use crate::codec::{DecodeError, Reader, narrow, put_text_u16};
use crate::identity::IdentityRecord;
use crate::keep::{self, Keep, Kept};
use crate::vault::{VaultAction, VaultAnswer, VaultQuery};
use crate::{AccountId, Amount, AssetId, Hash, Height, KeyId, Outcome, Policy, Refusal, TimeNs};
use alloc::string::String;
use alloc::vec::Vec;
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The protocol's name in TLS ALPN; a new version is a new name.
pub const ALPN: &[u8] = b"selfchain-ingest/1";

/// How much of a result the client wants back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Position and refusals.
    #[default]
    Refusals,
    /// Also the resulting balances of both accounts of every operation.
    Balances,
}

/// What a client asks. Every request carries the client's own number, and every reply repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Commit this envelope.
    Submit {
        /// How much of the result to send.
        detail: Detail,
        /// The envelope.
        envelope: &'a [u8],
    },
    /// Answer from the state or the log.
    Query(Query),
    /// Answer from the vault of the node's owner: [`Answer::Vault`].
    Vault(VaultQuery<'a>),
    /// Keep a backup, or give it back.
    Keep(Keep<'a>),
    /// Send every block row from this height on, for ever.
    Subscribe {
        /// First height wanted.
        from: Height,
    },
}

/// A question about the state or the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The chain and its tip: [`Answer::Status`].
    Status,
    /// An account: [`Answer::Account`].
    Account(AccountId),
    /// A key and its lanes: [`Answer::Key`].
    Key(KeyId),
    /// An asset: [`Answer::Asset`].
    Asset(AssetId),
    /// Where a transaction is and what became of it: [`Answer::Transaction`].
    Transaction(Hash),
    /// A block's row: [`Answer::Block`].
    Block(Height),
    /// An account's balances as they became, oldest first, for accounts with history: [`Answer::History`].
    History {
        /// The account.
        account: AccountId,
        /// The oldest change wanted.
        from: ChangePosition,
        /// Most rows wanted, at most [`HISTORY_ROWS_MAX`].
        rows_max: u16,
    },
    /// An account's balances as they were after a height, for accounts with history: [`Answer::History`] with
    /// the newest change up to there, or without a row when nothing had changed yet.
    BalanceAt {
        /// The account.
        account: AccountId,
        /// After which block.
        height: Height,
    },
    /// The genesis bytes: [`Answer::Genesis`].
    Genesis,
    /// The receipt of an operation, with its proof: [`Answer::Receipt`].
    Receipt {
        /// The transaction.
        tx_id: Hash,
        /// Which of its operations.
        operation: u32,
    },
    /// Transfers that wait for their reviewers: [`Answer::Holds`].
    Holds {
        /// Where to begin: 0, or what the answer before says.
        from: u32,
    },
    /// What is done about scores of what an account pays, or of the whole chain ([`AccountId::NONE`]):
    /// [`Answer::Policy`].
    Policy(AccountId),
    /// A proof file about an operation: [`Answer::Proof`].
    ProveOperation {
        /// The transaction.
        tx_id: Hash,
        /// Which of its operations.
        operation: u32,
        /// From which height on the verifier knows the validators; 1 for genesis, or [`BY_CHECKPOINTS`].
        since: Height,
    },
    /// A proof file about an account: [`Answer::Proof`].
    ProveAccount {
        /// The account.
        account: AccountId,
        /// After which block; 0 for the newest that a header commits to.
        at: Height,
        /// From which height on the verifier knows the validators; 1 for genesis, or [`BY_CHECKPOINTS`].
        since: Height,
    },
    /// A proof file that the receipts of one height are the first of those of another: [`Answer::Proof`].
    ProveConsistency {
        /// The earlier height.
        old: Height,
        /// The later one; 0 for the newest that a header commits to.
        new: Height,
        /// From which height on the verifier knows the validators; 1 for genesis, or [`BY_CHECKPOINTS`].
        since: Height,
    },
    /// The identity of this node id, or that a key of this id is or was of: [`Answer::Identity`].
    Identity(Hash),
}

/// Most holds in one answer.
pub const HOLDS_MAX: usize = 1_000;

/// A transfer that waits for its reviewer: 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HoldRecord {
    /// What a post or void names.
    pub id: U128,
    /// Account to debit.
    pub debit: U128,
    /// Account to credit.
    pub credit: U128,
    /// Units that are reserved.
    pub amount: U128,
    /// The key that releases or voids it.
    pub reviewer: Hash,
    /// Ledger time in ns from which it is over; 0 = never.
    pub deadline_ns: U64,
    /// Height of the block that made it.
    pub opened: U64,
    /// What the amount counts.
    pub asset: U32,
    /// Its score; 255 when it could not be scored.
    pub score: u8,
    /// The features that raised the score most; 255 for none.
    pub reasons: [u8; 3],
    /// 1 if it was a pending transfer by itself.
    pub was_pending: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

const _: () = assert!(size_of::<HoldRecord>() == 128);

/// What is done about scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyState {
    /// The chain's policy, or what an account has of its own ([`Policy::default`] for none).
    pub policy: Policy,
    /// Changes of policies and models so far.
    pub version: u64,
    /// The model that decides at the next height, or the one that the account prefers; zeros for none.
    pub model: Hash,
}

/// In the place of the height from which on a verifier knows the validators: it follows checkpoints, from genesis on.
pub const BY_CHECKPOINTS: Height = Height::GENESIS;

/// Most history rows in one answer.
pub const HISTORY_ROWS_MAX: u16 = 1_000;

/// What a node replies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "answers are made one at a time and encoded at once"
)]
pub enum Reply {
    /// Waiting for its block.
    Accepted,
    /// In a block that is on the disk.
    Committed(Committed),
    /// Turned away, without trace.
    Refused(Refused),
    /// The answer to a query.
    Answer(Answer),
}

/// A committed transaction's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Whether it had been committed before this submission.
    pub duplicate: bool,
    /// The block.
    pub height: Height,
    /// Position in it.
    pub index: u32,
    /// The block's ledger time.
    pub time_ns: TimeNs,
    /// Operations in all.
    pub operations: u32,
    /// The refused ones: position, outcome and, where something was short, what.
    pub refused: Vec<(u32, Outcome, Option<Exception>)>,
    /// Resulting balances of debit and credit account of every operation, if asked for.
    pub balances: Vec<(Balances, Balances)>,
}

/// A refusal with what helps to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// When to try again, in ms; 0 = not a matter of time.
    pub retry_after_ms: u32,
    /// In words, with the numbers.
    pub text: String,
}

/// The chain and its tip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The chain.
    pub chain_id: Hash,
    /// Newest durable height.
    pub tip: Height,
    /// Its block's hash.
    pub tip_hash: Hash,
    /// First height that is kept.
    pub first: Height,
    /// Ledger time of the tip.
    pub time_ns: TimeNs,
    /// Accounts there are.
    pub accounts: u64,
    /// Operations that took effect since genesis.
    pub operations: u64,
    /// Most heights an envelope may be valid for.
    pub validity_max: u32,
}

/// An account with its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The hot half.
    pub hot: crate::account::AccountHot,
    /// The cold half.
    pub cold: crate::account::AccountCold,
}

/// Where on the ledger a change of an account's balances is; ordered as the ledger is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangePosition {
    /// The block.
    pub height: Height,
    /// Where in it: below [`BOND_PLACES_FROM`] the number of an expiry; from there on the number of a bond that is
    /// given back or lost; from [`OPERATION_PLACES_FROM`] on, two places for each operation of the block, the first for
    /// the fee of the transaction that it begins, the second for itself; from [`REWARD_PLACES_FROM`] on the number of a
    /// reward.
    pub place: u32,
}

/// The first place of a block's operations.
pub const OPERATION_PLACES_FROM: u32 = 1 << 24;
/// Where the places begin of bonds that are given back or lost, after those of expiries.
pub const BOND_PLACES_FROM: u32 = 1 << 23;
/// Where the places begin of rewards, after those of operations.
pub const REWARD_PLACES_FROM: u32 = 1 << 30;

impl ChangePosition {
    /// The first that may come after it: where the next page of a history begins.
    pub fn next(self) -> Self {
        match self.place.checked_add(1) {
            Some(place) => Self { place, ..self },
            None => self.height.next().into(),
        }
    }

    /// The operation that made the change, a fee being its transaction's first; `None` where no operation did.
    pub fn operation(self) -> Option<u32> {
        let place = Some(self.place).filter(|place| *place < REWARD_PLACES_FROM);
        place?.checked_sub(OPERATION_PLACES_FROM).map(|place| place / 2)
    }
}

impl From<Height> for ChangePosition {
    /// Before every change of that block.
    fn from(height: Height) -> Self {
        Self { height, place: 0 }
    }
}

/// Balances after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Where they changed.
    pub position: ChangePosition,
    /// What they became.
    pub balances: Balances,
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "answers are made and sent one at a time"
)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Status),
    /// To [`Query::Account`].
    Account(AccountState),
    /// To [`Query::Key`].
    Key(crate::key::KeyRecord),
    /// To [`Query::Asset`].
    Asset(crate::asset::AssetRecord),
    /// To [`Query::Transaction`].
    Transaction(Committed),
    /// To [`Query::Block`]: [`crate::block::Row::decode`].
    Block(Vec<u8>),
    /// To [`Query::History`] and [`Query::BalanceAt`]: oldest first.
    History(Vec<HistoryRow>),
    /// To [`Query::Genesis`]: [`crate::Genesis::decode`].
    Genesis(Vec<u8>),
    /// To [`Query::Receipt`]: the proof's bytes.
    Receipt(Vec<u8>),
    /// To [`Query::Holds`], and where to go on; 0 when these are the last.
    Holds(Vec<HoldRecord>, u32),
    /// To [`Query::Policy`].
    Policy(PolicyState),
    /// To [`Query::ProveOperation`], [`Query::ProveAccount`] and [`Query::ProveConsistency`]: the file's bytes.
    Proof(Vec<u8>),
    /// To [`Query::Identity`].
    Identity(IdentityRecord),
    /// To a [`VaultQuery`].
    Vault(VaultAnswer),
    /// To [`Request::Keep`].
    Kept(Kept),
}

mod request_kind {
    pub(super) const SUBMIT: u8 = 1;
    pub(super) const QUERY: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
}

mod query_kind {
    pub(super) const STATUS: u8 = 1;
    pub(super) const ACCOUNT: u8 = 2;
    pub(super) const KEY: u8 = 3;
    pub(super) const ASSET: u8 = 4;
    pub(super) const TRANSACTION: u8 = 5;
    pub(super) const BLOCK: u8 = 6;
    pub(super) const HISTORY: u8 = 7;
    pub(super) const GENESIS: u8 = 8;
    pub(super) const RECEIPT: u8 = 9;
    pub(super) const BALANCE_AT: u8 = 10;
    pub(super) const HOLDS: u8 = 11;
    pub(super) const POLICY: u8 = 12;
    pub(super) const PROVE_OPERATION: u8 = 13;
    pub(super) const PROVE_ACCOUNT: u8 = 14;
    pub(super) const PROVE_CONSISTENCY: u8 = 15;
    pub(super) const IDENTITY: u8 = 32;
}

mod reply_kind {
    pub(super) const ACCEPTED: u8 = 1;
    pub(super) const COMMITTED: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const ANSWER: u8 = 4;
}

/// Bytes in front of a submitted envelope: kind, request number, detail.
pub const SUBMIT_FRONT_LEN: usize = 10;

impl<'a> Request<'a> {
    /// The frame's bytes.
    pub fn encode(&self, request: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUBMIT_FRONT_LEN + 64);
        let kind = match self {
            Self::Submit { .. } => request_kind::SUBMIT,
            Self::Query(_) | Self::Vault(_) | Self::Keep(_) => request_kind::QUERY,
            Self::Subscribe { .. } => request_kind::SUBSCRIBE,
        };
        out.push(kind);
        out.extend_from_slice(&request.to_le_bytes());
        match self {
            Self::Submit { detail, envelope } => {
                out.push(u8::from(*detail == Detail::Balances));
                out.extend_from_slice(envelope);
            }
            Self::Query(query) => query.encode(&mut out),
            Self::Vault(query) => query.encode(&mut out),
            Self::Keep(keep) => keep.encode(&mut out),
            Self::Subscribe { from } => out.extend_from_slice(&from.0.to_le_bytes()),
        }
        out
    }

    /// Reads a frame: the client's number and the request.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: &'a [u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new("request", frame);
        let kind = reader.u8()?;
        let request = reader.u64()?;
        let decoded = match kind {
            request_kind::SUBMIT => {
                let detail = match reader.u8()? {
                    0 => Detail::Refusals,
                    1 => Detail::Balances,
                    value => {
                        return Err(DecodeError::Value {
                            what: "detail",
                            value: u64::from(value),
                        });
                    }
                };
                Self::Submit {
                    detail,
                    envelope: reader.rest(),
                }
            }
            request_kind::QUERY if reader.clone().u8().is_ok_and(keep::is_code) => {
                Self::Keep(Keep::decode(&mut reader)?)
            }
            request_kind::QUERY => {
                let code = reader.u8()?;
                match VaultAction::from_code(code) {
                    Some(action) => Self::Vault(VaultQuery::decode(action, &mut reader)?),
                    None => Self::Query(Query::decode(code, &mut reader)?),
                }
            }
            request_kind::SUBSCRIBE => Self::Subscribe {
                from: Height(reader.u64()?),
            },
            value => {
                return Err(DecodeError::Value {
                    what: "request kind",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok((request, decoded))
    }

    /// The client's number of a frame, when it has one.
    pub fn number(frame: &[u8]) -> Option<u64> {
        frame
            .get(1..9)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes)
    }
}

impl Query {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status => out.push(query_kind::STATUS),
            Self::Account(id) => put(out, query_kind::ACCOUNT, &id.0.to_le_bytes()),
            Self::Key(id) => put(out, query_kind::KEY, id.0.as_bytes()),
            Self::Asset(id) => put(out, query_kind::ASSET, &id.0.to_le_bytes()),
            Self::Transaction(id) => put(out, query_kind::TRANSACTION, id.as_bytes()),
            Self::Block(height) => put(out, query_kind::BLOCK, &height.0.to_le_bytes()),
            Self::History {
                account,
                from,
                rows_max,
            } => {
                put(out, query_kind::HISTORY, &account.0.to_le_bytes());
                from.encode(out);
                out.extend_from_slice(&rows_max.to_le_bytes());
            }
            Self::BalanceAt { account, height } => {
                put(out, query_kind::BALANCE_AT, &account.0.to_le_bytes());
                out.extend_from_slice(&height.0.to_le_bytes());
            }
            Self::Genesis => out.push(query_kind::GENESIS),
            Self::Receipt { tx_id, operation } => {
                put(out, query_kind::RECEIPT, tx_id.as_bytes());
                out.extend_from_slice(&operation.to_le_bytes());
            }
            Self::Holds { from } => put(out, query_kind::HOLDS, &from.to_le_bytes()),
            Self::Policy(account) => put(out, query_kind::POLICY, &account.0.to_le_bytes()),
            Self::ProveOperation {
                tx_id,
                operation,
                since,
            } => {
                put(out, query_kind::PROVE_OPERATION, tx_id.as_bytes());
                out.extend_from_slice(&operation.to_le_bytes());
                out.extend_from_slice(&since.0.to_le_bytes());
            }
            Self::ProveAccount { account, at, since } => {
                put(out, query_kind::PROVE_ACCOUNT, &account.0.to_le_bytes());
                out.extend_from_slice(&at.0.to_le_bytes());
                out.extend_from_slice(&since.0.to_le_bytes());
            }
            Self::Identity(id) => put(out, query_kind::IDENTITY, id.as_bytes()),
            Self::ProveConsistency { old, new, since } => {
                put(out, query_kind::PROVE_CONSISTENCY, &old.0.to_le_bytes());
                out.extend_from_slice(&new.0.to_le_bytes());
                out.extend_from_slice(&since.0.to_le_bytes());
            }
        }
    }

    fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            query_kind::STATUS => Self::Status,
            query_kind::ACCOUNT => Self::Account(AccountId(reader.u128()?)),
            query_kind::KEY => Self::Key(KeyId(reader.hash()?)),
            query_kind::ASSET => Self::Asset(AssetId(reader.u32()?)),
            query_kind::TRANSACTION => Self::Transaction(reader.hash()?),
            query_kind::BLOCK => Self::Block(Height(reader.u64()?)),
            query_kind::HISTORY => Self::History {
                account: AccountId(reader.u128()?),
                from: ChangePosition::decode(reader)?,
                rows_max: reader.u16()?,
            },
            query_kind::BALANCE_AT => Self::BalanceAt {
                account: AccountId(reader.u128()?),
                height: Height(reader.u64()?),
            },
            query_kind::GENESIS => Self::Genesis,
            query_kind::RECEIPT => Self::Receipt {
                tx_id: reader.hash()?,
                operation: reader.u32()?,
            },
            query_kind::HOLDS => Self::Holds { from: reader.u32()? },
            query_kind::POLICY => Self::Policy(AccountId(reader.u128()?)),
            query_kind::PROVE_OPERATION => Self::ProveOperation {
                tx_id: reader.hash()?,
                operation: reader.u32()?,
                since: Height(reader.u64()?),
            },
            query_kind::PROVE_ACCOUNT => Self::ProveAccount {
                account: AccountId(reader.u128()?),
                at: Height(reader.u64()?),
                since: Height(reader.u64()?),
            },
            query_kind::IDENTITY => Self::Identity(reader.hash()?),
            query_kind::PROVE_CONSISTENCY => Self::ProveConsistency {
                old: Height(reader.u64()?),
                new: Height(reader.u64()?),
                since: Height(reader.u64()?),
            },
            value => {
                return Err(DecodeError::Value {
                    what: "query kind",
                    value: u64::from(value),
                });
            }
        })
    }
}

impl ChangePosition {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height(reader.u64()?),
            place: reader.u32()?,
        })
    }
}

fn put(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(bytes);
}

impl Reply {
    /// The frame's bytes.
    pub fn encode(&self, request: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(match self {
            Self::Accepted => reply_kind::ACCEPTED,
            Self::Committed(_) => reply_kind::COMMITTED,
            Self::Refused(_) => reply_kind::REFUSED,
            Self::Answer(_) => reply_kind::ANSWER,
        });
        out.extend_from_slice(&request.to_le_bytes());
        match self {
            Self::Accepted => {}
            Self::Committed(committed) => committed.encode(&mut out),
            Self::Refused(refused) => {
                out.extend_from_slice(&refused.refusal.code().to_le_bytes());
                out.extend_from_slice(&refused.retry_after_ms.to_le_bytes());
                put_text_u16(&mut out, &refused.text);
            }
            Self::Answer(answer) => answer.encode(&mut out),
        }
        out
    }

    /// Reads a frame: the client's number and the reply.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new("reply", frame);
        let kind = reader.u8()?;
        let request = reader.u64()?;
        let reply = match kind {
            reply_kind::ACCEPTED => Self::Accepted,
            reply_kind::COMMITTED => Self::Committed(Committed::decode(&mut reader)?),
            reply_kind::REFUSED => {
                let code = reader.u16()?;
                let unknown = DecodeError::Value {
                    what: "refusal",
                    value: u64::from(code),
                };
                Self::Refused(Refused {
                    refusal: Refusal::from_code(code).ok_or(unknown)?,
                    retry_after_ms: reader.u32()?,
                    text: reader.text_u16()?.into(),
                })
            }
            reply_kind::ANSWER => Self::Answer(Answer::decode(&mut reader)?),
            value => {
                return Err(DecodeError::Value {
                    what: "reply kind",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok((request, reply))
    }
}

const EXCEPTION_NONE: u8 = 0;
const EXCEPTION_ACTUAL: u8 = 1;
const EXCEPTION_SHORTFALL: u8 = 2;

impl Committed {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.duplicate));
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.time_ns.0.to_le_bytes());
        out.extend_from_slice(&self.operations.to_le_bytes());
        out.extend_from_slice(&narrow(self.refused.len()).to_le_bytes());
        for (at, outcome, exception) in &self.refused {
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&outcome.code().to_le_bytes());
            match exception {
                None => out.push(EXCEPTION_NONE),
                Some(Exception::Actual(amount)) => put(out, EXCEPTION_ACTUAL, &amount.0.to_le_bytes()),
                Some(Exception::Shortfall { needed, available }) => {
                    put(out, EXCEPTION_SHORTFALL, &needed.0.to_le_bytes());
                    out.extend_from_slice(&available.0.to_le_bytes());
                }
            }
        }
        out.extend_from_slice(&narrow(self.balances.len()).to_le_bytes());
        for (debit, credit) in &self.balances {
            out.extend_from_slice(debit.as_bytes());
            out.extend_from_slice(credit.as_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let duplicate = match reader.u8()? {
            0 => false,
            1 => true,
            value => {
                return Err(DecodeError::Value {
                    what: "duplicate",
                    value: u64::from(value),
                });
            }
        };
        let mut committed = Self {
            duplicate,
            height: Height(reader.u64()?),
            index: reader.u32()?,
            time_ns: TimeNs(reader.u64()?),
            operations: reader.u32()?,
            refused: Vec::new(),
            balances: Vec::new(),
        };
        for _ in 0..reader.u32()? {
            let at = reader.u32()?;
            let code = reader.u16()?;
            let unknown = DecodeError::Value {
                what: "outcome",
                value: u64::from(code),
            };
            let outcome = Outcome::from_code(code).ok_or(unknown)?;
            let exception = match reader.u8()? {
                EXCEPTION_NONE => None,
                EXCEPTION_ACTUAL => Some(Exception::Actual(Amount(reader.u128()?))),
                EXCEPTION_SHORTFALL => Some(Exception::Shortfall {
                    needed: Amount(reader.u128()?),
                    available: Amount(reader.u128()?),
                }),
                value => {
                    return Err(DecodeError::Value {
                        what: "exception kind",
                        value: u64::from(value),
                    });
                }
            };
            committed.refused.push((at, outcome, exception));
        }
        for _ in 0..reader.u32()? {
            let debit = record(reader.take(size_of::<Balances>())?)?;
            let credit = record(reader.take(size_of::<Balances>())?)?;
            committed.balances.push((debit, credit));
        }
        Ok(committed)
    }
}

mod answer_kind {
    pub(super) const STATUS: u8 = 1;
    pub(super) const ACCOUNT: u8 = 2;
    pub(super) const KEY: u8 = 3;
    pub(super) const ASSET: u8 = 4;
    pub(super) const TRANSACTION: u8 = 5;
    pub(super) const BLOCK: u8 = 6;
    pub(super) const HISTORY: u8 = 7;
    pub(super) const GENESIS: u8 = 8;
    pub(super) const RECEIPT: u8 = 9;
    pub(super) const HOLDS: u8 = 10;
    pub(super) const POLICY: u8 = 11;
    pub(super) const PROOF: u8 = 13;
    pub(super) const IDENTITY: u8 = 32;
}

impl Answer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => {
                put(out, answer_kind::STATUS, status.chain_id.as_bytes());
                out.extend_from_slice(&status.tip.0.to_le_bytes());
                out.extend_from_slice(status.tip_hash.as_bytes());
                for number in [
                    status.first.0,
                    status.time_ns.0,
                    status.accounts,
                    status.operations,
                ] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                out.extend_from_slice(&status.validity_max.to_le_bytes());
            }
            Self::Account(account) => {
                put(out, answer_kind::ACCOUNT, account.hot.as_bytes());
                out.extend_from_slice(account.cold.as_bytes());
            }
            Self::Key(key) => put(out, answer_kind::KEY, key.as_bytes()),
            Self::Asset(asset) => put(out, answer_kind::ASSET, asset.as_bytes()),
            Self::Transaction(committed) => {
                out.push(answer_kind::TRANSACTION);
                committed.encode(out);
            }
            Self::Block(row) => put(out, answer_kind::BLOCK, row),
            Self::History(rows) => {
                out.push(answer_kind::HISTORY);
                for row in rows {
                    row.position.encode(out);
                    out.extend_from_slice(row.balances.as_bytes());
                }
            }
            Self::Genesis(bytes) => put(out, answer_kind::GENESIS, bytes),
            Self::Receipt(bytes) => put(out, answer_kind::RECEIPT, bytes),
            Self::Proof(bytes) => put(out, answer_kind::PROOF, bytes),
            Self::Identity(record) => put(out, answer_kind::IDENTITY, record.as_bytes()),
            Self::Holds(holds, next) => {
                put(out, answer_kind::HOLDS, &next.to_le_bytes());
                holds
                    .iter()
                    .for_each(|hold| out.extend_from_slice(hold.as_bytes()));
            }
            Self::Policy(state) => {
                put(out, answer_kind::POLICY, &state.version.to_le_bytes());
                out.extend_from_slice(state.model.as_bytes());
                state.policy.encode(out);
            }
            Self::Vault(answer) => answer.encode(out),
            Self::Kept(kept) => kept.encode(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.clone().u8().is_ok_and(keep::is_code) {
            return Kept::decode(reader).map(Self::Kept);
        }
        Ok(match reader.u8()? {
            answer_kind::STATUS => Self::Status(Status {
                chain_id: reader.hash()?,
                tip: Height(reader.u64()?),
                tip_hash: reader.hash()?,
                first: Height(reader.u64()?),
                time_ns: TimeNs(reader.u64()?),
                accounts: reader.u64()?,
                operations: reader.u64()?,
                validity_max: reader.u32()?,
            }),
            answer_kind::ACCOUNT => Self::Account(AccountState {
                hot: record(reader.take(96)?)?,
                cold: record(reader.take(96)?)?,
            }),
            answer_kind::KEY => Self::Key(record(reader.rest())?),
            answer_kind::ASSET => Self::Asset(record(reader.rest())?),
            answer_kind::TRANSACTION => Self::Transaction(Committed::decode(reader)?),
            answer_kind::BLOCK => Self::Block(reader.rest().to_vec()),
            answer_kind::HOLDS => {
                let next = reader.u32()?;
                let mut holds = Vec::new();
                while reader.left() > 0 {
                    holds.push(record(reader.take(size_of::<HoldRecord>())?)?);
                }
                Self::Holds(holds, next)
            }
            answer_kind::POLICY => Self::Policy(PolicyState {
                version: reader.u64()?,
                model: reader.hash()?,
                policy: Policy::read(reader)?,
            }),
            answer_kind::HISTORY => {
                let mut rows = Vec::new();
                while reader.left() > 0 {
                    rows.push(HistoryRow {
                        position: ChangePosition::decode(reader)?,
                        balances: record(reader.take(size_of::<Balances>())?)?,
                    });
                }
                Self::History(rows)
            }
            answer_kind::GENESIS => Self::Genesis(reader.rest().to_vec()),
            answer_kind::RECEIPT => Self::Receipt(reader.rest().to_vec()),
            answer_kind::PROOF => Self::Proof(reader.rest().to_vec()),
            answer_kind::IDENTITY => Self::Identity(record(reader.rest())?),
            code if VaultAnswer::is_code(code) => Self::Vault(VaultAnswer::decode(code, reader)?),
            value => {
                return Err(DecodeError::Value {
                    what: "answer kind",
                    value: u64::from(value),
                });
            }
        })
    }
}

fn record<T: FromBytes>(bytes: &[u8]) -> Result<T, DecodeError> {
    let wrong = DecodeError::Value {
        what: "record length",
        value: crate::codec::wide(bytes.len()),
    };
    T::read_from_bytes(bytes).map_err(|_| wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn requests_read_back_and_every_truncation_of_a_query_is_refused() {
        for request in [
            Request::Submit {
                detail: Detail::Balances,
                envelope: b"bytes",
            },
            Request::Query(Query::Status),
            Request::Query(Query::Account(AccountId(7))),
            Request::Query(Query::History {
                account: AccountId(7),
                from: ChangePosition {
                    height: Height(9),
                    place: 5,
                },
                rows_max: 3,
            }),
            Request::Query(Query::BalanceAt {
                account: AccountId(7),
                height: Height(9),
            }),
            Request::Query(Query::Receipt {
                tx_id: Hash([1; 32]),
                operation: 2,
            }),
            Request::Query(Query::ProveOperation {
                tx_id: Hash([1; 32]),
                operation: 2,
                since: Height(3),
            }),
            Request::Query(Query::ProveAccount {
                account: AccountId(7),
                at: Height(9),
                since: Height(3),
            }),
            Request::Query(Query::ProveConsistency {
                old: Height(4),
                new: Height(0),
                since: Height(3),
            }),
            Request::Query(Query::Identity(Hash([2; 32]))),
            Request::Subscribe { from: Height(5) },
        ] {
            let frame = request.encode(11);
            assert_eq!(Request::decode(&frame).unwrap(), (11, request.clone()));
            assert_eq!(Request::number(&frame), Some(11));
            if !matches!(request, Request::Submit { .. }) {
                assert!((0..frame.len()).all(|cut| Request::decode(&frame[..cut]).is_err()));
            }
        }
    }

    #[test]
    fn a_position_is_followed_by_the_next_and_names_its_operation() {
        let at = |height, place| ChangePosition {
            height: Height(height),
            place,
        };
        assert_eq!(at(3, 8).next(), at(3, 9));
        assert_eq!(at(3, u32::MAX).next(), at(4, 0));
        assert_eq!(ChangePosition::from(Height(3)), at(3, 0));
        let operations = [(OPERATION_PLACES_FROM - 1, None), (REWARD_PLACES_FROM, None)];
        let of_the_first = [
            (OPERATION_PLACES_FROM, Some(0)),
            (OPERATION_PLACES_FROM + 1, Some(0)),
        ];
        let of_the_second = [
            (OPERATION_PLACES_FROM + 2, Some(1)),
            (OPERATION_PLACES_FROM + 3, Some(1)),
        ];
        for (place, operation) in [operations, of_the_first, of_the_second].concat() {
            assert_eq!(at(1, place).operation(), operation, "place {place}");
        }
    }

    #[test]
    fn replies_read_back() {
        let committed = Committed {
            duplicate: true,
            height: Height(4),
            index: 1,
            time_ns: TimeNs(5),
            operations: 2,
            refused: vec![
                (0, Outcome::DebitAccountUnknown, None),
                (
                    1,
                    Outcome::InsufficientFunds,
                    Some(Exception::Shortfall {
                        needed: Amount(2),
                        available: Amount(1),
                    }),
                ),
            ],
            balances: vec![(Balances::default(), Balances::default())],
        };
        let refused = Refused {
            refusal: Refusal::PoolFull,
            retry_after_ms: 20,
            text: "full: 5 of 5".into(),
        };
        for reply in [
            Reply::Accepted,
            Reply::Committed(committed.clone()),
            Reply::Refused(refused),
            Reply::Answer(Answer::Transaction(committed)),
            Reply::Answer(Answer::Status(Status {
                accounts: 3,
                ..Status::default()
            })),
            Reply::Answer(Answer::History(vec![HistoryRow {
                position: ChangePosition {
                    height: Height(1),
                    place: 2,
                },
                balances: Balances::default(),
            }])),
        ] {
            assert_eq!(Reply::decode(&reply.encode(3)).unwrap(), (3, reply));
        }
    }
}
