//! Signature schemes, as the wire numbers them, and the lengths of their parts.

/// A signature scheme, as the wire numbers it. Later schemes take the next numbers.
///
/// A hybrid's public key is the Ed25519 key and then the other one; so is its signature. Both must verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Scheme {
    /// Ed25519 under the ZIP-215 rules: single and batch verification agree on every input.
    Ed25519 = 1,
    /// Ed25519 and ML-DSA-44 (FIPS 204).
    Ed25519MlDsa44 = 2,
    /// Ed25519 and ML-DSA-65 (FIPS 204).
    Ed25519MlDsa65 = 3,
    /// Ed25519 and SLH-DSA-SHA2-128s (FIPS 205): small signatures, slow to make.
    Ed25519SlhDsa128s = 4,
    /// Ed25519 and SLH-DSA-SHA2-128f (FIPS 205): twenty times as fast to make, twice as long, slower to check.
    Ed25519SlhDsa128f = 5,
}

/// Bytes of an Ed25519 public key (RFC 8032 §5.1.5).
pub(super) const ED25519_PUBLIC: usize = 32;
/// Bytes of an Ed25519 signature (RFC 8032 §5.1.6).
pub(super) const ED25519_SIGNATURE: usize = 64;

impl Scheme {
    /// Every scheme, by number.
    pub const ALL: [Self; 5] = [
        Self::Ed25519,
        Self::Ed25519MlDsa44,
        Self::Ed25519MlDsa65,
        Self::Ed25519SlhDsa128s,
        Self::Ed25519SlhDsa128f,
    ];

    /// The scheme with this number, if it is known.
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Ed25519),
            2 => Some(Self::Ed25519MlDsa44),
            3 => Some(Self::Ed25519MlDsa65),
            4 => Some(Self::Ed25519SlhDsa128s),
            5 => Some(Self::Ed25519SlhDsa128f),
            _ => None,
        }
    }

    /// The scheme with this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// Its number on the wire.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u16 codes")]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The name that flags, JSON and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ed25519MlDsa44 => "ed25519+ml-dsa-44",
            Self::Ed25519MlDsa65 => "ed25519+ml-dsa-65",
            Self::Ed25519SlhDsa128s => "ed25519+slh-dsa-sha2-128s",
            Self::Ed25519SlhDsa128f => "ed25519+slh-dsa-sha2-128f",
        }
    }

    /// Whether it holds against a quantum computer, as far as anybody knows.
    pub const fn is_hybrid(self) -> bool {
        !matches!(self, Self::Ed25519)
    }

    /// Whether a validator can sign every vote with it: its signatures are made in less than a millisecond.
    pub const fn can_vote(self) -> bool {
        matches!(self, Self::Ed25519 | Self::Ed25519MlDsa44 | Self::Ed25519MlDsa65)
    }

    /// Bytes of its public keys.
    pub const fn public_len(self) -> usize {
        ED25519_PUBLIC + self.second_lens().0
    }

    /// Bytes of its signatures.
    pub const fn signature_len(self) -> usize {
        ED25519_SIGNATURE + self.second_lens().1
    }

    /// Bytes of a hybrid's second public key and second signature (FIPS 204 table 2, FIPS 205 table 2).
    const fn second_lens(self) -> (usize, usize) {
        match self {
            Self::Ed25519 => (0, 0),
            Self::Ed25519MlDsa44 => (1_312, 2_420),
            Self::Ed25519MlDsa65 => (1_952, 3_309),
            Self::Ed25519SlhDsa128s => (32, 7_856),
            Self::Ed25519SlhDsa128f => (32, 17_088),
        }
    }
}
