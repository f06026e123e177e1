// Reading: little-endian values from the front of some bytes, and containers of sections (docs/formats/containers.md).

/** Why something proves nothing. Its message is for people. */
export class Wrong extends Error {}

export function wrong(text) {
  throw new Wrong(text);
}

export class Reader {
  constructor(what, bytes) {
    this.what = what;
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(length) {
    if (length > this.left) wrong(`${this.what}: ${length} bytes are needed at offset ${this.at}, ${this.left} are left`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A number of `length` bytes, as a BigInt. */
  big(length) {
    return this.take(length).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  }

  u8() {
    return Number(this.big(1));
  }

  u16() {
    return Number(this.big(2));
  }

  u32() {
    return Number(this.big(4));
  }

  u64() {
    return this.big(8);
  }

  u128() {
    return this.big(16);
  }

  hash() {
    return this.take(32);
  }

  /** A length of four bytes, and as many bytes. */
  counted() {
    return this.take(this.u32());
  }

  finish() {
    if (this.left > 0) wrong(`${this.what}: ${this.left} bytes follow the end`);
  }
}

export function little(value, length) {
  const bytes = new Uint8Array(length);
  let rest = BigInt(value);
  for (let at = 0; at < length; at += 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

export function join(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function same(left, right) {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Bytes of an even number of hexadecimal digits; null for anything else. */
export function unhex(text) {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return null;
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

/**
 * The contents of a container's sections by kind, of which `known` may be there; others only if flagged ignorable.
 */
export function sections(what, bytes, known) {
  const reader = new Reader(what, bytes);
  const found = new Map();
  let previous = -1;
  while (reader.left > 0) {
    const [kind, version, flags] = [reader.u16(), reader.u8(), reader.u8()];
    if (flags > 1) wrong(`${what}: section ${kind} has flags without meaning`);
    if (kind <= previous) wrong(`${what}: section ${kind} is out of order or repeated`);
    previous = kind;
    const content = reader.counted();
    const isKnown = known.includes(kind) && version === 1;
    if (isKnown && flags === 1) wrong(`${what}: section ${kind} claims that it may be skipped`);
    if (!isKnown && flags === 0) wrong(`${what}: section ${kind} of version ${version} is not known`);
    if (isKnown) found.set(kind, content);
  }
  return found;
}

/** As `sections`, of which all must be there; in the order of `known`. */
export function allSections(what, bytes, known) {
  const found = sections(what, bytes, known);
  return known.map((kind) => found.get(kind) ?? wrong(`${what}: section ${kind} is missing`));
}
