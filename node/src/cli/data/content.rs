//! `data put` and `data get`: content in chunks, and nothing in place before all of it is there and checked.

use super::site::{Site, not_understood};
use super::{SiteArguments, anchor, show};
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{ExitStatus, Failure, describe};
use selfchain_types::Hash;
use selfchain_types::vault::{CHUNK_BYTES_MAX, VaultAnswer, VaultQuery, Version, VersionState, check_name};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Most bytes that go to standard output: until all of them are checked they are held in memory.
const STDOUT_BYTES_MAX: u64 = 64 << 20;

pub(super) fn put(
    name: &str,
    file: Option<&Path>,
    if_version: Option<u64>,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    check_name(name).map_err(|error| Failure::usage("this is no name", "").because(&error))?;
    let mut from: Box<dyn Read> = match file.filter(|file| *file != Path::new("-")) {
        None => Box::new(io::stdin().lock()),
        Some(path) => Box::new(File::open(path).map_err(of_file("cannot read", path))?),
    };
    let mut site = Site::open(at, settings)?;
    let version = send(&mut site, name, if_version, &mut *from)?;
    let value = show::value(&version);
    output.result(&describe::lines(&value), &value)
}

/// Sends content to its end: the version that it became.
fn send(site: &mut Site, name: &str, after: Option<u64>, from: &mut dyn Read) -> Result<Version, Failure> {
    let what = format!("cannot put `{name}`");
    let mut upload = [0; 16];
    selfchain_types::crypto::fill_random(&mut upload).map_err(|error| {
        Failure::new(ExitStatus::Failed, &what, "").because(&io::Error::other(error.to_string()))
    })?;
    let upload = u128::from_le_bytes(upload);
    let (mut offset, mut chunk) = (0, read_chunk(from)?);
    loop {
        let next = read_chunk(from)?;
        let query = VaultQuery::Put {
            name,
            upload,
            after,
            offset,
            is_last: next.is_empty(),
            bytes: &chunk,
        };
        match site.ask(&what, &query)? {
            VaultAnswer::Version(version) => return Ok(version),
            VaultAnswer::Taken(have) => (offset, chunk) = (have, next),
            _ => return Err(not_understood(&what)),
        }
    }
}

fn read_chunk(from: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES_MAX));
    let len_max = u64::try_from(CHUNK_BYTES_MAX).unwrap_or(0);
    from.take(len_max)
        .read_to_end(&mut chunk)
        .map_err(|error| Failure::new(ExitStatus::Failed, "cannot read the content", "").because(&error))?;
    Ok(chunk)
}

pub(super) fn get(
    (name, number): (&str, u64),
    out: Option<&Path>,
    prove: Option<&Path>,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    if output.is_json && out.is_none() {
        return Err(Failure::usage(
            "with --json the content needs a file",
            "name one with --out",
        ));
    }
    let mut site = Site::open(at, settings)?;
    let version = written(&mut site, name, number)?;
    let proof = match prove {
        Some(_) => Some(anchor::prove(&version, at, settings)?),
        None => None,
    };
    match out {
        None => {
            let content = read_whole(&mut site, &version, STDOUT_BYTES_MAX)?;
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(&content).and_then(|()| stdout.flush());
            written.map_err(|error| {
                Failure::new(ExitStatus::Failed, "cannot write to standard output", "").because(&error)
            })?;
        }
        Some(path) => fetch(&mut site, &version, path)?,
    }
    if let (Some(path), Some(proof)) = (prove, &proof) {
        fs::write(path, format!("{proof:#}\n")).map_err(of_file("cannot write", path))?;
    }
    let Some(path) = out else { return Ok(()) };
    let mut value = show::value(&version);
    value["file"] = json!(path.display().to_string());
    output.result(&describe::lines(&value), &value)
}

/// A version that has content.
pub(super) fn written(site: &mut Site, name: &str, number: u64) -> Result<Version, Failure> {
    let what = format!("cannot read `{name}`");
    let version = site.version(&what, &VaultQuery::Look { name, number })?;
    if version.state == VersionState::Written {
        return Ok(version);
    }
    let text = format!("{what}: version {} is {}", version.number, version.state.name());
    let next = "`selfchain data history` lists its versions; name one that has content with --version";
    Err(Failure::new(ExitStatus::Refused, text, next))
}

/// All of a version's content, checked; at most `bytes_max`.
pub(super) fn read_whole(
    site: &mut Site,
    version: &Version,
    bytes_max: u64,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if version.len > bytes_max {
        let what = format!(
            "`{}` has {} bytes, and {bytes_max} fit here",
            version.name, version.len
        );
        return Err(Failure::usage(
            what,
            "write it to a file: selfchain data get NAME --out FILE",
        ));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(version.len).unwrap_or(0)));
    let mut hasher = blake3::Hasher::new();
    chunks(site, version, 0, &mut |bytes| {
        hasher.update(bytes);
        content.extend_from_slice(bytes);
        Ok(())
    })?;
    check_hash(version, &hasher)?;
    Ok(content)
}

/// Hands a version's content from a byte on to `take`, chunk by chunk.
fn chunks(
    site: &mut Site,
    version: &Version,
    from: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let what = format!("cannot read version {} of `{}`", version.number, version.name);
    let mut offset = from;
    loop {
        let query = VaultQuery::Get {
            name: &version.name,
            number: version.number,
            offset,
            len_max: u32::try_from(CHUNK_BYTES_MAX).unwrap_or(u32::MAX),
        };
        let VaultAnswer::Chunk {
            version: of,
            offset: at,
            bytes,
        } = site.ask(&what, &query)?
        else {
            return Err(not_understood(&what));
        };
        let end = offset.saturating_add(selfchain_types::codec::wide(bytes.len()));
        let is_short = bytes.is_empty() && offset < version.len;
        if of.hash != version.hash || at != offset || end > version.len || is_short {
            return Err(not_understood(&what));
        }
        take(&bytes)?;
        offset = end;
        if offset == version.len {
            return Ok(());
        }
    }
}

fn check_hash(version: &Version, hasher: &blake3::Hasher) -> Result<(), Failure> {
    let got = Hash(*hasher.finalize().as_bytes());
    if got == version.content {
        return Ok(());
    }
    let what = format!("version {} of `{}` does not hold", version.number, version.name);
    let mut failure = Failure::new(ExitStatus::Corrupt, what, "nothing of it was put in place");
    failure.causes.push(format!(
        "its content has hash {got}, its version says {}",
        version.content
    ));
    Err(failure)
}

/// Fetches a version's content into a file beside `path`, going on where an interrupted call ended, and gives it that
/// name when all of it is checked.
fn fetch(site: &mut Site, version: &Version, path: &Path) -> Result<(), Failure> {
    let part = part_path(path, version);
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&part)
        .map_err(of_file("cannot write", &part))?;
    let mut hasher = blake3::Hasher::new();
    let have = io::copy(&mut file, &mut hasher).map_err(of_file("cannot read", &part))?;
    let fetched = match have > version.len {
        true => check_hash(version, &hasher),
        false => chunks(site, version, have, &mut |bytes| {
            hasher.update(bytes);
            file.write_all(bytes).map_err(of_file("cannot write", &part))
        })
        .and_then(|()| check_hash(version, &hasher)),
    };
    match fetched {
        Ok(()) => {}
        Err(failure) if failure.status == ExitStatus::Corrupt => {
            // What is wrong must not be gone on from.
            fs::remove_file(&part).map_err(of_file("cannot remove", &part))?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    }
    file.sync_all().map_err(of_file("cannot sync", &part))?;
    fs::rename(&part, path).map_err(of_file("cannot put in place", path))
}

/// Where content is gathered: one name for each version, so that another version's is never gone on from.
fn part_path(path: &Path, version: &Version) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hash = version.hash.to_hex();
    path.with_file_name(format!(".{name}.{}.part", &hash[..16]))
}

/// Says what was being done with which file.
pub(super) fn of_file<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |error| Failure::new(ExitStatus::Failed, format!("{what} {}", path.display()), "").because(&error)
}
