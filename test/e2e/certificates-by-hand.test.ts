import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as dial } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { GATE_NAMESPACE } from '../../src/api/names.ts';
import { createAuthority } from '../../src/certificates/authority.ts';
import { DAY_MS } from '../../src/certificates/issue.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';
import { readCertificates } from '../../src/certificates/trust.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { type CommandResult, run } from '../cluster/lab/command.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { state } from '../cluster/lab/paths.ts';
import { type AdmissionLoad, assertAllHeld, startLoad, summary } from '../support/e2e/admission-load.ts';
import { type CertificateReplicas, startReplicas } from '../support/e2e/certificate-replicas.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Scope } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { overwriteTrust, trusted } from '../support/e2e/trust.ts';
import { until } from '../support/e2e/until.ts';

const SCRIPT = fileURLToPath(new URL('../../certs/certificates.sh', import.meta.url));
const options = { skip: spawnSync('openssl', ['version']).status !== 0 && 'no openssl' };

let lab: Lab;
let api: ApiClient;
before(async () => {
  lab = await attach();
  api = await connect(lab);
});
after(() => api.close());

/** certs/certificates.sh, for the gate in this namespace. */
function certificates(namespace: string, ...args: string[]): Promise<CommandResult> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: state('home'),
    KUBECTL: lab.kubectlCommand.join(' '),
    NAMESPACE: namespace,
  };
  return run(['sh', SCRIPT, ...args], { env, allowFailure: true, timeoutSeconds: 30 });
}

async function succeeds(namespace: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await certificates(namespace, ...args);
  assert.equal(code, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** Serial numbers that `inspect` prints of what is served. */
function servedSerial(inspected: string): string | undefined {
  return /^Served:\n.*, serial ([0-9A-F]+),/.exec(inspected)?.[1];
}

function authorityCount(inspected: string): number {
  const [, authorities = ''] = /\nAuthorities in the Secret:\n([\s\S]*)Webhooks:/.exec(inspected) ?? [];
  return authorities.trim().split('\n').length;
}

/** A certificate of an authority of one's own, in files. */
async function own(scope: Scope, namespace: string): Promise<{ files: string[]; serial: string }> {
  const now = new Date();
  const authority = await createAuthority({ now, days: 30 });
  const hosts = [`pullgate.${namespace}.svc`];
  const { certificatePem, keyPem } = await createServingCertificate(authority, { hosts, now, days: 30 });
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-own-'));
  scope.after(() => rmSync(folder, { recursive: true }));
  const texts = { 'tls.crt': certificatePem, 'tls.key': keyPem, 'ca.crt': authority.certificatePem };
  const files = Object.entries(texts).map(([name, text]) => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  });
  return { files, serial: readCertificates(certificatePem)[0]?.serialNumber ?? '' };
}

describe(
  'two replicas that publish a new authority for seconds only before it signs, under load',
  options,
  () => {
    const scope = suiteScope();
    const lifetimes = { servingMs: DAY_MS, authorityMs: 30 * DAY_MS, settleMs: 1500 };
    let replicas: CertificateReplicas;
    let load: AdmissionLoad;
    const command = (...args: string[]) => certificates(replicas.namespace, ...args);
    const inspect = () => succeeds(replicas.namespace, 'inspect');
    const serving = () => replicas.shown.map((all) => all.at(-1)?.serial);
    const allServe = (what: string, isIt: (serial: string) => boolean) =>
      until(what, 15, serving, (serials) => serials.every((serial) => serial !== undefined && isIt(serial)));

    before(async () => {
      replicas = await startReplicas(scope, lab, api, 2, { lifetimes, pollMs: 200 });
      load = await startLoad(scope, await createNamespace(scope, lab, api), {
        perSecond: 50,
        atMostSeconds: 60,
      });
    });

    test('renew: a new certificate, by the same authority, is served', async () => {
      const first = await inspect();
      assert.equal((await command('renew')).code, 0);
      await allServe('another one is served', (serial) => serial !== servedSerial(first));
      assert.equal(authorityCount(await inspect()), 1);
    });

    test('renew authority, then forget: only the new one is trusted', async () => {
      const [first] = readCertificates((await trusted(api))[0] ?? '');
      const old = servedSerial(await inspect());
      assert.equal((await command('renew', 'authority')).code, 0);
      await allServe('what the new one signed is served', (serial) => serial !== old);
      assert.equal(authorityCount(await inspect()), 2);
      assert.equal((await command('forget')).code, 0);
      await until(
        'the old one is trusted by no webhook',
        15,
        async () => (await trusted(api)).map(readCertificates),
        (all) =>
          all.every(([only, more]) => more === undefined && only?.fingerprint256 !== first?.fingerprint256),
      );
      assert.equal(authorityCount(await inspect()), 1);
    });

    test('bring: your own certificate is served, and its authority trusted', async (t) => {
      const { files, serial: mine } = await own(t, replicas.namespace);
      assert.equal((await command('bring', ...files)).code, 0);
      await allServe('it is served', (serial) => serial === mine);
      assert.equal(servedSerial(await inspect()), mine);
    });

    test('no admission was lost meanwhile', async (t) => {
      const result = await load.stop();
      t.diagnostic(summary(result));
      assertAllHeld(result);
      assert.deepEqual(replicas.refused, []);
    });
  },
);

describe('the gate as its manifests install it', options, () => {
  const scope = suiteScope();
  const inspect = () => succeeds(GATE_NAMESPACE, 'inspect');

  before(async () => {
    const gate = await inClusterGate(scope, lab);
    await gate.install();
  });

  test('inspect: what the replicas serve, until when, and that each webhook trusts it', async () => {
    const printed = await inspect();
    const serials = await servedByReplicas();
    assert.deepEqual(serials, [servedSerial(printed), servedSerial(printed)]);
    const [, end = ''] = /^Served:\n.*valid from .* to (.* GMT)\n/.exec(printed) ?? [];
    const days = (Date.parse(end) - Date.now()) / DAY_MS;
    assert.ok(days > 89 && days <= 90, printed);
    assert.equal(printed.match(/\.pullgate\.io trusts the served certificate/g)?.length, 4);
  });

  test('renew: all replicas serve another certificate within seconds', async (t) => {
    const first = servedSerial(await inspect());
    const began = performance.now();
    await succeeds(GATE_NAMESPACE, 'renew');
    const [serial] = await until('another one is served', 15, servedByReplicas, ([one, other]) => {
      return one !== undefined && one !== first && one === other;
    });
    t.diagnostic(`served by both after ${Math.round(performance.now() - began)} ms`);
    assert.equal(servedSerial(await inspect()), serial);
  });

  test('a caBundle that was overwritten is right again within seconds', async (t) => {
    const right = await trusted(api);
    const began = performance.now();
    await overwriteTrust(api, (await createAuthority({ now: new Date(), days: 1 })).certificatePem);
    await until(
      'it is right again',
      15,
      () => trusted(api),
      (bundles) => bundles.join() === right.join(),
    );
    t.diagnostic(`right again after ${Math.round(performance.now() - began)} ms`);
    await inspect();
  });

  test('bring: replicas that start serve it at once, and every webhook trusts it', async (t) => {
    const { files, serial } = await own(t, GATE_NAMESPACE);
    await succeeds(GATE_NAMESPACE, 'bring', ...files);
    await until('every webhook trusts it', 15, inspect, () => true);
    for (const args of [
      ['rollout', 'restart', 'deployment/pullgate'],
      ['rollout', 'status', 'deployment/pullgate', '--timeout=60s'],
    ]) {
      const { code, stderr } = await lab.kubectl(['-n', GATE_NAMESPACE, ...args], { timeoutSeconds: 90 });
      assert.equal(code, 0, stderr);
    }
    assert.deepEqual(await servedByReplicas(), [serial, serial]);
  });
});

/** By serial number, what each replica that is not on its way out shows to who connects. */
async function servedByReplicas(): Promise<string[]> {
  const list = await api.get(`/api/v1/namespaces/${GATE_NAMESPACE}/pods`, {
    labelSelector: 'app.kubernetes.io/component=gate',
  });
  const staying = asArray(at(list, 'items')).filter(
    (pod) => at(pod, 'metadata', 'deletionTimestamp') === undefined,
  );
  return await Promise.all(staying.map((pod) => shownAt(asString(at(pod, 'status', 'podIP')) ?? '')));
}

function shownAt(host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    // Looked at, not believed.
    const socket = dial({ host, port: 9443, rejectUnauthorized: false, timeout: 5000 }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.once('error', reject);
    socket.once('timeout', () => socket.destroy(new Error(`${host}: no answer`)));
  });
}
