//! The advisor: a paragraph about a held transfer, written by a language model for the person who reviews it.
//!
//! It runs where the reviewer sits, in the command line, and asks any endpoint that speaks OpenAI's chat
//! completions (llama.cpp, Ollama, OpenLLM). No validator calls it, nothing waits for it, and what it writes
//! changes nothing: a hold ends by its reviewer's signature alone.
//!
//! What it guarantees: nothing of a user but numbers reaches the model ([`prompt`]); a key is never sent in the
//! clear over a network ([`Endpoint`]); an answer is read up to a bound and cleaned of everything that a terminal
//! would obey ([`answer`]); one question a hold, kept in a bounded cache ([`Cache`]), at a bounded rate
//! ([`Limit`]). What it does not: that the paragraph is true.

pub mod prompt;
mod limit;
mod endpoint;
pub mod answer;
mod cache;
mod advise;
#[cfg(test)]
pub(crate) mod stub;

pub use advise::{Advice, Advisor, AdvisorError};
pub use cache::{Cache, CacheError, Kept};
pub use endpoint::{Endpoint, EndpointError};
pub use limit::{Limit, LimitError};
pub use prompt::Facts;
