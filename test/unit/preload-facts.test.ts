import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assess } from '../../src/preload/assess.ts';
import { preloadFacts } from '../../src/preload/preload-facts.ts';
import {
  BACK_OFF,
  DIGEST,
  IMAGE,
  NOT_FOUND,
  node,
  nodes,
  preload,
  puller,
  REFUSED,
  type Situation,
  situation,
} from './preload-builder.ts';

const facts = (given: Situation) => {
  const input = situation(given);
  return preloadFacts(input.preload, assess(input));
};
const reasons = (given: Situation) => facts(given).map(({ reason }) => reason);
const identities = (given: Situation) => facts(given).map(({ reason, fact }) => `${reason} ${fact}`);
const one = (given: Situation, reason: string) => {
  const found = facts(given).find((event) => event.reason === reason);
  assert.ok(found);
  return found;
};
const failing = { nodes: nodes(3), pods: [puller('n2').failing(NOT_FOUND)] };

test('the beginning is a fact of the Deployment, with the preload beside it', () => {
  const { regarding, related, note, type } = one({ nodes: nodes(3) }, 'PreloadStarted');
  assert.deepEqual([regarding.kind, regarding.name, regarding.uid], ['Deployment', 'web', 'uid-web']);
  assert.deepEqual([related?.kind, related?.name], ['ImagePreload', 'web-1']);
  assert.deepEqual([type, note], ['Normal', `preloading ${IMAGE} on 3 nodes`]);
});

test('of one made by hand it is a fact of the preload itself', () => {
  const { owner: _, ...byHand } = preload();
  assert.equal(one({ preload: byHand, nodes: nodes(1) }, 'PreloadStarted').regarding.kind, 'ImagePreload');
});

test('without a node nothing has begun', () => {
  assert.deepEqual(facts({ nodes: [] }), []);
});

test("a refusal is told with its node, image, the registry's words and what to do", () => {
  const { note, type } = one(failing, 'PreloadFailed');
  assert.equal(type, 'Warning');
  for (const part of [/not found/, /n2/, /registry\.test\/app:2/, /tried again/]) assert.match(note, part);
});

test('a failing node is told by name, and that it no longer counts', () => {
  const pods = [puller('n1').pulled(5), puller('n2').attempt(3, 90).failing(REFUSED)];
  const { note } = one({ nodes: nodes(2), pods, now: 120 }, 'PreloadNodeFailed');
  assert.match(note, /^n2: .*connection refused.*PullFailed.*no longer counts/);
});

test('a kubelet without words is no fact yet', () => {
  assert.deepEqual(reasons({ nodes: nodes(1), pods: [puller('n1').failing(BACK_OFF)] }), ['PreloadStarted']);
});

test('when it is ready, that is told', () => {
  const given = { nodes: nodes(1), pods: [puller('n1').pulled(5)] };
  assert.equal(one(given, 'PreloadReady').note, `1 of 1 nodes have ${IMAGE}`);
});

test('the same state is the same facts, however often and with whatever attempt', () => {
  assert.deepEqual(identities(failing), identities({ ...failing, now: 29 }));
  const again = [...failing.pods, puller('n2').attempt(2, 30).failing(NOT_FOUND)];
  assert.deepEqual(identities({ ...failing, pods: again, now: 40 }), identities(failing));
});

test('another node that gets the same refusal, or other words for it, is no other failure of the preload', () => {
  const fact = (pods: Situation['pods']) => one({ nodes: nodes(3), pods: pods ?? [] }, 'PreloadFailed').fact;
  const other = `rpc error: code = NotFound desc = request 4711: ${NOT_FOUND}`;
  assert.equal(fact([puller('n1').failing(other)]), fact(failing.pods));
});

test('of many failing nodes the first ten are told', () => {
  const many = nodes(50);
  const pods = many.map(({ name }) => puller(name).failing(REFUSED));
  const told = reasons({ nodes: many, pods, preload: preload({ parallelism: '100%' }) });
  assert.equal(told.filter((reason) => reason === 'PreloadNodeFailed').length, 10);
});

const OTHER_DIGEST = `sha256:${'cd'.repeat(32)}`;
const moved: Situation = {
  nodes: nodes(6),
  pods: [
    ...['n1', 'n2', 'n3', 'n4', 'n5'].map((name) => puller(name).pulled(5)),
    puller('n6').pulled(9, OTHER_DIGEST),
  ],
  now: 9,
};

test('a tag that is not the same image everywhere is a warning with the digests and their nodes, and holds nothing back', () => {
  const { type, note, regarding } = one(moved, 'ImageDiverged');
  assert.deepEqual([type, regarding.name], ['Warning', 'web']);
  assert.match(note, /^registry\.test\/app:2 is not the same on all nodes: /);
  assert.match(note, /sha256:abababababab on n1, n2, n3 and 2 more; sha256:cdcdcdcdcdcd on n6\./);
  assert.ok(reasons(moved).includes('PreloadReady'));
});

test('it is one fact for each set of digests, whichever node got which', () => {
  const { pods: _, ...given } = moved;
  const got = (...digests: string[]) =>
    one(
      { ...given, pods: digests.map((digest, index) => puller(`n${index + 1}`).pulled(5, digest)) },
      'ImageDiverged',
    ).fact;
  assert.equal(got(DIGEST, OTHER_DIGEST), got(OTHER_DIGEST, OTHER_DIGEST, DIGEST));
  assert.notEqual(got(DIGEST, OTHER_DIGEST), got(DIGEST, OTHER_DIGEST, `sha256:${'ef'.repeat(32)}`));
});

test('a node that only lists the image, or has it by hand, is no other digest', () => {
  const listed = node('n2', { images: new Set([IMAGE]) });
  const byHand = puller('n3').pulled(5);
  const pods = [
    puller('n1').pulled(5),
    byHand.with({ container: { imageID: OTHER_DIGEST, running: false } }),
  ];
  assert.ok(!reasons({ nodes: [node('n1'), listed, node('n3')], pods, now: 9 }).includes('ImageDiverged'));
});

test('what differs between architectures only is one multi-arch image', () => {
  const on = (arch: string) => ({ labels: { 'kubernetes.io/arch': arch } });
  const pods = [
    puller('n1').pulled(5),
    puller('n2').pulled(5, OTHER_DIGEST),
    puller('n3').pulled(5, OTHER_DIGEST),
  ];
  const mixed = [node('n1', on('amd64')), node('n2', on('arm64'))];
  assert.ok(!reasons({ nodes: mixed, pods, now: 9 }).includes('ImageDiverged'));
  assert.ok(reasons({ nodes: [...mixed, node('n3', on('amd64'))], pods, now: 9 }).includes('ImageDiverged'));
});

test('even with the longest names and many digests the note says where to look within 1 kB', () => {
  const name = (index: number) => `ip-10-0-0-${index}.eu-central-1.compute.internal`;
  const many = Array.from({ length: 60 }, (_, index) => node(name(index)));
  const digest = (index: number) =>
    `sha256:${String(index % 12)
      .padStart(2, '0')
      .repeat(32)}`;
  const pods = many.map((one, index) => puller(one.name).pulled(5, digest(index)));
  const given = { preload: preload({ parallelism: '100%' }), nodes: many, pods, now: 9 };
  const { note } = one(given, 'ImageDiverged');
  assert.ok(Buffer.byteLength(note) <= 1024, `${Buffer.byteLength(note)} bytes`);
  assert.match(note, /and 2 more; and 7 others\. The tag has been moved/);
});
