//! The program from arguments to exit code, alone and against a real node.

use super::*;
use crate::advisor::stub::{Stub, says};
use crate::client::{Client, ClientOptions};
use crate::config::{Config, Scoring};
use crate::keys::{self, NODE_KEY_FILE};
use crate::node::Node;
use crate::telemetry::Metrics;
use selfchain_ai::explain::words;
use selfchain_ai::model::Predict;
use selfchain_ai::rules::STARTER;
use selfchain_storage::FileDisk;
use selfchain_types::identity::{KeyUse, node_id};
use selfchain_types::{AccountId, Hash, Height};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

fn check(line: &str, want: ExitStatus) {
    check_with(line, &[], want);
}

fn check_with(line: &str, env: &[(&str, &str)], want: ExitStatus) {
    let arguments = ["selfchain"]
        .into_iter()
        .chain(line.split_whitespace())
        .map(OsString::from);
    let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    assert_eq!(main(arguments, env), want, "selfchain {line}");
}

#[test]
fn help_and_version_are_no_failures() {
    for line in [
        "--help",
        "--version",
        "help transfer",
        "account open --help",
        "validators --help",
        "consensus status --help",
        "evidence --help",
        "completions zsh",
        "config default",
    ] {
        check(line, ExitStatus::Done);
    }
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    for line in [
        "",
        "nonsense",
        "nonsense --json",
        "transfer",
        "transfer --from 1 --to 2",
        "transfer --post 1 --void 2",
        "account show x",
        "account open 1",
        "asset create 1 --scale 39",
        "tx 00",
        "verify --data no-such-folder",
        "validators --offline --data no-such-folder",
        "evidence --offline --http 127.0.0.1:1",
        "consensus",
        "config show --config no-such-file",
        "config show --pipeline.order=random",
        "config show --no.such_key=1",
    ] {
        check(line, ExitStatus::Usage);
    }
    check_with(
        "config show",
        &[("SELFCHAIN_NO__SUCH_KEY", "1")],
        ExitStatus::Usage,
    );
    check_with(
        "config show",
        &[("SELFCHAIN_PORT_BASE", "9000"), ("HOME", "x")],
        ExitStatus::Done,
    );
}

#[test]
fn a_test_network_is_made_once_with_a_directory_for_each_validator() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("net");
    let output = net.display();
    check(
        &format!("testnet --validators 4 --plane poai --output {output} --port-base 9100 --json"),
        ExitStatus::Done,
    );
    check(
        &format!("testnet --validators 4 --output {output}"),
        ExitStatus::Usage,
    );
    check(
        &format!("testnet --validators 1 --output {output}-one"),
        ExitStatus::Usage,
    );
    check(
        &format!("testnet --validators 100 --output {output}-far --port-base 65000"),
        ExitStatus::Usage,
    );
    let genesis = |validator: &str| std::fs::read(net.join(validator).join("genesis")).unwrap();
    assert_eq!(genesis("validator-0"), genesis("validator-3"));
    let text = std::fs::read_to_string(net.join("validator-2").join("selfchain.toml")).unwrap();
    assert!(
        text.contains("@127.0.0.1:9102") && text.contains("127.0.0.1:9122"),
        "{text}"
    );
    check(
        &format!("verify --data {output}/validator-1 --json"),
        ExitStatus::Done,
    );
    assert!(text.contains("\nscoring = \"on\"\n"), "{text}");
    for look in ["validators", "consensus status", "evidence"] {
        let data = format!("--data {output}/validator-1");
        check(&format!("{look} {data} --offline"), ExitStatus::Done);
        check(&format!("{look} {data} --json"), ExitStatus::Done);
        check(
            &format!("{look} {data} --http 127.0.0.1:1 --json"),
            ExitStatus::Unreachable,
        );
    }
}

#[test]
fn a_test_network_gets_a_model_at_every_validator_if_they_would_load_it() {
    let folder = tempfile::tempdir().unwrap();
    let (net, pack) = (folder.path().join("net"), folder.path().join("pack.toml"));
    let (output, model, other) = (net.display(), pack.display(), folder.path().join("pack.txt"));
    std::fs::write(&pack, selfchain_ai::rules::STARTER).unwrap();
    std::fs::copy(&pack, &other).unwrap();
    let make = |model: &dyn std::fmt::Display, status| {
        check(
            &format!("testnet --validators 2 --output {output} --port-base 9200 --model {model} --json"),
            status,
        );
    };
    make(&other.display(), ExitStatus::Usage);
    make(&format_args!("{model}-none"), ExitStatus::Usage);
    assert!(!net.join("validator-0").join("genesis").exists());
    make(&model, ExitStatus::Done);
    for validator in ["validator-0", "validator-1"] {
        let given = std::fs::read(net.join(validator).join("models").join("pack.toml")).unwrap();
        assert_eq!(given, selfchain_ai::rules::STARTER.as_bytes());
    }
}

#[test]
fn a_chain_is_made_once_and_its_damage_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node").display().to_string();
    check(
        &format!("init --name test --port-base 9000 --data {data} --json"),
        ExitStatus::Done,
    );
    check(&format!("init --data {data}"), ExitStatus::Usage);
    let text = std::fs::read_to_string(Path::new(&data).join("selfchain.toml")).unwrap();
    assert!(
        text.contains("\nport_base = 9000\n") && text.contains("\n# listen ="),
        "{text}"
    );
    check(&format!("keys show --data {data}"), ExitStatus::Done);
    check(&format!("verify --data {data} --json"), ExitStatus::Done);
    check(&format!("snapshot list --data {data}"), ExitStatus::Done);

    let key = folder.path().join("my.key").display().to_string();
    check(&format!("keys new {key}"), ExitStatus::Done);
    check(&format!("keys new {key}"), ExitStatus::Failed);
    check(&format!("keys show {key} --json"), ExitStatus::Done);

    std::fs::write(Path::new(&data).join("genesis"), b"not a genesis").unwrap();
    check(&format!("verify --data {data}"), ExitStatus::Corrupt);
}

#[test]
fn a_node_that_is_not_there_has_its_own_exit_code() {
    let hex = "00".repeat(32);
    // Port 9 is "discard": nobody listens there.
    let node = format!("--server 127.0.0.1:9 --server-key {hex} --deadline-ms 200");
    check(&format!("account show 1 {node}"), ExitStatus::Unreachable);
}

struct Running {
    runtime: Runtime,
    node: Node,
    /// What a command takes to reach the node.
    reach: String,
}

fn start(data: &Path, scoring: Scoring) -> Running {
    let mut config = Config {
        data_dir: data.into(),
        ..Config::default()
    };
    config.ai.scoring = scoring;
    let mut node_config = config.node_config(None);
    node_config.scoring.models = ai::models_in(data).unwrap();
    node_config.listen.set_port(0);
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let key = keys::read(&data.join(NODE_KEY_FILE)).unwrap();
    let disk = Arc::new(FileDisk::open(data).unwrap());
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(disk, &key, &node_config, metrics, runtime.handle(), &mut |_| {}).unwrap();
    let reach = format!("--data {} --server {}", data.display(), node.address());
    Running { runtime, node, reach }
}

#[test]
fn every_command_reaches_a_node_and_refusals_have_their_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    check(&format!("init --data {}", data.display()), ExitStatus::Done);
    let Running { runtime, node, reach } = start(&data, Scoring::Auto);
    let done = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Done);
    let refused = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Refused);

    done("asset create 978 --scale 2");
    refused("asset create 978");
    done("asset show 978");
    refused("asset show 1");
    done("account open 1 --asset 978 --history");
    done("account open 2 --asset 978 --json");
    done("transfer --from 18446744073709552594 --to 1 --amount 100.00");
    done("transfer --from 1 --to 2 --amount 12.50 --json");
    refused("transfer --from 1 --to 2 --amount 1000");
    check(
        &format!("transfer --from 1 --to 2 --amount 0.001 {reach}"),
        ExitStatus::Usage,
    );
    done("transfer --from 1 --to 2 --amount 5 --pending --id 77");
    done("transfer --post 77 --amount 3 --asset 978");
    done("transfer --from 1 --to 2 --amount 5 --pending --id 78");
    done("transfer --void 78");
    done("account show 1 --json");
    refused("account show 3");
    done("account history 1");
    refused("account history 2");
    done("account history 1 --from 4 --place 16777218 --rows 1 --json");
    done("account show 1 --at 4");
    refused("account show 1 --at 100000");
    refused("account show 2 --at 4");
    done("account limit 1 50");
    done("account open 4 --asset 978");
    done("account close 4");
    done("block 1");
    refused("block 100000");
    done("events --json");
    refused(&format!("tx {}", "00".repeat(32)));

    let at = |name: &str| folder.path().join(name).display().to_string();
    let (root, hot, certificate) = (at("root.key"), at("hot.key"), at("1.cert"));
    check(
        &format!("keys new {root} --kind root --scheme ed25519+slh-dsa-sha2-128f"),
        ExitStatus::Done,
    );
    check(&format!("keys new {hot}"), ExitStatus::Done);
    let node_id = node_id(crate::keys::read(Path::new(&root)).unwrap().public());
    let hot_id = crate::keys::read(Path::new(&hot)).unwrap().id();
    refused(&format!("keys identity {node_id}"));
    done(&format!(
        "keys certify {root} --transport {hot} --role gateway --out {certificate} --submit"
    ));
    done(&format!("keys identity {node_id}"));
    done(&format!("keys identity {hot_id} --json"));

    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key())).unwrap();
    let identity = client.identity(node_id).unwrap().unwrap();
    assert_eq!(Some(identity), client.identity(hot_id.0).unwrap());
    assert_eq!(
        identity.signing().collect::<Vec<_>>(),
        [(KeyUse::Transport, hot_id)]
    );
    let balances = client.account(AccountId(2)).unwrap().unwrap().hot.balances();
    assert_eq!(balances.credits_posted.get(), 15_50);
    balances_of_the_past_are_those_of_the_history(&client, AccountId(1));
    let row = client.block(Height(1)).unwrap().unwrap();
    let row = selfchain_types::block::Row::decode(&row).unwrap();
    let body = selfchain_types::block::Body::decode(row.body).unwrap();
    let tx_id = selfchain_types::envelope::EnvelopeView::new(body.envelopes[0])
        .unwrap()
        .tx_id();
    let receipt = folder.path().join("receipt").display().to_string();
    done(&format!("tx {tx_id} --receipt 0 --out {receipt}"));
    assert!(std::fs::metadata(&receipt).unwrap().len() > 100);
    drop(client);

    check(&format!("verify --data {}", data.display()), ExitStatus::Failed);
    runtime.block_on(node.stop()).unwrap();
    check(&format!("verify --data {}", data.display()), ExitStatus::Done);
    check(
        &format!("snapshot create --data {}", data.display()),
        ExitStatus::Done,
    );
}

#[test]
fn a_hold_is_explained_with_and_without_an_advisor_and_stays_held() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    check(&format!("init --data {}", data.display()), ExitStatus::Done);
    let Running { runtime, node, reach } = start(&data, Scoring::On);
    let done = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Done);
    done("asset create 978 --scale 2");
    done("account open 1 --asset 978");
    done("account open 2 --asset 978");
    done("transfer --from 18446744073709552594 --to 1 --amount 100.00");
    done("policy set --annotate 0 --hold 0 --hold-unscored");
    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key())).unwrap();
    let from = client.status().unwrap().tip.0 + 3;
    done(&format!("model activate default --at {from}"));
    done("transfer --from 18446744073709552594 --to 1 --amount 1");
    check(
        &format!("transfer --from 1 --to 2 --amount 12.50 {reach}"),
        ExitStatus::Held,
    );
    let held = client.holds(0).unwrap();
    let [hold] = held.0[..] else {
        panic!("{} holds", held.0.len());
    };
    let explain = format!("hold explain {}", hold.id.get());

    done(&explain);
    check(&format!("hold explain 78 {reach}"), ExitStatus::Refused);
    let stub = Stub::start(vec![says("Release it at once.")]);
    let advisor = format!("--advisor.url {} --advisor.model m", stub.url());
    done(&format!("{explain} {advisor} --json"));
    done(&format!("{explain} {advisor}"));
    assert_eq!(stub.requests.len(), 1);
    // The reply was the last: the port is closed, and the reasons are told without a paragraph.
    done(&format!("{explain} {advisor} --anew"));
    let clear = "--advisor.url http://192.0.2.1/v1 --advisor.key_file no/such/file";
    check(&format!("{explain} {clear} {reach}"), ExitStatus::Usage);
    assert_eq!(client.holds(0).unwrap(), held);
    drop(client);
    runtime.block_on(node.stop()).unwrap();
}

#[test]
fn a_pack_of_rules_decides_and_what_it_holds_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    check(&format!("init --data {}", data.display()), ExitStatus::Done);
    let pack = data.join("models").join("starter.toml");
    std::fs::create_dir(data.join("models")).unwrap();
    std::fs::write(&pack, STARTER).unwrap();
    let model = ai::read_model(Some(&pack)).unwrap().hash();
    let Running { runtime, node, reach } = start(&data, Scoring::On);
    let done = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Done);
    done("asset create 978 --scale 2");
    for account in 1..=3 {
        done(&format!("account open {account} --asset 978"));
    }
    done("transfer --from 18446744073709552594 --to 1 --amount 9000");
    done("policy set --hold 127");
    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key())).unwrap();
    let from = client.status().unwrap().tip.0 + 3;
    done(&format!("model activate {model} --at {from}"));
    done(&format!("model prefer {model} --account 2"));
    done("transfer --from 1 --to 2 --amount 999.99");
    check(
        &format!("transfer --from 1 --to 3 --amount 1000.00 {reach}"),
        ExitStatus::Held,
    );
    let (holds, _) = client.holds(0).unwrap();
    let [hold] = holds[..] else {
        panic!("{} holds", holds.len());
    };
    let said = hold.reasons.map(|code| words(code).unwrap());
    assert_eq!(
        (hold.score, said),
        (
            200,
            [
                "the sender has never paid this receiver",
                "the amount is unusual",
                "the receiver's account is young"
            ]
        ),
        "what the rule asks for"
    );
    done("hold list");
    done(&format!("hold explain {}", hold.id.get()));
    let height = Height(hold.opened.get());
    let row = client.block(height).unwrap().unwrap();
    let block = selfchain_engine::commit::Prepared::new(height, &row).unwrap();
    let tx_id = block.transactions()[0].tx_id;
    drop(client);
    runtime.block_on(node.stop()).unwrap();
    check(
        &format!("ai explain {tx_id} --data {}", data.display()),
        ExitStatus::Done,
    );
    check(&format!("ai show {}", pack.display()), ExitStatus::Done);
    every_command_of_models_takes_a_pack(folder.path(), &pack);
}

fn every_command_of_models_takes_a_pack(folder: &Path, pack: &Path) {
    let (pack, input) = (pack.display(), folder.join("rows.csv"));
    std::fs::write(
        &input,
        "time,from,to,amount,to_bad\n100,1,2,5,0\n150,3,4,150000,1\n400,3,4,10,0\n500,3,4,2000000,1\n",
    )
    .unwrap();
    let (input, output) = (input.display(), folder.join("scores.csv"));
    let done = |line: &str| check(line, ExitStatus::Done);
    done(&format!("ai eval --model {pack} --input {input}"));
    done(&format!("ai compare {pack} {pack} --input {input} --json"));
    done(&format!(
        "ai score --model {pack} --input {input} --output {}",
        output.display()
    ));
    let text = std::fs::read_to_string(&output).unwrap();
    let scores: Vec<&str> = text.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(scores, ["score", "20", "200", "20", "127"], "{text}");
    assert!(
        text.contains("the sender has never paid this receiver; the amount is unusual"),
        "{text}"
    );
}

#[test]
#[cfg(feature = "candle")]
fn a_network_may_stay_in_floats() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::from("time,from,to,amount,fraud\n");
    for at in 0..300 {
        let is_fraud = at % 5 == 0;
        let amount = if is_fraud { 90_000 } else { 100 + at };
        rows += &format!(
            "{},{},{},{amount},{}\n",
            at * 60,
            at % 7,
            7 + at % 11,
            u8::from(is_fraud)
        );
    }
    let (input, output) = (
        folder.path().join("rows.csv"),
        folder.path().join("float.safetensors"),
    );
    std::fs::write(&input, rows).unwrap();
    let train = format!(
        "ai train --input {} --output {}",
        input.display(),
        output.display()
    );
    check(&format!("{train} --float"), ExitStatus::Usage);
    check(
        &format!("{train} --kind network --networks 1 --float"),
        ExitStatus::Done,
    );
    let model = ai::read_model(Some(&output)).unwrap();
    assert!(!model.is_exact());
    let net = folder.path().join("net").display().to_string();
    check(
        &format!("testnet --output {net} --model {}", output.display()),
        ExitStatus::Usage,
    );
    assert_eq!(model.card().kind, "network-float");
    assert!(model.card().command.contains("--kind network --float"));
    assert!(model.card().metrics.contains_key("stop/roc_auc"));
    let eval = format!("ai eval --model {} --input {}", output.display(), input.display());
    check(&eval, ExitStatus::Done);
}

/// Account 1 has changed at several heights; after each block it was what its newest change up to there says, and now
/// is what it was after the last.
fn balances_of_the_past_are_those_of_the_history(client: &Client, account: AccountId) {
    let history = client.history(account, Height(1), 1_000).unwrap();
    let heights: std::collections::BTreeSet<Height> = history.iter().map(|row| row.position.height).collect();
    assert!(heights.len() >= 5, "{heights:?}");
    let tip = client.status().unwrap().tip;
    for height in (0..=tip.0).map(Height) {
        let want = history.iter().rfind(|row| row.position.height <= height);
        let got = match height {
            Height(0) => None,
            height => client.balance_at(account, height).unwrap(),
        };
        assert_eq!(got.as_ref(), want, "after {height}");
    }
    let now = client.account(account).unwrap().unwrap().hot.balances();
    assert_eq!(history.last().unwrap().balances, now);
}

#[test]
fn a_held_transfer_has_its_own_exit_code_and_one_that_is_rejected_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    check(&format!("init --data {}", data.display()), ExitStatus::Done);
    let Running { runtime, node, reach } = start(&data, Scoring::On);
    let done = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Done);
    let held = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Held);
    let refused = |line: &str| check(&format!("{line} {reach}"), ExitStatus::Refused);
    done("asset create 978 --scale 2");
    done("account open 1 --asset 978");
    done("account open 2 --asset 978");
    done("transfer --from 18446744073709552594 --to 1 --amount 100.00");
    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key())).unwrap();
    let next = client.status().unwrap().tip.0 + 2;
    // A model that is nowhere scores nothing.
    done(&format!("model activate {} --at {next}", "ab".repeat(32)));
    done("policy set --hold-unscored --hold-timeout-s 3600");
    held("transfer --from 1 --to 2 --amount 1");
    held("transfer --from 1 --to 2 --amount 1 --json");
    held("transfer --from 1 --to 2 --amount 1 --pending --id 77");

    let (holds, _) = client.holds(0).unwrap();
    assert_eq!(holds.len(), 3);
    assert!(
        holds.iter().any(|hold| hold.id.get() == 77),
        "it keeps its own id"
    );
    for hold in holds {
        done(&format!("hold release {}", hold.id.get()));
    }
    let own = client.account(AccountId(2)).unwrap().unwrap();
    assert_eq!(
        own.hot.balances().credits_posted.get(),
        2_00,
        "the third is pending again"
    );

    let next = client.status().unwrap().tip.0 + 2;
    done(&format!("model activate default --at {next}"));
    done("policy set --annotate 0 --hold 0");
    held("transfer --from 1 --to 2 --amount 2");
    done("policy set --reject 0");
    refused("transfer --from 1 --to 2 --amount 3");
    refused("transfer --from 1 --to 2 --amount 3 --json");
    let tip = client.status().unwrap().tip;
    let last = |height: &u64| -> Option<Hash> {
        let row = client.block(Height(*height)).unwrap().unwrap();
        let block = selfchain_engine::commit::Prepared::new(Height(*height), &row).unwrap();
        Some(block.transactions().first()?.tx_id)
    };
    let tx_id = (1..=tip.0).rev().find_map(|height| last(&height)).unwrap();
    done(&format!("ai explain {tx_id}"));
    refused(&format!("ai explain {}", "00".repeat(32)));
    done(&format!("report {tx_id} --fraud"));
    done(&format!("report {tx_id} --cleared --for 2 --json"));
    refused(&format!("report {} --fraud", "00".repeat(32)));
    refused(&format!("report {tx_id} --fraud --operation 9"));
    for wrong in ["--fraud --for 3", "--fraud --cleared", ""] {
        check(&format!("report {tx_id} {wrong} {reach}"), ExitStatus::Usage);
    }
    drop(client);
    runtime.block_on(node.stop()).unwrap();
    check(
        &format!("ai explain {tx_id} --json --data {}", data.display()),
        ExitStatus::Done,
    );
}
