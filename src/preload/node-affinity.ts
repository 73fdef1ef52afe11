import { asArray, asString, at } from '../json.ts';
import type { Node } from './node.ts';

/**
 * Whether the node meets `requiredDuringSchedulingIgnoredDuringExecution` (a NodeSelector), judged as the scheduler
 * does (k8s.io/component-helpers `nodeaffinity`, k8s.io/apimachinery `labels.NewRequirement`): terms are ORed, the
 * requirements of one are ANDed, an empty term matches nothing, and one requirement that is not valid makes its
 * whole term match nothing, NotIn included. No NodeSelector at all asks for nothing.
 */
export function matchesNodeAffinity(required: unknown, node: Pick<Node, 'name' | 'labels'>): boolean {
  if (required === undefined || required === null) return true;
  return asArray(at(required, 'nodeSelectorTerms')).some((term) => matchesTerm(term, node));
}

function matchesTerm(term: unknown, node: Pick<Node, 'name' | 'labels'>): boolean {
  const expressions = asArray(at(term, 'matchExpressions')).map(parseRequirement);
  const fields = asArray(at(term, 'matchFields')).map(parseRequirement);
  if (expressions.length + fields.length === 0) return false;
  return (
    expressions.every((expression) => isValid(expression) && matchesLabel(expression, node.labels)) &&
    fields.every((field) => matchesField(field, node.name))
  );
}

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values: readonly unknown[];
}

function parseRequirement(raw: unknown): Requirement {
  return {
    key: asString(at(raw, 'key')) ?? '',
    operator: asString(at(raw, 'operator')) ?? '',
    values: asArray(at(raw, 'values')),
  };
}

const NAME = '(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)';
const LABEL_VALUE = new RegExp(`^${NAME}?$`);
const DNS_LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const LABEL_KEY = new RegExp(`^(?:(?=[^/]{1,253}/)${DNS_LABEL}(?:\\.${DNS_LABEL})*/)?${NAME}$`);

/**
 * The API server checks operators, keys and the number of values, but not that the values could be those of a label
 * (`"a b"`): such a template is stored, and only the scheduler refuses the term.
 */
function isValid({ key, operator, values }: Requirement): boolean {
  if (!LABEL_KEY.test(key)) return false;
  if (!values.every((value) => typeof value === 'string' && LABEL_VALUE.test(value))) return false;
  switch (operator) {
    case 'In':
    case 'NotIn':
      return values.length > 0;
    case 'Exists':
    case 'DoesNotExist':
      return values.length === 0;
    case 'Gt':
    case 'Lt':
      return values.length === 1 && parseInt64(values[0]) !== undefined;
    default:
      return false;
  }
}

/** For a valid requirement. */
function matchesLabel({ key, operator, values }: Requirement, labels: Node['labels']): boolean {
  const label = Object.hasOwn(labels, key) ? labels[key] : undefined;
  if (operator === 'DoesNotExist') return label === undefined;
  if (operator === 'NotIn') return label === undefined || !values.includes(label);
  if (label === undefined) return false;
  if (operator === 'Exists') return true;
  if (operator === 'In') return values.includes(label);
  const actual = parseInt64(label);
  const bound = parseInt64(values[0]);
  if (actual === undefined || bound === undefined) return false;
  return operator === 'Gt' ? actual > bound : actual < bound;
}

/** The one field a node has is `metadata.name`; any other reads as empty. Exactly one value. */
function matchesField({ key, operator, values }: Requirement, nodeName: string): boolean {
  if (values.length !== 1) return false;
  const field = key === 'metadata.name' ? nodeName : '';
  if (operator === 'In') return field === values[0];
  return operator === 'NotIn' && field !== values[0];
}

const INT64_MAX = 2n ** 63n - 1n;

/** As Go's `strconv.ParseInt(text, 10, 64)`. */
function parseInt64(text: unknown): bigint | undefined {
  if (typeof text !== 'string' || !/^[+-]?[0-9]+$/.test(text)) return undefined;
  const number = BigInt(text.replace(/^\+/, ''));
  return number > INT64_MAX || number < -INT64_MAX - 1n ? undefined : number;
}
