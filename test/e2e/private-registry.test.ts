import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploy } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import type { Namespace } from './namespace.ts';
import { until } from './until.ts';

const world = gatedLab();

async function storedPassword(namespace: Namespace): Promise<void> {
  const { username, password } = world.lab.privateCredentials;
  await namespace.kubectl(
    'create',
    'secret',
    'docker-registry',
    'password',
    `--docker-server=${world.lab.privateRegistry}`,
    `--docker-username=${username}`,
    `--docker-password=${password}`,
  );
}

async function givePassword(namespace: Namespace, serviceAccount: string): Promise<void> {
  const body = JSON.stringify({ imagePullSecrets: [{ name: 'password' }] });
  await namespace.kubectl('patch', 'serviceaccount', serviceAccount, '-p', body);
}

async function assertEverywhere(image: string): Promise<void> {
  for (const node of world.lab.nodes()) {
    assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has ${image}`);
  }
}

describe('an image behind a password', { concurrency: true }, () => {
  test("is preloaded with the template's own pull secret", async (t) => {
    const shop = await world.namespace(t);
    await storedPassword(shop);
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web', { pod: { imagePullSecrets: [{ name: 'password' }] } });
    await web.setImage(image);
    await web.released(60);
    await assertEverywhere(image);
    await web.rolledOut(60);
  });

  test("is preloaded with the pull secret of the template's service account", async (t) => {
    const shop = await world.namespace(t);
    await storedPassword(shop);
    await shop.kubectl('create', 'serviceaccount', 'clerk');
    await givePassword(shop, 'clerk');
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web', { pod: { serviceAccountName: 'clerk' } });
    await web.setImage(image);
    await web.released(60);
    await assertEverywhere(image);
    await web.rolledOut(60);
  });

  test("is refused without one, in the registry's words, until there is one", async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web');
    await web.setImage(image);

    const failed = (reason: string) => reason === 'PreloadFailed';
    const events = await until(
      'the failure is told',
      20,
      () => shop.events('web'),
      (all) => all.some(({ reason }) => failed(reason)),
    );
    const { note = '', type } = events.find(({ reason }) => failed(reason)) ?? {};
    assert.equal(type, 'Warning');
    assert.match(note, /Unauthorized/);
    // The registry's challenge, as containerd passes it on.
    assert.match(note, /no basic auth credentials|401 Unauthorized|authorization failed/);
    const [preload] = await until(
      'so does the status',
      10,
      shop.preloads,
      ([one]) => one?.status?.phase === 'Failed',
    );
    assert.equal(preload?.status?.failures[0]?.reason, 'Unauthorized');
    assert.equal((await web.read()).status.availableReplicas, 1);

    await storedPassword(shop);
    await givePassword(shop, 'default');
    await web.released(60);
    await assertEverywhere(image);
    await web.rolledOut(60);
  });
});
