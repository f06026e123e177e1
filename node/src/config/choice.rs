//! The keys that choose one of a few things by name.

use super::Setting;

/// What the builder takes from the pool first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum BlockOrder {
    /// The highest fee.
    Fee,
    /// A mix of fees and waiting times that starves nobody.
    Fair,
}

/// The least important lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may fail.
    Warn,
    /// What a person running a node wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When accounts' pasts are remembered, so that a model can score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Scoring {
    /// Where the chain has a model on record.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

macro_rules! choices {
    ($($Choice:ident { $($variant:ident = $name:literal),+ } $expects:literal;)+) => { $(
        impl Setting for $Choice {
            const EXPECTS: &'static str = $expects;
            const IS_BARE: bool = false;

            fn parse(text: &str) -> Option<Self> {
                match text { $($name => Some(Self::$variant),)+ _ => None }
            }

            fn show(&self) -> String {
                match self { $(Self::$variant => $name.into(),)+ }
            }
        }
    )+ };
}

choices! {
    BlockOrder { Fee = "fee", Fair = "fair" } "fee or fair";
    LogLevel { Off = "off", Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
        "off, error, warn, info, debug or trace";
    Scoring { Auto = "auto", On = "on", Off = "off" } "auto, on or off";
    LogFormat { Text = "text", Json = "json" } "text or json";
}
