// Headers, certificates and sets of validators (docs/formats/block.md, certificate.md, genesis.md).

import { Reader, join, little, same, wrong } from './bytes.js';
import { hash } from './hash.js';
import { verifies } from './keys.js';

export function readHeader(bytes) {
  const reader = new Reader('header', bytes);
  const header = { protocolVersion: reader.u16(), chainId: reader.hash(), height: reader.u64() };
  reader.u32(); // round
  reader.hash(); // parent
  header.timeNs = reader.u64();
  for (const _ of ['proposer', 'reveal', 'transactions_root', 'body_hash']) reader.hash();
  header.stateRoot = reader.hash();
  header.receiptsRoot = reader.hash();
  header.receiptsSize = reader.u64();
  header.validatorsHash = reader.hash();
  header.nextValidatorsHash = reader.hash();
  reader.u64(); // policy_version
  const models = reader.u8();
  if (models > 8) wrong(`header: ${models} models`);
  let previous = null;
  for (let at = 0; at < models; at += 1) {
    const model = reader.hash();
    if (previous && !isBelow(previous, model)) wrong('header: models do not ascend');
    previous = model;
  }
  reader.finish();
  header.block = hash('header', bytes);
  return header;
}

function isBelow(left, right) {
  const at = left.findIndex((byte, index) => byte !== right[index]);
  return at >= 0 && left[at] < right[at];
}

function readCertificate(bytes) {
  const reader = new Reader('certificate', bytes);
  const certificate = { height: reader.u64(), round: reader.u32(), block: reader.hash(), precommits: [] };
  const count = reader.u16();
  for (let at = 0; at < count; at += 1) {
    const validator = reader.u16();
    certificate.precommits.push({ validator, extension: reader.counted(), signature: reader.counted() });
  }
  reader.finish();
  return certificate;
}

export function validatorsHash(validators) {
  const entries = validators.map(({ scheme, key, power }) => join(little(scheme.code, 2), key, little(power, 8)));
  return hash('validators', ...entries);
}

/** The header, if a certificate of these validators decided it. */
export function vouch(chainId, validators, headerBytes, certificateBytes) {
  const header = readHeader(headerBytes);
  if (!same(header.chainId, chainId)) wrong(`header ${header.height} is of another chain`);
  if (!same(header.validatorsHash, validatorsHash(validators))) {
    wrong(`header ${header.height} is decided by other validators than those that are trusted`);
  }
  const certificate = readCertificate(certificateBytes);
  if (!same(certificate.block, header.block) || certificate.height !== header.height) {
    wrong(`the certificate is not for header ${header.height}`);
  }
  const message = (extension) =>
    hash('precommit', chainId, little(certificate.height, 8), little(certificate.round, 4), certificate.block, extension);
  let [got, previous] = [0n, -1];
  certificate.precommits.forEach(({ validator, extension, signature }, at) => {
    const one = validators[validator];
    if (!one || validator <= previous) wrong(`precommit ${at} is of nobody in the set, or out of order`);
    previous = validator;
    if (!verifies(one.scheme, one.key, message(extension), signature)) {
      wrong(`precommit ${at} of header ${header.height}: the signature does not verify`);
    }
    got += one.power;
  });
  const total = validators.reduce((sum, { power }) => sum + power, 0n);
  if (got * 3n <= total * 2n) wrong(`power ${got} of ${total} is not more than two thirds`);
  return header;
}
