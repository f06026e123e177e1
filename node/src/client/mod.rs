//! The Rust client: calls that block, each with a deadline; submissions that are pipelined and survive a lost
//! connection.
//!
//! After a reconnect the client asks what became of each transaction that was in flight, and submits again what
//! is unknown. That is safe: a transaction's lane counter lets it commit once.
//!
//! ```no_run
//! use selfchain::client::{Client, ClientOptions};
//! use selfchain::types::crypto::SigningKey;
//! use selfchain::{AccountId, Amount, AssetId, Operation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server_key = [0; 32]; // `selfchain keys show` on the node
//! let client = Client::connect(&ClientOptions::new("127.0.0.1:7400".parse()?, server_key))?;
//! let signer = client.signer(SigningKey::generate()?, 0)?;
//! let payment = Operation::transfer(1, AccountId(1), AccountId(2), Amount(12_50), AssetId(978));
//! println!("in block {}", signer.commit(vec![payment])?.height);
//! # Ok(())
//! # }
//! ```

mod error;
mod flight;
mod link;
mod calls;
mod signer;
mod subscription;

pub use calls::{Client, ClientOptions, Ticket};
pub use error::ClientError;
pub use signer::Signer;
pub use subscription::Subscription;
