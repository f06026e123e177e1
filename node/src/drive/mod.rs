//! The drive: the threads between the socket and the subscriber, and the queues between them.
//!
//! ```text
//! Service ─▶ intake ─▶ [verified] ─▶ order ─▶ [log] ─▶ record ─▶ [publish] ─▶ publish ─▶ [index] ─▶ project
//!   refuses   rayon      waits       one       waits    group      waits       replies     waits
//!   when full            when full   writer             commit
//! ```

pub mod queue;
pub mod tag;
pub mod registry;
pub mod intake;
pub mod state;
pub(crate) mod scoring;
pub mod shadow;
pub mod order;
pub mod checkpointing;
pub mod agree;
pub mod board;
pub mod record;
pub mod publish;
pub mod project;
pub mod past;
mod fault;
mod pipeline;

pub use agree::{FromPeer, Peers};
pub use board::Board;
pub use fault::Fault;
pub use pipeline::{Deciding, Pipeline, PipelineConfig, PipelineError, Proposing, Validating};
pub use scoring::Scoring;
pub use tag::Tag;
