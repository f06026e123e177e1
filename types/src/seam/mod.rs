//! The seams: every trait that has more than one implementation, one file each; [`view`] is what two of them show.

pub mod consensus;
pub mod log;
pub mod scorer;
pub mod snapshot;
pub mod standing;
pub mod transport;
pub mod view;
