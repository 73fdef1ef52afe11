import fastify, { type FastifyInstance, type FastifyRequest, type onRequestHookHandler } from 'fastify';
import type { PullRules } from '../api/images-to-pull.ts';
import { type GateVerb, MODES, type Mode } from '../api/names.ts';
import type { PreloadProgress } from '../api/preload-progress.ts';
import type { RunningLookup } from '../api/running-lookup.ts';
import type { Floor } from '../api/settings.ts';
import type { Clock } from '../clock.ts';
import { limitConnections } from '../connection-limit.ts';
import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { createLogLimit } from '../log-limit.ts';
import {
  type AdmissionRequest,
  type AdmissionUser,
  admissionResponse,
  deniedResponse,
  parseAdmissionReview,
} from './admission-review.ts';
import { CALLER_GONE, createErrorAnswers, notFound } from './answer-error.ts';
import { asksForApproval, decide, endsGating, goesBack } from './decide.ts';
import type { Ask, DecideInput, Decision, DecisionKind } from './decision.ts';
import { unreadDenial } from './denial.ts';
import { createLookUpTurns } from './look-up-turns.ts';
import { type Charge, createMemoryBudget } from './memory-budget.ts';
import { admitPath } from './paths.ts';
import { BODY_LIMIT, parsedBytes, readReviewBody, UnreadReview } from './review-body.ts';
import { auditAnnotationsFor, warningsFor } from './warnings.ts';

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
 * An API server has one for each update that it waits for, and keeps 25 idle ones at most. In memory each is some 50 kB, most
 * of it for TLS.
 */
const MAX_CONNECTIONS = 512;
/** Memory that a request takes beside its body. */
const REQUEST_BYTES = 16 * 1024;
/** Updates that wait for an answer of the API server, each with one or two calls at a time. */
const LOOKUPS_AT_A_TIME = 32;
/** Of each peer: far more than updates come from one API server. A stranger can cause 14 MB an hour at 400 bytes a line. */
const DECISION_RATE = { burst: 1000, everyMs: 100 };
/**
 * A replica that shuts down listens until no request has arrived for this long. An API server that still sends requests, over an
 * open connection or because it does not know yet, sends them more often than this. After QUIET_LIMIT_MS the replica closes even if
 * requests still arrive.
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
  /**
   * Never rejects: no answer counts as no. Called only if an update asks for a bypass, opts out, exceeds a bound, or approves a rollout.
   * Absent if everybody may.
   */
  readonly may?: (user: AdmissionUser, namespace: string, verb: GateVerb) => Promise<boolean>;
  /**
   * How far the preload is that an update in mode reject waits for. Sees to it that there is one, but not on a dry run.
   * Below the 5 s that the API server waits. What it throws becomes an error, and then failurePolicy decides.
   */
  readonly preloadProgress: (request: AdmissionRequest, ask: Ask) => Promise<PreloadProgress>;
  /** Looks up the running pod template of a held Deployment, by its hash, within 1 s. What it throws becomes an error. */
  readonly runningTemplate: (request: AdmissionRequest, hash: string) => Promise<RunningLookup>;
  /** How far a preload is, by its `namespace/name`, where this replica knows it without asking. */
  readonly progress?:
    | ((preload: string) => { readonly ready: number; readonly desired: number } | undefined)
    | undefined;
  /** What the settings of a Deployment may not be looser than; undefined if they may. */
  readonly floor?: Floor | undefined;
  readonly rules?: PullRules | undefined;
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
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one route after the other, over one server
export function createAdmissionServer(options: AdmissionServerOptions): FastifyInstance {
  const { tls, gate, may, preloadProgress, runningTemplate, floor, rules, leaving, onAnswer, clock, log } =
    options;
  const limitLog = createLogLimit(clock);
  const limitDecisions = createLogLimit(clock, DECISION_RATE);
  const { answerError, answerNoRequest } = createErrorAnswers(log, limitLog);
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
  limitConnections(app.server, MAX_CONNECTIONS, (peer) => {
    const { code, message } = new GateError('PG_CONNECTIONS', { peer, endpoint: 'admission' });
    limitLog(code, (fields) => log.warn({ ...fields, code }, message));
  });
  drainOnClose(app, { leaving, clock });
  limitTime(app, clock);
  const mayKeep = limitMemory(app, may !== undefined);
  const lookUps = createLookUpTurns(LOOKUPS_AT_A_TIME, clock);
  const decided = new WeakMap<FastifyRequest, DecisionKind>();

  for (const mode of MODES) {
    app.post(admitPath(mode), { onRequest: tellAnswer(mode) }, async (call, reply) => {
      const began = clock.monotonic();
      const request = parseAdmissionReview(call.body);
      const now = clock.now();
      const lookUp: LookUp = async (ask) => {
        if (!mayKeep(call, request.namespace)) throw new GateError('PG_BUSY', {});
        const gone = new AbortController();
        reply.raw.once('close', () => gone.abort(CALLER_GONE));
        return await lookUps({ peer: call.ip, namespace: request.namespace }, ask, gone.signal);
      };
      const decision = await decideFor(mode, request, now, lookUp);
      const response = admissionResponse(request, {
        object: decision.object,
        denial: decision.denial,
        warnings: warningsFor(decision, { ...request, progress: progressOf(request, decision) }, now, floor),
        auditAnnotations: auditAnnotationsFor(decision),
      });
      logDecision(request, decision, { peer: call.ip, ms: clock.monotonic() - began });
      decided.set(call, decision.kind);
      return response;
    });
  }

  app.setNotFoundHandler((request, reply) => answerError(notFound(request), request, reply));
  app.setErrorHandler<Error>((error, request, reply) => {
    const denied = denialOfUnread(error, request.url);
    if (denied === undefined) return answerError(error, request, reply);
    limitLog(denied.code, (fields) =>
      log.warn({ ...fields, code: denied.code, peer: request.ip }, denied.message),
    );
    decided.set(request, 'Refused');
    void reply.send(deniedResponse(denied.uid, unreadDenial(denied.message)));
  });
  return app;

  /**
   * Answered with an error, an update that is too large to read would go ahead where failurePolicy is Ignore, without the permission that
   * it may need.
   */
  function denialOfUnread(error: Error, url: string) {
    if (may === undefined || url.startsWith(admitPath('audit'))) return undefined;
    if (!(error instanceof UnreadReview)) return undefined;
    const { uid, code, message } = error;
    return uid === undefined ? undefined : { uid, code, message };
  }

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

  async function decideFor(
    mode: Mode,
    request: AdmissionRequest,
    now: number,
    lookUp: LookUp,
  ): Promise<Decision> {
    const { object, oldObject, user, namespace, dryRun } = request;
    const isAllowed = async (verb: GateVerb): Promise<boolean> =>
      may === undefined || (await lookUp(() => may(user, namespace, verb)).catch(noIfBusy));
    const isAsked = endsGating(oldObject, object, now);
    const back = goesBack(oldObject, object, now);
    const input: DecideInput = {
      mode,
      object,
      oldObject,
      username: user.username,
      gateUsername: gate.username,
      exemptNamespaces: gate.exemptNamespaces,
      mayBypass: may === undefined || (isAsked && (await isAllowed('bypass'))),
      mayApprove:
        may === undefined || (asksForApproval(oldObject, object, now) && (await isAllowed('approve'))),
      ...(back !== undefined && {
        running: await lookUp(() => runningTemplate(request, back)).catch(unansweredIfBusy),
      }),
      rules,
      dryRun,
      now,
    };
    const decision = decide(input);
    // That an update exceeds a bound is known only now.
    if (decision.kind === 'Refused' && !isAsked && (await isAllowed('bypass')))
      return decide({ ...input, mayBypass: true });
    const { asks } = decision;
    if (asks === undefined) return decision;
    return decide({ ...input, progress: await lookUp(() => preloadProgress(request, asks)) });
  }

  function progressOf({ namespace }: AdmissionRequest, { hold }: Decision) {
    return hold === undefined ? undefined : options.progress?.(`${namespace}/${hold.preload}`);
  }

  function logDecision(
    { namespace, name, user, dryRun }: AdmissionRequest,
    { kind, hold, reason }: Decision,
    { peer, ms }: { readonly peer: string; readonly ms: number },
  ): void {
    const fields = {
      deployment: `${namespace}/${name}`,
      decision: kind,
      ...(hold !== undefined && { preload: hold.preload }),
      user: user.username,
      dryRun,
      ms: Math.round(ms * 10) / 10,
    };
    if (kind === 'Unchanged' || kind === 'Ignored') log.debug(fields, reason);
    else limitDecisions(peer, (more) => log.info({ ...fields, ...more }, reason));
  }
}

/** With failurePolicy Ignore, an update that gets an error goes ahead. So a user who fills the memory would need no permission. */
function noIfBusy(error: unknown): false {
  if (error instanceof GateError && error.code === 'PG_BUSY') return false;
  throw error;
}

function unansweredIfBusy(error: unknown): RunningLookup {
  noIfBusy(error);
  return { kind: 'unanswered' };
}

/** Asks the API server as soon as it is the turn of the peer that sent the review. */
type LookUp = <T>(ask: () => Promise<T>) => Promise<T>;

/**
 * Takes JSON alone, read within the budget, and answers PG_BUSY beyond it. The JSON parser is Fastify's, which refuses keys named
 * `__proto__`: no Kubernetes object can have one, as labels and annotations begin with a letter or digit.
 *
 * Returns a function that says whether the objects of a request may stay in memory while something is waited for.
 */
function limitMemory(
  app: FastifyInstance,
  isDenied: boolean,
): (request: FastifyRequest, namespace: string) => boolean {
  const budget = createMemoryBudget();
  const charges = new WeakMap<FastifyRequest, Charge>();
  /** What the parsed body takes, unless that is charged already. */
  const parsed = new WeakMap<FastifyRequest, number>();
  app.addHook('preParsing', (request, reply, payload, done) => {
    const charge = budget.charge(request.ip);
    charges.set(request, charge);
    reply.raw.once('close', charge.end);
    if (charge.add(REQUEST_BYTES)) done(null, payload);
    else done(new GateError('PG_BUSY', {}));
  });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', (request, payload, done) => {
    const charge = charges.get(request) ?? budget.charge(request.ip);
    readReviewBody(payload, charge, isDenied).then(
      (body) => {
        parsed.set(request, parsedBytes(body.length));
        void parse(request, body.toString(), done);
      },
      (error: Error) => done(error, undefined),
    );
  });
  return (request, namespace) => {
    const bytes = parsed.get(request) ?? 0;
    if (charges.get(request)?.keep(namespace, bytes) !== true) return false;
    parsed.delete(request);
    return true;
  };
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
