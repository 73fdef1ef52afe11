import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCachedDeployment } from '../../src/api/cached-deployment.ts';
import { HOLD_CHARACTERS } from '../../src/api/hold.ts';
import { parseImagePreload, STATUS_BYTES } from '../../src/api/image-preload.ts';
import { LEADER_ANNOTATIONS } from '../../src/api/names.ts';
import { NEEDS_BYTES } from '../../src/api/preload-needs.ts';
import { asArray, type JsonObject } from '../../src/json.ts';
import { eligibleNodes } from '../../src/preloads/nodes/eligible-nodes.ts';
import { parseNode } from '../../src/preloads/nodes/node.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { leastRetainedBytes } from '../support/unit/retained-bytes.ts';

const COPIES = 3;
const list = <T>(length: number, entry: (n: number) => T): T[] => Array.from({ length }, (_, n) => entry(n));
const READY = { conditions: [{ type: 'Ready', status: 'True' }] };
/** What every record has: the texts and numbers of its own. */
const IDENTITY_BYTES = 4096;

/** One record, of an object as it comes from the API server, takes no more than that in the cache. */
function assertTakes(most: number, parse: (raw: unknown) => unknown, object: JsonObject): void {
  const text = JSON.stringify(object);
  const bytes = leastRetainedBytes(() => list(COPIES, () => parse(JSON.parse(text))), COPIES * most);
  assert.ok(bytes <= COPIES * most, `${bytes / COPIES} bytes, more than ${most}`);
}

const required = (nodeSelector: unknown) => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: nodeSelector } },
});
const preload = (spec: JsonObject, status?: JsonObject): JsonObject => ({
  metadata: { namespace: 'evil', name: 'large', uid: 'uid-large', generation: 1 },
  spec: { images: [{ image: 'registry.test/app:1' }], ...spec },
  ...(status !== undefined && { status }),
});
const values = (count: number, length: number) => ({
  nodeSelectorTerms: [
    {
      matchExpressions: [
        { key: 'k', operator: 'In', values: list(count, (n) => `${n}`.padEnd(length, 'x')) },
      ],
    },
  ],
});

for (const [what, spec, isRefused] of [
  ['1.4 MB of empty lists in its affinity', { scheduling: required({ x: list(460_000, () => []) }) }, false],
  [
    'an affinity that nests 2,000 levels deep',
    { scheduling: required(JSON.parse(`${'{"x":'.repeat(2000)}1${'}'.repeat(2000)}`)) },
    false,
  ],
  ['1.4 MB of terms', { scheduling: required({ nodeSelectorTerms: list(460_000, () => ({})) }) }, true],
  [
    '1.4 MB of tolerations',
    { scheduling: { tolerations: list(50_000, () => ({ operator: 'Exists' })) } },
    true,
  ],
  ['1.4 MB of images', { images: list(60_000, (n) => ({ image: `i${n}` })) }, true],
  ['a hash of 1.4 MB', { templateHash: 'x'.repeat(1_400_000) }, false],
  ['all the values that are carried', { scheduling: required(values(500, 90)) }, false],
  [
    'all the images that are carried',
    { images: list(100, (n) => ({ image: `i${n}`.padEnd(250, 'x') })) },
    false,
  ],
  ['values that are just too many', { scheduling: required(values(500, 130)) }, true],
] as const) {
  test(`an ImagePreload with ${what} is ${isRefused ? 'refused' : 'carried'} and stays small`, () => {
    const object = preload(spec);
    assert.equal(parseImagePreload(object).refused !== undefined, isRefused);
    assertTakes(NEEDS_BYTES + IDENTITY_BYTES, parseImagePreload, object);
  });
}

const kibibytes = (count: number) => count * 1024;

test('a puller pod with the longest texts there can be stays small', () => {
  // Beyond Latin-1, where each character takes two bytes.
  const long = '中'.repeat(400_000);
  const words = { reason: long, message: long };
  const status = {
    phase: 'Failed',
    ...words,
    containerStatuses: [{ name: 'pull', imageID: long, state: { waiting: words, terminated: words } }],
  };
  const annotations = { 'pullgate.io/attempt': long, 'pullgate.io/first-attempt-at': long };
  const ownerReferences = [
    { kind: 'ImagePreload', apiVersion: 'pullgate.io/v1', controller: true, name: long, uid: long },
  ];
  assertTakes(kibibytes(32) + IDENTITY_BYTES, parsePullerPod, {
    metadata: { name: 'a', annotations, ownerReferences },
    status,
  });
});

for (const [what, object, isRefused] of [
  [
    '100,000 labels',
    { metadata: { labels: Object.fromEntries(list(100_000, (n) => [`l${n}`, 'x'])) } },
    true,
  ],
  [
    'labels that take too much',
    { metadata: { labels: Object.fromEntries(list(900, (n) => [`l${n}`, 'x'.repeat(60)])) } },
    true,
  ],
  [
    '40,000 taints',
    { spec: { taints: list(40_000, (n) => ({ key: `t${n}`, effect: 'NoSchedule' })) } },
    true,
  ],
  [
    '50,000 names of images',
    { status: { images: list(25_000, (n) => ({ names: [`a${n}`.padEnd(50, 'x'), `b${n}`] })) } },
    false,
  ],
  ['one name of an image of 1.4 MB', { status: { images: [{ names: ['x'.repeat(1_400_000)] }] } }, false],
] as const) {
  test(`a Node with ${what} is ${isRefused ? 'left out' : 'known'} and stays small`, () => {
    assert.equal(parseNode(object).refused !== undefined, isRefused);
    assertTakes(kibibytes(128 + 512) + IDENTITY_BYTES, parseNode, object);
  });
}

test('a Node that is left out is counted as that, whatever a pod tolerates', () => {
  const large = parseNode({
    metadata: { name: 'large', labels: Object.fromEntries(list(1001, (n) => [`l${n}`, 'x'])) },
  });
  const { eligible, excluded } = eligibleNodes([large], { tolerations: [{ operator: 'Exists' }] });
  assert.deepEqual([eligible, excluded], [[], [{ reason: 'LimitExceeded', count: 1, node: 'large' }]]);
});

test('the longest scheduling that is carried is judged for 5,000 nodes within a few turns of the event loop', () => {
  const labels = Object.fromEntries(list(100, (n) => [`label-${n}`, `${n}`]));
  const nodes = list(5000, (n) =>
    parseNode({
      metadata: { name: `n${n}`, labels: { ...labels, 'kubernetes.io/os': 'linux' } },
      status: READY,
    }),
  );
  const matchExpressions = [{ key: 'label-1', operator: 'Gt', values: ['1'] }];
  const scheduling = {
    ...required({ nodeSelectorTerms: list(60, () => ({ matchExpressions })) }),
    tolerations: list(40, () => ({ operator: 'Exists', key: 'a' })),
  };
  const { spec, refused } = parseImagePreload(preload({ scheduling }));
  assert.equal(refused, undefined);
  const began = process.threadCpuUsage();
  assert.equal(eligibleNodes(nodes, spec.scheduling).excluded[0]?.reason, 'NodeAffinity');
  const { user, system } = process.threadCpuUsage(began);
  assert.ok(user + system < 400_000, `${(user + system) / 1000} ms`);
});

test('an ImagePreload with the largest status that is kept stays small, and its conditions are kept', () => {
  const long = 'x'.repeat(2000);
  const entries = list(200, (n) => ({
    image: `${n}${long.slice(0, 500)}`,
    digests: list(10, () => long),
    node: long,
  }));
  const conditions = [{ type: 'Ready', status: 'True', reason: long, message: long }];
  const status = {
    phase: 'Ready',
    images: entries,
    failures: entries,
    excluded: entries,
    conditions,
    finishedAt: long,
  };
  const object = preload({}, status);
  assertTakes(STATUS_BYTES + IDENTITY_BYTES, parseImagePreload, object);
  assert.equal(parseImagePreload(object).status?.conditions[0]?.type, 'Ready');
});

interface Given {
  readonly podSpec?: JsonObject;
  readonly annotations?: JsonObject;
  readonly labels?: JsonObject;
  readonly spec?: JsonObject;
  readonly status?: JsonObject;
}
const CONDITION = ['status', 'reason', 'message', 'lastUpdateTime'];
function deployment({
  podSpec = {},
  annotations = {},
  labels = {},
  spec = {},
  status = {},
}: Given): JsonObject {
  const template = { spec: { containers: [{ name: 'app', image: 'app:2' }], ...podSpec } };
  return {
    metadata: { namespace: 'evil', name: 'large', uid: 'uid-large', generation: 1, annotations, labels },
    spec: { replicas: 0, paused: true, template, ...spec },
    status: {
      ...status,
      conditions: asArray(status['conditions']).map((one) => ({ ...Object(one), type: 'Progressing' })),
    },
  };
}
const LONG = 'x'.repeat(250_000);
const HELD = { 'pullgate.io/held': 'true' };
const map = (count: number, prefix: string) => Object.fromEntries(list(count, (n) => [`${prefix}${n}`, 'x']));

for (const [what, given, isRefused] of [
  ['1.4 MB of tolerations', { podSpec: { tolerations: list(50_000, () => ({ operator: 'Exists' })) } }, true],
  ['1.4 MB of pull secrets', { podSpec: { imagePullSecrets: list(400_000, () => ({})) } }, true],
  [
    '1.4 MB of containers',
    { podSpec: { containers: list(20_000, (n) => ({ name: `c${n}`, image: `registry.test/app:${n}` })) } },
    true,
  ],
  [
    '1.4 MB of affinity to other pods',
    { podSpec: { affinity: { podAffinity: list(460_000, () => []) } } },
    false,
  ],
  ['the largest template that is kept', { podSpec: { nodeSelector: { a: 'x'.repeat(60_000) } } }, false],
  [
    'a whole template that is too large, and a hold',
    { podSpec: { volumes: list(400_000, () => ({})) }, labels: HELD },
    false,
  ],
  ['a hold of 250 kB', { annotations: { 'pullgate.io/hold': LONG } }, true],
  ['a record of decisions of 250 kB', { annotations: { 'pullgate.io/decided': LONG } }, false],
  ['a foreign annotation of 250 kB beside a hold', { annotations: { team: LONG }, labels: HELD }, false],
  ['10,000 annotations that begin as ours do', { annotations: map(10_000, 'pullgate.io/a') }, false],
  ['10,000 labels', { labels: map(10_000, 'l') }, false],
  [
    'all that is kept at its longest, in texts beyond Latin-1',
    {
      annotations: Object.fromEntries(
        LEADER_ANNOTATIONS.map((name) => [
          name,
          '中'.repeat(name.endsWith('/hold') ? HOLD_CHARACTERS : 10_000),
        ]),
      ),
      podSpec: { nodeSelector: { a: '中'.repeat(30_000) } },
      spec: { selector: { matchLabels: { a: 'x'.repeat(4000) } } },
      status: { conditions: [Object.fromEntries(CONDITION.map((field) => [field, '中'.repeat(10_000)]))] },
    },
    false,
  ],
  ['a selector of 1.4 MB', { spec: { selector: { matchLabels: map(100_000, 'l') } } }, false],
] satisfies readonly (readonly [string, Given, boolean])[]) {
  test(`a Deployment with ${what} is ${isRefused ? 'refused' : 'carried'} and stays small`, () => {
    const object = deployment(given);
    assert.equal(parseCachedDeployment(object).refused !== undefined, isRefused);
    assertTakes(kibibytes(170), parseCachedDeployment, object);
  });
}
