//! Hybrid signatures: both halves or nothing, the same answer alone and in company, and halves that other
//! implementations of FIPS 204 and FIPS 205 accept.
//!
//! The vectors of Wycheproof, ACVP and OpenSSL lie beside the checkout, in `../shared/vectors`; without that folder their
//! tests say that they were skipped.

use crate::ed25519::outside;
use crate::vectors::{hex, unhex};
use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use fips205::traits::{KeyGen, SerDes, Verifier};
use fips205::{slh_dsa_sha2_128f, slh_dsa_sha2_128s};
use ml_dsa::{MlDsa44, MlDsa65, MlDsaParams};
use selfchain_types::crypto::{
    BatchItem, BatchVerifier, PublicKey, Scheme, SignatureError, SigningKey, signing_digest, verify,
};
use selfchain_types::envelope::EnvelopeBuilder;
use selfchain_types::{
    AccountId, Amount, AssetId, Envelope, Hash, Height, KeyId, Operation, Refusal, Verified, hash,
};
use slh_dsa::{ParameterSet, Sha2_128f, Sha2_128s};
use std::sync::LazyLock;

/// A key of every scheme, and its signature over [`MESSAGE`].
static SIGNED: LazyLock<Vec<(SigningKey, Vec<u8>)>> = LazyLock::new(|| {
    let keys = Scheme::ALL.into_iter().map(|scheme| key(scheme, 1));
    keys.map(|key| {
        let signature = key.sign(MESSAGE);
        (key, signature)
    })
    .collect()
});
const MESSAGE: &[u8] = b"thirty-two bytes of some message";

fn key(scheme: Scheme, seed: u8) -> SigningKey {
    SigningKey::of_scheme(scheme, &[seed; 32]).unwrap()
}

fn hybrids() -> impl Iterator<Item = (Scheme, &'static [u8], &'static [u8])> {
    let all = SIGNED.iter().map(|(key, signature)| {
        let public = key.public();
        (public.scheme(), public.as_bytes(), signature.as_slice())
    });
    all.filter(|(scheme, ..)| scheme.is_hybrid())
}

fn is_good(scheme: Scheme, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let alone = verify(scheme, public, message, signature);
    let item = BatchItem {
        key: KeyId::of(scheme, public),
        scheme,
        public,
        message,
        signature,
    };
    let answers = BatchVerifier::new().verify(&[item, item], &[7; 32]);
    assert_eq!(answers, [alone, alone], "{} alone and in a batch", scheme.name());
    alone.is_ok()
}

#[test]
fn every_scheme_verifies_what_it_signed_and_has_its_lengths() {
    for (key, signature) in &*SIGNED {
        let (scheme, public) = (key.public().scheme(), key.public().as_bytes());
        assert_eq!(
            (public.len(), signature.len()),
            (scheme.public_len(), scheme.signature_len())
        );
        assert_eq!(Scheme::from_code(scheme.code()), Some(scheme));
        assert_eq!(Scheme::from_name(scheme.name()), Some(scheme));
        assert!(is_good(scheme, public, MESSAGE, signature));
        assert!(!is_good(scheme, public, b"another message", signature));
        let again = SigningKey::of_scheme(scheme, &key.seed()).unwrap();
        assert_eq!(again.id(), key.id(), "a key follows from its seed");
        assert_ne!(again.id(), self::key(scheme, 2).id());
    }
    assert_eq!(Scheme::from_code(0), None);
    assert_eq!(Scheme::from_code(6), None);
}

#[test]
fn a_changed_byte_of_either_half_of_key_or_signature_is_refused() {
    for (scheme, public, signature) in hybrids() {
        for at in [0, 31, 32, 63, 64, 65, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.to_vec();
            changed[at] ^= 1;
            assert!(
                !is_good(scheme, public, MESSAGE, &changed),
                "{} signature {at}",
                scheme.name()
            );
        }
        for at in [0, 31, 32, 33, public.len() - 1] {
            let mut changed = public.to_vec();
            changed[at] ^= 1;
            assert!(
                !is_good(scheme, &changed, MESSAGE, signature),
                "{} key {at}",
                scheme.name()
            );
        }
    }
}

#[test]
fn neither_half_can_be_stripped_swapped_or_truncated() {
    for (scheme, public, signature) in hybrids() {
        let name = scheme.name();
        let other = key(scheme, 2);
        let others = other.sign(MESSAGE);
        let elsewhere = key(scheme, 1).sign(b"another message");
        let joined = |first: &[u8], second: &[u8]| [&first[..64], &second[64..]].concat();
        for (what, forged) in [
            ("first half of another key", joined(&others, signature)),
            ("second half of another key", joined(signature, &others)),
            ("first half of another message", joined(&elsewhere, signature)),
            ("second half of another message", joined(signature, &elsewhere)),
            ("no first half", joined(&[0; 64], signature)),
            ("no second half", joined(signature, &vec![0; signature.len()])),
        ] {
            assert!(!is_good(scheme, public, MESSAGE, &forged), "{name}: {what}");
        }
        let lengths = [0, 63, 64, signature.len() - 64, signature.len() - 1];
        for len in lengths {
            let error = verify(scheme, public, MESSAGE, &signature[..len]).unwrap_err();
            let want = signature.len();
            assert_eq!(
                error,
                SignatureError::SignatureLength {
                    scheme: name,
                    got: len,
                    want
                }
            );
            assert!(!is_good(scheme, public, MESSAGE, &signature[..len]));
        }
        let long = [signature, &[0]].concat();
        assert!(!is_good(scheme, public, MESSAGE, &long));
        let error = verify(scheme, &public[..32], MESSAGE, signature).unwrap_err();
        assert!(
            matches!(error, SignatureError::PublicLength { got: 32, .. }),
            "{name}: {error}"
        );

        // Keys of two signers put together: their halves signed digests that name other pairs.
        let mixed = [&public[..32], &other.public().as_bytes()[32..]].concat();
        assert!(
            !is_good(scheme, &mixed, MESSAGE, &joined(signature, &others)),
            "{name}"
        );
        // The half alone is no signature of the plain scheme, over the message or whatever else was signed.
        assert!(
            !is_good(Scheme::Ed25519, &public[..32], MESSAGE, &signature[..64]),
            "{name}"
        );
    }
}

#[test]
fn another_scheme_s_number_makes_another_key_and_no_signature() {
    for (scheme, public, signature) in hybrids() {
        for other in Scheme::ALL.into_iter().filter(|other| *other != scheme) {
            assert!(
                !is_good(other, public, MESSAGE, signature),
                "{} as {}",
                scheme.name(),
                other.name()
            );
            // Where the lengths fit by padding or cutting, the digest still names the pair.
            let mut padded = signature.to_vec();
            padded.resize(other.signature_len(), 0);
            let mut bytes = public.to_vec();
            bytes.resize(other.public_len(), 0);
            assert!(!is_good(other, &bytes, MESSAGE, &padded));
            assert_ne!(KeyId::of(other, public), KeyId::of(scheme, public));
        }
    }
}

#[test]
fn answers_do_not_depend_on_company_whatever_its_schemes() {
    let mut bad = SIGNED[2].1.clone();
    bad[100] ^= 1;
    let mut worse = SIGNED[3].1.clone();
    worse[10] ^= 1;
    let mut items: Vec<(usize, &[u8], bool)> = Vec::new();
    for round in 0..3 {
        items.extend((0..SIGNED.len()).map(|at| (at, SIGNED[at].1.as_slice(), true)));
        if round != 1 {
            items.push((2, &bad, false));
            items.push((3, &worse, false));
        }
    }
    let batch: Vec<BatchItem<'_>> = items
        .iter()
        .map(|(at, signature, _)| {
            let public = SIGNED[*at].0.public();
            BatchItem {
                key: public.id(),
                scheme: public.scheme(),
                public: public.as_bytes(),
                message: MESSAGE,
                signature,
            }
        })
        .collect();
    let answers = BatchVerifier::new().verify(&batch, &[9; 32]);
    let got: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(got, items.iter().map(|(.., want)| *want).collect::<Vec<_>>());
}

/// What both halves sign, written down anew.
fn digest(public: &PublicKey) -> Hash {
    let mut domain = [0; 32];
    domain[..19].copy_from_slice(b"selfchain/hybrid/v1");
    let mut input = public.id().0.0.to_vec();
    input.extend_from_slice(MESSAGE);
    Hash(*blake3::keyed_hash(&domain, &input).as_bytes())
}

#[test]
fn second_implementations_accept_the_halves() {
    fn ml<P: MlDsaParams>(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = ml_dsa::VerifyingKey::<P>::decode(&public.try_into().unwrap());
        let signature = ml_dsa::Signature::<P>::decode(&signature.try_into().unwrap()).unwrap();
        key.verify_with_context(message, &[], &signature)
    }
    fn slh<P: ParameterSet>(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = slh_dsa::VerifyingKey::<P>::try_from(public).unwrap();
        let signature = slh_dsa::Signature::<P>::try_from(signature).unwrap();
        key.try_verify_with_context(message, &[], &signature).is_ok()
    }
    for (key, signature) in SIGNED.iter().skip(1) {
        let public = key.public();
        let digest = digest(public);
        let (first, second) = public.as_bytes().split_at(32);
        let (first_half, second_half) = signature.split_at(64);
        assert!(verify(Scheme::Ed25519, first, digest.as_bytes(), first_half).is_ok());
        let check = match public.scheme() {
            Scheme::Ed25519MlDsa44 => ml::<MlDsa44>,
            Scheme::Ed25519MlDsa65 => ml::<MlDsa65>,
            Scheme::Ed25519SlhDsa128s => slh::<Sha2_128s>,
            _ => slh::<Sha2_128f>,
        };
        assert!(
            check(second, digest.as_bytes(), second_half),
            "{}",
            public.scheme().name()
        );
        assert!(!check(second, b"another digest", second_half));
    }
}

fn transfer(id: u128) -> EnvelopeBuilder {
    let operation = Operation::transfer(id, AccountId(1), AccountId(2), Amount(3), AssetId(1));
    EnvelopeBuilder::new(Hash([9; 32]), Height(1), 100, vec![operation])
}

fn check(bytes: Vec<u8>) -> Result<(), Refusal> {
    let envelope = Envelope::decode(bytes)?;
    Verified::check(envelope, &())
        .map(|_| ())
        .map_err(|(_, refusal)| refusal)
}

/// A verifier that remembers what a key's id stands for takes nothing else for it.
#[test]
fn a_remembered_key_s_id_is_nobody_else_s() {
    let verifier = BatchVerifier::new();
    let check = |bytes: &[u8]| {
        let envelope = Envelope::decode(bytes.to_vec()).unwrap();
        let mut checked = Verified::check_batch(vec![envelope], &(), &verifier, &[5; 32]);
        checked.remove(0).map(|_| ()).map_err(|(_, refusal)| refusal)
    };
    for (owner, _) in &*SIGNED {
        let scheme = owner.public().scheme();
        let thief = key(scheme, 2);
        let good = transfer(1).sign(&[(owner, 0, 1)]);
        let mut stolen = transfer(1).sign(&[(&thief, 0, 1)]);
        // The signer's key id comes first after the front.
        stolen[104..136].copy_from_slice(owner.id().0.as_bytes());
        let name = scheme.name();
        for round in ["unknown", "remembered"] {
            assert_eq!(check(&stolen), Err(Refusal::KeyMismatch), "{name}, {round}");
            assert_eq!(check(&good), Ok(()), "{name}, {round}");
        }
        let (id, public) = (owner.id(), owner.public().as_bytes());
        for other in Scheme::ALL {
            assert_eq!(verifier.is_id_of(&id, other, public), other == scheme, "{name}");
        }
        assert!(
            !verifier.is_id_of(&id, scheme, thief.public().as_bytes()),
            "{name}"
        );
        assert!(!verifier.is_id_of(&thief.id(), scheme, public), "{name}");
    }
}

#[test]
fn transactions_are_signed_by_every_scheme_and_unknown_numbers_are_refused_by_name() {
    for (key, _) in &*SIGNED {
        let scheme = key.public().scheme();
        let bytes = transfer(1).sign(&[(key, 0, 1)]);
        assert_eq!(check(bytes.clone()), Ok(()), "{}", scheme.name());
        let block = bytes.len() - 8 - scheme.public_len() - scheme.signature_len();
        assert_eq!(bytes[block..block + 2], scheme.code().to_le_bytes());
        for code in [0, 6, 7, 255, u16::MAX] {
            let mut other = bytes.clone();
            other[block..block + 2].copy_from_slice(&code.to_le_bytes());
            assert_eq!(check(other), Err(Refusal::SchemeUnknown), "{code}");
        }
        for other in Scheme::ALL.into_iter().filter(|other| *other != scheme) {
            let mut bytes = bytes.clone();
            bytes[block..block + 2].copy_from_slice(&other.code().to_le_bytes());
            assert!(check(bytes).is_err(), "{} as {}", scheme.name(), other.name());
        }
    }
}

#[test]
fn a_signature_of_one_domain_is_none_in_another() {
    for (key, _) in &*SIGNED {
        let bytes = transfer(1).sign(&[(key, 0, 1)]);
        let envelope = Envelope::decode(bytes.clone()).unwrap();
        let want = signing_digest(&key.id(), &envelope.tx_id());
        let len = key.public().scheme().signature_len();
        // Over the bare id of the transaction, over what a validator precommits, over a key's id.
        for digest in [
            envelope.tx_id(),
            hash::PRECOMMIT.node(&key.id().0, &envelope.tx_id()),
            hash::KEY.node(&key.id().0, &envelope.tx_id()),
        ] {
            assert_ne!(digest, want);
            let mut forged = bytes.clone();
            let at = forged.len() - len;
            forged[at..].copy_from_slice(&key.sign(digest.as_bytes()));
            assert_eq!(check(forged), Err(Refusal::SignatureInvalid));
        }
    }
}

#[test]
fn wycheproof_agrees_on_ml_dsa_65() {
    let Some(groups) = outside("wycheproof_mldsa_65_verify_test.json") else {
        return;
    };
    let mut checked = 0;
    for group in groups["testGroups"].as_array().unwrap() {
        let public = unhex(group["publicKey"].as_str().unwrap());
        for test in group["tests"].as_array().unwrap() {
            // The library takes no context string: we use none.
            if test.get("ctx").is_some_and(|ctx| ctx != "") {
                continue;
            }
            let [message, signature] = ["msg", "sig"].map(|name| unhex(test[name].as_str().unwrap()));
            let is_good = UnparsedPublicKey::new(&ML_DSA_65, &public)
                .verify(&message, &signature)
                .is_ok();
            assert_eq!(is_good, test["result"] == "valid", "case {}", test["tcId"]);
            checked += 1;
        }
    }
    assert_eq!(checked, 203);
}

#[test]
fn acvp_agrees_on_keys_of_slh_dsa() {
    let (Some(prompt), Some(expected)) = (
        outside("acvp_SLH-DSA-keyGen_prompt.json"),
        outside("acvp_SLH-DSA-keyGen_expectedResults.json"),
    ) else {
        return;
    };
    let mut checked = 0;
    let groups = prompt["testGroups"].as_array().unwrap().iter();
    for (group, results) in groups.zip(expected["testGroups"].as_array().unwrap()) {
        let set = group["parameterSet"].as_str().unwrap();
        let tests = group["tests"].as_array().unwrap().iter();
        for (test, result) in tests.zip(results["tests"].as_array().unwrap()) {
            assert_eq!(test["tcId"], result["tcId"]);
            let seed = |name: &str| -> Option<[u8; 16]> { unhex(test[name].as_str()?).try_into().ok() };
            let seeds = ["skSeed", "skPrf", "pkSeed"].map(seed);
            let [Some(first), Some(second), Some(third)] = seeds else {
                continue;
            };
            let public = match set {
                "SLH-DSA-SHA2-128s" => slh_dsa_sha2_128s::KG::keygen_from_seed(&first, &second, &third)
                    .0
                    .into_bytes(),
                "SLH-DSA-SHA2-128f" => slh_dsa_sha2_128f::KG::keygen_from_seed(&first, &second, &third)
                    .0
                    .into_bytes(),
                _ => continue,
            };
            assert_eq!(hex(&public), result["pk"].as_str().unwrap().to_lowercase());
            checked += 1;
        }
    }
    assert_eq!(checked, 20);
}

#[test]
fn openssl_and_others_agree_on_slh_dsa_with_contexts() {
    let Some(cases) = outside("slh_dsa_ctx_noble_openssl.json") else {
        return;
    };
    let mut checked = 0;
    for case in cases.as_array().unwrap() {
        let of = |name: &str| unhex(case[name].as_str().unwrap());
        let (public, message, context, signature) = (of("pk"), of("msg"), of("ctx"), of("sig"));
        let check = |context: &[u8]| {
            if case["alg"].as_str().unwrap().ends_with("128s") {
                slh_dsa_sha2_128s::PublicKey::try_from_bytes(public.as_slice().try_into().unwrap())
                    .unwrap()
                    .verify(&message, signature.as_slice().try_into().unwrap(), context)
            } else {
                slh_dsa_sha2_128f::PublicKey::try_from_bytes(public.as_slice().try_into().unwrap())
                    .unwrap()
                    .verify(&message, signature.as_slice().try_into().unwrap(), context)
            }
        };
        assert!(check(&context));
        assert!(!check(b"another context"));
        checked += 1;
    }
    assert_eq!(checked, 8);
}
