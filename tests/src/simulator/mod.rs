//! The simulator: whole validators in one thread, under a virtual clock and one seed.
//!
//! Each validator is the node's own [`Replica`](selfchain::replica::Replica) with its plane, chain, pool, journal
//! and log, the last two on a disk that loses power at any write or sync. Messages are delayed, lost, doubled,
//! reordered and cut off; clocks differ; one validator lies, as two twins with one key that tell everyone something
//! else, and whose scores are now and then not the model's. After every step it is checked that nobody honest signs twice,
//! that all decide the same and that their scorers remember the same, and in the end that the chain went on once the
//! faults stopped. The same seed gives the same run, byte for byte.

mod plan;
mod conduct;
mod client;
mod check;
mod revoking;
mod scorer;
mod control;
mod trust;
mod medium;
mod validator;
mod world;
mod compare;
mod speed;
mod traces;
mod networks;

pub use check::Broken;
pub use compare::{Comparison, THREE_FAILING, compare, compared};
pub use conduct::Conduct;
pub use networks::{Judged, judge};
pub use plan::{
    Control, EPOCH_BLOCKS, Failing, Guards, Load, MODEL_AFTER, Plan, Revoking, Rolling, SLOW_FACTOR,
};
pub use speed::{SPEED_VALIDATORS, Speed, speed};
pub use traces::{Trace, header, traced, traces};
pub use world::{Outcome, run, run_alone};
