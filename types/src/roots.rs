//! The table of roots: what `state_root` hashes, one root for every table that execution reads.

use crate::codec::{DecodeError, Reader};
use crate::{Hash, hash};
use alloc::vec::Vec;

/// A table of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Table {
    /// Dense Merkle tree over the account array.
    Accounts = 1,
    /// Dense Merkle tree over the slots of pendings and holds.
    Pendings = 2,
    /// Dense Merkle tree over keys and their lanes.
    Keys = 3,
    /// Dense Merkle tree over assets.
    Assets = 4,
    /// Dense Merkle tree over the slots of sessions.
    Sessions = 5,
    /// Policies, hashed whole.
    Policies = 6,
    /// Validators: keys, power, reputation; hashed whole.
    Validators = 7,
    /// Models, hashed whole.
    Models = 8,
    /// The plane's own state, hashed whole.
    Plane = 9,
    /// The chain's: scheduled upgrades and limits, hashed whole.
    Chain = 10,
    /// Contexts of the AI plane, at snapshot heights.
    Contexts = 11,
    /// Money that validators have at stake, hashed whole.
    Bonds = 12,
    /// Validators' checkpoint keys, hashed whole.
    Checkpoints = 14,
}

impl Table {
    /// Every table, in order.
    pub const ALL: [Self; 13] = [
        Self::Accounts,
        Self::Pendings,
        Self::Keys,
        Self::Assets,
        Self::Sessions,
        Self::Policies,
        Self::Validators,
        Self::Models,
        Self::Plane,
        Self::Chain,
        Self::Contexts,
        Self::Bonds,
        Self::Checkpoints,
    ];

    /// Its number.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u16 codes")]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The name that errors and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Pendings => "pendings",
            Self::Keys => "keys",
            Self::Assets => "assets",
            Self::Sessions => "sessions",
            Self::Policies => "policies",
            Self::Validators => "validators",
            Self::Models => "models",
            Self::Plane => "plane",
            Self::Chain => "chain",
            Self::Contexts => "contexts",
            Self::Bonds => "bonds",
            Self::Checkpoints => "checkpoints",
        }
    }

    /// The table with this number, if there is one.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.code() == code)
    }
}

/// Roots by table, in ascending order of table; empty tables are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<(Table, Hash)>);

impl Roots {
    /// Sets a table's root.
    pub fn set(&mut self, table: Table, root: Hash) {
        match self.0.binary_search_by_key(&table, |entry| entry.0) {
            Ok(at) => self.0[at].1 = root,
            Err(at) => self.0.insert(at, (table, root)),
        }
    }

    /// A table's root.
    pub fn get(&self, table: Table) -> Option<Hash> {
        self.0.iter().find(|entry| entry.0 == table).map(|entry| entry.1)
    }

    /// In ascending order of table.
    pub fn iter(&self) -> impl Iterator<Item = (Table, Hash)> + '_ {
        self.0.iter().copied()
    }

    /// `state_root`: `H(roots; {table u16 ‖ root 32}…)`.
    pub fn state_root(&self) -> Hash {
        let mut bytes = Vec::with_capacity(self.0.len() * 34);
        self.encode(&mut bytes);
        hash::ROOTS.hash(&bytes)
    }

    /// The first table whose root differs, or that only one of the two has.
    pub fn first_difference(&self, other: &Self) -> Option<Table> {
        Table::ALL
            .into_iter()
            .find(|table| self.get(*table) != other.get(*table))
    }

    /// Appends `{table u16, root 32}` for each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (table, root) in &self.0 {
            out.extend_from_slice(&table.code().to_le_bytes());
            out.extend_from_slice(root.as_bytes());
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]; tables must be known and ascend.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("roots", bytes);
        let mut roots = Vec::new();
        while reader.left() > 0 {
            let code = reader.u16()?;
            let unknown = DecodeError::Value {
                what: "table",
                value: u64::from(code),
            };
            let table = Table::from_code(code).ok_or(unknown)?;
            if roots.last().is_some_and(|(previous, _)| *previous >= table) {
                return Err(unknown);
            }
            roots.push((table, reader.hash()?));
        }
        Ok(Self(roots))
    }
}
