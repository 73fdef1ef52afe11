import type { JsonObject } from '../../../src/json.ts';
import type { Random } from '../../support/random.ts';
import { hostileJson, hostileKey } from './hostile-json.ts';

type Container = Record<string, unknown> | unknown[];

/** Where in a tree something can be put: `container[key]`. */
interface Place {
  readonly container: Container;
  readonly key: string;
}

/** Puts the JSON text at that path of the tree. Containers that are missing on the way are made. */
export type Insert = (path: readonly string[], text: string) => void;

/** A copy of the review with some things wrong in it, as bytes. Now and then nothing is. */
export function mutatedReview(review: JsonObject, random: Random): Buffer {
  const text = mutatedJson(review, random);
  return random.chance(0.25) ? mutatedBytes(text, random) : Buffer.from(text);
}

/**
 * The JSON text of a copy of the object with some things wrong in it. Now and then nothing is.
 * @param prepare puts in what a mutation would not find by chance
 */
export function mutatedJson(
  object: JsonObject,
  random: Random,
  prepare: (insert: Insert) => void = () => undefined,
): string {
  const tree = structuredClone(object) as Record<string, unknown>;
  const texts: string[] = [];
  prepare((path, text) => setAt(tree, path, `@raw${texts.push(text) - 1}@`));
  for (let count = random.pick([0, 1, 1, 1, 1, 2, 2, 3, 5]); count > 0; count -= 1)
    mutateTree(tree, random, texts);
  // What JSON.stringify could not write stands in the tree as a marker, as a value or as a key.
  return JSON.stringify(tree).replace(/"@raw(\d+)@"/g, (_, index: string) => texts[Number(index)] ?? '');
}

function setAt(tree: Container, [key = '', ...rest]: readonly string[], value: string): void {
  if (rest.length === 0) {
    Reflect.set(tree, key, value);
    return;
  }
  if (!isContainer(Reflect.get(tree, key))) Reflect.set(tree, key, {});
  setAt(Reflect.get(tree, key) as Container, rest, value);
}

function mutateTree(tree: Record<string, unknown>, random: Random, texts: string[]): void {
  if (Object.keys(tree).length === 0) return;
  const { container, key } = anyPlace(tree, random);
  const raw = (text: string) => `@raw${texts.push(text) - 1}@`;
  const value = Reflect.get(container, key) as unknown;
  const rename = (to: string, keep: unknown) => {
    Reflect.deleteProperty(container, key);
    Object.defineProperty(container, to, {
      value: keep,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  };
  if (Array.isArray(container)) {
    const index = Number(key);
    random.pick([
      () => container.splice(index, 1, raw(hostileJson(random))),
      () => container.splice(index, 0, raw(hostileJson(random))),
      () => container.splice(index, 1),
      () => container.push(...container),
    ])();
    return;
  }
  const replace = () => {
    container[key] = raw(hostileJson(random));
  };
  random.pick([
    replace,
    replace,
    replace,
    () => Reflect.deleteProperty(container, key),
    () => rename(hostileKey(random), value),
    () => rename(raw(`${JSON.stringify(key)}:${hostileJson(random)},${JSON.stringify(key)}`), value),
    () => {
      container[raw(JSON.stringify(hostileKey(random)))] = raw(hostileJson(random));
    },
    // The value of some other place: of the right shape now and then, and shared by both objects.
    () => {
      const other = anyPlace(tree, random);
      container[key] = structuredClone(Reflect.get(other.container, other.key)) as unknown;
    },
  ])();
}

/** Half of the time from the top down, as most places of a review are deep in its templates. */
function anyPlace(tree: Record<string, unknown>, random: Random): Place {
  if (random.chance(0.5)) return random.pick(places(tree));
  let container: Container = tree;
  for (;;) {
    const key = random.pick(Object.keys(container));
    const value = Reflect.get(container, key) as unknown;
    if (!isContainer(value) || Object.keys(value).length === 0 || random.chance(0.15))
      return { container, key };
    container = value;
  }
}

function places(container: Container): Place[] {
  return Object.keys(container).flatMap((key) => {
    const value = Reflect.get(container, key) as unknown;
    return [{ container, key }, ...(isContainer(value) ? places(value) : [])];
  });
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

function mutatedBytes(text: string, random: Random): Buffer {
  const bytes = Buffer.from(text);
  const [from = 0, to = 0] = [random.below(bytes.length), random.below(bytes.length)].toSorted(
    (a, b) => a - b,
  );
  const junk = () => Buffer.from(Array.from({ length: 1 + random.below(8) }, () => random.below(256)));
  return random.pick([
    () => bytes.subarray(0, from),
    () => bytes.subarray(from),
    () => Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]),
    () => Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]),
    () => Buffer.concat([bytes.subarray(0, from), junk(), bytes.subarray(from)]),
    () => Buffer.concat([bytes, random.pick([bytes, junk(), Buffer.from('\n'), Buffer.from('}')])]),
    () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]),
    () => Buffer.from(text, 'utf16le'),
    // Invalid UTF-8 that leaves the JSON whole: within a string.
    () =>
      Buffer.from(
        text.replace('registry', () => 'r\xff\xc0\x80'),
        'latin1',
      ),
    () =>
      Buffer.from(
        text.replaceAll(/"(\w)/g, (_, first: string) => `"\\u00${first.charCodeAt(0).toString(16)}`),
      ),
    () => {
      for (let flips = random.below(5); flips >= 0; flips -= 1)
        bytes[random.below(bytes.length)] = random.below(256);
      return bytes;
    },
    () => Buffer.alloc(random.below(3)),
  ])();
}
