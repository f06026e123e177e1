//! One function for every parser of bytes from strangers: nothing panics, and what is accepted has one byte string.
//!
//! The seeded tests of `it/parsers.rs` and the cargo-fuzz programs of `fuzz/` call the same functions. A target
//! panics when a parser breaks its word: it accepts a value whose canonical bytes are not the bytes it read,
//! or makes more of them than they can hold.

use selfchain_engine::proof::{Checkpoint, ProofFile, Trust, TrustedSet, TrustedSigners};
use selfchain_types::account::Balances;
use selfchain_types::backup::Manifest;
use selfchain_types::ballot::Ballot;
use selfchain_types::block::{BlockResult, Body, Header, MODELS_MAX, Row};
use selfchain_types::certificate::Certificate;
use selfchain_types::checkpoint::CheckpointSet;
use selfchain_types::codec::{known_sections, put_bytes_u32, put_section_versioned, sections};
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::{EnvelopeView, SIGNERS_MAX};
use selfchain_types::evidence::Evidence;
use selfchain_types::identity::{IDENTITY_MAGIC, IdentityBody, IdentityCertificate};
use selfchain_types::message::{Answer, Committed, Reply, Request};
use selfchain_types::peer::PeerMessage;
use selfchain_types::roots::{Roots, Table};
use selfchain_types::{Amount, Envelope, Genesis, Hash, Height, Refusal, Verified};
use zerocopy::IntoBytes;

/// A parser under test: it takes any bytes.
pub type Target = fn(&[u8]);

/// Every target with the name of its program in `fuzz/` and of its vectors in `vectors/`.
pub const TARGETS: [(&str, Target); 20] = [
    ("ballot", ballot),
    ("body", body),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("envelope", envelope),
    ("evidence", evidence),
    ("genesis", genesis),
    ("header", header),
    ("identity", identity),
    ("manifest", manifest),
    ("peer", peer),
    ("proof", proof),
    ("reply", reply),
    ("request", request),
    ("result", result),
    ("roots", roots),
    ("row", row),
    ("sections", container),
    ("text", text),
    ("trust", trust),
];

/// [`Envelope::decode`] and the signatures behind it.
pub fn envelope(data: &[u8]) {
    let decoded = Envelope::decode(data.to_vec());
    assert_eq!(
        decoded.as_ref().err(),
        EnvelopeView::new(data).err().as_ref(),
        "in place and owned agree"
    );
    let Ok(envelope) = decoded else { return };
    let view = envelope.view();
    assert_eq!(view.tx_id(), envelope.tx_id());
    assert!((1..=SIGNERS_MAX).contains(&view.signers().len()));
    for operation in view.operations() {
        let pointed = operation.attachment(view.attachments());
        assert!(pointed.is_none_or(|part| part.len() <= view.attachments().len()));
    }
    let mut parts = [
        view.header().as_bytes(),
        view.signers().as_bytes(),
        view.operations().as_bytes(),
        view.attachments(),
    ]
    .concat();
    for entry in view.signatures() {
        let [public_len, signature_len] = [entry.public.len(), entry.signature.len()]
            .map(|len| u32::try_from(len).expect("an entry is short"));
        parts.extend_from_slice(&entry.scheme.code().to_le_bytes());
        parts.extend_from_slice(&public_len.to_le_bytes()[..2]);
        parts.extend_from_slice(&signature_len.to_le_bytes());
        parts.extend_from_slice(entry.public);
        parts.extend_from_slice(entry.signature);
    }
    assert_eq!(parts, data, "the parts are the whole");
    match Verified::check(envelope, &()) {
        Ok(verified) => assert_eq!(verified.as_bytes(), data),
        Err((refused, why)) => {
            assert_eq!(refused.as_bytes(), data);
            let expected = [
                Refusal::KeyUnknown,
                Refusal::KeyMismatch,
                Refusal::SignatureInvalid,
            ];
            assert!(expected.contains(&why), "{why}");
        }
    }
}

/// [`IdentityBody::decode`], and the file around it without a signature that counts.
pub fn identity(data: &[u8]) {
    assert!(IdentityCertificate::decode(data).is_err(), "nobody signed it");
    let mut file = IDENTITY_MAGIC.to_vec();
    put_bytes_u32(&mut file, data);
    put_bytes_u32(&mut file, &[]);
    assert!(IdentityCertificate::decode(&file).is_err(), "nobody signed it");
    let Ok(body) = IdentityBody::decode(data) else {
        return;
    };
    assert_eq!(body.check(), Ok(()));
    assert_eq!(body.encode(), data);
}

/// [`Manifest::decode`], of the owner of the vectors.
pub fn manifest(data: &[u8]) {
    let owner = SigningKey::from_seed(&[1; 32]).id();
    let Ok(manifest) = Manifest::decode(data, &owner) else {
        return;
    };
    assert_eq!(manifest.as_bytes(), data);
    assert_eq!(manifest.signer().id(), owner);
    assert!(manifest.body().files.len() * 42 <= data.len() && manifest.body().parts.len() * 97 <= data.len());
}

/// [`Request::decode`].
pub fn request(data: &[u8]) {
    let Ok((number, request)) = Request::decode(data) else {
        return;
    };
    assert_eq!(Request::number(data), Some(number));
    assert_eq!(request.encode(number), data);
}

/// [`ProofFile::decode`], and what verifying makes of it.
pub fn proof(data: &[u8]) {
    let Ok(file) = ProofFile::decode(data) else {
        return;
    };
    let nobody = Trust {
        chain_id: file.chain_id,
        root_lag: 2,
        set: TrustedSet::new(Height(1), Vec::new()),
        signers: None,
    };
    assert!(file.verify(&nobody).is_err(), "nobody decides anything");
    let bytes = file.to_bytes();
    // Sections that were passed over are in no value.
    assert!(bytes == data || bytes.len() < data.len());
    assert_eq!(ProofFile::decode(&bytes), Ok(file));
}

/// [`Trust::read`]: a genesis or a validators file.
pub fn trust(data: &[u8]) {
    let Ok(trust) = Trust::read(data) else {
        return;
    };
    let text = trust.to_text();
    assert_eq!(Trust::read(text.as_bytes()), Ok(trust));
}

/// [`Reply::decode`]: what a client reads from a node that it may not trust.
pub fn reply(data: &[u8]) {
    let Ok((number, reply)) = Reply::decode(data) else {
        return;
    };
    match &reply {
        Reply::Committed(committed) | Reply::Answer(Answer::Transaction(committed)) => {
            in_proportion(committed, data);
        }
        Reply::Answer(Answer::History(rows)) => {
            assert!(rows.len() * size_of::<Balances>() <= data.len());
        }
        _ => {}
    }
    assert_eq!(reply.encode(number), data);
}

/// No list holds more entries than its bytes: 7 at least a refusal, two balances an operation.
fn in_proportion(committed: &Committed, data: &[u8]) {
    assert!(committed.refused.len() * 7 <= data.len());
    assert!(committed.balances.len() * 2 * size_of::<Balances>() <= data.len());
}

/// [`Header::decode`].
pub fn header(data: &[u8]) {
    let Ok(header) = Header::decode(data) else {
        return;
    };
    assert!(header.models.len() <= MODELS_MAX);
    assert!(
        header.models.is_sorted_by(|left, right| left < right),
        "one set of models has one header"
    );
    assert_eq!(header.to_bytes(), data);
}

/// [`Body::decode`].
pub fn body(data: &[u8]) {
    let Ok(body) = Body::decode(data) else { return };
    assert!(body.envelopes.len() * 4 <= data.len());
    assert!(body.envelopes.capacity() * 4 <= data.len() + 16);
    if let Ok(risk) = selfchain_types::Risk::decode(body.scores, body.reasons) {
        assert_eq!(risk.reasons.len() * 7, body.reasons.len());
        assert!(risk.reasons.is_sorted_by(|(left, _), (right, _)| left < right));
    }
    let mut again = Vec::new();
    body.encode(&mut again);
    assert_canonical(data, &again);
    assert_eq!(Body::decode(&again).as_ref(), Ok(&body));
    assert_eq!(Body::decode(&again).map(|read| read.hash()), Ok(body.hash()));
}

/// [`BlockResult::decode`].
pub fn result(data: &[u8]) {
    let Ok(result) = BlockResult::decode(data) else {
        return;
    };
    assert!(
        result.outcomes.len() * 2 + result.exceptions.len() * 21 + result.expired.len() * 16 <= data.len()
    );
    for (at, exception) in &result.exceptions {
        assert_eq!(result.exception(*at), Some(*exception));
    }
    let mut again = Vec::new();
    result.encode(&mut again);
    assert_canonical(data, &again);
    assert_eq!(BlockResult::decode(&again), Ok(result));
}

/// [`Row::decode`] and its four parts.
pub fn row(data: &[u8]) {
    let Ok(row) = Row::decode(data) else { return };
    header(row.header);
    body(row.body);
    result(row.result);
    certificate(row.local);
    let parts = (
        Header::decode(row.header),
        Body::decode(row.body),
        BlockResult::decode(row.result),
        Certificate::decode(row.local),
    );
    if let (Ok(header), Ok(body), Ok(result), Ok(local)) = parts {
        let again = Row::encode(&header, &body, &result, &local);
        if !has_ignorable(row.body) && !has_ignorable(row.result) {
            assert_canonical(data, &again);
        }
        assert!(Row::decode(&again).is_ok());
    }
}

/// [`Certificate::decode`].
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::decode(data) else {
        return;
    };
    assert!(certificate.precommits.len() * 10 <= data.len());
    let mut again = Vec::new();
    certificate.encode(&mut again);
    assert_eq!(again, data);
    assert!(certificate.verify(&Hash::ZERO, &[]).is_err());
}

/// [`Checkpoint::decode`]: sections of other kinds that may be ignored are, so that bytes may differ but not values.
pub fn checkpoint(data: &[u8]) {
    let Ok(checkpoint) = Checkpoint::decode(data) else {
        return;
    };
    assert!(checkpoint.signatures.len() * 36 <= data.len());
    assert!(checkpoint.next.signers.len() * 74 <= data.len());
    let bytes = checkpoint.to_bytes();
    assert!(bytes.len() <= data.len());
    assert_eq!(Checkpoint::decode(&bytes).as_ref(), Ok(&checkpoint));
    let nobody = CheckpointSet {
        power: 1,
        signers: Vec::new(),
    };
    let mut trusted = TrustedSigners::new(Height::GENESIS, nobody);
    assert!(trusted.follow(&Hash::ZERO, &checkpoint).is_err());
}

/// [`Ballot::decode`].
pub fn ballot(data: &[u8]) {
    let Ok(ballot) = Ballot::decode(data) else {
        return;
    };
    assert_eq!(ballot.to_bytes(), data);
}

/// [`PeerMessage::decode`].
pub fn peer(data: &[u8]) {
    let Ok(message) = PeerMessage::decode(data) else {
        return;
    };
    assert_eq!(message.to_bytes(), data);
}

/// [`Evidence::decode`].
pub fn evidence(data: &[u8]) {
    let Ok(evidence) = Evidence::decode(data) else {
        return;
    };
    assert_eq!(evidence.to_bytes(), data);
}

/// [`Genesis::decode`].
pub fn genesis(data: &[u8]) {
    let Ok(genesis) = Genesis::decode(data) else {
        return;
    };
    assert!(!genesis.validators.is_empty() && genesis.validators.len() * 42 <= data.len());
    assert_canonical(data, &genesis.to_bytes());
    assert_eq!(
        Genesis::decode(&genesis.to_bytes()).map(|again| again.chain_id()),
        Ok(genesis.chain_id())
    );
}

/// [`Roots::decode`].
pub fn roots(data: &[u8]) {
    let Ok(roots) = Roots::decode(data) else { return };
    assert!(roots.iter().count() <= Table::ALL.len());
    let mut again = Vec::new();
    roots.encode(&mut again);
    assert_eq!(again, data);
    assert_eq!(roots.first_difference(&roots.clone()), None);
}

/// [`sections`] and [`known_sections`]: any container.
pub fn container(data: &[u8]) {
    let mut again = Vec::new();
    for section in sections(data) {
        let Ok(part) = section else {
            assert!(known_sections(data, [1, 2, 3, 4]).is_err());
            return;
        };
        put_section_versioned(&mut again, part.kind, part.version, part.ignorable, |out| {
            out.extend_from_slice(part.bytes);
        });
    }
    assert_eq!(again, data);
    if let Ok(found) = known_sections(data, [1, 2, 3, 4]) {
        assert!(found.iter().flatten().map(|part| part.len()).sum::<usize>() <= data.len());
    }
}

/// The parsers of text that people and scripts type: hashes and amounts.
pub fn text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Some(hash) = Hash::from_hex(text) {
        assert_eq!(hash.to_hex(), text.to_ascii_lowercase());
    }
    for scale in [0, 2, 18, 38] {
        if let Some(amount) = Amount::parse_at_scale(text, scale) {
            assert_eq!(
                Amount::parse_at_scale(&amount.at_scale(scale), scale),
                Some(amount)
            );
        }
    }
}

/// What was read is what its value is written as, without the sections that this reader may skip.
fn assert_canonical(data: &[u8], again: &[u8]) {
    let mut expected = Vec::new();
    for section in sections(data) {
        let part = section.expect("only whole containers are accepted");
        if !part.ignorable {
            put_section_versioned(&mut expected, part.kind, part.version, false, |out| {
                out.extend_from_slice(part.bytes);
            });
        }
    }
    assert_eq!(again, expected);
}

fn has_ignorable(data: &[u8]) -> bool {
    sections(data).any(|section| section.is_ok_and(|section| section.ignorable))
}
