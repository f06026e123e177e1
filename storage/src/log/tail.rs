//! The newest rows in memory, for subscribers that follow the tip.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::metrics::len_u64;

/// Consecutive rows up to the durable tip, the oldest dropped first when over the limit.
#[derive(Debug)]
pub(super) struct Tail {
    rows: VecDeque<(u64, Arc<[u8]>)>,
    bytes: u64,
    bytes_max: u64,
}

impl Tail {
    pub fn new(bytes_max: u64) -> Self {
        Self {
            rows: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub fn push(&mut self, height: u64, row: Arc<[u8]>) {
        self.bytes += len_u64(row.len()) + ROW_OVERHEAD;
        self.rows.push_back((height, row));
        while self.bytes > self.bytes_max
            && let Some((_, row)) = self.rows.pop_front()
        {
            self.bytes -= len_u64(row.len()) + ROW_OVERHEAD;
        }
    }

    pub fn get(&self, height: u64) -> Option<Arc<[u8]>> {
        let oldest = self.rows.front()?.0;
        let at = usize::try_from(height.checked_sub(oldest)?).ok()?;
        self.rows.get(at).map(|(_, row)| Arc::clone(row))
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What an empty row costs here, so that many small rows are bounded too.
const ROW_OVERHEAD: u64 = 64;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_within_its_limit() {
        let mut tail = Tail::new(1000);
        for height in 1..=10 {
            tail.push(height, Arc::from(vec![height as u8; 136]));
        }
        assert!(tail.bytes() <= 1000);
        assert_eq!(tail.get(5), None);
        assert_eq!(tail.get(6).unwrap()[0], 6);
        assert_eq!(tail.get(10).unwrap()[0], 10);
        assert_eq!(tail.get(11), None);
        tail.push(11, Arc::from(vec![0; 5000]));
        assert_eq!((tail.bytes(), tail.get(11)), (0, None));
    }
}
