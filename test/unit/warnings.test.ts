import assert from 'node:assert/strict';
import { test } from 'node:test';
import { auditAnnotationsFor, warningsFor } from '../../src/admission/warnings.ts';
import type { JsonObject } from '../../src/json.ts';
import { decideUpdate, NOW } from '../support/unit/decide-update.ts';
import { type DeploymentBuilder, deployment, NAME, NAMESPACE } from '../support/unit/deployment-builder.ts';

const ID = { namespace: NAMESPACE, name: NAME };
const web = deployment();
const v2 = web.image('registry.test/app:2');

function warnings(old: DeploymentBuilder, next: DeploymentBuilder): string[] {
  return warningsFor(decideUpdate(old.object, next.object), ID, NOW);
}

test('a hold says what is waited for, where to look, and the two commands', () => {
  const decision = decideUpdate(web.object, v2.object);
  const preload = decision.hold?.preload;
  assert.deepEqual(warningsFor(decision, ID, NOW), [
    `pullgate: the rollout of shop/web is held until its nodes have registry.test/app:2; watch: kubectl -n shop get ipl ${preload} -w`,
    "Release it now: kubectl -n shop annotate deployment web pullgate.io/bypass='urgent 2026-01-01T00:00:00.000Z' --overwrite",
    'Go back: kubectl -n shop set image deployment/web app=registry.test/app:1',
  ]);
});

test('the bypass in the command is another one each time, so that it can be pasted again after a refusal', () => {
  const decision = decideUpdate(web.object, v2.object);
  assert.notDeepEqual(warningsFor(decision, ID, NOW), warningsFor(decision, ID, NOW + 1));
});

test('going back names the containers whose image differs, init containers too, and no other', () => {
  const from = web
    .image('registry.test/proxy:1', 'proxy')
    .initContainer('migrate', 'registry.test/migrate:1');
  const next = from.image('registry.test/app:2').initContainer('migrate', 'registry.test/migrate:2');
  const back = warnings(from, next).at(-1);
  assert.equal(
    back,
    'Go back: kubectl -n shop set image deployment/web migrate=registry.test/migrate:1 app=registry.test/app:1',
  );
});

const REVERT =
  "Go back: kubectl -n shop annotate deployment web pullgate.io/revert='2026-01-01T00:00:00.000Z' --overwrite";

test('where `set image` would not restore the whole template, the command is a revert', () => {
  const volume = web.imageVolume('models', 'registry.test/models:1');
  const unable: [DeploymentBuilder, DeploymentBuilder][] = [
    [volume, volume.imageVolume('models', 'registry.test/models:2')],
    [web, web.image('registry.test/proxy:1', 'proxy')],
    [volume, volume.image('registry.test/app:2').imageVolume('models', 'registry.test/models:2')],
    [web, v2.podSpec({ hostname: 'v2' })],
    [web.policy('Always'), web.policy('Always').restartedAt('today')],
    [web.policy('Always'), v2.policy('Always').restartedAt('today')],
  ];
  for (const [old, next] of unable) assert.equal(warnings(old, next).at(-1), REVERT);
});

test('no text of a stranger gets into a command to paste', () => {
  for (const image of ["x'; rm -rf /; '", 'a$(reboot)', 'a b', 'a`b`', 'a\nb', '[::1]:5000/*'])
    assert.equal(warnings(web.image(image), v2).at(-1), REVERT);
});

const WHY = 'registry.test/app:2: not found (NotFound)';

/** The stored Deployment as the leader marks it when its image cannot be had. */
function failed(object: JsonObject): JsonObject {
  const progressing = { status: 'False', reason: 'ProgressDeadlineExceeded', message: `pullgate: ${WHY}` };
  return { ...object, status: { conditions: [{ type: 'Progressing', ...progressing }] } };
}

test('a user who ends gating is warned that the image is known to be unavailable', () => {
  const held = failed(decideUpdate(web.object, v2.object).object);
  const metadata = held['metadata'] as JsonObject;
  const off = { ...(metadata['labels'] as JsonObject), 'pullgate.io/mode': 'off' };
  const urgent = { ...(metadata['annotations'] as JsonObject), 'pullgate.io/bypass': 'urgent' };
  for (const change of [{ labels: off }, { annotations: urgent }]) {
    const decision = decideUpdate(held, { ...held, metadata: { ...metadata, ...change } });
    assert.equal(
      warningsFor(decision, { ...ID, oldObject: held }, NOW)[1],
      `pullgate: its image is known to be unavailable: ${WHY}`,
    );
  }
});

test('a bypass of a Deployment that its user paused says that it stays paused, and how to resume it', () => {
  const paused = web.spec({ paused: true });
  assert.deepEqual(warnings(paused, v2.spec({ paused: true }).annotate('pullgate.io/bypass', 'on fire')), [
    'pullgate: the rollout of shop/web starts before its nodes have the images, because of the bypass: on fire',
    'pullgate: it stays paused, as requested; start the rollout: kubectl -n shop rollout resume deployment/web',
  ]);
});

test('a held update that changes nothing about the hold is told how far it is, a resume is answered', () => {
  const held = decideUpdate(web.object, v2.object).object;
  const spec = held['spec'] as JsonObject;
  const scaled = decideUpdate(held, { ...held, spec: { ...spec, replicas: 9 } });
  const far = (update: object) => warningsFor(scaled, { ...ID, ...update }, NOW + 12_000);
  const see = `see: kubectl -n shop get ipl ${scaled.hold?.preload}`;
  const state = 'pullgate: shop/web is still held (12 s so far)';
  assert.deepEqual(far({}), [`${state}: its nodes do not have registry.test/app:2 yet; ${see}`]);
  assert.deepEqual(far({ progress: { ready: 1, desired: 3 } }), [`${state}: 1 of 3 nodes are ready; ${see}`]);
  assert.deepEqual(far({ oldObject: failed(held) }), [`${state}: ${WHY}; ${see}`]);
  const resumed = decideUpdate(held, { ...held, spec: { ...spec, paused: false } });
  assert.match(
    warningsFor(resumed, ID, NOW)[0] ?? '',
    /^pullgate: shop\/web is still held \(0 s so far\); it stays paused until/,
  );
  assert.equal(warningsFor(resumed, { ...ID, oldObject: failed(held) }, NOW)[1], `pullgate: ${WHY}`);
});

test('a refused bypass is said, on a new hold and on a held one', () => {
  const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
  const begun = decideUpdate(web.object, urgent, { mayBypass: false });
  const held = decideUpdate(web.object, v2.object).object;
  const metadata = held['metadata'] as JsonObject;
  const annotations = { ...(metadata['annotations'] as JsonObject), 'pullgate.io/bypass': 'urgent' };
  const again = decideUpdate(held, { ...held, metadata: { ...metadata, annotations } }, { mayBypass: false });
  for (const decision of [begun, again])
    assert.equal(
      warningsFor(decision, ID, NOW)[1],
      'pullgate: the bypass was refused: this user may not bypass',
    );
});

test('what ends a hold or lets through is one line, what needs nothing is silent', () => {
  const held = decideUpdate(web.object, v2.object).object;
  const metadata = held['metadata'] as JsonObject;
  assert.deepEqual(warningsFor(decideUpdate(held, { ...web.object, metadata }), ID, NOW), [
    'pullgate: the hold of shop/web has ended: this is the running template',
  ]);
  assert.deepEqual(warnings(web, v2.annotate('pullgate.io/bypass', 'on fire')), [
    'pullgate: the rollout of shop/web starts before its nodes have the images, because of the bypass: on fire',
  ]);
  assert.deepEqual(warnings(web, v2.label('pullgate.io/mode', 'off')), [
    'pullgate: shop/web is opted out: label pullgate.io/mode=off',
  ]);
  assert.deepEqual(warnings(web, web.restartedAt('today')), []);
  assert.deepEqual(warnings(web, web), []);
});

const MIN_NODES = 'pullgate.io/min-nodes';
const FIFTY =
  'pullgate: pullgate.io/min-nodes is "fifty"; it must be a count such as 3, or a percentage from 1% to 100%; ' +
  'the flag --min-nodes is used instead';

test('an invalid setting is one more line, on a new hold and on one that is superseded', () => {
  const wrong = v2.annotate(MIN_NODES, 'fifty');
  assert.equal(warnings(web, wrong).at(-1), FIFTY);
  const held = decideUpdate(web.object, wrong.object).object;
  const { template } = wrong.image('registry.test/app:3').object['spec'] as JsonObject;
  const superseded = decideUpdate(held, { ...held, spec: { ...(held['spec'] as JsonObject), template } });
  assert.equal(superseded.kind, 'Superseded');
  assert.equal(warningsFor(superseded, { ...ID, oldObject: held }, NOW).at(-1), FIFTY);
});

test('while held it is told by the update that wrote it, and not again by the next one', () => {
  const held = decideUpdate(web.object, v2.object).object;
  const metadata = held['metadata'] as JsonObject;
  const annotated = (value: string) => ({
    ...held,
    metadata: {
      ...metadata,
      annotations: { ...(metadata['annotations'] as JsonObject), [MIN_NODES]: value },
    },
  });
  const told = (old: JsonObject, next: JsonObject) =>
    warningsFor(decideUpdate(old, next), { ...ID, oldObject: old }, NOW);
  const [state, ...others] = told(held, annotated('fifty'));
  assert.match(state ?? '', /is still held/);
  assert.deepEqual(others, [FIFTY]);
  const spec = held['spec'] as JsonObject;
  assert.equal(told(annotated('fifty'), { ...annotated('fifty'), spec: { ...spec, replicas: 9 } }).length, 1);
  assert.equal(told(annotated('fifty'), annotated('sixty')).length, 2);
  assert.equal(told(annotated('fifty'), annotated('50%')).length, 1);
});

test('a setting that is looser than a floor is told to be ignored, and why', () => {
  const floor = { minNodes: '100%', nodeTimeoutSeconds: 900, deadlineSeconds: 3600 } as const;
  const decision = decideUpdate(web.object, v2.annotate(MIN_NODES, '1').object);
  assert.equal(
    warningsFor(decision, ID, NOW, floor).at(-1),
    'pullgate: pullgate.io/min-nodes is "1"; it must be a percentage of at least 100%, because --bypass-needs-permission is set; ' +
      'the flag --min-nodes is used instead',
  );
  assert.ok(warningsFor(decision, ID, NOW).every((line) => !line.includes('it must be')));
});

test('where nothing is preloaded, settings do not matter', () => {
  assert.deepEqual(warnings(web, web.annotate(MIN_NODES, 'fifty')), []);
  assert.deepEqual(warnings(web, web.restartedAt('today').annotate(MIN_NODES, 'fifty')), []);
});

test('invalid settings are told as far as there is room, never at the cost of a command', () => {
  let from = web;
  let next = v2.annotate(MIN_NODES, 'fifty');
  for (const name of ['parallelism', 'node-timeout-seconds', 'deadline-seconds'])
    next = next.annotate(`pullgate.io/${name}`, 'fifty');
  for (let count = 0; count < 14; count += 1) {
    from = from.image(`registry.test/${'x'.repeat(210)}:1`, `c${count}`);
    next = next.image(`registry.test/${'x'.repeat(210)}:2`, `c${count}`);
  }
  const lines = warnings(from, next);
  assert.ok(lines.some((line) => line.startsWith('Go back: kubectl')));
  const told = lines.filter((line) => line.includes('it must be')).length;
  assert.ok(told > 0 && told < 4, `${told} of 4`);
  assert.ok(lines.join('').length <= 4096);
});

test('every line is printable ASCII, and the whole fits what the API server passes on', () => {
  const long = `registry.test/${'x'.repeat(230)}`;
  let from = web;
  let next = v2.annotate('pullgate.io/bypass', `\u{1f525}\n\t\u0000${'y'.repeat(5000)}`);
  for (let count = 0; count < 30; count += 1) {
    from = from.image(`${long}:${count}`, `c${count}`);
    next = next.image(`${long}:${count}-\u00e9\u0007`, `c${count}`);
  }
  for (const name of [
    'parallelism',
    'min-nodes',
    'node-timeout-seconds',
    'deadline-seconds',
    'node-selector',
  ])
    next = next.annotate(`pullgate.io/${name}`, `\u00e9\n${'z'.repeat(9000)}`);
  for (const mayBypass of [true, false]) {
    const decision = decideUpdate(from.object, next.object, { mayBypass });
    const lines = warningsFor(decision, ID, NOW);
    assert.ok(lines.length > 0);
    for (const line of lines) assert.match(line, /^[\x20-\x7e]+$/);
    for (const line of lines) if (line.startsWith('pullgate:')) assert.ok(line.length <= 256, line);
    assert.ok(lines.join('').length <= 4096);
    assert.ok(!lines.some((line) => line.includes(' set image ')));
    for (const value of Object.values(auditAnnotationsFor(decision))) assert.ok(value.length <= 512);
  }
});

test('a long first line is cut before the command in it, not within', () => {
  const next = web.image(`registry.test/${'x'.repeat(240)}:2`);
  const decision = decideUpdate(web.object, next.object);
  const first = warningsFor(decision, ID, NOW)[0] ?? '';
  assert.equal(first.length, 256);
  assert.ok(first.endsWith(`...; watch: kubectl -n shop get ipl ${decision.hold?.preload} -w`), first);
});

test('the audit annotations name the decision, and for a hold its preload and images', () => {
  const decision = decideUpdate(web.object, v2.object);
  assert.deepEqual(auditAnnotationsFor(decision), {
    decision: 'Held',
    reason: 'registry.test/app:2',
    preload: decision.hold?.preload,
    images: 'registry.test/app:2',
  });
  assert.deepEqual(auditAnnotationsFor(decideUpdate(web.object, web.object)), {
    decision: 'Unchanged',
    reason: 'the template did not change',
  });
});
