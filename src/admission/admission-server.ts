import type { Socket } from 'node:net';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type onRequestHookHandler,
} from 'fastify';
import type { Clock } from '../clock.ts';
import { GateError } from '../errors.ts';
import type { PreloadProgress } from '../hold/preload-progress.ts';
import type { Floor } from '../hold/settings.ts';
import type { Logger } from '../log.ts';
import { MODES, type Mode } from '../names.ts';
import {
  type AdmissionRequest,
  type AdmissionUser,
  admissionResponse,
  parseAdmissionReview,
} from './admission-review.ts';
import {
  type Ask,
  type DecideInput,
  type Decision,
  type DecisionKind,
  decide,
  endsGating,
} from './decide.ts';
import { auditAnnotationsFor, warningsFor } from './warnings.ts';

const ADMIT = '/admit/';
/** The old and the new object, at most 3 MB each (the API server's limit of a resource write), and 1 MB for the rest. */
const BODY_LIMIT = 7 * 1024 * 1024;
/** `timeoutSeconds` in the webhook configuration: after that the API server does not wait for the answer any more. */
const BODY_TIMEOUT_MS = 5000;
/**
 * Above the 90 s after which Go closes an idle connection (net/http, DefaultTransport): if this side closed first, a
 * request could meet a closing connection. The same holds for one that was dialled and not used yet, which counts as
 * a slow request here: Go keeps such spare ones too. Slow bodies have BODY_TIMEOUT_MS.
 */
const CONNECTION_TIMEOUT_MS = 95_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/**
 * A replica that leaves listens until no request has come for so long: whoever still sends some, over a connection of before or
 * because it has not heard yet, does so more often. But not for ever: then it is closed in the middle of them.
 */
const QUIET_MS = 1000;
const QUIET_LIMIT_MS = 5000;
/** A body that is being received, then a look-up of at most 1 s: whatever is in flight has been answered by then. */
const DRAIN_LIMIT_MS = BODY_TIMEOUT_MS + 2000;

interface AdmissionServerOptions {
  /** PEM. New ones are set by `server.setSecureContext` of the instance. */
  readonly tls: { readonly cert: string; readonly key: string };
  readonly gate: {
    /** The gate's own user name: its writes, the release above all, pass. */
    readonly username: string;
    /** Namespaces that are never gated, whatever their labels say. */
    readonly exemptNamespaces: readonly string[];
  };
  /** Never rejects: who cannot be asked says no. Called only if an update asks for a bypass or opts out. */
  readonly mayBypass: (user: AdmissionUser, namespace: string) => Promise<boolean>;
  /**
   * How far the preload is that an update in mode reject waits for. Sees to it that there is one, but not on a dry run.
   * Below the 5 s that the API server waits. What it throws becomes an error, and then failurePolicy decides.
   */
  readonly preloadProgress: (request: AdmissionRequest, ask: Ask) => Promise<PreloadProgress>;
  /** What the settings of a Deployment may not be looser than; undefined if they may. */
  readonly floor?: Floor | undefined;
  /** Aborted when this replica begins to leave: from then on each answer is the last one of its connection. */
  readonly leaving?: AbortSignal | undefined;
  /** Each call of one of the modes, once. `Error`: the answer was one, or nobody waited for it any more. */
  readonly onAnswer?: ((mode: Mode, decision: DecisionKind | 'Error', seconds: number) => void) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The endpoint that the API server calls. `listen` and `close` are the caller's: `close` answers what is in flight, and
 * takes at most 7 s; where this replica is leaving, 5 s more.
 *
 * Errors are answered as a `Status`, whose message the API server shows. With failurePolicy Ignore each of them lets the
 * update pass as it came: nothing is held by mistake.
 */
export function createAdmissionServer(options: AdmissionServerOptions): FastifyInstance {
  const { tls, gate, mayBypass, preloadProgress, floor, leaving, onAnswer, clock, log } = options;
  const app = fastify({
    https: { ...tls, headersTimeout: CONNECTION_TIMEOUT_MS, handshakeTimeout: HANDSHAKE_TIMEOUT_MS },
    bodyLimit: BODY_LIMIT,
    requestTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: CONNECTION_TIMEOUT_MS,
    // The API server goes on using open connections while this closes. Answered 503, an update would pass ungated.
    return503OnClosing: false,
    // After the drain below. Else a connection that never sent anything would keep `close` waiting for 95 s.
    forceCloseConnections: true,
    frameworkErrors: answerError,
    clientErrorHandler: answerNoRequest,
  });
  // JSON alone. Its parser is Fastify's, which refuses keys named `__proto__`: no Kubernetes object can have one, as
  // labels and annotations begin with a letter or digit, so it costs nothing to keep them out for good.
  app.removeContentTypeParser('text/plain');
  drainOnClose(app, { leaving, clock });
  limitTime(app, clock);
  const decided = new WeakMap<FastifyRequest, DecisionKind>();

  for (const mode of MODES) {
    app.post(ADMIT + mode, { onRequest: tellAnswer(mode) }, async (call) => {
      const began = clock.monotonic();
      const request = parseAdmissionReview(call.body);
      const now = clock.now();
      const decision = await decideFor(mode, request, now);
      const response = admissionResponse(request, {
        object: decision.object,
        denial: decision.denial,
        warnings: warningsFor(decision, request, now, floor),
        auditAnnotations: auditAnnotationsFor(decision),
      });
      logDecision(log, request, decision, clock.monotonic() - began);
      decided.set(call, decision.kind);
      return response;
    });
  }

  app.setNotFoundHandler((request, reply) => answerError(notFound(request), request, reply));
  app.setErrorHandler(answerError);
  return app;

  /** From the head of the request to the end of the answer: the body is a part of what the API server waits for. */
  function tellAnswer(mode: Mode): onRequestHookHandler {
    return (request, { raw }, done) => {
      const began = clock.monotonic();
      raw.once('close', () => {
        const ok = raw.writableFinished && raw.statusCode === 200;
        const decision = ok ? decided.get(request) : undefined;
        onAnswer?.(mode, decision ?? 'Error', (clock.monotonic() - began) / 1000);
      });
      done();
    };
  }

  async function decideFor(mode: Mode, request: AdmissionRequest, now: number): Promise<Decision> {
    const { object, oldObject, user, namespace, dryRun } = request;
    const input: DecideInput = {
      mode,
      object,
      oldObject,
      username: user.username,
      gateUsername: gate.username,
      exemptNamespaces: gate.exemptNamespaces,
      mayBypass: endsGating(oldObject, object, now) && (await mayBypass(user, namespace)),
      dryRun,
      now,
    };
    const decision = decide(input);
    if (decision.asks === undefined) return decision;
    return decide({ ...input, progress: await preloadProgress(request, decision.asks) });
  }

  /** What the parser refuses, such as a head that is too large, never becomes a request. */
  function answerNoRequest(error: Error & { readonly code?: string }, socket: Socket): void {
    // Nobody is there to read the answer.
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const answer = new GateError('PG_REQUEST_NOT_HTTP', { detail: error.message });
    log.warn({ code: answer.code }, answer.message);
    const { body, code } = statusOf(answer);
    const text = JSON.stringify(body);
    socket.end(
      `HTTP/1.1 ${code} Bad Request\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
    );
  }

  function answerError(error: FastifyError | GateError, request: FastifyRequest, reply: FastifyReply): void {
    const answer = error instanceof GateError ? error : gateError(error, request);
    const { code, body } = statusOf(answer);
    const { message } = answer;
    if (code >= 500) log.error({ err: error }, message);
    else log.warn({ code: answer.code }, message);
    if (code === 405) reply.header('allow', 'POST');
    // What is left of the body is not read.
    reply.header('connection', 'close');
    void reply.code(code).send(body);
  }
}

/** As API servers word their errors, so that they can pass it on. */
function statusOf({ status: code = 500, message }: GateError): {
  readonly code: number;
  readonly body: object;
} {
  return { code, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, code } };
}

function logDecision(log: Logger, request: AdmissionRequest, decision: Decision, ms: number): void {
  const quiet = decision.kind === 'Unchanged' || decision.kind === 'Ignored';
  log[quiet ? 'debug' : 'info'](
    {
      deployment: `${request.namespace}/${request.name}`,
      decision: decision.kind,
      ...(decision.hold !== undefined && { preload: decision.hold.preload }),
      user: request.user.username,
      dryRun: request.dryRun,
      ms: Math.round(ms * 10) / 10,
    },
    decision.reason,
  );
}

/** No such path, or not by this method. */
function notFound({ method, url }: FastifyRequest): GateError {
  const path = url.replace(/\?.*/s, '');
  const known = MODES.some((mode) => path === ADMIT + mode);
  return new GateError(known ? 'PG_METHOD' : 'PG_NOT_FOUND', { method, path });
}

/** An error of Fastify's as the table has it. */
function gateError(error: FastifyError, request: FastifyRequest): GateError {
  // Fastify reads the body there too, and it may be as wrong as the path.
  if (request.is404) return notFound(request);
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new GateError('PG_BODY_TOO_LARGE', { limit: BODY_LIMIT });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new GateError('PG_CONTENT_TYPE', { contentType: request.headers['content-type'] ?? '(none)' });
    case 'FST_ERR_BAD_URL':
      return notFound(request);
    default:
      // Fastify's own words for an empty body, one that does not parse, or one that ended early.
      if (error.statusCode === 400) return new GateError('PG_BODY_NOT_JSON', { detail: error.message });
      return new GateError('PG_INTERNAL', { detail: error.message }, error);
  }
}

/** Not Fastify's `handlerTimeout`: that makes and aborts an AbortController for each request, a fifth of the CPU of an answer. */
function limitTime(app: FastifyInstance, clock: Clock): void {
  app.addHook('onRequest', (_request, reply, done) => {
    const cancel = clock.setTimer(BODY_TIMEOUT_MS, () => {
      if (!reply.sent) void reply.send(new GateError('PG_BODY_TIMEOUT', { seconds: BODY_TIMEOUT_MS / 1000 }));
    });
    reply.raw.once('close', cancel);
    done();
  });
}

/**
 * `close` first waits until nobody sends requests any more, where this replica is leaving; then it stops listening, lets go of
 * idle connections, and waits for the requests in flight.
 */
function drainOnClose(
  app: FastifyInstance,
  { leaving, clock }: { readonly leaving: AbortSignal | undefined; readonly clock: Clock },
): void {
  let inFlight = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  const idle = Promise.withResolvers<void>();
  let closing = false;
  app.addHook('onRequest', (_request, reply, done) => {
    inFlight += 1;
    lastAt = clock.monotonic();
    reply.raw.once('close', () => {
      inFlight -= 1;
      if (closing && inFlight === 0) idle.resolve();
    });
    done();
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing || leaving?.aborted) reply.header('connection', 'close');
    done(null, payload);
  });
  app.addHook('preClose', async () => {
    if (leaving?.aborted) await quiet();
    closing = true;
    app.server.close();
    if (inFlight === 0) return;
    const cancel = clock.setTimer(DRAIN_LIMIT_MS, idle.resolve);
    await idle.promise;
    cancel();
  });

  async function quiet(): Promise<void> {
    const began = clock.monotonic();
    for (;;) {
      const now = clock.monotonic();
      const restMs = Math.min(lastAt + QUIET_MS, began + QUIET_LIMIT_MS) - now;
      if (restMs <= 0) return;
      await new Promise<void>((resolve) => void clock.setTimer(restMs, resolve));
    }
  }
}
