//! `data`, from arguments to exit code: on the directory of a stopped node, and at a running one.

use crate::cli::{ExitStatus, main};
use crate::config::Config;
use crate::keys::{self, NODE_KEY_FILE};
use crate::node::Node;
use crate::telemetry::Metrics;
use crate::vault::{VaultConfig, VaultKey};
use selfchain_storage::FileDisk;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

fn check(line: &str, want: ExitStatus) {
    let words = ["selfchain"].into_iter().chain(line.split_whitespace());
    assert_eq!(main(words.map(OsString::from), []), want, "selfchain {line}");
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        check(
            &format!("init --data {}", made.data().display()),
            ExitStatus::Done,
        );
        made
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.file(name), content).unwrap();
        self.file(name).display().to_string()
    }
}

/// Everything that both ways must do alike.
fn puts_and_gets(folder: &Folder, reach: &str) {
    let done = |line: &str| check(&format!("data {line} {reach}"), ExitStatus::Done);
    let refused = |line: &str| check(&format!("data {line} {reach}"), ExitStatus::Refused);
    let one = folder.write("one", b"a\nb\nc\n");
    let two = folder.write("two", b"a\nB\nc\n");
    let big: Vec<u8> = (0..2_500_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let big_file = folder.write("big", &big);
    done(&format!("put notes/plan {one} --if-version 0"));
    refused(&format!("put notes/plan {two} --if-version 0"));
    done(&format!("put notes/plan {two} --json"));
    done(&format!("put big {big_file}"));
    check(&format!("data put ../x {one} {reach}"), ExitStatus::Usage);
    let out = folder.file("out").display().to_string();
    done(&format!("get notes/plan --version 1 --out {out}"));
    assert_eq!(fs::read(&out).unwrap(), b"a\nb\nc\n");
    done(&format!("get big --out {out} --json"));
    assert_eq!(fs::read(&out).unwrap(), big);
    done("get notes/plan");
    check(&format!("data get notes/plan --json {reach}"), ExitStatus::Usage);
    refused("get none");
    refused("get notes/plan --version 9");
    done("list");
    done("list notes/ --json");
    done("history notes/plan");
    done("diff notes/plan");
    done("diff notes/plan --from 2 --to 1 --json");
    check(&format!("data diff big {reach}"), ExitStatus::Usage);
    done("rm big");
    refused("get big");
    refused("rm big");
    done(&format!("get big --version 1 --out {out}"));
    done("rm big --purge");
    refused(&format!("get big --version 1 --out {out}"));
    done("list --removed");
    done("verify --json");
    let key = "ab".repeat(32);
    done(&format!("grant {key} notes/ --read --expires 30d"));
    check(&format!("data grant {key} notes/ {reach}"), ExitStatus::Usage);
    check(
        &format!("data grant {key} n --read --expires soon {reach}"),
        ExitStatus::Usage,
    );
    done("grants");
    done(&format!("revoke {key} notes/"));
    refused(&format!("revoke {key} notes/"));
    done("grants --json");
    done("denials");
}

#[test]
fn documents_are_kept_in_the_directory_of_a_stopped_node() {
    let folder = Folder::new();
    let reach = format!("--data {}", folder.data().display());
    puts_and_gets(&folder, &reach);
    // Nothing in the open.
    let book = fs::read(folder.data().join("vault/book")).unwrap();
    assert!(!book.windows(5).any(|window| window == b"notes"));
}

struct Running {
    runtime: Runtime,
    node: Node,
}

fn start(data: &Path) -> Running {
    let config = Config {
        data_dir: data.into(),
        ..Config::default()
    };
    let mut node_config = config.node_config(None);
    node_config.listen.set_port(0);
    node_config.vault = Some(VaultConfig {
        key: VaultKey::Make(config.vault_key_path()),
        owners: Vec::new(),
        limits: config.vault_limits(),
    });
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let key = keys::read(&data.join(NODE_KEY_FILE)).unwrap();
    let disk = Arc::new(FileDisk::open(data).unwrap());
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(disk, &key, &node_config, metrics, runtime.handle(), &mut |_| {}).unwrap();
    Running { runtime, node }
}

#[test]
fn documents_are_kept_by_a_running_node_anchored_and_proved() {
    let folder = Folder::new();
    let data = folder.data();
    let Running { runtime, node } = start(&data);
    let named = format!("--data {} --server {}", data.display(), node.address());
    puts_and_gets(&folder, &named);
    // Without --server the directory says who has it open: the node that listens where the configuration says.
    let here = format!("--data {} --ingest.listen {}", data.display(), node.address());
    check(&format!("data list {here}"), ExitStatus::Done);

    let proof = folder.file("proof").display().to_string();
    let prove = format!("data get notes/plan --out {proof}.out --prove {proof} {named}");
    check(&prove, ExitStatus::Refused);
    check(
        &format!("data anchor notes/plan --json {named}"),
        ExitStatus::Done,
    );
    check(&format!("data anchor {named}"), ExitStatus::Done);
    check(&prove, ExitStatus::Done);
    let proof: serde_json::Value = serde_json::from_slice(&fs::read(&proof).unwrap()).unwrap();
    assert!(proof["anchored"]["height"].as_u64().unwrap() > 0, "{proof}");
    check(&format!("data history notes/plan {named}"), ExitStatus::Done);
    check(&format!("data verify {named}"), ExitStatus::Done);

    let other = folder.file("other.key").display().to_string();
    check(&format!("keys new {other}"), ExitStatus::Done);
    check(
        &format!("data get notes/plan --key {other} {named}"),
        ExitStatus::Refused,
    );
    let id = keys::read(Path::new(&other)).unwrap().id();
    check(
        &format!("data grant {id} notes/ --read {named}"),
        ExitStatus::Done,
    );
    check(
        &format!("data get notes/plan --key {other} {named}"),
        ExitStatus::Done,
    );
    check(&format!("data list --key {other} {named}"), ExitStatus::Refused);
    check(
        &format!("data list notes/ --key {other} {named}"),
        ExitStatus::Done,
    );
    runtime.block_on(node.stop()).unwrap();
    let reach = format!("--data {}", data.display());
    check(&format!("data denials --json {reach}"), ExitStatus::Done);
}

#[test]
fn whatever_byte_is_changed_nothing_is_put_in_place_and_the_exit_code_says_it() {
    let folder = Folder::new();
    let data = folder.data();
    let reach = format!("--data {}", data.display());
    let file = folder.write("file", &[7; 70_000]);
    check(&format!("data put a {file} {reach}"), ExitStatus::Done);
    let content = fs::read_dir(data.join("vault/content"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let (path, out) = (content.path(), folder.file("out"));
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[69_000] ^= 1;
    fs::write(&path, &changed).unwrap();
    let get = format!("data get a --out {} {reach}", out.display());
    check(&get, ExitStatus::Corrupt);
    check(&format!("data get a {reach}"), ExitStatus::Corrupt);
    check(&format!("data verify --json {reach}"), ExitStatus::Corrupt);
    assert!(!out.exists());
    fs::write(&path, &whole).unwrap();
    check(&get, ExitStatus::Done);
    assert_eq!(fs::read(&out).unwrap(), [7; 70_000]);

    let book = data.join("vault/book");
    let whole = fs::read(&book).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&book, &changed).unwrap();
    check(&format!("data list {reach}"), ExitStatus::Corrupt);
    fs::write(&book, &whole).unwrap();
    let key = data.join("vault.key");
    fs::rename(&key, folder.file("away")).unwrap();
    check(&format!("data list {reach}"), ExitStatus::Corrupt);
    assert!(!key.exists(), "no other key is made in its place");
    check(
        &format!(
            "data list {reach} --data.key_file {}",
            folder.file("away").display()
        ),
        ExitStatus::Done,
    );
}

#[test]
fn an_interrupted_get_goes_on_where_it_ended_and_never_from_what_is_wrong() {
    let folder = Folder::new();
    let reach = format!("--data {}", folder.data().display());
    let content = [9; 200_000];
    let file = folder.write("file", &content);
    check(&format!("data put a {file} {reach}"), ExitStatus::Done);
    let out = folder.file("out");
    let get = format!("data get a --out {} {reach}", out.display());
    check(&get, ExitStatus::Done);
    fs::remove_file(&out).unwrap();
    // The name of what is gathered is the version's: a wrong beginning is found out at the end, and thrown away.
    let config = Config {
        data_dir: folder.data(),
        ..Config::default()
    };
    let disk = Arc::new(FileDisk::open(&folder.data()).unwrap());
    let key = VaultKey::Make(config.vault_key_path());
    let key = match key {
        VaultKey::Make(path) => VaultKey::Read(Arc::new(keys::read(&path).unwrap())),
        read => read,
    };
    let (vault, _) = crate::vault::open_vault(disk, &key, config.vault_limits()).unwrap();
    let hash = vault.version("a", 0).unwrap().hash.to_hex();
    drop(vault);
    let part = folder.file(&format!(".out.{}.part", &hash[..16]));
    fs::write(&part, [9; 100_000]).unwrap();
    check(&get, ExitStatus::Done);
    assert_eq!(fs::read(&out).unwrap(), content);
    fs::remove_file(&out).unwrap();
    fs::write(&part, [8; 100_000]).unwrap();
    check(&get, ExitStatus::Corrupt);
    assert!(!out.exists() && !part.exists());
    check(&get, ExitStatus::Done);
}
