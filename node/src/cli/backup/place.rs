//! Where a backup is kept and whose it is, as they are typed.

use super::super::access::{key_failure, read_key};
use super::super::settings::Settings;
use super::super::{ExitStatus, Failure};
use crate::backup::{PeerDepot, PeerDepotError, PeerPlace};
use crate::keys::{self, KeyError};
use selfchain_storage::backup::{Depot, DirectoryDepot};
use selfchain_storage::{Disk, FileDisk};
use selfchain_types::{Hash, KeyId};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a node that keeps backups is asked again before a command gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory, or a node.
pub(super) enum Place {
    Directory(PathBuf),
    Node(PeerPlace),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if !text.contains("://") {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        PeerPlace::parse(text).map(Self::Node).ok_or_else(|| {
            let next = "KEY is the node's public key in hexadecimal; `selfchain keys show` prints it there";
            Failure::usage(
                format!("a backup is kept in a directory or at node://KEY@ADDRESS:PORT, not at {text}"),
                next,
            )
        })
    }

    /// Opened to read from.
    pub(super) fn open(
        &self,
        peer_key: Option<&Path>,
        settings: &Settings,
    ) -> Result<Box<dyn Depot>, Failure> {
        match self {
            Self::Directory(path) => {
                if !path.is_dir() {
                    let what = format!("there is no directory {}", path.display());
                    return Err(Failure::usage(
                        what,
                        "name the directory that the backup was made to",
                    ));
                }
                let disk: Arc<dyn Disk> = Arc::new(FileDisk::unlocked(path));
                Ok(Box::new(DirectoryDepot::reading(disk)))
            }
            Self::Node(place) => connect(place, peer_key, settings),
        }
    }

    /// Opened to write to: a directory is made if it is not there, and held alone.
    pub(super) fn open_for_writing(
        &self,
        peer_key: Option<&Path>,
        settings: &Settings,
    ) -> Result<Box<dyn Depot>, Failure> {
        match self {
            Self::Directory(path) => {
                let failed = || {
                    let what = format!("cannot open the directory {}", path.display());
                    Failure::new(ExitStatus::Failed, what, "one command at a time can write to it")
                };
                let disk = FileDisk::open(path).map_err(|error| failed().because(&error))?;
                let depot = DirectoryDepot::open(Arc::new(disk)).map_err(|error| failed().because(&error))?;
                Ok(Box::new(depot))
            }
            Self::Node(place) => connect(place, peer_key, settings),
        }
    }
}

fn connect(
    place: &PeerPlace,
    peer_key: Option<&Path>,
    settings: &Settings,
) -> Result<Box<dyn Depot>, Failure> {
    let usual = settings.resolve()?.config.node_key_path();
    let key = read_key(peer_key.unwrap_or(&usual), settings)?;
    let what = format!("cannot use the node at {} for backups", place.address);
    let depot = PeerDepot::connect(place, &key, PATIENCE).map_err(|error| {
        let (status, next) = match &error {
            PeerDepotError::Scheme { .. } => (ExitStatus::Usage, "name an Ed25519 key with --peer-key"),
            _ => (
                ExitStatus::Unreachable,
                "see that it runs, and that address and key are its own",
            ),
        };
        Failure::new(status, what, next).because(&error)
    })?;
    Ok(Box::new(depot))
}

/// The owner's key id, and the key file where that was named.
pub(super) fn owner_of(text: &str) -> Result<(KeyId, Option<PathBuf>), Failure> {
    if let Some(id) = Hash::from_hex(text) {
        return Ok((KeyId(id), None));
    }
    let path = PathBuf::from(text);
    // The public half, which no passphrase is needed for.
    let file = keys::open(&path).map_err(|error| key_failure(&path, &error))?;
    let public = file.public().map_err(|fault| {
        let path = path.clone();
        key_failure(&path.clone(), &KeyError::Format { path, fault })
    })?;
    Ok((public.id(), Some(path)))
}

/// Where the newest backup is remembered: where that is said, or beside the owner's key, or beside the identity.
pub(super) fn known_path(
    said: Option<&Path>,
    owner: Option<&Path>,
    identity: Option<&Path>,
) -> Option<PathBuf> {
    let beside = |path: &Path| {
        let mut name = OsString::from(path);
        name.push(".known");
        PathBuf::from(name)
    };
    said.map(Path::to_owned)
        .or_else(|| owner.map(beside))
        .or_else(|| identity.map(beside))
}
