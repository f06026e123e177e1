//! An envelope: a signed transaction of 1 to 8,190 operations, read in place from the bytes that arrived.
//!
//! The bytes are the envelope: what is hashed, verified, stored and served is exactly what arrived, never a
//! re-encoding. Table: `docs/formats/envelope.md`.

use crate::crypto::{PublicKey, Scheme, SigningKey, signing_digest};
use crate::{AccountId, Amount, AssetId, Hash, Height, KeyId, Operation, Refusal, hash};
use alloc::vec::Vec;
use core::ops::Range;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most signers of an envelope.
pub const SIGNERS_MAX: usize = 8;
/// Most operations of an envelope: with their header they fit 1 MiB.
pub const OPERATIONS_MAX: usize = 8_190;
/// Most bytes of attachments.
pub const ATTACHMENTS_MAX: usize = 64 * 1024;
/// Most bytes of one signer's entry in the signature block.
const SIGNATURE_ENTRY_MAX: usize = 64 * 1024;
/// Most bytes of an envelope.
pub const ENVELOPE_BYTES_MAX: usize = size_of::<EnvelopeHeader>()
    + SIGNERS_MAX * (size_of::<Signer>() + SIGNATURE_ENTRY_MAX)
    + OPERATIONS_MAX * Operation::LEN
    + ATTACHMENTS_MAX;
/// The version of the envelope today.
pub const ENVELOPE_VERSION: u16 = 1;

/// The fixed front of an envelope, 104 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EnvelopeHeader {
    /// [`ENVELOPE_VERSION`].
    pub version: U16,
    /// No flag has a meaning yet: zero.
    pub flags: U16,
    /// Signers that follow, 1 to 8.
    pub signers: U16,
    /// Zero.
    pub reserved: U16,
    /// The chain it is for.
    pub chain_id: Hash,
    /// First height whose block may hold it.
    pub valid_from: U64,
    /// Last height whose block may hold it.
    pub valid_until: U64,
    /// Account that pays the fee; a signer owns it. Zero where the chain asks none.
    pub fee_account: U128,
    /// Most that may be charged.
    pub fee_max: U128,
    /// What the fee is paid in.
    pub fee_asset: U32,
    /// Operations that follow the signers, 1 to 8,190.
    pub operations: U32,
    /// Bytes of attachments that follow the operations.
    pub attachments_len: U32,
    /// Zero.
    pub padding: U32,
}

/// Who signs, and which counter of which lane this uses up. 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Signer {
    /// The key.
    pub key: KeyId,
    /// The next value of the lane's counter: the last one used + 1.
    pub counter: U64,
    /// 0 to 15.
    pub lane: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<EnvelopeHeader>() == 104 && size_of::<Signer>() == 48);

/// One signer's entry in the signature block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureEntry<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The public keys, or empty: then they come from the registry.
    pub public: &'a [u8],
    /// The signature over [`signing_digest`].
    pub signature: &'a [u8],
}

/// An envelope whose frame has been checked; nothing is known of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    bytes: Vec<u8>,
    tx_id: Hash,
    leaf: Hash,
    body_len: usize,
}

impl Envelope {
    /// Checks the frame, hashes the body and the whole.
    ///
    /// # Errors
    /// The [`Refusal`] that the sender is to see.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Refusal> {
        let body_len = check_frame(&bytes)?;
        let leaf = hash::ENVELOPE.hash(&bytes);
        Ok(Self::of_checked(bytes, body_len, leaf))
    }

    /// As [`Envelope::decode`], for who has hashed these very bytes before.
    ///
    /// # Errors
    /// The [`Refusal`] that the sender is to see.
    pub fn decode_hashed(bytes: Vec<u8>, leaf: Hash) -> Result<Self, Refusal> {
        let body_len = check_frame(&bytes)?;
        Ok(Self::of_checked(bytes, body_len, leaf))
    }

    fn of_checked(bytes: Vec<u8>, body_len: usize, leaf: Hash) -> Self {
        Self {
            tx_id: hash::TX.hash(&bytes[..body_len]),
            bytes,
            leaf,
            body_len,
        }
    }

    /// The transaction's id: `H(tx; body)`.
    pub fn tx_id(&self) -> Hash {
        self.tx_id
    }

    /// Exactly what arrived.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes back.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The parts.
    pub fn view(&self) -> EnvelopeView<'_> {
        EnvelopeView {
            bytes: &self.bytes,
            body_len: self.body_len,
        }
    }

    /// Leaf of the block's `transactions_root`: `H(envelope; bytes)`, over the whole.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }
}

/// The parts of an envelope whose frame has been checked.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeView<'a> {
    bytes: &'a [u8],
    body_len: usize,
}

impl<'a> EnvelopeView<'a> {
    /// Checks the frame of `bytes` without taking or hashing them.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Ok(Self {
            bytes,
            body_len: check_frame(bytes)?,
        })
    }

    /// The fixed front.
    pub fn header(&self) -> &'a EnvelopeHeader {
        header(self.bytes).expect("the frame was checked")
    }

    /// The signers.
    pub fn signers(&self) -> &'a [Signer] {
        let range = signers_range(self.header());
        <[Signer]>::ref_from_bytes(&self.bytes[range]).expect("the frame was checked")
    }

    /// The operations.
    pub fn operations(&self) -> &'a [Operation] {
        let range = operations_range(self.header());
        <[Operation]>::ref_from_bytes(&self.bytes[range]).expect("the frame was checked")
    }

    /// The attachments.
    pub fn attachments(&self) -> &'a [u8] {
        &self.bytes[operations_range(self.header()).end..self.body_len]
    }

    /// The signed part, hashed anew.
    pub fn tx_id(&self) -> Hash {
        hash::TX.hash(&self.bytes[..self.body_len])
    }

    /// All of the bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The signature block's entries, one a signer, in the signers' order.
    pub fn signatures(&self) -> impl Iterator<Item = SignatureEntry<'a>> + use<'a> {
        let mut rest = &self.bytes[self.body_len..];
        core::iter::from_fn(move || {
            let (entry, after) = split_entry(rest).ok()??;
            rest = after;
            Some(entry)
        })
    }
}

/// Checks all that can be known without state or keys; returns the length of the signed part.
fn check_frame(bytes: &[u8]) -> Result<usize, Refusal> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let header = header(bytes).ok_or(Refusal::Malformed)?;
    if header.version.get() != ENVELOPE_VERSION {
        return Err(Refusal::VersionUnknown);
    }
    if header.flags.get() != 0 {
        return Err(Refusal::FlagsUnknown);
    }
    if header.reserved.get() != 0 || header.padding.get() != 0 {
        return Err(Refusal::Malformed);
    }
    if !(1..=SIGNERS_MAX).contains(&usize::from(header.signers.get())) {
        return Err(Refusal::SignersInvalid);
    }
    let operations = crate::codec::index(header.operations.get());
    if !(1..=OPERATIONS_MAX).contains(&operations) {
        return Err(Refusal::OperationsCount);
    }
    let attachments_len = crate::codec::index(header.attachments_len.get());
    if attachments_len > ATTACHMENTS_MAX {
        return Err(Refusal::AttachmentsTooLarge);
    }
    let body_len = operations_range(header).end + attachments_len;
    let signers = bytes.get(signers_range(header)).ok_or(Refusal::Malformed)?;
    check_signers(<[Signer]>::ref_from_bytes(signers).map_err(|_| Refusal::Malformed)?)?;
    check_signature_block(
        bytes.get(body_len..).ok_or(Refusal::Malformed)?,
        header.signers.get(),
    )?;
    Ok(body_len)
}

fn check_signers(signers: &[Signer]) -> Result<(), Refusal> {
    for (at, signer) in signers.iter().enumerate() {
        if signer.reserved.get() != 0 {
            return Err(Refusal::Malformed);
        }
        if signer.lane.get() >= LANES {
            return Err(Refusal::LaneUnknown);
        }
        if signers[..at].iter().any(|earlier| earlier.key == signer.key) {
            return Err(Refusal::SignersInvalid);
        }
    }
    Ok(())
}

const LANES: u32 = 16;

fn check_signature_block(mut block: &[u8], signers: u16) -> Result<(), Refusal> {
    for _ in 0..signers {
        let (_, after) = split_entry(block)?.ok_or(Refusal::Malformed)?;
        block = after;
    }
    if block.is_empty() {
        Ok(())
    } else {
        Err(Refusal::TooLarge)
    }
}

/// Splits off `{scheme u16, public_len u16, signature_len u32, public, signature}`; `None` at the end.
fn split_entry(block: &[u8]) -> Result<Option<(SignatureEntry<'_>, &[u8])>, Refusal> {
    if block.is_empty() {
        return Ok(None);
    }
    let (front, rest) = block.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
    let scheme = u16::from_le_bytes([front[0], front[1]]);
    let public_len = usize::from(u16::from_le_bytes([front[2], front[3]]));
    let signature_len = crate::codec::index(u32::from_le_bytes([front[4], front[5], front[6], front[7]]));
    let scheme = Scheme::from_code(scheme).ok_or(Refusal::SchemeUnknown)?;
    let lengths_fit =
        (public_len == 0 || public_len == scheme.public_len()) && signature_len == scheme.signature_len();
    if !lengths_fit || rest.len() < public_len + signature_len {
        return Err(Refusal::Malformed);
    }
    let (public, rest) = rest.split_at(public_len);
    let (signature, rest) = rest.split_at(signature_len);
    Ok(Some((
        SignatureEntry {
            scheme,
            public,
            signature,
        },
        rest,
    )))
}

fn header(bytes: &[u8]) -> Option<&EnvelopeHeader> {
    EnvelopeHeader::ref_from_prefix(bytes)
        .ok()
        .map(|(header, _)| header)
}

fn signers_range(header: &EnvelopeHeader) -> Range<usize> {
    let start = size_of::<EnvelopeHeader>();
    start..start + usize::from(header.signers.get()) * size_of::<Signer>()
}

fn operations_range(header: &EnvelopeHeader) -> Range<usize> {
    let start = signers_range(header).end;
    start..start + crate::codec::index(header.operations.get()) * Operation::LEN
}

/// Where public keys come from that a signature block does not carry: the registry after height − 1.
pub trait KeyLookup {
    /// The registered key of this id.
    fn public_key(&self, id: &KeyId) -> Option<&PublicKey>;
}

impl KeyLookup for () {
    fn public_key(&self, _: &KeyId) -> Option<&PublicKey> {
        None
    }
}

/// An envelope whose every signature has been checked against the key that its signer names. There is no
/// other way to make one than the functions below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Envelope);

impl core::ops::Deref for Verified {
    type Target = Envelope;
    fn deref(&self) -> &Envelope {
        &self.0
    }
}

impl Verified {
    /// Checks one envelope's signatures.
    ///
    /// # Errors
    /// The [`Refusal`], with the envelope.
    pub fn check(envelope: Envelope, keys: &impl KeyLookup) -> Result<Self, (Envelope, Refusal)> {
        let is_id_of = |id: &KeyId, scheme, public: &[u8]| KeyId::of(scheme, public) == *id;
        let refusal = resolve(&envelope.view(), keys, is_id_of).and_then(|publics| {
            let view = envelope.view();
            for ((signer, entry), public) in view.signers().iter().zip(view.signatures()).zip(publics) {
                let digest = signing_digest(&signer.key, &envelope.tx_id);
                crate::crypto::verify(entry.scheme, public, digest.as_bytes(), entry.signature)
                    .map_err(|_| Refusal::SignatureInvalid)?;
            }
            Ok(())
        });
        match refusal {
            Ok(()) => Ok(Self(envelope)),
            Err(refusal) => Err((envelope, refusal)),
        }
    }

    /// Checks many envelopes' signatures as one batch; the answers are those of [`Verified::check`], in
    /// order. `entropy` as in [`BatchVerifier::verify`](crate::crypto::BatchVerifier::verify).
    #[cfg(feature = "std")]
    pub fn check_batch(
        envelopes: Vec<Envelope>,
        keys: &impl KeyLookup,
        verifier: &crate::crypto::BatchVerifier,
        entropy: &[u8; 32],
    ) -> Vec<Result<Self, (Envelope, Refusal)>> {
        let mut refusals: Vec<Option<Refusal>> = alloc::vec![None; envelopes.len()];
        let mut digests: Vec<(usize, KeyId, Hash, &[u8], SignatureEntry<'_>)> =
            Vec::with_capacity(envelopes.len());
        for (at, envelope) in envelopes.iter().enumerate() {
            let view = envelope.view();
            let is_id_of = |id: &KeyId, scheme, public: &[u8]| verifier.is_id_of(id, scheme, public);
            match resolve(&view, keys, is_id_of) {
                Err(refusal) => refusals[at] = Some(refusal),
                Ok(publics) => {
                    for ((signer, entry), public) in view.signers().iter().zip(view.signatures()).zip(publics)
                    {
                        let digest = signing_digest(&signer.key, &envelope.tx_id);
                        digests.push((at, signer.key, digest, public, entry));
                    }
                }
            }
        }
        let items: Vec<crate::crypto::BatchItem<'_>> = digests
            .iter()
            .map(|(_, key, digest, public, entry)| crate::crypto::BatchItem {
                key: *key,
                scheme: entry.scheme,
                public,
                message: digest.as_bytes(),
                signature: entry.signature,
            })
            .collect();
        for (answer, (at, ..)) in verifier.verify(&items, entropy).iter().zip(&digests) {
            if answer.is_err() {
                refusals[*at] = Some(Refusal::SignatureInvalid);
            }
        }
        drop(digests);
        let checked = envelopes.into_iter().zip(refusals);
        checked
            .map(|(envelope, refusal)| match refusal {
                None => Ok(Self(envelope)),
                Some(refusal) => Err((envelope, refusal)),
            })
            .collect()
    }

    /// Takes an envelope that this node verified before, byte for byte, as the hash of the whole says.
    pub fn known(envelope: Envelope) -> Self {
        Self(envelope)
    }

    /// Takes an envelope from a block of this node's own log, whose hash and certificate vouch for it.
    pub fn from_log(envelope: Envelope) -> Self {
        Self(envelope)
    }

    /// The envelope.
    pub fn into_envelope(self) -> Envelope {
        self.0
    }
}

/// The public key of every signer: from its entry, where it must hash to the key's id as `is_id_of` says, else from
/// `keys`.
fn resolve<'a>(
    view: &EnvelopeView<'a>,
    keys: &'a impl KeyLookup,
    is_id_of: impl Fn(&KeyId, Scheme, &[u8]) -> bool,
) -> Result<Vec<&'a [u8]>, Refusal> {
    let pairs = view.signers().iter().zip(view.signatures());
    pairs
        .map(|(signer, entry)| {
            if entry.public.is_empty() {
                let key = keys.public_key(&signer.key).ok_or(Refusal::KeyUnknown)?;
                return if key.scheme() == entry.scheme {
                    Ok(key.as_bytes())
                } else {
                    Err(Refusal::KeyMismatch)
                };
            }
            if is_id_of(&signer.key, entry.scheme, entry.public) {
                Ok(entry.public)
            } else {
                Err(Refusal::KeyMismatch)
            }
        })
        .collect()
}

/// Builds and signs an envelope.
#[derive(Clone, Debug)]
pub struct EnvelopeBuilder {
    /// The chain it is for.
    pub chain_id: Hash,
    /// First height whose block may hold it.
    pub valid_from: Height,
    /// Last height whose block may hold it.
    pub valid_until: Height,
    /// Who pays, in what, how much at most.
    pub fee: (AccountId, AssetId, Amount),
    /// What it does.
    pub operations: Vec<Operation>,
    /// What its operations point to.
    pub attachments: Vec<u8>,
}

impl EnvelopeBuilder {
    /// An envelope without fee or attachments, valid from `now` for `span` heights.
    pub fn new(chain_id: Hash, now: Height, span: u64, operations: Vec<Operation>) -> Self {
        Self {
            chain_id,
            valid_from: now,
            valid_until: Height(now.0.saturating_add(span)),
            fee: (AccountId::NONE, AssetId(0), Amount::ZERO),
            operations,
            attachments: Vec::new(),
        }
    }

    /// Signs with every key, in order, each using up `counter` of `lane`, and puts the public keys into the
    /// signature block.
    pub fn sign(&self, signers: &[(&SigningKey, u32, u64)]) -> Vec<u8> {
        self.sign_as(signers, true)
    }

    /// As [`Self::sign`], without the public keys: they must be registered.
    pub fn sign_registered(&self, signers: &[(&SigningKey, u32, u64)]) -> Vec<u8> {
        self.sign_as(signers, false)
    }

    fn sign_as(&self, signers: &[(&SigningKey, u32, u64)], with_public: bool) -> Vec<u8> {
        let mut bytes = self.body(signers);
        let tx_id = hash::TX.hash(&bytes);
        for (key, ..) in signers {
            let public: &[u8] = if with_public { key.public().as_bytes() } else { &[] };
            let signature = key.sign(signing_digest(&key.id(), &tx_id).as_bytes());
            bytes.extend_from_slice(&key.public().scheme().code().to_le_bytes());
            let public_len = u16::try_from(public.len()).expect("public keys are short");
            bytes.extend_from_slice(&public_len.to_le_bytes());
            crate::codec::put_bytes_u32(&mut bytes, &[]);
            let at = bytes.len() - 4;
            bytes[at..].copy_from_slice(&crate::codec::narrow(signature.len()).to_le_bytes());
            bytes.extend_from_slice(public);
            bytes.extend_from_slice(&signature);
        }
        bytes
    }

    fn body(&self, signers: &[(&SigningKey, u32, u64)]) -> Vec<u8> {
        let header = EnvelopeHeader {
            version: ENVELOPE_VERSION.into(),
            flags: U16::ZERO,
            signers: u16::try_from(signers.len()).unwrap_or(u16::MAX).into(),
            reserved: U16::ZERO,
            chain_id: self.chain_id,
            valid_from: self.valid_from.0.into(),
            valid_until: self.valid_until.0.into(),
            fee_account: self.fee.0.0.into(),
            fee_asset: self.fee.1.0.into(),
            fee_max: self.fee.2.0.into(),
            operations: crate::codec::narrow(self.operations.len()).into(),
            attachments_len: crate::codec::narrow(self.attachments.len()).into(),
            padding: U32::ZERO,
        };
        let mut bytes =
            Vec::with_capacity(512 + self.operations.len() * Operation::LEN + self.attachments.len());
        bytes.extend_from_slice(header.as_bytes());
        for (key, lane, counter) in signers {
            let signer = Signer {
                key: key.id(),
                counter: (*counter).into(),
                lane: (*lane).into(),
                reserved: U32::ZERO,
            };
            bytes.extend_from_slice(signer.as_bytes());
        }
        bytes.extend_from_slice(self.operations.as_slice().as_bytes());
        bytes.extend_from_slice(&self.attachments);
        bytes
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
