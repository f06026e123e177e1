//! Proof files of real ledgers: made by stores, embedded ledgers and running nodes, verified with nothing but whom one
//! trusts; spoilt in every byte; and what the command line makes of them.

use crate::stage::{MONEY, PATIENCE, Stage, config, operator, pay as move_money};
use selfchain::answers::AnswerError;
use selfchain::client::{Client, ClientError, ClientOptions};
use selfchain::cluster::{Cluster, Seat, among};
use selfchain::engine::proof::{Claim, ProofFile, ProofFileError, Proven, Statement, Trust};
use selfchain::proving::{Provable, Rebuilding, SINCE_GENESIS};
use selfchain::storage::{FileDisk, MemoryDisk};
use selfchain::store::Store;
use selfchain::types::crypto::{Scheme, SigningKey};
use selfchain::types::genesis::Plane;
use selfchain::types::message::{BY_CHECKPOINTS, Query};
use selfchain::types::seam::log::Log;
use selfchain::types::{AccountFlags, AssetId, Genesis, Hash, Height, KeyId, Outcome, Refusal};
use selfchain::{AccountId, Amount, Ledger, Operation};
use selfchain_tests::proofs::{PAID, SNAPSHOT, Stand, of_later_version, resigned, spoilt, verified};
use selfchain_tests::random::Random;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

fn rebuild(stop: &AtomicBool) -> Rebuilding<'_> {
    Rebuilding {
        blocks_max: u64::MAX,
        progress: Box::leak(Box::new(|_: Height, _: Height| {})),
        stop,
    }
}

/// What an account's proof says: after which height, and its posted debits and credits.
fn balances(proven: &Proven) -> (Height, u128, u128) {
    match &proven.statement {
        Statement::Account { height, hot, .. } => {
            (*height, hot.debits_posted.get(), hot.credits_posted.get())
        }
        other => panic!("no account: {other:?}"),
    }
}

#[test]
fn proofs_of_every_kind_are_believed_from_genesis_through_two_changes_of_the_set() {
    let stand = Stand::new();
    let founders = stand.founders();
    for (name, proof) in stand.proofs(SINCE_GENESIS) {
        let proven = verified(&proof.to_bytes(), &founders).unwrap();
        assert_eq!(
            (proven.handovers, proven.trust.set.since()),
            (2, Height(33)),
            "{name}"
        );
        assert_eq!(proven.trust, stand.past.trust().unwrap());
        assert!(verified(&of_later_version(&proof), &founders).is_ok(), "{name}");
        match proven.statement {
            Statement::Operation(decided) => {
                let (tx_id, height) = stand.payments[stand.payments.len() - 3];
                assert_eq!((decided.tx_id, decided.height), (tx_id, height));
                assert_eq!((decided.outcome, decided.actual), (Outcome::Ok, Amount(7)));
                assert_eq!((decided.operation_index, decided.operation_count), (1, 3));
            }
            Statement::Account { height, hot, cold } => {
                assert_eq!((height, cold.id.get()), (Height(36), PAID.0));
                assert_eq!(hot.credits_posted.get(), stand.paid[36]);
            }
            Statement::Consistency { old, new } => {
                assert_eq!((old.height, new.height), (Height(3), Height(36)));
                assert!(old.size < new.size);
            }
        }
    }
}

#[test]
fn proofs_over_checkpoints_need_no_vote_and_nobody_but_genesis() {
    let stand = Stand::with_checkpoints();
    let founders = stand.founders();
    let present = Trust::read(stand.past.trust().unwrap().to_text().as_bytes()).unwrap();
    let mut random = Random(0xc4ec);
    for (name, proof) in stand.proofs(BY_CHECKPOINTS) {
        let bytes = proof.to_bytes();
        let proven = verified(&bytes, &founders).unwrap();
        // That of block 16, which names other signers, and those that commit to the claim.
        let headers: Vec<_> = proof
            .checkpoints
            .iter()
            .map(|one| one.height().unwrap().0)
            .collect();
        let wanted: &[u64] = if name == "consistency" {
            &[8, 16, 32]
        } else {
            &[16, 32]
        };
        assert_eq!((headers.as_slice(), proven.handovers), (wanted, 0), "{name}");
        assert_eq!(
            (proven.by.height, proven.checkpoints),
            (Height(32), headers.len())
        );
        assert_eq!(proven.trust.signers.as_ref().unwrap().since(), Height(32));
        match proven.statement {
            Statement::Operation(decided) => assert!(decided.height <= Height(30)),
            Statement::Account { height, hot, .. } => {
                assert_eq!((height, hot.credits_posted.get()), (Height(30), stand.paid[30]));
            }
            Statement::Consistency { old, new } => {
                assert_eq!((old.height, new.height), (Height(6), Height(30)));
            }
        }
        let nobody = verified(&bytes, &present).unwrap_err();
        assert_eq!(nobody, ProofFileError::NoSigners, "{name}");
        for (how, bytes) in spoilt(&proof, 300, &mut random) {
            assert!(verified(&bytes, &founders).is_err(), "{name}: {how}");
        }
        // A certificate beside it would be bytes that nobody looks at.
        let mut with_votes = proof.clone();
        match &mut with_votes.claim {
            Claim::Operation(receipt) => receipt.certificate = vec![1],
            Claim::Account(account) => account.certificate = vec![1],
            Claim::Consistency(both) => both.old.certificate = vec![1],
        }
        let error = verified(&with_votes.to_bytes(), &founders).unwrap_err();
        assert!(
            matches!(error, ProofFileError::Certificate { .. }),
            "{name}: {error}"
        );
        // One road, to its end and no further.
        let mut short = proof.clone();
        short.checkpoints.pop();
        let height = Height(32);
        assert_eq!(
            verified(&short.to_bytes(), &founders).unwrap_err(),
            ProofFileError::NoCheckpoint { height },
            "{name}"
        );
        let mut both_ways = proof.clone();
        both_ways.handovers = stand.proofs(SINCE_GENESIS)[0].1.handovers.clone();
        assert!(!both_ways.handovers.is_empty());
        let error = verified(&both_ways.to_bytes(), &founders).unwrap_err();
        assert_eq!(error, ProofFileError::TwoWays, "{name}");
        let (early, _) = stand.payments[0];
        let mut long = stand.past.prove_operation(&early, 0, BY_CHECKPOINTS).unwrap();
        assert!(verified(&long.to_bytes(), &founders).is_ok());
        let after = proof.checkpoints.last().unwrap().clone();
        assert!(long.checkpoints.last().unwrap().height().unwrap() < after.height().unwrap());
        let number = long.checkpoints.len() + 1;
        long.checkpoints.push(after);
        assert_eq!(
            verified(&long.to_bytes(), &founders).unwrap_err(),
            ProofFileError::UnusedCheckpoint { number },
            "{name}"
        );
    }
    let (past, between) = (&stand.past, Height(9));
    assert!(matches!(
        past.checkpointed(between),
        Err(AnswerError::BetweenCheckpoints { next: Height(14), .. })
    ));
    assert!(matches!(
        past.prove_consistency(Height(33), Height(36), BY_CHECKPOINTS),
        Err(AnswerError::NotCheckpointed {
            newest: Height(32),
            ..
        })
    ));
    let without = Stand::new();
    let (first, _) = without.payments[0];
    assert!(matches!(
        without.past.prove_operation(&first, 0, BY_CHECKPOINTS),
        Err(AnswerError::NoCheckpoints)
    ));
}

#[test]
fn for_whoever_knows_the_present_set_a_proof_is_small_and_says_the_same() {
    let stand = Stand::new();
    let present = stand.past.trust().unwrap();
    let (first, _) = stand.payments[0];
    let old = stand
        .past
        .prove_operation(&first, 0, present.set.since())
        .unwrap();
    let mut proofs = stand.proofs(present.set.since());
    proofs.push(("an operation before the set", old));
    // Five validators, of whom one left: the present set is the founders' again.
    let mut between = stand.founders();
    let first = stand.proofs(SINCE_GENESIS)[0].1.handovers[0].clone();
    between.set.follow(&between.chain_id, &first).unwrap();
    for (name, proof) in proofs {
        let bytes = proof.to_bytes();
        let proven = verified(&bytes, &present).unwrap();
        assert_eq!(proven.handovers, 0, "{name}");
        assert!(bytes.len() < 8 * 1024, "{name}: {} bytes", bytes.len());
        // Whoever knows only the set between is not led there.
        let error = verified(&bytes, &between).unwrap_err();
        assert!(
            error.to_string().contains("the header of height"),
            "{name}: {error}"
        );
    }
    let early = stand
        .past
        .prove_consistency(Height(3), Height(0), present.set.since());
    assert!(
        matches!(early, Err(AnswerError::BeforeSince { by: Height(5), .. })),
        "{early:?}"
    );
}

#[test]
fn every_flipped_byte_of_a_proof_of_each_kind_is_refused_and_named() {
    let stand = Stand::new();
    let founders = stand.founders();
    for (name, proof) in stand.proofs(SINCE_GENESIS) {
        let bytes = proof.to_bytes();
        println!("{name}: {} bytes", bytes.len());
        let halves = bytes.len() / 2;
        let check = |range: core::ops::Range<usize>| {
            for at in range {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                let error = verified(&flipped, &founders).expect_err(&format!("{name}: byte {at}"));
                assert!(!error.to_string().is_empty());
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| check(0..halves));
            check(halves..bytes.len());
        });
        (0..bytes.len()).for_each(|cut| assert!(verified(&bytes[..cut], &founders).is_err(), "cut at {cut}"));
    }
}

#[test]
fn sets_with_keys_of_every_scheme_decide_proofs() {
    let stand = Stand::new();
    for scheme in Scheme::ALL {
        for (name, proof) in stand.proofs(SINCE_GENESIS).into_iter().take(2) {
            let (proof, trust) = resigned(&proof, &[scheme, Scheme::Ed25519, scheme]).unwrap();
            let bytes = proof.to_bytes();
            assert!(verified(&bytes, &trust).is_ok(), "{name}, {}", scheme.name());
            let read = Trust::read(trust.to_text().as_bytes()).unwrap();
            assert_eq!(read, trust);
            let mut spoilt = bytes.clone();
            // The last byte of the last signature: of a hybrid, in its second half.
            *spoilt.last_mut().unwrap() ^= 1;
            assert!(verified(&spoilt, &trust).is_err(), "{name}, {}", scheme.name());
        }
    }
}

#[test]
fn an_account_is_proved_after_every_height_that_snapshots_and_log_reach() {
    let stand = Stand::new();
    let founders = stand.founders();
    let provable = stand.past.provable().unwrap();
    let (first, last) = (Height(1), Height(36));
    assert_eq!(provable, Provable { first, last });
    let go_on = AtomicBool::new(false);
    for height in 1..=36 {
        let path = stand
            .past
            .account_at(PAID, Height(height), rebuild(&go_on))
            .unwrap();
        let proof = stand.past.prove_account(path, SINCE_GENESIS).unwrap();
        let proven = verified(&proof.to_bytes(), &founders).unwrap();
        let (at, _, credits) = balances(&proven);
        assert_eq!((at, credits), (Height(height), stand.paid[height as usize]));
    }
    for height in [0, 37, u64::MAX] {
        let path = stand.past.account_at(PAID, Height(height), rebuild(&go_on));
        assert!(matches!(path, Err(AnswerError::OutOfReach { .. })), "{height}");
    }
    let near = Rebuilding {
        blocks_max: 2,
        ..rebuild(&go_on)
    };
    assert!(stand.past.account_at(PAID, Height(SNAPSHOT + 2), near).is_ok());
    let far = Rebuilding {
        blocks_max: 2,
        ..rebuild(&go_on)
    };
    let refused = stand.past.account_at(PAID, Height(SNAPSHOT + 3), far);
    assert!(
        matches!(refused, Err(AnswerError::TooFar { blocks: 3, .. })),
        "{refused:?}"
    );
    let stopped = stand
        .past
        .account_at(PAID, Height(10), rebuild(&AtomicBool::new(true)));
    assert!(matches!(stopped, Err(AnswerError::Stopped)));
}

#[test]
fn where_the_logs_beginning_is_dropped_the_first_provable_height_is_named() {
    let mut stand = Stand::new();
    stand.store.log.retain_from(SNAPSHOT + 1).unwrap();
    let first_kept = stand.past.log().first().unwrap();
    assert!(
        (2..=SNAPSHOT + 1).contains(&first_kept),
        "the log begins at {first_kept}"
    );
    let provable = stand.past.provable().unwrap();
    assert_eq!(provable.first, Height(SNAPSHOT));
    let go_on = AtomicBool::new(false);
    let early = stand.past.account_at(PAID, Height(SNAPSHOT - 1), rebuild(&go_on));
    assert!(
        early
            .unwrap_err()
            .to_string()
            .contains("the first height that can is 20")
    );
    let path = stand
        .past
        .account_at(PAID, Height(SNAPSHOT + 4), rebuild(&go_on))
        .unwrap();
    let proof = stand.past.prove_account(path, SINCE_GENESIS).unwrap();
    assert!(verified(&proof.to_bytes(), &stand.founders()).is_ok());
}

#[test]
fn an_embedded_ledger_proves_what_it_did_and_goes_on_after_a_restart() {
    let disk = Arc::new(MemoryDisk::new());
    let open = || {
        let key = SigningKey::from_seed(&[1; 32]);
        let disk = Arc::<MemoryDisk>::clone(&disk);
        Ledger::open_on(disk, key, &selfchain_tests::proofs::config(), &mut |_| {}).unwrap()
    };
    let mut ledger = open();
    ledger.create_asset(AssetId(7), 2).unwrap();
    ledger.open_account(ALICE, AssetId(7)).unwrap();
    ledger.open_account(BOB, AssetId(7)).unwrap();
    ledger.issue(AssetId(7), ALICE, Amount(100)).unwrap();
    let paid = ledger.transfer(ALICE, BOB, Amount(30)).unwrap();
    let trust = Trust::of_genesis(ledger.genesis());
    let check = |proof: ProofFile| verified(&proof.to_bytes(), &trust).unwrap();
    let decided = check(ledger.prove_operation(&paid, 0).unwrap());
    assert!(matches!(decided.statement, Statement::Operation(one) if one.actual == Amount(30)));
    let height = ledger.chain().tip().height;
    assert_eq!(balances(&check(ledger.prove_account(ALICE).unwrap())).1, 30);
    assert_eq!(
        ledger.chain().tip().height,
        height,
        "no block is decided for a proof"
    );
    assert!(ledger.prove_account(AccountId(9)).is_err());
    check(ledger.prove_consistency(Height(2), Height(0)).unwrap());
    ledger.snapshot().unwrap();
    drop(ledger);
    let mut ledger = open();
    let proven = check(ledger.prove_account(BOB).unwrap());
    assert_eq!((balances(&proven).2, ledger.chain().tip().height), (30, height));
}

fn prove(client: &Client, account: AccountId) -> Vec<u8> {
    let (at, since) = (Height(0), SINCE_GENESIS);
    client.prove(Query::ProveAccount { account, at, since }).unwrap()
}

#[test]
fn a_node_proves_balances_while_it_is_idle_while_it_is_busy_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Stage::start(Arc::new(FileDisk::open(directory.path()).unwrap()), &config()).unwrap();
    let stage = start();
    stage.open(&[ALICE, BOB], 1_000_000);
    let trust = Trust::of_genesis(stage.node.genesis());
    let client = stage.client();
    let idle = verified(&prove(&client, ALICE), &trust).unwrap();
    assert_eq!(balances(&idle).2, 1_000_000);

    // Money goes to and fro for as long as proofs are made; both balances move with every block.
    let is_done = AtomicBool::new(false);
    let heights = thread::scope(|scope| {
        scope.spawn(|| {
            let signer = stage.client().signer(operator(), 1).unwrap();
            while !is_done.load(Ordering::Relaxed) {
                signer.commit(vec![move_money(ALICE, BOB, 1)]).unwrap();
            }
        });
        let mut heights: Vec<(Height, u128)> = Vec::new();
        while heights.last().is_none_or(|(_, debits)| *debits < 200) {
            let proven = verified(&prove(&client, ALICE), &trust).unwrap();
            let (height, debits, _) = balances(&proven);
            assert!(proven.by.height > height);
            heights.push((height, debits));
        }
        is_done.store(true, Ordering::Relaxed);
        heights
    });
    assert!(heights.is_sorted(), "what is proved never goes back: {heights:?}");

    let tip = client.status().unwrap().tip;
    let (at, since) = (heights[heights.len() / 2].0, SINCE_GENESIS);
    let account = ALICE;
    let past = client.prove(Query::ProveAccount { account, at, since }).unwrap();
    let proven = verified(&past, &trust).unwrap();
    let known = heights.iter().find(|(height, _)| *height == at).unwrap();
    assert_eq!((balances(&proven).0, balances(&proven).1), *known);
    let ahead = Height(tip.0 + 1_000);
    let refused = client.prove(Query::ProveAccount {
        account,
        at: ahead,
        since,
    });
    assert_eq!(refused.unwrap_err().refusal(), Some(Refusal::NotFound));
    let nobody = client.prove(Query::ProveAccount {
        account: AccountId(99),
        at: Height(0),
        since,
    });
    assert_eq!(nobody.unwrap_err().refusal(), Some(Refusal::NotFound));
    let (old, new) = (Height(2), Height(0));
    let same = client.prove(Query::ProveConsistency { old, new, since }).unwrap();
    verified(&same, &trust).unwrap();
    drop(client);
    stage.stop();

    let stage = start();
    let tip = stage.node.tip().height;
    let proven = verified(&prove(&stage.client(), BOB), &trust).unwrap();
    assert!(balances(&proven).2 >= 1_000_200);
    assert_eq!(
        stage.node.tip().height,
        tip,
        "what the snapshot says of its past is enough"
    );
    stage.stop();
}

#[test]
fn every_validator_of_several_proves_balances_idle_and_under_load() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
    let genesis = Genesis::solo("proofs", 1, keys[0].public().clone());
    let genesis = among(genesis, Plane::Stake, &keys);
    let seat = |key: &SigningKey| Seat {
        key: key.copy(),
        disk: Arc::new(MemoryDisk::new()),
    };
    let cluster = Cluster::start(
        keys.iter().map(seat).collect(),
        &genesis,
        &config(),
        runtime.handle(),
    )
    .unwrap();
    let client = |at: usize| {
        let node = &cluster.nodes()[at];
        let options = ClientOptions::new(node.address(), node.public_key());
        Client::connect(&ClientOptions {
            deadline: PATIENCE,
            ..options
        })
        .unwrap()
    };
    let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let open = |account| Operation::open_account(account, MONEY, KeyId::NONE, flags, Amount::ZERO, 0);
    let operations = vec![
        Operation::create_asset(MONEY, crate::stage::ISSUANCE, KeyId::NONE, 2, Amount::MAX),
        open(ALICE),
        open(BOB),
        Operation::transfer(1, crate::stage::ISSUANCE, ALICE, Amount(1_000), MONEY),
    ];
    let signer = client(0).signer(operator(), 0).unwrap();
    assert!(signer.commit(operations).unwrap().refused.is_empty());
    let trust = Trust::of_genesis(&genesis);
    let check = |at: usize, account| {
        let proven = verified(&prove(&client(at), account), &trust).unwrap();
        assert_eq!(proven.trust.set.validators().len(), 4);
        balances(&proven)
    };
    for at in 0..4 {
        assert_eq!(check(at, ALICE).2, 1_000, "validator {at}");
    }
    for round in 0..5 {
        let committed = signer.commit(vec![move_money(ALICE, BOB, 1)]).unwrap();
        let (height, debits, _) = check(round % 4, ALICE);
        // A validator that is behind proves what it knows.
        assert!(debits <= round as u128 + 1 && height <= Height(committed.height.0 + 2));
    }
    drop(signer);
    runtime.block_on(cluster.stop()).unwrap();
}

fn run(words: &[&str]) -> u8 {
    let words = ["selfchain"].iter().chain(words).map(OsString::from);
    selfchain::cli::main(words, []).code()
}

#[test]
fn the_command_line_makes_proofs_of_a_stopped_node_and_verifies_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let stand = Stand::new();
    // The same chain in a directory.
    let data = path("data");
    let disk: Arc<FileDisk> = Arc::new(FileDisk::open(Path::new(&data)).unwrap());
    Store::create(&*disk, &stand.world.genesis).unwrap();
    let mut store = Store::open(disk, &selfchain_tests::proofs::config()).unwrap();
    for (height, row) in (1..).zip(&stand.world.rows) {
        store.log.append(height, row).unwrap();
    }
    store.log.sync().unwrap();
    store.recover(&mut |_| {}).unwrap();
    drop(store);
    let (genesis, later) = (format!("{data}/genesis"), path("later.txt"));
    let tx_id = stand.payments[1].0.to_hex();
    let from = ["--offline", "--data", &data];
    let make = |words: &[&str], output: &str| run(&[words, &["--output", output], &from].concat());

    assert_eq!(make(&["proof", "trust"], &later), 0);
    let present = Trust::read(&std::fs::read(&later).unwrap()).unwrap();
    assert_eq!(present, stand.past.trust().unwrap());
    let account = PAID.to_string();
    for (name, words) in [
        ("tx", vec!["proof", "tx", &tx_id, "--operation", "1"]),
        ("balance", vec!["proof", "balance", &account]),
        ("balance-at", vec!["proof", "balance", &account, "--at", "24"]),
        ("consistency", vec!["proof", "consistency", "4", "30"]),
    ] {
        let file = path(name);
        assert_eq!(make(&words, &file), 0, "{name}");
        assert_eq!(run(&["proof", "verify", &file, "--trust", &genesis]), 0, "{name}");
        assert_eq!(
            run(&["proof", "verify", &file, "--trust", &genesis, "--json"]),
            0,
            "{name}"
        );
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(run(&["proof", "verify", &file, "--trust", &genesis]), 5, "{name}");
    }
    let file = path("small");
    assert_eq!(make(&["proof", "tx", &tx_id, "--trust", &later], &file), 0);
    assert_eq!(run(&["proof", "verify", &file, "--trust", &later]), 0);
    assert_eq!(make(&["proof", "balance", "77"], &file), 3, "no such account");
    assert_eq!(make(&["proof", "tx", &Hash([1; 32]).to_hex()], &file), 3);
    assert_eq!(make(&["proof", "balance", &account, "--at", "99"], &file), 3);
    assert_eq!(run(&["proof", "verify", &path("none"), "--trust", &genesis]), 2);
    assert_eq!(run(&["proof", "verify", &file, "--trust", &file]), 2);
    assert_eq!(
        run(&["proof", "tx", &tx_id, "--output", &file, "--since", "0"]),
        2
    );
}

#[test]
fn what_cannot_be_proved_is_said_in_words() {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    stage.open(&[ALICE, BOB], 10);
    let client = stage.client();
    let (old, new, since) = (Height(9_000), Height(0), SINCE_GENESIS);
    let error = client
        .prove(Query::ProveConsistency { old, new, since })
        .unwrap_err();
    assert!(error.to_string().contains("is not before"), "{error}");
    assert!(matches!(error, ClientError::Refused(_)) && error.source().is_none());
    let since = Height(1_000);
    let error = client
        .prove(Query::ProveAccount {
            account: ALICE,
            at: Height(0),
            since,
        })
        .unwrap_err();
    assert!(
        error.to_string().contains("from which on the verifier knows"),
        "{error}"
    );
    drop(client);
    stage.stop();
}
