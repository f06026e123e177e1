//! What can be typed after `selfchain bench`. A parser of its own, because `--json` takes a file here.

use super::fault::Fault;
use super::load::LoadShape;
use clap::{Args, Parser, Subcommand, ValueEnum};
use core::str::FromStr;
use selfchain_bench::load::schedule::Arrivals;
use selfchain_bench::load::workload::Profile;
use selfchain_bench::prepared::FILE_BYTES_MAX;
use selfchain_types::crypto::Scheme;
use selfchain_types::genesis::Plane;
use std::path::PathBuf;

/// Measures this machine and the node on it; every result is printed against this machine's own limits.
#[derive(Debug, Parser)]
#[command(name = "selfchain bench", about)]
pub struct BenchArguments {
    /// What is measured.
    #[command(subcommand)]
    pub tier: Tier,
}

/// How much of the road is measured.
#[derive(Debug, Subcommand)]
pub enum Tier {
    /// The ledger alone, on one core: decoded operations in, every rule, outcomes; no roots.
    Apply(Flags),
    /// One node, durable, over QUIC.
    Single(Flags),
    /// Several validators that agree, each with a log of its own, all in this process.
    Cluster(Flags),
    /// This machine's own limits.
    Ceiling(Flags),
    /// SQLite and PostgreSQL at the same work in the same run.
    Peers {
        /// Connection string of a PostgreSQL (`bench/peers/postgres.sh start` prints one). Left out: not measured.
        #[arg(long, value_name = "CONNECTION")]
        postgres: Option<String>,
        /// What is measured.
        #[command(flatten)]
        flags: Flags,
    },
    /// One node at saturation: which stage is the bottleneck.
    Stages(Flags),
    /// Sign a load into the file named by --load.
    Prepare(Flags),
    /// Two reports side by side.
    Compare {
        /// The earlier one.
        a: PathBuf,
        /// The later one.
        b: PathBuf,
    },
}

/// What is measured, and how.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// How transfers are signed.
    #[arg(long, value_enum, default_value_t = SchemeArgument::Ed25519)]
    pub scheme: SchemeArgument,
    /// Register the signers' public keys beforehand, and leave them out of the transactions.
    #[arg(long)]
    pub registered: bool,
    /// Operations under one signature [default: 1; apply: 8190].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=8_190))]
    pub ops: Option<u16>,
    /// Accounts that the load touches [default: 10000; apply: 1000000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=1_000_000_000))]
    pub accounts: Option<u64>,
    /// How transfers crowd on accounts: uniform, zipf, zipf:S, hot or hot:SHARE; by default uniform, for apply uniform and zipf.
    #[arg(long)]
    pub profile: Option<Profile>,
    /// Transfers a second; or `max`: closed by a window; or a share of max such as `50%`, found in the same run.
    #[arg(long, default_value = "max")]
    pub rate: Rate,
    /// Length of the measured load.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Length of the load before that.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub warmup: u64,
    /// Write the report there.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// When transactions arrive at a given rate: constant, poisson or bursts.
    #[arg(long, default_value = "constant")]
    pub arrivals: Arrivals,
    /// The load: used if it is there, made there if not [default: a temporary file].
    #[arg(long, value_name = "FILE")]
    pub load: Option<PathBuf>,
    /// Most bytes of a load file; a rate that needs more is lowered.
    #[arg(long, value_name = "BYTES", default_value_t = FILE_BYTES_MAX)]
    pub load_bytes: u64,
    /// Find the knee first, the highest rate that holds --p99-ms, and measure there.
    #[arg(long)]
    pub search: bool,
    /// Find the knee first and measure at 80 % of it.
    #[arg(long)]
    pub soak: bool,
    /// The bound of the search.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    pub p99_ms: f64,
    /// Data directory of the node, empty at first, kept [default: a temporary one].
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write a histogram log of the measured load, one line a second.
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// What everything random follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Score every transfer by the model that comes with the program, and hold none.
    #[arg(long)]
    pub score: bool,
    /// Validators that agree [default: 1; cluster: 4].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub validators: Option<u16>,
    /// How several validators agree.
    #[arg(long, value_enum, default_value_t = PlaneArgument::Stake)]
    pub plane: PlaneArgument,
    /// Validators sign with Ed25519 and ML-DSA-65.
    #[arg(long)]
    pub pq_votes: bool,
    /// What the last of several validators does badly; clients talk to the others.
    #[arg(long, value_enum, default_value_t)]
    pub fault: Fault,
    /// Bytes of log that the node keeps; 0 = all. With it the node writes snapshots, and forgets up to them.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub retention: u64,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemeArgument {
    /// Ed25519 under ZIP-215.
    Ed25519,
    /// Ed25519 and ML-DSA-44 (FIPS 204).
    #[value(name = "ed25519+ml-dsa-44")]
    Ed25519MlDsa44,
    /// Ed25519 and ML-DSA-65 (FIPS 204).
    #[value(name = "ed25519+ml-dsa-65")]
    Ed25519MlDsa65,
    /// Ed25519 and SLH-DSA-SHA2-128s (FIPS 205): a fifth of a second to sign.
    #[value(name = "ed25519+slh-dsa-sha2-128s")]
    Ed25519SlhDsa128s,
    /// Ed25519 and SLH-DSA-SHA2-128f (FIPS 205).
    #[value(name = "ed25519+slh-dsa-sha2-128f")]
    Ed25519SlhDsa128f,
}

impl From<SchemeArgument> for Scheme {
    fn from(argument: SchemeArgument) -> Self {
        match argument {
            SchemeArgument::Ed25519 => Self::Ed25519,
            SchemeArgument::Ed25519MlDsa44 => Self::Ed25519MlDsa44,
            SchemeArgument::Ed25519MlDsa65 => Self::Ed25519MlDsa65,
            SchemeArgument::Ed25519SlhDsa128s => Self::Ed25519SlhDsa128s,
            SchemeArgument::Ed25519SlhDsa128f => Self::Ed25519SlhDsa128f,
        }
    }
}

/// How several validators agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlaneArgument {
    /// Bonded power, proposers in turn.
    Stake,
    /// Proof of AI.
    Poai,
}

impl From<PlaneArgument> for Plane {
    fn from(argument: PlaneArgument) -> Self {
        match argument {
            PlaneArgument::Stake => Self::Stake,
            PlaneArgument::Poai => Self::Poai,
        }
    }
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as answers come.
    Max,
    /// Transfers a second.
    PerSecond(f64),
    /// This share of what `Max` commits.
    Share(f64),
}

/// No such rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rate {0:?}: transfers a second, `max`, or a share of it such as 50%")]
pub struct UnknownRate(String);

impl FromStr for Rate {
    type Err = UnknownRate;

    fn from_str(text: &str) -> Result<Self, UnknownRate> {
        let unknown = || UnknownRate(text.to_owned());
        let positive = |text: &str| {
            let number: f64 = text.parse().map_err(|_| unknown())?;
            if number.is_finite() && number > 0.0 {
                Ok(number)
            } else {
                Err(unknown())
            }
        };
        match (text, text.strip_suffix('%')) {
            ("max", _) => Ok(Self::Max),
            (_, Some(percent)) => Ok(Self::Share(positive(percent)? / 100.0)),
            _ => Ok(Self::PerSecond(positive(text)?)),
        }
    }
}

impl Flags {
    /// The load that these ask for, of the tiers that have a road.
    pub fn shape(&self) -> LoadShape {
        LoadShape {
            scheme: self.scheme.into(),
            registered: self.registered,
            operations: usize::from(self.ops.unwrap_or(1)),
            accounts: self.accounts.unwrap_or(10_000),
            profile: self.profile.unwrap_or(Profile::Uniform),
            seed: self.seed,
            validators: self.validators.unwrap_or(1),
            plane: self.plane.into(),
            pq_votes: self.pq_votes,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense_to_clap() {
        BenchArguments::command().debug_assert();
    }

    #[test]
    fn a_rate_is_a_number_a_share_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("50%".parse(), Ok(Rate::Share(0.5)));
        assert_eq!("1e4".parse(), Ok(Rate::PerSecond(10_000.0)));
        for text in ["", "-1", "0", "NaN", "inf", "5 %x"] {
            assert_eq!(text.parse::<Rate>(), Err(UnknownRate(text.to_owned())));
        }
    }
}
