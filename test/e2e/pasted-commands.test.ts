import assert from 'node:assert/strict';
import { delimiter, dirname } from 'node:path';
import { describe, test } from 'node:test';
import { type CommandResult, run } from '../lab/command.ts';
import { readGround } from '../lab/ground.ts';
import { PAUSE_IMAGE } from '../lab/images.ts';
import { deploy, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { imagesOf } from './timeline.ts';
import { until } from './until.ts';

const world = gatedLab();

/** As a user with the cluster's kubeconfig would paste it into a terminal. */
function paste(command: string): Promise<CommandResult> {
  const folders = [process.env['PATH'], readGround()?.tools.env['PATH']];
  return run(['sh', '-c', command], {
    env: {
      PATH: folders.filter((folder) => folder !== undefined).join(delimiter),
      KUBECONFIG: world.lab.kubeconfig,
      // Else kubectl makes its cache in the folder where the tests run.
      HOME: dirname(world.lab.kubeconfig),
    },
    timeoutSeconds: 60,
  });
}

function commandAfter(title: string, { stderr }: CommandResult): string {
  const line = stderr.split('\n').find((text) => text.startsWith(`Warning: ${title}: `));
  assert.ok(line, stderr);
  return line.slice(`Warning: ${title}: `.length);
}

describe('a hold prints a command that', { concurrency: true }, () => {
  test('lets the rollout through at once, without its image on the nodes', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 60);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const held = await web.setImage(image);
    assert.ok(isHeld(await web.read()));

    const { stderr } = await paste(commandAfter('Let it through now', held));
    assert.match(stderr, /is let through without its images on the nodes: urgent/);
    const stored = await web.read();
    assert.equal(isHeld(stored), false);
    assert.equal(stored.paused, false);
    await timeline.first(
      'the rollout begins',
      10,
      ({ kind, object }) => kind === 'ReplicaSet' && imagesOf(object).includes(image),
    );
    assert.ok(!(await world.lab.nodeImages('node-1')).includes(image), 'still being pulled');
    const events = await until(
      'it is told',
      10,
      () => shop.events('web'),
      (all) => all.some(({ reason }) => reason === 'HoldBypassed'),
    );
    const { note = '', type } = events.find(({ reason }) => reason === 'HoldBypassed') ?? {};
    assert.equal(type, 'Warning');
    assert.match(note, /let through by pullgate-lab-admin .*: urgent/);
    await web.rolledOut(60);
  });

  test('goes back to what runs', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 30);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const held = await web.setImage(image);

    await paste(commandAfter('Go back', held));
    const stored = await web.read();
    assert.equal(isHeld(stored), false);
    assert.equal(stored.paused, false);
    assert.deepEqual(imagesOf({ spec: { template: stored.template } }), [PAUSE_IMAGE]);
    await web.rolledOut(20);
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
  });

  test('shows how far the preload is', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const { stderr } = await web.setImage(await shop.pushSlow('v2', 30));
    const command = /watch: (kubectl \S+ \S+ get ipl \S+) -w$/m.exec(stderr)?.[1];
    assert.ok(command, stderr);
    await until('the preload is there', 10, shop.preloads, ({ length }) => length === 1);
    const { stdout } = await paste(command);
    assert.match(stdout, /^NAME +PHASE +READY +FAILED +IMAGES +AGE/);
    await web.released(60);
  });
});

test('a bypass in the same update is not held at all', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  const image = await shop.push('v2');
  const patch = {
    metadata: { annotations: { 'pullgate.io/bypass': 'incident 42' } },
    spec: { template: { spec: { containers: [{ name: 'app', image }] } } },
  };
  const { stderr } = await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify(patch));
  assert.match(stderr, /let through without its images on the nodes: incident 42/);
  await web.rolledOut(60);
  assert.deepEqual(await shop.preloads(), []);

  // It was for that update alone.
  await web.setImage(await shop.push('v3'));
  assert.ok(isHeld(await web.read()));
  await web.released(60);
});
