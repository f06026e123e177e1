//! `data list`, `history`, `rm` and `verify`: what there is, and whether it holds.

use super::SiteArguments;
use super::site::{DAMAGED_NEXT, Site, not_understood};
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{ExitStatus, Failure, describe};
use selfchain_types::vault::{OwnerQuery, ROWS_MAX, VaultAnswer, VaultQuery, VaultStanding, Version};
use serde_json::{Value, json};

/// Damages that are said one by one.
const DAMAGES_MAX: usize = 100;

/// A version as JSON.
pub(super) fn value(version: &Version) -> Value {
    let anchored = version
        .anchored
        .map(|at| json!({ "tx_id": at.tx_id.to_hex(), "height": at.height.0 }));
    json!({
        "name": version.name,
        "version": version.number,
        "state": version.state.name(),
        "bytes": version.len,
        "content": version.content.to_hex(),
        "hash": version.hash.to_hex(),
        "previous": version.previous.to_hex(),
        "time_ns": version.time_ns.0,
        "author": version.author.to_string(),
        "anchored": anchored,
    })
}

pub(super) fn list(
    prefix: &str,
    with_removed: bool,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let mut site = Site::open(at, settings)?;
    let versions = listed(&mut site, prefix, with_removed)?;
    let rows = versions.iter().map(|version| {
        format!(
            "{:>12} bytes  version {:<5} {:<8} {}\n",
            version.len,
            version.number,
            version.state.name(),
            version.name
        )
    });
    let text = match versions.is_empty() {
        true => "no documents".into(),
        false => rows.collect::<String>(),
    };
    let all: Vec<Value> = versions.iter().map(value).collect();
    output.result(&text, &json!({ "documents": all }))
}

/// The newest versions of all documents whose names begin so.
fn listed(site: &mut Site, prefix: &str, with_removed: bool) -> Result<Vec<Version>, Failure> {
    let mut all: Vec<Version> = Vec::new();
    loop {
        let after = all.last().map(|version| version.name.clone()).unwrap_or_default();
        let query = VaultQuery::List {
            prefix,
            after: &after,
            with_removed,
            rows_max: ROWS_MAX,
        };
        let VaultAnswer::Versions(versions, has_more) = site.ask("cannot list documents", &query)? else {
            return Err(not_understood("cannot list documents"));
        };
        let is_stuck = versions.is_empty();
        all.extend(versions);
        if !has_more || is_stuck {
            return Ok(all);
        }
    }
}

pub(super) fn history(
    name: &str,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let mut site = Site::open(at, settings)?;
    let versions = versions_of(&mut site, name)?;
    let rows = versions.iter().map(|version| {
        let anchored = match version.anchored {
            None => String::new(),
            Some(at) => format!("\n      anchored in block {} by {}", at.height, at.tx_id),
        };
        format!(
            "{:>5} {:<8} {:>12} bytes  {}  by {}\n      hash {}{anchored}\n",
            version.number,
            version.state.name(),
            version.len,
            describe::time(version.time_ns),
            version.author,
            version.hash,
        )
    });
    let text: String = rows.collect();
    let all: Vec<Value> = versions.iter().map(value).collect();
    output.result(&text, &json!({ "name": name, "versions": all }))
}

/// All versions of a document.
fn versions_of(site: &mut Site, name: &str) -> Result<Vec<Version>, Failure> {
    let what = format!("cannot show the history of `{name}`");
    let mut all: Vec<Version> = Vec::new();
    loop {
        let from = all.last().map_or(1, |version| version.number + 1);
        let query = VaultQuery::History {
            name,
            from,
            rows_max: ROWS_MAX,
        };
        let VaultAnswer::Versions(versions, has_more) = site.ask(&what, &query)? else {
            return Err(not_understood(&what));
        };
        let is_stuck = versions.is_empty();
        all.extend(versions);
        if !has_more || is_stuck {
            return Ok(all);
        }
    }
}

pub(super) fn remove(
    name: &str,
    purge: bool,
    through: Option<u64>,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let what = format!("cannot remove `{name}`");
    let mut site = Site::open(at, settings)?;
    let is_whole = through.is_none();
    let look = VaultQuery::Look { name, number: 0 };
    let mut version = site.version(&what, &look)?;
    let is_there = version.state != selfchain_types::vault::VersionState::Removed;
    // One that is removed already can still be purged.
    if is_whole && (is_there || !purge) {
        let query = VaultQuery::Remove {
            name,
            purge_through: 0,
        };
        version = site.version(&what, &query)?;
    }
    let mut said = value(&version);
    if purge {
        let purge_through = through.unwrap_or(version.number);
        said = value(&site.version(&what, &VaultQuery::Remove { name, purge_through })?);
        said["purged_through"] = purge_through.into();
    }
    output.result(&describe::lines(&said), &said)
}

/// What the vault holds.
pub(super) fn standing(site: &mut Site) -> Result<VaultStanding, Failure> {
    let what = "cannot ask for the vault's root";
    match site.ask(what, &VaultQuery::Owner(OwnerQuery::Standing))? {
        VaultAnswer::Standing(standing) => Ok(standing),
        _ => Err(not_understood(what)),
    }
}

pub(super) fn verify(at: &SiteArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let mut site = Site::open(at, settings)?;
    let what = "the vault does not hold";
    site.ask(what, &VaultQuery::Owner(OwnerQuery::CheckBook))?;
    let (mut checked, mut bytes, mut damages) = (0_u64, 0_u64, Vec::new());
    for newest in listed(&mut site, "", true)? {
        for version in versions_of(&mut site, &newest.name)? {
            let (name, number) = (version.name.as_str(), version.number);
            match site.ask(what, &VaultQuery::Owner(OwnerQuery::Check { name, number })) {
                Ok(_) => bytes += version.len,
                Err(failure) if failure.status == ExitStatus::Corrupt => {
                    damages.push(format!(
                        "version {number} of `{name}`: {}",
                        failure.causes.join(": ")
                    ));
                }
                Err(failure) => return Err(failure),
            }
            checked += 1;
        }
    }
    if !damages.is_empty() {
        let text = format!("{what}: {} of {checked} versions are damaged", damages.len());
        let mut failure = Failure::new(ExitStatus::Corrupt, text, DAMAGED_NEXT);
        failure.causes = damages.into_iter().take(DAMAGES_MAX).collect();
        return Err(failure);
    }
    let standing = standing(&mut site)?;
    let anchored = standing.anchored.map(|(root, at)| {
        json!({
            "root": root.to_hex(),
            "is_current": root == standing.root,
            "tx_id": at.tx_id.to_hex(),
            "height": at.height.0,
        })
    });
    let value = json!({
        "documents": standing.names,
        "versions": checked,
        "bytes": bytes,
        "root": standing.root.to_hex(),
        "anchored": anchored,
    });
    output.result(&format!("every byte holds\n{}", describe::lines(&value)), &value)
}
