import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goesBack } from '../../src/admission/decide.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import {
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
  MODES,
  REVERT_ANNOTATION,
} from '../../src/api/names.ts';
import type { RunningLookup } from '../../src/api/running-lookup.ts';
import { runningTemplate } from '../../src/deployments/running-template.ts';
import { asObject, asString, asStringMap, at, type JsonObject } from '../../src/json.ts';
import { decideUpdate, NOW } from '../support/unit/decide-update.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi, refusal } from '../support/unit/memory-api.ts';
import { replicaSetOf } from '../support/unit/replica-set.ts';

const ID = { namespace: 'shop', name: 'web' };
const web = deployment();
/** Another image, and another environment. */
const v2 = web.image('registry.test/app:2').podSpec({ hostname: 'v2' });

/** As it is stored while it is held. */
const heldAs = (next: DeploymentBuilder = v2, from: DeploymentBuilder = web) =>
  decideUpdate(from.object, next.object).object;

function annotated(object: JsonObject, annotations: Readonly<Record<string, string>>): JsonObject {
  const metadata = asObject(object['metadata']);
  return {
    ...object,
    metadata: { ...metadata, annotations: { ...asStringMap(metadata['annotations']), ...annotations } },
  };
}

const asked = (object: JsonObject, reason = 'v2 is broken') =>
  annotated(object, { [REVERT_ANNOTATION]: reason });
const found: RunningLookup = { kind: 'found', template: asObject(at(web.object, 'spec', 'template')) };
const templateOf = (object: JsonObject) => at(object, 'spec', 'template');

/** What ends with the running template: nothing is held, and no mark but the record stays. */
function assertBack(object: JsonObject, reason: RegExp): void {
  const { annotations, labels, paused } = parseDeployment(object);
  assert.deepEqual(templateOf(object), templateOf(web.object));
  assert.deepEqual([annotations[HOLD_ANNOTATION], labels[HELD_LABEL], paused], [undefined, undefined, false]);
  assert.equal(annotations[REVERT_ANNOTATION], undefined);
  const record = parseDecisionRecord(annotations[DECIDED_ANNOTATION]);
  assert.equal(record?.decision, 'Reverted');
  assert.equal(record?.template, parseDeployment(web.object).templateHash);
  assert.match(record?.reason ?? '', reason);
}

for (const mode of MODES) {
  test(`a revert restores the running template, whole, in mode ${mode}`, () => {
    const held = heldAs();
    const next = asked(held);
    assert.equal(goesBack(held, next, NOW), parseDeployment(web.object).templateDigest);
    const { kind, object } = decideUpdate(held, next, { mode, running: found });
    assert.equal(kind, 'Reverted');
    assertBack(object, /^back to the running template, whole: v2 is broken$/);
  });
}

test('a revert needs no permission, and keeps what else the update changes', () => {
  const held = heldAs();
  const scaled = asked({ ...held, spec: { ...asObject(held['spec']), replicas: 9 } });
  const { object } = decideUpdate(held, scaled, { mayBypass: false, running: found });
  assertBack(object, /^back/);
  assert.equal(parseDeployment(object).replicas, 9);
});

test('a revert with another pod template in the same update says that this one is not used', () => {
  const held = heldAs();
  const other = at(web.image('registry.test/app:3').object, 'spec', 'template');
  const next = asked({ ...held, spec: { ...asObject(held['spec']), template: other } });
  const decision = decideUpdate(held, next, { running: found });
  assertBack(
    decision.object,
    /^back to the running template, whole \(not the pod template of this update\): v2/,
  );
  const [warning] = warningsFor(decision, ID, NOW);
  assert.match(warning ?? '', /has ended: back to .* \(not the pod template of this update\)/);
});

test('opting out in the same update needs its permission all the same', () => {
  const held = heldAs();
  const off = asked(held);
  const metadata = asObject(off['metadata']);
  const next = {
    ...off,
    metadata: { ...metadata, labels: { ...asObject(metadata['labels']), [MODE_LABEL]: MODE_OFF } },
  };
  assert.equal(decideUpdate(held, next, { mayBypass: false, running: found }).kind, 'Refused');
});

test('decided on again, on its own result, it is the same', () => {
  const held = heldAs();
  const first = decideUpdate(held, asked(held), { running: found });
  const second = decideUpdate(held, first.object, { now: NOW + 1000 });
  assert.equal(goesBack(held, first.object, NOW + 1000), undefined);
  assert.deepEqual(second.object, first.object);
  assert.equal(second.reason, first.reason);
});

test('a user who paused before, or asks to stay paused, stays paused', () => {
  const paused = heldAs(v2.spec({ paused: true }), web.spec({ paused: true }));
  assert.equal(parseDeployment(decideUpdate(paused, asked(paused), { running: found }).object).paused, true);
  const held = heldAs();
  const keep = annotated(asked(held), { [KEEP_PAUSED_ANNOTATION]: 'true' });
  assert.equal(parseDeployment(decideUpdate(held, keep, { running: found }).object).paused, true);
});

const refusals = [
  ['gone', 403, /stays held: no ReplicaSet has the running template any more\. Apply the previous manifest/],
  ['notAllowed', 403, /may not list ReplicaSets there\. Apply the roles of this version/],
  ['unanswered', 429, /did not answer within 1 s\. Run the same command again/],
] as const;
for (const [kind, code, words] of refusals) {
  test(`it is refused with words, and nothing changes: ${kind}`, () => {
    const held = heldAs();
    const next = asked(held);
    const decision = decideUpdate(held, next, { running: { kind } });
    assert.equal(decision.denial?.code, code);
    assert.match(decision.denial?.message ?? '', words);
    assert.equal(decision.object, next);
  });
}

test('a reason that is stored already, an empty one, and one without a hold count for nothing', () => {
  const held = heldAs();
  const stored = asked(held);
  assert.equal(goesBack(stored, stored, NOW), undefined);
  assert.equal(decideUpdate(stored, stored).kind, 'Reheld');
  assert.equal(decideUpdate(held, asked(held, '')).kind, 'Reheld');
  assert.equal(goesBack(web.object, asked(v2.object), NOW), undefined);
  assert.equal(decideUpdate(web.object, asked(v2.object)).kind, 'Held');
});

test('a revert that comes with old marks is ignored, with a warning', () => {
  const held = heldAs();
  const at = '2025-12-01T00:00:00.000Z';
  const record = { ...parseDecisionRecord(parseDeployment(held).annotations[DECIDED_ANNOTATION]), v: 1, at };
  const restored = annotated(asked(held), { [DECIDED_ANNOTATION]: JSON.stringify(record) });
  assert.equal(goesBack(held, restored, NOW), undefined);
  const decision = decideUpdate(held, restored, { running: found });
  assert.equal(decision.kind, 'Reheld');
  assert.deepEqual(decision.ignored, [REVERT_ANNOTATION]);
  assert.equal(parseDeployment(decision.object).annotations[REVERT_ANNOTATION], undefined);
});

test('a template with other changes that needs no new image: the warning says that its rollout starts now', () => {
  const held = heldAs();
  const spec = { ...asObject(held['spec']), template: templateOf(web.podSpec({ hostname: 'v2' }).object) };
  const decision = decideUpdate(held, { ...held, spec });
  assert.equal(decision.kind, 'Reverted');
  assert.deepEqual(warningsFor(decision, { ...ID, oldObject: held }, NOW), [
    'pullgate: the hold of shop/web has ended: the template needs no new image, but differs from the running one; ' +
      'its rollout starts now',
  ]);
});

test('set image is offered as the way back only where images are all that changed', () => {
  const back = (next: DeploymentBuilder) =>
    warningsFor(decideUpdate(web.object, next.object), ID, NOW)
      .find((line) => line.startsWith('Go back: '))
      ?.slice('Go back: '.length);
  assert.equal(
    back(web.image('registry.test/app:2')),
    'kubectl -n shop set image deployment/web app=registry.test/app:1',
  );
  assert.equal(
    back(v2),
    "kubectl -n shop annotate deployment web pullgate.io/revert='2026-01-01T00:00:00.000Z' --overwrite",
  );
});

function cluster() {
  const clock = manualClock();
  const api = memoryApi(clock);
  const stored = parseDeployment(web.object);
  const look = (hash = stored.templateHash) => runningTemplate(api.client, stored, hash, clock);
  return { api, clock, look, stored };
}

test('the running template is that of the ReplicaSet with its hash, as the Deployment had it', async () => {
  const { api, look, stored } = cluster();
  for (const builder of [v2, web, web.image('registry.test/app:0')]) api.put(...replicaSetOf(builder.object));
  assert.deepEqual(await look(), { kind: 'found', template: stored.template });
  assert.deepEqual(await look('another'), { kind: 'gone' });
});

test('ReplicaSets of others count for nothing', async () => {
  const { api, look } = cluster();
  api.put(...replicaSetOf(web.metadata({ uid: 'another' }).object));
  assert.deepEqual(await look(), { kind: 'gone' });
});

test('a missing right and an API server that does not answer are told apart', async () => {
  const { api, clock, look } = cluster();
  api.refuse('get', '/replicasets', refusal(403, 'Forbidden'));
  assert.deepEqual(await look(), { kind: 'notAllowed' });
  api.refuse('get', '/replicasets', refusal(503, 'ServiceUnavailable'));
  assert.deepEqual(await look(), { kind: 'unanswered' });
  assert.deepEqual(clock.timers(), [], 'no timer is left');
  assert.equal(asString(api.calls[0]?.path), '/apis/apps/v1/namespaces/shop/replicasets');
});
