// Trust files (docs/formats/trust.md): the chain's genesis, or a validators file.

import { Reader, sections, unhex, wrong } from './bytes.js';
import { hash } from './hash.js';
import { readCheckpointKey, schemeNamed, schemeOf } from './keys.js';

const HEAD = 'selfchain-validators 1';
const LENGTH_MAX = 64 << 20;

/** `{ chainId, rootLag, since, validators }`. */
export function readTrust(bytes) {
  if (bytes.length > LENGTH_MAX) wrong('the trust file is too long');
  const head = new TextEncoder().encode(HEAD);
  const isText = head.every((byte, at) => byte === bytes[at]);
  return isText ? readText(bytes) : readGenesis(bytes);
}

function readGenesis(bytes) {
  const known = [1, 2, 3, 4, 5, 6, 7];
  const found = sections('genesis', bytes, known);
  for (const kind of known.slice(0, 4)) {
    if (!found.has(kind)) wrong(`it is neither a validators file nor a genesis: section ${kind} is missing`);
  }
  const chain = new Reader('genesis chain', found.get(1));
  new TextDecoder('utf-8', { fatal: true }).decode(chain.take(chain.u16()));
  chain.u64(); // salt
  const plane = chain.u8();
  if (plane < 1 || plane > 3) wrong(`genesis: plane ${plane} is not known`);
  const validators = [];
  const reader = new Reader('genesis validators', found.get(4));
  while (reader.left > 0) {
    const code = reader.u16();
    const scheme = schemeOf(code) ?? wrong(`genesis: signature scheme ${code} is not known`);
    const key = reader.take(scheme.publicLength);
    validators.push({ scheme, key, power: reader.u64() });
  }
  if (validators.length === 0) wrong('genesis: there is no validator');
  const signers = found.has(7) ? readFounders(found.get(7), validators) : null;
  return { chainId: hash('genesis', bytes), rootLag: plane === 1 ? 1n : 2n, since: 1n, validators, signers };
}

/** Who signs the first checkpoint: the founders' checkpoint keys, each with its validator's power. */
function readFounders(bytes, validators) {
  const reader = new Reader('genesis checkpoints', bytes);
  if (reader.u32() === 0) wrong('genesis: no blocks from one checkpoint to the next');
  const signers = validators.map(({ power }) => ({ ...readCheckpointKey(reader), power }));
  reader.finish();
  return { power: validators.reduce((sum, { power }) => sum + power, 0n), signers };
}

function readText(bytes) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    wrong('the validators file is no text');
  }
  const lines = text
    .split('\n')
    .map((line, at) => ({ number: at + 1, words: line.trimEnd() }))
    .filter(({ words }) => words !== '' && !words.startsWith('#'));
  const take = (what, read) => {
    const line = lines.shift() ?? wrong(`the validators file ends before ${what}`);
    return read(line.words) ?? wrong(`validators file, line ${line.number}: ${what} is expected`);
  };
  const after = (name, read) => (words) => (words.startsWith(`${name} `) ? read(words.slice(name.length + 1)) : null);
  take('its first line', (words) => (words === HEAD ? true : null));
  const chainId = take('the chain', after('chain', (word) => (word.length === 64 ? unhex(word) : null)));
  const rootLag = take('root-lag', after('root-lag', (word) => number(word, 1n, 16n)));
  const since = take('the first height', after('since', (word) => number(word, 1n, U64_MAX)));
  const validators = [];
  do {
    validators.push(take('a validator', after('validator', readValidator)));
  } while (lines.length > 0);
  return { chainId, rootLag, since, validators };
}

const U64_MAX = (1n << 64n) - 1n;

function number(word, least, most) {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(word)) return null;
  const value = BigInt(word);
  return value >= least && value <= most ? value : null;
}

function readValidator(words) {
  const [name, power, key, ...rest] = words.split(' ');
  const scheme = schemeNamed(name);
  const bytes = unhex(key ?? '');
  const weight = number(power ?? '', 1n, U64_MAX);
  if (!scheme || weight === null || bytes?.length !== scheme.publicLength || rest.length > 0) return null;
  return { scheme, key: bytes, power: weight };
}

