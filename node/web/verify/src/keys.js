// Signature schemes (docs/formats/envelope.md, decision 0022): Ed25519 under ZIP-215, and its hybrids, both halves of
// which must verify over one digest that names the scheme and both keys.

import { ed25519 } from '@noble/curves/ed25519.js';
import { ml_dsa44, ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import { slh_dsa_sha2_128f, slh_dsa_sha2_128s } from '@noble/post-quantum/slh-dsa.js';
import { little, wrong } from './bytes.js';
import { hash } from './hash.js';

const schemes = [
  { code: 1, name: 'ed25519', publicLength: 32, signatureLength: 64 },
  { code: 2, name: 'ed25519+ml-dsa-44', publicLength: 32 + 1312, signatureLength: 64 + 2420, second: ml_dsa44 },
  { code: 3, name: 'ed25519+ml-dsa-65', publicLength: 32 + 1952, signatureLength: 64 + 3309, second: ml_dsa65 },
  {
    code: 4,
    name: 'ed25519+slh-dsa-sha2-128s',
    publicLength: 32 + 32,
    signatureLength: 64 + 7856,
    second: slh_dsa_sha2_128s,
  },
  {
    code: 5,
    name: 'ed25519+slh-dsa-sha2-128f',
    publicLength: 32 + 32,
    signatureLength: 64 + 17088,
    second: slh_dsa_sha2_128f,
  },
];

export function schemeOf(code) {
  return schemes.find((scheme) => scheme.code === code);
}

export function schemeNamed(name) {
  return schemes.find((scheme) => scheme.name === name);
}

/** A key's id. */
export function keyId(scheme, key) {
  return hash('key', little(scheme.code, 2), key);
}

/** A key that may sign checkpoints: any hybrid. */
export function readCheckpointKey(reader) {
  const code = reader.u16();
  const scheme = schemeOf(code);
  if (!scheme?.second) wrong(`checkpoint key: scheme ${code} is no hybrid that is known`);
  const key = reader.take(scheme.publicLength);
  return { scheme, key, id: keyId(scheme, key) };
}

/** Whether this is the key's signature over the message. */
export function verifies(scheme, key, message, signature) {
  if (key.length !== scheme.publicLength || signature.length !== scheme.signatureLength) return false;
  if (!scheme.second) return ed25519Verifies(key, message, signature);
  const digest = hash('hybrid', keyId(scheme, key), message);
  return (
    ed25519Verifies(key.subarray(0, 32), digest, signature.subarray(0, 64)) &&
    attempt(() => scheme.second.verify(signature.subarray(64), digest, key.subarray(32)))
  );
}

function ed25519Verifies(key, message, signature) {
  return attempt(() => ed25519.verify(signature, message, key, { zip215: true }));
}

/** What a library throws at malformed bytes is a signature that does not verify. */
function attempt(verify) {
  try {
    return verify() === true;
  } catch {
    return false;
  }
}
