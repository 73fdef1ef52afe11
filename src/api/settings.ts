import { type CountOrPercent, isAtLeast, parseCountOrPercent } from './count-or-percent.ts';
import type { Deployment } from './deployment.ts';
import {
  DEADLINE_ANNOTATION,
  MIN_NODES_ANNOTATION,
  NODE_SELECTOR_ANNOTATION,
  NODE_TIMEOUT_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
  PARALLELISM_ANNOTATION,
} from './names.ts';
import { contradictsTemplate, type LabelRequirement, parseNodeSelector } from './node-selector.ts';

/** What a Deployment sets for its own preloads. Absent: what the gate's flag says. */
export interface Settings {
  readonly parallelism?: CountOrPercent;
  readonly minNodes?: CountOrPercent;
  readonly nodeTimeoutSeconds?: number;
  readonly deadlineSeconds?: number;
  /** Comes on top of the pod template's nodeSelector and node affinity. */
  readonly nodeSelector?: readonly LabelRequirement[];
}

/** What the settings of a Deployment may not be looser than, where that needs a permission: then a rollout could begin early. */
export interface Floor {
  readonly minNodes: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly deadlineSeconds: number;
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

export function secondsUpTo(largest: number): Range<number> {
  return { ...wholeNumberUpTo(largest), allowed: `a whole number of seconds from 1 to ${largest}` };
}

/** RFC 3339. People leave the seconds out. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

function parseTime(text: string): number | undefined {
  const time = TIME.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

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

/** Each annotation that is a setting, with the flag that it replaces, if there is one. */
export const SETTINGS = {
  parallelism: {
    annotation: PARALLELISM_ANNOTATION,
    flag: '--parallelism',
    help: 'how many nodes pull at a time for one preload',
    range: COUNT_OR_PERCENT,
  },
  minNodes: {
    annotation: MIN_NODES_ANNOTATION,
    flag: '--min-nodes',
    help: 'how many nodes must have the images before a release',
    range: COUNT_OR_PERCENT,
  },
  nodeTimeoutSeconds: {
    annotation: NODE_TIMEOUT_ANNOTATION,
    flag: '--node-timeout-seconds',
    help: 'how long a node may pull. After that the release does not wait for it, if another node is ready',
    range: secondsUpTo(LONGEST_NODE_TIMEOUT_SECONDS),
  },
  deadlineSeconds: {
    annotation: DEADLINE_ANNOTATION,
    flag: '--deadline-seconds',
    help: 'release without the remaining nodes if none becomes ready for this long. If no node is ready, the update stays held',
    range: secondsUpTo(LONGEST_DEADLINE_SECONDS),
  },
  nodeSelector: {
    annotation: NODE_SELECTOR_ANNOTATION,
    flag: undefined,
    help: 'only nodes that match both this selector and the scheduling of the pod template get the images',
    range: {
      allowed:
        "a label selector such as pool=web,zone in (a,b),!gpu (50 requirements at most), compatible with the pod template's nodeSelector",
      parse: parseNodeSelector,
    },
  },
  notBefore: {
    annotation: NOT_BEFORE_ANNOTATION,
    flag: undefined,
    help: 'a held rollout whose images are on the nodes does not start before this time',
    range: { allowed: 'a time with a time zone, such as 2027-01-31T22:00:00Z', parse: parseTime },
  },
} as const;

type SettingName = keyof typeof SETTINGS;

/**
 * Characters of one setting. A longer one is invalid as a whole and is not even looked at: annotations may have 256 KiB, and each is
 * read again at each look at its Deployment. This is room for a node selector of a dozen labels of the longest names.
 */
export const SETTING_LIMIT = 4096;

/** The settings of a Deployment that can be used, and those that cannot, in the order of `SETTINGS`. */
export function settingsOf(
  { annotations, template }: Pick<Deployment, 'annotations' | 'template'>,
  floor?: Floor,
): {
  readonly settings: Settings;
  /** In ms since the epoch. Infinite if the annotation cannot be read, because a rollout that starts too early may do harm. */
  readonly notBefore: number | undefined;
  readonly invalid: readonly InvalidSetting[];
} {
  const invalid: InvalidSetting[] = [];
  function read<T>(name: SettingName, range: Range<T>, limit?: Limit<T>): T | undefined {
    const { annotation } = SETTINGS[name];
    const value = annotations[annotation];
    if (value === undefined) return undefined;
    const parsed = value.length <= SETTING_LIMIT ? range.parse(value) : undefined;
    if (parsed === undefined) invalid.push({ annotation, value, allowed: range.allowed });
    else if (limit?.admits(parsed) === false) invalid.push({ annotation, value, allowed: limit.allowed });
    else return parsed;
    return undefined;
  }
  const parallelism = read('parallelism', SETTINGS.parallelism.range);
  const minNodes = read('minNodes', SETTINGS.minNodes.range, floor && enoughNodes(floor.minNodes));
  const nodeTimeoutSeconds = read(
    'nodeTimeoutSeconds',
    SETTINGS.nodeTimeoutSeconds.range,
    floor && atLeast(floor.nodeTimeoutSeconds),
  );
  const deadlineSeconds = read(
    'deadlineSeconds',
    SETTINGS.deadlineSeconds.range,
    floor && atLeast(floor.deadlineSeconds),
  );
  const nodeSelector = read(
    'nodeSelector',
    SETTINGS.nodeSelector.range,
    floor === undefined ? fitting(template) : NONE,
  );
  const later = read('notBefore', SETTINGS.notBefore.range);
  const notBefore =
    annotations[NOT_BEFORE_ANNOTATION] === undefined ? undefined : (later ?? Number.POSITIVE_INFINITY);
  return {
    settings: {
      ...(parallelism !== undefined && { parallelism }),
      ...(minNodes !== undefined && { minNodes }),
      ...(nodeTimeoutSeconds !== undefined && { nodeTimeoutSeconds }),
      ...(deadlineSeconds !== undefined && { deadlineSeconds }),
      ...(nodeSelector !== undefined && { nodeSelector }),
    },
    notBefore,
    invalid,
  };
}

/** What a value has to fulfil besides its range. */
interface Limit<T> {
  readonly allowed: string;
  readonly admits: (value: T) => boolean;
}

const WHY_STRICT = 'because --bypass-needs-permission is set';
/** Whether a selector only leaves out nodes that no pod lands on cannot be known. */
const NONE = { allowed: `absent, ${WHY_STRICT}`, admits: () => false };

function atLeast(floor: number): Limit<number> {
  return { allowed: `at least ${floor}, ${WHY_STRICT}`, admits: (value) => value >= floor };
}

function enoughNodes(floor: CountOrPercent): Limit<CountOrPercent> {
  const enough =
    typeof floor === 'number' ? `a count of at least ${floor}, or 100%` : `a percentage of at least ${floor}`;
  return { allowed: `${enough}, ${WHY_STRICT}`, admits: (value) => isAtLeast(value, floor) };
}

function fitting(template: unknown): Limit<readonly LabelRequirement[]> {
  return {
    allowed: SETTINGS.nodeSelector.range.allowed,
    admits: (requirements) => !contradictsTemplate(requirements, template),
  };
}

/** Of a value: the whole sentence then fits into a warning that is not cut. */
const SHOWN_CHARACTERS = 63;

/** What was written, what is allowed, and what happens instead. */
export function invalidSettingText({ annotation, value, allowed }: InvalidSetting): string {
  const quoted = JSON.stringify(value.slice(0, SHOWN_CHARACTERS));
  const shown = quoted.length > SHOWN_CHARACTERS ? `${quoted.slice(0, SHOWN_CHARACTERS)}..."` : quoted;
  const flag = Object.values(SETTINGS).find((setting) => setting.annotation === annotation)?.flag;
  const instead =
    flag !== undefined
      ? `the flag ${flag} is used instead`
      : annotation === NOT_BEFORE_ANNOTATION
        ? 'a held rollout waits until it is corrected or removed'
        : 'it is ignored';
  return `${annotation} is ${shown}; it must be ${allowed}; ${instead}`;
}
