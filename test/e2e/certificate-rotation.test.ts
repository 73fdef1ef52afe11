import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAuthority } from '../../src/certificates/authority.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { assertAllHeld, type LoadResult, startLoad, summary } from '../support/e2e/admission-load.ts';
import {
  type CertificateReplicas,
  type ShownCertificate,
  startReplicas,
} from '../support/e2e/certificate-replicas.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { createNamespace } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { overwriteTrust, trusted } from '../support/e2e/trust.ts';
import { until } from '../support/e2e/until.ts';

/**
 * Renewed after two thirds: a certificate every 6 s, an authority every 16 s. `settleMs` is some 30 times what the lab's API server
 * needs to learn of a webhook configuration, and a third of a certificate's life is longer than a change of authority takes.
 */
const TIMES = { lifetimes: { servingMs: 9000, authorityMs: 24_000, settleMs: 1500 }, pollMs: 250 };
const ROTATIONS = 10;
const AUTHORITIES = 2;

const scope = suiteScope();
let lab: Lab;
let api: ApiClient;
let replicas: CertificateReplicas;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  replicas = await startReplicas(scope, lab, api, 2, TIMES);
});
after(() => api.close());

test('ten new certificates and two new authorities, at 50 updates a second, cost no admission', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const load = await startLoad(t, shop, { perSecond: 50, atMostSeconds: 95 });
  const firsts = replicas.shown.map(({ length }) => Math.max(0, length - 1));
  const since = () => replicas.shown.map((all, index) => all.slice(firsts[index]));
  let result: LoadResult;
  try {
    await until(
      `${ROTATIONS} rotations, and ${AUTHORITIES} of the authority, in each replica`,
      85,
      since,
      (all) => all.every((one) => one.length > ROTATIONS && authorities(one).size > AUTHORITIES),
    );
  } finally {
    result = await load.stop();
    t.diagnostic([summary(result), ...replicas.refused.slice(0, 3)].join('\n  '));
    for (const one of since()) {
      const connections = one.reduce((sum, { connections: some }) => sum + some, 0);
      const [served, signed] = [one.length - 1, authorities(one).size - 1];
      t.diagnostic(`${served} rotations, ${signed} of the authority, ${connections} connections`);
    }
  }
  assertAllHeld(result);
  assert.deepEqual(replicas.refused, [], 'no API server refused a certificate');
});

test('a caBundle that was overwritten is right again within seconds, and updates are held again', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const foreign = await createAuthority({ now: new Date(), days: 1 });
  await overwriteTrust(api, foreign.certificatePem);
  const began = performance.now();
  await until(
    'every webhook trusts what is served',
    10,
    () => trusted(api),
    (bundles) => !bundles.includes(foreign.certificatePem),
  );
  t.diagnostic(`repaired after ${Math.round(performance.now() - began)} ms`);
  const load = await startLoad(t, shop, { perSecond: 50, atMostSeconds: 30 });
  const [one] = replicas.shown;
  const count = one?.length ?? 0;
  await until(
    'one more rotation',
    20,
    () => one?.length ?? 0,
    (length) => length > count,
  );
  assertAllHeld(await load.stop());
});

function authorities(shown: readonly ShownCertificate[]): ReadonlySet<string> {
  return new Set(shown.map(({ authority }) => authority));
}
