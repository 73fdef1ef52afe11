// biome-ignore-all lint/style/noExcessiveLinesPerFile: a plain list of hostile objects
import { writeHold } from '../../../../src/api/hold.ts';
import {
  ATTEMPT_ANNOTATION,
  DECIDED_ANNOTATION,
  FIRST_ATTEMPT_ANNOTATION,
  HOLD_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
  NODE_SELECTOR_ANNOTATION,
  PARALLELISM_ANNOTATION,
  PRELOAD_LABEL,
  PULL_LABEL,
  PULLER_LABEL,
} from '../../../../src/api/names.ts';
import type { Random } from '../../../support/random.ts';
import { holdOf } from '../../../support/unit/held-deployment.ts';
import type { Insert } from '../mutation.ts';
import type { Kind } from './stored-objects.ts';

/** What a stranger would try to do with: names and uids of somebody else's objects. */
export interface Victim {
  readonly namespace: string;
  readonly deployment: { readonly name: string; readonly uid: string };
  readonly preload: { readonly name: string; readonly uid: string };
  /** Labels of the victim's puller pod. */
  readonly labels: Readonly<Record<string, string>>;
}

/** etcd refuses objects above 1.5 MiB. */
export const OBJECT_BYTES = 1_500_000;

/** Puts something into the object that is meant to hurt, and that mutations would not find. */
export type Malice = (insert: Insert, random: Random, victim: Victim) => void;

/** Sizes that hurt more the larger they are; the largest fills an object. */
const sizeOf = (random: Random) => random.pick([100, 2000, 16_000, 64_000, 256_000, 1_300_000]);
const repeated = (unit: string, bytes: number) => unit.repeat(Math.max(1, Math.floor(bytes / unit.length)));
const text = (value: string) => JSON.stringify(value);
const listOf = (entry: string, bytes: number) =>
  `[${Array(Math.max(1, Math.floor(bytes / (entry.length + 1))))
    .fill(entry)
    .join(',')}]`;
const deep = (levels: number, open = '[', close = ']') => `${open.repeat(levels)}1${close.repeat(levels)}`;
const depth = (random: Random) => random.pick([60, 500, 2000, 9000, 100_000]);

/** Texts that expressions of a careless parser take quadratic time for, or worse. */
const SLOW_UNITS = [
  ':',
  '"',
  ' /',
  'a-',
  'a.',
  'a/',
  '(',
  '[',
  '?',
  ',',
  '=',
  'x@',
  '\\',
  'https://a?',
  'not found: ',
  'rpc error: code = ',
  '\u{1f4a3}',
  '-',
  '0',
  'status code ',
];
const slowText = (random: Random) =>
  random.pick([
    '',
    ' /',
    '[rpc error: ',
    'unexpected status code 401 - Server message: /',
    'Back-off pulling image "',
  ]) +
  repeated(random.pick(SLOW_UNITS), Math.min(sizeOf(random), 1_200_000 / 2)) +
  random.pick(['', ' ', '!', 'x ', ': not found', ']', '"']);

const NUMBERS = ['-1', '0', '1e308', '9007199254740993', '1e999', '"7"', 'null', '2147483648', '0.5', '-0'];
const DATES = [
  '+275760-09-13T00:00:00Z',
  '-271821-04-20T00:00:00Z',
  '9999-12-31T23:59:59Z',
  '0001-01-01T00:00:00Z',
  '2026-02-30T00:00:00Z',
  'now',
  '1970-01-01T00:00:00Z',
  '2200-01-01T00:00:00Z',
];

const floodOfLabels = (random: Random, counts = [100, 5000, 40_000]) => {
  const count = random.pick(counts);
  return `{${Array.from({ length: count }, (_, index) => `"l${index}":"v"`).join(',')}}`;
};

const owners = (random: Random, { deployment, preload }: Victim) => {
  const one = random.pick([
    { apiVersion: 'apps/v1', kind: 'Deployment', ...deployment, controller: true },
    { apiVersion: 'pullgate.io/v1alpha1', kind: 'ImagePreload', ...preload, controller: true },
    { kind: 'Deployment', name: '__proto__', uid: '__proto__' },
  ]);
  return random.chance(0.2) ? listOf(JSON.stringify(one), sizeOf(random)) : `[${JSON.stringify(one)}]`;
};

const ANY: readonly Malice[] = [
  (insert, random, victim) => insert(['metadata', 'ownerReferences'], owners(random, victim)),
  (insert, random) => insert(['metadata', 'labels'], floodOfLabels(random)),
  (insert, random) => insert(['metadata', 'annotations'], floodOfLabels(random, [100, 5000])),
  (insert, random) => insert(['metadata', 'creationTimestamp'], text(random.pick(DATES))),
  (insert, random) => insert(['metadata', 'generation'], random.pick(NUMBERS)),
  (insert, random) =>
    insert(['metadata', 'resourceVersion'], text(random.pick(['0', '1', '99999999999999', 'x', '-1', '']))),
  (insert, random) =>
    insert(['metadata', 'managedFields'], listOf('{"fieldsV1":{"f:metadata":{}}}', sizeOf(random))),
  (insert, random, { deployment }) =>
    insert(['metadata', 'uid'], text(random.pick([deployment.uid, '__proto__', '']))),
  (insert, random) => insert(['spec'], deep(depth(random), '{"a":', '}')),
  (insert, random) => insert(['status'], deep(depth(random))),
];

const SCHEDULING = (path: readonly string[]): readonly Malice[] => {
  const required = [...path, 'affinity', 'nodeAffinity', 'requiredDuringSchedulingIgnoredDuringExecution'];
  return [
    (insert, random) => insert([...required, 'x'], deep(depth(random))),
    (insert, random) => insert([...path, 'affinity'], deep(depth(random), '{"nodeAffinity":', '}')),
    (insert, random) => insert([...required, 'nodeSelectorTerms'], listOf('[]', sizeOf(random))),
    (insert, random) =>
      insert(
        [...required, 'nodeSelectorTerms'],
        listOf('{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(
        [...required, 'nodeSelectorTerms'],
        `[{"matchExpressions":[{"key":"zone","operator":"In","values":${listOf('"b"', sizeOf(random))}}]}]`,
      ),
    (insert, random) =>
      insert(
        [...required, 'nodeSelectorTerms'],
        `[{"matchExpressions":[{"key":"zone","operator":"Gt","values":[${text(repeated('9', sizeOf(random)))}]}]}]`,
      ),
    (insert, random) =>
      insert(
        [...required, 'nodeSelectorTerms'],
        `[{"matchExpressions":[{"key":${text(slowText(random))},"operator":"Exists"}]}]`,
      ),
    (insert, random) => insert([...path, 'tolerations'], listOf('{"operator":"Exists"}', sizeOf(random))),
    (insert, random) => insert([...path, 'nodeSelector'], floodOfLabels(random)),
    (insert, random) => insert([...path, 'runtimeClassName'], text(slowText(random))),
  ];
};

/** API servers allow 256 KiB of annotations (TotalAnnotationSizeLimitB). */
const ANNOTATIONS_BYTES = 250_000;

const setting =
  (annotation: string, values: (random: Random) => string): Malice =>
  (insert, random) =>
    insert(['metadata', 'annotations', annotation], text(values(random).slice(0, ANNOTATIONS_BYTES)));

const STATUS_TEXTS = ['phase', 'ready', 'imageNames', 'startedAt', 'finishedAt'];

const OF: Readonly<Record<Kind, readonly Malice[]>> = {
  namespaces: [
    (insert, random) => insert(['metadata', 'labels', MODE_LABEL], text(slowText(random))),
    (insert, random) =>
      insert(
        ['metadata', 'labels', MODE_LABEL],
        text(random.pick(['__proto__', 'constructor', '', 'PAUSE', 'pause '])),
      ),
  ],
  nodes: [
    (insert, random) =>
      insert(['spec', 'taints'], listOf('{"key":"a","effect":"NoSchedule"}', sizeOf(random))),
    (insert, random) =>
      insert(
        ['status', 'images'],
        listOf('{"names":["registry.evil.test/a:1","registry.evil.test/a@sha256:0"]}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(['status', 'images'], `[{"names":${listOf(text('n'.repeat(50)), sizeOf(random))}}]`),
    (insert, random) => insert(['status', 'images'], `[{"names":[${text(slowText(random))}]}]`),
    (insert, random) =>
      insert(['status', 'conditions'], listOf('{"type":"Ready","status":"False"}', sizeOf(random))),
    (insert, random) =>
      insert(
        ['status', 'nodeInfo'],
        `{"operatingSystem":${text(slowText(random))},"bootID":${text(slowText(random))}}`,
      ),
    (insert, random) =>
      insert(
        ['status', 'capacity'],
        `{"cpu":${text(random.pick(['1e999', '-1', '9'.repeat(100_000), '1Zi', '']))},"pods":${random.pick(NUMBERS)}}`,
      ),
  ],
  deployments: [
    ...SCHEDULING(['spec', 'template', 'spec']),
    (insert, random) =>
      insert(
        ['spec', 'template', 'spec', 'containers'],
        listOf('{"name":"app","image":"registry.evil.test/app:9"}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(['spec', 'template', 'spec', 'containers', '0', 'image'], text(slowText(random))),
    (insert, random) =>
      insert(
        ['spec', 'template', 'spec', 'containers', '0', 'env'],
        listOf('{"name":"A","value":"b"}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(
        ['spec', 'template', 'spec', 'volumes'],
        listOf('{"name":"v","image":{"reference":"registry.evil.test/v:1"}}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(['spec', 'template', 'spec', 'imagePullSecrets'], listOf('{"name":"s"}', sizeOf(random))),
    (insert, random) => insert(['spec', 'template', 'metadata', 'annotations'], floodOfLabels(random)),
    (insert, random) => insert(['spec', 'template'], deep(depth(random), '{"spec":', '}')),
    (insert, random) => insert(['spec', 'selector', 'matchLabels'], floodOfLabels(random)),
    (insert) => insert(['spec', 'selector'], '{"matchExpressions":[{"key":"app","operator":"Exists"}]}'),
    (insert, random) => insert(['spec', 'replicas'], random.pick(NUMBERS)),
    (insert, random) =>
      insert(
        ['status', 'conditions'],
        `[{"type":"Progressing","status":"False","reason":${text(slowText(random))},"message":${text(slowText(random))}}]`,
      ),
    setting(MIN_NODES_ANNOTATION, (random) =>
      random.pick(['1e9%', '99999999999', '%', '١%', repeated('9', sizeOf(random))]),
    ),
    setting(PARALLELISM_ANNOTATION, (random) => `x${random.below(1e9)}${repeated('y', sizeOf(random))}`),
    setting(NODE_SELECTOR_ANNOTATION, (random) => repeated('a=b,', sizeOf(random))),
    setting(NODE_SELECTOR_ANNOTATION, slowText),
    setting(HOLD_ANNOTATION, (random) => {
      const count = random.pick([10, 1000, 20_000]);
      const images = Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`c${index}`, 'registry.evil.test/a:1']),
      );
      return writeHold(holdOf(undefined, { from: { template: 'x', images } }));
    }),
    setting(HOLD_ANNOTATION, (random) =>
      writeHold(
        holdOf(undefined, {
          since: random.pick(DATES),
          preload: random.pick(['a', 'kube-system', '..', 'x'.repeat(63)]),
        }),
      ),
    ),
    (insert, random, { deployment, preload }) =>
      insert(
        ['metadata', 'annotations', HOLD_ANNOTATION],
        text(
          writeHold(holdOf(undefined, { uid: deployment.uid, preload: random.pick([preload.name, 'web']) })),
        ),
      ),
    setting(DECIDED_ANNOTATION, (random) =>
      JSON.stringify({
        v: 1,
        uid: 'x',
        template: 'x',
        decision: 'Bypassed',
        by: slowText(random),
        at: random.pick(DATES),
        reason: slowText(random),
      }),
    ),
  ],
  imagepreloads: [
    ...SCHEDULING(['spec', 'scheduling']),
    (insert, random) =>
      insert(['spec', 'images'], listOf('{"image":"registry.evil.test/app:9"}', sizeOf(random))),
    (insert, random) => insert(['spec', 'images', '0', 'image'], text(slowText(random))),
    (insert, random) => insert(['spec', 'imagePullSecrets'], listOf('{"name":"s"}', sizeOf(random))),
    (insert, random) =>
      insert(
        [
          'spec',
          random.pick([
            'nodeTimeoutSeconds',
            'deadlineSeconds',
            'ttlSecondsAfterFinished',
            'parallelism',
            'minNodes',
          ]),
        ],
        random.pick(NUMBERS),
      ),
    (insert, random) =>
      insert(
        ['status', random.pick(['failures', 'images', 'conditions', 'excluded'])],
        listOf(
          '{"node":"n","image":"i","reason":"NotFound","message":"evil words","digests":["d"]}',
          sizeOf(random),
        ),
      ),
    (insert, random) => insert(['status', random.pick(STATUS_TEXTS)], text(slowText(random))),
    (insert, random) => insert(['status', random.pick(STATUS_TEXTS)], text(random.pick(DATES))),
    (insert, random) =>
      insert(
        ['status', 'failures'],
        `[{"node":"node-1","image":"registry.evil.test/app:2","reason":"NotFound","message":${text(slowText(random))}}]`,
      ),
  ],
  pods: [
    (insert, _, { labels }) =>
      insert(['metadata', 'labels'], JSON.stringify({ [PULLER_LABEL]: 'true', ...labels })),
    (insert, random, { preload }) =>
      insert(
        ['metadata', 'labels'],
        JSON.stringify({
          [PULLER_LABEL]: 'true',
          [PRELOAD_LABEL]: preload.name,
          [PULL_LABEL]: random.pick(['__proto__', '', 'x'.repeat(50_000)]),
        }),
      ),
    setting(ATTEMPT_ANNOTATION, (random) =>
      random.pick(['999', '1e308', '-1', '9007199254740991', 'NaN', '0x10']),
    ),
    setting(FIRST_ATTEMPT_ANNOTATION, (random) => random.pick(DATES)),
    ...Array<Malice>(6).fill((insert, random) =>
      insert(
        ['status', 'containerStatuses'],
        `[{"name":"pull","state":{"waiting":{"reason":${text(random.pick(['ErrImagePull', 'ImagePullBackOff', slowText(random)]))},"message":${text(slowText(random))}}}}]`,
      ),
    ),
    (insert, random) =>
      insert(
        ['status', 'containerStatuses'],
        `[{"name":"pull","imageID":${text(slowText(random))},"state":{"terminated":{"reason":"StartError","finishedAt":${text(random.pick(DATES))}}}}]`,
      ),
    (insert, random) =>
      insert(
        ['status', 'containerStatuses'],
        listOf('{"name":"other","state":{"running":{}}}', sizeOf(random)),
      ),
    (insert, random) =>
      insert(
        ['status'],
        `{"phase":"Failed","reason":${text(slowText(random))},"message":${text(slowText(random))},"startTime":${text(random.pick(DATES))}}`,
      ),
    (insert, random) =>
      insert(['spec', 'nodeName'], text(random.pick(['', 'canary', '__proto__', slowText(random)]))),
    (insert, random) => insert(['spec', 'tolerations'], listOf('{"operator":"Exists"}', sizeOf(random))),
    (insert, random) => insert(['spec', 'containers', '0', 'image'], text(slowText(random))),
  ],
};

export function maliceFor(kind: Kind, random: Random): Malice {
  return random.pick(random.chance(0.3) ? ANY : OF[kind]);
}

/** What a registry, a webhook or a quota says, in whatever length. */
export function hostileWords(random: Random): string {
  return `evil words: ${slowText(random)}`;
}
