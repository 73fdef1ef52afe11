import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Decision } from '../../src/admission/decision.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { exceededBound } from '../../src/api/bounds.ts';
import { parseCachedDeployment } from '../../src/api/cached-deployment.ts';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseHold, writeHold } from '../../src/api/hold.ts';
import { asStringMap, at, type JsonObject } from '../../src/json.ts';
import { decideUpdate, NOW } from '../support/unit/decide-update.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf } from '../support/unit/held-deployment.ts';

/** apimachinery, TotalAnnotationSizeLimitB. */
const ANNOTATIONS_BYTES = 262_144;
const V2 = 'registry.test/app:2';
const web = deployment();
const list = <T>(length: number, entry: (n: number) => T): T[] => Array.from({ length }, (_, n) => entry(n));

const annotationsOf = (object: JsonObject) => asStringMap(at(object, 'metadata', 'annotations'));
const bytesOf = (object: JsonObject) =>
  Object.entries(annotationsOf(object)).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
const recordOf = ({ object }: Decision) => parseDecisionRecord(annotationsOf(object)['pullgate.io/decided']);

function assertPassed(decision: Decision, why: RegExp): void {
  assert.equal(decision.kind, 'LimitExceeded');
  assert.match(decision.reason, why);
  const { annotations, labels, paused } = parseDeployment(decision.object);
  assert.deepEqual(
    [annotations['pullgate.io/hold'], labels['pullgate.io/held'], paused],
    [undefined, undefined, false],
  );
  assert.equal(decision.denial, undefined);
}

const tolerations = { tolerations: list(101, () => ({ operator: 'Exists' })) };
const hostnames = {
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'host', operator: 'In', values: list(501, (n) => `n${n}`) }] },
        ],
      },
    },
  },
};
const tooMuch: readonly (readonly [string, DeploymentBuilder, RegExp])[] = [
  ['too many tolerations', web.podSpec(tolerations), /^tolerations has 101 entries, more than 100$/],
  [
    'an affinity with too many values',
    web.podSpec(hostnames),
    /^the values of .* has 501 entries, more than 500$/,
  ],
  [
    'too many images',
    list(120, (n) => n).reduce((made, n) => made.image(`registry.test/app:${n}`, `c${n}`), web),
    /^images has \d+ entries, more than 100$/,
  ],
  [
    'an image whose name is too long',
    web.image(`registry.test/${'x'.repeat(1024)}`),
    /^the name of an image has 1038 /,
  ],
  [
    'a template that takes too much memory',
    list(90, (n) => n).reduce((made, n) => made.image(`registry.test/${'x'.repeat(900)}:${n}`, `c${n}`), web),
    /take more than 64 KiB$/,
  ],
];

describe('an update that the leader could not carry', () => {
  for (const [what, next, why] of tooMuch) {
    const object = next.image(V2, 'new').object;

    test(`such as one with ${what} goes ahead in every mode, and says why`, () => {
      for (const mode of ['pause', 'reject', 'audit'] as const) {
        const decision = decideUpdate(web.object, object, { mode });
        assertPassed(decision, why);
        assert.equal(decision.asks, undefined);
        assert.partialDeepStrictEqual(recordOf(decision), { decision: 'LimitExceeded', by: 'a-developer' });
        const [warning = ''] = warningsFor(decision, { namespace: 'shop', name: 'web' }, NOW);
        assert.ok(
          warning.startsWith(`pullgate: shop/web continues without a preload: ${decision.reason}`),
          warning,
        );
        assert.ok(
          warning.endsWith('; each node pulls when a pod starts there') && warning.length <= 256,
          warning,
        );
      }
    });

    test(`such as one with ${what} is judged by the leader as by admission`, () => {
      const from = { template: '', images: {} };
      assert.match(exceededBound(parseDeployment(object), from) ?? '', why);
      assert.match(exceededBound(parseCachedDeployment(object), from) ?? '', /more than/);
    });

    test(`such as one with ${what} ends a hold`, () => {
      const held = decideUpdate(web.object, web.image('registry.test/app:3').object).object;
      const annotations = annotationsOf(held);
      const spec = { ...Object(held['spec']), template: at(object, 'spec', 'template') };
      const decision = decideUpdate(held, { ...held, spec });
      assert.ok(annotations['pullgate.io/hold']);
      assertPassed(decision, why);
    });
  }

  test('is decided in the same way when admission is called for it again', () => {
    const first = decideUpdate(web.object, web.podSpec(tolerations).image(V2).object);
    const again = decideUpdate(web.object, first.object, { now: NOW + 5 });
    assert.deepEqual([again.kind, again.object], [first.kind, first.object]);
  });

  test('is a bypass if it asks for one', () => {
    const urgent = web.podSpec(tolerations).image(V2).annotate('pullgate.io/bypass', 'urgent');
    assert.equal(decideUpdate(web.object, urgent.object).kind, 'Bypassed');
  });

  test('is one whose running version has more images than a hold can name', () => {
    const running = list(300, (n) => n).reduce(
      (made, n) => made.image(`registry.test/${'x'.repeat(100)}:${n}`, `container-${n}`),
      web,
    );
    const decision = decideUpdate(running.object, web.image(V2).object);
    assertPassed(decision, /^its hold would name all running images in \d+ characters, more than 32768$/);
  });

  test('is one that would be too large for etcd', () => {
    const env = list(20_000, (n) => ({ name: `V${n}`, value: 'x'.repeat(60) }));
    const next = web.podSpec({ volumes: [{ name: 'large', projected: { sources: env } }] }).image(V2);
    assertPassed(
      decideUpdate(web.object, next.object),
      /^with a hold it would have \d+ bytes, more than 1564672, and etcd/,
    );
  });
});

describe('an update beyond a limit, by a user who may not bypass,', () => {
  const large = web.podSpec(tolerations).image(V2);
  const note = web.image(V2).annotate('note', 'x'.repeat(250 * 1024));
  const assertDenied = (decision: Decision, object: JsonObject, why: RegExp) => {
    assert.equal(decision.kind, 'Refused');
    assert.equal(decision.object, object);
    assert.deepEqual([decision.denial?.code, decision.denial?.retryAfterSeconds], [403, undefined]);
    assert.match(decision.denial?.message ?? '', why);
  };
  const inTheWay = { mayBypass: false };

  test('is denied in the modes that make rollouts wait, and says what is too large and what to do', () => {
    for (const mode of ['pause', 'reject'] as const)
      assertDenied(
        decideUpdate(web.object, large.object, { ...inTheWay, mode }),
        large.object,
        /^pullgate: the update of shop\/web is denied: tolerations has 101 entries, more than 100, so Pullgate cannot hold the rollout, and a-developer may not bypass\. Make the Deployment smaller, or ask a user who has the verb bypass on imagepreloads\.pullgate\.io to send this update$/,
      );
    assertDenied(
      decideUpdate(web.object, note.object, inTheWay),
      note.object,
      /its annotations would have \d+ bytes/,
    );
  });

  test('goes ahead in mode audit, where nothing waits', () => {
    assertPassed(decideUpdate(web.object, large.object, { ...inTheWay, mode: 'audit' }), /tolerations/);
  });

  test('does not end a hold', () => {
    const held = decideUpdate(web.object, web.image(V2).object).object;
    const annotations = { ...annotationsOf(held), note: 'x'.repeat(250 * 1024) };
    const larger = { ...held, metadata: { ...Object(held['metadata']), annotations } };
    const spec = { ...Object(held['spec']), template: at(large.object, 'spec', 'template') };
    const another = { ...held, spec };
    for (const mode of ['pause', 'reject', 'audit'] as const) {
      assertDenied(decideUpdate(held, larger, { ...inTheWay, mode }), larger, /its annotations would have/);
      assertDenied(decideUpdate(held, another, { ...inTheWay, mode }), another, /tolerations/);
    }
  });

  test('still ends a hold if it needs no new image', () => {
    const held = decideUpdate(web.object, web.image(V2).object).object;
    const annotations = { ...annotationsOf(held), note: 'x'.repeat(250 * 1024) };
    const spec = { ...Object(held['spec']), template: at(web.object, 'spec', 'template') };
    const back = { ...held, spec, metadata: { ...Object(held['metadata']), annotations } };
    assert.equal(decideUpdate(held, back, inTheWay).kind, 'Reverted');
  });
});

describe('annotations that are nearly full', () => {
  const filled = (builder: DeploymentBuilder, bytes: number) =>
    builder.annotate('note', 'x'.repeat(bytes - bytesOf(builder.annotate('note', '').object)));

  test('never make the gate write more than the API server takes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: ANNOTATIONS_BYTES - 12_000, max: ANNOTATIONS_BYTES }),
        fc.constantFrom('pause' as const, 'audit' as const),
        fc.constantFrom(V2, 'registry.test/app:1'),
        (bytes, mode, image) => {
          const object = filled(web.image(image).restartedAt('today'), bytes).object;
          assert.equal(bytesOf(object), bytes);
          const decision = decideUpdate(web.object, object, { mode });
          assert.ok(bytesOf(decision.object) <= ANNOTATIONS_BYTES);
          if (decision.kind !== 'Held') return;
          assert.ok(bytesOf(decision.object) <= ANNOTATIONS_BYTES - 8192, 'no room for a bypass');
        },
      ),
      { numRuns: 200 },
    );
  });

  test('let the update go ahead with a warning', () => {
    const decision = decideUpdate(web.object, filled(web.image(V2), ANNOTATIONS_BYTES - 4096).object);
    assertPassed(
      decision,
      /^with a hold its annotations would have \d+ bytes; the API server accepts 262144$/,
    );
    assert.equal(recordOf(decision)?.decision, 'LimitExceeded');
  });

  test('leave the record out where it does not fit', () => {
    const full = filled(web.image(V2), ANNOTATIONS_BYTES);
    const decision = decideUpdate(web.object, full.object);
    assertPassed(decision, /annotations/);
    assert.deepEqual(annotationsOf(decision.object), annotationsOf(full.object));
  });

  test('keep the record that is stored, if that one fits', () => {
    const record =
      annotationsOf(decideUpdate(web.object, web.restartedAt('today').object).object)[
        'pullgate.io/decided'
      ] ?? '';
    const recorded = web.annotate('pullgate.io/decided', record);
    const decision = decideUpdate(recorded.object, filled(recorded.image(V2), ANNOTATIONS_BYTES).object);
    assertPassed(decision, /annotations/);
    assert.equal(annotationsOf(decision.object)['pullgate.io/decided'], record);
  });

  test('that grow during a hold end it, as the API server would refuse them with the hold', () => {
    const held = decideUpdate(web.object, web.image(V2).object).object;
    const metadata = { ...Object(held['metadata']) };
    const annotations = { ...metadata.annotations, note: 'x'.repeat(ANNOTATIONS_BYTES - 5000) };
    const decision = decideUpdate(held, { ...held, metadata: { ...metadata, annotations } });
    assertPassed(decision, /^with a hold its annotations would have/);
    assert.ok(bytesOf(decision.object) <= ANNOTATIONS_BYTES);
  });
});

describe('the leader', () => {
  const warnings = (world: World) =>
    new Set(
      world.events.filter(({ type }) => type === 'Warning').map(({ reason, note }) => `${reason}: ${note}`),
    );
  const large = web.podSpec(tolerations).image(V2);
  const why =
    'continues without a preload: tolerations has 101 entries, more than 100; each node pulls when a pod starts there';

  test('releases a hold that admission would not make, with a Warning', async () => {
    const world = gateWorld();
    world.start();
    world.hold(heldObject(large));
    await world.pass(1000);
    assert.equal(world.web().paused, false);
    assert.deepEqual([world.preloads(), world.ended.holds.length], [[], 1]);
    assert.match(world.ended.holds[0] ?? '', /^LimitExceeded /);
    assert.ok(warnings(world).has(`LimitExceeded: ${why}`), [...warnings(world)].join('\n'));
  });

  test('leaves such a Deployment paused if its owner asked for that', async () => {
    const world = gateWorld();
    world.start();
    world.hold(heldObject(large, { userPaused: true }));
    await world.pass(1000);
    assert.deepEqual([world.web().paused, world.web().annotations['pullgate.io/hold']], [true, undefined]);
  });

  test('drops a hold that is too long to be kept, with a Warning', async () => {
    const world = gateWorld();
    world.start();
    const images = Object.fromEntries(
      list(500, (n) => [`container-${n}`, `registry.test/${'x'.repeat(60)}:${n}`]),
    );
    const hold = writeHold({ ...holdOf(), from: { template: 'before', images } });
    assert.equal(parseHold(hold), undefined);
    world.hold(
      web
        .image(V2)
        .annotate('pullgate.io/hold', hold)
        .label('pullgate.io/held', 'true')
        .spec({ paused: true }).object,
    );
    await world.pass(1000);
    const { paused, annotations } = world.web();
    assert.deepEqual([paused, annotations['pullgate.io/hold']], [false, undefined]);
    const [warning = ''] = warnings(world);
    assert.match(
      warning,
      /^LimitExceeded: a hold was removed, together with its pause: its annotation .* has \d+ characters/,
    );
  });

  test('tells of a rollout that began while the gate was away and is too much to preload for', async () => {
    const world = gateWorld();
    world.start();
    const progressing = { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' };
    const status = { observedGeneration: 3, replicas: 2, updatedReplicas: 0, conditions: [progressing] };
    world.hold({ ...large.object, status });
    await world.pass(5000);
    assert.deepEqual([world.preloads(), world.api.called('create', PODS)], [[], []]);
    assert.deepEqual([...warnings(world)], [`LimitExceeded: ${why}`]);
  });

  test('tells what admission let through, and by whom it was asked for', async () => {
    const world = gateWorld({ startMs: NOW });
    world.start();
    world.hold(decideUpdate(web.object, large.object).object);
    await world.pass(1000);
    assert.deepEqual([...warnings(world)], [`LimitExceeded: ${why}; requested by a-developer`]);
  });
});
