//! Checking SLH-DSA-SHA2-128s and -128f signatures (FIPS 205 algorithms 20 and 24, hashes of §11.2.1).
//!
//! Ours, since a signature is some two thousand hashes of less than a block each, and libraries spend half their time
//! around the compression function: here the state after the seed's block is kept, and each hash is one call. It holds
//! no secrets. Decision 0022 has the figures; the tests hold it against two libraries and the vectors of ACVP.

use crate::codec;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// Bytes of a node (FIPS 205 table 2: n).
const NODE_LEN: usize = 16;
/// Hash chains of a one-time signature, 4 bits each: 32 of the message, 3 of its checksum (FIPS 205 §5).
const CHAINS: usize = 35;
const MESSAGE_CHAINS: usize = 32;
/// Steps from the first value of a chain to its last.
const CHAIN_STEPS: u8 = 15;
/// Most bytes of a compressed address and of what is hashed under it: the ends of all chains.
const LONG_INPUT_BLOCKS: usize = 10;

type Node = [u8; NODE_LEN];

/// A parameter set (FIPS 205 table 2).
pub(super) struct Parameters {
    /// Layers of trees: d.
    pub(super) layers: u8,
    /// Height of each: h'.
    pub(super) layer_height: u8,
    /// Trees of few-time signatures: k.
    pub(super) few_time_trees: u8,
    /// Height of each: a.
    pub(super) few_time_height: u8,
}

/// Whether it is that key's signature of the message, in the published form with an empty context (FIPS 205 §10.2).
pub(super) fn verify(set: &Parameters, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some((seed, root)) = public.split_first_chunk::<NODE_LEN>() else {
        return false;
    };
    let hasher = Hasher::new(seed);
    let mut rest = Nodes(signature);
    let computed = rest.take().and_then(|randomizer| {
        let digest = digest(&randomizer, public, message);
        hypertree_root(set, &hasher, &digest, &mut rest)
    });
    rest.0.is_empty() && computed.is_some_and(|computed| computed == root)
}

/// The nodes of a signature not yet used.
struct Nodes<'a>(&'a [u8]);

impl Nodes<'_> {
    fn take(&mut self) -> Option<Node> {
        let (node, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*node)
    }
}

/// The message's digest, at least as long as any set uses: two blocks of MGF1 (FIPS 205 §11.2.1, RFC 8017 B.2.1).
fn digest(randomizer: &Node, public: &[u8], message: &[u8]) -> [u8; 64] {
    let front = [0, 0];
    let inner = Sha256::new()
        .chain_update(randomizer)
        .chain_update(public)
        .chain_update(front)
        .chain_update(message)
        .finalize();
    let seed = Sha256::new()
        .chain_update(randomizer)
        .chain_update(&public[..NODE_LEN])
        .chain_update(inner);
    let mut out = [0; 64];
    for (counter, half) in (0u32..).zip(out.chunks_exact_mut(32)) {
        half.copy_from_slice(&seed.clone().chain_update(counter.to_be_bytes()).finalize());
    }
    out
}

/// The root that the signature leads to: a few-time key from the digest, and through the layers up (algorithm 20 from
/// step 8 on, algorithm 13).
fn hypertree_root(
    set: &Parameters,
    hasher: &Hasher,
    digest: &[u8; 64],
    rest: &mut Nodes<'_>,
) -> Option<Node> {
    let few_time_bits = usize::from(set.few_time_trees) * usize::from(set.few_time_height);
    let (few_time, positions) = digest.split_at(few_time_bits.div_ceil(8));
    let tree_bits = u32::from(set.layer_height) * u32::from(set.layers - 1);
    let (tree, leaf) = positions.split_at(codec::index(tree_bits.div_ceil(8)));
    let leaf_bits = u32::from(set.layer_height);
    let mut tree = low_bits(tree, tree_bits);
    let mut leaf = low_bits(&leaf[..codec::index(leaf_bits.div_ceil(8))], leaf_bits);
    let mut address = Address::new(tree);
    let mut node = few_time_key(set, hasher, few_time, leaf, &mut address, rest)?;
    for layer in 0..set.layers {
        address = Address::new(tree);
        address.0[0] = layer;
        node = one_time_key(hasher, &node, leaf, &mut address, rest)?;
        address.turn_to(Kind::Tree);
        node = climb(hasher, node, leaf, set.layer_height, &mut address, rest)?;
        leaf = tree & mask(leaf_bits);
        tree >>= leaf_bits;
    }
    Some(node)
}

/// The number in the last `bits` bits of at most 8 bytes, big endian.
fn low_bits(bytes: &[u8], bits: u32) -> u64 {
    number(bytes) & mask(bits)
}

/// The number in at most 8 bytes, big endian.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// `bits` ones, for fewer than 64.
fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The few-time public key that signed the digest (algorithm 17).
fn few_time_key(
    set: &Parameters,
    hasher: &Hasher,
    digest: &[u8],
    leaf: u64,
    address: &mut Address,
    rest: &mut Nodes<'_>,
) -> Option<Node> {
    let mut roots = LongInput::new();
    let bits = u32::from(set.few_time_height);
    for tree in 0..set.few_time_trees {
        let at = (u64::from(tree) << bits) + bits_at(digest, u32::from(tree) * bits, bits);
        address.turn_to(Kind::FewTimeTree);
        address.set_key_pair(leaf);
        address.set_index(at);
        let node = hasher.hash(address, &rest.take()?);
        roots.push(&climb(hasher, node, at, set.few_time_height, address, rest)?);
    }
    address.turn_to(Kind::FewTimeRoots);
    address.set_key_pair(leaf);
    Some(hasher.hash_long(address, &mut roots))
}

/// `bits` bits from bit `from` on, the most significant bit of each byte first (algorithm 4).
fn bits_at(bytes: &[u8], from: u32, bits: u32) -> u64 {
    let (first, skipped) = (codec::index(from / 8), from % 8);
    let last = codec::index((from + bits).div_ceil(8));
    let below = (skipped + bits).next_multiple_of(8) - skipped - bits;
    number(&bytes[first..last]) >> below & mask(bits)
}

/// The one-time public key that signed a node (algorithm 8).
fn one_time_key(
    hasher: &Hasher,
    signed: &Node,
    leaf: u64,
    address: &mut Address,
    rest: &mut Nodes<'_>,
) -> Option<Node> {
    address.turn_to(Kind::Chain);
    address.set_key_pair(leaf);
    let mut ends = LongInput::new();
    for (chain, digit) in (0u64..).zip(digits(signed)) {
        address.set_middle(chain);
        ends.push(&hasher.chain(address, rest.take()?, digit));
    }
    address.turn_to(Kind::ChainEnds);
    address.set_key_pair(leaf);
    Some(hasher.hash_long(address, &mut ends))
}

/// Where each chain of a one-time signature begins: the node's half bytes, and their checksum's.
fn digits(node: &Node) -> [u8; CHAINS] {
    let mut digits = [0; CHAINS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(node) {
        pair.copy_from_slice(&[byte >> 4, byte & 15]);
    }
    let checksum: u16 = digits[..MESSAGE_CHAINS]
        .iter()
        .map(|digit| u16::from(CHAIN_STEPS - digit))
        .sum();
    let [high, low] = checksum.to_be_bytes();
    digits[MESSAGE_CHAINS..].copy_from_slice(&[high & 15, low >> 4, low & 15]);
    digits
}

/// From a leaf up to the root of its tree, with the path in the signature (algorithm 11 from step 6 on).
fn climb(
    hasher: &Hasher,
    mut node: Node,
    mut at: u64,
    height: u8,
    address: &mut Address,
    rest: &mut Nodes<'_>,
) -> Option<Node> {
    for level in 1..=height {
        let is_right = at & 1 == 1;
        at >>= 1;
        address.set_middle(u64::from(level));
        address.set_index(at);
        let sibling = rest.take()?;
        node = if is_right {
            hasher.hash_two(address, &sibling, &node)
        } else {
            hasher.hash_two(address, &node, &sibling)
        };
    }
    Some(node)
}

/// What an address is of (FIPS 205 §4.2).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Chain = 0,
    ChainEnds = 1,
    Tree = 2,
    FewTimeTree = 3,
    FewTimeRoots = 4,
}

/// Bytes of a compressed address (FIPS 205 §11.2): layer 1, tree 8, kind 1, then three words.
const ADDRESS_LEN: usize = 22;

/// Where in the structure a hash is taken: layer, tree, kind, key pair, chain or height, step or index.
struct Address([u8; ADDRESS_LEN]);

impl Address {
    fn new(tree: u64) -> Self {
        let mut bytes = [0; ADDRESS_LEN];
        bytes[1..9].copy_from_slice(&tree.to_be_bytes());
        Self(bytes)
    }

    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    fn turn_to(&mut self, kind: Kind) {
        self.0[9] = kind as u8;
        self.0[10..].fill(0);
    }

    fn set_key_pair(&mut self, leaf: u64) {
        self.set(10, leaf);
    }

    /// The chain, or the height in a tree.
    fn set_middle(&mut self, value: u64) {
        self.set(14, value);
    }

    /// The step of a chain, or the index in a tree.
    fn set_index(&mut self, value: u64) {
        self.set(18, value);
    }

    fn set(&mut self, at: usize, value: u64) {
        self.0[at..at + 4].copy_from_slice(&value.to_be_bytes()[4..]);
    }
}

/// SHA-256 after the block that every hash of a key begins with: `PK.seed`, filled up with zeros.
struct Hasher {
    seeded: [u32; 8],
}

/// SHA-256 before anything (FIPS 180-4 §5.3.3).
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

impl Hasher {
    fn new(seed: &Node) -> Self {
        let mut block = [0; 64];
        block[..NODE_LEN].copy_from_slice(seed);
        let mut seeded = SHA256_START;
        compress256(&mut seeded, &[block]);
        Self { seeded }
    }

    /// F.
    fn hash(&self, address: &Address, node: &Node) -> Node {
        let mut block = padded(NODE_LEN);
        block[..ADDRESS_LEN].copy_from_slice(&address.0);
        block[ADDRESS_LEN..ADDRESS_LEN + NODE_LEN].copy_from_slice(node);
        self.finish(&[block])
    }

    /// H.
    fn hash_two(&self, address: &Address, left: &Node, right: &Node) -> Node {
        let mut block = padded(2 * NODE_LEN);
        block[..ADDRESS_LEN].copy_from_slice(&address.0);
        block[ADDRESS_LEN..ADDRESS_LEN + NODE_LEN].copy_from_slice(left);
        block[ADDRESS_LEN + NODE_LEN..ADDRESS_LEN + 2 * NODE_LEN].copy_from_slice(right);
        self.finish(&[block])
    }

    /// T of many nodes.
    fn hash_long(&self, address: &Address, input: &mut LongInput) -> Node {
        let LongInput { blocks, len } = input;
        let len = *len;
        let bytes = blocks.as_flattened_mut();
        bytes[..ADDRESS_LEN].copy_from_slice(&address.0);
        bytes[len] = 0x80;
        let used = (len + 9).div_ceil(64);
        bytes[64 * used - 8..64 * used].copy_from_slice(&bit_len(len));
        self.finish(&blocks[..used])
    }

    /// F again and again, from step `from` of a chain to its end (algorithm 5).
    fn chain(&self, address: &Address, mut node: Node, from: u8) -> Node {
        let mut block = padded(NODE_LEN);
        block[..ADDRESS_LEN].copy_from_slice(&address.0);
        for step in from..CHAIN_STEPS {
            block[ADDRESS_LEN - 1] = step;
            block[ADDRESS_LEN..ADDRESS_LEN + NODE_LEN].copy_from_slice(&node);
            node = self.finish(&[block]);
        }
        node
    }

    fn finish(&self, blocks: &[[u8; 64]]) -> Node {
        let mut state = self.seeded;
        compress256(&mut state, blocks);
        let mut node = [0; NODE_LEN];
        for (bytes, word) in node.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        node
    }
}

/// A last block for an address and `len` bytes after it, which fit.
fn padded(len: usize) -> [u8; 64] {
    let mut block = [0; 64];
    block[ADDRESS_LEN + len] = 0x80;
    block[56..].copy_from_slice(&bit_len(ADDRESS_LEN + len));
    block
}

/// What SHA-256 ends with: the bits of everything, the seed's block among it.
fn bit_len(len: usize) -> [u8; 8] {
    (8 * codec::wide(64 + len)).to_be_bytes()
}

/// An address and many nodes, to be hashed as one.
struct LongInput {
    blocks: [[u8; 64]; LONG_INPUT_BLOCKS],
    len: usize,
}

impl LongInput {
    fn new() -> Self {
        Self {
            blocks: [[0; 64]; LONG_INPUT_BLOCKS],
            len: ADDRESS_LEN,
        }
    }

    fn push(&mut self, node: &Node) {
        self.blocks.as_flattened_mut()[self.len..self.len + NODE_LEN].copy_from_slice(node);
        self.len += NODE_LEN;
    }
}
