import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import { limitConnections } from '../connection-limit.ts';
import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { createLogLimit } from '../log-limit.ts';
import { createTokenBuckets } from '../token-bucket.ts';

/** What is wrong, as text for an operator, or undefined if the check passes. */
export type Check = () => string | undefined;
/** By name, in the order in which the probe lists them. */
export type Checks = Readonly<Record<string, Check>>;

export function pass(checks: Checks): boolean {
  return Object.values(checks).every((check) => check() === undefined);
}

export interface HealthServerOptions {
  /** Failing, they have the kubelet restart the container: only what a restart would fix. */
  readonly live: Checks;
  /** Failing, they take the replica out of its Service. */
  readonly ready: Checks;
  readonly registry: Registry;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
}

interface Result {
  readonly name: string;
  readonly failure: string | undefined;
}

/** A request is a line and some headers. A client that takes longer is neither a kubelet nor Prometheus. */
const REQUEST_TIMEOUT_MS = 5000;
/** Kubelets open one for each probe, and Prometheus keeps one. */
const MAX_CONNECTIONS = 128;
/**
 * For one peer. A kubelet sends two requests a second at most, and Prometheus one every few seconds. A pod that requested the metrics as
 * fast as it could kept both replicas from answering anything else.
 */
const REQUEST_RATE = { burst: 40, refillMs: 100 };

/**
 * `/healthz`, `/readyz` and `/metrics`, by plain HTTP. `listen` and `close` are the caller's. A process whose event loop
 * stands still does not answer at all, and its probes run into their timeouts: that is what `ping` stands for.
 */
export function createHealthServer({
  live,
  ready,
  registry,
  clock,
  log,
}: HealthServerOptions): FastifyInstance {
  const limitLog = createLogLimit(clock);
  const app = fastify({
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A replica that ends says so to the last.
    return503OnClosing: false,
    // Prometheus keeps its connection open.
    forceCloseConnections: true,
  });
  limitConnections(app.server, MAX_CONNECTIONS, (peer) => {
    const { code, message } = new GateError('PG_CONNECTIONS', { peer, endpoint: 'health' });
    limitLog(code, (fields) => log.warn({ ...fields, code }, message));
  });
  limitRequests(app.server, clock);
  // Nothing here takes a body, so none is read.
  app.removeAllContentTypeParsers();

  function serve(endpoint: string, checks: Checks): void {
    let told = '';
    app.get(`/${endpoint}`, (_request, reply) => {
      const results = [{ name: 'ping', failure: undefined }, ...resultsOf(checks)];
      const failures = results.filter(({ failure }) => failure !== undefined);
      const text = failures.map(({ name, failure }) => `${name}: ${failure}`).join('; ');
      // The kubelet reports a failed probe in Events, which are cut short and expire after an hour. So each change is logged, but
      // not each probe.
      const names = failures.map(({ name }) => name).join();
      if (names !== told) log.warn({ endpoint }, text || 'every check passes again');
      told = names;
      void reply
        .code(failures.length === 0 ? 200 : 503)
        .type('text/plain; charset=utf-8')
        .send(report(endpoint, results));
    });
  }

  serve('healthz', live);
  serve('readyz', ready);
  app.addHook('onRequest', (request, reply, done) => {
    if (request.raw.socket.destroyed) reply.hijack();
    done();
  });
  app.get('/metrics', async (_request, reply) => {
    const text = await registry.metrics();
    return reply.type(registry.contentType).send(text);
  });
  app.setErrorHandler((err: FastifyError, _request, reply) => {
    const code = err.statusCode ?? 500;
    if (code >= 500)
      limitLog('failed', (fields) => log.error({ ...fields, err }, 'the health server failed'));
    const text = code >= 500 ? 'internal error' : err.message;
    void reply.code(code).type('text/plain; charset=utf-8').send(`${text}\n`);
  });
  return app;
}

/**
 * Closes the connection of a peer that sends too many requests, or that does not wait for an answer before it sends the next request. No
 * client of these endpoints does that, and a single packet could carry a thousand requests.
 */
function limitRequests(server: Server, clock: Pick<Clock, 'monotonic'>): void {
  const rates = createTokenBuckets({ ...REQUEST_RATE, clock });
  const answering = new WeakSet<Socket>();
  server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    if (answering.has(socket) || !rates.take(socket.remoteAddress ?? '')) socket.destroy();
    answering.add(socket);
    response.once('close', () => answering.delete(socket));
  });
}

function resultsOf(checks: Checks): Result[] {
  return Object.entries(checks).map(([name, check]) => {
    try {
      return { name, failure: check() };
    } catch (error) {
      return { name, failure: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** As API servers write it for `?verbose`. Nothing is withheld: no check knows a secret. */
function report(endpoint: string, results: readonly Result[]): string {
  const lines = results.map(({ name, failure }) =>
    failure === undefined ? `[+]${name} ok` : `[-]${name} failed: ${failure}`,
  );
  const passed = results.every(({ failure }) => failure === undefined);
  return `${lines.join('\n')}\n${endpoint} check ${passed ? 'passed' : 'failed'}\n`;
}
