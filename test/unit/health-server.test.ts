import assert from 'node:assert/strict';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { Gauge, Registry } from 'prom-client';
import { type Checks, createHealthServer } from '../../src/observe/health-server.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

function server(checks: { live?: Checks; ready?: Checks } = {}) {
  const { log, lines } = logDouble();
  const registry = new Registry();
  const app = createHealthServer({ live: {}, ready: {}, registry, clock: manualClock(), log, ...checks });
  return { app, lines, registry };
}

const fine = () => undefined;

test('a replica is alive if it answers and no check fails', async () => {
  const { app } = server({ live: { watches: fine } });
  const { statusCode, body, headers } = await app.inject('/healthz');
  assert.equal(statusCode, 200);
  assert.equal(body, '[+]ping ok\n[+]watches ok\nhealthz check passed\n');
  assert.match(String(headers['content-type']), /^text\/plain/);
});

test('readiness says which check fails, and why, as API servers do', async () => {
  const { app } = server({
    ready: { certificate: fine, watches: () => 'deployments is not read yet', registration: fine },
  });
  const { statusCode, body } = await app.inject('/readyz');
  assert.equal(statusCode, 503);
  assert.equal(
    body,
    [
      '[+]ping ok',
      '[+]certificate ok',
      '[-]watches failed: deployments is not read yet',
      '[+]registration ok',
      'readyz check failed\n',
    ].join('\n'),
  );
});

test('what fails one endpoint does not fail the other', async () => {
  const { app } = server({ live: { watches: fine }, ready: { shutdown: () => 'shutting down' } });
  assert.equal((await app.inject('/healthz')).statusCode, 200);
  assert.equal((await app.inject('/readyz')).statusCode, 503);
});

test('a check that throws has failed', async () => {
  const { app } = server({
    live: {
      broken() {
        throw new Error('no such thing');
      },
    },
  });
  const { statusCode, body } = await app.inject('/healthz');
  assert.equal(statusCode, 503);
  assert.match(body, /^\[-\]broken failed: no such thing$/m);
});

test('the checks are made anew at each request, and a change is one line in the log', async () => {
  let failure: string | undefined;
  const { app, lines } = server({ ready: { certificate: () => failure } });
  const ask = async () => (await app.inject('/readyz')).statusCode;
  assert.deepEqual([await ask(), await ask()], [200, 200]);
  assert.deepEqual(lines, []);
  failure = 'ended 3 s ago';
  assert.equal(await ask(), 503);
  failure = 'ended 13 s ago';
  assert.equal(await ask(), 503);
  failure = undefined;
  assert.deepEqual([await ask(), await ask()], [200, 200]);
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ['certificate: ended 3 s ago', 'every check passes again'],
  );
});

test('the metrics are those of the registry, in the type that Prometheus expects', async () => {
  const { app, registry } = server();
  new Gauge({ name: 'some_gauge', help: 'Some', registers: [registry] }).set(3);
  const { statusCode, body, headers } = await app.inject('/metrics');
  assert.equal(statusCode, 200);
  assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(body, /^some_gauge 3$/m);
});

test('a metric that cannot be had is an error in the log, and no more', async () => {
  const { app, registry, lines } = server();
  const collect = () => {
    throw new Error('no such thing');
  };
  new Gauge({ name: 'some_gauge', help: 'Some', registers: [registry], collect });
  assert.equal((await app.inject('/metrics')).statusCode, 500);
  assert.equal(lines[0]?.['msg'], 'the health server failed');
  assert.equal((await app.inject('/healthz')).statusCode, 200);
});

test('nothing else is there', async () => {
  const { app } = server();
  assert.equal((await app.inject('/')).statusCode, 404);
  assert.equal((await app.inject({ method: 'POST', url: '/healthz' })).statusCode, 404);
});

test('whatever a stranger sends: no body is read, and the log does not fill', async () => {
  const { app, lines } = server();
  for (let n = 0; n < 100; n += 1) {
    const payload = n % 2 === 0 ? '{' : 'x'.repeat(500_000);
    const headers = { 'content-type': n % 2 === 0 ? 'application/json' : 'text/plain' };
    const { statusCode } = await app.inject({ method: 'POST', url: '/metrics', payload, headers });
    assert.ok(statusCode >= 400 && statusCode < 500, `${statusCode}`);
  }
  assert.deepEqual(lines, []);
});

test('it is served by plain HTTP on a port of its own, and closing does not wait for a kept connection', async () => {
  const { app } = server();
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  assert.match(address, /^http:/);
  const answer = await fetch(`${address}/healthz`);
  assert.equal(await answer.text(), '[+]ping ok\nhealthz check passed\n');
  const began = performance.now();
  await app.close();
  assert.ok(performance.now() - began < 2000);
});

test('a peer that asks without end is not answered any more, and another one is', async () => {
  const { app, registry } = server();
  let looks = 0;
  const collect = () => {
    looks += 1;
  };
  new Gauge({ name: 'looks', help: 'x', registers: [registry], collect });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  const ask = (localAddress: string, times: number): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    let text = '';
    socket.write('GET /metrics HTTP/1.1\r\nhost: gate\r\n\r\n'.repeat(times));
    socket.on('data', (data) => {
      text += data.toString();
      if (times === 1 && text.includes('looks')) socket.end();
    });
    socket.on('error', () => undefined);
    return new Promise((resolve) => void socket.once('close', () => resolve(text)));
  };
  // All in one packet.
  await ask('127.0.0.2', 1000);
  assert.ok(looks <= 1, `${looks} looks`);
  for (let n = 0; n < 100; n += 1) await ask('127.0.0.2', 1);
  assert.ok(looks <= 40, `${looks} looks`);
  assert.match(await ask('127.0.0.1', 1), /^HTTP\/1.1 200 /);
  await app.close();
});
