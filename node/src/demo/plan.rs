//! The plan: what a demo is going to do, known before anything is started.

use super::error::DemoError;
use super::events::{Event, Events};
use super::opening::{ASSET, Account};
use super::options::{ReplayOptions, SourceOptions, TrafficOptions};
use super::pace::RATE_MAX;
use super::replay::{Replay, Survey};
use super::traffic::{self, Traffic};
use selfchain_types::genesis::OpTime;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{Amount, KeyId, codec};

/// What a demo is going to do.
pub(super) enum Plan<'a> {
    Traffic(&'a TrafficOptions),
    Replay(&'a ReplayOptions, Survey),
}

/// Most accounts of generated traffic: what a machine of 24 GiB holds.
const ACCOUNTS_MAX: u64 = 20_000_000;
/// Most signers: each has a connection and three threads.
const SIGNERS_MAX: u64 = 64;
/// The set-up of a replay takes this much ledger time before the first row at most: an ns for each operation.
const SETUP_NS: u64 = NS_PER_S;

impl<'a> Plan<'a> {
    /// Checks the options, and reads input files whole.
    pub(super) fn of(options: &'a SourceOptions, events: &mut dyn Events) -> Result<Self, DemoError> {
        match options {
            SourceOptions::Traffic(traffic) => {
                check("rate", traffic.rate_per_s, 1, RATE_MAX)?;
                check("accounts", traffic.accounts, 2, ACCOUNTS_MAX)?;
                check("signers", traffic.signers, 1, SIGNERS_MAX)?;
                let operations_max = codec::wide(selfchain_types::envelope::OPERATIONS_MAX);
                check("batch", codec::wide(traffic.batch_len_max), 2, operations_max)?;
                Ok(Self::Traffic(traffic))
            }
            SourceOptions::Replay(replay) => {
                events.event(&Event::Reading { file: &replay.input });
                Ok(Self::Replay(replay, Survey::read(replay)?))
            }
        }
    }

    /// Where operations' ledger time comes from: recorded ones bring their own.
    pub(super) fn op_time(&self) -> OpTime {
        match self {
            Self::Replay(replay, _) if replay.keeps_time => OpTime::Effective,
            Self::Traffic(_) | Self::Replay(..) => OpTime::Block,
        }
    }

    /// Decimal digits of the asset.
    pub(super) fn scale(&self) -> u16 {
        match self {
            Self::Traffic(_) => traffic::SCALE,
            Self::Replay(_, survey) => survey.scale,
        }
    }

    /// Keys that own accounts and sign. Order is kept on one lane only, so recorded rows have one.
    pub(super) fn signers(&self) -> u64 {
        match self {
            Self::Traffic(traffic) => traffic.signers,
            Self::Replay(..) => 1,
        }
    }

    /// The accounts to open, `owners` being the signers in order.
    pub(super) fn accounts(&self, owners: Vec<KeyId>) -> Box<dyn Iterator<Item = Account> + Send + '_> {
        match self {
            Self::Traffic(traffic) => Box::new((0..traffic.accounts).map(move |index| Account {
                id: traffic::account_id(index),
                owner: owners[signer_index(index, traffic.signers)],
                opening: traffic::OPENING,
            })),
            Self::Replay(_, survey) => {
                Box::new(survey.openings.iter().map(move |(account, opening)| Account {
                    id: crate::input::account_id(*account),
                    owner: owners[0],
                    opening: Amount(*opening),
                }))
            }
        }
    }

    /// How many accounts that are.
    pub(super) fn account_count(&self) -> u64 {
        match self {
            Self::Traffic(traffic) => traffic.accounts,
            Self::Replay(_, survey) => codec::wide(survey.openings.len()),
        }
    }

    /// Operations that open and fund them.
    pub(super) fn opening_count(&self) -> u64 {
        let funded = match self {
            Self::Traffic(traffic) => traffic.accounts,
            Self::Replay(_, survey) => {
                codec::wide(survey.openings.values().filter(|opening| **opening > 0).count())
            }
        };
        1 + self.account_count() + funded
    }

    /// The opening operations' own time: just before the first row. 0 where the block says the time.
    pub(super) fn opening_time_ns(&self) -> u64 {
        match self {
            Self::Replay(options, survey) if options.keeps_time => {
                (survey.first_s * NS_PER_S).saturating_sub(SETUP_NS)
            }
            Self::Traffic(_) | Self::Replay(..) => 0,
        }
    }

    /// Rows of the file.
    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Self::Traffic(_) => None,
            Self::Replay(_, survey) => Some(survey.rows),
        }
    }

    /// Whether transfers are scored.
    pub(super) fn is_scored(&self) -> bool {
        matches!(self, Self::Replay(options, _) if options.scoring.is_some())
    }

    /// What the signers stream, in their order.
    pub(super) fn sources(&self) -> Result<Sources, DemoError> {
        match self {
            Self::Traffic(traffic) => {
                let sources = (0..traffic.signers).map(|signer| Traffic::new(traffic, signer, ASSET));
                Ok(Sources::Traffic(sources.collect::<Result<_, _>>()?))
            }
            Self::Replay(options, survey) => {
                Ok(Sources::Replay(Box::new(Replay::new(options, survey, ASSET)?)))
            }
        }
    }
}

/// What the signers stream.
pub(super) enum Sources {
    Traffic(Vec<Traffic>),
    Replay(Box<Replay>),
}

fn signer_index(account: u64, signers: u64) -> usize {
    usize::try_from(traffic::signer_of(account, signers)).expect("there are few signers")
}

fn check(option: &'static str, got: u64, min: u64, max: u64) -> Result<(), DemoError> {
    if (min..=max).contains(&got) {
        Ok(())
    } else {
        Err(DemoError::Option {
            option,
            got,
            min,
            max,
        })
    }
}
