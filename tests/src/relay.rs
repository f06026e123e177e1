//! A UDP relay with delay, jitter and loss from a seed, in user space: for kernels and namespaces without netem.
//!
//! It stands where a peer is thought to be and passes datagrams on to where the peer is, and the answers back.
//! What happens to the n-th datagram of a flow depends on the seed, the flow and n alone, so that a run can be
//! repeated as far as the ends send the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Datagrams under way at once. Above: lost, as in a router whose queue is full.
const UNDER_WAY_MAX: usize = 65_536;

/// Ends that may send through one relay. Above: lost.
const FLOWS_MAX: usize = 256;

/// Largest UDP payload, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// So long a thread listens before it looks whether the relay has ended.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(50);

/// What a path does to a datagram, one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path {
    /// Every datagram takes so long.
    pub delay: Duration,
    /// And up to so much longer, which also reorders.
    pub jitter: Duration,
    /// Of a million so many are lost; a million is a partition.
    pub loss_per_million: u32,
}

/// What has happened so far, both ways together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// Passed on.
    pub passed: u64,
    /// Lost by the path, or because too many were under way.
    pub lost: u64,
}

/// A running relay. Dropping it ends it.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    seed: u64,
    path: Mutex<Path>,
    under_way: Mutex<BinaryHeap<Reverse<Datagram>>>,
    due: Condvar,
    ended: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
}

/// One datagram on its way, ordered by when it is due.
struct Datagram {
    due: Instant,
    number: u64,
    out: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Relay {
    /// Listens at `listen` (port 0: any) and passes on to `target` what comes, over `path` each way.
    ///
    /// # Errors
    /// What the system says to the socket or a thread.
    pub fn start(listen: SocketAddr, target: SocketAddr, path: Path, seed: u64) -> io::Result<Self> {
        let front = Arc::new(socket(listen)?);
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            seed,
            path: Mutex::new(path),
            under_way: Mutex::default(),
            due: Condvar::new(),
            ended: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut relay = Self {
            shared: Arc::clone(&shared),
            address,
            threads: Vec::new(),
        };
        let deliver = Arc::clone(&shared);
        relay
            .threads
            .push(spawn("relay-deliver", move || deliver.deliver())?);
        relay
            .threads
            .push(spawn("relay-front", move || shared.listen_front(&front))?);
        Ok(relay)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the path for what comes from now on.
    pub fn set_path(&self, path: Path) {
        *lock(&self.shared.path) = path;
    }

    /// What has happened so far.
    pub fn relayed(&self) -> Relayed {
        Relayed {
            passed: self.shared.passed.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.due.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("relay: a thread failed");
            }
        }
    }
}

impl Shared {
    /// From the ends that send to us: each gets a socket of its own towards the target, so that answers find back.
    fn listen_front(self: &Arc<Self>, front: &Arc<UdpSocket>) {
        let mut flows: BTreeMap<SocketAddr, (Arc<UdpSocket>, Fates)> = BTreeMap::new();
        let mut threads = Vec::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ended.load(Ordering::Acquire) {
            let Some((bytes, from)) = receive(front, &mut buffer) else {
                continue;
            };
            if !flows.contains_key(&from) {
                let number = u64::try_from(flows.len()).unwrap_or(u64::MAX);
                match self.open_flow(front, from, number) {
                    Ok((back, thread)) if flows.len() < FLOWS_MAX => {
                        flows.insert(from, (back, Fates::new(self.seed, number * 2)));
                        threads.push(thread);
                    }
                    _ => {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                }
            }
            if let Some((back, fates)) = flows.get_mut(&from) {
                self.send_over(back, self.target, bytes, fates);
            }
        }
        for thread in threads {
            if thread.join().is_err() {
                eprintln!("relay: a thread failed");
            }
        }
    }

    fn open_flow(
        self: &Arc<Self>,
        front: &Arc<UdpSocket>,
        end: SocketAddr,
        number: u64,
    ) -> io::Result<(Arc<UdpSocket>, JoinHandle<()>)> {
        let back = Arc::new(socket(match self.target {
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
        })?);
        let (shared, front, listening) = (Arc::clone(self), Arc::clone(front), Arc::clone(&back));
        let thread = spawn("relay-back", move || {
            let mut fates = Fates::new(shared.seed, number * 2 + 1);
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            while !shared.ended.load(Ordering::Acquire) {
                if let Some((bytes, from)) = receive(&listening, &mut buffer)
                    && from == shared.target
                {
                    shared.send_over(&front, end, bytes, &mut fates);
                }
            }
        })?;
        Ok((back, thread))
    }

    fn send_over(&self, out: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8], fates: &mut Fates) {
        let path = *lock(&self.path);
        let fate = fates.next(&path);
        let mut under_way = lock(&self.under_way);
        match fate {
            Some(after) if under_way.len() < UNDER_WAY_MAX => under_way.push(Reverse(Datagram {
                due: Instant::now() + after,
                number: fates.count,
                out: Arc::clone(out),
                to,
                bytes: bytes.to_vec(),
            })),
            _ => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(under_way);
        self.due.notify_one();
    }

    /// Sends each datagram when it is due.
    fn deliver(&self) {
        let mut under_way = lock(&self.under_way);
        while !self.ended.load(Ordering::Acquire) {
            let now = Instant::now();
            let wait = under_way.peek().map_or(LISTEN_TIMEOUT, |Reverse(first)| {
                first.due.saturating_duration_since(now)
            });
            if wait.is_zero()
                && let Some(Reverse(first)) = under_way.pop()
            {
                drop(under_way);
                // What the system does not take is lost, as anywhere else on the way.
                let counter = match first.out.send_to(&first.bytes, first.to) {
                    Ok(_) => &self.passed,
                    Err(_) => &self.lost,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                under_way = lock(&self.under_way);
                continue;
            }
            let waited = self.due.wait_timeout(under_way, wait.min(LISTEN_TIMEOUT));
            under_way = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Datagram {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Datagram {}

impl PartialOrd for Datagram {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Datagram {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What happens to one datagram of a flow after the other.
struct Fates {
    state: u64,
    count: u64,
}

impl Fates {
    fn new(seed: u64, flow: u64) -> Self {
        let mut fates = Self {
            state: seed,
            count: 0,
        };
        // Flows of one seed start far apart.
        fates.state = fates.random() ^ flow.wrapping_mul(0xd6e8_feb8_6659_fd93);
        fates
    }

    /// After how long the next datagram arrives; `None`: never.
    fn next(&mut self, path: &Path) -> Option<Duration> {
        self.count += 1;
        // Both are drawn in every case: a change of the path does not shift what comes after.
        let (loss, late) = (self.random(), self.random());
        if loss % 1_000_000 < u64::from(path.loss_per_million) {
            return None;
        }
        let jitter_us = u64::try_from(path.jitter.as_micros()).unwrap_or(u64::MAX);
        let late_us = late % jitter_us.saturating_add(1).max(1);
        Some(path.delay + Duration::from_micros(late_us))
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(LISTEN_TIMEOUT))?;
    Ok(socket)
}

/// One datagram, unless none comes in time. Errors of earlier sends (nobody listened) are no news.
fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8]) -> Option<(&'a [u8], SocketAddr)> {
    let (len, from) = socket.recv_from(buffer).ok()?;
    Some((buffer.get(..len)?, from))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const LOSSY: Path = Path {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        loss_per_million: 50_000,
    };

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn end() -> UdpSocket {
        let socket = UdpSocket::bind(any_port()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn until(fact: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !fact() {
            assert!(Instant::now() < until, "nothing happened for a minute");
            std::thread::yield_now();
        }
    }

    #[test]
    fn fates_follow_from_the_seed_and_are_as_stated() {
        let draw = |seed, flow| {
            let mut fates = Fates::new(seed, flow);
            let drawn: Vec<_> = (0..100_000).map(|_| fates.next(&LOSSY)).collect();
            drawn
        };
        let fates = draw(1, 0);
        assert_eq!(fates, draw(1, 0));
        assert_ne!(fates, draw(1, 1));
        assert_ne!(fates, draw(2, 0));
        let lost = fates.iter().filter(|fate| fate.is_none()).count();
        assert!((4_500..5_500).contains(&lost), "{lost} of 100,000 lost");
        let (least, most) = (LOSSY.delay, LOSSY.delay + LOSSY.jitter);
        assert!(fates.iter().flatten().all(|after| (least..=most).contains(after)));
        assert!(
            fates
                .iter()
                .flatten()
                .any(|after| *after > least + LOSSY.jitter / 2)
        );
    }

    #[test]
    fn passes_on_both_ways_what_is_not_lost_and_not_before_its_time() {
        let target = end();
        let relay = Relay::start(any_port(), target.local_addr().unwrap(), LOSSY, 7).unwrap();
        let (mut there, mut back) = (Fates::new(7, 0), Fates::new(7, 1));
        let sender = end();
        let (mut buffer, mut lost) = ([0; 100], 0);
        for number in 0..200_u8 {
            let started = Instant::now();
            sender.send_to(&[number], relay.address()).unwrap();
            if there.next(&LOSSY).is_none() {
                lost += 1;
                continue;
            }
            let (len, from) = target.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [number]);
            assert!(started.elapsed() >= LOSSY.delay);
            target.send_to(&[number, 0], from).unwrap();
            if back.next(&LOSSY).is_none() {
                lost += 1;
                continue;
            }
            let (len, from) = sender.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), ([number, 0].as_slice(), relay.address()));
            assert!(started.elapsed() >= LOSSY.delay * 2);
        }
        assert!(lost > 0);
        until(|| relay.relayed().lost == lost);
    }

    #[test]
    fn a_partition_comes_and_goes() {
        let target = end();
        let relay = Relay::start(any_port(), target.local_addr().unwrap(), Path::default(), 7).unwrap();
        let partition = Path {
            loss_per_million: 1_000_000,
            ..Path::default()
        };
        let (sender, mut buffer) = (end(), [0; 100]);
        for round in 1..=10_u8 {
            sender.send_to(&[round, 1], relay.address()).unwrap();
            let (len, _) = target.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [round, 1]);
            relay.set_path(partition);
            sender.send_to(&[round, 2], relay.address()).unwrap();
            until(|| relay.relayed().lost == u64::from(round));
            relay.set_path(Path::default());
        }
        assert_eq!(relay.relayed(), Relayed { passed: 10, lost: 10 });
    }

    #[test]
    fn each_end_gets_its_own_answers() {
        let target = end();
        let relay = Relay::start(any_port(), target.local_addr().unwrap(), Path::default(), 7).unwrap();
        let (ends, mut buffer) = ([end(), end(), end()], [0; 100]);
        for (number, end) in (0_u8..).zip(&ends) {
            end.send_to(&[number], relay.address()).unwrap();
            let (len, from) = target.recv_from(&mut buffer).unwrap();
            target.send_to(&buffer[..len], from).unwrap();
        }
        for (number, end) in (0_u8..).zip(&ends) {
            let (len, _) = end.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [number]);
        }
    }
}
