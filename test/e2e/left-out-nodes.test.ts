import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { simulateNodes } from '../cluster/simulated/simulated-nodes.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const LABEL = 'pullgate-e2e/disk';
const TAINT = 'pullgate-e2e/dedicated';
const GPU = 'example.com/gpu';

async function whoHas(image: string): Promise<string[]> {
  const nodes = world.lab.nodes();
  const stores = await Promise.all(nodes.map((node) => world.lab.nodeImages(node)));
  return nodes.filter((_, index) => stores[index]?.includes(image));
}

async function admin(...args: string[]): Promise<void> {
  const { code, stderr } = await world.lab.kubectl(args);
  assert.equal(code, 0, stderr);
}

describe('a node where the pods could not land', { concurrency: true }, () => {
  let one: string;
  let other: string;

  before(async () => {
    [one = '', other = ''] = world.lab.nodes();
    await admin('label', 'node', one, `${LABEL}=ssd`);
    await admin('taint', 'node', other, `${TAINT}=db:NoSchedule`);
  });
  after(async () => {
    await admin('label', 'node', one, `${LABEL}-`);
    await admin('taint', 'node', other, `${TAINT}-`);
  });

  test('by the nodeSelector does not get the image', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    // The toleration makes the label the only thing that keeps the other node out.
    const pod = { nodeSelector: { [LABEL]: 'ssd' }, tolerations: [{ key: TAINT, operator: 'Exists' }] };
    const web = await deploy(shop, 'web', { pod });
    await web.setImage(image);
    await web.released(60);
    await web.rolledOut(60);
    assert.deepEqual(await whoHas(image), [one]);
    assert.deepEqual((await shop.preloads())[0]?.status?.excluded, [{ reason: 'NodeSelector', count: 1 }]);
  });

  test('by its taint does not get the image', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    await web.released(60);
    await web.rolledOut(60);
    assert.deepEqual(await whoHas(image), [one]);
    assert.deepEqual((await shop.preloads())[0]?.status?.excluded, [{ reason: 'Taint', count: 1 }]);
  });

  test('because its kubelet refuses them leaves the count at once, with the words', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    // Admission adds the selector to the puller pods, and the ImagePreload does not know of it.
    const runtimeClass = '/apis/node.k8s.io/v1/runtimeclasses';
    await world.api.create(runtimeClass, {
      apiVersion: 'node.k8s.io/v1',
      kind: 'RuntimeClass',
      metadata: { name: shop.name },
      handler: 'runc',
      scheduling: { nodeSelector: { [LABEL]: 'ssd' } },
    });
    t.after(() => world.api.delete(`${runtimeClass}/${shop.name}`));
    const tolerations = [{ key: TAINT, operator: 'Exists' }];
    await world.api.create(`/apis/pullgate.io/v1alpha1/namespaces/${shop.name}/imagepreloads`, {
      apiVersion: 'pullgate.io/v1alpha1',
      kind: 'ImagePreload',
      metadata: { name: 'by-hand' },
      spec: { images: [{ image }], scheduling: { runtimeClassName: shop.name, tolerations } },
    });
    const [preload] = await until(
      'it is ready',
      60,
      shop.preloads,
      ([now]) => now?.status?.phase === 'Ready',
    );
    assert.deepEqual(preload?.status?.excluded, [{ reason: 'NodeRefusesPod', count: 1 }]);
    assert.equal(preload?.status?.failures[0]?.node, other);
    assert.match(preload?.status?.failures[0]?.message ?? '', /^NodeAffinity: /);
    assert.deepEqual(await whoHas(image), [one]);
  });

  test('gets it where the pods tolerate that taint', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const pod = { tolerations: [{ key: TAINT, operator: 'Equal', value: 'db', effect: 'NoSchedule' }] };
    const web = await deploy(shop, 'web', { pod });
    await web.setImage(image);
    await web.released(60);
    assert.deepEqual(await whoHas(image), [one, other]);
  });

  test('have a RuntimeClass that selects nodes, tainted ones or others [runtime-class]', async (t) => {
    const classes = [
      { name: 'pullgate-e2e-label', node: one, scheduling: { nodeSelector: { [LABEL]: 'ssd' } } },
      {
        name: 'pullgate-e2e-taint',
        node: other,
        scheduling: {
          nodeSelector: { 'kubernetes.io/hostname': other },
          tolerations: [{ key: TAINT, operator: 'Exists' }],
        },
      },
    ];
    await Promise.all(
      classes.map(async ({ name, node, scheduling }) => {
        const metadata = { name };
        const runtimeClass = { apiVersion: 'node.k8s.io/v1', kind: 'RuntimeClass', metadata, scheduling };
        await world.api.create('/apis/node.k8s.io/v1/runtimeclasses', { ...runtimeClass, handler: 'runc' });
        t.after(() => world.api.delete(`/apis/node.k8s.io/v1/runtimeclasses/${name}`));
        const shop = await world.namespace(t);
        const image = await shop.push('v2');
        const web = await deploy(shop, 'web', { pod: { runtimeClassName: name } });
        await web.setImage(image);
        await web.released(30);
        await web.rolledOut(30);
        assert.deepEqual(await whoHas(image), [node], name);
        assert.equal((await shop.preloads())[0]?.status?.ready, '1/1', name);
      }),
    );
  });
});

// Not beside the tests above: simulated nodes join the cluster, and the tests above count every node.
describe('a node that the pods may use as admitted only', () => {
  test('have pods that get a toleration at admission, such as those with a GPU [admission-toleration]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 2);
    const [gpu = '', plain = ''] = nodes.names();
    const patch = (path: string, body: JsonObject) =>
      world.api.mergePatch(`/api/v1/nodes/${gpu}${path}`, body);
    const { spec } = asObject(await world.api.get(`/api/v1/nodes/${gpu}`));
    const taint = { key: GPU, value: 'present', effect: 'NoSchedule' };
    await patch('', { spec: { taints: [...asArray(at(spec, 'taints')), taint] } });
    await patch('/status', { status: { capacity: { [GPU]: '1' }, allocatable: { [GPU]: '1' } } });
    const image = `registry.test/${shop.name}:2`;
    nodes.registry.answer(image, { seconds: 0.5 });
    const resources = { limits: { [GPU]: '1' } };
    const containers = [{ name: 'app', image: PAUSE_IMAGE, resources }];
    const web = await deploy(shop, 'web', { pod: { ...nodes.pod, containers } });
    await shop.kubectl(
      'patch',
      'deployment',
      'web',
      '-p',
      '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}',
    );
    await web.setImage(image);
    await web.released(30);
    const [preload] = await shop.preloads();
    assert.equal(preload?.spec.scheduling.requests?.[GPU], '1');
    assert.ok(nodes.having(image).includes(gpu), `${gpu}, not only ${plain}`);
    await web.rolledOut(30);
  });
});
