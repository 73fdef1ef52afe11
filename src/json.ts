/**
 * Reading JSON of unknown shape, as it comes from the API server or a stranger. None of these throws: what is
 * missing or of another type reads as empty, and the caller decides whether that is an error.
 */

export type JsonObject = { readonly [key: string]: unknown };

const EMPTY_OBJECT: JsonObject = Object.freeze({});
const EMPTY_ARRAY: readonly unknown[] = Object.freeze([]);

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asObject(value: unknown): JsonObject {
  return isObject(value) ? value : EMPTY_OBJECT;
}

export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : EMPTY_ARRAY;
}

export function asString(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function asNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** A map of strings, such as labels; entries of another type are left out. */
export function asStringMap(value: unknown): Readonly<Record<string, string>> {
  const map: Record<string, string> = {};
  for (const [key, entry] of Object.entries(asObject(value))) {
    // `__proto__` as a key would set the prototype instead.
    if (typeof entry === 'string' && key !== '__proto__') map[key] = entry;
  }
  return map;
}

/** The value at the path, `undefined` as soon as a step is not an own property of an object. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const step of path) {
    if (!isObject(current) || !Object.hasOwn(current, step)) return undefined;
    current = current[step];
  }
  return current;
}

/**
 * Hashing a template recurses, and so does counting the bytes of an object; the stack is good for some thousand levels. The deepest field
 * of a Deployment, an entry of managedFields about a matchExpression, is less than 25 levels down.
 */
export const MAX_DEPTH = 64;

/** Without a list of the values at each level: those took as long as the parsing of a small review. */
export function nestsDeeperThan(limit: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (limit === 0) return true;
  if (Array.isArray(value)) return value.some((entry) => nestsDeeperThan(limit - 1, entry));
  for (const key in value) {
    if (nestsDeeperThan(limit - 1, (value as JsonObject)[key])) return true;
  }
  return false;
}
