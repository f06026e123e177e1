//! `backup recipient` and `backup open`: the keys that backups are sealed to, and one part opened by hand.

use super::super::access::read_identity;
use super::super::files::write_private;
use super::super::output::Output;
use super::super::settings::Settings;
use super::super::{ExitStatus, Failure, describe};
use super::arguments::RecipientCommand;
use crate::backup::new_identity;
use selfchain_storage::backup::age::{Identity, KeyTextError, Recipient, open_file};
use selfchain_types::backup::RECIPIENTS_MAX;
use selfchain_types::keep::KEEP_FILE_MAX;
use serde_json::json;
use std::fs;
use std::path::Path;

pub(super) fn recipient(
    command: &RecipientCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let (file, identity) = match command {
        RecipientCommand::New { file } => {
            let made = new_identity(file).map_err(|error| {
                let what = format!("cannot make the identity {}", file.display());
                Failure::new(ExitStatus::Failed, what, "").because(&error)
            })?;
            (file, made)
        }
        RecipientCommand::Show { file } => (file, read_identity(file, settings)?),
    };
    show(file, &identity, output)
}

fn show(file: &Path, identity: &Identity, output: Output) -> Result<(), Failure> {
    let recipient = identity.recipient();
    let value = json!({
        "file": file.display().to_string(),
        "id": recipient.id().to_hex(),
        "recipient": recipient.text(),
    });
    output.result(&describe::lines(&value), &value)
}

/// The recipients that were named, one by one and in a file.
pub(super) fn recipients(named: &[String], file: Option<&Path>) -> Result<Vec<Recipient>, Failure> {
    let text = match file {
        None => String::new(),
        Some(path) => fs::read_to_string(path).map_err(|error| {
            let what = format!("cannot read the recipients in {}", path.display());
            Failure::usage(what, "").because(&error)
        })?,
    };
    let lines = text.lines().map(str::trim);
    let of_file = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all = named.iter().map(String::as_str).chain(of_file);
    let mut recipients: Vec<Recipient> = Vec::new();
    for text in all {
        let recipient = read_recipient(text)?;
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    match recipients.len() {
        0 => Err(Failure::usage(
            "a backup is sealed to at least one recipient",
            "make one with `selfchain backup recipient new FILE`",
        )),
        count if count > RECIPIENTS_MAX => Err(Failure::usage(
            format!("{count} recipients are more than the {RECIPIENTS_MAX} that a backup is sealed to"),
            "",
        )),
        _ => Ok(recipients),
    }
}

/// Reads `age1pq1…`.
pub(in super::super) fn read_recipient(text: &str) -> Result<Recipient, Failure> {
    Recipient::parse(text).map_err(|error| {
        let next = match error {
            KeyTextError::Kind { is_age: true, .. } => {
                "other keys of age could be broken by a quantum computer: use `selfchain backup recipient new FILE`"
            }
            _ => "`selfchain backup recipient show FILE` prints one",
        };
        let shown: String = text.chars().take(24).collect();
        Failure::usage(format!("`{shown}…` is no recipient"), next).because(&error)
    })
}

pub(super) fn open(file: &Path, identity: &Identity, out: &Path, output: Output) -> Result<(), Failure> {
    let what = || format!("cannot open {}", file.display());
    let failed = |error: &dyn std::error::Error| Failure::new(ExitStatus::Failed, what(), error.to_string());
    let len = fs::metadata(file).map_err(|error| failed(&error))?.len();
    if len > KEEP_FILE_MAX {
        let next = format!("it has {len} bytes, a part has at most {KEEP_FILE_MAX}");
        return Err(Failure::usage(what(), next));
    }
    let bytes = fs::read(file).map_err(|error| failed(&error))?;
    let plain = open_file(identity, &bytes, KEEP_FILE_MAX)
        .map_err(|error| Failure::new(ExitStatus::Corrupt, what(), "").because(&error))?;
    write_private(out, &plain)?;
    let value = json!({
        "out": out.display().to_string(),
        "bytes": plain.len(),
        "plain_blake3": blake3::hash(&plain).to_hex().to_string(),
    });
    output.result(&describe::lines(&value), &value)
}
