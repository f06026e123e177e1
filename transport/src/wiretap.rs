//! For tests: somebody on the way, who passes every datagram on and reads what a handshake shows to all.
//!
//! Initial packets are protected by keys that follow from the first one's destination connection id (RFC 9001 §5.2), so
//! whoever sees them can read the ClientHello and the ServerHello in them: which key exchange groups are offered, and
//! which one is chosen.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{DirectionalKeys, Keys, Version};
use rustls::{Side, SupportedCipherSuite};

/// X25519MLKEM768 in the registry of TLS groups: 4588.
pub(crate) const X25519MLKEM768: u16 = 0x11ec;

/// Of an ML-KEM-768 encapsulation key, and then an X25519 key, in bytes.
pub(crate) const CLIENT_SHARE_LEN: usize = 1_184 + 32;
/// Of an ML-KEM-768 ciphertext, and then an X25519 key, in bytes.
pub(crate) const SERVER_SHARE_LEN: usize = 1_088 + 32;

/// What a handshake shows to everybody on its way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The groups that the client offers, in its order.
    pub(crate) offered: Vec<u16>,
    /// Groups and lengths of the key shares that it sends at once.
    pub(crate) shares: Vec<(u16, usize)>,
    /// Group and length of the server's key share.
    pub(crate) chosen: Option<(u16, usize)>,
}

impl Seen {
    /// What must be seen wherever one of ours talks to one of ours.
    pub(crate) fn hybrid_alone() -> Self {
        Self {
            offered: vec![X25519MLKEM768],
            shares: vec![(X25519MLKEM768, CLIENT_SHARE_LEN)],
            chosen: Some((X25519MLKEM768, SERVER_SHARE_LEN)),
        }
    }
}

/// Somebody between one client and a server. Dropped, it is gone.
pub(crate) struct Wiretap {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    client: Option<SocketAddr>,
    from_client: Vec<Vec<u8>>,
    from_server: Vec<Vec<u8>>,
}

/// So long a thread listens before it looks whether it is over.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(20);

impl Wiretap {
    pub(crate) fn before(server: SocketAddr) -> Self {
        let bind = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(LISTEN_TIMEOUT)).unwrap();
            Arc::new(socket)
        };
        let (outer, inner) = (bind(), bind());
        let address = outer.local_addr().unwrap();
        let (heard, ended) = (
            Arc::new(Mutex::new(Heard::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let towards = {
            let (outer, inner) = (Arc::clone(&outer), Arc::clone(&inner));
            let heard = Arc::clone(&heard);
            listen(Arc::clone(&ended), outer, move |from, bytes| {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.client = Some(from);
                heard.from_client.push(bytes.to_vec());
                inner.send_to(bytes, server).unwrap();
            })
        };
        let back = {
            let heard = Arc::clone(&heard);
            listen(Arc::clone(&ended), inner, move |_, bytes| {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.from_server.push(bytes.to_vec());
                if let Some(client) = heard.client {
                    outer.send_to(bytes, client).unwrap();
                }
            })
        };
        Self {
            address,
            heard,
            ended,
            threads: vec![towards, back],
        }
    }

    /// Where the server seems to be.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the first handshake showed so far.
    pub(crate) fn seen(&self) -> Seen {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Seen::default();
        let Some(id) = heard.from_client.first().and_then(|first| destination(first)) else {
            return seen;
        };
        let keys = initial_keys(&id);
        if let Some(hello) = handshake(&heard.from_client, &keys.local, 1) {
            let extensions = extensions(&hello, true);
            seen.offered = numbers(&extensions[&10]);
            let mut shares = Bytes(&extensions[&51][2..]);
            while !shares.0.is_empty() {
                let group = shares.u16();
                let len = usize::from(shares.u16());
                shares.take(len);
                seen.shares.push((group, len));
            }
        }
        if let Some(hello) = handshake(&heard.from_server, &keys.remote, 2) {
            let extensions = extensions(&hello, false);
            let mut share = Bytes(&extensions[&51]);
            seen.chosen = Some((share.u16(), usize::from(share.u16())));
        }
        seen
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn listen(
    ended: Arc<AtomicBool>,
    socket: Arc<UdpSocket>,
    pass_on: impl Fn(SocketAddr, &[u8]) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        while !ended.load(Ordering::Acquire) {
            // A timeout, or the other end is gone.
            if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                pass_on(from, &datagram[..len]);
            }
        }
    })
}

/// RFC 9001 §5.2: both sides' keys of Initial packets, from the client's first destination connection id.
fn initial_keys(id: &[u8]) -> Keys {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        panic!("a suite of TLS 1.3");
    };
    suite.quic_suite().unwrap().keys(id, Side::Client, Version::V1)
}

/// Reads from the front; panics at the end, as a test may.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    /// RFC 9000 §16.
    fn varint(&mut self) -> usize {
        let first = self.u8();
        let more = (1 << (first >> 6)) - 1;
        let start = usize::from(first & 0x3f);
        self.take(more)
            .iter()
            .fold(start, |value, byte| value << 8 | usize::from(*byte))
    }
}

/// The destination connection id of a long header.
fn destination(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Bytes(datagram);
    let is_initial_of_v1 = bytes.u8() & 0xf0 == 0xc0 && bytes.take(4) == [0, 0, 0, 1];
    let len = usize::from(bytes.u8());
    is_initial_of_v1.then(|| bytes.take(len).to_vec())
}

/// The handshake message of a kind that the Initial packets of one side carry, once all of it was seen.
fn handshake(datagrams: &[Vec<u8>], keys: &DirectionalKeys, kind: u8) -> Option<Vec<u8>> {
    let mut pieces = BTreeMap::new();
    datagrams
        .iter()
        .for_each(|datagram| gather(datagram, keys, &mut pieces));
    let mut stream: Vec<u8> = Vec::new();
    for (offset, piece) in pieces {
        if offset > stream.len() {
            return None;
        }
        let known = stream.len() - offset;
        stream.extend_from_slice(piece.get(known..).unwrap_or_default());
    }
    let head: [u8; 4] = stream.get(..4)?.try_into().unwrap();
    assert_eq!(head[0], kind, "RFC 8446 §4: 1 is a ClientHello, 2 a ServerHello");
    let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    stream.get(4..4 + len).map(<[u8]>::to_vec)
}

/// Takes the CRYPTO frames out of a datagram's Initial packets (RFC 9000 §17.2, §19.6).
fn gather(datagram: &[u8], keys: &DirectionalKeys, pieces: &mut BTreeMap<usize, Vec<u8>>) {
    let mut at = 0;
    while at < datagram.len() && datagram[at] & 0x80 != 0 {
        let mut bytes = Bytes(&datagram[at..]);
        let first = bytes.u8();
        let version = bytes.take(4);
        for _ in 0..2 {
            let len = usize::from(bytes.u8());
            bytes.take(len);
        }
        let packet_type = (first >> 4) & 3;
        if version != [0, 0, 0, 1] || packet_type == 3 {
            return;
        }
        if packet_type == 0 {
            let token = bytes.varint();
            bytes.take(token);
        }
        let len = bytes.varint();
        let number_at = datagram.len() - bytes.0.len();
        let end = number_at + len;
        if packet_type == 0 {
            let mut packet = datagram[at..end].to_vec();
            frames(&open(&mut packet, number_at - at, keys), pieces);
        }
        at = end;
    }
}

/// Takes the protection off a packet: its frames.
fn open(packet: &mut [u8], number_at: usize, keys: &DirectionalKeys) -> Vec<u8> {
    let sample = packet[number_at + 4..][..keys.header.sample_len()].to_vec();
    let (front, rest) = packet.split_at_mut(number_at);
    keys.header
        .decrypt_in_place(&sample, &mut front[0], &mut rest[..4])
        .unwrap();
    let number_len = usize::from(front[0] & 3) + 1;
    let number = rest[..number_len]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    // Of the four bytes that were taken for the number, the rest are payload as it came.
    let (header, payload) = packet.split_at_mut(number_at + number_len);
    keys.packet
        .decrypt_in_place(number, header, payload)
        .unwrap()
        .to_vec()
}

fn frames(payload: &[u8], pieces: &mut BTreeMap<usize, Vec<u8>>) {
    let mut bytes = Bytes(payload);
    while !bytes.0.is_empty() {
        match bytes.varint() {
            // PADDING, PING.
            0 | 1 => {}
            // ACK: largest, delay, ranges, the first range, then gap and length of each; with 3, three counts of ECN.
            kind @ (2 | 3) => {
                bytes.varint();
                bytes.varint();
                let ranges = bytes.varint();
                let counts = if kind == 3 { 3 } else { 0 };
                (0..1 + 2 * ranges + counts).for_each(|_| {
                    bytes.varint();
                });
            }
            // CRYPTO.
            6 => {
                let (offset, len) = (bytes.varint(), bytes.varint());
                pieces.insert(offset, bytes.take(len).to_vec());
            }
            // CONNECTION_CLOSE: nothing of interest follows.
            0x1c => return,
            other => panic!("frame {other:#x} in an Initial packet"),
        }
    }
}

/// The extensions of a hello, by number (RFC 8446 §4.1.2, §4.1.3).
fn extensions(hello: &[u8], is_client: bool) -> BTreeMap<u16, Vec<u8>> {
    let mut bytes = Bytes(hello);
    bytes.take(2 + 32);
    let session = usize::from(bytes.u8());
    bytes.take(session);
    if is_client {
        let suites = usize::from(bytes.u16());
        bytes.take(suites);
        let compression = usize::from(bytes.u8());
        bytes.take(compression);
    } else {
        bytes.take(2 + 1);
    }
    let len = usize::from(bytes.u16());
    let mut list = Bytes(bytes.take(len));
    let mut extensions = BTreeMap::new();
    while !list.0.is_empty() {
        let number = list.u16();
        let len = usize::from(list.u16());
        extensions.insert(number, list.take(len).to_vec());
    }
    extensions
}

/// A list of numbers behind its length in bytes.
fn numbers(list: &[u8]) -> Vec<u16> {
    let (pairs, _) = list[2..].as_chunks();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}
