//! `backup`: makes, lists, checks and restores backups, in a directory or at a node that keeps them.

mod arguments;
mod place;
mod recipient;

pub(super) use arguments::BackupCommand;
pub(super) use recipient::read_recipient;

use super::access::{connect, read_identity, read_key};
use super::arguments::NodeArguments;
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::backup::{
    Known, KnownFile, LiveLog, RestoreError, RestoreOptions, files_of, left_out, restore, tip_of,
};
use crate::config::Config;
use crate::store::{StoreError, read_genesis};
use arguments::{CreateArguments, FromArguments, RestoreArguments};
use place::{Place, known_path, owner_of};
use selfchain_storage::backup::{
    BackupError, CreateOptions, Created, Depot, History, PART_BYTES, Source, check, create, prune,
};
use selfchain_storage::{Disk, FileDisk, SegmentLog, StorageMetrics};
use selfchain_types::TimeNs;
use selfchain_types::backup::{Manifest, PartHolds};
use selfchain_types::seam::log::{Log as _, LogError, LogReader};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn backup(command: BackupCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        BackupCommand::Create(arguments) => make(&arguments, settings, output),
        BackupCommand::List(from) => list(&from, settings, output),
        BackupCommand::Verify { from, identity } => verify(&from, identity.as_deref(), settings, output),
        BackupCommand::Restore(arguments) => restore_into(&arguments, settings, output),
        BackupCommand::Prune(from) => prune_from(&from, settings, output),
        BackupCommand::Open { file, identity, out } => {
            let identity = read_identity(&identity, settings)?;
            recipient::open(&file, &identity, &out, output)
        }
        BackupCommand::Recipient(command) => recipient::recipient(&command, settings, output),
    }
}

fn make(arguments: &CreateArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "cannot make the backup";
    let config = settings.resolve()?.config;
    let key = read_key(&arguments.key, settings)?;
    let recipients = recipient::recipients(&arguments.recipient, arguments.recipients.as_deref())?;
    let place = Place::parse(&arguments.to)?;
    let depot = place.open_for_writing(arguments.peer_key.as_deref(), settings)?;
    let ledger = Ledger::open(&config, &arguments.node, settings)?;
    let genesis = read_genesis(&*ledger.disk).map_err(|error| of_store(what, &error))?;
    let lag = genesis.plane.root_lag();
    let (first, tip) = (ledger.log.first(), ledger.log.tip());
    let files = files_of(&*ledger.disk, first, tip, lag, arguments.with_keys)
        .map_err(|error| Failure::new(ExitStatus::Failed, what, "").because(&error))?;
    let left_out = left_out(&*ledger.disk)
        .map_err(|error| Failure::new(ExitStatus::Failed, what, "").because(&error))?;
    let source = Source {
        chain_id: genesis.chain_id(),
        log: &*ledger.log,
        disk: &*ledger.disk,
        files,
        tip_of: &|height, row| tip_of(lag, height, row),
    };
    let options = CreateOptions {
        key: &key,
        recipients: &recipients,
        created: now(),
        threads: arguments.threads.map_or_else(cores, std::num::NonZeroUsize::get),
        part_bytes: PART_BYTES,
        is_full: arguments.full,
    };
    let bar = bar("backing up", output.is_json);
    bar.set_length(tip.unwrap_or(0));
    let created = create(&*depot, &source, &options, &mut |height| {
        bar.set_position(height.0)
    });
    bar.finish_and_clear();
    let created = created.map_err(|error| of_backup(what, &error))?;
    let known_at = known_path(arguments.known.as_deref(), Some(&arguments.key), None);
    if let (Some(newest), Some(path)) = (&created.newest, &known_at) {
        remember(path, newest)?;
    }
    let value = created_value(&created, ledger.is_live, &left_out, known_at.as_deref());
    output.result(&describe::lines(&value), &value)
}

fn created_value(created: &Created, is_live: bool, left_out: &[String], known: Option<&Path>) -> Value {
    let newest = created.newest.as_ref();
    json!({
        "height": newest.map_or(0, |newest| newest.body().reach.last.0),
        "sequence": newest.map_or(0, |newest| newest.body().sequence),
        "manifest": newest.map(|newest| newest.hash().to_hex()),
        "manifests_added": created.manifests,
        "parts_added": created.parts,
        "rows_added": created.rows,
        "content_bytes": created.content_bytes,
        "file_bytes": created.file_bytes,
        "began_anew": created.began_anew,
        "from_running_node": is_live,
        "left_out": left_out,
        "known": known.map(|path| path.display().to_string()),
    })
}

/// The ledger to back up: the data directory of a stopped node, or a node that runs and the files beside it.
struct Ledger {
    disk: Arc<dyn Disk>,
    log: Arc<dyn LogReader>,
    /// Held open while it is read.
    _stopped: Option<SegmentLog>,
    is_live: bool,
}

impl Ledger {
    fn open(config: &Config, node: &NodeArguments, settings: &Settings) -> Result<Self, Failure> {
        let what = "cannot back up";
        let dir = &config.data_dir;
        if !dir.is_dir() {
            let what = format!("{what}: there is no directory {}", dir.display());
            return Err(Failure::usage(what, "name the directory with --data"));
        }
        match FileDisk::open(dir) {
            Ok(disk) => {
                let disk: Arc<dyn Disk> = Arc::new(disk);
                let metrics = Arc::new(StorageMetrics::default());
                let log = SegmentLog::open(Arc::clone(&disk), config.store_config().log, metrics)
                    .map_err(|error| of_store(what, &StoreError::Log(error)))?;
                Ok(Self {
                    disk,
                    log: log.reader(),
                    _stopped: Some(log),
                    is_live: false,
                })
            }
            // The node that holds it gives its log out over its port; its files change only by growing.
            Err(LogError::Locked { .. }) => {
                let client = connect(node, settings)?;
                let log = LiveLog::open(client)
                    .map_err(|error| Failure::of_client("cannot follow the running node", &error))?;
                Ok(Self {
                    disk: Arc::new(FileDisk::unlocked(dir)),
                    log: Arc::new(log),
                    _stopped: None,
                    is_live: true,
                })
            }
            Err(error) => Err(of_store(what, &StoreError::Log(error))),
        }
    }
}

/// Where a backup is, and whose it is, opened for reading.
struct Opened {
    depot: Box<dyn Depot>,
    history: History,
    known_at: Option<PathBuf>,
}

fn open(
    what: &str,
    from: &FromArguments,
    identity: Option<&Path>,
    settings: &Settings,
) -> Result<Opened, Failure> {
    let (owner, owner_file) = owner_of(&from.owner)?;
    let depot = Place::parse(&from.from)?.open(from.peer_key.as_deref(), settings)?;
    let history = History::read(&*depot, &owner).map_err(|error| of_backup(what, &error))?;
    let known_at = known_path(from.known.as_deref(), owner_file.as_deref(), identity);
    if let Some(path) = &known_at {
        refuse_older(what, path, history.newest(), from.accept_older)?;
    }
    Ok(Opened {
        depot,
        history,
        known_at,
    })
}

fn found(manifest: &Manifest) -> Known {
    Known {
        height: manifest.body().reach.last,
        manifest: manifest.hash(),
    }
}

fn refuse_older(what: &str, path: &Path, newest: &Manifest, accept_older: bool) -> Result<(), Failure> {
    let known =
        KnownFile::read(path).map_err(|error| Failure::new(ExitStatus::Failed, what, "").because(&error))?;
    match known.check(&newest.body().chain_id, found(newest)) {
        Err(error) if !accept_older => {
            let next = "find the newer one; to take this one all the same, add --accept-older";
            Err(Failure::new(ExitStatus::Corrupt, what, next).because(&error))
        }
        _ => Ok(()),
    }
}

fn remember(path: &Path, newest: &Manifest) -> Result<(), Failure> {
    KnownFile::read(path)
        .and_then(|mut known| known.remember(&newest.body().chain_id, found(newest)))
        .map_err(|error| {
            let what = "the backup is made, and could not be remembered";
            Failure::new(ExitStatus::Failed, what, "").because(&error)
        })
}

fn list(from: &FromArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let opened = open("cannot list the backup", from, None, settings)?;
    let manifests: Vec<Value> = opened.history.manifests().iter().map(manifest_value).collect();
    let newest = opened.history.newest().body();
    let value = json!({
        "chain_id": newest.chain_id.to_hex(),
        "height": newest.reach.last.0,
        "files": newest.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(),
        "manifests": manifests,
    });
    let lines = manifests.iter().map(|one| {
        format!(
            "{:>6}  heights {} to {}  {} parts, {} bytes  {}",
            one["sequence"],
            one["from"],
            one["to"],
            one["parts"].as_array().map_or(0, Vec::len),
            one["file_bytes"],
            one["created_ns"],
        )
    });
    let text = format!(
        "chain {} up to height {}\n{}",
        newest.chain_id,
        newest.reach.last,
        lines.collect::<Vec<_>>().join("\n")
    );
    output.result(&text, &value)
}

fn manifest_value(manifest: &Manifest) -> Value {
    let body = manifest.body();
    let heights = body.parts.iter().filter_map(|part| match part.holds {
        PartHolds::Rows { first, last } => Some((first.0, last.0)),
        PartHolds::Files => None,
    });
    let heights: Vec<(u64, u64)> = heights.collect();
    let parts = (0_u32..).zip(&body.parts).map(|(number, part)| {
        let item = selfchain_types::backup::BackupItem::Part {
            sequence: body.sequence,
            number,
        };
        json!({
            "file": item.file_name(),
            "bytes": part.len,
            "blake3": part.hash.to_hex(),
            "plain_blake3": part.plain_hash.to_hex(),
            "content_bytes": part.content_len,
        })
    });
    json!({
        "sequence": body.sequence,
        "base": body.base,
        "manifest": manifest.hash().to_hex(),
        "created_ns": body.created.0,
        "signer": manifest.signer().id().to_string(),
        "scheme": manifest.signer().scheme().name(),
        "from": heights.first().map_or(0, |(first, _)| *first),
        "to": heights.last().map_or(0, |(_, last)| *last),
        "reaches": body.reach.last.0,
        "block": body.reach.block.to_hex(),
        "state_root": body.reach.state_root.to_hex(),
        "state_height": body.reach.state_height.0,
        "recipients": body.recipients.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
        "file_bytes": body.parts.iter().map(|part| part.len).sum::<u64>(),
        "parts": parts.collect::<Vec<_>>(),
    })
}

fn verify(
    from: &FromArguments,
    identity: Option<&Path>,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let what = "the backup does not hold";
    let opened = open(what, from, identity, settings)?;
    let secret = identity.map(|path| read_identity(path, settings)).transpose()?;
    let newest = opened.history.newest();
    let bar = bar("checking", output.is_json);
    bar.set_length(newest.body().reach.last.0);
    let checked = check(&*opened.depot, &opened.history, secret.as_ref(), &mut |height| {
        bar.set_position(height.0);
    });
    bar.finish_and_clear();
    let checked = checked.map_err(|error| of_backup(what, &error))?;
    if let Some(path) = &opened.known_at {
        remember(path, newest)?;
    }
    let value = json!({
        "ok": true,
        "chain_id": newest.body().chain_id.to_hex(),
        "height": newest.body().reach.last.0,
        "sequence": newest.body().sequence,
        "manifests": checked.manifests,
        "parts": checked.parts,
        "file_bytes": checked.file_bytes,
        "opened": secret.is_some(),
        "content_bytes": checked.content_bytes,
    });
    let headline = match secret {
        Some(_) => "every manifest is signed, every part is whole, opens and holds what it should",
        None => {
            "every manifest is signed and every part is whole; with --identity, what is in them is checked too"
        }
    };
    output.result(&format!("{headline}\n{}", describe::lines(&value)), &value)
}

fn restore_into(arguments: &RestoreArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "nothing was restored";
    let opened = open(what, &arguments.from, Some(&arguments.identity), settings)?;
    let identity = read_identity(&arguments.identity, settings)?;
    let newest = opened.history.newest();
    let options = RestoreOptions {
        identity: &identity,
        log: Config::default().store_config().log,
        others_are_lost: arguments.others_are_lost,
    };
    let bar = bar("restoring", output.is_json);
    bar.set_length(newest.body().reach.last.0);
    let began = std::time::Instant::now();
    let mut filled_s = 0.0;
    let restored = restore(
        &*opened.depot,
        &opened.history,
        &arguments.into,
        &options,
        &mut |height| bar.set_position(height.0),
        &mut |height, _| {
            if filled_s == 0.0 {
                filled_s = began.elapsed().as_secs_f64();
            }
            bar.set_position(height.0);
        },
    );
    bar.finish_and_clear();
    let report = restored.map_err(|error| of_restore(what, &error))?;
    if let Some(path) = &opened.known_at {
        remember(path, newest)?;
    }
    let value = json!({
        "ok": true,
        "data_dir": arguments.into.display().to_string(),
        "chain_id": report.verified.chain_id.to_hex(),
        "height": report.verified.height.0,
        "state_root": report.verified.state_root.to_hex(),
        "transfers": report.verified.transfers,
        "resumed_at": report.restored.resumed_at.0,
        "rows": report.restored.rows,
        "file_bytes": report.restored.file_bytes,
        "content_bytes": report.restored.content_bytes,
        "filled_s": filled_s,
        "checked_s": began.elapsed().as_secs_f64() - filled_s,
        "is_quiet": report.is_quiet,
    });
    let quiet = match report.is_quiet {
        true => {
            "\nas a validator it says nothing until the others are past what it may have signed after the backup"
        }
        false => "",
    };
    let text = format!(
        "every hash, root and total holds; the ledger is in {}{quiet}\nput the node's key there before it runs: {}\n{}",
        arguments.into.display(),
        arguments.into.join(crate::keys::NODE_KEY_FILE).display(),
        describe::lines(&value)
    );
    output.result(&text, &value)
}

fn prune_from(from: &FromArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "nothing was removed";
    let (owner, owner_file) = owner_of(&from.owner)?;
    let place = Place::parse(&from.from)?;
    let depot = place.open_for_writing(from.peer_key.as_deref(), settings)?;
    let history = History::read(&*depot, &owner).map_err(|error| of_backup(what, &error))?;
    let known_at = known_path(from.known.as_deref(), owner_file.as_deref(), None);
    if let Some(path) = &known_at {
        refuse_older(what, path, history.newest(), from.accept_older)?;
    }
    let removed = prune(&*depot, &history).map_err(|error| of_backup(what, &error))?;
    let value = json!({ "removed": removed, "base": history.newest().body().base });
    output.result(&describe::lines(&value), &value)
}

fn now() -> TimeNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeNs(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

fn of_backup(what: &str, error: &BackupError) -> Failure {
    let (status, next) = match error {
        BackupError::Piece { .. } | BackupError::File { .. } | BackupError::Incomplete { .. } => (
            ExitStatus::Corrupt,
            "restore that file from another copy of the backup, or use another backup",
        ),
        BackupError::Depot(_) => (
            ExitStatus::Failed,
            "the same command goes on where this one ended",
        ),
        BackupError::Empty => (ExitStatus::Failed, "make one with `selfchain backup create`"),
        _ => (ExitStatus::Failed, ""),
    };
    Failure::new(status, what, next).because(error)
}

fn of_store(what: &str, error: &StoreError) -> Failure {
    super::init::of_store(what.into(), error)
}

fn of_restore(what: &str, error: &RestoreError) -> Failure {
    match error {
        RestoreError::Backup(error) => of_backup(what, error),
        RestoreError::Verify(_) | RestoreError::End { .. } | RestoreError::Genesis { .. } => {
            Failure::new(ExitStatus::Corrupt, what, "use another backup").because(error)
        }
        RestoreError::Taken { .. } => {
            Failure::usage(what, "name a directory that is empty or not there").because(error)
        }
        _ => Failure::new(ExitStatus::Failed, what, "").because(error),
    }
}
