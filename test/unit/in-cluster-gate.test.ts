import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { after, test } from 'node:test';
import { writeDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { API_GROUP_PATH, DECIDED_ANNOTATION, LEASE, MODE_LABEL } from '../../src/api/names.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { ApiError } from '../../src/cluster/api-error.ts';
import { readConfig } from '../../src/config.ts';
import { startInClusterGate } from '../../src/in-cluster-gate.ts';
import { asString, at, type JsonObject } from '../../src/json.ts';
import { admissionReview } from '../support/admission-review.ts';
import { freePort } from '../support/free-port.ts';
import {
  type ApiServerDouble,
  answer,
  type Handler,
  hang,
  startApiServerDouble,
  status,
} from '../support/unit/api-server-double.ts';
import { CONFIGURATION, certificateCluster, SECRET } from '../support/unit/certificate-cluster.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { until } from '../support/unit/until.ts';

/** The lease, its renewals and the leaving pass that much faster, and no test waits for 15 s. */
const SPEED = 5;
const fastClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now() * SPEED,
  setTimer: (ms, fn) => systemClock.setTimer(ms / SPEED, fn),
};
const LEASE_PATH = `/apis/coordination.k8s.io/v1/namespaces/pullgate/leases/${LEASE}`;
const COLLECTIONS = [
  '/api/v1/namespaces',
  '/api/v1/nodes',
  '/apis/apps/v1/deployments',
  `${API_GROUP_PATH}/imagepreloads`,
  '/api/v1/pods',
];

/** An API server with the manifests installed and nothing else in it, that can go away and come back. */
async function installed(double: ApiServerDouble, version: Handler) {
  const cluster = certificateCluster();
  cluster.register();
  const open = new Set<ServerResponse>();
  /** Items of collections, by path. */
  const stored = new Map<string, readonly JsonObject[]>();
  let isAway = false;

  const route = (method: string, path: string, handler: Handler) =>
    double.route(method, path, (seen, response) => {
      if (isAway) response.socket?.destroy();
      else handler(seen, response);
    });
  const storing =
    (store: (seen: Parameters<Handler>[0]) => Promise<unknown>): Handler =>
    (seen, response) => {
      store(seen).then(
        (object) => answer(200, object)(seen, response),
        (error: unknown) => {
          assert.ok(error instanceof ApiError, String(error));
          answer(error.status, status(error.status, error.reason))(seen, response);
        },
      );
    };
  for (const path of [SECRET, CONFIGURATION, LEASE_PATH]) {
    const collection = path.replace(/\/[^/]+$/, '');
    route(
      'GET',
      path,
      storing((seen) => cluster.client.get(seen.path)),
    );
    route(
      'POST',
      collection,
      storing((seen) => cluster.client.create(seen.path, seen.body)),
    );
    route(
      'PATCH',
      path,
      storing(({ path: of, body }) =>
        Array.isArray(body) ? cluster.client.jsonPatch(of, body) : cluster.client.mergePatch(of, body),
      ),
    );
  }
  for (const path of COLLECTIONS) {
    route('GET', path, (seen, response) => {
      if (!seen.query.has('watch')) {
        const items = stored.get(path) ?? [];
        answer(200, { items, metadata: { resourceVersion: '1' } })(seen, response);
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      open.add(response);
    });
  }
  route('GET', '/version', version);
  return {
    stored,
    servesCertificate: () => cluster.secret()['tls.crt'] !== undefined,
    holder: () => asString(at(cluster.get(LEASE_PATH), 'spec', 'holderIdentity')) ?? '',
    leave() {
      isAway = true;
      for (const response of open) response.socket?.destroy();
      open.clear();
    },
    comeBack() {
      isAway = false;
    },
  };
}

const ofVersion = (minor: string): Handler => answer(200, { major: '1', minor });

type Installed = Awaited<ReturnType<typeof installed>> & { readonly double: ApiServerDouble };

async function started(
  version: Handler,
  { flags = [], prepare }: { flags?: string[]; prepare?: (apiServer: Installed) => void } = {},
) {
  const double = await startApiServerDouble();
  const apiServer = { ...(await installed(double, version)), double };
  prepare?.(apiServer);
  const [port, healthPort] = [await freePort(), await freePort()];
  const { log, lines } = logDouble();
  const gate = startInClusterGate(
    {
      config: readConfig([
        ...['node', 'pullgate', '--kubeconfig', 'none'],
        ...['--listen', `127.0.0.1:${port}`, '--health-listen', `127.0.0.1:${healthPort}`],
        ...flags,
      ]),
      clock: fastClock,
      random: Math.random,
      log,
    },
    { ...double.cluster(), namespace: 'pullgate' },
  );
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= gate.stop();
    return stopped;
  };
  after(async () => {
    await stop();
    await double.close();
  });

  const health = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${healthPort}${path}`);
    return { code: response.status, text: await response.text() };
  };
  const metrics = async () => (await health('/metrics')).text;
  return {
    apiServer,
    ready: gate.ready,
    lines,
    stop,
    health,
    metrics,
    async leads(expected: 0 | 1): Promise<void> {
      const isSo = new RegExp(`^pullgate_leader ${expected}$`, 'm');
      const end = performance.now() + 10_000;
      while (!isSo.test(await metrics())) {
        assert.ok(performance.now() < end, `pullgate_leader ${expected}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    admit: () => admit(port),
  };
}

async function running(version = ofVersion('30'), options: Parameters<typeof started>[1] = {}) {
  const gate = await started(version, options);
  await gate.ready;
  return gate;
}

const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
after(() => agent.destroy());

/** As an API server asks, over a connection that it keeps. */
function admit(port: number): Promise<{ code: number | undefined; connection: string | undefined }> {
  const web = deployment();
  const body = JSON.stringify(admissionReview(web.object, web.image('registry.test/app:2').object));
  return new Promise((resolve, reject) => {
    const call = httpsRequest(
      {
        host: '127.0.0.1',
        port,
        agent,
        method: 'POST',
        path: '/admit/pause',
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        response.resume();
        response.on('end', () =>
          resolve({ code: response.statusCode, connection: response.headers.connection }),
        );
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

test('an outage of the API server ends the lead, and neither restarts a replica nor takes it out of its Service', async () => {
  const { apiServer, health, metrics, leads, admit: ask } = await running();
  await leads(1);
  for (const resource of ['namespaces', 'nodes', 'deployments', 'imagepreloads', 'pods'])
    assert.match(
      await metrics(),
      new RegExp(`^pullgate_watch_age_seconds\\{resource="${resource}"\\} `, 'm'),
    );

  apiServer.leave();
  await leads(0);
  const shown = await metrics();
  assert.doesNotMatch(shown, /^pullgate_(watch_age|holds|pulls)/m);
  assert.match(shown, /^pullgate_api_requests_total\{verb="patch",code="error"\} /m);
  assert.deepEqual([(await health('/healthz')).code, (await health('/readyz')).code], [200, 200]);
  assert.equal((await ask()).code, 200);

  apiServer.comeBack();
  await leads(1);
  assert.equal((await health('/readyz')).code, 200);
  assert.match(await metrics(), /^pullgate_admissions_total\{mode="pause",decision="Held"\} 1$/m);
  assert.match(await metrics(), /^pullgate_certificate_expiry_timestamp_seconds\{certificate="ca"\} \d+$/m);
});

test('a replica that is told to end is unready, answers each caller a last time, stops listening, and then gives its lease back', async () => {
  const { apiServer, health, leads, stop, admit: ask } = await running();
  await leads(1);
  assert.equal((await ask()).connection, 'keep-alive');
  const ended = stop();
  const unready = await health('/readyz');
  assert.equal(unready.code, 503);
  assert.match(unready.text, /^\[-\]stopping failed: this replica is shutting down$/m);
  // The kept connection, and then a new one for each.
  for (let asks = 0; asks < 5; asks += 1) assert.deepEqual(await ask(), { code: 200, connection: 'close' });
  assert.notEqual(apiServer.holder(), '');

  let served = 0;
  for (; served < 1000; served += 1) {
    const isHeld = apiServer.holder() !== '';
    const answered = await ask().catch((error: { code?: string }) => error.code);
    if (answered === 'ECONNREFUSED') break;
    assert.ok(isHeld, 'the lease is there for as long as anybody is answered');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // On a busy machine an answer takes a second.
  assert.ok(served > 0 && served < 1000, `${served} answers`);
  await ended;
  await until(() => apiServer.holder() === '');
});

test('a namespace whose calls are never answered does not keep a leader from giving its lease back', async () => {
  const since = new Date().toISOString();
  const events = '/apis/events.k8s.io/v1/namespaces/hostile/events';
  const { apiServer, leads, stop } = await running(undefined, {
    prepare({ stored, double }) {
      const metadata = { name: 'hostile', uid: 'uid-hostile', labels: { [MODE_LABEL]: 'pause' } };
      stored.set('/api/v1/namespaces', [{ metadata }]);
      // Each of them was decided on, which is an Event.
      const objects = Array.from({ length: 10 }, (_, n) => {
        const uid = `uid-${n}`;
        const template = templateHash(parseDeployment(updated.object).template);
        const decided = {
          uid,
          template,
          decision: 'Held',
          by: 'a-developer',
          at: since,
          reason: '',
        } as const;
        return heldObject(
          updated
            .metadata({ namespace: 'hostile', name: `web-${n}`, uid })
            .annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided)),
          { uid, since },
        );
      });
      stored.set('/apis/apps/v1/deployments', objects);
      double.route('POST', events, hang);
      double.route('POST', `${API_GROUP_PATH}/namespaces/hostile/imagepreloads`, hang);
    },
  });
  await leads(1);
  await until(() => apiServer.double.requests.some(({ path }) => path === events));
  const began = fastClock.monotonic();
  await stop();
  assert.equal(apiServer.holder(), '');
  // 5 s until nobody sends requests any more, 10 s for what has begun, and some for a machine that is busy.
  assert.ok(fastClock.monotonic() - began < 25_000, `${fastClock.monotonic() - began} ms`);
});

test('a replica on a server before 1.30 ends with PG_SERVER_VERSION and serves nothing', async () => {
  const { ready, admit: ask } = await started(ofVersion('29'));
  await assert.rejects(ready, {
    code: 'PG_SERVER_VERSION',
    message: /https:\/\/127\.0\.0\.1:\d+ runs Kubernetes 1\.29; Pullgate needs 1\.30 or later/,
  });
  await assert.rejects(ask(), { code: 'ECONNREFUSED' });
});

test('a replica on a server before 1.30 serves with --unsupported-server', async () => {
  const { admit: ask } = await running(ofVersion('29'), { flags: ['--unsupported-server'] });
  assert.equal((await ask()).code, 200);
});

test('a replica waits, alive and not ready, until the API server tells its version', async () => {
  let tells: Handler = answer(403, status(403, 'Forbidden', 'not yet'));
  const {
    apiServer,
    ready,
    lines,
    health,
    admit: ask,
  } = await started((seen, response) => tells(seen, response));
  await until(() => apiServer.servesCertificate() && lines.some(({ code }) => code === 'PG_RBAC'));
  assert.deepEqual([(await health('/healthz')).code, (await health('/readyz')).code], [200, 503]);
  await assert.rejects(ask(), { code: 'ECONNREFUSED' });

  tells = ofVersion('37+');
  await ready;
  assert.equal((await ask()).code, 200);
});
