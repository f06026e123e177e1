//! The vault of a real node over real sockets: the owner, a friend with a grant, and strangers.

use crate::stage::{PATIENCE, Stage, config};
use selfchain::Operation;
use selfchain::client::{Client, ClientError, ClientOptions};
use selfchain::node::NodeConfig;
use selfchain::storage::disk::FaultyDisk;
use selfchain::storage::vault::VaultLimits;
use selfchain::storage::{Disk, MemoryDisk};
use selfchain::types::crypto::SigningKey;
use selfchain::types::vault::{
    Access, Anchored, DenialReason, OwnerQuery, Rights, VaultAnswer, VaultQuery, Version,
};
use selfchain::types::{Hash, KeyId, Refusal, TimeNs};
use selfchain::vault::{VaultConfig, VaultKey};
use std::sync::Arc;

/// The node's own key, as the stage has it.
fn owner() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn friend() -> SigningKey {
    SigningKey::from_seed(&[21; 32])
}

fn serving(owners: Vec<KeyId>) -> NodeConfig {
    NodeConfig {
        vault: Some(VaultConfig {
            key: VaultKey::Read(Arc::new(SigningKey::from_seed(&[31; 32]))),
            owners,
            limits: VaultLimits {
                reserve_bytes: 0,
                ..VaultLimits::default()
            },
        }),
        ..config()
    }
}

fn client(stage: &Stage, key: Option<SigningKey>) -> Client {
    Client::connect(&ClientOptions {
        deadline: PATIENCE,
        identity: key.map(Arc::new),
        ..ClientOptions::new(stage.node.address(), stage.node.public_key())
    })
    .unwrap()
}

fn put(client: &Client, name: &str, upload: u128, content: &[u8]) -> Result<Version, ClientError> {
    let mut offset = 0;
    let mut parts = content.chunks(300_000).peekable();
    loop {
        let bytes = parts.next().unwrap_or_default();
        let query = VaultQuery::Put {
            name,
            upload,
            after: None,
            offset,
            is_last: parts.peek().is_none(),
            bytes,
        };
        match client.ask_vault(&query)? {
            VaultAnswer::Version(version) => return Ok(version),
            VaultAnswer::Taken(have) => offset = have,
            other => panic!("{other:?}"),
        }
    }
}

fn get(client: &Client, name: &str, number: u64) -> Result<Vec<u8>, ClientError> {
    let mut content = Vec::new();
    loop {
        let query = VaultQuery::Get {
            name,
            number,
            offset: content.len().try_into().unwrap(),
            len_max: 200_000,
        };
        let VaultAnswer::Chunk { bytes, version, .. } = client.ask_vault(&query)? else {
            panic!("no chunk");
        };
        content.extend_from_slice(&bytes);
        if content.len() as u64 == version.len {
            return Ok(content);
        }
    }
}

fn refusal(result: Result<impl std::fmt::Debug, ClientError>) -> Refusal {
    result.unwrap_err().refusal().expect("the node refused")
}

#[test]
fn keys_get_what_they_were_granted_and_every_denial_is_on_record() {
    let second = SigningKey::from_seed(&[8; 32]);
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &serving(vec![second.id()])).unwrap();
    let (mine, theirs) = (client(&stage, Some(owner())), client(&stage, Some(friend())));
    let nobody = client(&stage, None);
    let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let version = put(&mine, "notes/big", 1, &content).unwrap();
    assert_eq!((version.number, version.author), (1, owner().id()));
    assert_eq!(get(&mine, "notes/big", 0).unwrap(), content);
    assert_eq!(version.content.0, *blake3::hash(&content).as_bytes());
    let also = client(&stage, Some(second));
    assert_eq!(
        put(&also, "private", 1, b"x").unwrap().number,
        1,
        "a key that the configuration names"
    );

    assert_eq!(refusal(get(&nobody, "notes/big", 0)), Refusal::Denied);
    assert_eq!(refusal(get(&theirs, "notes/big", 0)), Refusal::Denied);
    assert_eq!(refusal(put(&theirs, "notes/big", 1, b"x")), Refusal::Denied);
    let access = |client: &Client, access| client.ask_vault(&VaultQuery::Access(access));
    let read = Rights {
        read: true,
        write: false,
    };
    let grant = |key| Access::Grant {
        key,
        prefix: "notes/",
        rights: read,
        until_ns: TimeNs(0),
    };
    assert_eq!(
        refusal(access(&theirs, grant(friend().id()))),
        Refusal::Denied,
        "not by oneself"
    );
    access(&mine, grant(friend().id())).unwrap();
    assert_eq!(get(&theirs, "notes/big", 0).unwrap(), content);
    assert_eq!(refusal(put(&theirs, "notes/big", 2, b"x")), Refusal::Denied);
    assert_eq!(refusal(get(&theirs, "private", 0)), Refusal::Denied);
    assert_eq!(refusal(get(&theirs, "notes/none", 0)), Refusal::NotFound);
    let revoke = Access::Revoke {
        key: friend().id(),
        prefix: "notes/",
    };
    access(&mine, revoke).unwrap();
    assert_eq!(
        refusal(get(&theirs, "notes/big", 0)),
        Refusal::Denied,
        "from then on"
    );

    let VaultAnswer::Denials(denials, 0) = access(&mine, Access::Denials { rows_max: 100 }).unwrap() else {
        panic!("no denials");
    };
    let told: Vec<_> = denials
        .iter()
        .map(|denial| (denial.key, denial.action.name(), denial.name.as_str(), denial.why))
        .collect();
    let them = Some(friend().id());
    let want = [
        (None, "get", "notes/big", DenialReason::NoKey),
        (them, "get", "notes/big", DenialReason::NoGrant),
        (them, "put", "notes/big", DenialReason::NoGrant),
        (them, "access", "", DenialReason::OwnerOnly),
        (them, "put", "notes/big", DenialReason::NoGrant),
        (them, "get", "private", DenialReason::NoGrant),
        (them, "get", "notes/big", DenialReason::NoGrant),
    ];
    assert_eq!(told, want);
    assert_eq!(stage.metrics.vault_denied.get(), 7);
    drop((mine, theirs, nobody, also));
    stage.stop();
}

#[test]
fn documents_outlive_the_node_and_their_root_is_on_the_ledger() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let stage = Stage::start(Arc::clone(&disk), &serving(Vec::new())).unwrap();
    let mine = client(&stage, Some(owner()));
    put(&mine, "a", 1, b"first").unwrap();
    put(&mine, "b", 2, b"").unwrap();
    let standing = |client: &Client| match client.ask_vault(&VaultQuery::Owner(OwnerQuery::Standing)) {
        Ok(VaultAnswer::Standing(standing)) => standing,
        other => panic!("{other:?}"),
    };
    let root = standing(&mine).root;
    let signer = mine.signer(owner(), 3).unwrap();
    let ticket = signer
        .submit(vec![Operation::anchor(1, root)], Default::default())
        .unwrap();
    let tx_id = ticket.tx_id();
    let height = ticket.wait().unwrap().height;
    let at = Anchored { tx_id, height };
    let anchored = OwnerQuery::Anchored { hash: root, at };
    mine.ask_vault(&VaultQuery::Owner(anchored)).unwrap();
    drop((mine, signer));
    stage.stop();

    let stage = Stage::start(disk, &serving(Vec::new())).unwrap();
    let mine = client(&stage, Some(owner()));
    assert_eq!(get(&mine, "a", 0).unwrap(), b"first");
    assert_eq!(standing(&mine).anchored, Some((root, at)));
    put(&mine, "a", 1, b"second").unwrap();
    assert_ne!(
        standing(&mine).root,
        root,
        "another current version, another root"
    );
    drop(mine);
    stage.stop();
}

#[test]
fn a_damaged_document_is_refused_by_name_and_the_ledger_goes_on() {
    let disk = FaultyDisk::new(1);
    let stage = Stage::start(Arc::new(disk.clone()), &serving(Vec::new())).unwrap();
    let mine = client(&stage, Some(owner()));
    put(&mine, "a", 1, b"to be damaged").unwrap();
    put(&mine, "b", 2, b"whole").unwrap();
    let files = disk.list("vault/content").unwrap();
    let damaged = files.iter().find(|name| {
        let path = format!("vault/content/{name}");
        disk.file_len(&path).unwrap() == 13 + 40
    });
    let path = format!("vault/content/{}", damaged.unwrap());
    disk.flip_bit(&path, 30, 2).unwrap();
    match get(&mine, "a", 0).unwrap_err() {
        ClientError::Refused(refused) => {
            assert_eq!(refused.refusal, Refusal::Damaged);
            assert!(refused.text.contains(&path), "{}", refused.text);
        }
        other => panic!("{other}"),
    }
    assert_eq!(get(&mine, "b", 0).unwrap(), b"whole");
    let signer = mine.signer(owner(), 3).unwrap();
    signer.commit(vec![Operation::anchor(1, Hash([1; 32]))]).unwrap();
    drop((mine, signer));
    stage.stop();
}

#[test]
fn a_vault_that_does_not_open_keeps_no_node_from_starting() {
    let disk = FaultyDisk::new(2);
    let stage = Stage::start(Arc::new(disk.clone()), &serving(Vec::new())).unwrap();
    let mine = client(&stage, Some(owner()));
    put(&mine, "a", 1, b"content").unwrap();
    drop(mine);
    stage.stop();
    disk.flip_bit("vault/book", 5_000, 1).unwrap();
    disk.flip_bit("vault/book", 4_100, 1).unwrap();
    let stage = Stage::start(Arc::new(disk.clone()), &serving(Vec::new())).unwrap();
    let mine = client(&stage, Some(owner()));
    for _ in 0..3 {
        match get(&mine, "a", 0).unwrap_err() {
            ClientError::Refused(refused) => {
                assert_eq!(refused.refusal, Refusal::Damaged);
                assert!(refused.text.contains("vault/book"), "{}", refused.text);
            }
            other => panic!("{other}"),
        }
    }
    mine.status().unwrap();
    drop(mine);
    stage.stop();
}

#[test]
fn a_node_without_a_vault_says_so_and_a_stranger_begins_none() {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    let mine = client(&stage, Some(owner()));
    assert_eq!(refusal(get(&mine, "a", 0)), Refusal::RequestUnknown);
    drop(mine);
    stage.stop();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let disk = MemoryDisk::new();
    let mut config = serving(Vec::new());
    if let Some(vault) = &mut config.vault {
        vault.key = VaultKey::Make(path.clone());
    }
    let stage = Stage::start(Arc::new(disk.clone()), &config).unwrap();
    let (mine, theirs) = (client(&stage, Some(owner())), client(&stage, Some(friend())));
    assert_eq!(refusal(get(&theirs, "a", 0)), Refusal::Denied);
    assert!(!path.exists() && disk.open("vault/book").is_err());
    assert_eq!(put(&mine, "a", 1, b"x").unwrap().number, 1);
    assert!(path.exists() && disk.open("vault/book").is_ok());
    drop((mine, theirs));
    stage.stop();
}
