//! Training the network of proposers' quality: from a file of traces to the network's file and what it is worth.

use flate2::read::MultiGzDecoder;
use selfchain_ai::proposer::{Learnt, ProposerOptions, Traces, TracesError, TrainError, train};
use selfchain_consensus::poai::quality::{by_hand, flat};
use selfchain_types::quality::Network;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why there is no network.
#[derive(Debug, Error)]
pub enum ProposerError {
    /// The file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no file of traces.
    #[error("{path} is no file of traces")]
    Traces {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        #[source]
        source: TracesError,
    },
    /// The traces teach nothing.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// Learns from a file of traces, plain or gzip, and compares with the network that is set by hand, with one that finds
/// everybody equally good, and with `others`.
///
/// # Errors
/// [`ProposerError`].
pub fn train_proposer(
    path: &Path,
    others: Vec<(&str, Network)>,
    options: &ProposerOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Learnt, ProposerError> {
    let traces = read(path)?;
    let mut compared = vec![("by hand", by_hand()), ("all equal", flat())];
    compared.extend(others);
    Ok(train(&traces, &compared, options, progress)?)
}

fn read(path: &Path) -> Result<Traces, ProposerError> {
    let open = |source| ProposerError::Open {
        path: path.into(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(open)?);
    let is_gzip = file.fill_buf().map_err(open)?.starts_with(&GZIP);
    let traces = if is_gzip {
        Traces::read(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Traces::read(file)
    };
    traces.map_err(|source| ProposerError::Traces {
        path: path.into(),
        source,
    })
}

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
