//! `message`: seals bytes to a reader's key, signed by their sender, and opens them.

use super::access::{parse_hash, read_identity, read_key};
use super::backup::read_recipient;
use super::files::{bounded, read_bounded, write_private};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::keys;
use clap::Subcommand;
use selfchain_types::KeyId;
use selfchain_types::sealed::{SEALED_PLAINTEXT_MAX, SealedError, open_message, seal_message};
use serde_json::json;
use std::io;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum MessageCommand {
    /// Seal bytes to a reader, signed by you.
    Seal {
        /// Your key file, which signs; of any scheme.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The reader, age1pq1… (`selfchain backup recipient show`).
        #[arg(long, value_name = "RECIPIENT")]
        to: String,
        /// What it is about; the reader must name the same. It is not in the message.
        #[arg(long, default_value = "")]
        context: String,
        /// What to seal [default: standard input].
        #[arg(long = "in", value_name = "FILE")]
        input: Option<PathBuf>,
        /// Where the message goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Open a message: its signature is checked first, and says who sent it.
    Open {
        /// The message.
        file: PathBuf,
        /// Your identity file, of age or a key file of the kind kem.
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// The id of the key that must have sent it [default: anybody's; the answer says whose].
        #[arg(long, value_name = "KEY_ID")]
        from: Option<String>,
        /// What it is about, as its sender named it.
        #[arg(long, default_value = "")]
        context: String,
        /// Where what it says goes, readable by you alone.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What a message adds to what it says is far below this.
const MESSAGE_OVERHEAD_MAX: usize = 64 << 10;

pub(super) fn message(command: &MessageCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        MessageCommand::Seal {
            key,
            to,
            context,
            input,
            out,
        } => {
            let (key, reader) = (read_key(key, settings)?, read_recipient(to)?);
            let plaintext = match input {
                Some(path) => read_bounded(path, SEALED_PLAINTEXT_MAX)?,
                None => bounded(io::stdin().lock(), "standard input", SEALED_PLAINTEXT_MAX)?,
            };
            let sealed = seal_message(&key, reader.public(), &plaintext, context.as_bytes())
                .map_err(|error| of_sealed("nothing was sealed", &error))?;
            write_private(out, &sealed)?;
            let value = json!({
                "out": out.display().to_string(),
                "bytes": sealed.len(),
                "sender": key.id().to_string(),
                "recipient": reader.id().to_hex(),
            });
            output.result(&describe::lines(&value), &value)
        }
        MessageCommand::Open {
            file,
            identity,
            from,
            context,
            out,
        } => {
            let what = "the message was not opened";
            let identity = read_identity(identity, settings)?;
            let from = from.as_ref().map(|text| parse_hash("--from", text)).transpose()?;
            let sealed = read_bounded(file, SEALED_PLAINTEXT_MAX + MESSAGE_OVERHEAD_MAX)?;
            let from = from.map(KeyId);
            let opened = open_message(identity.secret(), from.as_ref(), &sealed, context.as_bytes())
                .map_err(|error| of_sealed(what, &error))?;
            write_private(out, &opened.plaintext)?;
            let value = json!({
                "out": out.display().to_string(),
                "bytes": opened.plaintext.len(),
                "sender": opened.sender.id().to_string(),
                "scheme": opened.sender.scheme().name(),
                "public": keys::hex(opened.sender.as_bytes()).as_str(),
            });
            output.result(&describe::lines(&value), &value)
        }
    }
}

fn of_sealed(what: &str, error: &SealedError) -> Failure {
    let status = match error {
        SealedError::TooLong { .. } | SealedError::Recipient { .. } => ExitStatus::Usage,
        SealedError::Decode(_) | SealedError::Signature(_) | SealedError::Open(_) => ExitStatus::Corrupt,
        SealedError::Sender { .. } => ExitStatus::Failed,
    };
    Failure::new(status, what, "").because(error)
}
