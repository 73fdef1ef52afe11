import { asArray, asObject, asString, asStringMap, at } from '../json.ts';
import { isLabelKey, isLabelValue } from './template/label-syntax.ts';

/** The text goes into the URL of a request, which some proxies limit to 8 kB. Usual selectors have 200 characters. */
const LIMIT = 4096;

/**
 * Returns a label selector in the form that the URL of a list takes. Returns undefined if the selector selects everything, is
 * invalid, or is too long.
 */
export function labelSelectorText(selector: unknown): string | undefined {
  const matchLabels = asObject(at(selector, 'matchLabels'));
  const matchExpressions = asArray(at(selector, 'matchExpressions'));
  // Each requirement takes at least a character and a comma, so the text of more of them is too long.
  if (Object.keys(matchLabels).length + matchExpressions.length > LIMIT / 2) return undefined;
  const labels = Object.entries(asStringMap(matchLabels)).map(([key, value]) =>
    isLabelKey(key) && isLabelValue(value) ? `${key}=${value}` : undefined,
  );
  const parts = [...labels, ...matchExpressions.map(requirement)];
  if (parts.length === 0 || parts.includes(undefined)) return undefined;
  const text = parts.join(',');
  return text.length > LIMIT ? undefined : text;
}

function requirement(expression: unknown): string | undefined {
  const key = asString(at(expression, 'key')) ?? '';
  if (!isLabelKey(key)) return undefined;
  const operator = at(expression, 'operator');
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  const word = operator === 'In' ? 'in' : operator === 'NotIn' ? 'notin' : undefined;
  const values = asArray(at(expression, 'values')).map((value) => asString(value));
  const usable = values.length > 0 && values.every((value) => value !== undefined && isLabelValue(value));
  return word === undefined || !usable ? undefined : `${key} ${word} (${values.join(',')})`;
}
