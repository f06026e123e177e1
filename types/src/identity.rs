//! A node's identity: one root that certifies the keys its node runs with, and may be kept offline.
//!
//! A certificate is a body, in canonical bytes, and the root's signature over its hash. Each names the hash of the one
//! before, with a higher serial. One without hot keys revokes the identity for good. Table: `docs/formats/identity.md`.

mod error;
mod record;

pub use error::{IdentityChainError, IdentityError};
pub use record::{IDENTITY_KEYS_MAX, IdentityRecord, KeyUse};

use crate::codec::{DecodeError, Reader, known_sections, put_bytes_u32, put_section};
use crate::crypto::{PublicKey, Scheme, SigningKey};
use crate::{Hash, Height, KeyId, hash};
use alloc::vec::Vec;

/// Most signing keys of a certificate beside those for consensus and transport: with the root they all fit the signers
/// of one envelope.
pub const OTHER_KEYS_MAX: usize = 4;
/// Bytes of a key that others seal messages to: X-Wing, ML-KEM-768 (FIPS 203 §8) and X25519.
pub const KEM_KEY_BYTES: usize = 1_184 + 32;
/// Most bytes of a certificate's body: four keys of the longest scheme and all else.
pub const IDENTITY_BODY_BYTES_MAX: usize = 16 * 1_024;
/// The first bytes of a certificate's file.
pub const IDENTITY_MAGIC: [u8; 8] = *b"SCIDENT1";
/// Most bytes of a certificate's file.
pub const IDENTITY_FILE_BYTES_MAX: usize = IDENTITY_BODY_BYTES_MAX + 32 * 1_024;

/// A node's id: `H(node-id; root scheme u16 ‖ both root public keys)`. It stays while its hot keys change.
pub fn node_id(root: &PublicKey) -> Hash {
    hash::NODE_ID.hash_parts(&[&root.scheme().code().to_le_bytes(), root.as_bytes()])
}

/// Whether an identity's root may be of this scheme: Ed25519 beside SLH-DSA, whose safety is that of its hash alone.
pub const fn is_root_scheme(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Ed25519SlhDsa128s | Scheme::Ed25519SlhDsa128f)
}

/// What a node does; a set of bits. Whoever reads certificates may ask for them; execution does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(pub u32);

impl Roles {
    /// Signs consensus.
    pub const VALIDATOR: Self = Self(1);
    /// Keeps data for others.
    pub const STORAGE: Self = Self(2);
    /// Takes transactions in for others.
    pub const GATEWAY: Self = Self(4);
    /// Every bit that has a meaning.
    pub const ALL: Self = Self(7);

    /// Each role with its name.
    pub const NAMES: [(Self, &'static str); 3] = [
        (Self::VALIDATOR, "validator"),
        (Self::STORAGE, "storage"),
        (Self::GATEWAY, "gateway"),
    ];

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The keys that a node runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotKeys {
    /// Signs what validators say, of any scheme.
    pub consensus: Option<PublicKey>,
    /// Proves the node in handshakes: Ed25519.
    pub transport: Option<PublicKey>,
    /// Others seal messages to it: [`KEM_KEY_BYTES`] of X-Wing.
    pub kem: Option<Vec<u8>>,
    /// Sign for whatever else the node does; in ascending order of id, at most [`OTHER_KEYS_MAX`].
    pub others: Vec<PublicKey>,
}

impl HotKeys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.consensus.is_none() && self.transport.is_none() && self.kem.is_none() && self.others.is_empty()
    }

    /// Those that sign, with their uses. The first two may be one key; the others are different ones.
    pub fn signing(&self) -> impl Iterator<Item = (KeyUse, &PublicKey)> {
        let consensus = self.consensus.iter().map(|key| (KeyUse::Consensus, key));
        let transport = self.transport.iter().map(|key| (KeyUse::Transport, key));
        let others = self.others.iter().map(|key| (KeyUse::Other, key));
        consensus.chain(transport).chain(others)
    }
}

/// What a certificate says, without a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityBody {
    /// The root, of a scheme that [`is_root_scheme`] takes.
    pub root: PublicKey,
    /// From 1 on, higher than that of the certificate before.
    pub serial: u64,
    /// [`Self::hash`] of the certificate before; zero in the first.
    pub previous: Hash,
    /// First height at which it counts.
    pub not_before: Height,
    /// Last height at which it counts.
    pub not_after: Height,
    /// Last height at which keys count that the certificate before lists and this one does not; zero: none does.
    pub overlap: Height,
    /// What the node does.
    pub roles: Roles,
    /// What it does it with.
    pub keys: HotKeys,
}

/// Kinds of a body's sections.
mod section {
    pub(super) const FRONT: u16 = 1;
    pub(super) const ROOT: u16 = 2;
    pub(super) const CONSENSUS: u16 = 3;
    pub(super) const TRANSPORT: u16 = 4;
    pub(super) const KEM: u16 = 5;
    pub(super) const OTHERS: u16 = 6;
    pub(super) const ALL: [u16; 6] = [FRONT, ROOT, CONSENSUS, TRANSPORT, KEM, OTHERS];
}

impl IdentityBody {
    /// The node's id.
    pub fn node(&self) -> Hash {
        node_id(&self.root)
    }

    /// Whether it revokes the identity: it lists no hot key.
    pub fn is_revocation(&self) -> bool {
        self.keys.is_empty()
    }

    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put_section(&mut out, section::FRONT, |out| {
            out.extend_from_slice(self.node().as_bytes());
            out.extend_from_slice(&self.serial.to_le_bytes());
            out.extend_from_slice(self.previous.as_bytes());
            for height in [self.not_before, self.not_after, self.overlap] {
                out.extend_from_slice(&height.0.to_le_bytes());
            }
            out.extend_from_slice(&self.roles.0.to_le_bytes());
        });
        put_section(&mut out, section::ROOT, |out| put_key(out, &self.root));
        if let Some(key) = &self.keys.consensus {
            put_section(&mut out, section::CONSENSUS, |out| put_key(out, key));
        }
        if let Some(key) = &self.keys.transport {
            put_section(&mut out, section::TRANSPORT, |out| put_key(out, key));
        }
        if let Some(key) = &self.keys.kem {
            put_section(&mut out, section::KEM, |out| out.extend_from_slice(key));
        }
        if !self.keys.others.is_empty() {
            put_section(&mut out, section::OTHERS, |out| {
                self.keys.others.iter().for_each(|key| put_key(out, key));
            });
        }
        out
    }

    /// Reads what [`Self::encode`] wrote, and checks all that one body can be checked for.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() > IDENTITY_BODY_BYTES_MAX {
            return Err(IdentityError::Long {
                got: bytes.len(),
                max: IDENTITY_BODY_BYTES_MAX,
            });
        }
        let [front, root, consensus, transport, kem, others] = known_sections(bytes, section::ALL)?;
        let missing = |kind| DecodeError::MissingSection { kind };
        let mut reader = Reader::new("identity certificate", front.ok_or(missing(section::FRONT))?);
        let node = reader.hash()?;
        let body = Self {
            serial: reader.u64()?,
            previous: reader.hash()?,
            not_before: Height(reader.u64()?),
            not_after: Height(reader.u64()?),
            overlap: Height(reader.u64()?),
            roles: Roles(reader.u32()?),
            root: one_key(root.ok_or(missing(section::ROOT))?)?,
            keys: HotKeys {
                consensus: consensus.map(one_key).transpose()?,
                transport: transport.map(one_key).transpose()?,
                kem: kem.map(Vec::from),
                others: others.map_or(Ok(Vec::new()), some_keys)?,
            },
        };
        reader.finish()?;
        if node != body.node() {
            return Err(IdentityError::Node);
        }
        body.check()?;
        // A section that this version skips would be hashed and not read.
        if body.encode() != bytes {
            return Err(IdentityError::Canonical);
        }
        Ok(body)
    }

    /// Checks all that one body can be checked for by itself.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn check(&self) -> Result<(), IdentityError> {
        let root = self.root.scheme();
        if !is_root_scheme(root) {
            return Err(IdentityError::RootScheme { scheme: root.name() });
        }
        if self.serial == 0 {
            return Err(IdentityError::Serial { got: 0, after: 0 });
        }
        let ends_too_late = self.overlap > self.not_after;
        if self.not_before > self.not_after || ends_too_late {
            return Err(IdentityError::Heights {
                not_before: self.not_before,
                not_after: self.not_after,
                overlap: self.overlap,
            });
        }
        let overlaps_nothing = self.previous == Hash::ZERO || self.is_revocation();
        if overlaps_nothing && self.overlap != Height::GENESIS {
            return Err(IdentityError::Overlap);
        }
        let roles = self.roles.0;
        if roles & !Roles::ALL.0 != 0 || self.is_revocation() && roles != 0 {
            return Err(IdentityError::Roles { roles });
        }
        self.check_keys()
    }

    fn check_keys(&self) -> Result<(), IdentityError> {
        if let Some(transport) = self.keys.transport.as_ref().map(PublicKey::scheme)
            && transport != Scheme::Ed25519
        {
            let scheme = transport.name();
            return Err(IdentityError::TransportScheme { scheme });
        }
        if let Some(got) = self.keys.kem.as_ref().map(Vec::len)
            && got != KEM_KEY_BYTES
        {
            return Err(IdentityError::KemLength { got });
        }
        let others = self.keys.others.len();
        if others > OTHER_KEYS_MAX {
            return Err(IdentityError::OtherKeys { got: others });
        }
        let root = self.root.id();
        let mut last_other = None;
        for (key_use, key) in self.keys.signing() {
            let id = key.id();
            let is_other = key_use == KeyUse::Other;
            let is_first_two = || {
                let first_two = [&self.keys.consensus, &self.keys.transport];
                first_two.into_iter().flatten().any(|one| one.id() == id)
            };
            if id == root || is_other && (last_other >= Some(id) || is_first_two()) {
                return Err(IdentityError::KeyTwice { key: id });
            }
            if is_other {
                last_other = Some(id);
            }
        }
        Ok(())
    }

    /// Whether it counts at a height.
    ///
    /// # Errors
    /// [`IdentityError::NotNow`].
    pub fn check_at(&self, height: Height) -> Result<(), IdentityError> {
        if (self.not_before..=self.not_after).contains(&height) {
            return Ok(());
        }
        Err(IdentityError::NotNow {
            height,
            not_before: self.not_before,
            not_after: self.not_after,
        })
    }

    /// What the next certificate names: `H(identity; canonical bytes)`.
    pub fn hash(&self) -> Hash {
        body_hash(&self.encode())
    }

    /// Whether it may come after the certificate whose hash and serial these are, of the same root.
    ///
    /// # Errors
    /// [`IdentityError::Serial`], [`IdentityError::Previous`].
    pub fn check_after(&self, previous: &Hash, serial: u64) -> Result<(), IdentityError> {
        if self.serial <= serial {
            return Err(IdentityError::Serial {
                got: self.serial,
                after: serial,
            });
        }
        if self.previous != *previous {
            return Err(IdentityError::Previous {
                got: self.previous,
                want: *previous,
            });
        }
        Ok(())
    }
}

/// The hash of a body's canonical bytes.
pub fn body_hash(bytes: &[u8]) -> Hash {
    hash::IDENTITY.hash(bytes)
}

/// What the root signs: `H(identity-sign; root key_id ‖ hash of the body)`.
fn signing_message(root: &KeyId, body: &Hash) -> Hash {
    hash::IDENTITY_SIGN.node(&root.0, body)
}

/// A body that its root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityCertificate {
    body: IdentityBody,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl IdentityCertificate {
    /// Signs a body with its root.
    ///
    /// # Errors
    /// [`IdentityError`]: the body is none, or its root is another key.
    pub fn sign(body: IdentityBody, root: &SigningKey) -> Result<Self, IdentityError> {
        body.check()?;
        if body.root != *root.public() {
            return Err(IdentityError::OtherRoot);
        }
        let bytes = body.encode();
        let message = signing_message(&root.id(), &body_hash(&bytes));
        let signature = root.sign(message.as_bytes());
        Ok(Self {
            body,
            bytes,
            signature,
        })
    }

    /// What it says.
    pub fn body(&self) -> &IdentityBody {
        &self.body
    }

    /// The body's canonical bytes: what the ledger is given.
    pub fn body_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body's hash.
    pub fn hash(&self) -> Hash {
        body_hash(&self.bytes)
    }

    /// The bytes of its file: `magic 8 ‖ body len u32 ‖ body ‖ signature len u32 ‖ signature`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.bytes.len() + self.signature.len());
        out.extend_from_slice(&IDENTITY_MAGIC);
        put_bytes_u32(&mut out, &self.bytes);
        put_bytes_u32(&mut out, &self.signature);
        out
    }

    /// Reads what [`Self::encode`] wrote, and checks the root's signature: both halves of it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() > IDENTITY_FILE_BYTES_MAX {
            return Err(IdentityError::Long {
                got: bytes.len(),
                max: IDENTITY_FILE_BYTES_MAX,
            });
        }
        let mut reader = Reader::new("identity certificate file", bytes);
        if reader.array()? != IDENTITY_MAGIC {
            return Err(IdentityError::Magic);
        }
        let (body, signature) = (reader.bytes_u32()?, reader.bytes_u32()?);
        reader.finish()?;
        let certificate = Self {
            body: IdentityBody::decode(body)?,
            bytes: body.to_vec(),
            signature: signature.to_vec(),
        };
        certificate.verify()?;
        Ok(certificate)
    }

    /// Checks the root's signature.
    ///
    /// # Errors
    /// [`IdentityError::Signature`].
    pub fn verify(&self) -> Result<(), IdentityError> {
        let root = &self.body.root;
        let message = signing_message(&root.id(), &self.hash());
        Ok(root.verify(message.as_bytes(), &self.signature)?)
    }
}

/// Checks certificates of one root, the first one first, signatures included; the last is the one that counts.
///
/// # Errors
/// [`IdentityChainError`], which says of which.
pub fn verify_chain(certificates: &[IdentityCertificate]) -> Result<(), IdentityChainError> {
    let mut before: Option<&IdentityCertificate> = None;
    for (at, certificate) in certificates.iter().enumerate() {
        let of_it = |source| IdentityChainError { at, source };
        let body = certificate.body();
        let (hash, serial) = before.map_or((Hash::ZERO, 0), |one| (one.hash(), one.body.serial));
        if before.is_some_and(|one| one.body.root != body.root) {
            return Err(of_it(IdentityError::OtherRoot));
        }
        if before.is_some_and(|one| one.body.is_revocation()) {
            return Err(of_it(IdentityError::Revoked));
        }
        body.check_after(&hash, serial).map_err(of_it)?;
        certificate.verify().map_err(of_it)?;
        before = Some(certificate);
    }
    Ok(())
}

/// Appends `scheme u16 ‖ public key`.
fn put_key(out: &mut Vec<u8>, key: &PublicKey) {
    out.extend_from_slice(&key.scheme().code().to_le_bytes());
    out.extend_from_slice(key.as_bytes());
}

/// Reads one key, of the length that its scheme has.
fn read_key(reader: &mut Reader<'_>) -> Result<PublicKey, IdentityError> {
    let code = reader.u16()?;
    let scheme = Scheme::from_code(code).ok_or(DecodeError::Value {
        what: "signature scheme",
        value: u64::from(code),
    })?;
    Ok(PublicKey::new(scheme, reader.take(scheme.public_len())?)?)
}

fn one_key(bytes: &[u8]) -> Result<PublicKey, IdentityError> {
    let mut reader = Reader::new("key of an identity certificate", bytes);
    let key = read_key(&mut reader)?;
    reader.finish()?;
    Ok(key)
}

fn some_keys(bytes: &[u8]) -> Result<Vec<PublicKey>, IdentityError> {
    let mut reader = Reader::new("keys of an identity certificate", bytes);
    let mut keys = Vec::new();
    while reader.left() > 0 {
        if keys.len() == OTHER_KEYS_MAX {
            return Err(IdentityError::OtherKeys { got: keys.len() + 1 });
        }
        keys.push(read_key(&mut reader)?);
    }
    Ok(keys)
}

#[cfg(test)]
#[path = "identity/identity_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
