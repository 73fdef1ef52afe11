import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import {
  BYPASS_ANNOTATION,
  DECIDED_ANNOTATION,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MIN_NODES_ANNOTATION,
} from '../../src/api/names.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { type Deployment, deploy, isHeld, replaceDeployment } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const MARKS = [BYPASS_ANNOTATION, KEEP_PAUSED_ANNOTATION, MIN_NODES_ANNOTATION];
const IGNORED = new RegExp(
  `annotations of an earlier version of \\S+/web were ignored: ${MARKS.join(', ').replaceAll('.', '\\.')};`,
);

/** v2 was let through with marks that have been taken off since, and v3 runs. */
async function marksOfBefore(shop: Namespace): Promise<{ web: Deployment; v2: string; atV2: JsonObject }> {
  const web = await deploy(shop, 'web');
  const v2 = await shop.push('v2');
  const annotations = { [BYPASS_ANNOTATION]: 'urgent A', [MIN_NODES_ANNOTATION]: '1' };
  const template = { spec: { containers: [{ name: 'app', image: v2 }] } };
  const patch = JSON.stringify({ metadata: { annotations }, spec: { template } });
  await shop.kubectl('patch', 'deployment', 'web', '-p', patch);
  await web.rolledOut(60);
  await shop.kubectl('annotate', 'deployment', 'web', `${KEEP_PAUSED_ANNOTATION}=true`);
  const apps = `/apis/apps/v1/namespaces/${shop.name}`;
  await until(
    'the ReplicaSet has them all',
    10,
    () => shop.api.get(`${apps}/replicasets`),
    (list) => asArray(at(list, 'items')).some((one) => isMarked(at(one, 'metadata', 'annotations'))),
  );
  const atV2 = asObject(await shop.api.get(`${apps}/deployments/web`));
  await told(shop, 'web', 'HoldBypassed');
  await shop.kubectl('annotate', 'deployment', 'web', ...MARKS.map((name) => `${name}-`));
  await web.setImage(await shop.push('v3'));
  await web.released(60);
  await web.rolledOut(60);
  return { web, v2, atV2 };
}

function isMarked(annotations: unknown): boolean {
  return MARKS.every((name) => name in asObject(annotations));
}

async function assertHeldAnew(shop: Namespace, web: Deployment, before: number): Promise<void> {
  const { annotations } = await web.read();
  const decided = parseDecisionRecord(annotations[DECIDED_ANNOTATION]);
  assert.equal(decided?.decision, 'Held');
  // The lab's nodes and this process have one clock.
  assert.ok(Date.parse(decided?.at ?? '') >= before);
  for (const name of MARKS) assert.equal(annotations[name], undefined, name);
  const { paused } = await web.released(60);
  assert.equal(paused, false);
  await web.rolledOut(60);
  const bypassed = (await shop.events('web')).filter(({ reason }) => reason === 'HoldBypassed');
  assert.equal(bypassed.length, 1, 'that of the first time');
}

describe('run `kubectl rollout undo`, or apply a manifest that was read from the cluster before [rollout-undo]', {
  concurrency: true,
}, () => {
  test('undo: neither bypass, keep-paused nor setting of that revision counts', async (t) => {
    const shop = await world.namespace(t);
    const { web } = await marksOfBefore(shop);
    const before = Date.now();
    const { stderr } = await shop.kubectl('rollout', 'undo', 'deployment/web');
    assert.match(stderr, IGNORED);
    assert.match(stderr, /the rollout of \S+\/web is held until/);
    await assertHeldAnew(shop, web, before);
  });

  test('undo of an undo: the hold is not that of the first time', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await web.setImage(await shop.push('v2'));
    await web.released(60);
    await web.rolledOut(60);
    const since = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const before = Date.now();
      await shop.kubectl('rollout', 'undo', 'deployment/web');
      const { annotations } = await web.read();
      const decided = parseDecisionRecord(annotations[DECIDED_ANNOTATION]);
      assert.ok(Date.parse(decided?.at ?? '') >= before, `round ${round}`);
      since.add(decided?.at ?? '');
      await web.released(60);
      await web.rolledOut(60);
    }
    assert.equal(since.size, 3);
  });

  test('a manifest: the same, whatever it says', async (t) => {
    const shop = await world.namespace(t);
    const { web, atV2 } = await marksOfBefore(shop);
    const { annotations } = asObject(atV2['metadata']);
    const { [HOLD_ANNOTATION]: _, ...marks } = asObject(annotations);
    const manifest = {
      ...atV2,
      metadata: {
        name: 'web',
        labels: { app: 'web' },
        annotations: { ...marks, [BYPASS_ANNOTATION]: 'urgent C' },
      },
    };
    const before = Date.now();
    const { stderr } = await shop.apply(manifest);
    assert.match(stderr, IGNORED);
    await assertHeldAnew(shop, web, before);
  });

  test('a manifest that replaces everything and has no record: its new bypass counts, once', async (t) => {
    const shop = await world.namespace(t);
    const { web, v2, atV2 } = await marksOfBefore(shop);
    const replace = async (image: string) => {
      const template = {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'app', image }] },
      };
      const annotations = { [BYPASS_ANNOTATION]: 'kept in Git' };
      const object = {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web', labels: { app: 'web' }, annotations },
        spec: { ...asObject(atV2['spec']), template },
      };
      await replaceDeployment(shop, object);
    };
    await replace(v2);
    assert.equal(isHeld(await web.read()), false);
    await web.rolledOut(60);
    await replace(`${world.lab.registry}/${shop.name}:missing`);
    assert.equal(isHeld(await web.read()), true);
  });
});
