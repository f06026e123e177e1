//! `data grant`, `grants`, `revoke` and `denials`: who may what, and who was turned away.

use super::SiteArguments;
use super::site::{Site, not_understood};
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{Failure, access, describe};
use selfchain_types::vault::{Access, Denial, Grant, Rights, VaultAnswer, VaultQuery, check_prefix};
use selfchain_types::{KeyId, TimeNs};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn grant(
    (key, prefix): (&str, &str),
    rights: Rights,
    expires: Option<&str>,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    if !rights.read && !rights.write {
        return Err(Failure::usage(
            "a grant of nothing",
            "say --read, --write or both",
        ));
    }
    let key = KeyId(access::parse_hash("the key's id", key)?);
    check_prefix(prefix).map_err(|error| Failure::usage("this begins no name", "").because(&error))?;
    let until_ns = match expires {
        None => TimeNs(0),
        Some(text) => TimeNs(now_ns().saturating_add(parse_span_ns(text)?)),
    };
    let query = VaultQuery::Access(Access::Grant {
        key,
        prefix,
        rights,
        until_ns,
    });
    done("cannot grant", &query, at, settings)?;
    let value = json!({
        "key": key.to_string(),
        "prefix": prefix,
        "read": rights.read,
        "write": rights.write,
        "until_ns": until_ns.0,
    });
    output.result(&describe::lines(&value), &value)
}

pub(super) fn revoke(
    key: &str,
    prefix: &str,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let key = KeyId(access::parse_hash("the key's id", key)?);
    let query = VaultQuery::Access(Access::Revoke { key, prefix });
    done("cannot revoke", &query, at, settings)?;
    let value = json!({ "key": key.to_string(), "prefix": prefix, "revoked": true });
    output.result(&describe::lines(&value), &value)
}

fn done(what: &str, query: &VaultQuery<'_>, at: &SiteArguments, settings: &Settings) -> Result<(), Failure> {
    match Site::open(at, settings)?.ask(what, query)? {
        VaultAnswer::Done => Ok(()),
        _ => Err(not_understood(what)),
    }
}

pub(super) fn grants(at: &SiteArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "cannot list grants";
    let answer = Site::open(at, settings)?.ask(what, &VaultQuery::Access(Access::Grants))?;
    let VaultAnswer::Grants(grants) = answer else {
        return Err(not_understood(what));
    };
    let now = TimeNs(now_ns());
    let value = |grant: &Grant| {
        json!({
            "key": grant.key.to_string(),
            "prefix": grant.prefix,
            "read": grant.rights.read,
            "write": grant.rights.write,
            "until_ns": grant.until_ns.0,
            "is_in_force": grant.is_in_force(now),
        })
    };
    let line = |grant: &Grant| {
        let may = match (grant.rights.read, grant.rights.write) {
            (true, true) => "read, write",
            (true, false) => "read",
            _ => "write",
        };
        let until = match grant.until_ns.0 {
            0 => "until revoked".to_owned(),
            _ if !grant.is_in_force(now) => "over".to_owned(),
            _ => format!("until {}", describe::time(grant.until_ns)),
        };
        format!("{}  `{}`  {may}  {until}\n", grant.key, grant.prefix)
    };
    let text = match grants.is_empty() {
        true => "nobody but the owner".into(),
        false => grants.iter().map(line).collect::<String>(),
    };
    let all: Vec<Value> = grants.iter().map(value).collect();
    output.result(&text, &json!({ "grants": all }))
}

pub(super) fn denials(
    rows_max: u16,
    at: &SiteArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let what = "cannot list denials";
    let query = VaultQuery::Access(Access::Denials { rows_max });
    let VaultAnswer::Denials(denials, more) = Site::open(at, settings)?.ask(what, &query)? else {
        return Err(not_understood(what));
    };
    let key = |denial: &Denial| denial.key.map(|key| key.to_string());
    let value = |denial: &Denial| {
        json!({
            "time_ns": denial.time_ns.0,
            "key": key(denial),
            "address": denial.address,
            "action": denial.action.name(),
            "name": denial.name,
            "why": denial.why.name(),
            "missed_before": denial.missed,
        })
    };
    let line = |denial: &Denial| {
        format!(
            "{}  {}  {} `{}`  {}  from {}\n",
            describe::time(denial.time_ns),
            denial.why.name(),
            denial.action.name(),
            denial.name,
            key(denial).as_deref().unwrap_or("no key"),
            denial.address,
        )
    };
    let mut text: String = denials.iter().map(line).collect();
    match (denials.is_empty(), more) {
        (true, _) => text.push_str("nobody was turned away"),
        (false, 0) => {}
        (false, more) => text.push_str(&format!("and {more} more that are not kept")),
    }
    let all: Vec<Value> = denials.iter().map(value).collect();
    output.result(&text, &json!({ "denials": all, "more": more }))
}

/// A span of time such as `90s`, `15m`, `12h` or `30d`, in ns.
fn parse_span_ns(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        let what = format!("`{text}` is no span of time");
        Failure::usage(what, "write it as 90s, 15m, 12h or 30d")
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text
        .strip_suffix(unit)
        .unwrap_or_default()
        .parse()
        .map_err(|_| wrong())?;
    let ns = count
        .checked_mul(seconds)
        .and_then(|seconds| seconds.checked_mul(1_000_000_000));
    ns.filter(|ns| *ns > 0).ok_or_else(wrong)
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_or_refused() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(parse_span_ns(text).unwrap(), seconds * 1_000_000_000, "{text}");
        }
        for text in [
            "",
            "s",
            "5",
            "0s",
            "-1s",
            "1w",
            "1.5h",
            "99999999999999d",
            "5ss",
            "ü",
        ] {
            assert!(parse_span_ns(text).is_err(), "{text}");
        }
    }
}
