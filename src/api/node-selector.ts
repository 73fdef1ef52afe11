import { asArray, asObject, asStringMap, at, type JsonObject } from '../json.ts';
import { isLabelKey, isLabelValue } from './template/label-syntax.ts';
import { type NodeRequirement, SCHEDULING_LIMITS } from './template/scheduling.ts';

/** One requirement of a label selector. `key=value` is `In` with one value, and `key!=value` is `NotIn` with one. */
export interface LabelRequirement extends NodeRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** The affinity of the pod template has room for as many again (SCHEDULING_LIMITS.requirements). */
export const SELECTOR_REQUIREMENTS = 50;

/**
 * Returns the requirements of a label selector as kubectl takes it: `pool=web`, `pool==web`, `pool!=web`, `pool in (a,b)`,
 * `pool notin (a,b)`, `gpu` and `!gpu`, separated by commas. Returns undefined if the text is no such selector, is empty, has
 * more than 50 requirements, or asks for two values of one label.
 */
export function parseNodeSelector(text: string): readonly LabelRequirement[] | undefined {
  const tokens = tokenize(text);
  if (tokens === undefined) return undefined;
  const requirements: LabelRequirement[] = [];
  do {
    const requirement = readRequirement(tokens);
    if (requirement === undefined || !isValid(requirement)) return undefined;
    requirements.push(requirement);
  } while (tokens.take(','));
  if (!tokens.atEnd() || requirements.length > SELECTOR_REQUIREMENTS) return undefined;
  return hasTwoValues(requirements) ? undefined : requirements;
}

interface Tokens {
  /** Goes on to the next token if this is the given one. */
  take(token: string): boolean;
  /** Returns the token if it is a word, and goes on to the next one. */
  word(): string | undefined;
  atEnd(): boolean;
}

const TOKEN = /[ \t]*([A-Za-z0-9_./-]+|==|!=|=|!|,|\(|\))[ \t]*/y;
const WORD = /^[A-Za-z0-9_./-]/;

function tokenize(text: string): Tokens | undefined {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const [, token] = TOKEN.exec(text) ?? [];
    if (token === undefined) return undefined;
    tokens.push(token);
  }
  let index = 0;
  return {
    take(token) {
      if (tokens[index] !== token) return false;
      index += 1;
      return true;
    },
    word() {
      const token = tokens[index];
      if (token === undefined || !WORD.test(token)) return undefined;
      index += 1;
      return token;
    },
    atEnd: () => index === tokens.length,
  };
}

function readRequirement(tokens: Tokens): LabelRequirement | undefined {
  const absent = tokens.take('!');
  const key = tokens.word();
  if (key === undefined) return undefined;
  if (absent) return { key, operator: 'DoesNotExist', values: [] };
  // An empty value is a value: `pool=`.
  if (tokens.take('=') || tokens.take('==')) return { key, operator: 'In', values: [tokens.word() ?? ''] };
  if (tokens.take('!=')) return { key, operator: 'NotIn', values: [tokens.word() ?? ''] };
  if (tokens.take('in')) return withValues(key, 'In', tokens);
  if (tokens.take('notin')) return withValues(key, 'NotIn', tokens);
  return { key, operator: 'Exists', values: [] };
}

function withValues(key: string, operator: 'In' | 'NotIn', tokens: Tokens): LabelRequirement | undefined {
  if (!tokens.take('(')) return undefined;
  const values: string[] = [];
  do {
    const value = tokens.word();
    if (value === undefined) return undefined;
    values.push(value);
  } while (tokens.take(','));
  return tokens.take(')') ? { key, operator, values } : undefined;
}

function isValid({ key, values }: LabelRequirement): boolean {
  return isLabelKey(key) && values.length <= SCHEDULING_LIMITS.values && values.every(isLabelValue);
}

/** Returns whether no node could match, because one label would have to have two values. */
function hasTwoValues(requirements: readonly LabelRequirement[]): boolean {
  const seen = new Map<string, string>();
  return requirements.some((requirement) => {
    const value = onlyValue(requirement);
    if (value === undefined) return false;
    const before = seen.get(requirement.key) ?? value;
    seen.set(requirement.key, value);
    return before !== value;
  });
}

function onlyValue({ operator, values }: LabelRequirement): string | undefined {
  return operator === 'In' && values.length === 1 ? values[0] : undefined;
}

/** Returns whether no node that the pod template's nodeSelector selects could match as well. */
export function contradictsTemplate(requirements: readonly LabelRequirement[], template: unknown): boolean {
  const labels = asStringMap(at(template, 'spec', 'nodeSelector'));
  return requirements.some(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (value === undefined || operator === 'Exists') return false;
    if (operator === 'DoesNotExist') return true;
    return values.includes(value) !== (operator === 'In');
  });
}

const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';

/**
 * Returns the pod spec with the requirements on top of its own: a label with one value in the nodeSelector, everything else in each
 * term of the required node affinity. Only these two are in every ImagePreload that earlier versions read.
 */
export function narrowed(podSpec: JsonObject, requirements: readonly LabelRequirement[]): JsonObject {
  const labels: Record<string, string> = { ...asStringMap(podSpec['nodeSelector']) };
  const expressions = requirements.filter((requirement) => {
    const value = onlyValue(requirement);
    if (value !== undefined) labels[requirement.key] = value;
    return value === undefined;
  });
  const spec = Object.keys(labels).length > 0 ? { ...podSpec, nodeSelector: labels } : podSpec;
  if (expressions.length === 0) return spec;
  const affinity = asObject(podSpec['affinity']);
  const nodeAffinity = asObject(affinity['nodeAffinity']);
  const required = narrowedTerms(nodeAffinity[REQUIRED], expressions);
  return { ...spec, affinity: { ...affinity, nodeAffinity: { ...nodeAffinity, [REQUIRED]: required } } };
}

/** A NodeSelector without terms matches no node, and neither does a term without requirements: both stay as they are. */
function narrowedTerms(required: unknown, expressions: readonly LabelRequirement[]): JsonObject {
  const added = expressions.map(({ key, operator, values }) => ({
    key,
    operator,
    ...(values.length > 0 && { values }),
  }));
  if (required === undefined || required === null)
    return { nodeSelectorTerms: [{ matchExpressions: added }] };
  const terms = asArray(at(required, 'nodeSelectorTerms')).map((term) => {
    const own = asArray(at(term, 'matchExpressions'));
    const isEmpty = own.length === 0 && asArray(at(term, 'matchFields')).length === 0;
    return isEmpty ? term : { ...asObject(term), matchExpressions: [...own, ...added] };
  });
  return { ...asObject(required), nodeSelectorTerms: terms };
}
