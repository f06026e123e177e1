//! The log of the program: lines for people or JSON for machines, on standard error.

use crate::config::{LogFormat, LogLevel, TelemetryConfig};
use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::filter::LevelFilter;

/// Why the log was not started.
#[derive(Debug, Error)]
pub enum LogError {
    /// This process has one.
    #[error("the log is started already")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the log for the whole process.
///
/// # Errors
/// [`LogError::Started`] when called twice.
pub fn start_log(config: &TelemetryConfig) -> Result<(), LogError> {
    let lines = tracing_subscriber::fmt()
        .with_max_level(level(config.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Started)
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
