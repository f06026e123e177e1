//! `data diff`: what changed between two versions.

use super::SiteArguments;
use super::content::{read_whole, written};
use super::site::Site;
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{Failure, describe};
use selfchain_types::vault::{VaultQuery, Version};
use serde_json::json;
use similar::TextDiff;
use std::time::Duration;

/// Most bytes of a version that is compared line by line.
const DIFF_BYTES_MAX: u64 = 16 << 20;
/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// After this time the comparison is no longer the shortest one.
const DIFF_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) fn diff(
    name: &str,
    (from, to): (Option<u64>, Option<u64>),
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let mut site = Site::open(at, settings)?;
    let newest = site.version("cannot compare", &VaultQuery::Look { name, number: 0 })?;
    let to = to.unwrap_or(newest.number);
    let from = from.unwrap_or(to.saturating_sub(1));
    if from == 0 || to == 0 {
        let next = "name two with --from and --to; `selfchain data history` lists them";
        return Err(Failure::usage("there is no version before the first", next));
    }
    let (old, new) = (written(&mut site, name, from)?, written(&mut site, name, to)?);
    let mut value = json!({
        "name": name,
        "from": { "version": old.number, "bytes": old.len, "content": old.content.to_hex() },
        "to": { "version": new.number, "bytes": new.len, "content": new.content.to_hex() },
        "is_equal": old.content == new.content,
    });
    if old.content == new.content {
        return output.result("the same content", &value);
    }
    match lines(&mut site, &old, &new)? {
        Some(lines) => {
            value["lines"] = json!(lines);
            output.result(&lines, &value)
        }
        None => output.result(&describe::lines(&value), &value),
    }
}

/// The difference line by line, where both are text and not too long.
fn lines(site: &mut Site, old: &Version, new: &Version) -> Result<Option<String>, Failure> {
    if old.len.max(new.len) > DIFF_BYTES_MAX {
        return Ok(None);
    }
    let before = read_whole(site, old, DIFF_BYTES_MAX)?;
    let after = read_whole(site, new, DIFF_BYTES_MAX)?;
    let (Ok(before), Ok(after)) = (std::str::from_utf8(&before), std::str::from_utf8(&after)) else {
        return Ok(None);
    };
    let difference = TextDiff::configure()
        .timeout(DIFF_TIME_MAX)
        .diff_lines(before, after);
    let label = |version: &Version| format!("{} version {}", version.name, version.number);
    Ok(Some(
        difference
            .unified_diff()
            .context_radius(CONTEXT_LINES)
            .header(&label(old), &label(new))
            .to_string(),
    ))
}
