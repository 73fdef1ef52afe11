import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import { preloadEvents } from '../../src/preloads/preload-events.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { held, holdOf, updated } from '../support/unit/held-deployment.ts';
import {
  BACK_OFF,
  DENIED,
  DIGEST,
  IMAGE,
  images,
  NOT_FOUND,
  node,
  nodes,
  preload,
  puller,
  REFUSED,
  refusedOn,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

const eventsOf = (given: Situation, owner?: Deployment) => {
  const input = situation(given);
  return preloadEvents(input.preload, assess(input), owner);
};
const reasons = (given: Situation) => eventsOf(given).map(({ reason }) => reason);
const identities = (given: Situation) =>
  eventsOf(given).map(({ reason, dedupKey }) => `${reason} ${dedupKey}`);
const one = (given: Situation, reason: string, owner?: Deployment) => {
  const found = eventsOf(given, owner).find((event) => event.reason === reason);
  assert.ok(found);
  return found;
};
const failing = { nodes: nodes(3), pods: refusedOn(['n2', 'n3', 'n1']) };

test('the beginning is an Event of the Deployment, with the preload beside it', () => {
  const { regarding, related, note, type } = one({ nodes: nodes(3) }, 'PreloadStarted');
  assert.deepEqual([regarding.kind, regarding.name, regarding.uid], ['Deployment', 'web', 'uid-web']);
  assert.deepEqual([related?.kind, related?.name], ['ImagePreload', 'web-1']);
  assert.deepEqual([type, note], ['Normal', `preloading ${IMAGE} on 3 nodes`]);
});

test('of one made by hand it is an Event of the preload itself', () => {
  const { owner: _, ...byHand } = preload();
  assert.equal(one({ preload: byHand, nodes: nodes(1) }, 'PreloadStarted').regarding.kind, 'ImagePreload');
});

test('without a node nothing has begun, and it says what it waits for, and until when', () => {
  const excluded = [{ reason: 'Cordoned', count: 2, node: 'n1' }] as const;
  const [event, ...others] = eventsOf({ nodes: [], excluded, now: 200, noNodesSince: 100 });
  assert.deepEqual(others, []);
  assert.deepEqual([event?.type, event?.reason], ['Warning', 'WaitingForNodes']);
  assert.match(
    event?.note ?? '',
    /^no node is eligible; excluded: 2 Cordoned \(such as n1\); the rollout waits for one, until 2026-01-01T\S+Z at the latest; see kubectl get nodes; see /,
  );
});

test('what is missing for a puller pod, or full, has a remedy of its own', () => {
  for (const [words, remedy] of [
    [
      'pods "a" is forbidden: error looking up service account shop/x: serviceaccount "x" not found',
      'create the S',
    ],
    ['pods "a" is forbidden: pod rejected: RuntimeClass "x" not found', 'create the RuntimeClass'],
    ['pods "a" is forbidden: exceeded quota: crowded, requested: pods=1', 'raise the quota'],
    ['admission webhook "a" denied the request: no', 'change what refuses the puller pod'],
  ] as const) {
    const { note } = one({ nodes: nodes(1), pods: [puller('n1').rejected('', words)] }, 'PreloadNodeFailed');
    assert.ok(note.includes(` (PodRejected); 0 of 1 nodes are ready; ${remedy}`), note);
  }
  const full = [puller('n1').rejected('OutOfcpu', 'Pod was rejected')];
  assert.match(one({ nodes: nodes(1), pods: full }, 'PreloadNodeFailed').note, /; make room on the node/);
});

/** The hold of shop/web waits for this one. */
const awaited = preload({}, { name: holdOf().preload });
const SEE = '; see kubectl -n shop describe ipl';
const BACK = '; go back: kubectl -n shop set image deployment/web app=registry.test/app:1';

test("a refusal is told with its node, image, the registry's words, the count, what to do and how to go back", () => {
  const { note, type } = one({ ...failing, preload: awaited }, 'PreloadFailed', held());
  assert.equal(type, 'Warning');
  assert.equal(
    note,
    `${IMAGE}: not found (NotFound on n1); 0 of 3 nodes are ready; the running version is unchanged; the pull is retried automatically: ` +
      `push the image${BACK}${SEE} ${awaited.name}`,
  );
});

test('what to do depends on the answer', () => {
  const told = (words: string) =>
    one({ nodes: nodes(1), pods: [puller('n1').attempt(2, 2).failing(words)] }, 'PreloadFailed').note;
  assert.match(
    told(DENIED),
    /\(Unauthorized on n1\).*: fix the pull secret of the pod template or of its ServiceAccount; see/,
  );
  assert.match(
    told('invalid reference format'),
    /\(InvalidName on n1\).*; correct the name of the image; see/,
  );
});

test('the way back is told only where a hold waits for this very preload', () => {
  const { note } = one(
    { ...failing, preload: awaited },
    'PreloadFailed',
    held(updated.image('registry.test/app:3')),
  );
  assert.doesNotMatch(note, /go back/);
  for (const owner of [undefined, parseDeployment(deployment().object)])
    assert.ok(one(failing, 'PreloadFailed', owner).note.endsWith(`push the image${SEE} web-1`));
});

test('a failing node is told by name with how many are ready, and that it no longer counts', () => {
  const pods = [puller('n1').pulled(5), puller('n2').attempt(3, 90).failing(REFUSED)];
  const { note } = one({ nodes: nodes(2), pods, now: 120 }, 'PreloadNodeFailed');
  assert.equal(
    note,
    `n2: ${IMAGE}: ${REFUSED} (PullFailed); this node no longer counts; 1 of 1 nodes are ready; check the registry, and the proxy of the node${SEE} web-1`,
  );
});

test('a node that hangs is told although no other is ready', () => {
  const given = { nodes: nodes(2), pods: [puller('n1').pulling()], now: 900 };
  const { note } = one(given, 'PreloadNodeFailed');
  assert.match(
    note,
    /^n1: .*still pulling when the time for one node was over \(Timeout\); 0 of 2 nodes are ready; check the network and the registry; see/,
  );
});

test('a deadline with no node ready is told with a node and what it got, or that it still pulls', () => {
  const late = { nodes: nodes(2), now: 3600, preload: preload({}, { name: awaited.name }) };
  const failed = one({ ...late, pods: [puller('n1').failing(REFUSED)] }, 'PreloadFailed', held());
  assert.equal(
    failed.note,
    `the deadline of 3600 s has passed and 0 of 2 nodes are ready; n1: ${IMAGE}: ${REFUSED} (ConnectionRefused); the ` +
      `running version is unchanged; the pull is retried automatically; check the registry, and the proxy of the node${BACK}${SEE} ${awaited.name}`,
  );
  const pulling = {
    ...late,
    preload: preload({ nodeTimeoutSeconds: 86_400 }),
    pods: [puller('n1').pulling()],
  };
  const { note, dedupKey } = one(pulling, 'PreloadFailed');
  assert.match(
    note,
    /0 of 2 nodes are ready; n1 is still pulling registry\.test\/app:2; the running version is/,
  );
  assert.equal(dedupKey, failed.dedupKey);
});

test('a deadline with a node that is ready is no failure: the rollout is let go', () => {
  const given = { nodes: nodes(2), now: 4000, pods: [puller('n1').pulled(5)] };
  assert.ok(
    !reasons({ ...given, preload: preload({ nodeTimeoutSeconds: 86_400 }) }).includes('PreloadFailed'),
  );
});

test('with the longest names a note keeps its commands whole, within 1 kB', () => {
  const image = `registry.test/${'x'.repeat(900)}:2`;
  const name = `${'n'.repeat(63)}.${'n'.repeat(189)}`;
  const pods = [puller(name).image(image).failing('not found '.repeat(100).trim())];
  const given = { preload: preload({ images: images(image) }), nodes: [node(name)], pods };
  for (const { note } of eventsOf(given).filter(({ type }) => type === 'Warning')) {
    assert.ok(Buffer.byteLength(note) <= 1024, `${Buffer.byteLength(note)} bytes`);
    assert.ok(note.endsWith(`${SEE} web-1`), note);
  }
});

test('words that nobody knows are an Event, as they are', () => {
  const { note } = one(
    { nodes: nodes(1), pods: [puller('n1').failing('the dog ate it')] },
    'PreloadNodeFailed',
  );
  assert.match(note, /^n1: registry\.test\/app:2: the dog ate it \(Unknown\); 0 of 1 nodes are ready; /);
});

test('a kubelet without words is no fact yet', () => {
  assert.deepEqual(reasons({ nodes: nodes(1), pods: [puller('n1').failing(BACK_OFF)] }), ['PreloadStarted']);
});

test('when it is ready, that is told', () => {
  const given = { nodes: nodes(1), pods: [puller('n1').pulled(5)] };
  assert.equal(one(given, 'PreloadReady').note, `1 of 1 nodes have ${IMAGE}`);
});

test('nodes that are left out of it because something is wrong with them are told with it', () => {
  const excluded = [
    { reason: 'Cordoned', count: 2, node: 'n7' },
    { reason: 'NodeSelector', count: 40, node: 'm1' },
    { reason: 'NotReady', count: 1, node: 'n9' },
  ] as const;
  const given = { nodes: nodes(1), pods: [puller('n1').pulled(5)], excluded };
  assert.equal(
    one(given, 'PreloadReady').note,
    `1 of 1 nodes have ${IMAGE}; excluded: 2 Cordoned (such as n7), 1 NotReady (n9)${SEE} web-1`,
  );
});

test('the same state is the same facts, however often and with whatever attempt', () => {
  assert.deepEqual(identities(failing), identities({ ...failing, now: 29 }));
  const again = [...failing.pods, puller('n2').attempt(3, 35).failing(NOT_FOUND)];
  assert.deepEqual(identities({ ...failing, pods: again, now: 40 }), identities(failing));
});

test('another node that gets the same refusal, or other words for it, is no other failure of the preload', () => {
  const fact = (pods: Situation['pods']) =>
    one({ nodes: nodes(3), pods: pods ?? [] }, 'PreloadFailed').dedupKey;
  const other = `rpc error: code = NotFound desc = request 4711: ${NOT_FOUND}`;
  assert.equal(fact(refusedOn(['n1', 'n2', 'n3'], other)), fact(failing.pods));
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
    ).dedupKey;
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
  assert.match(note, /and 2 more; and 7 others\. The tag was moved/);
});
