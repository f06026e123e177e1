//! What an embedder must not be made to carry: the light builds stay free of tokio, TLS and a C compiler.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// One line of `cargo tree`: a crate, and the crate that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    parent: String,
    child: String,
}

/// Network, TLS and runtime: none of it belongs in an embedded ledger.
const NETWORK: [&str; 12] = [
    "async-std",
    "axum",
    "aws-lc-rs",
    "aws-lc-sys",
    "hyper",
    "libp2p",
    "mio",
    "openssl",
    "quinn",
    "ring",
    "rustls",
    "tokio",
];

/// Crates whose only use is to find, drive or bind a C compiler.
const C_TOOLS: [&str; 7] = [
    "bindgen",
    "cc",
    "clang-sys",
    "cmake",
    "nasm-rs",
    "pkg-config",
    "vcpkg",
];

/// Where a C tool or a `-sys` name is harmless, and why.
const HARMLESS: [(&str, &str); 2] = [
    // blake3's build script probes for a C compiler and, on x86-64, goes on with its Rust intrinsics where there is none
    // (`c_compiler_support` there; `.ci/nightly` builds that way). On little-endian aarch64 it wants one for NEON: build
    // there with blake3's feature `no_neon` or `pure` when there is none.
    ("blake3", "cc"),
    // Constants and structures of the kernel's interface, in Rust; nothing is linked.
    ("rustix", "linux-raw-sys"),
];

#[test]
fn the_embedded_ledger_has_no_network_and_needs_no_c_compiler() {
    let tree = edges(&["-p", "selfchain", "--no-default-features"]);
    assert!(
        tree.iter().any(|edge| edge.child == "redb"),
        "cargo tree shows no storage: {tree:?}"
    );
    assert_eq!(heavy(&tree), Vec::<String>::new());
}

#[test]
fn types_pulls_signatures_and_hashes_only() {
    // ARCHITECTURE §2: zebra, SLH-DSA and BLAKE3, with derives for errors, layout and wiping.
    let bare = [
        "blake3",
        "ed25519-zebra",
        "fips205",
        "sha2",
        "thiserror",
        "zerocopy",
        "zeroize",
    ];
    check_types(&["--no-default-features"], &bare);
    // `std` adds what draws a new key, and what zebra stands on: batches are checked over remembered points.
    let std = ["curve25519-dalek", "getrandom"];
    check_types(&[], &[&bare[..], &std].concat());
}

fn check_types(features: &[&str], expected: &[&str]) {
    let tree = edges(&[&["-p", "selfchain-types"], features].concat());
    let direct = tree
        .iter()
        .filter(|edge| edge.parent == "selfchain-types")
        .map(|edge| edge.child.as_str());
    assert_eq!(
        direct.collect::<BTreeSet<_>>(),
        expected.iter().copied().collect::<BTreeSet<_>>()
    );
    assert_eq!(heavy(&tree), Vec::<String>::new());
}

#[test]
fn the_proof_verifier_has_no_thread_pool() {
    let tree = edges(&["-p", "selfchain-engine", "--no-default-features"]);
    assert!(
        tree.iter().all(|edge| edge.child != "rayon"),
        "rayon came in: {tree:?}"
    );
    assert_eq!(heavy(&tree), Vec::<String>::new());
}

#[test]
fn a_heavy_crate_is_caught() {
    let check = |tree: &str, want: &[&str]| assert_eq!(heavy(&parse(tree)), want);
    check(
        "0selfchain v0.1.0 (/here)\n1blake3 v1.8.7\n2cc v1.11.3\n1rustix v1.1.6\n2linux-raw-sys v0.12.1\n",
        &[],
    );
    check(
        "0selfchain v0.1.0\n1tokio v1.54.0\n2mio v1.0.0\n",
        &["selfchain -> tokio", "tokio -> mio"],
    );
    check(
        "0selfchain v0.1.0\n1blake3 v1.8.7\n2cc v1.11.3\n1zstd v0.13.0\n2cc v1.11.3 (*)\n",
        &["zstd -> cc"],
    );
    check(
        "0selfchain v0.1.0\n1zstd v0.13.0\n2zstd-sys v2.0.0\n",
        &["zstd -> zstd-sys"],
    );
    check(
        "0selfchain v0.1.0\n1rustls v0.23.46\n1quinn-proto v0.11.0\n",
        &["selfchain -> quinn-proto", "selfchain -> rustls"],
    );
}

/// The edges that bring in network code or the need for a C compiler, as `parent -> child`.
fn heavy(tree: &BTreeSet<Edge>) -> Vec<String> {
    let is_network = |name: &str| {
        NETWORK
            .iter()
            .any(|heavy| name == *heavy || name.starts_with(&format!("{heavy}-")))
    };
    let is_c = |name: &str| name.ends_with("-sys") || C_TOOLS.contains(&name);
    tree.iter()
        .filter(|edge| !HARMLESS.contains(&(edge.parent.as_str(), edge.child.as_str())))
        .filter(|edge| is_network(&edge.child) || is_c(&edge.child))
        .map(|edge| format!("{} -> {}", edge.parent, edge.child))
        .collect()
}

/// What `cargo tree` says of the host's normal and build dependencies. It reads the lock file and no network.
fn edges(selection: &[&str]) -> BTreeSet<Edge> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in a folder of the workspace");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "tree",
            "--frozen",
            "-e",
            "normal,build",
            "--prefix",
            "depth",
            "--charset",
            "ascii",
        ])
        .args(selection)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&String::from_utf8(output.stdout).expect("cargo writes UTF-8"))
}

/// Reads lines `<depth><name> v<version> …`. A crate printed before comes without its own lines, so every edge is there once.
fn parse(text: &str) -> BTreeSet<Edge> {
    let mut path: Vec<&str> = Vec::new();
    let mut edges = BTreeSet::new();
    for line in text.lines() {
        let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
        let Ok(depth) = line[..digits].parse::<usize>() else {
            continue;
        };
        let name = line[digits..].split(' ').next().unwrap_or_default();
        path.truncate(depth);
        if let Some(parent) = path.last() {
            edges.insert(Edge {
                parent: (*parent).to_owned(),
                child: name.to_owned(),
            });
        }
        path.push(name);
    }
    edges
}
