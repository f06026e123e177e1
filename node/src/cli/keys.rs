//! `keys`: makes key files and shows their public half.

use super::access::read_key;
use super::arguments::KeysCommand;
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::keys;
use selfchain_types::crypto::SigningKey;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn keys(command: KeysCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    let value = match command {
        KeysCommand::New { file, scheme } => {
            let key = keys::create(&file, scheme.into()).map_err(|error| {
                Failure::new(
                    ExitStatus::Failed,
                    format!("cannot make the key {}", file.display()),
                    "",
                )
                .because(&error)
            })?;
            public(&file, &key)
        }
        KeysCommand::Show { file } => {
            let file = match file {
                Some(file) => file,
                None => settings.resolve()?.config.node_key_path(),
            };
            public(&file, &read_key(&file)?)
        }
    };
    output.result(&describe::lines(&value), &value)
}

fn public(file: &Path, key: &SigningKey) -> Value {
    json!({
        "file": file.display().to_string(),
        "scheme": key.public().scheme().name(),
        "key_id": key.id().to_string(),
        "public": keys::hex(key.public().as_bytes()).as_str(),
    })
}
