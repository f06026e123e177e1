//! Lays flags over the environment over the file over the defaults, and remembers where each value came from.

use super::nearest::nearest;
use super::{Config, KEYS, Key, ValueFault};
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What every environment variable of ours begins with.
pub const ENV_PREFIX: &str = "SELFCHAIN_";

/// Variables with the prefix that are no keys: where the file is.
const ENV_NOT_KEYS: [&str; 2] = ["SELFCHAIN_CONFIG", "SELFCHAIN_PASSPHRASE"];

/// The environment variable of a key: `ingest.listen` is `SELFCHAIN_INGEST__LISTEN`.
pub fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// What was said, and where. The caller reads file and environment.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file's path and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The environment; variables without our prefix are not looked at.
    pub env: Vec<(String, String)>,
    /// Flags: key and value.
    pub flags: Vec<(String, String)>,
    /// Whether every port is to be one that is unused.
    pub unused_ports: bool,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file.
    File,
    /// The environment.
    Env,
    /// The command line.
    Flag,
    /// Another key: the port follows `port_base`.
    PortBase,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Env => "env",
            Self::Flag => "flag",
            Self::PortBase => "port_base",
        })
    }
}

/// A configuration in force, with where each value came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// Where each came from, in the order of [`KEYS`].
    pub sources: Vec<Source>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("{path} is not TOML: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: Box<toml::de::Error>,
    },
    /// There is no such key.
    #[error("{origin}: there is no key `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        /// What was written.
        key: String,
        /// Where.
        origin: String,
        /// The valid key that is nearest to it.
        nearest: &'static str,
    },
    /// A key may not have that value.
    #[error("{origin}: `{key}` may not be `{value}`: {fault}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// Where.
        origin: String,
        /// What is wrong with it.
        fault: ValueFault,
    },
    /// A key has a list, table, date or fraction where it takes one plain value.
    #[error("{path}: `{key}` takes one plain value, not a {got}")]
    Shape {
        /// The key.
        key: String,
        /// The file.
        path: PathBuf,
        /// What TOML calls what is there.
        got: &'static str,
    },
    /// Two values that exclude each other.
    #[error("`{larger}` = {larger_value} must not exceed `{smaller}` = {smaller_value}")]
    Exceeds {
        /// The key that is too large.
        larger: &'static str,
        /// Its value.
        larger_value: u64,
        /// The key that it may not exceed.
        smaller: &'static str,
        /// Its value.
        smaller_value: u64,
    },
}

/// The configuration that the layers make.
///
/// # Errors
/// [`ConfigError`]: the first thing that is wrong.
pub fn resolve(layers: &Layers) -> Result<Resolved, ConfigError> {
    let mut resolved = Resolved {
        config: Config::default(),
        sources: vec![Source::Default; KEYS.len()],
    };
    if let Some((path, text)) = &layers.file {
        resolved.apply_file(path, text)?;
    }
    for (name, value) in &layers.env {
        resolved.apply_env(name, value)?;
    }
    for (key, value) in &layers.flags {
        resolved.apply(key, value, Source::Flag, &format!("flag --{key}"))?;
    }
    resolved.place_ports(layers.unused_ports);
    resolved.check()?;
    Ok(resolved)
}

impl Resolved {
    /// Every key with its value and where that came from.
    pub fn values(&self) -> impl Iterator<Item = (&'static Key, String, Source)> + '_ {
        KEYS.iter()
            .zip(&self.sources)
            .map(|(key, source)| (key, (key.show)(&self.config), *source))
    }

    /// What was said by flag or environment alone, over the defaults.
    pub fn said(&self) -> Config {
        let mut said = Config::default();
        for (key, value, source) in self.values() {
            if matches!(source, Source::Flag | Source::Env) && (key.set)(&mut said, &value).is_err() {
                unreachable!("a value in force reads back");
            }
        }
        said
    }

    fn apply_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|source| ConfigError::Toml {
            path: path.into(),
            source: Box::new(source),
        })?;
        let origin = path.display().to_string();
        for (name, value) in table {
            match value {
                toml::Value::Table(plane) => {
                    for (field, value) in plane {
                        let key = format!("{name}.{field}");
                        self.apply(&key, &plain(&key, path, value)?, Source::File, &origin)?;
                    }
                }
                value => self.apply(&name, &plain(&name, path, value)?, Source::File, &origin)?,
            }
        }
        Ok(())
    }

    fn apply_env(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            return Ok(());
        };
        if ENV_NOT_KEYS.contains(&name) {
            return Ok(());
        }
        let key = rest.to_ascii_lowercase().replace("__", ".");
        self.apply(&key, value, Source::Env, &format!("environment {name}"))
    }

    fn apply(&mut self, name: &str, value: &str, source: Source, origin: &str) -> Result<(), ConfigError> {
        let Some(at) = KEYS.iter().position(|key| key.name == name) else {
            return Err(ConfigError::UnknownKey {
                key: name.into(),
                origin: origin.into(),
                nearest: nearest(name),
            });
        };
        (KEYS[at].set)(&mut self.config, value).map_err(|fault| ConfigError::Value {
            key: KEYS[at].name,
            value: value.into(),
            origin: origin.into(),
            fault,
        })?;
        self.sources[at] = source;
        Ok(())
    }

    /// Gives the ports that nobody set their place after `port_base`.
    fn place_ports(&mut self, unused: bool) {
        let base = if unused { 0 } else { self.config.port_base };
        let is_moved = |source: Source| unused || source == Source::Default;
        let next = if base == 0 { 0 } else { base + 1 };
        let moved_by_base = unused || self.source_of("port_base") != Source::Default;
        if moved_by_base && is_moved(self.source_of("ingest.listen")) {
            self.config.ingest.listen.set_port(base);
            self.note("ingest.listen", Source::PortBase);
        }
        if let Some(mut address) = self.config.http.listen
            && moved_by_base
            && is_moved(self.source_of("http.listen"))
        {
            address.set_port(next);
            self.config.http.listen = Some(address);
            self.note("http.listen", Source::PortBase);
        }
    }

    fn source_of(&self, name: &str) -> Source {
        KEYS.iter()
            .zip(&self.sources)
            .find(|(key, _)| key.name == name)
            .map_or(Source::Default, |(_, source)| *source)
    }

    fn note(&mut self, name: &str, source: Source) {
        if let Some(at) = KEYS.iter().position(|key| key.name == name) {
            self.sources[at] = source;
        }
    }

    /// What no single key can say.
    fn check(&self) -> Result<(), ConfigError> {
        let ingest = &self.config.ingest;
        for (larger, larger_value, smaller, smaller_value) in [
            (
                "ingest.connections_per_ip_max",
                ingest.connections_per_ip_max,
                "ingest.connections_max",
                ingest.connections_max,
            ),
            (
                "ingest.handshakes_before_retry",
                ingest.handshakes_before_retry,
                "ingest.handshakes_max",
                ingest.handshakes_max,
            ),
            (
                "ingest.reply_queue_bytes_max",
                ingest.reply_queue_bytes_max,
                "ingest.reply_queue_total_bytes_max",
                ingest.reply_queue_total_bytes_max,
            ),
        ] {
            if larger_value > smaller_value {
                return Err(ConfigError::Exceeds {
                    larger,
                    larger_value,
                    smaller,
                    smaller_value,
                });
            }
        }
        Ok(())
    }
}

/// A plain TOML value as the text that every source writes.
fn plain(key: &str, path: &Path, value: toml::Value) -> Result<String, ConfigError> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(ConfigError::Shape {
            key: key.into(),
            path: path.into(),
            got: other.type_str(),
        }),
    }
}
