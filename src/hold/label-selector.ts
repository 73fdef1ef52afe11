import { asArray, asObject, asString, asStringMap, at } from '../json.ts';

// apimachinery, util/validation: as much of a label's syntax as keeps one apart from the next.
const KEY = /^[A-Za-z0-9][-A-Za-z0-9_./]*$/;
const VALUE = /^[-A-Za-z0-9_.]*$/;
/** It goes into the address of a request, which some proxies cut at 8 kB. Selectors that people write have 200 characters. */
const LIMIT = 4096;

/**
 * A label selector of an object as the API server reads it in the address of a list; undefined if it selects everything,
 * cannot be read, or is too long.
 */
export function labelSelectorText(selector: unknown): string | undefined {
  const matchLabels = asObject(at(selector, 'matchLabels'));
  const matchExpressions = asArray(at(selector, 'matchExpressions'));
  // Each has a character and a comma at least: with more of them the text is too long, whatever they are.
  if (Object.keys(matchLabels).length + matchExpressions.length > LIMIT / 2) return undefined;
  const labels = Object.entries(asStringMap(matchLabels)).map(([key, value]) =>
    KEY.test(key) && VALUE.test(value) ? `${key}=${value}` : undefined,
  );
  const parts = [...labels, ...matchExpressions.map(requirement)];
  if (parts.length === 0 || parts.includes(undefined)) return undefined;
  const text = parts.join(',');
  return text.length > LIMIT ? undefined : text;
}

function requirement(expression: unknown): string | undefined {
  const key = asString(at(expression, 'key')) ?? '';
  if (!KEY.test(key)) return undefined;
  const operator = at(expression, 'operator');
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  const word = operator === 'In' ? 'in' : operator === 'NotIn' ? 'notin' : undefined;
  const values = asArray(at(expression, 'values')).map((value) => asString(value));
  const usable = values.length > 0 && values.every((value) => value !== undefined && VALUE.test(value));
  return word === undefined || !usable ? undefined : `${key} ${word} (${values.join(',')})`;
}
