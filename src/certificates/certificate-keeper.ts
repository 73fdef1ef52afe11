import { CERTIFICATES_SECRET, RENEW_ANNOTATION, WEBHOOK_CONFIGURATION } from '../api/names.ts';
import { type Clock, wait } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isAlreadyExists, isConflict, isForbidden, isInvalid, isNotFound } from '../cluster/api-error.ts';
import { GateError } from '../errors.ts';
import { asString, asStringMap, at } from '../json.ts';
import type { Logger } from '../log.ts';
import type { SecretContents } from './certificate-secret.ts';
import { observe, type PublishedBundle } from './published-bundle.ts';
import {
  isBelieved,
  LIFETIMES,
  nextServing,
  nextStep,
  type RotationPolicy,
  type RotationState,
  type Serving,
  type Step,
} from './rotation.ts';
import { secretChange } from './secret-change.ts';

/** PEM, as `createServer` and `setSecureContext` of node:tls take it. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificatesOptions {
  readonly client: Pick<ApiClient, 'cluster' | 'get' | 'create' | 'mergePatch' | 'jsonPatch'>;
  /** Of the gate. */
  readonly namespace: string;
  /** Names under which API servers call. */
  readonly hosts: readonly string[];
  /** Default `LIFETIMES`. */
  readonly lifetimes?: RotationPolicy['lifetimes'];
  /** Between two looks. Default 5 s; far below `settleMs`. */
  readonly pollMs?: number;
  /** Called with the first pair and with each that replaces it. Connections that are open keep the one they began with. */
  readonly onServing: (pair: TlsPair) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Certificates {
  /** Resolves with the first pair to serve; rejects if stopped before. */
  readonly first: Promise<TlsPair>;
  /** What is to be served now. */
  serving(): TlsPair | undefined;
  /** When that ends, and the authority that signed it. */
  expiries(): { readonly serving: Date; readonly ca: Date } | undefined;
  /** Whether there is a webhook configuration, as last seen. */
  isRegistered(): boolean;
  /** Whether the webhook configuration, as last seen, makes API servers believe it, and it is valid. */
  isBelieved(): boolean;
  /** Milliseconds since Secret and webhook configuration were last read; infinite before. */
  lastLookAge(): number;
  /** Resolves when nothing is running any more. */
  stop(): Promise<void>;
}

/**
 * Two reads of one object each, by name, so 0.4 requests per second and replica, of some 15 kB together. Reads without a
 * resourceVersion are the newest state, and that the second is not older than the first is what `nextStep` relies on; a watch
 * would save the reads and give that up.
 */
const POLL_MS = 5000;
/** A look that is broken off is repeated at the next poll. */
const CALL_DEADLINE_MS = 10_000;
/** A first installation is three steps; replicas that race may need some more. */
const MAX_STEPS_AT_ONCE = 10;

const WEBHOOKS = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;

/** Keeps one authority and one serving certificate for all replicas, renewed, published and served, until stopped. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: a loop with its state: the state machine itself is in rotation.ts
export function startCertificates(options: CertificatesOptions): Certificates {
  const {
    client,
    namespace,
    hosts,
    lifetimes = LIFETIMES,
    pollMs = POLL_MS,
    onServing,
    clock,
    log,
  } = options;
  const policy: RotationPolicy = { hosts, lifetimes };
  const secrets = `/api/v1/namespaces/${namespace}/secrets`;
  const secretPath = `${secrets}/${CERTIFICATES_SECRET}`;
  const stopping = new AbortController();
  const call = { signal: stopping.signal, deadlineMs: CALL_DEADLINE_MS };
  const { promise: first, resolve: resolveFirst, reject: rejectFirst } = Promise.withResolvers<TlsPair>();
  first.catch(() => undefined); // nobody has to wait for it
  let published: PublishedBundle | undefined;
  let serving: Serving | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let logged: string | undefined;
  let refusal: Error | undefined;

  async function read(path: string, what: string): Promise<unknown> {
    try {
      return await client.get(path, undefined, call);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw named(error, `read ${what}`);
    }
  }

  function serve(next: Serving): void {
    serving = next;
    const [leaf] = next.chain;
    log.info(
      { serial: leaf?.serialNumber, validTo: leaf?.validTo, authority: next.authority.serialNumber },
      'a certificate is served',
    );
    const pair = { cert: next.cert, key: next.key };
    onServing(pair);
    resolveFirst(pair);
  }

  /**
   * Reads both objects and writes at most once. Returns whether this replica or another one wrote, so that the caller reads again
   * at once.
   */
  async function round(): Promise<boolean> {
    const askedAt = clock.monotonic();
    const configuration = await read(WEBHOOKS, `mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`);
    published = observe(published, configuration, { askedAt, answeredAt: clock.monotonic() });
    const secret = await read(secretPath, `secrets/${CERTIFICATES_SECRET}`);
    lookedAt = clock.monotonic();
    // A process that was frozen in between: a whole change of authority may have passed.
    if (lookedAt - askedAt >= lifetimes.settleMs / 2) return true;

    const state = { secret: contentsOf(secret), published, serving, now: clock.now() };
    const next = nextServing(state, policy);
    if (next !== undefined) serve(next);
    const step = nextStep({ ...state, serving }, policy);
    try {
      return await apply(step, state, secret, configuration);
    } catch (error) {
      if (isAlreadyExists(error) || isConflict(error) || isInvalid(error) || isNotFound(error)) {
        log.debug({ err: error, step: step.kind }, 'lost a write race, retrying');
        refusal = error;
        return true;
      }
      throw error;
    }
  }

  async function apply(
    step: Step,
    state: RotationState,
    secret: unknown,
    configuration: unknown,
  ): Promise<boolean> {
    switch (step.kind) {
      case 'Wait':
        note(step.phase, () => log.info({ phase: step.phase }, 'certificates'));
        return false;
      case 'Refuse':
        throw new GateError('PG_CERTIFICATE_SECRET', {
          secret: `${namespace}/${CERTIFICATES_SECRET}`,
          detail: step.detail,
        });
      case 'Publish':
        await publish(step.bundle, configuration);
        log.info('the authorities are published in the webhook configuration');
        return true;
      default:
        await writeSecret(await secretChange(step, state.secret, policy, state.now), secret, step.kind);
        log.info(
          { step: step.kind, ...('reason' in step && { reason: step.reason }) },
          'the certificates were changed',
        );
        return true;
    }
  }

  async function publish(bundle: string, configuration: unknown): Promise<void> {
    const value = Buffer.from(bundle).toString('base64');
    const count = published?.bundles.length ?? 0;
    const operations = [
      {
        op: 'test',
        path: '/metadata/resourceVersion',
        value: at(configuration, 'metadata', 'resourceVersion'),
      },
      ...Array.from({ length: count }, (_, index) => ({
        op: 'add',
        path: `/webhooks/${index}/clientConfig/caBundle`,
        value,
      })),
    ];
    try {
      await client.jsonPatch(WEBHOOKS, operations, undefined, call);
    } catch (error) {
      throw named(error, `patch mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`);
    }
  }

  async function writeSecret(
    change: Readonly<Record<string, string>>,
    secret: unknown,
    kind: Step['kind'],
  ): Promise<void> {
    const data = Object.fromEntries(
      Object.entries(change).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
    );
    try {
      if (secret === undefined) {
        await client.create(secrets, newSecret(namespace, data), undefined, call);
        return;
      }
      const metadata = {
        // With it the API server refuses the patch of anything but what was read.
        resourceVersion: at(secret, 'metadata', 'resourceVersion'),
        uid: at(secret, 'metadata', 'uid'),
        ...(kind === 'Retire' ? {} : { annotations: { [RENEW_ANNOTATION]: null } }),
      };
      await client.mergePatch(secretPath, { metadata, data }, undefined, call);
    } catch (error) {
      throw named(error, `write secrets/${CERTIFICATES_SECRET}`);
    }
  }

  /** Once, until something else is to be said. */
  function note(text: string, write: () => void): void {
    if (text !== logged) write();
    logged = text;
  }

  async function look(): Promise<void> {
    refusal = undefined;
    for (let steps = 0; steps < MAX_STEPS_AT_ONCE; steps++) {
      if (!(await round())) return;
      stopping.signal.throwIfAborted();
    }
    // Nobody is faster every time.
    if (refusal !== undefined) throw refusal;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await look();
      } catch (error) {
        if (stopping.signal.aborted) return;
        const text = error instanceof Error ? error.message : String(error);
        note(text, () => {
          if (error instanceof GateError) log.error({ code: error.code }, text);
          else log.error({ err: error }, 'the certificates cannot be kept up to date');
        });
      }
      await wait(clock, pollMs, stopping.signal).catch(() => undefined);
    }
  }

  const running = run();
  return {
    first,
    serving: () => serving && { cert: serving.cert, key: serving.key },
    expiries() {
      const [leaf] = serving?.chain ?? [];
      return serving && leaf && { serving: leaf.validToDate, ca: serving.authority.validToDate };
    },
    isRegistered: () => (published?.bundles.length ?? 0) > 0,
    isBelieved: () => serving !== undefined && isBelieved(serving, published?.bundles ?? [], clock.now()),
    lastLookAge: () => clock.monotonic() - lookedAt,
    async stop() {
      stopping.abort();
      rejectFirst(new Error('stopped before there was a certificate'));
      await running;
    },
  };
}

function contentsOf(secret: unknown): SecretContents | undefined {
  if (secret === undefined) return undefined;
  const data = Object.entries(asStringMap(at(secret, 'data'))).map(([key, base64]) => [
    key,
    Buffer.from(base64, 'base64').toString(),
  ]);
  return {
    data: Object.fromEntries(data),
    renew: asString(at(secret, 'metadata', 'annotations', RENEW_ANNOTATION)),
  };
}

function newSecret(namespace: string, data: Readonly<Record<string, string>>): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: CERTIFICATES_SECRET,
      namespace,
      labels: { 'app.kubernetes.io/name': 'pullgate' },
    },
    type: 'Opaque',
    data,
  };
}

function named(error: unknown, what: string): unknown {
  return isForbidden(error) ? new GateError('PG_RBAC', { what, detail: error.apiMessage }, error) : error;
}
