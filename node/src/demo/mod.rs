//! The demo: transfers streamed through a real node, from a client's key to the disk, and checked afterwards.
//!
//! [`run()`] makes a chain in a directory, starts a [`Node`](crate::node::Node) on it, opens accounts, streams
//! transfers over QUIC through the [`client`](crate::client), compares every balance with a fold of its own
//! where the transfers come from a file, drains and stops the node, and replays the whole log.
//!
//! Accounts of a file keep their numbers plus one, because the ledger reserves 0; ledger time is the file's.

mod options;
pub mod pace;
mod plan;
mod run;
mod stage;
mod opening;
mod source;
mod traffic;
mod replay;
mod review;
mod scores;
mod fold;
mod lane;
mod tally;
mod watch;
mod glance;
mod crew;
mod balances;
mod summary;
mod events;
mod screen;
mod error;

pub use balances::BalanceReport;
pub use error::DemoError;
pub use events::{Event, Events, Live, LiveScores, LiveValidator, SPREAD};
pub use options::{
    HOLD_DEFAULT, Options, REVIEW_AFTER_S, ReplayOptions, ScoreOptions, SourceOptions, TrafficOptions,
};
pub use pace::Speed;
pub use replay::ACCOUNTS_MAX;
pub use run::run;
pub use screen::Screen;
pub(crate) use summary::grouped;
pub use summary::{
    HeldReport, InputReport, LabelReport, Latency, ModelReport, Summary, ValidatorReport, VerifySummary,
};
