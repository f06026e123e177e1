//! The fault that stops a node: the first one counts.

use std::sync::{Arc, OnceLock};

/// The fault that stops a node, shared by its threads. The first one counts.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<OnceLock<String>>);

impl Fault {
    /// Stops the node: logs the error with its causes, once.
    pub fn raise(&self, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        if self.0.set(text.clone()).is_ok() {
            tracing::error!(error = text, "the node stops; restart to recover");
        }
    }

    /// What stopped the node, if anything did.
    pub fn text(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Whether anything did.
    pub fn is_raised(&self) -> bool {
        self.0.get().is_some()
    }
}
