import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asArray, asString, at, type JsonObject } from '../../src/json.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace } from '../support/e2e/namespace.ts';
import type { Timeline } from '../support/e2e/timeline.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const LABEL = 'pullgate-e2e/pool';

async function annotate(shop: Namespace, ...pairs: string[]): Promise<string> {
  const settings = pairs.map((pair) => `pullgate.io/${pair}`);
  return (await shop.kubectl('annotate', 'deployment/web', '--overwrite', ...settings)).stderr;
}

const nodeOf = (pod: JsonObject) => asString(at(pod, 'spec', 'nodeName')) ?? '';

function pulled(pod: JsonObject): boolean {
  return asArray(at(pod, 'status', 'containerStatuses')).some((status) => at(status, 'imageID') !== '');
}

function pullers(timeline: Timeline): JsonObject[] {
  return timeline.of('Pod').flatMap(({ object }) => (isPullerPod(object) ? [object] : []));
}

// One at a time: a kubelet pulls one image after the other, and a slow one would delay the rest.
describe('set the pace of one Deployment by annotations [settings-pace]', () => {
  test('its nodes pull one after the other, while another Deployment goes by the flags', async (t) => {
    const shop = await world.namespace(t);
    const timeline = shop.timeline();
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    await annotate(shop, 'parallelism=1', 'node-timeout-seconds=120', 'deadline-seconds=600');
    await web.setImage(image);
    await web.released(60);

    const [preload] = await shop.preloads();
    assert.deepEqual(
      [preload?.spec.parallelism, preload?.spec.nodeTimeoutSeconds, preload?.spec.deadlineSeconds],
      [1, 120, 600],
    );
    assert.equal(preload?.spec.minNodes, '100%');
    // The first sight of the second node's pod comes after the first one has its image.
    const seen = pullers(timeline);
    const first = nodeOf(seen[0] ?? {});
    const done = seen.findIndex((pod) => nodeOf(pod) === first && pulled(pod));
    const next = seen.findIndex((pod) => nodeOf(pod) !== first);
    assert.ok(done !== -1 && next > done, `${done} ${next}`);

    const other = await deploy(shop, 'other');
    await other.setImage(await shop.push('v3'));
    await other.released(60);
    const byFlags = (await shop.preloads()).find(({ owner }) => owner?.name === 'other');
    assert.deepEqual([byFlags?.spec.parallelism, byFlags?.spec.deadlineSeconds], [undefined, 3600]);
  });

  test('fewer nodes, asked for during the hold, release it while another node still pulls', async (t) => {
    const shop = await world.namespace(t);
    const timeline = shop.timeline();
    // 15 s on each node, one after the other.
    const image = await shop.pushSlow('v2', 150);
    const web = await deploy(shop, 'web');
    await annotate(shop, 'parallelism=1');
    await web.setImage(image);
    const ready = (count: number) =>
      until('nodes are ready', 90, shop.preloads, ([one]) => one?.status?.readyNodes === count);
    const [before] = await ready(1);

    await annotate(shop, 'min-nodes=50%');
    await web.released(10);
    const [after] = await shop.preloads();
    assert.deepEqual([after?.name, after?.spec.minNodes], [before?.name, '50%']);
    assert.notEqual(after?.uid, before?.uid, 'made anew, as a spec never changes');
    const pulledOn = new Set(pullers(timeline).filter(pulled).map(nodeOf));
    assert.equal(pulledOn.size, 1, 'the other node is not there yet');
    await web.rolledOut(90);
  });

  test('a node selector leaves the other nodes out of the preload', async (t) => {
    const [one = ''] = world.lab.nodes();
    const label = (text: string) => world.lab.kubectl(['label', 'node', one, text]);
    assert.equal((await label(`${LABEL}=web`)).code, 0);
    t.after(() => label(`${LABEL}-`));
    const shop = await world.namespace(t);
    const timeline = shop.timeline();
    const web = await deploy(shop, 'web');
    await annotate(shop, `node-selector=${LABEL}=web`);
    await web.setImage(await shop.push('v2'));
    await web.released(60);
    assert.deepEqual([...new Set(pullers(timeline).map(nodeOf))], [one]);
    assert.deepEqual((await shop.preloads())[0]?.status?.excluded, [{ reason: 'NodeSelector', count: 1 }]);
  });
});

describe('set one to something invalid [settings-invalid]', () => {
  test('a warning in plain words, the flag counts, one event', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await annotate(shop, 'min-nodes=fifty');
    const said =
      'pullgate.io/min-nodes is "fifty"; it must be a count such as 3, or a percentage from 1% to 100%; ' +
      'the flag --min-nodes is used instead';
    const told = async () => (await shop.events('web')).filter(({ reason }) => reason === 'InvalidSetting');
    const [event] = await until('it is told', 10, told, (events) => events.length > 0);
    assert.deepEqual([event?.type, event?.note], ['Warning', said]);

    const { stderr } = await web.setImage(await shop.push('v2'));
    assert.ok(stderr.includes(`Warning: pullgate: ${said}\n`), stderr);
    await web.released(60);
    assert.equal((await shop.preloads())[0]?.spec.minNodes, '100%');
    await web.rolledOut(60);
    assert.equal((await told()).length, 1);
  });
});

test('set a mark that means nothing [settings-unknown-mark]', async (t) => {
  const shop = await world.namespace(t);
  await deploy(shop, 'web');
  const marked = async (verb: 'annotate' | 'label', pair: string) =>
    (await shop.kubectl(verb, 'deployment/web', '--overwrite', `pullgate.io/${pair}`)).stderr;
  // An API server takes some time to learn of a policy.
  await until(
    'the policy is enforced',
    30,
    () => marked('annotate', 'keep-paused=yes'),
    (stderr) => stderr.includes('keep-paused does nothing unless it is "true"'),
  );
  await marked('annotate', 'keep-paused-');
  for (const [verb, pair, words] of [
    ['annotate', 'minnodes=1', /does not know the annotation pullgate\.io\/minnodes, so it does nothing/],
    ['annotate', 'bypass=', /bypass is empty, so it does nothing/],
    ['annotate', 'revert=x', /revert does nothing, because this Deployment is not held/],
    ['annotate', 'min-nodes=fifty', /min-nodes is not valid, so the flag is used instead/],
    ['annotate', 'deadline-seconds=604801', /deadline-seconds is not valid/],
    ['label', 'approved=x', /does not know the label pullgate\.io\/approved on a Deployment/],
    ['label', 'mode=Off', /does nothing unless it is "off"/],
    ['label', 'mode=audit', /does nothing unless it is "off"/],
  ] as const) {
    assert.match(await marked(verb, pair), words, pair);
    await marked(verb, `${pair.slice(0, pair.indexOf('='))}-`);
  }
  assert.doesNotMatch(await marked('annotate', 'min-nodes=50%'), /pullgate-marks/);
});
