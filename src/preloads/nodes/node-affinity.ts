import { isLabelKey, isLabelValue } from '../../api/template/label-syntax.ts';
import type { NodeRequirement, NodeSelector, NodeSelectorTerm } from '../../api/template/scheduling.ts';
import type { Node } from './node.ts';

type Matches = (node: Pick<Node, 'name' | 'labels'>) => boolean;

/**
 * Returns whether a node meets `requiredDuringSchedulingIgnoredDuringExecution` (a NodeSelector), judged as the scheduler
 * does (k8s.io/component-helpers `nodeaffinity`, k8s.io/apimachinery `labels.NewRequirement`): terms are ORed, the
 * requirements of one are ANDed, an empty term matches nothing, and one requirement that is not valid makes its
 * whole term match nothing, NotIn included. No NodeSelector at all asks for nothing.
 *
 * What can be known without a node is looked at once: there may be 5,000 nodes.
 */
export function nodeAffinity(required: NodeSelector | undefined): Matches {
  if (required === undefined) return () => true;
  const terms = (required.nodeSelectorTerms ?? []).flatMap((term) => matchTerm(term) ?? []);
  return (node) => terms.some((matches) => matches(node));
}

/** Undefined for a term that matches nothing. */
function matchTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm): Matches | undefined {
  const requirements = [...matchExpressions.map(matchLabel), ...matchFields.map(matchField)];
  const valid = requirements.filter((matches) => matches !== undefined);
  if (valid.length === 0 || valid.length < requirements.length) return undefined;
  return (node) => valid.every((matches) => matches(node));
}

/**
 * Undefined for a requirement that is not valid. The API server checks operators, keys and the number of values, but not that the
 * values could be those of a label (`"a b"`): such a template is stored, and only the scheduler refuses the term.
 */
function matchLabel({ key = '', operator = '', values = [] }: NodeRequirement): Matches | undefined {
  if (!isLabelKey(key) || !values.every(isLabelValue)) return undefined;
  const labelOf = ({ labels }: Pick<Node, 'labels'>) =>
    Object.hasOwn(labels, key) ? labels[key] : undefined;
  const wanted = new Set(values);
  switch (operator) {
    case 'In':
      return wanted.size === 0 ? undefined : (node) => wanted.has(labelOf(node) ?? NO_LABEL);
    case 'NotIn':
      return wanted.size === 0 ? undefined : (node) => !wanted.has(labelOf(node) ?? NO_LABEL);
    case 'Exists':
      return values.length > 0 ? undefined : (node) => labelOf(node) !== undefined;
    case 'DoesNotExist':
      return values.length > 0 ? undefined : (node) => labelOf(node) === undefined;
    case 'Gt':
    case 'Lt': {
      const bound = values.length === 1 ? parseInt64(values[0]) : undefined;
      return bound === undefined ? undefined : (node) => compares(operator, parseInt64(labelOf(node)), bound);
    }
    default:
      return undefined;
  }
}

/** What no label can be. */
const NO_LABEL = ' ';

function compares(operator: 'Gt' | 'Lt', actual: Integer | undefined, bound: Integer): boolean {
  if (actual === undefined) return false;
  return operator === 'Gt' ? actual > bound : actual < bound;
}

/** The one field a node has is `metadata.name`; any other reads as empty. Exactly one value. */
function matchField({ key, operator, values = [] }: NodeRequirement): Matches | undefined {
  const [value, ...more] = values;
  if (value === undefined || more.length > 0) return undefined;
  const field = ({ name }: Pick<Node, 'name'>) => (key === 'metadata.name' ? name : '');
  if (operator === 'In') return (node) => field(node) === value;
  return operator === 'NotIn' ? (node) => field(node) !== value : undefined;
}

/** A bigint only where a number would not be exact. */
type Integer = number | bigint;
const INT64_MAX = 2n ** 63n - 1n;
const EXACT_DIGITS = 15;

/** As Go's `strconv.ParseInt(text, 10, 64)`. */
function parseInt64(text: string | undefined): Integer | undefined {
  if (text === undefined || !/^[+-]?[0-9]+$/.test(text)) return undefined;
  if (text.length <= EXACT_DIGITS) return Number(text);
  const number = BigInt(text.replace(/^\+/, ''));
  return number > INT64_MAX || number < -INT64_MAX - 1n ? undefined : number;
}
