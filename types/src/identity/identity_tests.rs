//! Certificates of identities: forms, forgeries, chains.

use super::*;
use crate::crypto::SignatureError;
use crate::crypto::verify;
use alloc::vec;
use alloc::vec::Vec;

/// Quick to sign with; the other set is the same code.
fn root() -> SigningKey {
    SigningKey::of_scheme(Scheme::Ed25519SlhDsa128f, &[7; 32]).unwrap()
}

fn public(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public().clone()
}

/// A first certificate with a key of every use.
fn body(root: &SigningKey) -> IdentityBody {
    let mut others = vec![public(3), public(4)];
    others.sort_by_key(PublicKey::id);
    IdentityBody {
        root: root.public().clone(),
        serial: 1,
        previous: Hash::ZERO,
        not_before: Height(10),
        not_after: Height(1_000),
        overlap: Height(0),
        roles: Roles::VALIDATOR.with(Roles::GATEWAY),
        keys: HotKeys {
            consensus: Some(public(1)),
            transport: Some(public(2)),
            kem: Some(vec![9; KEM_KEY_BYTES]),
            others,
        },
    }
}

fn after(
    before: &IdentityCertificate,
    root: &SigningKey,
    change: impl FnOnce(&mut IdentityBody),
) -> IdentityCertificate {
    let mut next = body(root);
    (next.serial, next.previous) = (before.body().serial + 1, before.hash());
    change(&mut next);
    IdentityCertificate::sign(next, root).unwrap()
}

#[test]
fn a_certificate_reads_back_and_its_root_signed_it() {
    for scheme in [Scheme::Ed25519SlhDsa128s, Scheme::Ed25519SlhDsa128f] {
        let root = SigningKey::of_scheme(scheme, &[7; 32]).unwrap();
        let made = IdentityCertificate::sign(body(&root), &root).unwrap();
        let read = IdentityCertificate::decode(&made.encode()).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.body().node(), node_id(root.public()));
        assert_eq!(read.hash(), read.body().hash());
        assert_eq!(read.body().check_at(Height(10)), Ok(()));
        assert!(read.body().check_at(Height(9)).is_err() && read.body().check_at(Height(1_001)).is_err());
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let root = root();
    let mut small = body(&root);
    (small.keys.kem, small.keys.others) = (None, Vec::new());
    let bytes = IdentityCertificate::sign(small, &root).unwrap().encode();
    // Checking SLH-DSA at every byte takes minutes: every byte of the body, and some of each part of the signature.
    let signature = bytes.len() - root.public().scheme().signature_len();
    let positions = (0..signature + 80).chain((signature + 80..bytes.len()).step_by(997));
    for at in positions.chain([bytes.len() - 1]) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(IdentityCertificate::decode(&bad).is_err(), "byte {at}");
    }
    for cut in (0..signature).chain([signature + 64, bytes.len() - 1]) {
        assert!(
            IdentityCertificate::decode(&bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    assert!(IdentityCertificate::decode(&[bytes, vec![0]].concat()).is_err());
}

/// The certificate's file with another signature.
fn with_signature(made: &IdentityCertificate, signature: Vec<u8>) -> Vec<u8> {
    IdentityCertificate {
        signature,
        ..made.clone()
    }
    .encode()
}

#[test]
fn neither_half_of_the_root_s_signature_can_be_left_out_or_exchanged() {
    let root = root();
    let made = IdentityCertificate::sign(body(&root), &root).unwrap();
    let other = after(&made, &root, |_| ());
    let scheme = root.public().scheme();
    let refused =
        |signature: Vec<u8>| IdentityCertificate::decode(&with_signature(&made, signature)).unwrap_err();
    let invalid = IdentityError::Signature(SignatureError::Invalid {
        scheme: scheme.name(),
    });
    let length = |got| {
        IdentityError::Signature(SignatureError::SignatureLength {
            scheme: scheme.name(),
            got,
            want: scheme.signature_len(),
        })
    };
    let (first, second) = made.signature.split_at(64);
    let (other_first, other_second) = other.signature.split_at(64);
    // Stripped, truncated, swapped, taken from another certificate of the same root.
    assert_eq!(refused(first.to_vec()), length(64));
    assert_eq!(refused(second.to_vec()), length(second.len()));
    assert_eq!(
        refused(made.signature[..made.signature.len() - 1].to_vec()),
        length(made.signature.len() - 1)
    );
    assert_eq!(refused(Vec::new()), length(0));
    assert_eq!(refused([second, first].concat()), invalid);
    assert_eq!(refused([first, other_second].concat()), invalid);
    assert_eq!(refused([other_first, second].concat()), invalid);
    assert_eq!(refused([&[0; 64][..], second].concat()), invalid);
    assert_eq!(refused([first, &vec![0; second.len()]].concat()), invalid);
    assert!(IdentityCertificate::decode(&with_signature(&made, made.signature.clone())).is_ok());
}

#[test]
fn a_root_s_signature_counts_for_nothing_else() {
    let root = root();
    let made = IdentityCertificate::sign(body(&root), &root).unwrap();
    let (scheme, public) = (root.public().scheme(), root.public().as_bytes());
    let hash = made.hash();
    let digest = signing_message(&root.id(), &hash);
    let counts = |message: &[u8], signature: &[u8]| verify(scheme, public, message, signature).is_ok();
    assert!(counts(digest.as_bytes(), &made.signature));
    // As an envelope's, over the body itself, over its hash; and an envelope's as a certificate's.
    let envelope = crate::crypto::signing_digest(&root.id(), &hash);
    assert!(!counts(envelope.as_bytes(), &made.signature));
    assert!(!counts(made.body_bytes(), &made.signature));
    assert!(!counts(hash.as_bytes(), &made.signature));
    let of_envelope = with_signature(&made, root.sign(envelope.as_bytes()));
    assert!(IdentityCertificate::decode(&of_envelope).is_err());
    // Another scheme of the same key bytes is another root, and another node.
    let other = SigningKey::of_scheme(Scheme::Ed25519SlhDsa128s, &[7; 32]).unwrap();
    let mut renamed = made.clone();
    renamed.body.root = PublicKey::new(other.public().scheme(), public).unwrap();
    renamed.bytes = renamed.body.encode();
    assert!(matches!(
        IdentityCertificate::decode(&renamed.encode()),
        Err(IdentityError::Signature(SignatureError::SignatureLength { .. }))
    ));
    assert_ne!(renamed.body.node(), made.body.node());
    let mut kept = made.bytes.clone();
    let at = kept
        .windows(public.len())
        .position(|window| window == public)
        .unwrap();
    kept[at - 2] = 4;
    assert_eq!(IdentityBody::decode(&kept), Err(IdentityError::Node));
}

#[test]
fn a_body_is_refused_for_what_is_wrong_with_it() {
    let root = root();
    let good = body(&root);
    let refused = |change: &dyn Fn(&mut IdentityBody)| {
        let mut bad = good.clone();
        change(&mut bad);
        let checked = bad.check().unwrap_err();
        assert_eq!(IdentityBody::decode(&bad.encode()), Err(checked));
        assert_eq!(IdentityCertificate::sign(bad, &root).unwrap_err(), checked);
        checked
    };
    assert_eq!(IdentityBody::decode(&good.encode()), Ok(good.clone()));
    assert_eq!(
        refused(&|one| one.serial = 0),
        IdentityError::Serial { got: 0, after: 0 }
    );
    assert!(matches!(
        refused(&|one| one.not_after = Height(9)),
        IdentityError::Heights { .. }
    ));
    assert!(matches!(
        refused(&|one| {
            one.previous = Hash([1; 32]);
            one.overlap = Height(1_001);
        }),
        IdentityError::Heights { .. }
    ));
    assert_eq!(refused(&|one| one.overlap = Height(20)), IdentityError::Overlap);
    assert_eq!(
        refused(&|one| one.roles = Roles(8)),
        IdentityError::Roles { roles: 8 }
    );
    assert_eq!(
        refused(&|one| one.keys = HotKeys::default()),
        IdentityError::Roles { roles: 5 }
    );
    assert_eq!(
        refused(&|one| one.root = public(8)),
        IdentityError::RootScheme { scheme: "ed25519" }
    );
    assert_eq!(
        refused(&|one| one.keys.transport = Some(one.root.clone())),
        IdentityError::TransportScheme {
            scheme: "ed25519+slh-dsa-sha2-128f"
        }
    );
    assert_eq!(
        refused(&|one| one.keys.kem = Some(vec![1; 32])),
        IdentityError::KemLength { got: 32 }
    );
    assert!(matches!(
        refused(&|one| one.keys.others.reverse()),
        IdentityError::KeyTwice { .. }
    ));
    assert!(matches!(
        refused(&|one| one.keys.others = vec![public(1)]),
        IdentityError::KeyTwice { .. }
    ));
    assert!(matches!(
        refused(&|one| one.keys.consensus = Some(one.root.clone())),
        IdentityError::KeyTwice { .. }
    ));
    let mut five: Vec<PublicKey> = (11..16).map(public).collect();
    five.sort_by_key(PublicKey::id);
    assert_eq!(
        refused(&|one| one.keys.others.clone_from(&five)),
        IdentityError::OtherKeys { got: 5 }
    );
    let mut one_for_both = good.clone();
    one_for_both.keys.transport = one_for_both.keys.consensus.clone();
    assert_eq!(one_for_both.check(), Ok(()));
    let mut more = good.encode();
    crate::codec::put_section_versioned(&mut more, 99, 1, true, |out| out.push(1));
    assert_eq!(IdentityBody::decode(&more), Err(IdentityError::Canonical));
}

#[test]
fn a_chain_holds_by_serials_and_hashes() {
    let root = root();
    let first = IdentityCertificate::sign(body(&root), &root).unwrap();
    let second = after(&first, &root, |one| {
        one.serial = 9;
        one.overlap = Height(50);
        one.keys.consensus = Some(public(5));
    });
    let last = after(&second, &root, |one| {
        (one.keys, one.roles) = (HotKeys::default(), Roles::default());
    });
    let check = |chain: &[&IdentityCertificate]| {
        let chain: Vec<IdentityCertificate> = chain.iter().map(|one| (*one).clone()).collect();
        verify_chain(&chain)
    };
    assert_eq!(check(&[&first, &second, &last]), Ok(()));
    assert!(last.body().is_revocation());
    let why = |chain: &[&IdentityCertificate]| {
        check(chain)
            .map_err(|error| (error.at, error.source))
            .unwrap_err()
    };
    assert!(matches!(why(&[&second]), (0, IdentityError::Previous { .. })));
    assert!(matches!(
        why(&[&first, &last]),
        (1, IdentityError::Previous { .. })
    ));
    assert!(matches!(
        why(&[&first, &first]),
        (1, IdentityError::Serial { got: 1, after: 1 })
    ));
    let low = after(&second, &root, |one| one.serial = 9);
    assert!(matches!(
        why(&[&first, &second, &low]),
        (2, IdentityError::Serial { got: 9, after: 9 })
    ));
    let beyond = after(&last, &root, |_| ());
    assert_eq!(
        why(&[&first, &second, &last, &beyond]),
        (3, IdentityError::Revoked)
    );
    let other = SigningKey::of_scheme(Scheme::Ed25519SlhDsa128f, &[8; 32]).unwrap();
    assert_eq!(
        why(&[&first, &after(&first, &other, |_| ())]),
        (1, IdentityError::OtherRoot)
    );
    let mut forged = second.clone();
    forged.signature[70] ^= 1;
    assert!(matches!(
        why(&[&first, &forged]),
        (1, IdentityError::Signature(_))
    ));
    assert_eq!(
        IdentityCertificate::sign(body(&root), &other).unwrap_err(),
        IdentityError::OtherRoot
    );
}
