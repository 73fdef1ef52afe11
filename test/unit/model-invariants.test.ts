import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BYPASS_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  REVERT_ANNOTATION,
} from '../../src/api/names.ts';
import type { JsonObject } from '../../src/json.ts';
import type { Pull } from '../cluster/simulated/kubelet.ts';
import { generate } from '../stress/model/generate.ts';
import type { History, Moment, UserUpdate } from '../stress/model/history.ts';
import { judge } from '../stress/model/invariants.ts';

/** The model-based test is worth what its invariants would notice: each of these histories breaks one promise. */
const UID = 'uid-of-web';
const times = { nodeTimeoutSeconds: 6, deadlineSeconds: 15, givenUpAfterMs: 5000, noNodesMs: 6000 };

interface State {
  readonly image: string;
  readonly paused?: boolean;
  readonly hold?: { readonly uid?: string; readonly userPaused?: boolean };
  readonly replicas?: number;
  /** Unknown by default. */
  readonly ready?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

function deployment(
  generation: number,
  { image, paused, hold, replicas = 1, ready, annotations }: State,
): JsonObject {
  const { uid = UID, userPaused = false } = hold ?? {};
  return {
    metadata: {
      name: 'web',
      uid: UID,
      resourceVersion: `${generation}`,
      generation,
      ...(annotations !== undefined && { annotations }),
      ...(hold !== undefined && {
        labels: { [HELD_LABEL]: 'true' },
        annotations: { ...annotations, [HOLD_ANNOTATION]: JSON.stringify({ v: 1, uid, userPaused }) },
      }),
    },
    spec: {
      replicas,
      ...(paused === true && { paused }),
      template: { spec: { containers: [{ name: 'app', image }] } },
    },
    ...(ready !== undefined && { status: { readyReplicas: ready } }),
  };
}

function node(name: string): Moment {
  const object = {
    metadata: { name },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  };
  return { at: 0, kind: 'Node', name, uid: name, object };
}

/** Versions ten seconds apart; the second one is what the user asked for. */
function historyOf(states: readonly State[], pulls: readonly Pull[], paused?: boolean): History {
  const versions = states.map((state, index) => ({
    at: 10_000 * (index + 1),
    kind: 'Deployment' as const,
    name: 'web',
    uid: UID,
    object: deployment(index + 1, state),
  }));
  const image = states[1]?.image ?? '';
  const body = { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } };
  const update: UserUpdate = {
    text: 'image',
    of: 'web',
    update: { verb: 'merge', body, paused },
    began: 19_990,
    ended: 20_010,
    resourceVersion: '2',
  };
  return {
    moments: [node('a'), node('b'), ...versions],
    updates: [update],
    modes: [{ from: 0, to: Number.POSITIVE_INFINITY, mode: 'pause' }],
    down: [],
    failedOpen: [],
    pulls,
    needsPermission: false,
    times,
  };
}

function pulled(name: string): Pull {
  const digest = 'sha256:1';
  return {
    node: name,
    image: 'new',
    namespace: 'n',
    pod: name,
    preload: true,
    began: 21_000,
    ended: 24_000,
    digest,
  };
}

const RUNNING: State = { image: 'old' };
const HELD: State = { image: 'new', paused: true, hold: {} };
const RELEASED: State = { image: 'new' };
const EVERYWHERE = [pulled('a'), pulled('b')];

test('a hold that is released when every node has the image breaks no promise', () => {
  assert.deepEqual(judge(historyOf([RUNNING, HELD, RELEASED], EVERYWHERE)), {
    violations: [],
    counts: { held: 1, 'released preloaded': 1 },
  });
});

test('an update whose answer was lost explains the version that a later update without effect is answered with', () => {
  const history = historyOf([RUNNING, { image: 'old', replicas: 3 }], []);
  const scale = { verb: 'merge' as const, body: { spec: { replicas: 3 } }, paused: undefined };
  const resume = { verb: 'merge' as const, body: { spec: { paused: null } }, paused: false };
  const lost = {
    text: 'scale',
    of: 'web',
    update: scale,
    began: 19_980,
    ended: 19_990,
    resourceVersion: undefined,
  };
  const answered = { ...lost, text: 'resume', update: resume, began: 19_991, resourceVersion: '2' };
  assert.deepEqual(judge({ ...history, updates: [lost, answered] }).violations, []);
  assert.equal(judge({ ...history, updates: [answered] }).violations.length, 1);
});

/** The update at 20 s went past the gate, and its rollout is going on. */
function passedBy(kind: 'told' | 'untold'): History {
  const history = historyOf([RUNNING, RELEASED], []);
  const moments = history.moments.map((moment): Moment => {
    if (moment.kind !== 'Deployment' || moment.object === undefined) return moment;
    const conditions = [{ type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' }];
    const status = { observedGeneration: 9, replicas: 2, updatedReplicas: 1, conditions };
    return { ...moment, object: { ...moment.object, status } };
  });
  const event = { involvedObject: { kind: 'Deployment', name: 'web', uid: UID } };
  const told: Moment = { at: 21_000, kind: 'UngatedEvent', name: 'web.1', uid: 'e', object: event };
  const last: Moment = { ...node('c'), at: 40_000 };
  return {
    ...history,
    moments: [...moments, ...(kind === 'told' ? [told] : []), last],
    failedOpen: [{ of: 'web', at: 20_000 }],
  };
}

test('an update that failed open is no early release, if its rollout is told of as ungated', () => {
  assert.deepEqual(judge(passedBy('told')), {
    violations: [],
    counts: { 'stored as sent': 1, 'let through exempt': 1, 'failed open': 1 },
  });
});

test('a rollout that ended before the leader could see it, or in a namespace that gates nothing, need not be told of', () => {
  const history = passedBy('untold');
  const short = history.moments.filter(({ at }) => at <= 20_000);
  assert.deepEqual(judge({ ...history, moments: short }).violations, []);
  const modes = [{ from: 0, to: Number.POSITIVE_INFINITY, mode: 'audit' as const }];
  assert.deepEqual(judge({ ...history, modes }).violations, []);
});

test('of another Deployment, or at another time, it excuses nothing', () => {
  const history = passedBy('told');
  for (const failedOpen of [[{ of: 'api', at: 20_000 }], [{ of: 'web', at: 15_000 }]])
    assert.match(judge({ ...history, failedOpen }).violations.join('\n'), /too early/);
});

test('one node with the image is enough while no pod serves, and not while one does', () => {
  const released = (ready: number) =>
    judge(
      historyOf(
        [
          { ...RUNNING, ready },
          { ...HELD, ready },
          { ...RELEASED, ready },
        ],
        [pulled('a')],
      ),
    ).violations;
  assert.deepEqual(released(0), []);
  assert.match(released(1).join(), /too early: 1 of 2 nodes had new, 2 needed/);
});

test('a bypass excuses an early release, unless it needs a permission', () => {
  const history = historyOf([RUNNING, { ...RELEASED, annotations: { [BYPASS_ANNOTATION]: 'now' } }], []);
  const [update] = history.updates;
  assert.ok(update);
  const body = { ...update.update.body, metadata: { annotations: { [BYPASS_ANNOTATION]: 'now' } } };
  const updates = [{ ...update, update: { ...update.update, body } }];
  assert.deepEqual(judge({ ...history, updates }).violations, []);
  assert.match(judge({ ...history, updates, needsPermission: true }).violations.join(), /too early/);
});

test('a hold may end without any image once its Deployment is scaled to zero', () => {
  const zero = { ...HELD, replicas: 0 };
  assert.deepEqual(
    judge(historyOf([{ ...RUNNING, replicas: 0 }, zero, { ...RELEASED, replicas: 0 }], [])).violations,
    [],
  );
});

/** `kubectl rollout undo` brings back the bypass of an earlier revision. */
function undone(stored: Readonly<Record<string, string>>): History {
  const before = { [BYPASS_ANNOTATION]: 'now' };
  const old = { [BYPASS_ANNOTATION]: 'then', team: 'shop' };
  const states = [
    { ...RUNNING, annotations: before },
    { ...RELEASED, annotations: stored },
  ];
  const history = historyOf(states, EVERYWHERE);
  const { spec } = deployment(2, RELEASED);
  const body = { metadata: { annotations: old }, spec };
  const [update] = history.updates;
  assert.ok(update);
  return {
    ...history,
    pulls: EVERYWHERE.map((pull) => ({ ...pull, began: 1000, ended: 2000 })),
    updates: [{ ...update, text: 'undo', update: { verb: 'undo', body, paused: undefined } }],
  };
}

test('an undo brings back annotations of others, and none of the gate', () => {
  const kept = { [BYPASS_ANNOTATION]: 'now', team: 'shop' };
  assert.deepEqual(judge(undone(kept)).violations, []);
  const revived = { ...kept, [BYPASS_ANNOTATION]: 'then' };
  assert.match(judge(undone(revived)).violations.join(), /undo: stored is .*then.*, not .*now/);
  const none = [{ from: 0, to: Number.POSITIVE_INFINITY, mode: 'none' as const }];
  assert.deepEqual(judge({ ...undone(revived), modes: none }).violations, [], 'where nobody opted in');
});

test('a resume while held is stored as it was sent where nobody opted in', () => {
  const annotations = { [KEEP_PAUSED_ANNOTATION]: 'true' };
  const held = { ...HELD, annotations };
  const running = { ...RUNNING, annotations };
  const history = historyOf([running, held, { ...held, paused: false }], EVERYWHERE);
  const [asked] = history.updates;
  assert.ok(asked);
  const update = { verb: 'merge' as const, body: { spec: { paused: false } }, paused: false };
  const resume = { ...asked, text: 'resume', update, began: 29_990, ended: 30_010, resourceVersion: '3' };
  const resumed = { ...history, updates: [asked, resume] };
  assert.match(judge(resumed).violations.join(), /resume: paused is false, not true/);
  const modes = [
    { from: 0, to: 25_000, mode: 'pause' as const },
    { from: 25_000, to: Number.POSITIVE_INFINITY, mode: 'none' as const },
  ];
  assert.deepEqual(judge({ ...resumed, modes }).violations, []);
});

/** A user asks to go back ten seconds after the hold began, and this is what is stored. */
function reverted(stored: State): History {
  const history = historyOf([RUNNING, HELD, stored], EVERYWHERE);
  const [asked] = history.updates;
  assert.ok(asked);
  const body = { metadata: { annotations: { [REVERT_ANNOTATION]: 'urgent 1' } } };
  const times = { began: 29_990, ended: 30_010, resourceVersion: '3' };
  const update = { verb: 'revert' as const, body, paused: undefined };
  return { ...history, updates: [asked, { ...asked, ...times, text: 'revert', update }] };
}

test('a revert while held ends the hold and restores what ran, whole', () => {
  assert.deepEqual(judge(reverted(RUNNING)), {
    violations: [],
    counts: { held: 1, reverted: 1, 'let through needing nothing': 1 },
  });
  assert.match(judge(reverted(HELD)).violations.join(), /revert: still held/);
  for (const wrong of [RELEASED, { image: 'other' }, { ...RUNNING, replicas: 3 }])
    assert.match(judge(reverted(wrong)).violations.join(), /revert: stored is .*, not .*"old"/);
  const unheld = { ...RELEASED, annotations: { [REVERT_ANNOTATION]: 'urgent 1' } };
  const none = [{ from: 0, to: Number.POSITIVE_INFINITY, mode: 'none' as const }];
  assert.deepEqual(judge({ ...reverted(unheld), modes: none }).violations, [], 'where nobody opted in');
});

/** Puller pods on node b that its kubelet refuses. */
function refusedOn(seconds: readonly number[]): Moment[] {
  return seconds.flatMap((when): Moment[] => {
    const name = `puller-${when}`;
    const container = { name: 'pull', image: 'new', command: ['/pullgate-preload-only-1'] };
    const object = { metadata: { name }, spec: { nodeName: 'b', containers: [container] } };
    const moment = { kind: 'Pod' as const, name, uid: name };
    return [
      { ...moment, at: when, object },
      { ...moment, at: when + 100, object: { ...object, status: { phase: 'Failed', reason: 'OutOfpods' } } },
    ];
  });
}

test('a node that has refused three puller pods for long enough need not be waited for, and not before', () => {
  const history = historyOf([RUNNING, HELD, RELEASED], [pulled('a')]);
  const withPods = (seconds: readonly number[]) =>
    judge({ ...history, moments: [...history.moments, ...refusedOn(seconds)].sort((a, b) => a.at - b.at) })
      .violations;
  assert.deepEqual(withPods([20_500, 22_000, 25_000]), []);
  assert.match(withPods([20_500, 22_000]).join(), /too early/);
});

const BROKEN: readonly (readonly [string, History, RegExp])[] = [
  [
    'released too early',
    historyOf([RUNNING, HELD, RELEASED], [pulled('a')]),
    /too early: 1 of 2 nodes had new, 2 needed/,
  ],
  ['never held', historyOf([RUNNING, RELEASED], []), /let go by image too early/],
  ['never told', passedBy('untold'), /no UngatedRollout tells of it/],
  [
    'left paused',
    historyOf([RUNNING, HELD, { ...RELEASED, paused: true }], EVERYWHERE),
    /paused is true without its hold/,
  ],
  [
    "a user's pause that is lost",
    historyOf([{ ...RUNNING, paused: true }, { ...HELD, hold: { userPaused: true } }, RELEASED], EVERYWHERE),
    /paused is false without its hold, not true/,
  ],
  [
    "a user's pause that is not written down",
    historyOf([{ ...RUNNING, paused: true }, HELD], []),
    /userPaused is not true/,
  ],
  [
    'another field',
    historyOf([RUNNING, HELD, { ...RELEASED, replicas: 2 }], EVERYWHERE),
    /a field that is the user's changed/,
  ],
  [
    'paused without an update',
    historyOf([RUNNING, HELD, RELEASED, { ...RELEASED, paused: true }], EVERYWHERE),
    /without an update/,
  ],
  [
    'a foreign hold that stays',
    historyOf(
      [
        { ...HELD, hold: { uid: 'other' } },
        { ...HELD, hold: { uid: 'other' } },
      ],
      [],
    ),
    /a foreign hold stayed for 10000 ms/,
  ],
];

for (const [what, history, words] of BROKEN) {
  test(`it is noticed: ${what}`, () => {
    const found = judge(history).violations;
    assert.ok(
      found.some((line) => words.test(line)),
      `found: ${found.join('\n')}`,
    );
  });
}

test('a sequence is the same for the same seed and index, and another for the next', () => {
  assert.deepEqual(generate(7, 3), generate(7, 3));
  assert.notDeepEqual(generate(7, 3), generate(7, 4));
});
