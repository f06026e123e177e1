//! Checking: whether every part of a backup is what its manifest says, and with the secret key also what is in it.

use super::age::Identity;
use super::depot::Depot;
use super::error::{BackupError, Fault};
use super::history::{History, get};
use super::part::{PART_FILE_MAX, check_file, open_part};
use selfchain_types::Height;
use selfchain_types::backup::{BackupItem, PartHolds, read_piece, read_row};
use selfchain_types::codec::Reader;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Manifests.
    pub manifests: u64,
    /// Parts.
    pub parts: u64,
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Bytes of what is in them; 0 where they could not be opened.
    pub content_bytes: u64,
}

/// Checks every part of a history against its manifest: length and hash of its file, and with `identity` also that it
/// opens and what it holds. `progress` hears the height reached.
///
/// # Errors
/// [`BackupError`], naming the piece.
pub fn check(
    depot: &dyn Depot,
    history: &History,
    identity: Option<&Identity>,
    progress: &mut dyn FnMut(Height),
) -> Result<Checked, BackupError> {
    let mut checked = Checked {
        manifests: selfchain_types::codec::wide(history.manifests().len()),
        ..Checked::default()
    };
    for (item, entry) in history.parts() {
        let file = get(depot, item, PART_FILE_MAX)?;
        match identity {
            None => check_file(item, &entry, &file)?,
            Some(identity) => {
                let content = open_part(item, &entry, identity, &file)?;
                check_content(item, entry.holds, &content)?;
                checked.content_bytes += entry.content_len;
            }
        }
        checked.parts += 1;
        checked.file_bytes += entry.len;
        if let PartHolds::Rows { last, .. } = entry.holds {
            progress(last);
        }
    }
    Ok(checked)
}

fn check_content(item: BackupItem, holds: PartHolds, content: &[u8]) -> Result<(), BackupError> {
    let failed = |error| Fault::Decode(error).of(item);
    let mut reader = Reader::new("part", content);
    match holds {
        PartHolds::Rows { first, last } => {
            let mut want = first.0;
            while reader.left() > 0 {
                let (height, _) = read_row(&mut reader).map_err(failed)?;
                if height.0 != want || want > last.0 {
                    return Err(Fault::Row { got: height.0, want }.of(item));
                }
                want = want.saturating_add(1);
            }
            if want != last.0.saturating_add(1) {
                return Err(Fault::Row { got: last.0, want }.of(item));
            }
        }
        PartHolds::Files => {
            while reader.left() > 0 {
                read_piece(&mut reader).map_err(failed)?;
            }
        }
    }
    Ok(())
}
