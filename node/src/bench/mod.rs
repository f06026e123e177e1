//! `selfchain bench`: what only the node can give the harness: a real node to measure, and a signed load for it.

mod arguments;
mod error;
mod fault;

mod load;
mod rig;
mod stand;

mod apply;
mod ceiling;
mod peers;
mod single;

pub use apply::apply;
pub use arguments::{BenchArguments, Flags, PlaneArgument, Rate, SchemeArgument, Tier, UnknownRate};
pub use ceiling::ceiling;
pub use error::{BenchError, Tell};
pub use fault::Fault;
pub use load::{LoadShape, PrepareError, SignedLoad, prepare};
pub use peers::peers;
pub use rig::{NodeRig, RigConfig, RigStartError};
pub use single::{prepare_file, single};
