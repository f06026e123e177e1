//! Which connection with a peer stands: one for each pair, whoever dials, also after a restart. Pure.
//!
//! Both ends dial, and a connection comes about by an exchange of hellos: the dialling end says its hello, the
//! dialled one takes it or not. Where both hellos are under way at once, that of the end with the smaller key
//! stands. A connection that stands gives way to a newer one of the same peer, because a peer dials only while it
//! has none; what is newer is said by the number in each hello.

use super::control::HelloId;

/// How things stand with one peer.
#[derive(Debug)]
pub(super) struct Standing {
    /// Our key is the smaller one.
    smaller: bool,
    run: u64,
    sequence: u64,
    dial: Dial,
    /// The peer's hello on the connection that stands.
    connected: Option<HelloId>,
    attempts: u64,
}

/// One attempt to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    None,
    Handshake(Attempt),
    HelloSent(Attempt),
}

impl Standing {
    /// With nobody yet. `run` is a number that no other run of this node has.
    pub(super) fn new(smaller: bool, run: u64) -> Self {
        Self {
            smaller,
            run,
            sequence: 0,
            dial: Dial::None,
            connected: None,
            attempts: 0,
        }
    }

    /// One of the keys changed: whether ours is the smaller one now.
    pub(super) fn compare(&mut self, smaller: bool) {
        self.smaller = smaller;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Begins to dial, unless there is a connection.
    pub(super) fn dial(&mut self) -> Option<Attempt> {
        if self.connected.is_some() {
            return None;
        }
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.dial = Dial::Handshake(attempt);
        Some(attempt)
    }

    /// The hello to say now that the handshake is through, unless the peer's own attempt was taken meanwhile.
    pub(super) fn say_hello(&mut self, attempt: Attempt) -> Option<HelloId> {
        if self.dial != Dial::Handshake(attempt) {
            return None;
        }
        self.dial = Dial::HelloSent(attempt);
        Some(self.next_hello())
    }

    /// The peer answered our hello with `heard`. Whether this connection stands now.
    pub(super) fn answered(&mut self, attempt: Attempt, heard: HelloId) -> bool {
        if self.dial != Dial::HelloSent(attempt) {
            return false;
        }
        self.dial = Dial::None;
        self.connected = Some(heard);
        true
    }

    /// The attempt came to nothing.
    pub(super) fn give_up(&mut self, attempt: Attempt) {
        if matches!(self.dial, Dial::Handshake(current) | Dial::HelloSent(current) if current == attempt) {
            self.dial = Dial::None;
        }
    }

    /// The peer dialled and said `heard`. The hello to answer with, after which its connection stands and no
    /// other; `None` when it is a duplicate.
    pub(super) fn take(&mut self, heard: HelloId) -> Option<HelloId> {
        if self.smaller && matches!(self.dial, Dial::HelloSent(_)) {
            return None;
        }
        if let Some(standing) = self.connected
            && standing.run == heard.run
            && heard.sequence <= standing.sequence
        {
            return None;
        }
        self.dial = Dial::None;
        self.connected = Some(heard);
        Some(self.next_hello())
    }

    /// The connection on which `heard` was said has ended. Whether it was the one that stood.
    pub(super) fn ended(&mut self, heard: HelloId) -> bool {
        let stood = self.connected == Some(heard);
        if stood {
            self.connected = None;
        }
        stood
    }

    fn next_hello(&mut self) -> HelloId {
        self.sequence += 1;
        HelloId {
            run: self.run,
            sequence: self.sequence,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    /// The end with the smaller key, and the other.
    fn pair() -> (Standing, Standing) {
        (Standing::new(true, 1), Standing::new(false, 2))
    }

    #[test]
    fn one_dials_and_both_have_it() {
        for larger_dials in [false, true] {
            let (mut a, mut b) = pair();
            if larger_dials {
                (a, b) = (b, a);
            }
            let attempt = a.dial().unwrap();
            let answer = b.take(a.say_hello(attempt).unwrap()).unwrap();
            assert!(a.answered(attempt, answer));
            assert!(a.is_connected() && b.is_connected());
            assert!(a.dial().is_none() && b.dial().is_none());
            assert!(a.ended(answer));
            assert!(a.dial().is_some());
        }
    }

    #[test]
    fn where_both_hellos_cross_that_of_the_smaller_key_stands() {
        let (mut small, mut large) = pair();
        let (from_small, from_large) = (small.dial().unwrap(), large.dial().unwrap());
        let (hello_small, hello_large) = (
            small.say_hello(from_small).unwrap(),
            large.say_hello(from_large).unwrap(),
        );
        assert_eq!(small.take(hello_large), None);
        let answer = large.take(hello_small).unwrap();
        assert!(small.answered(from_small, answer));
        assert!(
            !large.answered(from_large, hello_small),
            "its own came to nothing"
        );
        assert!(small.is_connected() && large.is_connected());
    }

    #[test]
    fn an_attempt_that_has_not_said_hello_gives_way() {
        let (mut small, mut large) = pair();
        let (from_small, from_large) = (small.dial().unwrap(), large.dial().unwrap());
        let answer = small.take(large.say_hello(from_large).unwrap()).unwrap();
        assert!(large.answered(from_large, answer));
        assert_eq!(small.say_hello(from_small), None);
        small.give_up(from_small);
        assert!(small.is_connected());
    }

    #[test]
    fn an_old_hello_that_comes_late_replaces_nothing() {
        let (mut small, mut large) = pair();
        let late = {
            let attempt = large.dial().unwrap();
            large.say_hello(attempt).unwrap()
        };
        let attempt = small.dial().unwrap();
        let hello = small.say_hello(attempt).unwrap();
        let answer = large.take(hello).unwrap();
        assert!(small.answered(attempt, answer));
        assert_eq!(small.take(late), None, "said before the answer");
        assert!(small.ended(answer));
    }

    #[test]
    fn who_comes_back_is_taken_whether_it_restarted_or_lost_the_connection() {
        let (mut small, mut large) = pair();
        let attempt = small.dial().unwrap();
        let first = large.take(small.say_hello(attempt).unwrap()).unwrap();
        assert!(small.answered(attempt, first));

        assert!(large.ended(HelloId { run: 1, sequence: 1 }));
        let attempt = large.dial().unwrap();
        let second = large.say_hello(attempt).unwrap();
        let answer = small.take(second).unwrap();
        assert!(large.answered(attempt, answer));
        assert!(!small.ended(first), "its end is no news");

        let mut restarted = Standing::new(false, 3);
        let attempt = restarted.dial().unwrap();
        let third = restarted.say_hello(attempt).unwrap();
        assert!(small.take(third).is_some());
        assert!(!small.ended(second) && small.ended(third));
    }

    #[test]
    fn an_attempt_that_was_given_up_counts_for_nothing() {
        let (mut small, mut large) = pair();
        let attempt = small.dial().unwrap();
        let hello = small.say_hello(attempt).unwrap();
        small.give_up(attempt);
        let answer = large.take(hello).unwrap();
        assert!(!small.answered(attempt, answer));
        let again = large.ended(hello) && large.dial().is_some();
        assert!(again);
    }
}
