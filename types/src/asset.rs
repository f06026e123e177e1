//! Assets: what amounts count.

use core::fmt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An asset's number, chosen by whoever creates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId(pub u32);

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An asset as the table of assets holds it: 48 bytes, the leaf of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AssetRecord {
    /// Its number.
    pub id: U32,
    /// Decimal digits after the point, for people; the ledger counts units.
    pub scale: U16,
    /// Nothing yet; zero.
    pub reserved: U16,
    /// Dense index of the issuance account: mint debits it, burn credits it, and its credit limit is the cap.
    pub issuance: U32,
    /// Zero.
    pub padding: U32,
    /// Who issues.
    pub issuer: crate::Hash,
}

/// Most decimal digits an asset may have: `u128` holds 38.
pub const SCALE_MAX: u16 = 38;
