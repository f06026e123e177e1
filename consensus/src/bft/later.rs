//! Messages of heights to come: kept, within limits, until their height begins.

use selfchain_types::Height;
use std::collections::BTreeMap;

/// Heights ahead of which messages are kept. A node further behind fetches blocks instead.
pub(super) const LATER_HEIGHTS_MAX: u64 = 8;
/// Messages that are kept of one sender and height.
pub(super) const LATER_PER_SENDER_MAX: usize = 32;
/// Bytes that are kept of one sender and height: a list of hybrid ballots of everybody is among them.
pub(super) const LATER_BYTES_PER_SENDER_MAX: usize = 1024 * 1024;

/// What came too early.
#[derive(Debug, Default)]
pub(super) struct Later {
    heights: BTreeMap<Height, BTreeMap<u16, Vec<Vec<u8>>>>,
}

impl Later {
    /// Keeps a message of a height after `height`, unless that would be too many.
    pub(super) fn keep(&mut self, height: Height, of: Height, from: u16, bytes: Vec<u8>) {
        if of.0 > height.0.saturating_add(LATER_HEIGHTS_MAX) {
            return;
        }
        let sent = self.heights.entry(of).or_default().entry(from).or_default();
        let len: usize = sent.iter().map(Vec::len).sum();
        if sent.len() < LATER_PER_SENDER_MAX
            && len.saturating_add(bytes.len()) <= LATER_BYTES_PER_SENDER_MAX
            && !sent.contains(&bytes)
        {
            sent.push(bytes);
        }
    }

    /// What was kept of this height, by sender; what is older is dropped.
    pub(super) fn take(&mut self, height: Height) -> Vec<(u16, Vec<u8>)> {
        let mut rest = self.heights.split_off(&height);
        let sent = rest.remove(&height).unwrap_or_default();
        self.heights = rest;
        let of_sender = |(from, sent): (u16, Vec<Vec<u8>>)| sent.into_iter().map(move |bytes| (from, bytes));
        sent.into_iter().flat_map(of_sender).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_for_their_height_within_limits() {
        let mut later = Later::default();
        let now = Height(10);
        for number in 0..100 {
            later.keep(now, Height(11), 1, vec![number]);
        }
        later.keep(now, Height(11), 2, vec![7]);
        later.keep(now, Height(11), 2, vec![7]);
        later.keep(now, Height(11), 3, vec![0; LATER_BYTES_PER_SENDER_MAX + 1]);
        later.keep(now, Height(10 + LATER_HEIGHTS_MAX), 1, vec![1]);
        later.keep(now, Height(11 + LATER_HEIGHTS_MAX), 1, vec![1]);
        let taken = later.take(Height(11));
        assert_eq!(taken.len(), LATER_PER_SENDER_MAX + 1);
        assert_eq!(taken.last(), Some(&(2, vec![7])));
        assert_eq!(later.take(Height(10 + LATER_HEIGHTS_MAX)).len(), 1);
        assert!(later.heights.is_empty());
    }
}
