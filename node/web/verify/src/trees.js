// Merkle trees of the shape of RFC 9162 §2.1: inclusion (§2.1.3.2) and consistency (§2.1.4.2).

import { same, wrong } from './bytes.js';
import { emptyRoot, node } from './hash.js';

/** The root that `path` leads to from a leaf at `index` of `size` leaves; both are BigInts. */
export function rootFrom(leaf, index, size, path) {
  if (index >= size) wrong(`leaf ${index} is not in a tree of ${size} leaves`);
  let [fn, sn, r] = [index, size - 1n, leaf];
  for (const p of path) {
    if (sn === 0n) wrong('a path has more hashes than its tree asks for');
    if ((fn & 1n) === 1n || fn === sn) {
      r = node(p, r);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = node(r, p);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) wrong('a path has fewer hashes than its tree asks for');
  return r;
}

/** The root that a path leads to, where bit `i` of `sides` says that its hash `i` is the left one. */
export function rootBySides(leaf, sides, path) {
  let [r, left] = [leaf, sides];
  for (const p of path) {
    r = (left & 1n) === 1n ? node(p, r) : node(r, p);
    left >>= 1n;
  }
  if (left !== 0n) wrong('the sides of a path go on after its end');
  return r;
}

/** Checks that the first `first` leaves of the second tree are the first tree. */
export function checkConsistency(first, firstRoot, second, secondRoot, path) {
  if (first > second) wrong(`${first} receipts cannot be the first of ${second}`);
  if (first === 0n || first === second) {
    if (path.length > 0) wrong('a path where none is needed');
    const want = first === 0n ? emptyRoot() : secondRoot;
    return same(want, firstRoot) || wrong('the old header has another root of receipts');
  }
  const isPower = (first & (first - 1n)) === 0n;
  const steps = isPower ? [firstRoot, ...path] : [...path];
  if (steps.length === 0) wrong('a path of consistency without hashes');
  let [fn, sn] = [first - 1n, second - 1n];
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let [fr, sr] = [steps[0], steps[0]];
  for (const c of steps.slice(1)) {
    if (sn === 0n) wrong('a path of consistency has too many hashes');
    if ((fn & 1n) === 1n || fn === sn) {
      fr = node(c, fr);
      sr = node(c, sr);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = node(sr, c);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) wrong('a path of consistency has too few hashes');
  if (!same(fr, firstRoot)) wrong('the receipts are not those of the old header');
  return same(sr, secondRoot) || wrong('the receipts are not those of the new header');
}

export function readPath(reader) {
  const length = reader.u8();
  if (length > 64) wrong(`${reader.what}: a path of ${length} hashes`);
  return Array.from({ length }, () => reader.hash());
}
