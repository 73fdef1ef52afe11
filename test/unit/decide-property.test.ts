import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import jsonPatch from 'fast-json-patch';
import { admissionResponse } from '../../src/admission/admission-review.ts';
import { decide } from '../../src/admission/decide.ts';
import type { DecideInput } from '../../src/admission/decision.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { type Hold, parseHold, writeHold } from '../../src/api/hold.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { MODES, type Mode } from '../../src/api/names.ts';
import type { PreloadProgress } from '../../src/api/preload-progress.ts';
import type { RunningLookup } from '../../src/api/running-lookup.ts';
import { templateDigest, templateHash } from '../../src/api/template/template-hash.ts';
import { readManifests } from '../../src/install/manifests.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { UID } from '../support/unit/deployment-builder.ts';

const GATE = 'gate';
const NOW = Date.UTC(2026, 0, 1);
const HOLD = 'pullgate.io/hold';
const DECIDED = 'pullgate.io/decided';
const APPROVED = 'pullgate.io/approved';
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
    approved: fc.boolean(),
  })
  .map(({ uid, preload, template, running, age, userPaused, approved }) =>
    writeHold({
      v: 1,
      uid,
      preload,
      template: templateHash(template),
      from: runningTemplate(running),
      since: time(age),
      userPaused,
      ...(approved && {
        approved: { template: templateDigest(template), by: 'another-developer', at: time(age) },
      }),
    }),
  );
/** Of this Deployment, of another one or of version 0.1; of long ago, of this very moment, or from a clock that is ahead. */
const decided = fc
  .record({
    uid: fc.constantFrom(UID, UID, 'another', undefined),
    template,
    age: fc.oneof(fc.integer({ min: 240_000, max: 1_000_000 }), fc.integer({ min: -10_000, max: 10_000 })),
  })
  .map(({ uid, template, age }) =>
    JSON.stringify({
      ...(uid !== undefined && { v: 1, uid }),
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
    'pullgate.io/min-nodes': fc.constantFrom('1', '50%'),
    'pullgate.io/approved': fc.constantFrom('', 'of another template'),
    'pullgate.io/not-before': fc.constantFrom('2027-01-31T22:00:00Z', 'tonight'),
    'deployment.kubernetes.io/revision': fc.constantFrom('1', '2'),
    'example.com/note': fc.string(),
  },
  { requiredKeys: [] },
);
const labels = fc.record(
  {
    [HELD]: fc.constantFrom('true', 'odd'),
    'pullgate.io/mode': fc.constantFrom('off', 'pause'),
    'pullgate.io/approval': fc.constantFrom('required', 'please'),
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
    approves: fc.boolean(),
    template,
  })
  .map(({ annotations: others, labels, deletionTimestamp, approves, ...spec }) => {
    const approval = { 'pullgate.io/approved': templateDigest(spec.template) };
    const annotations = approves ? { ...others, ...approval } : others;
    return plainJson({
      metadata: { namespace: 'shop', name: 'web', uid: UID, annotations, labels, deletionTimestamp },
      spec,
      status: { replicas: 1 },
    });
  });

const mode = fc.constantFrom(...MODES);
const progress: fc.Arbitrary<PreloadProgress> = fc.record(
  {
    outcome: fc.constantFrom<PreloadProgress['outcome'][]>(
      { kind: 'wait' },
      { kind: 'stale' },
      { kind: 'crowded' },
      { kind: 'fail', message: 'not found' },
      { kind: 'release', message: 'every node has it' },
    ),
    readyNodes: fc.nat(3),
    desiredNodes: fc.nat(3),
    elapsedSeconds: fc.nat(1000),
    remainingSeconds: maybe(fc.nat(1000)),
  },
  { noNullPrototype: true },
);

/** As it comes over the wire: nothing undefined, nothing shared. */
function plainJson(value: unknown): JsonObject {
  return asObject(JSON.parse(JSON.stringify(value)));
}

/** Pairs that are near to each other: most updates change little. */
const update: fc.Arbitrary<DecideInput> = fc
  .record({
    mode,
    progress: maybe(progress),
    dryRun: fc.boolean(),
    oldObject: deployment,
    other: deployment,
    keep: fc.subarray(['template', 'annotations', 'labels', 'paused']),
    username: fc.oneof({ weight: 9, arbitrary: fc.constant('a-developer') }, fc.constant(GATE)),
    mayBypass: fc.boolean(),
    mayApprove: fc.boolean(),
    approves: fc.boolean(),
  })
  .map(({ oldObject, other, keep, progress, approves, ...rest }) => {
    const metadata = { ...asObject(other['metadata']) };
    const spec = { ...asObject(other['spec']) };
    for (const part of keep) {
      const [from, to] =
        part === 'annotations' || part === 'labels' ? ['metadata', metadata] : ['spec', spec];
      to[part] = at(oldObject, from, part);
    }
    if (approves) {
      const approval = { [APPROVED]: templateDigest(spec['template']) };
      metadata['annotations'] = { ...asObject(metadata['annotations']), ...approval };
    }
    return {
      ...rest,
      ...(progress !== undefined && { progress }),
      oldObject,
      object: plainJson({ ...other, metadata, spec }),
      gateUsername: GATE,
      exemptNamespaces: ['kube-system'],
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

const isOff = (object: unknown) => parseDeployment(object).labels['pullgate.io/mode'] === 'off';

/** The hold that the old object really has. */
function believed(oldObject: unknown): Hold | undefined {
  const { hold, paused } = marks(oldObject);
  return hold?.uid === UID && paused && !isOff(oldObject) ? hold : undefined;
}

/** All but what Pullgate may write. An empty map and none are the same to the API server. */
function rest(object: JsonObject): unknown {
  const { metadata, spec, ...others } = object;
  const { annotations, labels, ...otherMetadata } = asObject(metadata);
  const otherAnnotations = Object.entries(asObject(annotations)).filter(([name]) => !isOwn(name));
  const { [HELD]: _l, ...otherLabels } = asObject(labels);
  const { paused: _p, ...otherSpec } = asObject(spec);
  return { ...others, metadata: { ...otherMetadata, otherAnnotations, otherLabels }, spec: otherSpec };
}

const isOwn = (name: string) => name.startsWith('pullgate.io/');

/** The marks that a user sets, which admission may put back but never writes. */
function wishes(object: unknown): Readonly<Record<string, string>> {
  const { [HOLD]: _h, [DECIDED]: _d, [APPROVED]: _a, ...annotations } = parseDeployment(object).annotations;
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => isOwn(name)));
}

/** What only a hold can wait for. */
function waits(object: unknown): boolean {
  const { annotations, labels } = parseDeployment(object);
  return labels['pullgate.io/approval'] === 'required' || annotations['pullgate.io/not-before'] !== undefined;
}

test('an approval is recorded for the held template alone, in the update that sets it, and of a user who may', () => {
  let approvals = 0;
  const asked = fc.constantFrom('own', 'other', 'none');
  fc.assert(
    fc.property(template, template, fc.boolean(), asked, fc.boolean(), fc.boolean(), (...given) => {
      const [stored, updated, isSame, asks, isApproved, mayApprove] = given;
      const next = isSame ? stored : updated;
      const [digest, before] = [templateDigest(next), templateDigest(stored)];
      const approved = isApproved ? { approved: { template: before, by: 'a-lead', at: time(1000) } } : {};
      const annotation = isApproved ? { [APPROVED]: before } : {};
      const value = { own: { [APPROVED]: digest }, other: { [APPROVED]: 'of another' }, none: annotation }[
        asks
      ];
      const hold = writeHold({ ...holdOn(stored), ...approved });
      const decision = decide({
        ...{ mode: 'pause', username: 'a-developer', gateUsername: GATE, exemptNamespaces: [] },
        ...{ mayBypass: false, mayApprove, dryRun: false, now: NOW },
        oldObject: objectOf(stored, { [HOLD]: hold, ...annotation }),
        object: objectOf(next, { [HOLD]: hold, ...value }),
      });
      const kept = parseDeployment(decision.object).annotations[APPROVED];
      const isNew = asks === 'own' && mayApprove;
      const by = isApproved && before === digest ? 'a-lead' : isNew ? 'a-developer' : undefined;
      const isHeld = decision.hold !== undefined;
      assert.equal(decision.hold?.approved?.by, isHeld ? by : undefined);
      assert.equal(kept, isHeld && by !== undefined ? digest : undefined, 'else nobody could approve it');
      approvals += Number(isHeld && by === 'a-developer');
    }),
    RUNS,
  );
  assert.ok(approvals > 20, `${approvals}`);
});

/** A hold of this Deployment on the template, while another one runs. */
function holdOn(template: JsonObject): Hold {
  return {
    ...{ v: 1, uid: UID, preload: 'web-0123456789ab', template: templateHash(template) },
    from: { template: 'another', images: {} },
    since: time(5000),
    userPaused: false,
  };
}

function objectOf(template: JsonObject, annotations: JsonObject): JsonObject {
  const metadata = { namespace: 'shop', name: 'web', uid: UID, labels: { [HELD]: 'true' }, annotations };
  return plainJson({ metadata, spec: { paused: true, replicas: 2, template } });
}

test('it touches nothing but spec.paused and its own annotations and label', () => {
  fc.assert(
    fc.property(update, (input) => {
      const copy = structuredClone(input);
      const decision = decide(input);
      assert.deepEqual(rest(decision.object), rest(input.object));
      const wished = decision.ignored.length > 0 ? input.oldObject : input.object;
      assert.deepEqual(
        wishes(decision.object),
        wishes(decision.denial === undefined ? wished : input.object),
      );
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
      // Without its pause it was resumed: that rollout has begun, and what it brought is what runs. While the Deployment is
      // opted out anybody may have written the hold.
      const isHeld = wasHeld && old.paused && !isOff(input.oldObject);
      const from = isHeld ? running : old.template;
      const oldObject = wasHeld ? withHold(input.oldObject, running) : withoutHold(input.oldObject);
      const next = parseDeployment(input.object);
      const changed = templateHash(old.template) !== templateHash(next.template);
      const decision = decide({ ...input, oldObject, mode: 'pause' });
      const needed = needsPull(from, next.template);
      if (decision.hold !== undefined) assert.ok(needed, 'held without need');
      else if (
        needed &&
        changed &&
        next.replicas !== 0 &&
        (old.replicas !== 0 || isHeld) &&
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

test('modes reject and audit begin no hold and pause nothing; one that is there is carried on as in mode pause', () => {
  fc.assert(
    fc.property(update, fc.constantFrom('reject' as const, 'audit' as const), (input, mode) => {
      const decision = decide({ ...input, mode });
      if (believed(input.oldObject) !== undefined) {
        assert.deepEqual(decision, decide({ ...input, mode: 'pause' }));
        return;
      }
      const inPause = decide({ ...input, mode: 'pause' });
      if (mode === 'reject' && waits(inPause.object)) {
        assert.deepEqual(decision, inPause);
        return;
      }
      assert.equal(decision.hold, undefined);
      assert.ok(!['Held', 'Superseded', 'Reheld'].includes(decision.kind), decision.kind);
      const { paused } = marks(decision.object);
      assert.ok(!paused || marks(input.object).paused, 'paused by nobody');
    }),
    RUNS,
  );
});

test('mode reject denies exactly what mode pause would hold and mode audit would tell of', () => {
  fc.assert(
    fc.property(update, (input) => {
      const of = (mode: Mode) => decide({ ...input, mode }).kind;
      const held = of('pause') === 'Held';
      if (held && waits(decide({ ...input, mode: 'pause' }).object)) {
        assert.equal(of('reject'), 'Held');
        return;
      }
      const isReady = input.progress?.outcome.kind === 'release';
      assert.equal(of('reject'), held ? (isReady ? 'Preloaded' : 'Rejected') : of('pause'));
      assert.equal(of('audit'), held ? 'Audited' : of('pause'));
    }),
    RUNS,
  );
});

test('what is denied is denied as it came; nothing else is, and only mode reject asks to come again', () => {
  fc.assert(
    fc.property(update, (input) => {
      const { kind, denial, object, asks } = decide(input);
      assert.equal(denial !== undefined, kind === 'Refused' || kind === 'Rejected');
      assert.equal(asks !== undefined, kind === 'Rejected');
      if (denial === undefined) return;
      assert.equal(object, input.object);
      assert.equal(
        denial.retryAfterSeconds !== undefined,
        denial.code === 429 && !input.dryRun,
        JSON.stringify(denial),
      );
      if (denial.code === 429) assert.equal(input.mode, 'reject');
    }),
    RUNS,
  );
});

test('nobody can write down a decision of another user, or one that was not made', () => {
  fc.assert(
    fc.property(update, maybe(template), (given, running) => {
      const held = running !== undefined && withHold(given.oldObject, running);
      const input = held
        ? { ...given, oldObject: { ...held, spec: { ...asObject(held['spec']), paused: true } } }
        : given;
      const { kind, object, denial } = decide(input);
      if (kind === 'Ignored' || denial !== undefined) return;
      const recorded = parseDeployment(object).annotations[DECIDED];
      if (kind === 'Unchanged' || kind === 'Reheld') {
        assert.equal(recorded, parseDeployment(input.oldObject).annotations[DECIDED]);
        return;
      }
      const { template } = parseDeployment(input.object);
      assert.partialDeepStrictEqual(parseDecisionRecord(recorded), {
        template: templateHash(template),
        decision: kind,
        by: input.username,
      });
    }),
    RUNS,
  );
});

test('what the match condition keeps from the gate, the gate would leave as it is', async () => {
  const { webhookConfiguration } = await readManifests();
  const [condition] = asArray(at(asArray(webhookConfiguration['webhooks'])[0], 'matchConditions'));
  const isAskedFor = celAsFunction(asString(at(condition, 'expression')) ?? '');
  let kept = 0;
  fc.assert(
    fc.property(update, fc.boolean(), ({ oldObject: old, object: next, ...input }, marked) => {
      const oldObject = marked ? old : unmarked(old);
      const rolled = marked ? next : unmarked(next);
      const template = at(oldObject, 'spec', 'template');
      const object = { ...rolled, spec: { ...asObject(rolled['spec']), template } };
      if (isAskedFor(object, oldObject)) return;
      kept += 1;
      const decision = decide({ ...input, oldObject, object });
      assert.ok(decision.kind === 'Unchanged' || decision.kind === 'Ignored', decision.kind);
      assert.equal(decision.object, object);
    }),
    { numRuns: 1000 },
  );
  assert.ok(kept > 100, `only ${kept}`);
});

/** Without what every such update is asked for. */
function unmarked(object: JsonObject): JsonObject {
  const metadata = asObject(object['metadata']);
  const { [HELD]: _, ...labels } = asObject(metadata['labels']);
  return withoutHold({ ...object, metadata: { ...metadata, labels } });
}

/**
 * All that the expression uses of CEL reads the same in JavaScript, but for `has()` and the comparison of objects. What is
 * missing is an error in both.
 */
function celAsFunction(text: string): (object: JsonObject, oldObject: JsonObject) => boolean {
  const [templates, ...others] = text.split('||');
  assert.equal(templates?.trim(), 'object.spec.template != oldObject.spec.template');
  const code = others.join('||').replace(/has\(([\w.]+)\)/g, '($1 !== undefined)');
  const rest = new Function('object', 'oldObject', `"use strict"; return ${code};`);
  return (object, oldObject) =>
    !isDeepStrictEqual(at(object, 'spec', 'template'), at(oldObject, 'spec', 'template')) ||
    rest(object, oldObject) === true;
}

test('what is held is paused and says so; what is not held has no mark left, and is paused only by wish', () => {
  fc.assert(
    fc.property(update, (input) => {
      const decision = decide(input);
      if (decision.kind === 'Ignored' || decision.denial !== undefined) {
        assert.equal(decision.object, input.object);
        return;
      }
      const before = marks(input.object);
      const keepPaused = before.keepPaused || marks(input.oldObject).keepPaused;
      const after = marks(decision.object);
      assert.deepEqual(after.hold, decision.hold);
      if (decision.hold !== undefined) {
        assert.deepEqual([after.paused, after.label, after.hold?.uid], [true, 'true', UID]);
        assert.equal(after.hold?.template, templateHash(parseDeployment(input.object).template));
        return;
      }
      assert.deepEqual([after.annotation, after.label], [undefined, undefined]);
      // Without its pause it was resumed: who pauses it now wants it paused.
      const ended = believed(input.oldObject);
      if (ended !== undefined && after.paused)
        assert.ok((before.paused && ended.userPaused) || keepPaused, 'paused by nobody');
      if (ended === undefined && after.paused) assert.ok(before.paused, 'paused by nobody');
    }),
    RUNS,
  );
});

test('the JSON patch of the answer, applied to the object that came, gives the object decided on', () => {
  fc.assert(
    fc.property(update, (input) => {
      const { object, kind, denial } = decide(input);
      const request = {
        uid: 'u',
        dryRun: input.dryRun,
        namespace: 'shop',
        name: 'web',
        user: { username: input.username, groups: [], extra: {} },
        object: input.object,
        oldObject: input.oldObject,
      };
      const response = at(
        admissionResponse(request, { object, denial, warnings: [], auditAnnotations: {} }),
        'response',
      );
      const encoded = asString(at(response, 'patch'));
      assert.equal(at(response, 'patchType'), encoded === undefined ? undefined : 'JSONPatch');
      assert.equal(at(response, 'allowed'), denial === undefined);
      if (kind === 'Ignored' || denial !== undefined) assert.equal(encoded, undefined);
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
      const decision = decide({ ...input, mode: 'pause', mayBypass: false });
      const held = plainJson(decision.object);
      const next = (object: JsonObject, running?: RunningLookup) =>
        decide({
          ...input,
          running,
          mode: 'pause',
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
        if (pairs !== undefined) {
          const back = next(setImages(held, pairs));
          assert.equal(back.kind, 'Reverted');
          assert.equal(parseDeployment(back.object).templateHash, decision.hold?.from.template, 'whole');
        }
        const reason = / annotate deployment web pullgate\.io\/revert='([^']+)' --overwrite$/.exec(line)?.[1];
        const template = asObject(at(input.oldObject, 'spec', 'template'));
        if (reason === undefined || templateHash(template) !== decision.hold?.from.template) continue;
        const running = { kind: 'found', template } as const;
        const back = next(annotated(held, { 'pullgate.io/revert': reason }), running);
        assert.equal(back.kind, 'Reverted');
        assert.equal(marks(back.object).hold, undefined);
        assert.deepEqual(plainJson(at(back.object, 'spec', 'template')), plainJson(template));
        assert.deepEqual(
          next(plainJson(back.object)).object,
          plainJson(back.object),
          'when admission is called again',
        );
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
    mode: 'pause',
    dryRun: false,
    oldObject,
    username: 'a-developer',
    gateUsername: GATE,
    exemptNamespaces: [],
    mayBypass: true,
    mayApprove: true,
  } as const;
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
