//! Makes the state anew from a snapshot's chunks. What a stranger wrote is refused, never trusted: every number
//! that points into another table is checked here, and every value by the roots that the caller compares.

use super::Ledger;
use super::bonds::Bonds;
use super::checkpoints::CheckpointKeys;
use super::dense::Dense;
use super::pendings::{HOLD_OF_PENDING, PendingRecord, Pendings};
use super::policies::{Models, Policies};
use super::sessions::Sessions;
use super::slab::Slab;
use super::snapshot::part;
use super::state::ChainState;
use selfchain_types::account::{AccountCold, AccountHot};
use selfchain_types::asset::AssetRecord;
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::key::{KeyRecord, SessionRecord};
use selfchain_types::roots::Table;
use selfchain_types::{AccountId, AssetId, Genesis, Hash, Height, TimeNs};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Why chunks are not a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError<E: core::error::Error + 'static> {
    /// The chunks could not be had.
    #[error("a chunk could not be read")]
    Source(#[source] E),
    /// A chunk is not of this form.
    #[error("a chunk of table {}: {source}", table.name())]
    Decode {
        /// Its table.
        table: Table,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// Chunks are missing, repeated, or out of order.
    #[error("table {}: a chunk starts at record {got}, where {want} is next", table.name())]
    Order {
        /// The table.
        table: Table,
        /// Where the chunk starts.
        got: u32,
        /// Where it should.
        want: u32,
    },
    /// A record that no ledger holds.
    #[error("table {}, record {record}: {what}", table.name())]
    Record {
        /// The table.
        table: Table,
        /// The record.
        record: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// There is no chunk of the chain's table, or it is another chain's.
    #[error("the snapshot is not of this chain")]
    OtherChain,
}

/// What is wrong with a chunk or record, whatever the chunks come from.
enum Fault {
    Decode(Table, DecodeError),
    Order(Table, u32, u32),
    Record(Table, u32, &'static str),
    OtherChain,
}

impl<E: core::error::Error + 'static> From<Fault> for RestoreError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Decode(table, source) => Self::Decode { table, source },
            Fault::Order(table, got, want) => Self::Order { table, got, want },
            Fault::Record(table, record, what) => Self::Record { table, record, what },
            Fault::OtherChain => Self::OtherChain,
        }
    }
}

/// The state as it comes in.
struct Restoring {
    ledger: Ledger,
    pendings: Dense<PendingRecord>,
    sessions: Dense<SessionRecord>,
    publics: u32,
    /// Whether checkpoint keys came in: until then there are the founders'.
    has_checkpoints: bool,
    /// Lengths and free lists of the two slabs, once the chain's table is read.
    slabs: Option<[(u32, u32, u32); 2]>,
}

impl Ledger {
    /// The state that [`Ledger::snapshot`] wrote. Whether it is the right one, only its roots say: compare
    /// those before it is used.
    ///
    /// # Errors
    /// [`RestoreError`]; `E` is what the chunks' source may say.
    pub fn restore<E: core::error::Error + 'static>(
        genesis: &Genesis,
        chunks: &mut dyn Iterator<Item = Result<(Table, Vec<u8>), E>>,
    ) -> Result<Self, RestoreError<E>> {
        let mut restoring = Restoring {
            ledger: Self::new(genesis),
            pendings: Dense::default(),
            sessions: Dense::default(),
            publics: 0,
            has_checkpoints: false,
            slabs: None,
        };
        for chunk in chunks {
            let (table, bytes) = chunk.map_err(RestoreError::Source)?;
            restoring.take(table, &bytes)?;
        }
        Ok(restoring.finish()?)
    }
}

impl Restoring {
    fn take(&mut self, table: Table, bytes: &[u8]) -> Result<(), Fault> {
        let decode = |source| Fault::Decode(table, source);
        let mut reader = Reader::new("snapshot chunk", bytes);
        let [part, ..] = reader.array::<4>().map_err(decode)?;
        let first = reader.u32().map_err(decode)?;
        let want = self.next(table, part)?;
        if first != want {
            return Err(Fault::Order(table, first, want));
        }
        let rest = reader.rest();
        match (table, part) {
            (Table::Accounts, _) => each(table, rest, |_, bytes| self.account(bytes)),
            (Table::Pendings, _) => each(table, rest, |_, record| {
                self.pendings.push(*record);
                Ok(())
            }),
            (Table::Sessions, _) => each(table, rest, |_, record| {
                self.sessions.push(*record);
                Ok(())
            }),
            (Table::Keys, part::PUBLIC_KEYS) => self.public_keys(rest),
            (Table::Keys, _) => each::<KeyRecord>(table, rest, |_, record| {
                let keys = &mut self.ledger.keys;
                let at = keys.records.len();
                refuse(
                    keys.find(&record.id).is_some(),
                    table,
                    at,
                    "its id is there already",
                )?;
                keys.add(*record);
                Ok(())
            }),
            (Table::Assets, _) => each::<AssetRecord>(table, rest, |_, record| {
                let assets = &mut self.ledger.assets;
                let is_known = assets.find(AssetId(record.id.get())).is_some();
                refuse(
                    is_known,
                    table,
                    assets.records.len(),
                    "its number is there already",
                )?;
                assets.add(*record);
                Ok(())
            }),
            (Table::Policies, _) if self.ledger.policies.version == 0 => {
                let accounts = self.ledger.accounts.len();
                self.ledger.policies = Policies::restore(rest, accounts).map_err(decode)?;
                Ok(())
            }
            (Table::Models, _) if self.ledger.models.is_empty() => {
                let accounts = self.ledger.accounts.len();
                self.ledger.models = Models::restore(rest, accounts).map_err(decode)?;
                Ok(())
            }
            (Table::Bonds, _) if self.ledger.bonds.is_empty() => {
                let accounts = self.ledger.accounts.len();
                self.ledger.bonds = Bonds::restore(rest, accounts).map_err(decode)?;
                Ok(())
            }
            (Table::Checkpoints, _) if !self.has_checkpoints => {
                self.ledger.checkpoints = CheckpointKeys::restore(rest).map_err(decode)?;
                self.has_checkpoints = true;
                Ok(())
            }
            (Table::Chain, _) if self.slabs.is_none() => self.chain(rest),
            _ => Err(decode(DecodeError::Value {
                what: "snapshot table",
                value: u64::from(table.code()),
            })),
        }
    }

    /// The number of the next record of a table's part.
    fn next(&self, table: Table, part: u8) -> Result<u32, Fault> {
        let ledger = &self.ledger;
        match (table, part) {
            (Table::Accounts, part::RECORDS) => Ok(ledger.accounts.len()),
            (Table::Pendings, part::RECORDS) => Ok(self.pendings.len()),
            (Table::Keys, part::RECORDS) => Ok(ledger.keys.records.len()),
            (Table::Keys, part::PUBLIC_KEYS) => Ok(self.publics),
            (Table::Assets, part::RECORDS) => Ok(ledger.assets.records.len()),
            (Table::Sessions, part::RECORDS) => Ok(self.sessions.len()),
            (
                Table::Policies | Table::Models | Table::Bonds | Table::Checkpoints | Table::Chain,
                part::RECORDS,
            ) => Ok(0),
            _ => Err(Fault::Decode(
                table,
                DecodeError::Value {
                    what: "snapshot part",
                    value: u64::from(part),
                },
            )),
        }
    }

    fn account(&mut self, bytes: &[u8; 192]) -> Result<(), Fault> {
        let (hot, cold) = bytes.split_at(96);
        let hot = AccountHot::read_from_bytes(hot).expect("half of 192 bytes");
        let cold = AccountCold::read_from_bytes(cold).expect("half of 192 bytes");
        let Ledger { accounts, keys, .. } = &mut self.ledger;
        let at = accounts.len();
        let check = |is_right: bool, what| refuse(!is_right, Table::Accounts, at, what);
        let id = AccountId(cold.id.get());
        check(accounts.find(id).is_none(), "its id is there already")?;
        check(id.is_valid(), "its id is reserved")?;
        let owner = keys.records.get(hot.owner.get());
        let is_owned = owner.is_some_and(|owner| owner.id.0 == cold.owner);
        check(is_owned, "its owner is not where it says")?;
        let is_padded = hot.reserved.get() == 0 && cold.reserved == [0; 14];
        check(is_padded, "a reserved byte is set")?;
        accounts.open(hot, &cold);
        Ok(())
    }

    fn public_keys(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let table = Table::Keys;
        let decode = |source| Fault::Decode(table, source);
        let mut reader = Reader::new("snapshot public keys", bytes);
        while reader.left() > 0 {
            let index = reader.u32().map_err(decode)?;
            let scheme = reader.u16().map_err(decode)?;
            let len = reader.u16().map_err(decode)?;
            let bytes = reader.take(usize::from(len)).map_err(decode)?;
            let public = Scheme::from_code(scheme).and_then(|scheme| PublicKey::new(scheme, bytes).ok());
            let public = public.ok_or(Fault::Record(table, index, "its public key is none"))?;
            let record = self.ledger.keys.records.get(index);
            let is_its = record.is_some_and(|record| {
                record.id == public.id() && record.registered.get() != 0 && record.scheme.get() == scheme
            });
            refuse(!is_its, table, index, "its public key is another's")?;
            self.ledger.keys.remember(index, public);
            self.publics += 1;
        }
        Ok(())
    }

    fn chain(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (chain_id, chain, slabs) =
            read_chain(bytes).map_err(|source| Fault::Decode(Table::Chain, source))?;
        if chain_id != self.ledger.rules.chain_id {
            return Err(Fault::OtherChain);
        }
        self.ledger.chain = chain;
        self.slabs = Some(slabs);
        Ok(())
    }

    fn finish(self) -> Result<Ledger, Fault> {
        let [pendings, sessions] = self.slabs.ok_or(Fault::OtherChain)?;
        self.check_accounts()?;
        self.check_assets()?;
        self.check_pendings()?;
        self.check_sessions()?;
        let mut ledger = self.ledger;
        if !self.has_checkpoints {
            // A table without records has no chunk.
            ledger.checkpoints = CheckpointKeys::default();
        }
        let slab = slab_of(self.pendings, pendings, Table::Pendings)?;
        ledger.pendings =
            Pendings::restore(slab).ok_or(Fault::Record(Table::Pendings, 0, "an id is there twice"))?;
        let slab = slab_of(self.sessions, sessions, Table::Sessions)?;
        ledger.sessions =
            Sessions::restore(slab).ok_or(Fault::Record(Table::Sessions, 0, "a pair is there twice"))?;
        let registered = ledger
            .keys
            .records
            .iter()
            .filter(|key| key.registered.get() != 0)
            .count();
        if registered != ledger.keys.publics().count() {
            return Err(Fault::Record(
                Table::Keys,
                0,
                "a registered public key is missing",
            ));
        }
        Ok(ledger)
    }

    fn check_accounts(&self) -> Result<(), Fault> {
        let ledger = &self.ledger;
        for (at, hot) in (0..).zip(ledger.accounts.iter()) {
            let asset = ledger.assets.find(AssetId(hot.asset.get()));
            refuse(asset.is_none(), Table::Accounts, at, "its asset is unknown")?;
        }
        Ok(())
    }

    fn check_assets(&self) -> Result<(), Fault> {
        for (at, record) in (0..).zip(self.ledger.assets.records.iter()) {
            let issuance = self.ledger.accounts.get(record.issuance.get());
            refuse(
                issuance.is_none(),
                Table::Assets,
                at,
                "its issuance account is unknown",
            )?;
        }
        Ok(())
    }

    fn check_pendings(&self) -> Result<(), Fault> {
        let accounts = self.ledger.accounts.len();
        let links = |from: u32, to: u32, back: &dyn Fn(&PendingRecord) -> u32| match to.checked_sub(1) {
            None => true,
            Some(slot) => self
                .pendings
                .get(slot)
                .is_some_and(|other| other.id.get() != 0 && back(other) == from + 1),
        };
        for (at, record) in (0..).zip(self.pendings.iter()) {
            if record.id.get() == 0 {
                continue;
            }
            let known = record.debit.get() < accounts && record.credit.get() < accounts;
            refuse(!known, Table::Pendings, at, "an account is unknown")?;
            let is_padded = record.hold <= HOLD_OF_PENDING && record.reserved == [0; 3];
            refuse(!is_padded, Table::Pendings, at, "a reserved byte is set")?;
            let is_linked = links(at, record.chain_next.get(), &|other| other.chain_previous.get())
                && links(at, record.chain_previous.get(), &|other| other.chain_next.get());
            refuse(!is_linked, Table::Pendings, at, "its chain is torn")?;
        }
        Ok(())
    }

    fn check_sessions(&self) -> Result<(), Fault> {
        for (at, record) in (0..).zip(self.sessions.iter()) {
            if record.account.get() == 0 {
                continue;
            }
            let index = record.account_index.get();
            let is_account = index < self.ledger.accounts.len()
                && self.ledger.accounts.id(index).0 == record.account.get();
            let key = self.ledger.keys.records.get(record.key_index.get());
            let is_known = is_account && key.is_some_and(|key| key.id == record.key);
            refuse(
                !is_known,
                Table::Sessions,
                at,
                "its account or key is not where it says",
            )?;
        }
        Ok(())
    }
}

fn refuse(is_wrong: bool, table: Table, record: u32, what: &'static str) -> Result<(), Fault> {
    if is_wrong {
        Err(Fault::Record(table, record, what))
    } else {
        Ok(())
    }
}

fn slab_of<T: super::slab::Slot>(
    slots: Dense<T>,
    (len, head, free): (u32, u32, u32),
    table: Table,
) -> Result<Slab<T>, Fault> {
    if slots.len() != len {
        return Err(Fault::Order(table, slots.len(), len));
    }
    Slab::restore(slots, head, free).ok_or(Fault::Record(table, head, "the list of free slots is torn"))
}

/// Hands each record of a chunk on.
fn each<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    table: Table,
    bytes: &[u8],
    mut take: impl FnMut(u32, &T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let records = <[T]>::ref_from_bytes(bytes).map_err(|_| {
        let extra = bytes.len() % size_of::<T>();
        Fault::Decode(
            table,
            DecodeError::Trailing {
                what: "snapshot records",
                extra,
            },
        )
    })?;
    (0..).zip(records).try_for_each(|(at, record)| take(at, record))
}

type SlabShape = (u32, u32, u32);

/// Reads what `Ledger::chain_bytes` wrote.
fn read_chain(bytes: &[u8]) -> Result<(Hash, ChainState, [SlabShape; 2]), DecodeError> {
    let mut reader = Reader::new("snapshot chain table", bytes);
    let chain_id = reader.hash()?;
    let chain = ChainState {
        height: Height(reader.u64()?),
        last_op_time: TimeNs(reader.u64()?),
        protocol_version: reader.u16()?,
        upgrade: (reader.u16()?, Height(reader.u64()?)),
        operations_applied: reader.u64()?,
    };
    let pendings = (reader.u32()?, reader.u32()?, reader.u32()?);
    let sessions = (reader.u32()?, reader.u32()?, reader.u32()?);
    reader.finish()?;
    Ok((chain_id, chain, [pendings, sessions]))
}
