//! The load: a chain whose keys and genesis follow from a seed, its set-up, and transfers signed beforehand.

use crate::cluster::among;
use selfchain_bench::load::workload::{Profile, Workload, WorkloadError, WorkloadTransfer};
use selfchain_bench::prepared::{self, PrepareProgress, PreparedError, PreparedHeader};
use selfchain_types::crypto::{Scheme, SignatureError, SigningKey};
use selfchain_types::envelope::{ATTACHMENTS_MAX, OPERATIONS_MAX};
use selfchain_types::genesis::{Limits, Plane};
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Genesis, Height, KeyId, Operation, codec,
};
use std::path::Path;
use std::sync::Arc;

/// What a load looks like; with the seed it is all that a load follows from.
#[derive(Clone, Debug)]
pub struct LoadShape {
    /// How transfers are signed.
    pub scheme: Scheme,
    /// Whether public keys are registered beforehand, and left out of the load's transactions.
    pub registered: bool,
    /// Operations in each transaction, 1 to 8,190.
    pub operations: usize,
    /// Accounts that the load touches.
    pub accounts: u64,
    /// Which of them, how often.
    pub profile: Profile,
    /// Seed of everything.
    pub seed: u64,
    /// Validators of the chain that it is for.
    pub validators: u16,
    /// How several agree.
    pub plane: Plane,
    /// Whether they sign with Ed25519 and ML-DSA-65.
    pub pq_votes: bool,
}

/// Most keys of a load: enough that no batch of signatures meets the same key often.
const KEYS_MAX: u64 = 10_000;
/// Connections that a load is dealt to.
pub const TRACKS: u64 = 4;
/// Units that each account begins with: never used up in a run.
const OPENING: u128 = 1 << 80;
/// Heights that signed transactions stay valid: a load is signed long before it is sent.
const VALIDITY: u32 = 1 << 30;
const ASSET: AssetId = AssetId(1);
const ISSUANCE: AccountId = AccountId(1 << 64);

fn validators(shape: &LoadShape) -> Result<Vec<SigningKey>, SignatureError> {
    let scheme = if shape.pq_votes {
        Scheme::Ed25519MlDsa65
    } else {
        Scheme::Ed25519
    };
    (0..u64::from(shape.validators.max(1)))
        .map(|position| SigningKey::of_scheme(scheme, &seed(shape.seed, u64::MAX - position)))
        .collect()
}

/// Makes the transactions of one load, in order.
pub struct SignedLoad {
    shape: LoadShape,
    genesis: Genesis,
    /// Never empty: the first issues the asset too.
    validators: Arc<Vec<SigningKey>>,
    keys: Arc<Vec<SigningKey>>,
}

impl SignedLoad {
    /// Derives the chain and the keys.
    ///
    /// # Errors
    /// A profile or a number of accounts that no workload has, or a scheme that this program was built without.
    pub fn new(mut shape: LoadShape) -> Result<Self, PrepareError> {
        Workload::new(shape.accounts, shape.profile, shape.seed)?;
        shape.operations = shape.operations.clamp(1, OPERATIONS_MAX);
        let validators = Arc::new(validators(&shape)?);
        let solo = Genesis {
            limits: Limits {
                validity_max: VALIDITY,
                ..Limits::default()
            },
            ..Genesis::solo("bench", shape.seed, validators[0].public().clone())
        };
        let genesis = among(solo, shape.plane, &validators);
        let groups = groups(&shape);
        let keys = rayon::iter::IntoParallelIterator::into_par_iter(0..groups);
        let keys = rayon::iter::ParallelIterator::map(keys, |group| {
            SigningKey::of_scheme(shape.scheme, &seed(shape.seed, group)).map_err(PrepareError::from)
        });
        let keys: Result<Vec<SigningKey>, PrepareError> = rayon::iter::ParallelIterator::collect(keys);
        let keys = Arc::new(keys?);
        Ok(Self {
            shape,
            genesis,
            validators,
            keys,
        })
    }

    /// Bytes of each of its transactions.
    pub fn envelope_len(&self) -> usize {
        let operation = || Operation::transfer(1, account_id(0), account_id(1), Amount(1), ASSET);
        let operations = core::iter::repeat_with(operation)
            .take(self.shape.operations)
            .collect();
        self.signed(&self.envelope(operations), 0, 1).len()
    }

    fn signed(&self, builder: &EnvelopeBuilder, group: usize, counter: u64) -> Vec<u8> {
        let signers = [(&self.keys[group], 0, counter)];
        match self.shape.registered {
            true => builder.sign_registered(&signers),
            false => builder.sign(&signers),
        }
    }

    /// The chain that it is signed for.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The validator's key, which issues the asset too.
    pub fn validator(&self) -> &SigningKey {
        &self.validators[0]
    }

    /// The keys of all validators, that one first.
    pub fn validators(&self) -> Vec<SigningKey> {
        self.validators.iter().map(SigningKey::copy).collect()
    }

    /// What it looks like.
    pub fn shape(&self) -> &LoadShape {
        &self.shape
    }

    /// Transactions that open and fund every account, and register keys where the load leaves them out. Sent first, in
    /// order, on one connection.
    pub fn setup(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let asset = vec![Operation::create_asset(
            ASSET,
            ISSUANCE,
            KeyId::NONE,
            2,
            Amount::MAX,
        )];
        let batches = (0..self.shape.accounts).step_by(SETUP_BATCH).map(|first| {
            let last = (first + codec::wide(SETUP_BATCH)).min(self.shape.accounts);
            let opened = (first..last).flat_map(|account| self.opening(account));
            self.envelope(opened.collect())
        });
        core::iter::once(self.envelope(asset))
            .chain(batches)
            .chain(
                self.registered()
                    .chunks(self.registered_at_once())
                    .map(|keys| self.registering(keys)),
            )
            .zip(1u64..)
            .map(|(builder, counter)| builder.sign(&[(self.validator(), 0, counter)]))
    }

    /// How many transactions [`SignedLoad::setup`] makes.
    pub fn setup_len(&self) -> u64 {
        let registering = self.registered().len().div_ceil(self.registered_at_once());
        1 + self.shape.accounts.div_ceil(codec::wide(SETUP_BATCH)) + codec::wide(registering)
    }

    /// The keys that are registered beforehand.
    fn registered(&self) -> &[SigningKey] {
        match self.shape.registered {
            true => &self.keys,
            false => &[],
        }
    }

    /// Keys that one transaction registers.
    fn registered_at_once(&self) -> usize {
        ATTACHMENTS_MAX / self.shape.scheme.public_len()
    }

    fn registering(&self, keys: &[SigningKey]) -> EnvelopeBuilder {
        let len = codec::narrow(self.shape.scheme.public_len());
        let scheme = self.shape.scheme.code();
        let operations = (0..)
            .zip(keys)
            .map(|(at, key)| Operation::register_key((at + 1).into(), key.id(), scheme, at * len, len));
        let mut builder = self.envelope(operations.collect());
        let publics = keys.iter().flat_map(|key| key.public().as_bytes());
        builder.attachments = publics.copied().collect();
        builder
    }

    fn opening(&self, account: u64) -> [Operation; 2] {
        let owner = self.keys[self.group_of(account)].id();
        let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
        [
            Operation::open_account(account_id(account), ASSET, owner, flags, Amount::ZERO, 0),
            Operation::transfer(1, ISSUANCE, account_id(account), Amount(OPENING), ASSET),
        ]
    }

    fn group_of(&self, account: u64) -> usize {
        usize::try_from(account % codec::wide(self.keys.len())).expect("less than a length")
    }

    fn envelope(&self, operations: Vec<Operation>) -> EnvelopeBuilder {
        EnvelopeBuilder::new(
            self.genesis.chain_id(),
            Height(1),
            u64::from(VALIDITY),
            operations,
        )
    }

    /// The operations of the load's transactions, unsigned, one batch a transaction, without end.
    ///
    /// # Errors
    /// A profile that the accounts are too few for.
    pub fn plans(&self) -> Result<impl Iterator<Item = Plan> + use<>, WorkloadError> {
        let mut workload = Workload::new(self.shape.accounts, self.shape.profile, self.shape.seed)?;
        let groups = codec::wide(self.keys.len());
        let operations = self.shape.operations;
        let (accounts, mut counters) = (self.shape.accounts, vec![0u64; self.keys.len()]);
        // The tracks take the transactions in turn. With groups a multiple of the tracks, the group that a
        // debited account belongs to says which track: so the transactions of a lane stay on one.
        let mut turn = 0;
        Ok(core::iter::from_fn(move || {
            let track = turn % TRACKS;
            turn += 1;
            let first = next_on(&mut workload, track, groups, accounts);
            let group = first.debit % groups;
            let mut transfers = vec![first];
            while transfers.len() < operations {
                let transfer = workload.next()?;
                transfers.push(in_group(transfer, group, groups, accounts));
            }
            let at = usize::try_from(group).ok()?;
            counters[at] += 1;
            Some(Plan {
                group: at,
                counter: counters[at],
                transfers,
            })
        }))
    }

    /// Signs a plan.
    pub fn sign(&self, plan: &Plan) -> Vec<u8> {
        self.signed(&self.envelope(plan.operations()), plan.group, plan.counter)
    }
}

/// A transaction of the load before it is signed.
pub struct Plan {
    group: usize,
    counter: u64,
    transfers: Vec<WorkloadTransfer>,
}

impl Plan {
    /// Its operations.
    pub fn operations(&self) -> Vec<Operation> {
        let operation = |(transfer, at): (&WorkloadTransfer, u128)| {
            let id = (u128::from(self.counter) << 64) + at + 1;
            let amount = Amount(u128::from(transfer.amount));
            Operation::transfer(
                id,
                account_id(transfer.debit),
                account_id(transfer.credit),
                amount,
                ASSET,
            )
        };
        self.transfers.iter().zip(0u128..).map(operation).collect()
    }
}

/// Opens and transfers of one set-up transaction: 2 operations an account.
const SETUP_BATCH: usize = OPERATIONS_MAX / 2;

fn account_id(account: u64) -> AccountId {
    AccountId(u128::from(account) + 1)
}

fn seed(seed: u64, number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..].copy_from_slice(b"selfchain bench!");
    bytes
}

/// One key a group of accounts: as many as there are accounts, up to the limit, and always a multiple of the
/// tracks. Large transactions are signed by few keys, each of which owns many accounts.
fn groups(shape: &LoadShape) -> u64 {
    let wanted = shape.accounts / codec::wide(shape.operations);
    (wanted.min(KEYS_MAX) / TRACKS * TRACKS).max(TRACKS)
}

/// The next transfer, its debit moved to the nearest account whose group is on `track`.
fn next_on(workload: &mut Workload, track: u64, groups: u64, accounts: u64) -> WorkloadTransfer {
    let transfer = workload.next().expect("a workload has no end");
    let group = transfer.debit % groups / TRACKS * TRACKS + track;
    in_group(transfer, group, groups, accounts)
}

/// The transfer with its debit moved to the account of `group` that is nearest below it.
fn in_group(mut transfer: WorkloadTransfer, group: u64, groups: u64, accounts: u64) -> WorkloadTransfer {
    transfer.debit = transfer.debit / groups * groups + group;
    if transfer.debit >= accounts {
        transfer.debit = group;
    }
    if transfer.credit == transfer.debit {
        transfer.credit = (transfer.credit + 1) % accounts;
    }
    transfer
}

/// Signs a load into a file: set-up first, then `transactions` of the load, on all cores.
///
/// # Errors
/// When the file cannot be written.
pub fn prepare(
    load: &SignedLoad,
    path: &Path,
    transactions: u64,
    bytes_max: u64,
    progress: impl FnMut(PrepareProgress),
) -> Result<PreparedHeader, PrepareError> {
    let header = PreparedHeader {
        scheme: load.shape.scheme.name().into(),
        registered: load.shape.registered,
        ops_per_tx: codec::wide(load.shape.operations),
        accounts: load.shape.accounts,
        profile: load.shape.profile.to_string(),
        seed: load.shape.seed,
        chain: load.genesis.chain_id().to_hex(),
        tracks: TRACKS,
        setup_records: load.setup_len(),
        ..PreparedHeader::default()
    };
    let transactions = usize::try_from(transactions).unwrap_or(usize::MAX);
    let setup = load.setup().map(Item::Ready);
    let items = setup.chain(load.plans()?.take(transactions).map(Item::Plan));
    let sign = |item| match item {
        Item::Ready(envelope) => envelope,
        Item::Plan(plan) => load.sign(&plan),
    };
    Ok(prepared::prepare(path, header, bytes_max, items, sign, progress)?)
}

enum Item {
    Ready(Vec<u8>),
    Plan(Plan),
}

/// Why a load was not prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The shape.
    #[error(transparent)]
    Shape(#[from] WorkloadError),
    /// The keys.
    #[error(transparent)]
    Scheme(#[from] SignatureError),
    /// The file.
    #[error(transparent)]
    File(#[from] PreparedError),
}
