import { hash } from 'node:crypto';

/**
 * Hash of a pod template: 12 hexadecimal digits (48 bits; two templates of one Deployment are compared, never
 * all templates of a cluster). Key order, nulls, and empty maps and lists do not count: API servers
 * of different versions write the same template with `"creationTimestamp": null` or without, `{}` or nothing.
 */
export function templateHash(template: unknown): string {
  return shortHash(JSON.stringify(canonical(template) ?? null));
}

export function shortHash(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 12);
}

/**
 * The same with its keys in order, without what does not count, for one JSON.stringify of it all: quoting and joining level
 * by level took three times as long. `undefined` for what does not count.
 */
function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  if (Array.isArray(value)) {
    return value.length === 0 ? undefined : value.map((entry: unknown) => canonical(entry) ?? null);
  }
  const object = value as Readonly<Record<string, unknown>>;
  const counted: Record<string, unknown> = {};
  let empty = true;
  for (const key of orderedKeys(object)) {
    const entry = canonical(object[key]);
    if (entry === undefined) continue;
    counted[key] = entry;
    empty = false;
  }
  return empty ? undefined : counted;
}

/** Sorted only if they are not: API servers write the maps in order, and half of all objects. */
function orderedKeys(object: object): string[] {
  const keys = Object.keys(object);
  for (let index = 1; index < keys.length; index += 1) {
    if ((keys[index - 1] ?? '') > (keys[index] ?? '')) return keys.sort();
  }
  return keys;
}
