//! age files: keys as text, tampering, and the published cases.

use super::*;
use age::armor::ArmoredReader;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;

fn identity(seed: u8) -> Identity {
    Identity::new(KemSecret::from_seed(&[seed; 32]))
}

#[test]
fn a_file_opens_for_each_of_its_recipients_and_nobody_else() {
    let recipients = [identity(1).recipient(), identity(2).recipient()];
    for len in [0_usize, 1, 65_535, 65_536, 65_537, 300_000] {
        let plaintext: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        let file = seal_file(&recipients, &plaintext).unwrap();
        for seed in [1, 2] {
            assert_eq!(open_file(&identity(seed), &file, 1 << 20).unwrap(), plaintext);
        }
        assert!(matches!(
            open_file(&identity(3), &file, 1 << 20),
            Err(AgeError::NoMatch)
        ));
        if let Some(max) = u64::try_from(len).unwrap().checked_sub(1) {
            let over = open_file(&identity(1), &file, max);
            assert!(matches!(over, Err(AgeError::TooLong { .. })), "{over:?}");
        }
    }
    assert!(matches!(seal_file(&[], b"x"), Err(AgeError::NoRecipients)));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let file = seal_file(&[identity(1).recipient()], b"a few bytes").unwrap();
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(open_file(&identity(1), &flipped, 100).is_err(), "byte {at}");
        assert!(open_file(&identity(1), &file[..at], 100).is_err(), "cut at {at}");
    }
}

#[test]
fn keys_read_back_from_their_text_and_changed_ones_do_not() {
    let (identity, recipient) = (identity(7), identity(7).recipient());
    let text = identity.text();
    assert!(text.starts_with("AGE-SECRET-KEY-PQ-1"));
    assert_eq!(Identity::parse(&text).unwrap().recipient(), recipient);
    let shown = recipient.text();
    assert!(shown.starts_with("age1pq1"));
    assert_eq!(shown.len(), 1_959);
    assert_eq!(Recipient::parse(&shown).unwrap(), recipient);

    for at in [8, 100, shown.len() - 1] {
        let mut changed = shown.clone().into_bytes();
        changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(Recipient::parse(&changed), Err(KeyTextError::Text), "at {at}");
    }
    // A key of age's first kind, which a quantum computer could open.
    let classical = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq";
    assert!(matches!(
        Recipient::parse(classical),
        Err(KeyTextError::Kind { is_age: true, .. } | KeyTextError::Text)
    ));
    assert!(Identity::parse(&shown).is_err());
    assert!(Identity::parse(&text.to_lowercase()).is_err());
}

/// One published case: `key: value` lines, an empty line, the file.
struct Case {
    name: String,
    head: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Case {
    fn read(path: &PathBuf) -> Self {
        let bytes = fs::read(path).unwrap();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let head = head.lines().filter_map(|line| line.split_once(": "));
        Self {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            head: head.map(|(key, value)| (key.into(), value.into())).collect(),
            file: bytes[end + 2..].to_vec(),
        }
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.head.iter().filter(move |(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// What becomes of the file, in the words of the cases.
    fn outcome(&self) -> (&'static str, Vec<u8>) {
        let mut file = Vec::new();
        if ArmoredReader::new(&self.file[..]).read_to_end(&mut file).is_err() {
            return ("armor failure", Vec::new());
        }
        let identities: Vec<Box<dyn age::Identity>> = self
            .all("identity")
            .map(|text| -> Box<dyn age::Identity> {
                match Identity::parse(text) {
                    Ok(hybrid) => Box::new(hybrid),
                    Err(_) => Box::new(text.parse::<age::x25519::Identity>().unwrap()),
                }
            })
            .collect();
        let opened = Decryptor::new_buffered(&file[..])
            .and_then(|decryptor| decryptor.decrypt(identities.iter().map(|one| &**one)));
        match opened {
            Ok(mut reader) => {
                let mut plaintext = Vec::new();
                match reader.read_to_end(&mut plaintext) {
                    Ok(_) => ("success", plaintext),
                    Err(_) => ("payload failure", plaintext),
                }
            }
            Err(DecryptError::NoMatchingKeys) => ("no match", Vec::new()),
            Err(DecryptError::InvalidMac) => ("HMAC failure", Vec::new()),
            Err(_) => ("header failure", Vec::new()),
        }
    }
}

/// The cases of C2SP/CCTV lie beside the checkout, in `../shared/vectors`; without that folder the test says that it was
/// skipped. What a file holds is in its case as a SHA-256.
#[test]
fn the_published_cases_end_as_they_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/cctv_age");
    let Ok(entries) = fs::read_dir(&folder) else {
        let why = "SKIPPED: the cases of cctv_age were not run: ../shared/vectors is not beside the checkout";
        writeln!(io::stderr().lock(), "{why}").unwrap();
        return;
    };
    let mut cases: Vec<Case> = entries.map(|entry| Case::read(&entry.unwrap().path())).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 19);
    let mut opened = 0;
    for case in &cases {
        let want = case.all("expect").next().unwrap();
        let (got, plaintext) = case.outcome();
        assert_eq!(got, want, "{}", case.name);
        if got == "success" {
            opened += 1;
            let hash: String = (Sha256::digest(&plaintext).iter())
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(case.all("payload").next().unwrap(), hash, "{}", case.name);
        }
    }
    assert_eq!(opened, 5);
}
