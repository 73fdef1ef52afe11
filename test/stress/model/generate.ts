import { DEADLINE_ANNOTATION, MIN_NODES_ANNOTATION } from '../../../src/api/names.ts';
import { type Random, randomOf } from '../../support/random.ts';
import { IMAGES, LATE, PULLED } from './images.ts';
import type { ContainerName, Sequence, Step } from './step.ts';

const STEPS = { from: 10, to: 20 };
/** Nodes are named by place; a place beyond the list counts from its beginning again. */
const PLACES = 5;

/** Those above all that are held for some time: most steps are to meet a hold. */
const WANTED = [...IMAGES, 'slow', 'slower', 'crawling', 'crawling', 'endless', 'late', 'later'];

type Make = (random: Random, of: string) => Step;

const container: (random: Random) => ContainerName = (random) =>
  random.chance(0.7) ? 'app' : random.pick(['sidecar', 'init']);

const image: Make = (random, of) => {
  const name = container(random);
  const removed = name !== 'app' && random.chance(0.3);
  return {
    do: 'image',
    of,
    container: name,
    image: removed ? null : random.pick(WANTED),
    ...(random.chance(0.15) && { paused: random.chance(0.5) }),
    ...(random.chance(0.06) && { bypass: true }),
  };
};

const setting: Make = (random, of) =>
  random.chance(0.7)
    ? {
        do: 'setting',
        of,
        annotation: MIN_NODES_ANNOTATION,
        value: random.pick(['1', '2', '50%', '0', null]),
      }
    : { do: 'setting', of, annotation: DEADLINE_ANNOTATION, value: random.pick(['3', '6', null]) };

/** How often, and what. */
const KINDS: readonly (readonly [number, Make])[] = [
  [30, image],
  [14, (random) => ({ do: 'wait', ms: 100 + random.below(random.chance(0.3) ? 4000 : 900) })],
  [3, (_, of) => ({ do: 'env', of })],
  [2, (_, of) => ({ do: 'restart', of })],
  [2, (random, of) => ({ do: 'policy', of, always: random.chance(0.6) })],
  [5, (random, of) => ({ do: 'scale', of, replicas: random.below(4) })],
  [2, (_, of) => ({ do: 'scale', of, replicas: 0 })],
  [4, (_, of) => ({ do: 'undo', of })],
  [9, (random, of) => ({ do: 'paused', of, on: random.chance(0.4) })],
  [3, (random, of) => ({ do: 'keepPaused', of, on: random.chance(0.5) })],
  [2, (random, of) => ({ do: 'off', of, on: random.chance(0.4) })],
  [2, (_, of) => ({ do: 'bypass', of })],
  [10, (_, of) => ({ do: 'revert', of })],
  [3, (_, of) => ({ do: 'again', of })],
  [3, (_, of) => ({ do: 'replace', of })],
  [3, setting],
  [5, (_, of) => ({ do: 'copy', of })],
  [4, (_, of) => ({ do: 'save', of })],
  [4, (_, of) => ({ do: 'restore', of })],
  [3, (_, of) => ({ do: 'deletePreloads', of })],
  [5, (_, of) => ({ do: 'repeat', of })],
  [4, (random) => ({ do: 'mode', mode: random.pick(['pause', 'pause', 'reject', 'audit', 'none']) })],
  [5, (random) => ({ do: 'push', image: random.pick(LATE) })],
  [2, (random) => ({ do: 'breakRegistry', image: random.pick(PULLED) })],
  [4, (random) => ({ do: 'mendRegistry', image: random.pick(PULLED) })],
  [1, (random) => ({ do: 'hang', image: random.pick(PULLED) })],
  [2, (random) => ({ do: 'unhang', image: random.pick(PULLED) })],
  [3, (random) => ({ do: 'hangOn', image: random.pick(PULLED), node: random.below(PLACES) })],
  [2, (random) => ({ do: 'cordon', node: random.below(PLACES) })],
  [3, (random) => ({ do: 'uncordon', node: random.below(PLACES) })],
  [2, (random) => ({ do: 'notReady', node: random.below(PLACES) })],
  [3, (random) => ({ do: 'ready', node: random.below(PLACES) })],
  [1, (random) => ({ do: 'relabel', node: random.below(PLACES) })],
  [2, (random) => ({ do: 'unlabel', node: random.below(PLACES) })],
  [1, (random) => ({ do: 'deleteNode', node: random.below(PLACES) })],
  [2, () => ({ do: 'addNode' })],
  [2, (random) => ({ do: 'reboot', node: random.below(PLACES) })],
  [2, (random) => ({ do: 'refuse', node: random.below(PLACES) })],
  [2, (random) => ({ do: 'accept', node: random.below(PLACES) })],
  [4, (random) => ({ do: 'serve', on: random.chance(0.5) })],
];
const TOTAL = KINDS.reduce((sum, [weight]) => sum + weight, 0);

export interface Kind {
  /** Waits after each step: for as long as it takes to end and to start processes. */
  readonly slow?: boolean;
  /** As in the History. */
  readonly needsPermission?: boolean;
}

/**
 * The same for the same numbers, so that one sequence of a run can be run again alone.
 */
export function generate(seed: number, index: number, { slow, needsPermission }: Kind = {}): Sequence {
  const random = randomOf(seed, index);
  const names = random.chance(0.6) ? ['web', 'api'] : ['web'];
  const count = STEPS.from + random.below(STEPS.to - STEPS.from + 1);
  return {
    mode: random.pick(['pause', 'pause', 'pause', 'pause', 'reject', 'reject', 'audit']),
    workloads: names.map((name) => ({ name, replicas: 1 + random.below(2) })),
    nodes: 2 + random.below(2),
    steps: Array.from({ length: count }, () => stepOf(random, random.pick(names)))
      // It is denied, however often a user asks.
      .filter((step) => needsPermission !== true || step.do !== 'off')
      .flatMap((step) => (slow ? [step, { do: 'wait', ms: random.below(1500) }] : [step])),
  };
}

function stepOf(random: Random, of: string): Step {
  let left = random.below(TOTAL);
  for (const [weight, make] of KINDS) {
    left -= weight;
    if (left < 0) return make(random, of);
  }
  throw new RangeError('no such step');
}
