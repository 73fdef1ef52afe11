import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { API_GROUP_PATH, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../src/api/names.ts';
import { systemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { locate, readManifests } from '../../src/install/manifests.ts';
import { asArray, asObject, at } from '../../src/json.ts';
import { startProcessGate } from '../../src/process-gate.ts';
import { freePort } from '../support/free-port.ts';
import { answer, startApiServerDouble } from '../support/unit/api-server-double.ts';
import { CONFIGURATION } from '../support/unit/certificate-cluster.ts';
import { logDouble } from '../support/unit/log-double.ts';

/** A process gate on a server of that version that stores nothing but takes whatever is applied. */
async function start(minor: string, ...flags: string[]) {
  const double = await startApiServerDouble();
  double.route('GET', '/version', answer(200, { major: '1', minor }));
  double.route('GET', `${API_GROUP_PATH}/imagepreloads`, answer(200, { items: [] }));
  double.route(
    'POST',
    `/api/v1/namespaces/${GATE_NAMESPACE}/serviceaccounts/${GATE_SERVICE_ACCOUNT}/token`,
    answer(201, { status: { token: 'token' } }),
  );
  // Read at the stop: there is no hold to release.
  double.route('GET', '/apis/apps/v1/deployments', answer(200, { items: [] }));
  const { base, crd, policies, webhookConfiguration } = await readManifests();
  for (const object of [...base, crd, ...policies, webhookConfiguration])
    double.route('PATCH', locate(object).path, answer(200, {}));

  const listen = `127.0.0.1:${await freePort()}`;
  const config = readConfig(['node', 'pullgate', '--kubeconfig', 'none', '--listen', listen, ...flags]);
  const { log } = logDouble();
  const gate = startProcessGate({ config, clock: systemClock, random: Math.random, log }, double.cluster());
  // A gate that was refused has nothing to stop.
  after(async () => {
    await (await gate.catch(() => undefined))?.stop();
    await double.close();
  });
  return {
    gate,
    writes: () => double.requests.filter(({ method }) => method !== 'GET'),
    /** Of each registered webhook, whether it has match conditions. */
    matchConditions: () => {
      const registered = double.requests.find(
        ({ method, path }) => method === 'PATCH' && path === CONFIGURATION,
      );
      return asArray(at(registered?.body, 'webhooks')).map((webhook) =>
        Object.hasOwn(asObject(webhook), 'matchConditions'),
      );
    },
  };
}

test('a server before 1.30 is refused before anything is written to it', async () => {
  const { gate, writes } = await start('29');
  await assert.rejects(gate, { code: 'PG_SERVER_VERSION' });
  assert.deepEqual(writes(), []);
});

test('with --unsupported-server the gate starts there, and its webhooks have no match conditions', async () => {
  const { gate, matchConditions } = await start('29', '--unsupported-server');
  await gate;
  assert.deepEqual(matchConditions(), [false, false, false, false]);
});

for (const minor of ['30', '37+']) {
  test(`on 1.${minor} the gate starts, and its webhooks have match conditions`, async () => {
    const { gate, matchConditions } = await start(minor);
    await gate;
    assert.deepEqual(matchConditions(), [true, true, true, true]);
  });
}
