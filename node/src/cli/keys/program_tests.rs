//! The commands of keys, from arguments to exit code, without a node.

use crate::cli::{ExitStatus, main};
use selfchain_storage::backup::age::Recipient;
use selfchain_types::Height;
use selfchain_types::crypto::x_wing::KemPublic;
use selfchain_types::identity::{IdentityCertificate, Roles, verify_chain};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CHEAP: &str = "--memory-kib 64 --passes 1";
/// Quick to sign with.
const ROOT: &str = "--kind root --scheme ed25519+slh-dsa-sha2-128f";

fn check(line: &str, want: ExitStatus) {
    check_with(line, &[], want);
}

fn check_with(line: &str, env: &[(&str, &str)], want: ExitStatus) {
    let words = ["selfchain"].into_iter().chain(line.split_whitespace());
    let env = env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    assert_eq!(main(words.map(OsString::from), env), want, "selfchain {line}");
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path as a word of a command.
    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn private(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
        self.at(name)
    }
}

fn certificate(path: &Path) -> IdentityCertificate {
    IdentityCertificate::decode(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_key_is_sealed_under_what_a_file_or_the_environment_says() {
    let f = Folder::new();
    let (a, b) = (f.private("a", "first\n"), f.private("b", "second\n"));
    let (done, failed, usage) = (ExitStatus::Done, ExitStatus::Failed, ExitStatus::Usage);
    let (one, two) = (f.at("one.key"), f.at("two.key"));
    check(
        &format!("keys new {one} --encrypt {CHEAP} --passphrase-file {a}"),
        done,
    );
    check(
        &format!("keys new {one} --encrypt {CHEAP} --passphrase-file {a}"),
        failed,
    );
    check_with(
        &format!("keys new {two} --encrypt {CHEAP}"),
        &[("SELFCHAIN_PASSPHRASE", "first")],
        done,
    );
    check_with(
        &format!("keys new {two}x --encrypt {CHEAP}"),
        &[("SELFCHAIN_PASSPHRASE", "")],
        usage,
    );
    assert!(!f.path("two.keyx").exists());
    // The public half needs none.
    check(&format!("keys show {one}"), done);
    check(&format!("keys export {one} --to {}", f.at("one.json")), done);
    let export = |of: &str, to: &str| format!("keys export --secret --plain --to {} {of}", f.at(to));
    check(&format!("{} --passphrase-file {a}", export(&two, "p1")), done);
    check(&format!("{} --passphrase-file {b}", export(&two, "p2")), failed);
    check_with(&export(&one, "p3"), &[("SELFCHAIN_PASSPHRASE", "first")], done);
    check(
        &format!("keys encrypt {one} {CHEAP} --passphrase-file {a} --new-passphrase-file {b}"),
        done,
    );
    check(&format!("{} --passphrase-file {a}", export(&one, "p4")), failed);
    check(&format!("{} --passphrase-file {b}", export(&one, "p5")), done);
    std::fs::set_permissions(&a, PermissionsExt::from_mode(0o644)).unwrap();
    check(&format!("{} --passphrase-file {a}", export(&two, "p6")), failed);
    // A plain file is read as ever, and a file that was changed is no wrong passphrase.
    check(&export(&f.at("p1"), "p7"), done);
    let text = std::fs::read_to_string(&one).unwrap();
    let spoilt = f.private("spoilt.key", &text.replacen("salt = \"", "salt = \"0", 1));
    check(
        &format!("{} --passphrase-file {b}", export(&spoilt, "p8")),
        ExitStatus::Corrupt,
    );
    check("keys new x --kind root --scheme ed25519", usage);
}

#[test]
fn a_key_to_seal_to_opens_messages_under_its_passphrase_and_signs_nothing() {
    let f = Folder::new();
    let (a, b) = (f.private("a", "first\n"), f.private("b", "second\n"));
    let (done, failed, usage) = (ExitStatus::Done, ExitStatus::Failed, ExitStatus::Usage);
    let (kem, moved, sender) = (f.at("kem.key"), f.at("moved.key"), f.at("sender.key"));
    check(&format!("keys new {sender}"), done);
    check(&format!("keys new {kem} --kind kem --scheme ed25519"), usage);
    check(
        &format!("keys new {kem} --kind kem --encrypt {CHEAP} --passphrase-file {a}"),
        done,
    );
    check(&format!("keys show {kem}"), done);
    let file = crate::keys::open(Path::new(&kem)).unwrap();
    assert!(file.is_sealed());
    let public = KemPublic::new(file.kem().unwrap()).unwrap();
    let (to, letter) = (Recipient::new(public).text(), f.private("letter", "hello"));
    let sealed = f.at("sealed");
    check(
        &format!("message seal --key {sender} --to {to} --in {letter} --out {sealed}"),
        done,
    );
    let open = |identity: &str, passphrase: &str| {
        format!(
            "message open {sealed} --identity {identity} --out {} --passphrase-file {passphrase}",
            f.at("opened")
        )
    };
    check(&open(&kem, &b), failed);
    check(&open(&sender, &a), failed);
    assert!(!f.path("opened").exists());
    check(&open(&kem, &a), done);
    assert_eq!(std::fs::read(f.path("opened")).unwrap(), b"hello");
    check(
        &format!("backup recipient show {kem} --passphrase-file {a}"),
        done,
    );
    // It moves like any other key, and signs nothing.
    let export =
        format!("keys export {kem} --secret --to {moved} --passphrase-file {a} --new-passphrase-file {b}");
    check(&format!("{export} {CHEAP}"), done);
    check(&open(&moved, &a), failed);
    check(&open(&moved, &b), done);
    check(
        &format!("keys encrypt {moved} {CHEAP} --passphrase-file {b} --new-passphrase-file {a}"),
        done,
    );
    check(&open(&moved, &a), done);
    check(
        &format!(
            "message seal --key {kem} --to {to} --in {letter} --out {} --passphrase-file {a}",
            f.at("not")
        ),
        failed,
    );
    let text = std::fs::read_to_string(&kem).unwrap();
    let spoilt = f.private("spoilt.key", &text.replacen("salt = \"", "salt = \"0", 1));
    check(&open(&spoilt, &a), ExitStatus::Corrupt);
}

#[test]
fn certificates_follow_one_another_offline_and_a_changed_one_is_refused() {
    let f = Folder::new();
    let done = ExitStatus::Done;
    check(&format!("keys new {} {ROOT}", f.at("root.key")), done);
    for name in ["a.key", "b.key", "c.key"] {
        check(&format!("keys new {}", f.at(name)), done);
    }
    std::fs::write(f.path("kem"), [7; 1_216]).unwrap();
    let (root, a, b, c) = (f.at("root.key"), f.at("a.key"), f.at("b.key"), f.at("c.key"));
    let out = |name: &str| format!("--out {}", f.at(name));
    check(
        &format!(
            "keys certify {root} --consensus {a} --transport {a} --kem {} --role validator --role gateway {} --not-after 900",
            f.at("kem"),
            out("1.cert")
        ),
        done,
    );
    check(
        &format!(
            "keys rotate {root} --previous {} --consensus {b} --overlap 50 {}",
            f.at("1.cert"),
            out("2.cert")
        ),
        done,
    );
    check(
        &format!(
            "keys revoke {root} --previous {} {}",
            f.at("2.cert"),
            out("3.cert")
        ),
        done,
    );
    let chain = ["1.cert", "2.cert", "3.cert"].map(|name| certificate(&f.path(name)));
    assert_eq!(verify_chain(&chain), Ok(()));
    let [first, second, last] = chain.map(|one| one.body().clone());
    assert_eq!((first.serial, second.serial, last.serial), (1, 2, 3));
    assert_eq!(second.roles, Roles::VALIDATOR.with(Roles::GATEWAY), "taken over");
    assert_eq!(
        (second.keys.transport, second.keys.kem),
        (first.keys.transport, first.keys.kem)
    );
    assert_ne!(second.keys.consensus, first.keys.consensus);
    assert_eq!((second.overlap, last.is_revocation()), (Height(50), true));
    let usage = ExitStatus::Usage;
    check(&format!("keys certify {root} {}", out("no.cert")), usage);
    check(
        &format!("keys certify {a} --consensus {b} {}", out("no.cert")),
        usage,
    );
    check(
        &format!(
            "keys rotate {root} --previous {} --consensus {c} --overlap 9 --serial 2 {}",
            f.at("2.cert"),
            out("no.cert")
        ),
        usage,
    );
    check(
        &format!(
            "keys certify {root} --consensus {c} --other {c} {}",
            out("no.cert")
        ),
        usage,
    );
    assert!(!f.path("no.cert").exists());
    check(&format!("keys show {}", f.at("2.cert")), done);
    let bytes = std::fs::read(f.path("2.cert")).unwrap();
    for at in [8, 40, 200, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        std::fs::write(f.path("bad.cert"), bad).unwrap();
        check(&format!("keys show {}", f.at("bad.cert")), ExitStatus::Corrupt);
    }
}

#[test]
fn a_transaction_is_signed_where_no_node_is() {
    let f = Folder::new();
    let (root, a) = (f.at("root.key"), f.at("a.key"));
    check(&format!("keys new {root} {ROOT}"), ExitStatus::Done);
    check(&format!("keys new {a}"), ExitStatus::Done);
    let certify = format!(
        "keys certify {root} --other {a} --role gateway --out {} --transaction {}",
        f.at("1.cert"),
        f.at("1.tx")
    );
    check(&certify, ExitStatus::Usage);
    let chain = "ab".repeat(32);
    check(
        &format!("{certify} --chain {chain} --valid-from 70"),
        ExitStatus::Done,
    );
    let bytes = std::fs::read(f.path("1.tx")).unwrap();
    let envelope = selfchain_types::Envelope::decode(bytes).unwrap();
    let verified = selfchain_types::Verified::check(envelope, &()).unwrap();
    let view = verified.view();
    assert_eq!(view.signers().len(), 2, "the root and the key that is new");
    assert_eq!(view.header().valid_from.get(), 70);
    assert_eq!(view.attachments(), certificate(&f.path("1.cert")).body_bytes());
}
