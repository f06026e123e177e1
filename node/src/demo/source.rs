//! The seam between what is streamed and who streams it: a source is asked, with the time, what is due.

use crate::input::InputError;
use core::time::Duration;
use selfchain_types::message::Committed;
use selfchain_types::{Hash, Operation, Outcome};

/// Where the operations of one client thread come from. It reads no clock and never waits.
pub(super) trait Source: Send {
    /// What there is to do at `now`, which is counted from the beginning of the stream.
    ///
    /// # Errors
    /// When an input file changed under the demo, or is damaged.
    fn next(&mut self, now: Duration) -> Result<Step, InputError>;

    /// Hears what became of a batch; batches are answered in the order of sending.
    fn answered(&mut self, batch: &Batch, committed: &Committed);

    /// What is left to do once everything is answered; asked until there is nothing.
    fn closing(&mut self) -> Option<Batch>;
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Send(Batch),
    /// Nothing is due before then.
    Wait(Duration),
    /// Nothing will be due any more.
    End,
}

/// The operations of one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What to send.
    pub(super) operations: Vec<Operation>,
    /// When the last of them was due; `None` where nothing is timed.
    pub(super) due: Option<Duration>,
    /// What the ledger must refuse, by position, and nothing else; `None` where nobody knows.
    pub(super) refused: Option<Vec<(u32, Outcome)>>,
    /// How many of the operations settle what is held, and are no transfers of the stream.
    pub(super) reviews: u32,
    /// The transaction's id, once it is sent.
    pub(super) tx_id: Hash,
}
