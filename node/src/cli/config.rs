//! `config`: what is in force and from where, and the file to begin with.

use super::Failure;
use super::arguments::ConfigCommand;
use super::output::Output;
use super::settings::Settings;
use crate::config::{Config, annotated, env_name};
use serde_json::{Map, Value, json};
use std::fmt::Write;

pub(super) fn config(command: &ConfigCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show { effective: _ } => show(settings, output),
        ConfigCommand::Default => {
            let text = annotated(&Config::default());
            output.result(&text, &json!({ "toml": text }))
        }
    }
}

fn show(settings: &Settings, output: Output) -> Result<(), Failure> {
    let resolved = settings.resolve()?;
    let (mut text, mut keys) = (String::new(), Map::new());
    for (key, value, source) in resolved.values() {
        writeln!(text, "{:<42} {value:<24} {source}", key.name).expect("writing to a string cannot fail");
        let said = json!({ "value": value, "source": source.to_string(), "unit": key.unit, "env": env_name(key.name) });
        keys.insert(key.name.to_owned(), said);
    }
    output.result(&text, &Value::Object(keys))
}
