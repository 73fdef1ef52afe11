import { isObject } from '../../json.ts';
import { isObjectName, NAME_CHARACTERS } from './object-name.ts';

/** Reads JSON that a user wrote. It refuses lists and texts beyond their limits, and values of a wrong type. */
export interface BoundedReader {
  list(value: unknown, name: string, limit: number): readonly unknown[];
  /** `limit`: in characters. */
  text(value: unknown, name: string, limit: number): string | undefined;
  /** Reads the name of another object; empty for none. */
  name(value: unknown, name: string): string | undefined;
  labels(value: unknown, name: string, limits: LabelLimits): Readonly<Record<string, string>>;
  object(value: unknown, name: string): Readonly<Record<string, unknown>>;
  /**
   * Returns why something was refused first, such as `tolerations has 200 entries, more than 100`. What was read is incomplete then
   * and must not be used.
   */
  refused(): string | undefined;
}

export interface LabelLimits {
  readonly entries: number;
  readonly key: number;
  readonly value: number;
}

export function createBoundedReader(): BoundedReader {
  let first: string | undefined;
  function refuse(words: string): void {
    first ??= words;
  }

  function text(value: unknown, name: string, limit: number): string | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') {
      refuse(`${name} is not a string`);
      return undefined;
    }
    if (value.length <= limit) return value;
    refuse(`${name} has ${value.length} characters, more than ${limit}`);
    return undefined;
  }

  function object(value: unknown, name: string): Readonly<Record<string, unknown>> {
    if (isObject(value)) return value;
    if (value !== undefined && value !== null) refuse(`${name} is not an object`);
    return {};
  }

  return {
    text,
    object,
    name(value, name) {
      const found = text(value, name, NAME_CHARACTERS);
      if (found === undefined || isObjectName(found)) return found;
      refuse(`${name} is not the name of an object, which has lower case letters, digits, - and . only`);
      return undefined;
    },
    list(value, name, limit) {
      if (value === undefined || value === null) return [];
      if (!Array.isArray(value)) refuse(`${name} is not a list`);
      else if (value.length <= limit) return value;
      else refuse(`${name} has ${value.length} entries, more than ${limit}`);
      return [];
    },
    labels(value, name, limits) {
      const map = object(value, name);
      const { length } = Object.keys(map);
      if (length > limits.entries) {
        refuse(`${name} has ${length} entries, more than ${limits.entries}`);
        return {};
      }
      const labels: Record<string, string> = {};
      for (const [key, entry] of Object.entries(map)) {
        const label = text(key, `a key of ${name}`, limits.key);
        // `__proto__` as a key would set the prototype instead. It is no label, and no node has it.
        if (label === '__proto__') refuse(`${name} has the key __proto__`);
        else if (label !== undefined) labels[label] = text(entry, `a value of ${name}`, limits.value) ?? '';
      }
      return labels;
    },
    refused: () => first,
  };
}
