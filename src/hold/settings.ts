import { asStringMap, at } from '../json.ts';
import {
  DEADLINE_ANNOTATION,
  MIN_NODES_ANNOTATION,
  NODE_SELECTOR_ANNOTATION,
  NODE_TIMEOUT_ANNOTATION,
  PARALLELISM_ANNOTATION,
} from '../names.ts';
import { type CountOrPercent, parseCountOrPercent } from './count-or-percent.ts';
import type { Deployment } from './deployment.ts';

/** What a Deployment sets for its own preloads. Absent: what the gate's flag says. */
export interface Settings {
  readonly parallelism?: CountOrPercent;
  readonly minNodes?: CountOrPercent;
  readonly nodeTimeoutSeconds?: number;
  readonly deadlineSeconds?: number;
  /** Comes on top of the pod template's. */
  readonly nodeSelector?: Readonly<Record<string, string>>;
}

export interface InvalidSetting {
  readonly annotation: string;
  /** As it was written. */
  readonly value: string;
  /** In words: "it must be ...". */
  readonly allowed: string;
}

/** How a value is read, by a flag and by an annotation. */
export interface Range<T> {
  /** In words: "it must be ...". */
  readonly allowed: string;
  readonly parse: (text: string) => T | undefined;
}

const COUNT_OR_PERCENT: Range<CountOrPercent> = {
  allowed: 'a count such as 3, or a percentage from 1% to 100%',
  parse: parseCountOrPercent,
};

export function wholeNumberUpTo(largest: number): Range<number> {
  return {
    allowed: `a whole number from 1 to ${largest}`,
    parse(text) {
      const number = Number(text);
      return /^\d+$/.test(text) && number >= 1 && number <= largest ? number : undefined;
    },
  };
}

const DAY_SECONDS = 86_400;
/** What the CRD takes, as an ImagePreload with more would be refused. */
export const LONGEST_NODE_TIMEOUT_SECONDS = DAY_SECONDS;
export const LONGEST_DEADLINE_SECONDS = 7 * DAY_SECONDS;

/** Each annotation that is a setting, with the flag that it replaces; a node selector has none. */
export const SETTINGS = {
  parallelism: { annotation: PARALLELISM_ANNOTATION, flag: '--parallelism', range: COUNT_OR_PERCENT },
  minNodes: { annotation: MIN_NODES_ANNOTATION, flag: '--min-nodes', range: COUNT_OR_PERCENT },
  nodeTimeoutSeconds: {
    annotation: NODE_TIMEOUT_ANNOTATION,
    flag: '--node-timeout-seconds',
    range: wholeNumberUpTo(LONGEST_NODE_TIMEOUT_SECONDS),
  },
  deadlineSeconds: {
    annotation: DEADLINE_ANNOTATION,
    flag: '--deadline-seconds',
    range: wholeNumberUpTo(LONGEST_DEADLINE_SECONDS),
  },
  nodeSelector: {
    annotation: NODE_SELECTOR_ANNOTATION,
    flag: undefined,
    range: {
      allowed: "labels as key=value,key=value that do not contradict the pod template's nodeSelector",
      parse: parseLabels,
    },
  },
} as const;

/** The settings of a Deployment that can be used, and those that cannot, in the order of `SETTINGS`. */
export function settingsOf({ annotations, template }: Pick<Deployment, 'annotations' | 'template'>): {
  readonly settings: Settings;
  readonly invalid: readonly InvalidSetting[];
} {
  const invalid: InvalidSetting[] = [];
  function read<T>(
    { annotation, range }: { readonly annotation: string; readonly range: Range<T> },
    fits: (value: T) => boolean = () => true,
  ): T | undefined {
    const value = annotations[annotation];
    if (value === undefined) return undefined;
    const parsed = range.parse(value);
    if (parsed !== undefined && fits(parsed)) return parsed;
    invalid.push({ annotation, value, allowed: range.allowed });
    return undefined;
  }
  const inTemplate = asStringMap(at(template, 'spec', 'nodeSelector'));
  const parallelism = read(SETTINGS.parallelism);
  const minNodes = read(SETTINGS.minNodes);
  const nodeTimeoutSeconds = read(SETTINGS.nodeTimeoutSeconds);
  const deadlineSeconds = read(SETTINGS.deadlineSeconds);
  const nodeSelector = read(SETTINGS.nodeSelector, (labels) => !contradict(labels, inTemplate));
  return {
    settings: {
      ...(parallelism !== undefined && { parallelism }),
      ...(minNodes !== undefined && { minNodes }),
      ...(nodeTimeoutSeconds !== undefined && { nodeTimeoutSeconds }),
      ...(deadlineSeconds !== undefined && { deadlineSeconds }),
      ...(nodeSelector !== undefined && { nodeSelector }),
    },
    invalid,
  };
}

/** Of a value: the whole sentence then fits into a warning that is not cut. */
const SHOWN_CHARACTERS = 63;

/** What was written, what is allowed, and what happens instead. */
export function invalidSettingText({ annotation, value, allowed }: InvalidSetting): string {
  const quoted = JSON.stringify(value);
  const shown = quoted.length > SHOWN_CHARACTERS ? `${quoted.slice(0, SHOWN_CHARACTERS)}..."` : quoted;
  const flag = Object.values(SETTINGS).find((setting) => setting.annotation === annotation)?.flag;
  const instead = flag === undefined ? 'it is left out' : `the gate's ${flag} is used instead`;
  return `${annotation} is ${shown}; it must be ${allowed}; ${instead}`;
}

// apimachinery, util/validation: IsQualifiedName and IsValidLabelValue.
const LABEL_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_PREFIX = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function parseLabels(text: string): Readonly<Record<string, string>> | undefined {
  const labels: Record<string, string> = {};
  for (const pair of text.split(',')) {
    const [, key, value] = /^([^=]+)=([^=]*)$/.exec(pair) ?? [];
    if (key === undefined || value === undefined || !isLabelKey(key)) return undefined;
    if (value !== '' && !LABEL_NAME.test(value)) return undefined;
    if (Object.hasOwn(labels, key) && labels[key] !== value) return undefined;
    labels[key] = value;
  }
  return labels;
}

function isLabelKey(key: string): boolean {
  const slash = key.lastIndexOf('/');
  const name = key.slice(slash + 1);
  return LABEL_NAME.test(name) && (slash === -1 || LABEL_PREFIX.test(key.slice(0, slash)));
}

function contradict(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  return Object.entries(a).some(([key, value]) => Object.hasOwn(b, key) && b[key] !== value);
}
