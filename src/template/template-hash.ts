import { createHash } from 'node:crypto';
import { isObject } from '../json.ts';

/**
 * Hash of a pod template: 12 hexadecimal digits (48 bits; two templates of one Deployment are compared, never
 * all templates of a cluster). Key order, nulls, and empty maps and lists do not count: API servers
 * of different versions write the same template with `"creationTimestamp": null` or without, `{}` or nothing.
 */
export function templateHash(template: unknown): string {
  return shortHash(canonical(template) ?? 'null');
}

export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

/** `undefined` for what does not count. */
function canonical(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (Array.isArray(value)) {
    if (value.length === 0) return undefined;
    return `[${value.map((entry) => canonical(entry) ?? 'null').join(',')}]`;
  }
  if (!isObject(value)) return JSON.stringify(value);
  const parts: string[] = [];
  for (const key of Object.keys(value).toSorted()) {
    const text = canonical(value[key]);
    if (text !== undefined) parts.push(`${JSON.stringify(key)}:${text}`);
  }
  return parts.length === 0 ? undefined : `{${parts.join(',')}}`;
}
