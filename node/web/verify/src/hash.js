// Hashes: BLAKE3 in keyed mode, the key being the padded name of a domain (docs/formats/hashes.md).

import { blake3 } from '@noble/hashes/blake3.js';
import { join } from './bytes.js';

const keys = new Map();

function key(domain) {
  if (!keys.has(domain)) {
    const bytes = new Uint8Array(32);
    bytes.set(new TextEncoder().encode(`selfchain/${domain}/v1`));
    keys.set(domain, bytes);
  }
  return keys.get(domain);
}

export function hash(domain, ...parts) {
  return blake3(join(...parts), { key: key(domain) });
}

export function node(left, right) {
  return hash('node', left, right);
}

export function emptyRoot() {
  return hash('empty');
}
