//! The source: which files of a data directory belong into a backup, and the log of a node that runs.

use crate::client::{Client, ClientError, Subscription};
use crate::keys::{NEXT_KEY_FILE, NODE_KEY_FILE};
use crate::store::{GENESIS_FILE, RECEIPT_NODES_FILE};
use selfchain_storage::Disk;
use selfchain_storage::snapshots::{SNAPSHOTS_DIR, path_of};
use selfchain_types::Height;
use selfchain_types::backup::is_path;
use selfchain_types::seam::log::{LogError, LogReader};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Folder of models, in the data directory.
const MODELS_DIR: &str = "models";
const CONFIG_FILE: &str = "selfchain.toml";

/// Why it is not known what belongs into a backup.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The data directory cannot be read.
    #[error("cannot read {what} of the data directory")]
    Io {
        /// What.
        what: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The log begins late, and there is no snapshot to begin with.
    #[error(
        "the log begins at height {first}, and there is no snapshot of a height from {} to {last}: a backup of it could \
         not become a ledger again",
        first.saturating_sub(1)
    )]
    NoSnapshot {
        /// First height of the log.
        first: u64,
        /// The last height that a snapshot may have.
        last: u64,
    },
}

/// The files of a data directory that belong into a backup, the genesis first: configuration, models, and where the log
/// does not begin at height 1 also the oldest snapshot that fits and what goes with it. Secret keys are not among them
/// unless asked for. `lag` is how many heights later a header commits to a height's roots.
///
/// # Errors
/// [`SourceError`].
pub fn files_of(
    disk: &dyn Disk,
    first: Option<u64>,
    tip: Option<u64>,
    lag: u64,
    with_keys: bool,
) -> Result<Vec<String>, SourceError> {
    let list = |dir: &'static str| match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|source| SourceError::Io { what: dir, source }),
    };
    let root = disk.list("").map_err(|source| SourceError::Io {
        what: "the files",
        source,
    })?;
    let is_there = |name: &str| root.iter().any(|one| one == name);
    let mut files = vec![GENESIS_FILE.to_owned()];
    let mut wanted = vec![CONFIG_FILE];
    if with_keys {
        wanted.extend([NODE_KEY_FILE, NEXT_KEY_FILE]);
    }
    let is_pruned = first.is_some_and(|first| first > 1);
    if is_pruned {
        wanted.extend([RECEIPT_NODES_FILE, crate::store::HANDOVERS_FILE]);
    }
    files.extend(
        wanted
            .into_iter()
            .filter(|name| is_there(name))
            .map(str::to_owned),
    );
    let models = list(MODELS_DIR)?
        .into_iter()
        .map(|name| format!("{MODELS_DIR}/{name}"));
    files.extend(models.filter(|path| is_path(path)));
    if let (true, Some(first)) = (is_pruned, first) {
        let last = tip.unwrap_or(0).saturating_sub(lag);
        let heights = list(SNAPSHOTS_DIR)?;
        let heights = heights
            .iter()
            .filter_map(|name| name.split('.').next()?.parse::<u64>().ok());
        let fits = |height: &u64| height.saturating_add(1) >= first && *height <= last;
        let height = heights.filter(fits).min();
        let height = height.ok_or(SourceError::NoSnapshot { first, last })?;
        files.push(path_of(SNAPSHOTS_DIR, height));
    }
    Ok(files)
}

/// Models that are left out because of their names.
///
/// # Errors
/// [`SourceError`].
pub fn left_out(disk: &dyn Disk) -> Result<Vec<String>, SourceError> {
    let names = match disk.list(MODELS_DIR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|source| SourceError::Io {
            what: MODELS_DIR,
            source,
        })?,
    };
    let paths = names.into_iter().map(|name| format!("{MODELS_DIR}/{name}"));
    Ok(paths.filter(|path| !is_path(path)).collect())
}

/// The log of a node that runs, asked for over its port: rows in order come from one subscription.
pub struct LiveLog {
    client: Client,
    first: u64,
    tip: u64,
    following: Mutex<Option<(u64, Subscription)>>,
}

/// How long the next row may take to come.
const ROW_WAIT: Duration = Duration::from_secs(30);

impl LiveLog {
    /// The log as it is now; what comes later is for the next backup.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn open(client: Client) -> Result<Self, ClientError> {
        let status = client.status()?;
        Ok(Self {
            client,
            first: status.first.0,
            tip: status.tip.0,
            following: Mutex::new(None),
        })
    }
}

impl LogReader for LiveLog {
    fn first(&self) -> Option<u64> {
        Some(self.first).filter(|_| self.tip > 0)
    }

    fn tip(&self) -> Option<u64> {
        Some(self.tip).filter(|tip| *tip > 0)
    }

    fn read(&self, height: u64) -> Result<Arc<[u8]>, LogError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| LogError::Io {
            action: format!("fetch the block at height {height} from the node"),
            source: io::Error::other(source),
        };
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, subscription) = match &mut *following {
            Some(open) if open.0 == height => open,
            other => other.insert((height, self.client.subscribe(Height(height)))),
        };
        match subscription.next_within(ROW_WAIT) {
            Ok(Some(row)) => {
                *next += 1;
                Ok(row.into())
            }
            Ok(None) => Err(failed("no row came in time".into())),
            Err(error) => Err(failed(Box::new(error))),
        }
    }

    fn headroom(&self, _: u64) -> Result<(), LogError> {
        Ok(())
    }
}
