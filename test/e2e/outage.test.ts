import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../src/json.ts';
import { up } from '../cluster/lab/lab.ts';
import { mainProcess, signal } from '../cluster/lab/process-table.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

async function admin(...args: string[]): Promise<void> {
  const { code, stderr } = await world.lab.kubectl(args);
  assert.equal(code, 0, stderr);
}

function manifest(name: string): string {
  return fileURLToPath(new URL(`../../deploy/${name}.yaml`, import.meta.url));
}

function isMissingRight({ code }: JsonObject): boolean {
  return code === 'PG_RBAC';
}

test('holds wait while the gate lacks its rights, and go on when it has them again', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.push('v2');
  const web = await deploy(shop, 'web');
  t.after(() => admin('apply', '-f', manifest('rbac')));

  await admin('delete', 'clusterrole', 'pullgate-workloads');
  await web.setImage(image);
  assert.ok(isHeld(await web.read()));
  // The dry run lacks its right, too, and is told first.
  const line = await world.gate.logged(
    'the missing right',
    30,
    (one) => isMissingRight(one) && /cannot create resource "imagepreloads"/.test(String(one['msg'])),
  );
  assert.equal(line['err'], undefined, 'no stack trace');

  await admin('apply', '-f', manifest('rbac'));
  await web.released(60);
  await web.rolledOut(60);
});

test('a gate that the API server turns away after a restart says so, and follows again once it may', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  await web.setImage(await shop.pushSlow('v2', 40));
  await until(
    'it pulls',
    20,
    shop.preloads,
    ([one]) => one?.status?.pullingNodes === world.lab.nodes().length,
  );

  await admin('delete', 'clusterrole', 'pullgate');
  t.after(() => admin('apply', '-f', manifest('rbac')));
  signal(mainProcess('hub/kube-apiserver')?.pid ?? 0, 'SIGKILL');
  await up();
  const isAboutReading = ({ code, path }: JsonObject) => code === 'PG_RBAC' && path === '/api/v1/nodes';
  await world.gate.logged('the missing right', 60, isAboutReading);
  assert.ok(isHeld(await web.read()));
  await admin('apply', '-f', manifest('rbac'));
  await web.released(60);
  await web.rolledOut(60);
});

test('a hold waits while the kind ImagePreload is gone, and goes on when it is there again', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  await web.setImage(await shop.pushSlow('v2', 60));
  await until(
    'it pulls',
    20,
    shop.preloads,
    ([one]) => one?.status?.pullingNodes === world.lab.nodes().length,
  );

  await admin('delete', 'crd', 'imagepreloads.pullgate.io');
  await world.gate.logged('the missing kind', 30, ({ code }) => code === 'PG_CRD_MISSING');
  assert.ok(isHeld(await web.read()));

  await admin('apply', '-f', manifest('crd'));
  t.after(() => admin('delete', 'crd', 'imagepreloads.pullgate.io', '--ignore-not-found'));
  await web.released(60);
  await web.rolledOut(60);
});
