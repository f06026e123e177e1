//! What the HTTP port asks of the node. Every call is short and waits for nothing.

/// The node, as seen by whoever watches it.
pub trait Probe: Send + Sync + 'static {
    /// How each part of it is.
    fn checks(&self) -> Vec<Check>;

    /// What it is.
    fn version(&self) -> Version;

    /// Its metrics in Prometheus's text format.
    fn metrics(&self) -> String;

    /// One of the objects of [`crate::overview`]; `None` while it stops.
    fn overview(&self, of: Topic) -> Option<serde_json::Value>;
}

/// What an overview is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Who the validators are.
    Validators,
    /// Where agreement is.
    Consensus,
    /// Who was found out.
    Evidence,
    /// Which headers are signed by checkpoint keys.
    Checkpoints,
}

impl Topic {
    /// The path of the HTTP port.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Validators => "/validators",
            Self::Consensus => "/consensus",
            Self::Evidence => "/evidence",
            Self::Checkpoints => "/checkpoints",
        }
    }
}

/// How one part of the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The part: `log`, `index`, `intake`.
    pub name: &'static str,
    /// How it is.
    pub health: Health,
}

/// How well something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Well; the numbers that say so.
    Ok(String),
    /// It serves no requests now, and will by itself: starting, catching up, draining, disk nearly full.
    NotReady(String),
    /// It needs a restart.
    Failed(String),
}

impl Health {
    /// Whether requests may be sent here.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether it goes on without a restart.
    pub fn is_alive(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// The words.
    pub fn text(&self) -> &str {
        match self {
            Self::Ok(text) | Self::NotReady(text) | Self::Failed(text) => text,
        }
    }
}

/// What the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the program.
    pub program: &'static str,
    /// The newest protocol version it executes.
    pub protocol: u16,
    /// The chain's name.
    pub chain_name: String,
    /// The chain's id, in hexadecimal.
    pub chain_id: String,
    /// The consensus plane's name.
    pub plane: &'static str,
    /// The key that clients pin, in hexadecimal.
    pub server_key: String,
}
