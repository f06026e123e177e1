//! Key files: plain, sealed, changed and unlocked.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

#[cfg(feature = "network")]
const SMALL: Cost = Cost {
    memory_kib: 32,
    passes: 1,
    lanes: 1,
};

#[cfg(feature = "network")]
fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn parse(text: &str) -> Result<SigningKey, KeyFault> {
    KeyFile::parse(text)?.key()
}

#[test]
fn a_key_reads_back_and_only_its_owner_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    write(&path, &key()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    let read = read(&path).unwrap();
    assert_eq!((read.id(), read.seed()), (key().id(), key().seed()));
}

#[test]
fn a_key_of_any_scheme_reads_back_and_a_node_has_one_that_can_vote() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in Scheme::ALL {
        let path = folder.path().join(scheme.name());
        let made = create(&path, scheme).unwrap();
        assert_eq!(
            (made.public().scheme(), read(&path).unwrap().id()),
            (scheme, made.id())
        );
        let opened = open_or_create(&path);
        assert_eq!(opened.is_ok(), scheme.can_vote(), "{}", scheme.name());
        for wanted in Scheme::ALL {
            assert_eq!(open_or_create_of(&path, wanted).is_ok(), wanted == scheme);
        }
    }
}

#[test]
fn refuses_a_key_that_others_may_read_or_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    write(&path, &key()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, KeyError::Permissions { mode: got, .. } if got == mode));
        assert!(error.to_string().contains("chmod 600"));
        assert!(matches!(
            Passphrase::read(&path),
            Err(KeyError::Permissions { .. })
        ));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(read(&path).is_ok());
}

#[test]
fn never_overwrites_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    write(&path, &key()).unwrap();
    let again = write(&path, &SigningKey::from_seed(&[8; 32]));
    assert!(matches!(again, Err(KeyError::Exists { .. })));
    assert_eq!(read(&path).unwrap().id(), key().id());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_key_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NODE_KEY_FILE);
    let made = open_or_create(&path).unwrap().id();
    assert_eq!(open_or_create(&path).unwrap().id(), made);
}

#[test]
fn refuses_a_file_that_is_no_key() {
    let text = text::plain(&(&key()).into(), None);
    assert!(parse(&text).is_ok());
    let check = |text: &str, want: KeyFault| assert_eq!(parse(text).unwrap_err(), want, "{text}");
    check("", KeyFault::Field { name: "scheme" });
    check("hello", KeyFault::Line { line: 1 });
    check(
        &format!("{}seed = \"00\"", text.as_str()),
        KeyFault::Field { name: "seed" },
    );
    check(&text.replace("ed25519", "rsa"), KeyFault::Scheme);
    check(&text.replace("ed25519", "x-wing"), KeyFault::Public);
    check(&text.replace("seed = \"07", "seed = \"zz"), KeyFault::Seed);
    check(&text.replace("seed = \"07", "seed = \"08"), KeyFault::Public);
    check(
        &text.replace("public = \"", "public = \"zz"),
        KeyFault::Value { name: "public" },
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    place::new(&path, "#".repeat(20_000).as_bytes()).unwrap();
    let len_max = FILE_LEN_MAX;
    assert_eq!(read(&path).unwrap_err().fault(), Some(KeyFault::Long { len_max }));
    let path = folder.path().join("bytes");
    place::new(&path, &[0xff; 20]).unwrap();
    assert_eq!(read(&path).unwrap_err().fault(), Some(KeyFault::Text));
}

#[cfg(feature = "network")]
#[test]
fn a_sealed_key_opens_under_its_passphrase_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    write(&path, &key()).unwrap();
    seal(&path, &key(), &passphrase("correct horse"), SMALL).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(hex(&[7; 32]).as_str()), "the seed is not in it");
    let file = open(&path).unwrap();
    assert!(file.is_sealed());
    assert_eq!(file.id(), Some(key().id()));
    let fault = |result: Result<SigningKey, KeyFault>| result.unwrap_err();
    assert_eq!(read(&path).unwrap_err().fault(), Some(KeyFault::Sealed));
    assert_eq!(fault(file.key()), KeyFault::Sealed);
    assert_eq!(
        fault(file.unlock(&passphrase("correct horsf"))),
        KeyFault::Passphrase
    );
    assert_eq!(
        fault(file.unlock(&passphrase("correct horse "))),
        KeyFault::Passphrase
    );
    let opened = file.unlock(&passphrase("correct horse\n")).unwrap();
    assert_eq!(opened.seed(), key().seed());
    // Another passphrase in its place.
    seal(&path, &opened, &passphrase("battery"), SMALL).unwrap();
    let again = open(&path).unwrap();
    assert_eq!(
        fault(again.unlock(&passphrase("correct horse"))),
        KeyFault::Passphrase
    );
    assert_eq!(again.unlock(&passphrase("battery")).unwrap().id(), key().id());
}

#[cfg(feature = "network")]
#[test]
fn a_key_to_seal_to_reads_back_as_it_is_and_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kem.key");
    let kem = KemSecret::from_seed(&[9; 32]);
    write(&path, &kem).unwrap();
    let seed = |secret: SecretKey| match secret {
        SecretKey::Kem(kem) => *kem.seed().clone(),
        SecretKey::Signing(_) => panic!("it signs"),
    };
    let file = open(&path).unwrap();
    assert_eq!(file.kem(), Some(kem.public().as_bytes().as_slice()));
    assert_eq!(seed(file.secret().unwrap()), [9; 32]);
    assert_eq!(file.key().unwrap_err(), KeyFault::Kem);
    let text = fs::read_to_string(&path).unwrap();
    let other = KeyFile::parse(&text.replace("seed = \"09", "seed = \"08")).unwrap();
    assert_eq!(other.secret().err(), Some(KeyFault::Public));
    seal(&path, &kem, &passphrase("correct horse"), SMALL).unwrap();
    let file = open(&path).unwrap();
    assert_eq!(file.secret().err(), Some(KeyFault::Sealed));
    assert_eq!(
        file.unlock_secret(&passphrase("horse")).err(),
        Some(KeyFault::Passphrase)
    );
    assert_eq!(
        seed(file.unlock_secret(&passphrase("correct horse")).unwrap()),
        [9; 32]
    );
}

#[cfg(feature = "network")]
#[test]
fn no_byte_of_a_sealed_file_can_be_changed_unnoticed() {
    let right = passphrase("correct horse");
    let text = text::sealed(&(&key()).into(), &right, SMALL, Some(&[1, 2, 3])).unwrap();
    let file = KeyFile::parse(&text).unwrap();
    assert_eq!(file.guard(), Some(&[1, 2, 3][..]));
    assert!(file.unlock(&right).is_ok());
    for at in 0..text.len() {
        for bit in [1, 4] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= bit;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let fault = KeyFile::parse(&changed)
                .and_then(|file| file.unlock(&right))
                .unwrap_err();
            assert_ne!(
                fault,
                KeyFault::Passphrase,
                "byte {at} is not the passphrase's fault"
            );
        }
    }
    // Whoever makes the sum anew is found out by the seal.
    let resummed = |text: &str| {
        let body = &text[..text.rfind("sum = ").unwrap()];
        format!(
            "{body}sum = \"{}\"\n",
            selfchain_types::hash::KEY_FILE.hash(body.as_bytes())
        )
    };
    assert_eq!(resummed(&text), text);
    for (from, to, want) in [
        ("# Key id: ", "# Key ID: ", KeyFault::Changed),
        ("guard = \"01", "guard = \"00", KeyFault::Changed),
        ("sealed = \"", "sealed = \"00", KeyFault::Changed),
        ("passes = \"1", "passes = \"2", KeyFault::Passphrase),
        (
            "kdf = \"argon2id",
            "kdf = \"argon2i",
            KeyFault::Value { name: "kdf" },
        ),
    ] {
        let changed = resummed(&text.replace(from, to));
        let fault = KeyFile::parse(&changed)
            .and_then(|file| file.unlock(&right))
            .unwrap_err();
        assert_eq!(fault, want, "{from}");
    }
    for cut in 0..text.len() {
        assert!(
            KeyFile::parse(&text[..cut])
                .and_then(|file| file.unlock(&right))
                .is_err(),
            "cut at {cut}"
        );
    }
    let costly = resummed(&text.replace("memory_kib = \"32", "memory_kib = \"4000000000"));
    let fault = KeyFile::parse(&costly)
        .and_then(|file| file.unlock(&right))
        .unwrap_err();
    assert!(
        matches!(fault, KeyFault::Cost(_)),
        "a file cannot ask for all memory"
    );
}

#[test]
fn nothing_secret_is_in_what_debugging_prints() {
    let file = KeyFile::parse(&text::plain(&(&key()).into(), None)).unwrap();
    assert_eq!(format!("{file:?}"), "KeyFile(ed25519)");
    let passphrase = Passphrase::new(Zeroizing::new(b"secret".to_vec())).unwrap();
    assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
    assert!(Passphrase::new(Zeroizing::new(b"\n".to_vec())).is_err());
    assert!(Passphrase::new(Zeroizing::new(vec![b'a'; PASSPHRASE_BYTES_MAX + 1])).is_err());
}
