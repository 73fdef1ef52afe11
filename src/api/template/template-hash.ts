import { hash } from 'node:crypto';

/** The first 12 hexadecimal digits (48 bits) of the digest: two templates of one Deployment are compared, never all of a cluster. */
export function templateHash(template: unknown): string {
  return hashOfDigest(templateDigest(template));
}

export function hashOfDigest(digest: string): string {
  return digest.slice(0, SHORT);
}

const SHORT = 12;
const LONG = 32;

/**
 * Hash of a pod template: 32 hexadecimal digits (128 bits), so that nobody can find a second template for the one that somebody else
 * approves. Key order, nulls, and empty maps and lists do not count: API servers
 * of different versions write the same template with `"creationTimestamp": null` or without, `{}` or nothing.
 */
export function templateDigest(template: unknown): string {
  const budget = { values: ORDERED_VALUES };
  const ordered = canonical(template, budget);
  const text = JSON.stringify((budget.values < 0 ? template : ordered) ?? null);
  return hash('sha256', text, 'hex').slice(0, LONG);
}

/**
 * The most values that are put in order, which takes 13 ms. A template of 100 containers with 50 variables each has 16,000. One with
 * more is hashed as it is written, because API servers of one version write it in one way. That takes 55 ms for 100,000 values in one
 * map, and to put them in order would take 145 ms, for each change of the Deployment.
 */
const ORDERED_VALUES = 20_000;

export function shortHash(text: string): string {
  return hash('sha256', text, 'hex').slice(0, SHORT);
}

/**
 * The same with its keys in order, without what does not count, for one JSON.stringify of it all: quoting and joining level
 * by level took three times as long. `undefined` for what does not count.
 */
function canonical(value: unknown, budget: { values: number }): unknown {
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  if (budget.values < 0) return undefined;
  if (Array.isArray(value)) {
    budget.values -= value.length;
    if (value.length === 0 || budget.values < 0) return undefined;
    return value.map((entry: unknown) => canonical(entry, budget) ?? null);
  }
  const object = value as Readonly<Record<string, unknown>>;
  const counted: Record<string, unknown> = {};
  let empty = true;
  const keys = Object.keys(object);
  budget.values -= keys.length;
  if (budget.values < 0) return undefined;
  for (const key of inOrder(keys)) {
    const entry = canonical(object[key], budget);
    if (entry === undefined) continue;
    counted[key] = entry;
    empty = false;
  }
  return empty ? undefined : counted;
}

/** Sorted only if they are not: API servers write the maps in order, and half of all objects. */
function inOrder(keys: string[]): string[] {
  for (let index = 1; index < keys.length; index += 1) {
    if ((keys[index - 1] ?? '') > (keys[index] ?? '')) return keys.sort();
  }
  return keys;
}
