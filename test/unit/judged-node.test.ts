import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AssessInput, assess } from '../../src/preloads/assess/assess.ts';
import type { Judgements } from '../../src/preloads/assess/judged-node.ts';
import type { Node } from '../../src/preloads/nodes/node.ts';
import { createPodIndex, type PodIndex, podKey } from '../../src/preloads/pods/pod-index.ts';
import {
  at,
  IMAGE,
  images,
  lookAt,
  NOT_FOUND,
  node,
  type PullerBuilder,
  preload,
  puller,
  REFUSED,
  situation,
} from '../support/unit/preload-builder.ts';

const OTHER = 'registry.test/other:1';
const NAMES = ['n1', 'n2', 'n3'];

interface Seen {
  readonly index: PodIndex;
  readonly nodes: Map<string, Node>;
  readonly key: string;
  readonly pod: PullerBuilder;
  readonly seconds: number;
}

/** What may be seen next. */
const SEEN: Readonly<Record<string, (seen: Seen) => unknown>> = {
  begun: ({ index, key, pod }) => index.observe(key, pod.pulling().pod),
  pulled: ({ index, key, pod, seconds }) => index.observe(key, pod.pulled(seconds).pod),
  refused: ({ index, key, pod }) => index.observe(key, pod.failing(NOT_FOUND).pod),
  failed: ({ index, key, pod }) => index.observe(key, pod.failing(REFUSED).pod),
  rejected: ({ index, key, pod }) => index.observe(key, pod.rejected('OutOfpods', 'no room').pod),
  deleting: ({ index, key, pod }) => index.observe(key, pod.with({ deleting: true }).pod),
  gone: ({ index, key }) => index.observe(key, undefined),
  'a new node': ({ nodes, pod: { pod }, seconds }) =>
    nodes.set(pod.node, node(pod.node, { createdAt: at(seconds) })),
  listed: ({ nodes, pod: { pod } }) => nodes.set(pod.node, node(pod.node, { images: new Set([pod.pull]) })),
  'no node': ({ nodes, pod: { pod } }) => nodes.delete(pod.node),
};

const anyStep = fc.record({
  after: fc.nat(400),
  name: fc.constantFrom(...NAMES),
  image: fc.constantFrom(IMAGE, OTHER),
  attempt: fc.integer({ min: 1, max: 3 }),
  see: fc.constantFrom(...Object.values(SEEN)),
});

test('a look at what has changed alone comes to the same as a look at everything', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 30 }), fc.boolean(), (steps, withSecret) => {
      const index = createPodIndex({ now: () => at(0) });
      const judged: Judgements = new Map();
      const nodes = new Map(NAMES.map((name) => [name, node(name)]));
      let seconds = 0;
      for (const { after, name, image, attempt, see } of steps) {
        seconds += after;
        const pod = puller(name).attempt(attempt, seconds).image(image);
        see({ index, nodes, key: podKey(pod.pod), pod, seconds });
        const spec = { images: images(IMAGE, OTHER), minNodes: 1 };
        const input: AssessInput = {
          ...situation({ preload: preload(spec), nodes: [...nodes.values()], now: seconds, withSecret }),
          podsOf: ({ image: pull }) => index.findOf({ namespace: 'shop', pull }),
        };
        const { newlyReady: _, ...fresh } = lookAt(input);
        const { newlyReady: __, ...known } = lookAt({ ...input, judged });
        assert.deepEqual(known, fresh);
      }
    }),
  );
});

test('a node where nothing has happened is not remembered', () => {
  const index = createPodIndex({ now: () => at(0) });
  const judged: Judgements = new Map();
  const nodes = NAMES.map((name) => node(name));
  const look = () =>
    assess({
      ...situation({ nodes }),
      podsOf: ({ image }) => index.findOf({ namespace: 'shop', pull: image }),
      judged,
    });
  const { pod } = puller('n2').pulling();
  index.observe(podKey(pod), pod);
  look();
  assert.deepEqual([...judged.keys()], ['n2']);
  index.observe(podKey(pod), undefined);
  look();
  assert.equal(judged.size, 0);
});

test('a node is ready for the first time once, and again after it was not', () => {
  const index = createPodIndex({ now: () => at(0) });
  const judged: Judgements = new Map();
  const nodes = NAMES.map((name) => node(name));
  const ready = () =>
    assess({
      ...situation({ nodes }),
      podsOf: ({ image }) => index.findOf({ namespace: 'shop', pull: image }),
      judged,
    }).progress.newlyReady;
  const { pod } = puller('n2').pulled(5);
  assert.deepEqual(ready(), []);
  index.observe(podKey(pod), pod);
  assert.deepEqual([ready(), ready()], [['n2'], []]);
  index.observe(podKey(pod), undefined);
  assert.deepEqual(ready(), []);
  index.observe(podKey(pod), pod);
  assert.deepEqual(ready(), ['n2']);
});
