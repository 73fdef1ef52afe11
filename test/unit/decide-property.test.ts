import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import jsonPatch from 'fast-json-patch';
import { admissionResponse } from '../../src/admission/admission-review.ts';
import { type DecideInput, decide } from '../../src/admission/decide.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { type Hold, parseHold, writeHold } from '../../src/hold/hold.ts';
import { runningTemplate } from '../../src/hold/needs-pull.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { templateHash } from '../../src/template/template-hash.ts';
import { UID } from './deployment-builder.ts';

const GATE = 'gate';
const NOW = Date.UTC(2026, 0, 1);
const HOLD = 'pullgate.io/hold';
const DECIDED = 'pullgate.io/decided';
const BYPASS = 'pullgate.io/bypass';
const HELD = 'pullgate.io/held';

/** Each image of the pool with its full name: an oracle that shares nothing with the code under test. */
const FULL_NAME: Readonly<Record<string, string>> = {
  busybox: 'docker.io/library/busybox:latest',
  'busybox:latest': 'docker.io/library/busybox:latest',
  'docker.io/library/busybox': 'docker.io/library/busybox:latest',
  'registry.test/app:1': 'registry.test/app:1',
  'registry.test/app:2': 'registry.test/app:2',
  'registry.test/app:3': 'registry.test/app:3',
  'Not An Image': 'Not An Image',
};
const IMPLIED_LATEST = new Set(['busybox', 'busybox:latest', 'docker.io/library/busybox']);

interface Place {
  readonly image: string;
  readonly policy: string;
}

function places(template: unknown): Place[] {
  const spec = at(template, 'spec');
  const entries = ['containers', 'initContainers']
    .flatMap((list) => asArray(at(spec, list)))
    .map((container) => [at(container, 'image'), at(container, 'imagePullPolicy')]);
  for (const volume of asArray(at(spec, 'volumes')))
    entries.push([at(volume, 'image', 'reference'), at(volume, 'image', 'pullPolicy')]);
  return entries
    .map(([image, policy]) => ({
      image: asString(image) ?? '',
      policy: asString(policy) ?? (IMPLIED_LATEST.has(asString(image) ?? '') ? 'Always' : 'IfNotPresent'),
    }))
    .filter(({ image }) => image !== '');
}

function needsPull(running: unknown, template: unknown): boolean {
  const had = new Set(places(running).map(({ image }) => FULL_NAME[image]));
  const changed = templateHash(running) !== templateHash(template);
  return places(template).some(
    ({ image, policy }) =>
      policy !== 'Never' && (!had.has(FULL_NAME[image]) || (changed && policy === 'Always')),
  );
}

const image = fc.constantFrom(...Object.keys(FULL_NAME));
const policy = fc.option(fc.constantFrom('Always', 'IfNotPresent', 'Never'), { nil: undefined, freq: 2 });
const container = (names: readonly string[]) =>
  fc
    .record({ name: fc.constantFrom(...names), image, imagePullPolicy: policy })
    .map(({ imagePullPolicy, ...rest }) => ({
      ...rest,
      ...(imagePullPolicy !== undefined && { imagePullPolicy }),
    }));
const template: fc.Arbitrary<JsonObject> = fc
  .record({
    env: fc.constantFrom('a', 'b'),
    containers: fc.uniqueArray(container(['app', 'proxy']), {
      minLength: 1,
      maxLength: 2,
      selector: ({ name }) => name,
    }),
    initContainers: fc.array(container(['migrate']), { maxLength: 1 }),
    volumes: fc.array(
      image.map((reference) => ({ name: 'models', image: { reference } })),
      { maxLength: 1 },
    ),
  })
  .map(({ env, ...spec }) => ({ metadata: { annotations: { env } }, spec }));

const time = (before: number) => new Date(NOW - before).toISOString();
const age = fc.integer({ min: 1, max: 1_000_000 });
const hold: fc.Arbitrary<string> = fc
  .record({
    uid: fc.constantFrom(UID, UID, 'another'),
    preload: fc.constantFrom('web-0123456789ab', 'odd name'),
    template,
    running: template,
    age: fc.oneof(age, fc.constant(-1000)),
    userPaused: fc.boolean(),
  })
  .map(({ uid, preload, template, running, age, userPaused }) =>
    writeHold({
      v: 1,
      uid,
      preload,
      template: templateHash(template),
      from: runningTemplate(running),
      since: time(age),
      userPaused,
    }),
  );
const decided = fc.record({ template, age }).map(({ template, age }) =>
  JSON.stringify({
    template: templateHash(template),
    decision: 'Held',
    by: 'a-developer',
    at: time(age),
    reason: 'registry.test/app:2',
  }),
);
const annotations = fc.record(
  {
    [HOLD]: fc.oneof({ weight: 4, arbitrary: hold }, fc.constantFrom('', 'junk', '{}', '{"v":1}')),
    [DECIDED]: fc.oneof(decided, fc.constant('junk')),
    [BYPASS]: fc.constantFrom('', 'urgent', 'again'),
    'pullgate.io/keep-paused': fc.constantFrom('true', 'false'),
    'deployment.kubernetes.io/revision': fc.constantFrom('1', '2'),
    'example.com/note': fc.string(),
  },
  { requiredKeys: [] },
);
const labels = fc.record(
  {
    [HELD]: fc.constantFrom('true', 'odd'),
    'pullgate.io/mode': fc.constantFrom('off', 'pause'),
    app: fc.string(),
  },
  { requiredKeys: [] },
);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 3 });
const deployment: fc.Arbitrary<JsonObject> = fc
  .record({
    annotations: maybe(annotations),
    labels: maybe(labels),
    paused: maybe(fc.boolean()),
    replicas: maybe(fc.constantFrom(0, 1, 3)),
    deletionTimestamp: fc.option(fc.constant('2026-01-01T00:00:00Z'), { nil: undefined, freq: 20 }),
    template,
  })
  .map(({ annotations, labels, deletionTimestamp, ...spec }) =>
    plainJson({
      metadata: { namespace: 'shop', name: 'web', uid: UID, annotations, labels, deletionTimestamp },
      spec,
      status: { replicas: 1 },
    }),
  );

/** As it comes over the wire: nothing undefined, nothing shared. */
function plainJson(value: unknown): JsonObject {
  return asObject(JSON.parse(JSON.stringify(value)));
}

/** Pairs that are near to each other: most updates change little. */
const update: fc.Arbitrary<DecideInput> = fc
  .record({
    oldObject: deployment,
    other: deployment,
    keep: fc.subarray(['template', 'annotations', 'labels', 'paused']),
    username: fc.oneof({ weight: 9, arbitrary: fc.constant('a-developer') }, fc.constant(GATE)),
    mayBypass: fc.boolean(),
  })
  .map(({ oldObject, other, keep, username, mayBypass }) => {
    const metadata = { ...asObject(other['metadata']) };
    const spec = { ...asObject(other['spec']) };
    for (const part of keep) {
      const [from, to] =
        part === 'annotations' || part === 'labels' ? ['metadata', metadata] : ['spec', spec];
      to[part] = at(oldObject, from, part);
    }
    return {
      oldObject,
      object: plainJson({ ...other, metadata, spec }),
      username,
      gateUsername: GATE,
      exemptNamespaces: ['kube-system'],
      mayBypass,
      now: NOW,
    };
  });

const RUNS = { numRuns: 500 };

function marks(object: unknown) {
  const { annotations, labels, paused } = parseDeployment(object);
  return {
    annotation: annotations[HOLD],
    hold: parseHold(annotations[HOLD]),
    label: labels[HELD],
    paused,
    keepPaused: annotations['pullgate.io/keep-paused'] === 'true',
  };
}

/** The hold that the old object really has. */
function believed(oldObject: unknown): Hold | undefined {
  const { hold } = marks(oldObject);
  return hold?.uid === UID ? hold : undefined;
}

/** All but what Pullgate may write. An empty map and none are the same to the API server. */
function rest(object: JsonObject): unknown {
  const { metadata, spec, ...others } = object;
  const { annotations, labels, ...otherMetadata } = asObject(metadata);
  const { [HOLD]: _h, [DECIDED]: _d, ...otherAnnotations } = asObject(annotations);
  const { [HELD]: _l, ...otherLabels } = asObject(labels);
  const { paused: _p, ...otherSpec } = asObject(spec);
  return { ...others, metadata: { ...otherMetadata, otherAnnotations, otherLabels }, spec: otherSpec };
}

test('it touches nothing but spec.paused and its own annotations and label', () => {
  fc.assert(
    fc.property(update, (input) => {
      const copy = structuredClone(input);
      const decision = decide(input);
      assert.deepEqual(rest(decision.object), rest(input.object));
      assert.deepEqual(input, copy, 'the input itself was changed');
    }),
    RUNS,
  );
});

test('deciding again on its own result changes nothing, also later', () => {
  fc.assert(
    fc.property(update, fc.integer({ min: 0, max: 100_000 }), (input, later) => {
      const first = decide(input);
      const again = decide({ ...input, object: plainJson(first.object), now: NOW + later });
      assert.deepEqual(again.object, first.object);
      assert.equal(again.kind, first.kind);
    }),
    RUNS,
  );
});

test('it never holds what needs no pull, and holds what needs one', () => {
  fc.assert(
    fc.property(update, template, fc.boolean(), (input, running, wasHeld) => {
      const old = parseDeployment(input.oldObject);
      // Without its pause it was resumed: that rollout has begun, and what it brought is what runs.
      const from = wasHeld && old.paused ? running : old.template;
      const oldObject = wasHeld ? withHold(input.oldObject, running) : withoutHold(input.oldObject);
      const next = parseDeployment(input.object);
      const changed = templateHash(old.template) !== templateHash(next.template);
      const decision = decide({ ...input, oldObject });
      const needed = needsPull(from, next.template);
      if (decision.hold !== undefined) assert.ok(needed, 'held without need');
      else if (
        needed &&
        changed &&
        next.replicas !== 0 &&
        !['off'].includes(next.labels['pullgate.io/mode'] ?? '')
      )
        assert.ok(['Bypassed', 'Ignored'].includes(decision.kind), decision.kind);
    }),
    RUNS,
  );
});

function withHold(object: JsonObject, running: unknown): JsonObject {
  const { template } = parseDeployment(object);
  const value = writeHold({
    v: 1,
    uid: UID,
    preload: 'web-0123456789ab',
    template: templateHash(template),
    from: runningTemplate(running),
    since: time(1000),
    userPaused: false,
  });
  return annotated(object, { [HOLD]: value });
}

function withoutHold(object: JsonObject): JsonObject {
  return annotated(object, { [HOLD]: undefined });
}

function annotated(object: JsonObject, values: JsonObject): JsonObject {
  const metadata = asObject(object['metadata']);
  return plainJson({
    ...object,
    metadata: { ...metadata, annotations: { ...asObject(metadata['annotations']), ...values } },
  });
}

test('what is held is paused and says so; what is not held has no mark left, and is paused only by wish', () => {
  fc.assert(
    fc.property(update, (input) => {
      const decision = decide(input);
      if (decision.kind === 'Ignored' || decision.kind === 'Refused') {
        assert.equal(decision.object, input.object);
        return;
      }
      const before = marks(input.object);
      const after = marks(decision.object);
      assert.deepEqual(after.hold, decision.hold);
      if (decision.hold !== undefined) {
        assert.deepEqual([after.paused, after.label, after.hold?.uid], [true, 'true', UID]);
        assert.equal(after.hold?.template, templateHash(parseDeployment(input.object).template));
        return;
      }
      assert.deepEqual([after.annotation, after.label], [undefined, undefined]);
      const ended = believed(input.oldObject);
      if (ended !== undefined && after.paused)
        assert.ok((before.paused && ended.userPaused) || before.keepPaused, 'paused by nobody');
      if (ended === undefined && after.paused) assert.ok(before.paused, 'paused by nobody');
    }),
    RUNS,
  );
});

test('the JSON patch of the answer, applied to the object that came, gives the object decided on', () => {
  fc.assert(
    fc.property(update, (input) => {
      const { object, kind } = decide(input);
      const request = {
        uid: 'u',
        dryRun: false,
        namespace: 'shop',
        name: 'web',
        user: { username: input.username, groups: [], extra: {} },
        object: input.object,
        oldObject: input.oldObject,
      };
      const response = at(
        admissionResponse(request, { object, warnings: [], auditAnnotations: {} }),
        'response',
      );
      const encoded = asString(at(response, 'patch'));
      assert.equal(at(response, 'patchType'), encoded === undefined ? undefined : 'JSONPatch');
      if (kind === 'Ignored' || kind === 'Refused') assert.equal(encoded, undefined);
      const patch = JSON.parse(
        Buffer.from(encoded ?? '', 'base64').toString() || '[]',
      ) as jsonPatch.Operation[];
      const patched = jsonPatch.applyPatch(structuredClone(input.object), patch, true).newDocument;
      assert.deepEqual(patched, object);
    }),
    RUNS,
  );
});

test('the two commands of a warning do what they say: let through, and go back', () => {
  fc.assert(
    fc.property(update, (input) => {
      const decision = decide({ ...input, mayBypass: false });
      const held = plainJson(decision.object);
      const next = (object: JsonObject) =>
        decide({
          ...input,
          oldObject: held,
          object,
          username: 'another-developer',
          mayBypass: true,
          now: NOW + 1000,
        });
      for (const line of warningsFor(decision, { namespace: 'shop', name: 'web' }, NOW)) {
        const bypass = / annotate deployment web pullgate\.io\/bypass='([^']+)' --overwrite$/.exec(line)?.[1];
        if (bypass !== undefined) assert.equal(next(annotated(held, { [BYPASS]: bypass })).kind, 'Bypassed');
        const pairs = / set image deployment\/web (.+)$/.exec(line)?.[1];
        if (pairs !== undefined) assert.equal(next(setImages(held, pairs)).kind, 'Reverted');
      }
    }),
    RUNS,
  );
});

/** `kubectl set image`. */
function setImages(object: JsonObject, pairs: string): JsonObject {
  const result = structuredClone(object) as { spec: { template: { spec: Record<string, unknown> } } };
  for (const pair of pairs.split(' ')) {
    const name = pair.slice(0, pair.indexOf('='));
    const { spec } = result.spec.template;
    const containers = ['containers', 'initContainers'].flatMap((list) => asArray(spec[list]));
    const there = containers.filter((entry) => at(entry, 'name') === name) as { image?: string }[];
    assert.ok(there.length > 0, `no container ${name}`);
    for (const entry of there) entry.image = pair.slice(name.length + 1);
  }
  return result as unknown as JsonObject;
}

/** One thing that happens to a Deployment; what it does to the stored object, and to what the user wants. */
type Step =
  | { readonly kind: 'set template'; readonly template: JsonObject }
  | { readonly kind: 'apply a whole manifest'; readonly template: JsonObject; readonly paused: boolean }
  | { readonly kind: 'resume' | 'pause' | 'bypass' | 'scale' | 'release' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: template.map((template) => ({ kind: 'set template' as const, template })) },
  fc.record({ kind: fc.constant('apply a whole manifest' as const), template, paused: fc.boolean() }),
  ...(['resume', 'pause', 'bypass', 'scale', 'release'] as const).map((kind) => fc.constant({ kind })),
);

function updated(stored: JsonObject, step: Step, count: number): JsonObject {
  const spec = asObject(stored['spec']);
  switch (step.kind) {
    case 'set template':
      return { ...stored, spec: { ...spec, template: step.template } };
    case 'apply a whole manifest':
      return {
        metadata: { namespace: 'shop', name: 'web', uid: UID },
        spec: { template: step.template, ...(step.paused && { paused: true }) },
      };
    case 'resume':
      return { ...stored, spec: { ...spec, paused: false } };
    case 'pause':
      return { ...stored, spec: { ...spec, paused: true } };
    case 'bypass':
      return annotated(stored, { [BYPASS]: `reason ${count}` });
    default:
      return { ...stored, spec: { ...spec, replicas: count + 1 } };
  }
}

/** What the API server stores. Another webhook may change the template, and admission is called again then. */
function admitted(oldObject: JsonObject, object: JsonObject, meddled: JsonObject | undefined, now: number) {
  const input = {
    oldObject,
    username: 'a-developer',
    gateUsername: GATE,
    exemptNamespaces: [],
    mayBypass: true,
  };
  const first = plainJson(decide({ ...input, object, now }).object);
  if (meddled === undefined) return first;
  const changed = updated(first, { kind: 'set template', template: meddled }, 0);
  return plainJson(decide({ ...input, object: changed, now: now + 3 }).object);
}

function released(stored: JsonObject): JsonObject {
  const { hold } = marks(stored);
  if (hold === undefined) return stored;
  const spec = asObject(stored['spec']);
  return annotated({ ...stored, spec: { ...spec, paused: hold.userPaused } }, { [HOLD]: undefined });
}

test('over any sequence of updates: `from` stays during a hold, and the last wish of the user is what counts', () => {
  fc.assert(
    fc.property(template, fc.array(fc.tuple(step, maybe(template)), { maxLength: 12 }), (first, steps) => {
      let stored = plainJson({
        metadata: { namespace: 'shop', name: 'web', uid: UID },
        spec: { template: first },
      });
      let wanted = false;
      let from: unknown;
      for (const [count, [step, meddled]] of steps.entries()) {
        const before = stored;
        if (step.kind === 'release') {
          stored = released(before);
        } else {
          const object = updated(before, step, count);
          // A pause during a hold cannot be told from ours: it is no wish.
          wanted = marks(object).paused && (wanted || marks(before).hold === undefined);
          stored = admitted(before, object, meddled, NOW + count * 1000);
        }
        const { hold, paused } = marks(stored);
        from = hold === undefined ? undefined : (from ?? runningTemplate(parseDeployment(before).template));
        assert.deepEqual(hold?.from, from, step.kind);
        assert.equal(hold?.userPaused ?? paused, wanted, step.kind);
        assert.equal(paused, wanted || hold !== undefined, step.kind);
      }
    }),
    { numRuns: 1500 },
  );
});
