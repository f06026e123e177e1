//! The configuration of a command: its flags over the environment over the file over the defaults.

use super::Failure;
use super::passphrase::PassphraseSource;
use crate::config::{Config, ENV_PREFIX, KEYS, Layers, Resolved, env_name, resolve};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Every key as a flag: `--ingest.listen ADDRESS`, or `--ingest.listen=ADDRESS`.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyFlags(pub(super) Vec<(String, String)>);

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| {
            let arg = Arg::new(key.name)
                .long(key.name)
                .alias(key.name.replace('_', "-"))
                .action(ArgAction::Set)
                .value_name("VALUE")
                .help(key.doc.join(" ").trim().to_owned())
                .global(true)
                .hide(true);
            command.arg(if key.name == "data_dir" {
                data_dir(arg)
            } else {
                arg
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The one key that most commands want: shown, and with a short name.
fn data_dir(arg: Arg) -> Arg {
    arg.visible_alias("data").value_name("DIR").hide(false)
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let said = |name: &str| {
            matches
                .get_one::<String>(name)
                .map(|value| (name.to_owned(), value.clone()))
        };
        Ok(Self(KEYS.iter().filter_map(|key| said(key.name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Where a command's configuration comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) file: Option<PathBuf>,
    pub(super) flags: KeyFlags,
    pub(super) unused_ports: bool,
    pub(super) env: Vec<(OsString, OsString)>,
    /// Not among the environment above.
    pub(super) passphrase: PassphraseSource,
}

impl Settings {
    /// The configuration in force.
    pub(super) fn resolve(&self) -> Result<Resolved, Failure> {
        let layers = Layers {
            file: self.read_file()?,
            env: self.our_env()?,
            flags: self.flags.0.clone(),
            unused_ports: self.unused_ports,
        };
        resolve(&layers).map_err(|error| {
            let next = "`selfchain config default` prints every key with its meaning";
            Failure::usage("the configuration is wrong", next).because(&error)
        })
    }

    /// As [`Settings::resolve`], without the file: for the command that writes it.
    pub(super) fn resolve_without_file(&self) -> Result<Resolved, Failure> {
        let layers = Layers {
            file: None,
            env: self.our_env()?,
            flags: self.flags.0.clone(),
            unused_ports: self.unused_ports,
        };
        resolve(&layers).map_err(|error| Failure::usage("the configuration is wrong", "").because(&error))
    }

    /// The file that is named, or the one in the data directory, if there is one.
    fn read_file(&self) -> Result<Option<(PathBuf, String)>, Failure> {
        let named = self
            .file
            .clone()
            .or_else(|| self.env_value("SELFCHAIN_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| self.usual_file());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let what = format!("cannot read the configuration file {}", path.display());
                Err(Failure::usage(what, "").because(&error))
            }
        }
    }

    fn usual_file(&self) -> PathBuf {
        let flag = self
            .flags
            .0
            .iter()
            .find(|(key, _)| key == "data_dir")
            .map(|(_, value)| PathBuf::from(value));
        let env = || self.env_value(&env_name("data_dir")).map(PathBuf::from);
        let data_dir = flag.or_else(env).unwrap_or_else(|| Config::default().data_dir);
        Config {
            data_dir,
            ..Config::default()
        }
        .file_path()
    }

    fn env_value(&self, name: &str) -> Option<&Path> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| Path::new(value))
    }

    fn our_env(&self) -> Result<Vec<(String, String)>, Failure> {
        let ours = self
            .env
            .iter()
            .filter(|(name, _)| name.to_string_lossy().starts_with(ENV_PREFIX));
        ours.map(|(name, value)| match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(
                format!("the environment variable {} is not UTF-8", name.display()),
                "",
            )),
        })
        .collect()
    }
}
