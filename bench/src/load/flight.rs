//! What one connection has in the air: which ticket was meant for when, shared without locks by its two halves.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rate::count;

/// A bounded table of unanswered tickets. One thread calls [`Flight::depart`], another [`Flight::land`].
#[derive(Debug)]
pub struct Flight {
    slots: Box<[Slot]>,
    departed: AtomicU64,
    landed: AtomicU64,
}

/// When a ticket was meant to be sent and when it was, nanoseconds since the load began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// By the schedule.
    pub intended_ns: u64,
    /// In fact.
    pub sent_ns: u64,
}

#[derive(Debug)]
struct Slot {
    /// [`FREE`] when nothing is in the air; written last on departure, taken first on landing.
    ticket: AtomicU64,
    intended_ns: AtomicU64,
    sent_ns: AtomicU64,
}

impl Flight {
    /// A table for at most `unanswered_max` tickets (at least one).
    #[must_use]
    pub fn new(unanswered_max: usize) -> Self {
        let free = || Slot {
            ticket: AtomicU64::new(FREE),
            intended_ns: AtomicU64::new(0),
            sent_ns: AtomicU64::new(0),
        };
        Self {
            slots: (0..unanswered_max.max(1)).map(|_| free()).collect(),
            departed: AtomicU64::new(0),
            landed: AtomicU64::new(0),
        }
    }

    /// Books the next ticket; `None` while the table is full, or while the ticket that shares its slot, one full
    /// table earlier, is still unanswered.
    pub fn depart(&self, times: Times) -> Option<u64> {
        let ticket = self.departed.load(Ordering::Relaxed);
        let slot = self.slot(ticket);
        if slot.ticket.load(Ordering::Acquire) != FREE {
            return None;
        }
        slot.intended_ns.store(times.intended_ns, Ordering::Relaxed);
        slot.sent_ns.store(times.sent_ns, Ordering::Relaxed);
        slot.ticket.store(ticket, Ordering::Release);
        self.departed.store(ticket + 1, Ordering::Release);
        Some(ticket)
    }

    /// Looks at a ticket in the air without ending it.
    pub fn in_the_air(&self, ticket: u64) -> bool {
        ticket != FREE && self.slot(ticket).ticket.load(Ordering::Acquire) == ticket
    }

    /// Ends a ticket; `None` when it is not in the air, which is the node's error (a second or invented answer).
    pub fn land(&self, ticket: u64) -> Option<Times> {
        if !self.in_the_air(ticket) {
            return None;
        }
        let slot = self.slot(ticket);
        let times = Times {
            intended_ns: slot.intended_ns.load(Ordering::Relaxed),
            sent_ns: slot.sent_ns.load(Ordering::Relaxed),
        };
        slot.ticket.store(FREE, Ordering::Release);
        self.landed.fetch_add(1, Ordering::Release);
        Some(times)
    }

    /// Tickets sent so far.
    pub fn departed(&self) -> u64 {
        self.departed.load(Ordering::Acquire)
    }

    /// Tickets answered so far.
    pub fn landed(&self) -> u64 {
        self.landed.load(Ordering::Acquire)
    }

    /// Tickets in the air.
    pub fn unanswered(&self) -> u64 {
        // Landed first: read the other way round, a landing in between would count below zero.
        let landed = self.landed();
        self.departed().saturating_sub(landed)
    }

    /// Ends everything still in the air and returns its times: for charging what was never answered.
    pub fn abandon(&self) -> Vec<Times> {
        let in_the_air =
            |slot: &Slot| Some(slot.ticket.load(Ordering::Acquire)).filter(|&ticket| ticket != FREE);
        self.slots
            .iter()
            .filter_map(in_the_air)
            .filter_map(|ticket| self.land(ticket))
            .collect()
    }

    fn slot(&self, ticket: u64) -> &Slot {
        let place = ticket % count(self.slots.len());
        &self.slots[usize::try_from(place).expect("a remainder of a usize fits one")]
    }
}

/// No connection sends this many tickets.
const FREE: u64 = u64::MAX;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Times {
        Times {
            intended_ns: ns,
            sent_ns: ns + 1,
        }
    }

    #[test]
    fn a_full_table_takes_no_more_until_the_oldest_lands() {
        let flight = Flight::new(2);
        assert_eq!(flight.depart(at(10)), Some(0));
        assert_eq!(flight.depart(at(20)), Some(1));
        assert_eq!(flight.depart(at(30)), None);
        assert_eq!(flight.land(1), Some(at(20)));
        assert_eq!(
            flight.depart(at(30)),
            None,
            "ticket 2 shares its slot with the unanswered ticket 0"
        );
        assert_eq!(flight.land(0), Some(at(10)));
        assert_eq!(flight.depart(at(30)), Some(2));
        assert_eq!(
            (flight.departed(), flight.landed(), flight.unanswered()),
            (3, 2, 1)
        );
    }

    #[test]
    fn a_second_or_invented_answer_lands_nothing() {
        let flight = Flight::new(4);
        flight.depart(at(1)).unwrap();
        assert!(flight.in_the_air(0));
        assert!(flight.land(0).is_some());
        for ticket in [0, 4, 99, u64::MAX] {
            assert!(!flight.in_the_air(ticket));
            assert_eq!(flight.land(ticket), None);
        }
    }

    #[test]
    fn what_is_never_answered_can_be_charged() {
        let flight = Flight::new(4);
        (0..3).for_each(|n| assert!(flight.depart(at(n)).is_some()));
        flight.land(1).unwrap();
        assert_eq!(flight.abandon(), [at(0), at(2)]);
        assert_eq!(flight.unanswered(), 0);
    }

    #[test]
    fn two_threads_agree_on_every_ticket() {
        let flight = Flight::new(64);
        let tickets = 100_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sent = 0;
                while sent < tickets {
                    match flight.depart(at(sent * 7)) {
                        Some(ticket) => {
                            assert_eq!(ticket, sent);
                            sent += 1;
                        }
                        None => std::thread::yield_now(),
                    }
                }
            });
            for ticket in 0..tickets {
                while !flight.in_the_air(ticket) {
                    std::thread::yield_now();
                }
                assert_eq!(flight.land(ticket), Some(at(ticket * 7)));
            }
        });
        assert_eq!(flight.unanswered(), 0);
    }
}
