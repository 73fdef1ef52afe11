import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { asArray, asString, at } from '../../src/json.ts';
import { HUB_ADDRESS } from '../cluster/lab/addresses.ts';
import { withControllersHeldBack } from '../support/e2e/controllers-held-back.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace, type Scope } from '../support/e2e/namespace.ts';
import type { Timeline } from '../support/e2e/timeline.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

/** Where containers can leave a trace. */
async function listen(scope: Scope): Promise<{ url: string; traces: string[] }> {
  const traces: string[] = [];
  const server = createServer((request, response) => {
    traces.push(request.url ?? '');
    response.end();
  });
  server.listen(0, HUB_ADDRESS);
  await once(server, 'listening');
  scope.after(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return { url: `http://${HUB_ADDRESS}:${port}`, traces };
}

/** Leaves its trace first thing when anything of it runs as its author meant it. */
function traceImage(namespace: Namespace, url: string, tag: string): Promise<string> {
  // Until it gets through: a new pod may have no route yet. No -T: busybox 1.35, static, ends in a fault then.
  const script = `until wget -q -O /dev/null ${url}/${tag}; do sleep 1; done; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done`;
  return namespace.push(tag, { base: 'busybox', entrypoint: ['/bin/sh', '-c', script] });
}

test('nothing of an image runs while it is preloaded', async (t) => {
  const shop = await world.namespace(t);
  const { url, traces } = await listen(t);
  const v1 = await traceImage(shop, url, 'v1');
  const v2 = await traceImage(shop, url, 'v2');
  const web = await deploy(shop, 'web', { image: v1 });
  await until(
    'the old version leaves its trace',
    20,
    () => traces,
    (seen) => seen.includes('/v1'),
  );

  const timeline = shop.timeline();
  await web.setImage(v2);
  await withControllersHeldBack(async () => {
    await web.released(60);
    for (const node of world.lab.nodes()) assert.ok((await world.lab.nodeImages(node)).includes(v2));
    // Each of them has had its container made, and failed to start: what would run has had its chance.
    await until(
      'every puller pod has ended',
      20,
      () => pullerEnds(timeline),
      (ends) => ends.size === world.lab.nodes().length,
    );
    for (const [pod, reason] of pullerEnds(timeline)) assert.equal(reason, 'StartError', pod);
    assert.deepEqual(traces, ['/v1']);
  });

  await web.rolledOut(60);
  await until(
    'the new version leaves its trace',
    20,
    () => traces,
    (seen) => seen.includes('/v2'),
  );
  assert.deepEqual(traces, ['/v1', '/v2']);
});

/** Why the container of each puller pod has ended. The pods themselves go with the release. */
function pullerEnds(timeline: Timeline): Map<string, string> {
  const reasons = timeline.of('Pod').flatMap(({ name, object }): [string, string][] => {
    const [status] = asArray(at(object, 'status', 'containerStatuses'));
    const reason = asString(at(status, 'state', 'terminated', 'reason'));
    return isPullerPod(object) && reason !== undefined ? [[name, reason]] : [];
  });
  return new Map(reasons);
}

test('an image without a shell, or anything but its one program, is preloaded', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.push('v2', { base: 'scratch' });
  const web = await deploy(shop, 'web');
  await web.setImage(image);
  await web.released(60);
  for (const node of world.lab.nodes()) assert.ok((await world.lab.nodeImages(node)).includes(image));
  await web.rolledOut(60);
});
