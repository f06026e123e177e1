// Proof files (docs/formats/proof.md, receipt.md, snapshot.md): what one says, if the trusted validators are believed.

import { Reader, Wrong, allSections, hex, little, same, sections, wrong } from './bytes.js';
import { readHeader, validatorsHash, vouch } from './blocks.js';
import { readCheckpointKey, schemeOf, verifies } from './keys.js';
import { emptyRoot, hash } from './hash.js';
import { kinds, outcomes } from './names.js';
import { checkConsistency, readPath, rootBySides, rootFrom } from './trees.js';
import { readTrust } from './trust.js';

const LENGTH_MAX = 16 << 20;

/** What a proof proves: `{ holds: true, … }`, or `{ holds: false, why }` with the first link that fails. */
export function verify(proofBytes, trustBytes) {
  try {
    return { holds: true, ...prove(proofBytes, readTrust(trustBytes)) };
  } catch (error) {
    const why = error instanceof Wrong ? error.message : `unexpected: ${error}`;
    return { holds: false, why, isUnexpected: !(error instanceof Wrong) };
  }
}

function prove(bytes, trust) {
  if (bytes.length > LENGTH_MAX) wrong('the proof is too long');
  const found = sections('proof', bytes, [1, 2, 3, 16, 17, 18]);
  const chain = new Reader('proof chain', found.get(1) ?? wrong('proof: section 1 is missing'));
  const chainId = chain.hash();
  chain.finish();
  const claims = [16, 17, 18].filter((kind) => found.has(kind));
  if (claims.length !== 1) wrong(`a proof has one claim, not ${claims.length}`);
  const handovers = found.has(2) ? readHandovers(found.get(2)) : [];
  const claim = CLAIMS[claims[0]](found.get(claims[0]));
  if (!same(chainId, trust.chainId)) {
    wrong(`the proof is about chain ${hex(chainId)}, and chain ${hex(trust.chainId)} is trusted`);
  }
  const checkpoints = found.has(3) ? readCheckpoints(found.get(3)) : [];
  if (handovers.length > 0 && checkpoints.length > 0) wrong('a proof leads over handovers or over checkpoints, not both');
  const road = found.has(3) ? new Checkpoints(chainId, trust, checkpoints) : new Road(chainId, trust, handovers);
  const said = claim(road, trust.rootLag);
  road.end();
  return {
    chain_id: hex(chainId),
    ...said,
    handovers: found.has(3) ? 0 : road.followed,
    checkpoints: found.has(3) ? road.followed : 0,
    validators: trust.validators && !found.has(3) ? road.validators.length : trust.validators.length,
  };
}

/** The way from the trusted set to headers that come in ascending order of height. */
class Road {
  constructor(chainId, trust, handovers) {
    Object.assign(this, { chainId, validators: trust.validators, since: trust.since, handovers, followed: 0 });
  }

  vouch({ header, certificate }) {
    const { height } = readHeader(header);
    while (this.followed < this.handovers.length && this.handovers[this.followed].height < height) this.follow();
    return this.believe(header, certificate);
  }

  follow() {
    const { header, certificate, next } = this.handovers[this.followed];
    const name = `change ${this.followed + 1} of the set of validators`;
    let believed;
    try {
      believed = this.believe(header, certificate);
    } catch (error) {
      if (error instanceof Wrong) wrong(`${name}: ${error.message}`);
      throw error;
    }
    const nextHash = validatorsHash(next);
    if (!same(nextHash, believed.nextValidatorsHash)) wrong(`${name}: the next set is not the one that the header names`);
    if (same(nextHash, validatorsHash(this.validators))) wrong(`${name}: nothing changes`);
    this.validators = next;
    this.since = believed.height + 1n;
    this.followed += 1;
  }

  believe(header, certificate) {
    const believed = vouch(this.chainId, this.validators, header, certificate);
    if (believed.height < this.since) {
      wrong(`header ${believed.height} is from before height ${this.since}, from which on the set is trusted`);
    }
    return believed;
  }

  end() {
    const left = this.handovers[this.followed];
    if (left) wrong(`change ${this.followed + 1} of the set of validators, of height ${left.height}, leads past the header`);
  }
}

/** The way from genesis over checkpoints, each signed by those whom the one before names (docs/formats/checkpoint.md). */
class Checkpoints {
  constructor(chainId, trust, checkpoints) {
    if (!trust.signers) wrong('the proof leads over checkpoints, and the trusted file does not say who signs them');
    Object.assign(this, { chainId, set: trust.signers, since: 0n, checkpoints, followed: 0 });
  }

  vouch({ header, certificate }) {
    const wanted = readHeader(header);
    if (certificate.length > 0) wrong(`header ${wanted.height} has a certificate beside its checkpoint`);
    while (this.followed === 0 || !same(this.checkpoints[this.followed - 1].header, header)) {
      if (this.followed === this.checkpoints.length) wrong(`no checkpoint is of header ${wanted.height}`);
      this.follow(this.checkpoints[this.followed]);
      this.followed += 1;
    }
    return wanted;
  }

  follow({ header, next, nextBytes, signatures }) {
    const name = `checkpoint ${this.followed + 1}`;
    const { chainId, height, block } = readHeader(header);
    if (!same(chainId, this.chainId)) wrong(`${name} is of another chain`);
    if (height <= this.since) wrong(`${name} is not of a later height than the one before`);
    const message = hash('checkpoint', this.chainId, little(height, 8), block, hash('checkpoint-set', nextBytes));
    let [got, previous] = [0n, ''];
    for (const { key, signature } of signatures) {
      const signer = this.set.signers.find((one) => same(one.id, key));
      if (!signer || hex(key) <= previous) wrong(`${name}: a signature of a key that was not named, or out of order`);
      previous = hex(key);
      if (!verifies(signer.scheme, signer.key, message, signature)) wrong(`${name}: a signature does not verify`);
      got += signer.power;
    }
    if (got * 3n <= this.set.power * 2n) wrong(`${name}: power ${got} of ${this.set.power} is not more than two thirds`);
    this.set = next;
    this.since = height;
  }

  end() {
    if (this.followed < this.checkpoints.length) wrong(`checkpoint ${this.followed + 1} comes after the header`);
  }
}

function readCheckpoints(bytes) {
  const [chain] = allSections('checkpoints', bytes, [1]);
  const reader = new Reader('checkpoints', chain);
  const checkpoints = [];
  while (reader.left > 0) checkpoints.push(readCheckpoint(reader.counted()));
  if (checkpoints.length === 0) wrong('a section of no checkpoints');
  return checkpoints;
}

function readCheckpoint(bytes) {
  const [header, nextBytes, signed] = allSections('checkpoint', bytes, [1, 2, 3]);
  readHeader(header);
  const next = readSigners(nextBytes);
  const reader = new Reader('checkpoint signatures', signed);
  const signatures = [];
  while (reader.left > 0) {
    const [key, signature] = [reader.hash(), reader.counted()];
    if (signature.length > 17152 || signatures.length === 1024) wrong('checkpoint: too long a signature, or too many');
    signatures.push({ key, signature });
  }
  return { header, next, nextBytes, signatures };
}

/** A set of signers. */
function readSigners(bytes) {
  const reader = new Reader('checkpoint set', bytes);
  const power = reader.u64();
  if (power === 0n || power >= 1n << 62n) wrong(`checkpoint set: power ${power}`);
  const signers = [];
  let left = power;
  while (reader.left > 0) {
    const signer = { ...readCheckpointKey(reader), power: reader.u64() };
    if (signer.power === 0n || signer.power > left) wrong('checkpoint set: a signer with no power, or more than there is');
    if (signers.length === 1024 || signers.some((one) => same(one.id, signer.id))) wrong('checkpoint set: a key twice');
    left -= signer.power;
    signers.push(signer);
  }
  return { power, signers };
}

function readHandovers(bytes) {
  const reader = new Reader('handovers', bytes);
  const count = reader.u32();
  if (count === 0) wrong('a section of no handovers');
  const handovers = [];
  for (let at = 0; at < count; at += 1) handovers.push(readHandover(reader.counted()));
  reader.finish();
  return handovers;
}

function readHandover(bytes) {
  const [header, certificate, set] = allSections('handover', bytes, [1, 2, 3]);
  const reader = new Reader('handover validators', set);
  const next = [];
  while (reader.left > 0) {
    const [code, power, key] = [reader.u16(), reader.u64(), reader.counted()];
    const scheme = schemeOf(code);
    if (!scheme || key.length !== scheme.publicLength) wrong('handover: a validator without a key that is known');
    next.push({ scheme, key, power });
  }
  if (next.length > 65535) wrong('handover: too many validators');
  return { header, certificate, next, height: readHeader(header).height };
}

const CLAIMS = { 16: operation, 17: account, 18: consistency };

function operation(bytes) {
  const [first, second, header, certificate] = allSections('receipt', bytes, [1, 2, 3, 4]);
  const of = new Reader('receipt operation', first);
  const [frame, code, actual, score] = [of.take(128), of.u16(), of.take(16), of.u8()];
  const [index, count, path] = [of.u32(), of.u32(), readPath(of)];
  of.finish();
  if (!outcomes.has(code)) wrong(`outcome ${code} is not known`);
  const within = new Reader('receipt transaction', second);
  const txId = within.hash();
  const place = within.take(12); // height u64, transaction_index u32
  const [receiptIndex, receiptPath] = [within.u64(), readPath(within)];
  within.finish();
  const counted = first.subarray(151, 155);
  return (road) => {
    const believed = road.vouch({ header, certificate });
    const leaf = hash('receipt-op', frame, first.subarray(128, 147), new Uint8Array(45));
    const root = rootFrom(leaf, BigInt(index), BigInt(count), path);
    const receipt = hash('receipt', txId, root, place, counted, new Uint8Array(48));
    if (!same(rootFrom(receipt, receiptIndex, believed.receiptsSize, receiptPath), believed.receiptsRoot)) {
      wrong('the operation is not among the receipts that the header commits to');
    }
    const at = new Reader('place', place);
    return {
      claim: 'operation',
      by: by(believed),
      operation: {
        tx_id: hex(txId),
        index,
        of: count,
        operation: describe(frame),
        outcome: outcomes.get(code),
        took_effect: code === 0 || code === 7,
        actual_units: String(new Reader('actual', actual).u128()),
        score: score === 255 ? null : score,
        height: Number(at.u64()),
        transaction_index: at.u32(),
      },
    };
  };
}

function describe(frame) {
  const reader = new Reader('operation', frame);
  const [id, debit, credit, amount] = [reader.u128(), reader.u128(), reader.u128(), reader.u128()];
  const asset = new Reader('operation', frame.subarray(116)).u32();
  const kind = kinds.get(frame[124]) ?? 'unknown';
  const named = { id: String(id), asset, amount_units: String(amount), kind };
  return kind === 'transfer'
    ? { ...named, debit: String(debit), credit: String(credit) }
    : { ...named, names: hex(frame.subarray(16, 48)) };
}

function account(bytes) {
  const [first, roots, header, certificate] = allSections('account', bytes, [1, 2, 3, 4]);
  const reader = new Reader('account', first);
  const [hot, cold, sides, path] = [reader.take(96), reader.take(96), reader.u64(), readPath(reader)];
  reader.finish();
  const tables = readRoots(roots);
  return (road, rootLag) => {
    const believed = road.vouch({ header, certificate });
    if (!same(hash('roots', roots), believed.stateRoot)) wrong('the header commits to another table of roots');
    const accounts = tables.get(1) ?? emptyRoot();
    if (!same(rootBySides(hash('account', hot, cold), sides, path), accounts)) {
      wrong('the account is not among those that the header commits to');
    }
    const of = new Reader('hot', hot);
    const [debitsPosted, creditsPosted, debitsPending, creditsPending, limit] = Array.from({ length: 5 }, () => of.u128());
    return {
      claim: 'account',
      by: by(believed),
      account: {
        account: String(new Reader('cold', cold).u128()),
        asset: of.u32(),
        owner: hex(cold.subarray(16, 48)),
        limit: String(limit),
        balances: {
          debits_posted: String(debitsPosted),
          credits_posted: String(creditsPosted),
          debits_pending: String(debitsPending),
          credits_pending: String(creditsPending),
        },
        height: Number(covered(believed, rootLag)),
      },
    };
  };
}

/** Table of roots: numbers 1 to 14, ascending (docs/formats/roots.md). */
function readRoots(bytes) {
  const reader = new Reader('roots', bytes);
  const tables = new Map();
  let previous = 0;
  while (reader.left > 0) {
    const table = reader.u16();
    if (table <= previous || table > 14) wrong(`roots: table ${table} is not known, or out of order`);
    previous = table;
    tables.set(table, reader.hash());
  }
  return tables;
}

function consistency(bytes) {
  const [first, ...certified] = allSections('consistency', bytes, [1, 2, 3, 4, 5]);
  const reader = new Reader('consistency path', first);
  const path = readPath(reader);
  reader.finish();
  const [oldHeader, oldCertificate, newHeader, newCertificate] = certified;
  return (road, rootLag) => {
    const old = road.vouch({ header: oldHeader, certificate: oldCertificate });
    const later = road.vouch({ header: newHeader, certificate: newCertificate });
    checkConsistency(old.receiptsSize, old.receiptsRoot, later.receiptsSize, later.receiptsRoot, path);
    const receipts = (header) => ({
      height: Number(covered(header, rootLag)),
      transactions: Number(header.receiptsSize),
      root: hex(header.receiptsRoot),
    });
    return { claim: 'consistency', by: by(later), consistency: { old: receipts(old), new: receipts(later) } };
  };
}

function covered(header, rootLag) {
  if (header.height < rootLag) wrong(`header ${header.height} commits to no block`);
  return header.height - rootLag;
}

function by(header) {
  return { height: Number(header.height), block: hex(header.block), time_ns: String(header.timeNs) };
}

