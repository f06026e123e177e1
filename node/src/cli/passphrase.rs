//! Where passphrases come from: a file, the environment, or the terminal, which does not show them.

use super::{ExitStatus, Failure};
use crate::keys::{KeyFault, PASSPHRASE_BYTES_MAX, Passphrase};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment variable that holds one.
pub(super) const ENV_NAME: &str = "SELFCHAIN_PASSPHRASE";

/// Where this program's passphrase comes from, asked for when it is needed.
#[derive(Clone, Debug, Default)]
pub(super) struct PassphraseSource {
    pub(super) file: Option<PathBuf>,
    env: Option<Result<Passphrase, KeyFault>>,
}

impl PassphraseSource {
    /// Takes the variable out of the environment that the program was given.
    pub(super) fn new(file: Option<PathBuf>, env: &mut Vec<(OsString, OsString)>) -> Self {
        let at = env.iter().position(|(name, _)| name == ENV_NAME);
        let value = at.map(|at| env.swap_remove(at).1);
        Self {
            file,
            env: value.map(|value| Passphrase::new(Zeroizing::new(value.into_vec()))),
        }
    }

    /// The passphrase of the key file at `path`.
    pub(super) fn of(&self, path: &Path) -> Result<Passphrase, Failure> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask(&format!("Passphrase of {}: ", path.display())),
        }
    }

    /// The passphrase that the key file at `path` is to have; on a terminal it is typed twice.
    pub(super) fn for_new(&self, path: &Path) -> Result<Passphrase, Failure> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask_twice(path),
        }
    }

    /// What a file or the environment says.
    pub(super) fn given(&self) -> Result<Option<Passphrase>, Failure> {
        if let Some(file) = &self.file {
            return of_file(file).map(Some);
        }
        match &self.env {
            None => Ok(None),
            Some(Ok(passphrase)) => Ok(Some(passphrase.clone())),
            Some(Err(fault)) => {
                Err(Failure::usage(format!("{ENV_NAME} is no passphrase"), "").because(fault))
            }
        }
    }
}

/// What a file holds, but for the end of its last line.
pub(super) fn of_file(path: &Path) -> Result<Passphrase, Failure> {
    Passphrase::read(path).map_err(|error| {
        let what = format!("cannot use the passphrase in {}", path.display());
        Failure::new(ExitStatus::Failed, what, "").because(&error)
    })
}

/// What is typed twice alike.
pub(super) fn ask_twice(path: &Path) -> Result<Passphrase, Failure> {
    let first = ask(&format!("New passphrase of {}: ", path.display()))?;
    if ask("Once more: ")? == first {
        return Ok(first);
    }
    Err(Failure::usage(
        "the two passphrases differ",
        "nothing was written: try again",
    ))
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let next = "pass --passphrase-file FILE, or set SELFCHAIN_PASSPHRASE";
    let terminal = io::stdin()
        .is_terminal()
        .then(|| OpenOptions::new().read(true).write(true).open("/dev/tty"));
    let Some(Ok(terminal)) = terminal else {
        return Err(Failure::usage(
            "a passphrase is needed, and there is no terminal to ask on",
            next,
        ));
    };
    let line = read_hidden(terminal, prompt).map_err(|error| {
        Failure::new(ExitStatus::Failed, "cannot read a passphrase", next).because(&error)
    })?;
    Passphrase::new(line).map_err(|fault| Failure::usage("that is no passphrase", "").because(&fault))
}

/// Shows what is typed again when it is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if tcsetattr(&self.terminal, OptionalActions::Flush, &self.before).is_err() {
            tracing::debug!("the terminal cannot be set back");
        }
    }
}

fn read_hidden(mut terminal: File, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let before = tcgetattr(&terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    terminal.write_all(prompt.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut hidden = Hidden { terminal, before };
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 2));
    let mut byte = [0];
    while line.len() < PASSPHRASE_BYTES_MAX + 2 && hidden.terminal.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if byte == *b"\n" {
            break;
        }
    }
    Ok(line)
}
