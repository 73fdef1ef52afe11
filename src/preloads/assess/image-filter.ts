/**
 * A Bloom filter of the names that a node lists: an answer of "no" costs two bits, and "perhaps" has to be looked up. A preload of 100
 * images on 5,000 nodes asks a million times for names of which nodes list next to none.
 */
export type ImageFilter = (bits: NameBits) => boolean;

/** Where a name is in each filter. */
export type NameBits = readonly [first: number, second: number];

/** With the 250 names of a usual node one bit in nine is set, and one "perhaps" in 80 is wrong; 512 bytes a node. */
const BITS = 4096;

const filters = new WeakMap<ReadonlySet<string>, Uint32Array>();

/** Returns the filter of a list of names. It is made once for each list, and a node keeps its list until its status changes. */
export function imageFilter(names: ReadonlySet<string>): ImageFilter {
  const known = filters.get(names);
  const words = known ?? filterOf(names);
  if (known === undefined) filters.set(names, words);
  return ([first, second]) => has(words, first) && has(words, second);
}

function filterOf(names: ReadonlySet<string>): Uint32Array {
  const words = new Uint32Array(BITS / 32);
  for (const name of names)
    for (const bit of nameBits(name)) words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31));
  return words;
}

function has(words: Uint32Array, bit: number): boolean {
  return (((words[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1;
}

/** FNV-1a, of which both halves are used. */
export function nameBits(name: string): NameBits {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1)
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  // The lowest bits depend on the fewest characters.
  hash ^= hash >>> 15;
  return [(hash >>> 0) % BITS, (hash >>> 20) % BITS];
}
