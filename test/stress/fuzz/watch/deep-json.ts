import { isObject } from '../../../../src/json.ts';

/** What is still to be written: a text as it is, or a value. */
type Part = { readonly text: string } | { readonly value: unknown };

/** JSON.stringify for what may nest deeper than a stack. */
export function deepJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    return written(value);
  }
}

function written(value: unknown): string {
  const texts: string[] = [];
  /** The next one last. */
  const left: Part[] = [{ value }];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const parts: Part[] = 'text' in next ? [next] : partsOf(next.value);
    const [first] = parts;
    if (parts.length === 1 && first !== undefined && 'text' in first) texts.push(first.text);
    else for (const part of parts.toReversed()) left.push(part);
  }
  return texts.join('');
}

function partsOf(value: unknown): Part[] {
  if (Array.isArray(value)) {
    const entries = value.flatMap((entry: unknown): Part[] => [{ text: ',' }, { value: entry }]);
    return [{ text: '[' }, ...entries.slice(1), { text: ']' }];
  }
  if (isObject(value)) {
    const entries = Object.entries(value).flatMap(([key, entry]): Part[] => [
      { text: ',' },
      { text: `${JSON.stringify(key)}:` },
      { value: entry },
    ]);
    return [{ text: '{' }, ...entries.slice(1), { text: '}' }];
  }
  return [{ text: JSON.stringify(value) ?? 'null' }];
}
