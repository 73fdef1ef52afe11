import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import {
  autoscale,
  type HeldDeployment,
  hold,
  podEvents,
  podNames,
  SCALED_SECONDS,
  scaledTo,
  serveWork,
  usage,
  type Work,
  wanted,
} from '../support/e2e/autoscaler.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { QUEUE_METRIC, type Queues, serveQueues } from '../support/e2e/external-metric.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { startMetricsServer } from '../support/e2e/metrics-server.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

/** In millicores. A pod that works takes all that it may have. */
const CPU_REQUEST = 50;
const CPU_LIMIT = 200;
/** In percent of the request. */
const TARGET = 50;

const world = gatedLab();

/** A kubelet pulls one image after the other: each of the two holds, which go on at the same time, has its own node. */
const onNode = (index: number) => ({
  nodeSelector: { 'kubernetes.io/hostname': world.lab.nodes()[index] },
});

describe('autoscalers', { concurrency: true }, () => {
  const servers = suiteScope();
  let queues: Queues;

  before(async () => {
    const { lab, api } = world;
    [queues] = await Promise.all([serveQueues(servers, lab, api), startMetricsServer(servers, lab, api)]);
  });

  describe('have a HorizontalPodAutoscaler scale a held Deployment by CPU [autoscaler-cpu]', {
    concurrency: 1,
  }, () => {
    const scope = suiteScope();
    let work: Work;
    let held: HeldDeployment;
    let image: string;

    before(async () => {
      work = await serveWork(scope);
      const shop = await world.namespace(scope);
      image = await shop.push('v1', work.worker);
      const resources = { requests: { cpu: `${CPU_REQUEST}m` }, limits: { cpu: `${CPU_LIMIT}m` } };
      const pod = { ...onNode(0), containers: [{ name: 'app', image, resources }] };
      const web = await deploy(shop, 'web', { replicas: 2, pod });
      held = await hold(scope, shop, web, await shop.push('v2', work.worker));
      await autoscale(shop, 1, {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: TARGET } },
      });
    });

    test('without load it scales the running version down to one pod, and the hold stays', async () => {
      await scaledTo(held, 1, [image]);
      const percent = await usage(held.shop);
      assert.ok(percent !== undefined && percent < TARGET, `${percent}%`);
    });

    test('under load it scales the running version up to three pods, and the hold stays', async (t) => {
      const { shop } = held;
      work.toDo = true;
      await scaledTo(held, 3, [image]);
      const percent = await usage(shop);
      assert.ok(percent !== undefined && percent > TARGET, `${percent}%`);
      const loads = await until(
        'kubectl top shows the load of three pods',
        60,
        async () => (await shop.kubectl('top', 'pods', '--no-headers')).stdout.match(/\d+(?=m )/g) ?? [],
        (all) => all.length === 3 && all.every((load) => Number(load) > CPU_REQUEST),
      );
      t.diagnostic(`the autoscaler saw ${percent}%, kubectl top shows ${loads.join('m, ')}m`);
    });

    test('after the release it scales the new version', async () => {
      const { shop, web, registry } = held;
      registry.serve();
      assert.equal((await web.released(60)).replicas, 3);
      await web.rolledOut(60);
      assert.equal(await wanted(shop), 3);
      work.toDo = false;
      await until(
        'the autoscaler wants one',
        SCALED_SECONDS,
        () => wanted(shop),
        (pods) => pods === 1,
      );
      assert.equal((await web.rolledOut(30)).replicas, 1);
    });
  });

  describe('have a HorizontalPodAutoscaler scale it to zero and from zero [autoscaler-zero]', {
    concurrency: 1,
  }, () => {
    const scope = suiteScope();
    let held: HeldDeployment;

    before(async () => {
      const shop = await world.namespace(scope);
      queues.set(shop.name, 2);
      const web = await deploy(shop, 'web', { pod: onNode(1) });
      await autoscale(shop, 0, {
        type: 'External',
        external: { metric: { name: QUEUE_METRIC }, target: { type: 'AverageValue', averageValue: '1' } },
      });
      held = await hold(scope, shop, web, await shop.push('v2'));
      await scaledTo(held, 2, [PAUSE_IMAGE]);
    });

    test('to zero: no pod is left, and the hold ends', async () => {
      queues.set(held.shop.name, 0);
      await until('none is wanted', SCALED_SECONDS, held.web.read, ({ replicas }) => replicas === 0);
      await held.web.released(10);
      assert.equal((await held.web.rolledOut(60)).replicas, 0);
      await until(
        'no pod is left',
        30,
        () => podNames(held.shop),
        ({ length }) => length === 0,
      );
    });

    test('from zero: pods of the new version start, and none of the old one', async () => {
      held.registry.serve();
      queues.set(held.shop.name, 2);
      await until('two are wanted', SCALED_SECONDS, held.web.read, ({ replicas }) => replicas === 2);
      await held.web.rolledOut(60);
      await podEvents(held.shop, 2);
    });

    test('an update of a Deployment at zero is not held, and its first pod pulls', async () => {
      const { shop, web } = held;
      queues.set(shop.name, 0);
      await until('none is left', SCALED_SECONDS, web.read, ({ status }) => status.replicas === 0);
      await web.setImage(await shop.push('v3'));
      assert.equal(isHeld(await web.read()), false);
      queues.set(shop.name, 1);
      await until('one is wanted', SCALED_SECONDS, web.read, ({ replicas }) => replicas === 1);
      await web.rolledOut(60);
      const reasons = await podEvents(shop, 1);
      assert.ok(reasons.includes('Pulling'), reasons.join());
    });
  });
});
