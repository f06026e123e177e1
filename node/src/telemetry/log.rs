//! The log of the program: lines for people or JSON for machines, on standard error.

use crate::config::{LogFormat, LogLevel, TelemetryConfig};
use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

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
        .with_env_filter(filter(config.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Started)
}

/// The core of agreement says every vote at the level of `info`: it is heard from `debug` on.
fn filter(log_level: LogLevel) -> EnvFilter {
    let level = level(log_level);
    let core = if level > LevelFilter::INFO {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    EnvFilter::new(format!("{level},arc_malachitebft={core}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_of_agreement_is_quieter_than_the_node_until_somebody_looks_closely() {
        let of = |log_level| filter(log_level).to_string();
        for (log_level, want) in [
            (LogLevel::Off, "arc_malachitebft=off,off"),
            (LogLevel::Warn, "arc_malachitebft=warn,warn"),
            (LogLevel::Info, "arc_malachitebft=warn,info"),
            (LogLevel::Debug, "arc_malachitebft=debug,debug"),
        ] {
            assert_eq!(of(log_level), want);
        }
    }
}
