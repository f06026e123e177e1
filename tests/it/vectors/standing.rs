//! Vectors of what validators have: the table of those of `stake`, and a bond's record.

use super::{Vector, hex};
use crate::members::world::{EPOCH, FOUNDERS, JOINER, OTHER, OWNER, PURSE, World, id, join, key};
use selfchain::standing::standing;
use selfchain_types::address::encode_address;
use selfchain_types::codec::Reader;
use selfchain_types::genesis::Plane;
use selfchain_types::roots::Table;
use selfchain_types::{AccountId, Height, Operation};
use serde_json::json;
use std::net::SocketAddr;

/// A chain on which one joined, offended and left, one takes another key, and one says where it listens.
fn world() -> World {
    let mut world = World::new(Plane::Stake);
    let (operation, attachments) = join(&world, JOINER, 500, PURSE);
    world.must(&[JOINER, OWNER], vec![operation], attachments);
    world.to(EPOCH + 3);
    let less = Operation::bond(1, id(JOINER), 300, AccountId::NONE);
    world.must(&[JOINER], vec![less], Vec::new());
    let proof = world.proof(JOINER, Height(EPOCH + 1));
    world.step_with(Vec::new(), &proof);
    world.to(2 * EPOCH);
    let address: SocketAddr = "203.0.113.7:7402".parse().unwrap();
    let says = Operation::address(1, id(FOUNDERS[0]), 0);
    world.must(&[FOUNDERS[0]], vec![says], encode_address(&address).to_vec());
    let attachments = [id(OTHER).0.as_bytes().as_slice(), key(OTHER).public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    let rotate = Operation::rotate(1, id(FOUNDERS[1]), 1, (0, len));
    world.must(&[FOUNDERS[1], OTHER], vec![rotate], attachments);
    world
}

pub fn tables() -> Vec<Vector> {
    let world = world();
    let mut bytes = Vec::new();
    let chain = &world.chain;
    chain.standing().unwrap().encode(Table::Validators, &mut bytes);
    let members: Vec<u32> = chain
        .standing()
        .unwrap()
        .held()
        .iter()
        .map(|one| one.number)
        .collect();
    let fields = json!({
        "plane": "stake",
        "epoch_blocks": EPOCH,
        "height": world.height(),
        "held": members,
        "address_of_0": "203.0.113.7:7402",
        "next_key_of_1": hex(key(OTHER).public().as_bytes()),
        "left": { "4": EPOCH + 1 },
    });
    let (genesis, height) = (world.genesis.clone(), world.height());
    let root = chain.standing().unwrap().root(Table::Validators);
    let table = Vector::new("validators", fields, bytes, move |bytes| {
        let mut read = standing(&genesis).unwrap().unwrap();
        let mut again = Vec::new();
        let is_read = read.restore(bytes, &[]).is_ok();
        read.encode(Table::Validators, &mut again);
        is_read && again == bytes && read.height() == Height(height)
    });
    vec![table.hashed("root", root), bond(&world)]
}

/// The record of the one that left, as a snapshot has it.
fn bond(world: &World) -> Vector {
    const RECORD: usize = 40;
    let mut chunk = Vec::new();
    world.chain.ledger().snapshot(&mut |table, bytes| {
        if table == Table::Bonds {
            chunk.extend_from_slice(bytes);
        }
    });
    let record = chunk[chunk.len() - RECORD..].to_vec();
    let fields = json!({
        "member": 4, "account": 1, "backing": 0, "leaving": 400,
        "since": EPOCH + 6, "offended": EPOCH + 1,
    });
    Vector::new("bond", fields, record, |bytes| {
        let mut reader = Reader::new("bond", bytes);
        let read = (
            [reader.u32().unwrap(), reader.u32().unwrap()],
            [0; 4].map(|_: u8| reader.u64().unwrap()),
        );
        reader.finish().is_ok() && read == ([4, 1], [0, 400, EPOCH + 6, EPOCH + 1])
    })
}
