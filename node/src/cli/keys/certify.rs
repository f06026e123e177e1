//! `keys certify`, `rotate` and `revoke`: certificates of an identity, made offline, and sent if wanted.

use crate::cli::access::{self, asked, key_failure, parse_hash};
use crate::cli::account::commit_among;
use crate::cli::arguments::NodeArguments;
use crate::cli::files::{read_bounded, write_new};
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{ExitStatus, Failure, describe};
use crate::keys;
use clap::{Args, ValueEnum};
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::identity::{
    HotKeys, IDENTITY_FILE_BYTES_MAX, IDENTITY_MAGIC, IdentityBody, IdentityCertificate, KEM_KEY_BYTES, Roles,
};
use selfchain_types::message::Detail;
use selfchain_types::{Envelope, EnvelopeBuilder, Genesis, Hash, Height, KeyId, Operation};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The lane of root and hot keys that certificates use up counters of: one that no program of the node uses.
const LANE: u32 = 15;
/// How long a certificate counts unless said otherwise, in heights.
const HEIGHTS: u64 = 1 << 40;

/// The keys that a certificate lists.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// The key file that signs consensus; of a validator its node's key.
    #[arg(long, value_name = "FILE")]
    consensus: Option<PathBuf>,
    /// The key file that proves the node in handshakes; of a node its node's key.
    #[arg(long, value_name = "FILE")]
    transport: Option<PathBuf>,
    /// The key that others seal to: a key file, or a file with its 1,216 public bytes.
    #[arg(long, value_name = "FILE")]
    kem: Option<PathBuf>,
    /// Another key file that signs; up to four.
    #[arg(long = "other", value_name = "FILE")]
    others: Vec<PathBuf>,
    /// What the node does.
    #[arg(long = "role", value_enum)]
    roles: Vec<RoleArgument>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArgument {
    /// Signs consensus.
    Validator,
    /// Keeps data for others.
    Storage,
    /// Takes transactions in for others.
    Gateway,
}

/// What all certificates have.
#[derive(Debug, Args)]
pub(super) struct CommonArguments {
    /// The key file of the root.
    root: PathBuf,
    /// Where the certificate goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// First height at which it counts.
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    not_before: u64,
    /// Last height at which it counts.
    #[arg(long, value_name = "HEIGHT", default_value_t = HEIGHTS)]
    not_after: u64,
    /// Its number [default: one more than that of the certificate before].
    #[arg(long)]
    serial: Option<u64>,
    /// Send it to the ledger.
    #[arg(long, conflicts_with = "transaction")]
    submit: bool,
    /// Write the signed transaction there, to be sent from another machine with `keys submit`.
    #[arg(long, value_name = "FILE", requires = "chain")]
    transaction: Option<PathBuf>,
    /// The chain's id, 64 hexadecimal characters; `selfchain run` and `init` print it.
    #[arg(long, value_name = "HEX")]
    chain: Option<String>,
    /// First height whose block may hold the transaction.
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    valid_from: u64,
    /// Heights for which the transaction is valid.
    #[arg(long, value_name = "HEIGHTS", default_value_t = 4_096)]
    valid_for: u64,
    /// How many transactions the root has signed on lane 15, this one among them [default: the serial].
    #[arg(long)]
    counter: Option<u64>,
    #[command(flatten)]
    node: NodeArguments,
}

/// `certify`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CertifyArguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    keys: KeyArguments,
    /// The certificate before, if there is one; what is not named here is then left out.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Last height at which keys count that only the certificate before lists.
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    overlap: u64,
}

/// `rotate`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    keys: KeyArguments,
    /// The certificate before: what is not named here is taken over.
    #[arg(long, value_name = "FILE")]
    previous: PathBuf,
    /// Last height at which the keys that go count; 0: of a key that was stolen, to the end of the block.
    #[arg(long, value_name = "HEIGHT")]
    overlap: u64,
}

/// `revoke`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArguments {
    #[command(flatten)]
    common: CommonArguments,
    /// The certificate before.
    #[arg(long, value_name = "FILE")]
    previous: PathBuf,
}

/// `submit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitArguments {
    /// The transaction's file.
    file: PathBuf,
    #[command(flatten)]
    node: NodeArguments,
}

/// Which certificate is made.
pub(super) enum IdentityChange {
    Certify(CertifyArguments),
    Rotate(RotateArguments),
    Revoke(RevokeArguments),
}

impl IdentityChange {
    fn common(&self) -> &CommonArguments {
        match self {
            Self::Certify(arguments) => &arguments.common,
            Self::Rotate(arguments) => &arguments.common,
            Self::Revoke(arguments) => &arguments.common,
        }
    }

    fn previous(&self) -> Option<&Path> {
        match self {
            Self::Certify(arguments) => arguments.previous.as_deref(),
            Self::Rotate(arguments) => Some(&arguments.previous),
            Self::Revoke(arguments) => Some(&arguments.previous),
        }
    }

    fn overlap(&self) -> u64 {
        match self {
            Self::Certify(arguments) => arguments.overlap,
            Self::Rotate(arguments) => arguments.overlap,
            Self::Revoke(_) => 0,
        }
    }
}

/// Keys that were read, each once: those of whoever has to sign.
#[derive(Default)]
struct Hot {
    keys: Vec<SigningKey>,
}

impl Hot {
    fn read(&mut self, path: &Path, settings: &Settings) -> Result<PublicKey, Failure> {
        let key = access::read_key(path, settings)?;
        let public = key.public().clone();
        if self.keys.iter().all(|one| one.id() != key.id()) {
            self.keys.push(key);
        }
        Ok(public)
    }
}

pub(super) fn certify(change: &IdentityChange, settings: &Settings, output: Output) -> Result<(), Failure> {
    let common = change.common();
    let previous = change.previous().map(read_certificate).transpose()?;
    let root = access::read_key(&common.root, settings)?;
    let mut hot = Hot::default();
    let (keys, roles) = match change {
        IdentityChange::Certify(arguments) => of_arguments(&arguments.keys, None, &mut hot, settings)?,
        IdentityChange::Rotate(arguments) => {
            let before = previous.as_ref().map(IdentityCertificate::body);
            of_arguments(&arguments.keys, before, &mut hot, settings)?
        }
        IdentityChange::Revoke(_) => (HotKeys::default(), Roles::default()),
    };
    if keys.is_empty() && !matches!(change, IdentityChange::Revoke(_)) {
        let next = "name them with --consensus, --transport, --kem or --other";
        return Err(Failure::usage(
            "a certificate without keys would revoke the identity",
            next,
        ));
    }
    let before = previous.as_ref().map(|one| (one.hash(), one.body().serial));
    let serial = common
        .serial
        .unwrap_or(before.map_or(0, |(_, serial)| serial).saturating_add(1));
    let body = IdentityBody {
        root: root.public().clone(),
        serial,
        previous: before.map_or(Hash::ZERO, |(hash, _)| hash),
        not_before: Height(common.not_before),
        not_after: Height(common.not_after),
        overlap: Height(change.overlap()),
        roles,
        keys,
    };
    let wrong = |error: &selfchain_types::identity::IdentityError| {
        Failure::usage("these keys cannot be certified so", "").because(error)
    };
    if let Some(previous) = &previous {
        if previous.body().root != body.root {
            return Err(wrong(&selfchain_types::identity::IdentityError::OtherRoot));
        }
        body.check_after(&previous.hash(), previous.body().serial)
            .map_err(|error| wrong(&error))?;
    }
    let certificate = IdentityCertificate::sign(body, &root).map_err(|error| wrong(&error))?;
    // What signs is what is new: the certificate before vouches for the rest.
    let is_new = |key: &KeyId| {
        let listed = previous.iter().flat_map(|one| one.body().keys.signing());
        listed.into_iter().all(|(_, known)| known.id() != *key)
    };
    hot.keys.retain(|key| is_new(&key.id()));
    write_new(&common.out, &certificate.encode())?;
    let mut value = super::show::of_certificate(&common.out, &certificate);
    if let Some(path) = &common.transaction {
        let bytes = sign_offline(common, &certificate, &root, &hot.keys)?;
        write_new(path, &bytes)?;
        value["transaction"] = path.display().to_string().into();
    }
    if !common.submit {
        return output.result(&describe::lines(&value), &value);
    }
    let client = access::connect(&common.node, settings)?;
    let signer = client
        .signer(root, LANE)
        .map_err(asked("cannot ask for the root's counters"))?;
    let said = operation(&certificate);
    commit_among("cannot certify", &signer, &hot.keys, said, value, output)
}

fn operation(certificate: &IdentityCertificate) -> (Vec<Operation>, Vec<u8>) {
    let bytes = certificate.body_bytes().to_vec();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let certify = Operation::certify(1, certificate.body().node(), (0, len));
    (vec![certify], bytes)
}

/// The keys that arguments name; with a certificate before, the others as there.
fn of_arguments(
    arguments: &KeyArguments,
    before: Option<&IdentityBody>,
    hot: &mut Hot,
    settings: &Settings,
) -> Result<(HotKeys, Roles), Failure> {
    let mut keys = before.map(|body| body.keys.clone()).unwrap_or_default();
    let mut roles = before.map(|body| body.roles).unwrap_or_default();
    if let Some(path) = &arguments.consensus {
        keys.consensus = Some(hot.read(path, settings)?);
    }
    if let Some(path) = &arguments.transport {
        keys.transport = Some(hot.read(path, settings)?);
    }
    if let Some(path) = &arguments.kem {
        keys.kem = Some(read_kem(path)?);
    }
    if !arguments.others.is_empty() {
        let read = arguments.others.iter().map(|path| hot.read(path, settings));
        keys.others = read.collect::<Result<_, _>>()?;
        keys.others.sort_by_key(PublicKey::id);
    }
    if !arguments.roles.is_empty() {
        roles = arguments.roles.iter().fold(Roles::default(), |roles, role| {
            roles.with(match role {
                RoleArgument::Validator => Roles::VALIDATOR,
                RoleArgument::Storage => Roles::STORAGE,
                RoleArgument::Gateway => Roles::GATEWAY,
            })
        });
    }
    Ok((keys, roles))
}

/// A key file of such a key, or its public bytes alone.
fn read_kem(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_bounded(path, 16_384)?;
    if bytes.len() == KEM_KEY_BYTES {
        return Ok(bytes.to_vec());
    }
    let file = keys::open(path).map_err(|error| key_failure(path, &error))?;
    file.kem().map(Vec::from).ok_or_else(|| {
        let what = format!("{} holds a key that signs, not one to seal to", path.display());
        Failure::usage(what, "")
    })
}

/// The transaction, for a chain that cannot be asked.
fn sign_offline(
    common: &CommonArguments,
    certificate: &IdentityCertificate,
    root: &SigningKey,
    hot: &[SigningKey],
) -> Result<Vec<u8>, Failure> {
    let chain = parse_hash("--chain", common.chain.as_deref().unwrap_or_default())?;
    let (operations, attachments) = operation(certificate);
    let from = Height(common.valid_from);
    let mut builder = EnvelopeBuilder::new(chain, from, common.valid_for, operations);
    builder.attachments = attachments;
    let counter = common.counter.unwrap_or(certificate.body().serial);
    let mut signers = vec![(root, LANE, counter)];
    // A key that is new has signed nothing on this lane.
    signers.extend(hot.iter().map(|key| (key, LANE, 1)));
    Ok(builder.sign(&signers))
}

pub(super) fn submit(
    arguments: &SubmitArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let path = &arguments.file;
    let bytes = read_bounded(path, selfchain_types::envelope::ENVELOPE_BYTES_MAX)?;
    let envelope = Envelope::decode(bytes.to_vec()).map_err(|refusal| {
        let what = format!("{} is no transaction: {refusal}", path.display());
        Failure::new(ExitStatus::Corrupt, what, "copy it once more")
    })?;
    let client = access::connect(&arguments.node, settings)?;
    let genesis: Genesis = client.genesis().map_err(asked("cannot ask which chain it is"))?;
    if envelope.view().header().chain_id != genesis.chain_id() {
        let what = "the transaction is for another chain";
        return Err(Failure::usage(what, "sign it again with the --chain of this one"));
    }
    let what = "cannot submit the transaction";
    let tx_id = envelope.tx_id();
    let ticket = client
        .submit(envelope.as_bytes(), Detail::Refusals)
        .map_err(asked(what))?;
    let committed = ticket.wait().map_err(asked(what))?;
    describe::all_applied(what, &committed, 0)?;
    let value = describe::committed(tx_id, &committed);
    output.result(&describe::lines(&value), &value)
}

/// Whether a file begins as a certificate does.
pub(super) fn is_certificate(path: &Path) -> bool {
    let mut magic = [0; IDENTITY_MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == IDENTITY_MAGIC
}

/// A certificate whose root's signature holds.
pub(super) fn read_certificate(path: &Path) -> Result<IdentityCertificate, Failure> {
    let bytes = read_bounded(path, IDENTITY_FILE_BYTES_MAX)?;
    IdentityCertificate::decode(&bytes).map_err(|error| {
        let what = format!("{} is no certificate that counts", path.display());
        Failure::new(
            ExitStatus::Corrupt,
            what,
            "restore the file from where it was made",
        )
        .because(&error)
    })
}
