//! The file that `init` writes: every key with its meaning, unit and default.

use super::{Config, KEYS, Key};
use std::fmt::Write;

/// The annotated file. Keys that `chosen` says differently from the default are set, all others are there as
/// comments, so that a later version's defaults take effect.
pub fn annotated(chosen: &Config) -> String {
    let default = Config::default();
    let mut text = String::from(HEAD);
    let mut section = "";
    for key in KEYS {
        let (plane, field) = key.name.split_once('.').unwrap_or(("", key.name));
        if plane != section {
            section = plane;
            line(&mut text, format_args!("\n[{plane}]"));
        }
        line(&mut text, format_args!(""));
        for sentence in key.doc {
            line(&mut text, format_args!("# {}", sentence.trim()));
        }
        let (value, usual) = ((key.show)(chosen), (key.show)(&default));
        line(
            &mut text,
            format_args!("# Unit: {}. Default: {}.", key.unit, toml(key, &usual)),
        );
        let comment = if value == usual { "# " } else { "" };
        line(
            &mut text,
            format_args!("{comment}{field} = {}", toml(key, &value)),
        );
    }
    text
}

const HEAD: &str = "\
# Configuration of a Selfchain node.
#
# Every key is also a flag (--ingest.listen ADDRESS) and an environment variable
# (SELFCHAIN_INGEST__LISTEN). A flag wins over the environment, that over this file, that over
# the default. Keys that are not known are refused. Numbers may be written as \"64MiB\".
# What is in force, and from where: selfchain config show
";

/// The value as TOML writes it.
fn toml(key: &Key, value: &str) -> String {
    if key.is_bare {
        return value.into();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
