//! Genesis: the limits and rules that a chain is born with. Its hash is the chain's id.

use crate::checkpoint::{CheckpointSet, Signer, read_checkpoint_key};
use crate::codec::{DecodeError, Reader, known_sections, put_section, put_text_u16};
use crate::crypto::{PublicKey, Scheme};
use crate::quality::Network;
use crate::{Amount, AssetId, Hash, KeyId, hash};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// Where an operation's ledger time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpTime {
    /// `t(n) = time_ns + n`.
    Block = 1,
    /// `t(n) = max(t(n−1) + 1, effective_ns)`; only with one validator.
    Effective = 2,
}

/// Which account ids may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AccountIds {
    /// Any.
    Free = 1,
    /// [`crate::AccountId::derive`] of owner, asset and salt.
    Derived = 2,
}

/// The consensus plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Plane {
    /// One validator.
    Solo = 1,
    /// Bonded power, weighted round robin.
    Stake = 2,
    /// Proof of AI.
    Poai = 3,
}

impl Plane {
    /// The name that config and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Solo => "solo",
            Self::Stake => "stake",
            Self::Poai => "poai",
        }
    }

    /// Header `h` commits the roots after `h − root_lag`.
    pub const fn root_lag(self) -> u64 {
        match self {
            Self::Solo => 1,
            Self::Stake | Self::Poai => 2,
        }
    }
}

/// What a transaction costs: `base + per_operation · n + per_byte · len`, in units of `asset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fees {
    /// What fees are paid in.
    pub asset: AssetId,
    /// Account that collects them.
    pub collector: crate::AccountId,
    /// Per transaction.
    pub base: u64,
    /// Per operation.
    pub per_operation: u64,
    /// Per byte of the envelope.
    pub per_byte: u64,
}

impl Fees {
    /// Whether anything costs anything.
    pub fn is_free(&self) -> bool {
        self.base == 0 && self.per_operation == 0 && self.per_byte == 0
    }

    /// The fee of an envelope of `operations` operations and `len` bytes. Cannot overflow: `u64 · u64` fits.
    pub fn of(&self, operations: usize, len: usize) -> Amount {
        let per_operation =
            u128::from(self.per_operation).saturating_mul(u128::from(crate::codec::wide(operations)));
        let per_byte = u128::from(self.per_byte).saturating_mul(u128::from(crate::codec::wide(len)));
        Amount(
            u128::from(self.base)
                .saturating_add(per_operation)
                .saturating_add(per_byte),
        )
    }
}

/// Limits by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of envelopes in a block.
    pub block_bytes_max: u32,
    /// Operations, expiries and chain-wide members in a block.
    pub block_effects_max: u32,
    /// Members of a linked chain.
    pub chain_max: u32,
    /// Open pendings that debit one account.
    pub open_pending_account_max: u32,
    /// Open pendings in all.
    pub open_pending_chain_max: u32,
    /// Expiries in a block; the rest follows in the next ones.
    pub expire_per_block_max: u32,
    /// Heights between `valid_from` and `valid_until`.
    pub validity_max: u32,
    /// Open sessions in all.
    pub sessions_max: u32,
    /// Heights between snapshots whose roots cover the AI contexts too.
    pub snapshot_interval: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes_max: 16 * 1024 * 1024,
            block_effects_max: 131_072,
            chain_max: 1_024,
            open_pending_account_max: 1_000_000,
            open_pending_chain_max: 10_000_000,
            expire_per_block_max: 4_096,
            validity_max: 4_096,
            sessions_max: 1_000_000,
            snapshot_interval: 10_000,
        }
    }
}

/// A validator and its voting power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// What it signs precommits with.
    pub key: PublicKey,
    /// Its weight; the sum of a set stays below 2^62.
    pub power: u64,
}

/// `validators_hash`: over `(scheme u16, key, power u64)` of each, in order.
pub fn validators_hash(set: &[Validator]) -> Hash {
    // Scheme, key and power: 42 bytes each with the keys there are.
    let mut bytes = Vec::with_capacity(set.len() * 48);
    for validator in set {
        bytes.extend_from_slice(&validator.key.scheme().code().to_le_bytes());
        bytes.extend_from_slice(validator.key.as_bytes());
        bytes.extend_from_slice(&validator.power.to_le_bytes());
    }
    hash::VALIDATORS.hash(&bytes)
}

/// What several validators begin with, beside their keys and powers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Blocks of an epoch: sets change at its end.
    pub epoch_blocks: u32,
    /// Id of the network that decides qualities; zero where none does.
    pub network: Hash,
    /// The last link of each validator's chain of reveals, in their order; zero for none.
    pub reveals: Vec<Hash>,
    /// The network's file, where it is none that comes with the program; else empty.
    pub network_file: Vec<u8>,
}

/// Checkpoints of a chain whose votes are Ed25519: headers that validators sign with hybrid keys of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// Blocks from one checkpoint to the next; never zero.
    pub every_blocks: u32,
    /// The founders' checkpoint keys, in their order.
    pub keys: Vec<PublicKey>,
}

/// What a chain is born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// A name for people.
    pub name: String,
    /// Tells chains of one name apart: random, or a time.
    pub salt: u64,
    /// The consensus plane.
    pub plane: Plane,
    /// Where operations' time comes from.
    pub op_time: OpTime,
    /// Which account ids may be opened.
    pub account_ids: AccountIds,
    /// What transactions cost.
    pub fees: Fees,
    /// Limits by name.
    pub limits: Limits,
    /// Who may schedule upgrades.
    pub authority: KeyId,
    /// Whether every validator, now and later, signs with a hybrid of ML-DSA; else every one with Ed25519.
    pub pq_votes: bool,
    /// The first validators, at least one.
    pub validators: Vec<Validator>,
    /// What several validators begin with; one alone has none of it.
    pub founding: Option<Founding>,
    /// Whether headers are signed by hybrid keys now and then; nothing where every vote is.
    pub checkpoints: Option<Checkpointing>,
}

mod kind {
    pub(super) const CHAIN: u16 = 1;
    pub(super) const FEES: u16 = 2;
    pub(super) const LIMITS: u16 = 3;
    pub(super) const VALIDATORS: u16 = 4;
    pub(super) const FOUNDING: u16 = 5;
    pub(super) const VOTES: u16 = 6;
    pub(super) const CHECKPOINTS: u16 = 7;
}

/// What the section of votes holds: hybrid keys.
const VOTES_HYBRID: u8 = 1;

impl Genesis {
    /// A chain of one validator with free ids, no fees and the default limits, whose votes are of this key's kind.
    pub fn solo(name: &str, salt: u64, validator: PublicKey) -> Self {
        Self {
            name: name.into(),
            salt,
            plane: Plane::Solo,
            op_time: OpTime::Block,
            account_ids: AccountIds::Free,
            fees: Fees::default(),
            limits: Limits::default(),
            authority: validator.id(),
            pq_votes: validator.scheme().is_hybrid(),
            validators: alloc::vec![Validator {
                key: validator,
                power: 1
            }],
            founding: None,
            checkpoints: None,
        }
    }

    /// Who signs the first checkpoint; `None` of a chain without.
    pub fn checkpoint_set(&self) -> Option<CheckpointSet> {
        let checkpoints = self.checkpoints.as_ref()?;
        let each = checkpoints.keys.iter().zip(&self.validators);
        let signers = each.map(|(key, validator)| Signer {
            key: key.clone(),
            power: validator.power,
        });
        let powers = self.validators.iter().map(|validator| validator.power);
        Some(CheckpointSet {
            power: powers.fold(0, u64::saturating_add),
            signers: signers.collect(),
        })
    }

    /// Whether a validator may sign with a key of this scheme.
    pub fn is_for_votes(&self, scheme: Scheme) -> bool {
        is_for_votes(self.pq_votes, scheme)
    }

    /// The chain's id: `H(genesis; canonical bytes)`.
    pub fn chain_id(&self) -> Hash {
        hash::GENESIS.hash(&self.to_bytes())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::CHAIN, |out| {
            put_text_u16(out, &self.name);
            out.extend_from_slice(&self.salt.to_le_bytes());
            out.extend_from_slice(&[
                code(self.plane),
                op_time_code(self.op_time),
                ids_code(self.account_ids),
            ]);
            out.extend_from_slice(self.authority.0.as_bytes());
        });
        put_section(&mut out, kind::FEES, |out| {
            out.extend_from_slice(&self.fees.asset.0.to_le_bytes());
            out.extend_from_slice(&self.fees.collector.0.to_le_bytes());
            for price in [self.fees.base, self.fees.per_operation, self.fees.per_byte] {
                out.extend_from_slice(&price.to_le_bytes());
            }
        });
        put_section(&mut out, kind::LIMITS, |out| {
            limits_in_order(&self.limits)
                .iter()
                .for_each(|limit| out.extend_from_slice(&limit.to_le_bytes()));
        });
        put_section(&mut out, kind::VALIDATORS, |out| {
            for validator in &self.validators {
                out.extend_from_slice(&validator.key.scheme().code().to_le_bytes());
                out.extend_from_slice(validator.key.as_bytes());
                out.extend_from_slice(&validator.power.to_le_bytes());
            }
        });
        if let Some(founding) = &self.founding {
            put_section(&mut out, kind::FOUNDING, |out| {
                out.extend_from_slice(&founding.epoch_blocks.to_le_bytes());
                out.extend_from_slice(founding.network.as_bytes());
                for head in &founding.reveals {
                    out.extend_from_slice(head.as_bytes());
                }
                out.extend_from_slice(&founding.network_file);
            });
        }
        if self.pq_votes {
            put_section(&mut out, kind::VOTES, |out| out.push(VOTES_HYBRID));
        }
        if let Some(checkpoints) = &self.checkpoints {
            put_section(&mut out, kind::CHECKPOINTS, |out| {
                out.extend_from_slice(&checkpoints.every_blocks.to_le_bytes());
                for key in &checkpoints.keys {
                    out.extend_from_slice(&key.scheme().code().to_le_bytes());
                    out.extend_from_slice(key.as_bytes());
                }
            });
        }
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [
            kind::CHAIN,
            kind::FEES,
            kind::LIMITS,
            kind::VALIDATORS,
            kind::FOUNDING,
            kind::VOTES,
            kind::CHECKPOINTS,
        ];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut chain = Reader::new("genesis chain", part(0)?);
        let name = chain.text_u16()?.into();
        let salt = chain.u64()?;
        let plane = one_of(
            chain.u8()?,
            "plane",
            &[Plane::Solo, Plane::Stake, Plane::Poai],
            code,
        )?;
        let op_time = one_of(
            chain.u8()?,
            "op_time",
            &[OpTime::Block, OpTime::Effective],
            op_time_code,
        )?;
        let account_ids = one_of(
            chain.u8()?,
            "account_ids",
            &[AccountIds::Free, AccountIds::Derived],
            ids_code,
        )?;
        let authority = KeyId(chain.hash()?);
        chain.finish()?;
        let pq_votes = parts[5].map(decode_votes).transpose()?.unwrap_or(false);
        let validators = decode_validators(part(3)?, pq_votes)?;
        let founding = parts[4]
            .map(|bytes| decode_founding(bytes, validators.len()))
            .transpose()?;
        let checkpoints = parts[6]
            .map(|bytes| decode_checkpoints(bytes, validators.len(), pq_votes))
            .transpose()?;
        Ok(Self {
            name,
            salt,
            plane,
            op_time,
            account_ids,
            authority,
            fees: decode_fees(part(1)?)?,
            limits: decode_limits(part(2)?)?,
            pq_votes,
            validators,
            founding,
            checkpoints,
        })
    }
}

#[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
fn code(plane: Plane) -> u8 {
    plane as u8
}

#[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
fn op_time_code(op_time: OpTime) -> u8 {
    op_time as u8
}

#[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
fn ids_code(ids: AccountIds) -> u8 {
    ids as u8
}

fn one_of<T: Copy>(got: u8, what: &'static str, all: &[T], code: fn(T) -> u8) -> Result<T, DecodeError> {
    all.iter()
        .copied()
        .find(|one| code(*one) == got)
        .ok_or(DecodeError::Value {
            what,
            value: u64::from(got),
        })
}

fn decode_fees(bytes: &[u8]) -> Result<Fees, DecodeError> {
    let mut reader = Reader::new("genesis fees", bytes);
    let fees = Fees {
        asset: AssetId(reader.u32()?),
        collector: crate::AccountId(reader.u128()?),
        base: reader.u64()?,
        per_operation: reader.u64()?,
        per_byte: reader.u64()?,
    };
    reader.finish()?;
    Ok(fees)
}

fn limits_in_order(limits: &Limits) -> [u32; 9] {
    [
        limits.block_bytes_max,
        limits.block_effects_max,
        limits.chain_max,
        limits.open_pending_account_max,
        limits.open_pending_chain_max,
        limits.expire_per_block_max,
        limits.validity_max,
        limits.sessions_max,
        limits.snapshot_interval,
    ]
}

fn decode_limits(bytes: &[u8]) -> Result<Limits, DecodeError> {
    let mut reader = Reader::new("genesis limits", bytes);
    let limits = Limits {
        block_bytes_max: reader.u32()?,
        block_effects_max: reader.u32()?,
        chain_max: reader.u32()?,
        open_pending_account_max: reader.u32()?,
        open_pending_chain_max: reader.u32()?,
        expire_per_block_max: reader.u32()?,
        validity_max: reader.u32()?,
        sessions_max: reader.u32()?,
        snapshot_interval: reader.u32()?,
    };
    reader.finish()?;
    if limits_in_order(&limits).contains(&0) {
        return Err(DecodeError::Value {
            what: "genesis limit",
            value: 0,
        });
    }
    Ok(limits)
}

fn is_for_votes(pq_votes: bool, scheme: Scheme) -> bool {
    scheme.can_vote() && scheme.is_hybrid() == pq_votes
}

/// The one thing that the section says: that votes are hybrid.
fn decode_votes(bytes: &[u8]) -> Result<bool, DecodeError> {
    let mut reader = Reader::new("genesis votes", bytes);
    let value = reader.u8()?;
    reader.finish()?;
    if value != VOTES_HYBRID {
        return Err(DecodeError::Value {
            what: "genesis votes",
            value: u64::from(value),
        });
    }
    Ok(true)
}

fn decode_validators(bytes: &[u8], pq_votes: bool) -> Result<Vec<Validator>, DecodeError> {
    let mut reader = Reader::new("genesis validators", bytes);
    let mut validators = Vec::new();
    while reader.left() > 0 {
        let code = reader.u16()?;
        let unknown = DecodeError::Value {
            what: "validator scheme",
            value: u64::from(code),
        };
        let scheme = Scheme::from_code(code)
            .filter(|scheme| is_for_votes(pq_votes, *scheme))
            .ok_or(unknown)?;
        let key = PublicKey::new(scheme, reader.take(scheme.public_len())?).map_err(|_| unknown)?;
        validators.push(Validator {
            key,
            power: reader.u64()?,
        });
    }
    check_validators(&validators)?;
    Ok(validators)
}

fn decode_founding(bytes: &[u8], validators: usize) -> Result<Founding, DecodeError> {
    let mut reader = Reader::new("genesis founding", bytes);
    if validators < 2 {
        return Err(DecodeError::Value {
            what: "genesis founding where the number of validators is",
            value: crate::codec::wide(validators),
        });
    }
    let epoch_blocks = reader.u32()?;
    if epoch_blocks == 0 {
        return Err(DecodeError::Value {
            what: "genesis epoch_blocks",
            value: 0,
        });
    }
    let network = reader.hash()?;
    let mut reveals = Vec::with_capacity(validators);
    for _ in 0..validators {
        reveals.push(reader.hash()?);
    }
    let network_file = reader.rest().to_vec();
    let is_it = |file: &[u8]| Network::decode(file).is_ok_and(|decoded| decoded.id() == network);
    if !network_file.is_empty() && !is_it(&network_file) {
        return Err(DecodeError::Value {
            what: "genesis founding, bytes after the reveals that are not the network's file",
            value: crate::codec::wide(network_file.len()),
        });
    }
    Ok(Founding {
        epoch_blocks,
        network,
        reveals,
        network_file,
    })
}

/// A checkpoint key of each of several founders, all different, where votes are not hybrids anyway.
fn decode_checkpoints(
    bytes: &[u8],
    validators: usize,
    pq_votes: bool,
) -> Result<Checkpointing, DecodeError> {
    let refuse = |what, value| Err(DecodeError::Value { what, value });
    if pq_votes || validators < 2 {
        return refuse("genesis checkpoints where votes are hybrid or one validator decides", 1);
    }
    let mut reader = Reader::new("genesis checkpoints", bytes);
    let every_blocks = reader.u32()?;
    if every_blocks == 0 {
        return refuse("genesis blocks from one checkpoint to the next", 0);
    }
    let (mut keys, mut ids) = (Vec::new(), BTreeSet::new());
    for at in 0..validators {
        let key = read_checkpoint_key(&mut reader)?;
        if !ids.insert(key.id()) {
            return refuse("checkpoint key that is there already, at place", crate::codec::wide(at));
        }
        keys.push(key);
    }
    reader.finish()?;
    Ok(Checkpointing { every_blocks, keys })
}

/// At least one, each once, each with a power, and a total that agreement can count.
fn check_validators(validators: &[Validator]) -> Result<(), DecodeError> {
    let refuse = |what, value| Err(DecodeError::Value { what, value });
    if validators.is_empty() {
        return refuse("number of validators", 0);
    }
    let mut keys = BTreeSet::new();
    let mut total = 0u64;
    for (at, validator) in (0..).zip(validators) {
        if !keys.insert((validator.key.scheme().code(), validator.key.as_bytes())) {
            return refuse("validator that is there already, at place", at);
        }
        if validator.power == 0 {
            return refuse("validator power", 0);
        }
        total = total.saturating_add(validator.power);
    }
    if total >= POWER_TOTAL_END {
        return refuse("total of validator power", total);
    }
    Ok(())
}

/// The total power of a set stays below this.
pub const POWER_TOTAL_END: u64 = 1 << 62;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn genesis_round_trips_and_its_id_names_every_rule() {
        let genesis = Genesis::solo("test", 1, SigningKey::from_seed(&[1; 32]).public().clone());
        assert_eq!(Genesis::decode(&genesis.to_bytes()).unwrap(), genesis);
        let mut other = genesis.clone();
        other.limits.chain_max += 1;
        assert_ne!(other.chain_id(), genesis.chain_id());
        let bytes = genesis.to_bytes();
        assert!((0..bytes.len()).all(|cut| Genesis::decode(&bytes[..cut]).is_err()));
    }

    #[test]
    fn a_chain_says_whether_its_votes_are_hybrid_and_no_validator_signs_otherwise() {
        let key = |scheme: Scheme, seed: u8| {
            PublicKey::new(scheme, &alloc::vec![seed; scheme.public_len()]).unwrap()
        };
        let of = |schemes: &[Scheme], pq_votes: bool| {
            let each = (1..).zip(schemes);
            let mut genesis = Genesis::solo("test", 1, key(schemes[0], 1));
            genesis.pq_votes = pq_votes;
            genesis.validators = each
                .map(|(seed, scheme)| Validator {
                    key: key(*scheme, seed),
                    power: 1,
                })
                .collect();
            genesis
        };
        let hybrids = [Scheme::Ed25519MlDsa44, Scheme::Ed25519MlDsa65];
        let whole = of(&hybrids, true);
        assert_eq!(Genesis::decode(&whole.to_bytes()).unwrap(), whole);
        assert!(Genesis::solo("test", 1, key(hybrids[0], 1)).pq_votes);
        let mut said = of(&[Scheme::Ed25519], false).to_bytes();
        let refused = |genesis: &Genesis| {
            let error = Genesis::decode(&genesis.to_bytes()).unwrap_err();
            assert!(alloc::format!("{error}").contains("validator scheme"), "{error}");
        };
        refused(&of(&hybrids, false));
        refused(&of(&[Scheme::Ed25519], true));
        refused(&of(&[Scheme::Ed25519MlDsa65, Scheme::Ed25519], true));
        refused(&of(&[Scheme::Ed25519SlhDsa128s], true));
        for votes in [&[0][..], &[2], &[1, 1], &[]] {
            let mut wrong = said.clone();
            put_section(&mut wrong, kind::VOTES, |out| out.extend_from_slice(votes));
            assert!(Genesis::decode(&wrong).is_err(), "{votes:?}");
        }
        assert!(Genesis::decode(&said).is_ok());
        put_section(&mut said, kind::VOTES, |out| out.push(VOTES_HYBRID));
        assert!(Genesis::decode(&said).is_err(), "hybrid votes of an Ed25519 key");
    }

    #[test]
    fn every_founder_has_a_checkpoint_key_of_its_own_where_there_are_checkpoints() {
        let key = |scheme: Scheme, seed: u8| {
            PublicKey::new(scheme, &alloc::vec![seed; scheme.public_len()]).unwrap()
        };
        let mut genesis = Genesis::solo("test", 1, key(Scheme::Ed25519, 1));
        let validator = |seed| Validator {
            key: key(Scheme::Ed25519, seed),
            power: 5,
        };
        genesis.validators = alloc::vec![validator(1), validator(2)];
        genesis.checkpoints = Some(Checkpointing {
            every_blocks: 100,
            keys: alloc::vec![
                key(Scheme::Ed25519MlDsa65, 3),
                key(Scheme::Ed25519SlhDsa128s, 4)
            ],
        });
        assert_eq!(Genesis::decode(&genesis.to_bytes()).unwrap(), genesis);
        let set = genesis.checkpoint_set().unwrap();
        assert_eq!((set.power, set.signers.len()), (10, 2));
        let check = |change: &dyn Fn(&mut Genesis)| {
            let mut wrong = genesis.clone();
            change(&mut wrong);
            assert!(Genesis::decode(&wrong.to_bytes()).is_err(), "{wrong:?}");
        };
        let of = |change: fn(&mut Checkpointing)| {
            move |genesis: &mut Genesis| genesis.checkpoints.iter_mut().for_each(change)
        };
        check(&of(|checkpoints| checkpoints.every_blocks = 0));
        check(&of(|checkpoints| checkpoints.keys.truncate(1)));
        check(&of(|checkpoints| {
            checkpoints.keys[1] = checkpoints.keys[0].clone();
        }));
        check(&|genesis| {
            let ed25519 = genesis.validators[0].key.clone();
            genesis.checkpoints.iter_mut().for_each(|one| one.keys[0] = ed25519.clone());
        });
        check(&|genesis| genesis.validators.truncate(1));
    }

    #[test]
    fn a_founding_is_in_the_id_and_fits_its_validators() {
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).public().clone();
        let mut genesis = Genesis::solo("test", 1, key(1));
        let validator = |seed| Validator {
            key: key(seed),
            power: 5,
        };
        genesis.validators = alloc::vec![validator(1), validator(2)];
        let without = genesis.chain_id();
        genesis.founding = Some(Founding {
            epoch_blocks: 64,
            network: Hash([3; 32]),
            reveals: alloc::vec![Hash([4; 32]), Hash::ZERO],
            network_file: Vec::new(),
        });
        assert_ne!(genesis.chain_id(), without);
        let bytes = genesis.to_bytes();
        assert_eq!(Genesis::decode(&bytes).unwrap(), genesis);
        let check = |change: &dyn Fn(&mut Genesis), want: &str| {
            let mut wrong = genesis.clone();
            change(&mut wrong);
            let error = Genesis::decode(&wrong.to_bytes()).unwrap_err();
            assert!(alloc::format!("{error}").contains(want), "{error}");
        };
        let founding = |change: fn(&mut Founding)| {
            move |genesis: &mut Genesis| genesis.founding.iter_mut().for_each(change)
        };
        check(&founding(|founding| founding.epoch_blocks = 0), "epoch_blocks");
        check(
            &founding(|founding| founding.reveals.truncate(1)),
            "genesis founding",
        );
        check(
            &founding(|founding| founding.reveals.push(Hash::ZERO)),
            "genesis founding",
        );
        check(
            &|genesis| genesis.validators.truncate(1),
            "number of validators is",
        );
    }

    #[test]
    fn a_founding_carries_the_file_of_its_network_or_none() {
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).public().clone();
        let layer = crate::quality::Layer {
            inputs: 2,
            shift: 0,
            biases: alloc::vec![1],
            weights: alloc::vec![-1, -2],
        };
        let network = Network::new(1, alloc::vec![layer]).unwrap();
        let mut genesis = Genesis::solo("test", 1, key(1));
        genesis.validators = (1..=2)
            .map(|seed| Validator {
                key: key(seed),
                power: 5,
            })
            .collect();
        let founding = |id: Hash, network_file: Vec<u8>| Founding {
            epoch_blocks: 64,
            network: id,
            reveals: alloc::vec![Hash::ZERO; 2],
            network_file,
        };
        let with = |founding: Founding| Genesis {
            founding: Some(founding),
            ..genesis.clone()
        };
        let whole = with(founding(network.id(), network.to_bytes()));
        assert_eq!(Genesis::decode(&whole.to_bytes()).unwrap(), whole);
        let mut longer = network.to_bytes();
        longer.push(0);
        for wrong in [
            founding(Hash([3; 32]), network.to_bytes()),
            founding(network.id(), longer),
            founding(network.id(), network.to_bytes()[1..].to_vec()),
        ] {
            let error = Genesis::decode(&with(wrong).to_bytes()).unwrap_err();
            assert!(alloc::format!("{error}").contains("network's file"), "{error}");
        }
    }

    #[test]
    fn refuses_a_set_of_validators_that_cannot_agree() {
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).public().clone();
        let check = |set: &[(u8, u64)], want: &str| {
            let mut genesis = Genesis::solo("test", 1, key(1));
            genesis.validators = set
                .iter()
                .map(|(seed, power)| Validator {
                    key: key(*seed),
                    power: *power,
                })
                .collect();
            let error = Genesis::decode(&genesis.to_bytes()).unwrap_err();
            assert_eq!(alloc::format!("{error}"), want);
        };
        check(&[], "number of validators: value 0 is not allowed");
        check(&[(1, 5), (2, 0)], "validator power: value 0 is not allowed");
        check(
            &[(1, 5), (2, 5), (1, 6)],
            "validator that is there already, at place: value 2 is not allowed",
        );
        check(
            &[(1, 1 << 61), (2, 1 << 61)],
            "total of validator power: value 4611686018427387904 is not allowed",
        );
        check(
            &[(1, u64::MAX), (2, u64::MAX)],
            "total of validator power: value 18446744073709551615 is not allowed",
        );
    }
}
