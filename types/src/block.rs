//! Blocks: the header that is agreed on, the body it hashes, and the row that the log keeps.
//!
//! Tables: `docs/formats/block.md`.

use crate::certificate::Certificate;
use crate::codec::{self, DecodeError, Reader, filled_sections, known_sections, put_bytes_u32, put_section};
use crate::{Amount, Hash, Height, KeyId, Outcome, TimeNs, hash};
use alloc::vec::Vec;

/// The protocol version that this code executes.
pub const PROTOCOL_VERSION: u16 = 1;

/// What validators agree on: it commits to everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Rules that the block is executed under.
    pub protocol_version: u16,
    /// The chain.
    pub chain_id: Hash,
    /// Its position.
    pub height: Height,
    /// Round of the first proposal.
    pub round: u32,
    /// Hash of the header before; zero for the first.
    pub parent: Hash,
    /// Ledger time of its first operation.
    pub time_ns: TimeNs,
    /// Who proposed it in that round.
    pub proposer: KeyId,
    /// The proposer's next preimage; zero in solo.
    pub reveal: Hash,
    /// Merkle root over [`crate::Envelope::leaf`].
    pub transactions_root: Hash,
    /// Hash of what else is in the body.
    pub body_hash: Hash,
    /// [`crate::roots::Roots::state_root`] after height − ROOT_LAG.
    pub state_root: Hash,
    /// Root over all receipts up to height − ROOT_LAG.
    pub receipts_root: Hash,
    /// How many receipts that is.
    pub receipts_size: u64,
    /// This height's validators.
    pub validators_hash: Hash,
    /// The next height's.
    pub next_validators_hash: Hash,
    /// Models that score: ascending, none in a chain without.
    pub models: Vec<Hash>,
    /// Version of the policies in force.
    pub policy_version: u64,
}

/// Most models that a header names.
pub const MODELS_MAX: usize = 8;

impl Header {
    /// The block's hash.
    pub fn hash(&self) -> Hash {
        hash::HEADER.hash(&self.to_bytes())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(480);
        self.encode(&mut out);
        out
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.protocol_version.to_le_bytes());
        out.extend_from_slice(self.chain_id.as_bytes());
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(self.parent.as_bytes());
        out.extend_from_slice(&self.time_ns.0.to_le_bytes());
        out.extend_from_slice(self.proposer.0.as_bytes());
        for root in [
            &self.reveal,
            &self.transactions_root,
            &self.body_hash,
            &self.state_root,
            &self.receipts_root,
        ] {
            out.extend_from_slice(root.as_bytes());
        }
        out.extend_from_slice(&self.receipts_size.to_le_bytes());
        out.extend_from_slice(self.validators_hash.as_bytes());
        out.extend_from_slice(self.next_validators_hash.as_bytes());
        out.extend_from_slice(&self.policy_version.to_le_bytes());
        let models = u8::try_from(self.models.len()).expect("at most MODELS_MAX models");
        out.push(models);
        self.models
            .iter()
            .for_each(|model| out.extend_from_slice(model.as_bytes()));
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("header", bytes);
        let mut header = Self {
            protocol_version: reader.u16()?,
            chain_id: reader.hash()?,
            height: Height(reader.u64()?),
            round: reader.u32()?,
            parent: reader.hash()?,
            time_ns: TimeNs(reader.u64()?),
            proposer: KeyId(reader.hash()?),
            reveal: reader.hash()?,
            transactions_root: reader.hash()?,
            body_hash: reader.hash()?,
            state_root: reader.hash()?,
            receipts_root: reader.hash()?,
            receipts_size: reader.u64()?,
            validators_hash: reader.hash()?,
            next_validators_hash: reader.hash()?,
            policy_version: reader.u64()?,
            models: Vec::new(),
        };
        let models = usize::from(reader.u8()?);
        if models > MODELS_MAX {
            return Err(DecodeError::Value {
                what: "header models",
                value: codec::wide(models),
            });
        }
        for _ in 0..models {
            header.models.push(reader.hash()?);
        }
        if !header.models.is_sorted_by(|left, right| left < right) {
            return Err(DecodeError::Value {
                what: "header models order",
                value: codec::wide(models),
            });
        }
        reader.finish()?;
        Ok(header)
    }
}

/// Kinds of section in a body.
mod body_kind {
    pub(super) const ENVELOPES: u16 = 1;
    pub(super) const SCORES: u16 = 2;
    pub(super) const PARENT_CERTIFICATE: u16 = 3;
    pub(super) const LATE_PRECOMMITS: u16 = 4;
    pub(super) const EVIDENCE: u16 = 5;
    pub(super) const REASONS: u16 = 6;
}

/// What the header's two body hashes cover, read in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body<'a> {
    /// Whole envelopes, in order.
    pub envelopes: Vec<&'a [u8]>,
    /// One score an operation, or empty: none was scored.
    pub scores: &'a [u8],
    /// Bytes of the certificate of height − 1 with extensions; empty in solo.
    pub parent_certificate: &'a [u8],
    /// Precommits that came late.
    pub late_precommits: &'a [u8],
    /// Evidence of misbehaviour.
    pub evidence: &'a [u8],
    /// Why scores are high: [`crate::Risk::encode_reasons`].
    pub reasons: &'a [u8],
}

impl<'a> Body<'a> {
    /// Appends the canonical bytes: empty sections are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if !self.envelopes.is_empty() {
            put_section(out, body_kind::ENVELOPES, |out| {
                out.extend_from_slice(&codec::narrow(self.envelopes.len()).to_le_bytes());
                self.envelopes
                    .iter()
                    .for_each(|envelope| put_bytes_u32(out, envelope));
            });
        }
        self.encode_rest(out);
    }

    /// Appends all but the envelopes.
    fn encode_rest(&self, out: &mut Vec<u8>) {
        for (kind, bytes) in [
            (body_kind::SCORES, self.scores),
            (body_kind::PARENT_CERTIFICATE, self.parent_certificate),
            (body_kind::LATE_PRECOMMITS, self.late_precommits),
            (body_kind::EVIDENCE, self.evidence),
            (body_kind::REASONS, self.reasons),
        ] {
            if !bytes.is_empty() {
                put_section(out, kind, |out| out.extend_from_slice(bytes));
            }
        }
    }

    /// `body_hash`: over all but the envelopes, which `transactions_root` covers.
    pub fn hash(&self) -> Hash {
        let mut rest = Vec::new();
        self.encode_rest(&mut rest);
        hash::BODY.hash(&rest)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let [
            envelopes,
            scores,
            parent_certificate,
            late_precommits,
            evidence,
            reasons,
        ] = filled_sections(
            bytes,
            [
                body_kind::ENVELOPES,
                body_kind::SCORES,
                body_kind::PARENT_CERTIFICATE,
                body_kind::LATE_PRECOMMITS,
                body_kind::EVIDENCE,
                body_kind::REASONS,
            ],
        )?;
        Ok(Self {
            envelopes: decode_envelopes(envelopes)?,
            scores,
            parent_certificate,
            late_precommits,
            evidence,
            reasons,
        })
    }
}

fn decode_envelopes(bytes: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new("envelopes", bytes);
    let count = reader.len_u32()?;
    if count == 0 {
        return Err(DecodeError::Value {
            what: "envelopes",
            value: 0,
        });
    }
    let mut envelopes = Vec::with_capacity(count.min(bytes.len() / 4));
    for _ in 0..count {
        envelopes.push(reader.bytes_u32()?);
    }
    reader.finish()?;
    Ok(envelopes)
}

/// Beside an operation's outcome: what the outcome alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Another amount moved than the operation names: balancing, partial and full posts.
    Actual(Amount),
    /// A refusal for want of something.
    Shortfall {
        /// What it took.
        needed: Amount,
        /// What there was.
        available: Amount,
    },
}

/// What execution said: with it, state is rebuilt without deciding anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockResult {
    /// One outcome an operation, across the envelopes.
    pub outcomes: Vec<u16>,
    /// By position in `outcomes`, ascending.
    pub exceptions: Vec<(u32, Exception)>,
    /// Pending transfers that expired at the block's start, in order.
    pub expired: Vec<u128>,
}

mod result_kind {
    pub(super) const OUTCOMES: u16 = 1;
    pub(super) const EXCEPTIONS: u16 = 2;
    pub(super) const EXPIRED: u16 = 3;
}

const EXCEPTION_ACTUAL: u8 = 1;
const EXCEPTION_SHORTFALL: u8 = 2;

impl BlockResult {
    /// Appends the canonical bytes: empty sections are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if !self.outcomes.is_empty() {
            put_section(out, result_kind::OUTCOMES, |out| {
                self.outcomes
                    .iter()
                    .for_each(|outcome| out.extend_from_slice(&outcome.to_le_bytes()));
            });
        }
        if !self.exceptions.is_empty() {
            put_section(out, result_kind::EXCEPTIONS, |out| {
                self.exceptions
                    .iter()
                    .for_each(|(at, exception)| encode_exception(*at, exception, out));
            });
        }
        if !self.expired.is_empty() {
            put_section(out, result_kind::EXPIRED, |out| {
                self.expired
                    .iter()
                    .for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
            });
        }
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`]; every outcome must be known, and exceptions ascend.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let [outcomes, exceptions, expired] = filled_sections(
            bytes,
            [
                result_kind::OUTCOMES,
                result_kind::EXCEPTIONS,
                result_kind::EXPIRED,
            ],
        )?;
        let (pairs, odd) = outcomes.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(DecodeError::Trailing {
                what: "outcomes",
                extra: odd.len(),
            });
        }
        let outcomes: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        if let Some(code) = outcomes.iter().find(|code| Outcome::from_code(**code).is_none()) {
            return Err(DecodeError::Value {
                what: "outcome",
                value: u64::from(*code),
            });
        }
        let (ids, odd) = expired.as_chunks::<16>();
        if !odd.is_empty() {
            return Err(DecodeError::Trailing {
                what: "expired",
                extra: odd.len(),
            });
        }
        Ok(Self {
            outcomes,
            exceptions: decode_exceptions(exceptions)?,
            expired: ids.iter().map(|id| u128::from_le_bytes(*id)).collect(),
        })
    }

    /// The exception at `at`, if there is one.
    pub fn exception(&self, at: u32) -> Option<Exception> {
        let found = self.exceptions.binary_search_by_key(&at, |entry| entry.0).ok()?;
        Some(self.exceptions[found].1)
    }
}

fn encode_exception(at: u32, exception: &Exception, out: &mut Vec<u8>) {
    out.extend_from_slice(&at.to_le_bytes());
    match exception {
        Exception::Actual(amount) => {
            out.push(EXCEPTION_ACTUAL);
            out.extend_from_slice(&amount.0.to_le_bytes());
        }
        Exception::Shortfall { needed, available } => {
            out.push(EXCEPTION_SHORTFALL);
            out.extend_from_slice(&needed.0.to_le_bytes());
            out.extend_from_slice(&available.0.to_le_bytes());
        }
    }
}

fn decode_exceptions(bytes: &[u8]) -> Result<Vec<(u32, Exception)>, DecodeError> {
    let mut reader = Reader::new("exceptions", bytes);
    let mut exceptions: Vec<(u32, Exception)> = Vec::new();
    while reader.left() > 0 {
        let at = reader.u32()?;
        if exceptions.last().is_some_and(|(previous, _)| *previous >= at) {
            return Err(DecodeError::Value {
                what: "exception position",
                value: u64::from(at),
            });
        }
        let exception = match reader.u8()? {
            EXCEPTION_ACTUAL => Exception::Actual(Amount(reader.u128()?)),
            EXCEPTION_SHORTFALL => Exception::Shortfall {
                needed: Amount(reader.u128()?),
                available: Amount(reader.u128()?),
            },
            kind => {
                return Err(DecodeError::Value {
                    what: "exception kind",
                    value: u64::from(kind),
                });
            }
        };
        exceptions.push((at, exception));
    }
    Ok(exceptions)
}

mod row_kind {
    pub(super) const HEADER: u16 = 1;
    pub(super) const BODY: u16 = 2;
    pub(super) const RESULT: u16 = 3;
    pub(super) const LOCAL: u16 = 4;
}

/// A block as the log keeps it: the parts' own bytes, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// [`Header::decode`].
    pub header: &'a [u8],
    /// [`Body::decode`].
    pub body: &'a [u8],
    /// [`BlockResult::decode`].
    pub result: &'a [u8],
    /// [`Certificate::decode`]: this node's own, in no hash.
    pub local: &'a [u8],
}

impl<'a> Row<'a> {
    /// The row's bytes.
    pub fn encode(header: &Header, body: &Body<'_>, result: &BlockResult, local: &Certificate) -> Vec<u8> {
        let envelopes: usize = body.envelopes.iter().map(|envelope| envelope.len() + 4).sum();
        let mut out = Vec::with_capacity(1024 + envelopes + body.scores.len() + 2 * result.outcomes.len());
        put_section(&mut out, row_kind::HEADER, |out| header.encode(out));
        put_section(&mut out, row_kind::BODY, |out| body.encode(out));
        put_section(&mut out, row_kind::RESULT, |out| result.encode(out));
        put_section(&mut out, row_kind::LOCAL, |out| local.encode(out));
        out
    }

    /// Splits a row's bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let kinds = [
            row_kind::HEADER,
            row_kind::BODY,
            row_kind::RESULT,
            row_kind::LOCAL,
        ];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        Ok(Self {
            header: part(0)?,
            body: part(1)?,
            result: part(2)?,
            local: part(3)?,
        })
    }
}

/// A block as validators send it to one another: what its hash covers, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed<'a> {
    /// [`Header::decode`].
    pub header: &'a [u8],
    /// [`Body::decode`].
    pub body: &'a [u8],
}

impl<'a> Proposed<'a> {
    /// Appends the canonical bytes.
    pub fn encode(header: &Header, body: &Body<'_>, out: &mut Vec<u8>) {
        put_section(out, row_kind::HEADER, |out| header.encode(out));
        put_section(out, row_kind::BODY, |out| body.encode(out));
    }

    /// Splits the bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let kinds = [row_kind::HEADER, row_kind::BODY];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        Ok(Self {
            header: part(0)?,
            body: part(1)?,
        })
    }
}

impl<'a> From<Row<'a>> for Proposed<'a> {
    fn from(row: Row<'a>) -> Self {
        Self {
            header: row.header,
            body: row.body,
        }
    }
}

impl Proposed<'_> {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header.len() + self.body.len() + 32);
        put_section(&mut out, row_kind::HEADER, |out| {
            out.extend_from_slice(self.header)
        });
        put_section(&mut out, row_kind::BODY, |out| out.extend_from_slice(self.body));
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn header() -> Header {
        Header {
            protocol_version: 1,
            chain_id: Hash([1; 32]),
            height: Height(7),
            round: 2,
            parent: Hash([2; 32]),
            time_ns: TimeNs(99),
            proposer: KeyId(Hash([3; 32])),
            reveal: Hash::ZERO,
            transactions_root: Hash([4; 32]),
            body_hash: Hash([5; 32]),
            state_root: Hash([6; 32]),
            receipts_root: Hash([7; 32]),
            receipts_size: 12,
            validators_hash: Hash([8; 32]),
            next_validators_hash: Hash([8; 32]),
            models: vec![Hash([9; 32])],
            policy_version: 1,
        }
    }

    fn result() -> BlockResult {
        BlockResult {
            outcomes: vec![0, 41, 0],
            exceptions: vec![
                (0, Exception::Actual(Amount(5))),
                (
                    1,
                    Exception::Shortfall {
                        needed: Amount(9),
                        available: Amount(5),
                    },
                ),
            ],
            expired: vec![77, 78],
        }
    }

    #[test]
    fn a_row_reads_back_part_by_part() {
        let body = Body {
            envelopes: vec![b"one", b"two!"],
            scores: &[1, 255],
            ..Body::default()
        };
        let local = Certificate {
            height: Height(7),
            round: 2,
            block: header().hash(),
            precommits: Vec::new(),
        };
        let bytes = Row::encode(&header(), &body, &result(), &local);
        let row = Row::decode(&bytes).unwrap();
        assert_eq!(Header::decode(row.header).unwrap(), header());
        assert_eq!(Body::decode(row.body).unwrap(), body);
        assert_eq!(BlockResult::decode(row.result).unwrap(), result());
        assert_eq!(Certificate::decode(row.local).unwrap(), local);
        assert!((0..bytes.len()).all(|cut| Row::decode(&bytes[..cut]).is_err()));
        let mut sent = Vec::new();
        Proposed::encode(&header(), &body, &mut sent);
        assert_eq!(Proposed::from(row).to_bytes(), sent);
        assert_eq!(Proposed::decode(&sent).unwrap(), Proposed::from(row));
        assert!(Proposed::decode(&bytes).is_err(), "a row says more");
    }

    #[test]
    fn unknown_outcomes_and_disordered_exceptions_are_refused() {
        let mut unknown = Vec::new();
        BlockResult {
            outcomes: vec![9_999],
            ..BlockResult::default()
        }
        .encode(&mut unknown);
        assert_eq!(
            BlockResult::decode(&unknown),
            Err(DecodeError::Value {
                what: "outcome",
                value: 9_999
            })
        );
        let mut disordered = Vec::new();
        let exceptions = vec![
            (1, Exception::Actual(Amount(5))),
            (1, Exception::Actual(Amount(6))),
        ];
        BlockResult {
            exceptions,
            ..BlockResult::default()
        }
        .encode(&mut disordered);
        assert!(BlockResult::decode(&disordered).is_err());
    }

    #[test]
    fn the_body_hash_covers_all_but_envelopes() {
        let body = Body {
            envelopes: vec![b"one"],
            scores: &[1],
            ..Body::default()
        };
        assert_eq!(
            body.hash(),
            Body {
                envelopes: Vec::new(),
                ..body.clone()
            }
            .hash()
        );
        assert_ne!(
            body.hash(),
            Body {
                scores: &[2],
                ..body.clone()
            }
            .hash()
        );
    }
}
