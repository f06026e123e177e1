//! Where connections come from: places and rates of each network address and each client key.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selfchain_types::seam::transport::Limit;
use tokio::sync::Semaphore;

use super::{Bucket, Limits};

/// Between two sweeps for origins to forget, nanoseconds: a full table must not cost a scan per stranger.
const SWEEP_INTERVAL_NS: u64 = 1_000_000_000;

/// Whom a limit is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OriginKey {
    /// An IPv4 address, or the /64 of an IPv6 address (a customer gets a whole /64).
    Network(IpAddr),
    /// A client key that was proved in the handshake.
    Client([u8; 32]),
}

/// What to do with a connection attempt before the handshake costs anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    /// Let it try; a place is taken when the handshake is through.
    Welcome {
        /// Whether the arrival was already counted against its address.
        counted: bool,
    },
    /// Have it prove its address first: free for us, and no third party can use up someone's arrivals.
    ProveAddress,
    /// No.
    Refuse,
}

/// The rates of one identity, shared by its connections.
#[derive(Debug)]
pub(crate) struct Rates {
    frames: Bucket,
    bytes: Bucket,
}

impl Rates {
    pub(crate) fn new(frames: Bucket, bytes: Bucket) -> Self {
        Self { frames, bytes }
    }

    /// Takes `frames` of `bytes` in all, or nothing; on refusal says whether bytes ran out and for how many ms.
    pub(crate) fn take(&mut self, frames: u64, bytes: u64, now_ns: u64) -> Result<(), (Resource, u32)> {
        self.frames
            .take(frames, now_ns)
            .map_err(|ms| (Resource::Frames, ms))?;
        self.bytes.take(bytes, now_ns).map_err(|ms| {
            self.frames.give_back(frames);
            (Resource::Bytes, ms)
        })
    }

    /// Undoes a `take`.
    pub(crate) fn give_back(&mut self, frames: u64, bytes: u64) {
        self.frames.give_back(frames);
        self.bytes.give_back(bytes);
    }

    fn at_rest(&mut self, now_ns: u64) -> bool {
        self.frames.is_full(now_ns) && self.bytes.is_full(now_ns)
    }
}

/// Which of two rates ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Frames a second.
    Frames,
    /// Bytes a second.
    Bytes,
}

impl Resource {
    /// The limit of one connection.
    pub(crate) const fn of_connection(self) -> Limit {
        match self {
            Self::Frames => Limit::ConnectionFrames,
            Self::Bytes => Limit::ConnectionBytes,
        }
    }

    /// The limit of one identity.
    pub(crate) const fn of_identity(self) -> Limit {
        match self {
            Self::Frames => Limit::IdentityFrames,
            Self::Bytes => Limit::IdentityBytes,
        }
    }
}

#[derive(Debug)]
struct Origin {
    open: usize,
    arrivals: Bucket,
    rates: Arc<Mutex<Rates>>,
    assembly: Arc<Semaphore>,
}

#[derive(Debug)]
struct Table {
    origins: HashMap<OriginKey, Origin>,
    swept_at_ns: u64,
}

/// Every origin that has a connection or recently had one. Bounded by `identities_max`.
#[derive(Debug)]
pub(crate) struct Origins {
    limits: Arc<Limits>,
    table: Mutex<Table>,
}

impl Origins {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            table: Mutex::new(Table {
                origins: HashMap::new(),
                swept_at_ns: 0,
            }),
        }
    }

    /// Judges an attempt from `address`. Attempts from unproved addresses leave no trace, so that forged ones
    /// neither fill the table nor use up the arrivals of whoever owns the address.
    pub(crate) fn knock(&self, address: IpAddr, proved: bool, now_ns: u64) -> Knock {
        let key = OriginKey::Network(network_of(address));
        let mut table = self.lock();
        if proved {
            let Some(origin) = table.entry(key, &self.limits, now_ns) else {
                return Knock::Refuse;
            };
            let welcome =
                origin.open < self.limits.connections_per_ip_max && origin.arrivals.take(1, now_ns).is_ok();
            return if welcome {
                Knock::Welcome { counted: true }
            } else {
                Knock::Refuse
            };
        }
        let Some(origin) = table.origins.get_mut(&key) else {
            return Knock::Welcome { counted: false };
        };
        let room = origin.open < self.limits.connections_per_ip_max && {
            let room = origin.arrivals.take(1, now_ns).is_ok();
            if room {
                origin.arrivals.give_back(1);
            }
            room
        };
        if room {
            Knock::Welcome { counted: false }
        } else {
            Knock::ProveAddress
        }
    }

    /// Takes a place for a connection whose handshake is through, until the [`Place`] is dropped. `None`: the
    /// address or the key has too many, or the table is full of others that are active.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        client_key: Option<[u8; 32]>,
        counted: bool,
        now_ns: u64,
    ) -> Option<Place> {
        let network = OriginKey::Network(network_of(address));
        let mut table = self.lock();
        let origin = table.entry(network, &self.limits, now_ns)?;
        if origin.open >= self.limits.connections_per_ip_max
            || (!counted && origin.arrivals.take(1, now_ns).is_err())
        {
            return None;
        }
        origin.open += 1;
        let mut place = Place {
            origins: Arc::clone(self),
            keys: [Some(network), None],
            rates: Arc::clone(&origin.rates),
            assembly: Arc::clone(&origin.assembly),
        };
        if let Some(key) = client_key {
            let key = OriginKey::Client(key);
            let Some(origin) = table.entry(key, &self.limits, now_ns) else {
                drop(table); // the place gives itself back, and needs the table for it
                return None;
            };
            origin.open += 1;
            place.rates = Arc::clone(&origin.rates);
            place.assembly = Arc::clone(&origin.assembly);
            place.keys[1] = Some(key);
        }
        Some(place)
    }

    fn leave(&self, keys: [Option<OriginKey>; 2]) {
        let mut table = self.lock();
        for key in keys.into_iter().flatten() {
            if let Some(origin) = table.origins.get_mut(&key) {
                origin.open = origin.open.saturating_sub(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn entry(&mut self, key: OriginKey, limits: &Limits, now_ns: u64) -> Option<&mut Origin> {
        if !self.origins.contains_key(&key) && self.origins.len() >= limits.identities_max {
            self.sweep(now_ns);
            if self.origins.len() >= limits.identities_max {
                return None;
            }
        }
        Some(self.origins.entry(key).or_insert_with(|| Origin {
            open: 0,
            arrivals: Bucket::full(limits.connections_new_per_ip, now_ns),
            rates: Arc::new(Mutex::new(Rates::new(
                Bucket::full(limits.identity_frames, now_ns),
                Bucket::full(limits.identity_bytes, now_ns),
            ))),
            assembly: Arc::new(Semaphore::new(limits.assembly_permits_of_identity())),
        }))
    }

    /// Forgets the origins that have nothing open and have paid back everything: they would start the same.
    fn sweep(&mut self, now_ns: u64) {
        if self.swept_at_ns != 0 && now_ns.saturating_sub(self.swept_at_ns) < SWEEP_INTERVAL_NS {
            return;
        }
        self.swept_at_ns = now_ns.max(1);
        self.origins.retain(|_, origin| {
            origin.open > 0
                || !origin.arrivals.is_full(now_ns)
                || !origin
                    .rates
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .at_rest(now_ns)
        });
    }
}

/// A connection's place among those of its address and key; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    origins: Arc<Origins>,
    keys: [Option<OriginKey>; 2],
    /// The rates of the connection's identity.
    pub(crate) rates: Arc<Mutex<Rates>>,
    /// The identity's part of what unfinished large frames may hold.
    pub(crate) assembly: Arc<Semaphore>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.origins.leave(self.keys);
    }
}

/// What one customer is given: a whole IPv4 address, or a /64 of IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::limits::Rate;

    const S: u64 = 1_000_000_000;

    fn origins(limits: Limits) -> Arc<Origins> {
        Arc::new(Origins::new(Arc::new(limits)))
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let origins = origins(Limits {
            connections_per_ip_max: 2,
            ..Limits::default()
        });
        let first = origins.enter(ip(1), None, false, S).unwrap();
        let _second = origins.enter(ip(1), None, false, S).unwrap();
        assert!(origins.enter(ip(1), None, false, S).is_none());
        assert!(
            origins.enter(ip(2), None, false, S).is_some(),
            "another address is not affected"
        );
        assert_eq!(origins.knock(ip(1), true, S), Knock::Refuse);
        drop(first);
        assert!(origins.enter(ip(1), None, false, S).is_some());
    }

    #[test]
    fn new_connections_are_rated_and_strangers_prove_their_address_first() {
        let rate = Rate { per_s: 1, burst: 1 };
        let origins = origins(Limits {
            connections_new_per_ip: rate,
            ..Limits::default()
        });
        assert_eq!(origins.knock(ip(1), false, S), Knock::Welcome { counted: false });
        assert!(origins.enter(ip(1), None, false, S).is_some());
        assert_eq!(origins.knock(ip(1), false, S), Knock::ProveAddress);
        assert_eq!(origins.knock(ip(1), true, S), Knock::Refuse);
        assert_eq!(
            origins.knock(ip(1), true, 2 * S),
            Knock::Welcome { counted: true }
        );
        assert!(origins.enter(ip(1), None, true, 2 * S).is_some());
        assert!(origins.enter(ip(1), None, false, 2 * S).is_none());
    }

    #[test]
    fn a_forged_address_uses_up_nothing() {
        let rate = Rate { per_s: 1, burst: 1 };
        let origins = origins(Limits {
            connections_new_per_ip: rate,
            ..Limits::default()
        });
        for _ in 0..1_000 {
            assert_eq!(origins.knock(ip(9), false, S), Knock::Welcome { counted: false });
        }
        assert_eq!(origins.knock(ip(9), true, S), Knock::Welcome { counted: true });
        assert_eq!(origins.lock().origins.len(), 1);
    }

    #[test]
    fn one_key_shares_its_rates_over_addresses_and_a_64_is_one_network() {
        let origins = origins(Limits::default());
        let a = origins.enter(ip(1), Some([7; 32]), false, S).unwrap();
        let b = origins.enter(ip(2), Some([7; 32]), false, S).unwrap();
        assert!(Arc::ptr_eq(&a.rates, &b.rates));
        let c = origins
            .enter("2001:db8::1".parse().unwrap(), None, false, S)
            .unwrap();
        let d = origins
            .enter("2001:db8::ffff:2".parse().unwrap(), None, false, S)
            .unwrap();
        assert!(Arc::ptr_eq(&c.rates, &d.rates));
        let mapped = origins
            .enter("::ffff:10.0.0.5".parse().unwrap(), None, false, S)
            .unwrap();
        let plain = origins.enter(ip(5), None, false, S).unwrap();
        assert!(Arc::ptr_eq(&mapped.rates, &plain.rates));
    }

    #[test]
    fn a_full_table_forgets_those_at_rest_and_refuses_when_none_is() {
        let origins = origins(Limits {
            identities_max: 2,
            ..Limits::default()
        });
        drop(origins.enter(ip(1), None, false, S).unwrap());
        let _open = origins.enter(ip(2), None, false, S).unwrap();
        assert!(
            origins.enter(ip(3), None, false, S).is_none(),
            "the first has an arrival to pay back"
        );
        let third = origins.enter(ip(3), None, false, 10 * S);
        assert!(third.is_some(), "and has paid it back nine seconds later");
        assert!(origins.enter(ip(4), None, false, 20 * S).is_none());
        assert!(
            origins.enter(ip(2), Some([1; 32]), false, 30 * S).is_none(),
            "no room for the key"
        );
        assert_eq!(
            origins.lock().origins[&OriginKey::Network(ip(2))].open,
            1,
            "and its place is given back"
        );
    }

    #[test]
    fn rates_take_both_or_nothing() {
        let mut rates = Rates::new(
            Bucket::full(Rate { per_s: 10, burst: 10 }, 0),
            Bucket::full(
                Rate {
                    per_s: 100,
                    burst: 100,
                },
                0,
            ),
        );
        assert_eq!(rates.take(1, 100, 0), Ok(()));
        assert_eq!(rates.take(9, 50, 0), Err((Resource::Bytes, 500)));
        assert_eq!(
            rates.take(9, 0, 0),
            Ok(()),
            "the frames of the refused were given back"
        );
        assert_eq!(rates.take(1, 0, 0), Err((Resource::Frames, 100)));
    }
}
