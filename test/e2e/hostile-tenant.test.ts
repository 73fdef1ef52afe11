import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { API_GROUP_PATH, MODE_LABEL } from '../../src/api/names.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { floodAdmission } from '../support/e2e/admission-flood.ts';
import { ATTACKS, endlessPreloads, type Victim, WORDS } from '../support/e2e/attacks.ts';
import { type Deployment, deploy, holding, isHeld } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type HostileRegistry, hostileRegistry } from '../support/e2e/hostile-registry.ts';
import { type InClusterGate, inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { createStranger, type Stranger } from '../support/e2e/stranger.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import type { Timeline } from '../support/e2e/timeline.ts';
import { until } from '../support/e2e/until.ts';
import { median } from '../support/percentile.ts';

const GATE_PODS = '/api/v1/namespaces/pullgate/pods';
/** What others may make of a hold: it takes that many times as long as alone, on two busy cores. */
const SLOWER = 1.5;
/** A pull of an image of some kB takes seconds on a busy machine. */
const PATIENCE_SECONDS = 60;
/** A registry's words, for which a careless expression takes half a minute. */
const COLONS = `${WORDS} /${':'.repeat(64_000)}`;

const scope = suiteScope();
let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;
let replicas: readonly string[];
let shop: Namespace;
let web: Deployment;
let timeline: Timeline;
let stranger: Stranger;
let registry: HostileRegistry;
let rounds = 0;
/** Seconds of each hold. */
const alone: number[] = [];
const attacked: number[] = [];

before(async () => {
  lab = await attach();
  api = await connect(lab);
  gate = await inClusterGate(scope, lab);
  await gate.install();
  replicas = await runningReplicas();
  assert.equal(replicas.length, 2);
  shop = await createNamespace(scope, lab, api);
  web = await deploy(shop, 'web');
  timeline = shop.timeline();
  stranger = await createStranger(scope, await createNamespace(scope, lab, api, {}));
  registry = await hostileRegistry(scope, lab, COLONS);
  // The first one finds nothing warm.
  await upgrade(await nextVictim());
});
after(() => api.close());

for (const attack of ATTACKS) {
  test(`${attack.name}: the other namespace upgrades as if it was alone`, async () => {
    alone.push(await upgrade(await nextVictim()));
    await optStranger(attack.optedIn);
    const victim = await nextVictim();
    await attack.begin(stranger, victim, registry);
    attacked.push(await upgrade(victim));
    await stranger.removeAll();
  });
}

test('a flood of the admission port from a pod: the other namespace upgrades as if it was alone', async () => {
  alone.push(await upgrade(await nextVictim()));
  await floodAdmission(stranger, gate.image, await gateAddresses());
  attacked.push(await upgrade(await nextVictim()));
  await stranger.removeAll();
});

test('all of that has cost a hold no more than half as much time again', (t) => {
  t.diagnostic(`alone ${seconds(alone)}, attacked ${seconds(attacked)}`);
  t.diagnostic(
    `the stranger was let do ${stranger.tally.done} things, and refused ${stranger.tally.refused}`,
  );
  assert.ok(stranger.tally.done > 100 && attacked.length === ATTACKS.length + 1);
  assert.ok(median(attacked) <= SLOWER * median(alone), `${seconds(attacked)}, alone ${seconds(alone)}`);
});

test('a registry that answers a byte a minute keeps the kubelets busy, and the hold waits for them and for nobody else', async () => {
  await optStranger(true);
  await stranger.createAll('imagepreloads', endlessPreloads(registry));
  await until(
    'a pull of the stranger has begun',
    PATIENCE_SECONDS,
    () => stranger.namespace.pullerPods(),
    (pods) => pods.length > 0,
  );
  const { image } = await nextVictim();
  await web.setImage(image);
  assert.ok(isHeld(await web.read()));
  registry.giveUp();
  await web.released(PATIENCE_SECONDS);
  await assertOnEveryNode(lab, image);
  await web.rolledOut(PATIENCE_SECONDS);
});

test('no replica of the gate has ended or was restarted', async () => {
  assert.deepEqual(await runningReplicas(), replicas);
});

test('nothing in the other namespace has the words of the stranger', async () => {
  for (const path of [
    `/api/v1/namespaces/${shop.name}/events`,
    `/apis/apps/v1/namespaces/${shop.name}/deployments`,
    `${API_GROUP_PATH}/namespaces/${shop.name}/imagepreloads`,
  ]) {
    const text = JSON.stringify(await api.get(path));
    for (const words of [WORDS, stranger.namespace.name, ':::::'])
      assert.ok(!text.includes(words), `${path} has ${words}`);
  }
});

/** Name, uid and restarts of each. */
async function runningReplicas(): Promise<string[]> {
  return (await gatePods()).map((pod) => {
    const [status] = asArray(at(pod, 'status', 'containerStatuses'));
    const { name, uid } = at(pod, 'metadata') as { name: string; uid: string };
    return `${name} ${uid} ${String(at(status, 'ready'))} ${String(at(status, 'restartCount'))}`;
  });
}

async function gatePods(): Promise<readonly unknown[]> {
  const list = await api.get(GATE_PODS, { labelSelector: 'app.kubernetes.io/component=gate' });
  return asArray(at(list, 'items'));
}

async function gateAddresses(): Promise<string[]> {
  return (await gatePods()).map((pod) => asString(at(pod, 'status', 'podIP')) ?? '');
}

async function optStranger(isIn: boolean): Promise<void> {
  const labels = { [MODE_LABEL]: isIn ? 'pause' : null };
  await api.mergePatch(`/api/v1/namespaces/${stranger.namespace.name}`, { metadata: { labels } });
}

/** The image of the next upgrade, and all that a stranger can tell of it beforehand. */
async function nextVictim(): Promise<Victim> {
  rounds += 1;
  const image = await shop.push(`v${rounds}`);
  const stored = await web.read();
  const { uid, revision } = stored;
  const raw = await api.get(`/apis/apps/v1/namespaces/${shop.name}/deployments/web`);
  const template = at(raw, 'spec', 'template');
  const wanted = JSON.parse(
    JSON.stringify(template).replaceAll(/"image":"[^"]*"/g, `"image":"${image}"`),
  ) as unknown;
  return {
    namespace: shop.name,
    deployment: { name: 'web', uid },
    image,
    preload: preloadName({ name: 'web', uid, revision }, templateHash(wanted)),
    nodes: lab.nodes(),
  };
}

/** Seconds that the update was held: until its image is on every node. */
async function upgrade({ image }: Victim): Promise<number> {
  await web.setImage(image);
  const begun = await timeline.first('it is held', PATIENCE_SECONDS, holding('web', image, true));
  const ended = await timeline.first('it is released', PATIENCE_SECONDS, (moment) => {
    return moment.at > begun.at && holding('web', image, false)(moment);
  });
  await assertOnEveryNode(lab, image);
  assert.ok(!parseDeployment(ended.object).paused);
  await web.rolledOut(PATIENCE_SECONDS);
  return (ended.at - begun.at) / 1000;
}

function seconds(values: readonly number[]): string {
  return `${median(values).toFixed(2)} s (${values.map((value) => value.toFixed(2)).join(', ')})`;
}
