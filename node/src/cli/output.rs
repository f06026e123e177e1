//! What a command says: text for people, or with `--json` one object on the last line.

use super::{ExitStatus, Failure};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Standard output, in one of its two forms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) is_json: bool,
}

impl Output {
    /// A command's result: `text` for people, `value` for machines.
    pub(super) fn result(self, text: &str, value: &Value) -> Result<(), Failure> {
        if self.is_json {
            line(&value.to_string())
        } else {
            line(text.trim_end())
        }
    }

    /// A line in both forms, as of a stream of JSON lines.
    pub(super) fn json_line(self, value: &Value) -> Result<(), Failure> {
        line(&value.to_string())
    }

    /// A failed command.
    pub(super) fn failure(self, failure: &Failure) {
        let value = json!({ "error": {
            "code": failure.status.code(),
            "what": failure.what,
            "causes": failure.causes,
            "next": failure.next,
        }});
        // With nowhere left to say it, the exit code says it.
        if self.is_json && line(&value.to_string()).is_ok() {
            return;
        }
        if writeln!(io::stderr(), "{failure}").is_err() {
            tracing::debug!("standard error is closed");
        }
    }
}

fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|error| {
        let status = match error.kind() {
            // The reader, such as `head`, has seen enough.
            io::ErrorKind::BrokenPipe => ExitStatus::Done,
            _ => ExitStatus::Failed,
        };
        Failure::new(status, "cannot write to standard output", "").because(&error)
    })
}
