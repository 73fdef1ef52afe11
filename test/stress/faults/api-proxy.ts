import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request as httpsRequest } from 'node:https';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import { identityFiles, PKI_FILES } from '../../cluster/lab/certificates.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import type { Scope } from '../../support/e2e/namespace.ts';

const CUT_EVERY_MS = 1000;
const FAILS_EVERY = 3;

/** Between the gate and the API server: what the API server does to others is not touched. */
export interface ApiProxy {
  readonly host: string;
  readonly port: number;
  /** Connections of watches that were cut, and calls that were answered with an error. */
  readonly counts: { readonly cut: number; readonly failed: number };
  /** Watches are cut off every second; returns the end of it. */
  cutWatches(): () => void;
  /** Every third call is answered with 429 or 500, in turn; returns the end of it. */
  failThirds(): () => void;
}

/** Pods reach it where they reach the API server itself, and believe the same certificate: it is of that address. */
export async function apiProxy(scope: Scope, lab: Lab): Promise<ApiProxy> {
  const files = identityFiles('kube-apiserver');
  const agent = new Agent({ ca: readFileSync(PKI_FILES.ca), keepAlive: true });
  const counts = { cut: 0, failed: 0 };
  const watches = new Set<ServerResponse>();
  let calls = 0;
  let failing = false;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    calls += 1;
    if (failing && calls % FAILS_EVERY === 0) {
      counts.failed += 1;
      request.resume();
      refuse(response, counts.failed % 2 === 0 ? 500 : 429);
      return;
    }
    if (/[?&]watch=(?:1|true)\b/.test(request.url ?? '')) {
      watches.add(response);
      response.on('close', () => watches.delete(response));
    }
    forward(request, response);
  }

  function forward(request: IncomingMessage, response: ServerResponse): void {
    const { method, headers, url } = request;
    const outgoing = httpsRequest(new URL(url ?? '/', lab.server), { agent, method, headers }, (incoming) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.headers);
      // A watch that has nothing to tell has begun all the same.
      response.flushHeaders();
      incoming.on('error', () => response.destroy());
      incoming.on('aborted', () => response.destroy());
      incoming.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    request.pipe(outgoing);
  }

  const server = createServer(
    { cert: readFileSync(files.certificate), key: readFileSync(files.key) },
    answer,
  );
  server.listen(0, HUB_ADDRESS);
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no TCP address');
  scope.after(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    agent.destroy();
    await closed;
  });
  return {
    host: HUB_ADDRESS,
    port: bound.port,
    counts,
    cutWatches() {
      const timer = setInterval(() => {
        counts.cut += watches.size;
        for (const watch of watches) watch.destroy();
      }, CUT_EVERY_MS);
      return () => clearInterval(timer);
    },
    failThirds() {
      failing = true;
      return () => {
        failing = false;
      };
    },
  };
}

/** As an API server says it (k8s.io/apiserver, pkg/endpoints/handlers/responsewriters). */
function refuse(response: ServerResponse, code: 429 | 500): void {
  const reason = code === 429 ? 'TooManyRequests' : 'InternalError';
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message: reason, code };
  response.writeHead(code, {
    'content-type': 'application/json',
    ...(code === 429 && { 'retry-after': '1' }),
  });
  response.end(JSON.stringify(status));
}
