//! No secret leaves a process: the program at its most talkative, and everything that it printed or wrote.

use selfchain::keys::{self, Passphrase, SecretKey};
use selfchain::storage::backup::age::Recipient;
use selfchain::types::crypto::x_wing::KemPublic;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const PASSPHRASE: &str = "a passphrase that nobody prints";
const OTHER: &str = "another one, from a file";
const LETTER: &str = "what only the reader of the letter is to know";

/// The program with these words, as talkative as it can be.
fn program(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kill"));
    command
        .arg("program")
        .args(words.split_whitespace())
        .env("SELFCHAIN_TELEMETRY__LOG_LEVEL", "trace")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("SELFCHAIN_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::null());
    command
}

fn run(words: &str, printed: &mut Vec<u8>) -> Output {
    let output = program(words).output().unwrap();
    printed.extend_from_slice(&output.stdout);
    printed.extend_from_slice(&output.stderr);
    output
}

fn must(words: &str, printed: &mut Vec<u8>) {
    let output = run(words, printed);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{words}: {text}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// A node that runs, until it is stopped.
struct Node {
    child: Child,
    stderr: std::thread::JoinHandle<Vec<u8>>,
    stdout: BufReader<std::process::ChildStdout>,
    first: String,
}

impl Node {
    fn start(data: &Path) -> Self {
        let mut child = program(&format!(
            "run --json --with-unused-ports --data {}",
            data.display()
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut errors = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            errors.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        Self {
            child,
            stderr,
            stdout,
            first,
        }
    }

    fn address(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.first).unwrap_or_default();
        value["ingest"].as_str().unwrap_or_default().to_owned()
    }

    fn stop(mut self, printed: &mut Vec<u8>) {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        self.stdout.read_to_end(printed).unwrap();
        self.child.wait().unwrap();
        printed.extend_from_slice(self.first.as_bytes());
        printed.extend_from_slice(&self.stderr.join().unwrap());
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|at| digit(bits >> (18 - 6 * at)));
        text.extend(digits);
    }
    text
}

/// A secret, in every form that a careless line could have.
fn forms(name: &str, secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let hex = keys::hex(secret);
    let debug = format!("{secret:?}");
    let debug = debug.trim_matches(['[', ']']);
    vec![
        (format!("{name}, raw"), secret.to_vec()),
        (format!("{name}, hexadecimal"), hex.as_bytes().to_vec()),
        (format!("{name}, HEXADECIMAL"), hex.to_uppercase().into_bytes()),
        (format!("{name}, base64"), base64(secret).into_bytes()),
        (
            format!("{name}, base64 for addresses"),
            base64(secret).replace('+', "-").replace('/', "_").into_bytes(),
        ),
        (format!("{name}, as a list"), debug.as_bytes().to_vec()),
    ]
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn base64_is_what_others_call_so() {
    assert_eq!(base64(b"Man"), "TWFu");
    assert_eq!(base64(b"Ma"), "TWE");
    assert_eq!(base64(b"hello"), "aGVsbG8");
}

#[test]
fn nothing_that_the_program_prints_or_writes_holds_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    let (d, mut printed) = (data.display().to_string(), Vec::new());
    let cheap = "--memory-kib 64 --passes 1";
    must(&format!("init --data {d}"), &mut printed);
    let seed = |file: &Path, passphrase: &Path| -> Vec<u8> {
        let passphrase = Passphrase::read(passphrase).unwrap();
        keys::open(file)
            .unwrap()
            .unlock(&passphrase)
            .unwrap()
            .seed()
            .to_vec()
    };
    let private = |name: &str, text: &str| {
        let file = path(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file
    };
    let own_file = private("own.passphrase", PASSPHRASE);
    let file = private("other.passphrase", &format!("{OTHER}\n"));
    let node_seed = seed(&data.join("node.key"), &own_file);
    must(&format!("keys encrypt {cheap} --data {d}"), &mut printed);
    let (root, hot, moved) = (path("root.key"), path("hot.key"), path("moved.key"));
    let scheme = "--scheme ed25519+slh-dsa-sha2-128f";
    must(
        &format!(
            "keys new {} --kind root {scheme} --encrypt {cheap}",
            root.display()
        ),
        &mut printed,
    );
    must(
        &format!(
            "keys new {} --encrypt {cheap} --passphrase-file {}",
            hot.display(),
            file.display()
        ),
        &mut printed,
    );
    must(
        &format!(
            "keys encrypt {} {cheap} --passphrase-file {} --new-passphrase-file {}",
            hot.display(),
            file.display(),
            file.display()
        ),
        &mut printed,
    );
    // A key to seal to: what is said under it is as secret as the key.
    let (inbox, letter, opened) = (path("inbox.key"), private("letter", LETTER), path("opened"));
    let sealed = path("letter.sealed");
    must(
        &format!("keys new {} --kind kem --encrypt {cheap}", inbox.display()),
        &mut printed,
    );
    let kem = keys::open(&inbox).unwrap();
    let to = Recipient::new(KemPublic::new(kem.kem().unwrap()).unwrap()).text();
    let (from, sealed) = (data.join("node.key"), sealed.display());
    must(
        &format!(
            "message seal --key {} --to {to} --in {} --out {sealed}",
            from.display(),
            letter.display()
        ),
        &mut printed,
    );
    let open = format!(
        "message open {sealed} --identity {} --out {}",
        inbox.display(),
        opened.display()
    );
    must(&open, &mut printed);
    assert!(
        !run(
            &format!("{open} --passphrase-file {}", file.display()),
            &mut printed
        )
        .status
        .success()
    );
    assert_eq!(std::fs::read(&opened).unwrap(), LETTER.as_bytes());
    std::fs::remove_file(&opened).unwrap();
    std::fs::remove_file(&letter).unwrap();
    let inbox_seed = kem.unlock_secret(&Passphrase::read(&own_file).unwrap()).unwrap();
    // What fails talks most: a wrong passphrase, a changed file, no passphrase at all.
    assert!(
        !run(
            &format!(
                "keys certify {} --consensus {} --out {}",
                root.display(),
                hot.display(),
                path("no.cert").display()
            ),
            &mut printed
        )
        .status
        .success()
    );
    let text = std::fs::read_to_string(&hot).unwrap();
    let spoilt = private("spoilt.key", &text.replace("passes = \"1\"", "passes = \"2\""));
    assert!(
        !run(
            &format!(
                "keys export --secret --to {} {}",
                path("no.key").display(),
                spoilt.display()
            ),
            &mut printed
        )
        .status
        .success()
    );

    let node = Node::start(&data);
    let at = format!("--server {} --data {d}", node.address());
    must(&format!("asset create 978 --scale 2 {at}"), &mut printed);
    must(&format!("account open 1 --asset 978 {at}"), &mut printed);
    must(&format!("account open 2 --asset 978 {at}"), &mut printed);
    run(
        &format!("transfer --from 1 --to 2 --amount 1.00 {at}"),
        &mut printed,
    );
    let certificate = path("1.cert");
    let own = data.join("node.key");
    must(
        &format!(
            "keys certify {} --consensus {} --transport {} --role validator --out {} --submit {at}",
            root.display(),
            own.display(),
            own.display(),
            certificate.display()
        ),
        &mut printed,
    );
    must(&format!("keys show {}", certificate.display()), &mut printed);
    node.stop(&mut printed);
    must(
        &format!("keys export --secret {cheap} --to {} --data {d}", moved.display()),
        &mut printed,
    );
    must(&format!("verify --data {d}"), &mut printed);

    assert_eq!(seed(&own, &own_file), node_seed);
    assert_eq!(seed(&moved, &own_file), node_seed);
    assert!(
        printed.len() > 10_000,
        "{} bytes are too few to show anything",
        printed.len()
    );
    assert!(
        contains(&printed, b"TRACE") || contains(&printed, b"trace"),
        "nothing was traced"
    );
    let mut secrets = forms("the passphrase", PASSPHRASE.as_bytes());
    secrets.extend(forms("the other passphrase", OTHER.as_bytes()));
    secrets.extend(forms("the node's seed", &node_seed));
    secrets.extend(forms("the root's seed", &seed(&root, &own_file)));
    secrets.extend(forms("the hot key's seed", &seed(&hot, &file)));
    secrets.extend(forms("the letter", LETTER.as_bytes()));
    match inbox_seed {
        SecretKey::Kem(kem) => secrets.extend(forms("the inbox's seed", kem.seed().as_slice())),
        SecretKey::Signing(_) => panic!("it signs nothing"),
    }
    for (name, secret) in &secrets {
        assert!(!contains(&printed, secret), "{name} was printed");
    }
    // Sealed key files too: in none of them is a seed as it is.
    for path in files(folder.path()) {
        let bytes = std::fs::read(&path).unwrap();
        for (name, secret) in secrets.iter().filter(|_| path != file && path != own_file) {
            assert!(!contains(&bytes, secret), "{name} is in {}", path.display());
        }
    }
}
