import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELD_LABEL, HOLD_ANNOTATION } from '../../src/api/names.ts';
import type { JsonObject } from '../../src/json.ts';
import type { Arrival } from '../cluster/lab/image-arrivals.ts';
import type { History, Seen } from '../stress/faults/history.ts';
import { judge, releasesOf } from '../stress/faults/invariants.ts';

/** The faults on the lab are worth what these would notice: each of the bad histories breaks one promise. */
const IMAGE = 'registry.test/web:2';
const SECOND = 1000;

interface State {
  readonly image?: string;
  readonly paused: boolean;
  readonly held: boolean;
  /** Pods. */
  readonly ready?: number;
}

function deployment(when: number, { image = IMAGE, paused, held, ready = 1 }: State): Seen {
  const marks = { labels: { [HELD_LABEL]: 'true' }, annotations: { [HOLD_ANNOTATION]: '{}' } };
  const object: JsonObject = {
    metadata: { name: 'web', ...(held && marks) },
    spec: { paused, template: { spec: { containers: [{ name: 'app', image }] } } },
    status: { readyReplicas: ready },
  };
  return { at: when, kind: 'Deployment', name: 'web', object };
}

function node(when: number, name: string, ready = true): Seen {
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }];
  return { at: when, kind: 'Node', name, object: { metadata: { name }, spec: {}, status: { conditions } } };
}

const NODES = [node(0, 'node-1'), node(0, 'node-2')];
const BEFORE = deployment(0, { image: 'registry.test/web:1', paused: false, held: false });
const HELD = deployment(1 * SECOND, { paused: true, held: true });
const RELEASED = deployment(60 * SECOND, { paused: false, held: false });
const STUCK = deployment(60 * SECOND, { paused: true, held: false });
const THERE: Arrival[] = [
  { at: 20 * SECOND, node: 'node-1', image: IMAGE },
  { at: 30 * SECOND, node: 'node-2', image: IMAGE },
];

function history(seen: readonly Seen[], rest: Partial<History> = {}): History {
  return {
    seen: [...NODES, ...seen].toSorted((one, other) => one.at - other.at),
    arrivals: THERE,
    holds: [{ deployment: 'web', image: IMAGE, userPaused: false }],
    releasesTold: [],
    failing: [],
    ...rest,
  };
}

const userPaused = [{ deployment: 'web', image: IMAGE, userPaused: true }];

for (const [what, good] of [
  ['a hold that is released when both nodes have its image', history([BEFORE, HELD, RELEASED])],
  [
    'one that is held still, as a node lacks the image, and its failure is told',
    history([BEFORE, HELD], { arrivals: THERE.slice(0, 1), failing: ['web'] }),
  ],
  ['one that its user wants paused', history([BEFORE, HELD, STUCK], { holds: userPaused })],
  [
    'a node that lacks the image, and was not ready any more',
    history([BEFORE, HELD, node(40 * SECOND, 'node-2', false), RELEASED], { arrivals: THERE.slice(0, 1) }),
  ],
  [
    'a node that lacks the image, and was deleted',
    history([BEFORE, HELD, { at: 40 * SECOND, kind: 'Node', name: 'node-2', object: undefined }, RELEASED], {
      arrivals: THERE.slice(0, 1),
    }),
  ],
  [
    'one node that has it, while no pod was ready',
    history([BEFORE, HELD, deployment(50 * SECOND, { paused: true, held: true, ready: 0 }), RELEASED], {
      arrivals: THERE.slice(0, 1),
    }),
  ],
] as const) {
  test(`right: ${what}`, () => assert.deepEqual(judge(good), []));
}

for (const [what, bad, words] of [
  ['held although both nodes have the image', history([BEFORE, HELD]), /lost: held although/],
  [
    'held, and nothing tells why',
    history([BEFORE, HELD], { arrivals: [] }),
    /lost: held, and nothing tells why/,
  ],
  ['another image than was asked for', history([BEFORE]), /its update is lost/],
  ['deleted', history([]), /web is gone/],
  ['paused without a hold', history([BEFORE, HELD, STUCK]), /paused for ever/],
  [
    'held without being paused',
    history([BEFORE, deployment(SECOND, { paused: false, held: true })], { arrivals: [], failing: ['web'] }),
    /has a hold, and is not paused/,
  ],
  [
    "released against its user's pause",
    history([BEFORE, HELD, RELEASED], { holds: userPaused }),
    /user's pause is lost/,
  ],
  [
    'released while one node lacked the image',
    history([BEFORE, HELD, RELEASED], { arrivals: THERE.slice(0, 1) }),
    /released early: node-2 lacked/,
  ],
  [
    'released on no node, although no pod was ready',
    history([BEFORE, HELD, deployment(50 * SECOND, { paused: true, held: true, ready: 0 }), RELEASED], {
      arrivals: [],
    }),
    /released early: node-1, node-2 lacked/,
  ],
  [
    'released before the image was whole',
    history([BEFORE, HELD, deployment(25 * SECOND, { paused: false, held: false })]),
    /released early: node-2 lacked/,
  ],
  [
    'released before the image was whole, and heard of late',
    history([BEFORE, HELD, RELEASED], { releasesTold: [{ deployment: 'web', at: 25 * SECOND }] }),
    /released early: node-2 lacked/,
  ],
  [
    'released when the node had been away for long, and lacked the image when it was back',
    history([
      BEFORE,
      HELD,
      node(2 * SECOND, 'node-2', false),
      node(5 * SECOND, 'node-2'),
      deployment(26 * SECOND, { paused: false, held: false }),
    ]),
    /released early: node-2 lacked/,
  ],
] as const) {
  test(`noticed: ${what}`, () => {
    assert.match(judge(bad).join('\n'), words);
    assert.equal(judge(bad).length, 1);
  });
}

test('a release is dated by its Event, or else when it was heard of', () => {
  const at = (releasesTold: History['releasesTold']) =>
    releasesOf(history([BEFORE, HELD, RELEASED], { releasesTold }))[0]?.at;
  assert.equal(at([]), 60 * SECOND);
  assert.equal(at([{ deployment: 'web', at: 50 * SECOND }]), 50 * SECOND);
  assert.equal(at([{ deployment: 'api', at: 50 * SECOND }]), 60 * SECOND);
  // That of an earlier hold.
  assert.equal(at([{ deployment: 'web', at: 500 }]), 60 * SECOND);
});
